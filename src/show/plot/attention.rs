//! Where a network listens, over what it hears.

use ndarray::{Array2, ArrayView2, s};
use plotters::element::PathElement;
use plotters::style::Color;
use plotters::style::text_anchor::{HPos, VPos};

use super::axes::{Axis, Grid, below, frame};
use super::canvas::{
    Area, Drawn, HeatMap, LABEL_SIZE, Lettering, MARGIN, Rect, SCALE, Sheet, TITLE_HEIGHT, fit, write_text, write_title,
};
use super::checks::{ensure_finite, refuse};
use super::colors::{self, Palette};
use super::picture::Picture;
use super::sound::{LEFT, MelAxes, RIGHT, Spectrogram, WIDTH, color_bar, write_limits};
use crate::error::Result;

const NAME: &str = "a map of attention";
/// Height of either panel.
const HEIGHT: i32 = 168;
/// What is outlined: the cells with the most attention, as many as hold this part of all.
const OUTLINED: f64 = 0.5;
/// An outline of more edges than this would be a tangle, and take more than 60 kB; it is left out.
const MAX_EDGES: usize = 150;
/// Attention of more cells is pooled in time, to at most a column per pixel.
const MAX_CELLS: usize = 16_000;
const MAX_COLUMNS: usize = (WIDTH - LEFT - RIGHT) as usize;

/// A mel spectrogram, with an outline around the places with the most attention, which hold half of it, and under it the attention
/// itself on the same axes.
///
/// `levels` is `(n_mels, n_frames)` as for [`mel_spectrogram`](super::mel_spectrogram). `attention` is `(rows, columns)`, zero or
/// more, low bands first, and spans the same time and bands, evenly; 1 stands for as much attention as the mean place gets. Where it
/// has more columns than the picture, each shows the mean of its own.
///
/// # Errors
/// [`crate::error::Error::Plot`] when an array is empty, not finite or negative where it must not be, or `axes` do not fit.
pub fn attention(levels: ArrayView2<f32>, axes: &MelAxes, attention: ArrayView2<f32>, title: &str) -> Result<Picture> {
    if attention.is_empty() {
        return Err(refuse(
            NAME,
            format!("{title}: expected attention to a place at least, found {:?}", attention.dim()),
        ));
    }
    ensure_finite(NAME, "attention", attention.iter().map(|&value| f64::from(value)))?;
    if let Some(value) = attention.iter().find(|value| **value < 0.0) {
        return Err(refuse(NAME, format!("{title} has the negative attention {value}")));
    }
    let spectrogram = Spectrogram::new(levels, axes, title)?;
    let attention = pooled(attention);
    let (rows, columns) = attention.dim();
    let highest = attention.iter().fold(0.0, |highest: f64, &value| highest.max(f64::from(value)));
    let outline = Outline::new(attention.view());

    let top = TITLE_HEIGHT + MARGIN / 2;
    let heard = Rect { left: LEFT, top, width: WIDTH - LEFT - RIGHT, height: HEIGHT };
    let attended = Rect { top: heard.bottom() + below("") + TITLE_HEIGHT, ..heard };
    let bar =
        |panel: Rect| Rect { left: heard.right() - 160, top: panel.top - TITLE_HEIGHT / 2 - 7, width: 96, height: 10 };
    let cells = (0..rows).rev().flat_map(|row| (0..columns).map(move |column| (row, column)));
    let cells = cells.map(|at| colors::level(f64::from(attention[at]), 0.0, highest)).collect();
    let x = |title: &str| Axis::linear(title, 0.0, axes.duration_s, 6);
    let y = || spectrogram.mel_axis("frequency (Hz)", HEIGHT);
    let sheet = Sheet {
        name: NAME,
        alt: format!("{} {}", spectrogram.alt(title), describe(attention.view(), &outline, axes)),
        width: WIDTH,
        height: attended.bottom() + below("time (s)"),
        heat_maps: vec![
            spectrogram.heat_map(heard),
            color_bar(bar(heard), Palette::Levels),
            HeatMap { place: attended, columns, cells, palette: Palette::Shares },
            color_bar(bar(attended), Palette::Shares),
        ],
    };
    sheet.paint(|area| {
        let room = bar(heard).left - heard.left - 50;
        write_title(area, title, heard.left, room)?;
        write_limits(area, bar(heard), spectrogram.low, spectrogram.high, &axes.unit)?;
        frame(area, heard, x(""), y(), Grid::None)?;
        outline.draw(area, heard, (rows, columns))?;
        let lettering = Lettering::new(LABEL_SIZE, HPos::Left, VPos::Center);
        let at = (attended.left, attended.top - TITLE_HEIGHT / 2 - 2);
        write_text(area, &fit(&outline.caption(), room, LABEL_SIZE), at, lettering)?;
        write_limits(area, bar(attended), 0.0, highest, "× mean")?;
        frame(area, attended, x("time (s)"), y(), Grid::None)?;
        outline.draw(area, attended, (rows, columns))
    })
}

