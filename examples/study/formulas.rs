//! Sounds made by formulas, of as many classes as are asked for: what a network learns to tell apart before it hears a recording.
//!
//! A class is a program: one or two sources (harmonics, noise, clicks, chirps), each with its course over time, all drawn from the number of the
//! class. A take of it varies pitch, rhythm, level, colour and background. No recording is in it, so that what was learned of it may be given to anyone
//! (formula-driven supervised learning: Kataoka et al. 2020, <https://arxiv.org/abs/2101.08515>; for sounds Shibata et al. 2025,
//! <https://arxiv.org/abs/2504.04428>).

use std::f32::consts::TAU;

use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use audio_transformer::audio::Waveform;

/// In Hz: nothing above 8 kHz is made.
pub const SAMPLE_RATE: u32 = 16_000;
/// Five seconds, as of ESC-50.
pub const N_SAMPLES: usize = 5 * SAMPLE_RATE as usize;
/// Harmonics of a source at most.
const MOST_HARMONICS: usize = 24;
/// Events of a source at most.
const MOST_EVENTS: usize = 120;

type Rng = Xoshiro256PlusPlus;

/// What sounds.
#[derive(Clone, Debug)]
enum Source {
    /// A fundamental with its harmonics, which may glide, waver, and be switched on and off many times a second.
    Harmonics { tilt: f32, stretch: f32, odd: bool, glide: f32, vibrato: (f32, f32), switched_hz: f32 },
    /// Noise around a pitch, so many octaves wide.
    Noise { octaves: f32 },
    /// Three resonances that die away, with a burst of noise before them.
    Click { spread: f32, fall: f32 },
    /// A glide with its octave.
    Chirp { octaves: f32 },
}

/// When it sounds.
#[derive(Clone, Copy, Debug)]
enum Course {
    Steady,
    Swelling { period_s: f32 },
    Once,
    Repeated { period_s: f32, jitter: f32 },
    Scattered { period_s: f32 },
}

/// A source and its course.
#[derive(Clone, Debug)]
struct Layer {
    source: Source,
    pitch_hz: f32,
    course: Course,
    duration_s: f32,
    attack_s: f32,
    decay: f32,
    level: f32,
}

/// A take of a class: five seconds of mono at 16 kHz, its peak between a tenth and 1.
pub fn synthesize(class: u64, take: u64) -> Waveform {
    let key = |stream: u64| class.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ stream.wrapping_mul(0xd1b5_4a32_d192_ed03);
    let mut of_class = Rng::seed_from_u64(key(0));
    let mut rng = Rng::seed_from_u64(key(1 + take));
    let n_layers = if of_class.random_bool(0.6) { 1 } else { 2 };
    let mut sound = vec![0.0; N_SAMPLES];
    for _ in 0..n_layers {
        let layer = Layer::draw(&mut of_class);
        layer.add_to(&mut sound, &mut rng);
    }
    Waveform { samples: recorded(sound, &mut rng), sample_rate: SAMPLE_RATE }
}

