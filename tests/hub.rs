//! The hub, played by a server on loopback: what is asked, what is checked, what is kept, and what is said when it goes wrong.

#![cfg(feature = "download")]

#[path = "support/server.rs"]
mod server;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use audio_transformer::Error;
use audio_transformer::hub::{Cache, Hub, HubName};
use server::{Reply, Server, answer, status};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
/// A small file of text under git's SHA-1, and a large one under its SHA-256, as the hub has them.
const CONFIG: &[u8] = b"{\"model_type\": \"ced\"}\n";
const CONFIG_SHA1: &str = "5dd2bff1fd8ea355122832bd468958c9956e5e34";
const WEIGHTS: &[u8] = b"weights, as it were; enough of them to be cut in the middle";
const WEIGHTS_SHA256: &str = "f4a8cae996c730c2963e6d490379fd3c507852e43c5884aa2c13da198f98fec6";
const FILES: [&str; 2] = ["config.json", "model.safetensors"];

struct Test {
    dir: tempfile::TempDir,
}

impl Test {
    fn new() -> Self {
        Test { dir: tempfile::tempdir().unwrap() }
    }

    fn hub(&self, server: &Server) -> Hub {
        let hub = Hub::at(&server.url(""), Cache::new(self.dir.path()));
        hub.with_patience(2, Duration::from_millis(1), Duration::from_millis(500))
    }

    fn repo(&self) -> PathBuf {
        self.dir.path().join("models--owner--net")
    }

    fn fetch(&self, server: &Server) -> Result<PathBuf, Error> {
        self.hub(server).fetch(&name(), &FILES)
    }

    /// What a failed fetch says; nothing of it may look whole.
    fn fails(&self, replies: Vec<Reply>, words: &[&str]) -> String {
        let server = Server::new(replies);
        let error = self.fetch(&server).unwrap_err();
        let message = error.to_string();
        assert!(matches!(error, Error::Download { .. }), "{message}");
        words.iter().for_each(|word| assert!(message.contains(word), "{word:?} is not in: {message}"));
        assert_eq!(Cache::new(self.dir.path()).find(&name(), &FILES), None);
        message
    }
}

fn name() -> HubName {
    HubName::parse("hub:owner/net").unwrap()
}

fn described(files: &[&str]) -> Reply {
    let siblings: Vec<String> = files.iter().map(|file| format!("{{\"rfilename\":\"{file}\"}}")).collect();
    let body =
        format!("{{\"sha\":\"{COMMIT}\",\"siblings\":[{}],\"cardData\":{{\"license\":\"mit\"}}}}", siblings.join(","));
    answer(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len()), body.as_bytes())
}

/// What the hub says of a small file: its hash is its tag.
fn small(hash: &str) -> Reply {
    head("200 OK", &format!("ETag: \"{hash}\"\r\nContent-Length: {}\r\n", CONFIG.len()))
}

/// What it says of a large one: the file lies elsewhere, and its own tag is not the hash.
fn large(hash: &str, size: usize) -> Reply {
    let linked =
        format!("X-Linked-Etag: \"{hash}\"\r\nX-Linked-Size: {size}\r\nETag: \"another\"\r\nContent-Length: 0\r\n");
    head("302 Found", &format!("Location: http://elsewhere.invalid/file\r\n{linked}"))
}

fn head(status: &str, headers: &str) -> Reply {
    answer(&format!("HTTP/1.1 {status}\r\nX-Repo-Commit: {COMMIT}\r\n{headers}Connection: close\r\n\r\n"), b"")
}

fn whole(body: &'static [u8]) -> Reply {
    server::whole(body, "Accept-Ranges: bytes\r\nConnection: close\r\n")
}

/// Every answer of a hub that has both files, but for the last one.
fn up_to_weights() -> Vec<Reply> {
    vec![described(&FILES), small(CONFIG_SHA1), whole(CONFIG), large(WEIGHTS_SHA256, WEIGHTS.len())]
}

