//! One recording on its way to spectrograms on disk: read, resampled, cut into clips, each written.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use ndarray::Array2;

use super::recording::{Recording, Spectrogram};
use super::shards::ShardWriter;
use super::windows::{Cutter, Windows};
use crate::config::{Config, LongClips};
use crate::dataset::measure::{SILENCE_DBFS, loudest_dbfs};
use crate::error::{Error, Result};
use crate::files::content::ShortDigest;
use crate::files::text::Text;
use crate::files::{content, npy};
use crate::front_end::audio::{self, Listen};
use crate::front_end::features::FeatureExtractor;
use crate::front_end::resample::Running;

/// Where the spectrograms of a recording go.
pub(super) enum Sink<'a> {
    /// Files in a folder, under a name and that name with numbers.
    Files { dir: &'a Path, name: String },
    /// A shard, from a place on. Its name is known when it is whole.
    Shard { shard: &'a mut ShardWriter, start: usize },
}

impl Sink<'_> {
    /// Writes the spectrogram with this number in place of those from there on, and tells its file and its place there.
    fn put(&mut self, index: usize, values: &Array2<f32>) -> Result<(Text, Option<u32>)> {
        match self {
            Sink::Files { dir, name } => {
                let npy = file_name(name, index);
                npy::write_f32(&dir.join(&npy), values)?;
                Ok((npy.into(), None))
            }
            Sink::Shard { shard, start } => {
                shard.truncate(*start + index)?;
                Ok((Text::default(), Some(shard.append(values)?)))
            }
        }
    }

    /// Takes back all but the first `kept` of the spectrograms that were put, `put` of them.
    fn take_back(&mut self, kept: usize, put: usize) -> Result<()> {
        match self {
            Sink::Files { dir, name } => (kept..put).try_for_each(|index| {
                let path = dir.join(file_name(name, index));
                match fs::remove_file(&path) {
                    Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io("remove", &path)(error)),
                    _ => Ok(()),
                }
            }),
            Sink::Shard { shard, start } => shard.truncate(*start + kept),
        }
    }
}

fn file_name(name: &str, index: usize) -> String {
    if index == 0 { format!("{name}.npy") } else { format!("{name}~{index}.npy") }
}

/// Reads a recording block by block, however long it is, and leaves its spectrograms.
///
/// Of the windows of a long recording those in which nothing sounds are left out: they would teach the network that silence is of its class.
///
/// # Errors
/// What reading reports, and then no spectrogram of it is left; [`Error::Audio`] when the file changes meanwhile; [`Error::Io`] when a spectrogram
/// cannot be written.
pub(super) fn process(config: &Config, path: &Path, sink: Sink, extractor: &mut FeatureExtractor) -> Result<Recording> {
    let mut cutting = Cutting { config, sink, extractor, under_way: None, put: 0, kept: Kept::default() };
    let recording = cutting.recording(path);
    let n_kept = recording.as_ref().map_or(0, |recording| recording.spectrograms.len());
    // The first error is the one to tell.
    let taken_back = cutting.sink.take_back(n_kept, cutting.put);
    let recording = recording?;
    taken_back.map(|()| recording)
}

struct Cutting<'a> {
    config: &'a Config,
    sink: Sink<'a>,
    extractor: &'a mut FeatureExtractor,
    /// Nothing before the recording begins.
    under_way: Option<(u32, Cutter)>,
    /// Spectrograms that were ever put where they go, those of before the recording began again among them.
    put: usize,
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
    fn recording(&mut self, path: &Path) -> Result<Recording> {
        let file_stamp = content::stamp(path)?;
        audio::stream(path, self)?;
        self.finish().map_err(|error| error.in_file(path))?;
        let file_xxh3 = content::hash_file(path)?;
        if content::stamp(path)? != file_stamp {
            let (expected, found) = ("a file at rest".into(), "one that changed while it was read".into());
            return Err(Error::Audio { path: path.into(), offset: None, expected, found });
        }
        let Kept { mut spectrograms, n_silent, .. } = std::mem::take(&mut self.kept);
        spectrograms.shrink_to_fit();
        Ok(Recording { file_xxh3, file_stamp, spectrograms, n_silent })
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
            *n_silent += 1;
        }
        let index = spectrograms.len();
        if index == 0 {
            spectrograms.reserve_exact(1);
        }
        let spectrogram = self.extractor.extract(samples, sample_rate)?;
        let (npy, row) = self.sink.put(index, &spectrogram.values)?;
        self.put = self.put.max(index + 1);
        let (n_mels, n_frames) = spectrogram.values.dim();
        let (n_mels, n_frames) = (n_mels as u32, n_frames as u32);
        let (scale, values_xxh3) = (spectrogram.scale, ShortDigest::of_array(&spectrogram.values));
        spectrograms.push(Spectrogram { npy, row, start_s, n_mels, n_frames, scale, values_xxh3 });
        Ok(())
    }

    /// A window of a recording that comes block by block; where it is to be cropped, the first alone.
    fn window(&mut self, start: usize, samples: &[f32]) -> Result<()> {
        if start > 0 && self.config.clip.long_clips == LongClips::Crop {
            return Ok(());
        }
        self.keep(start as f32 / self.config.features.sample_rate as f32, samples)
    }

    fn finish(&mut self) -> Result<()> {
        if let Some((sample_rate, cutter)) = self.under_way.take() {
            let resampler = cutter.finish(|start, window| self.window(start, window))?;
            self.extractor.take_back(sample_rate, resampler);
        }
        Ok(())
    }
}