impl Layer {
    fn draw(rng: &mut Rng) -> Self {
        let tilt = rng.random_range(0.3..2.2);
        let glide = if rng.random_bool(0.5) { 0.0 } else { rng.random_range(-1.2..1.2) };
        let source = match rng.random_range(0..5) {
            kind @ 0..2 => Source::Harmonics {
                tilt,
                stretch: if rng.random_bool(0.67) { 0.0 } else { rng.random_range(0.0..0.02) },
                odd: rng.random_bool(0.3),
                glide,
                vibrato: (
                    rng.random_range(0.0..9.0),
                    if rng.random_bool(0.5) { 0.0 } else { rng.random_range(0.0..0.06) },
                ),
                switched_hz: if kind == 0 { 0.0 } else { even_octaves(rng, 1.0, 60.0) },
            },
            2 => Source::Noise { octaves: rng.random_range(0.2..3.0) },
            3 => Source::Click { spread: rng.random_range(0.5..6.0), fall: tilt },
            _ => Source::Chirp { octaves: if glide == 0.0 { 1.0 } else { glide } },
        };
        let period_s = even_octaves(rng, 0.05, 1.6);
        let course = match rng.random_range(0..5) {
            0 => Course::Steady,
            1 => Course::Swelling { period_s: 4.0 * period_s },
            2 => Course::Once,
            3 => Course::Repeated { period_s, jitter: [0.0, 0.05, 0.4][rng.random_range(0..3)] },
            _ => Course::Scattered { period_s },
        };
        // A click that does not end is none.
        let is_click = matches!(source, Source::Click { .. });
        let course = match course {
            Course::Steady | Course::Swelling { .. } if is_click => Course::Repeated { period_s, jitter: 0.05 },
            other => other,
        };
        Layer {
            source,
            pitch_hz: even_octaves(rng, 60.0, 2_500.0),
            course,
            duration_s: even_octaves(rng, 0.01, 1.2),
            attack_s: [0.002, 0.02, 0.2][rng.random_range(0..3)],
            decay: rng.random_range(0.5..4.0),
            level: rng.random_range(0.3..1.0),
        }
    }

    /// Adds a take of it.
    fn add_to(&self, sound: &mut [f32], rng: &mut Rng) {
        let pitch = self.pitch_hz * rng.random_range(-0.25f32..0.25).exp2();
        match self.course {
            Course::Steady => add(sound, &self.source.play(N_SAMPLES, pitch, rng), 0, |_| self.level),
            Course::Swelling { period_s } => {
                let rate_hz = rng.random_range(-0.3f32..0.3).exp2() / period_s;
                let phase = rng.random_range(0.0..TAU);
                let swell = |t: f32| 0.15 + 0.85 * (0.5 + 0.5 * (TAU * rate_hz * t + phase).sin()).powi(2);
                add(sound, &self.source.play(N_SAMPLES, pitch, rng), 0, |t| self.level * swell(t));
            }
            Course::Once => {
                let at_s = rng.random_range(0.0..3.5);
                self.add_events(sound, &[at_s], pitch, rng);
            }
            Course::Repeated { period_s, jitter } => {
                let period_s = period_s * rng.random_range(-0.2f32..0.2).exp2();
                let step_s = period_s.max(0.3 * self.duration_s);
                let first_s = rng.random_range(0.0..period_s);
                let at_s = |i: usize, rng: &mut Rng| {
                    first_s + i as f32 * step_s + jitter * period_s * rng.random_range(-0.5..0.5)
                };
                let times: Vec<f32> = (0..MOST_EVENTS).map(|i| at_s(i, rng)).take_while(|at_s| *at_s < 5.0).collect();
                self.add_events(sound, &times, pitch, rng);
            }
            Course::Scattered { period_s } => {
                let n = ((5.0 / period_s) as usize + 1).min(MOST_EVENTS);
                let times: Vec<f32> = (0..n).map(|_| rng.random_range(0.0..5.0)).collect();
                self.add_events(sound, &times, pitch, rng);
            }
        }
    }

    fn add_events(&self, sound: &mut [f32], times_s: &[f32], pitch_hz: f32, rng: &mut Rng) {
        let duration_s = self.duration_s * rng.random_range(-0.3f32..0.3).exp2();
        let n = ((duration_s * SAMPLE_RATE as f32) as usize).max(200);
        let mut event = Vec::new();
        for (i, at_s) in times_s.iter().enumerate() {
            // Events of one take are alike, and drift.
            if i % 8 == 0 {
                event = self.source.play(n, pitch_hz * rng.random_range(-0.05f32..0.05).exp2(), rng);
            }
            let level = self.level * rng.random_range(0.5..1.0);
            let envelope = |t: f32| level * (t / self.attack_s).min(1.0) * (-self.decay * t / duration_s).exp();
            add(sound, &event, (at_s.max(0.0) * SAMPLE_RATE as f32) as usize, envelope);
        }
    }
}

