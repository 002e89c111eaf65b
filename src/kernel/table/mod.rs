//! Dot products of 8-bit rows with a table of centres: for every row of a group at once.
//!
//! Centres lie in groups of 16, interleaved by four values: `[group][block][chunk of 4 values][16 centres][4]`, each
//! value plus 128. A lane is a centre, so no sum crosses lanes. Sums are exact integers; the f32 operations after them
//! are the same in the same order everywhere.
//!
//! A [`coarse`](Table::coarse) table holds 7 bits of each value, plus 64, and meets rows of 6: sums of eight products fit 16
//! bits then, so that AVX2, which has no instruction that adds four products of bytes to 32 bits, takes two thirds of the
//! time.

use std::ops::Range;

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "the vector instructions of the processor")]
mod x86;

/// Centres of a group.
pub(crate) const LANES: usize = 16;
/// Bytes of four values of each centre of a group.
const CHUNK: usize = LANES * 4;
/// Rows that are best taken together through a table.
pub(crate) const TILE: usize = 8;
/// Tiles taken together through a part of the table.
const TILES: usize = 32;
/// Bytes of such a part: half of a second-level cache.
const CACHED: usize = 256 << 10;

/// What is kept of values in 8 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Precision {
    Full,
    /// Of centres the upper 7 bits, of rows the upper 6.
    Coarse,
}

/// Centres, laid out for [`Table::scores`].
#[derive(Debug, Clone)]
pub(crate) struct Table {
    precision: Precision,
    /// Chunks of each block.
    chunks: Vec<usize>,
    centres: usize,
    bytes: Vec<u8>,
}

/// Rows as the table reads them: blocks padded with zeros to multiples of four.
#[derive(Debug, Clone)]
pub(crate) struct TableRows {
    precision: Precision,
    /// Dimensions of each block.
    blocks: Vec<usize>,
    /// Fours of a row.
    chunks: usize,
    codes: Vec<[i8; 4]>,
    /// Of each four codes those at even and those at odd places, two of 16 bits in one number, for AVX2; none of coarse rows.
    wide: Vec<[i32; 2]>,
    /// Of each block what the table's values are too high by, times the sum of the codes, negative.
    starts: Vec<i32>,
    /// Of each block what its dot product is multiplied by.
    factors: Vec<f32>,
}

/// One of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TableRow<'a> {
    of: &'a TableRows,
    number: usize,
}

impl<'a> TableRow<'a> {
    #[inline(always)]
    fn codes(self) -> &'a [[i8; 4]] {
        &self.of.codes[self.number * self.of.chunks..][..self.of.chunks]
    }

    #[inline(always)]
    fn wide(self) -> &'a [[i32; 2]] {
        &self.of.wide[self.number * self.of.chunks..][..self.of.chunks]
    }

    #[inline(always)]
    fn start(self, block: usize) -> i32 {
        self.of.starts[self.number * self.of.blocks.len() + block]
    }

    #[inline(always)]
    fn factor(self, block: usize) -> f32 {
        self.of.factors[self.number * self.of.blocks.len() + block]
    }
}

impl Table {
    /// `codes` is `[centres, dims]`, `blocks` the dimensions of each block.
    pub(crate) fn new(blocks: &[usize], codes: &[i8]) -> Self {
        Self::with(Precision::Full, blocks, codes)
    }

    /// The same for [`coarse`](TableRows::coarse) rows. A score is an eighth of what full values give.
    pub(crate) fn coarse(blocks: &[usize], codes: &[i8]) -> Self {
        Self::with(Precision::Coarse, blocks, codes)
    }

