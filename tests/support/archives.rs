//! Archives made on the spot: a small sound data set, and the tar and gzip around it.

use std::fs;
use std::io::Write;
use std::path::Path;

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

/// Four clips of noise in the ESC-50 layout and format, 1.8 MB.
pub fn esc50_files() -> Files {
    esc50_files_of(4)
}

/// So many clips of noise in the ESC-50 layout and format, 0.44 MB each.
pub fn esc50_files_of(num_clips: usize) -> Files {
    let mut table = String::from("filename,fold,target,category,esc10,src_file,take\n");
    let mut files = Vec::new();
    for index in 0..num_clips {
        let (fold, target) = (index / 2 % 5 + 1, index % 2);
        let filename = format!("{fold}-{index}-A-{target}.wav");
        table += &format!("{filename},{fold},{target},{},True,{index},A\n", ["hiss", "rush"][target]);
        files.push((format!("ESC-50-master/audio/{filename}"), noise_wav(220_500, index as u32)));
    }
    files.insert(0, ("ESC-50-master/README.md".into(), b"Noise.\n".to_vec()));
    files.insert(1, ("ESC-50-master/meta/esc50.csv".into(), table.into_bytes()));
    files
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

/// Fails unless `folder` holds exactly these files, without the archive's top folder.
#[track_caller]
pub fn assert_unpacked(folder: &Path, files: &Files) {
    for (path, content) in files {
        let below = path.split_once('/').unwrap().1;
        assert!(fs::read(folder.join(below)).unwrap() == *content, "{below} differs");
    }
    assert_eq!(count_files(folder), files.len());
}

fn count_files(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { count_files(&path) } else { 1 }).sum()
}

/// Everything in a folder by name, hidden or not.
pub fn listing(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
