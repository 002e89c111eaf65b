//! Exhaustive search.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use roaring::RoaringBitmap;

use super::positions::{Positions, ends};
use super::rows::Rows;
use super::top::{Place, Ranked, SharedBar, Top};
use crate::kernel::TOGETHER;

/// Rows read at a time: their upper planes (512 KiB at 256 dimensions) stay in the second-level cache between the
/// checksum and the scores.
const RUN: u32 = 4096;

/// A query that scores rows: between bounds by what a scan reads of every row, exactly by the whole row.
pub(crate) trait Score {
    /// What the scores of some rows are not above, by their upper planes alone: rows that lie apart cost a wait for each
    /// place they are read at, and the norms lie elsewhere.
    fn highs(&self, _uppers: [&[u8]; TOGETHER]) -> [f32; TOGETHER] {
        [f32::INFINITY; TOGETHER]
    }

    /// What the score of each of some rows is not below and not above, by its upper plane and one over the norm of each
    /// block.
    fn bounds_of(
        &self,
        uppers: [&[u8]; TOGETHER],
        inv_norms: [&[[u8; 4]]; TOGETHER],
    ) -> [(f32, f32); TOGETHER];

    /// The score of a row: its two planes, and one over the norm of each block.
    fn score(&self, upper: &[u8], lower: &[i8], inv_norms: &[[u8; 4]]) -> f32;
}

/// Which rows to score, and which scores count.
#[derive(Debug, Clone)]
pub(crate) struct Scan<'a> {
    /// Which part of the snapshot the rows are: goes into [`Place`].
    pub(crate) part: u32,
    /// Positions of the rows.
    pub(crate) rows: Range<u32>,
    /// The only rows of them that count; all when there are none.
    pub(crate) only: Option<&'a RoaringBitmap>,
    /// Rows that do not count.
    pub(crate) dead: &'a RoaringBitmap,
    /// Scores below it do not count.
    pub(crate) min_score: f32,
    /// What other threads of the search have found that counts: without a minimum, scores below it do not.
    pub(crate) bar: Option<&'a SharedBar>,
    /// Once it is set the rest is passed over: what was found is then worth nothing.
    pub(crate) stop: Option<&'a AtomicBool>,
}

impl Scan<'_> {
    fn is_stopped(&self) -> bool {
        self.stop.is_some_and(|stop| stop.load(Ordering::Relaxed))
    }
}

impl<'a> Scan<'a> {
    /// The same rows in scans of at most `len` of them.
    pub(crate) fn pieces(&self, len: u32) -> impl Iterator<Item = Scan<'a>> + '_ {
        let mut start = self.rows.start;
        let mut ends = self.only.map(|only| ends(only, start, len));
        std::iter::from_fn(move || {
            let end = match &mut ends {
                Some(ends) => ends.next(),
                None => start.checked_add(len),
            };
            let end = end.unwrap_or(self.rows.end).min(self.rows.end);
            let piece = Scan { rows: start..end, ..self.clone() };
            start = end;
            (!piece.rows.is_empty()).then_some(piece)
        })
    }
}

