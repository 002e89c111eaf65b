//! The closed form on descriptors whose answer is known.

use ndarray::array;

use super::*;
use crate::random::Random;

/// Descriptors of the library's lengths, whose first few values are `rows` around a common point.
fn table(rows: &Array2<f64>) -> Table {
    let mut random = Random::of("descriptors");
    Table(LENGTHS.map(|length| {
        let mut values = Array2::from_elem((rows.nrows(), length), 1.0_f32);
        for (mut to, from) in values.axis_iter_mut(Axis(0)).zip(rows.axis_iter(Axis(0))) {
            to.iter_mut().zip(from).for_each(|(to, from)| *to += *from as f32);
            // Nothing is ever quite still, and a fit must not need it to be.
            to.iter_mut().for_each(|to| *to += 1e-3 * random.normal() as f32);
        }
        values
    }))
}

/// Twelve pictures in two groups along the first axis, three copies each that differ along the second and, less, the
/// third axis.
fn sample() -> (Table, Sample) {
    let mut random = Random::of("sample");
    let mut rows = Vec::new();
    let mut sample = Sample::default();
    for picture in 0..12 {
        let kind = picture % 2;
        let at = [
            if kind == 0 { -0.6 } else { 0.6 } + 0.1 * random.normal(),
            0.5 * random.normal(),
            0.1 * random.normal(),
        ];
        sample.originals.push(rows.len());
        sample.instances.push((rows.len(), picture / 3));
        sample.categories.push((rows.len(), kind));
        let original = rows.len();
        rows.push(at);
        for _ in 0..3 {
            sample.copies.push((rows.len(), original));
            rows.push([at[0], at[1] + 0.5 * random.normal(), at[2] + 0.01 * random.normal()]);
        }
    }
    let flat: Vec<f64> = rows.concat();
    (table(&Array2::from_shape_vec((rows.len(), 3), flat).unwrap_or_default()), sample)
}

#[test]
fn two_scatters_are_diagonal_together() -> Result<(), Failure> {
    let noise = array![[2.0, 0.5, 0.1], [0.5, 1.0, 0.0], [0.1, 0.0, 0.3]];
    let total = array![[3.0, -1.0, 0.0], [-1.0, 2.0, 0.4], [0.0, 0.4, 1.0]];
    for alpha in [0.0, 0.5, 1.0] {
        let projection = diagonalised(&noise, &total, 0.0, alpha)?;
        let seen = projection.slice(s![.., ..3]);
        let ratio = product(product(seen.t(), total.view()).view(), seen);
        let unit = product(product(seen.t(), noise.view()).view(), seen);
        for i in 0..3 {
            // P' T P = L^(1 - alpha) and P' N P = L^-alpha, L the eigenvalues of N^-1 T.
            let value = ratio[[i, i]] / unit[[i, i]];
            assert!((unit[[i, i]] - value.powf(-alpha)).abs() < 1e-9);
            assert!((0..3).all(|j| i == j || (ratio[[i, j]].abs() < 1e-9 && unit[[i, j]].abs() < 1e-9)));
        }
        assert!(projection.slice(s![.., 3..]).iter().all(|value| *value == 0.0));
    }
    // The eigenvalues of N^-1 T sum to its trace.
    let inverse = inverse_root(noise.view(), 0.0)?;
    let inverse = product(inverse.view(), inverse.view());
    let projection = diagonalised(&noise, &total, 0.0, 0.0)?;
    let seen = projection.slice(s![.., ..3]);
    let sum = trace(product(product(seen.t(), total.view()).view(), seen).view());
    assert!((sum - trace(product(inverse.view(), total.view()).view())).abs() < 1e-9);
    Ok(())
}

#[test]
fn the_first_direction_is_what_copies_keep() -> Result<(), Failure> {
    let (table, sample) = sample();
    for recipe in [Recipe::first(), Recipe::second()] {
        let projection = fit(&recipe, &table, &sample, None)?;
        // In the copy block the first column looks along the first axis, less along the second, where copies roam.
        let rows = &projection.copy[0];
        let (first, second) = (rows[0].abs(), rows[WIDTH].abs());
        assert!(first > 2.0 * second, "{first} {second}");
        projection.to_bytes().map_err(Failure::Embed)?;
    }
    Ok(())
}

#[test]
fn a_fit_is_the_same_every_time() -> Result<(), Failure> {
    let (table, sample) = sample();
    let classifier = Array2::from_shape_fn((4, LENGTHS[0]), |(i, j)| ((i * 7 + j) % 5) as f32);
    let again = || fit(&Recipe::first(), &table, &sample, Some(classifier.view()));
    assert_eq!(again()?, again()?);
    assert_ne!(again()?.semantic, fit(&Recipe::first(), &table, &sample, None)?.semantic);
    Ok(())
}

#[test]
fn lists_that_cannot_be_fitted_on_are_refused() {
    let (table, good) = sample();
    let recipe = Recipe::first();
    let without = |change: fn(&mut Sample)| {
        let mut sample = good.clone();
        change(&mut sample);
        fit(&recipe, &table, &sample, None)
    };
    assert!(without(|sample| sample.originals.clear()).is_err());
    assert!(without(|sample| sample.copies.clear()).is_err());
    assert!(without(|sample| sample.categories.truncate(1)).is_err());
    let narrow = Array2::zeros((4, 3));
    assert!(fit(&recipe, &table, &good, Some(narrow.view())).is_err());
}

#[test]
fn long_differences_are_shortened() {
    let values = array![[0.0, 0.0], [1.0, 0.0], [0.0, 2.0], [100.0, 0.0]];
    let pairs = [(1, 0), (2, 0), (3, 0)];
    // Norms 1, 2, 100: the median is 2, so the last counts as 3 and as much as that along its axis.
    let found = between_copies(&values, &pairs, Some(1.5));
    let want = array![[(1.0 + 9.0) / 6.0, 0.0], [0.0, 4.0 / 6.0]];
    assert!((&found - &want).iter().all(|v: &f64| v.abs() < 1e-12), "{found}");
    let found = between_copies(&values, &pairs, None);
    assert!((found[[0, 0]] - 10_001.0 / 6.0).abs() < 1e-9);
    assert_eq!((median(&[]), median(&[3.0, 1.0]), median(&[5.0, 1.0, 2.0])), (0.0, 2.0, 2.0));
}

#[test]
fn scatter_within_labels() {
    let values = array![[1.0], [3.0], [10.0], [12.0], [77.0]];
    let labelled = [(0, 0), (1, 0), (2, 1), (3, 1), (4, 2)];
    assert_eq!(within(&values, &labelled), array![[1.0]]);
    assert_eq!(within(&values, &[(4, 9)]), array![[0.0]]);
}
