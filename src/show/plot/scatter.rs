//! Points in a plane, by class.

use plotters::element::{Circle, PathElement, Polygon};
use plotters::style::text_anchor::{HPos, VPos};
use plotters::style::{Color, RGBColor};

use super::axes::{Axis, Grid, below, frame, number};
use super::canvas::{
    Area, Drawn, Lettering, MARGIN, Rect, SCALE, Sheet, TICK_SIZE, TITLE_HEIGHT, fit, text_width, write_text,
    write_title,
};
use super::checks::{ensure_finite, refuse};
use super::colors;
use super::picture::Picture;
use crate::error::Result;

const NAME: &str = "a scatter plot";
const SIDE: i32 = 400;
const LEFT: i32 = 62;
/// A legend of more lines than this goes on in a second column.
const LEGEND_LINES: usize = 25;
const LEGEND_PITCH: i32 = 16;
/// A mark takes about 120 bytes; of more points only some are drawn.
const MAX_POINTS: usize = 1200;
const SHAPES: usize = 8;

/// One class of [`scatter`].
#[derive(Clone, Debug, PartialEq)]
pub struct PointGroup {
    /// Its name in the legend.
    pub label: String,
    /// Its points, (x, y).
    pub points: Vec<(f64, f64)>,
}

/// Points in a plane, each class in a colour and a shape of its own, the same pair again only after 56 classes.
///
/// Both axes have the same scale. Of more than 1200 points an even choice is drawn, and the title says so.
///
/// # Errors
/// [`crate::error::Error::Plot`] when there is no point, or one is not finite.
pub fn scatter(title: &str, x_label: &str, y_label: &str, groups: &[PointGroup]) -> Result<Picture> {
    let points = || groups.iter().flat_map(|group| group.points.iter().copied());
    let total = points().count();
    if total == 0 {
        return Err(refuse(NAME, format!("{title} has no point")));
    }
    ensure_finite(NAME, "x", points().map(|(x, _)| x))?;
    ensure_finite(NAME, "y", points().map(|(_, y)| y))?;
    let step = total.div_ceil(MAX_POINTS);
    let title = if step > 1 { format!("{title}, 1 of {step} drawn") } else { title.to_owned() };

    let legend_columns = groups.len().div_ceil(LEGEND_LINES) as i32;
    let widest = groups.iter().map(|group| text_width(&group.label, TICK_SIZE)).max().unwrap_or(0).clamp(40, 150);
    let top = TITLE_HEIGHT + MARGIN / 2;
    let plot = Rect { left: LEFT, top, width: SIDE, height: SIDE };
    let [x, y] = square_axes([x_label, y_label], points());
    let sheet = Sheet {
        name: NAME,
        alt: describe(&title, groups),
        width: plot.right() + 16 + legend_columns * (widest + 32),
        height: plot.bottom() + below(x_label),
        heat_maps: Vec::new(),
    };
    sheet.paint(|area| {
        write_title(area, &title, plot.left, plot.width)?;
        frame(area, plot, x.clone(), y.clone(), Grid::Horizontal)?;
        let place = |(at_x, at_y): (f64, f64)| {
            let (left, right) = (plot.left * SCALE, plot.right() * SCALE);
            (x.place(at_x, left, right), y.place(at_y, plot.bottom() * SCALE, plot.top * SCALE))
        };
        // One point of each class after another, so that no class covers all others.
        let longest = groups.iter().map(|group| group.points.len()).max().unwrap_or(0);
        let in_turn = (0..longest)
            .flat_map(|i| groups.iter().enumerate().map(move |(class, group)| (class, group.points.get(i))));
        let in_turn = in_turn.filter_map(|(class, point)| Some((class, *point?)));
        for (class, point) in in_turn.step_by(step) {
            mark(area, place(point), class)?;
        }
        for (class, group) in groups.iter().enumerate() {
            let left = plot.right() + 24 + (class / LEGEND_LINES) as i32 * (widest + 32);
            let middle = plot.top + 8 + (class % LEGEND_LINES) as i32 * LEGEND_PITCH;
            mark(area, (left * SCALE, middle * SCALE), class)?;
            let lettering = Lettering::new(TICK_SIZE, HPos::Left, VPos::Center);
            write_text(area, &fit(&group.label, widest, TICK_SIZE), (left + 10, middle), lettering)?;
        }
        Ok(())
    })
}

