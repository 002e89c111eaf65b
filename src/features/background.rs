//! What pictures share with anything: vectors of other pictures that the copy score is measured against.

use super::bundle::{Bundle, BundleError};
use crate::kernel::dot_i8;

/// Made by `tools/make_background.py`.
static BACKGROUND: &[u8] = include_bytes!("weights/background.bin");

/// Columns of the file, the most important first.
const COLUMNS: usize = 256;

/// How many of the nearest vectors are averaged.
const NEAREST: usize = 3;
/// A vector nearer than this is taken for the picture itself, and left out: what a picture shares with itself says
/// nothing of others.
const ITSELF: f64 = 0.8;

/// Copy blocks of other pictures, each of 8-bit codes `[rows, columns]` with one over the norm of each row.
#[derive(Debug)]
pub(super) struct Background {
    columns: usize,
    codes: Vec<i8>,
    inv_norms: Vec<f64>,
}

impl Background {
    /// The vectors inside this crate, cut to the first `columns` (256 at most).
    pub(super) fn load(columns: usize) -> Result<Self, BundleError> {
        Self::parse(BACKGROUND, columns)
    }

    fn parse(raw: &[u8], columns: usize) -> Result<Self, BundleError> {
        let mut file = Bundle::open("background.bin", b"lkl-back", 1, raw)?;
        let rows = file.u32()? as usize;
        file.expect(COLUMNS)?;
        let all = file.bytes(rows.checked_mul(COLUMNS).ok_or(file.misfit())?)?;
        let misfit = file.misfit();
        file.finish()?;
        let codes: Vec<i8> = all
            .chunks_exact(COLUMNS)
            .flat_map(|row| &row[..columns])
            .map(|b| i8::from_le_bytes([*b]))
            .collect();
        let inv_norms: Vec<f64> = codes.chunks_exact(columns).map(inv_norm).collect();
        if rows < NEAREST || inv_norms.iter().any(|inv| !inv.is_finite()) {
            return Err(misfit);
        }
        Ok(Self { columns, codes, inv_norms })
    }

    /// Mean of the cosines of `block` with the [`NEAREST`] nearest vectors that are not [`ITSELF`], -1 to 1; 0 for a
    /// block of zeros.
    ///
    /// Integer dot products of the block in 8 bits, and a few f64 operations in one order: the same bits on every
    /// machine.
    pub(super) fn nearest(&self, block: &[f32]) -> f32 {
        let max = block.iter().fold(0.0_f32, |max, v| max.max(v.abs()));
        if block.len() != self.columns || max == 0.0 {
            return 0.0;
        }
        let codes: Vec<i8> = block.iter().map(|v| (f64::from(v / max) * 127.0).round() as i8).collect();
        let own = inv_norm(&codes);
        let mut best = [-1.0; NEAREST];
        for (row, inv) in self.codes.chunks_exact(self.columns).zip(&self.inv_norms) {
            let mut cosine = f64::from(dot_i8(&codes, row)) * inv * own;
            if cosine > ITSELF {
                continue;
            }
            for kept in &mut best {
                if cosine > *kept {
                    std::mem::swap(kept, &mut cosine);
                }
            }
        }
        (best.iter().sum::<f64>() / NEAREST as f64) as f32
    }
}

/// One over the norm of codes; infinite for zeros.
fn inv_norm(codes: &[i8]) -> f64 {
    let square: i64 = codes.iter().map(|&c| i64::from(c).pow(2)).sum();
    1.0 / (square as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_three_are_averaged() {
        let background = Background::load(96).unwrap();
        let row: Vec<f32> = background.codes[..96].iter().map(|&c| f32::from(c)).collect();
        let mut all: Vec<f64> = background
            .codes
            .chunks_exact(96)
            .zip(&background.inv_norms)
            .map(|(b, inv)| f64::from(dot_i8(b, &background.codes[..96])) * inv * background.inv_norms[0])
            .collect();
        all.retain(|&cosine| cosine <= ITSELF);
        all.sort_by(f64::total_cmp);
        let want: f64 = all.iter().rev().take(3).sum::<f64>() / 3.0;
        assert!((f64::from(background.nearest(&row)) - want).abs() < 1e-6 && want > 0.2);
        assert_eq!(background.nearest(&[0.0; 96]), 0.0);
    }

    #[test]
    fn damage_is_noticed() {
        let mut raw = BACKGROUND.to_vec();
        raw[1000] ^= 4;
        assert_eq!(Background::parse(&raw, 96).err(), Some(BundleError::Damaged("background.bin")));
    }
}
