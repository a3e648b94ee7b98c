//! The part of an MP4's sound that is meant to be heard.
//!
//! An AAC encoder starts a block or two early and fills up the last one. The edit list (ISO/IEC 14496-12, 8.6.5 and 8.6.6) tells
//! what to keep; symphonia reads it but does not apply it.

use super::mp4::{atoms, sound_track, u32_at, u64_at};

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
    /// How many frames it passes over, and how many behind those it keeps; none for all.
    pub(super) fn stretch(&self, sample_rate: u32) -> (u64, Option<u64>) {
        let frames = |ticks: u64, ticks_per_s: u32| {
            let frames = (u128::from(ticks) * u128::from(sample_rate)).div_ceil(u128::from(ticks_per_s.max(1)));
            u64::try_from(frames).unwrap_or(u64::MAX)
        };
        let kept = (self.duration > 0).then(|| frames(self.duration, self.duration_ticks_per_s));
        (frames(self.start, self.start_ticks_per_s), kept)
    }
}

/// The edit of the first sound track, where it keeps exactly one stretch.
pub(super) fn edit(moov: &[u8]) -> Option<Edit> {
    let trak = sound_track(moov)?;
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
    fn an_edit_keeps_a_stretch_in_frames() {
        assert_eq!(EDIT.stretch(44_100), (1_024, Some(22_050)));
        assert_eq!(Edit { duration: 0, ..EDIT }.stretch(88_200), (2_048, None));
    }
}
