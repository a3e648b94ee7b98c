//! Recordings that hold the same sound: to the sample, or louder, in another format, cut from the same place.
//!
//! Every 16 ms of a recording become 32 bits, one for each pair of neighbouring mel bands: whether their difference grows from one frame to
//! the next (Haitsma and Kalker 2002, "A highly robust audio fingerprinting system"). Gain, format and bit rate hardly change them. Two
//! recordings of which many bits agree at one shift in time hold the same sound.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use ndarray::ArrayView2;
use rayon::prelude::*;

use crate::dataset::catalog::{Catalog, Clip};
use crate::dataset::measure::{Measured, Measuring};
use crate::error::Result;
use crate::files::content::Digest;
use crate::front_end::audio::{self, Listen};
use crate::front_end::features::{FeatureConfig, FeatureExtractor};
use crate::front_end::resample::Running;

/// Bits of a frame, and one more band to make them of.
const N_BITS: usize = 32;
const SAMPLE_RATE: u32 = 8_000;
const HOP: usize = 128;
const N_FFT: usize = 2_048;
/// A frame this far below the loudest says nothing, in dB.
const AUDIBLE_DB: f32 = 60.0;
/// Frames whose bits are all the same in two recordings, at one shift, before they are compared whole.
const MIN_HITS: usize = 3;
/// A frame's bits that so many frames have are no mark of any.
const MAX_BUCKET: usize = 256;
/// The share of bits that may differ: half of them do by chance.
const MAX_DIFFERENT: f64 = 0.2;
/// What must be the same: a second, or most of the shorter recording, but not less than a quarter of a second.
const MIN_FRAMES: usize = 62;
const MIN_SHARE: f64 = 0.8;
const LEAST_FRAMES: usize = 16;

/// Recordings that are looked at before what was found is put with the rest.
const LOOKED_AT_ONCE: usize = 4_096;
/// Samples of a long recording whose bits are made at once, ten minutes: a whole number of hops.
const AT_ONCE: usize = 600 * SAMPLE_RATE as usize;
/// Frames of all recordings whose bits are held, 66 hours of sound: with the place of each in the order of their bits a quarter of a gigabyte.
const MAX_FRAMES: usize = 15_000_000;

/// Two recordings that hold the same sound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Copy {
    /// Their numbers in the catalog, the lower first.
    pub clips: (usize, usize),
    /// The share of the bits compared that agree, 0.8 to 1.
    pub agreement: f64,
    /// How long the part is that both have, in seconds.
    pub common_s: f64,
}

/// The recordings that hold the same sound.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Copies {
    /// Pairs of them.
    pub pairs: Vec<Copy>,
    /// Whether there is so much sound that recordings were told by their very samples alone: louder ones, other formats and cuts are not found.
    pub by_samples_alone: bool,
}

/// What tells a recording's very samples from others, and its length in seconds; nothing of a silent one, which holds no sound.
type Samples = Option<(Digest, f32)>;

fn samples_of(sound: &Measured) -> Samples {
    (!sound.is_silent()).then_some((sound.samples, sound.duration_s as f32))
}

/// Every pair of recordings that hold the same sound. Every file is read, on all cores; one that cannot be read has no copy.
pub fn copies(catalog: &Catalog) -> Copies {
    let (samples, prints) = look_up_to(catalog, MAX_FRAMES, |sound| sound.as_ref().and_then(samples_of));
    pairs(&samples, prints)
}

/// What every recording is like, `None` for one that cannot be read, and its print; no prints where they would take too much memory. Every file is
/// read once, on all cores, however long it is.
pub fn look(catalog: &Catalog) -> (Vec<Option<Measured>>, Option<Prints>) {
    look_up_to(catalog, MAX_FRAMES, |sound| sound)
}

