//! Classes taught by a few examples: five recordings of each are enough to ask.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::listener::Listener;
use super::metric::{LeftOut, Metric};
use crate::dataset::catalog::{Catalog, audio_files};
use crate::dataset::demo;
use crate::dataset::measure::{SILENCE_DBFS, loudest_dbfs};
use crate::error::{Error, Result};
use crate::files;
use crate::front_end::audio::{self, Waveform};
use crate::results::predict::NONE_OF_THESE;
use crate::training::linear_head::{LinearHead, Targets, fit};
use crate::training::reference::UNLIKE;

/// Regularisation of a class's head: strong, for there are few examples.
const L2: f64 = 0.1;

/// Sounds of the demo data set that stand in for recordings, by the number of their class, and how many of each.
const STAND_INS: [(&str, usize); 3] = [("bell", 4), ("clicks", 5), ("noise", 8)];
const STAND_IN_TAKES: usize = 3;

/// From so many examples on, one in twenty of them can be told from the others.
const MIN_EXAMPLES: usize = 19;

/// Classes that a network was taught by examples. Teaching another one leaves the means and heads of those before as they are; it adds to
/// what is known of how much recordings of one class differ, by which all distances are measured.
pub struct Taught {
    listener: Listener,
    classes: Vec<Class>,
    metric: Metric,
    /// Each example as if it had not been taught.
    left_out: Vec<LeftOut>,
}

/// A class as its examples make it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Class {
    name: String,
    /// What the network made of each example.
    examples: Vec<Vec<f32>>,
    /// A logistic head that tells it from the classes that were taught before and with it; none, where there were none.
    head: Option<(Vec<f32>, f32)>,
}

/// What a network that was taught thinks of a recording.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// The recording.
    pub file: PathBuf,
    /// Its nearest class, or `none of these`.
    pub name: String,
    /// Every class, the nearest first.
    pub classes: Vec<Nearness>,
}

/// How near a recording is to a class.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Nearness {
    /// The class.
    pub label: String,
    /// Its distance to the mean of the class's examples, 1 where it is as far away as an example is from the mean of the other ones.
    pub distance: f64,
    /// What the class's logistic head says, 0 to 1; not shared out among the classes. `None` for a class that was taught first and alone.
    pub probability: Option<f32>,
}

impl Taught {
    /// A network that was taught nothing yet.
    ///
    /// # Errors
    /// [`Error::Torch`] when libtorch fails.
    pub fn new(listener: Listener) -> Result<Self> {
        Self::with(listener, Vec::new())
    }

    fn with(listener: Listener, classes: Vec<Class>) -> Result<Self> {
        let metric = Metric::new(&examples_of(&classes), listener.embed_dim())?;
        let left_out = metric.left_out(&examples_of(&classes))?;
        Ok(Taught { listener, classes, metric, left_out })
    }

    /// Teaches every folder in `root` as a class of the folder's name, in alphabetical order, by the recordings in it at any depth.
    ///
    /// # Errors
    /// As [`Taught::teach`]; [`Error::Dataset`] when there are fewer than two folders.
    pub fn from_folder(listener: Listener, root: &Path) -> Result<Self> {
        let classes = class_folders(root)?;
        if classes.len() < 2 {
            let found = format!("{} folders", classes.len());
            return Err(unfit(root, "a folder for each of two classes or more", found));
        }
        let mut taught = Taught::new(listener)?;
        taught.teach_together(&classes)?;
        Ok(taught)
    }

    /// Teaches what was recorded into a folder for each sound, as a notebook's buttons leave it; a folder with nothing in it yet is passed over.
    /// While nothing was recorded at all, three sounds made by formulas stand in, and their names say so.
    ///
    /// # Errors
    /// As [`Taught::teach`]; [`Error::Dataset`] when a single sound was recorded, for there is nothing to tell it from.
    pub fn by_ear(listener: Listener, root: impl AsRef<Path>) -> Result<Self> {
        let root = root.as_ref();
        let mut recorded = if root.is_dir() { class_folders(root)? } else { Vec::new() };
        recorded.retain(|(_, recordings)| !recordings.is_empty());
        let mut taught = Taught::new(listener)?;
        match &recorded[..] {
            [] => taught.teach_stand_ins()?,
            [(only, _)] => {
                return Err(unfit(root, "recordings of two sounds or more", format!("some of {only:?} alone")));
            }
            recorded => taught.teach_together(recorded)?,
        }
        Ok(taught)
    }

