//! Claims about fetching from a server: what is tried again, what is not, and that a failure leaves nothing behind.
#![cfg(feature = "download")]

#[path = "support/archives.rs"]
mod archives;
#[path = "support/server.rs"]
mod server;

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use archives::{assert_unpacked, esc50_files, esc50_files_of, gzip, listing, pack};
use audio_transformer::internals::dataset::download::{ArchiveSource, DownloadOptions, Fetched, fetch_dataset};
use audio_transformer::{Error, Result};
use server::{Reply, Server, answer, cut, slow, stall, status, whole};
use tempfile::TempDir;

const RANGES: &str = "ETag: \"v1\"\r\nAccept-Ranges: bytes\r\n";

/// Where a download goes, and the few milliseconds its patience lasts.
struct Case {
    folder: TempDir,
    options: DownloadOptions,
}

impl Case {
    fn new() -> Self {
        let options = DownloadOptions {
            connect_timeout: Duration::from_secs(5),
            read_timeout: Duration::from_secs(5),
            attempts: 3,
            backoff: Duration::from_millis(1),
            ..Default::default()
        };
        Case { folder: TempDir::new().unwrap(), options }
    }

    fn destination(&self) -> PathBuf {
        self.folder.path().join("raw/ESC-50-master")
    }

    fn fetch(&self, url: &str) -> Result<Fetched> {
        fetch_dataset(&ArchiveSource::Url(url.into()), &self.destination(), &self.options)
    }

    #[track_caller]
    fn brings(&self, server: &Server, num_requests: usize) {
        self.fetch(&server.url("set.tar.gz")).unwrap();
        assert_unpacked(&self.destination(), &esc50_files());
        assert_eq!(listing(&self.folder.path().join("raw")), ["ESC-50-master"]);
        assert_eq!(server.requests().len(), num_requests);
    }

    #[track_caller]
    fn fails(&self, url: &str, words: &[&str]) -> Error {
        let error = self.fetch(url).expect_err("a failure");
        let message = error.to_string();
        for word in words {
            assert!(message.contains(word), "no {word:?} in: {message}");
        }
        assert_eq!(listing(&self.folder.path().join("raw")), [""; 0], "left behind after: {message}");
        error
    }
}

fn archive() -> Vec<u8> {
    gzip(&pack(&esc50_files()))
}

#[track_caller]
fn is_download_error(error: &Error) {
    assert!(matches!(error, Error::Download { .. }), "{error}");
}

#[test]
fn a_download_becomes_a_verified_folder() {
    let archive = archive();
    let server = Server::new(vec![whole(&archive, "")]);
    let case = Case::new();
    let fetched = case.fetch(&server.url("set.tar.gz")).unwrap();
    assert_unpacked(&case.destination(), &esc50_files());
    assert_eq!(fetched.archive_bytes, archive.len() as u64);
    assert!(server.requests()[0].contains("user-agent: audio_transformer/"), "{:?}", server.requests());
}

#[test]
fn a_server_that_sends_no_length_is_fine() {
    let close = answer("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", &archive());
    Case::new().brings(&Server::new(vec![close]), 1);

    let mut body = Vec::new();
    for chunk in archive().chunks(50_000) {
        body.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
        body.extend_from_slice(chunk);
        body.extend(b"\r\n");
    }
    body.extend(b"0\r\n\r\n");
    let chunked = answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", &body);
    Case::new().brings(&Server::new(vec![chunked]), 1);
}

#[test]
fn a_redirect_is_followed() {
    let last = Server::new(vec![whole(&archive(), "")]);
    let head = format!(
        "HTTP/1.1 302 Found\r\nLocation: {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        last.url("set.tar.gz")
    );
    let first = Server::new(vec![answer(&head, b"")]);
    Case::new().brings(&first, 1);
    assert_eq!(last.requests().len(), 1);
}

#[test]
fn a_status_that_will_not_pass_is_told_at_once() {
    for line in ["404 Not Found", "403 Forbidden", "410 Gone"] {
        let server = Server::new(vec![status(line), status("200 OK")]);
        let error =
            Case::new().fails(&server.url("set.tar.gz"), &[line, &server.url("set.tar.gz"), "Check the address"]);
        is_download_error(&error);
        assert_eq!(server.requests().len(), 1, "{line}");
    }
}

#[test]
fn a_status_that_may_pass_is_tried_again() {
    for line in ["500 Internal Server Error", "503 Service Unavailable", "429 Too Many Requests"] {
        Case::new().brings(&Server::new(vec![status(line), status(line), whole(&archive(), "")]), 3);
    }
}

