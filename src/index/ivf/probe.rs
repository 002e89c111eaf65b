//! Searching lists: codes of one bit dismiss most rows, the upper plane most of the rest, whole rows decide.

use std::ops::Range;

use roaring::RoaringBitmap;

use super::centroids::{Centroids, Ranking};
use crate::index::flat::{Scan, Score};
use crate::index::positions::Positions;
use crate::index::query::QueryCode;
use crate::index::rows::{ListedRows, upper_factor};
use crate::index::top::{Place, Ranked, Top};
use crate::kernel::bits::{self, BitsQuery, GROUP, GROUP_FACTORS};
use crate::kernel::table::TableRows;
use crate::vector::{Layout, RowCode};

/// A row is dismissed by its one-bit code when its score is below the bar by so many standard deviations of the
/// estimate. On a million clustered vectors that cost .001 of the recall.
const DEVIATIONS: f32 = 1.9;

/// A query against the lists around one set of centres.
#[derive(Debug, Clone)]
pub(crate) struct ListQuery {
    bits: BitsQuery,
    ranking: Ranking,
    /// Lists are taken in bands of falling cosines; this is where the last one ended.
    reached: f32,
}

impl ListQuery {
    /// `weights`: one a block, with a sum of 1.
    pub(crate) fn new(centroids: &Centroids, layout: &Layout, row: &RowCode, weights: &[f32]) -> Self {
        let factors: Vec<f32> =
            row.inv_norms.iter().zip(weights).map(|(inv, w)| upper_factor(*inv) * w).collect();
        let asked = TableRows::of(centroids.blocks(), &row.eights(), &factors);
        let ranking = centroids.rank(asked.get(0), weights);
        let mut values = row.decode(layout);
        for (range, weight) in layout.ranges().zip(weights) {
            values[range].iter_mut().for_each(|value| *value *= weight);
        }
        let norm = values.iter().map(|value| value * value).sum::<f32>().sqrt();
        values.resize(bits::padded(values.len()), 0.0);
        centroids.rotation().apply(&mut values);
        Self { bits: BitsQuery::new(&values, DEVIATIONS * norm), ranking, reached: f32::INFINITY }
    }

    /// The lists that come next, down to `gap` below the best; none when there are none left at all. The best `first` of
    /// them come best first, so that the bar rises soon, the others as they lie in memory.
    pub(crate) fn next(&mut self, gap: f32, first: usize) -> Option<Vec<u32>> {
        if self.reached == f32::NEG_INFINITY {
            return None;
        }
        // No two cosines are further apart.
        let low = if gap > 2.0 { f32::NEG_INFINITY } else { self.ranking.best - gap };
        let lists = self.ranking.between(low, self.reached, first);
        self.reached = self.reached.min(low);
        Some(lists)
    }

    /// How far below the best list another one is.
    pub(crate) fn below_best(&self, list: u32) -> f32 {
        self.ranking.best - self.ranking.cosines[list as usize]
    }
}

/// What the search of a list met.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Probe {
    /// Rows whose codes were looked at.
    pub(crate) scanned: u64,
    /// Rows of the list, and those of them that count, dead or not.
    pub(crate) listed: u64,
    pub(crate) matching: u64,
    /// Rows found at or above the minimum.
    pub(crate) counted: u64,
}

/// Searches one list. With a minimum every row at or above it is looked for and counted; without one, those that may be
/// among the best.
pub(crate) fn probe<R: ListedRows>(
    rows: &R,
    list: u32,
    query: &QueryCode,
    lists: &ListQuery,
    scan: &Scan<'_>,
    top: &mut Top,
) -> Result<Probe, R::Error> {
    let range = rows.list(list)?;
    let rows_of_list = u64::from(range.end - range.start);
    let mut met = Probe { listed: rows_of_list, matching: rows_of_list, ..Probe::default() };
    if range.is_empty() {
        return Ok(met);
    }
    let (waiting, count) = ([0; BATCH], 0);
    let mut search = Search { rows, query, scan, top, met: &mut met, waiting, count, failed: None };
    let base = lists.ranking.dots[list as usize];
    match scan.only {
        None => {
            let any_dead = !scan.dead.is_empty();
            search
                .run(&lists.bits, base, range, None, |position| !any_dead || !scan.dead.contains(position))?;
        }
        Some(only) => {
            let (masks, matching) = masks(only, &range);
            search.met.matching = matching;
            if matching > 0 {
                search.run(&lists.bits, base, range, Some(&masks), |_| true)?;
            }
        }
    }
    Ok(met)
}