#[test]
fn files_come_checked_into_a_cache_that_is_asked_first() {
    let test = Test::new();
    let mut replies = up_to_weights();
    replies.push(whole(WEIGHTS));
    let server = Server::new(replies);
    let folder = test.hub(&server).with_token("hf_secret").fetch(&name(), &FILES).unwrap();
    assert_eq!(folder, test.repo().join("snapshots").join(COMMIT));
    assert_eq!(fs::read(folder.join("config.json")).unwrap(), CONFIG);
    assert_eq!(fs::read(folder.join("model.safetensors")).unwrap(), WEIGHTS);
    assert_eq!(fs::read(test.repo().join("blobs").join(WEIGHTS_SHA256)).unwrap(), WEIGHTS);
    assert_eq!(fs::read_to_string(test.repo().join("refs/main")).unwrap(), COMMIT);
    let requests = server.requests();
    let lines: Vec<&str> = requests.iter().map(|request| request.lines().next().unwrap()).collect();
    let resolved = format!("/owner/net/resolve/{COMMIT}");
    assert_eq!(
        lines,
        [
            "get /api/models/owner/net/revision/main http/1.1".to_owned(),
            format!("head {resolved}/config.json http/1.1"),
            format!("get {resolved}/config.json http/1.1"),
            format!("head {resolved}/model.safetensors http/1.1"),
            format!("get {resolved}/model.safetensors http/1.1"),
        ]
    );
    assert!(requests.iter().all(|request| request.contains("authorization: bearer hf_secret")));
    // The server is gone: what is in the cache is not asked for.
    assert_eq!(test.fetch(&server).unwrap(), folder);
    let by_commit = HubName::parse(&format!("hub:owner/net@{COMMIT}")).unwrap();
    assert_eq!(test.hub(&server).fetch(&by_commit, &FILES).unwrap(), folder);
}

