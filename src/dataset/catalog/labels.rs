//! Several labels in one cell of a table: `Guitar,Music`, `rain; wind`, `["dog", "cat"]`.

use std::collections::{BTreeMap, BTreeSet};

/// What separates labels, in the order that is tried; the last one also stands in names, as in `Speech, male`.
const SEPARATORS: [char; 3] = [';', '|', ','];

/// What people also write between labels, and what is not read so: names have it, too.
const OTHER_SEPARATORS: [char; 6] = ['+', '/', '&', ' ', '_', '-'];

/// How the labels of a table's cells are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cells {
    /// Each cell is one label.
    One,
    /// Labels stand side by side with this between them.
    Separated(char),
    /// Cells are lists in brackets, as Python and JSON write them; a cell that is none is none of these labels.
    Lists,
}

impl Cells {
    /// How these cells are meant; `is_plural` tells whether the column is called `labels` or the like.
    ///
    /// A separator is one where the column says that there may be several labels, and else where most of the parts that it cuts are found in
    /// more than one cell: labels come back in other company, while the parts of a name, as of `Speech, male`, do not. A comma with a blank
    /// behind it is no sign by itself.
    pub fn of(cells: &BTreeSet<&str>, is_plural: bool) -> Self {
        // One is enough: cut at its commas, it would leave names with brackets in them.
        if cells.iter().any(|cell| list(cell).is_some_and(|labels| !labels.is_empty())) {
            return Cells::Lists;
        }
        let separates = |separator: &char| {
            let has_it = cells.iter().any(|cell| cell.contains(*separator));
            let in_names = *separator == ',' && cells.iter().any(|cell| cell.contains(", "));
            has_it && (is_plural && !in_names || most_come_back(cells, *separator))
        };
        SEPARATORS.into_iter().find(separates).map_or(Cells::One, Cells::Separated)
    }

    /// The labels of a cell, each once, in their order; `None` where one of them is empty, or a cell among lists is none.
    pub fn split(self, cell: &str) -> Option<Vec<String>> {
        let all: Vec<String> = match self {
            Cells::One => vec![cell.trim().to_owned()],
            Cells::Separated(separator) => cell.split(separator).map(|label| label.trim().to_owned()).collect(),
            Cells::Lists => list(cell)?,
        };
        let mut seen = BTreeSet::new();
        let labels: Vec<String> = all.into_iter().filter(|label| seen.insert(label.clone())).collect();
        (!labels.is_empty() && labels.iter().all(|label| !label.is_empty())).then_some(labels)
    }

    /// What a person should know of how cells were read; nothing where there is no question.
    pub fn note(self, cells: &BTreeSet<&str>) -> Option<String> {
        let with = |separator: char| cells.iter().find(|cell| cell.contains(separator));
        match self {
            Cells::Separated(separator) => with(separator).map(|cell| {
                format!("several labels a recording, with `{separator}` between them: `{cell}` is {}", self.said(cell))
            }),
            Cells::Lists => cells
                .first()
                .map(|cell| format!("several labels a recording, as lists: `{cell}` is {}", self.said(cell))),
            Cells::One => {
                let others = OTHER_SEPARATORS.into_iter().filter(|separator| most_come_back(cells, *separator));
                SEPARATORS.into_iter().chain(others).find_map(with).map(|cell| {
                    format!("`{cell}` is one class by its whole name; if it is several, call the column labels and write `;` between them")
                })
            }
        }
    }

    fn said(self, cell: &str) -> String {
        self.split(cell).unwrap_or_default().join(" and ")
    }
}

/// Whether most of the parts that a separator cuts out of cells are found in several of them, or by themselves.
fn most_come_back(cells: &BTreeSet<&str>, separator: char) -> bool {
    let mut cells_of: BTreeMap<&str, usize> = BTreeMap::new();
    let mut cut: BTreeSet<&str> = BTreeSet::new();
    for cell in cells {
        let parts: BTreeSet<&str> = cell.split(separator).map(str::trim).collect();
        if cell.contains(separator) {
            cut.extend(&parts);
        }
        parts.into_iter().for_each(|part| *cells_of.entry(part).or_default() += 1);
    }
    let come_back = cut.iter().filter(|part| cells_of[*part] > 1).count();
    2 * come_back > cut.len()
}

