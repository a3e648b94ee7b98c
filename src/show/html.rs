//! Pieces of HTML for the notebook: audio players, tables, and the rows, grids and cards that hold them together.
//!
//! Inline styles, one style sheet as a piece is shown, to tell pictures the page's theme, and a script nowhere but in the panel of a run and the microphone: what
//! JupyterLab's sanitizer leaves of a notebook that is not trusted yet still plays, reads and stands in its place. Texts take the theme's colour, because none is set
//! here.

use std::fmt::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::error::{Error, Result};
use crate::front_end::audio::{self, Waveform};

/// Tells pictures the page's theme, as JupyterLab, its HTML export and VS Code name it: a picture's own style sheet sees nothing but the colour
/// scheme of the element it stands in, and what the system prefers where nothing is said.
const THEME: &str = "<style>.tinyast{color-scheme:light}[data-jp-theme-light=\"false\"] .tinyast,.vscode-dark .tinyast{color-scheme:dark}</style>";

/// A piece of HTML, which a notebook shows when it is the last expression of a cell.
#[derive(Clone, PartialEq, Eq)]
pub struct Html(String);

impl Html {
    /// A paragraph of plain text.
    pub fn text(text: &str) -> Self {
        Html(format!("<p style=\"margin:4px 0\">{}</p>", escape(text)))
    }

    /// An image from its bytes, with `alt` for those who do not see it; `width` and `height` in CSS pixels. An SVG with a rendering for dark
    /// pages shows it where the notebook's theme is dark.
    pub(crate) fn image(mime: &str, bytes: &[u8], alt: &str, width: u32, height: u32) -> Self {
        Html(format!(
            "<img alt=\"{}\" class=\"tinyast\" width=\"{width}\" height=\"{height}\" style=\"max-width:100%;height:auto\" src=\"data:{mime};base64,{}\">",
            escape(alt),
            STANDARD.encode(bytes)
        ))
    }

    /// The markup itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Shows the piece in an evcxr notebook, which calls this on a cell's last expression.
    pub fn evcxr_display(&self) {
        println!("EVCXR_BEGIN_CONTENT text/html\n{THEME}{}\nEVCXR_END_CONTENT", self.0);
    }
}

impl fmt::Debug for Html {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Html({} bytes)", self.0.len())
    }
}

/// Makes any text safe inside an element or a quoted attribute.
///
/// Line ends become character references, so that no text can end the block in which evcxr carries the HTML.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' => escaped.push_str("&#10;"),
            '\r' => escaped.push_str("&#13;"),
            other => escaped.push(printable(other)),
        }
    }
    escaped
}

/// The character, or "�" for one that XML does not take (XML 1.0, 2.2): an SVG with such a one does not show at all.
pub(crate) fn printable(c: char) -> char {
    if c.is_control() || matches!(c, '\u{FFFE}' | '\u{FFFF}') { '�' } else { c }
}

/// A player embeds at most this much of a recording: 1 MB of the notebook at 16 kHz.
const MAX_PLAYED_S: f64 = 24.0;

