//! Training without a notebook: from a file of settings, in as many processes as there are machines, processors or GPUs.

mod follow;
mod launch;
mod settings;

use std::num::NonZero;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::thread;

use audio_transformer::config::{Config, Preset};
use audio_transformer::internals::distributed::peers::Alone;
use audio_transformer::internals::results::cross_validate::{known_result, of_fold, score_fold};
use audio_transformer::internals::training::device;
use audio_transformer::{
    Checkup, Choice, Dataset, FineTune, Group, Listener, Observer, Peers, Place, Result, acquire, checkup,
    evaluate_together, fine_tune_together, open_catalog, preprocess, preprocess_part, propose, train_together,
};
use follow::Follower;
use settings::Settings;

const USAGE: &str = "\
usage: train SETTINGS [--processes N] [--fold F [--seed S]] [--evaluate] [--check-up] [--events]

Trains TinyAST as the notebook does, in one process or several, and leaves what it leaves: checkpoint, history, and the state that a run
which was stopped goes on from.

  SETTINGS       a TOML or JSON file of the notebook's settings; what is not named is as in its preset:
                   preset = \"good\"            # quick (default), good, or fitted: fitted to the recordings
                   [data]
                   source = { Folder = \"my/sounds\" }
                   [train]
                   batch_size = 64
                 A network from elsewhere is trained on in the place of TinyAST, and left beside the checkpoints, where the settings name one:
                   network = \"hub:mispeech/ced-tiny\"
                   [fine_tune]
                   epochs = 10
  --processes N  as N processes on this machine (default: the settings' train.processes), each with its part of every batch and of the processor's threads. To go beyond one machine
                 start the program on each by torchrun, srun or by hand: it finds RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT, or
                 Slurm's variables. GLOO_SOCKET_IFNAME names the network to go by, TINYAST_TIMEOUT_S (30) how long a process may give no sign of life
  --fold F       the part of a cross-validation that holds out this fold, with this seed (default 0): a job of its own, under a name of its own.
  --seed S       What was done before with the same settings and recordings is not done again; `cross_validate` gathers the results
  --evaluate     score the held-out fold once training is done, as --fold always does
  --check-up     look at every recording first, and tell what is wrong with the data set. Without it that is done where its spectrograms are made,
                 settings are fitted or a network from elsewhere is trained on, up to data.shards_above recordings; nothing is changed by it
  --events       tell how it goes in lines of JSON, and stop where standard input ends
  --help         this text

Exit status: 0 when the run has ended, 1 when it has failed or was stopped, 2 when nothing was tried.
";
/// The run has failed.
const FAILED: u8 = 1;
/// Nothing was tried.
const UNUSABLE: u8 = 2;

fn main() -> ExitCode {
    launch::begin_with_short_spins();
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            eprintln!("train: {problem}\n{USAGE}");
            return ExitCode::from(UNUSABLE);
        }
    };
    // Read before processes are started: a mistake in it is told once.
    let settings = match Settings::read(&arguments.settings) {
        Ok(settings) => settings,
        Err(problem) => {
            eprintln!("train: {problem}");
            return ExitCode::from(UNUSABLE);
        }
    };
    if settings.network.is_some() && (arguments.job.is_some() || arguments.events) {
        eprintln!(
            "train: --fold and --events are TinyAST's; name the fold of a network from elsewhere in train.test_fold"
        );
        return ExitCode::from(UNUSABLE);
    }
    // Whoever is one of several is told so, and starts no more.
    let is_one = std::env::var_os("RANK").is_some() || std::env::var_os("SLURM_STEP_NUM_TASKS").is_some();
    let processes = arguments.processes.unwrap_or(if is_one { 1 } else { settings.config.train.processes });
    if processes > 1 {
        return match launch::processes(processes) {
            Ok(()) => ExitCode::SUCCESS,
            Err(problem) => {
                eprintln!("train: {problem}");
                ExitCode::from(FAILED)
            }
        };
    }
    match one_of_them(&arguments, settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("train: {error}");
            ExitCode::from(FAILED)
        }
    }
}

