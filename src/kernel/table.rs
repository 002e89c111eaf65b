//! Dot products of 8-bit rows with a table of centres: for every row of a group at once.
//!
//! Centres lie in groups of 16, interleaved by four values: `[group][block][chunk of 4 values][16 centres][4]`, each
//! value plus 128. A lane is a centre, so no sum crosses lanes. Sums are exact integers; the f32 operations after them
//! are the same in the same order everywhere.

use std::ops::Range;

/// Centres of a group.
pub(crate) const LANES: usize = 16;
/// Bytes of four values of each centre of a group.
const CHUNK: usize = LANES * 4;
/// Rows taken together through the table.
const TILE: usize = 8;
/// Tiles taken together through a part of the table.
const TILES: usize = 32;
/// Bytes of such a part: half of a second-level cache.
const CACHED: usize = 256 << 10;

/// Centres, laid out for [`Table::scores`].
#[derive(Debug, Clone)]
pub(crate) struct Table {
    /// Chunks of each block.
    chunks: Vec<usize>,
    centres: usize,
    bytes: Vec<u8>,
}

/// A row as the table reads it: blocks padded with zeros to multiples of four.
#[derive(Debug, Clone, Default)]
pub(crate) struct TableRow {
    codes: Vec<i8>,
    /// Of each block -128 times the sum of the codes.
    starts: Vec<i32>,
    /// Of each block what its dot product is multiplied by.
    factors: Vec<f32>,
}

impl Table {
    /// `codes` is `[centres, dims]`, `blocks` the dimensions of each block.
    pub(crate) fn new(blocks: &[usize], codes: &[i8]) -> Self {
        let dims: usize = blocks.iter().sum();
        let chunks: Vec<usize> = blocks.iter().map(|dims| dims.div_ceil(4)).collect();
        let centres = codes.len() / dims.max(1);
        let stride: usize = chunks.iter().sum();
        let mut bytes = vec![128; centres.div_ceil(LANES) * stride * CHUNK];
        for (centre, codes) in codes.chunks_exact(dims).enumerate() {
            let group = &mut bytes[centre / LANES * stride * CHUNK..][..stride * CHUNK];
            let (mut from, mut first) = (0, 0);
            for (&block, &chunks) in blocks.iter().zip(&chunks) {
                for (i, &code) in codes[from..from + block].iter().enumerate() {
                    group[(first + i / 4) * CHUNK + centre % LANES * 4 + i % 4] = code.cast_unsigned() ^ 0x80;
                }
                (from, first) = (from + block, first + chunks);
            }
        }
        Self { chunks, centres, bytes }
    }

    pub(crate) fn centres(&self) -> usize {
        self.centres
    }

    /// Bytes on the heap.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Number of factors that [`scores`](Self::scores) wants: one of each block of each centre, the last group padded.
    pub(crate) fn factors(&self) -> usize {
        self.centres.div_ceil(LANES) * LANES * self.chunks.len()
    }

    /// Where the factor of a block of a centre lies among those.
    pub(crate) fn factor(&self, centre: usize, block: usize) -> usize {
        (centre / LANES * self.chunks.len() + block) * LANES + centre % LANES
    }

    /// The scores of a row with every centre: over the blocks in order, the sum of
    /// `dot * row.factor[block] * factors[centre, block]`. `out` is cleared and filled.
    pub(crate) fn scores(&self, row: &TableRow, factors: &[f32], out: &mut Vec<f32>) {
        out.clear();
        self.run::<1>(0..self.groups(), &[row], factors, &mut All(out));
        out.truncate(self.centres);
    }

    fn groups(&self) -> usize {
        self.centres.div_ceil(LANES)
    }

    /// Bytes of a group.
    fn stride(&self) -> usize {
        self.chunks.iter().sum::<usize>() * CHUNK
    }

    /// Of each row the centre of the highest score, the first of equals.
    pub(crate) fn nearest(&self, rows: &[TableRow], factors: &[f32], out: &mut Vec<u32>) {
        let (tiles, rest) = rows.as_chunks::<TILE>();
        let step = (CACHED / self.stride().max(1)).max(1);
        for tiles in tiles.chunks(TILES) {
            let mut best = vec![Nearest::<TILE>::new(self.centres); tiles.len()];
            // A part of the table that stays in the cache, for many rows.
            for from in (0..self.groups()).step_by(step) {
                let groups = from..self.groups().min(from + step);
                for (tile, best) in tiles.iter().zip(&mut best) {
                    self.run(groups.clone(), &tile.each_ref(), factors, best);
                }
            }
            out.extend(best.iter().flat_map(Nearest::centres));
        }
        for row in rest {
            let mut best = Nearest::<1>::new(self.centres);
            self.run(0..self.groups(), &[row], factors, &mut best);
            out.extend(best.centres());
        }
    }

