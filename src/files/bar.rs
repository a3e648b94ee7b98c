//! A bar in a terminal; there is none in a browser.

#[cfg(not(target_family = "wasm"))]
use std::io::{self, IsTerminal};

#[cfg(not(target_family = "wasm"))]
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar on stdout before the line that others get; without a total, a line that grows.
#[derive(Debug)]
pub(super) struct Bar(#[cfg(not(target_family = "wasm"))] ProgressBar);

#[cfg(not(target_family = "wasm"))]
impl Bar {
    /// `None` where stdout is no terminal.
    pub(super) fn new(label: &str, total: Option<u64>) -> Option<Self> {
        if !io::stdout().is_terminal() {
            return None;
        }
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stdout());
        let template = if total.is_some() { "{wide_bar} {msg}" } else { "{msg}" };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(label.to_owned());
        Some(Bar(bar))
    }

    pub(super) fn set(&self, done: u64, line: String) {
        self.0.set_position(done);
        self.0.set_message(line);
    }

    pub(super) fn clear(&self) {
        self.0.finish_and_clear();
    }
}

#[cfg(target_family = "wasm")]
impl Bar {
    pub(super) fn new(_: &str, _: Option<u64>) -> Option<Self> {
        None
    }

    pub(super) fn set(&self, _: u64, _: String) {}

    pub(super) fn clear(&self) {}
}
