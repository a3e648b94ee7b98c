//! Principal component analysis: the plane in which points of many dimensions lie furthest apart.

use tch::{Kind, Tensor};

use crate::error::{Error, Result};

/// Points on their principal components.
#[derive(Clone, Debug, PartialEq)]
pub struct Projection {
    /// A row per point, its coordinates along the components, the widest first. Their means are 0.
    pub points: Vec<Vec<f64>>,
    /// The share of all variance along each component, 0 to 1, descending; 0 where all points are the same.
    pub variance_shares: Vec<f64>,
}

/// Projects `points`, a row each, on their first `n_components` principal components; beyond as many as there are, on zeros.
///
/// The components are the right singular vectors of the centred points (Jolliffe 2002, "Principal Component Analysis", 3.5). The sign
/// of a component, which is free, makes the largest coordinate of its own positive.
///
/// # Errors
/// [`Error::Plot`] when there is no point or they differ in size; [`Error::Torch`] when a value is not finite.
pub fn project(points: &[Vec<f32>], n_components: usize) -> Result<Projection> {
    let dim = points.first().map_or(0, Vec::len);
    if dim == 0 || points.iter().any(|point| point.len() != dim) {
        let sizes: Vec<usize> = points.iter().map(Vec::len).take(5).collect();
        let reason = format!("it needs points of one size, found {} that begin with the sizes {sizes:?}", points.len());
        return Err(Error::Plot { picture: "principal components", reason });
    }
    let unfit = |source| Error::Torch { action: "finding principal components", source };
    let flat: Vec<f32> = points.iter().flatten().copied().collect();
    let points = Tensor::from_slice(&flat).view([points.len() as i64, dim as i64]).to_kind(Kind::Double);
    let centred = &points - points.mean_dim(0i64, true, Kind::Double);
    let (_, singular, components) = centred.f_svd(true, true).map_err(unfit)?; // (n, k), (k), (dim, k)
    let found = (n_components as i64).min(singular.size()[0]);
    let components = components.narrow(1, 0, found);
    let largest = components.gather(0, &components.abs().argmax(0, true), false);
    let coordinates = centred.matmul(&(components * largest.sign())); // (n, k)
    let variances = singular.square();
    let total = variances.sum(Kind::Double).double_value(&[]);
    let shares = variances.narrow(0, 0, found) / if total > 0.0 { total } else { 1.0 };

    let mut points = Vec::<Vec<f64>>::try_from(coordinates).map_err(unfit)?;
    points.iter_mut().for_each(|point| point.resize(n_components, 0.0));
    let mut variance_shares = Vec::<f64>::try_from(shares).map_err(unfit)?;
    variance_shares.resize(n_components, 0.0);
    Ok(Projection { points, variance_shares })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A plane in five dimensions, spanned by two directions at right angles, away from the origin.
    fn in_five_dimensions(plane: &[(f64, f64)]) -> Vec<Vec<f32>> {
        let (wide, narrow) = ([0.5, 0.5, 0.5, 0.5, 0.0], [-0.5, 0.5, 0.5, -0.5, 0.0]);
        let place = |&(x, y): &(f64, f64)| (0..5).map(|i| (3.0 + x * wide[i] + y * narrow[i]) as f32).collect();
        plane.iter().map(place).collect()
    }

    #[test]
    fn a_plane_hidden_in_five_dimensions_is_recovered_up_to_its_signs() {
        let plane: Vec<(f64, f64)> = vec![(10.0, 1.0), (-10.0, 1.0), (6.0, -2.0), (-6.0, -2.0), (0.0, 2.0)];
        let found = project(&in_five_dimensions(&plane), 2).unwrap();
        let signs = [found.points[0][0].signum(), found.points[0][1].signum()];
        for (point, &(x, y)) in found.points.iter().zip(&plane) {
            assert!((point[0] * signs[0] - x).abs() < 1e-5 && (point[1] * signs[1] - y).abs() < 1e-5, "{point:?}");
        }
        // Sums of squares: 272 along the one direction and 14 along the other.
        for (share, expected) in found.variance_shares.iter().zip([272.0 / 286.0, 14.0 / 286.0]) {
            assert!((share - expected).abs() < 1e-6, "{share} instead of {expected}");
        }
    }

    #[test]
    fn variance_shares_fall_and_those_of_all_components_add_up_to_one() {
        let points: Vec<Vec<f32>> =
            (0..40).map(|i| (0..6).map(|j| ((i * 7 + j * j * 13) % 17) as f32).collect()).collect();
        let shares = project(&points, 6).unwrap().variance_shares;
        assert!(shares.is_sorted_by(|a, b| a >= b));
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{shares:?}");
    }

    #[test]
    fn the_order_of_points_changes_no_sign() {
        let points = in_five_dimensions(&[(4.0, 1.0), (-2.0, 0.5), (-2.0, -1.5)]);
        let turned: Vec<Vec<f32>> = points.iter().rev().cloned().collect();
        let (one, other) = (project(&points, 2).unwrap(), project(&turned, 2).unwrap());
        for (a, b) in one.points.iter().zip(other.points.iter().rev()) {
            assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6));
        }
    }

    #[test]
    fn few_points_have_zeros_along_the_components_they_lack() {
        let one = project(&[vec![1.0, 2.0, 3.0]], 2).unwrap();
        assert_eq!((one.points, one.variance_shares), (vec![vec![0.0, 0.0]], vec![0.0, 0.0]));
        let line = project(&[vec![1.0], vec![2.0]], 2).unwrap();
        assert_eq!(line.variance_shares, [1.0, 0.0]);
        assert!(line.points.iter().all(|point| point.len() == 2 && point[1] == 0.0));
    }

    #[test]
    fn points_that_differ_in_size_are_refused() {
        assert!(matches!(project(&[], 2), Err(Error::Plot { .. })));
        assert!(matches!(project(&[vec![1.0, 2.0], vec![1.0]], 2), Err(Error::Plot { .. })));
    }
}
