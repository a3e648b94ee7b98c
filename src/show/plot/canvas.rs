//! The sheet that every picture is drawn on: size, paper, title, text, heat maps.

use std::fmt::Write;
use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea};
use plotters::prelude::{IntoFont, SVGBackend, TextStyle};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontStyle, FontTransform, RGBColor};

use super::checks::refuse;
use super::colors::{self, Page, Palette};
use super::picture::Picture;
use super::png;
use crate::error::Result;
use crate::show::html::{escape, printable};

/// Shapes are placed on a grid of half CSS pixels, because plotters' coordinates are whole numbers.
pub(super) const SCALE: i32 = 2;

/// An SVG of this many bytes is 300 kB of base64 in the notebook.
const MAX_SVG_BYTES: usize = 224_000;

/// Space between the picture's edge and its title.
pub(super) const MARGIN: i32 = 10;
/// Height of the line with the title.
pub(super) const TITLE_HEIGHT: i32 = 28;
pub(super) const TITLE_SIZE: i32 = 14;
pub(super) const LABEL_SIZE: i32 = 12;
pub(super) const TICK_SIZE: i32 = 11;

pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub(super) type DrawError = DrawingAreaErrorKind<io::Error>;
pub(super) type Drawn = Result<(), DrawError>;

/// A rectangle in CSS pixels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rect {
    pub left: i32,
    pub top: i32,
    pub width: i32,
    pub height: i32,
}

impl Rect {
    pub fn right(&self) -> i32 {
        self.left + self.width
    }

    pub fn bottom(&self) -> i32 {
        self.top + self.height
    }
}

/// A matrix of palette indices, stretched over a rectangle.
pub(super) struct HeatMap {
    pub place: Rect,
    pub columns: usize,
    /// Row by row from the top.
    pub cells: Vec<u8>,
    pub palette: Palette,
}

impl HeatMap {
    /// Writes one image, or one for either page where the colours differ.
    fn write(&self, svg: &mut String) {
        let HeatMap { place, columns, cells, palette } = self;
        let pages: &[(Page, &str)] = match palette.has_two_renderings() {
            true => &[(Page::Light, " class=\"on-light\""), (Page::Dark, " class=\"on-dark\" display=\"none\"")],
            false => &[(Page::Light, "")],
        };
        for (page, when) in pages {
            let _ = writeln!(
                svg,
                "<image{when} x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" preserveAspectRatio=\"none\" \
                 style=\"image-rendering:pixelated\" href=\"data:image/png;base64,{}\"/>",
                place.left * SCALE,
                place.top * SCALE,
                place.width * SCALE,
                place.height * SCALE,
                STANDARD.encode(png::encode(*columns, cells, &palette.colors(*page))),
            );
        }
    }
}

/// What a picture is before its shapes are drawn.
pub(super) struct Sheet {
    /// The picture's name in an error.
    pub name: &'static str,
    pub alt: String,
    pub width: i32,
    pub height: i32,
    /// Heat maps lie under everything that `paint` draws.
    pub heat_maps: Vec<HeatMap>,
}

impl Sheet {
    pub fn paint(self, paint: impl FnOnce(&Area) -> Drawn) -> Result<Picture> {
        let (width, height) = (self.width.max(1) as u32, self.height.max(1) as u32);
        let (inner_width, inner_height) = (width * SCALE as u32, height * SCALE as u32);
        let mut drawn = String::new();
        {
            let area = SVGBackend::with_string(&mut drawn, (inner_width, inner_height)).into_drawing_area();
            let painted = paint(&area).and_then(|()| area.present());
            painted.map_err(|error| refuse(self.name, error.to_string()))?;
        }
        // The first line is plotters' own <svg> tag, which knows neither the size on the page nor the heat maps.
        let shapes = drawn.split_once('\n').map_or("", |(_, shapes)| shapes);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {inner_width} {inner_height}\" role=\"img\">\n<title>{}</title>\n\
             {}\n<rect width=\"100%\" height=\"100%\" rx=\"{}\" fill=\"#FFFFFF\"/>\n",
            escape(&self.alt),
            colors::style_sheet(),
            4 * SCALE,
        );
        for heat_map in &self.heat_maps {
            heat_map.write(&mut svg);
        }
        svg.push_str(shapes);
        if svg.len() > MAX_SVG_BYTES {
            let (size, limit) = (svg.len() / 1000, MAX_SVG_BYTES / 1000);
            return Err(refuse(
                self.name,
                format!("it would take {size} kB and a picture has at most {limit} kB; show fewer items"),
            ));
        }
        Ok(Picture { svg, alt: self.alt, width, height })
    }
}

/// How a text looks and where its anchor lies.
#[derive(Clone, Copy)]
pub(super) struct Lettering {
    pub size: i32,
    pub bold: bool,
    pub color: RGBColor,
    pub h: HPos,
    pub v: VPos,
    /// Reads from bottom to top.
    pub upright: bool,
}

impl Lettering {
    pub const fn new(size: i32, h: HPos, v: VPos) -> Self {
        Lettering { size, bold: false, color: colors::INK, h, v, upright: false }
    }

    pub fn color(self, color: RGBColor) -> Self {
        Lettering { color, ..self }
    }

    pub fn bold(self) -> Self {
        Lettering { bold: true, ..self }
    }

    pub fn upright(self) -> Self {
        Lettering { upright: true, ..self }
    }

    pub fn style(self) -> TextStyle<'static> {
        // plotters' font size is that of the box, 1.24 times the letters' own.
        let size = f64::from(self.size * SCALE) * 1.24;
        let style = if self.bold { FontStyle::Bold } else { FontStyle::Normal };
        let font = ("sans-serif", size, style).into_font();
        let font = if self.upright { font.transform(FontTransform::Rotate270) } else { font };
        TextStyle { font, color: self.color.to_backend_color(), pos: Pos::new(self.h, self.v) }
    }
}

/// Writes `text` with its anchor at a point in CSS pixels.
pub(super) fn write_text(area: &Area, text: &str, at: (i32, i32), lettering: Lettering) -> Drawn {
    let text: String = text.chars().map(printable).collect();
    area.draw_text(&text, &lettering.style(), (at.0 * SCALE, at.1 * SCALE))
}

/// Writes the title over the plot whose left edge is `left`, cut to the `room` there is.
pub(super) fn write_title(area: &Area, title: &str, left: i32, room: i32) -> Drawn {
    let lettering = Lettering::new(TITLE_SIZE, HPos::Left, VPos::Center).bold();
    // Bold letters are a little wider.
    write_text(area, &fit(title, room * 10 / 11, TITLE_SIZE), (left, MARGIN / 2 + TITLE_HEIGHT / 2), lettering)
}

/// The width of a text in CSS pixels, as near as one gets without a font: 0.56 of the size per letter.
pub(super) fn text_width(text: &str, size: i32) -> i32 {
    (text.chars().count() as f64 * f64::from(size) * 0.56).ceil() as i32
}

/// The text, ended by "…" where it would be wider than `room`.
pub(super) fn fit(text: &str, room: i32, size: i32) -> String {
    if text_width(text, size) <= room {
        return text.to_string();
    }
    let letters = (f64::from(room) / (f64::from(size) * 0.56)) as usize;
    text.chars().take(letters.saturating_sub(1)).chain(['…']).collect()
}
