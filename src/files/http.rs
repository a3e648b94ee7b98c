//! One address, asked patiently: time-outs, a few retries, and picking up where a broken connection stopped.

use std::error::Error as _;
use std::io::{self, Read};
use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use reqwest::blocking::{Client, RequestBuilder, Response};
use reqwest::header::{
    ACCEPT_RANGES, CONTENT_RANGE, ETAG, HeaderValue, IF_RANGE, RANGE, RETRY_AFTER, TRANSFER_ENCODING,
};
use reqwest::redirect::Policy;
use reqwest::{Method, StatusCode, Url};

use crate::error::{Error, Result};
use crate::files::progress::{Progress, Unit};

const USER_AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));
/// The longest wait a server can ask for between two requests.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// Redirects within one server that are followed.
const MAX_REDIRECTS: usize = 10;
/// Bytes farther than ever before that make a broken connection the first one again.
const REAL_PROGRESS: u64 = 1_000_000;
const NO_CLIENT: &str = "Install the system's CA certificates (on Debian and Ubuntu: apt-get install ca-certificates).";

/// How patient a download is.
#[derive(Clone, Debug)]
pub(crate) struct Patience {
    /// The longest wait for a connection.
    pub connect_timeout: Duration,
    /// The longest wait for the next bytes, from the request on.
    pub read_timeout: Duration,
    /// Requests made at most until the download has come farther; 1 or more.
    pub attempts: u32,
    /// The wait before the second request. It doubles with each further one.
    pub backoff: Duration,
}

/// What to do now, by what went wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Advice {
    /// The network, or the server, for the moment.
    pub try_later: &'static str,
    /// The address.
    pub check_address: &'static str,
    /// What a refusal by this server means and what to do about it, where there is more to say than its status.
    pub explain: fn(&Response) -> Option<(String, String)>,
}

/// An address, and how many requests have gone there since the last real progress.
pub(crate) struct Server {
    client: Client,
    url: Url,
    /// Sent with every request to the address, and not to where it redirects.
    token: Option<String>,
    shown: String,
    requests: u32,
    /// How far into the file the count of requests last began anew, in bytes.
    reached: u64,
    patience: Patience,
    advice: Advice,
}

impl Server {
    pub fn new(url: &str, token: Option<&str>, patience: &Patience, advice: Advice) -> Result<Self> {
        // An error means that a provider is installed already, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let shown = shown(url);
        let url = Url::parse(url).map_err(|error| failed(&shown, error.to_string(), advice.check_address))?;
        let client =
            client(&url, patience, Policy::default()).map_err(|error| failed(&shown, root_cause(&error), NO_CLIENT))?;
        let token = token.map(str::to_owned);
        Ok(Server { client, url, token, shown, requests: 0, reached: 0, patience: patience.clone(), advice })
    }

    /// What this server itself says of the file, in the head of its answer: of a redirect to another server, too, which is not followed.
    pub fn head(&mut self) -> Result<Response> {
        let host = self.url.host_str().map(str::to_owned);
        let own = Policy::custom(move |attempt| match attempt.url().host_str() == host.as_deref() {
            true if attempt.previous().len() < MAX_REDIRECTS => attempt.follow(),
            _ => attempt.stop(),
        });
        let own = client(&self.url, &self.patience, own);
        let all = std::mem::replace(
            &mut self.client,
            own.map_err(|error| failed(&self.shown, root_cause(&error), NO_CLIENT))?,
        );
        let response = self.request(Method::HEAD, |request| request);
        self.client = all;
        response
    }

