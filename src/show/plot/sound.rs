//! A clip as waveform and as mel spectrogram, on one and the same time axis.

use ndarray::ArrayView2;
use plotters::series::LineSeries;
use plotters::style::Color;
use plotters::style::text_anchor::{HPos, VPos};

use super::axes::{Axis, Grid, below, frame, number};
use super::canvas::{
    Area, Drawn, HeatMap, LABEL_SIZE, Lettering, MARGIN, Rect, SCALE, Sheet, TICK_SIZE, TITLE_HEIGHT, fit, write_text,
    write_title,
};
use super::checks::{ensure_finite, refuse};
use super::colors::{self, Palette};
use super::picture::Picture;
use crate::error::Result;

/// Waveform and spectrogram share these edges, so that one stands in time above the other.
pub(super) const WIDTH: i32 = 720;
pub(super) const LEFT: i32 = 62;
pub(super) const RIGHT: i32 = 16;

/// Heat maps hold one byte per cell; longer spectrograms are pooled to this many cells.
const MAX_CELLS: usize = 100_000;

/// The samples of a clip over time: one stroke from the least to the greatest sample of each pixel column.
///
/// `samples` are mono, usually in [−1, 1]; the axis spans the clip's own peak.
///
/// # Errors
/// [`crate::error::Error::Plot`] when there are no samples, one is not finite, or `sample_rate` is zero.
pub fn waveform(samples: &[f32], sample_rate: u32, title: &str) -> Result<Picture> {
    let name = "a waveform";
    if samples.is_empty() || sample_rate == 0 {
        return Err(refuse(
            name,
            format!("it needs samples and a sample rate, found {} at {sample_rate} Hz", samples.len()),
        ));
    }
    ensure_finite(name, "sample", samples.iter().map(|&sample| f64::from(sample)))?;
    let duration_s = samples.len() as f64 / f64::from(sample_rate);
    let peak = samples.iter().fold(0f32, |peak, sample| peak.max(sample.abs()));
    let span = if peak > 0.0 { f64::from(peak) * 1.05 } else { 1.0 };

    let plot = Rect { left: LEFT, top: TITLE_HEIGHT + MARGIN / 2, width: WIDTH - LEFT - RIGHT, height: 104 };
    let x = Axis::linear("time (s)", 0.0, duration_s, 6);
    let y = Axis::linear("amplitude", -span, span, 4);
    let sheet = Sheet {
        name,
        alt: format!("Waveform of {title}: {duration_s:.2} s at {sample_rate} Hz, peak {peak:.3}."),
        width: WIDTH,
        height: plot.bottom() + below(&x.title),
        heat_maps: Vec::new(),
    };
    sheet.paint(|area| {
        write_title(area, title, plot.left, plot.width)?;
        let mut chart = frame(area, plot, x, y, Grid::Horizontal)?;
        // Half a pixel wider than a column, or there would be gaps between columns.
        let stroke = colors::BLUE.stroke_width(3 * SCALE as u32 / 2);
        chart.draw_series(LineSeries::new(envelope(samples, sample_rate, plot.width as usize), stroke))?;
        Ok(())
    })
}

/// The points of a line that shows `samples` in `columns` columns: two per column, or all of them when they are few.
fn envelope(samples: &[f32], sample_rate: u32, columns: usize) -> Vec<(f64, f64)> {
    let time_s = |i: usize| i as f64 / f64::from(sample_rate);
    if samples.len() <= 2 * columns {
        let points = samples.iter().enumerate().map(|(i, &sample)| (time_s(i), f64::from(sample)));
        // A single sample lasts one sample, or there would be no line to see.
        let last = samples.last().map(|&sample| (time_s(samples.len()), f64::from(sample)));
        return points.chain(last).collect();
    }
    let column = |i: usize| {
        let (start, end) = (i * samples.len() / columns, (i + 1) * samples.len() / columns);
        let (low, high) =
            samples[start..end].iter().fold((f32::MAX, f32::MIN), |(low, high), &s| (low.min(s), high.max(s)));
        let at = (time_s(start) + time_s(end)) / 2.0;
        [(at, f64::from(low)), (at, f64::from(high))]
    };
    (0..columns).flat_map(column).collect()
}

/// What the rows and columns of a mel spectrogram stand for.
#[derive(Clone, Debug, PartialEq)]
pub struct MelAxes {
    /// What all frames together span, in seconds: `n_frames · hop_length / sample_rate`.
    pub duration_s: f64,
    /// The centre of each mel band in hertz, from low to high, one per row.
    pub center_freqs_hz: Vec<f32>,
    /// The unit of the levels, written at the colour bar: "dB".
    pub unit: String,
    /// Levels of the darkest and the lightest colour, to compare several pictures; the clip's own range when `None`.
    pub limits: Option<(f32, f32)>,
}

