//! Several processes that train one network: the same numbers as one, to the bit; and whatever happens to one of them is told by the others, soon
//! and by its name, with nothing half-written.
#![cfg(feature = "distributed")]

#[path = "support/demo_data.rs"]
mod demo_data;

use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use audio_transformer::config::{
    AugmentConfig, Config, DataConfig, DataSource, DeviceChoice, Mix, OptimizerChoice, Preset, Start, TinyAstConfig,
    TrainConfig,
};
use audio_transformer::internals::results::cross_validate::{of_fold, result_path};
use audio_transformer::internals::training::paths::{checkpoint_path, state_path};
use audio_transformer::internals::training::run::State;
use audio_transformer::{Run, acquire, audio, cross_validate, preprocess, train};

/// The others of one that is gone end within this.
const SOON: Duration = Duration::from_secs(10);
/// How long a process may give no sign of life, where a test waits for it.
const TIMEOUT_S: u64 = 4;
/// Moments at which a process is killed; `KILLS` in the environment names another number.
const KILLS: usize = 2;

/// The program, which `cargo test` builds beside the tests; for one test alone, `cargo build --example train --features distributed` does it.
fn program() -> PathBuf {
    let tests = env::current_exe().unwrap();
    let program = tests.ancestors().nth(2).unwrap().join("examples").join("train");
    assert!(program.exists(), "{} is missing: cargo build --example train --features distributed", program.display());
    program
}

/// A run with a models folder of its own, on a demo data set that is preprocessed once.
fn config(run: &str) -> Config {
    static PREPARED: OnceLock<()> = OnceLock::new();
    let root = Path::new(concat!(env!("CARGO_TARGET_TMPDIR"), "/distributed"));
    let config = Config {
        data: DataConfig { models_dir: root.join(run), demo_clips_per_fold: 2, ..demo_data::data_under(root) },
        model: TinyAstConfig { embed_dim: 32, depth: 2, num_heads: 2, ..Preset::Quick.model() },
        train: TrainConfig {
            epochs: 3,
            batch_size: 8,
            clips_at_once: Some(2),
            augment: AugmentConfig { mix: Mix::Mixup, mix_probability: 0.5, gain_db: 6.0, ..Default::default() },
            device: DeviceChoice::Cpu,
            ..Preset::Quick.train()
        },
        ..Config::default()
    };
    PREPARED.get_or_init(|| {
        acquire(&config).unwrap();
        preprocess(&config).unwrap();
    });
    let _ = fs::remove_dir_all(&config.data.models_dir);
    config
}

/// The settings as a file for the program.
fn file(config: &Config) -> PathBuf {
    fs::create_dir_all(&config.data.models_dir).unwrap();
    let path = config.data.models_dir.join("settings.json");
    fs::write(&path, serde_json::to_vec(config).unwrap()).unwrap();
    path
}

fn command(settings: &Path) -> Command {
    let mut command = Command::new(program());
    command.arg(settings).env("OMP_NUM_THREADS", "1").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// One process, as torchrun or Slurm would start it.
fn start(settings: &Path, place: (usize, usize), port: u16) -> Child {
    start_in(Path::new("."), settings, place, port)
}

/// The same in a folder from which it sees its data set.
fn start_in(folder: &Path, settings: &Path, (rank, size): (usize, usize), port: u16) -> Child {
    let mut command = command(settings);
    command.current_dir(folder);
    command.env("RANK", rank.to_string()).env("LOCAL_RANK", rank.to_string()).env("WORLD_SIZE", size.to_string());
    command.env("MASTER_ADDR", "127.0.0.1").env("MASTER_PORT", port.to_string());
    command.env("TINYAST_TIMEOUT_S", TIMEOUT_S.to_string()).spawn().unwrap()
}

fn start_all(settings: &Path, size: usize) -> Vec<Child> {
    let port = free_port();
    (0..size).map(|rank| start(settings, (rank, size), port)).collect()
}

/// How a process ended, and its words; it is killed where it does not end in time.
fn ended(child: &mut Child, within: Duration) -> (Option<ExitStatus>, String) {
    let begun = Instant::now();
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break Some(status),
            None if begun.elapsed() > within => {
                child.kill().unwrap();
                child.wait().unwrap();
                break None;
            }
            None => thread::sleep(Duration::from_millis(20)),
        }
    };
    let mut words = String::new();
    child.stderr.take().unwrap().read_to_string(&mut words).unwrap();
    (status, words)
}

