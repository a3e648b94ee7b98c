//! Whether a classifier is right as often as it says.

use plotters::element::{PathElement, Rectangle};
use plotters::series::{DashedLineSeries, LineSeries};
use plotters::style::Color;
use plotters::style::text_anchor::{HPos, VPos};

use super::axes::{Axis, Grid, below, frame};
use super::canvas::{
    Area, Drawn, LABEL_SIZE, Lettering, MARGIN, Rect, SCALE, Sheet, TITLE_HEIGHT, text_width, write_text, write_title,
};
use super::checks::refuse;
use super::colors;
use super::picture::Picture;
use crate::error::Result;
use crate::results::metrics::{Reliability, ReliabilityBin};

const NAME: &str = "a reliability diagram";
const LEFT: i32 = 62;
const LEGEND_HEIGHT: i32 = 18;
/// The line with the number of clips over each bin.
const COUNTS_HEIGHT: i32 = 22;
const COUNT_SIZE: i32 = 9;
/// A dash of the diagonal, and the gap behind it.
const DASH: i32 = 4;

/// A reliability diagram: for each bin of confidence the share of its clips that are right as a bar, and above it how many
/// clips it holds, where that number has room.
///
/// Bars end on the dashed diagonal when the network is right as often as it says, and under it when it is too sure. The
/// title has the expected calibration error (ECE).
///
/// # Errors
/// [`crate::error::Error::Plot`] when no bin holds a clip, or an edge, a mean or the error is not in 0 to 1.
pub fn reliability(reliability: &Reliability) -> Result<Picture> {
    let Reliability { bins, ece, .. } = reliability;
    let total: usize = bins.iter().map(|bin| bin.clips).sum();
    if total == 0 {
        return Err(refuse(NAME, format!("none of its {} bins holds a clip", bins.len())));
    }
    let shares = bins.iter().flat_map(|bin| [Some(bin.from), Some(bin.to), bin.confidence, bin.accuracy]).flatten();
    if let Some(share) = shares.chain([*ece]).find(|share| !(0.0..=1.0).contains(share)) {
        return Err(refuse(NAME, format!("expected shares from 0 to 1, found {share}")));
    }
    let side = 28 * bins.len().clamp(10, 15) as i32;
    let top = TITLE_HEIGHT + MARGIN / 2 + LEGEND_HEIGHT + COUNTS_HEIGHT;
    let plot = Rect { left: LEFT, top, width: side, height: side };
    let title = format!("reliability, ECE {:.1} %", 100.0 * ece);
    let x = Axis::percent("confidence in the predicted class", 1.0);
    let sheet = Sheet {
        name: NAME,
        alt: describe(&title, bins, total),
        width: plot.right() + 20,
        height: plot.bottom() + below(&x.title),
        heat_maps: Vec::new(),
    };
    sheet.paint(|area| {
        write_title(area, &title, plot.left, plot.width)?;
        write_legend(area, plot)?;
        write_counts(area, bins, plot, &x)?;
        let mut chart = frame(area, plot, x.clone(), Axis::percent("clips right", 1.0), Grid::Horizontal)?;
        for (bin, accuracy) in bins.iter().filter_map(|bin| Some((bin, bin.accuracy?))) {
            let inset = 0.06 * (bin.to - bin.from);
            let corners = [(bin.from + inset, 0.0), (bin.to - inset, accuracy)];
            chart.draw_series([Rectangle::new(corners, colors::BLUE.filled())])?;
        }
        let diagonal = [(0.0, 0.0), (1.0, 1.0)];
        // On a white line the dashes show on bars as well.
        chart.draw_series(LineSeries::new(diagonal, colors::PAPER.stroke_width(3 * SCALE as u32)))?;
        let ink = colors::INK.stroke_width(SCALE as u32);
        chart.draw_series(DashedLineSeries::new(diagonal, DASH * SCALE, DASH * SCALE, ink))?;
        Ok(())
    })
}

/// What the dashed line is.
fn write_legend(area: &Area, plot: Rect) -> Drawn {
    let y = MARGIN / 2 + TITLE_HEIGHT + LEGEND_HEIGHT / 2;
    for dash in 0..3 {
        let ends = [2 * dash, 2 * dash + 1].map(|end| ((plot.left + DASH * end) * SCALE, y * SCALE));
        area.draw(&PathElement::new(ends, colors::INK.stroke_width(SCALE as u32)))?;
    }
    let lettering = Lettering::new(LABEL_SIZE, HPos::Left, VPos::Center);
    write_text(area, "as often right as confident", (plot.left + 28, y), lettering)
}

fn write_counts(area: &Area, bins: &[ReliabilityBin], plot: Rect, x: &Axis) -> Drawn {
    // Clear of the tick text at the plot's upper corner.
    let y = plot.top - COUNTS_HEIGHT + COUNT_SIZE;
    let lettering = |h| Lettering::new(COUNT_SIZE, h, VPos::Center).color(colors::MUTED);
    write_text(area, "clips", (plot.left - 8, y), lettering(HPos::Right))?;
    for bin in bins.iter().filter(|bin| bin.clips > 0) {
        let count = bin.clips.to_string();
        if f64::from(text_width(&count, COUNT_SIZE)) <= (bin.to - bin.from) * f64::from(plot.width) {
            let middle = x.place((bin.from + bin.to) / 2.0, plot.left, plot.right());
            write_text(area, &count, (middle, y), lettering(HPos::Center))?;
        }
    }
    Ok(())
}

fn describe(title: &str, bins: &[ReliabilityBin], total: usize) -> String {
    let tell = |bin: &ReliabilityBin| {
        let [from, to, right] = [bin.from, bin.to, bin.accuracy?].map(|share| format!("{:.0}", 100.0 * share));
        Some(format!("{right} % of {} right at {from} to {to} % confidence", bin.clips))
    };
    let told: Vec<String> = bins.iter().filter_map(tell).collect();
    format!("Diagram of {title} over {total} clips: {}.", told.join(", "))
}
