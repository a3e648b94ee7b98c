//! The columns of a table: which are read, by what names, and which are not.

use super::words::listed;

/// The columns that are read, and what else people call them, in lower case, the first that is there counting.
pub(super) const COLUMNS: [(&str, &[&str]); 7] = [
    ("filename", &["file_name", "file", "filepath", "file_path", "path", "fname", "slice_file_name", "audio", "wav"]),
    (
        "category",
        &["class_name", "class", "label", "label_name", "labels", "tags", "classes", "categories", "positive_labels"],
    ),
    ("fold", &["split", "subset"]),
    ("target", &["class_id", "classid", "label_id"]),
    ("esc10", &[]),
    ("source", &["recording", "recording_id"]),
    ("src_file", &["fsid"]),
];
/// Names of the column `category` that say that a recording may have several.
const PLURAL: [&str; 5] = ["labels", "tags", "classes", "categories", "positive_labels"];
pub(super) const FILENAME: usize = 0;
pub(super) const CATEGORY: usize = 1;
pub(super) const FOLD: usize = 2;
pub(super) const TARGET: usize = 3;
pub(super) const ESC10: usize = 4;
/// Of these a second column is told by what it would be read for.
const TOLD: [usize; 3] = [FILENAME, CATEGORY, FOLD];
pub(super) const SOURCES: [usize; 2] = [5, 6];

/// Columns that tell which part of a file a row is, by the letters and digits of their names: where it begins, where it ends, how long it is.
const BEGINS: [&str; 10] =
    ["start", "starts", "starttime", "startsec", "startseconds", "onset", "onsets", "begin", "begintime", "begintimes"];
const ENDS: [&str; 10] =
    ["end", "ends", "endtime", "endtimes", "endsec", "endseconds", "offset", "offsets", "stop", "stoptime"];
const LASTS: [&str; 5] = ["duration", "durations", "durationsec", "durationseconds", "length"];
/// Columns that may say what was recorded at once or spoken by one, by the letters of their names without `id`, `name` and `file`.
const ORIGINS: [&str; 15] = [
    "speaker",
    "client",
    "subject",
    "participant",
    "patient",
    "animal",
    "individual",
    "session",
    "original",
    "parent",
    "video",
    "youtube",
    "yt",
    "track",
    "take",
];

/// Where each of [`COLUMNS`] stands in a table.
pub(super) struct Columns(pub [Option<usize>; COLUMNS.len()]);

impl Columns {
    pub fn of(headers: &csv::StringRecord) -> Self {
        let place = |wanted: &str| headers.iter().position(|header| header.trim().to_lowercase() == wanted);
        Columns(COLUMNS.map(|(name, others)| place(name).or_else(|| others.iter().find_map(|other| place(other)))))
    }

    pub fn has(&self, column: usize) -> bool {
        self.0[column].is_some()
    }

    /// What a row has in a column; nothing where the table has no such column.
    pub fn get<'a>(&self, record: &'a csv::StringRecord, column: usize) -> Option<&'a str> {
        record.get(self.0[column]?)
    }

    /// Whether the column `category` goes by a name for several.
    pub fn are_plural(&self, headers: &csv::StringRecord) -> bool {
        let header = self.0[CATEGORY].and_then(|place| headers.get(place)).unwrap_or_default();
        PLURAL.contains(&header.trim().to_lowercase().as_str())
    }

    /// Columns that may say what belongs together, of a table that does not say it in one that is read, in words.
    pub fn may_tell_sources(&self, headers: &csv::StringRecord) -> Option<String> {
        if SOURCES.iter().any(|column| self.has(*column)) {
            return None;
        }
        let plain = |header: &str| {
            let letters: String = header.to_lowercase().chars().filter(|c| c.is_alphabetic()).collect();
            ["id", "name", "file"].iter().fold(letters, |name, end| name.strip_suffix(end).unwrap_or(&name).to_owned())
        };
        let of_origin = |header: &&str| ORIGINS.contains(&plain(header).as_str());
        let headers = headers.iter().enumerate().filter(|(place, _)| !self.0.contains(&Some(*place)));
        let found: Vec<&str> = headers.map(|(_, header)| header).filter(of_origin).collect();
        (!found.is_empty()).then(|| {
            format!(
                "{} may say which recordings belong together, and the folds made here do not heed it: call such a column source",
                listed(found)
            )
        })
    }

    /// Columns that were taken for others, in words.
    pub fn renamed(&self, headers: &csv::StringRecord) -> Vec<String> {
        let pairs = COLUMNS.iter().zip(self.0).filter_map(|((name, _), place)| Some((*name, &headers[place?])));
        let renamed = pairs.filter(|(name, header)| !header.eq_ignore_ascii_case(name));
        renamed.map(|(name, header)| format!("{header} for {name}")).collect()
    }
}

