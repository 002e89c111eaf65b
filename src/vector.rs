//! Vectors: blocks of dimensions, finite and of unit norm by construction, and the 12-bit rows they are kept as.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::limits::{MAX_BLOCKS, MAX_DIMS};

/// Largest magnitude of a value: 127 sixteenfold, so that the upper eight bits of a value and of its negative are both
/// an `i8` without -128.
const VALUE_MAX: i16 = 127 * 16;

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
    #[error("not a row as it is kept: {0}")]
    Kept(&'static str),
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

    /// Bytes of a row's fine plane: two values a byte.
    pub(crate) fn fine_bytes(&self) -> usize {
        self.dims().div_ceil(2)
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

/// As `f64::round` of a value that fits, without the call of a function that it is on most x86-64 processors.
fn nearest(value: f64) -> i16 {
    // The number before 1/2: with 1/2 itself the number before 1/2 would become 1.
    const HALF: f64 = 0.5 - f64::EPSILON / 4.0;
    (value + HALF.copysign(value)) as i32 as i16
}

/// A vector as it is kept: 12 bits a value in two planes, and one over the norm of each block's values.
///
/// A scan reads the upper eight bits of every row; the lower four are read of the few rows whose place they can decide.
/// The scale of a block is not kept: the direction is all that a cosine needs, and with the norm taken of the
/// values themselves equal values have a cosine of exactly one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RowCode {
    /// The upper eight bits of each value, rounded: value = 16 * code + rest, the rest -8 to 7.
    pub(crate) codes: Vec<i8>,
    /// The rests plus 8, two a byte, the one of the even place in the lower half; after an odd number a zero.
    pub(crate) fine: Vec<u8>,
    /// One over the Euclidean norm of each block's values.
    pub(crate) inv_norms: Vec<f32>,
}

impl RowCode {
    /// Rounds `values`, block by block, to `-2032..=2032` with the block's largest magnitude at 2032.
    ///
    /// Every step is an IEEE operation with one right answer, so every machine makes the same row.
    pub(crate) fn encode(layout: &Layout, values: &[f32]) -> Result<Self, VectorError> {
        if values.len() != layout.dims() {
            return Err(VectorError::Dims { found: values.len(), want: layout.dims() });
        }
        if let Some(index) = values.iter().position(|v| !v.is_finite()) {
            return Err(VectorError::NotFinite { index });
        }
        let mut rounded = Vec::with_capacity(values.len());
        for (block, range) in layout.ranges().enumerate() {
            let values = &values[range];
            let max = values.iter().fold(0.0f32, |max, v| max.max(v.abs()));
            if max == 0.0 {
                return Err(VectorError::Zero { block });
            }
            let scale = f64::from(max);
            rounded.extend(values.iter().map(|&v| nearest(f64::from(v) / scale * f64::from(VALUE_MAX))));
        }
        Ok(Self::of_values(layout, &rounded))
    }

    /// Takes a row as it was kept.
    ///
    /// # Errors
    /// When it is not a row of this layout that [`encode`](Self::encode) could have made.
    pub(crate) fn from_codes(layout: &Layout, codes: &[i8], fine: &[u8]) -> Result<Self, VectorError> {
        if codes.len() != layout.dims() {
            return Err(VectorError::Dims { found: codes.len(), want: layout.dims() });
        }
        if fine.len() != layout.fine_bytes() {
            return Err(VectorError::Kept("the fine plane has another length"));
        }
        if !codes.len().is_multiple_of(2) && fine.last().is_some_and(|byte| byte >> 4 != 0) {
            return Err(VectorError::Kept("the unused half of the last byte is not zero"));
        }
        let row = Self { codes: codes.to_vec(), fine: fine.to_vec(), inv_norms: Vec::new() };
        let values = row.values();
        if values.iter().any(|&v| !(-VALUE_MAX..=VALUE_MAX).contains(&v)) {
            return Err(VectorError::Kept("a value is too large"));
        }
        if let Some(block) = layout.ranges().position(|range| values[range].iter().all(|&v| v == 0)) {
            return Err(VectorError::Zero { block });
        }
        Ok(Self { inv_norms: inv_norms(layout, &values), ..row })
    }

    /// A row of values in `-VALUE_MAX..=VALUE_MAX`, none of its blocks all zero.
    fn of_values(layout: &Layout, values: &[i16]) -> Self {
        let codes: Vec<i8> = values.iter().map(|v| ((v + 8) >> 4) as i8).collect();
        let mut fine = vec![0; layout.fine_bytes()];
        for (index, (value, &code)) in values.iter().zip(&codes).enumerate() {
            let rest = value - 16 * i16::from(code) + 8;
            fine[index / 2] |= (rest as u8) << (index % 2 * 4);
        }
        Self { codes, fine, inv_norms: inv_norms(layout, values) }
    }

    /// The lower four bits of each value, -8 to 7.
    pub(crate) fn rests(&self) -> Vec<i8> {
        let rest = |index: usize| (self.fine[index / 2] >> (index % 2 * 4) & 15).cast_signed() - 8;
        (0..self.codes.len()).map(rest).collect()
    }

    /// A row of one block alone, from the upper eight bits of its values; the other blocks have no direction.
    pub(crate) fn of_block(layout: &Layout, block: usize, codes: &[i8], inv_norm: f32) -> Self {
        let mut row = Self {
            codes: vec![0; layout.dims()],
            // A rest of zero is kept as 8.
            fine: vec![0x88; layout.dims().div_ceil(2)],
            inv_norms: vec![0.0; layout.blocks()],
        };
        if let Some(range) = layout.ranges().nth(block).filter(|range| range.len() == codes.len()) {
            row.codes[range].copy_from_slice(codes);
            row.inv_norms[block] = inv_norm;
        }
        row
    }

    /// The 12-bit values.
    pub(crate) fn values(&self) -> Vec<i16> {
        self.codes
            .iter()
            .zip(self.rests())
            .map(|(&code, rest)| 16 * i16::from(code) + i16::from(rest))
            .collect()
    }

    /// Block number `block` of a row of `layout`, as a row of its own.
    pub(crate) fn block(&self, layout: &Layout, block: usize) -> Option<Self> {
        let range = layout.ranges().nth(block)?;
        let single = Layout { blocks: vec![range.len() as u32] };
        Some(Self::of_values(&single, self.values().get(range)?))
    }

    /// The vector that is kept, each block of unit norm.
    pub(crate) fn decode(&self, layout: &Layout) -> Vec<f32> {
        let mut out = Vec::with_capacity(layout.dims());
        decode(layout, &self.codes, &self.fine, self.inv_norms.iter().copied(), &mut out);
        out
    }
}

/// Appends the vector that two planes and one over the norm of each block stand for, each block of unit norm.
pub(crate) fn decode(
    layout: &Layout,
    codes: &[i8],
    fine: &[u8],
    inv_norms: impl Iterator<Item = f32>,
    out: &mut Vec<f32>,
) {
    let first = out.len();
    let (pairs, last) = codes.as_chunks::<2>();
    let value = |code: i8, rest: u8| f32::from(16 * i16::from(code) + i16::from(rest) - 8);
    out.extend(
        pairs.iter().zip(fine).flat_map(|(&[a, b], rests)| [value(a, rests & 15), value(b, rests >> 4)]),
    );
    out.extend(last.iter().zip(&fine[pairs.len()..]).map(|(&code, rests)| value(code, rests & 15)));
    for (range, inv) in layout.ranges().zip(inv_norms) {
        out[first..][range].iter_mut().for_each(|value| *value *= inv);
    }
}

/// One over the norm of each block of `values`; exact integers up to the last two steps.
fn inv_norms(layout: &Layout, values: &[i16]) -> Vec<f32> {
    let square = |&v: &i16| u64::from(i32::from(v).unsigned_abs().pow(2));
    layout
        .ranges()
        .map(|range| (1.0 / (values[range].iter().map(square).sum::<u64>() as f64).sqrt()) as f32)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rounds_as_the_standard_library_does() {
        let step = |value: f64, by: i64| f64::from_bits(value.to_bits().wrapping_add_signed(by));
        let mut seen = 0;
        for half in -4064..=4064 {
            for by in -3..=3 {
                let value = step(f64::from(half) / 2.0, by);
                // Below nothing there are no numbers of a sensible size.
                if value.abs() < 3000.0 {
                    assert_eq!(nearest(value), value.round() as i16, "{value:e}");
                    seen += 1;
                }
            }
        }
        assert!(seen > 56_000, "{seen}");
    }

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
            assert_eq!(RowCode::encode(&layout, &[scale, -scale]).unwrap().values(), [2032, -2032]);
        }
    }

    #[test]
    fn planes_hold_the_values() {
        let layout = Layout::new(&[5]).unwrap();
        let row = RowCode::encode(&layout, &[2032.0, -2032.0, 8.0, -9.0, 7.4]).unwrap();
        assert_eq!(row.values(), [2032, -2032, 8, -9, 7]);
        assert_eq!((&row.codes[..], &row.fine[..]), (&[127, -127, 1, -1, 0][..], &[0x88, 0xf0, 0x0f][..]));
        let layout = Layout::new(&[3, 2]).unwrap();
        let row = RowCode::encode(&layout, &[1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
        let own = RowCode::encode(&Layout::new(&[2]).unwrap(), &[4.0, 5.0]).unwrap();
        assert_eq!((row.block(&layout, 1), row.block(&layout, 2)), (Some(own), None));
    }

    #[test]
    fn refuses_what_no_encoding_makes() {
        let layout = Layout::new(&[3]).unwrap();
        let kept =
            |codes: [i8; 3], fine: &[u8]| RowCode::from_codes(&layout, &codes, fine).map(|row| row.values());
        assert_eq!(kept([127, 1, -127], &[0x08, 0x08]), Ok(vec![2032, 8, -2032]));
        assert_eq!(kept([0, 0, 0], &[0x98, 0x08]), Ok(vec![0, 1, 0]));
        assert_eq!(kept([0, 0, 0], &[0x88, 0x08]), Err(VectorError::Zero { block: 0 }));
        for (codes, fine) in [
            ([127, 0, 0], &[0x89, 0x08][..]),
            ([-127, 0, 0], &[0x87, 0x08]),
            ([-128, 0, 0], &[0x88, 0x08]),
            ([1, 0, 0], &[0x88, 0x18]),
            ([1, 0, 0], &[0x88]),
            ([1, 0, 0], &[0x88, 0x08, 0x00]),
        ] {
            assert!(matches!(kept(codes, fine), Err(VectorError::Kept(_))), "{codes:?} {fine:?}");
        }
    }

    proptest! {
        #[test]
        fn keeps_the_direction(values in proptest::collection::vec(-1.0f32..1.0, 24)) {
            let layout = Layout::new(&[16, 8]).unwrap();
            let Ok(row) = RowCode::encode(&layout, &values) else { return Ok(()) };
            prop_assert_eq!(&RowCode::from_codes(&layout, &row.codes, &row.fine).unwrap(), &row);
            let kept = row.decode(&layout);
            // What was read is kept as it is.
            prop_assert_eq!(&RowCode::encode(&layout, &kept).unwrap(), &row);
            for range in layout.ranges() {
                let (a, b) = (&values[range.clone()], &kept[range]);
                let dot: f32 = a.iter().zip(b).map(|(x, y)| x * y).sum();
                let norm: f32 = a.iter().map(|x| x * x).sum::<f32>().sqrt();
                prop_assert!((dot / norm - 1.0).abs() < 1e-5, "cosine {}", dot / norm);
                prop_assert!((b.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-5);
            }
        }
    }
}
