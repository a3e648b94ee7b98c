//! How a classifier does class by class.

use ndarray::ArrayView2;
use plotters::element::{PathElement, Rectangle};
use plotters::style::Color;
use plotters::style::text_anchor::{HPos, VPos};

use super::axes::{Axis, Grid, below, frame};
use super::canvas::{
    Area, Drawn, HeatMap, LABEL_SIZE, Lettering, MARGIN, Rect, SCALE, Sheet, TICK_SIZE, TITLE_HEIGHT, fit, text_width,
    write_text, write_title,
};
use super::checks::{ensure_finite, refuse};
use super::colors::{self, Palette};
use super::picture::Picture;
use crate::error::Result;

/// Labels take this much of a picture's width at most; longer ones are cut.
const MAX_LABEL_WIDTH: i32 = 150;

/// A number in a cell takes about 200 bytes; these many leave room for the labels of a hundred classes.
const MAX_WRITTEN: usize = 700;

pub(super) fn label_width<'a>(labels: impl Iterator<Item = &'a String>, size: i32) -> i32 {
    labels.map(|label| text_width(label, size)).max().unwrap_or(0).min(MAX_LABEL_WIDTH)
}

/// Labels left of rows `pitch` pixels high from the top of `plot`, with a line over each row.
pub(super) fn write_rows<'a>(area: &Area, plot: Rect, pitch: i32, labels: impl Iterator<Item = &'a String>) -> Drawn {
    for (row, label) in labels.enumerate() {
        let top = plot.top + pitch * row as i32;
        let lettering = Lettering::new(TICK_SIZE, HPos::Right, VPos::Center);
        write_text(area, &fit(label, MAX_LABEL_WIDTH, TICK_SIZE), (plot.left - 8, top + pitch / 2), lettering)?;
        let ends = [(plot.left * SCALE, top * SCALE), (plot.right() * SCALE, top * SCALE)];
        area.draw(&PathElement::new(ends, colors::GRID.stroke_width(1)))?;
    }
    Ok(())
}

/// A confusion matrix: one row per actual class, one column per predicted class, coloured by the share of the row.
///
/// `counts` is `(num_classes, num_classes)`, `labels` name both axes. A cell that holds clips says how many (the 700 fullest
/// cells, where there are more); with up to 16 classes also which share of its row that is.
///
/// # Errors
/// [`crate::error::Error::Plot`] when `counts` is empty, not square, or has another size than `labels`.
pub fn confusion_matrix(counts: ArrayView2<u32>, labels: &[String]) -> Result<Picture> {
    let name = "a confusion matrix";
    let (rows, columns) = counts.dim();
    if rows == 0 || rows != columns || rows != labels.len() {
        let found = format!("expected as many rows and columns as labels, found {rows}×{columns} and {}", labels.len());
        return Err(refuse(name, found));
    }
    let n = rows as i32;
    let cell = (560 / n).clamp(14, 52);
    let size = if cell < 16 { 10 } else { TICK_SIZE };
    let label_room = label_width(labels.iter(), size) + 8;
    let side = n * cell;
    let plot = Rect { left: 26 + label_room, top: TITLE_HEIGHT + MARGIN / 2, width: side, height: side };

    let row_totals: Vec<u64> =
        counts.rows().into_iter().map(|row| row.iter().map(|&count| u64::from(count)).sum()).collect();
    let share = |row: usize, column: usize| f64::from(counts[[row, column]]) / row_totals[row].max(1) as f64;
    let cells: Vec<u8> =
        (0..rows * columns).map(|i| colors::level(share(i / columns, i % columns), 0.0, 1.0)).collect();
    let correct: u64 = counts.diag().iter().map(|&count| u64::from(count)).sum();
    let total: u64 = row_totals.iter().sum();
    let title = format!("{correct} of {total} right ({:.1} %)", 100.0 * correct as f64 / total.max(1) as f64);
    // A small matrix leaves room for its title all the same.
    let width = (plot.right() + 16).max(320);
    let sheet = Sheet {
        name,
        alt: format!("Confusion matrix of {n} classes: {title}.{}", worst_confusion(counts, labels)),
        width,
        height: plot.bottom() + label_room + 30,
        heat_maps: vec![HeatMap { place: plot, columns, cells: cells.clone(), palette: Palette::Shares }],
    };
    sheet.paint(|area| {
        write_title(area, &title, plot.left, width - plot.left - 4)?;
        draw_cell_borders(area, plot, n)?;
        let middle = |i: usize| i as i32 * cell + cell / 2;
        for (i, label) in labels.iter().enumerate() {
            let label = fit(label, MAX_LABEL_WIDTH, size);
            let lettering = |h| Lettering::new(size, h, VPos::Center);
            write_text(area, &label, (plot.left - 6, plot.top + middle(i)), lettering(HPos::Right))?;
            write_text(area, &label, (plot.left + middle(i), plot.bottom() + 6), lettering(HPos::Right).upright())?;
        }
        let axis = Lettering::new(LABEL_SIZE, HPos::Center, VPos::Center).color(colors::MUTED);
        write_text(area, "actual", (14, plot.top + side / 2), axis.upright())?;
        write_text(area, "predicted", (plot.left + side / 2, plot.bottom() + label_room + 14), axis)?;
        let least = least_written(counts);
        for ((row, column), &count) in counts.indexed_iter().filter(|&(_, &count)| count >= least) {
            let ink = Palette::Shares.lettering_on(cells[row * columns + column]);
            let at = (plot.left + middle(column), plot.top + middle(row));
            let lettering = |size| Lettering::new(size, HPos::Center, VPos::Center).color(ink);
            if cell >= 34 {
                write_text(area, &count.to_string(), (at.0, at.1 - 6), lettering(LABEL_SIZE).bold())?;
                write_text(area, &format!("{:.0} %", 100.0 * share(row, column)), (at.0, at.1 + 8), lettering(9))?;
            } else {
                write_text(area, &count.to_string(), at, lettering(size.min(cell * 2 / 3)))?;
            }
        }
        Ok(())
    })
}

