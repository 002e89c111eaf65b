//! Dot products of bytes, and of a query of 12 bits a value with them: exact integers, so every implementation gives the
//! same result.
//!
//! A query meets many rows, so it is prepared once: [`WideQuery`]. With AVX-512 it multiplies bytes, 64 at a time; for that
//! one side has to be unsigned, so the row is taken 128 higher, and 128 times the sum of the query is subtracted at the
//! end.
//!
//! Each implementation is a type that exists only where the processor can run it, so that calling it is safe.

use std::ops::Range;
use std::sync::OnceLock;

/// `sum(a[i] * b[i])` over the shorter of the two.
///
/// Exact: at most 4096 products of magnitude 2^14 stay below 2^31.
#[inline]
pub(crate) fn dot_i8(a: &[i8], b: &[i8]) -> i32 {
    let len = a.len().min(b.len());
    Dot::get().bytes(&a[..len], &b[..len])
}

/// 64 values of the high and of the low plane of a query, each a cache line.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Planes([[i8; 64]; 2]);

/// Values of 12 bits of one block of a query, to be multiplied with that block of the lower planes of many rows.
#[derive(Debug, Clone)]
pub(crate) struct WideQuery {
    dot: Dot,
    /// The values, and where they lie in a row.
    values: Vec<i16>,
    block: Range<usize>,
    /// Their upper eight and lower four bits, 64 values of each in turn. They begin and end with zeros, at multiples of 64
    /// of the row: rows lie at such multiples, and so no load of one goes over the end of a cache line.
    planes: Vec<Planes>,
    /// 128 times the sum of the values; wraps, as what it is subtracted from does.
    raised: i32,
}

impl WideQuery {
    /// `values`, -2048 to 2047 (any that two planes can tell), begin at place `start` of a row; no more than 4096 places.
    pub(crate) fn new(values: &[i16], start: usize) -> Self {
        Self::on(Dot::get(), values, start)
    }

    fn on(dot: Dot, values: &[i16], start: usize) -> Self {
        let mut planes = vec![Planes([[0; 64]; 2]); (start % 64 + values.len()).div_ceil(64)];
        for (place, &value) in (start % 64..).zip(values) {
            let Planes([highs, lows]) = &mut planes[place / 64];
            (highs[place % 64], lows[place % 64]) = ((value >> 4) as i8, (value & 15) as i8);
        }
        let sum = values.iter().map(|&v| i32::from(v)).sum::<i32>();
        let block = start..start + values.len();
        Self { dot, values: values.to_vec(), block, planes, raised: sum.wrapping_mul(128) }
    }

    /// `sum(query[i] * row[i])` over the block of a row of bytes.
    ///
    /// Exact: 4096 products of magnitude 2^18 (2048 by 128 at most) stay below 2^31.
    #[inline]
    pub(crate) fn dot(&self, row: &[i8]) -> i32 {
        let block = &row[self.block.clone()];
        match self.dot {
            #[cfg(target_arch = "x86_64")]
            Dot::Avx512(dot) => {
                let row = &row[self.block.start / 64 * 64..];
                dot.raised_wide(&self.planes, row).wrapping_sub(self.raised)
            }
            #[cfg(target_arch = "x86_64")]
            Dot::Avx2(dot) => dot.wide(&self.values, block),
            #[cfg(target_arch = "aarch64")]
            Dot::Neon(dot) => dot.wide(&self.values, block),
            Dot::Portable => portable_wide(&self.values, block),
        }
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
    /// The fastest that this processor has.
    #[inline]
    fn get() -> Self {
        static BEST: OnceLock<Dot> = OnceLock::new();
        *BEST.get_or_init(Self::best)
    }

    /// The sum of products of two slices of one length.
    #[inline]
    fn bytes(self, a: &[i8], b: &[i8]) -> i32 {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(dot) => dot.run(a, b),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(dot) => dot.run(a, b),
            #[cfg(target_arch = "aarch64")]
            Self::Neon(dot) => dot.run(a, b),
            Self::Portable => portable(a, b),
        }
    }

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

/// The same of a query of 16-bit values.
fn portable_wide(a: &[i16], b: &[i8]) -> i32 {
    a.iter().zip(b).map(|(&x, &y)| i32::from(x) * i32::from(i16::from(y))).sum()
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "the vector instructions of the processor")]
mod x86 {
    use std::arch::x86_64::*;

    use super::Planes;

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

