//! Recordings → most probable classes, a line of JSON each, without a notebook around it: for the terminal and for cron.

mod asked;
mod format;
#[cfg(feature = "microphone")]
mod microphone;
mod results;
mod watch;

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use asked::Asked;
use audio_transformer::catalog::{audio_files, passed_over};
use audio_transformer::internals::files::progress::Remaining;
use audio_transformer::{Error, Result, audio};
use format::{Format, Said, Writer};
use results::Results;
use serde_json::json;
use signal_hook::consts::SIGINT;
use signal_hook::flag;
use watch::Watch;

const USAGE: &str = "\
usage: predict [--model NAME] [--teach FOLDER] [--top K] [--events P] [--hop S] [--format json|csv|audacity|raven] [--out RESULTS] [--watch]
               FILE|FOLDER|- ...
       predict [--model NAME] [--teach FOLDER] [--top K] [--format json|csv] --microphone

Names what is heard in recordings, a line of JSON for each on standard output:
  {\"file\":\"dog.wav\",\"duration_s\":5.0,\"windows\":1,\"prediction\":\"dog\",\"standing\":\"like\",\"top\":[{\"label\":\"dog\",\"probability\":0.9}, ...]}
A standing of \"unlike\" (further from every class than 95 of 100 recordings of the kind trained on) or \"silent\" makes the prediction
\"none of these\"; \"unknown\" means that the network knows no recordings to compare with.
or, where a recording cannot be read:
  {\"file\":\"dog.wav\",\"error\":\"...\"}

  FILE          a recording: WAV, FLAC, Ogg (Vorbis, Opus), MP3, AAC or ALAC, of any length (with --teach: up to two hours)
  FOLDER        every recording in it, at any depth
  -             a recording from standard input; a pipe may be named like a file
  --model NAME  another network than the released model: a checkpoint, a folder with a CED or an AST as transformers saves it, or
                hub:OWNER/NAME, as hub:mispeech/ced-tiny, which is fetched once. Classes of AudioSet do not exclude each other: each
                has a probability of its own. NAME.onnx is an exported TinyAST, where the program was built with --features onnx;
                without libtorch (--no-default-features) it takes no other, and holds the released model inside
  --teach FOLDER  ask for classes that the network was not trained on: a folder in FOLDER for each, with some recordings (five are
                enough). A line then names every class with its distance, 1 where the recording is as far from the class's examples as
                they are from each other, and what a logistic head on them says:
                {\"file\":\"knock.wav\",\"name\":\"door\",\"classes\":[{\"label\":\"door\",\"distance\":1.1,\"probability\":0.9}, ...]}
  --top K       how many classes a line names (default 5)
  --format F    json, as above; csv, a row for each class: file,standing,rank,label,probability,distance,error; audacity, for one
                recording: start, end and most probable class of each stretch of it, which Audacity imports as labels
  --events P    what is heard when: stretches in which the probability of a class is P or more, with start, end and highest probability:
                {\"file\":\"night.wav\",\"duration_s\":36000.0,\"events\":[{\"start_s\":515.0,\"end_s\":530.0,\"label\":\"dog\",\"score\":0.93}, ...]}
                A stretch that is silent or unlike what the network was trained on is none. As csv: file,start_s,end_s,label,score,error;
                as audacity: labels; as raven: a selection table
  --hop S       windows of long recordings begin every S seconds, and overlap (default: one behind the other)
  --out FILE    write into FILE, and go on where an earlier run of the same call stopped: what is in it is not asked again
  --watch       name what comes into the FOLDERs from now on, once it has stopped growing, until the program is ended
  --microphone  name what the system's microphone hears, the last seconds (as long as a clip of the network) once a second, until the program
                is ended; the file is then \"microphone\" and the moment they end, in UTC. The program has to be built with --features microphone
  --            everything behind it is a file or a folder
  --help        this text

An interrupt (Ctrl-C) ends the recording at hand: what was heard of it so far is told, and that it stopped there; with --out it is done again.

Exit status: 0 when every recording was read, 1 when one was not, 2 when nothing was tried: wrong arguments, no network.
";
/// The most probable classes that a line names.
const DEFAULT_TOP: usize = 5;
const STANDARD_INPUT: &str = "-";
/// The most that is kept of what cannot be read twice: two hours of 16-bit stereo at 48 kHz, and some more.
const MAX_PIPE_BYTES: u64 = 1 << 31;

/// Everything was read.
const DONE: u8 = 0;
/// A recording was not.
const SOME_FAILED: u8 = 1;
/// Ended by a second interrupt, as shells tell it.
const INTERRUPTED: i32 = 130;
/// Nothing was tried.
const UNUSABLE: u8 = 2;

fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args_os().skip(1)) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            print!("{USAGE}");
            return DONE.into();
        }
        Err(reason) => {
            eprint!("predict: {reason}\n\n{USAGE}");
            return UNUSABLE.into();
        }
    };
    let mut asked = match Asked::open(arguments.model.as_deref(), arguments.teach.as_deref()) {
        Ok(asked) => asked,
        Err(error) => {
            eprintln!("predict: {error}");
            return UNUSABLE.into();
        }
    };
    let prepared =
        arguments.hop_s.map_or(Ok(()), |hop_s| asked.set_hop_s(hop_s)).and_then(|()| arguments.output(&asked));
    let (done, output) = match prepared {
        Ok(output) => output,
        Err(reason) => {
            eprintln!("predict: {reason}");
            return UNUSABLE.into();
        }
    };
    let mut writer = Writer::new(arguments.format, arguments.top, output);
    (writer.events, writer.highest_hz) = (arguments.events, asked.highest_hz());
    let mut run = Run { asked, writer, done, is_kept: arguments.out.is_some(), stopped: Arc::default(), failed: false };
    // Without one an interrupt ends the program as it ends any other.
    if !arguments.watch
        && !arguments.microphone
        && let Ok(stopped) = raised_by_interrupt()
    {
        run.stopped = stopped;
    }
    let done = match () {
        _ if arguments.microphone => match run.microphone() {
            Ok(done) => done,
            Err(reason) => {
                eprintln!("predict: {reason}");
                return UNUSABLE.into();
            }
        },
        _ if arguments.watch => run.watch(arguments.recordings),
        () => run.all(&arguments.recordings),
    };
    match done {
        Ok(()) if run.failed => SOME_FAILED.into(),
        Ok(()) => DONE.into(),
        // Who closes the other end of the pipe has read enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => DONE.into(),
        Err(error) => {
            eprintln!("predict: cannot write what was said: {error}");
            SOME_FAILED.into()
        }
    }
}

