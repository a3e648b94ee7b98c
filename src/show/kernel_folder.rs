//! The kernel's folder, as a page in the browser finds it by way of Jupyter.

use std::fs;
use std::path::{Component, Path, PathBuf};

use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::files;
use crate::files::content::hash_texts;

/// Finds the kernel's folder among those that Jupyter serves.
pub(super) const SCRIPT: &str = include_str!("kernel_folder.js");
/// What pages read, below the kernel's folder.
pub(super) const PAGES: &str = "data/pages";

/// What a page is to find in the kernel's folder: a file that tells it from every other folder, for Jupyter may serve another of the same
/// layout, and says nowhere what the kernel calls its own. The file holds a hash of the folder's path: the paths of a machine are nobody's business.
///
/// # Errors
/// [`Error::Io`] when the file cannot be written.
pub(super) fn here() -> Result<Value> {
    let folder = in_full(Path::new("."))?;
    let (file, id) = (format!("{PAGES}/here.txt"), hash_texts([&*folder.to_string_lossy()]));
    let path = Path::new(&file);
    if fs::read(path).ok().as_deref() != Some(id.as_bytes()) {
        files::create_dir(Path::new(PAGES))?;
        files::write_bytes(path, id.as_bytes())?;
    }
    Ok(json!({ "file": file, "id": id }))
}

/// A file or folder below the kernel's folder, with `/` between its parts; `None` for one that lies outside.
///
/// # Errors
/// [`Error::Io`] when the kernel's folder is gone.
pub(super) fn below_here(path: &Path) -> Result<Option<String>> {
    let (path, here) = (in_full(path)?, in_full(Path::new("."))?);
    let parts =
        path.strip_prefix(here).ok().map(|below| below.iter().map(|part| part.to_str()).collect::<Option<Vec<_>>>());
    Ok(parts.flatten().map(|parts| parts.join("/")))
}

/// The path from the root, without `.` and `..`; links stay what they are, for Jupyter follows them from its own root.
fn in_full(path: &Path) -> Result<PathBuf> {
    let absolute = std::path::absolute(path).map_err(Error::io("read folder", path))?;
    let mut plain = PathBuf::new();
    for part in absolute.components() {
        match part {
            Component::ParentDir => _ = plain.pop(),
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_below_is_told_without_detours_and_what_does_not_is_not() {
        assert_eq!(below_here(Path::new("./data/../data/my sounds#1")).unwrap().unwrap(), "data/my sounds#1");
        assert_eq!(below_here(Path::new("../elsewhere")).unwrap(), None);
        assert_eq!(below_here(Path::new("/")).unwrap(), None);
    }

    #[test]
    fn the_folder_is_told_by_a_file_in_it_that_does_not_name_it() {
        let here = here().unwrap();
        let left = fs::read_to_string(here["file"].as_str().unwrap()).unwrap();
        assert_eq!(left, here["id"].as_str().unwrap());
        assert!(left.len() == 32 && left.bytes().all(|byte| byte.is_ascii_hexdigit()), "{left}");
    }
}