/// A player for mono `samples` in [−1, 1], embedded as a 16-bit WAV: 2 bytes per sample, a third more as text.
///
/// Of a recording longer than 24 s the player has the beginning, and says so.
///
/// # Errors
/// [`Error::Plot`] when there are no samples, one is not finite, or the rate is zero.
pub fn audio_player(samples: &[f32], sample_rate: u32, caption: &str) -> Result<Html> {
    let refuse = |reason: String| Error::Plot { picture: "an audio player", reason };
    if samples.is_empty() || sample_rate == 0 {
        return Err(refuse(format!("it needs samples and a sample rate, found {} at {sample_rate} Hz", samples.len())));
    }
    if let Some(at) = samples.iter().position(|sample| !sample.is_finite()) {
        return Err(refuse(format!("sample {at} of {} is {}", samples.len(), samples[at])));
    }
    let duration_s = samples.len() as f64 / f64::from(sample_rate);
    let played = samples.len().min((MAX_PLAYED_S * f64::from(sample_rate)) as usize);
    let length = if played < samples.len() {
        format!("the first {MAX_PLAYED_S} of {duration_s:.1} s")
    } else {
        format!("{duration_s:.1} s")
    };
    let caption = if caption.is_empty() { length } else { format!("{} ({length})", escape(caption)) };
    let wav = audio::wav_bytes(&Waveform { samples: samples[..played].to_vec(), sample_rate })?;
    Ok(Html(format!(
        "<figure style=\"margin:4px 0\"><audio controls=\"\" preload=\"metadata\" title=\"{caption}\" \
         style=\"width:300px;max-width:100%\" src=\"data:audio/wav;base64,{}\"></audio>\
         <figcaption style=\"font-size:12px\">{caption}</figcaption></figure>",
        STANDARD.encode(wav),
    )))
}

/// One cell of a [`table`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Words, aligned to the left.
    Text(String),
    /// Sentences, broken into lines where the page is narrow.
    Prose(String),
    /// A number already formatted, aligned to the right.
    Number(String),
    /// A prediction that is right, marked with a green ✓.
    Right(String),
    /// A prediction that is wrong, marked with a red ✗.
    Wrong(String),
}

impl Cell {
    /// A number with this many decimals.
    pub fn number(value: f64, decimals: usize) -> Self {
        Cell::Number(format!("{value:.decimals$}").replace('-', "−"))
    }

    /// A prediction beside the truth: [`Cell::Right`] when they agree.
    pub fn prediction(predicted: &str, actual: &str) -> Self {
        if predicted == actual { Cell::Right(predicted.into()) } else { Cell::Wrong(predicted.into()) }
    }

    fn markup(&self) -> String {
        let align = if matches!(self, Cell::Number(_)) { "right" } else { "left" };
        let inner = match self {
            Cell::Text(text) | Cell::Prose(text) | Cell::Number(text) => escape(text),
            Cell::Right(text) => format!("<b style=\"color:#2e9e5b\">✓</b> {}", escape(text)),
            Cell::Wrong(text) => format!("<b style=\"color:#e0524d\">✗</b> {}", escape(text)),
        };
        let breaks = if matches!(self, Cell::Prose(_)) { PROSE } else { CELL };
        format!("<td style=\"text-align:{align};{breaks}\">{inner}</td>")
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Cell::Text(text.into())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Cell::Text(text)
    }
}

impl From<usize> for Cell {
    fn from(count: usize) -> Self {
        Cell::Number(count.to_string())
    }
}

const CELL: &str = "padding:3px 12px 3px 6px;white-space:nowrap";
const PROSE: &str =
    "padding:3px 12px 3px 6px;white-space:normal;overflow-wrap:anywhere;min-width:12em;vertical-align:top";
/// Grey at half strength: a line that shows on light and dark alike.
const LINE: &str = "1px solid rgba(128, 128, 128, 0.5)";

/// A table with a caption above and one row per entry of `rows`; a short row ends in empty cells.
///
/// A column's header is aligned as the column's first cell.
pub fn table(headers: &[&str], rows: &[Vec<Cell>], caption: &str) -> Html {
    let columns = rows.iter().map(Vec::len).chain([headers.len()]).max().unwrap_or(0);
    let empty = Cell::Text(String::new());
    let mut html =
        String::from("<table style=\"border-collapse:collapse;table-layout:auto;margin:4px 0;font-size:13px\">");
    if !caption.is_empty() {
        let _ = write!(html, "<caption style=\"text-align:left;padding:3px 6px\">{}</caption>", escape(caption));
    }
    html.push_str("<thead><tr>");
    for column in 0..columns {
        let is_number =
            rows.first().and_then(|row| row.get(column)).is_some_and(|cell| matches!(cell, Cell::Number(_)));
        let align = if is_number { "right" } else { "left" };
        let header = escape(headers.get(column).copied().unwrap_or_default());
        let _ = write!(html, "<th style=\"text-align:{align};border-bottom:{LINE};{CELL}\">{header}</th>");
    }
    html.push_str("</tr></thead><tbody>");
    for row in rows {
        html.push_str("<tr>");
        for column in 0..columns {
            html.push_str(&row.get(column).unwrap_or(&empty).markup());
        }
        html.push_str("</tr>");
    }
    html.push_str("</tbody></table>");
    Html(html)
}

