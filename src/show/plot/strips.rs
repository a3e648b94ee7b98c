//! How a quantity is spread in each class.

use plotters::element::PathElement;
use plotters::style::Color;
use plotters::style::text_anchor::{HPos, VPos};

use super::axes::{Axis, Grid, below, frame, number};
use super::canvas::{HeatMap, Lettering, MARGIN, Rect, SCALE, Sheet, TICK_SIZE, TITLE_HEIGHT, write_text, write_title};
use super::checks::{ensure_finite, refuse};
use super::classes::{label_width, write_rows};
use super::colors::{self, Palette};
use super::picture::Picture;
use crate::error::Result;

const NAME: &str = "strips";
const BINS: usize = 60;
const BIN_WIDTH: i32 = 4;
/// A bin that holds anything is at least this dark, or single clips would be lost on white.
const LEAST_DARK: f64 = 0.2;

/// One row of [`strips`].
#[derive(Clone, Debug, PartialEq)]
pub struct Strip {
    /// Its name.
    pub label: String,
    /// What is spread, in any order; at least one.
    pub values: Vec<f64>,
}

/// The distribution of a quantity class by class: a row each, darker where more of the class's values lie, with a mark at its median.
///
/// # Errors
/// [`crate::error::Error::Plot`] when there is no strip, one is empty, or a value is not finite.
pub fn strips(title: &str, value_label: &str, strips: &[Strip]) -> Result<Picture> {
    if strips.is_empty() || strips.iter().any(|strip| strip.values.is_empty()) {
        return Err(refuse(NAME, format!("{title}: it needs strips with a value each, found {}", strips.len())));
    }
    let values = || strips.iter().flat_map(|strip| strip.values.iter().copied());
    ensure_finite(NAME, "value", values())?;
    let (low, high) = values().fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
    let x = Axis::rounded(value_label, low, high, 5);

    let pitch = if strips.len() > 20 { 15 } else { 20 };
    let label_room = label_width(strips.iter().map(|strip| &strip.label), TICK_SIZE) + 12;
    let plot = Rect {
        left: label_room + 8,
        top: TITLE_HEIGHT + MARGIN / 2 + 14,
        width: BINS as i32 * BIN_WIDTH,
        height: pitch * strips.len() as i32,
    };
    let medians: Vec<f64> = strips.iter().map(|strip| median(&strip.values)).collect();
    let y = Axis { title: String::new(), from: strips.len() as f64, to: 0.0, ticks: Vec::new() };
    let sheet = Sheet {
        name: NAME,
        alt: describe(title, value_label, strips, &medians),
        width: plot.right() + 24,
        height: plot.bottom() + below(&x.title),
        heat_maps: vec![HeatMap { place: plot, columns: BINS, cells: cells(strips, &x), palette: Palette::Shares }],
    };
    sheet.paint(|area| {
        write_title(area, title, MARGIN, plot.right() - MARGIN)?;
        let lettering = Lettering::new(TICK_SIZE, HPos::Left, VPos::Center).color(colors::MUTED);
        write_text(area, "stronger: more clips · line: median", (plot.left, plot.top - 10), lettering)?;
        frame(area, plot, x.clone(), y, Grid::None)?;
        write_rows(area, plot, pitch, strips.iter().map(|strip| &strip.label))?;
        for (row, median) in medians.iter().enumerate() {
            let y = plot.top + pitch * row as i32;
            let at = x.place(*median, plot.left * SCALE, plot.right() * SCALE);
            let ends = [(at, (y + 2) * SCALE), (at, (y + pitch - 2) * SCALE)];
            // An edge of paper keeps it apart from a full bin.
            area.draw(&PathElement::new(ends, colors::PAPER.stroke_width(3 * SCALE as u32)))?;
            area.draw(&PathElement::new(ends, colors::VERMILLION.stroke_width(2 * SCALE as u32)))?;
        }
        Ok(())
    })
}

/// A row per strip, from the top, of [`BINS`] palette indices; the darkest is the fullest bin of all.
fn cells(strips: &[Strip], axis: &Axis) -> Vec<u8> {
    let shares = strips.iter().flat_map(|strip| {
        let mut shares = vec![0f64; BINS];
        for value in &strip.values {
            let bin = (value - axis.from) / (axis.to - axis.from) * BINS as f64;
            shares[(bin as usize).min(BINS - 1)] += 1.0 / strip.values.len() as f64;
        }
        shares
    });
    let shares: Vec<f64> = shares.collect();
    let fullest = shares.iter().copied().fold(0.0, f64::max);
    let dark = |share: f64| if share > 0.0 { LEAST_DARK + (1.0 - LEAST_DARK) * share / fullest } else { 0.0 };
    shares.into_iter().map(|share| colors::level(dark(share), 0.0, 1.0)).collect()
}

fn median(values: &[f64]) -> f64 {
    let mut ascending = values.to_vec();
    ascending.sort_by(f64::total_cmp);
    let n = ascending.len();
    (ascending[(n - 1) / 2] + ascending[n / 2]) / 2.0
}

fn describe(title: &str, value_label: &str, strips: &[Strip], medians: &[f64]) -> String {
    let mut order: Vec<usize> = (0..strips.len()).collect();
    order.sort_by(|&a, &b| medians[b].total_cmp(&medians[a]));
    let tell = |i: &usize| format!("{} {}", strips[*i].label, number(medians[*i], 1));
    let told = |order: &[usize]| order.iter().map(tell).collect::<Vec<_>>().join(", ");
    match order.len() {
        0..=10 => format!("{title}. Medians, {value_label}: {}.", told(&order)),
        n => format!(
            "{title} of {n} classes. Highest medians, {value_label}: {}. Lowest: {}.",
            told(&order[..3]),
            told(&order[n - 3..])
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fullest_bin_is_darkest_and_a_lone_value_still_shows() {
        let full = Strip { label: "a".into(), values: vec![1.0; 100] };
        let spread = Strip { label: "b".into(), values: (0..100).map(|i| 0.99 * f64::from(i) / 99.0).collect() };
        let cells = cells(&[full, spread], &Axis::linear("", 0.0, 1.0, 5));
        assert_eq!((cells[BINS - 1], cells[0]), (255, 0), "the highest value belongs to the last bin");
        assert!(cells[BINS..].iter().all(|&cell| (51..100).contains(&cell)), "{cells:?}");
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_two() {
        assert_eq!((median(&[3.0, 1.0, 2.0]), median(&[4.0, 1.0, 2.0, 9.0]), median(&[5.0])), (2.0, 3.0, 5.0));
    }
}