        /// `sum((16 * high[i] + low[i]) * (row[i] + 128))` modulo 2^32; the query has zeros where the row goes on.
        #[inline]
        pub(super) fn raised_wide(self, planes: &[Planes], row: &[i8]) -> i32 {
            // SAFETY: as in `run`.
            unsafe { avx512_raised_wide(planes, row) }
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

    /// 64 values of a row, each 128 higher and so unsigned.
    #[target_feature(enable = "avx512f,avx512bw")]
    fn raised_64(row: &[i8; 64]) -> __m512i {
        // SAFETY: 64 bytes, and the load is an unaligned one.
        let values = unsafe { _mm512_loadu_si512(row.as_ptr().cast()) };
        _mm512_xor_si512(values, _mm512_set1_epi8(-128))
    }

    /// The last values of a row, fewer than 64, then what a query's zeros stand against.
    #[target_feature(enable = "avx512f,avx512bw")]
    fn raised_rest(rest: &[i8]) -> __m512i {
        let mask = (1u64 << rest.len().min(63)) - 1;
        // SAFETY: only bytes of `rest` are read, by the mask: a masked load touches no other.
        let values = unsafe { _mm512_maskz_loadu_epi8(mask, rest.as_ptr()) };
        _mm512_xor_si512(values, _mm512_set1_epi8(-128))
    }

    /// 64 values of a padded query.
    #[target_feature(enable = "avx512f")]
    fn query_64(values: &[i8; 64]) -> __m512i {
        // SAFETY: 64 bytes, and the load is an unaligned one.
        unsafe { _mm512_loadu_si512(values.as_ptr().cast()) }
    }

    /// Both planes of a query in one pass over the row, 64 products a step: bytes without sign by bytes with one, added in
    /// fours to 32-bit sums, without saturation.
    ///
    /// Only a row whose dimensions are no multiple of 64 has a rest. It is not taken by a masked load where it need not be:
    /// with those, rows that lie apart took twice as long.
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    fn avx512_raised_wide(planes: &[Planes], row: &[i8]) -> i32 {
        let (row, rest) = row.as_chunks::<64>();
        let (mut highs, mut lows) = (_mm512_setzero_si512(), _mm512_setzero_si512());
        for (Planes([high, low]), row) in planes.iter().zip(row) {
            let row = raised_64(row);
            highs = _mm512_dpbusd_epi32(highs, row, query_64(high));
            lows = _mm512_dpbusd_epi32(lows, row, query_64(low));
        }
        if let Some(Planes([high, low])) = planes.get(row.len()) {
            let row = raised_rest(rest);
            highs = _mm512_dpbusd_epi32(highs, row, query_64(high));
            lows = _mm512_dpbusd_epi32(lows, row, query_64(low));
        }
        _mm512_reduce_add_epi32(_mm512_add_epi32(_mm512_slli_epi32::<4>(highs), lows))
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

        /// The same of a query of 12-bit values.
        #[inline]
        pub(super) fn wide(self, a: &[i16], b: &[i8]) -> i32 {
            // SAFETY: as in `run`.
            unsafe { avx2_wide(a, b) }
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
        sum_of_eight(sum) + super::portable(a_rest, b_rest)
    }

    /// As `avx2`, of values that have 16 bits already.
    #[target_feature(enable = "avx2")]
    fn avx2_wide(a: &[i16], b: &[i8]) -> i32 {
        let (a16, a_rest) = a.as_chunks::<16>();
        let (b16, b_rest) = b.as_chunks::<16>();
        let mut sum = _mm256_setzero_si256();
        for (x, y) in a16.iter().zip(b16) {
            // SAFETY: `x` is 32 bytes and `y` 16, and the loads are unaligned ones.
            let (x, y) =
                unsafe { (_mm256_loadu_si256(x.as_ptr().cast()), _mm_loadu_si128(y.as_ptr().cast())) };
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(x, _mm256_cvtepi8_epi16(y)));
        }
        sum_of_eight(sum) + super::portable_wide(a_rest, b_rest)
    }

    #[target_feature(enable = "avx2")]
    fn sum_of_eight(sum: __m256i) -> i32 {
        let half = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
        let quarter = _mm_add_epi32(half, _mm_shuffle_epi32::<0b01_00_11_10>(half));
        let one = _mm_add_epi32(quarter, _mm_shuffle_epi32::<0b10_11_00_01>(quarter));
        _mm_cvtsi128_si32(one)
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

        /// The same of a query of 12-bit values.
        #[inline]
        pub(super) fn wide(self, a: &[i16], b: &[i8]) -> i32 {
            // SAFETY: as in `run`.
            unsafe { neon_wide(a, b) }
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

    /// As `neon`, of values that have 16 bits already: products of 32 bits.
    #[target_feature(enable = "neon")]
    fn neon_wide(a: &[i16], b: &[i8]) -> i32 {
        let (a16, a_rest) = a.as_chunks::<16>();
        let (b16, b_rest) = b.as_chunks::<16>();
        let (mut sum, mut other) = (vdupq_n_s32(0), vdupq_n_s32(0));
        for (x, y) in a16.iter().zip(b16) {
            // SAFETY: `x` is 16 values of 2 bytes, `y` 16 of one.
            let (x0, x1, y) =
                unsafe { (vld1q_s16(x.as_ptr()), vld1q_s16(x.as_ptr().add(8)), vld1q_s8(y.as_ptr())) };
            let (y0, y1) = (vmovl_s8(vget_low_s8(y)), vmovl_high_s8(y));
            sum = vmlal_s16(sum, vget_low_s16(x0), vget_low_s16(y0));
            other = vmlal_high_s16(other, x0, y0);
            sum = vmlal_s16(sum, vget_low_s16(x1), vget_low_s16(y1));
            other = vmlal_high_s16(other, x1, y1);
        }
        vaddvq_s32(vaddq_s32(sum, other)) + super::portable_wide(a_rest, b_rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Every kernel of this machine; at least the portable one.
    fn kernels() -> Vec<Dot> {
        let mut kernels = vec![Dot::Portable, Dot::get()];
        #[cfg(target_arch = "x86_64")]
        {
            kernels.extend(x86::Avx2::new().map(Dot::Avx2));
            kernels.extend(x86::Avx512::new().map(Dot::Avx512));
        }
        #[cfg(target_arch = "aarch64")]
        kernels.extend(arm::Neon::new().map(Dot::Neon));
        kernels
    }

    /// What every kernel gives for two slices.
    fn all(a: &[i8], b: &[i8]) -> Vec<i32> {
        kernels().into_iter().map(|dot| dot.bytes(a, b)).collect()
    }

    #[test]
    fn extremes_do_not_overflow() {
        assert!(all(&[-127; 4096], &[127; 4096]).iter().all(|&r| r == -127 * 127 * 4096));
        assert!(all(&[-128; 4096], &[-128; 4096]).iter().all(|&r| r == 128 * 128 * 4096));
        assert!(all(&[-128; 4095], &[127; 4095]).iter().all(|&r| r == -128 * 127 * 4095));
        assert!(all(&[], &[]).iter().all(|&r| r == 0));
        assert_eq!(dot_i8(&[1, 2, 3], &[4, -5, 6, 7]), 4 - 10 + 18);
    }

    /// Checks a query that lies at `start` of a row, on every kernel.
    fn check_wide(query: &[i16], start: usize, row: &[i8]) {
        let sum: i64 = query.iter().zip(&row[start..]).map(|(&q, &r)| i64::from(q) * i64::from(r)).sum();
        for dot in kernels() {
            assert_eq!(i64::from(WideQuery::on(dot, query, start).dot(row)), sum, "{dot:?}");
        }
    }

    /// What AVX-512 multiplies with, on every machine.
    #[test]
    fn planes_of_a_query_stand_for_its_values() {
        let values: Vec<i16> = (-2048..2048).collect();
        for start in [0, 3, 64] {
            let query = WideQuery::on(Dot::Portable, &values, start);
            let stand = |&Planes([highs, lows]): &Planes| -> Vec<i16> {
                highs.iter().zip(lows).map(|(&h, l)| 16 * i16::from(h) + i16::from(l)).collect()
            };
            let all: Vec<i16> = query.planes.iter().flat_map(stand).collect();
            assert_eq!(all[start % 64..][..values.len()], values);
            assert!(all[..start % 64].iter().chain(&all[start % 64 + values.len()..]).all(|&v| v == 0));
        }
    }

    #[test]
    fn wide_extremes_do_not_overflow() {
        for (len, start) in
            [(4096, 0), (4095, 1), (63, 0), (64, 64), (64, 3), (65, 2), (96, 160), (1, 127), (0, 4)]
        {
            for value in [2032, -2032, 2047, -2048, -8, 0] {
                for rest in [127, -128, 1, 0] {
                    for after in [0, 7] {
                        check_wide(&vec![value; len], start, &vec![rest; start + len + after]);
                    }
                }
            }
        }
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

        #[test]
        fn every_wide_kernel_agrees(
            values in proptest::collection::vec((-2048i16..2048, any::<i8>()), 0..400),
            start in prop_oneof![0usize..5, 0usize..200],
            after in prop_oneof![0usize..3, 0usize..100],
        ) {
            let (query, row): (Vec<i16>, Vec<i8>) = values.into_iter().unzip();
            let start = start.min(row.len());
            let end = query.len().saturating_sub(after).max(start);
            check_wide(&query[start..end], start, &row);
        }
    }
}