/// Scores every row that counts, offers it to `top`, and returns `(rows scored, rows at or above the minimum)`.
///
/// Both are what the scores of the whole rows give. The lower plane is read only of rows whose bounds do not tell on
/// which side of the minimum they are, or that they are not among the best.
pub(crate) fn scan<R: Rows, Q: Score>(
    rows: &R,
    query: &Q,
    scan: &Scan<'_>,
    dims: usize,
    blocks: usize,
    top: &mut Top,
) -> Result<(u64, u64), R::Error> {
    let mut state = State { rows, query, scan, top, bar: f32::NEG_INFINITY, scored: 0, counted: 0 };
    state.settle();
    match scan.only {
        Some(only) => {
            let mut positions = Positions::new(only, scan.rows.clone(), Some(scan.dead));
            if rows.norms_are_far() {
                state.far(positions)?;
            } else {
                state.pursue(|_, batch| positions.next_batch(batch, BATCH))?;
            }
        }
        None => {
            let any_dead = !scan.dead.is_empty();
            let Range { start: mut position, end } = scan.rows;
            while position < end && !scan.is_stopped() {
                let run = rows.run(position..end.min(position.saturating_add(RUN)))?;
                state.settle();
                let bytes = dims.div_ceil(2);
                let uppers = run.upper.chunks(TOGETHER * bytes);
                for (uppers, inv_norms) in uppers.zip(run.inv_norms.chunks(TOGETHER * blocks)) {
                    let here = uppers.len() / bytes;
                    // In the place of rows that a run ends before, its last one.
                    let upper = |row: usize| &uppers[row.min(here - 1) * bytes..][..bytes];
                    let norms = |row: usize| &inv_norms[row.min(here - 1) * blocks..][..blocks];
                    let bounds = query.bounds_of(std::array::from_fn(upper), std::array::from_fn(norms));
                    for (row, bounds) in bounds.into_iter().enumerate().take(here) {
                        if (!any_dead || !scan.dead.contains(position)) && state.may_count(bounds) {
                            state.count(position, upper(row), norms(row))?;
                        }
                        position += 1;
                    }
                }
            }
        }
    }
    Ok((state.scored, state.counted))
}

/// Calls `each` with every row that counts, in no order of score.
pub(crate) fn visit<R: Rows, Q: Score>(
    rows: &R,
    query: &Q,
    scan: &Scan<'_>,
    mut each: impl FnMut(Ranked),
) -> Result<(), R::Error> {
    let mut one = |position: u32| -> Result<(), R::Error> {
        if scan.dead.contains(position) || scan.is_stopped() {
            return Ok(());
        }
        let run = rows.run(position..position + 1)?;
        let score = query.score(run.upper, rows.lower(position)?, run.inv_norms);
        if score >= scan.min_score {
            let place = Place { part: scan.part, position };
            each(Ranked { score, order: rows.order(position)?, place });
        }
        Ok(())
    };
    match scan.only {
        Some(only) => only.range(scan.rows.clone()).try_for_each(&mut one),
        None => scan.rows.clone().try_for_each(&mut one),
    }
}

/// Rows that wait for their memory together, when they do not lie one after another.
const BATCH: usize = 64;

/// Rows of which the most promising are looked for before any of them is met again.
const HEAP: usize = 2048;

/// Rows that are read whole before the bar is asked for, at least.
const FIRST: usize = 16;

/// A row that its bounds do not decide.
struct Open {
    bounds: (f32, f32),
    position: u32,
}

struct State<'s, 'a, R, Q> {
    rows: &'s R,
    query: &'s Q,
    scan: &'s Scan<'a>,
    top: &'s mut Top,
    /// A row below it is not among the best.
    bar: f32,
    scored: u64,
    counted: u64,
}

impl<R: Rows, Q: Score> State<'_, '_, R, Q> {
    /// Goes through rows whose norms likely are in no cache: first by the upper planes alone, a heap of rows at a time. Of
    /// those that are left the most promising come first, so that the bar rises before the others are met.
    fn far(&mut self, mut positions: Positions<'_>) -> Result<(), R::Error> {
        let (mut batch, mut ahead) = (Vec::with_capacity(BATCH), Vec::with_capacity(BATCH));
        let (mut open, mut highs) = (Vec::new(), Vec::new());
        let mut ask = |batch: &mut Vec<u32>| {
            positions.next_batch(batch, BATCH);
            // One right after the other: each between two rows made a filter of 30,000 rows take 1.5 times as long.
            batch.iter().for_each(|&position| self.rows.soon_upper(position));
        };
        ask(&mut ahead);
        while !ahead.is_empty() && !self.scan.is_stopped() {
            open.clear();
            let mut met = 0;
            while !ahead.is_empty() && met < HEAP {
                // Memory works on the next batch while this one is looked at.
                std::mem::swap(&mut batch, &mut ahead);
                ask(&mut ahead);
                met += batch.len();
                self.dismiss(&batch, &mut open)?;
            }
            let mut promising = f32::NEG_INFINITY;
            if open.len() > BATCH {
                highs.clear();
                highs.extend(open.iter().map(|&(high, _)| high));
                promising = *highs.select_nth_unstable_by(BATCH, |a, b| b.total_cmp(a)).1;
            }
            for first in [true, false] {
                let mut some = open.iter().filter(|(high, _)| (*high >= promising) == first);
                self.pursue(|state, batch| {
                    let left = some.by_ref().filter(|(high, _)| !state.is_dismissed(*high));
                    batch.clear();
                    batch.extend(left.map(|&(_, position)| position).take(BATCH));
                })?;
            }
        }
        Ok(())
    }

