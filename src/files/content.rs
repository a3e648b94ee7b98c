//! What a file holds, told by a hash of its bytes; and a stamp that tells without reading whether it may hold something else by now.

use std::borrow::Cow;
use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::path::Path;
use std::time::UNIX_EPOCH;

use ndarray::Array2;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use xxhash_rust::xxh3::{Xxh3Default, xxh3_128};

use crate::error::{Error, Result};

/// Bytes read and hashed at a time: few enough to stay in a processor's cache.
const BLOCK_LEN: usize = 1 << 17;

/// A hash with 128 bits, XXH3; its text is 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    // In halves, for a number of 128 bits would have every row that holds one end on a multiple of 16 bytes.
    upper: u64,
    lower: u64,
}

impl Digest {
    /// Its lowest 24 bits, which a float of 32 holds as they are.
    pub fn as_float(self) -> f32 {
        (self.lower & 0xff_ffff) as f32
    }
}

impl From<u128> for Digest {
    fn from(number: u128) -> Self {
        Digest { upper: (number >> 64) as u64, lower: number as u64 }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.upper, self.lower)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let digits = Cow::<str>::deserialize(deserializer)?;
        let number = u128::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 32);
        number.map(Digest::from).ok_or_else(|| serde::de::Error::custom(format!("{digits:?}, not a hash of 32 digits")))
    }
}

/// The lower 32 bits of XXH3 with 64, for what is held a million times over; its text is 8 hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShortDigest(u32);

impl ShortDigest {
    /// Of an array's values, row by row.
    pub fn of_array(values: &Array2<f32>) -> Self {
        Self::of(values.as_standard_layout().as_slice().unwrap_or_default())
    }

    /// Of numbers as they lie in a file, in their order.
    pub fn of(values: &[f32]) -> Self {
        let (mut hash, mut block) = (Xxh3Default::new(), [0; 4096]);
        for values in values.chunks(block.len() / size_of::<f32>()) {
            let bytes = &mut block[..size_of_val(values)];
            for (bytes, value) in bytes.as_chunks_mut().0.iter_mut().zip(values) {
                *bytes = value.to_le_bytes();
            }
            hash.update(bytes);
        }
        ShortDigest(hash.digest() as u32)
    }
}

impl Serialize for ShortDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:08x}", self.0))
    }
}

impl<'de> Deserialize<'de> for ShortDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let digits = Cow::<str>::deserialize(deserializer)?;
        let number = u32::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 8);
        number.map(ShortDigest).ok_or_else(|| serde::de::Error::custom(format!("{digits:?}, not a hash of 8 digits")))
    }
}

/// The hash of a file's bytes. Names, times and places do not enter it.
///
/// It tells recordings apart, not forgers: two files of one hash do not come about by accident.
///
/// # Errors
/// [`Error::Io`] when the file cannot be read.
pub fn hash_file(path: &Path) -> Result<Digest> {
    let mut file = File::open(path).map_err(Error::io("read", path))?;
    let mut hash = Xxh3Default::new();
    let mut block = vec![0; BLOCK_LEN];
    loop {
        match file.read(&mut block) {
            Ok(0) => return Ok(Digest::from(hash.digest128())),
            Ok(length) => hash.update(&block[..length]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::io("read", path)(error)),
        }
    }
}

/// The same hash of bytes in memory.
pub fn hash_bytes(bytes: &[u8]) -> Digest {
    xxh3_128(bytes).into()
}

/// The same hash of bytes that come block by block.
#[derive(Default)]
pub struct Hashing(Xxh3Default);

