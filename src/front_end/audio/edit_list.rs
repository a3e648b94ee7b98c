//! The part of an MP4's sound that is meant to be heard.
//!
//! An AAC encoder starts a block or two early and fills up the last one. The edit list (ISO/IEC 14496-12, 8.6.5 and 8.6.6) tells
//! what to keep; symphonia reads it but does not apply it.

use std::io::{self, Read, Seek, SeekFrom};

/// The largest `moov` atom looked at, in bytes; an hour of AAC has one of about 1 MB.
const MAX_MOOV_LEN: u64 = 1 << 26;

/// The one stretch that an edit list keeps, in the file's own ticks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Edit {
    start: u64,
    start_ticks_per_s: u32,
    /// 0 for "to the end".
    duration: u64,
    duration_ticks_per_s: u32,
}

impl Edit {
    /// Cuts the samples to what the edit keeps; an edit that keeps nothing is a mistake, and changes nothing.
    pub(super) fn apply(&self, samples: &mut Vec<f32>, sample_rate: u32) {
        let frames = |ticks: u64, ticks_per_s: u32| {
            let frames = (u128::from(ticks) * u128::from(sample_rate)).div_ceil(u128::from(ticks_per_s.max(1)));
            usize::try_from(frames).unwrap_or(usize::MAX)
        };
        let start = frames(self.start, self.start_ticks_per_s);
        if start >= samples.len() {
            return;
        }
        samples.drain(..start);
        if self.duration > 0 {
            samples.truncate(frames(self.duration, self.duration_ticks_per_s));
        }
    }
}

/// Finds the edit of the first sound track, where there is exactly one.
///
/// # Errors
/// What the source returns; a file that is not what it should be has no edit, and is left to the reader to complain about.
pub(super) fn read(source: &mut (impl Read + Seek), len: u64) -> io::Result<Option<Edit>> {
    let mut at = 0;
    while at + 16 <= len {
        source.seek(SeekFrom::Start(at))?;
        let mut header = [0; 16];
        source.read_exact(&mut header)?;
        let Some((header_len, atom_len)) = lengths(&header, len - at) else { return Ok(None) };
        if &header[4..8] == b"moov" {
            if atom_len > MAX_MOOV_LEN {
                return Ok(None);
            }
            let mut moov = vec![0; (atom_len - header_len) as usize];
            source.seek(SeekFrom::Start(at + header_len))?;
            source.read_exact(&mut moov)?;
            return Ok(edit(&moov));
        }
        at += atom_len;
    }
    Ok(None)
}

/// The lengths of an atom's header and of the whole, from at least 8 of its bytes, if it ends within `space`.
fn lengths(atom: &[u8], space: u64) -> Option<(u64, u64)> {
    let (header_len, atom_len) = match u32_at(atom, 0)? {
        0 => (8, space),
        1 => (16, u64_at(atom, 8)?),
        len => (8, u64::from(len)),
    };
    (header_len..=space).contains(&atom_len).then_some((header_len, atom_len))
}

/// The bodies of the atoms of one kind.
fn atoms<'a>(mut bytes: &'a [u8], kind: &'a [u8; 4]) -> impl Iterator<Item = &'a [u8]> {
    std::iter::from_fn(move || {
        loop {
            let (header_len, atom_len) = lengths(bytes, bytes.len() as u64)?;
            let (atom, rest) = bytes.split_at(atom_len as usize);
            bytes = rest;
            if &atom[4..8] == kind {
                return Some(&atom[header_len as usize..]);
            }
        }
    })
}

fn edit(moov: &[u8]) -> Option<Edit> {
    let is_sound = |trak: &&[u8]| {
        let handler = atoms(trak, b"mdia").flat_map(|mdia| atoms(mdia, b"hdlr")).next();
        handler.and_then(|handler| handler.get(8..12)) == Some(b"soun")
    };
    let trak = atoms(moov, b"trak").find(is_sound)?;
    let elst = atoms(trak, b"edts").flat_map(|edts| atoms(edts, b"elst")).next()?;
    let media = atoms(trak, b"mdia").flat_map(|mdia| atoms(mdia, b"mdhd")).next()?;
    let (duration, start) = only_entry(elst)?;
    Some(Edit {
        start,
        start_ticks_per_s: ticks_per_s(media)?,
        duration,
        duration_ticks_per_s: ticks_per_s(atoms(moov, b"mvhd").next()?)?,
    })
}