    fn teach_stand_ins(&mut self) -> Result<()> {
        let mut classes = Vec::new();
        for (name, target) in STAND_INS {
            let takes = (0..STAND_IN_TAKES).map(|take| demo::synthesize(0, target, 1, take, 0));
            let examples = takes.map(|take| self.listener.embedding(&take)).collect::<Result<Vec<_>>>()?;
            classes.push(Class { name: format!("{name} (synthesised)"), examples, head: None });
        }
        self.learn(classes)
    }

    /// Teaches every class of a data set by its first `n` recordings outside a fold, so that the fold can be asked.
    ///
    /// # Errors
    /// As [`Taught::teach`], and [`Catalog::one_class_each`].
    pub fn from_catalog(listener: Listener, catalog: &Catalog, n: usize, without_fold: u32) -> Result<Self> {
        catalog.one_class_each()?;
        let mut taught = Taught::new(listener)?;
        let recordings = |label: &String| {
            let own = catalog.clips.iter().filter(|clip| *clip.category == **label && clip.fold != without_fold);
            (label.clone(), own.take(n).map(|clip| catalog.path(clip)).collect())
        };
        taught.teach_together(&catalog.labels().iter().map(recordings).collect::<Vec<_>>())?;
        Ok(taught)
    }

    /// Teaches a class by recordings of it. What the others were taught stays as it is.
    ///
    /// # Errors
    /// [`Error::Dataset`] for a name that is taken, no recordings, or a silent one; what [`audio::read`] reports for one that cannot be read.
    /// Nothing was taught then.
    pub fn teach(&mut self, name: &str, recordings: &[PathBuf]) -> Result<()> {
        self.teach_together(&[(name.to_owned(), recordings.to_vec())])
    }

    /// Teaches several classes, each with its recordings, of which every one knows the others.
    ///
    /// # Errors
    /// As [`Taught::teach`].
    pub fn teach_together(&mut self, classes: &[(String, Vec<PathBuf>)]) -> Result<()> {
        let mut taught: Vec<Class> = Vec::with_capacity(classes.len());
        for (name, recordings) in classes {
            let examples = self.examples(name, recordings)?;
            if self.classes.iter().chain(&taught).any(|class| class.name == *name) {
                return Err(unfit(
                    place_of(name, recordings),
                    "a class that was not taught before",
                    format!("{name:?} twice"),
                ));
            }
            taught.push(Class { name: name.clone(), examples, head: None });
        }
        self.learn(taught)
    }

    /// Takes up classes whose examples were heard: a head for each, and the measure of all.
    fn learn(&mut self, mut taught: Vec<Class>) -> Result<()> {
        for i in 0..taught.len() {
            let others = self.classes.iter().chain(&taught).filter(|class| class.name != taught[i].name);
            taught[i].head = head(&taught[i].examples, &others.flat_map(|class| &class.examples).collect::<Vec<_>>())?;
        }
        let all = [self.classes.clone(), taught].concat();
        let metric = Metric::new(&examples_of(&all), self.listener.embed_dim())?;
        self.left_out = metric.left_out(&examples_of(&all))?;
        (self.classes, self.metric) = (all, metric);
        Ok(())
    }

    fn examples(&mut self, name: &str, recordings: &[PathBuf]) -> Result<Vec<Vec<f32>>> {
        let root = place_of(name, recordings);
        if recordings.is_empty() {
            return Err(unfit(root, "recordings to teach it by", format!("none of {name:?}")));
        }
        let mut examples = Vec::with_capacity(recordings.len());
        for path in recordings {
            let waveform = audio::read(path)?;
            if loudest_dbfs(&waveform.samples, waveform.sample_rate) <= SILENCE_DBFS {
                return Err(unfit(
                    root,
                    "recordings with something to hear",
                    format!("{}, which is silent", path.display()),
                ));
            }
            examples.push(self.listener.embedding(&waveform).map_err(|error| error.in_file(path))?);
        }
        Ok(examples)
    }