impl Source {
    /// So many samples of it, at most 1.
    fn play(&self, n: usize, pitch_hz: f32, rng: &mut Rng) -> Vec<f32> {
        let length_s = seconds(n).max(0.01);
        let mut sound = match *self {
            Source::Harmonics { tilt, stretch, odd, glide, vibrato: (vibrato_hz, depth), switched_hz } => {
                let audible = ((7_500.0 / pitch_hz) as usize).clamp(1, MOST_HARMONICS);
                let partials: Vec<(f32, f32, f32)> = (1..=audible)
                    .filter(|k| !odd || k % 2 == 1)
                    .map(|k| {
                        (k as f32 * (1.0 + stretch * k as f32), (k as f32).powf(-tilt), rng.random_range(0.0..1.0))
                    })
                    .collect();
                let start = rng.random_range(0.0..TAU);
                let mut phase = 0f32;
                let mut tone = |i: usize| {
                    let t = seconds(i);
                    let hz =
                        pitch_hz * (glide * t / length_s).exp2() * (1.0 + depth * (TAU * vibrato_hz * t + start).sin());
                    phase += hz / SAMPLE_RATE as f32;
                    let is_on = switched_hz == 0.0 || (switched_hz * t).fract() < 0.5;
                    let partial = |(ratio, level, offset): &(f32, f32, f32)| {
                        if hz * ratio < 8_000.0 { level * (TAU * (phase * ratio + offset)).sin() } else { 0.0 }
                    };
                    if is_on { partials.iter().map(partial).sum() } else { 0.0 }
                };
                (0..n).map(&mut tone).collect()
            }
            Source::Noise { octaves } => noise(n, pitch_hz, octaves, rng),
            Source::Click { spread, fall } => {
                let mut click: Vec<f32> =
                    (0..n).map(|i| 0.5 * (-400.0 * seconds(i)).exp() * rng.random_range(-1.7..1.7)).collect();
                for k in 0..3 {
                    let hz = pitch_hz * (1.0 + k as f32 * 1.37 * spread / 3.0);
                    if hz < 8_000.0 {
                        let die = 20.0 + 200.0 * fall * (k + 1) as f32;
                        add(&mut click, &vec![1.0; n], 0, |t| (-die * t).exp() * (TAU * hz * t).sin());
                    }
                }
                click
            }
            Source::Chirp { octaves } => {
                let mut phase = 0f32;
                let tone = |i: usize| {
                    phase += pitch_hz * (octaves * seconds(i) / length_s).exp2() / SAMPLE_RATE as f32;
                    (TAU * phase).sin() + 0.4 * (2.0 * TAU * phase).sin()
                };
                (0..n).map(tone).collect()
            }
        };
        scale_to(&mut sound, 1.0);
        sound
    }
}

/// Noise around a pitch: white noise through two band-passes, the narrower the fewer octaves.
fn noise(n: usize, centre_hz: f32, octaves: f32, rng: &mut Rng) -> Vec<f32> {
    let white: Vec<f32> = (0..n).map(|_| rng.random_range(-1.0..1.0)).collect();
    let q = 1.0 / (2.0 * (octaves / 2.0 * std::f32::consts::LN_2).sinh());
    let band = Biquad::band_pass(centre_hz.min(7_000.0), q);
    band.filter(&band.filter(&white))
}

/// A filter of second order, as in Bristow-Johnson's cookbook.
#[derive(Clone, Copy)]
struct Biquad {
    b: [f32; 3],
    a: [f32; 2],
}

impl Biquad {
    fn band_pass(hz: f32, q: f32) -> Self {
        let (w, alpha) = angle(hz, q);
        let a0 = 1.0 + alpha;
        Biquad { b: [alpha / a0, 0.0, -alpha / a0], a: [-2.0 * w.cos() / a0, (1.0 - alpha) / a0] }
    }