#[derive(Debug)]
struct Arguments {
    model: Option<PathBuf>,
    teach: Option<PathBuf>,
    top: usize,
    events: Option<f32>,
    hop_s: Option<f32>,
    out: Option<PathBuf>,
    format: Format,
    watch: bool,
    microphone: bool,
    recordings: Vec<PathBuf>,
}

impl Arguments {
    /// `None` when help is asked for.
    fn parse(mut words: impl Iterator<Item = OsString>) -> Result<Option<Self>, String> {
        let (model, teach, format, recordings) = (None, None, Format::Json, Vec::new());
        let (top, watch, microphone) = (DEFAULT_TOP, false, false);
        let (events, hop_s, out) = (None, None, None);
        let mut arguments = Arguments { model, teach, top, events, hop_s, out, format, watch, microphone, recordings };
        while let Some(word) = words.next() {
            match word.to_str() {
                Some("--help" | "-h") => return Ok(None),
                Some("--model") => arguments.model = Some(words.next().ok_or("--model wants a name")?.into()),
                Some("--teach") => arguments.teach = Some(words.next().ok_or("--teach wants a folder")?.into()),
                Some("--top") => {
                    let number = words.next().and_then(|word| word.to_str()?.parse().ok());
                    arguments.top = number.filter(|top| *top > 0).ok_or("--top wants a number from 1")?;
                }
                Some("--events") => {
                    let number = words.next().and_then(|word| word.to_str()?.parse().ok());
                    let threshold = number.filter(|number| (f32::MIN_POSITIVE..=1.0).contains(number));
                    arguments.events = Some(threshold.ok_or("--events wants a probability above 0 and up to 1")?);
                }
                Some("--hop") => {
                    let number = words.next().and_then(|word| word.to_str()?.parse().ok());
                    arguments.hop_s = Some(number.ok_or("--hop wants a number of seconds")?);
                }
                Some("--out") => arguments.out = Some(words.next().ok_or("--out wants a file")?.into()),
                Some("--format") => {
                    let format = words.next().and_then(|word| Format::parse(word.to_str()?));
                    arguments.format = format.ok_or("--format wants json, csv, audacity or raven")?;
                }
                Some("--watch") => arguments.watch = true,
                Some("--microphone") => arguments.microphone = true,
                Some("--") => arguments.recordings.extend(words.by_ref().map(PathBuf::from)),
                Some(option) if option.starts_with('-') && option != STANDARD_INPUT => {
                    return Err(format!("no such option: {option}"));
                }
                _ => arguments.recordings.push(word.into()),
            }
        }
        let recordings = &arguments.recordings;
        let is_one = recordings.len() == 1 && !recordings[0].is_dir();
        match () {
            _ if arguments.microphone && (arguments.watch || !recordings.is_empty()) => {
                Err("--microphone takes no recordings".into())
            }
            _ if arguments.microphone && matches!(arguments.format, Format::Audacity | Format::Raven) => {
                Err("--microphone has lines of json or csv".into())
            }
            _ if arguments.microphone && (arguments.out.is_some() || arguments.events.is_some()) => {
                Err("--microphone takes neither --out nor --events".into())
            }
            _ if arguments.microphone => Ok(Some(arguments)),
            _ if recordings.is_empty() => Err("no recording is named".into()),
            _ if arguments.watch && recordings.iter().any(|path| !path.is_dir()) => Err("--watch wants folders".into()),
            _ if arguments.format == Format::Audacity && !is_one => Err("--format audacity wants one recording".into()),
            _ if arguments.format == Format::Raven && (!is_one || arguments.events.is_none()) => {
                Err("--format raven wants one recording, and --events".into())
            }
            _ if arguments.events.is_some() && arguments.teach.is_some() => {
                Err("--events has no meaning for what --teach answers".into())
            }
            _ if arguments.out.is_some() && arguments.format != Format::Json => Err("--out wants --format json".into()),
            _ if arguments.format == Format::Audacity && arguments.teach.is_some() => {
                Err("--format audacity has no time for what --teach answers".into())
            }
            () => Ok(Some(arguments)),
        }
    }
}