    #[inline]
    fn run<const R: usize>(
        &self,
        groups: Range<usize>,
        rows: &[&TableRow; R],
        factors: &[f32],
        each: &mut impl Sink<R>,
    ) {
        assert_eq!(factors.len(), self.factors());
        let len = self.chunks.iter().sum::<usize>() * 4;
        assert!(rows.iter().all(|row| row.codes.len() == len && row.factors.len() == self.chunks.len()));
        #[cfg(target_arch = "x86_64")]
        {
            if let Some(kernel) = x86::Avx512::new() {
                return kernel.run(self, groups, rows, factors, each);
            }
            if let Some(kernel) = x86::Avx2::new() {
                return kernel.run(self, groups, rows, factors, each);
            }
        }
        run(self, groups, rows, factors, each, portable);
    }
}

impl TableRow {
    /// `factors`: one a block.
    pub(crate) fn new(blocks: &[usize], codes: &[i8], factors: &[f32]) -> Self {
        let mut row = Self { factors: factors.to_vec(), ..Self::default() };
        let mut from = 0;
        for &block in blocks {
            let codes = &codes[from..from + block];
            row.codes.extend_from_slice(codes);
            row.codes.resize(row.codes.len().next_multiple_of(4), 0);
            row.starts.push(-128 * codes.iter().map(|&c| i32::from(c)).sum::<i32>());
            from += block;
        }
        row
    }
}

/// What is done with the scores of some rows with the centres of a group.
trait Sink<const R: usize> {
    fn take(&mut self, group: usize, scores: &[[f32; LANES]; R]);
}

/// Keeps all of them.
struct All<'a>(&'a mut Vec<f32>);

impl Sink<1> for All<'_> {
    #[inline(always)]
    fn take(&mut self, _: usize, scores: &[[f32; LANES]; 1]) {
        self.0.extend_from_slice(&scores[0]);
    }
}

/// Keeps the best of each row.
#[derive(Debug, Clone)]
struct Nearest<const R: usize> {
    centres: usize,
    scores: [[f32; LANES]; R],
    groups: [[u32; LANES]; R],
}

impl<const R: usize> Nearest<R> {
    fn new(centres: usize) -> Self {
        Self { centres, scores: [[f32::NEG_INFINITY; LANES]; R], groups: [[0; LANES]; R] }
    }

    /// The best centre of each row, the first of equals.
    fn centres(&self) -> [u32; R] {
        std::array::from_fn(|row| {
            let centres = (0u32..).zip(self.groups[row]).map(|(lane, group)| group * LANES as u32 + lane);
            let all = self.scores[row].into_iter().zip(centres);
            all.reduce(|a, b| if b.0 > a.0 || (b.0 == a.0 && b.1 < a.1) { b } else { a })
                .map_or(0, |best| best.1)
        })
    }
}

impl<const R: usize> Sink<R> for Nearest<R> {
    #[inline(always)]
    fn take(&mut self, group: usize, scores: &[[f32; LANES]; R]) {
        // Centres that only pad the last group do not count.
        let real = (self.centres - group * LANES).min(LANES);
        for ((best, at), scores) in self.scores.iter_mut().zip(&mut self.groups).zip(scores) {
            for lane in 0..LANES {
                let better = scores[lane] > best[lane] && lane < real;
                best[lane] = if better { scores[lane] } else { best[lane] };
                at[lane] = if better { group as u32 } else { at[lane] };
            }
        }
    }
}

