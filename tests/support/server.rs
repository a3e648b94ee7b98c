//! An HTTP server on loopback that answers as it is told, one reply per connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What is done with one connection.
pub type Reply = Box<dyn FnOnce(&mut TcpStream) -> std::io::Result<()> + Send>;

pub struct Server {
    pub address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Listens on a free port, gives these replies in turn, and then closes.
    pub fn new(replies: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        thread::spawn(move || {
            for reply in replies {
                let (mut stream, _) = listener.accept().unwrap();
                let mut head = String::new();
                let mut lines = BufReader::new(&stream);
                while lines.read_line(&mut head).is_ok_and(|length| length > 2) {}
                seen.lock().unwrap().push(head.to_ascii_lowercase());
                // A client may hang up on a reply it does not like.
                thread::spawn(move || reply(&mut stream).ok());
            }
        });
        Server { address, requests }
    }

    /// The address of something that it has.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// The heads of the requests so far, in lower case.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// A status without a body.
pub fn status(line: &'static str) -> Reply {
    Box::new(move |stream| write!(stream, "HTTP/1.1 {line}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
}

/// The body whole, with these further header lines.
pub fn whole(body: &[u8], headers: &str) -> Reply {
    cut(body, body.len(), headers)
}

/// The body's length, and its first `sent` bytes.
pub fn cut(body: &[u8], sent: usize, headers: &str) -> Reply {
    answer(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{headers}\r\n", body.len()), &body[..sent])
}

/// Any head and body; then the connection ends.
pub fn answer(head: &str, body: &[u8]) -> Reply {
    let bytes = [head.as_bytes(), body].concat();
    Box::new(move |stream| stream.write_all(&bytes))
}

/// The body whole, in `n` pieces with a pause before each.
pub fn slow(body: &[u8], n: usize, pause: Duration) -> Reply {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    let pieces: Vec<Vec<u8>> = body.chunks(body.len().div_ceil(n)).map(<[u8]>::to_vec).collect();
    Box::new(move |stream| {
        stream.write_all(head.as_bytes())?;
        for piece in pieces {
            thread::sleep(pause);
            stream.write_all(&piece)?;
        }
        Ok(())
    })
}

/// The body's first `sent` bytes, and then silence until the client hangs up.
pub fn stall(body: &[u8], sent: usize) -> Reply {
    let reply = cut(body, sent, "");
    Box::new(move |stream| {
        reply(stream)?;
        stream.read(&mut [0]).map(|_| ())
    })
}
