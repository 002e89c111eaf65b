//! Upper bounds of scores from codes of one bit a value: what most rows of a probed list are dismissed by.
//!
//! A row's code is the signs of its (rotated) difference from a centre. Rows lie in groups of 16, their codes
//! interleaved by words of 32 bits, so that 16 rows are 16 lanes: `[words][16]` u32, little-endian. The query's
//! values are kept as a sign and four bits of magnitude; the dot product of the two is then the exact integer
//! `2 T - M` with `T = sum_p 2^p popcount((row ^ sign) & plane_p)` and M the sum of the magnitudes.
//!
//! Integers are exact and the few f32 operations after them are the same ones in the same order everywhere, so every
//! implementation gives the same answer to the bit.

/// Rows of a group.
pub(crate) const GROUP: usize = 16;
/// Bytes of a group's factors: of each row `a` and `e`, the upper halves of two f32.
pub(crate) const GROUP_FACTORS: usize = GROUP * 4;
/// Bits of a query value's magnitude.
const PLANES: usize = 4;
/// Largest magnitude.
const TOP: f32 = 15.0;
/// Bytes of 32 bits of each row of a group.
const WORD: usize = GROUP * 4;

/// Values of a code that a vector of so many is padded to.
pub(crate) fn padded(dims: usize) -> usize {
    dims.next_multiple_of(32)
}

/// Bytes of the codes of a group.
pub(crate) fn group_bytes(dims: usize) -> usize {
    dims.div_ceil(32) * WORD
}

/// A query, ready to be compared with codes.
#[derive(Debug, Clone)]
pub(crate) struct BitsQuery {
    words: Vec<Word>,
    /// The words two by two, for sums of single rows with AVX2.
    #[cfg(target_arch = "x86_64")]
    pairs: Vec<Pair>,
    /// For AVX2; made by the first scan that uses them.
    #[cfg(target_arch = "x86_64")]
    tables: std::sync::OnceLock<Vec<Tables>>,
    /// Sum of the magnitudes.
    total: i32,
    /// What a magnitude of one stands for.
    step: f32,
    /// What a row's `e` is multiplied by: the width of the bound, in standard deviations, times the query's norm.
    width: f32,
}

#[derive(Debug, Clone, Copy, Default)]
struct Word {
    /// Set where the query is negative.
    sign: u32,
    planes: [u32; PLANES],
}

/// The same of two words, the first in the lower half.
#[cfg(target_arch = "x86_64")]
#[derive(Debug, Clone, Copy)]
struct Pair {
    sign: u64,
    planes: [u64; PLANES],
}

#[cfg(target_arch = "x86_64")]
impl Pair {
    fn new(first: Word, second: Word) -> Self {
        let both = |a: u32, b: u32| u64::from(b) << 32 | u64::from(a);
        let planes = std::array::from_fn(|p| both(first.planes[p], second.planes[p]));
        Self { sign: both(first.sign, second.sign), planes }
    }
}

/// What four bits of a row add to its sum `T`, at most 60, for each of their 16 values: of the low four bits of the first
/// and second byte of a word, of their high four bits, and the same of the third and fourth byte.
#[cfg(target_arch = "x86_64")]
#[derive(Debug, Clone, Copy)]
struct Tables([[[u8; 16]; 2]; 4]);

#[cfg(target_arch = "x86_64")]
impl Word {
    fn tables(&self) -> Tables {
        let of = |first: u32| {
            let adds: [[u8; 2]; 4] = std::array::from_fn(|bit| {
                let bit = first + bit as u32;
                let plane = |p: usize| ((self.planes[p] >> bit & 1) as u8) << p;
                let magnitude = (0..PLANES).map(plane).sum();
                // Of a row's bit that is not set, and of one that is.
                if self.sign >> bit & 1 == 1 { [magnitude, 0] } else { [0, magnitude] }
            });
            std::array::from_fn(|value| (0..4).map(|bit| adds[bit][value >> bit & 1]).sum())
        };
        Tables([[of(0), of(8)], [of(4), of(12)], [of(16), of(24)], [of(20), of(28)]])
    }
}

