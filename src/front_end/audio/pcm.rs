//! Samples as they are stored, converted in bulk to mono.

use super::balance::Balance;

/// How a sample is stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Sample {
    U8,
    I8,
    I16,
    I24,
    I32,
    F32,
    F64,
}

impl Sample {
    /// Its length in bytes.
    pub fn n_bytes(self) -> usize {
        match self {
            Sample::U8 | Sample::I8 => 1,
            Sample::I16 => 2,
            Sample::I24 => 3,
            Sample::I32 | Sample::F32 => 4,
            Sample::F64 => 8,
        }
    }

    /// Appends the little-endian frames in `bytes`, each as the mean of its channels; integers are scaled to [-1, 1).
    pub fn append_mono(self, bytes: &[u8], channels: usize, samples: &mut Vec<f32>, balance: &mut Balance) {
        match self {
            Sample::U8 => append_mono(bytes, channels, samples, balance, |[a]| (f32::from(a) - 128.0) / 128.0),
            Sample::I8 => append_mono(bytes, channels, samples, balance, |a| f32::from(i8::from_le_bytes(a)) / 128.0),
            Sample::I16 => {
                append_mono(bytes, channels, samples, balance, |a| f32::from(i16::from_le_bytes(a)) / 32_768.0)
            }
            Sample::I24 => append_mono(bytes, channels, samples, balance, |[a, b, c]| {
                i32::from_le_bytes([0, a, b, c]) as f32 / 2_147_483_648.0
            }),
            Sample::I32 => {
                append_mono(bytes, channels, samples, balance, |a| i32::from_le_bytes(a) as f32 / 2_147_483_648.0);
            }
            Sample::F32 => append_mono(bytes, channels, samples, balance, f32::from_le_bytes),
            Sample::F64 => append_mono(bytes, channels, samples, balance, |a| f64::from_le_bytes(a) as f32),
        }
    }
}

fn append_mono<const N: usize>(
    bytes: &[u8],
    channels: usize,
    samples: &mut Vec<f32>,
    balance: &mut Balance,
    to_f32: impl Fn([u8; N]) -> f32,
) {
    let (values, _) = bytes.as_chunks::<N>();
    if channels == 1 {
        samples.extend(values.iter().map(|&value| to_f32(value)));
        return;
    }
    let (done, interleaved) = (samples.len(), values.iter().map(|&value| to_f32(value)).collect::<Vec<_>>());
    match channels {
        // The next case, twice as fast and more.
        2 => samples.extend(interleaved.as_chunks().0.iter().map(|[left, right]| (left + right) / 2.0)),
        _ => {
            samples.extend(interleaved.chunks_exact(channels).map(|frame| frame.iter().sum::<f32>() / channels as f32))
        }
    }
    balance.count(&interleaved, channels, &samples[done..]);
}
