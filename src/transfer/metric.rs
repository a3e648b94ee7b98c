//! How far embeddings are apart, measured by how much recordings of one class differ from each other.

use tch::{Kind, Tensor};

use crate::error::{Error, Result};

/// The share of the scatter that is taken to be the same in every direction: there are fewer examples than numbers in an embedding.
/// With five examples of each of ten classes that a network was not trained on (the demo's, the released model), 0.1, 0.3 and 0.6 named
/// 90, 88 and 85 % right, 1 (plain distance) 76 %; of classes that it was trained on, 98 % each.
const EVEN_SHARE: f64 = 0.3;

/// A linear map of embeddings, behind which the plain distance is the Mahalanobis distance by the scatter within classes, common to all of
/// them and shrunk towards an even one.
pub(super) struct Metric {
    map: Tensor,
    /// The mean of each class behind the map, row by row; none without classes.
    means: Option<Tensor>,
    /// What an example's own difference from its class, times itself, adds to the scatter.
    weight: f64,
}

/// An example's distances to the mean of its own class and to those of the others, as if the example had not been there.
pub(super) struct LeftOut {
    pub own: f64,
    pub nearest_other: f64,
}

impl Metric {
    /// Learns the scatter from classes of examples, each example `embed_dim` numbers. Where no class has two, the distance is the plain one.
    ///
    /// # Errors
    /// [`Error::Torch`] when libtorch fails.
    pub fn new(classes: &[&[Vec<f32>]], embed_dim: usize) -> Result<Self> {
        let dim = embed_dim as i64;
        let torch = |source| Error::Torch { action: "measuring distances", source };
        let mut scatter = Tensor::zeros([dim, dim], (Kind::Double, tch::Device::Cpu));
        let mut freedom = 0usize;
        for examples in classes.iter().filter(|examples| examples.len() > 1) {
            let rows = rows(examples);
            let residuals = &rows - rows.mean_dim(0i64, true, Kind::Double);
            scatter += residuals.transpose(0, 1).matmul(&residuals);
            freedom += examples.len() - 1;
        }
        let even = scatter.trace().double_value(&[]) / dim as f64;
        if freedom == 0 || even <= 0.0 {
            return Ok(Metric::of_map(Tensor::eye(dim, (Kind::Double, tch::Device::Cpu)), 0.0, classes));
        }
        let shrunk = scatter * ((1.0 - EVEN_SHARE) / freedom as f64)
            + Tensor::eye(dim, (Kind::Double, tch::Device::Cpu)) * (EVEN_SHARE * even / freedom as f64);
        let map = shrunk.f_inverse().and_then(|inverse| inverse.f_linalg_cholesky(false)).map_err(torch)?;
        Ok(Metric::of_map(map, (1.0 - EVEN_SHARE) / freedom as f64, classes))
    }

    fn of_map(map: Tensor, weight: f64, classes: &[&[Vec<f32>]]) -> Self {
        let mean = |class: &&[Vec<f32>]| rows(class).mean_dim(0i64, true, Kind::Double).matmul(&map);
        let means: Vec<Tensor> = classes.iter().map(mean).collect();
        let means = (!means.is_empty()).then(|| Tensor::cat(&means, 0));
        Metric { map, means, weight }
    }

    /// Embeddings behind the map, row by row.
    fn mapped(&self, examples: &[Vec<f32>]) -> Tensor {
        rows(examples).matmul(&self.map)
    }

    /// How far an embedding is from the mean of each class.
    ///
    /// # Errors
    /// [`Error::Torch`] when libtorch fails.
    pub fn distances(&self, embedding: &[f32]) -> Result<Vec<f64>> {
        let Some(means) = &self.means else { return Ok(Vec::new()) };
        let own = self.mapped(&[embedding.to_vec()]);
        read((means - own).square().sum_dim_intlist(1i64, false, Kind::Double).sqrt())
    }

    /// Each example as if it had not been there when its class's mean and the scatter were learned: by the formula for what a matrix's
    /// inverse becomes when one row's share is taken off (Sherman and Morrison 1950). A class of one example has none to leave out.
    ///
    /// # Errors
    /// [`Error::Torch`] when libtorch fails.
    pub fn left_out(&self, classes: &[&[Vec<f32>]]) -> Result<Vec<LeftOut>> {
        let Some(means) = &self.means else { return Ok(Vec::new()) };
        let mapped: Vec<Tensor> = classes.iter().map(|class| self.mapped(class)).collect();
        let mut all = Vec::new();
        for (place, class) in mapped.iter().enumerate().filter(|(place, _)| classes[*place].len() > 1) {
            let n = classes[place].len() as f64;
            let shrinking = n / (n - 1.0);
            for i in 0..classes[place].len() as i64 {
                let example = class.get(i);
                let from_own = &example - means.get(place as i64);
                let share = self.weight * shrinking;
                let taken = share / (1.0 - share * dot(&from_own, &from_own)).max(f64::EPSILON);
                let squared = |from: &Tensor| dot(from, from) + taken * dot(&from_own, from).powi(2);
                let own = squared(&(&from_own * shrinking)).sqrt();
                let others = (0..means.size()[0]).filter(|other| *other != place as i64);
                let nearest_other =
                    others.map(|other| squared(&(&example - means.get(other))).sqrt()).fold(f64::INFINITY, f64::min);
                all.push(LeftOut { own, nearest_other });
            }
        }
        Ok(all)
    }
}

