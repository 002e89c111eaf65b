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

    /// Bytes of a row's upper plane: two values a byte.
    pub(crate) fn upper_bytes(&self) -> usize {
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

/// As `f64::round` of a value of at most [`VALUE_MAX`]: without the call of a function that it is on most x86-64 processors, and
/// without the conversion of numbers that do not fit, so that compilers make vector code of many.
fn nearest(value: f64) -> i16 {
    // The number before 1/2: with 1/2 itself the number before 1/2 would become 1.
    const HALF: f64 = 0.5 - f64::EPSILON / 4.0;
    // Above it numbers are a whole one apart, and the lower bits of one are those of the integer.
    const WHOLE: f64 = (1u64 << 52) as f64;
    let up = value.abs() + HALF;
    let near = (up + WHOLE) - WHOLE;
    let above = if near > up { 1.0 } else { 0.0 };
    let magnitude = (near - above + WHOLE).to_bits() as i32;
    // All ones below nothing, where a number is turned about by its complement and one.
    let sign = (value.to_bits().cast_signed() >> 63) as i32;
    ((magnitude ^ sign) - sign) as i16
}

/// A vector as it is kept: 12 bits a value in two planes, and one over the norm of each block's values.
///
/// A value is `128 * step + rest`: the step is odd, -15 to 15, in the middle of what four bits can tell, and the rest is
/// -128 to 127. A scan reads the steps of every row; rests are read of the rows whose place they can decide. The scale of a
/// block is not kept: the direction is all that a cosine needs, and with the norm taken of the values
/// themselves equal values have a cosine of exactly one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RowCode {
    /// The upper four bits of each value: half of the step and 15, 0 to 15, two a byte, the one of the even place in the
    /// lower half; after an odd number a zero.
    pub(crate) upper: Vec<u8>,
    /// The lower eight bits: the rest.
    pub(crate) lower: Vec<i8>,
    /// One over the Euclidean norm of each block's values.
    pub(crate) inv_norms: Vec<f32>,
}

/// A value by its two parts.
fn joined(half: u8, rest: i8) -> i16 {
    256 * i16::from(half) - 1920 + i16::from(rest)
}

/// The halves of a byte of an upper plane, in their order.
fn halves(byte: u8) -> [u8; 2] {
    [byte & 15, byte >> 4]
}

/// The 12-bit values of a row's planes.
fn values<'a>(upper: &'a [u8], lower: &'a [i8]) -> impl Iterator<Item = i16> + 'a {
    let (pairs, last) = lower.as_chunks::<2>();
    let after = upper.get(pairs.len()..).unwrap_or_default();
    let both = |(&[even, odd], &byte): (&[i8; 2], &u8)| {
        let [first, second] = halves(byte);
        [joined(first, even), joined(second, odd)]
    };
    let one = |(&rest, &byte): (&i8, &u8)| joined(halves(byte)[0], rest);
    pairs.iter().zip(upper).flat_map(both).chain(last.iter().zip(after).map(one))
}

/// Values that are worked on together, which compilers make vector code of.
const SOME: usize = 16;

/// The largest of what `of` makes of some values, none of which is NaN.
pub(crate) fn largest(values: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    let larger = |max: f32, v: f32| if v > max { v } else { max };
    let (some, rest) = values.as_chunks::<SOME>();
    let mut lanes = [f32::NEG_INFINITY; SOME];
    some.iter().for_each(|some| lanes.iter_mut().zip(some).for_each(|(max, &v)| *max = larger(*max, of(v))));
    lanes.into_iter().chain(rest.iter().map(|&v| of(v))).fold(f32::NEG_INFINITY, larger)
}

/// Appends what `of` makes of each of those.
fn extend<T>(upper: &[u8], lower: &[i8], out: &mut Vec<T>, of: impl Fn(i16) -> T) {
    let (uppers, _) = upper.as_chunks::<{ SOME / 2 }>();
    let (lowers, _) = lower.as_chunks::<SOME>();
    out.reserve(lower.len());
    for (upper, lower) in uppers.iter().zip(lowers) {
        let half = |at: usize| halves(upper[at / 2])[at % 2];
        out.extend::<[T; SOME]>(std::array::from_fn(|at| of(joined(half(at), lower[at]))));
    }
    let done = uppers.len().min(lowers.len()) * SOME;
    out.extend(values(&upper[done / 2..], &lower[done..]).map(of));
}