/// `keep` makes of what a recording is like what is to be held of it.
fn look_up_to<T: Send>(
    catalog: &Catalog,
    max_frames: usize,
    keep: impl Fn(Option<Measured>) -> T + Sync,
) -> (Vec<T>, Option<Prints>) {
    let n_frames = AtomicUsize::new(0);
    let of = |printing: &mut Option<Printing>, clip: &Clip| {
        if n_frames.load(Ordering::Relaxed) > max_frames {
            *printing = None;
        }
        let (measured, bits) = of_file(&catalog.path(clip), printing.as_mut()).unzip();
        let bits = bits.unwrap_or_default();
        let before = n_frames.fetch_add(bits.len(), Ordering::Relaxed);
        (keep(measured), if before > max_frames { Vec::new() } else { bits })
    };
    let (mut looked, mut prints) = (Vec::with_capacity(catalog.clips.len()), Prints::default());
    for clips in catalog.clips.chunks(LOOKED_AT_ONCE) {
        let of_some: Vec<(T, Vec<u32>)> = clips.par_iter().map_init(|| Printing::new().ok(), of).collect();
        for (kept, bits) in of_some {
            looked.push(kept);
            prints.push(&bits);
        }
    }
    let fit = n_frames.load(Ordering::Relaxed) <= max_frames;
    (looked, fit.then_some(prints))
}

/// The pairs among recordings that were looked at.
pub fn among(looked: &[Option<Measured>], prints: Option<Prints>) -> Copies {
    let samples: Vec<Samples> = looked.iter().map(|sound| sound.as_ref().and_then(samples_of)).collect();
    pairs(&samples, prints)
}

fn pairs(samples: &[Samples], prints: Option<Prints>) -> Copies {
    let by_samples_alone = prints.is_none();
    let mut pairs = prints.map_or(Vec::new(), |prints| same(&prints));
    pairs.extend(to_the_sample(samples, &pairs));
    Copies { pairs, by_samples_alone }
}

/// Pairs of recordings with the very same samples that are not among those found already: too short to have a print, or without one.
fn to_the_sample(samples: &[Samples], known: &[Copy]) -> Vec<Copy> {
    let known: HashSet<(usize, usize)> = known.iter().map(|copy| copy.clips).collect();
    // By numbers, which take little room: those of one sound stand together, the first of them first.
    let mut order: Vec<u32> = (0..).zip(samples).filter(|(_, sound)| sound.is_some()).map(|(clip, _)| clip).collect();
    let sound = |clip: u32| samples[clip as usize].map(|(sound, _)| sound);
    order.sort_unstable_by_key(|&clip| (sound(clip), clip));
    let mut found = Vec::new();
    for of_one in order.chunk_by(|&a, &b| sound(a) == sound(b)) {
        for &clip in &of_one[1..] {
            let (clips, common_s) =
                ((of_one[0] as usize, clip as usize), samples[clip as usize].map_or(0.0, |one| f64::from(one.1)));
            if !known.contains(&clips) {
                found.push(Copy { clips, agreement: 1.0, common_s });
            }
        }
    }
    found.sort_unstable_by_key(|copy| copy.clips.1);
    found
}

/// What a file of any length is like, and its print where one is wanted.
fn of_file(path: &Path, printing: Option<&mut Printing>) -> Option<(Measured, Vec<u32>)> {
    let Some(printing) = printing else { return Some((Measured::of_file(path).ok()?, Vec::new())) };
    let mut looking = Looking { measuring: None, printing };
    let has_offset = audio::stream_as_recorded(path, &mut looking).ok()?;
    let measured = looking.measuring.take()?.finish();
    if has_offset {
        // A print is of the sound without it.
        audio::stream(path, looking.printing).ok()?;
    }
    // What has no spectrogram has no print.
    Some((measured, looking.printing.finish().unwrap_or_default()))
}

/// Measures a recording and takes its print as it is read.
struct Looking<'a> {
    measuring: Option<Measuring>,
    printing: &'a mut Printing,
}

impl Listen for Looking<'_> {
    fn begin(&mut self, sample_rate: u32) -> Result<()> {
        self.measuring = Some(Measuring::new(sample_rate));
        self.printing.begin(sample_rate)
    }

    fn take(&mut self, samples: &[f32]) -> Result<()> {
        self.measuring.iter_mut().for_each(|measuring| measuring.take(samples));
        self.printing.take(samples)
    }
}

fn features() -> FeatureConfig {
    FeatureConfig {
        sample_rate: SAMPLE_RATE,
        n_fft: N_FFT,
        win_length: N_FFT,
        hop_length: HOP,
        n_mels: N_BITS + 1,
        f_min: 100.0,
        ..FeatureConfig::default()
    }
}

/// The bits of each frame of every recording, [`NONE`] of one that is hardly audible; one behind the other, for there may be very many.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prints {
    bits: Vec<u32>,
    /// Where those of each recording end.
    ends: Vec<usize>,
}

impl Prints {
    fn push(&mut self, bits: &[u32]) {
        self.bits.extend_from_slice(bits);
        self.ends.push(self.bits.len());
    }

