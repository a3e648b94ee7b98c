//! What ends an exported ONNX file: one more entry of its metadata, with a hash of everything before it.
//!
//! A file whose weights were damaged on their way is a network like any other, and its answers are wrong.

use crate::files::content::hash_bytes;

/// The entry as protocol buffers have it, up to its value: field 14 of the model, with a key and 32 digits.
const BEFORE_DIGITS: &[u8] = b"\x72\x28\x0a\x04xxh3\x12\x20";
#[cfg(any(feature = "onnx", test))]
const DIGITS: usize = 32;

/// Ends a file that was just made.
#[cfg(any(feature = "torch", test))]
pub(crate) fn seal(mut file: Vec<u8>) -> Vec<u8> {
    let digits = hash_bytes(&file).to_string();
    file.extend(BEFORE_DIGITS);
    file.extend(digits.bytes());
    file
}

/// Refuses a file that is not what was written, with what was expected and found. One without the entry passes: it is from before there was
/// one, or another program has written it anew.
#[cfg(any(feature = "onnx", test))]
pub(crate) fn check(file: &[u8]) -> Result<(), (String, String)> {
    let Some((rest, digits)) = file.split_last_chunk::<DIGITS>() else { return Ok(()) };
    let Some(written) = rest.strip_suffix(BEFORE_DIGITS) else { return Ok(()) };
    match hash_bytes(written).to_string().as_bytes() == digits {
        true => Ok(()),
        false => Err((
            "the bytes that were exported (or, where they were changed on purpose, no entry xxh3 in the metadata)"
                .into(),
            "other ones".into(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_that_tips_over_is_told() {
        let whole = seal(b"some bytes".to_vec());
        check(&whole).unwrap();
        check(b"some bytes").unwrap();
        // In front of the entry and in its digits; in what makes it an entry, the file counts as one without.
        for place in (0..10).chain(whole.len() - DIGITS..whole.len()) {
            let mut damaged = whole.clone();
            damaged[place] ^= 1;
            assert!(check(&damaged).is_err(), "byte {place}");
        }
    }
}