impl Listen for Cutting<'_> {
    fn begin(&mut self, sample_rate: u32) -> Result<()> {
        self.kept = Kept::default();
        let windows = Windows::new(self.config.features.sample_rate, &self.config.clip, None);
        // Other recordings take up the other threads.
        let resampling = Running::on_one_thread(self.extractor.lend_resampler(sample_rate)?);
        self.under_way = Some((sample_rate, Cutter::new(resampling, windows)));
        Ok(())
    }

    fn take(&mut self, samples: &[f32]) -> Result<()> {
        let Some((sample_rate, mut cutter)) = self.under_way.take() else { return Ok(()) };
        cutter.take(samples, |start, window| self.window(start, window))?;
        self.under_way = Some((sample_rate, cutter));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ClipConfig, DataConfig};
    use crate::dataset::metadata::Origin;
    use crate::dataset::preprocess::clips_of;
    use crate::front_end::audio::{Waveform, write_wav};

    /// Where the windows of a recording begin that are kept, and how many are not; every spectrogram is that of its window of the whole recording.
    fn kept(samples: Vec<f32>, long_clips: LongClips) -> (Vec<f32>, usize) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.wav");
        write_wav(&path, &Waveform { samples, sample_rate: 22_050 }).unwrap();
        let data = DataConfig { processed_dir: dir.path().join("processed"), ..Default::default() };
        let clip = ClipConfig { duration_s: 1.0, long_clips };
        let config = Config { data, clip, ..Default::default() };
        let mut extractor = FeatureExtractor::new(&config.features).unwrap();
        let sink = Sink::Files { dir: &config.data.processed_dir, name: "a".into() };
        let recording = process(&config, &path, sink, &mut extractor).unwrap();
        let whole = audio::read(&path).unwrap();
        let samples = extractor.resample(&whole.samples, whole.sample_rate).unwrap();
        let clips: Vec<(f32, Vec<f32>)> =
            clips_of(&samples, 16_000, &clip).map(|(start_s, clip)| (start_s, clip.into_owned())).collect();
        for one in &recording.spectrograms {
            let (_, clip) = clips.iter().find(|(start_s, _)| *start_s == one.start_s).unwrap();
            let values = npy::read_f32(&config.data.processed_dir.join(&*one.npy), None).unwrap();
            assert_eq!(values, extractor.extract(clip, 16_000).unwrap().values);
        }
        let files = fs::read_dir(&config.data.processed_dir).unwrap().count();
        assert_eq!((files, clips.len()), (recording.spectrograms.len(), files + recording.n_silent));

        // The same in a shard, behind another's.
        let mut shard = ShardWriter::new(&config.data.processed_dir, &Origin::new(&config), 1, "0");
        shard.append(&Array2::zeros((64, 63))).unwrap();
        let sink = Sink::Shard { shard: &mut shard, start: 1 };
        let in_shard = process(&config, &path, sink, &mut extractor).unwrap();
        let rows: Vec<_> = in_shard.spectrograms.iter().map(|one| (one.start_s, one.row.unwrap())).collect();
        let starts: Vec<f32> = recording.spectrograms.iter().map(|one| one.start_s).collect();
        assert_eq!(rows, starts.iter().copied().zip(1..).collect::<Vec<_>>());
        assert_eq!((in_shard.n_silent, shard.len()), (recording.n_silent, 1 + rows.len()));
        (starts, recording.n_silent)
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
        let (starts, n_silent) = kept(sound(&frequencies), LongClips::Windows);
        assert!([3.0, 4.0, 8.0].iter().all(|start| starts.contains(start)), "{starts:?}");
        assert!(![0.0, 1.0, 6.0, 10.0].iter().any(|start| starts.contains(start)), "{starts:?}");
        assert_eq!(starts.len() + n_silent, 11);
        // Silence alone is one clip, as it always was, and a recording that is cropped is what it begins with.
        assert_eq!(kept(sound(&[0.0; 4]), LongClips::Windows), (vec![0.0], 3));
        assert_eq!(kept(sound(&[0.0, 440.0]), LongClips::Crop), (vec![0.0], 0));
    }

    #[test]
    fn of_a_recording_that_breaks_off_nothing_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.wav");
        write_wav(&path, &Waveform { samples: sound(&[440.0; 9]), sample_rate: 22_050 }).unwrap();
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 1_001]).unwrap();
        let config = Config {
            clip: ClipConfig { duration_s: 1.0, long_clips: LongClips::Windows },
            data: DataConfig { processed_dir: dir.path().join("processed"), ..Default::default() },
            ..Default::default()
        };
        let mut extractor = FeatureExtractor::new(&config.features).unwrap();
        let sink = Sink::Files { dir: &config.data.processed_dir, name: "a".into() };
        assert!(process(&config, &path, sink, &mut extractor).is_err());
        let left = fs::read_dir(&config.data.processed_dir).map_or(0, Iterator::count);
        assert_eq!(left, 0);
    }
}
