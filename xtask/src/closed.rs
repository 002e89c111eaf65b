//! The closed form: both projections from scatter matrices and two eigenproblems a block.
//!
//! A block is made of parts: descriptors, centred as the library centres them, weighed, some of them reduced. With the
//! total scatter `T` of the originals and a mix `N` of what should not matter,
//!
//! ```text
//! W = (N + rho m I)^-1/2, m the mean eigenvalue of N;   W T' W = U L U';   P = W U L^(-alpha / 2)
//! ```
//!
//! The first two steps are the simultaneous diagonalisation of two scatter matrices of Fukunaga, "Introduction to
//! Statistical Pattern Recognition" (2nd edition, section 2.3 and equation 10.9), which solves Fisher's discriminant;
//! whitening by differences of matching pictures is that of Mikolajczyk and Matas, "Improving Descriptors for Fast Tree
//! Matching by Optimal Linear Projection" (ICCV 2007, section 2). The ridge is the regularisation of Friedman, "Regularized
//! Discriminant Analysis" (JASA 84, 1989, equation 18). `alpha` lies between the discriminant (0) and whitened results (1).

use ndarray::{Array1, Array2, ArrayView2, Axis, concatenate, s};

use lookalike::fit::{LENGTHS, Projection, WIDTH};

use crate::Failure;
use crate::linear::{covariance, eigen, inverse_root, mean, product, second_moment, trace, unit_rows};
use crate::pictures::Table;

/// A descriptor's share in a block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Part {
    /// Its place in [`LENGTHS`].
    pub descriptor: usize,
    /// The weight of its squared distances.
    pub weight: f64,
    /// How many principal components are kept; all of the descriptor without it.
    pub components: Option<usize>,
}

/// How one block is fitted.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// What it is made of.
    pub parts: Vec<Part>,
    /// Parts of the noise `N`: copies of one picture, pictures of one thing, pictures of one kind.
    pub noise: [f64; 3],
    /// The ridge, in mean eigenvalues of the noise.
    pub rho: f64,
    /// How much of the spectrum is flattened, 0 to 1.
    pub alpha: f64,
    /// What the classifier's rows add to the total scatter, as a share of its trace.
    pub classifier: f64,
    /// Differences between a copy and its original count at most this many times their median norm; `None`: as they are.
    pub clip: Option<f64>,
}

/// How both are.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    /// What is shown.
    pub semantic: Block,
    /// This very picture.
    pub copy: Block,
}

/// Places of the descriptors.
const GEM: usize = 0;
const E6: usize = 1;
const HIST: usize = 2;
const EDGE: usize = 3;

impl Recipe {
    /// What the first projection was fitted by.
    pub fn first() -> Self {
        let part = |descriptor, weight, components| Part { descriptor, weight, components };
        Self {
            semantic: Block {
                parts: vec![part(GEM, 1.0, None), part(HIST, 0.06, Some(64)), part(EDGE, 0.03, Some(96))],
                noise: [0.2, 0.3, 0.3],
                rho: 3.0,
                alpha: 0.5,
                classifier: 0.3,
                clip: Some(1.5),
            },
            copy: Block {
                parts: vec![part(E6, 0.5, Some(256)), part(HIST, 0.1, Some(64))],
                noise: [1.0, 0.0, 0.0],
                rho: 0.1,
                alpha: 0.8,
                classifier: 0.0,
                clip: Some(1.5),
            },
        }
    }

    /// Better at copies, above all at edits that no copy of the fit shows; found by cross-fit (docs/model.md).
    ///
    /// The noise of copies is estimated from few edits: a larger ridge trusts it less. Colour says more than the first
    /// recipe let it. Harsh edits are what a copy block is for, so that their differences count in full.
    pub fn second() -> Self {
        let mut recipe = Self::first();
        recipe.copy.rho = 0.4;
        recipe.copy.parts[1].weight = 0.15;
        recipe.copy.clip = None;
        recipe
    }
}

/// Pictures to fit on, by their rows in a table.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// What means and the total scatter are taken of.
    pub originals: Vec<usize>,
    /// Copies, each with its original.
    pub copies: Vec<(usize, usize)>,
    /// Pictures of things, and which thing it is.
    pub instances: Vec<(usize, usize)>,
    /// Pictures of kinds of things, and which kind it is.
    pub categories: Vec<(usize, usize)>,
}