fn draw_cell_borders(area: &Area, plot: Rect, n: i32) -> Drawn {
    let thin = colors::GRID.stroke_width(1);
    for i in 0..=n {
        let (x, y) = ((plot.left + i * plot.width / n) * SCALE, (plot.top + i * plot.height / n) * SCALE);
        area.draw(&PathElement::new([(x, plot.top * SCALE), (x, plot.bottom() * SCALE)], thin))?;
        area.draw(&PathElement::new([(plot.left * SCALE, y), (plot.right() * SCALE, y)], thin))?;
    }
    Ok(())
}

/// The least count that is written into its cell, so that no more than [`MAX_WRITTEN`] are.
fn least_written(counts: ArrayView2<u32>) -> u32 {
    let mut descending: Vec<u32> = counts.iter().copied().filter(|&count| count > 0).collect();
    descending.sort_unstable_by_key(|&count| std::cmp::Reverse(count));
    descending.get(MAX_WRITTEN).map_or(1, |&first_too_many| first_too_many.saturating_add(1))
}

/// The most frequent mistake, as a sentence.
fn worst_confusion(counts: ArrayView2<u32>, labels: &[String]) -> String {
    let mistakes = counts.indexed_iter().filter(|((row, column), count)| row != column && **count > 0);
    mistakes.max_by_key(|(_, count)| **count).map_or(String::new(), |((row, column), count)| {
        format!(" Most confused: {} taken for {} {count} times.", labels[row], labels[column])
    })
}

/// How the values of [`bars`] read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BarStyle {
    /// The title of the value axis: "accuracy".
    pub value_label: String,
    /// Values are shares from 0 to 1, shown as percent on an axis from 0 to 100 %.
    pub percent: bool,
    /// A dashed line to compare with, and its name: the accuracy of guessing.
    pub reference: Option<(f64, String)>,
    /// The bar drawn in another colour: the actual class.
    pub highlight: Option<usize>,
}

