//! The inverse DCT: the accurate integer method of the IJG library (`jidctint`), so that a picture decodes to
//! the bytes that most other programs see. Integer arithmetic only: the same on every machine.

use std::num::Wrapping;

const CONST_BITS: usize = 13;
const PASS1_BITS: usize = 2;

type W = Wrapping<i32>;

// The constants of Loeffler, Ligtenberg and Moschytz (ICASSP 1989), times 2^13.
const F_0_298: W = Wrapping(2446);
const F_0_390: W = Wrapping(3196);
const F_0_541: W = Wrapping(4433);
const F_0_765: W = Wrapping(6270);
const F_0_899: W = Wrapping(7373);
const F_1_175: W = Wrapping(9633);
const F_1_501: W = Wrapping(12299);
const F_1_847: W = Wrapping(15137);
const F_1_961: W = Wrapping(16069);
const F_2_053: W = Wrapping(16819);
const F_2_562: W = Wrapping(20995);
const F_3_072: W = Wrapping(25172);

/// One dimension: eight coefficients to eight values, scaled by 2^13 and by the square root of 8.
///
/// Hostile coefficients wrap instead of overflowing; those of a real picture stay far below.
#[inline(always)]
fn transform(s: [W; 8]) -> [W; 8] {
    let z1 = (s[2] + s[6]) * F_0_541;
    let t2 = z1 - s[6] * F_1_847;
    let t3 = z1 + s[2] * F_0_765;
    let t0 = (s[0] + s[4]) << CONST_BITS;
    let t1 = (s[0] - s[4]) << CONST_BITS;
    let (e0, e3) = (t0 + t3, t0 - t3);
    let (e1, e2) = (t1 + t2, t1 - t2);

    let (t0, t1, t2, t3) = (s[7], s[5], s[3], s[1]);
    let (z3, z4) = (t0 + t2, t1 + t3);
    let z5 = (z3 + z4) * F_1_175;
    let z1 = -(t0 + t3) * F_0_899;
    let z2 = -(t1 + t2) * F_2_562;
    let z3 = -z3 * F_1_961 + z5;
    let z4 = -z4 * F_0_390 + z5;
    let o0 = t0 * F_0_298 + z1 + z3;
    let o1 = t1 * F_2_053 + z2 + z4;
    let o2 = t2 * F_3_072 + z2 + z3;
    let o3 = t3 * F_1_501 + z1 + z4;
    [e0 + o3, e1 + o2, e2 + o1, e3 + o0, e3 - o0, e2 - o1, e1 - o2, e0 - o3]
}

#[inline(always)]
fn sample(value: i32) -> u8 {
    value.saturating_add(128).clamp(0, 255) as u8
}

/// Turns the 64 dequantised coefficients of a block into its samples, `out[row * stride + column]`.
///
/// `last` is the place in zigzag order of the last coefficient that is not zero. `out` must hold seven rows of
/// `stride` and eight samples more; a shorter one is left as it is.
pub(super) fn block(coefficients: &[i32; 64], last: usize, out: &mut [u8], stride: usize) {
    // The first ten coefficients in zigzag order lie in the first four rows and columns.
    if last < 10 {
        corner::<4>(coefficients, out, stride);
    } else {
        corner::<8>(coefficients, out, stride);
    }
}

/// The transform of a block whose coefficients are zero but in the first `N` rows and columns.
#[inline(always)]
fn corner<const N: usize>(coefficients: &[i32; 64], out: &mut [u8], stride: usize) {
    const ROUND1: W = Wrapping(1 << (CONST_BITS - PASS1_BITS - 1));
    const ROUND2: W = Wrapping(1 << (CONST_BITS + PASS1_BITS + 2));
    const ZERO: W = Wrapping(0);
    let mut work = [[ZERO; 8]; 8];
    for column in 0..N {
        let s: [W; 8] =
            std::array::from_fn(|i| if i < N { Wrapping(coefficients[i * 8 + column]) } else { ZERO });
        let values = if s[1..].iter().all(|v| v.0 == 0) {
            [s[0] << PASS1_BITS; 8]
        } else {
            transform(s).map(|v| (v + ROUND1) >> (CONST_BITS - PASS1_BITS))
        };
        for (row, value) in work.iter_mut().zip(values) {
            row[column] = value;
        }
    }
    for (s, row) in work.iter().zip(out.chunks_mut(stride)) {
        let s: [W; 8] = std::array::from_fn(|i| if i < N { s[i] } else { ZERO });
        let values = transform(s).map(|v| sample(((v + ROUND2) >> (CONST_BITS + PASS1_BITS + 3)).0));
        if let Some(eight) = row.first_chunk_mut::<8>() {
            *eight = values;
        }
    }
}

/// A block of which only the mean is coded: the same as [`block`], in one step.
pub(super) fn flat_block(mean: i32, out: &mut [u8], stride: usize) {
    let value = sample(((Wrapping(mean) + Wrapping(4)) >> 3).0);
    for row in out.chunks_mut(stride).take(8) {
        if let Some(eight) = row.first_chunk_mut::<8>() {
            *eight = [value; 8];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::jpeg::scan::ZIGZAG;

    /// A stream of numbers from a fixed seed.
    fn numbers() -> impl FnMut(i32) -> i32 {
        let mut state = 1u64;
        move |range| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as i32 % (2 * range + 1) - range
        }
    }

    #[test]
    fn short_ways_give_the_same() {
        let mut number = numbers();
        for _ in 0..3000 {
            let mut values = [0; 64];
            for &place in &ZIGZAG[..10] {
                values[usize::from(place)] = number(300);
            }
            let (mut short, mut long) = ([0; 64], [0; 64]);
            block(&values, 9, &mut short, 8);
            block(&values, 63, &mut long, 8);
            assert_eq!(short, long);
            let mut flat = [0; 64];
            flat[0] = values[0] * 8;
            flat_block(flat[0], &mut short, 8);
            block(&flat, 63, &mut long, 8);
            assert_eq!(short, long);
        }
    }

    #[test]
    fn is_within_one_of_the_exact_transform() {
        let mut number = numbers();
        for _ in 0..300 {
            let values: [i32; 64] = std::array::from_fn(|i| if i % 3 == 0 { number(200) } else { 0 });
            let mut out = [0; 64];
            block(&values, 63, &mut out, 8);
            for (place, &got) in out.iter().enumerate() {
                let mut sum = 0.0;
                for (i, &value) in values.iter().enumerate() {
                    let half = std::f64::consts::PI / 16.0;
                    let cosine = |x: usize, u: usize| {
                        let scale = if u == 0 { std::f64::consts::FRAC_1_SQRT_2 } else { 1.0 };
                        scale * (((2 * x + 1) * u) as f64 * half).cos()
                    };
                    sum += f64::from(value) * cosine(place / 8, i / 8) * cosine(place % 8, i % 8) / 4.0;
                }
                let want = (sum + 128.0).clamp(0.0, 255.0);
                assert!((f64::from(got) - want).abs() <= 1.0, "{got} {want}");
            }
        }
    }
}