    fn len(&self) -> usize {
        self.ends.len()
    }

    fn of(&self, clip: usize) -> &[u32] {
        let start = if clip == 0 { 0 } else { self.ends[clip - 1] };
        &self.bits[start..self.ends[clip]]
    }
}

fn n_audible(bits: &[u32]) -> usize {
    bits.iter().filter(|bits| **bits != NONE).count()
}

/// The bits of a frame that has none.
const NONE: u32 = 0;

/// A print that is taken as a recording comes. Of a long one every ten minutes count by themselves in what is hardly audible.
struct Printing {
    extractor: FeatureExtractor,
    under_way: Option<(u32, Running)>,
    /// Samples at [`SAMPLE_RATE`] that have no bits yet.
    held: Vec<f32>,
    bits: Vec<u32>,
}

impl Printing {
    fn new() -> Result<Self> {
        let extractor = FeatureExtractor::new(&features())?;
        Ok(Printing { extractor, under_way: None, held: Vec::new(), bits: Vec::new() })
    }

    fn add(&mut self, n_samples: usize) -> Result<()> {
        let levels = self.extractor.log_mel_db(&self.held[..n_samples])?;
        self.held.drain(..n_samples);
        self.bits.extend(bits_of(levels.view()));
        Ok(())
    }

    fn finish(&mut self) -> Result<Vec<u32>> {
        if let Some((sample_rate, running)) = self.under_way.take() {
            let resampler = running.finish(&mut self.held)?;
            self.extractor.take_back(sample_rate, resampler);
            self.add(self.held.len())?;
        }
        Ok(std::mem::take(&mut self.bits))
    }
}

impl Listen for Printing {
    fn begin(&mut self, sample_rate: u32) -> Result<()> {
        self.held.clear();
        self.bits.clear();
        self.under_way = Some((sample_rate, Running::on_one_thread(self.extractor.lend_resampler(sample_rate)?)));
        Ok(())
    }

    fn take(&mut self, samples: &[f32]) -> Result<()> {
        let Some((_, running)) = &mut self.under_way else { return Ok(()) };
        running.take(samples, &mut self.held)?;
        // One that ends just there is not cut.
        while self.held.len() > AT_ONCE {
            self.add(AT_ONCE)?;
        }
        Ok(())
    }
}

/// The bits of every frame but the first.
fn bits_of(levels: ArrayView2<f32>) -> Vec<u32> {
    let loudest = levels.iter().fold(f32::MIN, |loudest, level| loudest.max(*level));
    let audible = |frame: usize| levels.column(frame).iter().any(|level| *level > loudest - AUDIBLE_DB);
    let slope = |frame: usize, band: usize| levels[[band, frame]] - levels[[band + 1, frame]];
    let bits = |frame: usize| {
        let changes = (0..N_BITS).map(|band| slope(frame, band) - slope(frame - 1, band));
        let bits = changes.enumerate().fold(0, |bits, (band, change)| bits | (u32::from(change > 0.0) << band));
        // What does not change at all has no bits either.
        if audible(frame) && audible(frame - 1) { bits } else { NONE }
    };
    (1..levels.ncols()).map(bits).collect()
}

/// Where the same bits are.
struct Places {
    /// Bits, recording and frame, in this order.
    all: Vec<(u32, u32, u32)>,
    /// Where those begin whose upper half is a number.
    starts: Vec<usize>,
}

impl Places {
    fn of(prints: &Prints) -> Self {
        let mut all = Vec::with_capacity(n_audible(&prints.bits));
        for clip in 0..prints.len() {
            let frames = prints.of(clip).iter().zip(0..).filter(|(bits, _)| **bits != NONE);
            all.extend(frames.map(|(bits, frame)| (*bits, clip as u32, frame)));
        }
        all.par_sort_unstable();
        let starts = (0..=1 << 16).map(|upper: u64| all.partition_point(|(bits, ..)| u64::from(*bits) < upper << 16));
        Places { starts: starts.collect(), all }
    }

    /// Recordings and frames that have these bits, in their order.
    fn with(&self, bits: u32) -> &[(u32, u32, u32)] {
        let upper = (bits >> 16) as usize;
        let near = &self.all[self.starts[upper]..self.starts[upper + 1]];
        let start = near.partition_point(|(other, ..)| *other < bits);
        let length = near[start..].partition_point(|(other, ..)| *other == bits);
        &near[start..start + length]
    }
}