    /// Lifts or lowers what lies around a pitch.
    fn peak(hz: f32, q: f32, db: f32) -> Self {
        let (w, alpha) = angle(hz, q);
        let gain = 10f32.powf(db / 40.0);
        let a0 = 1.0 + alpha / gain;
        Biquad {
            b: [(1.0 + alpha * gain) / a0, -2.0 * w.cos() / a0, (1.0 - alpha * gain) / a0],
            a: [-2.0 * w.cos() / a0, (1.0 - alpha / gain) / a0],
        }
    }

    fn filter(&self, sound: &[f32]) -> Vec<f32> {
        let (mut s1, mut s2) = (0f32, 0f32);
        let step = |x: &f32| {
            let y = self.b[0] * x + s1;
            s1 = self.b[1] * x - self.a[0] * y + s2;
            s2 = self.b[2] * x - self.a[1] * y;
            y
        };
        sound.iter().map(step).collect()
    }
}

fn angle(hz: f32, q: f32) -> (f32, f32) {
    let w = TAU * hz / SAMPLE_RATE as f32;
    (w, w.sin() / (2.0 * q))
}

/// As a microphone somewhere would have it: for a part of the time in some, coloured, over a background, at some level.
fn recorded(mut sound: Vec<f32>, rng: &mut Rng) -> Vec<f32> {
    if rng.random_bool(0.3) {
        let begins = rng.random_range(0.0..2.0);
        let ends = begins + rng.random_range(1.5..5.0);
        for (i, sample) in sound.iter_mut().enumerate() {
            if !(begins..ends).contains(&seconds(i)) {
                *sample = 0.0;
            }
        }
    }
    for octave in 0..6 {
        let hz = 80.0 * (octave as f32 * 1.2).exp2();
        sound = Biquad::peak(hz.min(7_500.0), 0.9, rng.random_range(-8.0..8.0)).filter(&sound);
    }
    scale_to(&mut sound, 1.0);
    let mut background = noise(N_SAMPLES, 500.0, rng.random_range(3.0..6.0), rng);
    scale_to(&mut background, 10f32.powf(rng.random_range(-4.5..-1.7)));
    add(&mut sound, &background, 0, |_| 1.0);
    scale_to(&mut sound, 10f32.powf(rng.random_range(-1.0..0.0)));
    sound
}

/// Every octave as likely as the next.
fn even_octaves(rng: &mut Rng, low: f32, high: f32) -> f32 {
    low * (high / low).powf(rng.random_range(0.0..1.0))
}

fn seconds(index: usize) -> f32 {
    index as f32 / SAMPLE_RATE as f32
}

/// Adds samples from a place on, each times a factor of its time.
fn add(sound: &mut [f32], other: &[f32], from: usize, factor: impl Fn(f32) -> f32) {
    for (i, (sample, more)) in sound.iter_mut().skip(from).zip(other).enumerate() {
        *sample += more * factor(seconds(i));
    }
}

/// Brings the peak to a level; silence stays.
fn scale_to(sound: &mut [f32], level: f32) {
    let peak = sound.iter().fold(0f32, |peak, sample| peak.max(sample.abs()));
    if peak > 0.0 {
        sound.iter_mut().for_each(|sample| *sample *= level / peak);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_numbers_give_the_same_samples_and_others_others() {
        for class in 0..40 {
            let sound = synthesize(class, 0).samples;
            assert_eq!(sound, synthesize(class, 0).samples);
            assert_ne!(sound, synthesize(class, 1).samples);
            assert_ne!(sound, synthesize(class + 1, 0).samples);
        }
    }

    #[test]
    fn every_take_sounds_and_none_is_clipped() {
        for class in 0..200 {
            let sound = synthesize(class, class % 7).samples;
            assert_eq!(sound.len(), N_SAMPLES);
            let peak = sound.iter().fold(0f32, |peak, sample| peak.max(sample.abs()));
            assert!((0.09..=1.0 + 1e-6).contains(&peak), "class {class}: {peak}");
        }
    }
}
