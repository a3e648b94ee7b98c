//! File names for what people name freely: readable, and of one thing alone.

use super::hash::fnv1a;

/// The longest readable part, in bytes: with a run's name in front and an extension behind, a name stays below the 255 that file
/// systems take.
const MAX_READABLE: usize = 80;

/// The longest name of a file that stands for a path, in bytes.
#[cfg(feature = "torch")]
const MAX_FLAT: usize = 200;

/// A file name for one of the things that may be called `name`: its letters, digits, `-`, `_` and `.`, then a hash of `identity`, which
/// tells this one from all others. Never hidden, never empty.
pub fn unique(name: &str, identity: &str) -> String {
    let plain = |c: char| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    let name: String = name.chars().map(plain).collect();
    let readable = shortened(name.trim_matches(['.', '-', '_']), MAX_READABLE);
    let hash = fnv1a(identity.as_bytes()) as u32;
    if readable.is_empty() { format!("{hash:08x}") } else { format!("{readable}-{hash:08x}") }
}

/// A file's path below a folder as one name, `/` written as `__`; shortened and with a hash where it is too long, or stands for another path
/// already.
#[cfg(feature = "torch")]
pub fn flat(path: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let plain = path.replace(['/', '\\'], "__");
    if plain.len() <= MAX_FLAT && !is_taken(&plain) {
        return plain;
    }
    let (stem, extension) = plain.rsplit_once('.').unwrap_or((&plain, ""));
    let hash = fnv1a(path.as_bytes());
    format!("{}~{hash:016x}.{}", shortened(stem, MAX_READABLE), shortened(extension, MAX_READABLE))
}

/// The first characters of a text, as many as fit into so many bytes.
fn shortened(text: &str, max_bytes: usize) -> &str {
    let end = (0..=max_bytes.min(text.len())).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_of_one_name_have_file_names_of_their_own_and_keep_their_letters() {
        assert_ne!(unique("sounds", "/a/sounds"), unique("sounds", "/b/sounds"));
        assert_eq!(unique("sounds", "/a/sounds"), unique("sounds", "/a/sounds"));
        assert!(unique("звуки", "/звуки").starts_with("звуки-"));
        assert!(unique("two words", "x").starts_with("two_words-"));
        for odd in ["", ".", "..", "/", "...", "-", "___"] {
            let name = unique(odd, "x");
            assert!(name.len() == 8 && !name.starts_with('.'), "{odd:?}: {name}");
        }
        assert!(unique(&"声".repeat(200), "x").len() <= MAX_READABLE + 9);
        assert!(!unique("a/b\\c\n", "x").contains(['/', '\\', '\n']));
    }

    #[cfg(feature = "torch")]
    #[test]
    fn a_path_is_one_name_of_its_own() {
        assert_eq!(flat("a/b.wav", |_| false), "a__b.wav");
        assert_ne!(flat("a/b.wav", |name| name == "a__b.wav"), "a__b.wav");
        let long = format!("{}.flac", "x/".repeat(300));
        assert!(flat(&long, |_| false).len() <= MAX_FLAT && flat(&long, |_| false).ends_with(".flac"));
    }
}