    fn with(precision: Precision, blocks: &[usize], codes: &[i8]) -> Self {
        let byte = |code: i8| match precision {
            Precision::Full => code.cast_unsigned() ^ 0x80,
            Precision::Coarse => (code.saturating_add(1) >> 1).cast_unsigned().wrapping_add(64),
        };
        let padding = byte(0);
        let dims: usize = blocks.iter().sum();
        let chunks: Vec<usize> = blocks.iter().map(|dims| dims.div_ceil(4)).collect();
        let centres = codes.len() / dims.max(1);
        let stride: usize = chunks.iter().sum();
        let mut bytes = vec![padding; centres.div_ceil(LANES) * stride * CHUNK];
        for (centre, codes) in codes.chunks_exact(dims).enumerate() {
            let lane = &mut bytes[centre / LANES * stride * CHUNK..][..stride * CHUNK];
            let mut lane = lane.as_chunks_mut::<4>().0[centre % LANES..].iter_mut().step_by(LANES);
            let mut from = 0;
            for &block in blocks {
                for (codes, four) in codes[from..from + block].chunks(4).zip(&mut lane) {
                    let pairs = four.iter_mut().zip(codes);
                    pairs.for_each(|(at, &code)| *at = byte(code));
                }
                from += block;
            }
        }
        Self { precision, chunks, centres, bytes }
    }

    pub(crate) fn centres(&self) -> usize {
        self.centres
    }

