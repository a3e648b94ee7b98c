//! How a training run went, or several beside each other.

use plotters::element::{Circle, EmptyElement, PathElement};
use plotters::series::LineSeries;
use plotters::style::text_anchor::{HPos, VPos};
use plotters::style::{Color, RGBColor};

use super::axes::{Axis, Grid, below, frame};
use super::canvas::{
    Area, Drawn, LABEL_SIZE, Lettering, MARGIN, Rect, SCALE, Sheet, TITLE_HEIGHT, fit, text_width, write_text,
    write_title,
};
use super::checks::{ensure_finite, refuse};
use super::colors;
use super::picture::Picture;
use crate::error::Result;

const NAME: &str = "curves";
const WIDTH: i32 = 404;
const LEFT: i32 = 62;
const RIGHT: i32 = 20;
const LEGEND_LINE: i32 = 18;

/// A curve of more points is thinned to its extremes; 12,000 points keep a picture well under its limit.
const MAX_POINTS: usize = 12_000;
/// Points are marked one by one while all curves together have this few.
const MAX_MARKERS: usize = 60;

/// One line of [`curves`].
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// Its name in the legend.
    pub label: String,
    /// Its points in the order they are joined, (x, y).
    pub points: Vec<(f64, f64)>,
}

impl Curve {
    /// A named line through `points`.
    pub fn new(label: impl Into<String>, points: impl Into<Vec<(f64, f64)>>) -> Self {
        Curve { label: label.into(), points: points.into() }
    }

    /// A named line through one value per epoch, the first at epoch 1.
    pub fn per_epoch(label: impl Into<String>, values: &[f64]) -> Self {
        let points: Vec<_> = values.iter().enumerate().map(|(i, &value)| ((i + 1) as f64, value)).collect();
        Curve::new(label, points)
    }
}

/// Lines over a common x axis: loss, accuracy or learning rate over epochs, of one run or several.
///
/// Where all x are whole numbers (epochs) the ticks are too. A curve of a single point shows as a dot, an empty one only
/// in the legend.
///
/// # Errors
/// [`crate::error::Error::Plot`] when no curve has a point, or a point is not finite.
pub fn curves(title: &str, x_label: &str, y_label: &str, curves: &[Curve]) -> Result<Picture> {
    let points = || curves.iter().flat_map(|curve| curve.points.iter().copied());
    if points().next().is_none() {
        return Err(refuse(NAME, format!("{title} has no point yet")));
    }
    ensure_finite(NAME, "x", points().map(|(x, _)| x))?;
    ensure_finite(NAME, "value", points().map(|(_, y)| y))?;

    let plot_width = WIDTH - LEFT - RIGHT;
    let legend = if curves.len() > 1 { legend_layout(curves, plot_width) } else { Vec::new() };
    let legend_height = legend.last().map_or(0, |&(_, line, _)| (line + 1) * LEGEND_LINE + 4);
    let plot = Rect { left: LEFT, top: TITLE_HEIGHT + MARGIN / 2 + legend_height, width: plot_width, height: 190 };
    let marked = points().count() <= MAX_MARKERS;
    let (x_low, x_high) = extent(points().map(|(x, _)| x));
    let (y_low, y_high) = extent(points().map(|(_, y)| y));
    let x = if points().all(|(x, _)| x.fract() == 0.0) {
        // Every epoch has a tick while there is room; half an epoch of air keeps the first and the last off the edge.
        let ticks = if x_high - x_low <= 12.0 { 12 } else { 6 };
        Axis::whole(x_label, x_low - 0.5, x_high + 0.5, ticks)
    } else {
        Axis::rounded(x_label, x_low, x_high, 8)
    };
    let y = Axis::rounded(y_label, y_low, y_high, 5);
    let sheet = Sheet {
        name: NAME,
        alt: describe(title, x_label, curves),
        width: WIDTH,
        height: plot.bottom() + below(x_label),
        heat_maps: Vec::new(),
    };
    sheet.paint(|area| {
        write_title(area, title, plot.left, plot.width)?;
        write_legend(area, curves, &legend, plot.left)?;
        let mut chart = frame(area, plot, x, y, Grid::Horizontal)?;
        for (i, curve) in curves.iter().enumerate() {
            let (color, width) = series_style(i);
            let budget = (MAX_POINTS / curves.len()).max(4);
            chart.draw_series(LineSeries::new(
                thin(&curve.points, budget),
                color.stroke_width(width * SCALE as u32 / 2),
            ))?;
            if marked || curve.points.len() == 1 {
                chart.draw_series(curve.points.iter().map(|&point| {
                    EmptyElement::at(point)
                        + Circle::new((0, 0), 4 * SCALE, colors::PAPER.filled())
                        + Circle::new((0, 0), 3 * SCALE, color.filled())
                }))?;
            }
        }
        Ok(())
    })
}