    /// Those rows of a batch that their upper planes do not decide, each with what its score is not above; the others are
    /// accounted for.
    fn dismiss(&mut self, batch: &[u32], open: &mut Vec<(f32, u32)>) -> Result<(), R::Error> {
        for some in batch.chunks(TOGETHER) {
            let mut uppers: [&[u8]; TOGETHER] = [self.rows.upper(some[0])?; TOGETHER];
            for (upper, &position) in uppers.iter_mut().zip(some).skip(1) {
                *upper = self.rows.upper(position)?;
            }
            for (&position, high) in some.iter().zip(self.query.highs(uppers)) {
                if !self.is_dismissed(high) {
                    open.push((high, position));
                }
            }
        }
        Ok(())
    }

    /// Whether a row is decided by what its score is not above: it is then accounted for.
    #[inline]
    fn is_dismissed(&mut self, high: f32) -> bool {
        let below = high < self.scan.min_score;
        // Where there is a minimum, which side of it the row is on has to be known.
        let beaten = self.scan.min_score == f32::NEG_INFINITY && high < self.bar;
        self.scored += u64::from(below || beaten);
        self.counted += u64::from(beaten);
        below || beaten
    }

    /// Whether the whole row decides, for its bounds do not; when it does not, the row is accounted for.
    #[inline]
    fn may_count(&mut self, (low, high): (f32, f32)) -> bool {
        self.scored += 1;
        if high < self.scan.min_score {
            return false;
        }
        let beaten = self.is_beaten((low, high));
        self.counted += u64::from(beaten);
        !beaten
    }

    /// Whether a row counts, but is not among the best.
    #[inline]
    fn is_beaten(&self, (low, high): (f32, f32)) -> bool {
        low >= self.scan.min_score && high < self.bar
    }

    /// Accounts for rows, of which `next` gives a batch at a time, none at the end. What is read of a row is asked for a batch
    /// earlier: its upper plane and norms, and then, if these do not decide, the rest.
    fn pursue(&mut self, mut next: impl FnMut(&mut Self, &mut Vec<u32>)) -> Result<(), R::Error> {
        let (mut batch, mut ahead) = (Vec::with_capacity(BATCH), Vec::with_capacity(BATCH));
        let mut open = Vec::new();
        let mut ask = |state: &mut Self, batch: &mut Vec<u32>| {
            next(state, batch);
            batch.iter().for_each(|&position| state.rows.soon(position));
        };
        ask(self, &mut ahead);
        while !ahead.is_empty() && !self.scan.is_stopped() {
            let mut met = 0;
            while !ahead.is_empty() && met < HEAP {
                std::mem::swap(&mut batch, &mut ahead);
                ask(self, &mut ahead);
                met += batch.len();
                self.bound(&batch, &mut open)?;
            }
            self.decide(&mut open)?;
        }
        Ok(())
    }

