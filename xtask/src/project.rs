//! What a projection makes of descriptors.

use lookalike::fit::Projection;
use ndarray::{Array1, Array2, ArrayView2, Axis, s};

use crate::linear::unit_rows;
use crate::pictures::Table;

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
