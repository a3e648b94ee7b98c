//! 16-bit WAV files, on disk and in memory.

use std::io::{Cursor, Write};
use std::path::Path;

use hound::{SampleFormat, WavSpec, WavWriter};

use super::waveform::{Waveform, check_samples, refuse};
use crate::error::{Error, Result};
use crate::files;

/// Writes a 16-bit PCM mono WAV, whole or not at all. Samples outside [-1, 1) are clipped; [`read`](super::read) gives back the
/// others to within 2⁻¹⁶, and exactly those that are multiples of 2⁻¹⁵.
///
/// # Errors
/// [`Error::Io`] when the system refuses; [`Error::Audio`] when a sample is not finite, or the file would pass 4 GiB.
pub fn write_wav(path: &Path, waveform: &Waveform) -> Result<()> {
    let bytes = encode(path, waveform)?;
    files::write_atomic(path, |file| file.write_all(&bytes).map_err(Error::io("write", path)))
}

/// The file that [`write_wav`] would write, in memory, for the notebook's player.
///
/// # Errors
/// [`Error::Audio`] when a sample is not finite, or the file would pass 4 GiB.
pub fn wav_bytes(waveform: &Waveform) -> Result<Vec<u8>> {
    encode(Path::new("in memory"), waveform)
}

fn encode(path: &Path, waveform: &Waveform) -> Result<Vec<u8>> {
    check_samples(&waveform.samples, 0, |_| None, path)?;
    let n_samples = waveform.samples.len();
    let fits = u32::try_from(n_samples).ok().filter(|&n| n < u32::MAX / 4);
    let n = fits.ok_or_else(|| refuse(path, None, "a WAV of less than 4 GiB", format!("{n_samples} samples")))?;
    let spec = WavSpec {
        channels: 1,
        sample_rate: waveform.sample_rate,
        bits_per_sample: 16,
        sample_format: SampleFormat::Int,
    };
    let mut bytes = Vec::with_capacity(44 + 2 * n_samples);
    let write = |bytes: &mut Vec<u8>| {
        let mut wav = WavWriter::new(Cursor::new(bytes), spec)?;
        let mut writer = wav.get_i16_writer(n);
        for &sample in &waveform.samples {
            writer.write_sample((sample * 32_768.0).round().clamp(-32_768.0, 32_767.0) as i16);
        }
        writer.flush()?;
        wav.finalize()
    };
    write(&mut bytes).map_err(|error| refuse(path, None, "samples that make a WAV", error.to_string()))?;
    Ok(bytes)
}
