//! One address, asked patiently: time-outs, a few retries, and picking up where a broken connection stopped.

use std::error::Error as _;
use std::io::{self, Read};
use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use reqwest::blocking::{Client, Response};
use reqwest::header::{
    ACCEPT_RANGES, CONTENT_RANGE, ETAG, HeaderValue, IF_RANGE, RANGE, RETRY_AFTER, TRANSFER_ENCODING,
};
use reqwest::{StatusCode, Url};

use super::options::DownloadOptions;
use crate::error::{Error, Result};
use crate::files::progress::{Progress, Unit};

const USER_AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));
/// The longest wait a server can ask for between two requests.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// Bytes farther than ever before that make a broken connection the first one again.
const REAL_PROGRESS: u64 = 1_000_000;
const TRY_LATER: &str =
    "Check the network and run this stage again; or get the archive in another way and set DATASET to its path.";
const NO_CLIENT: &str = "Install the system's CA certificates (on Debian and Ubuntu: apt-get install ca-certificates).";
const CHECK_ADDRESS: &str = "Check the address; ESC-50 itself is also fetched from a mirror that ESC50_URL names.";

/// An address, and how many requests have gone there since the last real progress.
pub(super) struct Server {
    client: Client,
    url: Url,
    shown: String,
    requests: u32,
    /// How far into the archive the count of requests last began anew, in bytes.
    reached: u64,
    options: DownloadOptions,
}

impl Server {
    pub fn new(url: &str, options: &DownloadOptions) -> Result<Self> {
        // An error means that a provider is installed already, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let shown = shown(url);
        let url = Url::parse(url).map_err(|error| failed(&shown, error.to_string(), CHECK_ADDRESS))?;
        let client = || {
            let client = Client::builder()
                .user_agent(USER_AGENT)
                .connect_timeout(options.connect_timeout)
                // For the blocking client: until the response starts, and for each read of its body.
                .timeout(options.read_timeout);
            if is_loopback(&url) { client.no_proxy() } else { client }
        };
        let built = match client().build() {
            // Bare systems come without certificates, which plain HTTP does not need.
            Err(_) if url.scheme() == "http" => client().tls_certs_only([]).build(),
            built => built,
        };
        let client = built.map_err(|error| failed(&shown, root_cause(&error), NO_CLIENT))?;
        Ok(Server { client, url, shown, requests: 0, reached: 0, options: options.clone() })
    }

    /// Asks for the archive from its start.
    pub fn get(&mut self) -> Result<Body<'_>> {
        let response = self.request(None)?;
        let total = response.content_length();
        let header = |name| response.headers().get(name).cloned();
        let ranges = header(ACCEPT_RANGES).is_some_and(|unit| unit == "bytes");
        let etag = header(ETAG).filter(|etag| ranges && !etag.as_bytes().starts_with(b"W/"));
        let has_end = total.is_some() || header(TRANSFER_ENCODING).is_some();
        let progress = Progress::new("download", Unit::Bytes, total);
        Ok(Body { server: self, response, etag, total, has_end, progress })
    }

    fn request(&mut self, resume: Option<(u64, &HeaderValue)>) -> Result<Response> {
        loop {
            self.requests += 1;
            let mut request = self.client.get(self.url.clone());
            if let Some((offset, etag)) = resume {
                request = request.header(RANGE, format!("bytes={offset}-")).header(IF_RANGE, etag);
            }
            let (reason, wait) = match request.send() {
                Ok(response) if response.status().is_success() => return Ok(response),
                Ok(response) => self.refused(&response)?,
                Err(error) if error.is_builder() || error.is_redirect() => {
                    return Err(failed(&self.shown, root_cause(&error), CHECK_ADDRESS));
                }
                Err(error) => (describe(&error), Duration::ZERO),
            };
            self.wait_to_retry(&reason, wait)?;
        }
    }

    /// What to tell and how long to wait after a status that may pass; an error for one that will not.
    fn refused(&self, response: &Response) -> Result<(String, Duration)> {
        let status = response.status();
        let reason = format!("the server answered {status}");
        let may_pass =
            status.is_server_error() || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
        if !may_pass {
            return Err(failed(&self.shown, reason, CHECK_ADDRESS));
        }
        let asked = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        Ok((reason, asked.map_or(Duration::ZERO, Duration::from_secs).min(MAX_WAIT)))
    }

    /// Begins the count of requests anew if the last one came farther than all before. A server that always breaks at the
    /// same place does not count as making progress.
    fn count_progress(&mut self, bytes: u64) {
        if bytes >= self.reached + REAL_PROGRESS {
            self.reached = bytes;
            self.requests = 1;
        }
    }

    /// Waits, at least so long, before the next request; or fails with the reason when there have been enough.
    pub fn wait_to_retry(&self, reason: &str, at_least: Duration) -> Result<()> {
        let DownloadOptions { attempts, backoff, .. } = self.options;
        if self.requests >= attempts {
            let reason = if attempts == 1 { reason.into() } else { format!("{reason}, after {attempts} requests") };
            return Err(failed(&self.shown, reason, TRY_LATER));
        }
        let doubled = backoff.saturating_mul(2_u32.saturating_pow(self.requests.saturating_sub(1)));
        let wait = doubled.min(MAX_WAIT).max(at_least);
        println!("download: {reason}; next try in {:.0} s ({} of {attempts})", wait.as_secs_f64(), self.requests + 1);
        thread::sleep(wait);
        Ok(())
    }
}

