//! A linear head on a network that stays as it is: what its embeddings are worth for a data set, in seconds.

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use tch::{Kind, Tensor};

use super::listener::Listener;
use super::store::Store;
use crate::config::Config;
use crate::dataset::acquire::open_labels;
use crate::dataset::catalog::{Catalog, Clip};
use crate::dataset::chosen_folds::ChosenFolds;
use crate::distributed::peers::{Alone, Peers};
use crate::error::{Error, Result};
use crate::files::content;
use crate::results::embeddings::{EmbeddedClip, Embeddings};
use crate::results::metrics::{Evaluation, MultiLabelClip, MultiLabelEvaluation, Scored, ScoredClip};
use crate::training::linear_head::{LinearHead, Targets, fit};
use crate::training::words::untrained_warning;

/// Strengths of regularisation that are tried.
const STRENGTHS: [f64; 9] = [1e-4, 1e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0, 10.0];
/// The one that is taken where no fold is left to choose on.
const DEFAULT_STRENGTH: f64 = 1e-2;

/// A head that was fitted to a data set.
pub struct Probe {
    /// Class names in the order of the logits.
    pub labels: Vec<String>,
    /// The head.
    pub head: LinearHead,
    /// Each strength of regularisation with its accuracy (of recordings with several classes the mean average precision) on the validation
    /// fold; empty without one.
    pub tried: Vec<(f64, f64)>,
    /// The strength that was chosen.
    pub l2: f64,
    /// Recordings the head was fitted to, the validation fold included.
    pub train_clips: usize,
    /// Recordings that were listened to; the embeddings of the others were on disk.
    pub listened_to: usize,
    /// The fold that nothing was fitted to or chosen on.
    pub evaluation: Scored,
    /// What the network makes of that fold's recordings of one class.
    pub embeddings: Embeddings,
    /// Classes of which not one recording was fitted to.
    pub untrained: Vec<String>,
    /// What tells the network from others: [`Listener::identity`].
    pub network: String,
    /// Whether the network is one that nobody has trained, so that the result says nothing of any other.
    pub stand_in: bool,
    /// Time for embeddings and for heads.
    pub elapsed: (Duration, Duration),
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (embedding_s, fitting_s) = (self.elapsed.0.as_secs_f64(), self.elapsed.1.as_secs_f64());
        writeln!(f, "embeddings in {embedding_s:.1} s ({} listened to), heads in {fitting_s:.1} s", self.listened_to)?;
        if self.stand_in {
            writeln!(
                f,
                "A head on a stand-in of random weights: this says nothing of the network that it stands for."
            )?;
        }
        if let Some(warning) = untrained_warning(&self.untrained) {
            writeln!(f, "{warning}")?;
        }
        match self.tried.is_empty() {
            true => writeln!(f, "regularisation {:e}, for want of a fold to choose it on", self.l2)?,
            false => {
                writeln!(f, "regularisation {:e}, the best of {} on the validation fold", self.l2, self.tried.len())?
            }
        }
        write!(f, "{}", self.evaluation)
    }
}

/// Fits a linear head to what a network makes of the config's recordings. Fold `train.test_fold` (or the last) is scored once, at the end; the
/// fold before it chooses the strength of regularisation, and then joins the others.
///
/// Where recordings have several classes, the head has a sigmoid and a binary cross-entropy for each, and average precision is the score.
///
/// A recording that cannot be read is named and left out. The others are heard as they are, without the config's clip length. Their embeddings stay on disk beside the spectrograms.
///
/// # Errors
/// What [`crate::open_catalog`] reports, but for several classes a recording; [`Error::Config`] when the fold does not exist, [`Error::Dataset`] when there is no second fold;
/// [`Error::Io`] when embeddings cannot be kept.
pub fn probe(config: &Config, listener: &mut Listener) -> Result<Probe> {
    let (heard, stand_in) = (HeardSet::of(config, listener, &Alone)?, listener.is_untrained());
    let network = listener.identity()?;
    let started = Instant::now();
    let (tried, l2) = heard.choose()?;
    let seen = [&heard.folds.train[..], &heard.folds.validation[..]].concat();
    let untrained = heard.untrained(&seen);
    let HeardSet { catalog, folds, data, labels, listened_to, elapsed } = heard;
    let head = data.fit(&seen, l2)?;
    let scored = data.probabilities(&head, &folds.test)?;
    let evaluation = data.scored(&catalog, folds.test_fold, &folds.test, scored);
    // A picture has one mark for each.
    let of_one_class = folds.test.iter().filter(|index| catalog.clips[**index].further.is_empty());
    let embedded_clips = of_one_class.map(|&index| EmbeddedClip {
        filename: catalog.clips[index].filename.clone(),
        actual: catalog.clips[index].target,
        values: data.embeddings[index].clone(),
    });
    let embeddings = Embeddings { test_fold: folds.test_fold, labels: labels.clone(), clips: embedded_clips.collect() };
    let elapsed = (elapsed, started.elapsed());
    Ok(Probe {
        labels,
        head,
        tried,
        l2,
        train_clips: seen.len(),
        listened_to,
        evaluation,
        embeddings,
        untrained,
        network,
        stand_in,
        elapsed,
    })
}

