//! Bare MPEG frames, one after the other: MP3 and AAC in ADTS. No header tells their number, so a cut shows in the last one.

use std::io::{self, BufReader, Read, Seek, SeekFrom};

use super::waveform::Source;

/// Bit rates of layer III in kbit/s, by the header's index less one: of MPEG-1, and of MPEG-2 and 2.5 (ISO/IEC 11172-3, 13818-3).
const KBIT_PER_S: [[u32; 14]; 2] = [
    [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
    [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
];
/// Sample rates of MPEG-1 in Hz, by the header's index; MPEG-2 halves and MPEG-2.5 quarters them.
const SAMPLE_RATES: [u32; 3] = [44_100, 48_000, 32_000];
/// As much of a frame as tells its length, in bytes.
const HEADER_LEN: u64 = 6;

/// Whether the frames from `start` on go over the end of the file. Whatever is no frame (a tag, say) ends the search.
///
/// # Errors
/// What the source returns.
pub(super) fn ends_in_a_frame(source: &mut BufReader<impl Source>, start: u64, len: u64) -> io::Result<bool> {
    source.seek(SeekFrom::Start(start))?;
    let mut at = start;
    while at < len {
        let mut header = Vec::new();
        Read::take(&mut *source, HEADER_LEN).read_to_end(&mut header)?;
        let Ok(header) = <[u8; HEADER_LEN as usize]>::try_from(&header[..]) else {
            return Ok(header.first() == Some(&0xFF));
        };
        let Some(frame_len) = frame_len(header) else { return Ok(false) };
        at += frame_len;
        source.seek_relative(frame_len as i64 - HEADER_LEN as i64)?;
    }
    Ok(at > len)
}

/// The length in bytes of the frame that starts so, if one does.
fn frame_len([sync, kind, rates, a, b, c]: [u8; HEADER_LEN as usize]) -> Option<u64> {
    match (sync, kind & 0xF6) {
        // ADTS: 13 bits with the header in them (ISO/IEC 13818-7, 6.2).
        (0xFF, 0xF0) => {
            Some(u64::from(a & 3) << 11 | u64::from(b) << 3 | u64::from(c) >> 5).filter(|&len| len > HEADER_LEN)
        }
        (0xFF, _) if kind & 0xE6 == 0xE2 => {
            let (is_mpeg_1, shift) = match kind >> 3 & 3 {
                3 => (true, 0),
                2 => (false, 1),
                0 => (false, 2),
                _ => return None,
            };
            let kbit_per_s = KBIT_PER_S[usize::from(!is_mpeg_1)].get(usize::from(rates >> 4).checked_sub(1)?)?;
            let sample_rate = SAMPLE_RATES.get(usize::from(rates >> 2 & 3))? >> shift;
            let bytes_per_kbit = if is_mpeg_1 { 144_000 } else { 72_000 };
            Some(u64::from(bytes_per_kbit * kbit_per_s / sample_rate + u32::from(rates >> 1 & 1)))
        }
        _ => None,
    }
}
