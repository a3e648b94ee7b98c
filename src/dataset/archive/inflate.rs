//! The first half of unpacking: bytes from a file or a server, through gzip, into chunks for the tar parser.

use std::io::{self, BufReader, Cursor, Read};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};

use flate2::bufread::MultiGzDecoder;

use super::failure::{Failure, refuse};

/// How much is read from the source at once, in bytes.
const READ_BYTES: usize = 128 << 10;
/// How much inflated data is handed over at once, in bytes, and how many such chunks may wait.
const CHUNK_BYTES: usize = 256 << 10;
const MAX_WAITING: usize = 16;

/// The first block of a tar, in bytes, and where in it POSIX and GNU tars have their mark.
const TAR_BLOCK: u64 = 512;
const TAR_MARK_AT: usize = 257;

/// What files that are no gzip start with, and what to tell about them.
const SIGNATURES: [(&[u8], &str); 8] = [
    (b"PK\x03\x04", "a zip archive: repack it as .tar.gz"),
    (b"BZh", "a bzip2 archive: repack it as .tar.gz"),
    (b"\xFD7zXZ", "an xz archive: repack it as .tar.gz"),
    (b"\x28\xB5\x2F\xFD", "a zstd archive: repack it as .tar.gz"),
    (b"7z\xBC\xAF", "a 7z archive: repack it as .tar.gz"),
    (b"Rar!", "a rar archive: repack it as .tar.gz"),
    (b"<", "a web page: check the address"),
    (b"", "other data"),
];

/// Makes the two ends: one to run on a thread of its own, one to read from.
pub(super) fn pipe<R: Read>(source: R) -> (Inflater<R>, Chunks) {
    let (full_tx, full_rx) = mpsc::sync_channel(MAX_WAITING);
    let (spent_tx, spent_rx) = mpsc::channel();
    let chunks = Chunks { full: full_rx, spent: spent_tx, current: Vec::new(), position: 0 };
    (Inflater { source, full: full_tx, spent: spent_rx }, chunks)
}

pub(super) struct Inflater<R> {
    source: R,
    full: SyncSender<Vec<u8>>,
    spent: Receiver<Vec<u8>>,
}

impl<R: Read> Inflater<R> {
    /// Inflates all there is, and checks that the stream ends where gzip says, with the right checksum.
    ///
    /// Stops early, without an error, when nobody reads any more.
    pub fn run(self, archive: &str) -> Result<(), Failure> {
        let mut source = BufReader::with_capacity(READ_BYTES, Tap { source: self.source, failure: None });
        let mut start = Vec::new();
        let peeked = source.by_ref().take(TAR_BLOCK).read_to_end(&mut start);
        if let (Err(_), Some(error)) = (peeked, source.get_mut().failure.take()) {
            return Err(Failure::Source(error));
        }
        let is_tar = start.get(TAR_MARK_AT..).is_some_and(|rest| rest.starts_with(b"ustar"));
        if is_tar {
            let mut plain = Cursor::new(start).chain(source);
            let copied = hand_over(&mut plain, &self.full, &self.spent);
            let (_, source) = plain.into_inner();
            return match (source.into_inner().failure, copied) {
                (Some(error), _) => Err(Failure::Source(error)),
                (None, copied) => copied.map_err(Failure::Source),
            };
        }
        if !start.starts_with(b"\x1F\x8B") {
            return Err(no_gzip(archive, &start));
        }
        let mut gzip = MultiGzDecoder::new(Cursor::new(start).chain(source));
        let inflated = hand_over(&mut gzip, &self.full, &self.spent);
        let (_, source) = gzip.into_inner().into_inner();
        match (source.into_inner().failure, inflated) {
            (Some(error), _) => Err(Failure::Source(error)),
            (None, Ok(())) => Ok(()),
            (None, Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                let found = "one cut short, or with stray bytes after its end";
                Err(Failure::Truncated(refuse(archive, "as a whole", "a whole gzip stream", found)))
            }
            (None, Err(error)) => {
                let found = format!("damaged data or something after its end ({error})");
                Err(Failure::Final(refuse(archive, "as a whole", "a sound gzip stream", found)))
            }
        }
    }
}

fn hand_over(gzip: &mut impl Read, full: &SyncSender<Vec<u8>>, spent: &Receiver<Vec<u8>>) -> io::Result<()> {
    loop {
        let mut chunk = spent.try_recv().unwrap_or_default();
        chunk.resize(CHUNK_BYTES, 0);
        let mut filled = 0;
        while filled < chunk.len() {
            match gzip.read(&mut chunk[filled..]) {
                Ok(0) => break,
                Ok(length) => filled += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        chunk.truncate(filled);
        if filled == 0 || full.send(chunk).is_err() {
            return Ok(());
        }
    }
}

fn no_gzip(archive: &str, start: &[u8]) -> Failure {
    if start.len() < 2 {
        return Failure::Truncated(refuse(archive, "as a whole", "a .tar.gz or .tar archive", "an empty file"));
    }
    let found = SIGNATURES.iter().find(|(signature, _)| start.starts_with(signature)).map_or("", |(_, found)| found);
    Failure::Final(refuse(archive, "as a whole", "a .tar.gz or .tar archive", found))
}

/// The reading end. Its end of file is also what it shows after a failure of the other end, which tells the reason.
pub(super) struct Chunks {
    full: Receiver<Vec<u8>>,
    spent: Sender<Vec<u8>>,
    current: Vec<u8>,
    position: usize,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.position == self.current.len() {
            let Ok(next) = self.full.recv() else { return Ok(0) };
            let spent = std::mem::replace(&mut self.current, next);
            self.position = 0;
            if !spent.is_empty() {
                // Nobody takes chunks back once all is inflated.
                let _ = self.spent.send(spent);
            }
        }
        let length = buffer.len().min(self.current.len() - self.position);
        buffer[..length].copy_from_slice(&self.current[self.position..self.position + length]);
        self.position += length;
        Ok(length)
    }
}

/// Remembers an error of the source, to tell it from one of the gzip format.
struct Tap<R> {
    source: R,
    failure: Option<io::Error>,
}

impl<R: Read> Read for Tap<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.source.read(buffer).map_err(|error| {
            if error.kind() == io::ErrorKind::Interrupted {
                return error;
            }
            self.failure = Some(error);
            io::Error::other("the source failed")
        })
    }
}