impl BitsQuery {
    /// `values`: rotated, padded with zeros to a multiple of 32.
    pub(crate) fn new(values: &[f32], width: f32) -> Self {
        let max = values.iter().fold(0.0f32, |max, v| max.max(v.abs()));
        let step = max / TOP;
        let mut total = 0;
        let words = values.chunks(32).map(|chunk| {
            let mut word = Word::default();
            for (bit, &value) in chunk.iter().enumerate() {
                let magnitude = if step > 0.0 { (value.abs() / step).round().min(TOP) as u32 } else { 0 };
                total += magnitude as i32;
                word.sign |= u32::from(value < 0.0) << bit;
                for (p, plane) in word.planes.iter_mut().enumerate() {
                    *plane |= (magnitude >> p & 1) << bit;
                }
            }
            word
        });
        let words: Vec<Word> = words.collect();
        #[cfg(target_arch = "x86_64")]
        let pairs = words.chunks(2).map(|pair| Pair::new(pair[0], pair.get(1).copied().unwrap_or_default()));
        Self {
            #[cfg(target_arch = "x86_64")]
            pairs: pairs.collect(),
            words,
            #[cfg(target_arch = "x86_64")]
            tables: std::sync::OnceLock::new(),
            total,
            step,
            width,
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn tables(&self) -> &[Tables] {
        self.tables.get_or_init(|| self.words.iter().map(Word::tables).collect())
    }

    /// Goes through the groups of `codes` and their `factors` and calls `found` with the number of a group, and which
    /// of its rows may score at least `bar` (lowest bit first), if any may; goes on with the bar that it returns. The
    /// bound of a row is `base + a * dot + e * width`.
    ///
    /// # Panics
    /// When codes and factors are not of as many whole groups, or of other dimensions than the query.
    pub(crate) fn scan(
        &self,
        codes: &[u8],
        factors: &[u8],
        base: f32,
        bar: f32,
        found: impl FnMut(usize, u16) -> f32,
    ) {
        let stride = self.words.len() * WORD;
        assert!(stride > 0 && codes.len().is_multiple_of(stride));
        assert_eq!(codes.len() / stride * GROUP_FACTORS, factors.len());
        #[cfg(target_arch = "x86_64")]
        {
            if let Some(kernel) = x86::Avx512::new() {
                return kernel.scan(self, codes, factors, base, bar, found);
            }
            if let Some(kernel) = x86::Avx2::new() {
                return kernel.scan(self, codes, factors, base, bar, found);
            }
        }
        #[cfg(target_arch = "aarch64")]
        if let Some(kernel) = arm::Neon::new() {
            return kernel.scan(self, codes, factors, base, bar, found);
        }
        scan(self, codes, factors, base, bar, found, portable);
    }

    /// As [`scan`](Self::scan), but only of the rows of each group that `masks` has, one for each group.
    ///
    /// Of a group with few of them the sums of single rows are made, where a whole group's would take longer.
    ///
    /// # Panics
    /// As `scan`.
    pub(crate) fn scan_some(
        &self,
        codes: &[u8],
        factors: &[u8],
        masks: &[u16],
        base: f32,
        bar: f32,
        found: impl FnMut(usize, u16) -> f32,
    ) {
        let stride = self.words.len() * WORD;
        assert!(stride > 0 && codes.len().is_multiple_of(stride));
        assert_eq!(codes.len() / stride * GROUP_FACTORS, factors.len());
        assert_eq!(codes.len() / stride, masks.len());
        #[cfg(target_arch = "x86_64")]
        if x86::Avx512::new().is_none()
            && let Some(kernel) = x86::Avx2::new()
        {
            return kernel.scan_some(self, codes, factors, masks, base, bar, found);
        }
        let (mut now, mut found) = (bar, found);
        self.scan(codes, factors, base, bar, |group, reach| {
            let reach = reach & masks[group];
            if reach != 0 {
                now = found(group, reach);
            }
            now
        });
    }

    /// Which of a few rows of a group reach `bar`.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn few(&self, group: &[u8], factors: &[u8; GROUP_FACTORS], mut mask: u16, base: f32, bar: f32) -> u16 {
        let (words, mut reach) = (group.as_chunks::<WORD>().0, 0);
        while mask != 0 {
            let row = mask.trailing_zeros() as usize;
            mask &= mask - 1;
            let word = |word: &[u8; WORD]| u64::from(u32::from_le_bytes(word.as_chunks().0[row]));
            let mut sum = 0;
            for (pair, words) in self.pairs.iter().zip(words.chunks(2)) {
                let differs = (word(&words[0]) | words.get(1).map_or(0, word) << 32) ^ pair.sign;
                for (p, plane) in pair.planes.iter().enumerate() {
                    sum += (differs & plane).count_ones() << p;
                }
            }
            reach |= u16::from(self.reaches(sum, &factors.as_chunks().0[row], base, bar)) << row;
        }
        reach
    }

    /// Whether a row with this sum `T` reaches `bar`.
    #[inline(always)]
    fn reaches(&self, sum: u32, factor: &[u8; 4], base: f32, bar: f32) -> bool {
        let a = f32::from_bits(u32::from_le_bytes([0, 0, factor[0], factor[1]]));
        let e = f32::from_bits(u32::from_le_bytes([0, 0, factor[2], factor[3]]));
        let dot = (2 * sum as i32 - self.total) as f32 * self.step;
        let bound = (base + a * dot) + e * self.width;
        bound >= bar
    }

    /// From the sums `T` of a group to which of its rows reach `bar`.
    #[inline(always)]
    fn reach(&self, sums: &[u32; GROUP], factors: &[u8; GROUP_FACTORS], base: f32, bar: f32) -> u16 {
        let mut mask = 0;
        for (row, (&sum, factor)) in sums.iter().zip(factors.as_chunks::<4>().0).enumerate() {
            mask |= u16::from(self.reaches(sum, factor, base, bar)) << row;
        }
        mask
    }
}

/// The upper half of an f32, rounded to nearest: how factors are kept.
pub(crate) fn half(value: f32) -> [u8; 2] {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
    ((rounded >> 16) as u16).to_le_bytes()
}

/// The loop over groups, around a function that makes the sums of one.
#[inline(always)]
fn scan(
    query: &BitsQuery,
    codes: &[u8],
    factors: &[u8],
    base: f32,
    mut bar: f32,
    mut found: impl FnMut(usize, u16) -> f32,
    sums: impl Fn(&[Word], &[u8]) -> [u32; GROUP],
) {
    let groups = codes.chunks_exact(query.words.len() * WORD).zip(factors.as_chunks::<GROUP_FACTORS>().0);
    for (number, (group, factors)) in groups.enumerate() {
        let mask = query.reach(&sums(&query.words, group), factors, base, bar);
        if mask != 0 {
            bar = found(number, mask);
        }
    }
}

/// Any processor.
#[inline(always)]
fn portable(words: &[Word], group: &[u8]) -> [u32; GROUP] {
    let mut sums = [0; GROUP];
    for (word, rows) in words.iter().zip(group.as_chunks::<WORD>().0) {
        for (sum, row) in sums.iter_mut().zip(rows.as_chunks::<4>().0) {
            let differs = u32::from_le_bytes(*row) ^ word.sign;
            for (p, plane) in word.planes.iter().enumerate() {
                *sum += (differs & plane).count_ones() << p;
            }
        }
    }
    sums
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "the vector instructions of the processor")]
mod x86 {
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
    }

    #[target_feature(enable = "avx512f,avx512vpopcntdq")]
    fn scan512(
        query: &BitsQuery,
        codes: &[u8],
        factors: &[u8],
        base: f32,
        bar: f32,
        mut found: impl FnMut(usize, u16) -> f32,
    ) {
        let total = _mm512_set1_epi32(query.total);
        let step = _mm512_set1_ps(query.step);
        let width = _mm512_set1_ps(query.width);
        let base = _mm512_set1_ps(base);
        let mut bar = _mm512_set1_ps(bar);
        let groups = codes.chunks_exact(query.words.len() * WORD).zip(factors.as_chunks::<GROUP_FACTORS>().0);
        for (number, (group, factors)) in groups.enumerate() {
            let mut sums = [_mm512_setzero_si512(); PLANES];
            for (word, rows) in query.words.iter().zip(group.as_chunks::<WORD>().0) {
                // SAFETY: 64 bytes, unaligned load.
                let rows = unsafe { _mm512_loadu_si512(rows.as_ptr().cast()) };
                let sign = _mm512_set1_epi32(word.sign.cast_signed());
                for (sum, plane) in sums.iter_mut().zip(word.planes) {
                    // (rows ^ sign) & plane
                    let both =
                        _mm512_ternarylogic_epi32::<0x28>(rows, sign, _mm512_set1_epi32(plane.cast_signed()));
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
            let mask = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(bound, bar);
            if mask != 0 {
                bar = _mm512_set1_ps(found(number, mask));
            }
        }
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
        mut bar: f32,
        mut found: impl FnMut(usize, u16) -> f32,
    ) {
        let tables = query.tables();
        let groups = codes.chunks_exact(query.words.len() * WORD).zip(factors.as_chunks::<GROUP_FACTORS>().0);
        for (number, ((group, factors), &mask)) in groups.zip(masks).enumerate() {
            let reach = match mask.count_ones() {
                0 => 0,
                1..=FEW => few(query, group, factors, mask, base, bar),
                _ => mask & group256(query, tables, group, factors, base, bar),
            };
            if reach != 0 {
                bar = found(number, reach);
            }
        }
    }

    #[target_feature(enable = "avx2")]
    fn scan256(
        query: &BitsQuery,
        codes: &[u8],
        factors: &[u8],
        base: f32,
        mut bar: f32,
        mut found: impl FnMut(usize, u16) -> f32,
    ) {
        let tables = query.tables();
        let groups = codes.chunks_exact(query.words.len() * WORD).zip(factors.as_chunks::<GROUP_FACTORS>().0);
        for (number, (group, factors)) in groups.enumerate() {
            let mask = group256(query, tables, group, factors, base, bar);
            if mask != 0 {
                bar = found(number, mask);
            }
        }
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
                let firsts = _mm256_add_epi8(
                    look(&tables[0], firsts),
                    look(&tables[1], _mm256_srli_epi16::<4>(firsts)),
                );
                let lasts =
                    _mm256_add_epi8(look(&tables[2], lasts), look(&tables[3], _mm256_srli_epi16::<4>(lasts)));
                let all = _mm256_add_epi8(firsts, lasts);
                even = _mm256_add_epi16(even, _mm256_and_si256(all, byte));
                odd = _mm256_add_epi16(odd, _mm256_srli_epi16::<8>(all));
            }
            let halves = |sums: __m256i| {
                _mm_add_epi16(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums))
            };
            let (even, odd) = (halves(even), halves(odd));
            let some = _mm256_cvtepu16_epi32(_mm_unpacklo_epi16(even, odd));
            let others = _mm256_cvtepu16_epi32(_mm_unpackhi_epi16(even, odd));
            sums[0] = _mm256_add_epi32(sums[0], _mm256_permute2x128_si256::<0x20>(some, others));
            sums[1] = _mm256_add_epi32(sums[1], _mm256_permute2x128_si256::<0x31>(some, others));
        }
        sums
    }
}

