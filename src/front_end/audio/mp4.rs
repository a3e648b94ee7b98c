//! Atoms, which MP4 and QuickTime files are made of: a length, a name of four bytes, a body (ISO/IEC 14496-12, 4.2).

use std::io::{self, Read, Seek, SeekFrom};

/// The largest `moov` atom looked at, in bytes; an hour of AAC has one of about 1 MB.
const MAX_MOOV_LEN: u64 = 1 << 26;

/// The body of the `moov` atom, which tells all about the tracks, if the file has one.
///
/// # Errors
/// What the source returns; a file that is not what it should be has none, and is left to the reader to complain about.
pub(super) fn moov(source: &mut (impl Read + Seek), start: u64, end: u64) -> io::Result<Option<Vec<u8>>> {
    let mut at = start;
    while at + 16 <= end {
        source.seek(SeekFrom::Start(at))?;
        let mut header = [0; 16];
        source.read_exact(&mut header)?;
        let Some((header_len, atom_len)) = lengths(&header, end - at) else { return Ok(None) };
        if &header[4..8] == b"moov" {
            if atom_len > MAX_MOOV_LEN {
                return Ok(None);
            }
            let mut moov = vec![0; (atom_len - header_len) as usize];
            source.seek(SeekFrom::Start(at + header_len))?;
            source.read_exact(&mut moov)?;
            return Ok(Some(moov));
        }
        at += atom_len;
    }
    Ok(None)
}

/// The first sound track in a `moov`.
pub(super) fn sound_track(moov: &[u8]) -> Option<&[u8]> {
    let is_sound = |trak: &&[u8]| {
        let handler = atoms(trak, b"mdia").flat_map(|mdia| atoms(mdia, b"hdlr")).next();
        handler.and_then(|handler| handler.get(8..12)) == Some(b"soun")
    };
    atoms(moov, b"trak").find(is_sound)
}

/// The bodies of the atoms of one kind.
pub(super) fn atoms<'a>(mut bytes: &'a [u8], kind: &'a [u8; 4]) -> impl Iterator<Item = &'a [u8]> {
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

/// The lengths of an atom's header and of the whole, from at least 8 of its bytes, if it ends within `space`.
fn lengths(atom: &[u8], space: u64) -> Option<(u64, u64)> {
    let (header_len, atom_len) = match u32_at(atom, 0)? {
        0 => (8, space),
        1 => (16, u64_at(atom, 8)?),
        len => (8, u64::from(len)),
    };
    (header_len..=space).contains(&atom_len).then_some((header_len, atom_len))
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}