/// Pairs of recordings whose prints agree at some shift.
fn same(prints: &Prints) -> Vec<Copy> {
    let places = Places::of(prints);
    let with_earlier = |clip: usize| {
        let mut hits: HashMap<(usize, i64), usize> = HashMap::new();
        for (frame, bits) in prints.of(clip).iter().enumerate().filter(|(_, bits)| **bits != NONE) {
            let others = places.with(*bits);
            if others.len() > MAX_BUCKET {
                continue;
            }
            for (_, other, at) in others.iter().filter(|(_, other, _)| (*other as usize) < clip) {
                *hits.entry((*other as usize, frame as i64 - i64::from(*at))).or_default() += 1;
            }
        }
        let mut best: HashMap<usize, Copy> = HashMap::new();
        for ((other, shift), _) in hits.into_iter().filter(|(_, n)| *n >= MIN_HITS) {
            if let Some((agreement, common_s)) = compare(prints.of(clip), prints.of(other), shift) {
                let copy = Copy { clips: (other, clip), agreement, common_s };
                let known = best.entry(other).or_insert(copy);
                if copy.agreement > known.agreement {
                    *known = copy;
                }
            }
        }
        best.into_values().collect::<Vec<_>>()
    };
    let mut found: Vec<Copy> = (0..prints.len()).into_par_iter().flat_map_iter(with_earlier).collect();
    found.sort_by_key(|copy| copy.clips);
    found
}