#[test]
fn a_redirect_is_followed_and_the_token_stays_at_the_hub() {
    let test = Test::new();
    let elsewhere = Server::new(vec![whole(WEIGHTS)]);
    // Another host to a client, though the same machine.
    let place = elsewhere.address.replace("127.0.0.1", "localhost");
    let mut replies = up_to_weights();
    let found = format!(
        "HTTP/1.1 302 Found\r\nLocation: http://{place}/blob\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    replies.push(answer(&found, b""));
    let server = Server::new(replies);
    test.hub(&server).with_token("hf_secret").fetch(&name(), &FILES).unwrap();
    let [request] = elsewhere.requests().try_into().unwrap();
    assert!(!request.contains("authorization"), "{request}");
}

#[test]
fn half_a_file_stays_and_is_gone_on_from() {
    let test = Test::new();
    let mut replies = up_to_weights();
    // Twice the same half: a server that lets go at the same place every time.
    replies.extend([server::cut(WEIGHTS, 20, "Connection: close\r\n"), status("503 Service Unavailable")]);
    test.fails(replies, &["model.safetensors"]);
    let beside = test.repo().join("blobs").join(WEIGHTS_SHA256).with_extension("incomplete");
    assert_eq!(fs::read(&beside).unwrap(), &WEIGHTS[..20]);
    let rest = format!(
        "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 20-58/59\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        WEIGHTS.len() - 20
    );
    let replies = vec![
        described(&FILES),
        small(CONFIG_SHA1),
        large(WEIGHTS_SHA256, WEIGHTS.len()),
        answer(&rest, &WEIGHTS[20..]),
    ];
    let server = Server::new(replies);
    let folder = test.fetch(&server).unwrap();
    assert_eq!(fs::read(folder.join("model.safetensors")).unwrap(), WEIGHTS);
    assert!(server.requests()[3].contains("range: bytes=20-"));
    assert!(!beside.exists());
}

#[test]
fn a_hub_without_ranges_is_asked_for_the_whole() {
    for refusal in [true, false] {
        let test = Test::new();
        let beside = test.repo().join("blobs").join(WEIGHTS_SHA256).with_extension("incomplete");
        fs::create_dir_all(beside.parent().unwrap()).unwrap();
        fs::write(&beside, "other bytes").unwrap();
        let mut replies = up_to_weights();
        if refusal {
            replies.push(status("416 Range Not Satisfiable"));
        }
        replies.push(whole(WEIGHTS));
        let folder = test.fetch(&Server::new(replies)).unwrap();
        assert_eq!(fs::read(folder.join("model.safetensors")).unwrap(), WEIGHTS);
    }
}

#[test]
fn other_bytes_than_announced_are_not_kept() {
    let test = Test::new();
    let mut replies = up_to_weights();
    let mut other = WEIGHTS.to_vec();
    other[7] ^= 1;
    replies.push(server::whole(&other, "Connection: close\r\n"));
    test.fails(replies, &["expected the hash f4a8cae9", "Nothing of it was kept"]);
    assert!(!test.repo().join("blobs").join(WEIGHTS_SHA256).with_extension("incomplete").exists());
    let replies = vec![described(&FILES), small(WEIGHTS_SHA256), whole(CONFIG)];
    Test::new().fails(replies, &["expected the hash"]);
    let replies = vec![described(&FILES), small(CONFIG_SHA1), whole(CONFIG), large(WEIGHTS_SHA256, 60), whole(WEIGHTS)];
    Test::new().fails(replies, &["expected 60 bytes, found 59"]);
    // A tag that says nothing of the bytes is no ground to trust them.
    Test::new().fails(vec![described(&FILES), small("v1"), whole(CONFIG)], &["to check it by"]);
    Test::new().fails(vec![described(&FILES), head("200 OK", "Content-Length: 22\r\n")], &["no hash of the file"]);
}

#[test]
fn files_of_another_commit_are_not_mixed_in() {
    let other = COMMIT.replace('0', "f");
    let reply = answer(
        &format!(
            "HTTP/1.1 200 OK\r\nX-Repo-Commit: {other}\r\nETag: \"{CONFIG_SHA1}\"\r\nContent-Length: 22\r\nConnection: close\r\n\r\n"
        ),
        b"",
    );
    Test::new().fails(vec![described(&FILES), reply], &["expected commit 0123", "found f123"]);
}

#[test]
fn refusals_say_what_to_do() {
    let refused = |line: &str, code: &str| {
        answer(
            &format!("HTTP/1.1 {line}\r\nX-Error-Code: {code}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
            b"",
        )
    };
    let test = Test::new();
    test.fails(vec![refused("401 Unauthorized", "GatedRepo")], &["accepted its terms", "HF_TOKEN"]);
    test.fails(
        vec![refused("401 Unauthorized", "RepoNotFound")],
        &["no such repository, or it is private", "hub:owner/name"],
    );
    test.fails(vec![status("401 Unauthorized")], &["no such repository, or it is private"]);
    test.fails(vec![status("404 Not Found")], &["no such repository"]);
    test.fails(vec![refused("404 Not Found", "RevisionNotFound")], &["no such revision"]);
    test.fails(vec![described(&["config.json", "pytorch_model.bin"])], &["no model.safetensors", "save_pretrained"]);
    test.fails(vec![described(&["config.json"])], &["no model.safetensors", "as transformers saves it"]);
    test.fails(
        vec![server::whole(b"<html>Sign in to the network</html>", "Connection: close\r\n")],
        &["none of the hub"],
    );
    test.fails(vec![status("503 Service Unavailable"), status("503 Service Unavailable")], &["503", "HF_ENDPOINT"]);
    // Nobody listens.
    test.fails(vec![], &["no connection", "HF_ENDPOINT"]);
}

#[test]
fn a_slow_hub_that_never_falls_silent_is_waited_for() {
    let mut replies = up_to_weights();
    replies.push(server::slow(WEIGHTS, 4, Duration::from_millis(200)));
    assert!(Test::new().fetch(&Server::new(replies)).is_ok());
}

#[test]
fn a_stalled_server_is_given_up() {
    let mut replies = up_to_weights();
    replies.extend([server::stall(WEIGHTS, 7), status("503 Service Unavailable")]);
    Test::new().fails(replies, &["silent for too long"]);
}

#[test]
fn names_are_of_the_hub_or_refused() {
    assert_eq!(name().to_string(), "hub:owner/net");
    assert_eq!(HubName::parse("hub:a/b@v1.0").unwrap().revision, "v1.0");
    for bad in [
        "hub:",
        "hub:a",
        "hub:a/",
        "hub:/b",
        "hub:a/b/c",
        "hub:../b",
        "hub:a/..",
        "hub:a/b@",
        "hub:a/b@../x",
        "hub:a b/c",
        "a/b",
    ] {
        let message = HubName::parse(bad).unwrap_err().to_string();
        assert!(message.contains("hub:owner/name") && message.contains(bad), "{message}");
    }
}

/// Fetches as the environment says: this test alone, in a process of its own.
#[test]
#[ignore = "the process that `the_environment_names_hub_cache_and_token` starts"]
fn fetch_in_this_environment() {
    println!("fetched: {:?}", Hub::from_env().fetch(&name(), &FILES).map_err(|error| error.to_string()));
}

/// What a process with these variables, and no others of the hub, fetches.
fn fetched_with(variables: &[(&str, &str)]) -> String {
    let mut child = Command::new(std::env::current_exe().unwrap());
    for name in ["HF_ENDPOINT", "HF_TOKEN", "HF_TOKEN_PATH", "HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE"] {
        child.env_remove(name);
    }
    let output = child
        .args(["--ignored", "--exact", "--nocapture", "fetch_in_this_environment"])
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (_, fetched) = text.split_once("fetched: ").unwrap_or_else(|| panic!("{text}"));
    fetched.lines().next().unwrap().to_owned()
}

#[test]
fn the_environment_names_hub_cache_and_token() {
    let test = Test::new();
    let (home, left) = (test.dir.path().join("home"), test.dir.path().join("left-token"));
    fs::write(&left, "hf_left\n").unwrap();
    let (home, left) = (home.to_str().unwrap(), left.to_str().unwrap());
    let mut replies = up_to_weights();
    replies.push(whole(WEIGHTS));
    let server = Server::new(replies);
    let url = server.url("");
    let snapshot = format!("{home}/hub/models--owner--net/snapshots/{COMMIT}");
    let found = format!("Ok({snapshot:?})");
    assert_eq!(fetched_with(&[("HF_ENDPOINT", &url), ("HF_HOME", home), ("HF_TOKEN_PATH", left)]), found);
    assert!(server.requests().iter().all(|request| request.contains("authorization: bearer hf_left")));
    // In the cache, by either of its names, it is there without a hub.
    let nowhere = "http://127.0.0.1:9";
    let cache = format!("{home}/hub");
    for variables in
        [[("HF_HOME", home), ("HF_HUB_OFFLINE", "1")], [("HF_HUB_CACHE", &cache), ("HF_ENDPOINT", nowhere)]]
    {
        assert_eq!(fetched_with(&variables), found);
    }
    // Another cache has none, and offline no hub is asked.
    let server = Server::new(up_to_weights());
    let (url, empty) = (server.url(""), test.dir.path().join("empty"));
    let offline =
        fetched_with(&[("HF_ENDPOINT", &url), ("HF_HUB_CACHE", empty.to_str().unwrap()), ("HF_HUB_OFFLINE", "true")]);
    assert!(offline.starts_with("Err") && offline.contains("HF_HUB_OFFLINE is set"), "{offline}");
    assert!(server.requests().is_empty());
    // A token that is named goes before one that was left; this hub gives it to nobody.
    let server = Server::new(vec![status("401 Unauthorized")]);
    let url = server.url("");
    let variables = [
        ("HF_ENDPOINT", &*url),
        ("HF_HOME", empty.to_str().unwrap()),
        ("HF_TOKEN", "hf_named"),
        ("HF_TOKEN_PATH", left),
    ];
    assert!(fetched_with(&variables).starts_with("Err"));
    assert!(server.requests()[0].contains("authorization: bearer hf_named"));
}