    /// Those rows of a batch that their bounds do not decide; the others are accounted for.
    fn bound(&mut self, batch: &[u32], open: &mut Vec<Open>) -> Result<(), R::Error> {
        for some in batch.chunks(TOGETHER) {
            let run = self.rows.run(some[0]..some[0] + 1)?;
            let (mut uppers, mut norms) = ([run.upper; TOGETHER], [run.inv_norms; TOGETHER]);
            for ((upper, norms), &position) in uppers.iter_mut().zip(&mut norms).zip(some).skip(1) {
                let run = self.rows.run(position..position + 1)?;
                (*upper, *norms) = (run.upper, run.inv_norms);
            }
            for (&position, bounds) in some.iter().zip(self.query.bounds_of(uppers, norms)) {
                if self.may_count(bounds) {
                    open.push(Open { bounds, position });
                }
            }
        }
        Ok(())
    }

    /// Accounts for rows by the whole of them, where that still takes it: the most promising come first, so that the bar is
    /// high when the others are met.
    fn decide(&mut self, open: &mut Vec<Open>) -> Result<(), R::Error> {
        let first = self.top.keep().saturating_mul(2).max(FIRST).min(open.len());
        if first < open.len() {
            open.select_nth_unstable_by(first, |a, b| b.bounds.1.total_cmp(&a.bounds.1));
        }
        let (best, others) = open.split_at(first);
        let (mut likely, mut before) = (Vec::with_capacity(BATCH), Vec::with_capacity(BATCH));
        for (rows, are_best) in [(best, true), (others, false)] {
            for rows in rows.chunks(BATCH) {
                for row in rows {
                    if self.is_beaten(row.bounds) {
                        self.counted += 1;
                        continue;
                    }
                    // The number of a row is read only of those that come among the best.
                    if are_best {
                        self.rows.soon_whole(row.position);
                    } else {
                        self.rows.soon_lower(row.position);
                    }
                    likely.push(row.position);
                }
                // Memory works on these while those before them are scored.
                std::mem::swap(&mut likely, &mut before);
                self.count_all(&mut likely)?;
            }
            // The others meet the bar of all of the best.
            self.count_all(&mut before)?;
        }
        open.clear();
        Ok(())
    }

    /// Accounts for rows whose lower planes were asked for.
    fn count_all(&mut self, positions: &mut Vec<u32>) -> Result<(), R::Error> {
        if positions.is_empty() {
            return Ok(());
        }
        for position in positions.drain(..) {
            let run = self.rows.run(position..position + 1)?;
            self.count(position, run.upper, run.inv_norms)?;
        }
        self.settle();
        Ok(())
    }

    /// Raises the bar to where it can be, for the other threads of the search too.
    fn settle(&mut self) {
        self.top.settle();
        let shared = self.scan.bar.map_or(f32::NEG_INFINITY, |bar| {
            bar.raise(self.top.bar());
            bar.get()
        });
        self.bar = self.top.bar().max(shared);
    }

