//! NEON.

use std::arch::aarch64::*;

use super::{BitsQuery, GROUP, GROUP_FACTORS, PLANES, WORD, Word};

/// Proof that the processor has NEON.
#[derive(Debug, Clone, Copy)]
pub(super) struct Neon(());

impl Neon {
    pub(super) fn new() -> Option<Self> {
        std::arch::is_aarch64_feature_detected!("neon").then_some(Self(()))
    }

    #[inline]
    pub(super) fn scan(
        self,
        query: &BitsQuery,
        codes: &[u8],
        factors: &[u8],
        base: f32,
        bar: f32,
        found: impl FnMut(usize, u16) -> f32,
    ) {
        super::scan(query, codes, factors, bar, found, |group, factors, bar| {
            self.group(query, group, factors, base, bar)
        });
    }

    #[allow(clippy::too_many_arguments, reason = "those of the scan")]
    #[inline]
    pub(super) fn scan_some(
        self,
        query: &BitsQuery,
        codes: &[u8],
        factors: &[u8],
        masks: &[u16],
        base: f32,
        bar: f32,
        found: impl FnMut(usize, u16) -> f32,
    ) {
        super::scan_some(query, codes, factors, masks, bar, found, |group, factors, _, bar| {
            self.group(query, group, factors, base, bar)
        });
    }

    /// Which rows of a group reach `bar`.
    #[inline(always)]
    fn group(
        self,
        query: &BitsQuery,
        group: &[u8],
        factors: &[u8; GROUP_FACTORS],
        base: f32,
        bar: f32,
    ) -> u16 {
        // SAFETY: `self` exists, so `new` saw NEON; tested against the portable form.
        let sums = unsafe { sums(&query.words, group) };
        query.reach(&sums, factors, base, bar)
    }
}

/// Counts of up to 8 a byte are added as bytes for 31 words.
#[target_feature(enable = "neon")]
fn sums(words: &[Word], group: &[u8]) -> [u32; GROUP] {
    let mut totals = [vdupq_n_u32(0); 4];
    for (words, group) in words.chunks(31).zip(group.chunks(31 * WORD)) {
        let mut bytes = [[vdupq_n_u8(0); PLANES]; 4];
        for (word, rows) in words.iter().zip(group.as_chunks::<WORD>().0) {
            let sign = vreinterpretq_u8_u32(vdupq_n_u32(word.sign));
            for (bytes, rows) in bytes.iter_mut().zip(rows.as_chunks::<16>().0) {
                // SAFETY: 16 bytes.
                let differs = veorq_u8(unsafe { vld1q_u8(rows.as_ptr()) }, sign);
                for (sum, plane) in bytes.iter_mut().zip(word.planes) {
                    let both = vandq_u8(differs, vreinterpretq_u8_u32(vdupq_n_u32(plane)));
                    *sum = vaddq_u8(*sum, vcntq_u8(both));
                }
            }
        }
        for (total, bytes) in totals.iter_mut().zip(bytes) {
            for (p, bytes) in bytes.into_iter().enumerate() {
                let sum = vpaddlq_u16(vpaddlq_u8(bytes));
                *total = vaddq_u32(*total, vshlq_u32(sum, vdupq_n_s32(p as i32)));
            }
        }
    }
    let mut sums = [0; GROUP];
    for (out, total) in sums.as_chunks_mut::<4>().0.iter_mut().zip(totals) {
        // SAFETY: 16 bytes.
        unsafe { vst1q_u32(out.as_mut_ptr(), total) };
    }
    sums
}
