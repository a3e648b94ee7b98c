//! How far recordings lie that are like those a network was trained on, and how far a recording does.

use ndarray::{Array2, ArrayView1, Axis};
use serde::{Deserialize, Serialize};

/// The recordings that a comparison needs at the least: with fewer, one in twenty is not to be told.
pub const MIN_REFERENCE: usize = 19;

/// The share of recordings like those trained on that are taken for unlike them.
pub const UNLIKE: f64 = 0.05;

/// Where the classes lie in whitened numbers, in which the spread that they share is 1 in every direction, and how far from there recordings
/// lie that were kept out of training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    /// The mean of each class with a recording, `(classes, n)`.
    #[serde(with = "rows")]
    pub means: Array2<f32>,
    /// Of the recordings kept out of training to the nearest class, ascending.
    pub distances: Vec<f32>,
}

impl Reference {
    /// How far from the nearest class `n` whitened numbers are.
    pub fn distance(&self, white: ArrayView1<f32>) -> f32 {
        let squared = |mean: ArrayView1<f32>| -> f32 {
            mean.iter().zip(white).map(|(mean, number)| (number - mean) * (number - mean)).sum()
        };
        // Numbers that are none are as far as can be.
        let nearest = self.means.axis_iter(Axis(0)).map(squared).fold(f32::INFINITY, f32::min);
        if white.iter().all(|number| number.is_finite()) { nearest.sqrt() } else { f32::INFINITY }
    }

    /// The share of recordings like those trained on that lie as far away as this, 0 to 1; at most [`UNLIKE`] of what is unlike them. Of
    /// such recordings no more than a share s are given s or less (conformal prediction, Vovk et al. 2005).
    pub fn share_as_far(&self, distance: f32) -> f64 {
        let nearer = self.distances.partition_point(|other| *other < distance);
        (self.distances.len() - nearer + 1) as f64 / (self.distances.len() + 1) as f64
    }

    /// What is wrong with it, in words: what was expected, and what was found.
    ///
    /// # Errors
    /// The two.
    pub fn check(&self) -> Result<(), (String, String)> {
        if self.means.is_empty() || self.means.iter().any(|number| !number.is_finite()) {
            return Err(("means of classes, all numbers".into(), format!("{:?}", self.means.dim())));
        }
        if self.distances.len() < MIN_REFERENCE || !self.distances.is_sorted() {
            let expected = format!("distances of {MIN_REFERENCE} recordings or more, ascending");
            return Err((expected, format!("{} of them, or in another order", self.distances.len())));
        }
        Ok(())
    }
}

/// A matrix as a list of its rows.
mod rows {
    use ndarray::{Array2, Axis};
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(matrix: &Array2<f32>, serializer: S) -> Result<S::Ok, S::Error> {
        let rows: Vec<Vec<f32>> = matrix.axis_iter(Axis(0)).map(|row| row.to_vec()).collect();
        rows.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Array2<f32>, D::Error> {
        let rows = Vec::<Vec<f32>>::deserialize(deserializer)?;
        let shape = (rows.len(), rows.first().map_or(0, Vec::len));
        Array2::from_shape_vec(shape, rows.concat()).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{array, aview1};

    use super::*;

    fn reference() -> Reference {
        let distances = (1..=19).map(|distance| distance as f32).collect();
        Reference { means: array![[0.0, 0.0], [3.0, 4.0]], distances }
    }

    #[test]
    fn the_nearest_class_counts_and_what_is_no_number_is_far() {
        let reference = reference();
        assert_eq!(reference.distance(aview1(&[3.0, 5.0])), 1.0);
        assert_eq!(reference.distance(aview1(&[0.0, -2.0])), 2.0);
        assert_eq!(reference.distance(aview1(&[f32::NAN, 0.0])), f32::INFINITY);
        assert_eq!(reference.share_as_far(0.5), 1.0);
        assert_eq!(reference.share_as_far(f32::INFINITY), UNLIKE);
    }

    #[test]
    fn written_and_read_it_is_the_same_and_damage_is_told() {
        let json = serde_json::to_string(&reference()).unwrap();
        assert_eq!(serde_json::from_str::<Reference>(&json).unwrap(), reference());
        assert!(serde_json::from_str::<Reference>(&json.replacen("[0.0,0.0]", "[0.0]", 1)).is_err());
        assert!(reference().check().is_ok());
        assert!(Reference { means: Array2::zeros((0, 2)), ..reference() }.check().is_err());
        assert!(Reference { distances: vec![2.0; 18], ..reference() }.check().is_err());
        assert!(
            Reference { distances: reference().distances.into_iter().rev().collect(), ..reference() }.check().is_err()
        );
    }
}