#[test]
fn a_status_that_does_not_pass_is_told_after_the_last_try() {
    let server = Server::new((0..4).map(|_| status("500 Internal Server Error")).collect());
    is_download_error(&Case::new().fails(&server.url("set.tar.gz"), &["500", "after 3 requests"]));
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn a_connection_cut_halfway_is_tried_again_from_the_start() {
    let archive = archive();
    let half = archive.len() / 2;
    let server = Server::new(vec![cut(&archive, half, ""), cut(&archive, 0, ""), whole(&archive, "")]);
    Case::new().brings(&server, 3);
    assert!(server.requests().iter().all(|request| !request.contains("range:")), "{:?}", server.requests());
}

#[test]
fn a_connection_cut_every_time_is_told_after_the_last_try() {
    let archive = archive();
    let half = archive.len() / 2;
    let server = Server::new((0..4).map(|_| cut(&archive, half, "")).collect());
    is_download_error(&Case::new().fails(&server.url("set.tar.gz"), &["the connection broke", "after 3 requests"]));
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn a_cut_that_no_length_gives_away_is_tried_again() {
    let archive = archive();
    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
    let half = || answer(head, &archive[..archive.len() / 2]);
    Case::new().brings(&Server::new(vec![half(), answer(head, &archive)]), 2);
    let server = Server::new(vec![half(), half(), half(), half()]);
    let error = Case::new().fails(&server.url("set.tar.gz"), &["cut short"]);
    assert!(matches!(error, Error::Archive { .. }), "{error}");
    assert_eq!(server.requests().len(), 3);
}

/// The archive's bytes from one place on, as many of them as are sent before the connection ends.
fn rest(archive: &[u8], from: usize, sent: usize) -> Reply {
    let (all, left) = (archive.len(), archive.len() - from);
    let head = format!(
        "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {from}-{}/{all}\r\nContent-Length: {left}\r\n\r\n",
        all - 1
    );
    answer(&head, &archive[from..from + sent])
}

#[test]
fn a_download_goes_on_where_it_stopped_if_the_server_can() {
    let archive = archive();
    let (first, second) = (archive.len() / 3, archive.len() / 2);
    let server = Server::new(vec![
        cut(&archive, first, RANGES),
        rest(&archive, first, second - first),
        rest(&archive, second, archive.len() - second),
    ]);
    Case::new().brings(&server, 3);
    for (request, offset) in server.requests()[1..].iter().zip([first, second]) {
        assert!(request.contains(&format!("range: bytes={offset}-\r\n")), "{request}");
        assert!(request.contains("if-range: \"v1\"\r\n"), "{request}");
    }
}

#[test]
fn a_connection_that_breaks_often_but_gets_ahead_is_not_given_up() {
    let archive = gzip(&pack(&esc50_files_of(14)));
    let step = 1_100_000;
    assert!(archive.len() > 4 * step, "{}", archive.len());
    let mut replies = vec![cut(&archive, step, RANGES)];
    for from in (step..archive.len()).step_by(step) {
        replies.push(rest(&archive, from, step.min(archive.len() - from)));
    }
    let num_requests = replies.len();
    let server = Server::new(replies);
    let mut case = Case::new();
    case.options.attempts = 2;
    case.fetch(&server.url("set.tar.gz")).unwrap();
    assert_unpacked(&case.destination(), &esc50_files_of(14));
    assert_eq!(server.requests().len(), num_requests);

    let server = Server::new(vec![cut(&archive, step, RANGES), rest(&archive, step, 1000), rest(&archive, step, 1000)]);
    let mut case = Case::new();
    case.options.attempts = 2;
    is_download_error(&case.fails(&server.url("set.tar.gz"), &["after 2 requests"]));
    assert_eq!(server.requests().len(), 2, "a thousand bytes are no progress");
}

#[test]
fn getting_as_far_as_before_is_no_progress() {
    let archive = gzip(&pack(&esc50_files_of(14)));
    let server = Server::new((0..6).map(|_| cut(&archive, 2_500_000, "")).collect());
    is_download_error(&Case::new().fails(&server.url("set.tar.gz"), &["after 3 requests"]));
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn a_slow_server_that_never_falls_silent_is_waited_for() {
    let mut case = Case::new();
    case.options.read_timeout = Duration::from_millis(900);
    case.options.attempts = 1;
    case.brings(&Server::new(vec![slow(&archive(), 10, Duration::from_millis(150))]), 1);
}

#[test]
fn a_rest_that_is_not_the_rest_is_not_taken_for_it() {
    let archive = archive();
    let half = archive.len() / 2;
    let wrong = answer(
        &format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-9/{}\r\nContent-Length: 10\r\n\r\n",
            archive.len()
        ),
        &archive[..10],
    );
    for second in [wrong, whole(&archive, RANGES)] {
        let server = Server::new(vec![cut(&archive, half, RANGES), second, whole(&archive, RANGES)]);
        Case::new().brings(&server, 3);
        assert!(!server.requests()[2].contains("range:"), "{:?}", server.requests());
    }
}

#[test]
fn a_weak_etag_is_no_ground_to_go_on() {
    let archive = archive();
    let weak = "ETag: W/\"v1\"\r\nAccept-Ranges: bytes\r\n";
    let server = Server::new(vec![cut(&archive, archive.len() / 2, weak), whole(&archive, weak)]);
    Case::new().brings(&server, 2);
    assert!(!server.requests()[1].contains("range:"), "{:?}", server.requests());
}

#[test]
fn a_stalled_server_is_given_up_and_tried_again() {
    let archive = archive();
    let half = archive.len() / 2;
    let mut case = Case::new();
    case.options.read_timeout = Duration::from_millis(300);
    let silent = || stall(&archive, half);
    case.brings(&Server::new(vec![silent(), whole(&archive, "")]), 2);
    let mut case = Case::new();
    case.options.read_timeout = Duration::from_millis(300);
    case.options.attempts = 2;
    let server = Server::new(vec![silent(), silent()]);
    is_download_error(&case.fails(&server.url("set.tar.gz"), &["silent for too long", "after 2 requests"]));
}

#[test]
fn a_server_that_never_answers_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut case = Case::new();
    case.options.read_timeout = Duration::from_millis(200);
    case.options.attempts = 1;
    let url = format!("http://{}/set.tar.gz", listener.local_addr().unwrap());
    is_download_error(&case.fails(&url, &["silent for too long"]));
}

#[test]
fn a_refused_connection_is_told_after_the_last_try() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    is_download_error(
        &Case::new().fails(&format!("http://{address}/x"), &["no connection", "after 3 requests", "Check the network"]),
    );
}