/// The texts of a list as `['a', "b"]`; `None` for what is none.
fn list(cell: &str) -> Option<Vec<String>> {
    let mut rest = cell.trim().strip_prefix('[')?.strip_suffix(']')?.trim();
    let mut texts = Vec::new();
    while !rest.is_empty() {
        let quote = rest.chars().next().filter(|first| ['"', '\''].contains(first))?;
        let (text, after) = rest[1..].split_once(quote)?;
        texts.push(text.trim().to_owned());
        rest = after.trim_start();
        rest = match rest.strip_prefix(',') {
            Some(next) => next.trim_start(),
            None if rest.is_empty() => rest,
            None => return None,
        };
    }
    Some(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(texts: &[&str], is_plural: bool) -> Cells {
        Cells::of(&texts.iter().copied().collect(), is_plural)
    }

    #[test]
    fn labels_that_come_back_in_other_company_are_several() {
        for (texts, plural, expected) in [
            // As FSD50K has them.
            (&["Guitar,Music", "Piano,Music", "Guitar,Piano,Music", "Rain"][..], false, Cells::Separated(',')),
            (&["dog, cat", "cat, bird", "bird", "dog"], false, Cells::Separated(',')),
            (&["rain;wind", "wind", "rain"], false, Cells::Separated(';')),
            (&["rain | wind", "wind | sea", "sea"], false, Cells::Separated('|')),
            (&["/m/09x0r,/m/05zppz", "/m/02zsn"], true, Cells::Separated(',')),
            (&["Speech, male;Dog", "Cat"], true, Cells::Separated(';')),
            (&["['dog', 'cat']", "[\"Speech, male\"]"], false, Cells::Lists),
            (&["['dog', 'cat']", "['cat']", "dog, cat", "dog"], true, Cells::Lists),
        ] {
            assert_eq!(cells(texts, plural), expected, "{texts:?}");
        }
    }

    #[test]
    fn names_with_commas_in_them_stay_whole() {
        for texts in [
            &["Speech, male", "Speech, female", "Speech", "Dog"][..],
            &["Hammond organ, electric", "Rain"],
            &["Bell, church", "Bell, bicycle", "Horn, car"],
            &["knock;door", "rain"],
            &["a,b", "c"],
            &["[dog]", "[cat]"],
        ] {
            assert_eq!(cells(texts, false), Cells::One, "{texts:?}");
            assert_eq!(Cells::One.split(texts[0]), Some(vec![texts[0].to_owned()]));
        }
        assert_eq!(cells(&["Child speech, kid speaking", "Dog"], true), Cells::One);
    }

    #[test]
    fn a_cell_is_cut_into_its_labels_each_once() {
        let some = |labels: &[&str]| Some(labels.iter().map(|label| (*label).to_owned()).collect::<Vec<_>>());
        assert_eq!(Cells::Separated(';').split("rain; wind ;rain"), some(&["rain", "wind"]));
        assert_eq!(Cells::Separated(',').split("rain"), some(&["rain"]));
        assert_eq!(Cells::Lists.split("['Speech, male', \"it's\"]"), some(&["Speech, male", "it's"]));
        for empty in ["rain;;wind", ";rain", "rain;", ""] {
            assert_eq!(Cells::Separated(';').split(empty), None, "{empty:?}");
        }
        for none in ["dog", "[]", "['a' 'b']", "['a", "[a]", "['']"] {
            assert_eq!(Cells::Lists.split(none), None, "{none:?}");
        }
    }

    #[test]
    fn how_cells_were_read_is_told_where_it_is_a_question() {
        let note = |texts: &[&str]| {
            let texts: BTreeSet<&str> = texts.iter().copied().collect();
            Cells::of(&texts, false).note(&texts)
        };
        assert_eq!(note(&["dog", "cat"]), None);
        assert!(note(&["rain;wind", "wind", "rain"]).unwrap().contains("is rain and wind"));
        assert!(note(&["dog+cat", "cat", "dog"]).unwrap().contains("`dog+cat` is one class"));
        assert_eq!(note(&["crying baby", "sea waves", "rain"]), None);
        assert!(note(&["Speech, male", "Dog"]).unwrap().contains("one class by its whole name"));
    }
}
