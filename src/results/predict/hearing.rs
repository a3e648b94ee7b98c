//! From a recording to a prediction by way of whatever runs the network: windows, their mean, calibration, standing.

use std::path::Path;

use crate::config::{ClipConfig, LongClips};
use crate::dataset::measure::{Loudness, SILENCE_DBFS};
use crate::dataset::preprocess::{Cutter, Windows};
use crate::error::{Error, Result};
use crate::front_end::audio::{self, Listen, Waveform};
use crate::front_end::features::{FeatureExtractor, Spectrogram};
use crate::front_end::resample::Running;
use crate::results::predict::prediction::{Prediction, Standing, Window};
use crate::training::described::CheckpointInfo;
use crate::training::reference::{Reference, UNLIKE};

/// Windows run through a network at once on a processor: more only take more memory.
pub(super) const FEW: usize = 4;
/// The same on a device that is idle without them.
#[cfg(feature = "torch")]
pub(super) const MANY: usize = 64;
/// Samples of a recording in memory that are taken at a time.
const BLOCK_LEN: usize = 1 << 20;

/// What a network makes of one clip.
pub(super) struct Verdict {
    /// Of every class, as the mean over its views.
    pub probabilities: Vec<f32>,
    /// What says how familiar it is, and what the head sees of it, in the order of the runtime.
    pub seen: Vec<f32>,
    /// How far it is from what the network knows, where that was measured.
    pub distance: Option<f32>,
}

/// What a network makes of a recording.
pub(super) struct Heard {
    /// Probability of every class as the mean over the windows that are not silent, calibrated; over all, where none sounds.
    pub mean: Vec<f32>,
    /// The same of each window.
    pub timeline: Vec<Window>,
    /// [`Verdict::seen`] as the mean over the same windows.
    pub seen: Vec<f32>,
    /// The recording's length in seconds.
    pub duration_s: f64,
    /// The level of its loudest 10 ms, in dBFS.
    pub loudest_dbfs: f64,
}

/// A network that listens: it cuts what comes into windows as long as a clip, hears some of them at a time, and takes the mean of what it makes of
/// them. It holds some windows and all that was said of each, and never a recording.
pub(super) struct Hearing<'a, N> {
    info: &'a CheckpointInfo,
    extractor: &'a mut FeatureExtractor,
    network: N,
    reference: Option<&'a Reference>,
    batch_size: usize,
    /// From one window to the next, in seconds; none for one behind the other.
    hop_s: Option<f32>,
    /// Is told how much of a file was read, 0 to 1, and whether to go on.
    go_on: Option<&'a mut dyn FnMut(f64) -> bool>,
    stopped: bool,
    /// Nothing before the recording begins.
    under_way: Option<UnderWay>,
}

/// How far a recording was heard.
struct UnderWay {
    sample_rate: u32,
    n_samples: u64,
    loudness: Loudness,
    cutter: Cutter,
    said: Said,
}

/// What was said so far, and what is to be heard next.
#[derive(Default)]
struct Said {
    /// Windows with their start in seconds.
    batch: Vec<(f64, Vec<f32>)>,
    /// The windows before those, as the network takes them.
    ready: Vec<Ready>,
    of_sound: Sums,
    of_silence: Sums,
    timeline: Vec<Window>,
}

/// What was said of windows, added up.
#[derive(Default)]
struct Sums {
    n: usize,
    probabilities: Vec<f64>,
    seen: Vec<f64>,
}

/// A window that the network is to hear.
struct Ready {
    place: Place,
    spectrogram: Spectrogram,
}

/// Where a window is, and how loud.
struct Place {
    start_s: f64,
    end_s: f64,
    loudest_dbfs: f64,
}

impl<'a, N: FnMut(&[Spectrogram]) -> Result<Vec<Verdict>>> Hearing<'a, N> {
    pub fn new(
        info: &'a CheckpointInfo,
        extractor: &'a mut FeatureExtractor,
        reference: Option<&'a Reference>,
        batch_size: usize,
        network: N,
    ) -> Self {
        let (hop_s, go_on, stopped, under_way) = (None, None, false, None);
        Hearing { info, extractor, network, reference, batch_size, hop_s, go_on, stopped, under_way }
    }

    /// Lets windows overlap, one every so many seconds.
    pub fn every(self, hop_s: Option<f32>) -> Self {
        Hearing { hop_s, ..self }
    }

    /// Hears a recording in memory.
    ///
    /// # Errors
    /// [`Error::Signal`] for samples that are no sound, and what the network reports.
    pub fn waveform(mut self, waveform: &Waveform) -> Result<Heard> {
        self.begin(waveform.sample_rate)?;
        waveform.without_offset().chunks(BLOCK_LEN).try_for_each(|block| self.take(block))?;
        self.finish()
    }

