//! The inverse DCT: the accurate integer method of the IJG library (`jidctint`), so that a picture decodes to
//! the bytes that most other programs see. Integer arithmetic only: the same on every machine.
//!
//! For shrunk pictures also the transforms of 4, 2 and 1 points of a block's lowest frequencies: what a sharp
//! low-pass filter of the whole block would leave.

use std::num::Wrapping;

use crate::kernel::image::Avx2;

const CONST_BITS: usize = 13;
const PASS1_BITS: usize = 2;

type W = Wrapping<i32>;

// Half of what the shifts after the first and the second pass take away.
const ROUND1: W = Wrapping(1 << (CONST_BITS - PASS1_BITS - 1));
const ROUND2: W = Wrapping(1 << (CONST_BITS + PASS1_BITS + 2));

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

/// Turns the 64 dequantised coefficients of a block into `size * size` samples, `out[row * stride + column]`; `size` is
/// 8, 4, 2 or 1.
///
/// `last` is the place in zigzag order of the last coefficient that is not zero, or a later one. `out` must hold the
/// samples; a shorter one is left as it is, or in part.
#[inline(always)]
pub(super) fn put(
    simd: Option<Avx2>,
    coefficients: &[i32; 64],
    last: usize,
    size: usize,
    out: &mut [u8],
    stride: usize,
) {
    if last == 0 {
        return flat(coefficients[0], size, out, stride);
    }
    match (size, simd) {
        (8, Some(simd)) => rows(&simd.idct8(coefficients), out, stride),
        (8, None) => rows(&block(coefficients, last), out, stride),
        (4, Some(simd)) => rows(&simd.idct4(coefficients), out, stride),
        (4, None) => rows(&quarter(coefficients), out, stride),
        (2, _) => rows(&sixteenth(coefficients), out, stride),
        _ => flat(coefficients[0], size, out, stride),
    }
}

/// Writes samples to their places.
#[inline(always)]
fn rows<const N: usize>(samples: &[[u8; N]; N], out: &mut [u8], stride: usize) {
    for (row, samples) in out.chunks_mut(stride).zip(samples) {
        if let Some(row) = row.first_chunk_mut::<N>() {
            *row = *samples;
        }
    }
}

fn block(coefficients: &[i32; 64], last: usize) -> [[u8; 8]; 8] {
    // The first ten coefficients in zigzag order lie in the first four rows and columns.
    if last < 10 { corner::<4>(coefficients) } else { corner::<8>(coefficients) }
}

/// The samples of a block at a quarter of its size, from its lowest 2 x 2 frequencies.
fn sixteenth(coefficients: &[i32; 64]) -> [[u8; 2]; 2] {
    let [a, b] = [coefficients[0], coefficients[1]].map(Wrapping);
    let [c, d] = [coefficients[8], coefficients[9]].map(Wrapping);
    [[a + b + (c + d), a - b + (c - d)], [a + b - (c + d), a - b - (c - d)]]
        .map(|row| row.map(|v| sample(((v + Wrapping(4)) >> 3).0)))
}

/// Four coefficients to four values, scaled by 2^13 and by 2: the even half of [`transform`].
#[inline(always)]
fn transform4(s: [W; 4]) -> [W; 4] {
    let z1 = (s[1] + s[3]) * F_0_541;
    let o0 = z1 + s[1] * F_0_765;
    let o1 = z1 - s[3] * F_1_847;
    let (e0, e1) = ((s[0] + s[2]) << CONST_BITS, (s[0] - s[2]) << CONST_BITS);
    [e0 + o0, e1 + o1, e1 - o1, e0 - o0]
}

/// The samples of a block at half its size, from its lowest 4 x 4 frequencies.
fn quarter(coefficients: &[i32; 64]) -> [[u8; 4]; 4] {
    let mut work = [[Wrapping(0); 4]; 4];
    for column in 0..4 {
        let s: [W; 4] = std::array::from_fn(|i| Wrapping(coefficients[i * 8 + column]));
        let values = transform4(s).map(|v| (v + ROUND1) >> (CONST_BITS - PASS1_BITS));
        for (row, value) in work.iter_mut().zip(values) {
            row[column] = value;
        }
    }
    work.map(|s| transform4(s).map(|v| sample(((v + ROUND2) >> (CONST_BITS + PASS1_BITS + 3)).0)))
}