/// What is asked for.
struct Arguments {
    settings: PathBuf,
    processes: Option<usize>,
    job: Option<(u32, u64)>,
    evaluate: bool,
    check_up: bool,
    events: bool,
}

impl Arguments {
    /// `None` where help is asked for.
    fn parse(arguments: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut found = Arguments {
            settings: PathBuf::new(),
            processes: None,
            job: None,
            evaluate: false,
            check_up: false,
            events: false,
        };
        let (mut fold, mut seed) = (None, None);
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--help" | "-h" => return Ok(None),
                "--evaluate" => found.evaluate = true,
                "--check-up" => found.check_up = true,
                "--events" => found.events = true,
                "--processes" => {
                    let processes = number(&argument, arguments.next())?;
                    if !(1..=4096).contains(&processes) {
                        return Err(format!("--processes wants 1 to 4096, not {processes}"));
                    }
                    found.processes = Some(processes);
                }
                "--fold" => fold = Some(number(&argument, arguments.next())?),
                "--seed" => seed = Some(number(&argument, arguments.next())?),
                option if option.starts_with("--") => return Err(format!("there is no option {option}")),
                _ if found.settings.as_os_str().is_empty() => found.settings = argument.into(),
                _ => return Err(format!("one file of settings, please, and not {argument} as well")),
            }
        }
        if found.settings.as_os_str().is_empty() {
            return Err("no file of settings was named".into());
        }
        found.job = match (fold, seed) {
            (None, Some(_)) => {
                return Err("--seed goes with --fold; else train.seed in the settings is the seed".into());
            }
            (fold, seed) => fold.map(|fold| (fold, seed.unwrap_or(0))),
        };
        Ok(Some(found))
    }
}

fn number<T: std::str::FromStr>(option: &str, value: Option<String>) -> Result<T, String> {
    let value = value.ok_or_else(|| format!("{option} wants a number behind it"))?;
    value.parse().map_err(|_| format!("{option} wants a whole number, not {value:?}"))
}

/// This process' part of the run.
fn one_of_them(arguments: &Arguments, settings: Settings) -> Result<()> {
    let Settings { preset, mut config, network } = settings;
    config.train.processes = 1;
    let trained = |follower: &mut Follower, peers: Rc<dyn Peers>| match &network {
        None => trained(preset, &config, arguments, follower, peers),
        Some((name, how)) => trained_on(name, how, &config, arguments, follower, peers),
    };
    let mut follower = Follower::new(arguments.events);
    let Some(place) = Place::from_env()? else {
        return trained(&mut follower, Rc::new(Alone));
    };
    let group = Rc::new(Group::join(place, config.train.device)?);
    let result = trained(&mut follower, Rc::clone(&group) as Rc<dyn Peers>);
    if let Err(error) = &result {
        group.fail(error);
    }
    result
}

fn trained(
    preset: Preset,
    config: &Config,
    arguments: &Arguments,
    follower: &mut Follower,
    peers: Rc<dyn Peers>,
) -> Result<()> {
    peers.agree(config)?;
    let proposed = if peers.is_first() { proposal(preset, config, arguments, follower)? } else { None };
    // The others wait here, and take what was proposed.
    let proposed = peers.told_by_first(proposed)?;
    if let Some(config) = &proposed {
        spectrograms(config, peers.as_ref(), follower)?;
    }
    let config = proposed.unwrap_or_else(|| config.clone());
    let Some((fold, seed)) = arguments.job else {
        let report = train_together(&config, follower, Rc::clone(&peers))?;
        if peers.is_first() {
            follower.ends(&report);
        }
        let evaluation = arguments.evaluate.then(|| evaluate_together(&config, peers.as_ref())).transpose()?;
        if let Some(evaluation) = evaluation.filter(|_| peers.is_first()) {
            follower.say(&evaluation.to_string());
        }
        return Ok(());
    };
    let known = if peers.is_first() { known_result(&config, fold, seed)? } else { None };
    let result = match peers.told_by_first(known)? {
        Some(known) => known,
        None => {
            let report = train_together(&of_fold(&config, fold, seed), follower, Rc::clone(&peers))?;
            if peers.is_first() {
                follower.ends(&report);
            }
            score_fold(&config, fold, seed, &report, peers.as_ref())?
        }
    };
    if peers.is_first() {
        follower.say(&format!("seed {seed}, fold {fold}: {:.1} %", 100.0 * result.accuracy));
    }
    Ok(())
}