impl Arguments {
    /// Where lines go, and which recordings are there already.
    fn output(&self, asked: &Asked) -> Result<(HashSet<PathBuf>, Box<dyn Write>), String> {
        let Some(path) = &self.out else { return Ok((HashSet::new(), Box::new(io::stdout().lock()))) };
        let made = json!({ "network": asked.identity()?, "top": self.top, "events": self.events, "hop_s": self.hop_s });
        let results = Results::open(path, &json!({ "predict": made }))?;
        if !results.done.is_empty() {
            eprintln!("predict: {} recordings are in {} already", results.done.len(), path.display());
        }
        if results.n_changed > 0 {
            eprintln!("predict: {} of those in it have changed since, and are heard again", results.n_changed);
        }
        Ok((results.done, Box::new(results.file)))
    }
}

struct Run<W> {
    asked: Asked,
    writer: Writer<W>,
    /// Recordings that an earlier run has asked about.
    done: HashSet<PathBuf>,
    /// Whether results are kept for a later run to go on with.
    is_kept: bool,
    /// Whether the program was interrupted.
    stopped: Arc<AtomicBool>,
    failed: bool,
}

/// A flag that the first interrupt raises, to end the recording at hand, so that what was heard is told; the second ends the program.
fn raised_by_interrupt() -> io::Result<Arc<AtomicBool>> {
    let stopped = Arc::new(AtomicBool::new(false));
    // In this order: the first must not yet find the flag raised.
    flag::register_conditional_shutdown(SIGINT, INTERRUPTED, Arc::clone(&stopped))?;
    flag::register(SIGINT, Arc::clone(&stopped))?;
    Ok(stopped)
}

impl<W: Write> Run<W> {
    fn all(&mut self, recordings: &[PathBuf]) -> io::Result<()> {
        recordings.iter().try_for_each(|path| match path.is_dir() {
            true => self.folder(path),
            false => self.recording(path),
        })
    }

    /// Recordings as they come, until a folder cannot be read or nobody listens.
    fn watch(&mut self, folders: Vec<PathBuf>) -> io::Result<()> {
        let first = folders[0].clone();
        let mut watch = match Watch::new(folders) {
            Ok(watch) => watch,
            Err(error) => return self.tell_failed(&first, &error),
        };
        eprintln!("predict: watching");
        loop {
            match watch.next() {
                Ok(recordings) => recordings.iter().try_for_each(|path| {
                    // It has come, or has become another: what was said of one of its name says nothing of it.
                    self.done.remove(path);
                    self.recording(path)
                })?,
                Err(error) => return self.tell_failed(&first, &error),
            }
        }
    }