    /// Scores a whole row.
    fn count(&mut self, position: u32, upper: &[u8], inv_norms: &[[u8; 4]]) -> Result<(), R::Error> {
        let score = self.query.score(upper, self.rows.lower(position)?, inv_norms);
        if score >= self.scan.min_score {
            self.counted += 1;
            if score >= self.bar {
                let place = Place { part: self.scan.part, position };
                self.top.offer(Ranked { score, order: self.rows.order(position)?, place });
                self.bar = self.bar.max(self.top.bar());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::convert::Infallible;
    use std::ops::Range;

    use super::super::query::QueryCode;
    use super::super::rows::RowRun;
    use super::*;
    use crate::vector::{Layout, RowCode};
    use proptest::prelude::*;

    /// Rows in memory, which tell how many lower planes were read.
    struct Held {
        rows: Vec<RowCode>,
        upper: Vec<u8>,
        inv_norms: Vec<[u8; 4]>,
        read: Cell<usize>,
        /// How often norms were read.
        runs: Cell<usize>,
        far: bool,
    }

    impl Held {
        fn new(rows: Vec<RowCode>) -> Self {
            let upper = rows.iter().flat_map(|row| row.upper.clone()).collect();
            let inv_norms = rows.iter().flat_map(|row| &row.inv_norms).map(|v| v.to_le_bytes()).collect();
            Self { rows, upper, inv_norms, read: Cell::new(0), runs: Cell::new(0), far: false }
        }
    }

    impl Rows for Held {
        type Error = Infallible;

        fn run(&self, range: Range<u32>) -> Result<RowRun<'_>, Infallible> {
            self.runs.set(self.runs.get() + 1);
            let (bytes, blocks) =
                (self.upper.len() / self.rows.len(), self.inv_norms.len() / self.rows.len());
            // Runs end anywhere.
            let range = range.start as usize..range.end.min(range.start + 7) as usize;
            Ok(RowRun {
                upper: &self.upper[range.start * bytes..range.end * bytes],
                inv_norms: &self.inv_norms[range.start * blocks..range.end * blocks],
            })
        }

        fn norms_are_far(&self) -> bool {
            self.far
        }

        fn upper(&self, position: u32) -> Result<&[u8], Infallible> {
            Ok(&self.rows[position as usize].upper)
        }

        fn lower(&self, position: u32) -> Result<&[i8], Infallible> {
            self.read.set(self.read.get() + 1);
            Ok(&self.rows[position as usize].lower)
        }

        fn order(&self, position: u32) -> Result<u64, Infallible> {
            // Not the order of positions.
            Ok(u64::from(position ^ 5))
        }
    }

    /// What a scan must give: the best rows and the count, by the whole rows' scores.
    fn brute(held: &Held, query: &QueryCode, which: &Scan<'_>, keep: usize) -> (Vec<Ranked>, (u64, u64)) {
        let mut all: Vec<Ranked> = (0..)
            .zip(&held.rows)
            .filter(|(position, _)| {
                which.only.is_none_or(|only| only.contains(*position)) && !which.dead.contains(*position)
            })
            .map(|(position, row)| {
                let inv: Vec<[u8; 4]> = row.inv_norms.iter().map(|v| v.to_le_bytes()).collect();
                let score = query.score(&row.upper, &row.lower, &inv);
                let place = Place { part: which.part, position };
                Ranked { score, order: held.order(position).unwrap(), place }
            })
            .collect();
        let scored = all.len() as u64;
        all.retain(|row| row.score >= which.min_score);
        let counted = all.len() as u64;
        all.sort_by(Ranked::cmp_best_first);
        all.truncate(keep);
        (all, (scored, counted))
    }

    /// Values in -1..1 that look random.
    fn noise(seed: u64) -> impl FnMut() -> f32 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        }
    }

    /// A row near one of a few centres, so that scores come close to each other and to the minimum.
    fn row(layout: &Layout, seed: u64) -> Vec<f32> {
        let mut noise = noise(seed);
        let spread = [0.0, 0.001, 0.01, 1.0][(seed % 4) as usize];
        (0..layout.dims()).map(|i| ((i as u64 * 7 + seed % 3) % 11) as f32 - 5.0 + spread * noise()).collect()
    }