/// The means of neighbouring columns, as few as the picture has room for.
fn pooled(attention: ArrayView2<f32>) -> Array2<f32> {
    let (rows, n) = attention.dim();
    let columns = n.min(MAX_COLUMNS).min((MAX_CELLS / rows).max(1));
    Array2::from_shape_fn((rows, columns), |(row, column)| {
        let of_column = column * n / columns..(column + 1) * n / columns;
        attention.slice(s![row, of_column]).mean().unwrap_or_default()
    })
}

/// A corner of cells: how many rows lie below it, and columns to its left.
type Corner = (usize, usize);

/// The border around the cells with the most attention.
struct Outline {
    /// The part of all cells inside, 0 to 1.
    area: f64,
    edges: Vec<(Corner, Corner)>,
}

impl Outline {
    fn new(attention: ArrayView2<f32>) -> Self {
        let mut descending: Vec<f32> = attention.iter().copied().collect();
        descending.sort_by(|a, b| b.total_cmp(a));
        let mut left = OUTLINED * descending.iter().map(|&value| f64::from(value)).sum::<f64>();
        let enough = descending.iter().position(|&value| {
            left -= f64::from(value);
            left <= 0.0
        });
        let threshold = descending[enough.unwrap_or(0)];
        let inside = descending.partition_point(|&value| value >= threshold);
        let area = inside as f64 / descending.len() as f64;
        let mut edges = if area < OUTLINED { edges(attention, threshold) } else { Vec::new() };
        if edges.len() > MAX_EDGES {
            edges.clear();
        }
        Outline { area, edges }
    }

    /// In words, where half of the attention lies.
    fn caption(&self) -> String {
        let area = 100.0 * self.area;
        match self.edges.is_empty() {
            _ if self.area >= OUTLINED => "attention, about even".into(),
            true => format!("attention; half of it lies in {area:.0} % of the picture"),
            false => format!("attention; half of it lies in the outlined {area:.0} %"),
        }
    }

    /// White on dark, so that it shows on every colour.
    fn draw(&self, area: &Area, panel: Rect, (rows, columns): (usize, usize)) -> Drawn {
        let at = |(row, column): Corner| {
            let x = panel.left * SCALE + panel.width * SCALE * column as i32 / columns as i32;
            (x, panel.bottom() * SCALE - panel.height * SCALE * row as i32 / rows as i32)
        };
        for (color, width) in [(colors::BLACK, 2 * SCALE as u32), (colors::WHITE, SCALE as u32)] {
            for &(from, to) in &self.edges {
                area.draw(&PathElement::new([at(from), at(to)], color.stroke_width(width)))?;
            }
        }
        Ok(())
    }
}

