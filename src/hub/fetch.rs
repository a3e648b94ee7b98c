//! What is asked of the hub, and how its answers are checked.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::blocking::Response;
use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use serde_json::Value;

use super::cache::{Cache, is_commit};
use super::name::HubName;
use crate::error::{Error, Result};
use crate::files;
use crate::files::http::{self, Advice, Patience, Server};

/// Where the hub is, unless `HF_ENDPOINT` names another.
const ENDPOINT: &str = "https://huggingface.co";
/// A home's line, by which the time of a download is told before it begins.
const TYPICAL_MBIT_S: f64 = 50.0;

const TRY_LATER: &str = "Check the network and try again: what has come stays. Or copy the network's folder from another machine and \
                         name its path; or name a mirror in HF_ENDPOINT.";

/// The answers of the hub, in words.
const ADVICE: Advice = Advice {
    try_later: TRY_LATER,
    check_address: "Check the name, and HF_ENDPOINT where it is set.",
    explain: explained,
};

/// The largest description of a repository that is read, in bytes.
const MAX_DESCRIPTION: u64 = 16_000_000;

/// A file of the hub that is larger is told before it is fetched.
const LARGE_BYTES: u64 = 1_000_000;

/// The hub, and the cache of what came from it.
#[derive(Clone, Debug)]
pub struct Hub {
    endpoint: String,
    token: Option<String>,
    cache: Cache,
    offline: bool,
    patience: Patience,
}