impl Hashing {
    /// The next bytes.
    pub fn take(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Of all that came.
    pub fn digest(&self) -> Digest {
        self.0.digest128().into()
    }
}

/// The same hash of texts, each apart from the next whatever they hold.
pub fn hash_texts(texts: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let mut hash = Xxh3Default::new();
    for text in texts {
        let text = text.as_ref();
        hash.update(&(text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    }
    Digest::from(hash.digest128()).to_string()
}

/// A hash that is another one once the file is written to, replaced, renamed or swapped with another; of use on this machine alone.
///
/// It is of size and time of change and, on Unix, the inode and the time of its last change, which a rename renews although it
/// keeps the file's own time.
///
/// # Errors
/// [`Error::Io`] when there is no such file.
pub fn stamp(path: &Path) -> Result<Digest> {
    let file = fs::metadata(path).map_err(Error::io("read", path))?;
    let modified = file.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let text = format!("{}-{}{}", file.len(), modified.map_or(0, |time| time.as_nanos()), inode(&file));
    Ok(hash_bytes(text.as_bytes()))
}

#[cfg(unix)]
fn inode(file: &Metadata) -> String {
    use std::os::unix::fs::MetadataExt;
    format!("-{}-{}.{:09}", file.ino(), file.ctime(), file.ctime_nsec())
}

#[cfg(not(unix))]
fn inode(_file: &Metadata) -> String {
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the xxHash project's sanity checks: XXH3-128 of nothing, with seed 0.
    #[test]
    fn nothing_has_its_known_hash_and_blocks_do_not_enter_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, b"").unwrap();
        assert_eq!(hash_file(&path).unwrap().to_string(), "99aa06d3014798d86001c324468d497f");
        let long: Vec<u8> = (0..3 * BLOCK_LEN + 7).map(|n| (n * n % 251) as u8).collect();
        fs::write(&path, &long).unwrap();
        assert_eq!(hash_file(&path).unwrap(), hash_bytes(&long));
    }

    #[test]
    fn a_hash_is_read_as_it_is_written() {
        let hash = hash_bytes(b"a");
        let json = serde_json::to_string(&hash).unwrap();
        assert_eq!((json.len(), serde_json::from_str::<Digest>(&json).unwrap()), (34, hash));
        assert!(serde_json::from_str::<Digest>("\"12ab\"").is_err());
    }

    #[test]
    fn numbers_are_hashed_as_the_bytes_they_are_in_a_file() {
        let values: Vec<f32> = (0..3_001).map(|n| (n as f32).sin()).collect();
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let hash = ShortDigest::of(&values);
        assert_eq!(hash, ShortDigest(xxhash_rust::xxh3::xxh3_64(&bytes) as u32));
        let json = serde_json::to_string(&hash).unwrap();
        assert_eq!((json.len(), serde_json::from_str::<ShortDigest>(&json).unwrap()), (10, hash));
        let mut other = values;
        other[2_999] = f32::from_bits(other[2_999].to_bits() ^ 1);
        assert_ne!(ShortDigest::of(&other), hash);
    }

    #[test]
    fn texts_are_told_apart_whatever_separates_them() {
        assert_ne!(hash_texts(["a b", "c"]), hash_texts(["a", "b c"]));
        assert_ne!(hash_texts(["a\n"]), hash_texts(["a", ""]));
        assert_eq!(hash_texts(["a", "b"]), hash_texts(["a".to_owned(), "b".to_owned()]));
    }

    #[test]
    fn a_stamp_changes_when_two_files_of_one_size_and_time_are_swapped() {
        let dir = tempfile::tempdir().unwrap();
        let [a, b, aside] = ["a", "b", "c"].map(|name| dir.path().join(name));
        for (path, text) in [(&a, "1"), (&b, "2")] {
            fs::write(path, text).unwrap();
            File::options().write(true).open(path).unwrap().set_modified(UNIX_EPOCH).unwrap();
        }
        let before = [stamp(&a).unwrap(), stamp(&b).unwrap()];
        fs::rename(&a, &aside).unwrap();
        fs::rename(&b, &a).unwrap();
        fs::rename(&aside, &b).unwrap();
        assert_ne!(stamp(&a).unwrap(), before[0]);
        assert_ne!(stamp(&b).unwrap(), before[1]);
    }
}