/// The archive as it comes in.
pub(super) struct Body<'a> {
    server: &'a mut Server,
    response: Response,
    /// What the archive is known by, where the server can send the rest of it alone.
    etag: Option<HeaderValue>,
    total: Option<u64>,
    /// Whether the response tells where it ends, so that a cut cannot pass for its end.
    has_end: bool,
    progress: Progress,
}

impl<'a> Body<'a> {
    /// Whether the connection may have been cut without a sign.
    pub fn may_be_cut(&self) -> bool {
        !self.has_end
    }

    /// Gives up on this answer, of whose archive the server may be asked again.
    pub fn give_up(self) -> &'a mut Server {
        self.server.count_progress(self.progress.done());
        self.server
    }

    /// Tells the download's summary and returns its bytes.
    pub fn finish(self) -> u64 {
        let bytes = self.progress.done();
        self.progress.finish();
        bytes
    }

    /// Goes on where the connection broke, if the server still has the same archive and sends its rest.
    fn resume(&mut self, broken: &io::Error) -> bool {
        let Some(etag) = &self.etag else { return false };
        let offset = self.progress.done();
        self.server.count_progress(offset);
        if self.server.wait_to_retry(&reason(broken), Duration::ZERO).is_err() {
            return false;
        }
        let Ok(response) = self.server.request(Some((offset, etag))) else { return false };
        let range = response.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok()).unwrap_or_default();
        let is_rest =
            response.status() == StatusCode::PARTIAL_CONTENT && range.starts_with(&format!("bytes {offset}-"));
        if is_rest {
            self.response = response;
        }
        is_rest
    }
}

impl Read for Body<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let error = match self.response.read(buffer) {
                Ok(0) if self.total.is_some_and(|total| self.progress.done() < total) => {
                    io::ErrorKind::UnexpectedEof.into()
                }
                Ok(length) => {
                    self.progress.add(length as u64);
                    return Ok(length);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            if !self.resume(&error) {
                return Err(error);
            }
        }
    }
}

/// The address without what may be secret in it: user, password, query.
pub(super) fn shown(url: &str) -> String {
    let Ok(mut parsed) = Url::parse(url) else { return url.into() };
    parsed.set_query(None);
    // Both fail only for addresses that cannot carry them.
    let _ = parsed.set_username("");
    let _ = parsed.set_password(None);
    parsed.into()
}

/// Why reading a response failed.
pub(super) fn reason(error: &io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<reqwest::Error>()) {
        Some(error) => describe(error),
        None => format!("the connection broke ({error})"),
    }
}

fn describe(error: &reqwest::Error) -> String {
    let cause = root_cause(error);
    if error.is_connect() {
        format!("no connection ({cause})")
    } else if error.is_timeout() {
        "the server was silent for too long".into()
    } else {
        format!("the connection broke ({cause})")
    }
}

/// The innermost message: the ones around it say that a request failed.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause = error.source();
    while let Some(inner) = cause.and_then(std::error::Error::source) {
        cause = Some(inner);
    }
    cause.map_or_else(|| error.to_string(), ToString::to_string)
}

fn failed(url: &str, reason: String, next: &str) -> Error {
    Error::Download { url: url.into(), reason, next: next.into() }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}