impl MelAxes {
    /// Axes for levels in `unit`, coloured over the clip's own range.
    pub fn new(duration_s: f64, center_freqs_hz: impl Into<Vec<f32>>, unit: &str) -> Self {
        MelAxes { duration_s, center_freqs_hz: center_freqs_hz.into(), unit: unit.into(), limits: None }
    }
}

/// A mel spectrogram with seconds, hertz and a colour bar.
///
/// `levels` is `(n_mels, n_frames)`, low bands first: dB, or whatever `axes.unit` says. The lowest band is drawn at the
/// bottom. Spectrograms of more than 100,000 cells are pooled in time, each column showing the highest level of its frames.
///
/// # Errors
/// [`crate::error::Error::Plot`] when `levels` is empty or not finite, or `axes` do not fit its shape.
pub fn mel_spectrogram(levels: ArrayView2<f32>, axes: &MelAxes, title: &str) -> Result<Picture> {
    let plot = Rect { left: LEFT, top: TITLE_HEIGHT + MARGIN / 2, width: WIDTH - LEFT - RIGHT, height: 208 };
    let bar = Rect { left: plot.right() - 160, top: MARGIN / 2 + TITLE_HEIGHT / 2 - 5, width: 96, height: 10 };
    let spectrogram = Spectrogram::new(levels, axes, title)?;
    let x = Axis::linear("time (s)", 0.0, axes.duration_s, 6);
    let y = spectrogram.mel_axis("frequency (Hz)", plot.height);
    let heat_maps = vec![spectrogram.heat_map(plot), color_bar(bar, Palette::Levels)];
    let sheet = Sheet {
        name: NAME,
        alt: spectrogram.alt(title),
        width: WIDTH,
        height: plot.bottom() + below(&x.title),
        heat_maps,
    };
    sheet.paint(|area| {
        write_title(area, title, plot.left, bar.left - plot.left - 50)?;
        write_limits(area, bar, spectrogram.low, spectrogram.high, &axes.unit)?;
        frame(area, plot, x, y, Grid::None).map(drop)
    })
}

/// A small mel spectrogram for a grid of clips: the same colours and ticks, with units in place of axis titles, and without a
/// colour bar.
///
/// # Errors
/// As [`mel_spectrogram`].
pub fn mel_tile(levels: ArrayView2<f32>, axes: &MelAxes, title: &str) -> Result<Picture> {
    let plot = Rect { left: 34, top: 24, width: 190, height: 96 };
    let spectrogram = Spectrogram::new(levels, axes, title)?;
    let mut x = Axis::linear("", 0.0, axes.duration_s, 5);
    if let Some((_, last)) = x.ticks.last_mut() {
        last.push_str(" s");
    }
    let y = spectrogram.mel_axis("", plot.height);
    let heat_maps = vec![spectrogram.heat_map(plot)];
    let sheet = Sheet {
        name: NAME,
        alt: spectrogram.alt(title),
        width: plot.right() + 14,
        height: plot.bottom() + below(&x.title),
        heat_maps,
    };
    sheet.paint(|area| {
        let lettering = Lettering::new(LABEL_SIZE, HPos::Left, VPos::Center).bold();
        write_text(area, &fit(title, plot.width * 10 / 11, LABEL_SIZE), (plot.left, 10), lettering)?;
        let unit = Lettering::new(TICK_SIZE, HPos::Right, VPos::Center).color(colors::MUTED);
        write_text(area, "Hz", (plot.left - 8, 10), unit)?;
        frame(area, plot, x, y, Grid::None).map(drop)
    })
}

const NAME: &str = "a mel spectrogram";

/// Levels that were checked against their axes.
pub(super) struct Spectrogram<'a> {
    levels: ArrayView2<'a, f32>,
    axes: &'a MelAxes,
    pub low: f64,
    pub high: f64,
}

impl<'a> Spectrogram<'a> {
    pub fn new(levels: ArrayView2<'a, f32>, axes: &'a MelAxes, title: &str) -> Result<Self> {
        let (n_mels, n_frames) = levels.dim();
        let centers = &axes.center_freqs_hz;
        let reason = if n_mels < 2 || n_frames == 0 {
            format!("{title}: it needs 2 mel bands and 1 frame at least, found {n_mels} and {n_frames}")
        } else if centers.len() != n_mels {
            format!("{title}: it has {n_mels} mel bands and {} centre frequencies", centers.len())
        } else if !centers.iter().all(|freq| freq.is_finite()) || !centers.is_sorted_by(|a, b| a < b) {
            format!("{title}: the centre frequencies do not rise from band to band")
        } else if !(axes.duration_s.is_finite() && axes.duration_s > 0.0) {
            format!("{title}: the duration is {} s", axes.duration_s)
        } else {
            String::new()
        };
        if !reason.is_empty() {
            return Err(refuse(NAME, reason));
        }
        ensure_finite(NAME, "level", levels.iter().map(|&level| f64::from(level)))?;
        let own = levels.iter().fold((f32::MAX, f32::MIN), |(low, high), &level| (low.min(level), high.max(level)));
        let (low, high) = axes.limits.unwrap_or(own);
        ensure_finite(NAME, "limit", [f64::from(low), f64::from(high)].into_iter())?;
        Ok(Spectrogram { levels, axes, low: f64::from(low), high: f64::from(high) })
    }

