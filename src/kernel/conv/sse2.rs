//! Dot products for the kernel that every CPU can run: SSE2 is part of x86-64, and compilers do not find its sums of
//! pairs by themselves.

use std::arch::x86_64::*;

use super::scalar::OUTS;

/// As the portable function of this name.
#[allow(clippy::needless_range_loop, reason = "indices are those of registers")]
#[inline]
pub(super) fn dots<const P: usize>(x: [&[i16]; P], weights: &[i16]) -> [[i32; OUTS]; P] {
    let inputs = weights.len() / OUTS;
    assert!(x.iter().all(|x| x.len() == inputs) && inputs.is_multiple_of(8));
    // SAFETY: SSE2 is there on every x86-64; each row of `x` and of `weights` has `inputs` words, a multiple of 8.
    unsafe {
        let load = |from: &[i16], at: usize| _mm_loadu_si128(from.as_ptr().add(at).cast());
        let mut sums = [[_mm_setzero_si128(); OUTS]; P];
        for at in (0..inputs).step_by(8) {
            let x = x.map(|x| load(x, at));
            for o in 0..OUTS {
                let w = load(weights, o * inputs + at);
                for p in 0..P {
                    sums[p][o] = _mm_add_epi32(sums[p][o], _mm_madd_epi16(x[p], w));
                }
            }
        }
        sums.map(|row| {
            row.map(|sum| {
                let sum = _mm_add_epi32(sum, _mm_shuffle_epi32::<0b01_00_11_10>(sum));
                _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32::<0b10_11_00_01>(sum)))
            })
        })
    }
}
