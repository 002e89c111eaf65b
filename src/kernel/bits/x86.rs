//! AVX-512 with VPOPCNTDQ, and AVX2.

use std::arch::x86_64::*;

use super::{BitsQuery, GROUP_FACTORS, PLANES, Tables, WORD};

/// Proof that the processor has AVX-512 F and VPOPCNTDQ.
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx512(());

impl Avx512 {
    pub(super) fn new() -> Option<Self> {
        let there = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vpopcntdq");
        there.then_some(Self(()))
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
        // SAFETY: `self` exists, so `new` saw the features; tested against the portable form.
        unsafe { scan512(query, codes, factors, base, bar, found) }
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
        // SAFETY: as in `scan`; tested against `scan`.
        unsafe { some512(query, (codes, factors, masks), base, bar, found) }
    }
}

#[target_feature(enable = "avx512f,avx512vpopcntdq")]
fn scan512(
    query: &BitsQuery,
    codes: &[u8],
    factors: &[u8],
    base: f32,
    bar: f32,
    found: impl FnMut(usize, u16) -> f32,
) {
    super::scan(query, codes, factors, bar, found, |group, factors, bar| {
        group512(query, group, factors, base, bar)
    });
}

#[target_feature(enable = "avx512f,avx512vpopcntdq")]
fn some512(
    query: &BitsQuery,
    (codes, factors, masks): (&[u8], &[u8], &[u16]),
    base: f32,
    bar: f32,
    found: impl FnMut(usize, u16) -> f32,
) {
    super::scan_some(query, codes, factors, masks, bar, found, |group, factors, _, bar| {
        group512(query, group, factors, base, bar)
    });
}

/// Which rows of a group reach `bar`.
#[target_feature(enable = "avx512f,avx512vpopcntdq")]
#[inline]
fn group512(query: &BitsQuery, group: &[u8], factors: &[u8; GROUP_FACTORS], base: f32, bar: f32) -> u16 {
    let total = _mm512_set1_epi32(query.total);
    let (step, width) = (_mm512_set1_ps(query.step), _mm512_set1_ps(query.width));
    let (base, bar) = (_mm512_set1_ps(base), _mm512_set1_ps(bar));
    let mut sums = [_mm512_setzero_si512(); PLANES];
    for (word, rows) in query.words.iter().zip(group.as_chunks::<WORD>().0) {
        // SAFETY: 64 bytes, unaligned load.
        let rows = unsafe { _mm512_loadu_si512(rows.as_ptr().cast()) };
        let sign = _mm512_set1_epi32(word.sign.cast_signed());
        for (sum, plane) in sums.iter_mut().zip(word.planes) {
            // (rows ^ sign) & plane
            let both = _mm512_ternarylogic_epi32::<0x28>(rows, sign, _mm512_set1_epi32(plane.cast_signed()));
            *sum = _mm512_add_epi32(*sum, _mm512_popcnt_epi32(both));
        }
    }
    let low = _mm512_add_epi32(sums[0], _mm512_slli_epi32::<1>(sums[1]));
    let high = _mm512_add_epi32(sums[2], _mm512_slli_epi32::<1>(sums[3]));
    let sum = _mm512_add_epi32(low, _mm512_slli_epi32::<2>(high));
    let dot = _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_slli_epi32::<1>(sum), total));
    let dot = _mm512_mul_ps(dot, step);
    // SAFETY: 64 bytes, unaligned load.
    let factors = unsafe { _mm512_loadu_si512(factors.as_ptr().cast()) };
    let a = _mm512_castsi512_ps(_mm512_slli_epi32::<16>(factors));
    let upper = _mm512_set1_epi32(0xffff_0000u32.cast_signed());
    let e = _mm512_castsi512_ps(_mm512_and_si512(factors, upper));
    let bound = _mm512_add_ps(base, _mm512_mul_ps(a, dot));
    let bound = _mm512_add_ps(bound, _mm512_mul_ps(e, width));
    _mm512_cmp_ps_mask::<_CMP_GE_OQ>(bound, bar)
}

/// Proof that the processor has AVX2 and POPCNT.
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx2(());

impl Avx2 {
    pub(super) fn new() -> Option<Self> {
        let there = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt");
        there.then_some(Self(()))
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
        // SAFETY: `self` exists, so `new` saw AVX2; tested against the portable form.
        unsafe { scan256(query, codes, factors, base, bar, found) }
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
        // SAFETY: as in `scan`, and POPCNT; tested against `scan`.
        unsafe { some256(query, (codes, factors, masks), base, bar, found) }
    }
}

/// Rows of a group up to which their sums are made one by one.
const FEW: u32 = 4;

/// Without AVX2: with it compilers count the bits of the four planes by vector code, which takes longer than four
/// instructions that count.
#[target_feature(enable = "popcnt")]
#[inline(never)]
fn few(
    query: &BitsQuery,
    group: &[u8],
    factors: &[u8; GROUP_FACTORS],
    mask: u16,
    base: f32,
    bar: f32,
) -> u16 {
    query.few(group, factors, mask, base, bar)
}

