//! Whether a recording is like those a network was trained on, or like none of them.

use ndarray::{Array2, ArrayView1};
use safetensors::SafeTensors;
use tch::{Device, Kind, Tensor};

use crate::error::{Error, Result};
use crate::model::onnx::{Graph, Value};
use crate::model::tensors;
use crate::training::reference::{MIN_REFERENCE, Reference};

/// How far the covariance is drawn towards that of independent numbers. From 0.05 to 0.5 made a difference of 0.01 in the area under
/// the curve, when classes of ESC-10 were left out in turn.
const SHRINKAGE: f64 = 0.2;
/// Spreads below this share of their mean count as that: a number that never changed tells nothing in units of its changes.
const LEAST_SPREAD: f64 = 1e-3;
const NAMES: [&str; 3] = ["familiarity.means", "familiarity.spread", "familiarity.whitening"];

/// Where the recordings trained on lie in what a network makes of them, class by class, with the spread that all classes share, and how far
/// from there recordings lie that are like them and were not trained on: the Mahalanobis distance to the nearest class (Lee et al., *A Simple
/// Unified Framework for Detecting Out-of-Distribution Samples*, 2018, <https://arxiv.org/abs/1807.03888>).
#[derive(Debug)]
pub struct Familiarity {
    /// `(n)`.
    spread: Tensor,
    /// `(n, n)`: rows times numbers in units of the spread have unit covariance.
    whitening: Tensor,
    reference: Reference,
}

impl Familiarity {
    /// From what the network makes of the recordings trained on, `(recordings, n)`, and their classes. It compares with nothing yet. `None` where
    /// no class has two recordings.
    ///
    /// # Errors
    /// [`Error::Torch`] when the numbers are not finite.
    pub fn describe(trained: &Tensor, classes: &[usize]) -> Result<Option<Self>> {
        let torch = |source| Error::Torch { action: "describing the recordings trained on", source };
        let trained = trained.to_device(Device::Cpu).to_kind(Kind::Double);
        let mut present = classes.to_vec();
        present.sort_unstable();
        present.dedup();
        if classes.len() <= present.len() {
            return Ok(None);
        }
        let rank: Vec<i64> =
            classes.iter().map(|class| present.binary_search(class).unwrap_or_default() as i64).collect();
        let rank = Tensor::from_slice(&rank);
        let members = rank.one_hot(present.len() as i64).to_kind(Kind::Double); // (recordings, classes)
        let means = members.tr().matmul(&trained) / members.sum_dim_intlist(0i64, false, Kind::Double).unsqueeze(1);
        let rest = &trained - means.index_select(0, &rank);
        let spread = (&rest * &rest).mean_dim(0i64, false, Kind::Double).sqrt();
        let least = LEAST_SPREAD * spread.mean(Kind::Double).double_value(&[]);
        let spread = spread.clamp_min(least.max(f64::from(f32::MIN_POSITIVE)));
        let rest = rest / &spread;
        let eye = Tensor::eye(spread.size()[0], (Kind::Double, Device::Cpu));
        let covariance = rest.tr().matmul(&rest) * ((1.0 - SHRINKAGE) / classes.len() as f64) + &eye * SHRINKAGE;
        let triangle = covariance.f_linalg_cholesky(false).map_err(torch)?;
        let whitening = triangle.f_linalg_solve_triangular(&eye, false, true, false).map_err(torch)?;
        let single = |tensor: Tensor| tensor.to_kind(Kind::Float);
        let means = matrix(&single((means / &spread).matmul(&whitening.tr()))).map_err(torch)?;
        let reference = Reference { means, distances: Vec::new() };
        Ok(Some(Familiarity { spread: single(spread), whitening: single(whitening), reference }))
    }

    /// Compares with recordings like those trained on, which were not trained on, from what the network makes of them, `(others, n)`; false where
    /// they are too few to tell anything.
    ///
    /// # Errors
    /// As [`Familiarity::distances_of`].
    pub fn refer_to(&mut self, others: &Tensor) -> Result<bool> {
        let mut distances = self.distances_of(others)?;
        distances.sort_by(f32::total_cmp);
        let enough = distances.len() >= MIN_REFERENCE && distances.iter().all(|distance| distance.is_finite());
        self.reference.distances = distances;
        Ok(enough)
    }

    /// Compares with what another one compares with: one of a network of the same recipe.
    pub fn with_distances_of(mut self, other: &Familiarity) -> Self {
        self.reference.distances.clone_from(&other.reference.distances);
        self
    }

