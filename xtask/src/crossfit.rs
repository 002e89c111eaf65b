//! Judging a recipe by pictures it was not fitted on.
//!
//! Labels are split in folds. For each fold a projection is fitted on the others, copies of other folds' originals
//! included, and judged on the fold. A second row leaves out half of the families of edits besides and judges by these.

use lookalike::fit::Projection;
use ndarray::{Array1, Array2, ArrayView2, Axis, s};

use crate::Failure;
use crate::closed::{Recipe, fit};
use crate::evaluate::{CopyQuery, Labelled, by_source, copies, weighted};
use crate::gather::{Copy, Gathered, Original, Task};
use crate::linear::unit_rows;
use crate::pictures::Table;
use crate::random::Random;

/// Sizes of the blocks that are judged: those of `common-search` and of `common-search-512`.
const SIZES: [[usize; 2]; 2] = [[160, 96], [256, 256]];
/// Weights of the copy block: default mode and copy mode.
const WEIGHTS: [f32; 2] = [0.25, 4.0];

/// Figures of one size of vector, means over the folds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Figures {
    /// Default mode: mean average precision by kind and by thing, micro-AP of copies.
    pub default: [f64; 3],
    /// Copy mode: right answer first, micro-AP, recall without a wrong one.
    pub copy: [f64; 3],
}

/// What a projection makes of a table: both blocks, unit norm, cut to their first columns.
pub fn project(projection: &Projection, table: &Table, size: [usize; 2]) -> [Array2<f32>; 2] {
    let rows = table.len();
    let centred = |at: usize| {
        let mean = Array1::from(projection.means[at].clone()).mapv(f64::from);
        unit_rows(unit_rows(table.0[at].mapv(f64::from)) - mean).mapv(|value| value as f32)
    };
    let block = |parts: &[(usize, &Vec<f32>)], bias: &[f32], columns: usize| {
        let mut sum = Array2::<f32>::zeros((rows, bias.len()));
        for (at, matrix) in parts {
            // Lengths are those of the file's layout.
            let matrix = ArrayView2::from_shape((matrix.len() / bias.len(), bias.len()), matrix);
            if let Ok(matrix) = matrix {
                sum += &centred(*at).dot(&matrix);
            }
        }
        sum += &Array1::from(bias.to_vec());
        unit_rows(sum.slice(s![.., ..columns]).mapv(f64::from)).mapv(|value| value as f32)
    };
    let [gem, hist, edge] = &projection.semantic;
    let [e6, copy_hist] = &projection.copy;
    [
        block(&[(0, gem), (2, hist), (3, edge)], &projection.semantic_bias, size[0]),
        block(&[(1, e6), (2, copy_hist)], &projection.copy_bias, size[1]),
    ]
}

/// Judges by the pictures that `asked` lets through; the gallery of copies is the whole of it.
pub fn judge(
    projection: &Projection,
    all: &Gathered,
    size: [usize; 2],
    asked: impl Fn(&Original) -> bool,
    edits: impl Fn(&Copy) -> bool,
) -> Figures {
    let [semantic, copy] = project(projection, &all.table, size);
    let mut figures = Figures::default();
    for w in WEIGHTS {
        let vectors = weighted(&semantic, &copy, w);
        let found = find_copies(all, &vectors, &asked, &edits);
        if w > 1.0 {
            figures.copy = found;
        } else {
            let map = |task| retrieval_of(all, &vectors, task, &asked);
            figures.default = [map(Task::Category), map(Task::Instance), found[1]];
        }
    }
    figures
}

/// Mean average precision within the sources of one list; not a number without any.
fn retrieval_of(all: &Gathered, vectors: &Array2<f32>, task: Task, asked: impl Fn(&Original) -> bool) -> f64 {
    let pictures: Vec<Labelled<'_>> = (all.originals.iter().enumerate())
        .filter(|(_, one)| one.task == task && asked(one))
        .map(|(row, one)| Labelled {
            row,
            label: &one.listed.label,
            source: one.listed.source(),
            findable: one.listed.role != "query",
        })
        .collect();
    by_source(vectors.view(), &pictures).map_or(f64::NAN, |found| found.map)
}

