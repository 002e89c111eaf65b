//! Vectors: blocks of dimensions, finite and of unit norm by construction, and the 8-bit rows they are kept as.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::limits::{MAX_BLOCKS, MAX_DIMS};

/// Largest magnitude of a code. -128 is not used, so that a row and its negative are both representable.
const CODE_MAX: f64 = 127.0;

/// How a model's vector is divided: dimensions of each block, one to four blocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Layout {
    blocks: Vec<u32>,
}

/// Why a list of block sizes or a vector is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum VectorError {
    #[error("a model has 1 to {MAX_BLOCKS} blocks of 1 or more dimensions, {MAX_DIMS} in all; not {0:?}")]
    Layout(Vec<usize>),
    #[error("the vector has {found} values where the model has {want} dimensions")]
    Dims { found: usize, want: usize },
    #[error("value {index} of the vector is not finite")]
    NotFinite { index: usize },
    #[error("block {block} of the vector is zero, so it has no direction")]
    Zero { block: usize },
}

impl Layout {
    pub(crate) fn new(blocks: &[usize]) -> Result<Self, VectorError> {
        let dims: usize = blocks.iter().fold(0, |sum, &n| sum.saturating_add(n));
        if blocks.is_empty() || blocks.len() > MAX_BLOCKS || dims > MAX_DIMS || blocks.contains(&0) {
            return Err(VectorError::Layout(blocks.to_vec()));
        }
        Ok(Self { blocks: blocks.iter().map(|&n| n as u32).collect() })
    }

    /// Dimensions of all blocks together.
    pub(crate) fn dims(&self) -> usize {
        self.blocks.iter().map(|&n| n as usize).sum()
    }

    /// Number of blocks.
    pub(crate) fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// Whether the layout, read from a file, is one that [`Layout::new`] would have made.
    pub(crate) fn is_sound(&self) -> bool {
        Self::new(&self.blocks.iter().map(|&n| n as usize).collect::<Vec<_>>()).is_ok()
    }

    /// Where each block lies in the vector.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
        let mut start = 0;
        self.blocks.iter().map(move |&n| {
            let range = start..start + n as usize;
            start = range.end;
            range
        })
    }
}

/// A vector as it is kept: one signed byte a dimension, and one over the norm of each block's codes.
///
/// The scale of a block is not kept: the direction is all that a cosine needs, and with the norm taken of the
/// codes themselves equal codes have a cosine of exactly one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RowCode {
    pub(crate) codes: Vec<i8>,
    pub(crate) inv_norms: Vec<f32>,
}

impl RowCode {
    /// Rounds `values`, block by block, to `-127..=127` with the block's largest magnitude at 127.
    ///
    /// Every step is an IEEE operation with one right answer, so every machine makes the same codes.
    pub(crate) fn encode(layout: &Layout, values: &[f32]) -> Result<Self, VectorError> {
        if values.len() != layout.dims() {
            return Err(VectorError::Dims { found: values.len(), want: layout.dims() });
        }
        if let Some(index) = values.iter().position(|v| !v.is_finite()) {
            return Err(VectorError::NotFinite { index });
        }
        let mut codes = Vec::with_capacity(values.len());
        for (block, range) in layout.ranges().enumerate() {
            let values = &values[range];
            let max = values.iter().fold(0.0f32, |max, v| max.max(v.abs()));
            if max == 0.0 {
                return Err(VectorError::Zero { block });
            }
            let scale = f64::from(max);
            codes.extend(values.iter().map(|&v| (f64::from(v) / scale * CODE_MAX).round() as i8));
        }
        let inv_norms = inv_norms(layout, &codes);
        Ok(Self { codes, inv_norms })
    }

    /// Takes codes as they were kept.
    ///
    /// # Errors
    /// When they are not a row of this layout that [`encode`](Self::encode) could have made.
    pub(crate) fn from_codes(layout: &Layout, codes: &[i8]) -> Result<Self, VectorError> {
        if codes.len() != layout.dims() {
            return Err(VectorError::Dims { found: codes.len(), want: layout.dims() });
        }
        if let Some(block) = layout.ranges().position(|range| codes[range].iter().all(|&c| c == 0)) {
            return Err(VectorError::Zero { block });
        }
        Ok(Self { codes: codes.to_vec(), inv_norms: inv_norms(layout, codes) })
    }

    /// The vector that is kept, each block of unit norm.
    pub(crate) fn decode(layout: &Layout, codes: &[i8], inv_norms: &[f32]) -> Vec<f32> {
        layout
            .ranges()
            .zip(inv_norms)
            .flat_map(|(range, &inv)| codes[range].iter().map(move |&c| f32::from(c) * inv))
            .collect()
    }
}

/// One over the norm of each block of `codes`; exact integers up to the last two steps.
fn inv_norms(layout: &Layout, codes: &[i8]) -> Vec<f32> {
    let square = |&c: &i8| u64::from(i32::from(c).unsigned_abs().pow(2));
    layout
        .ranges()
        .map(|range| (1.0 / (codes[range].iter().map(square).sum::<u64>() as f64).sqrt()) as f32)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refuses_what_has_no_direction() {
        let layout = Layout::new(&[2, 3]).unwrap();
        let encode = |v: &[f32]| RowCode::encode(&layout, v);
        assert_eq!(encode(&[1.0; 4]), Err(VectorError::Dims { found: 4, want: 5 }));
        assert_eq!(encode(&[1.0, 0.0, f32::NAN, 0.0, 0.0]), Err(VectorError::NotFinite { index: 2 }));
        assert_eq!(encode(&[1.0, 0.0, f32::INFINITY, 0.0, 0.0]), Err(VectorError::NotFinite { index: 2 }));
        assert_eq!(encode(&[1.0, 0.0, 0.0, 0.0, 0.0]), Err(VectorError::Zero { block: 1 }));
        for bad in [&[][..], &[0], &[1; 5], &[5000], &[usize::MAX, 2]] {
            assert!(Layout::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn extreme_magnitudes_keep_their_direction() {
        let layout = Layout::new(&[2]).unwrap();
        for scale in [f32::MIN_POSITIVE, 1e-45, 1.0, f32::MAX] {
            assert_eq!(RowCode::encode(&layout, &[scale, -scale]).unwrap().codes, [127, -127]);
        }
    }

    proptest! {
        #[test]
        fn keeps_the_direction(values in proptest::collection::vec(-1.0f32..1.0, 24)) {
            let layout = Layout::new(&[16, 8]).unwrap();
            let Ok(row) = RowCode::encode(&layout, &values) else { return Ok(()) };
            prop_assert_eq!(&RowCode::from_codes(&layout, &row.codes).unwrap(), &row);
            let kept = RowCode::decode(&layout, &row.codes, &row.inv_norms);
            for range in layout.ranges() {
                let (a, b) = (&values[range.clone()], &kept[range]);
                let dot: f32 = a.iter().zip(b).map(|(x, y)| x * y).sum();
                let norm: f32 = a.iter().map(|x| x * x).sum::<f32>().sqrt();
                prop_assert!((dot / norm - 1.0).abs() < 1e-3, "cosine {}", dot / norm);
                prop_assert!((b.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-5);
            }
        }
    }
}
