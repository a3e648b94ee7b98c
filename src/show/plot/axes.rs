//! Axes with ticks that people read, and the frame that two of them make.

use std::ops::Range;

use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::cartesian::Cartesian2d;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::SVGBackend;
use plotters::style::text_anchor::{HPos, VPos};
use plotters::style::{Color, TRANSPARENT};

use super::canvas::{Area, DrawError, LABEL_SIZE, Lettering, Rect, SCALE, TICK_SIZE};
use super::colors;
use crate::show::html::printable;

pub(super) type Chart<'a> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<Axis, Axis>>;

/// A straight axis with its own ticks. `from` may be the larger end.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    pub title: String,
    pub from: f64,
    pub to: f64,
    pub ticks: Vec<(f64, String)>,
}

impl Axis {
    /// From `from` to `to`, with about `ticks` round ticks on it.
    pub fn linear(title: &str, from: f64, to: f64, ticks: usize) -> Self {
        let step = round_step((to - from) / ticks.max(1) as f64);
        Axis { title: title.into(), from, to, ticks: ticks_every(step, from, to) }
    }

    /// As [`Axis::linear`], with ticks on whole numbers only.
    pub fn whole(title: &str, from: f64, to: f64, ticks: usize) -> Self {
        let step = round_step((to - from) / ticks.max(1) as f64).max(1.0).round();
        Axis { title: title.into(), from, to, ticks: ticks_every(step, from, to) }
    }

    /// Shares from 0 to `to`, with ticks in percent.
    pub fn percent(title: &str, to: f64) -> Self {
        let mut axis = Axis::linear(title, 0.0, to, 5);
        axis.ticks.iter_mut().for_each(|(at, text)| *text = format!("{:.0} %", *at * 100.0));
        axis
    }

    /// An axis that ends on ticks at or beyond `low` and `high`.
    pub fn rounded(title: &str, low: f64, high: f64, ticks: usize) -> Self {
        // A single value stands in the middle.
        let air = if high > low { 0.0 } else { low.abs().max(1e-3) * 0.1 };
        let (low, high) = (low - air, high + air);
        let step = round_step((high - low) / ticks.max(1) as f64);
        Axis::linear(title, (low / step + 1e-9).floor() * step, (high / step - 1e-9).ceil() * step, ticks)
    }

    /// A place on the axis in CSS pixels, on a stretch from `start` to `end`.
    pub fn place(&self, value: f64, start: i32, end: i32) -> i32 {
        start + ((value - self.from) / (self.to - self.from) * f64::from(end - start)).round() as i32
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        self.place(*value, limit.0, limit.1)
    }

    fn key_points<Hint: KeyPointHint>(&self, _hint: Hint) -> Vec<f64> {
        self.ticks.iter().map(|(at, _)| *at).collect()
    }

    fn range(&self) -> Range<f64> {
        self.from..self.to
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        self.ticks.iter().find(|(at, _)| at == value).map_or(String::new(), |(_, text)| text.clone())
    }
}

/// The smallest of 1, 2, 5 × 10ⁿ that is at least `step`.
fn round_step(step: f64) -> f64 {
    let magnitude = 10f64.powf(step.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * magnitude).find(|&round| round >= step * 0.999).unwrap_or(step)
}

fn ticks_every(step: f64, from: f64, to: f64) -> Vec<(f64, String)> {
    let decimals = (-(step * 1.001).log10().floor()).max(0.0) as usize;
    let (first, last) = ((from / step - 1e-6).ceil() as i64, (to / step + 1e-6).floor() as i64);
    let text = |at: f64| if (1e-3..1e6).contains(&step) { number(at, decimals) } else { power_of_ten(at, step) };
    (first..=last).map(|i| i as f64 * step).map(|at| (at, text(at))).collect()
}

/// A multiple of `step` as "4e−4": learning rates would be a row of zeros otherwise.
fn power_of_ten(value: f64, step: f64) -> String {
    if value.abs() < step / 2.0 {
        return "0".into();
    }
    let digits = (value.abs() / step).log10().max(0.0) as usize + 1;
    let text = format!("{value:.digits$e}").replace('-', "−");
    match text.split_once('e') {
        Some((mantissa, exponent)) if mantissa.contains('.') => {
            format!("{}e{exponent}", mantissa.trim_end_matches('0').trim_end_matches('.'))
        }
        _ => text,
    }
}

