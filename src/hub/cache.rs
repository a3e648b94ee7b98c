//! Where files of the hub lie on this machine, laid out as Hugging Face's `huggingface_hub` does: both find what the other has fetched.
//!
//! `models--owner--name/` holds `blobs/` with the files under their hashes, `snapshots/<commit>/` with links to them under their names,
//! and `refs/` with the commit that each branch was at.

use std::fs;
use std::path::{Path, PathBuf};

use super::name::HubName;
use crate::error::{Error, Result};
use crate::files;

/// Length of a commit's name: a SHA-1 in hexadecimal.
const COMMIT_LENGTH: usize = 40;

/// A cache of the hub's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache(PathBuf);

impl Cache {
    /// A cache in this folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Cache(folder.into())
    }

    /// The cache that `HF_HUB_CACHE` names, or the one in `HF_HOME`, or in `XDG_CACHE_HOME`, or in the home folder.
    pub fn from_env() -> Self {
        let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = || std::env::home_dir().unwrap_or_default().join(".cache");
        let hugging_face =
            || named("HF_HOME").unwrap_or_else(|| named("XDG_CACHE_HOME").unwrap_or_else(home).join("huggingface"));
        Cache(named("HF_HUB_CACHE").unwrap_or_else(|| hugging_face().join("hub")))
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.0
    }

    fn repo(&self, name: &HubName) -> PathBuf {
        self.0.join(format!("models--{}", name.repo.replace('/', "--")))
    }

    /// The folder of a commit's files.
    pub(super) fn snapshot(&self, name: &HubName, commit: &str) -> PathBuf {
        self.repo(name).join("snapshots").join(commit)
    }

    /// The folder of the files of a name, if every one of `files` is there.
    pub fn find(&self, name: &HubName, files: &[&str]) -> Option<PathBuf> {
        let reference = self.repo(name).join("refs").join(&name.revision);
        let commit = match fs::read_to_string(reference) {
            Ok(commit) => commit.trim().to_owned(),
            Err(_) => name.revision.clone(),
        };
        let snapshot = Some(commit).filter(|commit| is_commit(commit)).map(|commit| self.snapshot(name, &commit))?;
        files.iter().all(|file| snapshot.join(file).is_file()).then_some(snapshot)
    }

    /// Where a file lies by its hash.
    pub(super) fn blob(&self, name: &HubName, hash: &str) -> PathBuf {
        self.repo(name).join("blobs").join(hash)
    }

    /// Shows a file under its name in a commit's folder.
    pub(super) fn link(&self, name: &HubName, commit: &str, file: &str, hash: &str) -> Result<()> {
        let snapshot = self.snapshot(name, commit);
        files::create_dir(&snapshot)?;
        let (place, blob) = (snapshot.join(file), self.blob(name, hash));
        if place.is_file() {
            return Ok(());
        }
        // What is there is no file, or a link to one that is gone.
        let _ = fs::remove_file(&place);
        #[cfg(unix)]
        let linked = std::os::unix::fs::symlink(Path::new("../../blobs").join(hash), &place);
        #[cfg(unix)]
        if linked.is_ok() && place.is_file() {
            return Ok(());
        }
        let _ = fs::remove_file(&place);
        fs::copy(&blob, &place).map(drop).map_err(Error::io("write", place))
    }

    /// Remembers the commit that a branch or tag is at.
    pub(super) fn remember(&self, name: &HubName, commit: &str) -> Result<()> {
        match is_commit(&name.revision) {
            true => Ok(()),
            false => files::write_bytes(&self.repo(name).join("refs").join(&name.revision), commit.as_bytes()),
        }
    }
}

/// Whether a text is the whole name of a commit.
pub(super) fn is_commit(text: &str) -> bool {
    text.len() == COMMIT_LENGTH && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