    /// A table of some of the centres.
    pub(crate) fn part(&self, centres: &[u32]) -> Self {
        let stride = self.stride();
        let mut bytes = vec![0; centres.len().div_ceil(LANES) * stride];
        for (at, &centre) in centres.iter().enumerate() {
            let centre = centre as usize;
            let from = &self.bytes[centre / LANES * stride..][..stride];
            let to = &mut bytes[at / LANES * stride..][..stride];
            let fours = to.as_chunks_mut::<4>().0[at % LANES..].iter_mut().step_by(LANES);
            let its = from.as_chunks::<4>().0[centre % LANES..].iter().step_by(LANES);
            fours.zip(its).for_each(|(four, its)| *four = *its);
        }
        Self { precision: self.precision, chunks: self.chunks.clone(), centres: centres.len(), bytes }
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
    pub(crate) fn scores(&self, row: TableRow<'_>, factors: &[f32], out: &mut Vec<f32>) {
        let mut all = [std::mem::take(out)];
        self.scores_of(&[row], factors, &mut all);
        [*out] = all;
    }

    /// [`scores`](Self::scores) of some rows at once.
    pub(crate) fn scores_of<const R: usize>(
        &self,
        rows: &[TableRow<'_>; R],
        factors: &[f32],
        out: &mut [Vec<f32>; R],
    ) {
        out.iter_mut().for_each(Vec::clear);
        self.run(0..self.groups(), rows, factors, &mut All(out));
    }

    /// Goes on with what some of many rows have found nearest, `which`, with the centres of one group.
    pub(crate) fn meet<const R: usize>(
        &self,
        group: usize,
        rows: &TableRows,
        which: &[u32; R],
        factors: &[f32],
        nearest: &mut [Nearest<1>],
    ) {
        let rows = which.map(|row| rows.get(row as usize));
        self.run(group..group + 1, &rows, factors, &mut Several { nearest, which });
    }

    /// Goes on with what each of the rows has found nearest, with the centres of some groups.
    fn go_on<const R: usize>(
        &self,
        groups: Range<usize>,
        rows: &[TableRow<'_>; R],
        factors: &[f32],
        nearest: &mut Nearest<R>,
    ) {
        self.run(groups, rows, factors, nearest);
    }

    fn groups(&self) -> usize {
        self.centres.div_ceil(LANES)
    }

    /// Bytes of a group.
    fn stride(&self) -> usize {
        self.chunks.iter().sum::<usize>() * CHUNK
    }

    /// Of each row the centre of the highest score, the first of equals.
    pub(crate) fn nearest(&self, rows: &TableRows, factors: &[f32], out: &mut Vec<u32>) {
        let step = (CACHED / self.stride().max(1)).max(1);
        let tiled = rows.len() - rows.len() % TILE;
        for first in (0..tiled).step_by(TILES * TILE) {
            let tiles = (tiled - first).min(TILES * TILE) / TILE;
            let mut best = vec![Nearest::<TILE>::default(); tiles];
            // A part of the table that stays in the cache, for many rows.
            for from in (0..self.groups()).step_by(step) {
                let groups = from..self.groups().min(from + step);
                for (tile, best) in best.iter_mut().enumerate() {
                    self.go_on(groups.clone(), &rows.tile(first + tile * TILE), factors, best);
                }
            }
            out.extend(best.iter().flat_map(Nearest::centres));
        }
        for row in tiled..rows.len() {
            let mut best = Nearest::default();
            self.go_on(0..self.groups(), &[rows.get(row)], factors, &mut best);
            out.extend(best.centres());
        }
    }

    #[inline]
    fn run<const R: usize>(
        &self,
        groups: Range<usize>,
        rows: &[TableRow<'_>; R],
        factors: &[f32],
        each: &mut impl Sink<R>,
    ) {
        assert_eq!(factors.len(), self.factors());
        let len = self.chunks.iter().sum::<usize>();
        for TableRow { of, .. } in rows {
            assert!(
                of.precision == self.precision && of.chunks == len && of.blocks.len() == self.chunks.len()
            );
        }
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

impl TableRows {
    /// No rows, with room for so many. `blocks` are the dimensions of each block.
    pub(crate) fn new(blocks: &[usize], room: usize) -> Self {
        let chunks = blocks.iter().map(|dims| dims.div_ceil(4)).sum();
        Self {
            precision: Precision::Full,
            blocks: blocks.to_vec(),
            chunks,
            codes: Vec::with_capacity(room * chunks),
            wide: Vec::with_capacity(room * chunks),
            starts: Vec::with_capacity(room * blocks.len()),
            factors: Vec::with_capacity(room * blocks.len()),
        }
    }

    /// One row.
    pub(crate) fn of(blocks: &[usize], codes: &[i8], factors: &[f32]) -> Self {
        let mut rows = Self::new(blocks, 1);
        rows.push(codes, factors);
        rows
    }

    /// `factors`: one a block.
    pub(crate) fn push(&mut self, codes: &[i8], factors: &[f32]) {
        let (first, mut from) = (self.codes.len(), 0);
        for &block in &self.blocks {
            let codes = &codes[from..from + block];
            let (fours, rest) = codes.as_chunks::<4>();
            self.codes.extend_from_slice(fours);
            if !rest.is_empty() {
                let mut last = [0; 4];
                last[..rest.len()].copy_from_slice(rest);
                self.codes.push(last);
            }
            self.starts.push(-128 * codes.iter().map(|&c| i32::from(c)).sum::<i32>());
            from += block;
        }
        let pair = |a: i8, b: i8| i32::from(b) << 16 | i32::from(i16::from(a).cast_unsigned());
        self.wide.extend(self.codes[first..].iter().map(|&[a, b, c, d]| [pair(a, c), pair(b, d)]));
        self.factors.extend_from_slice(&factors[..self.blocks.len()]);
    }

    /// The same rows for a [`coarse`](Table::coarse) table.
    pub(crate) fn coarse(&self) -> Self {
        let upper = |code: i8| code.saturating_add(2) >> 2;
        let codes: Vec<[i8; 4]> = self.codes.iter().map(|four| four.map(upper)).collect();
        let mut starts = Vec::with_capacity(self.starts.len());
        let mut rest = &*codes;
        while !rest.is_empty() {
            for block in &self.blocks {
                let (own, others) = rest.split_at(block.div_ceil(4));
                starts.push(-64 * own.as_flattened().iter().map(|&c| i32::from(c)).sum::<i32>());
                rest = others;
            }
        }
        Self {
            precision: Precision::Coarse,
            blocks: self.blocks.clone(),
            chunks: self.chunks,
            codes,
            wide: Vec::new(),
            starts,
            factors: self.factors.clone(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.factors.len() / self.blocks.len().max(1)
    }

    pub(crate) fn get(&self, row: usize) -> TableRow<'_> {
        TableRow { of: self, number: row }
    }

    /// Rows from `first` on.
    pub(crate) fn tile<const R: usize>(&self, first: usize) -> [TableRow<'_>; R] {
        std::array::from_fn(|at| self.get(first + at))
    }
}

/// What is done with the scores of some rows with the centres of a group.
trait Sink<const R: usize> {
    /// The first `real` lanes are centres; the others pad the last group.
    fn take(&mut self, group: usize, real: usize, scores: &[[f32; LANES]; R]);
}

/// Keeps all of them.
struct All<'a, const R: usize>(&'a mut [Vec<f32>; R]);

impl<const R: usize> Sink<R> for All<'_, R> {
    #[inline(always)]
    fn take(&mut self, _: usize, real: usize, scores: &[[f32; LANES]; R]) {
        self.0.iter_mut().zip(scores).for_each(|(all, scores)| all.extend_from_slice(&scores[..real]));
    }
}

/// The highest score that each of some rows has met, and the centre that it was with: the first of equals.
#[derive(Debug, Clone)]
pub(crate) struct Nearest<const R: usize> {
    scores: [f32; R],
    centres: [u32; R],
}

impl<const R: usize> Default for Nearest<R> {
    fn default() -> Self {
        Self { scores: [f32::NEG_INFINITY; R], centres: [0; R] }
    }
}

impl<const R: usize> Nearest<R> {
    /// The nearest centre of each row.
    pub(crate) fn centres(&self) -> [u32; R] {
        self.centres
    }
}

/// Goes on with what one row has found.
#[inline(always)]
fn improve(best: &mut f32, centre: &mut u32, group: usize, real: usize, scores: &[f32; LANES]) {
    // Most groups have none that is nearer, which is a comparison of all lanes at once. To keep the best of each lane cost as
    // much as the products: it is stored under a mask, and that is slow on some processors.
    let mut any = false;
    scores.iter().for_each(|score| any |= score > best);
    if any {
        for (lane, &score) in scores[..real].iter().enumerate() {
            if score > *best {
                (*best, *centre) = (score, (group * LANES + lane) as u32);
            }
        }
    }
}

impl<const R: usize> Sink<R> for Nearest<R> {
    #[inline(always)]
    fn take(&mut self, group: usize, real: usize, scores: &[[f32; LANES]; R]) {
        for ((best, centre), scores) in self.scores.iter_mut().zip(&mut self.centres).zip(scores) {
            improve(best, centre, group, real, scores);
        }
    }
}

/// What some of many rows have found.
struct Several<'a, const R: usize> {
    nearest: &'a mut [Nearest<1>],
    which: &'a [u32; R],
}

impl<const R: usize> Sink<R> for Several<'_, R> {
    #[inline(always)]
    fn take(&mut self, group: usize, real: usize, scores: &[[f32; LANES]; R]) {
        for (&row, scores) in self.which.iter().zip(scores) {
            let Nearest { scores: [best], centres: [centre] } = &mut self.nearest[row as usize];
            improve(best, centre, group, real, scores);
        }
    }
}

/// The values of some rows in one block.
struct Values<'a, const R: usize> {
    rows: &'a [TableRow<'a>; R],
    chunks: Range<usize>,
}

impl<'a, const R: usize> Values<'a, R> {
    #[inline(always)]
    fn codes(&self) -> [&'a [[i8; 4]]; R] {
        self.rows.map(|row| &row.codes()[self.chunks.clone()])
    }