impl Hub {
    /// The hub as the environment names it: `HF_ENDPOINT`; `HF_TOKEN`, or the token that `hf auth login` left; `HF_HUB_CACHE` and `HF_HOME`;
    /// `HF_HUB_OFFLINE`.
    pub fn from_env() -> Self {
        let set = |name: &str| {
            std::env::var(name).ok().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
        };
        let cache = Cache::from_env();
        let left = || {
            let path =
                set("HF_TOKEN_PATH").map(PathBuf::from).or_else(|| Some(cache.folder().parent()?.join("token")))?;
            Some(fs::read_to_string(path).ok()?.trim().to_owned()).filter(|token| !token.is_empty())
        };
        let offline = set("HF_HUB_OFFLINE")
            .is_some_and(|value| ["1", "on", "yes", "true"].contains(&value.to_lowercase().as_str()));
        let token = set("HF_TOKEN").or_else(left);
        let endpoint = set("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.into());
        Hub { token, offline, ..Hub::at(&endpoint, cache) }
    }

    /// A hub at this address, with a cache of its own.
    pub fn at(endpoint: &str, cache: Cache) -> Self {
        let patience = Patience {
            connect_timeout: Duration::from_secs(20),
            read_timeout: Duration::from_secs(60),
            attempts: 4,
            backoff: Duration::from_secs(1),
        };
        Hub { endpoint: endpoint.trim_end_matches('/').into(), token: None, cache, offline: false, patience }
    }

    /// The same hub, asked with this token.
    pub fn with_token(self, token: &str) -> Self {
        Hub { token: Some(token.into()), ..self }
    }

    /// The same hub, asked `attempts` times at most, with this wait before the second request and for its next bytes.
    pub fn with_patience(self, attempts: u32, backoff: Duration, read_timeout: Duration) -> Self {
        let patience = Patience { attempts: attempts.max(1), backoff, read_timeout, ..self.patience };
        Hub { patience, ..self }
    }

    /// The folder of a repository with these files, from the cache if all of them are there, and else from the hub. What is in the cache is
    /// not asked for again: a branch stays at the commit it was fetched at.
    ///
    /// Every file is of one commit, and of the size and hash that the hub announces. What came of a file before a connection broke stays,
    /// and is gone on from.
    ///
    /// # Errors
    /// [`Error::Download`] when the hub cannot be reached, has no such repository, revision or file, does not give it to everyone, or gives
    /// something else than it announces; [`Error::Io`] when the cache cannot be written.
    pub fn fetch(&self, name: &HubName, files: &[&str]) -> Result<PathBuf> {
        if let Some(folder) = self.cache.find(name, files) {
            return Ok(folder);
        }
        let page = format!("{}/{}", self.endpoint, name.repo);
        if self.offline {
            let next = "Unset HF_HUB_OFFLINE, or copy the network's folder from another machine and name its path.";
            return Err(failed(&page, "it is not in the cache, and HF_HUB_OFFLINE is set", next));
        }
        let repo = self.describe(name)?;
        for file in files {
            if !repo.files.iter().any(|own| own == file) {
                let next = if repo.files.iter().any(|own| own.ends_with(".bin")) {
                    "It has a .bin, which can run any program: load it with transformers where you trust it, save it again \
                     (save_pretrained writes safetensors), and name that folder."
                } else {
                    "Name a repository with a network as transformers saves it."
                };
                return Err(failed(&page, &format!("it has no {file}"), next));
            }
        }
        for file in files {
            self.fetch_file(name, &repo, file)?;
        }
        self.cache.remember(name, &repo.commit)?;
        Ok(self.cache.snapshot(name, &repo.commit))
    }

    /// What the hub says of a repository at a revision.
    fn describe(&self, name: &HubName) -> Result<Repo> {
        let address = format!("{}/api/models/{}/revision/{}", self.endpoint, name.repo, name.revision);
        let mut server = self.server(&address)?;
        let mut text = String::new();
        let read = server.get()?.take(MAX_DESCRIPTION).read_to_string(&mut text);
        read.map_err(|error| failed(&address, &http::reason(&error), TRY_LATER))?;
        let unfit = |reason: &str| failed(&address, reason, ADVICE.check_address);
        let answer: Value = serde_json::from_str(&text).map_err(|_| unfit("the answer is none of the hub"))?;
        let commit = answer.get("sha").and_then(Value::as_str).filter(|sha| is_commit(sha));
        let commit = commit.ok_or_else(|| unfit("the answer names no commit"))?.to_owned();
        let siblings = answer.get("siblings").and_then(Value::as_array).into_iter().flatten();
        let files = siblings.filter_map(|file| file.get("rfilename")?.as_str().map(str::to_owned)).collect();
        let license = answer.pointer("/cardData/license").and_then(Value::as_str).map(str::to_owned);
        Ok(Repo { commit, files, license })
    }

    fn fetch_file(&self, name: &HubName, repo: &Repo, file: &str) -> Result<()> {
        let address = format!("{}/{}/resolve/{}/{file}", self.endpoint, name.repo, repo.commit);
        let mut server = self.server(&address)?;
        let announced = Announced::read(&server.head()?, &address, &repo.commit)?;
        let blob = self.cache.blob(name, &announced.hash);
        if !blob.is_file() {
            if announced.size.is_some_and(|size| size > LARGE_BYTES) {
                println!("{}", repo.words(name, &announced, &self.cache));
            }
            download(&mut server, &address, &announced, &blob)?;
        }
        self.cache.link(name, &repo.commit, file, &announced.hash)
    }

    fn server(&self, address: &str) -> Result<Server> {
        Server::new(address, self.token.as_deref(), &self.patience, ADVICE)
    }
}

/// A repository at a commit.
struct Repo {
    commit: String,
    files: Vec<String>,
    license: Option<String>,
}

impl Repo {
    fn words(&self, name: &HubName, announced: &Announced, cache: &Cache) -> String {
        let mb = announced.size.unwrap_or_default() as f64 / 1e6;
        let license = self.license.as_deref().unwrap_or("not stated");
        let (commit, folder) = (&self.commit[..12], cache.folder().display());
        // Of the line nothing is known before the first bytes; from then on the bar tells.
        let seconds = 8.0 * mb / TYPICAL_MBIT_S;
        format!(
            "{name}, commit {commit}, license {license}: {mb:.0} MB, {seconds:.0} s at {TYPICAL_MBIT_S:.0} Mbit/s, to {folder}"
        )
    }
}

/// What the hub says of a file before it sends it.
struct Announced {
    /// SHA-256 of a large file, git's SHA-1 of a small one, or another mark that says nothing of its bytes.
    hash: String,
    size: Option<u64>,
}

impl Announced {
    fn read(response: &Response, address: &str, commit: &str) -> Result<Self> {
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let unfit = |reason: String| failed(address, &reason, ADVICE.check_address);
        match header("x-repo-commit") {
            Some(own) if own == commit => (),
            own => return Err(unfit(format!("expected commit {commit}, found {}", own.unwrap_or("none")))),
        }
        let etag = header("x-linked-etag").or_else(|| header("etag")).unwrap_or_default();
        let hash = etag.trim_start_matches("W/").trim_matches('"');
        if hash.is_empty() || hash.len() > 128 || !hash.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        {
            return Err(unfit(format!("no hash of the file is announced, but {etag:?}")));
        }
        let size =
            header("x-linked-size").or_else(|| header("content-length").filter(|_| response.status().is_success()));
        Ok(Announced { hash: hash.into(), size: size.and_then(|size| size.parse().ok()) })
    }

