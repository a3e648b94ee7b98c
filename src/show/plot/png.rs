//! Heat maps as PNG files: one byte per cell, an index into a palette.
//!
//! The cells are stored, not compressed: the levels of a spectrogram hardly repeat, and a byte per cell is already small.

/// Longest run of bytes in one stored block (RFC 1951, 3.2.4).
const BLOCK: usize = 65_535;

/// Encodes `pixels` (row by row from the top, `columns` to a row) as an indexed 8-bit PNG
/// (W3C Portable Network Graphics, third edition).
pub(super) fn encode(columns: usize, pixels: &[u8], palette: &[[u8; 3]]) -> Vec<u8> {
    let columns = columns.max(1);
    let rows = pixels.len() / columns;
    let mut header = Vec::with_capacity(13);
    header.extend_from_slice(&(columns as u32).to_be_bytes());
    header.extend_from_slice(&(rows as u32).to_be_bytes());
    // 8 bits a pixel, colour type 3 (palette), the only compression and filter methods there are, not interlaced.
    header.extend_from_slice(&[8, 3, 0, 0, 0]);

    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    chunk(&mut png, b"IHDR", &header);
    chunk(&mut png, b"PLTE", palette.as_flattened());
    // Each row starts with its filter: 0, none.
    let scanlines: Vec<u8> =
        pixels.chunks_exact(columns).flat_map(|row| [0].into_iter().chain(row.iter().copied())).collect();
    chunk(&mut png, b"IDAT", &zlib_stored(&scanlines));
    chunk(&mut png, b"IEND", &[]);
    png
}

fn chunk(png: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
    png.extend_from_slice(&(data.len() as u32).to_be_bytes());
    let start = png.len();
    png.extend_from_slice(kind);
    png.extend_from_slice(data);
    let crc = crc32(&png[start..]);
    png.extend_from_slice(&crc.to_be_bytes());
}

/// A zlib stream (RFC 1950) of stored blocks.
fn zlib_stored(data: &[u8]) -> Vec<u8> {
    let mut stream = vec![0x78, 0x01];
    let blocks = data.len().div_ceil(BLOCK);
    for (i, block) in data.chunks(BLOCK).enumerate() {
        let len = block.len() as u16;
        stream.push(u8::from(i + 1 == blocks));
        stream.extend_from_slice(&len.to_le_bytes());
        stream.extend_from_slice(&(!len).to_le_bytes());
        stream.extend_from_slice(block);
    }
    stream.extend_from_slice(&adler32(data).to_be_bytes());
    stream
}

fn adler32(data: &[u8]) -> u32 {
    let (a, b) = data.iter().fold((1u32, 0u32), |(a, b), &byte| {
        let a = (a + u32::from(byte)) % 65_521;
        (a, (a + b) % 65_521)
    });
    b << 16 | a
}

/// The cyclic redundancy check of PNG (annex D of its specification), bit by bit.
fn crc32(data: &[u8]) -> u32 {
    !data.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoder_reads_back_every_pixel_across_stored_blocks() {
        let pixels: Vec<u8> = (0..300 * 500).map(|i| (i % 251) as u8).collect();
        let palette: Vec<[u8; 3]> = (0..=255).map(|i| [i, 255 - i, i / 2]).collect();
        let bytes = encode(300, &pixels, &palette);
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
        let mut decoded = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut decoded).unwrap();
        assert_eq!((reader.info().width, reader.info().height), (300, 500));
        assert_eq!(decoded, pixels);
        assert_eq!(reader.info().palette.as_deref().unwrap(), palette.as_flattened());
    }
}
