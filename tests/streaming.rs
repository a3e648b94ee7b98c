//! Recordings of any length: what comes block by block is what the whole would be.

use std::fs;
use std::path::{Path, PathBuf};

use audio_transformer::Error;
use audio_transformer::internals::front_end::audio::{self, Listen, Waveform, write_wav};
use audio_transformer::internals::front_end::resample::{Resampler, Running};

/// Keeps what it hears, and counts how often the recording began.
#[derive(Default)]
struct Kept {
    sample_rate: u32,
    samples: Vec<f32>,
    began: usize,
    longest: usize,
}

impl Listen for Kept {
    fn begin(&mut self, sample_rate: u32) -> Result<(), Error> {
        *self = Kept { sample_rate, began: self.began + 1, ..Kept::default() };
        Ok(())
    }

    fn take(&mut self, samples: &[f32]) -> Result<(), Error> {
        self.longest = self.longest.max(samples.len());
        self.samples.extend_from_slice(samples);
        Ok(())
    }
}

fn streamed(path: &Path) -> Result<Kept, Error> {
    let mut kept = Kept::default();
    audio::stream(path, &mut kept).map(|()| kept)
}

fn fixtures() -> Vec<PathBuf> {
    let files = fs::read_dir("tests/fixtures/audio").unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|end| end != "npy" && end != "py")).collect();
    files.sort();
    files
}

/// So that fixtures are longer than a block: the same file read in a hundred pieces would tell no more than in one.
fn long(path: &Path, n_samples: usize, sample_rate: u32, sound: impl Fn(usize) -> f32) -> Waveform {
    let waveform = Waveform { samples: (0..n_samples).map(sound).collect(), sample_rate };
    write_wav(path, &waveform).unwrap();
    waveform
}

#[test]
fn every_format_gives_the_same_samples_block_by_block() {
    let (mut read, mut refused) = (0, 0);
    for path in fixtures() {
        match (audio::read(&path), streamed(&path)) {
            (Ok(whole), Ok(kept)) => {
                assert_eq!(kept.sample_rate, whole.sample_rate, "{path:?}");
                assert!(kept.samples == whole.without_offset()[..], "{path:?}: other samples");
                read += 1;
            }
            (Err(whole), Err(kept)) => {
                assert_eq!(whole.to_string(), kept.to_string(), "{path:?}");
                refused += 1;
            }
            (whole, kept) => panic!("{path:?}: whole {:?}, in blocks {:?}", whole.err(), kept.err()),
        }
    }
    assert!(read > 60 && refused > 10, "{read} read, {refused} refused");
}

#[test]
fn long_files_come_in_blocks_and_begin_again_only_where_the_whole_tells_more() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("long.wav");
    let tone = |n: usize| 0.3 * (n as f32 * 0.05).sin();
    long(&path, 1_000_000, 16_000, tone);
    let kept = streamed(&path).unwrap();
    assert_eq!((kept.began, kept.samples), (1, audio::read(&path).unwrap().samples));
    assert!(kept.longest < 200_000, "{}", kept.longest);
    // An offset is known at the end, and taken off from the start.
    long(&path, 1_000_000, 16_000, |n| 0.4 + 0.5 * tone(n));
    let kept = streamed(&path).unwrap();
    assert_eq!(kept.began, 2);
    assert!(kept.samples == audio::read(&path).unwrap().without_offset()[..]);
    assert!(kept.samples.iter().all(|sample| sample.abs() < 0.2));
    // Who does not want to hear more ends the reading, with its own reason.
    struct Tired;
    impl Listen for Tired {
        fn begin(&mut self, _: u32) -> Result<(), Error> {
            Ok(())
        }
        fn take(&mut self, _: &[f32]) -> Result<(), Error> {
            Err(Error::Signal { expected: "quiet".into(), found: "noise".into() })
        }
    }
    assert!(audio::stream(&path, &mut Tired).unwrap_err().to_string().contains("quiet"));
}

#[test]
fn what_is_cut_short_is_refused_at_its_end() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["flac-16bit-44100Hz-stereo.flac", "cancels.ogg", "cancels.opus"] {
        let bytes = fs::read(Path::new("tests/fixtures/audio").join(name)).unwrap();
        let path = dir.path().join(name);
        fs::write(&path, &bytes[..bytes.len() - 100]).unwrap();
        assert!(streamed(&path).is_err(), "{name}");
    }
}

#[test]
fn longer_than_what_is_held_in_memory_is_heard_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("night.wav");
    let n_samples = 2 * 3_600 * 1_000 + 60_000;
    long(&path, n_samples, 1_000, |n| 0.2 * (n as f32 * 0.7).sin());
    assert!(audio::read(&path).unwrap_err().to_string().contains("2 hours"));
    assert_eq!(streamed(&path).unwrap().samples.len(), n_samples);
}

#[test]
fn blocks_are_resampled_to_the_very_same_numbers() {
    for (from_hz, to_hz) in
        [(44_100, 16_000), (48_000, 16_000), (8_000, 16_000), (16_000, 16_000), (44_101, 16_000), (11_025, 16_000)]
    {
        for n_samples in [0usize, 1, 5_000, 300_001] {
            let samples: Vec<f32> = (0..n_samples).map(|n| ((n * 7_919 % 1_013) as f32 / 1_013.0) - 0.5).collect();
            let whole = Resampler::new(from_hz, to_hz).unwrap().process(&samples).unwrap();
            for block in [997, 65_536, 1_000_000] {
                let (mut running, mut output) = (Running::new(Resampler::new(from_hz, to_hz).unwrap()), Vec::new());
                samples.chunks(block).for_each(|samples| running.take(samples, &mut output).unwrap());
                running.finish(&mut output).unwrap();
                assert!(output == whole, "{from_hz} to {to_hz} Hz, {n_samples} samples in blocks of {block}");
            }
        }
    }
}
