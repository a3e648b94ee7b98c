//! A data set → a linear head on a network that stays as it is, scored on a fold that it has not seen; for the terminal.

use std::path::PathBuf;
use std::process::ExitCode;

use audio_transformer::config::{Config, DataConfig, DataSource, Preset};
use audio_transformer::{Listener, Result, acquire, probe};
use tch::Device;

const USAGE: &str = "\
usage: probe [--save FOLDER] NETWORK DATA

  NETWORK        a checkpoint of this project, a folder with a CED or an AST as transformers saves it, or hub:OWNER/NAME,
                 as hub:mispeech/ced-tiny
  DATA           a folder of classes, a table or an archive, as DATASET takes them
  --save FOLDER  write the network with its new head there, for `predict --model FOLDER` and for transformers
";

fn main() -> ExitCode {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let save = words.iter().position(|word| word == "--save").filter(|at| at + 1 < words.len());
    let save = save.map(|at| PathBuf::from(words.drain(at..at + 2).nth(1).unwrap_or_default()));
    let [network, data] = &words[..] else {
        eprint!("{USAGE}");
        return ExitCode::from(2);
    };
    match run(network, data, save) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("probe: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(network: &str, data: &str, save: Option<PathBuf>) -> Result<()> {
    let data = DataConfig { source: DataSource::parse(data), ..Default::default() };
    let config = Config { data, ..Preset::Fitted.settings() };
    acquire(&config)?;
    let mut listener = Listener::open(network, Device::Cpu)?;
    let probe = probe(&config, &mut listener)?;
    println!("{probe}");
    if let Some(folder) = save {
        probe.save(listener, &folder)?;
        println!("saved to {}", folder.display());
    }
    Ok(())
}