#[test]
fn a_bad_archive_is_not_downloaded_twice() {
    let mut damaged = archive();
    let half = damaged.len() / 2;
    damaged[half..half + 1000].fill(0x55);
    let page = b"<html>Log in to the hotel's network</html>".to_vec();
    let truncated = archive()[..half].to_vec();
    for (bytes, words) in [(damaged, "damaged data"), (page, "a web page"), (truncated, "cut short")] {
        let server = Server::new(vec![whole(&bytes, ""), whole(&bytes, "")]);
        let error = Case::new().fails(&server.url("set.tar.gz"), &[words, &server.url("set.tar.gz")]);
        assert!(matches!(error, Error::Archive { .. }), "{error}");
        assert_eq!(server.requests().len(), 1);
    }
}

#[test]
fn an_address_that_is_none_is_told_without_a_request() {
    for url in ["http://", "http://[::bad", "gopher://example.org/set.tar.gz"] {
        is_download_error(&Case::new().fails(url, &[url, "Check the address"]));
    }
}

#[test]
fn secrets_in_an_address_are_not_told() {
    let server = Server::new(vec![status("404 Not Found")]);
    let url = format!("http://me:password@{}/set.tar.gz?token=secret", server.address);
    let message = Case::new().fails(&url, &["/set.tar.gz"]).to_string();
    assert!(!message.contains("password") && !message.contains("secret"), "{message}");
}

#[test]
fn no_attempts_is_a_setting_out_of_range() {
    let mut case = Case::new();
    case.options.attempts = 0;
    let error = case.fetch("http://127.0.0.1:9/").unwrap_err();
    assert!(matches!(error, Error::Config { .. }), "{error}");
}

