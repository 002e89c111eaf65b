//! From descriptors to the two blocks of the vector: centring, and projections fitted once (`weights/projection.bin`).

use super::bundle::{Bundle, BundleError};
use super::cnn::{LAST, MIDDLE, Taps};
use super::math::unit;
use super::perceptual::{EDGE, HIST};
use crate::kernel::Kernel;

/// Made by `tools/make_weights.py`.
pub(super) static PROJECTION: &[u8] = include_bytes!("weights/projection.bin");

/// Version of the file, raised when its layout changes.
pub(super) const VERSION: u32 = 1;
/// Columns of the projections in the file, the most important first.
pub(super) const COLUMNS: usize = 256;

/// The means and projections of `S` values of the semantic and `C` of the copy block.
#[derive(Debug)]
pub(super) struct Fusion {
    kernel: Kernel,
    mean_last: Vec<f32>,
    mean_middle: Vec<f32>,
    mean_hist: Vec<f32>,
    mean_edge: Vec<f32>,
    semantic: [Matrix; 3],
    semantic_bias: Vec<f32>,
    copy: [Matrix; 2],
    copy_bias: Vec<f32>,
}

/// Sixteen-bit codes `[rows, columns]`, row-major, and the value of one step of each column.
#[derive(Debug)]
struct Matrix {
    codes: Vec<i16>,
    scale: Vec<f32>,
}

impl Fusion {
    /// The projections inside this crate, cut to the first `semantic` and `copy` columns (256 at most).
    pub(super) fn load(kernel: Kernel, semantic: usize, copy: usize) -> Result<Self, BundleError> {
        Self::parse(kernel, PROJECTION, semantic, copy)
    }

    /// The projections of a file, cut likewise; both numbers 1 to [`COLUMNS`].
    pub(super) fn parse(
        kernel: Kernel,
        raw: &[u8],
        semantic: usize,
        copy: usize,
    ) -> Result<Self, BundleError> {
        let mut bundle = Bundle::open("projection.bin", b"lkl-proj", VERSION, raw)?;
        let file = &mut bundle;
        let fusion = Self {
            kernel,
            mean_last: vector(file, LAST)?,
            mean_middle: vector(file, MIDDLE)?,
            mean_hist: vector(file, HIST)?,
            mean_edge: vector(file, EDGE)?,
            semantic: [
                Matrix::read(file, LAST, semantic)?,
                Matrix::read(file, HIST, semantic)?,
                Matrix::read(file, EDGE, semantic)?,
            ],
            semantic_bias: vector(file, COLUMNS)?[..semantic].to_vec(),
            copy: [Matrix::read(file, MIDDLE, copy)?, Matrix::read(file, HIST, copy)?],
            copy_bias: vector(file, COLUMNS)?[..copy].to_vec(),
        };
        bundle.finish()?;
        Ok(fusion)
    }

    /// The semantic block, then the copy block, each of unit norm.
    ///
    /// `hist` and `edge` are those of `perceptual`.
    pub(super) fn blocks(&self, taps: &Taps, hist: &[f32], edge: &[f32]) -> Vec<f32> {
        let last = centred(&taps.last, &self.mean_last);
        let middle = centred(&taps.middle, &self.mean_middle);
        let hist = centred(hist, &self.mean_hist);
        let edge = centred(edge, &self.mean_edge);
        let mut semantic = self.semantic_bias.clone();
        for (matrix, descriptor) in self.semantic.iter().zip([&last, &hist, &edge]) {
            matrix.add_product(self.kernel, descriptor, &mut semantic);
        }
        let mut copy = self.copy_bias.clone();
        for (matrix, descriptor) in self.copy.iter().zip([&middle, &hist]) {
            matrix.add_product(self.kernel, descriptor, &mut copy);
        }
        unit(&mut semantic);
        unit(&mut copy);
        semantic.extend(copy);
        semantic
    }
}

impl Matrix {
    /// Reads `[rows, 256]` and keeps the first `columns`.
    fn read(file: &mut Bundle<'_>, rows: usize, columns: usize) -> Result<Self, BundleError> {
        file.expect(rows)?;
        file.expect(COLUMNS)?;
        let mut scale = file.f32s(COLUMNS)?;
        scale.truncate(columns);
        let raw = file.bytes(rows * COLUMNS * 2)?;
        let row =
            |raw: &[u8]| raw.as_chunks::<2>().0[..columns].iter().map(|b| i16::from_le_bytes(*b)).collect();
        let codes = raw.chunks_exact(COLUMNS * 2).flat_map(|raw| -> Vec<i16> { row(raw) }).collect();
        Ok(Self { codes, scale })
    }

    /// Adds `values [rows]` times the matrix to `sums [columns]`; rows are summed in order.
    fn add_product(&self, kernel: Kernel, values: &[f32], sums: &mut [f32]) {
        let mut steps = vec![0.0_f32; self.scale.len()];
        kernel.add_rows(values, &self.codes, &mut steps);
        for (sum, (step, scale)) in sums.iter_mut().zip(steps.iter().zip(&self.scale)) {
            *sum += step * scale;
        }
    }
}

fn vector(file: &mut Bundle<'_>, len: usize) -> Result<Vec<f32>, BundleError> {
    file.expect(len)?;
    file.f32s(len)
}

/// `L2(L2(x) - mean)`. An all-zero descriptor (the edges of a flat picture) becomes the negative mean: what it has
/// less of than others.
fn centred(values: &[f32], mean: &[f32]) -> Vec<f32> {
    assert_eq!(values.len(), mean.len());
    let mut centred = values.to_vec();
    unit(&mut centred);
    centred.iter_mut().zip(mean).for_each(|(v, m)| *v -= m);
    unit(&mut centred);
    centred
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_of_the_columns_is_a_prefix_of_the_projection() {
        let long = Fusion::load(Kernel::best(), 256, 256).unwrap();
        let short = Fusion::load(Kernel::best(), 160, 96).unwrap();
        let taps = Taps { last: vec![1.0; LAST], middle: (0..MIDDLE).map(|i| i as f32).collect() };
        let (hist, edge) = (vec![0.1; HIST], vec![0.0; EDGE]);
        let (long, short) = (long.blocks(&taps, &hist, &edge), short.blocks(&taps, &hist, &edge));
        let mut want = long[..160].to_vec();
        unit(&mut want);
        assert!(want.iter().zip(&short).all(|(a, b)| (a - b).abs() < 1e-6));
        assert!((short[160..].iter().map(|v| v * v).sum::<f32>() - 1.0).abs() < 1e-5);
    }

    #[test]
    fn damage_is_noticed() {
        let mut raw = PROJECTION.to_vec();
        raw[500_000] ^= 1;
        assert_eq!(
            Fusion::parse(Kernel::best(), &raw, 160, 96).err(),
            Some(BundleError::Damaged("projection.bin"))
        );
    }
}
