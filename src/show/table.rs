//! A data frame as the notebook shows it, and the bounds of what is shown.

use polars::prelude::{AnyValue, DataFrame};

use crate::error::Error;
use crate::show::html::{self, Cell, Html};

/// Cards shown at most; the table of the same clips has them all.
pub(super) const MAX_CARDS: usize = 12;

/// A data frame as an HTML table; floating-point columns are rounded to `decimals`.
pub fn table(frame: &DataFrame, caption: &str, decimals: usize) -> Html {
    let columns = frame.columns();
    let headers: Vec<&str> = columns.iter().map(|column| column.name().as_str()).collect();
    let cell = |value: AnyValue| match value {
        AnyValue::Null => Cell::Text("–".into()),
        AnyValue::Boolean(right) => {
            if right {
                Cell::Right("right".into())
            } else {
                Cell::Wrong("wrong".into())
            }
        }
        AnyValue::Float32(value) => Cell::number(f64::from(value), decimals),
        AnyValue::Float64(value) => Cell::number(value, decimals),
        AnyValue::String(text) => Cell::Text(text.into()),
        AnyValue::StringOwned(text) => Cell::Text(text.to_string()),
        number if number.dtype().is_primitive_numeric() => Cell::Number(number.to_string()),
        other => Cell::Text(other.to_string()),
    };
    let rows: Vec<Vec<Cell>> = (0..frame.height())
        .map(|row| columns.iter().map(|column| column.get(row).map_or(Cell::Text(String::new()), cell)).collect())
        .collect();
    html::table(&headers, &rows, caption)
}

pub(super) fn no_such_clip(index: usize, n_clips: usize) -> Error {
    let expected = format!("0 to {}", n_clips.saturating_sub(1));
    Error::Config { field: "clip number", expected, found: index.to_string() }
}