#[cfg(target_arch = "aarch64")]
#[allow(unsafe_code, reason = "the vector instructions of the processor")]
mod arm {
    use std::arch::aarch64::*;

    use super::{BitsQuery, GROUP, PLANES, WORD, Word};

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
            super::scan(query, codes, factors, base, bar, found, |words, group| {
                // SAFETY: `self` exists, so `new` saw NEON; tested against the portable form.
                unsafe { sums(words, group) }
            });
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What each implementation of this machine finds, with a bar that never moves.
    fn all(query: &BitsQuery, codes: &[u8], factors: &[u8], base: f32, bar: f32) -> Vec<Vec<(usize, u16)>> {
        let mut results = vec![Vec::new()];
        scan(
            query,
            codes,
            factors,
            base,
            bar,
            |g, m| {
                results[0].push((g, m));
                bar
            },
            portable,
        );
        let mut one = Vec::new();
        query.scan(codes, factors, base, bar, |g, m| {
            one.push((g, m));
            bar
        });
        results.push(one);
        #[cfg(target_arch = "x86_64")]
        if let Some(kernel) = x86::Avx2::new() {
            let mut one = Vec::new();
            kernel.scan(query, codes, factors, base, bar, |g, m| {
                one.push((g, m));
                bar
            });
            results.push(one);
        }
        results
    }