/// Columns that say which part of a file a row is.
pub(super) struct Spans {
    begin: usize,
    end: Option<usize>,
    length: Option<usize>,
}

impl Spans {
    pub fn of(headers: &csv::StringRecord) -> Option<Self> {
        let plain = |header: &str| header.to_lowercase().chars().filter(|c| c.is_alphanumeric()).collect::<String>();
        let place = |names: &[&str]| headers.iter().position(|header| names.contains(&plain(header).as_str()));
        let (begin, end, length) = (place(&BEGINS)?, place(&ENDS), place(&LASTS));
        (end.is_some() || length.is_some()).then_some(Spans { begin, end, length })
    }

    pub fn names(&self, headers: &csv::StringRecord) -> String {
        format!("{} and {}", &headers[self.begin], &headers[self.end.or(self.length).unwrap_or(self.begin)])
    }

    /// Seconds that a row says its part lasts; not a number where it says so in another way. `None` of a row that says nothing.
    pub fn length_s(&self, record: &csv::StringRecord) -> Option<f64> {
        let cell = |place: Option<usize>| place.and_then(|place| record.get(place)).filter(|cell| !cell.is_empty());
        let number = |cell: &str| cell.replace(',', ".").parse().unwrap_or(f64::NAN);
        match (cell(Some(self.begin)), cell(self.end)) {
            (Some(begin), Some(end)) => Some(number(end) - number(begin)),
            _ => cell(self.length).map(number),
        }
    }
}

/// Columns that nobody asked for, in words.
pub(super) fn ignored(columns: &Columns, spans: Option<&Spans>, headers: &csv::StringRecord) -> Option<String> {
    let is_read = |place: usize| columns.0.contains(&Some(place));
    let of_span =
        |place: usize| spans.is_some_and(|spans| [Some(spans.begin), spans.end, spans.length].contains(&Some(place)));
    let is_told =
        |header: &str| TOLD.iter().any(|role| COLUMNS[*role].0 == header || COLUMNS[*role].1.contains(&header));
    let left: Vec<&str> = headers
        .iter()
        .enumerate()
        .filter(|(place, header)| {
            !header.is_empty() && !is_read(*place) && !of_span(*place) && !is_told(&header.to_lowercase())
        })
        .map(|(_, header)| header)
        .collect();
    (!left.is_empty()).then(|| format!("columns not read: {}", listed(left)))
}

/// Columns of the same meaning as one that is read, in words: whoever has both may mean the other.
pub(super) fn unread(columns: &Columns, headers: &csv::StringRecord) -> Vec<String> {
    let mut unread = Vec::new();
    for role in TOLD {
        let (name, others) = COLUMNS[role];
        let Some(taken) = columns.0[role] else { continue };
        for (place, header) in headers.iter().enumerate() {
            let lower = header.trim().to_lowercase();
            if place != taken && (lower == name || others.contains(&lower.as_str())) {
                unread.push(format!("{header} (for {name}, {} is read)", &headers[taken]));
            }
        }
    }
    unread
}
