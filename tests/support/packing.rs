//! Tar and gzip around files made on the spot.

use std::io::Write;

use audio_transformer::internals::front_end::audio::{Waveform, wav_bytes};
use flate2::Compression;
use flate2::write::GzEncoder;

/// Files of a data set by their path.
pub type Files = Vec<(String, Vec<u8>)>;

/// A WAV of noise, different for every seed, so that it hardly compresses.
pub fn noise_wav(n_frames: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761).max(1);
    let samples = (0..n_frames).map(|_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as i32 as f32 / 2_147_483_648.0
    });
    wav_bytes(&Waveform { samples: samples.collect(), sample_rate: 44_100 }).unwrap()
}

pub fn pack<'a>(files: impl IntoIterator<Item = &'a (String, Vec<u8>)>) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, &content[..]).unwrap();
    }
    tar.into_inner().unwrap()
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}
