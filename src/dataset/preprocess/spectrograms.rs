//! One recording on its way to spectrograms on disk: read, resampled, cut into clips, each written.

use std::path::Path;

use ndarray::Array2;

use super::recording::{Recording, Spectrogram};
use super::shards::ShardWriter;
use super::windows::{Windows, clips_of};
use crate::config::{Config, LongClips};
use crate::dataset::measure::{SILENCE_DBFS, loudest_dbfs};
use crate::error::{Error, Result};
use crate::files::text::Text;
use crate::files::{content, npy};
use crate::front_end::audio::{self, Listen};
use crate::front_end::features::FeatureExtractor;
use crate::front_end::resample::Running;

/// A file larger than this, in bytes, is read block by block: an hour of it in memory would be a thread's whole share.
const LARGE: u64 = 64 << 20;

/// Where the spectrograms of a recording go.
pub(super) enum Sink<'a> {
    /// Files in a folder, under a name and that name with numbers.
    Files { dir: &'a Path, name: String },
    /// A shard, from a place on. Its name is known when it is whole.
    Shard { shard: &'a mut ShardWriter, start: usize },
}

impl Sink<'_> {
    /// Writes the spectrogram with this number, and tells its file and its place there.
    fn put(&mut self, index: usize, values: &Array2<f32>) -> Result<(Text, Option<u32>)> {
        match self {
            Sink::Files { dir, name } => {
                let npy = if index == 0 { format!("{name}.npy") } else { format!("{name}~{index}.npy") };
                npy::write_f32(&dir.join(&npy), values)?;
                Ok((npy.into(), None))
            }
            Sink::Shard { shard, .. } => Ok(("".into(), Some(shard.append(values)?))),
        }
    }

    /// Takes back what there is.
    fn clear(&mut self) -> Result<()> {
        match self {
            // Written over.
            Sink::Files { .. } => Ok(()),
            Sink::Shard { shard, start } => shard.truncate(*start),
        }
    }
}

/// Reads a recording and leaves its spectrograms.
///
/// Of the windows of a long recording those in which nothing sounds are left out: they would teach the network that silence is of its class.
///
/// # Errors
/// What reading reports; [`Error::Audio`] when the file changes meanwhile; [`Error::Io`] when a spectrogram cannot be written.
pub(super) fn process(config: &Config, path: &Path, sink: Sink, extractor: &mut FeatureExtractor) -> Result<Recording> {
    process_from(config, path, sink, extractor, LARGE)
}

/// [`process`], with files larger than this read block by block.
fn process_from(
    config: &Config,
    path: &Path,
    sink: Sink,
    extractor: &mut FeatureExtractor,
    large: u64,
) -> Result<Recording> {
    let file_stamp = content::stamp(path)?;
    let n_bytes = path.metadata().map_err(Error::io("read", path))?.len();
    let mut cutting = Cutting { config, sink, extractor, under_way: None, kept: Kept::default() };
    match n_bytes > large {
        true => audio::stream(path, &mut cutting)?,
        false => cutting.whole(path)?,
    }
    let Kept { mut spectrograms, n_silent, .. } = cutting.finish().map_err(|error| error.in_file(path))?;
    let file_xxh3 = content::hash_file(path)?;
    if content::stamp(path)? != file_stamp {
        let (expected, found) = ("a file at rest".into(), "one that changed while it was read".into());
        return Err(Error::Audio { path: path.into(), offset: None, expected, found });
    }
    spectrograms.shrink_to_fit();
    Ok(Recording { file_xxh3, file_stamp, spectrograms, n_silent })
}

struct Cutting<'a> {
    config: &'a Config,
    sink: Sink<'a>,
    extractor: &'a mut FeatureExtractor,
    /// Nothing before the recording begins.
    under_way: Option<(u32, Running, Windows)>,
    kept: Kept,
}

/// What a recording has become so far.
#[derive(Default)]
struct Kept {
    spectrograms: Vec<Spectrogram>,
    /// Windows without a sound that were left out.
    n_silent: usize,
    /// Whether all there is so far is one of them, which stands in for a recording without any sound.
    stands_in: bool,
}

impl Cutting<'_> {
    /// A recording that is held in memory.
    fn whole(&mut self, path: &Path) -> Result<()> {
        let sample_rate = self.config.features.sample_rate;
        let waveform = audio::read(path)?;
        let samples = self.extractor.resample(&waveform.samples, waveform.sample_rate);
        let samples = samples.map_err(|error| error.in_file(path))?;
        drop(waveform);
        for (start_s, samples) in clips_of(&samples, sample_rate, &self.config.clip) {
            self.keep(start_s, &samples).map_err(|error| error.in_file(path))?;
        }
        Ok(())
    }

    /// The spectrogram of a clip, unless nothing sounds in it; of silence alone the first stands in for the recording.
    fn keep(&mut self, start_s: f32, samples: &[f32]) -> Result<()> {
        let sample_rate = self.config.features.sample_rate;
        let is_one_of_many = self.config.clip.long_clips == LongClips::Windows;
        let is_silent = is_one_of_many && loudest_dbfs(samples, sample_rate) <= SILENCE_DBFS;
        let Kept { spectrograms, n_silent, stands_in } = &mut self.kept;
        if is_silent && !spectrograms.is_empty() {
            *n_silent += 1;
            return Ok(());
        }
        if std::mem::replace(stands_in, is_silent) {
            spectrograms.clear();
            self.sink.clear()?;
            *n_silent += 1;
        }
        let index = spectrograms.len();
        if index == 0 {
            spectrograms.reserve_exact(1);
        }
        let spectrogram = self.extractor.extract(samples, sample_rate)?;
        let (npy, row) = self.sink.put(index, &spectrogram.values)?;
        let (n_mels, n_frames) = spectrogram.values.dim();
        let (n_mels, n_frames) = (n_mels as u32, n_frames as u32);
        spectrograms.push(Spectrogram { npy, row, start_s, n_mels, n_frames, scale: spectrogram.scale });
        Ok(())
    }

    /// A window of a recording that comes block by block; where it is to be cropped, the first alone.
    fn window(&mut self, start: usize, samples: &[f32]) -> Result<()> {
        if start > 0 && self.config.clip.long_clips == LongClips::Crop {
            return Ok(());
        }
        self.keep(start as f32 / self.config.features.sample_rate as f32, samples)
    }

    fn finish(mut self) -> Result<Kept> {
        if let Some((sample_rate, resampling, mut windows)) = self.under_way.take() {
            let mut resampled = Vec::new();
            let resampler = resampling.finish(&mut resampled)?;
            self.extractor.take_back(sample_rate, resampler);
            windows.take(&resampled, |start, window| self.window(start, window))?;
            windows.finish(|start, window| self.window(start, window))?;
        }
        Ok(self.kept)
    }
}