/// A data set as a network hears it.
pub(super) struct HeardSet {
    pub catalog: Catalog,
    pub folds: Folds,
    pub data: Data,
    pub labels: Vec<String>,
    /// Recordings whose embeddings were not on disk.
    pub listened_to: usize,
    pub elapsed: Duration,
}

impl HeardSet {
    /// The config's recordings, from disk or by listening, to which every process does its part.
    pub fn of(config: &Config, listener: &mut Listener, peers: &dyn Peers) -> Result<Self> {
        let started = Instant::now();
        let mut catalog = open_labels(config)?;
        let kind = if catalog.is_multi_label() { Targets::Independent } else { Targets::Exclusive };
        // With the classes of those that cannot be read, so that no class changes its number.
        let labels: Vec<String> = catalog.labels();
        let paths: Vec<_> = catalog.clips.iter().map(|clip| catalog.path(clip)).collect();
        let (heard, listened_to) = Store::new(&config.data.processed_dir, listener)?.of_all(&paths, listener, peers)?;
        let mut is_heard = heard.iter().map(Option::is_some);
        catalog.clips.retain(|_| is_heard.next().unwrap_or(false));
        let embeddings: Vec<Vec<f32>> = heard.into_iter().flatten().collect();
        let folds = Folds::of(&catalog, config)?;
        let classes = |clip: &Clip| clip.classes().map(|(_, target)| target).collect();
        let targets = catalog.clips.iter().map(classes).collect();
        let (labels_of, balance) = (labels.clone(), config.train.balance as f32);
        let data = Data { embeddings, targets, labels: labels_of, kind, balance };
        Ok(HeardSet { catalog, folds, data, labels, listened_to, elapsed: started.elapsed() })
    }

    /// A hash that tells these recordings, their classes and folds from others.
    ///
    /// # Errors
    /// [`Error::Io`] when one is gone.
    pub fn fingerprint(&self, indices: impl IntoIterator<Item = usize>) -> Result<String> {
        let mut texts = Vec::new();
        for index in indices {
            let clip = &self.catalog.clips[index];
            let classes: Vec<&str> = clip.classes().map(|(name, _)| name).collect();
            let sound = content::hash_file(&self.catalog.path(clip))?;
            texts.extend([clip.filename.clone(), clip.fold.to_string(), classes.join("\n"), sound.to_string()]);
        }
        Ok(content::hash_texts(texts.iter().map(String::as_str)))
    }

    /// Classes of which none of these recordings is.
    pub fn untrained(&self, seen: &[usize]) -> Vec<String> {
        let is_seen = |class: usize| seen.iter().any(|index| self.data.targets[*index].contains(&class));
        self.labels.iter().enumerate().filter(|(class, _)| !is_seen(*class)).map(|(_, label)| label.clone()).collect()
    }

    /// Strengths of regularisation with their scores on the validation fold, and the best; without such a fold a common one.
    pub fn choose(&self) -> Result<(Vec<(f64, f64)>, f64)> {
        let mut tried = Vec::new();
        for l2 in STRENGTHS {
            if self.folds.validation.is_empty() {
                break;
            }
            let head = self.data.fit(&self.folds.train, l2)?;
            let probabilities = self.data.probabilities(&head, &self.folds.validation)?;
            let fold = self.folds.validation_fold.unwrap_or_default();
            let scored = self.data.scored(&self.catalog, fold, &self.folds.validation, probabilities);
            tried.push((l2, scored.score()));
        }
        // Of equally good ones the strongest: it is the most careful.
        let best = tried.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1).then(a.0.total_cmp(&b.0)));
        Ok((tried, best.map_or(DEFAULT_STRENGTH, |(l2, _)| l2)))
    }
}

impl Probe {
    /// Writes the network with this head in the place of its own, as transformers loads it, and as [`Listener::open`] does.
    ///
    /// # Errors
    /// [`Error::Config`] for another network than the one that was probed, and for a TinyAST, which has another form; [`Error::Io`] when the folder cannot be written.
    pub fn save(&self, listener: Listener, folder: &Path) -> Result<()> {
        let found = listener.identity()?;
        if found != self.network {
            let expected = format!("the network that was probed, {}", self.network);
            return Err(Error::Config { field: "model", expected, found });
        }
        let network = listener.into_published()?;
        let is_multi_label = self.evaluation.several_classes().is_some();
        network.with_head(self.labels.clone(), is_multi_label, &self.head.weight, &self.head.bias)?.save(folder)
    }
}

