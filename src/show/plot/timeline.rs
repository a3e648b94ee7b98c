//! What a classifier hears in the course of a recording.

use plotters::element::PathElement;
use plotters::style::Color;

use super::axes::{Axis, Grid, below, frame};
use super::canvas::{Area, Drawn, HeatMap, MARGIN, Rect, SCALE, Sheet, TICK_SIZE, TITLE_HEIGHT, write_title};
use super::checks::refuse;
use super::classes::{label_width, write_rows};
use super::colors::{self, Palette};
use super::picture::Picture;
use super::sound::{color_bar, write_limits};
use crate::error::Result;

const NAME: &str = "a timeline";
const WIDTH: i32 = 480;
const PITCH: i32 = 22;
/// How wide the line under an event is.
const LINE: i32 = 3;
/// Columns of the heat map, at most one per pixel.
const COLUMNS: usize = 400;

/// Probabilities of some classes over the windows of a recording: a row per class, darker where the class is more probable, underlined where it
/// is heard.
///
/// `windows` are `(start_s, end_s, probabilities)`, one probability from 0 to 1 per label. Where windows overlap, or one column
/// stands for several, the highest shows. `events` are `(start_s, end_s, label)`, the label by number.
///
/// # Errors
/// [`crate::error::Error::Plot`] when there is no label or window, a window or event ends before it starts, or a probability is missing or not in
/// 0 to 1.
pub fn timeline(
    title: &str,
    labels: &[String],
    windows: &[(f64, f64, &[f32])],
    events: &[(f64, f64, usize)],
) -> Result<Picture> {
    check(title, labels, windows)?;
    if let Some((start_s, end_s, label)) =
        events.iter().find(|one| one.1 <= one.0 || one.1.is_nan() || one.0.is_nan() || one.2 >= labels.len())
    {
        return Err(refuse(NAME, format!("{title}: an event of label {label} goes from {start_s} to {end_s} s")));
    }
    let end_s = windows.iter().fold(0.0, |end: f64, window| end.max(window.1));
    let label_room = label_width(labels.iter(), TICK_SIZE) + 12;
    let left = label_room + 8;
    let top = TITLE_HEIGHT + MARGIN / 2;
    let plot = Rect { left, top, width: WIDTH - left - 16, height: PITCH * labels.len() as i32 };
    let bar = Rect { left: plot.right() - 144, top: MARGIN / 2 + TITLE_HEIGHT / 2 - 5, width: 96, height: 10 };
    let cells = cells(labels.len(), windows, end_s);
    let x = Axis::linear("time (s)", 0.0, end_s, 6);
    let y = Axis { title: String::new(), from: labels.len() as f64, to: 0.0, ticks: Vec::new() };
    let sheet = Sheet {
        name: NAME,
        alt: describe(title, labels, windows, events),
        width: WIDTH,
        height: plot.bottom() + below(&x.title),
        heat_maps: vec![
            HeatMap { place: plot, columns: COLUMNS, cells, palette: Palette::Shares },
            color_bar(bar, Palette::Shares),
        ],
    };
    sheet.paint(|area| {
        write_title(area, title, MARGIN, bar.left - MARGIN - 24)?;
        write_limits(area, bar, 0.0, 100.0, "%")?;
        frame(area, plot, x, y, Grid::None)?;
        underline(area, plot, events, end_s)?;
        write_rows(area, plot, PITCH, labels.iter())
    })
}

fn check(title: &str, labels: &[String], windows: &[(f64, f64, &[f32])]) -> Result<()> {
    if labels.is_empty() || windows.is_empty() {
        return Err(refuse(NAME, format!("{title} has {} labels and {} windows", labels.len(), windows.len())));
    }
    for (i, (start_s, end_s, probabilities)) in windows.iter().enumerate() {
        if !(*start_s >= 0.0 && end_s > start_s && end_s.is_finite()) {
            return Err(refuse(NAME, format!("{title}: window {i} goes from {start_s} to {end_s} s")));
        }
        if probabilities.len() != labels.len() {
            let found =
                format!("{title}: window {i} has {} probabilities for {} labels", probabilities.len(), labels.len());
            return Err(refuse(NAME, found));
        }
        if let Some(value) = probabilities.iter().find(|value| !(-1e-6..=1.000_01).contains(*value)) {
            return Err(refuse(NAME, format!("{title}: a probability of window {i} is {value}, not in 0 to 1")));
        }
    }
    Ok(())
}