impl RowCode {
    /// Rounds `values`, block by block, to `-2032..=2032` with the block's largest magnitude at 2032.
    ///
    /// Every step is an IEEE operation with one right answer, so every machine makes the same row.
    pub(crate) fn encode(layout: &Layout, values: &[f32]) -> Result<Self, VectorError> {
        if values.len() != layout.dims() {
            return Err(VectorError::Dims { found: values.len(), want: layout.dims() });
        }
        // All of them, which compilers make vector code of.
        if !values.iter().fold(true, |all, v| all & v.is_finite()) {
            let index = values.iter().position(|v| !v.is_finite()).unwrap_or_default();
            return Err(VectorError::NotFinite { index });
        }
        let mut rounded: Vec<i16> = Vec::with_capacity(values.len());
        for (block, range) in layout.ranges().enumerate() {
            let values = &values[range];
            let max = largest(values, f32::abs);
            if max == 0.0 {
                return Err(VectorError::Zero { block });
            }
            let scale = f64::from(max);
            let round = |v: f32| nearest(f64::from(v) / scale * f64::from(VALUE_MAX));
            let (some, rest) = values.as_chunks::<SOME>();
            some.iter().for_each(|some| rounded.extend::<[i16; SOME]>(some.map(round)));
            rounded.extend(rest.iter().copied().map(round));
        }
        Ok(Self::of_values(layout, &rounded))
    }

    /// Takes a row as it was kept.
    ///
    /// # Errors
    /// When it is not a row of this layout that [`encode`](Self::encode) could have made.
    pub(crate) fn from_planes(layout: &Layout, upper: &[u8], lower: &[i8]) -> Result<Self, VectorError> {
        if lower.len() != layout.dims() {
            return Err(VectorError::Dims { found: lower.len(), want: layout.dims() });
        }
        if upper.len() != layout.upper_bytes() {
            return Err(VectorError::Kept("the upper plane has another length"));
        }
        if !lower.len().is_multiple_of(2) && upper.last().is_some_and(|&byte| halves(byte)[1] != 0) {
            return Err(VectorError::Kept("the unused half of the last byte is not zero"));
        }
        let row = Self { upper: upper.to_vec(), lower: lower.to_vec(), inv_norms: Vec::new() };
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
        let (upper, lower) = planes(values);
        Self { upper, lower, inv_norms: inv_norms(layout, values) }
    }

    /// A row of one block alone, whose values and one over whose norm are given; the other blocks have no direction.
    pub(crate) fn of_block(layout: &Layout, block: usize, own: &[i16], inv_norm: f32) -> Self {
        let (mut values, mut inv_norms) = (vec![0; layout.dims()], vec![0.0; layout.blocks()]);
        if let Some(range) = layout.ranges().nth(block).filter(|range| range.len() == own.len()) {
            values[range].copy_from_slice(own);
            inv_norms[block] = inv_norm;
        }
        let (upper, lower) = planes(&values);
        Self { upper, lower, inv_norms }
    }

    /// The 12-bit values.
    pub(crate) fn values(&self) -> Vec<i16> {
        let mut out = Vec::new();
        extend(&self.upper, &self.lower, &mut out, |value| value);
        out
    }

    /// The upper eight bits of each value, rounded: value = 16 * eight + -8 to 7.
    pub(crate) fn eights(&self) -> Vec<i8> {
        let mut out = Vec::with_capacity(self.lower.len());
        eights(&self.upper, &self.lower, &mut out);
        out
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
        decode(layout, &self.upper, &self.lower, self.inv_norms.iter().copied(), &mut out);
        out
    }
}

/// Both planes of values in `-VALUE_MAX..=VALUE_MAX`.
fn planes(values: &[i16]) -> (Vec<u8>, Vec<i8>) {
    let half = |value: i16| ((value + 2048) >> 8) as u8;
    let both = |&[even, odd]: &[i16; 2]| half(even) | half(odd) << 4;
    let rest = |&value: &i16| (value - joined(half(value), 0)) as i8;
    let (pairs, last) = values.as_chunks::<2>();
    let (some, others) = pairs.as_chunks::<SOME>();
    let mut upper: Vec<u8> = Vec::with_capacity(values.len().div_ceil(2));
    some.iter().for_each(|some| upper.extend::<[u8; SOME]>(std::array::from_fn(|at| both(&some[at]))));
    upper.extend(others.iter().map(both).chain(last.iter().map(|&value| half(value))));
    (upper, values.iter().map(rest).collect())
}