    /// What is wrong with a file's bytes, in words; nothing, where they are what was announced.
    fn difference(&self, path: &Path) -> io::Result<Option<String>> {
        let size = path.metadata()?.len();
        if let Some(announced) = self.size.filter(|announced| *announced != size) {
            return Ok(Some(format!("expected {announced} bytes, found {size}")));
        }
        let is_hex = self.hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        let mut context = match self.hash.len() {
            64 if is_hex => Context::new(&SHA256),
            40 if is_hex => {
                // Git's name of a file: that of its length and its bytes.
                let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
                context.update(format!("blob {size}\0").as_bytes());
                context
            }
            _ => return Ok(Some(format!("expected a SHA-256 or git's SHA-1 to check it by, found {:?}", self.hash))),
        };
        let (mut file, mut buffer) = (File::open(path)?, vec![0; 1 << 16]);
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                length => context.update(&buffer[..length]),
            }
        }
        let mut found = String::new();
        for byte in context.finish().as_ref() {
            let _ = write!(found, "{byte:02x}");
        }
        let same = found.eq_ignore_ascii_case(&self.hash);
        Ok((!same).then(|| format!("expected the hash {}, found {found}", self.hash)))
    }
}

/// Brings a file to its place in the cache: beside it first, where what an earlier try left is gone on from.
fn download(server: &mut Server, address: &str, announced: &Announced, blob: &Path) -> Result<()> {
    files::create_dir(blob.parent().unwrap_or(Path::new(".")))?;
    let beside = blob.with_extension("incomplete");
    let io = |action| Error::io(action, &beside);
    let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(&beside).map_err(io("create"))?;
    // Whoever else fetches the same file waits here, and then finds it in its place.
    file.lock().map_err(io("lock"))?;
    if blob.is_file() {
        return Ok(());
    }
    let before = file.metadata().map_err(io("read"))?.len();
    // As much as there is to come, or more, is a wrong file's: it would not be asked for the rest.
    let before = if announced.size.is_some_and(|size| before >= size) { 0 } else { before };
    let mut body = server.get_from(before)?;
    file.set_len(body.offset()).and_then(|()| file.seek(SeekFrom::End(0)).map(drop)).map_err(io("write"))?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let length = body.read(&mut buffer).map_err(|error| failed(address, &http::reason(&error), TRY_LATER))?;
        if length == 0 {
            break;
        }
        file.write_all(&buffer[..length]).map_err(io("write"))?;
    }
    body.finish();
    if let Some(difference) = announced.difference(&beside).map_err(io("read"))? {
        fs::remove_file(&beside).map_err(io("remove"))?;
        let next = "Nothing of it was kept. Try again; where it happens again, get the file in another way and name its folder.";
        return Err(failed(address, &difference, next));
    }
    fs::rename(&beside, blob).map_err(Error::io("write", blob))
}

/// What a refusal means: the hub tells it in a header.
fn explained(response: &Response) -> Option<(String, String)> {
    let status = response.status();
    let code = response.headers().get("x-error-code").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (reason, next) = match (code, status.as_u16()) {
        ("GatedRepo", _) => (
            "it is given to those alone who have accepted its terms",
            "Accept them on its page, make a token (Settings, Access Tokens) and set HF_TOKEN to it.",
        ),
        ("RevisionNotFound", _) => {
            ("there is no such revision", "Name a branch, a tag or a commit of it, or none for main.")
        }
        ("EntryNotFound", _) => {
            ("there is no such file in it", "Name a repository with a network as transformers saves it.")
        }
        ("RepoNotFound", _) | ("", 401 | 404) => (
            "there is no such repository, or it is private",
            "Check the name: hub:owner/name. Of a private one, set HF_TOKEN to a token of yours.",
        ),
        (_, 401 | 403) => ("the hub refuses", "Set HF_TOKEN to a token that may read it."),
        _ => return None,
    };
    Some((format!("{reason} ({status})"), next.into()))
}

fn failed(address: &str, reason: &str, next: &str) -> Error {
    Error::Download { url: address.into(), reason: reason.into(), next: next.into() }
}