/// Where each legend entry goes: its left edge, its line, and its text as it fits.
fn legend_layout(curves: &[Curve], width: i32) -> Vec<(i32, i32, String)> {
    let (mut left, mut line) = (0, 0);
    let mut place = |curve: &Curve| {
        let text = fit(&curve.label, width - 40, LABEL_SIZE);
        let needed = 24 + text_width(&text, LABEL_SIZE) + 14;
        if left > 0 && left + needed > width {
            (left, line) = (0, line + 1);
        }
        let entry = (left, line, text);
        left += needed;
        entry
    };
    curves.iter().map(&mut place).collect()
}

fn write_legend(area: &Area, curves: &[Curve], legend: &[(i32, i32, String)], plot_left: i32) -> Drawn {
    for (i, (_, (left, line, text))) in curves.iter().zip(legend).enumerate() {
        let (color, width) = series_style(i);
        let (x, y) = (plot_left + left, MARGIN / 2 + TITLE_HEIGHT + line * LEGEND_LINE + LEGEND_LINE / 2);
        let stroke = color.stroke_width((width * 3 / 4).max(1) * SCALE as u32);
        area.draw(&PathElement::new([(x * SCALE, y * SCALE), ((x + 18) * SCALE, y * SCALE)], stroke))?;
        write_text(area, text, (x + 24, y), Lettering::new(LABEL_SIZE, HPos::Left, VPos::Center))?;
    }
    Ok(())
}

/// A curve's colour, and its width in half CSS pixels: the palette once, then once more in thin lines.
fn series_style(i: usize) -> (RGBColor, u32) {
    (colors::SERIES[i % colors::SERIES.len()], if i < colors::SERIES.len() { 4 } else { 2 })
}

fn extent(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)))
}

/// At most `budget` points: of each stretch of neighbours the lowest and the highest, in their order.
fn thin(points: &[(f64, f64)], budget: usize) -> Vec<(f64, f64)> {
    if points.len() <= budget {
        return points.to_vec();
    }
    let stretch = points.len().div_ceil(budget / 2);
    let extremes = points.chunks(stretch).flat_map(|chunk| {
        let at = |better: fn(f64, f64) -> bool| {
            (1..chunk.len()).fold(0, |best, i| if better(chunk[i].1, chunk[best].1) { i } else { best })
        };
        let (lowest, highest) = (at(|a, b| a < b), at(|a, b| a > b));
        [chunk[lowest.min(highest)], chunk[lowest.max(highest)]]
    });
    extremes.collect()
}

fn describe(title: &str, x_label: &str, curves: &[Curve]) -> String {
    let ends = curves.iter().filter_map(|curve| {
        let (first, last) = (curve.points.first()?, curve.points.last()?);
        Some(if curve.points.len() == 1 {
            format!("{} is {:.3} at {x_label} {}", curve.label, first.1, first.0)
        } else {
            format!("{} goes from {:.3} to {:.3}", curve.label, first.1, last.1)
        })
    });
    // A few curves tell the story; a long list would not be listened to.
    format!("{title} over {x_label}: {}.", ends.take(6).collect::<Vec<_>>().join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thinned_curve_keeps_its_extremes_and_its_order() {
        let mut points: Vec<(f64, f64)> = (0..100_000).map(|i| (f64::from(i), f64::from(i % 7))).collect();
        points[54_321].1 = 99.0;
        points[54_322].1 = -99.0;
        let thinned = thin(&points, 1000);
        assert!(thinned.len() <= 1000);
        assert!(thinned.contains(&(54_321.0, 99.0)) && thinned.contains(&(54_322.0, -99.0)));
        assert!(thinned.is_sorted_by(|a, b| a.0 <= b.0));
    }
}
