//! Several processes on one machine, started and looked after by this one.

use std::io;
use std::net::TcpListener;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::follow::STOPS_WITH_INPUT;

/// How long libtorch's threads spin before they sleep, as in the notebook's kernel. The default (300,000 turns) makes training many times slower
/// beside other work on the same cores; sleeping at once halves its speed on cores of its own. It is read before a program begins.
const SPIN: (&str, &str) = ("GOMP_SPINCOUNT", "10000");
/// How long the others have to tell what they know, once one has failed.
const LAST_WORDS: Duration = Duration::from_secs(8);

/// Begins this program again, with threads that soon sleep, unless whoever started it has decided how they wait. Elsewhere than on Unix it goes on as
/// it is.
pub fn begin_with_short_spins() {
    let is_decided = [SPIN.0, "OMP_WAIT_POLICY"].iter().any(|variable| std::env::var_os(variable).is_some());
    #[cfg(unix)]
    if let (false, Ok(program)) = (is_decided, std::env::current_exe()) {
        use std::os::unix::process::CommandExt;
        // Comes back where that fails.
        let _ = Command::new(program).args(std::env::args_os().skip(1)).env(SPIN.0, SPIN.1).exec();
    }
    #[cfg(not(unix))]
    let _ = is_decided;
}

/// Starts this program so many times with its own arguments, and waits. Where this process ends, so do they.
pub fn processes(n: usize) -> Result<(), String> {
    let program = std::env::current_exe().map_err(|error| format!("this program is not found: {error}"))?;
    let port = free_port().map_err(|error| format!("no port to meet at: {error}"))?;
    let threads = thread::available_parallelism().map_or(1, |threads| threads.get() / n).max(1);
    let mut children = Vec::with_capacity(n);
    for rank in 0..n {
        let mut command = Command::new(&program);
        command.args(without_processes(std::env::args().skip(1))).stdin(Stdio::piped()).env(STOPS_WITH_INPUT, "1");
        let place = [("RANK", rank), ("LOCAL_RANK", rank), ("WORLD_SIZE", n), ("MASTER_PORT", usize::from(port))];
        command.env("MASTER_ADDR", "127.0.0.1").envs(place.map(|(name, value)| (name, value.to_string())));
        for variable in ["OMP_NUM_THREADS", "MKL_NUM_THREADS"] {
            if std::env::var_os(variable).is_none() {
                command.env(variable, threads.to_string());
            }
        }
        match command.spawn() {
            Ok(child) => children.push(child),
            Err(error) => {
                end(&mut children);
                return Err(format!("process {rank} did not start: {error}"));
            }
        }
    }
    stop_with_own_input(&mut children);
    wait(&mut children)
}

/// Whoever started this process to be stopped by its standard input stops all of them by it.
fn stop_with_own_input(children: &mut [Child]) {
    if !std::env::args().any(|argument| argument == "--events") {
        return;
    }
    let inputs: Vec<_> = children.iter_mut().filter_map(|child| child.stdin.take()).collect();
    thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        drop(inputs);
    });
}

fn wait(children: &mut [Child]) -> Result<(), String> {
    let mut failed: Option<(String, Instant)> = None;
    loop {
        let mut running = 0;
        for (rank, child) in children.iter_mut().enumerate() {
            match child.try_wait() {
                Ok(None) => running += 1,
                Ok(Some(status)) if status.success() => {}
                Ok(Some(status)) => {
                    let ended = || (format!("process {rank} {}", in_words(status)), Instant::now());
                    failed.get_or_insert_with(ended);
                }
                Err(error) => return Err(format!("process {rank} cannot be waited for: {error}")),
            }
        }
        match &failed {
            None if running == 0 => return Ok(()),
            Some((problem, _)) if running == 0 => return Err(problem.clone()),
            Some((_, since)) if since.elapsed() > LAST_WORDS => end(children),
            _ => {}
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn in_words(status: ExitStatus) -> String {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return format!("was ended by signal {signal}");
    }
    match status.code() {
        Some(code) => format!("has failed (status {code})"),
        None => "has failed".into(),
    }
}

fn end(children: &mut [Child]) {
    for child in children {
        // One that has ended by itself cannot be ended, and need not be.
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn without_processes(arguments: impl Iterator<Item = String>) -> Vec<String> {
    let mut kept = Vec::new();
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--processes" => _ = arguments.next(),
            _ => kept.push(argument),
        }
    }
    kept
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