impl Listen for Cutting<'_> {
    fn begin(&mut self, sample_rate: u32) -> Result<()> {
        self.kept = Kept::default();
        self.sink.clear()?;
        let resampling = Running::new(self.extractor.lend_resampler(sample_rate)?);
        let windows = Windows::new(self.config.features.sample_rate, &self.config.clip, None);
        self.under_way = Some((sample_rate, resampling, windows));
        Ok(())
    }

    fn take(&mut self, samples: &[f32]) -> Result<()> {
        let Some((sample_rate, mut resampling, mut windows)) = self.under_way.take() else { return Ok(()) };
        let mut resampled = Vec::new();
        resampling.take(samples, &mut resampled)?;
        windows.take(&resampled, |start, window| self.window(start, window))?;
        self.under_way = Some((sample_rate, resampling, windows));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ClipConfig, DataConfig};
    use crate::dataset::metadata::Origin;
    use crate::front_end::audio::{Waveform, write_wav};

    /// What a recording becomes, read whole and block by block, with the values of each spectrogram.
    fn both(samples: Vec<f32>, long_clips: LongClips) -> (Vec<(f32, Vec<u8>)>, usize) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.wav");
        write_wav(&path, &Waveform { samples, sample_rate: 22_050 }).unwrap();
        let of = |large: u64| {
            let data = DataConfig { processed_dir: dir.path().join(format!("{large}")), ..Default::default() };
            std::fs::create_dir_all(&data.processed_dir).unwrap();
            let clip = ClipConfig { duration_s: 1.0, long_clips };
            let config = Config { data, clip, ..Default::default() };
            let mut extractor = FeatureExtractor::new(&config.features).unwrap();
            let sink = Sink::Files { dir: &config.data.processed_dir, name: "a".into() };
            let recording = process_from(&config, &path, sink, &mut extractor, large).unwrap();
            let values = |npy: &str| std::fs::read(config.data.processed_dir.join(npy)).unwrap();
            let spectrograms: Vec<(f32, Vec<u8>)> =
                recording.spectrograms.iter().map(|one| (one.start_s, values(&one.npy))).collect();

            // The same in a shard, behind another's.
            let mut shard = ShardWriter::new(&config.data.processed_dir, &Origin::new(&config), 1, "0");
            shard.append(&Array2::zeros((64, 63))).unwrap();
            let sink = Sink::Shard { shard: &mut shard, start: 1 };
            let in_shard = process_from(&config, &path, sink, &mut extractor, large).unwrap();
            let rows: Vec<_> = in_shard.spectrograms.iter().map(|one| (one.start_s, one.row.unwrap())).collect();
            let starts = spectrograms.iter().map(|(start_s, _)| *start_s);
            assert_eq!(rows, starts.zip(1..).collect::<Vec<_>>());
            assert_eq!((in_shard.n_silent, shard.len()), (recording.n_silent, 1 + rows.len()));
            (spectrograms, recording.n_silent)
        };
        let (whole, streamed) = (of(u64::MAX), of(0));
        assert!(whole == streamed);
        whole
    }

    /// Seconds of a tone, and of silence where the frequency is 0.
    fn sound(frequencies: &[f32]) -> Vec<f32> {
        let second = |hz: &f32| (0..22_050).map(|i| 0.3 * (i as f32 * hz * 2e-4).sin()).collect::<Vec<_>>();
        frequencies.iter().flat_map(second).collect()
    }

    #[test]
    fn silent_windows_of_a_long_recording_are_left_out_and_counted() {
        // The resampler rings a little beyond the end of a tone: the second behind it is not all silent.
        let frequencies = [0.0, 0.0, 0.0, 440.0, 600.0, 0.0, 0.0, 0.0, 900.0, 0.0, 0.0];
        let (kept, n_silent) = both(sound(&frequencies), LongClips::Windows);
        let starts: Vec<f32> = kept.iter().map(|(start_s, _)| *start_s).collect();
        assert!([3.0, 4.0, 8.0].iter().all(|start| starts.contains(start)), "{starts:?}");
        assert!(![0.0, 1.0, 6.0, 10.0].iter().any(|start| starts.contains(start)), "{starts:?}");
        assert_eq!(starts.len() + n_silent, 11);
        // Silence alone is one clip, as it always was, and a recording that is cropped is what it begins with.
        let (silence, n_silent) = both(sound(&[0.0; 4]), LongClips::Windows);
        assert_eq!((silence.len(), silence[0].0, n_silent), (1, 0.0, 3));
        let (cropped, n_silent) = both(sound(&[0.0, 440.0]), LongClips::Crop);
        assert_eq!((cropped.len(), cropped[0].0, n_silent), (1, 0.0, 0));
    }
}