/// A row per label, from the top, of [`COLUMNS`] palette indices.
fn cells(n_labels: usize, windows: &[(f64, f64, &[f32])], end_s: f64) -> Vec<u8> {
    let mut highest = vec![0f32; n_labels * COLUMNS];
    for (start_s, stop_s, probabilities) in windows {
        let column = |at_s: f64| at_s / end_s * COLUMNS as f64;
        let first = (column(*start_s).round() as usize).min(COLUMNS - 1);
        let last = (column(*stop_s).round() as usize).clamp(first + 1, COLUMNS);
        for (label, &probability) in probabilities.iter().enumerate() {
            for cell in &mut highest[label * COLUMNS + first..label * COLUMNS + last] {
                *cell = cell.max(probability);
            }
        }
    }
    highest.into_iter().map(|probability| colors::level(f64::from(probability), 0.0, 1.0)).collect()
}

/// A line along the foot of a row for each event, at least as long as it is wide: in the colour that is furthest from those of the map, on paper.
fn underline(area: &Area, plot: Rect, events: &[(f64, f64, usize)], end_s: f64) -> Drawn {
    let x = |at_s: f64| plot.left + (at_s / end_s * f64::from(plot.width)).round() as i32;
    for &(start_s, stop_s, label) in events {
        let foot = plot.top + PITCH * (label as i32 + 1) - LINE / 2 - 2;
        let (from, to) = (x(start_s).min(plot.right() - LINE), x(stop_s).min(plot.right()));
        let to = to.max(from + LINE);
        for (color, width) in [(colors::PAPER, LINE + 2), (colors::VERMILLION, LINE)] {
            let line = [from, to].map(|x| (x * SCALE, foot * SCALE));
            area.draw(&PathElement::new(line, color.stroke_width((width * SCALE) as u32)))?;
        }
    }
    Ok(())
}

/// The course of the recording in words: what is the most probable when, and what is heard.
fn describe(title: &str, labels: &[String], windows: &[(f64, f64, &[f32])], events: &[(f64, f64, usize)]) -> String {
    let mut told: Vec<(usize, f64, f64)> = Vec::new();
    for &(start_s, end_s, probabilities) in windows {
        let best = (0..labels.len()).fold(0, |best, i| if probabilities[i] > probabilities[best] { i } else { best });
        match told.last_mut() {
            Some((class, _, until_s)) if *class == best => *until_s = end_s,
            _ => told.push((best, start_s, end_s)),
        }
    }
    let part =
        |(class, from_s, to_s): &(usize, f64, f64)| format!("{} from {from_s:.1} to {to_s:.1} s", labels[*class]);
    let more = if told.len() > 8 { format!(", and {} more changes", told.len() - 8) } else { String::new() };
    let told: Vec<String> = told.iter().take(8).map(part).collect();
    let heard =
        |&(from_s, to_s, label): &(f64, f64, usize)| format!("{} from {from_s:.1} to {to_s:.1} s", labels[label]);
    let first: Vec<String> = events.iter().take(8).map(heard).collect();
    let underlined = match events.len() {
        0 => String::new(),
        n if n > 8 => format!(" Underlined: {}, and {} more.", first.join(", "), n - 8),
        _ => format!(" Underlined: {}.", first.join(", ")),
    };
    format!("{title} in {} windows. Most probable: {}{more}.{underlined}", windows.len(), told.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_as_dark_as_the_window_it_lies_in_and_an_overlap_as_the_higher() {
        let (first, second) = ([1.0, 0.0], [0.2, 0.8]);
        let cells = cells(2, &[(0.0, 5.0, first.as_slice()), (2.5, 10.0, second.as_slice())], 10.0);
        assert_eq!((cells[0], cells[COLUMNS / 4], cells[COLUMNS / 2], cells[COLUMNS - 1]), (255, 255, 51, 51));
        assert_eq!((cells[COLUMNS], cells[COLUMNS + COLUMNS / 4], cells[2 * COLUMNS - 1]), (0, 204, 204));
    }

    #[test]
    fn a_window_shorter_than_a_column_still_shows() {
        let (silent, loud) = ([0.0], [1.0]);
        let windows: Vec<(f64, f64, &[f32])> = (0..1440)
            .map(|i| (5.0 * f64::from(i), 5.0 * f64::from(i + 1), if i == 777 { &loud[..] } else { &silent[..] }))
            .collect();
        assert_eq!(cells(1, &windows, 7200.0).iter().filter(|&&cell| cell == 255).count(), 1);
    }
}
