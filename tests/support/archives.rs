//! Archives made on the spot: a small sound data set, and the tar and gzip around it.

use std::fs;
use std::path::Path;

#[path = "packing.rs"]
mod packing;

pub use packing::*;

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

/// What tells beside the files of an archive of this machine which it was.
const ORIGIN: &str = ".archive-xxh3";

/// Fails unless `folder` holds exactly these files, without the archive's top folder, and beside them at most which archive it was.
#[track_caller]
pub fn assert_unpacked(folder: &Path, files: &Files) {
    for (path, content) in files {
        let below = path.split_once('/').unwrap().1;
        assert!(fs::read(folder.join(below)).unwrap() == *content, "{below} differs");
    }
    assert_eq!(count_files(folder) - usize::from(folder.join(ORIGIN).is_file()), files.len());
}

fn count_files(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { count_files(&path) } else { 1 }).sum()
}

/// Everything in a folder by name, hidden or not, but for which archive it was.
pub fn listing(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name != ORIGIN);
    names.sort();
    names
}