/// The borders between cells of at least `threshold` and the others.
fn edges(attention: ArrayView2<f32>, threshold: f32) -> Vec<(Corner, Corner)> {
    let (rows, columns) = attention.dim();
    // Counted from 1, so that there is an outside below and to the left.
    let holds = |row: usize, column: usize| {
        let at = row.checked_sub(1).zip(column.checked_sub(1));
        at.and_then(|at| attention.get(at)).is_some_and(|&value| value >= threshold)
    };
    let mut edges = Vec::new();
    for row in 0..=rows {
        let differs = |column: usize| holds(row, column + 1) != holds(row + 1, column + 1);
        edges.extend(runs(columns, differs).map(|(from, to)| ((row, from), (row, to))));
    }
    for column in 0..=columns {
        let differs = |row: usize| holds(row + 1, column) != holds(row + 1, column + 1);
        edges.extend(runs(rows, differs).map(|(from, to)| ((from, column), (to, column))));
    }
    edges
}

/// The stretches of `0..n` in which `holds` is true, as start and end.
fn runs(n: usize, holds: impl Fn(usize) -> bool) -> impl Iterator<Item = (usize, usize)> {
    let mut found: Vec<(usize, usize)> = Vec::new();
    for i in (0..n).filter(|&i| holds(i)) {
        match found.last_mut() {
            Some((_, end)) if *end == i => *end = i + 1,
            _ => found.push((i, i + 1)),
        }
    }
    found.into_iter()
}

fn describe(attention: ArrayView2<f32>, outline: &Outline, axes: &MelAxes) -> String {
    let per_column = attention.columns().into_iter().map(|column| column.sum());
    let (column, _) = per_column.enumerate().fold((0, f32::MIN), |best, now| if now.1 > best.1 { now } else { best });
    let at_s = (column as f64 + 0.5) / attention.ncols() as f64 * axes.duration_s;
    format!("Under it the {}; the most of it at {at_s:.2} s.", outline.caption())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outline_holds_half_of_the_attention() {
        let mut attention = Array2::from_elem((2, 5), 0.6);
        (attention[[0, 1]], attention[[1, 4]]) = (3.0, 3.0);
        let outline = Outline::new(attention.view());
        assert!((outline.area - 0.2).abs() < 1e-9, "{}", outline.area);
        let around = |row: usize, column: usize| {
            let [low_left, low_right] = [(row, column), (row, column + 1)];
            let [high_left, high_right] = [(row + 1, column), (row + 1, column + 1)];
            [(low_left, low_right), (high_left, high_right), (low_left, high_left), (low_right, high_right)]
        };
        let mut expected: Vec<(Corner, Corner)> = around(0, 1).into_iter().chain(around(1, 4)).collect();
        let mut found = outline.edges;
        expected.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, expected);
    }

    #[test]
    fn even_attention_has_no_outline_and_neither_has_a_tangle() {
        for even in [0.0, 1.0] {
            let outline = Outline::new(Array2::from_elem((3, 4), even).view());
            assert!(outline.edges.is_empty() && outline.caption().contains("even"));
        }
        let tangle =
            Array2::from_shape_fn((8, 64), |(row, column)| if (row + 2 * column) % 4 == 0 { 9.0 } else { 0.1 });
        let outline = Outline::new(tangle.view());
        assert!(outline.edges.is_empty());
        assert_eq!(outline.caption(), "attention; half of it lies in 25 % of the picture");
    }

    #[test]
    fn neighbours_are_one_edge() {
        assert_eq!(runs(8, |i| [1, 2, 3, 6].contains(&i)).collect::<Vec<_>>(), [(1, 4), (6, 7)]);
        assert_eq!(runs(3, |_| true).collect::<Vec<_>>(), [(0, 3)]);
    }

    #[test]
    fn pooling_keeps_the_mean() {
        let attention = Array2::from_shape_fn((4, MAX_COLUMNS * 3), |(row, column)| ((row + column) % 7) as f32);
        let pooled = pooled(attention.view());
        assert_eq!(pooled.dim(), (4, MAX_COLUMNS));
        assert!((pooled.mean().unwrap() - attention.mean().unwrap()).abs() < 1e-4);
    }
}
