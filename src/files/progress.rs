//! Progress on stdout: a bar in a terminal, else whole lines, throttled, because a notebook shows output line by line.

use std::time::{Duration, Instant};

use super::bar::Bar;

/// The least time between two lines, so that a fast stage prints its summary alone.
const INTERVAL: Duration = Duration::from_secs(2);

/// What is being counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes, printed as megabytes (10⁶ bytes).
    Bytes,
    /// Things, printed with this plural: "clips".
    Items(&'static str),
}

impl Unit {
    fn amount(self, n: u64) -> String {
        match self {
            Unit::Bytes => format!("{:.1}", n as f64 / 1e6),
            Unit::Items(_) => n.to_string(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Unit::Bytes => "MB",
            Unit::Items(name) => name,
        }
    }

    fn rate(self, per_second: f64) -> String {
        match self {
            Unit::Bytes => format!("{:.1} MB/s", per_second / 1e6),
            Unit::Items(name) => format!("{per_second:.0} {name}/s"),
        }
    }
}

/// Tells how much of one long thing is done and how long the rest will take, every few seconds.
pub struct Remaining {
    started: Instant,
    told: Instant,
}

impl Remaining {
    /// The least time between two words, and before the first.
    const INTERVAL: Duration = Duration::from_secs(5);

    /// Starts the clock.
    pub fn start() -> Self {
        let now = Instant::now();
        Remaining { started: now, told: now }
    }

    /// What there is to say of a share that is done, 0 to 1, if it is time for it.
    pub fn say(&mut self, share: f64) -> Option<String> {
        let (elapsed_s, is_due) = (self.started.elapsed().as_secs_f64(), self.told.elapsed() >= Self::INTERVAL);
        if !is_due || share <= 0.0 {
            return None;
        }
        self.told = Instant::now();
        Some(Self::words(share, elapsed_s))
    }

    fn words(share: f64, elapsed_s: f64) -> String {
        let left_s = elapsed_s * (1.0 - share).max(0.0) / share;
        let left = if left_s < 90.0 { format!("{left_s:.0} s") } else { format!("{:.0} min", left_s / 60.0) };
        format!("{:.0} % heard, {left} left", 100.0 * share.min(1.0))
    }
}

/// Counts a stage's work and tells about it: done of total, rate, remaining time.
#[derive(Debug)]
pub struct Progress {
    label: String,
    unit: Unit,
    total: Option<u64>,
    done: u64,
    started: Instant,
    printed: Instant,
    interval: Duration,
    bar: Option<Bar>,
}

impl Progress {
    /// Starts the clock. `total` is `None` when a stream does not say how long it is.
    pub fn new(label: impl Into<String>, unit: Unit, total: Option<u64>) -> Self {
        let (label, now) = (label.into(), Instant::now());
        let bar = Bar::new(&label, total);
        Progress { label, unit, total, done: 0, started: now, printed: now, interval: INTERVAL, bar }
    }

    /// The same with another least time between two lines.
    pub fn every(self, interval: Duration) -> Self {
        Progress { interval, ..self }
    }

    /// Counts `n` more, and moves the bar, or prints a line when the last one is old enough.
    pub fn add(&mut self, n: u64) {
        self.done += n;
        if let Some(bar) = &self.bar {
            bar.set(self.done, self.line(self.started.elapsed()));
        } else if self.printed.elapsed() >= self.interval {
            self.printed = Instant::now();
            println!("{}", self.line(self.started.elapsed()));
        }
    }

    /// What has been counted so far.
    pub fn done(&self) -> u64 {
        self.done
    }

    /// Takes the bar away and prints nothing: for a stage that has words of its own.
    pub fn clear(self) {
        if let Some(bar) = self.bar {
            bar.clear();
        }
    }

    /// Prints the summary line and returns the time taken.
    pub fn finish(self) -> Duration {
        if let Some(bar) = &self.bar {
            bar.clear();
        }
        let elapsed = self.started.elapsed();
        let (amount, name) = (self.unit.amount(self.done), self.unit.name());
        let rate = self.unit.rate(self.done as f64 / elapsed.as_secs_f64().max(1e-9));
        println!("{}: {amount} {name} in {:.1} s ({rate})", self.label, elapsed.as_secs_f64());
        elapsed
    }

    fn line(&self, elapsed: Duration) -> String {
        let per_second = self.done as f64 / elapsed.as_secs_f64().max(1e-9);
        let (done, name, rate) = (self.unit.amount(self.done), self.unit.name(), self.unit.rate(per_second));
        match self.total {
            Some(total) => {
                let left_s = total.saturating_sub(self.done) as f64 / per_second.max(1e-9);
                format!("{}: {done} of {} {name}, {rate}, {left_s:.0} s left", self.label, self.unit.amount(total))
            }
            None => format!("{}: {done} {name}, {rate}", self.label),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_done_total_rate_and_remaining_time() {
        let mut progress = Progress::new("preprocess", Unit::Items("clips"), Some(400));
        progress.add(100);
        assert_eq!(progress.line(Duration::from_secs(2)), "preprocess: 100 of 400 clips, 50 clips/s, 6 s left");
    }

    #[test]
    fn what_is_left_follows_from_what_is_done() {
        assert_eq!(Remaining::words(0.25, 20.0), "25 % heard, 60 s left");
        assert_eq!(Remaining::words(0.1, 60.0), "10 % heard, 9 min left");
        assert_eq!(Remaining::start().say(0.5), None, "too soon");
    }

    #[test]
    fn a_stream_of_unknown_length_still_tells_its_rate() {
        let mut progress = Progress::new("download", Unit::Bytes, None);
        progress.add(30_000_000);
        assert_eq!(progress.line(Duration::from_secs(3)), "download: 30.0 MB, 10.0 MB/s");
    }
}