/// Duration and start of the one entry that is not a gap.
fn only_entry(elst: &[u8]) -> Option<(u64, u64)> {
    let wide = *elst.first()? == 1;
    let entries = elst.get(8..)?.chunks_exact(if wide { 20 } else { 12 }).take(u32_at(elst, 4)? as usize);
    let mut kept = entries.filter_map(|entry| {
        let (duration, start) = if wide {
            (u64_at(entry, 0)?, u64_at(entry, 8)? as i64)
        } else {
            (u64::from(u32_at(entry, 0)?), i64::from(u32_at(entry, 4)? as i32))
        };
        Some((duration, u64::try_from(start).ok()?))
    });
    let first = kept.next()?;
    kept.next().is_none().then_some(first)
}

/// The time scale in an `mvhd` or `mdhd` atom, behind two times of 4 bytes, or of 8 in version 1.
fn ticks_per_s(header: &[u8]) -> Option<u32> {
    u32_at(header, if *header.first()? == 1 { 20 } else { 12 })
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn atom(kind: &[u8; 4], bodies: &[Vec<u8>]) -> Vec<u8> {
        let body = bodies.concat();
        [&(body.len() as u32 + 8).to_be_bytes(), &kind[..], &body].concat()
    }

    /// A `moov` with one sound track: media at 44,100 ticks per second, movie at 1,000.
    fn moov(elst: Vec<u8>) -> Vec<u8> {
        let scale = |kind: &[u8; 4], ticks_per_s: u32| atom(kind, &[vec![0; 12], ticks_per_s.to_be_bytes().to_vec()]);
        let handler = atom(b"hdlr", &[vec![0; 8], b"soun".to_vec()]);
        let mdia = atom(b"mdia", &[scale(b"mdhd", 44_100), handler]);
        [scale(b"mvhd", 1_000), atom(b"trak", &[atom(b"edts", &[atom(b"elst", &[elst])]), mdia])].concat()
    }

    /// An edit list of version 0: duration and start of each entry, at speed 1.
    fn narrow(entries: &[(u32, i32)]) -> Vec<u8> {
        let mut elst = [[0; 4], (entries.len() as u32).to_be_bytes()].concat();
        for (duration, start) in entries {
            elst.extend([duration.to_be_bytes(), start.to_be_bytes(), [0, 1, 0, 0]].concat());
        }
        elst
    }

    /// The same of version 1.
    fn wide(entries: &[(u64, i64)]) -> Vec<u8> {
        let mut elst = [[1, 0, 0, 0], (entries.len() as u32).to_be_bytes()].concat();
        for (duration, start) in entries {
            elst.extend([&duration.to_be_bytes()[..], &start.to_be_bytes(), &[0, 1, 0, 0]].concat());
        }
        elst
    }

    const EDIT: Edit = Edit { start: 1_024, start_ticks_per_s: 44_100, duration: 500, duration_ticks_per_s: 1_000 };

    #[test]
    fn both_widths_read_the_same_and_a_gap_in_front_is_passed_over() {
        assert_eq!(edit(&moov(narrow(&[(500, 1_024)]))), Some(EDIT));
        assert_eq!(edit(&moov(wide(&[(500, 1_024)]))), Some(EDIT));
        assert_eq!(edit(&moov(narrow(&[(20, -1), (500, 1_024)]))), Some(EDIT));
    }

    #[test]
    fn several_stretches_and_damaged_lists_are_left_alone() {
        assert_eq!(edit(&moov(narrow(&[(500, 1_024), (500, 90_000)]))), None);
        assert_eq!(edit(&moov(narrow(&[]))), None);
        let whole = moov(narrow(&[(500, 1_024)]));
        for len in 0..whole.len() {
            assert_eq!(edit(&whole[..len]), None, "{len} bytes");
        }
    }

    #[test]
    fn an_edit_keeps_its_stretch_and_one_that_keeps_nothing_changes_nothing() {
        let whole: Vec<f32> = (0..44_100).map(|n| n as f32).collect();
        let mut samples = whole.clone();
        EDIT.apply(&mut samples, 44_100);
        assert_eq!(samples, whole[1_024..1_024 + 22_050]);
        let mut samples = whole.clone();
        Edit { start: 44_100, ..EDIT }.apply(&mut samples, 44_100);
        assert_eq!(samples, whole);
    }
}