fn rows(examples: &[Vec<f32>]) -> Tensor {
    let flat: Vec<f32> = examples.concat();
    Tensor::from_slice(&flat).view([examples.len() as i64, -1]).to_kind(Kind::Double)
}

fn dot(a: &Tensor, b: &Tensor) -> f64 {
    a.dot(b).double_value(&[])
}

fn read(values: Tensor) -> Result<Vec<f64>> {
    Vec::try_from(values).map_err(|source| Error::Torch { action: "measuring distances", source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::transformer::noise;

    fn classes() -> Vec<Vec<Vec<f32>>> {
        let class = |shift: f64, n: i64| {
            let values = noise(&[n, 6]) + noise(&[6]) * shift + shift;
            Vec::<Vec<f32>>::try_from(values).unwrap()
        };
        vec![class(0.0, 5), class(2.0, 4), class(-3.0, 1)]
    }

    fn views(classes: &[Vec<Vec<f32>>]) -> Vec<&[Vec<f32>]> {
        classes.iter().map(Vec::as_slice).collect()
    }

    #[test]
    fn what_is_left_out_is_as_if_it_had_not_been_there() {
        let whole = classes();
        let left_out = Metric::new(&views(&whole), 6).unwrap().left_out(&views(&whole)).unwrap();
        assert_eq!(left_out.len(), 9);
        let (freedom, even) = {
            let scatter = |class: &Vec<Vec<f32>>| {
                let rows = rows(class);
                (&rows - rows.mean_dim(0i64, true, Kind::Double)).square().sum(Kind::Double).double_value(&[])
            };
            (7.0, whole.iter().map(scatter).sum::<f64>() / 6.0)
        };
        for (number, (place, i)) in
            [(0, 0), (0, 1), (0, 2), (0, 3), (0, 4), (1, 0), (1, 1), (1, 2), (1, 3)].into_iter().enumerate()
        {
            let mut without = whole.clone();
            let example = without[place].remove(i);
            // The scatter without the example, over as many degrees of freedom and with the same even share as with it.
            let mut scatter = Tensor::zeros([6, 6], (Kind::Double, tch::Device::Cpu));
            for class in without.iter().filter(|class| class.len() > 1) {
                let rows = rows(class);
                let residuals = &rows - rows.mean_dim(0i64, true, Kind::Double);
                scatter += residuals.transpose(0, 1).matmul(&residuals);
            }
            let shrunk = scatter * ((1.0 - EVEN_SHARE) / freedom)
                + Tensor::eye(6, (Kind::Double, tch::Device::Cpu)) * (EVEN_SHARE * even / freedom);
            let map = shrunk.inverse().linalg_cholesky(false);
            let metric = Metric::of_map(map, 0.0, &views(&without));
            let distances = metric.distances(&example).unwrap();
            let nearest_other =
                (0..3).filter(|other| *other != place).map(|other| distances[other]).fold(f64::INFINITY, f64::min);
            assert!((left_out[number].own / distances[place] - 1.0).abs() < 1e-9, "{place}, {i}");
            assert!((left_out[number].nearest_other / nearest_other - 1.0).abs() < 1e-9, "{place}, {i}");
        }
    }

    #[test]
    fn a_direction_in_which_classes_scatter_counts_less() {
        // Both classes vary along the first axis; along the second they differ.
        let class = |y: f32| [-3.0f32, -1.0, 1.0, 3.0].map(|x| vec![x, y + 0.01 * x * x]).to_vec();
        let (a, b) = (class(0.0), class(1.0));
        let classes = [a.as_slice(), b.as_slice()];
        let metric = Metric::new(&classes, 2).unwrap();
        let distances = metric.distances(&[30.0, 0.2]).unwrap();
        assert!(distances[0] < distances[1]);
        let along = metric.distances(&[1.0, 0.05]).unwrap()[0];
        let across = metric.distances(&[0.0, 1.05]).unwrap()[0];
        assert!(across > along);
    }

    #[test]
    fn of_single_examples_the_distance_is_the_plain_one() {
        let (a, b) = ([vec![0.0f32, 0.0]], [vec![3.0f32, 4.0]]);
        let classes = [&a[..], &b[..]];
        let metric = Metric::new(&classes, 2).unwrap();
        assert_eq!(metric.distances(&[0.0, 0.0]).unwrap(), [0.0, 5.0]);
        assert!(metric.left_out(&classes).unwrap().is_empty());
    }
}
