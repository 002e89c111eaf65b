//! Exhaustive search.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use roaring::RoaringBitmap;

use super::rows::Rows;
use super::top::{Place, Ranked, Top};

/// Rows read at a time: their upper planes (512 KiB at 256 dimensions) stay in the second-level cache between the
/// checksum and the scores.
const RUN: u32 = 4096;

/// A query that scores rows: between bounds by what a scan reads of every row, exactly by the whole row.
pub(crate) trait Score {
    /// What the score of a row is not above, by its upper plane alone: rows that lie apart cost a wait for each place they
    /// are read at, and the norms lie elsewhere.
    fn high(&self, _upper: &[u8]) -> f32 {
        f32::INFINITY
    }

    /// What the score of a row is not below and not above, by its upper plane and one over the norm of each block.
    fn bounds(&self, upper: &[u8], inv_norms: &[[u8; 4]]) -> (f32, f32);

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
        std::iter::from_fn(move || {
            let end = match self.only {
                Some(only) => only.range(start..self.rows.end).nth(len as usize),
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
    let mut state = State { rows, query, scan, top, scored: 0, counted: 0 };
    match scan.only {
        Some(only) => {
            let mut positions =
                only.range(scan.rows.clone()).filter(|&position| !scan.dead.contains(position));
            let (mut batch, mut ahead) = (Vec::with_capacity(BATCH), Vec::with_capacity(BATCH));
            let (mut open, mut likely) = (Vec::with_capacity(BATCH), Vec::with_capacity(BATCH));
            let far = rows.norms_are_far();
            let mut next = |batch: &mut Vec<u32>| {
                batch.clear();
                batch.extend(positions.by_ref().take(BATCH));
                // One right after the other: each between the scores of two rows made a filter of 30,000 rows take 1.5 times as long.
                for &position in &*batch {
                    if far { rows.soon_upper(position) } else { rows.soon(position) }
                }
            };
            next(&mut ahead);
            while !ahead.is_empty() && !scan.is_stopped() {
                // Memory works on the next batch while this one is scored.
                std::mem::swap(&mut batch, &mut ahead);
                next(&mut ahead);
                if far {
                    for &position in &batch {
                        if !state.is_dismissed(rows.upper(position)?) {
                            rows.soon_norms(position);
                            open.push(position);
                        }
                    }
                } else {
                    // Norms that are near were asked for with the upper planes, and none is done without.
                    std::mem::swap(&mut open, &mut batch);
                }
                state.decide(&mut open, &mut likely)?;
            }
        }
        None => {
            let any_dead = !scan.dead.is_empty();
            let Range { start: mut position, end } = scan.rows;
            while position < end && !scan.is_stopped() {
                let run = rows.run(position..end.min(position.saturating_add(RUN)))?;
                let planes = run.upper.chunks_exact(dims.div_ceil(2));
                for (upper, inv_norms) in planes.zip(run.inv_norms.chunks_exact(blocks)) {
                    if (!any_dead || !scan.dead.contains(position)) && state.may_count(upper, inv_norms) {
                        state.count(position, upper, inv_norms)?;
                    }
                    position += 1;
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

struct State<'s, 'a, R, Q> {
    rows: &'s R,
    query: &'s Q,
    scan: &'s Scan<'a>,
    top: &'s mut Top,
    scored: u64,
    counted: u64,
}

impl<R: Rows, Q: Score> State<'_, '_, R, Q> {
    /// Whether the upper plane alone decides: the row is then accounted for.
    #[inline]
    fn is_dismissed(&mut self, upper: &[u8]) -> bool {
        let high = self.query.high(upper);
        let below = high < self.scan.min_score;
        // Where there is a minimum, which side of it the row is on has to be known.
        let beaten = self.scan.min_score == f32::NEG_INFINITY && high < self.top.bar();
        self.scored += u64::from(below || beaten);
        self.counted += u64::from(beaten);
        below || beaten
    }

    /// Whether the whole row decides; when it does not, the row is accounted for.
    #[inline]
    fn may_count(&mut self, upper: &[u8], inv_norms: &[[u8; 4]]) -> bool {
        let (low, high) = self.query.bounds(upper, inv_norms);
        self.scored += 1;
        if high < self.scan.min_score {
            return false;
        }
        let beaten = low >= self.scan.min_score && high < self.top.bar();
        self.counted += u64::from(beaten);
        !beaten
    }

    /// Accounts for rows whose upper planes and norms were asked for.
    fn decide(&mut self, open: &mut Vec<u32>, likely: &mut Vec<u32>) -> Result<(), R::Error> {
        for position in open.drain(..) {
            let run = self.rows.run(position..position + 1)?;
            if self.may_count(run.upper, run.inv_norms) {
                self.rows.soon_whole(position);
                likely.push(position);
            }
        }
        for position in likely.drain(..) {
            let run = self.rows.run(position..position + 1)?;
            self.count(position, run.upper, run.inv_norms)?;
        }
        Ok(())
    }

    /// Scores a whole row.
    fn count(&mut self, position: u32, upper: &[u8], inv_norms: &[[u8; 4]]) -> Result<(), R::Error> {
        let score = self.query.score(upper, self.rows.lower(position)?, inv_norms);
        if score >= self.scan.min_score {
            self.counted += 1;
            if score >= self.top.bar() {
                let place = Place { part: self.scan.part, position };
                self.top.offer(Ranked { score, order: self.rows.order(position)?, place });
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
                Scan { part: 2, rows: rows.clone(), only: filtered.then_some(&only), dead: &dead, min_score: min, stop: None };
            let mut top = Top::new(keep);
            let counts = scan(&held, &query, &which, layout.dims(), layout.blocks(), &mut top).unwrap();
            prop_assert_eq!((top.into_sorted(), counts), brute(&held, &query, &which, keep));
            let mut pieces: Vec<Scan<'_>> = which.pieces(7).collect();
            pieces.reverse();
            let (mut top, mut counts) = (Top::new(keep), (0, 0));
            for piece in &pieces {
                let mut own = Top::new(keep);
                let counted =
                    scan(&held, &query, piece, layout.dims(), layout.blocks(), &mut own).unwrap();
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
            stop: None,
        };
        let mut top = Top::new(10);
        scan(&held, &query, &all, 256, 2, &mut top).unwrap();
        let best = top.into_sorted();
        assert_eq!(best[0].place.position, 77);
        assert!(held.read.get() < 2_500, "{} of 20,000 lower planes read", held.read.get());

        // The same rows, lying apart: most norms are not read either.
        let only: RoaringBitmap = (0..20_000).collect();
        let (held, mut again) = (Held { far: true, runs: Cell::new(0), ..held }, Top::new(10));
        let counts = scan(&held, &query, &Scan { only: Some(&only), ..all }, 256, 2, &mut again).unwrap();
        assert_eq!((counts, again.into_sorted()), ((20_000, 20_000), best));
        assert!(held.runs.get() < 7_000, "{} norms of 20,000 rows read", held.runs.get());
    }
}