    pub fn heat_map(&self, place: Rect) -> HeatMap {
        let (n_mels, n_frames) = self.levels.dim();
        let columns = n_frames.min((MAX_CELLS / n_mels).max(1));
        let cell = |band: usize, column: usize| {
            let frames = column * n_frames / columns..(column + 1) * n_frames / columns;
            let peak = frames.map(|frame| self.levels[[band, frame]]).fold(f32::MIN, f32::max);
            colors::level(f64::from(peak), self.low, self.high)
        };
        let cells = (0..n_mels).rev().flat_map(|band| (0..columns).map(move |column| cell(band, column)));
        HeatMap { place, columns, cells: cells.collect(), palette: Palette::Levels }
    }

    /// An axis over the bands, each one unit high, with ticks at round frequencies (the octaves of ISO 266).
    pub fn mel_axis(&self, title: &str, height: i32) -> Axis {
        const MIN_DISTANCE: i32 = 13;
        let n_mels = self.levels.nrows() as f64;
        let mut axis = Axis { title: title.into(), from: -0.5, to: n_mels - 0.5, ticks: Vec::new() };
        let mut above = i32::MAX;
        for freq_hz in [16_000.0, 8_000.0, 4_000.0, 2_000.0, 1_000.0, 500.0, 250.0, 125.0, 0.0] {
            let band = band_of(freq_hz, &self.axes.center_freqs_hz);
            // The outermost bands reach down to f_min and up to f_max, a band beyond their centres. Straight lines miss
            // f_max on the curved scale by a little.
            if (-1.01..=n_mels + 0.2).contains(&band) {
                let band = band.clamp(axis.from, axis.to);
                let place = axis.place(band, 0, height);
                if above - place >= MIN_DISTANCE {
                    axis.ticks.push((band, hertz_tick(freq_hz)));
                    above = place;
                }
            }
        }
        axis
    }

    pub fn alt(&self, title: &str) -> String {
        let centers = &self.axes.center_freqs_hz;
        let (n_mels, n_frames) = self.levels.dim();
        let loudest = self
            .levels
            .indexed_iter()
            .fold(((0, 0), f32::MIN), |loudest, (at, &level)| if level > loudest.1 { (at, level) } else { loudest });
        let (band, frame) = loudest.0;
        format!(
            "Mel spectrogram of {title}: {n_mels} bands up to {:.0} Hz over {:.2} s, from {} to {} {}, strongest near {:.0} Hz at {:.2} s.",
            centers[n_mels - 1],
            self.axes.duration_s,
            number(self.low, 1),
            number(self.high, 1),
            self.axes.unit,
            centers[band],
            (frame as f64 + 0.5) / n_frames as f64 * self.axes.duration_s,
        )
    }
}

fn hertz_tick(freq_hz: f64) -> String {
    if freq_hz >= 1000.0 { format!("{}k", freq_hz / 1000.0) } else { freq_hz.to_string() }
}

/// Where a frequency lies among the bands, on straight lines between (and beyond) their centres.
fn band_of(freq_hz: f64, center_freqs_hz: &[f32]) -> f64 {
    let above = center_freqs_hz.partition_point(|&center| f64::from(center) < freq_hz);
    let right = above.clamp(1, center_freqs_hz.len() - 1);
    let (low, high) = (f64::from(center_freqs_hz[right - 1]), f64::from(center_freqs_hz[right]));
    (right - 1) as f64 + (freq_hz - low) / (high - low)
}

/// All colours of a scale, from left to right.
pub(super) fn color_bar(place: Rect, palette: Palette) -> HeatMap {
    HeatMap { place, columns: 256, cells: (0..=255).collect(), palette }
}

/// Writes what the ends of a [`color_bar`] stand for.
pub(super) fn write_limits(area: &Area, bar: Rect, low: f64, high: f64, unit: &str) -> Drawn {
    let lettering = |h| Lettering::new(TICK_SIZE, h, VPos::Center).color(colors::MUTED);
    let middle = bar.top + bar.height / 2;
    let decimals = if high - low >= 20.0 { 0 } else { 1 };
    write_text(area, &number(low, decimals), (bar.left - 6, middle), lettering(HPos::Right))?;
    let high = format!("{} {}", number(high, decimals), fit(unit, 110, TICK_SIZE));
    write_text(area, high.trim_end(), (bar.right() + 6, middle), lettering(HPos::Left))
}