#[test]
fn a_good_destination_is_neither_asked_for_again_nor_touched() {
    let server = Server::new(vec![whole(&archive(), ""), status("404 Not Found")]);
    let case = Case::new();
    case.brings(&server, 1);
    assert!(matches!(case.fetch(&server.url("set.tar.gz")), Err(Error::Dataset { .. })));
    assert_unpacked(&case.destination(), &esc50_files());
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_source_is_an_address_by_its_scheme() {
    assert_eq!(ArchiveSource::from("https://x/y.tar.gz"), ArchiveSource::Url("https://x/y.tar.gz".into()));
    assert_eq!(ArchiveSource::from("http.tar.gz"), ArchiveSource::File("http.tar.gz".into()));
}

/// Set in the process that a test starts of itself, to what it should work with.
const CHILD: &str = "AUDIO_TRANSFORMER_TEST_CHILD";

/// This test binary, to run one of its tests with an environment of its own.
fn this_test(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--nocapture"]);
    command
}

#[track_caller]
fn assert_passed(child: &Output) {
    let (out, err) = (String::from_utf8_lossy(&child.stdout), String::from_utf8_lossy(&child.stderr));
    assert!(child.status.success() && out.contains("1 passed"), "{out}{err}");
}

#[test]
fn a_proxy_from_the_environment_is_used() {
    if std::env::var_os(CHILD).is_some() {
        Case::new().fetch("http://esc50.invalid/set.tar.gz").unwrap();
        return;
    }
    let proxy = Server::new(vec![whole(&archive(), "")]);
    let child = this_test("a_proxy_from_the_environment_is_used")
        .env(CHILD, "1")
        .env("http_proxy", format!("http://{}", proxy.address))
        .env_remove("NO_PROXY")
        .env_remove("no_proxy")
        .output()
        .unwrap();
    assert_passed(&child);
    assert!(proxy.requests()[0].starts_with("get http://esc50.invalid/set.tar.gz "), "{:?}", proxy.requests());
}

#[cfg(target_os = "linux")]
#[test]
fn only_https_needs_certificates() {
    if let Some(url) = std::env::var_os(CHILD) {
        Case::new().fetch(url.to_str().unwrap()).unwrap();
        is_download_error(&Case::new().fails("https://127.0.0.1:9/set.tar.gz", &["ca-certificates"]));
        return;
    }
    let server = Server::new(vec![whole(&archive(), "")]);
    let child = this_test("only_https_needs_certificates")
        .env(CHILD, server.url("set.tar.gz"))
        .env("SSL_CERT_FILE", "/nonexistent")
        .env("SSL_CERT_DIR", "/nonexistent")
        .output()
        .unwrap();
    assert_passed(&child);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told_and_left_empty() {
    let name = "a_full_disk_is_told_and_left_empty";
    if let Some(disk) = std::env::var_os(CHILD) {
        let disk = PathBuf::from(disk);
        fs::write(disk.join("filler"), vec![0; 400_000]).unwrap();
        let server = Server::new(vec![whole(&archive(), "")]);
        let options = Case::new().options;
        let result =
            fetch_dataset(&ArchiveSource::Url(server.url("set.tar.gz")), &disk.join("raw/ESC-50-master"), &options);
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{error}");
        assert!(error.to_string().contains("raw/ESC-50-master/") && error.to_string().contains("/audio/"), "{error}");
        assert!(error.to_string().contains("Free some disk space"), "{error}");
        assert_eq!(listing(&disk.join("raw")), [""; 0]);
        return;
    }
    let folder = TempDir::new().unwrap();
    let mount = "mount -t tmpfs -o size=1m tmpfs \"$0\"";
    let in_namespace = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script]).arg(folder.path());
        command
    };
    if !in_namespace(mount).output().is_ok_and(|probe| probe.status.success()) {
        // Written past the capture of output, which would hide it in a test that passes.
        let skipped = format!("SKIPPED {name}: this system lets no user mount a small disk (unshare --user --mount)\n");
        std::io::stderr().write_all(skipped.as_bytes()).unwrap();
        return;
    }
    let script = format!("{mount} && exec \"$1\" --exact {name} --nocapture");
    let child = in_namespace(&script).arg(std::env::current_exe().unwrap()).env(CHILD, folder.path()).output().unwrap();
    assert_passed(&child);
}

#[cfg(target_os = "linux")]
#[test]
fn memory_stays_flat_however_large_the_archive() {
    let name = "memory_stays_flat_however_large_the_archive";
    if let Some(archive) = std::env::var_os(CHILD) {
        let case = Case::new();
        let fetched = fetch_dataset(&ArchiveSource::File(archive.into()), &case.destination(), &case.options).unwrap();
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        println!("\nunpacked {} peak {}", fetched.unpacked_bytes, peak.trim().trim_end_matches(" kB"));
        return;
    }
    let peak_kb = |num_clips: usize| -> (u64, u64) {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("set.tar.gz");
        let clip = archives::noise_wav(250_000, 1);
        let mut table = String::from("filename,category\n");
        let mut files = vec![];
        for index in 0..num_clips {
            table += &format!("{index}.wav,{}\n", index % 2);
            files.push((format!("set/{index}.wav"), clip.clone()));
        }
        files.push(("set/clips.csv".into(), table.into_bytes()));
        fs::write(&path, gzip(&pack(&files))).unwrap();
        let child = this_test(name).env(CHILD, &path).output().unwrap();
        let output = String::from_utf8_lossy(&child.stdout);
        let words: Vec<&str> =
            output.lines().find(|line| line.starts_with("unpacked")).expect(&output).split(' ').collect();
        (words[1].parse().unwrap(), words[3].parse().unwrap())
    };
    let (small_bytes, small_kb) = peak_kb(4);
    let (large_bytes, large_kb) = peak_kb(200);
    assert!(large_bytes > small_bytes + 90_000_000);
    assert!(large_kb < small_kb + 8_000, "{small_kb} kB for {small_bytes} bytes, {large_kb} kB for {large_bytes}");
}
