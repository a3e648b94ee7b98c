//! `hub:mispeech/ced-tiny`: a network by its name on the hub.

use std::fmt;

use crate::error::{Error, Result};

/// What a name of the hub begins with.
const PREFIX: &str = "hub:";
/// The revision that is meant where none is named.
const MAIN: &str = "main";

/// A repository of the hub, at a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubName {
    /// `owner/name`.
    pub repo: String,
    /// A branch, a tag or a commit.
    pub revision: String,
}

impl HubName {
    /// Whether a text is meant as a name of the hub.
    pub fn is_one(text: &str) -> bool {
        text.starts_with(PREFIX)
    }

    /// Reads `hub:owner/name` or `hub:owner/name@revision`.
    ///
    /// # Errors
    /// [`Error::Config`] when it is neither.
    pub fn parse(text: &str) -> Result<Self> {
        let unfit = || Error::Config {
            field: "model",
            expected: "a name as hub:owner/name or hub:owner/name@revision".into(),
            found: text.into(),
        };
        let named = text.strip_prefix(PREFIX).ok_or_else(unfit)?;
        let (repo, revision) = named.split_once('@').unwrap_or((named, MAIN));
        let (owner, name) = repo.split_once('/').ok_or_else(unfit)?;
        // Both become parts of paths and addresses.
        let plain = |part: &str| {
            let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            !part.is_empty()
                && part.len() <= 96
                && part.bytes().all(known)
                && !part.starts_with('.')
                && !part.contains("--")
        };
        match plain(owner) && plain(name) && plain(revision) {
            true => Ok(HubName { repo: repo.into(), revision: revision.into() }),
            false => Err(unfit()),
        }
    }
}

impl fmt::Display for HubName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.repo)?;
        if self.revision == MAIN { Ok(()) } else { write!(f, "@{}", self.revision) }
    }
}
