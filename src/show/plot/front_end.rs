//! What happens to a sound before and as it enters the model: the mel filterbank, and the patches.

use ndarray::ArrayView2;
use plotters::element::{PathElement, Rectangle};
use plotters::series::LineSeries;
use plotters::style::Color;
use plotters::style::text_anchor::{HPos, VPos};

use super::axes::{Axis, Grid, below, frame};
use super::canvas::{Lettering, MARGIN, Rect, SCALE, Sheet, TITLE_HEIGHT, write_text, write_title};
use super::checks::{ensure_finite, refuse};
use super::colors::{self, Palette};
use super::picture::Picture;
use super::sound::{MelAxes, Spectrogram, color_bar, write_limits};
use crate::error::Result;

/// The triangles of a mel filterbank over frequency.
///
/// `dense` is `(n_mels, n_bins)`, `freqs_hz` the frequency of each bin, rising.
///
/// # Errors
/// [`crate::error::Error::Plot`] when `dense` is empty, not finite, or has another number of bins than `freqs_hz`.
pub fn filterbank(dense: ArrayView2<f32>, freqs_hz: &[f32]) -> Result<Picture> {
    let name = "a mel filterbank";
    let (n_mels, n_bins) = dense.dim();
    if n_mels == 0 || n_bins < 2 || n_bins != freqs_hz.len() {
        let found =
            format!("expected a frequency for each bin, found {n_mels}×{n_bins} weights and {}", freqs_hz.len());
        return Err(refuse(name, found));
    }
    ensure_finite(name, "weight", dense.iter().map(|&weight| f64::from(weight)))?;
    ensure_finite(name, "frequency", freqs_hz.iter().map(|&freq| f64::from(freq)))?;
    let (first, last) = (f64::from(freqs_hz[0]), f64::from(freqs_hz[n_bins - 1]));
    if !freqs_hz.is_sorted() || last <= first {
        return Err(refuse(name, "the frequencies do not rise from bin to bin".into()));
    }
    let peak = dense.iter().fold(0f32, |peak, &weight| peak.max(weight));

    let plot = Rect { left: 62, top: TITLE_HEIGHT + MARGIN / 2, width: 636, height: 150 };
    let x = Axis::linear("frequency (Hz)", first, last, 8);
    let y = Axis::rounded("weight", 0.0, f64::from(peak), 5);
    let sheet = Sheet {
        name,
        alt: format!(
            "{n_mels} triangular mel filters from {first:.0} to {last:.0} Hz, narrow and close at low, wide at high frequencies."
        ),
        width: 720,
        height: plot.bottom() + below(&x.title),
        heat_maps: Vec::new(),
    };
    sheet.paint(|area| {
        write_title(area, &format!("{n_mels} mel filters over {n_bins} frequency bins"), plot.left, plot.width)?;
        let mut chart = frame(area, plot, x, y, Grid::Horizontal)?;
        for (i, filter) in dense.rows().into_iter().enumerate() {
            let Some(start) = filter.iter().position(|&weight| weight > 0.0) else { continue };
            let end = filter.iter().rposition(|&weight| weight > 0.0).unwrap_or(start);
            let bins = start.saturating_sub(1)..=(end + 1).min(n_bins - 1);
            let points = bins.map(|bin| (f64::from(freqs_hz[bin]), f64::from(filter[bin])));
            chart.draw_series(LineSeries::new(points, colors::SERIES[i % 3].stroke_width(SCALE as u32)))?;
        }
        Ok(())
    })
}

/// The model's input as the model sees it: cut into patches of `patch_size` (mel bands × frames), numbered as its tokens.
///
/// `input` is `(n_mels, n_frames)`, normalised, low bands first; they are drawn at the bottom. Tokens count from the lowest
/// bands and the first frames, along time first, as a convolution over the input reads it. `axes` are those of the input's rows and
/// columns.
///
/// # Errors
/// [`crate::error::Error::Plot`] when `input` is empty, not finite, or not a whole number of patches, or `axes` do not fit its shape.
pub fn patches(input: ArrayView2<f32>, patch_size: (usize, usize), axes: &MelAxes) -> Result<Picture> {
    let name = "patches";
    let (rows, columns) = input.dim();
    let (tall, wide) = patch_size;
    if rows == 0 || columns == 0 || tall == 0 || wide == 0 || rows % tall != 0 || columns % wide != 0 {
        let found = format!("an input of {rows}×{columns} is not a whole number of {tall}×{wide} patches");
        return Err(refuse(name, found));
    }
    let spectrogram = Spectrogram::new(input, axes, "the input")?;
    let (low, high) = (spectrogram.low, spectrogram.high);
    let (down, across) = (rows / tall, columns / wide);
    let tokens = down * across;

    let side = 384;
    let height = (side * rows as i32 / columns as i32).clamp(96, 640);
    let plot = Rect { left: 62, top: TITLE_HEIGHT + MARGIN / 2 + 20, width: side, height };
    let bar = Rect { left: plot.left + 48, top: TITLE_HEIGHT + MARGIN / 2 + 2, width: 96, height: 10 };
    let x = Axis::linear("time (s)", 0.0, axes.duration_s, 6);
    let y = spectrogram.mel_axis("frequency (Hz)", height);
    let sheet = Sheet {
        name,
        alt: format!(
            "A spectrogram of {rows}×{columns} cut into {tokens} patches of {tall}×{wide}, {across} along time and {down} along frequency."
        ),
        width: plot.right() + 16,
        height: plot.bottom() + below(&x.title),
        heat_maps: vec![spectrogram.heat_map(plot), color_bar(bar, Palette::Levels)],
    };
    sheet.paint(|area| {
        write_title(
            area,
            &format!("{rows}×{columns} input, {tokens} patches of {tall}×{wide}"),
            plot.left,
            plot.width,
        )?;
        write_limits(area, bar, low, high, &axes.unit)?;
        frame(area, plot, x, y, Grid::None)?;
        let edge = colors::WHITE.stroke_width(1);
        for i in 0..=across as i32 {
            let x = plot.left * SCALE + i * plot.width * SCALE / across as i32;
            area.draw(&PathElement::new([(x, plot.top * SCALE), (x, plot.bottom() * SCALE)], edge))?;
        }
        for i in 0..=down as i32 {
            let y = plot.top * SCALE + i * plot.height * SCALE / down as i32;
            area.draw(&PathElement::new([(plot.left * SCALE, y), (plot.right() * SCALE, y)], edge))?;
        }
        let (width, height) = (plot.width / across as i32, plot.height / down as i32);
        if width >= 24 && height >= 20 {
            for token in 0..tokens {
                let (row, column) = (token / across, token % across);
                let lettering = Lettering::new(9, HPos::Left, VPos::Center).color(colors::WHITE);
                let at = (plot.left + column as i32 * width + 3, plot.bottom() - (row as i32 + 1) * height + 8);
                let number = (token + 1).to_string();
                // A shade under the number, which may lie half on something bright and half on something dark.
                let (right, half) = (at.0 + 6 * number.len() as i32, 6);
                let shade = [(at.0 - 2, at.1 - half), (right, at.1 + half)].map(|(x, y)| (x * SCALE, y * SCALE));
                area.draw(&Rectangle::new(shade, colors::BLACK.mix(0.6).filled()))?;
                write_text(area, &number, at, lettering)?;
            }
        }
        Ok(())
    })
}
