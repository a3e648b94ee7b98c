//! How what was said of recordings is written: lines of JSON, a table, or labels for Audacity.

use std::io::{self, Write};
use std::path::Path;

#[cfg(feature = "torch")]
use audio_transformer::Answer;
use audio_transformer::{Event, NONE_OF_THESE, Prediction};
use serde::Serialize;

/// The form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A line of JSON for each recording.
    Json,
    /// A table with a row for each class of each recording.
    Csv,
    /// What Audacity imports as labels: start, end and name of each stretch of one recording.
    Audacity,
    /// What Raven opens as a selection table: the events of one recording.
    Raven,
}

impl Format {
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "json" | "jsonl" => Format::Json,
            "csv" => Format::Csv,
            "audacity" => Format::Audacity,
            "raven" => Format::Raven,
            _ => return None,
        })
    }
}

/// What was said.
pub enum Said {
    Prediction(Prediction),
    #[cfg(feature = "torch")]
    Answer(Answer),
}

/// A recording that was read, as JSON.
#[derive(Serialize)]
struct Heard<'a> {
    file: &'a str,
    duration_s: f64,
    windows: usize,
    prediction: &'a str,
    standing: &'a str,
    top: Vec<Class<'a>>,
    /// Only of a recording that was not heard to its end: it ended here.
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped_at_s: Option<f64>,
}

#[derive(Serialize)]
struct Class<'a> {
    label: &'a str,
    probability: f32,
}

/// What is heard when in a recording, as JSON.
#[derive(Serialize)]
struct Eventful<'a> {
    file: &'a str,
    duration_s: f64,
    events: Vec<Event>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped_at_s: Option<f64>,
}

/// An event as a row of a table.
#[derive(Default, Serialize)]
struct EventRow<'a> {
    file: &'a str,
    start_s: Option<f64>,
    end_s: Option<f64>,
    label: &'a str,
    score: Option<f32>,
    error: &'a str,
}

/// What is said of a recording, with what tells it from another of its name.
#[derive(Serialize)]
struct Kept<'a, T> {
    #[serde(flatten)]
    said: &'a T,
    stamp: String,
}

/// One that was not.
#[derive(Serialize)]
struct Unread<'a> {
    file: &'a str,
    error: &'a str,
}

/// A row of the table: a class of a recording, or why there is none.
#[derive(Default, Serialize)]
struct Row<'a> {
    file: &'a str,
    standing: &'a str,
    /// From 1; 0 for what is none of the classes.
    rank: Option<usize>,
    label: &'a str,
    probability: Option<f32>,
    /// From the examples of a class that was taught.
    distance: Option<f64>,
    error: &'a str,
}

/// Writes what was said, whole lines at a time.
pub struct Writer<W> {
    pub format: Format,
    /// How many classes of a recording are named.
    pub top: usize,
    /// The probability from which on a class is an event; none for what is said of whole recordings.
    pub events: Option<f32>,
    /// The highest frequency that is heard, in Hz.
    pub highest_hz: f32,
    /// What tells the recording at hand from another of its name, for results that are kept.
    pub stamp: Option<String>,
    pub output: W,
    has_header: bool,
}

impl<W: Write> Writer<W> {
    pub fn new(format: Format, top: usize, output: W) -> Self {
        Writer { format, top, events: None, highest_hz: 0.0, stamp: None, output, has_header: false }
    }

    pub fn tell(&mut self, said: Said, is_whole: bool) -> io::Result<()> {
        let stopped_at_s = |prediction: &Prediction| (!is_whole).then_some(prediction.duration_s);
        match (self.format, said) {
            (_, Said::Prediction(prediction)) if self.events.is_some() => {
                self.tell_events(&prediction, stopped_at_s(&prediction))
            }
            (Format::Json, Said::Prediction(prediction)) => {
                let classes = prediction.ranked.iter().take(self.top);
                self.line(&Heard {
                    file: &prediction.path.to_string_lossy(),
                    duration_s: prediction.duration_s,
                    windows: prediction.windows,
                    prediction: prediction.name(),
                    standing: prediction.standing.word(),
                    top: classes.map(|(label, probability)| Class { label, probability: *probability }).collect(),
                    stopped_at_s: stopped_at_s(&prediction),
                })
            }
            #[cfg(feature = "torch")]
            (Format::Json, Said::Answer(mut answer)) => {
                answer.classes.truncate(self.top);
                self.line(&answer)
            }
            (Format::Csv, Said::Prediction(prediction)) => {
                let (file, standing) = (prediction.path.to_string_lossy(), prediction.standing.word());
                let whole = Row { file: &file, standing, ..Row::default() };
                let none = prediction.standing.is_none_of_these();
                let classes =
                    prediction.ranked.iter().map(|(label, probability)| (label.as_str(), Some(*probability), None));
                self.table(whole, none, classes)
            }
            #[cfg(feature = "torch")]
            (Format::Csv, Said::Answer(answer)) => {
                let file = answer.file.to_string_lossy();
                let whole = Row { file: &file, ..Row::default() };
                let none = answer.name == NONE_OF_THESE;
                let classes = answer.classes.iter();
                let classes = classes.map(|class| (class.label.as_str(), class.probability, Some(class.distance)));
                self.table(whole, none, classes)
            }
            (Format::Audacity, Said::Prediction(prediction)) => self.labels(&prediction),
            // Not asked for: Raven has events alone, and an answer to what was taught knows no time.
            (Format::Raven, Said::Prediction(_)) => Ok(()),
            #[cfg(feature = "torch")]
            (Format::Audacity | Format::Raven, Said::Answer(_)) => Ok(()),
        }
    }