    proptest! {
        #[test]
        fn scans_as_brute_force_does(
            seeds in proptest::collection::vec(0u64..1000, 1..300),
            shape in 0usize..3,
            keep in 0usize..40,
            min in prop_oneof![Just(f32::NEG_INFINITY), 0.5f32..1.0, Just(1.0)],
            filtered: bool,
            far: bool,
            dead in proptest::collection::vec(0u32..300, 0..9),
        ) {
            let layout = Layout::new([&[9, 4][..], &[70, 33], &[64]][shape]).unwrap();
            let code = |seed| RowCode::encode(&layout, &row(&layout, seed)).unwrap();
            let mut held = Held::new(seeds.iter().map(|&seed| code(seed)).collect());
            held.far = far;
            let query = QueryCode::new(&layout, &code(seeds[0]), &[0.7, 0.3][..layout.blocks()]);
            let only: RoaringBitmap = (0..seeds.len() as u32).filter(|p| p % 3 != 1).collect();
            let dead: RoaringBitmap = dead.into_iter().filter(|&p| (p as usize) < seeds.len()).collect();
            // As one scan, and as scans of pieces.
            let rows = 0..seeds.len() as u32;
            let which =
                Scan { part: 2, rows: rows.clone(), only: filtered.then_some(&only), dead: &dead, min_score: min, bar: None, stop: None };
            let mut top = Top::new(keep);
            let counts = scan(&held, &query, &which, layout.dims(), layout.blocks(), &mut top).unwrap();
            prop_assert_eq!((top.into_sorted(), counts), brute(&held, &query, &which, keep));
            let mut pieces: Vec<Scan<'_>> = which.pieces(7).collect();
            pieces.reverse();
            // Each by a thread of its own, which tells the others its bar.
            let bar = SharedBar::new();
            let (mut top, mut counts) = (Top::new(keep), (0, 0));
            for piece in &pieces {
                let mut own = Top::new(keep);
                let piece = Scan { bar: Some(&bar), ..piece.clone() };
                let counted =
                    scan(&held, &query, &piece, layout.dims(), layout.blocks(), &mut own).unwrap();
                counts = (counts.0 + counted.0, counts.1 + counted.1);
                top.join(own);
            }
            prop_assert_eq!((top.into_sorted(), counts), brute(&held, &query, &which, keep));
        }
    }

    #[test]
    fn few_lower_planes_are_read() {
        let layout = Layout::new(&[160, 96]).unwrap();
        let code = |seed: u64| {
            let mut noise = noise(seed);
            RowCode::encode(&layout, &(0..256).map(|_| noise()).collect::<Vec<_>>()).unwrap()
        };
        let held = Held::new((0..20_000).map(code).collect());
        let query = QueryCode::new(&layout, &code(77), &[1.0, 1.0]);
        let dead = RoaringBitmap::new();
        let all = Scan {
            part: 0,
            rows: 0..20_000,
            only: None,
            dead: &dead,
            min_score: f32::NEG_INFINITY,
            bar: None,
            stop: None,
        };
        let mut top = Top::new(10);
        scan(&held, &query, &all, 256, 2, &mut top).unwrap();
        let best = top.into_sorted();
        assert_eq!(best[0].place.position, 77);
        assert!(held.read.get() < 2_500, "{} of 20,000 lower planes read", held.read.get());

        // Rows that lie apart, few of them: the most promising are read first.
        let some: RoaringBitmap = (0..20_000).step_by(20).collect();
        let (held, mut top) = (Held { read: Cell::new(0), ..held }, Top::new(10));
        scan(&held, &query, &Scan { only: Some(&some), ..all.clone() }, 256, 2, &mut top).unwrap();
        let read = held.read.get();
        let which = Scan { only: Some(&some), ..all.clone() };
        assert_eq!(top.into_sorted(), brute(&held, &query, &which, 10).0);
        assert!(read < 250, "{} of 1,000 lower planes read", read);

        // More of them than are met before any is read whole.
        let only: RoaringBitmap = (0..20_000).collect();
        let mut top = Top::new(10);
        let counts =
            scan(&held, &query, &Scan { only: Some(&only), ..all.clone() }, 256, 2, &mut top).unwrap();
        assert_eq!((counts, top.into_sorted()), ((20_000, 20_000), best.clone()));

        // The same rows, their norms far: most of these are not read either.
        let (held, mut again) = (Held { far: true, runs: Cell::new(0), ..held }, Top::new(10));
        let counts = scan(&held, &query, &Scan { only: Some(&only), ..all }, 256, 2, &mut again).unwrap();
        assert_eq!((counts, again.into_sorted()), ((20_000, 20_000), best));
        assert!(held.runs.get() < 4_500, "{} norms of 20,000 rows read", held.runs.get());
    }
}
