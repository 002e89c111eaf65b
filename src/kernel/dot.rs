//! Dot products of 8-bit rows: exact integers, so every implementation gives the same result.
//!
//! Each implementation is a type that exists only where the processor can run it, so that calling it is safe.

use std::sync::OnceLock;

/// `sum(a[i] * b[i])` over the shorter of the two.
///
/// Exact: at most 4096 products of magnitude 2^14 stay below 2^31.
#[inline]
pub(crate) fn dot_i8(a: &[i8], b: &[i8]) -> i32 {
    static BEST: OnceLock<Dot> = OnceLock::new();
    let len = a.len().min(b.len());
    let (a, b) = (&a[..len], &b[..len]);
    match BEST.get_or_init(Dot::best) {
        #[cfg(target_arch = "x86_64")]
        Dot::Avx512(dot) => dot.run(a, b),
        #[cfg(target_arch = "x86_64")]
        Dot::Avx2(dot) => dot.run(a, b),
        #[cfg(target_arch = "aarch64")]
        Dot::Neon(dot) => dot.run(a, b),
        Dot::Portable => portable(a, b),
    }
}

/// What this processor can run.
#[derive(Debug, Clone, Copy)]
enum Dot {
    #[cfg(target_arch = "x86_64")]
    Avx512(x86::Avx512),
    #[cfg(target_arch = "x86_64")]
    Avx2(x86::Avx2),
    #[cfg(target_arch = "aarch64")]
    Neon(arm::Neon),
    Portable,
}

impl Dot {
    fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if let Some(dot) = x86::Avx512::new() {
                return Self::Avx512(dot);
            }
            if let Some(dot) = x86::Avx2::new() {
                return Self::Avx2(dot);
            }
        }
        #[cfg(target_arch = "aarch64")]
        if let Some(dot) = arm::Neon::new() {
            return Self::Neon(dot);
        }
        Self::Portable
    }
}

/// Any processor. Sums of 16-bit products are what compilers turn into vector code by themselves.
fn portable(a: &[i8], b: &[i8]) -> i32 {
    a.iter().zip(b).map(|(&x, &y)| i32::from(i16::from(x)) * i32::from(i16::from(y))).sum()
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "the vector instructions of the processor")]
mod x86 {
    use std::arch::x86_64::*;

    /// Exists only where AVX-512 F, BW and VNNI are.
    #[derive(Debug, Clone, Copy)]
    pub(super) struct Avx512(());

    impl Avx512 {
        pub(super) fn new() -> Option<Self> {
            let there = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vnni");
            there.then_some(Self(()))
        }

        #[inline]
        pub(super) fn run(self, a: &[i8], b: &[i8]) -> i32 {
            // SAFETY: `self` exists, so `new` saw the features that `avx512` is compiled for; tested against the
            // portable sum in `every_kernel_agrees`.
            unsafe { avx512(a, b) }
        }
    }

    /// 32 values a step: widened to 16 bits, multiplied and added in pairs to 32-bit sums, without saturation.
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    fn avx512(a: &[i8], b: &[i8]) -> i32 {
        let (a32, a_rest) = a.as_chunks::<32>();
        let (b32, b_rest) = b.as_chunks::<32>();
        let mut sum = _mm512_setzero_si512();
        for (x, y) in a32.iter().zip(b32) {
            // SAFETY: `x` and `y` are 32 bytes each, and the loads are unaligned ones.
            let (x, y) =
                unsafe { (_mm256_loadu_si256(x.as_ptr().cast()), _mm256_loadu_si256(y.as_ptr().cast())) };
            sum = _mm512_dpwssd_epi32(sum, _mm512_cvtepi8_epi16(x), _mm512_cvtepi8_epi16(y));
        }
        _mm512_reduce_add_epi32(sum) + super::portable(a_rest, b_rest)
    }

    /// Exists only where AVX2 is.
    #[derive(Debug, Clone, Copy)]
    pub(super) struct Avx2(());

    impl Avx2 {
        pub(super) fn new() -> Option<Self> {
            is_x86_feature_detected!("avx2").then_some(Self(()))
        }

        #[inline]
        pub(super) fn run(self, a: &[i8], b: &[i8]) -> i32 {
            // SAFETY: `self` exists, so `new` saw AVX2; tested against the portable sum in `every_kernel_agrees`.
            unsafe { avx2(a, b) }
        }
    }

