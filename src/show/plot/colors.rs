//! Colours that survive colour blindness, a light page, a dark one, and a black-and-white print.
//!
//! Every colour has two renderings, for white paper and for dark. A picture is drawn in the one for white paper; its [`style_sheet`] puts the
//! other in its place where the page is dark.

use std::fmt::Write;

use plotters::style::RGBColor;

pub(super) const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
pub(super) const MUTED: RGBColor = RGBColor(0x55, 0x55, 0x55);
pub(super) const AXIS: RGBColor = RGBColor(0x76, 0x76, 0x76);
pub(super) const GRID: RGBColor = RGBColor(0xE6, 0xE6, 0xE6);
pub(super) const PAPER: RGBColor = RGBColor(0xFF, 0xFF, 0xFF);
pub(super) const BLUE: RGBColor = RGBColor(0x00, 0x72, 0xB2);
pub(super) const VERMILLION: RGBColor = RGBColor(0xD5, 0x5E, 0x00);

/// The hues of Okabe and Ito, "Color Universal Design" (2008), each as deep as a line on white paper has to be, ordered so that the first
/// ones differ most; their yellow is left out, which no paper is dark enough for.
pub(super) const SERIES: [RGBColor; 7] = [
    BLUE,
    VERMILLION,
    RGBColor(0x00, 0x8F, 0x68),
    RGBColor(0xB8, 0x57, 0x8F),
    RGBColor(0xA8, 0x74, 0x00),
    RGBColor(0x3C, 0x96, 0xD2),
    INK,
];

/// Each colour on white paper, and on dark, which is that of JupyterLab's dark theme.
const RENDERINGS: [(RGBColor, RGBColor); 14] = [
    (PAPER, RGBColor(0x11, 0x11, 0x11)),
    (INK, RGBColor(0xE4, 0xE4, 0xE4)),
    (MUTED, RGBColor(0xAB, 0xAB, 0xAB)),
    (AXIS, RGBColor(0x8A, 0x8A, 0x8A)),
    (GRID, RGBColor(0x2E, 0x2E, 0x2E)),
    (BLUE, RGBColor(0x4F, 0xA3, 0xE3)),
    (VERMILLION, RGBColor(0xF0, 0x7F, 0x33)),
    (SERIES[2], RGBColor(0x2D, 0xBE, 0x92)),
    (SERIES[3], RGBColor(0xDE, 0x8F, 0xBE)),
    (SERIES[4], RGBColor(0xE9, 0xA8, 0x20)),
    (SERIES[5], RGBColor(0x8A, 0xD0, 0xF7)),
    (BLACK_THEN_WHITE, WHITE),
    (WHITE_THEN_BLACK, BLACK),
    // Not a colour of any picture, but what plotters fills with when nothing was said.
    (RGBColor(0, 0, 0), RGBColor(0xE4, 0xE4, 0xE4)),
];

/// Black and white that stay so on every page: over a heat map that does. A shade beside those that change.
pub(super) const BLACK: RGBColor = RGBColor(0x02, 0x02, 0x02);
pub(super) const WHITE: RGBColor = RGBColor(0xFD, 0xFD, 0xFD);
const BLACK_THEN_WHITE: RGBColor = RGBColor(0x01, 0x01, 0x01);
const WHITE_THEN_BLACK: RGBColor = RGBColor(0xFE, 0xFE, 0xFE);

/// The kind of page a picture stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    Light,
    Dark,
}

/// The style sheet inside every picture, which gives each colour its rendering on dark pages. Where style sheets are not read, the picture is
/// the one on white paper.
pub(super) fn style_sheet() -> String {
    let mut sheet = String::from("<style>@media (prefers-color-scheme: dark) {");
    for (light, dark) in RENDERINGS {
        let (light, dark) = (hex(light), hex(dark));
        let _ = write!(sheet, "[fill=\"{light}\"]{{fill:{dark}}}[stroke=\"{light}\"]{{stroke:{dark}}}");
    }
    sheet.push_str(".on-light{display:none}.on-dark{display:inline}}</style>");
    sheet
}

/// A colour of the palette as a style takes it: its rendering on a light page, and on a dark one.
pub(crate) fn series_hex(i: usize) -> [String; 2] {
    let color = SERIES[i % SERIES.len()];
    [Page::Light, Page::Dark].map(|page| hex(rendering(color, page)))
}

/// What a colour is on a page.
fn rendering(color: RGBColor, page: Page) -> RGBColor {
    let dark = RENDERINGS.iter().find(|(light, _)| *light == color).filter(|_| page == Page::Dark);
    dark.map_or(color, |(_, dark)| *dark)
}

/// As plotters writes it.
fn hex(RGBColor(red, green, blue): RGBColor) -> String {
    format!("#{red:02X}{green:02X}{blue:02X}")
}

/// The colours of a heat map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Palette {
    /// Levels, from dark to light on every page: "magma".
    Levels,
    /// Shares from 0 to 1, from the paper to the strongest blue there is on it.
    Shares,
}

impl Palette {
    /// 256 colours from low to high.
    pub fn colors(self, page: Page) -> Vec<[u8; 3]> {
        match (self, page) {
            (Palette::Levels, _) => spread(&MAGMA),
            (Palette::Shares, Page::Light) => spread(&BLUES),
            (Palette::Shares, Page::Dark) => spread(&BLUES_ON_DARK),
        }
    }