#[target_feature(enable = "avx2,popcnt")]
fn some256(
    query: &BitsQuery,
    (codes, factors, masks): (&[u8], &[u8], &[u16]),
    base: f32,
    bar: f32,
    found: impl FnMut(usize, u16) -> f32,
) {
    let tables = query.tables();
    super::scan_some(query, codes, factors, masks, bar, found, |group, factors, mask, bar| {
        if mask.count_ones() <= FEW {
            few(query, group, factors, mask, base, bar)
        } else {
            group256(query, tables, group, factors, base, bar)
        }
    });
}

#[target_feature(enable = "avx2")]
fn scan256(
    query: &BitsQuery,
    codes: &[u8],
    factors: &[u8],
    base: f32,
    bar: f32,
    found: impl FnMut(usize, u16) -> f32,
) {
    let tables = query.tables();
    super::scan(query, codes, factors, bar, found, |group, factors, bar| {
        group256(query, tables, group, factors, base, bar)
    });
}

/// Which rows of a group reach `bar`.
#[target_feature(enable = "avx2")]
#[inline]
fn group256(
    query: &BitsQuery,
    tables: &[Tables],
    group: &[u8],
    factors: &[u8; GROUP_FACTORS],
    base: f32,
    bar: f32,
) -> u16 {
    let total = _mm256_set1_epi32(query.total);
    let (step, width) = (_mm256_set1_ps(query.step), _mm256_set1_ps(query.width));
    let upper = _mm256_set1_epi32(0xffff_0000u32.cast_signed());
    let (base, bar) = (_mm256_set1_ps(base), _mm256_set1_ps(bar));
    let mut mask = 0;
    for (half, (sum, factors)) in
        sums256(tables, group).into_iter().zip(factors.as_chunks::<32>().0).enumerate()
    {
        let dot = _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_slli_epi32::<1>(sum), total));
        let dot = _mm256_mul_ps(dot, step);
        // SAFETY: 32 bytes, unaligned load.
        let factors = unsafe { _mm256_loadu_si256(factors.as_ptr().cast()) };
        let a = _mm256_castsi256_ps(_mm256_slli_epi32::<16>(factors));
        let e = _mm256_castsi256_ps(_mm256_and_si256(factors, upper));
        let bound = _mm256_add_ps(base, _mm256_mul_ps(a, dot));
        let bound = _mm256_add_ps(bound, _mm256_mul_ps(e, width));
        let reaches = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GE_OQ>(bound, bar));
        mask |= (reaches as u16) << (8 * half);
    }
    mask
}

/// Words whose sums fit 16 bits: each adds at most 240 in each half of a register.
const WORDS: usize = 128;

/// The sums of 16 rows, 8 a register: what four bits of a row add is looked up, for 16 rows at once.
#[target_feature(enable = "avx2")]
#[inline]
fn sums256(tables: &[Tables], group: &[u8]) -> [__m256i; 2] {
    let (nibble, byte) = (_mm256_set1_epi8(15), _mm256_set1_epi16(0xff));
    // Of four rows all first bytes, all second ones, and so on.
    let apart =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    let mut sums = [_mm256_setzero_si256(); 2];
    for (tables, group) in tables.chunks(WORDS).zip(group.chunks(WORDS * WORD)) {
        let (mut even, mut odd) = (_mm256_setzero_si256(), _mm256_setzero_si256());
        for (Tables(tables), rows) in tables.iter().zip(group.as_chunks::<WORD>().0) {
            let rows = rows.as_chunks::<32>().0;
            // SAFETY: 32 bytes, unaligned load.
            let load = |half: usize| unsafe { _mm256_loadu_si256(rows[half].as_ptr().cast()) };
            let (low, high) = (_mm256_shuffle_epi8(load(0), apart), _mm256_shuffle_epi8(load(1), apart));
            // The first byte of every row in one half of the register and the second in the other; then the third and
            // the fourth. The rows are then in the order 0..4, 8..12, 4..8, 12..16.
            let firsts = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_unpacklo_epi32(low, high));
            let lasts = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_unpackhi_epi32(low, high));
            let look = |table: &[[u8; 16]; 2], nibbles: __m256i| {
                // SAFETY: 32 bytes, unaligned load.
                let table = unsafe { _mm256_loadu_si256(table.as_ptr().cast()) };
                _mm256_shuffle_epi8(table, _mm256_and_si256(nibbles, nibble))
            };
            let firsts =
                _mm256_add_epi8(look(&tables[0], firsts), look(&tables[1], _mm256_srli_epi16::<4>(firsts)));
            let lasts =
                _mm256_add_epi8(look(&tables[2], lasts), look(&tables[3], _mm256_srli_epi16::<4>(lasts)));
            let all = _mm256_add_epi8(firsts, lasts);
            even = _mm256_add_epi16(even, _mm256_and_si256(all, byte));
            odd = _mm256_add_epi16(odd, _mm256_srli_epi16::<8>(all));
        }
        let halves =
            |sums: __m256i| _mm_add_epi16(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
        let (even, odd) = (halves(even), halves(odd));
        let some = _mm256_cvtepu16_epi32(_mm_unpacklo_epi16(even, odd));
        let others = _mm256_cvtepu16_epi32(_mm_unpackhi_epi16(even, odd));
        sums[0] = _mm256_add_epi32(sums[0], _mm256_permute2x128_si256::<0x20>(some, others));
        sums[1] = _mm256_add_epi32(sums[1], _mm256_permute2x128_si256::<0x31>(some, others));
    }
    sums
}