    /// 16 values a step: widened to 16 bits, so that no sum of two products can saturate.
    #[target_feature(enable = "avx2")]
    fn avx2(a: &[i8], b: &[i8]) -> i32 {
        let (a16, a_rest) = a.as_chunks::<16>();
        let (b16, b_rest) = b.as_chunks::<16>();
        let mut sum = _mm256_setzero_si256();
        for (x, y) in a16.iter().zip(b16) {
            // SAFETY: `x` and `y` are 16 bytes each, and the loads are unaligned ones.
            let (x, y) = unsafe { (_mm_loadu_si128(x.as_ptr().cast()), _mm_loadu_si128(y.as_ptr().cast())) };
            let products = _mm256_madd_epi16(_mm256_cvtepi8_epi16(x), _mm256_cvtepi8_epi16(y));
            sum = _mm256_add_epi32(sum, products);
        }
        let half = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
        let quarter = _mm_add_epi32(half, _mm_shuffle_epi32::<0b01_00_11_10>(half));
        let one = _mm_add_epi32(quarter, _mm_shuffle_epi32::<0b10_11_00_01>(quarter));
        _mm_cvtsi128_si32(one) + super::portable(a_rest, b_rest)
    }
}

#[cfg(target_arch = "aarch64")]
#[allow(unsafe_code, reason = "the vector instructions of the processor")]
mod arm {
    use std::arch::aarch64::*;

    /// Exists only where NEON is: on every 64-bit ARM processor that runs an operating system.
    #[derive(Debug, Clone, Copy)]
    pub(super) struct Neon(());

    impl Neon {
        pub(super) fn new() -> Option<Self> {
            std::arch::is_aarch64_feature_detected!("neon").then_some(Self(()))
        }

        #[inline]
        pub(super) fn run(self, a: &[i8], b: &[i8]) -> i32 {
            // SAFETY: `self` exists, so `new` saw NEON; tested against the portable sum in `every_kernel_agrees`.
            unsafe { neon(a, b) }
        }
    }

    /// 16 values a step: products of 16 bits, added in pairs to 32-bit sums.
    #[target_feature(enable = "neon")]
    fn neon(a: &[i8], b: &[i8]) -> i32 {
        let (a16, a_rest) = a.as_chunks::<16>();
        let (b16, b_rest) = b.as_chunks::<16>();
        let mut sum = vdupq_n_s32(0);
        for (x, y) in a16.iter().zip(b16) {
            // SAFETY: `x` and `y` are 16 bytes each.
            let (x, y) = unsafe { (vld1q_s8(x.as_ptr()), vld1q_s8(y.as_ptr())) };
            sum = vpadalq_s16(sum, vmull_s8(vget_low_s8(x), vget_low_s8(y)));
            sum = vpadalq_s16(sum, vmull_high_s8(x, y));
        }
        vaddvq_s32(sum) + super::portable(a_rest, b_rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What every kernel of this machine gives; at least the portable one.
    fn all(a: &[i8], b: &[i8]) -> Vec<i32> {
        let mut results = vec![portable(a, b), dot_i8(a, b)];
        #[cfg(target_arch = "x86_64")]
        {
            results.extend(x86::Avx2::new().map(|dot| dot.run(a, b)));
            results.extend(x86::Avx512::new().map(|dot| dot.run(a, b)));
        }
        #[cfg(target_arch = "aarch64")]
        results.extend(arm::Neon::new().map(|dot| dot.run(a, b)));
        results
    }

    #[test]
    fn extremes_do_not_overflow() {
        assert!(all(&[-127; 4096], &[127; 4096]).iter().all(|&r| r == -127 * 127 * 4096));
        assert!(all(&[-128; 4096], &[-128; 4096]).iter().all(|&r| r == 128 * 128 * 4096));
        assert!(all(&[], &[]).iter().all(|&r| r == 0));
        assert_eq!(dot_i8(&[1, 2, 3], &[4, -5, 6, 7]), 4 - 10 + 18);
    }

    proptest! {
        #[test]
        fn every_kernel_agrees(rows in proptest::collection::vec((any::<i8>(), any::<i8>()), 0..400)) {
            let (a, b): (Vec<i8>, Vec<i8>) = rows.into_iter().unzip();
            let exact: i32 = a.iter().zip(&b).map(|(&x, &y)| i32::from(x) * i32::from(y)).sum();
            for result in all(&a, &b) {
                prop_assert_eq!(result, exact);
            }
        }
    }
}
