//! Upper bounds of scores from codes of one bit a value: what most rows of a probed list are dismissed by.
//!
//! A row's code is the signs of its (rotated) difference from a centre. Rows lie in groups of 16, their codes
//! interleaved by words of 32 bits, so that 16 rows are 16 lanes: `[words][16]` u32, little-endian. The query's
//! values are kept as a sign and four bits of magnitude; the dot product of the two is then the exact integer
//! `2 T - M` with `T = sum_p 2^p popcount((row ^ sign) & plane_p)` and M the sum of the magnitudes.
//!
//! Integers are exact and the few f32 operations after them are the same ones in the same order everywhere, so every
//! implementation gives the same answer to the bit.

use super::prefetch;

#[cfg(target_arch = "aarch64")]
#[allow(unsafe_code, reason = "the vector instructions of the processor")]
mod neon;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "the vector instructions of the processor")]
mod x86;

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
/// Groups that codes are asked for ahead.
const AHEAD: usize = 8;

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

    /// How many groups codes and factors are of, or a panic; see [`scan`](Self::scan).
    fn groups(&self, codes: &[u8], factors: &[u8]) -> usize {
        let stride = self.words.len() * WORD;
        assert!(stride > 0 && codes.len().is_multiple_of(stride));
        assert_eq!(codes.len() / stride * GROUP_FACTORS, factors.len());
        codes.len() / stride
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
        self.groups(codes, factors);
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
        if let Some(kernel) = neon::Neon::new() {
            return kernel.scan(self, codes, factors, base, bar, found);
        }
        scan(self, codes, factors, bar, found, |group, factors, bar| {
            self.reach(&portable(&self.words, group), factors, base, bar)
        });
    }

    /// As [`scan`](Self::scan), but only of the rows of each group that `masks` has, one for each group.
    ///
    /// Groups without any are passed over. Of a group with few the sums of single rows are made, where a whole group's would
    /// take longer.
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
        assert_eq!(self.groups(codes, factors), masks.len());
        #[cfg(target_arch = "x86_64")]
        {
            if let Some(kernel) = x86::Avx512::new() {
                return kernel.scan_some(self, codes, factors, masks, base, bar, found);
            }
            if let Some(kernel) = x86::Avx2::new() {
                return kernel.scan_some(self, codes, factors, masks, base, bar, found);
            }
        }
        #[cfg(target_arch = "aarch64")]
        if let Some(kernel) = neon::Neon::new() {
            return kernel.scan_some(self, codes, factors, masks, base, bar, found);
        }
        scan_some(self, codes, factors, masks, bar, found, |group, factors, _, bar| {
            self.reach(&portable(&self.words, group), factors, base, bar)
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

/// The loop over groups, around a function that says which rows of one reach a bar.
#[inline(always)]
fn scan(
    query: &BitsQuery,
    codes: &[u8],
    factors: &[u8],
    mut bar: f32,
    mut found: impl FnMut(usize, u16) -> f32,
    reach: impl Fn(&[u8], &[u8; GROUP_FACTORS], f32) -> u16,
) {
    let stride = query.words.len() * WORD;
    let groups = codes.chunks_exact(stride).zip(factors.as_chunks::<GROUP_FACTORS>().0);
    for (number, (group, each)) in groups.enumerate() {
        soon(codes, number, stride);
        soon(factors, number, GROUP_FACTORS);
        let mask = reach(group, each, bar);
        if mask != 0 {
            bar = found(number, mask);
        }
    }
}

/// The same of some rows of each group; the function is given which, too.
#[inline(always)]
fn scan_some(
    query: &BitsQuery,
    codes: &[u8],
    factors: &[u8],
    masks: &[u16],
    mut bar: f32,
    mut found: impl FnMut(usize, u16) -> f32,
    reach: impl Fn(&[u8], &[u8; GROUP_FACTORS], u16, f32) -> u16,
) {
    let stride = query.words.len() * WORD;
    let groups = codes.chunks_exact(stride).zip(factors.as_chunks::<GROUP_FACTORS>().0);
    for (number, ((group, each), &mask)) in groups.zip(masks).enumerate() {
        if masks.get(number + AHEAD).is_some_and(|mask| *mask != 0) {
            soon(codes, number, stride);
            soon(factors, number, GROUP_FACTORS);
        }
        if mask != 0 {
            let mask = mask & reach(group, each, mask, bar);
            if mask != 0 {
                bar = found(number, mask);
            }
        }
    }
}

/// Asks for the bytes of a group that comes soon: processors see by themselves that memory is read in order, but only until a page
/// ends, and begin anew in the next.
#[inline(always)]
fn soon(bytes: &[u8], number: usize, stride: usize) {
    let start = (number + AHEAD) * stride;
    prefetch(bytes.get(start..start + stride).unwrap_or_default());
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What each implementation of this machine finds, with a bar that never moves.
    fn all(query: &BitsQuery, codes: &[u8], factors: &[u8], base: f32, bar: f32) -> Vec<Vec<(usize, u16)>> {
        let mut results = vec![Vec::new()];
        let found = |g, m| {
            results[0].push((g, m));
            bar
        };
        scan(query, codes, factors, bar, found, |group, factors, bar| {
            query.reach(&portable(&query.words, group), factors, base, bar)
        });
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
            let groups = 1 + next() as usize % (3 * AHEAD);
            let codes: Vec<u8> = (0..words * WORD * groups).map(|_| next() as u8).collect();
            let scale = 1.0 / words as f32;
            let pairs: Vec<(f32, f32)> = (0..groups * GROUP)
                .map(|_| ((next() % 100) as f32 * 0.01 * scale, (next() % 100) as f32 * 0.001))
                .collect();
            let factors = factors(&pairs);
            let results = all(&query, &codes, &factors, 0.1, bar);
            for result in &results[1..] {
                prop_assert_eq!(result, &results[0]);
            }
            // Of some rows: few, none, many.
            let mask = |group: usize| match group % 3 {
                0 => 1 << (next() % 16) | 1 << (next() % 16),
                1 => 0,
                _ => next() as u16 | 0x5555,
            };
            let masks: Vec<u16> = (0..groups).map(mask).collect();
            let some = results[0].iter().map(|&(group, mask)| (group, mask & masks[group]));
            let some: Vec<(usize, u16)> = some.filter(|(_, mask)| *mask != 0).collect();
            let mut found = Vec::new();
            query.scan_some(&codes, &factors, &masks, 0.1, bar, |group, mask| {
                found.push((group, mask));
                bar
            });
            prop_assert_eq!(&found, &some);
            let mut found = Vec::new();
            let each = |group, mask| {
                found.push((group, mask));
                bar
            };
            scan_some(&query, &codes, &factors, &masks, bar, each, |group, factors, _, bar| {
                query.reach(&portable(&query.words, group), factors, 0.1, bar)
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