/// Appends the upper eight bits of each value of a row, rounded.
pub(crate) fn eights(upper: &[u8], lower: &[i8], out: &mut Vec<i8>) {
    extend(upper, lower, out, |value| ((value + 8) >> 4) as i8);
}

/// Appends the vector that two planes and one over the norm of each block stand for, each block of unit norm.
pub(crate) fn decode(
    layout: &Layout,
    upper: &[u8],
    lower: &[i8],
    inv_norms: impl Iterator<Item = f32>,
    out: &mut Vec<f32>,
) {
    let first = out.len();
    extend(upper, lower, out, f32::from);
    for (range, inv) in layout.ranges().zip(inv_norms) {
        out[first..][range].iter_mut().for_each(|value| *value *= inv);
    }
}

/// One over the norm of each block of `values`; exact integers up to the last two steps.
fn inv_norms(layout: &Layout, values: &[i16]) -> Vec<f32> {
    // The squares of so many fit 32 bits, whatever they are.
    const TOGETHER: usize = u32::MAX as usize / (VALUE_MAX as usize).pow(2);
    let square = |&v: &i16| (i32::from(v) * i32::from(v)).cast_unsigned();
    let sum = |values: &[i16]| {
        values.chunks(TOGETHER).map(|some| u64::from(some.iter().map(square).sum::<u32>())).sum::<u64>()
    };
    layout.ranges().map(|range| (1.0 / (sum(&values[range]) as f64).sqrt()) as f32).collect()
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
        assert_eq!(row.upper, [0x0f, 0x78, 0x08]);
        assert_eq!(row.lower, [112, -112, -120, 119, -121]);
        assert_eq!(row.eights(), [127, -127, 1, -1, 0]);
        let layout = Layout::new(&[3, 2]).unwrap();
        let row = RowCode::encode(&layout, &[1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
        let own = RowCode::encode(&Layout::new(&[2]).unwrap(), &[4.0, 5.0]).unwrap();
        assert_eq!((row.block(&layout, 1), row.block(&layout, 2)), (Some(own), None));
    }

    #[test]
    fn refuses_what_no_encoding_makes() {
        let layout = Layout::new(&[3]).unwrap();
        let kept = |upper: &[u8], lower: [i8; 3]| {
            RowCode::from_planes(&layout, upper, &lower).map(|row| row.values())
        };
        assert_eq!(kept(&[0x8f, 0x00], [112, -120, -112]), Ok(vec![2032, 8, -2032]));
        assert_eq!(kept(&[0x88, 0x08], [-128, -127, -128]), Ok(vec![0, 1, 0]));
        assert_eq!(kept(&[0x78, 0x08], [-128, 127, -128]), Ok(vec![0, -1, 0]));
        assert_eq!(kept(&[0x88, 0x08], [-128; 3]), Err(VectorError::Zero { block: 0 }));
        for (upper, lower) in [
            (&[0x8f, 0x08][..], [113, -128, -128]),
            (&[0x80, 0x08], [-113, -128, -128]),
            (&[0x8f, 0x08], [127, -128, -128]),
            (&[0x80, 0x08], [-128, -128, -128]),
            (&[0x88, 0x18], [1, 0, 0]),
            (&[0x88], [1, 0, 0]),
            (&[0x88, 0x08, 0x00], [1, 0, 0]),
        ] {
            assert!(matches!(kept(upper, lower), Err(VectorError::Kept(_))), "{upper:x?} {lower:?}");
        }
    }

    #[test]
    fn every_value_is_its_two_parts() {
        let all: Vec<i16> = (-VALUE_MAX..=VALUE_MAX).collect();
        let (upper, lower) = planes(&all);
        assert_eq!(values(&upper, &lower).collect::<Vec<_>>(), all);
        let mut rounded = Vec::new();
        eights(&upper, &lower, &mut rounded);
        assert!(all.iter().zip(&rounded).all(|(v, &e)| (-8..8).contains(&(v - 16 * i16::from(e)))));
        assert_eq!(all.len(), 4065);
    }

    proptest! {
        #[test]
        fn keeps_the_direction(values in proptest::collection::vec(-1.0f32..1.0, 24)) {
            let layout = Layout::new(&[16, 8]).unwrap();
            let Ok(row) = RowCode::encode(&layout, &values) else { return Ok(()) };
            prop_assert_eq!(&RowCode::from_planes(&layout, &row.upper, &row.lower).unwrap(), &row);
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