    /// What is heard when.
    fn tell_events(&mut self, prediction: &Prediction, stopped_at_s: Option<f64>) -> io::Result<()> {
        let file = prediction.path.to_string_lossy();
        let events = prediction.events(self.events.unwrap_or_default());
        let plain = |label: &str| label.replace(['\t', '\n'], " ");
        match self.format {
            Format::Json => {
                self.line(&Eventful { file: &file, duration_s: prediction.duration_s, events, stopped_at_s })
            }
            Format::Csv => {
                let rows = events.iter().map(|Event { start_s, end_s, label, score }| EventRow {
                    file: &file,
                    start_s: Some(*start_s),
                    end_s: Some(*end_s),
                    label,
                    score: Some(*score),
                    error: "",
                });
                self.rows(rows)
            }
            Format::Audacity => {
                for Event { start_s, end_s, label, score } in &events {
                    writeln!(self.output, "{start_s:.6}\t{end_s:.6}\t{} {score:.2}", plain(label))?;
                }
                self.output.flush()
            }
            Format::Raven => {
                let columns = "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)";
                writeln!(self.output, "{columns}\tBegin File\tAnnotation\tScore")?;
                let name = prediction.path.file_name().unwrap_or_default().to_string_lossy();
                for (i, Event { start_s, end_s, label, score }) in events.iter().enumerate() {
                    let (number, highest) = (i + 1, self.highest_hz);
                    let place = format!("{number}\tSpectrogram 1\t1\t{start_s:.6}\t{end_s:.6}\t0\t{highest}");
                    writeln!(self.output, "{place}\t{}\t{}\t{score:.4}", plain(&name), plain(label))?;
                }
                self.output.flush()
            }
        }
    }

    /// Tells of a recording that could not be read.
    pub fn tell_failed(&mut self, path: &Path, error: &str) -> io::Result<()> {
        let file = path.to_string_lossy();
        match self.format {
            Format::Json => self.line(&Unread { file: &file, error }),
            Format::Csv if self.events.is_some() => self.rows([EventRow { file: &file, error, ..EventRow::default() }]),
            Format::Csv => self.rows([Row { file: &file, error, ..Row::default() }]),
            Format::Audacity | Format::Raven => {
                eprintln!("predict: {error}");
                Ok(())
            }
        }
    }

    fn line(&mut self, value: &impl Serialize) -> io::Result<()> {
        match self.stamp.take() {
            None => serde_json::to_writer(&mut self.output, value)?,
            Some(stamp) => serde_json::to_writer(&mut self.output, &Kept { said: value, stamp })?,
        }
        self.output.write_all(b"\n")?;
        self.output.flush()
    }

    fn table<'a>(
        &mut self,
        whole: Row<'a>,
        none: bool,
        classes: impl Iterator<Item = (&'a str, Option<f32>, Option<f64>)>,
    ) -> io::Result<()> {
        let Row { file, standing, .. } = whole;
        let none = none.then(|| Row { file, standing, rank: Some(0), label: NONE_OF_THESE, ..Row::default() });
        let ranked = classes.take(self.top).enumerate().map(|(rank, (label, probability, distance))| Row {
            file,
            standing,
            rank: Some(rank + 1),
            label,
            probability,
            distance,
            error: "",
        });
        self.rows(none.into_iter().chain(ranked))
    }

    fn rows(&mut self, rows: impl IntoIterator<Item = impl Serialize>) -> io::Result<()> {
        let has_headers = !std::mem::replace(&mut self.has_header, true);
        let mut writer = csv::WriterBuilder::new().has_headers(has_headers).from_writer(&mut self.output);
        for row in rows {
            writer.serialize(row)?;
        }
        writer.flush()
    }

    /// Stretches of the recording with one most probable class each.
    fn labels(&mut self, prediction: &Prediction) -> io::Result<()> {
        let mut stretches: Vec<(f64, f64, &str)> = Vec::new();
        for window in prediction.timeline.iter().filter(|_| !prediction.standing.is_none_of_these()) {
            let best = window.probabilities.iter().zip(&prediction.ranked).max_by(|a, b| a.0.total_cmp(b.0));
            let Some((_, (label, _))) = best else { continue };
            // What a network says of silence, or of what it has never met, is no class of that stretch.
            let label = if window.standing.is_none_of_these() { NONE_OF_THESE } else { label };
            match stretches.last_mut().filter(|(.., last)| *last == label) {
                Some(last) => last.1 = window.end_s,
                // The last window may overlap the one before.
                None => stretches.push((stretches.last().map_or(0.0, |last| last.1), window.end_s, label)),
            }
        }
        if stretches.is_empty() {
            stretches.push((0.0, prediction.duration_s, prediction.name()));
        }
        for (start_s, end_s, label) in stretches {
            let label = label.replace(['\t', '\n'], " ");
            writeln!(self.output, "{start_s:.6}\t{end_s:.6}\t{label}")?;
        }
        self.output.flush()
    }
}