/// A network from elsewhere, trained on, scored on the held-out fold and left in a folder of its own beside the checkpoints.
fn trained_on(
    name: &str,
    how: &FineTune,
    config: &Config,
    arguments: &Arguments,
    follower: &mut Follower,
    peers: Rc<dyn Peers>,
) -> Result<()> {
    peers.agree(config)?;
    if peers.is_first() {
        acquire(config)?;
        check_up(config, arguments, follower)?;
    }
    // The others wait here.
    peers.told_by_first(())?;
    let device = device::of_process(device::select(config.train.device)?, peers.local_rank());
    let tuned = fine_tune_together(config, Listener::open(name, device)?, how, follower, Rc::clone(&peers))?;
    if peers.is_first() {
        let folder = config.data.models_dir.join(format!("{}-tuned-{}", config.train.run_name, config.data.name()));
        tuned.save(&folder)?;
        follower.say(&tuned.to_string());
        follower.say(&format!("{} holds the network", folder.display()));
    }
    Ok(())
}

/// The data set, acquired, and the settings for it; `None` where there are spectrograms of it.
fn proposal(preset: Preset, config: &Config, arguments: &Arguments, follower: &mut Follower) -> Result<Option<Config>> {
    // A notebook has done it, and so has an earlier run.
    if preset != Preset::Fitted && !arguments.check_up && Dataset::open(config).is_ok() {
        return Ok(None);
    }
    acquire(config)?;
    check_up(config, arguments, follower)?;
    let proposal = propose(preset, config)?;
    for Choice { setting, value, reason } in &proposal.choices {
        follower.say(&format!("{setting}: {value} ({reason})"));
    }
    Ok(Some(proposal.config))
}

/// Tells what is wrong with the data set. A notebook has a cell for it.
fn check_up(config: &Config, arguments: &Arguments, follower: &mut Follower) -> Result<()> {
    if arguments.events {
        return Ok(());
    }
    let catalog = open_catalog(config)?;
    if !arguments.check_up && catalog.clips.len() > config.data.shards_above {
        follower.say(&format!("{} recordings: not looked at one by one (--check-up)", catalog.clips.len()));
        return Ok(());
    }
    let Checkup { n_clips, findings } = checkup(&catalog);
    follower.say(&format!("check-up: {n_clips} recordings, {} findings", findings.len()));
    findings.iter().for_each(|finding| follower.say(&finding.to_string()));
    Ok(())
}

/// Every process makes its part, and the first one puts the parts together and tells what was done.
fn spectrograms(config: &Config, peers: &dyn Peers, follower: &mut Follower) -> Result<()> {
    let mut computed = 0;
    if peers.size() > 1 {
        let cores = || thread::available_parallelism().map_or(1, NonZero::get);
        let n_threads = std::env::var("OMP_NUM_THREADS").ok().and_then(|n| n.parse().ok()).unwrap_or_else(cores);
        computed = preprocess_part(config, (peers.rank(), peers.size()), n_threads)?;
        computed = peers.count(computed)?;
    }
    if peers.is_first() {
        let report = preprocess(config)?;
        if computed > 0 {
            follower.say(&format!("{computed} recordings computed by {} processes", peers.size()));
        }
        follower.say(&report.to_string());
    }
    peers.told_by_first(())
}
