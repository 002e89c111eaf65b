//! The few pieces of linear algebra that a fit is made of, on `ndarray` matrices, with faer's solvers.

use faer::{Mat, Par, Side};
use ndarray::{Array1, Array2, ArrayView2, Axis};

use crate::Failure;

/// Eigenvalues of a symmetric matrix, the largest first, and its eigenvectors as columns in the same order.
#[derive(Debug, Clone)]
pub struct Eigen {
    /// `[n]`.
    pub values: Array1<f64>,
    /// `[n, n]`; the entry of largest magnitude of each column is positive, which makes them the same on every run.
    pub vectors: Array2<f64>,
}

/// Eigenvalues and eigenvectors of a symmetric matrix; only its lower half is read.
///
/// # Errors
/// When the matrix is not square or holds something that is no number, or the iteration does not end.
pub fn eigen(matrix: ArrayView2<'_, f64>) -> Result<Eigen, Failure> {
    let n = matrix.nrows();
    if matrix.ncols() != n || !matrix.iter().all(|value| value.is_finite()) {
        return Err(Failure::Numbers("a scatter matrix is not square or not of numbers"));
    }
    // One thread: the order of sums, and with it every bit, must not depend on the machine's number of cores.
    faer::set_global_parallelism(Par::Seq);
    let own = Mat::from_fn(n, n, |i, j| matrix[[i, j]]);
    let found = own
        .self_adjoint_eigen(Side::Lower)
        .map_err(|_| Failure::Numbers("the eigenvectors were not found"))?;
    // faer's order is ascending.
    let (s, u) = (found.S(), found.U());
    let values = Array1::from_shape_fn(n, |i| s[n - 1 - i]);
    let mut vectors = Array2::from_shape_fn((n, n), |(i, j)| u[(i, n - 1 - j)]);
    for mut column in vectors.axis_iter_mut(Axis(1)) {
        let peak = column.iter().fold(0.0_f64, |peak, &v| if v.abs() > peak.abs() { v } else { peak });
        if peak < 0.0 {
            column.mapv_inplace(|v| -v);
        }
    }
    Ok(Eigen { values, vectors })
}

/// `(matrix + ridge I)^-1/2` of a symmetric, positive semidefinite matrix, itself symmetric.
///
/// The whitening called ZCA by Kessy, Lewin and Strimmer, "Optimal Whitening and Decorrelation" (arXiv 1512.00809),
/// table 1. Eigenvalues that rounding made negative count as zero.
///
/// # Errors
/// Those of [`eigen`]; and when a direction has no variance and the ridge is zero.
pub fn inverse_root(matrix: ArrayView2<'_, f64>, ridge: f64) -> Result<Array2<f64>, Failure> {
    let Eigen { values, vectors } = eigen(matrix)?;
    let roots = values.mapv(|value| (value.max(0.0) + ridge).sqrt());
    if roots.iter().any(|root| *root <= 0.0) {
        return Err(Failure::Numbers("a direction without variance cannot be whitened: take a larger rho"));
    }
    let scaled = &vectors / &roots;
    Ok(product(scaled.view(), vectors.t()))
}

/// The matrix product, by faer.
pub fn product(a: ArrayView2<'_, f64>, b: ArrayView2<'_, f64>) -> Array2<f64> {
    assert_eq!(a.ncols(), b.nrows());
    faer::set_global_parallelism(Par::Seq);
    let left = Mat::from_fn(a.nrows(), a.ncols(), |i, j| a[[i, j]]);
    let right = Mat::from_fn(b.nrows(), b.ncols(), |i, j| b[[i, j]]);
    let both = left * right;
    Array2::from_shape_fn((a.nrows(), b.ncols()), |(i, j)| both[(i, j)])
}

/// The second moment of the rows, `X' X / n`; zero without rows.
pub fn second_moment(rows: ArrayView2<'_, f64>) -> Array2<f64> {
    let count = rows.nrows().max(1) as f64;
    product(rows.t(), rows) / count
}

/// The mean of the rows; zero without rows.
pub fn mean(rows: ArrayView2<'_, f64>) -> Array1<f64> {
    rows.mean_axis(Axis(0)).unwrap_or_else(|| Array1::zeros(rows.ncols()))
}

/// Their covariance, divided by the number of rows.
pub fn covariance(rows: ArrayView2<'_, f64>) -> Array2<f64> {
    second_moment((&rows - &mean(rows)).view())
}

/// The sum of the diagonal.
pub fn trace(matrix: ArrayView2<'_, f64>) -> f64 {
    matrix.diag().sum()
}

/// Rows scaled to unit norm; rows of zeros stay.
pub fn unit_rows(mut rows: Array2<f64>) -> Array2<f64> {
    for mut row in rows.axis_iter_mut(Axis(0)) {
        let norm = row.dot(&row).sqrt();
        if norm > 0.0 {
            row /= norm;
        }
    }
    rows
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use ndarray::array;

    use super::*;

    fn near(a: &Array2<f64>, b: &Array2<f64>) -> bool {
        a.dim() == b.dim() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-12)
    }

    #[test]
    fn eigenvectors_of_a_known_matrix() {
        let found = eigen(array![[2.0, 1.0, 0.0], [1.0, 2.0, 0.0], [0.0, 0.0, 9.0]].view()).unwrap();
        assert!((&found.values - &array![9.0, 3.0, 1.0]).iter().all(|v| v.abs() < 1e-12));
        let half = 0.5_f64.sqrt();
        assert!(near(
            &found.vectors.slice(ndarray::s![.., ..2]).to_owned(),
            &array![[0.0, half], [0.0, half], [1.0, 0.0]]
        ));
    }

    #[test]
    fn an_inverse_root_whitens() {
        let matrix = array![[4.0, 1.0], [1.0, 3.0]];
        let root = inverse_root(matrix.view(), 0.5).unwrap();
        let ridged = &matrix + &(Array2::<f64>::eye(2) * 0.5);
        let white = product(product(root.view(), ridged.view()).view(), root.view());
        assert!(near(&white, &Array2::eye(2)));
        assert!(inverse_root(Array2::zeros((2, 2)).view(), 0.0).is_err());
    }

    #[test]
    fn what_is_no_number_is_refused() {
        assert!(eigen(array![[1.0, f64::NAN], [f64::NAN, 1.0]].view()).is_err());
        assert!(eigen(Array2::zeros((2, 3)).view()).is_err());
    }

    #[test]
    fn moments_of_known_rows() {
        let rows = array![[1.0, 2.0], [3.0, 2.0]];
        assert_eq!(mean(rows.view()), array![2.0, 2.0]);
        assert!(near(&covariance(rows.view()), &array![[1.0, 0.0], [0.0, 0.0]]));
        assert!(near(&unit_rows(array![[3.0, 4.0], [0.0, 0.0]]), &array![[0.6, 0.8], [0.0, 0.0]]));
        assert_eq!(trace(array![[1.0, 5.0], [5.0, 2.0]].view()), 3.0);
    }
}