/// Positions that are put into masks at a time.
const MASKED: usize = 64;

/// Of each group that a range has a part in, which of its rows a bitmap has, and how many those are in all.
fn masks(only: &RoaringBitmap, range: &Range<u32>) -> (Vec<u16>, u64) {
    let first = range.start / GROUP as u32;
    let mut masks = vec![0u16; (range.end.div_ceil(GROUP as u32) - first) as usize];
    let (mut positions, mut batch, mut count) = (Positions::new(only, range.clone(), None), Vec::new(), 0);
    loop {
        positions.next_batch(&mut batch, MASKED);
        if batch.is_empty() {
            return (masks, count);
        }
        for position in &batch {
            masks[(position / GROUP as u32 - first) as usize] |= 1 << (position % GROUP as u32);
        }
        count += batch.len() as u64;
    }
}

/// Candidates that wait for their memory together.
const BATCH: usize = 16;

struct Search<'s, 'a, R: ListedRows> {
    rows: &'s R,
    query: &'s QueryCode,
    scan: &'s Scan<'a>,
    top: &'s mut Top,
    met: &'s mut Probe,
    /// Candidates whose upper planes were asked for.
    waiting: [u32; BATCH],
    count: usize,
    failed: Option<R::Error>,
}

impl<R: ListedRows> Search<'_, '_, R> {
    fn bar(&self) -> f32 {
        if self.scan.min_score > f32::NEG_INFINITY { self.scan.min_score } else { self.top.bar() }
    }

    /// Goes through the rows of a range, by whole groups; with `masks`, one for each group, only through the rows that
    /// they have.
    fn run(
        &mut self,
        bits: &BitsQuery,
        base: f32,
        range: Range<u32>,
        masks: Option<&[u16]>,
        counts: impl Fn(u32) -> bool,
    ) -> Result<(), R::Error> {
        let first = range.start / GROUP as u32;
        let groups = first..range.end.div_ceil(GROUP as u32);
        let (codes, factors) = self.rows.bits(groups)?;
        let groups = match masks {
            Some(masks) => masks.iter().filter(|mask| **mask != 0).count(),
            None => factors.len() / GROUP_FACTORS,
        };
        self.met.scanned += (groups * GROUP) as u64;
        let bar = self.bar();
        let found = |group: usize, mut mask: u16| {
            let start = (first + group as u32) * GROUP as u32;
            while mask != 0 {
                let position = start + mask.trailing_zeros();
                mask &= mask - 1;
                if range.contains(&position) && counts(position) {
                    self.rows.soon(position);
                    self.waiting[self.count] = position;
                    self.count += 1;
                    if self.count == BATCH
                        && let Err(error) = self.decide()
                    {
                        self.failed.get_or_insert(error);
                        return f32::INFINITY;
                    }
                }
            }
            self.bar()
        };
        match masks {
            Some(masks) => bits.scan_some(codes, factors, masks, base, bar, found),
            None => bits.scan(codes, factors, base, bar, found),
        }
        self.failed.take().map_or(Ok(()), Err)?;
        self.decide()
    }

    /// Scores those that wait: all of them by the upper plane, then the rest by the whole row.
    fn decide(&mut self) -> Result<(), R::Error> {
        let count = std::mem::take(&mut self.count);
        let (mut left, mut likely) = (0, [(0, 0.0); BATCH]);
        let bar = self.bar();
        for &position in &self.waiting[..count] {
            let run = self.rows.run(position..position + 1)?;
            let slack = self.query.likely_slack(run.inv_norms);
            let bound = self.query.coarse(run.upper, run.inv_norms) + slack;
            if bound >= bar {
                self.rows.soon_whole(position);
                likely[left] = (position, bound);
                left += 1;
            }
        }
        for &(position, bound) in &likely[..left] {
            if bound < self.bar() {
                continue;
            }
            let run = self.rows.run(position..position + 1)?;
            let score = self.query.score(run.upper, self.rows.lower(position)?, run.inv_norms);
            if score >= self.scan.min_score {
                self.met.counted += 1;
                if score >= self.top.bar() {
                    let place = Place { part: self.scan.part, position };
                    self.top.offer(Ranked { score, order: self.rows.order(position)?, place });
                }
            }
        }
        Ok(())
    }
}