/// Which recordings are fitted to, chosen on and scored, by their place in the catalog.
pub(super) struct Folds {
    pub test_fold: u32,
    pub validation_fold: Option<u32>,
    pub train: Vec<usize>,
    pub validation: Vec<usize>,
    pub test: Vec<usize>,
}

impl Folds {
    fn of(catalog: &Catalog, config: &Config) -> Result<Self> {
        let mut folds: Vec<u32> = catalog.clips.iter().map(|clip| clip.fold).collect();
        folds.sort_unstable();
        folds.dedup();
        let Some(chosen) = ChosenFolds::among(&folds, &config.train)? else {
            let more = if config.train.choice_fold.is_some() { "three" } else { "two" };
            return Err(Error::Dataset {
                root: catalog.audio_dir.clone(),
                expected: format!("{more} folds or more"),
                found: format!("folds {folds:?}"),
                next: "Name folds in a table, or bring two recordings of each class.".into(),
            });
        };
        let ChosenFolds { test_fold, before: validation_fold, .. } = chosen;
        let those = |wanted: &dyn Fn(u32) -> bool| {
            (0..catalog.clips.len()).filter(|index| wanted(catalog.clips[*index].fold)).collect::<Vec<_>>()
        };
        Ok(Folds {
            test_fold,
            validation_fold,
            train: those(&|fold| !chosen.leaves_out(fold) && Some(fold) != validation_fold),
            validation: those(&|fold| Some(fold) == validation_fold),
            test: those(&|fold| fold == test_fold),
        })
    }
}

pub(super) struct Data {
    embeddings: Vec<Vec<f32>>,
    /// The classes of each recording.
    targets: Vec<Vec<usize>>,
    labels: Vec<String>,
    pub kind: Targets,
    balance: f32,
}

impl Data {
    fn rows(&self, indices: &[usize]) -> Tensor {
        let flat: Vec<f32> = indices.iter().flat_map(|index| self.embeddings[*index].iter().copied()).collect();
        Tensor::from_slice(&flat).view([indices.len() as i64, -1])
    }

    /// `(n, classes)`: 1 for the classes of a recording, 0 for the others.
    pub fn marks(&self, indices: &[usize]) -> Tensor {
        let mut marks = vec![0.0f32; indices.len() * self.labels.len()];
        for (row, index) in marks.chunks_mut(self.labels.len()).zip(indices) {
            self.targets[*index].iter().for_each(|target| row[*target] = 1.0);
        }
        Tensor::from_slice(&marks).view([indices.len() as i64, self.labels.len() as i64])
    }

    /// A head in whose loss a rare class's recordings count for more, by the config's `train.balance`; where classes exclude each other.
    pub fn fit(&self, indices: &[usize], l2: f64) -> Result<LinearHead> {
        let mut counts = vec![0.0f32; self.labels.len()];
        indices.iter().flat_map(|index| &self.targets[*index]).for_each(|target| counts[*target] += 1.0);
        let weight = |index: &usize| match (self.kind, &self.targets[*index][..]) {
            (Targets::Exclusive, [target]) => counts[*target].powf(-self.balance),
            _ => 1.0,
        };
        let weights: Vec<f32> = indices.iter().map(weight).collect();
        fit(&self.rows(indices), &self.marks(indices), &Tensor::from_slice(&weights), self.kind, l2)
    }

    fn probabilities(&self, head: &LinearHead, indices: &[usize]) -> Result<Vec<Vec<f32>>> {
        let logits = head.logits(&self.rows(indices));
        let probabilities = match self.kind {
            Targets::Exclusive => logits.softmax(-1, Kind::Float),
            Targets::Independent => logits.sigmoid(),
        };
        Vec::try_from(probabilities).map_err(|source| Error::Torch { action: "reading probabilities", source })
    }

    /// What was said of recordings of a fold, in their order.
    pub fn scored(&self, catalog: &Catalog, fold: u32, indices: &[usize], said: Vec<Vec<f32>>) -> Scored {
        let (test_fold, labels) = (fold, self.labels.clone());
        let said = indices.iter().map(|&index| (index, catalog.clips[index].filename.clone())).zip(said);
        match self.kind {
            Targets::Exclusive => {
                let clip = |((index, filename), probabilities): ((usize, String), _)| {
                    ScoredClip::new(filename, catalog.clips[index].target, probabilities)
                };
                Scored::OneClass(Evaluation { test_fold, labels, clips: said.map(clip).collect(), calibration: None })
            }
            Targets::Independent => {
                let clip = |((index, filename), probabilities): ((usize, String), _)| {
                    let actual = self.targets[index].clone();
                    MultiLabelClip { filename, actual, probabilities }
                };
                Scored::SeveralClasses(MultiLabelEvaluation { test_fold, labels, clips: said.map(clip).collect() })
            }
        }
    }
}