    /// The network that hears.
    pub fn listener(&self) -> &Listener {
        &self.listener
    }

    /// The classes, in the order they were taught.
    pub fn labels(&self) -> Vec<&str> {
        self.classes.iter().map(|class| class.name.as_str()).collect()
    }

    /// Asks about a file.
    ///
    /// # Errors
    /// What [`audio::read`] reports; as [`Taught::ask`].
    pub fn ask_file(&mut self, path: &Path) -> Result<Answer> {
        self.ask(&audio::read(path)?, path).map_err(|error| error.in_file(path))
    }

    /// Asks about a recording; `path` is its name in the answer. It is none of the classes where it is silent, and where it is further from
    /// every one of them than all but one in twenty of the examples are from theirs; for the latter there have to be 19 examples or more.
    ///
    /// # Errors
    /// [`Error::Signal`] for samples that are no sound; [`Error::StageMissing`] before two classes were taught.
    pub fn ask(&mut self, waveform: &Waveform, path: &Path) -> Result<Answer> {
        if self.classes.len() < 2 {
            return Err(Error::StageMissing { stage: "Teach", path: path.into() });
        }
        let embedding = self.listener.embedding(waveform)?;
        let unit = self.left_out.iter().map(|example| example.own).sum::<f64>() / self.left_out.len().max(1) as f64;
        let unit = if unit > 0.0 { unit } else { 1.0 };
        let distances = self.metric.distances(&embedding)?;
        let nearnesses = self.classes.iter().zip(&distances).map(|(class, distance)| Nearness {
            label: class.name.clone(),
            distance: distance / unit,
            probability: class.probability(&embedding),
        });
        let mut classes: Vec<Nearness> = nearnesses.collect();
        classes.sort_by(|a, b| a.distance.total_cmp(&b.distance));
        let nearest = classes.first().map_or(f64::INFINITY, |class| class.distance * unit);
        let own = &self.left_out;
        let as_far = own.iter().filter(|example| example.own >= nearest).count();
        let share = (as_far + 1) as f64 / (own.len() + 1) as f64;
        let is_unlike = own.len() >= MIN_EXAMPLES && share <= UNLIKE;
        let is_none = is_unlike || loudest_dbfs(&waveform.samples, waveform.sample_rate) <= SILENCE_DBFS;
        let name = match classes.first() {
            Some(class) if !is_none => class.label.clone(),
            _ => NONE_OF_THESE.to_owned(),
        };
        Ok(Answer { file: path.into(), name, classes })
    }

    /// Asks about `n` recordings of a fold, spread over it.
    ///
    /// # Errors
    /// As [`Taught::ask_file`].
    pub fn ask_fold(&mut self, catalog: &Catalog, fold: u32, n: usize) -> Result<Vec<Answer>> {
        let own: Vec<PathBuf> =
            catalog.clips.iter().filter(|clip| clip.fold == fold).map(|clip| catalog.path(clip)).collect();
        let spread = (0..n.min(own.len())).map(|i| &own[i * own.len() / n.min(own.len())]);
        spread.map(|path| self.ask_file(path)).collect()
    }

    /// How many of the examples are nearest to their own class, each as if it had not been taught, and how many could be: an estimate of what
    /// the classes are worth that needs no further recordings. A class of one example has none to leave out.
    pub fn leave_one_out(&self) -> (usize, usize) {
        (self.left_out.iter().filter(|example| example.own < example.nearest_other).count(), self.left_out.len())
    }