/// Horizontal bars with their labels and values: accuracy per class, or the top-5 of a prediction.
///
/// `values` are zero or more, one per label, drawn from top to bottom.
///
/// # Errors
/// [`crate::error::Error::Plot`] when there is nothing to draw, the numbers of labels and values differ, or a value is negative
/// or not finite.
pub fn bars(title: &str, labels: &[String], values: &[f64], style: &BarStyle) -> Result<Picture> {
    let name = "bars";
    if values.is_empty() || labels.len() != values.len() {
        return Err(refuse(name, format!("{title} has {} labels and {} values", labels.len(), values.len())));
    }
    let reference = style.reference.as_ref().map(|(at, _)| *at);
    ensure_finite(name, "value", values.iter().copied().chain(reference))?;
    if let Some(value) = values.iter().find(|value| **value < 0.0) {
        return Err(refuse(name, format!("{title} has the negative value {value}")));
    }
    let pitch = if values.len() > 20 { 15 } else { 22 };
    let label_room = label_width(labels.iter(), TICK_SIZE) + 12;
    let plot = Rect {
        left: label_room + 8,
        top: TITLE_HEIGHT + MARGIN / 2 + reference.map_or(0, |_| 14),
        width: 240,
        height: pitch * values.len() as i32,
    };
    let highest = values.iter().copied().chain(reference).fold(0.0, f64::max);
    let x = if style.percent {
        Axis::percent(&style.value_label, highest.max(1.0))
    } else {
        Axis::rounded(&style.value_label, 0.0, highest, 5)
    };
    let y = Axis { title: String::new(), from: values.len() as f64, to: 0.0, ticks: Vec::new() };
    let sheet = Sheet {
        name,
        alt: describe_bars(title, labels, values, style),
        width: plot.right() + 56,
        height: plot.bottom() + below(&x.title),
        heat_maps: Vec::new(),
    };
    sheet.paint(|area| {
        write_title(area, title, plot.left, plot.width + 50)?;
        let mut chart = frame(area, plot, x.clone(), y, Grid::Vertical)?;
        for (i, (label, &value)) in labels.iter().zip(values).enumerate() {
            let color = if style.highlight == Some(i) { colors::VERMILLION } else { colors::BLUE };
            let inset = 0.14;
            let corners = [(0.0, i as f64 + inset), (value, (i + 1) as f64 - inset)];
            chart.draw_series([Rectangle::new(corners, color.filled())])?;
            let y = plot.top + pitch * i as i32 + pitch / 2;
            let lettering = Lettering::new(TICK_SIZE, HPos::Right, VPos::Center);
            write_text(area, &fit(label, MAX_LABEL_WIDTH, TICK_SIZE), (plot.left - 8, y), lettering)?;
            let text = amount(value, style.percent);
            let mut end = x.place(value, plot.left, plot.right()) + 5;
            // A value that would stand across the reference line goes behind it.
            if let Some(line) = reference.map(|at| x.place(at, plot.left, plot.right()))
                && (end - 5..end + text_width(&text, TICK_SIZE)).contains(&line)
            {
                end = line + 5;
            }
            let lettering = Lettering::new(TICK_SIZE, HPos::Left, VPos::Center).color(colors::MUTED);
            write_text(area, &text, (end, y), lettering)?;
        }
        if let Some((at, text)) = &style.reference {
            let at = x.place(*at, plot.left, plot.right());
            dashed(area, at, plot.top - 2, plot.bottom())?;
            let lettering = Lettering::new(TICK_SIZE, HPos::Left, VPos::Center).color(colors::MUTED);
            write_text(area, &fit(text, plot.right() - at, TICK_SIZE), (at + 4, plot.top - 8), lettering)?;
        }
        Ok(())
    })
}

fn amount(value: f64, percent: bool) -> String {
    match value {
        _ if percent => format!("{:.1} %", 100.0 * value),
        _ if value.fract() == 0.0 => format!("{value}"),
        _ => format!("{value:.3}"),
    }
}

/// An upright dashed line.
fn dashed(area: &Area, x: i32, top: i32, bottom: i32) -> Drawn {
    for y in (top..bottom).step_by(8) {
        let ends = [(x * SCALE, y * SCALE), (x * SCALE, (y + 4).min(bottom) * SCALE)];
        area.draw(&PathElement::new(ends, colors::INK.stroke_width(SCALE as u32)))?;
    }
    Ok(())
}

fn describe_bars(title: &str, labels: &[String], values: &[f64], style: &BarStyle) -> String {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
    let tell = |i: &usize| format!("{} {}", labels[*i], amount(values[*i], style.percent));
    if order.len() <= 10 {
        return format!("{title}: {}.", order.iter().map(tell).collect::<Vec<_>>().join(", "));
    }
    let ends = |ends: &[usize]| ends.iter().map(tell).collect::<Vec<_>>().join(", ");
    format!(
        "{title}, {} bars. Highest: {}. Lowest: {}.",
        order.len(),
        ends(&order[..3]),
        ends(&order[order.len() - 3..])
    )
}