/// A number with a real minus sign, and none on zero.
pub(super) fn number(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    match text.strip_prefix('-') {
        Some(zero) if zero.bytes().all(|byte| matches!(byte, b'0' | b'.')) => zero.to_string(),
        Some(digits) => format!("−{digits}"),
        None => text,
    }
}

/// Which grid lines lie behind the data.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Grid {
    None,
    Horizontal,
    Vertical,
}

/// Draws axes around `plot` with their ticks and titles, and returns the coordinate system inside.
///
/// Ticks and titles take what lies left of `plot` and [`below`] it.
pub(super) fn frame<'a>(area: &Area<'a>, plot: Rect, x: Axis, y: Axis, grid: Grid) -> Result<Chart<'a>, DrawError> {
    let [x_title, y_title] = [&x.title, &y.title].map(|title| title.chars().map(printable).collect::<String>());
    let below = below(&x_title) - BOTTOM_EDGE;
    let (width, height) = area.dim_in_pixel();
    let mut chart = ChartBuilder::on(area)
        .margin_top(plot.top * SCALE)
        .margin_left(LEFT_EDGE * SCALE)
        .margin_right(width as i32 - plot.right() * SCALE)
        .margin_bottom(height as i32 - (plot.bottom() + below) * SCALE)
        .x_label_area_size(below * SCALE)
        .y_label_area_size((plot.left - LEFT_EDGE) * SCALE)
        .build_cartesian_2d(x, y)?;
    let ticks = Lettering::new(TICK_SIZE, HPos::Center, VPos::Center).color(colors::MUTED).style();
    let titles = Lettering::new(LABEL_SIZE, HPos::Center, VPos::Center).color(colors::MUTED).style();
    let mut mesh = chart.configure_mesh();
    mesh.bold_line_style(colors::GRID.stroke_width(SCALE as u32))
        .light_line_style(TRANSPARENT)
        .axis_style(colors::AXIS.stroke_width(SCALE as u32))
        .label_style(ticks)
        .axis_desc_style(titles)
        .set_all_tick_mark_size(4 * SCALE);
    if !x_title.is_empty() {
        mesh.x_desc(x_title);
    }
    if !y_title.is_empty() {
        mesh.y_desc(y_title);
    }
    if grid != Grid::Vertical {
        mesh.disable_x_mesh();
    }
    if grid != Grid::Horizontal {
        mesh.disable_y_mesh();
    }
    mesh.draw()?;
    Ok(chart)
}

/// Where the title of the upright axis begins.
const LEFT_EDGE: i32 = 8;
/// Where the title of the lying axis ends.
const BOTTOM_EDGE: i32 = 8;

/// The height a picture has under its plot, for ticks and, where there is one, the axis title.
pub(super) fn below(x_title: &str) -> i32 {
    if x_title.is_empty() { 22 + BOTTOM_EDGE } else { 36 + BOTTOM_EDGE }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, text)| text.as_str()).collect()
    }

    #[test]
    fn five_seconds_have_a_tick_a_second() {
        assert_eq!(texts(&Axis::linear("time", 0.0, 5.0, 6)), ["0", "1", "2", "3", "4", "5"]);
    }

    #[test]
    fn small_learning_rates_are_told_by_their_power_of_ten() {
        assert_eq!(texts(&Axis::linear("", 0.0, 1e-3, 5)), ["0", "2e−4", "4e−4", "6e−4", "8e−4", "1e−3"]);
        assert_eq!(texts(&Axis::linear("", 0.0, 1.5e-5, 3)), ["0", "5e−6", "1e−5", "1.5e−5"]);
    }

    #[test]
    fn epochs_are_never_fractions() {
        assert_eq!(texts(&Axis::whole("epoch", 0.5, 2.5, 8)), ["1", "2"]);
    }

    #[test]
    fn a_rounded_axis_holds_all_of_its_data_even_when_it_is_one_value() {
        for (low, high) in [(0.31, 2.3), (2.5, 2.5), (0.0, 0.0), (-80.0, 0.0), (-3.0, -3.0), (1e-7, 3e-7)] {
            let axis = Axis::rounded("", low, high, 5);
            assert!(axis.from <= low && axis.to >= high && axis.from < axis.to, "{axis:?}");
            assert!((2..=8).contains(&axis.ticks.len()), "{axis:?}");
        }
    }

    #[test]
    fn only_negative_numbers_have_a_minus_sign() {
        assert_eq!([number(-0.5, 1), number(-0.04, 1), number(-80.0, 0)], ["−0.5", "0.0", "−80"]);
    }
}