fn run(settings: &Path, processes: usize) {
    let output = command(settings).args(["--processes", &processes.to_string()]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn weights(config: &Config) -> Vec<u8> {
    fs::read(checkpoint_path(config)).unwrap()
}

/// Files that were begun and not finished, but for those of a process that could not help it.
fn half_written(config: &Config, killed: u32) -> Vec<String> {
    let names = fs::read_dir(&config.data.models_dir).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    let own = format!(".{killed}.part");
    names.filter(|name| name.ends_with(".part") && !name.ends_with(&own)).collect()
}

#[test]
fn one_two_and_four_processes_train_to_the_very_same_weights() {
    let good = |run: &str| {
        let mut config = config(run);
        // Batch norms, layers that are left out and matrices that go their own way, too.
        config.model = TinyAstConfig { embed_dim: 16, depth: 2, num_heads: 2, ..Preset::Good.model() };
        config.train = TrainConfig {
            epochs: 1,
            batch_size: 8,
            clips_at_once: Some(2),
            start: Start::Fresh,
            optimizer: OptimizerChoice::Muon,
            max_clips: 20,
            device: DeviceChoice::Cpu,
            ..Preset::Good.train()
        };
        config
    };
    for make in [&config as &dyn Fn(&str) -> Config, &good] {
        let of = |processes: usize| {
            let config = make(&format!("same-{processes}"));
            run(&file(&config), processes);
            assert!(!state_path(&config).exists());
            weights(&config)
        };
        let one = of(1);
        for processes in [2, 4] {
            assert!(of(processes) == one, "{processes} processes");
        }
    }
}

#[test]
fn each_process_makes_its_part_of_the_spectrograms() {
    let of = |processes: usize| {
        let mut config = config(&format!("parts-{processes}"));
        let processed_dir = config.data.models_dir.join("processed");
        config.data = DataConfig { processed_dir, shards_above: 0, shard_mb: 1, ..config.data };
        config.train.epochs = 1;
        let output = command(&file(&config)).args(["--processes", &processes.to_string()]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        (weights(&config), config)
    };
    let ((one, _), (three, config)) = (of(1), of(3));
    assert!(one == three);
    // What was made of nothing else is whole, and taken up as it is.
    let report = preprocess(&config).unwrap();
    assert_eq!((report.computed, report.reused), (0, 100));
    assert!(report.shards >= 8, "{report}");
}

#[test]
fn a_fold_is_scored_and_a_network_told_what_it_knows_by_all_as_by_one() {
    let of = |processes: usize| {
        let mut config = config(&format!("scored-{processes}"));
        let root = config.data.models_dir.with_file_name("scored-data");
        // More recordings of a fold than go through the network at once.
        let models_dir = config.data.models_dir.clone();
        config.data = DataConfig { demo_clips_per_fold: 14, models_dir, ..demo_data::data_under(&root) };
        (config.train.max_clips, config.train.epochs, config.train.patience) = (16, 2, Some(1));
        run(&file(&config), processes);
        let scored = |config: &Config| {
            let output = command(&file(config)).args(["--fold", "2", "--processes", &processes.to_string()]).output();
            let output = output.unwrap();
            (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
        };
        // Patience wants a fold to validate on, which a cross-validation has not.
        let (is_well, words) = scored(&config);
        assert!(!is_well && words.contains("train.patience"), "{words}");
        config.train.patience = None;
        let (is_well, words) = scored(&config);
        assert!(is_well, "{words}");
        let result = fs::read(result_path(&config, 2, 0)).unwrap();
        let result: serde_json::Value = serde_json::from_slice(&result).unwrap();
        assert_eq!(result["evaluation"]["clips"].as_array().unwrap().len(), 140);
        (weights(&config), result["evaluation"].clone())
    };
    let one = of(1);
    let three = of(3);
    assert!(three.0 == one.0, "weights, calibration or what is known");
    assert_eq!(three.1, one.1);
}

/// Settings by which the program trains on a small CED of random weights.
fn tuning(config: &Config, epochs: usize) -> PathBuf {
    let folder = config.data.models_dir.join("ced");
    fs::create_dir_all(&folder).unwrap();
    fs::copy("tests/golden/ced/mean.config.json", folder.join("config.json")).unwrap();
    fs::copy("tests/golden/ced/mean.safetensors", folder.join("model.safetensors")).unwrap();
    let mut settings = serde_json::to_value(config).unwrap();
    settings["network"] = folder.to_str().unwrap().into();
    settings["fine_tune"] = serde_json::json!({ "epochs": epochs, "batch_size": 8, "learning_rate": 3e-4 });
    let path = config.data.models_dir.join("settings.json");
    fs::write(&path, serde_json::to_vec(&settings).unwrap()).unwrap();
    path
}

#[test]
fn a_network_from_elsewhere_is_trained_on_by_one_two_and_four_processes_to_the_very_same_weights() {
    let tuned = |config: &Config| {
        let folder = config.data.models_dir.join("quick-tuned-demo-2");
        assert!(!state_path(&Config { train: named(&config.train, "quick-tuned"), ..config.clone() }).exists());
        fs::read(folder.join("model.safetensors")).unwrap()
    };
    let of = |processes: usize| {
        let mut config = config(&format!("tuned-{processes}"));
        // Embeddings that another number of processes left are not taken up.
        let processed_dir = config.data.models_dir.join("processed");
        config.data = DataConfig { processed_dir, ..config.data };
        run(&tuning(&config, 2), processes);
        tuned(&config)
    };
    let one = of(1);
    for processes in [2, 4] {
        assert!(of(processes) == one, "{processes} processes");
    }

    // One of them dies on the way; the others say so, and the run goes on to the same bits.
    let mut config = config("tuned-killed");
    config.train.clips_at_once = None;
    let settings = tuning(&config, 12);
    run(&settings, 2);
    let whole = tuned(&config);
    fs::remove_dir_all(config.data.models_dir.join("quick-tuned-demo-2")).unwrap();
    let mut children = start_all(&settings, 2);
    let begun = Instant::now();
    let state = state_path(&Config { train: named(&config.train, "quick-tuned"), ..config.clone() });
    while !state.exists() {
        assert!(begun.elapsed() < Duration::from_secs(60));
        thread::sleep(Duration::from_millis(5));
    }
    children[1].kill().unwrap();
    children[1].wait().unwrap();
    let (status, words) = ended(&mut children[0], SOON);
    assert!(status.is_some_and(|status| !status.success()) && words.contains("process 1 is lost"), "{words}");
    run(&settings, 2);
    assert!(tuned(&config) == whole);
}

fn named(train: &TrainConfig, run_name: &str) -> TrainConfig {
    TrainConfig { run_name: run_name.into(), ..train.clone() }
}

#[test]
fn without_parts_the_same_number_of_processes_gives_the_same_bits() {
    let of = |run_name: &str, processes: usize| {
        let mut config = config(run_name);
        config.train.clips_at_once = None;
        run(&file(&config), processes);
        weights(&config)
    };
    // Five clips in the last batch of an epoch: not everyone has one.
    assert!(of("bits-a", 3) == of("bits-b", 3));
}

#[test]
fn a_process_that_is_killed_is_named_by_the_others_and_the_run_goes_on_to_the_same_bits() {
    let mut config = config("killed");
    config.train.epochs = 30;
    let settings = file(&config);
    let size = 3;
    let begun = Instant::now();
    run(&settings, size);
    let (whole, mut took) = (weights(&config), begun.elapsed());
    let kills = env::var("KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let mut moment = 0;
    while moment < kills {
        let victim = moment % size;
        let _ = fs::remove_file(checkpoint_path(&config));
        let mut children = start_all(&settings, size);
        // From when they meet to their last epoch.
        thread::sleep(took.mul_f64(0.1 + 0.7 * (moment as f64 + 0.5) / kills as f64));
        children[victim].kill().unwrap();
        children[victim].wait().unwrap();
        let killed = Instant::now();
        let mut others = Vec::new();
        for (rank, child) in children.iter_mut().enumerate().filter(|(rank, _)| *rank != victim) {
            let (status, words) = ended(child, SOON.saturating_sub(killed.elapsed()));
            let status = status.unwrap_or_else(|| panic!("process {rank} outlived process {victim}: {words}"));
            others.push((rank, status, words));
        }
        if others.iter().all(|(_, status, _)| status.success()) {
            // They were done: less goes on beside this test than when its time was taken.
            assert!(weights(&config) == whole && took > Duration::from_millis(200));
            took = took.mul_f64(0.7);
            continue;
        }
        for (rank, status, words) in others {
            assert!(!status.success(), "process {rank} ended well without process {victim}");
            // Before they have met, all that is known of it is that it does not come.
            let names = [format!("process {victim} is lost"), format!("no word of process {victim}")];
            let never_met = victim == 0 && words.contains("looking for process 0");
            let is_named = never_met || names.iter().any(|name| words.contains(name));
            assert!(is_named, "process {rank} of {victim}: {words}");
        }
        assert_eq!(half_written(&config, children[victim].id()), Vec::<String>::new());
        run(&settings, size);
        assert!(weights(&config) == whole, "killed at moment {moment}");
        moment += 1;
    }
}

#[cfg(unix)]
#[test]
fn a_process_that_stalls_is_named_within_the_timeout() {
    // Both at once: they wait, most of the time.
    thread::scope(|scope| {
        [1, 0].map(|victim| scope.spawn(move || stall(victim))).map(|stalled| stalled.join().unwrap())
    });
}

#[cfg(unix)]
fn stall(victim: usize) {
    let mut config = config(&format!("stalls-{victim}"));
    config.train.epochs = 100_000;
    let mut children = start_all(&file(&config), 2);
    // Into its epochs.
    let begun = Instant::now();
    while !state_path(&config).exists() {
        assert!(begun.elapsed() < Duration::from_secs(120));
        thread::sleep(Duration::from_millis(20));
    }
    let signal = |name: &str, child: &Child| {
        assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
    };
    signal("-STOP", &children[victim]);
    let other = 1 - victim;
    let (status, words) = ended(&mut children[other], Duration::from_secs(TIMEOUT_S) + SOON);
    signal("-CONT", &children[victim]);
    assert!(status.is_some_and(|status| !status.success()), "{words}");
    assert!(words.contains(&format!("process {victim} is lost")), "{words}");
    // Woken up, it finds itself alone, and ends.
    let (status, words) = ended(&mut children[victim], SOON + SOON);
    assert!(status.is_some_and(|status| !status.success()), "{words}");
}

#[test]
fn what_cannot_meet_says_why() {
    let config = config("alone");
    let settings = file(&config);
    let within = Duration::from_secs(TIMEOUT_S) + SOON;
    let taken = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let strangers = [
        // Nobody keeps the meeting place; others do not come; the port is another's.
        ((1, 2), free_port(), "looking for process 0"),
        ((0, 3), free_port(), "no word of process 1, 2"),
        ((0, 2), port, "MASTER_PORT"),
    ];
    let mut children = strangers.map(|(place, port, _)| start(&settings, place, port));
    for (child, (place, _, told)) in children.iter_mut().zip(strangers) {
        let (status, words) = ended(child, within);
        assert!(status.is_some_and(|status| !status.success()) && words.contains(told), "{place:?}: {words}");
    }
    // Half of what a launcher sets.
    let output = command(&settings).env("RANK", "1").output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("MASTER_ADDR"));
    assert!(!checkpoint_path(&config).exists());
}

#[test]
fn processes_with_other_settings_or_other_data_are_refused_by_name() {
    let own = config("alike");
    let other = Config { train: TrainConfig { batch_size: 4, ..own.train.clone() }, ..own.clone() };
    let (settings, strange) = (file(&own), own.data.models_dir.join("other.json"));
    fs::write(&strange, serde_json::to_vec(&other).unwrap()).unwrap();
    let port = free_port();
    let mut children = [start(&settings, (0, 2), port), start(&strange, (1, 2), port)];
    let words = [1, 0].map(|rank| {
        let (status, words) = ended(&mut children[rank], Duration::from_secs(30));
        assert!(status.is_some_and(|status| !status.success()), "{words}");
        words
    });
    assert!(words[0].contains("batch_size"), "{}", words[0]);
    assert!(words[1].contains("process 1 is lost") && words[1].contains("train.batch_size 4"), "{}", words[1]);

    // The very same settings, and one recording that is another: two machines that were not copied from each other.
    let machines = ["here", "there"].map(|name| own.data.models_dir.join(name));
    for machine in &machines {
        let data =
            DataConfig { models_dir: machine.join("models"), demo_clips_per_fold: 2, ..demo_data::data_under(machine) };
        let config = Config { data, ..own.clone() };
        let catalog = acquire(&config).unwrap();
        if machine.ends_with("there") {
            let path = catalog.path(&catalog.clips[3]);
            let mut sound = audio::read(&path).unwrap();
            sound.samples.iter_mut().for_each(|sample| *sample *= 0.5);
            audio::write_wav(&path, &sound).unwrap();
        }
        preprocess(&config).unwrap();
    }
    let data = DataConfig { demo_clips_per_fold: 2, ..demo_data::data_under(Path::new("")) };
    let relative =
        file(&Config { data: DataConfig { models_dir: own.data.models_dir.clone(), ..data }, ..own.clone() });
    let port = free_port();
    let mut children = [0, 1].map(|rank| start_in(&machines[rank], &relative, (rank, 2), port));
    let (status, words) = ended(&mut children[1], Duration::from_secs(30));
    assert!(status.is_some_and(|status| !status.success()) && words.contains("it has data "), "{words}");
    let (status, words) = ended(&mut children[0], Duration::from_secs(30));
    assert!(status.is_some_and(|status| !status.success()) && words.contains("process 1 is lost"), "{words}");
    assert!(!checkpoint_path(&own).exists());
}

#[test]
fn who_started_them_takes_them_along() {
    let mut config = config("orphans");
    config.train.epochs = 100_000;
    let settings = file(&config);
    let mut parent = command(&settings).args(["--processes", "2"]).spawn().unwrap();
    let begun = Instant::now();
    while !state_path(&config).exists() {
        assert!(begun.elapsed() < Duration::from_secs(120));
        thread::sleep(Duration::from_millis(20));
    }
    parent.kill().unwrap();
    parent.wait().unwrap();
    // The run's lock is let go where the first of them has ended.
    let begun = Instant::now();
    let mut short = config;
    short.train.epochs = 1;
    loop {
        let output = command(&file(&short)).output().unwrap();
        match String::from_utf8_lossy(&output.stderr).contains("under way already") {
            true if begun.elapsed() < SOON => thread::sleep(Duration::from_millis(100)),
            true => panic!("they go on without who started them"),
            false => return assert!(output.status.success()),
        }
    }
}

/// Two machines in one: network namespaces that reach each other by a cable and nothing else.
#[cfg(target_os = "linux")]
struct Apart(String);

#[cfg(target_os = "linux")]
impl Apart {
    /// None, where nobody may make them.
    fn new() -> Option<Self> {
        let apart = Apart(format!("tinyast{}", std::process::id()));
        let name = &apart.0;
        let script = format!(
            "set -e; ip netns add {name}a; ip netns add {name}b; ip link add cable netns {name}a type veth peer name cable netns {name}b
            ip -n {name}a addr add 10.77.0.1/24 dev cable; ip -n {name}b addr add 10.77.0.2/24 dev cable
            for side in a b; do ip -n {name}$side link set cable up; ip -n {name}$side link set lo up; done"
        );
        let made = Command::new("sh").args(["-c", &script]).stderr(Stdio::null()).status();
        made.is_ok_and(|status| status.success()).then_some(apart)
    }

    fn start(&self, settings: &Path, rank: usize, interface: Option<&str>) -> Child {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &format!("{}{}", self.0, ["a", "b"][rank])]).arg(program()).arg(settings);
        command.env("OMP_NUM_THREADS", "1").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.env("RANK", rank.to_string()).env("LOCAL_RANK", "0").env("WORLD_SIZE", "2");
        command.env("MASTER_ADDR", "10.77.0.1").env("MASTER_PORT", "29501").env("TINYAST_TIMEOUT_S", "4");
        command.envs(interface.map(|name| ("GLOO_SOCKET_IFNAME", name)));
        command.spawn().unwrap()
    }
}

#[cfg(target_os = "linux")]
impl Drop for Apart {
    fn drop(&mut self) {
        for side in ["a", "b"] {
            let name = format!("{}{side}", self.0);
            // Where it was not made there is nothing to take away.
            let _ = Command::new("ip").args(["netns", "del", &name]).stderr(Stdio::null()).status();
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn machines_apart_train_to_the_same_weights_and_tell_a_cable_that_was_pulled() {
    let Some(apart) = Apart::new() else {
        return eprintln!("### TWO MACHINES NOT TRIED: making network namespaces takes root and iproute2 ###");
    };
    let config = config("apart");
    let settings = file(&config);
    run(&settings, 2);
    let here = weights(&config);
    for interface in [Some("cable"), None] {
        fs::remove_file(checkpoint_path(&config)).unwrap();
        let mut both = [0, 1].map(|rank| apart.start(&settings, rank, interface));
        for child in &mut both {
            let (status, words) = ended(child, Duration::from_secs(60));
            assert!(status.is_some_and(|status| status.success()), "{interface:?}: {words}");
        }
        assert!(weights(&config) == here, "{interface:?}");
    }
    let (status, words) = ended(&mut apart.start(&settings, 0, Some("wire")), Duration::from_secs(30));
    assert!(status.is_some_and(|status| !status.success()), "{words}");

    let mut long = config;
    long.train.epochs = 100_000;
    let settings = file(&long);
    let mut both = [0, 1].map(|rank| apart.start(&settings, rank, None));
    let begun = Instant::now();
    while !state_path(&long).exists() {
        assert!(begun.elapsed() < Duration::from_secs(60));
        thread::sleep(Duration::from_millis(20));
    }
    let pulled = Command::new("ip").args(["-n", &format!("{}a", apart.0), "link", "set", "cable", "down"]).status();
    assert!(pulled.unwrap().success());
    for (rank, child) in both.iter_mut().enumerate() {
        let (status, words) = ended(child, Duration::from_secs(TIMEOUT_S) + SOON);
        let lost = format!("process {} is lost", 1 - rank);
        assert!(status.is_some_and(|status| !status.success()) && words.contains(&lost), "{rank}: {words}");
    }
}

#[test]
fn a_notebook_trains_in_processes_as_it_does_in_its_own() {
    // As many as each of two processes has: another number rounds otherwise.
    tch::set_num_threads(1);
    let mut config = config("notebook");
    let one = train(&config).unwrap();
    let whole = weights(&config);
    config.train.processes = 2;
    // Cargo finds the program that it has built for these tests.
    let two = train(&config).unwrap();
    assert!(weights(&config) == whole);
    assert_eq!((two.history.len(), two.train_clips, &two.calibration), (3, one.train_clips, &one.calibration));

    config.train.epochs = 100_000;
    let run = Run::start(&config).unwrap();
    let begun = Instant::now();
    while run.status().last.is_none() {
        assert!(begun.elapsed() < Duration::from_secs(120), "{}", run.status());
        thread::sleep(Duration::from_millis(20));
    }
    assert!(run.status().said.contains("2 processes"), "{}", run.status());
    let status = run.stop();
    assert_eq!(status.state, State::Stopped, "{status}");
    // What was done is there to go on from.
    assert!(state_path(&config).exists() && checkpoint_path(&config).exists());

    // The words of the process that fails.
    config.train.learning_rate = 1e30;
    let error = train(&config).unwrap_err().to_string();
    assert!(error.contains("Lower train.learning_rate"), "{error}");
}

#[test]
fn folds_are_jobs_of_their_own_and_are_gathered() {
    let mut config = config("jobs");
    config.train.epochs = 1;
    let settings = file(&config);
    for (fold, processes) in [("1", "2"), ("2", "1"), ("3", "1"), ("4", "1"), ("5", "1")] {
        let output =
            command(&settings).args(["--fold", fold, "--seed", "7", "--processes", processes]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    // Nothing is trained again.
    let written = || fs::metadata(checkpoint_path(&of_fold(&config, 1, 7))).unwrap().modified().unwrap();
    let before = written();
    let gathered = cross_validate(&config, &[7]).unwrap();
    assert_eq!(written(), before);
    assert_eq!(gathered.results.iter().map(|result| result.fold).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert!(gathered.results.iter().all(|result| result.seed == 7 && result.evaluation.clips.len() == 20));
    let output = command(&settings).args(["--seed", "7"]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("--seed goes with --fold"));
}

#[test]
fn what_is_wrong_with_a_data_set_is_told_before_it_is_trained_on() {
    let mut config = config("check-up");
    let root = config.data.models_dir.clone();
    config.train.epochs = 1;
    config.data.source = DataSource::Folder(root.join("sounds"));
    (config.data.raw_dir, config.data.processed_dir) = (root.join("sounds"), root.join("processed"));
    for (class, n) in [("bark", 4), ("rain", 4)] {
        fs::create_dir_all(root.join("sounds").join(class)).unwrap();
        for take in 0..n {
            // The first of both classes is one sound.
            let seed = if take == 0 { 1 } else { class.len() * 100 + take * 7 + usize::from(class == "rain") };
            let samples = (0..16_000usize).map(|n| ((n * n * seed + n) % 1_009) as f32 / 1_009.0 - 0.5).collect();
            let sound = audio::Waveform { samples, sample_rate: 16_000 };
            audio::write_wav(&root.join("sounds").join(class).join(format!("{take}.wav")), &sound).unwrap();
        }
    }
    let told = |options: &[&str]| {
        let output = command(&file(&config)).args(options).stdout(Stdio::piped()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let serious = "serious: pairs of recordings of different classes that hold the same sound";
    let first = told(&[]);
    assert!(first.contains("check-up: 8 recordings") && first.contains(serious), "{first}");
    // What has been told is told again where it is asked for.
    assert!(!told(&[]).contains("check-up:"));
    assert!(told(&["--check-up"]).contains(serious));
}