    /// Hears a file of any length, as long as it is told to go on; and whether that was to its end.
    ///
    /// # Errors
    /// As [`audio::stream`] and [`Hearing::waveform`].
    pub fn file(mut self, path: &Path, go_on: &'a mut dyn FnMut(f64) -> bool) -> Result<(Heard, bool)> {
        self.go_on = Some(go_on);
        match audio::stream(path, &mut self) {
            Err(_) if self.stopped => {}
            read => read?,
        }
        let is_whole = !self.stopped;
        Ok((self.finish()?, is_whole))
    }

    fn finish(mut self) -> Result<Heard> {
        let Some(UnderWay { sample_rate, n_samples, loudness, cutter, mut said }) = self.under_way.take() else {
            return Err(Error::Signal { expected: "a recording".into(), found: "none that began".into() });
        };
        let duration_s = n_samples as f64 / f64::from(sample_rate);
        let resampler = cutter.finish(|start, window| self.window(&mut said, start, window))?;
        self.extractor.take_back(sample_rate, resampler);
        // What waits is made ready, and then heard.
        self.ask(&mut said)?;
        self.ask(&mut said)?;
        let Said { of_sound, of_silence, mut timeline, .. } = said;
        // A network names silence, too: what it says of it is nothing about the sound around it.
        let (mut mean, seen) = if of_sound.n > 0 { of_sound.means() } else { of_silence.means() };
        timeline.iter_mut().for_each(|window| window.end_s = window.end_s.min(duration_s));
        if let Some(calibration) = &self.info.calibration {
            calibration.apply(&mut mean);
            timeline.iter_mut().for_each(|window| calibration.apply(&mut window.probabilities));
        }
        Ok(Heard { mean, timeline, seen, duration_s, loudest_dbfs: loudness.loudest_dbfs() })
    }

    /// Takes up a window, and hears a batch once it is full.
    fn window(&mut self, said: &mut Said, start: usize, samples: &[f32]) -> Result<()> {
        said.batch.push((start as f64 / f64::from(self.info.settings.features.sample_rate), samples.to_vec()));
        if said.batch.len() == self.batch_size { self.ask(said) } else { Ok(()) }
    }

    /// Has the network hear what is ready, and meanwhile makes ready what waits.
    fn ask(&mut self, said: &mut Said) -> Result<()> {
        let sample_rate = self.info.settings.features.sample_rate;
        let (waiting, ready) = (std::mem::take(&mut said.batch), std::mem::take(&mut said.ready));
        let Hearing { extractor, network, reference, .. } = self;
        let prepare =
            || waiting.into_iter().map(|window| Ready::new(window, extractor, sample_rate)).collect::<Result<Vec<_>>>();
        let (places, spectrograms): (Vec<_>, Vec<_>) =
            ready.into_iter().map(|ready| (ready.place, ready.spectrogram)).unzip();
        let (next, verdicts) = match spectrograms.is_empty() {
            true => (prepare(), Ok(Vec::new())),
            false => meanwhile(prepare, || network(&spectrograms)),
        };
        said.ready = next?;
        for (Place { start_s, end_s, loudest_dbfs }, verdict) in places.into_iter().zip(verdicts?) {
            let Verdict { probabilities, seen, distance } = verdict;
            if !probabilities.iter().all(|probability| probability.is_finite()) {
                let (expected, found) =
                    ("a network that answers in numbers".into(), "one that does not: get it again".into());
                return Err(Error::Signal { expected, found });
            }
            let standing = standing(loudest_dbfs, reference.zip(distance));
            let sums = if standing == Standing::Silent { &mut said.of_silence } else { &mut said.of_sound };
            sums.add(&probabilities, &seen);
            said.timeline.push(Window { start_s, end_s, probabilities, standing });
        }
        Ok(())
    }
}

/// Does one thing in a thread of its own while it does another.
#[cfg(not(target_family = "wasm"))]
fn meanwhile<A: Send, B>(one: impl FnOnce() -> A + Send, another: impl FnOnce() -> B) -> (A, B) {
    std::thread::scope(|scope| {
        let one = scope.spawn(one);
        let done = another();
        (one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), done)
    })
}

/// A browser's page has one thread.
#[cfg(target_family = "wasm")]
fn meanwhile<A, B>(one: impl FnOnce() -> A, another: impl FnOnce() -> B) -> (A, B) {
    (one(), another())
}