    /// What the microphone hears, until it is gone or nobody listens; an error where there is none.
    #[cfg(feature = "microphone")]
    fn microphone(&mut self) -> Result<io::Result<()>, String> {
        let mut microphone = microphone::Microphone::open(self.asked.clip_s())?;
        eprintln!("predict: listening");
        loop {
            let (heard, moment) = match microphone.next() {
                Ok(heard) => heard,
                Err(reason) => {
                    self.failed = true;
                    return Ok(self.writer.tell_failed(Path::new("microphone"), &reason));
                }
            };
            let path = PathBuf::from(format!("microphone {moment}"));
            let told = match self.asked.about(&heard, &path) {
                Ok(said) => self.writer.tell(said, true),
                Err(error) => self.tell_failed(&path, &error),
            };
            if told.is_err() {
                return Ok(told);
            }
        }
    }

    #[cfg(not(feature = "microphone"))]
    fn microphone(&mut self) -> Result<io::Result<()>, String> {
        Err("this program was built without the microphone; build it with --features microphone".into())
    }

    fn folder(&mut self, folder: &Path) -> io::Result<()> {
        let (walk, strange) = match audio_files(folder).and_then(|walk| Ok((walk, passed_over(folder)?))) {
            Ok(found) => found,
            Err(error) => return self.tell_failed(folder, &error),
        };
        if walk.files.is_empty() && walk.unreadable.is_empty() {
            eprintln!("predict: {}: no recording in it", folder.display());
        }
        for name in strange {
            eprintln!("predict: passed over {}: this format is not read", folder.join(name).display());
        }
        for (name, reason) in walk.unreadable {
            self.failed = true;
            self.writer.tell_failed(&folder.join(name), &reason)?;
        }
        walk.files.iter().try_for_each(|name| self.recording(&folder.join(name)))
    }

    fn recording(&mut self, path: &Path) -> io::Result<()> {
        if self.stopped.load(Ordering::Relaxed) {
            self.failed = true;
            return Ok(());
        }
        if self.done.contains(path) {
            return Ok(());
        }
        // Before it is heard: what is written to it meanwhile makes it another.
        let stamp = self.is_kept.then(|| results::stamp(path)).flatten();
        let said = match path == Path::new(STANDARD_INPUT) {
            true => read_pipe(io::stdin().lock(), path).and_then(|waveform| self.heard(&waveform, path)),
            // `/dev/stdin`, `<(…)` of a shell, a named pipe.
            false if fs::metadata(path).is_ok_and(|file| !file.is_file() && !file.is_dir()) => {
                let file = File::open(path).map_err(Error::io("read", path));
                file.and_then(|file| read_pipe(file, path)).and_then(|waveform| self.heard(&waveform, path))
            }
            false => {
                let (mut remaining, stopped) = (Remaining::start(), Arc::clone(&self.stopped));
                self.asked.about_file(path, &mut |share| {
                    if let Some(words) = remaining.say(share) {
                        eprintln!("predict: {}: {words}", path.display());
                    }
                    !stopped.load(Ordering::Relaxed)
                })
            }
        };
        match said {
            Ok((said, true)) => {
                self.writer.stamp = stamp;
                self.writer.tell(said, true)
            }
            Ok((said, false)) => self.tell_stopped(said, path),
            Err(error) => self.tell_failed(path, &error),
        }
    }

    fn heard(&mut self, waveform: &audio::Waveform, path: &Path) -> Result<(Said, bool)> {
        Ok((self.asked.about(waveform, path)?, true))
    }

    /// What was heard of a recording until the program was interrupted. Results that a later run goes on with have it not.
    fn tell_stopped(&mut self, said: Said, path: &Path) -> io::Result<()> {
        self.failed = true;
        let place = path.display();
        if self.is_kept {
            eprintln!("predict: stopped in {place}, which the same call begins with");
            return Ok(());
        }
        eprintln!("predict: stopped in {place}: what is told of it is told of its beginning");
        self.writer.tell(said, false)
    }

    fn tell_failed(&mut self, path: &Path, error: &Error) -> io::Result<()> {
        self.failed = true;
        self.writer.tell_failed(path, &error.to_string())
    }
}

/// A whole recording from something that cannot be read twice, up to [`MAX_PIPE_BYTES`].
fn read_pipe(pipe: impl Read, path: &Path) -> Result<audio::Waveform> {
    let mut bytes = Vec::new();
    pipe.take(MAX_PIPE_BYTES + 1).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    if bytes.len() as u64 > MAX_PIPE_BYTES {
        let (expected, found) = (format!("at most {MAX_PIPE_BYTES} bytes from a pipe"), "more; name a file".into());
        return Err(Error::Audio { path: path.into(), offset: None, expected, found });
    }
    audio::decode(&bytes, path)
}
