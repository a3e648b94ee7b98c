//! Recordings that hold the same sound: to the sample, or louder, in another format, cut from the same place.
//!
//! Every 16 ms of a recording become 32 bits, one for each pair of neighbouring mel bands: whether their difference grows from one frame to
//! the next (Haitsma and Kalker 2002, "A highly robust audio fingerprinting system"). Gain, format and bit rate hardly change them. Two
//! recordings of which many bits agree at one shift in time hold the same sound.

use std::collections::HashMap;

use ndarray::ArrayView2;
use rayon::prelude::*;

use crate::dataset::catalog::Catalog;
use crate::front_end::audio::{self, Waveform};
use crate::front_end::features::{FeatureConfig, FeatureExtractor};

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

/// Every pair of recordings that hold the same sound. Every file is read, on all cores; one that cannot be read has no copy.
pub fn copies(catalog: &Catalog) -> Vec<Copy> {
    let of = |clip| {
        audio::read(&catalog.path(clip)).map_or_else(|_| Fingerprint::default(), |sound| Fingerprint::of(&sound))
    };
    let prints: Vec<Fingerprint> = catalog.clips.par_iter().map(of).collect();
    same(&prints)
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

/// The bits of each frame; `None` of one that is hardly audible.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fingerprint(Vec<Option<u32>>);

impl Fingerprint {
    /// Of a recording; of one that has no spectrogram, none.
    pub fn of(waveform: &Waveform) -> Self {
        let levels = FeatureExtractor::new(&features()).and_then(|mut extractor| {
            let samples = extractor.resample(&waveform.samples, waveform.sample_rate)?;
            extractor.log_mel_db(&samples)
        });
        levels.map_or_else(|_| Fingerprint::default(), |levels| Self::of_decibels(levels.view()))
    }

    fn of_decibels(levels: ArrayView2<f32>) -> Self {
        let loudest = levels.iter().fold(f32::MIN, |loudest, level| loudest.max(*level));
        let audible = |frame: usize| levels.column(frame).iter().any(|level| *level > loudest - AUDIBLE_DB);
        let slope = |frame: usize, band: usize| levels[[band, frame]] - levels[[band + 1, frame]];
        let bits = |frame: usize| {
            let changes = (0..N_BITS).map(|band| slope(frame, band) - slope(frame - 1, band));
            let bits = changes.enumerate().fold(0, |bits, (band, change)| bits | (u32::from(change > 0.0) << band));
            // What does not change at all has no bits either.
            (audible(frame) && audible(frame - 1) && bits != 0).then_some(bits)
        };
        Fingerprint((1..levels.ncols()).map(bits).collect())
    }

    fn n_audible(&self) -> usize {
        self.0.iter().flatten().count()
    }
}

/// Pairs of fingerprints that agree at some shift.
pub fn same(prints: &[Fingerprint]) -> Vec<Copy> {
    let mut places: HashMap<u32, Vec<(u32, u32)>> = HashMap::new();
    for (clip, print) in prints.iter().enumerate() {
        for (frame, bits) in print.0.iter().enumerate() {
            if let Some(bits) = bits {
                places.entry(*bits).or_default().push((clip as u32, frame as u32));
            }
        }
    }
    let with_earlier = |clip: usize| {
        let mut hits: HashMap<(usize, i64), usize> = HashMap::new();
        for (frame, bits) in prints[clip].0.iter().enumerate() {
            let Some(others) = bits.and_then(|bits| places.get(&bits)).filter(|others| others.len() <= MAX_BUCKET)
            else {
                continue;
            };
            for (other, at) in others.iter().filter(|(other, _)| (*other as usize) < clip) {
                *hits.entry((*other as usize, frame as i64 - i64::from(*at))).or_default() += 1;
            }
        }
        let mut best: HashMap<usize, Copy> = HashMap::new();
        for ((other, shift), _) in hits.into_iter().filter(|(_, n)| *n >= MIN_HITS) {
            if let Some((agreement, common_s)) = compare(&prints[clip], &prints[other], shift) {
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
fn compare(a: &Fingerprint, b: &Fingerprint, shift: i64) -> Option<(f64, f64)> {
    let bits_of_both = a.0.iter().enumerate().filter_map(|(frame, bits)| {
        let other = usize::try_from(frame as i64 - shift).ok().and_then(|at| *b.0.get(at)?);
        Some(((*bits)? ^ other?).count_ones() as usize)
    });
    // Sums of the bits that differ, frame by frame.
    let mut sums = vec![0usize];
    sums.extend(bits_of_both.scan(0, |sum, different| {
        *sum += different;
        Some(*sum)
    }));
    let shorter = a.n_audible().min(b.n_audible()) as f64;
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
    use crate::front_end::resample::Resampler;

    fn prints(sounds: &[Waveform]) -> Vec<(usize, usize)> {
        let prints: Vec<Fingerprint> = sounds.iter().map(Fingerprint::of).collect();
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
    fn silence_and_steady_tones_are_no_copies_of_each_other() {
        let tone = |hz: f32| Waveform {
            samples: (0..80_000).map(|n| 0.5 * (n as f32 * hz * std::f32::consts::TAU / 16_000.0).sin()).collect(),
            sample_rate: 16_000,
        };
        let silence = Waveform { samples: vec![0.0; 80_000], sample_rate: 16_000 };
        assert_eq!(prints(&[silence.clone(), silence, tone(440.0), tone(1_000.0)]), []);
    }
}