/// The loop over groups and blocks, around a function that adds the products of one block of a group to the sums.
#[inline(always)]
fn run<const R: usize>(
    table: &Table,
    groups: Range<usize>,
    rows: &[&TableRow; R],
    factors: &[f32],
    each: &mut impl Sink<R>,
    dots: impl Fn(&[[u8; CHUNK]], [&[[i8; 4]]; R], &mut [[i32; LANES]; R]),
) {
    let (stride, own) = (table.stride(), table.chunks.len() * LANES);
    for number in groups {
        let group = &table.bytes[number * stride..][..stride];
        let factors = &factors[number * own..][..own];
        let mut group = group.as_chunks::<CHUNK>().0;
        let mut codes = rows.map(|row| row.codes.as_chunks::<4>().0);
        let mut scores = [[0.0; LANES]; R];
        for (block, (&chunks, factors)) in table.chunks.iter().zip(factors.as_chunks::<LANES>().0).enumerate()
        {
            let (now, later) = group.split_at(chunks);
            group = later;
            let mut sums = rows.map(|row| [row.starts[block]; LANES]);
            dots(now, codes.map(|codes| &codes[..chunks]), &mut sums);
            codes = codes.map(|codes| &codes[chunks..]);
            for ((score, sums), row) in scores.iter_mut().zip(&sums).zip(rows) {
                for lane in 0..LANES {
                    score[lane] += sums[lane] as f32 * row.factors[block] * factors[lane];
                }
            }
        }
        each.take(number, &scores);
    }
}