/// The transform of a block whose coefficients are zero but in the first `N` rows and columns.
#[inline(always)]
fn corner<const N: usize>(coefficients: &[i32; 64]) -> [[u8; 8]; 8] {
    const ZERO: W = Wrapping(0);
    let mut work = [[ZERO; 8]; 8];
    for column in 0..N {
        let s: [W; 8] =
            std::array::from_fn(|i| if i < N { Wrapping(coefficients[i * 8 + column]) } else { ZERO });
        let done = |v: W| (v + ROUND1) >> (CONST_BITS - PASS1_BITS);
        let values = if s[1..].iter().all(|v| v.0 == 0) {
            [done(s[0] << CONST_BITS); 8]
        } else {
            transform(s).map(done)
        };
        for (row, value) in work.iter_mut().zip(values) {
            row[column] = value;
        }
    }
    work.map(|s| {
        let s: [W; 8] = std::array::from_fn(|i| if i < N { s[i] } else { ZERO });
        transform(s).map(|v| sample(((v + ROUND2) >> (CONST_BITS + PASS1_BITS + 3)).0))
    })
}

/// A block of which only the mean is coded: the same as the others, in one step.
#[inline(always)]
fn flat(mean: i32, size: usize, out: &mut [u8], stride: usize) {
    let value = sample(((Wrapping(mean) + Wrapping(4)) >> 3).0);
    match size {
        8 => rows(&[[value; 8]; 8], out, stride),
        4 => rows(&[[value; 4]; 4], out, stride),
        2 => rows(&[[value; 2]; 2], out, stride),
        _ => rows(&[[value; 1]; 1], out, stride),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::jpeg::block::ZIGZAG;

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
            assert_eq!(block(&values, 9), block(&values, 63));
        }
    }

    /// Sample `place` of `size * size` from the lowest `size * size` frequencies, in floating point.
    fn exact(values: &[i32; 64], size: usize, place: usize) -> f64 {
        let mut sum = 0.0;
        for (i, &value) in values.iter().enumerate().filter(|(i, _)| i / 8 < size && i % 8 < size) {
            let half = std::f64::consts::PI / (2 * size) as f64;
            let cosine = |x: usize, u: usize| {
                let scale = if u == 0 { std::f64::consts::FRAC_1_SQRT_2 } else { 1.0 };
                scale * (((2 * x + 1) * u) as f64 * half).cos()
            };
            sum += f64::from(value) * cosine(place / size, i / 8) * cosine(place % size, i % 8) / 4.0;
        }
        (sum + 128.0).clamp(0.0, 255.0)
    }

    #[test]
    fn is_within_one_of_the_exact_transform() {
        let mut number = numbers();
        for _ in 0..300 {
            let values: [i32; 64] = std::array::from_fn(|i| if i % 3 == 0 { number(200) } else { 0 });
            for size in [8, 4, 2, 1] {
                let mut out = [0; 64];
                put(None, &values, 63, size, &mut out, size);
                for (place, &got) in out[..size * size].iter().enumerate() {
                    let want = exact(&values, size, place);
                    assert!((f64::from(got) - want).abs() <= 1.0, "{size}: {got} {want}");
                }
                let mut flat = [0; 64];
                flat[0] = values[0];
                let (mut short, mut long) = ([0; 64], [0; 64]);
                put(None, &flat, 0, size, &mut short, size);
                put(None, &flat, 63, size, &mut long, size);
                assert_eq!(short, long);
            }
        }
    }

    /// On a processor without the instructions there is nothing to compare.
    #[test]
    fn wide_instructions_give_the_same() {
        let Some(simd) = Avx2::new() else { return };
        let mut number = numbers();
        for round in 0..20_000 {
            // From what pictures hold to what only damage can bring.
            let range = [30, 300, 3000, 30_000, 1 << 20, i32::MAX / 2][round % 6];
            let values: [i32; 64] =
                std::array::from_fn(|i| if round % 7 == i % 7 { 0 } else { number(range) });
            assert_eq!(simd.idct8(&values), block(&values, 63), "{values:?}");
            assert_eq!(simd.idct4(&values), quarter(&values), "{values:?}");
        }
    }
}
