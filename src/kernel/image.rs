//! What decoding pictures needs of a processor: inverse DCTs and colour conversion of many values at once.
//!
//! [`Avx2`] can only be made where the processor has the instructions (the pattern of the `memchr` crate), so its
//! methods are safe. Each gives the bits of a scalar twin beside its caller, for any input: all arithmetic is of
//! integers that wrap.

#![allow(unsafe_code)]

/// A piece of work that gains from wider instructions without naming them.
pub(crate) trait Work {
    /// What it yields.
    type Output;

    /// Does it. To be `#[inline(always)]`, like all that it calls and that is to gain.
    fn run(self) -> Self::Output;
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::Avx2;

#[cfg(not(target_arch = "x86_64"))]
pub(crate) use other::Avx2;

/// Does `work` with the instructions of `simd`, or with those that every processor has.
#[inline]
pub(crate) fn run<W: Work>(simd: Option<Avx2>, work: W) -> W::Output {
    match simd {
        Some(simd) => simd.run(work),
        None => work.run(),
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod other {
    /// Never made.
    #[derive(Clone, Copy, Debug)]
    pub(crate) enum Avx2 {}

    impl Avx2 {
        pub(crate) fn new() -> Option<Self> {
            None
        }

        pub(crate) fn run<W: super::Work>(self, _work: W) -> W::Output {
            match self {}
        }

        pub(crate) fn idct8(self, _coefficients: &[i32; 64]) -> [[u8; 8]; 8] {
            match self {}
        }

        pub(crate) fn idct4(self, _coefficients: &[i32; 64]) -> [[u8; 4]; 4] {
            match self {}
        }

        pub(crate) fn ycbcr(self, _y: &[u8; 16], _cb: &[u8; 16], _cr: &[u8; 16]) -> [u8; 48] {
            match self {}
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::Work;

    /// A processor with AVX2, and with the bit instructions that came with it.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Avx2(());

    impl Avx2 {
        /// None if the processor does not have all of them.
        pub(crate) fn new() -> Option<Self> {
            let has = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("bmi1")
                && is_x86_feature_detected!("bmi2");
            has.then_some(Self(()))
        }

        #[inline]
        pub(crate) fn run<W: Work>(self, work: W) -> W::Output {
            // SAFETY: `new` saw the three features; the only way to a value of this type.
            unsafe { run(work) }
        }

        /// The samples of a block, from its dequantised coefficients in row-major order.
        #[inline(always)]
        pub(crate) fn idct8(self, coefficients: &[i32; 64]) -> [[u8; 8]; 8] {
            // SAFETY: as in `run`.
            unsafe { idct8(coefficients) }
        }

        /// The samples of a block at half its size, from its lowest 4 x 4 coefficients.
        #[inline(always)]
        pub(crate) fn idct4(self, coefficients: &[i32; 64]) -> [[u8; 4]; 4] {
            // SAFETY: as in `run`.
            unsafe { idct4(coefficients) }
        }

        /// 16 pixels of JFIF's YCbCr as RGB.
        #[inline(always)]
        pub(crate) fn ycbcr(self, y: &[u8; 16], cb: &[u8; 16], cr: &[u8; 16]) -> [u8; 48] {
            // SAFETY: as in `run`.
            unsafe { ycbcr(y, cb, cr) }
        }
    }

    #[target_feature(enable = "avx2,bmi1,bmi2")]
    fn run<W: Work>(work: W) -> W::Output {
        work.run()
    }

    const CONST_BITS: i32 = 13;
    /// Shifts after the two passes, and half of what they take away.
    const SHIFT1: i32 = CONST_BITS - 2;
    const SHIFT2: i32 = CONST_BITS + 5;

    #[target_feature(enable = "avx2")]
    #[inline]
    fn times(v: __m256i, factor: i32) -> __m256i {
        _mm256_mullo_epi32(v, _mm256_set1_epi32(factor))
    }

    /// One dimension of eight transforms at once, each in a lane: see `transform` of the scalar twin.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn pass8<const SHIFT: i32>(s: [__m256i; 8]) -> [__m256i; 8] {
        let z1 = times(_mm256_add_epi32(s[2], s[6]), 4433);
        let t2 = _mm256_sub_epi32(z1, times(s[6], 15137));
        let t3 = _mm256_add_epi32(z1, times(s[2], 6270));
        let round = _mm256_set1_epi32(1 << (SHIFT - 1));
        let t0 = _mm256_slli_epi32::<CONST_BITS>(_mm256_add_epi32(s[0], s[4]));
        let t1 = _mm256_slli_epi32::<CONST_BITS>(_mm256_sub_epi32(s[0], s[4]));
        let (t0, t1) = (_mm256_add_epi32(t0, round), _mm256_add_epi32(t1, round));
        let (e0, e3) = (_mm256_add_epi32(t0, t3), _mm256_sub_epi32(t0, t3));
        let (e1, e2) = (_mm256_add_epi32(t1, t2), _mm256_sub_epi32(t1, t2));

        let (t0, t1, t2, t3) = (s[7], s[5], s[3], s[1]);
        let (z3, z4) = (_mm256_add_epi32(t0, t2), _mm256_add_epi32(t1, t3));
        let z5 = times(_mm256_add_epi32(z3, z4), 9633);
        let z1 = times(_mm256_add_epi32(t0, t3), -7373);
        let z2 = times(_mm256_add_epi32(t1, t2), -20995);
        let z3 = _mm256_add_epi32(times(z3, -16069), z5);
        let z4 = _mm256_add_epi32(times(z4, -3196), z5);
        let three = |a, b, c| _mm256_add_epi32(a, _mm256_add_epi32(b, c));
        let o0 = three(times(t0, 2446), z1, z3);
        let o1 = three(times(t1, 16819), z2, z4);
        let o2 = three(times(t2, 25172), z2, z3);
        let o3 = three(times(t3, 12299), z1, z4);
        [
            _mm256_srai_epi32::<SHIFT>(_mm256_add_epi32(e0, o3)),
            _mm256_srai_epi32::<SHIFT>(_mm256_add_epi32(e1, o2)),
            _mm256_srai_epi32::<SHIFT>(_mm256_add_epi32(e2, o1)),
            _mm256_srai_epi32::<SHIFT>(_mm256_add_epi32(e3, o0)),
            _mm256_srai_epi32::<SHIFT>(_mm256_sub_epi32(e3, o0)),
            _mm256_srai_epi32::<SHIFT>(_mm256_sub_epi32(e2, o1)),
            _mm256_srai_epi32::<SHIFT>(_mm256_sub_epi32(e1, o2)),
            _mm256_srai_epi32::<SHIFT>(_mm256_sub_epi32(e0, o3)),
        ]
    }

    /// Rows become columns.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn transpose8(r: [__m256i; 8]) -> [__m256i; 8] {
        let (a0, a1) = (_mm256_unpacklo_epi32(r[0], r[1]), _mm256_unpackhi_epi32(r[0], r[1]));
        let (a2, a3) = (_mm256_unpacklo_epi32(r[2], r[3]), _mm256_unpackhi_epi32(r[2], r[3]));
        let (a4, a5) = (_mm256_unpacklo_epi32(r[4], r[5]), _mm256_unpackhi_epi32(r[4], r[5]));
        let (a6, a7) = (_mm256_unpacklo_epi32(r[6], r[7]), _mm256_unpackhi_epi32(r[6], r[7]));
        let (b0, b1) = (_mm256_unpacklo_epi64(a0, a2), _mm256_unpackhi_epi64(a0, a2));
        let (b2, b3) = (_mm256_unpacklo_epi64(a1, a3), _mm256_unpackhi_epi64(a1, a3));
        let (b4, b5) = (_mm256_unpacklo_epi64(a4, a6), _mm256_unpackhi_epi64(a4, a6));
        let (b6, b7) = (_mm256_unpacklo_epi64(a5, a7), _mm256_unpackhi_epi64(a5, a7));
        [
            _mm256_permute2x128_si256::<0x20>(b0, b4),
            _mm256_permute2x128_si256::<0x20>(b1, b5),
            _mm256_permute2x128_si256::<0x20>(b2, b6),
            _mm256_permute2x128_si256::<0x20>(b3, b7),
            _mm256_permute2x128_si256::<0x31>(b0, b4),
            _mm256_permute2x128_si256::<0x31>(b1, b5),
            _mm256_permute2x128_si256::<0x31>(b2, b6),
            _mm256_permute2x128_si256::<0x31>(b3, b7),
        ]
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn idct8(coefficients: &[i32; 64]) -> [[u8; 8]; 8] {
        let rows: [__m256i; 8] = bytemuck::cast(*coefficients);
        let columns = transpose8(pass8::<SHIFT1>(rows));
        let v = pass8::<SHIFT2>(columns);
        // Values of 14 bits: the sums with 128 fit in 16 bits, the last packing clamps to 0..=255.
        let middle = _mm256_set1_epi16(128);
        let pack = |a, b| _mm256_add_epi16(_mm256_packs_epi32(a, b), middle);
        // In each half, four columns of four rows.
        let left = _mm256_packus_epi16(pack(v[0], v[1]), pack(v[2], v[3]));
        let right = _mm256_packus_epi16(pack(v[4], v[5]), pack(v[6], v[7]));
        let turn =
            _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
        let (left, right) = (_mm256_shuffle_epi8(left, turn), _mm256_shuffle_epi8(right, turn));
        let [r0, r1, r4, r5]: [[u8; 8]; 4] = bytemuck::cast(_mm256_unpacklo_epi32(left, right));
        let [r2, r3, r6, r7]: [[u8; 8]; 4] = bytemuck::cast(_mm256_unpackhi_epi32(left, right));
        [r0, r1, r2, r3, r4, r5, r6, r7]
    }

    /// One dimension of four transforms at once: see `transform4` of the scalar twin.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn pass4<const SHIFT: i32>(s: [__m128i; 4]) -> [__m128i; 4] {
        let times = |v, factor| _mm_mullo_epi32(v, _mm_set1_epi32(factor));
        let z1 = times(_mm_add_epi32(s[1], s[3]), 4433);
        let o0 = _mm_add_epi32(z1, times(s[1], 6270));
        let o1 = _mm_sub_epi32(z1, times(s[3], 15137));
        let round = _mm_set1_epi32(1 << (SHIFT - 1));
        let e0 = _mm_add_epi32(_mm_slli_epi32::<CONST_BITS>(_mm_add_epi32(s[0], s[2])), round);
        let e1 = _mm_add_epi32(_mm_slli_epi32::<CONST_BITS>(_mm_sub_epi32(s[0], s[2])), round);
        [
            _mm_srai_epi32::<SHIFT>(_mm_add_epi32(e0, o0)),
            _mm_srai_epi32::<SHIFT>(_mm_add_epi32(e1, o1)),
            _mm_srai_epi32::<SHIFT>(_mm_sub_epi32(e1, o1)),
            _mm_srai_epi32::<SHIFT>(_mm_sub_epi32(e0, o0)),
        ]
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn idct4(coefficients: &[i32; 64]) -> [[u8; 4]; 4] {
        let halves: [__m128i; 16] = bytemuck::cast(*coefficients);
        let r = pass4::<SHIFT1>([halves[0], halves[2], halves[4], halves[6]]);
        let (a0, a1) = (_mm_unpacklo_epi32(r[0], r[1]), _mm_unpackhi_epi32(r[0], r[1]));
        let (a2, a3) = (_mm_unpacklo_epi32(r[2], r[3]), _mm_unpackhi_epi32(r[2], r[3]));
        let v = pass4::<SHIFT2>([
            _mm_unpacklo_epi64(a0, a2),
            _mm_unpackhi_epi64(a0, a2),
            _mm_unpacklo_epi64(a1, a3),
            _mm_unpackhi_epi64(a1, a3),
        ]);
        let middle = _mm_set1_epi16(128);
        let pack = |a, b| _mm_add_epi16(_mm_packs_epi32(a, b), middle);
        let columns = _mm_packus_epi16(pack(v[0], v[1]), pack(v[2], v[3]));
        let turn = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
        bytemuck::cast(_mm_shuffle_epi8(columns, turn))
    }

    /// The high half of `v * factor`, rounded to nearest.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn high(v: __m256i, factor: i16) -> __m256i {
        let factor = _mm256_set1_epi16(factor);
        let low = _mm256_mullo_epi16(v, factor);
        _mm256_add_epi16(_mm256_mulhi_epi16(v, factor), _mm256_srli_epi16::<15>(low))
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn ycbcr(y: &[u8; 16], cb: &[u8; 16], cr: &[u8; 16]) -> [u8; 48] {
        let wide = |bytes: &[u8; 16]| _mm256_cvtepu8_epi16(bytemuck::cast(*bytes));
        let middle = _mm256_set1_epi16(128);
        let (y, cb, cr) = (wide(y), _mm256_sub_epi16(wide(cb), middle), _mm256_sub_epi16(wide(cr), middle));
        let r = _mm256_add_epi16(_mm256_add_epi16(y, cr), high(cr, 26_345));
        let b = _mm256_add_epi16(_mm256_add_epi16(y, _mm256_add_epi16(cb, cb)), high(cb, -14_942));
        // Two products of 16 bits are summed in each lane of 32.
        let factors = _mm256_set1_epi32(((18_734 << 16) as u32 | (-22_554i16) as u16 as u32) as i32);
        let green = |pairs| {
            let sum = _mm256_add_epi32(_mm256_madd_epi16(pairs, factors), _mm256_set1_epi32(1 << 15));
            _mm256_srai_epi32::<16>(sum)
        };
        let (low, high) = (_mm256_unpacklo_epi16(cb, cr), _mm256_unpackhi_epi16(cb, cr));
        let g = _mm256_add_epi16(_mm256_sub_epi16(y, cr), _mm256_packs_epi32(green(low), green(high)));
        let narrow =
            |v: __m256i| _mm_packus_epi16(_mm256_castsi256_si128(v), _mm256_extracti128_si256::<1>(v));
        interleave(narrow(r), narrow(g), narrow(b))
    }

    /// 16 values of each colour as 16 pixels.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn interleave(r: __m128i, g: __m128i, b: __m128i) -> [u8; 48] {
        // For each third of the pixels, where its bytes stand in the colour; -1 is another colour's.
        const PLACES: [[[i8; 16]; 3]; 3] = places();
        let third = |places: &[[i8; 16]; 3]| {
            let take = |colour, places: [i8; 16]| _mm_shuffle_epi8(colour, bytemuck::cast(places));
            _mm_or_si128(_mm_or_si128(take(r, places[0]), take(g, places[1])), take(b, places[2]))
        };
        bytemuck::cast([third(&PLACES[0]), third(&PLACES[1]), third(&PLACES[2])])
    }

    const fn places() -> [[[i8; 16]; 3]; 3] {
        let mut places = [[[-1i8; 16]; 3]; 3];
        let mut byte = 0;
        while byte < 48 {
            places[byte / 16][byte % 3][byte % 16] = (byte / 3) as i8;
            byte += 1;
        }
        places
    }
}