    /// How far from the nearest class each of some recordings is, from what the network makes of them, `(recordings, n)`.
    ///
    /// # Errors
    /// [`Error::Torch`] when it is of another size.
    pub fn distances_of(&self, stages: &Tensor) -> Result<Vec<f32>> {
        let torch = |source| Error::Torch { action: "measuring how familiar a recording is", source };
        let stages = stages.to_device(Device::Cpu).to_kind(Kind::Float);
        let white =
            stages.f_div(&self.spread).and_then(|scaled| scaled.f_matmul(&self.whitening.tr())).map_err(torch)?;
        let rows = Vec::<Vec<f32>>::try_from(white).map_err(torch)?;
        Ok(rows.iter().map(|row| self.reference.distance(ArrayView1::from(row))).collect())
    }

    /// What a recording is compared with, once it is whitened.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// Whitened numbers `(batch, n)` from what the network makes of inputs early and late, `(batch, embed_dim)` each.
    pub(crate) fn onnx(&self, graph: &mut Graph, early: &Value, late: &Value) -> Value {
        let stages = graph.concat("familiarity", 1, &[early, late]);
        let whitening = (&self.whitening / &self.spread).tr().contiguous();
        let whitening = graph.constant("familiarity.whitening", &whitening);
        graph.matmul("familiarity", &stages, &whitening)
    }

    /// What it holds, to be written beside weights: two sizes that follow from the network's, the number of classes, and the distances.
    pub fn stored(&self) -> [(String, Tensor); 4] {
        let [spread, whitening] = [&self.spread, &self.whitening].map(Tensor::shallow_clone);
        let Reference { means, distances } = &self.reference;
        let (rows, columns) = means.dim();
        let means: Vec<f32> = means.iter().copied().collect();
        let means = Tensor::from_slice(&means).view([rows as i64, columns as i64]);
        let named = |name: &str, tensor| (name.to_owned(), tensor);
        [
            named(NAMES[0], means),
            named(NAMES[1], spread),
            named(NAMES[2], whitening),
            named(DISTANCES, Tensor::from_slice(distances)),
        ]
    }

    /// Whether a tensor of a file is one of these.
    pub fn is_named(name: &str) -> bool {
        NAMES.contains(&name) || name == DISTANCES
    }

    /// Reads it from a file, `None` where the file has none of it.
    ///
    /// # Errors
    /// What is wrong, in words: what was expected, and what was found.
    pub fn read(file: &SafeTensors) -> Result<Option<Self>, (String, String)> {
        if !file.names().into_iter().any(Self::is_named) {
            return Ok(None);
        }
        let read = |name: &str| tensors::read(file, name).map_err(|found| (format!("a tensor {name}"), found));
        let (means, spread, whitening) = (read(NAMES[0])?, read(NAMES[1])?, read(NAMES[2])?);
        let n = spread.size().first().copied().unwrap_or(0);
        let fits = spread.dim() == 1 && whitening.size() == [n, n] && means.dim() == 2 && means.size()[1] == n;
        if !fits || n == 0 || means.size()[0] == 0 {
            let found = format!("{:?}, {:?}, {:?}", means.size(), spread.size(), whitening.size());
            return Err((format!("{NAMES:?} of sizes that fit together"), found));
        }
        let distances = Vec::<f32>::try_from(read(DISTANCES)?.flatten(0, -1)).unwrap_or_default();
        let finite = [&spread, &whitening].iter().all(|all| all.isfinite().all().int64_value(&[]) == 1);
        if !finite {
            return Err((format!("{:?} of numbers", &NAMES[1..]), "others".into()));
        }
        let means = matrix(&means).map_err(|error| (NAMES[0].to_owned(), error.to_string()))?;
        let reference = Reference { means, distances };
        reference.check()?;
        Ok(Some(Familiarity { spread, whitening, reference }))
    }
}

fn matrix(tensor: &Tensor) -> Result<Array2<f32>, tch::TchError> {
    let (rows, columns) = tensor.size2()?;
    let values = Vec::<f32>::try_from(tensor.flatten(0, 1))?;
    Ok(Array2::from_shape_vec((rows as usize, columns as usize), values).unwrap_or_default())
}

const DISTANCES: &str = "familiarity.distances";

#[cfg(test)]
mod tests {
    use tch::IndexOp;