/// The share of bits that agree in the stretch that agrees best, and the seconds of all stretches that agree, where any does.
fn compare(a: &[u32], b: &[u32], shift: i64) -> Option<(f64, f64)> {
    let bits_of_both = a.iter().enumerate().filter_map(|(frame, bits)| {
        let other = *b.get(usize::try_from(frame as i64 - shift).ok()?)?;
        (*bits != NONE && other != NONE).then_some((*bits ^ other).count_ones() as usize)
    });
    // Sums of the bits that differ, frame by frame.
    let mut sums = vec![0usize];
    sums.extend(bits_of_both.scan(0, |sum, different| {
        *sum += different;
        Some(*sum)
    }));
    let shorter = n_audible(a).min(n_audible(b)) as f64;
    let least = (MIN_SHARE * shorter).min(MIN_FRAMES as f64).max(LEAST_FRAMES as f64).ceil() as usize;
    let different = |start: usize| (sums[start + least] - sums[start]) as f64 / (least * N_BITS) as f64;
    let stretches: Vec<f64> = (0..sums.len().saturating_sub(least)).map(different).collect();
    let best = stretches.iter().copied().fold(f64::INFINITY, f64::min);
    let n_agree = stretches.iter().filter(|different| **different <= MAX_DIFFERENT).count();
    let common_s = ((n_agree + least - 1) * HOP) as f64 / f64::from(SAMPLE_RATE);
    (n_agree > 0).then_some((1.0 - best, common_s))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::demo;
    use crate::files::content::hash_bytes;
    use crate::front_end::audio::Waveform;
    use crate::front_end::resample::Resampler;

    fn prints(sounds: &[Waveform]) -> Vec<(usize, usize)> {
        let of = |waveform: &Waveform| {
            let mut printing = Printing::new().unwrap();
            printing.begin(waveform.sample_rate).unwrap();
            printing.take(&waveform.without_offset()).unwrap();
            printing.finish().unwrap()
        };
        let mut prints = Prints::default();
        sounds.iter().for_each(|sound| prints.push(&of(sound)));
        same(&prints).into_iter().map(|copy| copy.clips).collect()
    }

    fn changed(sound: &Waveform, change: impl Fn(usize, f32) -> f32) -> Waveform {
        let samples = sound.samples.iter().enumerate().map(|(n, sample)| change(n, *sample)).collect();
        Waveform { samples, ..*sound }
    }

    #[test]
    fn a_copy_is_found_louder_at_another_rate_shifted_and_cut() {
        // Noise bursts of two kinds: no two takes are alike.
        let (one, other) = (demo::synthesize(0, 8, 1, 0, 0), demo::synthesize(0, 8, 2, 1, 0));
        let louder = changed(&one, |_, sample| 0.3 * sample);
        let coarse = changed(&one, |_, sample| (sample * 2_000.0).round() / 2_000.0);
        let cut = Waveform { samples: one.samples[30_007..150_000].to_vec(), ..one };
        let rate = Resampler::new(one.sample_rate, 22_050).unwrap().process(&one.samples).unwrap();
        let resampled = Waveform { samples: rate, sample_rate: 22_050 };
        assert_eq!(prints(&[one.clone(), other.clone()]), []);
        for copy in [one.clone(), louder, coarse, cut, resampled] {
            assert_eq!(prints(&[one.clone(), other.clone(), copy]), [(0, 2)]);
        }
    }

    #[test]
    fn too_much_sound_is_told_by_its_samples_alone() {
        let dir = tempfile::tempdir().unwrap();
        let sounds = [(8, 0), (8, 0), (8, 1)].map(|(class, source)| demo::synthesize(0, class, 1, source, 0));
        for (n, sound) in sounds.iter().enumerate() {
            let folder = dir.path().join(format!("class {}", n % 2));
            std::fs::create_dir_all(&folder).unwrap();
            audio::write_wav(&folder.join(format!("{n}.wav")), sound).unwrap();
        }
        // Of the first, quieter.
        let quieter = changed(&sounds[0], |_, sample| 0.5 * sample);
        audio::write_wav(&dir.path().join("class 1/3.wav"), &quieter).unwrap();
        let catalog = Catalog::from_class_folders(dir.path()).unwrap();
        let numbers = |copies: &Copies| copies.pairs.iter().map(|copy| copy.clips).collect::<Vec<_>>();
        // In the order of the folders: 0, 2, 1, 3.
        let all = copies(&catalog);
        assert_eq!((numbers(&all), all.by_samples_alone), (vec![(0, 2), (0, 3), (2, 3)], false));
        let (looked, prints) = look_up_to(&catalog, 500, |sound| sound);
        let told = among(&looked, prints);
        assert_eq!((numbers(&told), told.by_samples_alone), (vec![(0, 2)], true));
    }

    #[test]
    fn the_very_same_samples_are_a_pair_unless_it_is_known_or_they_are_silent() {
        let measured = |samples: u8, sounding_s: f64| Measured {
            duration_s: 1.0,
            sounding_s,
            rms_dbfs: -20.0,
            sample_rate: 44_100,
            bandwidth_hz: 20_000.0,
            clipped: 0.0,
            offset: 0.0,
            samples: hash_bytes(&[samples]),
        };
        let known = Copy { clips: (0, 3), agreement: 0.99, common_s: 1.0 };
        let mut looked = [1, 2, 1, 1].map(|samples| Some(measured(samples, 1.0))).to_vec();
        looked.extend([None, Some(measured(3, 0.0)), Some(measured(3, 0.0))]);
        let looked: Vec<Samples> = looked.iter().map(|sound| sound.as_ref().and_then(samples_of)).collect();
        let pairs: Vec<(usize, usize)> = to_the_sample(&looked, &[known]).iter().map(|copy| copy.clips).collect();
        assert_eq!(pairs, [(0, 2)]);
    }

    #[test]
    fn recordings_longer_than_ten_minutes_are_told_like_short_ones() {
        // A sound of its own at every time, at 8 kHz.
        let sound = |n: usize, seed: u32| {
            let mut state = seed;
            let noise = (0..n).map(move |at| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let noise = (state >> 8) as f32 / (1 << 24) as f32 - 0.5;
                noise * (0.2 + (at as f32 * 1e-3).sin().abs())
            });
            Waveform { samples: noise.collect(), sample_rate: 8_000 }
        };
        let long = sound(2 * AT_ONCE + 80_000, 1);
        let cut = Waveform { samples: long.samples[AT_ONCE - 40_000..AT_ONCE + 40_000].to_vec(), sample_rate: 8_000 };
        assert_eq!(prints(&[long, cut, sound(80_000, 2)]), [(0, 1)]);
    }

    #[test]
    fn silence_and_steady_tones_are_no_copies_of_each_other() {
        let tone = |hz: f32| Waveform {
            samples: (0..80_000).map(|n| 0.5 * (n as f32 * hz * std::f32::consts::TAU / 16_000.0).sin()).collect(),
            sample_rate: 16_000,
        };
        let silence = Waveform { samples: vec![0.0; 80_000], sample_rate: 16_000 };
        assert_eq!(prints(&[silence.clone(), silence, tone(440.0), tone(1_000.0)]), []);
    }
}