/// Right answer first, micro-AP, recall without a wrong one; not numbers without any copy that was given.
fn find_copies(
    all: &Gathered,
    vectors: &Array2<f32>,
    asked: impl Fn(&Original) -> bool,
    edits: impl Fn(&Copy) -> bool,
) -> [f64; 3] {
    let kept = |one: &(usize, &Original)| one.1.task == Task::Copies && one.1.listed.role != "query";
    let gallery: Vec<usize> = all.originals.iter().enumerate().filter(kept).map(|one| one.0).collect();
    let queries: Vec<CopyQuery> = all
        .copies
        .iter()
        .filter(|copy| edits(copy) && asked(&all.originals[copy.original]))
        .filter_map(|copy| {
            let right = copy.positive?.then(|| gallery.binary_search(&copy.original).ok()).flatten();
            Some(CopyQuery { row: copy.row, right })
        })
        .collect();
    copies(vectors.view(), &gallery, &queries)
        .map_or([f64::NAN; 3], |found| [found.first, found.uap, found.clean])
}

/// Which of `count` parts a text belongs to.
fn part(text: &str, count: usize) -> usize {
    Random::of(text).below(count)
}

/// Fits on all folds but one, judges by that one, and prints the means over folds.
///
/// # Errors
/// When a fold cannot be fitted on.
pub fn run(
    recipes: &[(&str, Recipe)],
    all: &Gathered,
    classifier: Option<ArrayView2<'_, f32>>,
    folds: usize,
) -> Result<(), Failure> {
    println!("                    default mode              copy mode");
    println!("                    category instance copies  first  uAP    clean");
    for (name, recipe) in recipes {
        let mut rows = [Figures::default(); 3];
        for fold in 0..folds {
            let held = |one: &Original| part(&one.listed.label, folds) == fold;
            let sample = all.sample(|one| !held(one), |_| true);
            let projection = fit(recipe, &all.table, &sample, classifier)?;
            for (row, size) in rows.iter_mut().zip(SIZES) {
                add(row, &judge(&projection, all, size, held, |_| true), folds as f64);
            }
            for half in 0..2 {
                // The salt makes two halves that mix mild and harsh edits.
                let left_out = |copy: &Copy| part(&format!("half {}", copy.family), 2) == half;
                let sample = all.sample(|one| !held(one), |copy| !left_out(copy));
                let projection = fit(recipe, &all.table, &sample, classifier)?;
                add(&mut rows[2], &judge(&projection, all, SIZES[0], held, left_out), 2.0 * folds as f64);
            }
        }
        for (what, row) in ["256", "512", "256, unseen edits"].iter().zip(rows) {
            let [category, instance, found] = row.default;
            let [first, uap, clean] = row.copy;
            println!(
                "{name:8} {what:17} {category:.4}   {instance:.4}   {found:.4}  {first:.4} {uap:.4} {clean:.4}"
            );
        }
    }
    Ok(())
}

/// Adds `new / count`.
fn add(sum: &mut Figures, new: &Figures, count: f64) {
    for (sum, new) in sum.default.iter_mut().zip(new.default).chain(sum.copy.iter_mut().zip(new.copy)) {
        *sum += new / count;
    }
}

/// The mean over the pictures of the cosine between their vectors under two projections, for each block.
pub fn likeness(a: &Projection, b: &Projection, table: &Table, size: [usize; 2]) -> [f64; 2] {
    let (a, b) = (project(a, table, size), project(b, table, size));
    // Axes may be turned and mirrored: what counts is how alike the tables of all scores are.
    [0, 1].map(|block| {
        let grams = [&a[block], &b[block]].map(|vectors| {
            let picked = vectors
                .select(Axis(0), &(0..table.len()).step_by(1 + table.len() / 1000).collect::<Vec<_>>());
            picked.dot(&picked.t()).mapv(f64::from)
        });
        let dot = |x: &Array2<f64>, y: &Array2<f64>| (x * y).sum();
        dot(&grams[0], &grams[1]) / (dot(&grams[0], &grams[0]) * dot(&grams[1], &grams[1])).sqrt()
    })
}

#[cfg(test)]
#[path = "crossfit_tests.rs"]
mod tests;