/// Pieces side by side, wrapping where the page is too narrow.
pub fn row(items: &[Html]) -> Html {
    Html(format!(
        "<div style=\"display:flex;flex-wrap:wrap;gap:8px;align-items:flex-start\">{}</div>",
        items.iter().map(|item| format!("<div>{}</div>", item.0)).collect::<String>()
    ))
}

/// Pieces in `columns` equal columns (at least one), filled row by row.
pub fn grid(columns: usize, items: &[Html]) -> Html {
    let width = 100.0 / columns.max(1) as f64;
    let lines = items.chunks(columns.max(1)).map(|line| {
        let cells = line
            .iter()
            .map(|item| format!("<div style=\"width:{width:.2}%;padding:3px;box-sizing:border-box\">{}</div>", item.0));
        format!("<div style=\"display:flex\">{}</div>", cells.collect::<String>())
    });
    Html(format!("<div>{}</div>", lines.collect::<String>()))
}

/// Pieces under one another, in a frame, with a heading unless `title` is empty.
pub fn card(title: &str, items: &[Html]) -> Html {
    let heading = match title {
        "" => String::new(),
        title => format!("<div style=\"font-weight:bold;margin-bottom:6px\">{}</div>", escape(title)),
    };
    Html(format!(
        "<div style=\"display:inline-block;max-width:100%;box-sizing:border-box;border:{LINE};border-radius:6px;\
         padding:8px;margin:4px 0\">{heading}{}</div>",
        items.iter().map(|item| format!("<div>{}</div>", item.0)).collect::<String>()
    ))
}

/// A frame whose picture and words a script brings up to date; `data` is what it reads there. Where scripts do not run, picture and
/// words stay as they are.
pub(crate) fn live(id: &str, data: &str, picture: &Html, words: &str, script: &str) -> Html {
    let frame = card("", &[Html(format!("<div data-picture=\"\">{}</div>", picture.0)), said(words)]);
    Html(format!(
        "<div id=\"{}\" data-run=\"{}\">{}</div>\n<script>\n{script}</script>",
        escape(id),
        escape(data),
        frame.0
    ))
}

/// What stands in a button's place where no script makes one.
pub(crate) fn button_out_of_use(word: &str) -> Html {
    let svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"150\" height=\"36\"><rect x=\"1\" y=\"1\" width=\"148\" height=\"34\" rx=\"6\" \
         fill=\"none\" stroke=\"#888888\" stroke-width=\"1.5\" stroke-dasharray=\"5 4\"/><circle cx=\"22\" cy=\"18\" r=\"6\" fill=\"#888888\"/>\
         <text x=\"38\" y=\"23\" font-family=\"sans-serif\" font-size=\"14\" fill=\"#888888\">{word}</text></svg>"
    );
    Html::image("image/svg+xml", svg.as_bytes(), &format!("A button: {word}, out of use"), 150, 36)
}

/// A name for a frame that a script is to find: of one output alone, also when a cell is run again.
pub(crate) fn unique_id(kind: &str) -> String {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{kind}-{}-{}", std::process::id(), since_epoch.as_nanos())
}

fn said(words: &str) -> Html {
    Html(format!("<p data-words=\"\" style=\"margin:4px 0\">{}</p>", escape(words)))
}