impl Ready {
    fn new((start_s, samples): (f64, Vec<f32>), extractor: &mut FeatureExtractor, sample_rate: u32) -> Result<Self> {
        let mut loudness = Loudness::new(sample_rate);
        loudness.take(&samples);
        let end_s = start_s + samples.len() as f64 / f64::from(sample_rate);
        let place = Place { start_s, end_s, loudest_dbfs: loudness.loudest_dbfs() };
        Ok(Ready { place, spectrogram: extractor.extract(&samples, sample_rate)? })
    }
}

impl<N: FnMut(&[Spectrogram]) -> Result<Vec<Verdict>>> Listen for Hearing<'_, N> {
    fn begin(&mut self, sample_rate: u32) -> Result<()> {
        let settings = &self.info.settings;
        let windows_config = ClipConfig { long_clips: LongClips::Windows, ..settings.clip };
        let hop = self.hop_s.map(|hop_s| (hop_s * settings.features.sample_rate as f32).round() as usize);
        let windows = Windows::new(settings.features.sample_rate, &windows_config, hop);
        let resampling = Running::new(self.extractor.lend_resampler(sample_rate)?);
        let cutter = Cutter::new(resampling, windows);
        let (loudness, said) = (Loudness::new(sample_rate), Said::default());
        self.under_way = Some(UnderWay { sample_rate, n_samples: 0, loudness, cutter, said });
        Ok(())
    }

    fn take(&mut self, samples: &[f32]) -> Result<()> {
        let Some(mut under_way) = self.under_way.take() else { return Ok(()) };
        let UnderWay { n_samples, loudness, cutter, said, .. } = &mut under_way;
        *n_samples += samples.len() as u64;
        loudness.take(samples);
        cutter.take(samples, |start, window| self.window(said, start, window))?;
        self.under_way = Some(under_way);
        Ok(())
    }

    fn follow(&mut self, share: f64) -> Result<()> {
        if self.go_on.as_mut().is_none_or(|go_on| go_on(share)) {
            return Ok(());
        }
        self.stopped = true;
        Err(Error::Signal { expected: "somebody to listen".into(), found: "nobody any more".into() })
    }
}

impl Sums {
    fn add(&mut self, probabilities: &[f32], seen: &[f32]) {
        self.n += 1;
        for (sums, values) in [(&mut self.probabilities, probabilities), (&mut self.seen, seen)] {
            sums.resize(values.len(), 0.0);
            sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += f64::from(*value));
        }
    }

    fn means(self) -> (Vec<f32>, Vec<f32>) {
        let of_n = |sums: Vec<f64>| sums.into_iter().map(|sum| (sum / self.n as f64) as f32).collect();
        (of_n(self.probabilities), of_n(self.seen))
    }
}

/// Refuses windows that would leave sound out, or never end.
///
/// # Errors
/// [`Error::Config`] for a hop that is not above 0 and up to the clip's length.
pub(super) fn check_hop(hop_s: f32, info: &CheckpointInfo) -> Result<()> {
    let clip_s = info.settings.clip.duration_s;
    let least_s = 1.0 / info.settings.features.sample_rate as f32;
    if (least_s..=clip_s).contains(&hop_s) {
        return Ok(());
    }
    Err(Error::Config {
        field: "hop_s",
        expected: format!("above 0, up to the network's clips of {clip_s} s"),
        found: hop_s.to_string(),
    })
}

/// How a sound stands with its loudest 10 ms at a level, and at a distance from what a network knows.
pub(super) fn standing(loudest_dbfs: f64, familiar: Option<(&Reference, f32)>) -> Standing {
    if loudest_dbfs <= SILENCE_DBFS {
        return Standing::Silent;
    }
    match familiar {
        None => Standing::Unknown,
        Some((reference, distance)) => {
            let share = reference.share_as_far(distance);
            if share <= UNLIKE { Standing::Unlike(share) } else { Standing::Like(share) }
        }
    }
}

impl Heard {
    /// The classes by their probability, with everything that goes by their order.
    pub(super) fn prediction(self, labels: &[String], standing: Standing, path: &Path) -> Prediction {
        let Heard { mean, mut timeline, duration_s, .. } = self;
        let mut order: Vec<usize> = (0..mean.len()).collect();
        order.sort_by(|&a, &b| mean[b].total_cmp(&mean[a]));
        let ranked = order.iter().map(|&class| (labels[class].clone(), mean[class])).collect();
        for window in &mut timeline {
            window.probabilities = order.iter().map(|&class| window.probabilities[class]).collect();
        }
        let windows = timeline.len();
        Prediction { path: path.into(), duration_s, windows, ranked, timeline, standing }
    }
}