    /// Writes what was taught; the network itself stays where it is.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let kept = Kept { network: self.listener.identity()?, classes: self.classes.clone() };
        let json = serde_json::to_vec(&kept).map_err(|error| Error::io("write", path)(error.into()))?;
        files::write_bytes(path, &json)
    }

    /// Reads what was taught to this very network.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read; [`Error::Checkpoint`] when it is damaged, or was taught to another network.
    pub fn load(listener: Listener, path: &Path) -> Result<Self> {
        let damaged = |expected: &str, found: String| Error::Checkpoint {
            path: path.into(),
            expected: expected.into(),
            found,
            next: "Teach the classes again.".into(),
        };
        let bytes = fs::read(path).map_err(Error::io("read", path))?;
        let kept: Kept =
            serde_json::from_slice(&bytes).map_err(|error| damaged("classes that were taught", error.to_string()))?;
        let identity = listener.identity()?;
        if kept.network != identity {
            return Err(damaged(&format!("what the network {identity} was taught"), kept.network));
        }
        let dim = listener.embed_dim();
        let sound = |values: &[f32]| values.len() == dim && values.iter().all(|value| value.is_finite());
        let whole = |class: &Class| {
            let head = class.head.as_ref().is_none_or(|(weight, bias)| sound(weight) && bias.is_finite());
            !class.examples.is_empty() && class.examples.iter().all(|one| sound(one)) && head
        };
        match kept.classes.iter().find(|class| !whole(class)) {
            Some(class) => Err(damaged(&format!("examples of {dim} numbers"), format!("others in {:?}", class.name))),
            None => Taught::with(listener, kept.classes),
        }
    }
}

/// What is kept on disk.
#[derive(Serialize, Deserialize)]
struct Kept {
    network: String,
    classes: Vec<Class>,
}

/// A head that tells examples from others, each side counting the same.
fn head(examples: &[Vec<f32>], others: &[&Vec<f32>]) -> Result<Option<(Vec<f32>, f32)>> {
    if others.is_empty() {
        return Ok(None);
    }
    let flat: Vec<f32> = examples.iter().chain(others.iter().copied()).flatten().copied().collect();
    let (own, all) = (examples.len(), examples.len() + others.len());
    let targets: Vec<f32> = (0..all).map(|i| f32::from(u8::from(i < own))).collect();
    let weights: Vec<f32> = (0..all).map(|i| 1.0 / if i < own { own } else { others.len() } as f32).collect();
    let rows = Tensor::from_slice(&flat).view([all as i64, -1]);
    let targets = Tensor::from_slice(&targets).unsqueeze(1);
    let LinearHead { weight, bias } = fit(&rows, &targets, &Tensor::from_slice(&weights), Targets::Independent, L2)?;
    let torch = |source| Error::Torch { action: "reading a head", source };
    Ok(Some((Vec::try_from(weight.flatten(0, -1)).map_err(torch)?, bias.sum(Kind::Float).double_value(&[]) as f32)))
}

/// The folders in `root` by name, each with its recordings at any depth.
fn class_folders(root: &Path) -> Result<Vec<(String, Vec<PathBuf>)>> {
    let mut folders = BTreeMap::new();
    for entry in fs::read_dir(root).map_err(Error::io("read folder", root))? {
        let path = entry.map_err(Error::io("read folder", root))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && !name.starts_with('.') {
            folders.insert(name, path);
        }
    }
    let recordings = folders.into_iter().map(|(name, folder)| {
        let walk = audio_files(&folder)?;
        match walk.unreadable.first() {
            Some((file, reason)) => Err(unfit(&folder, "recordings that can be read", format!("{file}: {reason}"))),
            None => Ok((name, walk.files.iter().map(|file| folder.join(file)).collect())),
        }
    });
    recordings.collect()
}

fn place_of<'a>(name: &'a str, recordings: &'a [PathBuf]) -> &'a Path {
    recordings.first().and_then(|path| path.parent()).unwrap_or(Path::new(name))
}

fn examples_of(classes: &[Class]) -> Vec<&[Vec<f32>]> {
    classes.iter().map(|class| &class.examples[..]).collect()
}

impl Class {
    fn probability(&self, embedding: &[f32]) -> Option<f32> {
        let (weight, bias) = self.head.as_ref()?;
        let logit: f32 = weight.iter().zip(embedding).map(|(weight, value)| weight * value).sum::<f32>() + bias;
        Some(1.0 / (1.0 + (-logit).exp()))
    }
}

fn unfit(root: &Path, expected: &str, found: String) -> Error {
    let next = "Put the recordings of each class into a folder of its name.".into();
    Error::Dataset { root: root.into(), expected: expected.into(), found, next }
}