    #[inline(always)]
    fn wide(&self) -> [&'a [[i32; 2]]; R] {
        self.rows.map(|row| &row.wide()[self.chunks.clone()])
    }
}

/// The loop over groups and blocks, around a function that makes the dot products of one block of a group: from its
/// chunks, the rows' values and what a row's sum starts at because the chunks hold more than the values.
#[inline(always)]
fn run<const R: usize>(
    table: &Table,
    groups: Range<usize>,
    rows: &[TableRow<'_>; R],
    factors: &[f32],
    each: &mut impl Sink<R>,
    dots: impl Fn(&[[u8; CHUNK]], Values<'_, R>, [i32; R]) -> [[i32; LANES]; R],
) {
    let (stride, own) = (table.stride(), table.chunks.len() * LANES);
    for number in groups {
        let group = &table.bytes[number * stride..][..stride];
        let factors = &factors[number * own..][..own];
        let mut group = group.as_chunks::<CHUNK>().0;
        let mut first = 0;
        let mut scores = [[0.0; LANES]; R];
        for (block, (&chunks, factors)) in table.chunks.iter().zip(factors.as_chunks::<LANES>().0).enumerate()
        {
            let (now, later) = group.split_at(chunks);
            group = later;
            let starts = rows.map(|row| row.start(block));
            let sums = dots(now, Values { rows, chunks: first..first + chunks }, starts);
            first += chunks;
            for ((score, sums), row) in scores.iter_mut().zip(&sums).zip(rows) {
                for lane in 0..LANES {
                    score[lane] += sums[lane] as f32 * row.factor(block) * factors[lane];
                }
            }
        }
        each.take(number, (table.centres - number * LANES).min(LANES), &scores);
    }
}

/// Any processor.
#[inline(always)]
fn portable<const R: usize>(
    table: &[[u8; CHUNK]],
    rows: Values<'_, R>,
    starts: [i32; R],
) -> [[i32; LANES]; R] {
    let mut sums = starts.map(|start| [start; LANES]);
    for (sums, row) in sums.iter_mut().zip(rows.codes()) {
        for (chunk, row) in table.iter().zip(row) {
            for (sum, values) in sums.iter_mut().zip(chunk.as_chunks::<4>().0) {
                for (&a, &b) in values.iter().zip(row) {
                    *sum += i32::from(a) * i32::from(b);
                }
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Every kernel's scores of each row and what `nearest` makes of them, and that they are the sums of `value`, which gives
    /// centre, row and dimension, of each block, times the factors.
    fn agree(
        (table, rows, blocks): (&Table, &TableRows, &[usize]),
        factors: &[f32],
        value: impl Fn(usize, usize, usize) -> i32,
    ) -> Result<(), TestCaseError> {
        let mut nearest = Vec::new();
        table.nearest(rows, factors, &mut nearest);
        for (number, nearest) in nearest.into_iter().enumerate() {
            let row = rows.get(number);
            let mut scores = Vec::new();
            table.scores(row, factors, &mut scores);
            let mut plain = [Vec::new()];
            run(table, 0..table.groups(), &[row], factors, &mut All(&mut plain), portable);
            prop_assert_eq!(&plain[0], &scores);
            #[cfg(target_arch = "x86_64")]
            if let Some(kernel) = x86::Avx2::new() {
                let mut other = [Vec::new()];
                kernel.run(table, 0..table.groups(), &[row], factors, &mut All(&mut other));
                prop_assert_eq!(&other[0], &scores);
            }
            let best = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            prop_assert_eq!(scores.iter().position(|&s| s == best), Some(nearest as usize));
            for (centre, score) in scores.iter().enumerate() {
                let (mut from, mut sum) = (0, 0.0f32);
                for (block, &len) in blocks.iter().enumerate() {
                    let dot: i32 = (from..from + len).map(|dim| value(centre, number, dim)).sum();
                    sum += dot as f32 * 0.5 * factors[table.factor(centre, block)];
                    from += len;
                }
                prop_assert_eq!(sum, *score);
            }
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn every_kernel_agrees(
            blocks in proptest::collection::vec(1usize..70, 1..4),
            centres in 1usize..50,
            seed in any::<u64>(),
            extreme: bool,
        ) {
            let mut state = seed | 1;
            let mut next = || { state ^= state << 13; state ^= state >> 7; state ^= state << 17; state };
            let mut code = || if extreme { [127, -128][(next() % 8 / 7) as usize] } else { next() as i8 };
            let dims: usize = blocks.iter().sum();
            let codes: Vec<i8> = (0..centres * dims).map(|_| code()).collect();
            let own: Vec<i8> = (0..17 * dims).map(|_| code()).collect();
            let mut rows = TableRows::new(&blocks, 17);
            own.chunks(dims).for_each(|row| rows.push(row, &vec![0.5; blocks.len()]));
            let table = Table::new(&blocks, &codes);
            let factors: Vec<f32> = (0..table.factors()).map(|at| (at * 7919 % 1000) as f32 * 1e-4).collect();
            let value = |centre, row, dim| i32::from(codes[centre * dims + dim]) * i32::from(own[row * dims + dim]);
            agree((&table, &rows, &blocks), &factors, value)?;
            let rounded = |code: i8, bits: i32| (i32::from(code).min(127 - (1 << (bits - 1))) + (1 << (bits - 1))) >> bits;
            let value = |centre, row, dim| {
                rounded(codes[centre * dims + dim], 1) * rounded(own[row * dims + dim], 2)
            };
            agree((&Table::coarse(&blocks, &codes), &rows.coarse(), &blocks), &factors, value)?;
        }
    }
}