    /// Asks for the file from its start.
    pub fn get(&mut self) -> Result<Body<'_>> {
        let response = self.request(Method::GET, |request| request)?;
        Ok(self.body(response, 0))
    }

    /// Asks for the file without its first `offset` bytes. A server that has no such rest is asked for the whole.
    pub fn get_from(&mut self, offset: u64) -> Result<Body<'_>> {
        if offset == 0 {
            return self.get();
        }
        let ranged = |request: RequestBuilder| request.header(RANGE, format!("bytes={offset}-"));
        let response = self.request(Method::GET, ranged)?;
        match response.status() {
            StatusCode::RANGE_NOT_SATISFIABLE => self.get(),
            _ if is_rest(&response, offset) => Ok(self.body(response, offset)),
            _ => Ok(self.body(response, 0)),
        }
    }

    fn body(&mut self, response: Response, offset: u64) -> Body<'_> {
        let total = response.content_length().map(|rest| offset + rest);
        let header = |name| response.headers().get(name).cloned();
        let ranges = header(ACCEPT_RANGES).is_some_and(|unit| unit == "bytes");
        let etag = header(ETAG).filter(|etag| ranges && !etag.as_bytes().starts_with(b"W/"));
        let has_end = total.is_some() || header(TRANSFER_ENCODING).is_some();
        let mut progress = Progress::new("download", Unit::Bytes, total);
        progress.add(offset);
        Body { server: self, response, etag, offset, total, has_end, progress }
    }

    /// An answer that is a success, a redirect that is not followed, or no such range.
    fn request(&mut self, method: Method, with: impl Fn(RequestBuilder) -> RequestBuilder) -> Result<Response> {
        loop {
            self.requests += 1;
            let mut request = with(self.client.request(method.clone(), self.url.clone()));
            if let Some(token) = &self.token {
                request = request.bearer_auth(token);
            }
            let (reason, wait) = match request.send() {
                Ok(response) if response.status().is_success() => return Ok(response),
                Ok(response) if method == Method::HEAD && response.status().is_redirection() => return Ok(response),
                Ok(response) if response.status() == StatusCode::RANGE_NOT_SATISFIABLE => return Ok(response),
                Ok(response) => self.refused(&response)?,
                Err(error) if error.is_builder() || error.is_redirect() => {
                    return Err(failed(&self.shown, root_cause(&error), self.advice.check_address));
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
            let (reason, next) =
                (self.advice.explain)(response).unwrap_or((reason, self.advice.check_address.to_owned()));
            return Err(failed(&self.shown, reason, &next));
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
        let Patience { attempts, backoff, .. } = self.patience;
        if self.requests >= attempts {
            let reason = if attempts == 1 { reason.into() } else { format!("{reason}, after {attempts} requests") };
            return Err(failed(&self.shown, reason, self.advice.try_later));
        }
        let doubled = backoff.saturating_mul(2_u32.saturating_pow(self.requests.saturating_sub(1)));
        let wait = doubled.min(MAX_WAIT).max(at_least);
        println!("download: {reason}; next try in {:.0} s ({} of {attempts})", wait.as_secs_f64(), self.requests + 1);
        thread::sleep(wait);
        Ok(())
    }
}

fn client(url: &Url, patience: &Patience, policy: Policy) -> reqwest::Result<Client> {
    // A policy serves one client, and the first of two tries may fail for want of certificates, which plain HTTP does not need.
    let builder = || {
        let builder = Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(patience.connect_timeout)
            // For the blocking client: until the response starts, and for each read of its body.
            .timeout(patience.read_timeout);
        if is_loopback(url) { builder.no_proxy() } else { builder }
    };
    match builder().build() {
        Err(_) if url.scheme() == "http" => builder().redirect(policy).tls_certs_only([]).build(),
        _ => builder().redirect(policy).build(),
    }
}

/// A file as it comes in.
pub(crate) struct Body<'a> {
    server: &'a mut Server,
    response: Response,
    /// What the file is known by, where the server can send the rest of it alone.
    etag: Option<HeaderValue>,
    /// Bytes of the file that this answer leaves out.
    offset: u64,
    total: Option<u64>,
    /// Whether the response tells where it ends, so that a cut cannot pass for its end.
    has_end: bool,
    progress: Progress,
}

impl<'a> Body<'a> {
    /// Where in the file this answer began, in bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

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
        let etag = etag.clone();
        let rest =
            |request: RequestBuilder| request.header(RANGE, format!("bytes={offset}-")).header(IF_RANGE, etag.clone());
        let Ok(response) = self.server.request(Method::GET, rest) else { return false };
        let is_rest = is_rest(&response, offset);
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

/// Whether an answer holds the file from this byte on.
fn is_rest(response: &Response, offset: u64) -> bool {
    let range = response.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok()).unwrap_or_default();
    response.status() == StatusCode::PARTIAL_CONTENT && range.starts_with(&format!("bytes {offset}-"))
}

/// The address without what may be secret in it: user, password, query.
pub(crate) fn shown(url: &str) -> String {
    let Ok(mut parsed) = Url::parse(url) else { return url.into() };
    parsed.set_query(None);
    // Both fail only for addresses that cannot carry them.
    let _ = parsed.set_username("");
    let _ = parsed.set_password(None);
    parsed.into()
}

/// Why reading a response failed.
pub(crate) fn reason(error: &io::Error) -> String {
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
