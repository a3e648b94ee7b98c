//! How patient a download is.

use std::time::Duration;

use crate::dataset::archive::Limits;
use crate::files::http::Patience;

/// How patient a download is, and how large an archive may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DownloadOptions {
    /// The longest wait for a connection.
    pub connect_timeout: Duration,
    /// The longest wait for the next bytes, from the request on: a server silent for longer counts as stalled.
    pub read_timeout: Duration,
    /// Requests made at most, the first included, until the download has come 1 MB farther; 1 or more.
    pub attempts: u32,
    /// The wait before the second request. It doubles with each further one.
    pub backoff: Duration,
    /// How large the archive may be once unpacked.
    pub limits: Limits,
}

impl Default for DownloadOptions {
    /// 20 s to connect, 60 s of silence, 4 requests for each step ahead with 1, 2 and 4 s between them.
    fn default() -> Self {
        DownloadOptions {
            connect_timeout: Duration::from_secs(20),
            read_timeout: Duration::from_secs(60),
            attempts: 4,
            backoff: Duration::from_secs(1),
            limits: Limits::default(),
        }
    }
}

impl DownloadOptions {
    pub(super) fn patience(&self) -> Patience {
        let DownloadOptions { connect_timeout, read_timeout, attempts, backoff, .. } = *self;
        Patience { connect_timeout, read_timeout, attempts, backoff }
    }
}
