//! Bare MPEG frames, one after the other: MP3 and AAC in ADTS. No header tells their number: the frames themselves are counted.

use std::io::{self, SeekFrom};

use super::tags::{behind_tag, bytes_at};
use super::waveform::Source;

/// Bit rates in kbit/s by the header's index less one (ISO/IEC 11172-3, 2.4.2.3): MPEG-1 layers I, II and III, then MPEG-2's layer I, and
/// its layers II and III (ISO/IEC 13818-3).
const KBIT_PER_S: [[u32; 14]; 5] = [
    [32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
    [32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
    [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
    [32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
    [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
];
/// Sample rates of MPEG-1 in Hz, by the header's index; MPEG-2 halves and MPEG-2.5 quarters them.
const SAMPLE_RATES: [u32; 3] = [44_100, 48_000, 32_000];
/// As much of a frame as tells its length and whether it only counts the others, in bytes.
const HEAD_LEN: usize = 48;
/// The part of a header that every frame has, in bytes; of ADTS, which has more.
const FIXED_LEN: u64 = 7;
/// How far the next frame is looked for behind what is none, in bytes.
const MAX_GAP: u64 = 1 << 20;

/// What kind of frames a stream has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    /// AAC.
    Adts,
    /// MPEG audio of layer 1, 2 or 3.
    Layer(u8),
}

/// The first bytes of a frame, understood.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Frame {
    kind: Kind,
    /// Its length in bytes.
    length: u64,
    sample_rate: u32,
    /// Samples of each channel in it.
    n_samples: u64,
    /// Whether it is one of a VBR header, which counts the frames of its stream and holds no sound.
    counts: bool,
}

/// Frames that one encoder wrote, one after the other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Part {
    pub start: u64,
    pub end: u64,
    /// Samples that its frames hold, those that the encoder added at both ends among them.
    pub n_samples: u64,
}

/// The streams that a file joins, and whether it ends inside a frame.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Parts {
    pub parts: Vec<Part>,
    pub is_cut: bool,
}

/// The kind of the stream that begins here: a frame, and where it ends another of its kind, or the end.
///
/// # Errors
/// What the source returns.
pub(super) fn stream_at(source: &mut impl Source, at: u64, end: u64) -> io::Result<Option<Kind>> {
    let Some(first) = frame_at(source, at, end)? else { return Ok(None) };
    let next = at + first.length;
    let goes_on = next >= end || frame_at(source, next, end)?.is_some_and(|next| next.kind == first.kind);
    // A lone frame that is cut is no more than two bytes that look like one.
    Ok((goes_on && (next <= end || first.counts || end - at >= HEAD_LEN as u64)).then_some(first.kind))
}

/// Where the next stream of any kind begins, within [`MAX_GAP`].
///
/// # Errors
/// What the source returns.
pub(super) fn next_stream(source: &mut impl Source, from: u64, end: u64) -> io::Result<Option<u64>> {
    let mut gap = vec![0; end.saturating_sub(from).min(MAX_GAP) as usize];
    source.seek(SeekFrom::Start(from))?;
    source.read_exact(&mut gap)?;
    for (offset, _) in gap.iter().enumerate().filter(|(_, byte)| **byte == 0xFF) {
        let at = from + offset as u64;
        if stream_at(source, at, end)?.is_some() {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

/// Walks all frames from `start` on. A new part begins where a frame counts those that follow it, behind what is
/// none, and where the rate changes.
///
/// # Errors
/// What the source returns.
pub(super) fn parts(source: &mut impl Source, start: u64, end: u64) -> io::Result<Parts> {
    let mut found = Parts::default();
    let mut part: Option<(Part, Frame)> = None;
    let mut at = start;
    while at < end {
        let Some(frame) = frame_at(source, at, end)? else {
            found.is_cut = end - at < FIXED_LEN && bytes_at::<1>(source, at, end)? == [0xFF];
            let behind = match behind_tag(source, at, end)? {
                Some(behind) => Some(behind),
                None => next_stream(source, at, end)?,
            };
            found.parts.extend(part.take().map(|(part, _)| part));
            let Some(behind) = behind else { break };
            at = behind;
            continue;
        };
        let goes_on = |(_, first): &(Part, Frame)| !frame.counts && frame.sample_rate == first.sample_rate;
        if let Some((whole, _)) = part.take_if(|part| !goes_on(part)) {
            found.parts.push(whole);
        }
        let (part, _) = part.get_or_insert((Part { start: at, end: at, n_samples: 0 }, frame));
        at += frame.length;
        part.end = at.min(end);
        part.n_samples += if frame.counts { 0 } else { frame.n_samples };
        found.is_cut = at > end;
    }
    found.parts.extend(part.map(|(part, _)| part));
    Ok(found)
}

fn frame_at(source: &mut impl Source, at: u64, end: u64) -> io::Result<Option<Frame>> {
    Ok(frame(&bytes_at::<HEAD_LEN>(source, at, end)?))
}

/// The frame that starts so, if one does.
fn frame(head: &[u8; HEAD_LEN]) -> Option<Frame> {
    match (head[0], head[1] & 0xF6) {
        (0xFF, 0xF0) => adts(head),
        (0xFF, _) if head[1] & 0xE0 == 0xE0 => mpeg(head),
        _ => None,
    }
}

/// ADTS: 13 bits of length with the header in them (ISO/IEC 13818-7, 6.2).
fn adts(head: &[u8; HEAD_LEN]) -> Option<Frame> {
    const RATES: [u32; 13] =
        [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];
    let length = u64::from(head[3] & 3) << 11 | u64::from(head[4]) << 3 | u64::from(head[5]) >> 5;
    let sample_rate = *RATES.get(usize::from(head[2] >> 2 & 15))?;
    let n_samples = 1_024 * (u64::from(head[6] & 3) + 1);
    (length > 7).then_some(Frame { kind: Kind::Adts, length, sample_rate, n_samples, counts: false })
}

fn mpeg(head: &[u8; HEAD_LEN]) -> Option<Frame> {
    let (is_mpeg_1, shift) = match head[1] >> 3 & 3 {
        3 => (true, 0),
        2 => (false, 1),
        0 => (false, 2),
        _ => return None,
    };
    let layer = 4 - (head[1] >> 1 & 3);
    let table = match (is_mpeg_1, layer) {
        (true, 1..=3) => usize::from(layer) - 1,
        (false, 1) => 3,
        (false, 2 | 3) => 4,
        _ => return None,
    };
    let kbit_per_s = KBIT_PER_S[table].get(usize::from(head[2] >> 4).checked_sub(1)?)?;
    let sample_rate = SAMPLE_RATES.get(usize::from(head[2] >> 2 & 3))? >> shift;
    let padding = u32::from(head[2] >> 1 & 1);
    let (length, n_samples) = match (layer, is_mpeg_1) {
        (1, _) => ((12_000 * kbit_per_s / sample_rate + padding) * 4, 384),
        (3, false) => (72_000 * kbit_per_s / sample_rate + padding, 576),
        _ => (144_000 * kbit_per_s / sample_rate + padding, 1_152),
    };
    let is_mono = head[3] >> 6 == 3;
    let side_info = match (is_mpeg_1, is_mono) {
        (true, false) => 32,
        (true, true) | (false, false) => 17,
        (false, true) => 9,
    };
    let marked = |at: usize, marks: &[&[u8]]| marks.iter().any(|mark| head[at..].starts_with(mark));
    let counts = layer == 3 && (marked(4 + side_info, &[b"Xing", b"Info"]) || marked(4 + 32, &[b"VBRI"]));
    Some(Frame { kind: Kind::Layer(layer), length: u64::from(length), sample_rate, n_samples, counts })
}