    /// Whether the colours differ from page to page.
    pub fn has_two_renderings(self) -> bool {
        self == Palette::Shares
    }

    /// Black or white, whichever reads better on the colour of a level, on either page.
    pub fn lettering_on(self, level: u8) -> RGBColor {
        let is_pale = |page| luminance(self.colors(page)[usize::from(level)]) > EVEN_LUMINANCE;
        match (is_pale(Page::Light), is_pale(Page::Dark)) {
            (true, true) => BLACK,
            (false, false) => WHITE,
            (true, false) => BLACK_THEN_WHITE,
            (false, true) => WHITE_THEN_BLACK,
        }
    }
}

/// The luminance on which black and white read equally well: (1 + 0.05) / (Y + 0.05) = (Y + 0.05) / 0.05.
const EVEN_LUMINANCE: f64 = 0.179;

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

/// White paper through the palette's blue to navy.
const BLUES: [[u8; 3]; 3] = [[0xFF, 0xFF, 0xFF], [0x3D, 0x94, 0xC8], [0x00, 0x2F, 0x4D]];
/// Dark paper through a blue as deep to one as pale.
const BLUES_ON_DARK: [[u8; 3]; 3] = [[0x11, 0x11, 0x11], [0x2A, 0x75, 0xA8], [0xC9, 0xE6, 0xF8]];

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

/// The relative luminance (0 to 1) of an sRGB colour (IEC 61966-2-1), as WCAG 2.2 measures contrast by.
fn luminance(rgb: [u8; 3]) -> f64 {
    let linear = rgb.map(|channel| {
        let channel = f64::from(channel) / 255.0;
        if channel <= 0.04045 { channel / 12.92 } else { ((channel + 0.055) / 1.055).powf(2.4) }
    });
    0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGES: [Page; 2] = [Page::Light, Page::Dark];
    /// WCAG 2.2, 1.4.3 and 1.4.11.
    const TEXT: f64 = 4.5;
    const LINES: f64 = 3.0;

    /// CIE L* (0 to 100, CIE 15).
    fn lightness(rgb: [u8; 3]) -> f64 {
        let luminance = luminance(rgb);
        if luminance > 216.0 / 24_389.0 { 116.0 * luminance.cbrt() - 16.0 } else { luminance * 24_389.0 / 27.0 }
    }

    fn contrast(a: [u8; 3], b: [u8; 3]) -> f64 {
        let [a, b] = [a, b].map(|color| luminance(color) + 0.05);
        a.max(b) / a.min(b)
    }

    fn on(page: Page, color: RGBColor) -> [u8; 3] {
        let RGBColor(red, green, blue) = rendering(color, page);
        [red, green, blue]
    }

    #[test]
    fn spectrogram_colours_grow_evenly_in_lightness() {
        let lightness: Vec<f64> = Palette::Levels.colors(Page::Dark).into_iter().map(lightness).collect();
        assert!(lightness[0] < 1.0 && lightness[255] > 97.0);
        assert!(lightness.is_sorted_by(|a, b| a < b));
        for (i, &value) in lightness.iter().enumerate() {
            // magma's own colours, even by another measure than L*, leave the straight line by up to 5.6.
            let even = lightness[0] + (lightness[255] - lightness[0]) * i as f64 / 255.0;
            assert!((value - even).abs() < 6.0, "colour {i}: L* {value:.1}, evenly spaced {even:.1}");
        }
    }

    #[test]
    fn shares_leave_the_paper_evenly_on_either_page() {
        for page in PAGES {
            let colors = Palette::Shares.colors(page);
            assert_eq!(colors[0], on(page, PAPER));
            let from_paper: Vec<f64> = colors.iter().map(|&color| contrast(color, colors[0])).collect();
            assert!(from_paper.is_sorted_by(|a, b| a <= b) && from_paper[255] > 10.0, "{page:?}");
        }
    }

    #[test]
    fn text_and_lines_stand_out_from_the_paper_of_either_page() {
        for page in PAGES {
            let from_paper = |color| contrast(on(page, color), on(page, PAPER));
            for color in [INK, MUTED] {
                assert!(from_paper(color) >= TEXT, "{color:?} on a {page:?} page: {:.2}", from_paper(color));
            }
            for color in SERIES.into_iter().chain([AXIS]) {
                assert!(from_paper(color) >= LINES, "{color:?} on a {page:?} page: {:.2}", from_paper(color));
            }
        }
    }

    #[test]
    fn text_on_any_colour_of_the_scales_is_readable_on_either_page() {
        for palette in [Palette::Levels, Palette::Shares] {
            for (level, page) in (0..=255).flat_map(|level| PAGES.map(|page| (level, page))) {
                let background = palette.colors(page)[usize::from(level)];
                let contrast = contrast(on(page, palette.lettering_on(level)), background);
                assert!(contrast >= TEXT, "{palette:?} {level} on a {page:?} page: {contrast:.2}");
            }
        }
    }

    #[test]
    fn no_colour_has_two_renderings_on_one_page_and_none_is_rendered_twice() {
        for (i, (light, dark)) in RENDERINGS.iter().enumerate() {
            assert!(RENDERINGS[i + 1..].iter().all(|(other, _)| other != light), "{light:?}");
            assert_ne!(light, dark);
        }
        for fixed in [BLACK, WHITE] {
            assert!(RENDERINGS.iter().all(|(light, _)| *light != fixed));
        }
    }
}
