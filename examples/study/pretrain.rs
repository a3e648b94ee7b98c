//! What networks may start from (`train.start`): one that has learned to tell sounds made by formulas apart.
//!
//! It learned in two rounds: from random weights, and once more from where that left it, with a new head. The second is `again`, built with the file
//! that the first one wrote.

use std::fs;
use std::path::Path;

use audio_transformer::config::{DataSource, Start};
use audio_transformer::internals::training::checkpoint;
use audio_transformer::internals::training::paths::checkpoint_path;
use audio_transformer::internals::training::start::{FORMULAS, Learned, write};
use audio_transformer::{acquire, audio, evaluate, preprocess, train};
use rayon::prelude::*;
use tch::Device;

use crate::formulas::synthesize;
use crate::recipes::good;
use crate::{Outcome, one_thread};

/// Classes where no other number is named.
pub const CLASSES: u64 = 500;
/// Takes of a class that are trained on.
const TAKES: u64 = 15;
/// Passes over them, in each round.
const EPOCHS: usize = 20;

/// Makes the sounds, trains on them from a start, and leaves the weights for the crate to take in.
pub fn pretrain(classes: u64, start: Start) -> Outcome {
    one_thread();
    let mut config = good();
    let folder = config.data.raw_dir.join(format!("formulas-{classes}"));
    make(&folder, classes)?;
    config.data.source = DataSource::Folder(folder);
    config.data.processed_dir = config.data.processed_dir.join(format!("formulas-{classes}"));
    (config.train.run_name, config.train.epochs) = (format!("pretrained-{start:?}"), EPOCHS);
    config.train.start = start;
    (config.train.test_fold, config.train.validate) = (Some(HELD_OUT), false);
    acquire(&config)?;
    println!("{}", preprocess(&config)?);
    println!("{}", train(&config)?);
    let evaluation = evaluate(&config)?;
    println!("{:.1} % of the takes it has not heard, of {classes} classes", 100.0 * evaluation.accuracy());
    let network = checkpoint::load(&checkpoint_path(&config), Device::Cpu)?;
    let learned = Learned {
        model: config.model,
        classes,
        takes: TAKES,
        epochs: EPOCHS,
        accuracy: (1e4 * evaluation.accuracy()).round() / 1e4,
    };
    write(Path::new(FORMULAS), &network.vs, &learned)?;
    println!("{FORMULAS}: {} bytes", fs::metadata(FORMULAS)?.len());
    Ok(())
}

/// One take of each class is in a fold of its own, held out.
const HELD_OUT: u32 = 1;

/// Makes what is missing of `fold1/c0000/c0000-00.wav` and the like.
fn make(folder: &Path, classes: u64) -> Outcome {
    let made = (0..classes).into_par_iter().try_for_each(|class| -> audio_transformer::Result<()> {
        for take in 0..=TAKES {
            let fold = if take == 0 { HELD_OUT } else { HELD_OUT + 1 };
            let of_class = folder.join(format!("fold{fold}/c{class:04}"));
            let path = of_class.join(format!("c{class:04}-{take:02}.wav"));
            if !path.exists() {
                audio_transformer::internals::files::create_dir(&of_class)?;
                audio::write_wav(&path, &synthesize(class, take))?;
            }
        }
        Ok(())
    });
    Ok(made?)
}