/// Fits both blocks. `classifier` holds one row a class, in the space of the first descriptor.
///
/// # Errors
/// When a list is empty that the recipe needs, or the numbers cannot be solved.
pub fn fit(
    recipe: &Recipe,
    table: &Table,
    sample: &Sample,
    classifier: Option<ArrayView2<'_, f32>>,
) -> Result<Projection, Failure> {
    if sample.originals.len() < 2 {
        return Err(Failure::Numbers("there are no originals to fit on"));
    }
    let unit = table.0.each_ref().map(|values| unit_rows(values.mapv(f64::from)));
    let means = unit.each_ref().map(|values| mean(values.select(Axis(0), &sample.originals).view()));
    let centred: Vec<Array2<f64>> =
        unit.into_iter().zip(&means).map(|(values, mean)| unit_rows(values - mean)).collect();

    let semantic = solve(&recipe.semantic, &centred, sample, classifier)?;
    let copy = solve(&recipe.copy, &centred, sample, None)?;
    let single = |values: &[f64]| -> Vec<f32> { values.iter().map(|value| *value as f32).collect() };
    let matrix = |solved: &Solved, descriptor: usize| {
        let found = solved.matrices.iter().find(|(at, _)| *at == descriptor);
        found.map_or_else(
            || vec![0.0; LENGTHS[descriptor] * WIDTH],
            |(_, m)| m.iter().map(|v| *v as f32).collect(),
        )
    };
    Ok(Projection {
        means: means.map(|mean| single(&mean.to_vec())),
        semantic: [GEM, HIST, EDGE].map(|descriptor| matrix(&semantic, descriptor)),
        semantic_bias: single(&semantic.bias.to_vec()),
        copy: [E6, HIST].map(|descriptor| matrix(&copy, descriptor)),
        copy_bias: single(&copy.bias.to_vec()),
    })
}

/// A block's matrices by descriptor, and its bias.
struct Solved {
    matrices: Vec<(usize, Array2<f64>)>,
    bias: Array1<f64>,
}

fn solve(
    block: &Block,
    centred: &[Array2<f64>],
    sample: &Sample,
    classifier: Option<ArrayView2<'_, f32>>,
) -> Result<Solved, Failure> {
    let mut bases = Vec::new();
    for part in &block.parts {
        bases.push((part.descriptor, basis(part, &centred[part.descriptor], &sample.originals)?));
    }
    let columns: Vec<_> =
        bases.iter().map(|(at, basis)| product(centred[*at].view(), basis.view())).collect();
    let views: Vec<_> = columns.iter().map(|matrix| matrix.view()).collect();
    let values =
        concatenate(Axis(1), &views).map_err(|_| Failure::Numbers("descriptors of different pictures"))?;

    let originals = values.select(Axis(0), &sample.originals);
    let middle = mean(originals.view());
    let mut total = covariance(originals.view());
    let noise = noise(block, &values, sample, trace(total.view()))?;
    if let Some(rows) = classifier.filter(|_| block.classifier > 0.0) {
        let gram = in_basis(rows, &bases, total.nrows())?;
        let share = block.classifier * trace(total.view()) / trace(gram.view());
        total.scaled_add(share, &gram);
    }
    let projection = diagonalised(&noise, &total, block.rho, block.alpha)?;
    let bias = -middle.dot(&projection);
    let mut matrices = Vec::new();
    let mut from = 0;
    for (at, basis) in bases {
        let to = from + basis.ncols();
        matrices.push((at, product(basis.view(), projection.slice(s![from..to, ..]))));
        from = to;
    }
    Ok(Solved { matrices, bias })
}

/// The mix of scatters that a block is to ignore, each of the trace of the total scatter before it is weighed.
fn noise(block: &Block, values: &Array2<f64>, sample: &Sample, size: f64) -> Result<Array2<f64>, Failure> {
    let n = values.ncols();
    let mut sum = Array2::zeros((n, n));
    let makers: [&dyn Fn() -> Array2<f64>; 3] = [
        &|| between_copies(values, &sample.copies, block.clip),
        &|| within(values, &sample.instances),
        &|| within(values, &sample.categories),
    ];
    for (weight, make) in block.noise.iter().zip(makers) {
        if *weight > 0.0 {
            let scatter = make();
            let own = trace(scatter.view());
            if own <= 0.0 {
                return Err(Failure::Numbers("a list gives no two pictures that belong together"));
            }
            sum.scaled_add(weight * size / own, &scatter);
        }
    }
    Ok(sum)
}