    use super::*;
    use crate::model::seed::with_seed;
    use crate::training::reference::UNLIKE;

    /// Two classes of numbers: what was trained on, its classes, and as many others of the same kind.
    fn two_classes() -> (Tensor, Vec<usize>, Tensor) {
        with_seed(1, || {
            let classes: Vec<usize> = (0..80).map(|i| if i % 2 == 0 { 0 } else { 3 }).collect();
            let centres: Vec<f32> = classes.iter().map(|class| 10.0 * *class as f32).collect();
            // Numbers of very different size, two of which go together.
            let scale = Tensor::from_slice(&[1.0f32, 100.0, 100.0, 0.01]);
            let draw = || {
                let noise = Tensor::randn([80, 4], (Kind::Float, Device::Cpu));
                let pair = noise.i((.., 1..2)) + noise.i((.., 2..3)) * 0.1;
                let noise = Tensor::cat(&[noise.i((.., 0..2)), pair, noise.i((.., 3..4))], 1);
                (Tensor::from_slice(&centres).unsqueeze(1) + noise) * &scale
            };
            (draw(), classes, draw())
        })
    }

    fn fitted(trained: &Tensor, classes: &[usize], others: &Tensor) -> Option<Familiarity> {
        let mut familiarity = Familiarity::describe(trained, classes).unwrap()?;
        familiarity.refer_to(others).unwrap().then_some(familiarity)
    }

    #[test]
    fn recordings_like_those_trained_on_are_familiar_and_others_are_not() {
        let (trained, classes, others) = two_classes();
        let fitted = fitted(&trained, &classes, &others).unwrap();
        let shares = |stages: &Tensor| -> Vec<f64> {
            fitted
                .distances_of(stages)
                .unwrap()
                .into_iter()
                .map(|distance| fitted.reference().share_as_far(distance))
                .collect()
        };
        // By construction no more than one in twenty of the recordings it compares with.
        assert!(shares(&others).iter().filter(|share| **share <= UNLIKE).count() <= 4);
        // Between the classes, and against the grain of the two numbers that go together.
        let between = trained.mean_dim(0i64, true, Kind::Float);
        let against = others.i(0..1) + Tensor::from_slice(&[0.0f32, 300.0, -300.0, 0.0]);
        let along = others.i(0..1) + Tensor::from_slice(&[0.0f32, 30.0, 30.0, 0.0]);
        assert!(shares(&between)[0] <= UNLIKE && shares(&against)[0] <= UNLIKE);
        assert!(shares(&along)[0] > UNLIKE, "{:?}", shares(&along));
    }

    #[test]
    fn what_was_written_is_read_and_damage_is_told() {
        let (trained, classes, others) = two_classes();
        let fitted = fitted(&trained, &classes, &others).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f.safetensors");
        let read = |tensors: &[(String, Tensor)]| {
            tensors::write(&path, tensors, tensors::Precision::Single, "").unwrap();
            Familiarity::read(&SafeTensors::deserialize(&std::fs::read(&path).unwrap()).unwrap())
        };
        let again = read(&fitted.stored()).unwrap().unwrap();
        assert_eq!(again.reference, fitted.reference);
        // The same numbers; where they lie in memory libtorch's products may round the last digit another way.
        let pairs = again.distances_of(&trained).unwrap().into_iter().zip(fitted.distances_of(&trained).unwrap());
        assert!(pairs.into_iter().all(|(again, before)| (again - before).abs() <= 1e-5 * before.abs().max(1.0)));
        assert!(read(&[("head.weight".into(), Tensor::from(1.0f32))]).unwrap().is_none());
        for place in 0..4 {
            let mut tensors = fitted.stored();
            tensors[place].1 = Tensor::ones([3, 2], (Kind::Float, Device::Cpu));
            assert!(read(&tensors).is_err(), "{}", tensors[place].0);
            let rest: Vec<_> =
                fitted.stored().into_iter().enumerate().filter(|(i, _)| *i != place).map(|(_, t)| t).collect();
            assert!(read(&rest).is_err());
        }
    }

    #[test]
    fn too_few_recordings_tell_nothing() {
        let (trained, classes, others) = two_classes();
        assert!(fitted(&trained, &classes, &others.i(0..18)).is_none());
        assert!(fitted(&trained.i(0..2), &classes[..2], &others).is_none());
        assert!(Familiarity::describe(&(&trained * f64::NAN), &classes).is_err());
    }
}
