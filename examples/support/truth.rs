//! The true best rows of some queries, found while the rows are made: every row is compared with every query.
//!
//! That is 200 times 30,000,000 dot products of 256 values, and the rows cannot be kept for a second look. Most of the
//! work can be left out without leaving anything to chance. Before the space is turned (see `world.rs`) the first axes
//! hold most of a vector, and a turn changes no dot product. With `h` for the first 64 values and `r` for the rest,
//!
//! ```text
//! q . x  =  qh . xh  +  qr . xr  <=  qh . xh  +  |qr| |xr|        (Cauchy, Schwarz)
//! ```
//!
//! so a row whose right side does not reach the query's hundredth best score so far is out. The few others are scored
//! in f32 over all values, as they are stored.

use crate::world::{DIMS, LANES, Tile, World, norms};

/// Values of the first look.
pub(crate) const HEAD: usize = 64;

/// Queries that a tile is compared with at once: so many sums fit into registers.
const GROUP: usize = 4;

/// More than what rounding can do to the right side: sums of 64 products of numbers below 1 in f32.
const SLACK: f32 = 1e-5;

/// Queries as the comparison needs them.
pub(crate) struct Targets {
    /// Of four queries each, the first values side by side.
    heads: Vec<[[f32; GROUP]; HEAD]>,
    /// The norms of the rest.
    rests: Vec<f32>,
    /// The turned queries.
    pub(crate) whole: Vec<[f32; DIMS]>,
}

impl Targets {
    pub(crate) fn new(world: &World, queries: &[[f32; DIMS]]) -> Self {
        let group = |queries: &[[f32; DIMS]]| {
            std::array::from_fn(|axis| {
                std::array::from_fn(|query| queries.get(query).map_or(0.0, |q| q[axis]))
            })
        };
        Self {
            heads: queries.chunks(GROUP).map(group).collect(),
            rests: queries.iter().map(|q| norms(&q.map(|value| [value; LANES])[HEAD..])[0]).collect(),
            whole: queries.iter().map(|query| world.turned(query)).collect(),
        }
    }
}

/// The best rows of one query so far.
#[derive(Clone)]
pub(crate) struct Best {
    keep: usize,
    rows: Vec<(f32, u64)>,
    /// What a row must exceed to be among them.
    least: f32,
}

impl Best {
    pub(crate) fn new(keep: usize) -> Self {
        Self { keep, rows: Vec::with_capacity(2 * keep), least: f32::NEG_INFINITY }
    }

    pub(crate) fn push(&mut self, score: f32, row: u64) {
        if score <= self.least {
            return;
        }
        self.rows.push((score, row));
        // Putting in order every hundredth time is cheaper than keeping in order.
        if self.rows.len() == 2 * self.keep {
            self.settle();
            self.least = self.rows.last().map_or(self.least, |(score, _)| *score);
        }
    }

    fn settle(&mut self) {
        self.rows.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        self.rows.truncate(self.keep);
    }

    pub(crate) fn join(&mut self, other: Self) {
        self.rows.extend(other.rows);
        self.settle();
    }

    /// The rows, best first.
    pub(crate) fn rows(mut self) -> Vec<u64> {
        self.settle();
        self.rows.into_iter().map(|(_, row)| row).collect()
    }
}

/// The best rows of all queries, and of those under a filter.
#[derive(Clone)]
pub(crate) struct Truth {
    pub(crate) all: Vec<Best>,
    pub(crate) filtered: Vec<Best>,
    /// Rows that match the filter.
    pub(crate) matches: u64,
    /// Pairs of rows and queries that had to be scored in full.
    pub(crate) scored: u64,
}

impl Truth {
    pub(crate) fn new(queries: usize, keep: usize, keep_filtered: usize) -> Self {
        let (all, filtered) = (vec![Best::new(keep); queries], vec![Best::new(keep_filtered); queries]);
        Self { all, filtered, matches: 0, scored: 0 }
    }

    pub(crate) fn join(&mut self, other: Self) {
        self.all.iter_mut().zip(other.all).for_each(|(best, other)| best.join(other));
        self.filtered.iter_mut().zip(other.filtered).for_each(|(best, other)| best.join(other));
        self.matches += other.matches;
        self.scored += other.scored;
    }

    /// Pairs (lane, query) of a tile that is not turned yet which may be among the best.
    pub(crate) fn promising(&self, targets: &Targets, tile: &Tile, found: &mut Vec<(usize, usize)>) {
        found.clear();
        let rests = norms(&tile[HEAD..]);
        for (group, heads) in targets.heads.iter().enumerate() {
            let sums = dots(heads, tile);
            for (within, sums) in sums.iter().enumerate() {
                let query = group * GROUP + within;
                let (Some(rest), Some(best)) = (targets.rests.get(query), self.all.get(query)) else {
                    continue;
                };
                let bounds: [f32; LANES] = std::array::from_fn(|lane| sums[lane] + rest * rests[lane]);
                // Nearly always no row of the eight gets there.
                let highest = bounds.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                if highest + SLACK > best.least {
                    let over = |lane: &usize| bounds[*lane] + SLACK > best.least;
                    found.extend((0..LANES).filter(over).map(|lane| (lane, query)));
                }
            }
        }
    }

    /// Scores a row, whole and turned, for a query.
    pub(crate) fn score(&mut self, targets: &Targets, query: usize, vector: &[f32], row: u64) {
        self.scored += 1;
        self.all[query].push(dot(&targets.whole[query], vector), row);
    }

    /// A row that matches the filter.
    pub(crate) fn match_filter(&mut self, targets: &Targets, vector: &[f32], row: u64) {
        self.matches += 1;
        for (best, query) in self.filtered.iter_mut().zip(&targets.whole) {
            best.push(dot(query, vector), row);
        }
    }
}

/// Dot products of the first values of four queries and eight rows. Written so that a compiler makes vector
/// instructions of the innermost loop and keeps all sums in registers.
#[inline]
fn dots(heads: &[[f32; GROUP]; HEAD], tile: &Tile) -> [[f32; LANES]; GROUP] {
    let mut sums = [[0.0; LANES]; GROUP];
    for (head, values) in heads.iter().zip(tile) {
        for (sums, weight) in sums.iter_mut().zip(head) {
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum += weight * value;
            }
        }
    }
    sums
}

/// The dot product of two vectors, in sixteen sums that do not wait for each other.
fn dot(a: &[f32; DIMS], b: &[f32]) -> f32 {
    let mut sums = [0.0; 16];
    for (a, b) in a.as_chunks::<16>().0.iter().zip(b.as_chunks::<16>().0) {
        sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += a * b);
    }
    sums.iter().sum()
}