/// `P` of the module's formula, at most [`WIDTH`] columns; zeros follow where there are fewer.
fn diagonalised(
    noise: &Array2<f64>,
    total: &Array2<f64>,
    rho: f64,
    alpha: f64,
) -> Result<Array2<f64>, Failure> {
    let n = noise.nrows();
    let white = inverse_root(noise.view(), rho * trace(noise.view()) / n as f64)?;
    let found = eigen(product(product(white.view(), total.view()).view(), white.view()).view())?;
    let kept = n.min(WIDTH);
    let mut directions = found.vectors.slice(s![.., ..kept]).to_owned();
    // A direction in which nothing varies cannot be scaled up; it is left as short as it is.
    let floor = found.values[0].max(f64::MIN_POSITIVE) * 1e-12;
    for (mut column, value) in directions.axis_iter_mut(Axis(1)).zip(&found.values) {
        column *= value.max(floor).powf(-alpha / 2.0);
    }
    let mut projection = Array2::zeros((n, WIDTH));
    projection.slice_mut(s![.., ..kept]).assign(&product(white.view(), directions.view()));
    Ok(projection)
}

/// What a part multiplies its descriptor by: principal components of the originals, times the root of its weight.
fn basis(part: &Part, centred: &Array2<f64>, originals: &[usize]) -> Result<Array2<f64>, Failure> {
    let n = centred.ncols();
    let kept = part.components.unwrap_or(n);
    if kept > n || kept == 0 {
        return Err(Failure::Numbers("more components are asked for than the descriptor has values"));
    }
    let axes = match part.components {
        Some(_) => {
            let found = eigen(covariance(centred.select(Axis(0), originals).view()).view())?;
            found.vectors.slice(s![.., ..kept]).to_owned()
        }
        None => Array2::eye(n),
    };
    Ok(axes * part.weight.sqrt())
}

/// Half the second moment of the differences between copies and originals, long ones shortened.
///
/// Halved, it is the scatter of each picture about the mean of the two; shortened, so that a few copies of which
/// nothing is left to see do not decide what all others are judged by.
fn between_copies(values: &Array2<f64>, pairs: &[(usize, usize)], clip: Option<f64>) -> Array2<f64> {
    let (copies, originals): (Vec<usize>, Vec<usize>) = pairs.iter().copied().unzip();
    let mut apart = values.select(Axis(0), &copies) - values.select(Axis(0), &originals);
    let Some(clip) = clip else { return second_moment(apart.view()) / 2.0 };
    let norms: Vec<f64> = apart.rows().into_iter().map(|row| row.dot(&row).sqrt()).collect();
    let longest = clip * median(&norms);
    for (mut row, norm) in apart.axis_iter_mut(Axis(0)).zip(norms) {
        if norm > longest {
            row *= longest / norm;
        }
    }
    second_moment(apart.view()) / 2.0
}

/// The middle value; the mean of the two middle ones of an even number; 0 of none.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

/// The scatter of pictures about the mean of their label; labels of one picture say nothing and are left out.
fn within(values: &Array2<f64>, labelled: &[(usize, usize)]) -> Array2<f64> {
    let labels = labelled.iter().map(|(_, label)| label + 1).max().unwrap_or(0);
    let mut members = vec![Vec::new(); labels];
    labelled.iter().for_each(|(row, label)| members[*label].push(*row));
    members.retain(|rows| rows.len() > 1);
    let apart: Vec<Array2<f64>> = members
        .iter()
        .map(|rows| {
            let own = values.select(Axis(0), rows);
            &own - &mean(own.view())
        })
        .collect();
    let views: Vec<_> = apart.iter().map(|matrix| matrix.view()).collect();
    let all = concatenate(Axis(0), &views).unwrap_or_else(|_| Array2::zeros((0, values.ncols())));
    second_moment(all.view())
}

/// The second moment of the classifier's rows in the block's coordinates: zero outside its first descriptor.
fn in_basis(
    rows: ArrayView2<'_, f32>,
    bases: &[(usize, Array2<f64>)],
    n: usize,
) -> Result<Array2<f64>, Failure> {
    let mut from = 0;
    for (at, basis) in bases {
        let to = from + basis.ncols();
        if *at == GEM {
            if rows.ncols() != basis.nrows() {
                return Err(Failure::Numbers("the classifier's rows are not of the descriptor's length"));
            }
            let own = product(rows.mapv(f64::from).view(), basis.view());
            let mut all = Array2::zeros((n, n));
            all.slice_mut(s![from..to, from..to]).assign(&second_moment(own.view()));
            return Ok(all);
        }
        from = to;
    }
    Err(Failure::Numbers("a classifier without its descriptor"))
}

#[cfg(test)]
#[path = "closed_tests.rs"]
mod tests;