/// Axes that hold all points with some air, a unit of each as long as one of the other.
fn square_axes(labels: [&str; 2], points: impl Iterator<Item = (f64, f64)> + Clone) -> [Axis; 2] {
    let extent = |values: &mut dyn Iterator<Item = f64>| {
        values.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)))
    };
    let extents = [extent(&mut points.clone().map(|(x, _)| x)), extent(&mut points.clone().map(|(_, y)| y))];
    let widest = extents.iter().fold(0.0, |widest: f64, (low, high)| widest.max(high - low));
    let half = if widest > 0.0 { widest * 0.54 } else { 1.0 };
    let axis = |label: &str, (low, high): (f64, f64)| {
        let middle = low + (high - low) / 2.0;
        Axis::linear(label, middle - half, middle + half, 6)
    };
    [axis(labels[0], extents[0]), axis(labels[1], extents[1])]
}

/// The colour and the shape of a class: seven and eight, which together repeat after 56 classes.
fn style(class: usize) -> (RGBColor, usize) {
    (colors::SERIES[class % colors::SERIES.len()], class % SHAPES)
}

/// The mark of a class at a point of the sheet.
fn mark(area: &Area, (x, y): (i32, i32), class: usize) -> Drawn {
    let (color, shape) = style(class);
    let (r, stroke) = (4 * SCALE, color.stroke_width(2 * SCALE as u32));
    let line = |from: (i32, i32), to: (i32, i32)| {
        area.draw(&PathElement::new([(x + from.0, y + from.1), (x + to.0, y + to.1)], stroke))
    };
    let polygon = |corners: &[(i32, i32)]| {
        let corners: Vec<_> = corners.iter().map(|(dx, dy)| (x + dx, y + dy)).collect();
        area.draw(&Polygon::new(corners, color.filled()))
    };
    match shape {
        0 => area.draw(&Circle::new((x, y), r, color.filled())),
        1 => polygon(&[(-r, r * 4 / 5), (0, -r), (r, r * 4 / 5)]),
        2 => line((-r, -r), (r, r)).and_then(|()| line((-r, r), (r, -r))),
        3 => polygon(&[(1 - r, 1 - r), (r - 1, 1 - r), (r - 1, r - 1), (1 - r, r - 1)]),
        4 => area.draw(&Circle::new((x, y), r - 1, stroke)),
        5 => polygon(&[(-r, -r * 4 / 5), (0, r), (r, -r * 4 / 5)]),
        6 => line((-r - 1, 0), (r + 1, 0)).and_then(|()| line((0, -r - 1), (0, r + 1))),
        _ => polygon(&[(0, -r - 2), (r, 0), (0, r + 2), (-r, 0)]),
    }
}

/// Where the classes lie, as a sentence each for the first ten.
fn describe(title: &str, groups: &[PointGroup]) -> String {
    let middles = groups.iter().filter(|group| !group.points.is_empty()).map(|group| {
        let n = group.points.len() as f64;
        let (x, y) = group.points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0 / n, y + point.1 / n));
        format!("{} {}, {}", group.label, number(x, 1), number(y, 1))
    });
    let told: Vec<String> = middles.take(10).collect();
    format!("Scatter plot of {title}: {} classes. Their middles: {}.", groups.len(), told.join("; "))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_of_fifty_six_classes_look_the_same_and_neighbours_differ_in_both_ways() {
        let looks: HashSet<([u8; 3], usize)> =
            (0..56).map(style).map(|(color, shape)| ([color.0, color.1, color.2], shape)).collect();
        assert_eq!(looks.len(), 56);
        for class in 0..55 {
            let ((color, shape), (next_color, next_shape)) = (style(class), style(class + 1));
            assert!(color != next_color && shape != next_shape, "class {class}");
        }
    }

    #[test]
    fn a_unit_is_as_long_on_both_axes_and_no_point_is_outside() {
        let points = [(-3.0, 0.5), (7.0, 0.25), (2.0, -1.5)];
        let [x, y] = square_axes(["x", "y"], points.into_iter());
        assert!(((x.to - x.from) - (y.to - y.from)).abs() < 1e-9);
        assert!(points.iter().all(|point| x.from < point.0 && point.0 < x.to && y.from < point.1 && point.1 < y.to));
        let [x, y] = square_axes(["x", "y"], [(4.0, 4.0)].into_iter());
        assert!(x.from < 4.0 && 4.0 < x.to && y.from < 4.0 && 4.0 < y.to);
    }
}