    fn factors(values: &[(f32, f32)]) -> Vec<u8> {
        values.iter().flat_map(|&(a, e)| [half(a), half(e)].concat()).collect()
    }

    #[test]
    fn is_the_dot_product_with_signs() {
        let values: Vec<f32> = (0..64).map(|i| ((i * 37 % 31) as f32 - 15.0) / 15.0).collect();
        let query = BitsQuery::new(&values, 0.0);
        let rows: Vec<u64> = (0..16).map(|r| 0x9e37_79b9_7f4a_7c15u64.wrapping_mul(r + 1)).collect();
        let mut codes = Vec::new();
        for word in 0..2 {
            codes.extend(rows.iter().flat_map(|row| ((row >> (32 * word)) as u32).to_le_bytes()));
        }
        let sign = |row: u64, i: usize| if row >> i & 1 == 1 { 1.0 } else { -1.0 };
        let dots: Vec<f32> =
            rows.iter().map(|&row| values.iter().enumerate().map(|(i, v)| v * sign(row, i)).sum()).collect();
        let factors = factors(&[(1.0, 0.0); 16]);
        for (row, dot) in dots.iter().enumerate() {
            for (bar, expected) in [(dot - 0.01, true), (dot + 0.01, false)] {
                for found in all(&query, &codes, &factors, 0.0, bar) {
                    let mask = found.first().map_or(0, |f| f.1);
                    assert_eq!(mask >> row & 1 == 1, expected, "row {row}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn every_kernel_agrees(
            words in 1usize..70,
            seed in any::<u64>(),
            bar in -2.0f32..2.0,
        ) {
            let mut state = seed | 1;
            let mut next = || { state ^= state << 13; state ^= state >> 7; state ^= state << 17; state };
            let values: Vec<f32> = (0..words * 32).map(|_| (next() >> 40) as f32 / 8_388_608.0 - 1.0).collect();
            let query = BitsQuery::new(&values, 1.5);
            let codes: Vec<u8> = (0..words * WORD * 3).map(|_| next() as u8).collect();
            let scale = 1.0 / words as f32;
            let pairs: Vec<(f32, f32)> = (0..48)
                .map(|_| ((next() % 100) as f32 * 0.01 * scale, (next() % 100) as f32 * 0.001))
                .collect();
            let factors = factors(&pairs);
            let results = all(&query, &codes, &factors, 0.1, bar);
            for result in &results[1..] {
                prop_assert_eq!(result, &results[0]);
            }
            // Of some rows: few, none, many.
            let masks = [1 << (next() % 16) | 1 << (next() % 16), 0, next() as u16 | 0x5555];
            let some = results[0].iter().map(|&(group, mask)| (group, mask & masks[group]));
            let some: Vec<(usize, u16)> = some.filter(|(_, mask)| *mask != 0).collect();
            let mut found = Vec::new();
            query.scan_some(&codes, &factors, &masks, 0.1, bar, |group, mask| {
                found.push((group, mask));
                bar
            });
            prop_assert_eq!(&found, &some);
            #[cfg(target_arch = "x86_64")]
            if let Some(kernel) = x86::Avx2::new() {
                let mut found = Vec::new();
                kernel.scan_some(&query, &codes, &factors, &masks, 0.1, bar, |group, mask| {
                    found.push((group, mask));
                    bar
                });
                prop_assert_eq!(&found, &some);
            }
        }
    }
}
