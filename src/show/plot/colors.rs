//! Colours that survive colour blindness, a dark page and a black-and-white print.

use plotters::style::RGBColor;

pub(super) const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
pub(super) const MUTED: RGBColor = RGBColor(0x55, 0x55, 0x55);
pub(super) const AXIS: RGBColor = RGBColor(0x99, 0x99, 0x99);
pub(super) const GRID: RGBColor = RGBColor(0xE6, 0xE6, 0xE6);
pub(super) const PAPER: RGBColor = RGBColor(0xFF, 0xFF, 0xFF);
pub(super) const BLUE: RGBColor = RGBColor(0x00, 0x72, 0xB2);
pub(super) const VERMILLION: RGBColor = RGBColor(0xD5, 0x5E, 0x00);

/// The palette of Okabe and Ito, "Color Universal Design" (2008), ordered so that the first ones differ most on white;
/// its yellow is left out, too pale for a line on paper.
pub(super) const SERIES: [RGBColor; 7] = [
    BLUE,
    VERMILLION,
    RGBColor(0x00, 0x9E, 0x73),
    RGBColor(0xCC, 0x79, 0xA7),
    RGBColor(0xE6, 0x9F, 0x00),
    RGBColor(0x56, 0xB4, 0xE9),
    RGBColor(0x00, 0x00, 0x00),
];

/// A colour of the palette as a web page names it.
pub(crate) fn series_hex(i: usize) -> String {
    let RGBColor(red, green, blue) = SERIES[i % SERIES.len()];
    format!("#{red:02X}{green:02X}{blue:02X}")
}

/// Sixteen points of "magma" by Smith and van der Walt (matplotlib, CC0), perceptually even by CAM02-UCS; straight lines
/// between them stay within 3 of 255 of its 256 colours.
const MAGMA: [[u8; 3]; 16] = [
    [0x00, 0x00, 0x04],
    [0x0B, 0x09, 0x24],
    [0x20, 0x11, 0x4B],
    [0x3B, 0x0F, 0x70],
    [0x57, 0x15, 0x7E],
    [0x72, 0x1F, 0x81],
    [0x8C, 0x29, 0x81],
    [0xA8, 0x32, 0x7D],
    [0xC4, 0x3C, 0x75],
    [0xDE, 0x49, 0x68],
    [0xF1, 0x60, 0x5D],
    [0xFA, 0x7F, 0x5E],
    [0xFE, 0x9F, 0x6D],
    [0xFE, 0xBF, 0x84],
    [0xFD, 0xDE, 0xA0],
    [0xFC, 0xFD, 0xBF],
];

/// White through the palette's blue to navy, for shares from 0 to 1.
const BLUES: [[u8; 3]; 3] = [[0xFF, 0xFF, 0xFF], [0x3D, 0x94, 0xC8], [0x00, 0x2F, 0x4D]];

/// 256 colours from dark to light, for levels.
pub(super) fn magma() -> Vec<[u8; 3]> {
    spread(&MAGMA)
}

/// 256 colours from white to navy, for shares.
pub(super) fn blues() -> Vec<[u8; 3]> {
    spread(&BLUES)
}

/// 256 colours on straight lines between evenly spaced `stops`.
fn spread(stops: &[[u8; 3]]) -> Vec<[u8; 3]> {
    let mix = |i: usize| {
        let at = i as f64 / 255.0 * (stops.len() - 1) as f64;
        let below = (at as usize).min(stops.len() - 2);
        let share = at - below as f64;
        [0, 1, 2].map(|c| {
            let (a, b) = (f64::from(stops[below][c]), f64::from(stops[below + 1][c]));
            (a + (b - a) * share).round() as u8
        })
    };
    (0..256).map(mix).collect()
}

/// The place of `value` in a palette of 256 colours that spans `low..=high`.
pub(super) fn level(value: f64, low: f64, high: f64) -> u8 {
    if high > low { ((value - low) / (high - low) * 255.0).round().clamp(0.0, 255.0) as u8 } else { 0 }
}

/// Black or white, whichever reads better on `background`.
pub(super) fn contrast(background: [u8; 3]) -> RGBColor {
    if lightness(background) > 58.0 { INK } else { PAPER }
}

/// CIE L* (0 to 100) of an sRGB colour (IEC 61966-2-1, CIE 15).
pub(super) fn lightness(rgb: [u8; 3]) -> f64 {
    let linear = rgb.map(|channel| {
        let channel = f64::from(channel) / 255.0;
        if channel <= 0.04045 { channel / 12.92 } else { ((channel + 0.055) / 1.055).powf(2.4) }
    });
    let luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
    if luminance > 216.0 / 24_389.0 { 116.0 * luminance.cbrt() - 16.0 } else { luminance * 24_389.0 / 27.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spectrogram_colours_grow_evenly_in_lightness() {
        let lightness: Vec<f64> = magma().into_iter().map(lightness).collect();
        assert!(lightness[0] < 1.0 && lightness[255] > 97.0);
        assert!(lightness.is_sorted_by(|a, b| a < b));
        for (i, &value) in lightness.iter().enumerate() {
            // magma's own colours, even by another measure than L*, leave the straight line by up to 5.6.
            let even = lightness[0] + (lightness[255] - lightness[0]) * i as f64 / 255.0;
            assert!((value - even).abs() < 6.0, "colour {i}: L* {value:.1}, evenly spaced {even:.1}");
        }
    }

    #[test]
    fn text_on_any_colour_of_the_scales_has_readable_contrast() {
        for background in magma().into_iter().chain(blues()) {
            let RGBColor(r, g, b) = contrast(background);
            assert!((lightness([r, g, b]) - lightness(background)).abs() > 40.0, "on {background:?}");
        }
    }
}