/// Any processor.
#[inline(always)]
fn portable<const R: usize>(table: &[[u8; CHUNK]], rows: [&[[i8; 4]]; R], sums: &mut [[i32; LANES]; R]) {
    for (sums, row) in sums.iter_mut().zip(rows) {
        for (chunk, row) in table.iter().zip(row) {
            for (sum, values) in sums.iter_mut().zip(chunk.as_chunks::<4>().0) {
                for (&a, &b) in values.iter().zip(row) {
                    *sum += i32::from(a) * i32::from(b);
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "the vector instructions of the processor")]
mod x86 {
    use std::arch::x86_64::*;

    use std::ops::Range;

    use super::{CHUNK, LANES, Sink, Table, TableRow};

    /// Proof that the processor has AVX-512 F, BW and VNNI.
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
        pub(super) fn run<const R: usize>(
            self,
            table: &Table,
            groups: Range<usize>,
            rows: &[&TableRow; R],
            factors: &[f32],
            each: &mut impl Sink<R>,
        ) {
            // SAFETY: `self` exists, so `new` saw the features; tested against the portable form.
            unsafe { run512(table, groups, rows, factors, each) }
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    fn run512<const R: usize>(
        table: &Table,
        groups: Range<usize>,
        rows: &[&TableRow; R],
        factors: &[f32],
        each: &mut impl Sink<R>,
    ) {
        super::run(table, groups, rows, factors, each, |table, rows, sums| dots512(table, rows, sums));
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    #[inline]
    fn dots512<const R: usize>(table: &[[u8; CHUNK]], rows: [&[[i8; 4]]; R], sums: &mut [[i32; LANES]; R]) {
        // SAFETY: 64 bytes each, unaligned loads.
        let mut acc = sums.each_ref().map(|sum| unsafe { _mm512_loadu_si512(sum.as_ptr().cast()) });
        for (i, chunk) in table.iter().enumerate() {
            // SAFETY: 64 bytes, unaligned load.
            let centres = unsafe { _mm512_loadu_si512(chunk.as_ptr().cast()) };
            for (acc, row) in acc.iter_mut().zip(rows) {
                let four = i32::from_le_bytes(row[i].map(i8::cast_unsigned));
                *acc = _mm512_dpbusd_epi32(*acc, centres, _mm512_set1_epi32(four));
            }
        }
        for (sum, acc) in sums.iter_mut().zip(acc) {
            // SAFETY: 64 bytes, unaligned store.
            unsafe { _mm512_storeu_si512(sum.as_mut_ptr().cast(), acc) };
        }
    }

    /// Proof that the processor has AVX2.
    #[derive(Debug, Clone, Copy)]
    pub(super) struct Avx2(());

    impl Avx2 {
        pub(super) fn new() -> Option<Self> {
            is_x86_feature_detected!("avx2").then_some(Self(()))
        }

        #[inline]
        pub(super) fn run<const R: usize>(
            self,
            table: &Table,
            groups: Range<usize>,
            rows: &[&TableRow; R],
            factors: &[f32],
            each: &mut impl Sink<R>,
        ) {
            // SAFETY: `self` exists, so `new` saw AVX2; tested against the portable form.
            unsafe { run256(table, groups, rows, factors, each) }
        }
    }

    #[target_feature(enable = "avx2")]
    fn run256<const R: usize>(
        table: &Table,
        groups: Range<usize>,
        rows: &[&TableRow; R],
        factors: &[f32],
        each: &mut impl Sink<R>,
    ) {
        super::run(table, groups, rows, factors, each, |table, rows, sums| dots256(table, rows, sums));
    }

    /// Values widened to 16 bits, so that no sum of two products can saturate; two sums a centre until the end.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn dots256<const R: usize>(table: &[[u8; CHUNK]], rows: [&[[i8; 4]]; R], sums: &mut [[i32; LANES]; R]) {
        for (sums, row) in sums.iter_mut().zip(rows) {
            let mut acc = [_mm256_setzero_si256(); 4];
            for (chunk, row) in table.iter().zip(row) {
                let four = row.map(|v| i64::from(i16::from(v).cast_unsigned()));
                let four = _mm256_set1_epi64x(four[0] | four[1] << 16 | four[2] << 32 | four[3] << 48);
                for (acc, centres) in acc.iter_mut().zip(chunk.as_chunks::<16>().0) {
                    // SAFETY: 16 bytes, unaligned load.
                    let centres = unsafe { _mm_loadu_si128(centres.as_ptr().cast()) };
                    let products = _mm256_madd_epi16(_mm256_cvtepu8_epi16(centres), four);
                    *acc = _mm256_add_epi32(*acc, products);
                }
            }
            for (sums, acc) in sums.as_chunks_mut::<4>().0.iter_mut().zip(acc) {
                let mut pairs = [0i32; 8];
                // SAFETY: 32 bytes, unaligned store.
                unsafe { _mm256_storeu_si256(pairs.as_mut_ptr().cast(), acc) };
                for (sum, pair) in sums.iter_mut().zip(pairs.as_chunks::<2>().0) {
                    *sum += pair[0] + pair[1];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_kernel_agrees(
            blocks in proptest::collection::vec(1usize..70, 1..4),
            centres in 1usize..50,
            seed in any::<u64>(),
        ) {
            let mut state = seed | 1;
            let mut next = || { state ^= state << 13; state ^= state >> 7; state ^= state << 17; state };
            let dims: usize = blocks.iter().sum();
            let codes: Vec<i8> = (0..centres * dims).map(|_| (next() % 255) as i8).collect();
            let table = Table::new(&blocks, &codes);
            let factors: Vec<f32> = (0..table.factors()).map(|_| (next() % 1000) as f32 * 1e-4).collect();
            let rows: Vec<TableRow> = (0..9)
                .map(|_| {
                    let row: Vec<i8> = (0..dims).map(|_| (next() % 255) as i8).collect();
                    TableRow::new(&blocks, &row, &vec![0.5; blocks.len()])
                })
                .collect();
            let mut nearest = Vec::new();
            table.nearest(&rows, &factors, &mut nearest);
            for (row, nearest) in rows.iter().zip(nearest) {
                let mut scores = Vec::new();
                table.scores(row, &factors, &mut scores);
                let mut plain = Vec::new();
                run(&table, 0..table.groups(), &[row], &factors, &mut All(&mut plain), portable);
                plain.truncate(centres);
                prop_assert_eq!(&plain, &scores);
                #[cfg(target_arch = "x86_64")]
                if let Some(kernel) = x86::Avx2::new() {
                    let mut other = Vec::new();
                    kernel.run(&table, 0..table.groups(), &[row], &factors, &mut All(&mut other));
                    other.truncate(centres);
                    prop_assert_eq!(&other, &scores);
                }
                let best = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                prop_assert_eq!(scores.iter().position(|&s| s == best), Some(nearest as usize));
            }
            let mut exact = Vec::new();
            table.scores(&rows[0], &factors, &mut exact);
            for (centre, score) in exact.iter().enumerate() {
                let (mut from, mut padded, mut sum) = (0, 0, 0.0f32);
                for (block, &len) in blocks.iter().enumerate() {
                    let dot: i32 = (0..len)
                        .map(|i| i32::from(codes[centre * dims + from + i]) * i32::from(rows[0].codes[padded + i]))
                        .sum();
                    sum += dot as f32 * 0.5 * factors[table.factor(centre, block)];
                    (from, padded) = (from + len, padded + len.next_multiple_of(4));
                }
                prop_assert_eq!(sum, *score);
            }
        }
    }
}
