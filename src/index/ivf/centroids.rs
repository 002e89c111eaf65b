//! The centres of lists: to which list a row goes, which lists a query looks at first.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use super::code::{Factors, encode};
use super::groups::{GROUPED, Groups};
use super::rotate::Rotation;
use crate::kernel::bits;
use crate::kernel::table::{TILE, Table, TableRow, TableRows};
use crate::vector::largest;

/// Lists beside a divided one whose rows may be nearer to a piece of it than to their own centre.
const BESIDE: usize = 8;

/// Centres of the lists of an instance, shared by all segments that were made with them.
///
/// A centre is the mean of the list's rows, kept like a row: in each block 8 bits a value, and a scale.
#[derive(Debug, Clone)]
pub(crate) struct Centroids {
    blocks: Arc<[usize]>,
    /// `[lists, dims]`.
    codes: Vec<i8>,
    /// `[lists, blocks]`: what a code of one stands for.
    scales: Vec<f32>,
    table: Table,
    /// The scales in the table's order.
    by_lane: Vec<f32>,
    /// `[lists, blocks]`: square of the norm of each block of each centre.
    squares: Vec<f32>,
    /// `[lists]`: the norm of each centre in the metric that rows are assigned by.
    norms: Vec<f32>,
    /// The scales over that norm, times the weight of the block.
    assign: Vec<f32>,
    /// The blocks' weights in that metric.
    weights: Vec<f32>,
    /// Made when the first rows are assigned.
    groups: OnceLock<Arc<Groups>>,
    rotation: Rotation,
}

impl Centroids {
    /// `weights`, one a block with a sum of 1, make the metric that rows are assigned by.
    pub(crate) fn new(blocks: &[usize], codes: Vec<i8>, scales: Vec<f32>, weights: &[f32]) -> Self {
        let dims: usize = blocks.iter().sum();
        let table = Table::new(blocks, &codes);
        let mut squares = Vec::with_capacity(scales.len());
        for (codes, scales) in codes.chunks_exact(dims).zip(scales.chunks_exact(blocks.len())) {
            let mut from = 0;
            for (&block, scale) in blocks.iter().zip(scales) {
                let square = |&c: &i8| i64::from(i32::from(c).pow(2));
                let sum: i64 = codes[from..from + block].iter().map(square).sum();
                squares.push(sum as f32 * (scale * scale));
                from += block;
            }
        }
        let mut by_lane = vec![0.0; table.factors()];
        let mut assign = vec![0.0; table.factors()];
        let norms = norms(&squares, blocks.len(), weights);
        for (list, &norm) in norms.iter().enumerate() {
            for (block, &weight) in weights.iter().enumerate() {
                let at = table.factor(list, block);
                by_lane[at] = scales[list * blocks.len() + block];
                assign[at] = if norm > 0.0 { weight * by_lane[at] / norm } else { 0.0 };
            }
        }
        let rotation = Rotation::new(bits::padded(dims));
        let (weights, groups) = (weights.to_vec(), OnceLock::new());
        Self {
            blocks: blocks.into(),
            codes,
            scales,
            table,
            by_lane,
            squares,
            norms,
            assign,
            weights,
            groups,
            rotation,
        }
    }

    /// From `[lists, dims]` means, each block of the rows having unit norm.
    pub(crate) fn from_means(blocks: &[usize], means: &[f32], weights: &[f32]) -> Self {
        let dims: usize = blocks.iter().sum();
        let (mut codes, mut scales) = (Vec::with_capacity(means.len()), Vec::new());
        for mean in means.chunks_exact(dims) {
            let mut from = 0;
            for &block in blocks {
                let values = &mean[from..from + block];
                let max = values.iter().fold(0.0f32, |max, v| max.max(v.abs()));
                let scale = max / 127.0;
                codes.extend(values.iter().map(|v| if scale > 0.0 { (v / scale).round() as i8 } else { 0 }));
                scales.push(scale);
                from += block;
            }
        }
        Self::new(blocks, codes, scales, weights)
    }

    pub(crate) fn lists(&self) -> usize {
        self.table.centres()
    }

    pub(crate) fn blocks(&self) -> &[usize] {
        &self.blocks
    }

    pub(crate) fn codes(&self) -> &[i8] {
        &self.codes
    }

    pub(crate) fn scales(&self) -> &[f32] {
        &self.scales
    }

    pub(crate) fn rotation(&self) -> &Rotation {
        &self.rotation
    }

    /// Bytes on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.codes.len()
            + self.table.bytes()
            + 4 * (self.scales.len() + self.by_lane.len() + self.assign.len())
            + 4 * (self.squares.len() + self.norms.len())
            + self.groups.get().map_or(0, |groups| groups.heap_bytes())
    }

    /// The list of each row. A row's factors make each of its blocks one of unit norm.
    ///
    /// The same rows get the same lists, on every machine and in whatever company. With many lists a row meets only the
    /// centres that are in the groups nearest to it.
    pub(crate) fn assign(&self, rows: &TableRows, out: &mut Vec<u32>) {
        if self.lists() < GROUPED {
            self.assign_by_all(rows, out);
        } else {
            self.groups.get_or_init(|| Arc::new(self.group())).assign(rows, out);
        }
    }

    /// The same among all centres.
    pub(super) fn assign_by_all(&self, rows: &TableRows, out: &mut Vec<u32>) {
        self.table.nearest(rows, &self.assign, out);
    }

    fn group(&self) -> Groups {
        let directions: Vec<f32> = (0..self.lists()).flat_map(|list| self.direction(list)).collect();
        let factor = |list: usize, block: usize| self.assign[self.table.factor(list, block)];
        Groups::new(&self.blocks, &self.codes, &directions, &self.weights, factor)
    }

    /// Calls `each` with the number of each row, a list and its cosine, for the lists whose cosine with the row is at most `gap` below
    /// that of the nearest; for the `most` nearest of them when there are more.
    pub(super) fn near_lists(
        &self,
        rows: &TableRows,
        gap: f32,
        most: usize,
        mut each: impl FnMut(usize, u32, f32),
    ) {
        let mut near = Vec::new();
        let mut take = |row: usize, scores: &[f32]| {
            highest(scores, gap, most, &mut near);
            near.iter().for_each(|&list| each(row, list, scores[list as usize]));
        };
        let tiled = rows.len() - rows.len() % TILE;
        let mut scores: [Vec<f32>; TILE] = Default::default();
        for first in (0..tiled).step_by(TILE) {
            self.table.scores_of(&rows.tile(first), &self.assign, &mut scores);
            (first..).zip(&scores).for_each(|(row, scores)| take(row, scores));
        }
        let [scores, ..] = &mut scores;
        for row in tiled..rows.len() {
            self.table.scores(rows.get(row), &self.assign, scores);
            take(row, scores);
        }
    }

    /// Of each list the `most` lists whose centres are nearest to its own, by number.
    pub(super) fn neighbours(&self, lists: Range<usize>, most: usize) -> Vec<Vec<u32>> {
        let dims: usize = self.blocks.iter().sum();
        let mut centres = TableRows::new(&self.blocks, lists.len());
        for list in lists.clone() {
            centres.push(&self.codes[list * dims..][..dims], &self.direction(list).collect::<Vec<f32>>());
        }
        let mut near = vec![Vec::new(); lists.len()];
        self.near_lists(&centres, f32::INFINITY, most, |at, list, _| near[at].push(list));
        near.iter_mut().for_each(|near| near.sort_unstable());
        near
    }

    /// The same with other centres in the place of some: the first of them under the number of the one that goes, the
    /// others behind all.
    pub(crate) fn divided(&self, pieces: &[(u32, Self)]) -> Self {
        let (dims, blocks) = (self.blocks.iter().sum::<usize>(), self.blocks.len());
        let (mut codes, mut scales) = (self.codes.clone(), self.scales.clone());
        for (list, pieces) in pieces {
            let (list, (its, others)) = (*list as usize, pieces.codes.split_at(dims));
            codes[list * dims..][..dims].copy_from_slice(its);
            codes.extend_from_slice(others);
            let (its, others) = pieces.scales.split_at(blocks);
            scales[list * blocks..][..blocks].copy_from_slice(its);
            scales.extend_from_slice(others);
        }
        Self::new(&self.blocks, codes, scales, &self.weights)
    }

    /// Of each list around `older` centres, whether its rows stay in the list of that number: it is around the same
    /// centre, and none that is not among those is near to it.
    pub(crate) fn keeps(&self, older: &Self) -> Vec<bool> {
        let (dims, blocks) = (self.blocks.iter().sum::<usize>(), self.blocks.len());
        let same = |list: usize| {
            self.codes.get(list * dims..(list + 1) * dims) == older.codes.get(list * dims..(list + 1) * dims)
                && self.scales.get(list * blocks..(list + 1) * blocks)
                    == older.scales.get(list * blocks..(list + 1) * blocks)
        };
        let others: Vec<usize> = (0..self.lists()).filter(|&list| !same(list)).collect();
        let mut keeps: Vec<bool> = (0..older.lists()).map(same).collect();
        if 2 * others.len() > self.lists() {
            // A training made them.
            keeps.fill(false);
            return keeps;
        }
        for list in others {
            for near in self.neighbours(list..list + 1, BESIDE).concat() {
                if let Some(keeps) = keeps.get_mut(near as usize) {
                    *keeps = false;
                }
            }
        }
        keeps
    }

    /// The list of each row, of those of `among`.
    pub(super) fn assign_among(&self, among: &[u32], rows: &TableRows, out: &mut Vec<u32>) {
        let (table, factors) = self.part(among);
        let first = out.len();
        table.nearest(rows, &factors, out);
        out[first..].iter_mut().for_each(|list| *list = among[*list as usize]);
    }

    /// The table of some of the centres, and its factors.
    fn part(&self, lists: &[u32]) -> (Table, Vec<f32>) {
        let table = self.table.part(lists);
        let mut factors = vec![0.0; table.factors()];
        for (at, &list) in lists.iter().enumerate() {
            for block in 0..self.blocks.len() {
                factors[table.factor(at, block)] = self.assign[self.table.factor(list as usize, block)];
            }
        }
        (table, factors)
    }

    /// What makes each block of a centre's code part of a vector of unit norm, in the metric that rows are assigned by.
    fn direction(&self, list: usize) -> impl Iterator<Item = f32> {
        let blocks = self.blocks.len();
        let norm = self.norms[list];
        let scales = self.scales[list * blocks..][..blocks].iter();
        scales.map(move |scale| if norm > 0.0 { scale / norm } else { 0.0 })
    }

    /// The cosine of a row with the centre of a list, in the metric that rows are assigned by.
    #[cfg(test)]
    pub(super) fn cosine(&self, list: u32, row: TableRow<'_>) -> f32 {
        let ((table, factors), mut scores) = (self.part(&[list]), Vec::new());
        table.scores(row, &factors, &mut scores);
        scores[0]
    }

    /// Subtracts the centre of a list from `values`.
    pub(crate) fn subtract(&self, list: u32, values: &mut [f32]) {
        let dims: usize = self.blocks.iter().sum();
        let (list, mut from) = (list as usize, 0);
        let codes = &self.codes[list * dims..][..dims];
        for (&block, scale) in self.blocks.iter().zip(&self.scales[list * self.blocks.len()..]) {
            for (value, &code) in values[from..from + block].iter_mut().zip(&codes[from..from + block]) {
                *value -= f32::from(code) * scale;
            }
            from += block;
        }
    }

    /// The dot product of a query with every centre, and its cosine with every centre in the metric of the query's
    /// weights. A query's factors are the weight over the norm of each block.
    pub(crate) fn rank(&self, query: TableRow<'_>, weights: &[f32]) -> Ranking {
        let mut dots = Vec::new();
        self.table.scores(query, &self.by_lane, &mut dots);
        let own = if weights == self.weights {
            Vec::new()
        } else {
            norms(&self.squares, self.blocks.len(), weights)
        };
        let norms = if own.is_empty() { &self.norms } else { &own };
        let cosine = |(dot, norm): (&f32, &f32)| if *norm > 0.0 { dot / norm } else { f32::NEG_INFINITY };
        let cosines: Vec<f32> = dots.iter().zip(norms).map(cosine).collect();
        Ranking { best: largest(&cosines, |cosine| cosine), cosines, dots }
    }
}

/// Where the scores are that are at most `gap` below the highest; the highest `most` of them, of equals the first, when
/// there are more. In no order.
fn highest(scores: &[f32], gap: f32, most: usize, out: &mut Vec<u32>) {
    out.clear();
    let bar = largest(scores, |score| score) - gap;
    out.extend((0u32..).zip(scores).filter(|(_, score)| **score >= bar).map(|(at, _)| at));
    if out.len() > most {
        let better = |a: &u32, b: &u32| scores[*b as usize].total_cmp(&scores[*a as usize]).then(a.cmp(b));
        out.select_nth_unstable_by(most - 1, better);
        out.truncate(most);
    }
}

/// The norm of each centre in the metric of `weights`, by the squares of its blocks.
fn norms(squares: &[f32], blocks: usize, weights: &[f32]) -> Vec<f32> {
    let sum = |squares: &[f32]| {
        squares.iter().zip(weights).fold(0.0, |sum, (square, weight)| sum + weight * square)
    };
    squares.chunks_exact(blocks).map(|squares| sum(squares).sqrt()).collect()
}

/// Makes the codes of rows in lists; holds what that needs of memory.
#[derive(Debug)]
pub(crate) struct Encoder<'a> {
    centroids: &'a Centroids,
    values: Vec<f32>,
    words: Vec<u32>,
}

impl<'a> Encoder<'a> {
    pub(crate) fn new(centroids: &'a Centroids) -> Self {
        Self { centroids, values: Vec::new(), words: Vec::new() }
    }

    /// The code of a row of a list; `row` appends its values, each block of unit norm.
    pub(crate) fn encode(&mut self, list: u32, row: impl FnOnce(&mut Vec<f32>)) -> (&[u32], Factors) {
        self.values.clear();
        row(&mut self.values);
        let dims = self.values.len();
        self.centroids.subtract(list, &mut self.values);
        self.values.resize(bits::padded(dims), 0.0);
        self.centroids.rotation.apply(&mut self.values);
        let factors = encode(&self.values, dims, &mut self.words);
        (&self.words, factors)
    }
}

/// A query's view of all lists.
#[derive(Debug, Clone)]
pub(crate) struct Ranking {
    pub(crate) dots: Vec<f32>,
    pub(crate) cosines: Vec<f32>,
    /// The cosine of the best list.
    pub(crate) best: f32,
}

impl Ranking {
    /// Lists whose cosine is at least `low` and below `high`: the best `first` of them best first (of equals the lower
    /// number), then the others by number.
    pub(crate) fn between(&self, low: f32, high: f32, first: usize) -> Vec<u32> {
        let there = |(_, cosine): &(u32, &f32)| **cosine >= low && **cosine < high;
        let mut lists: Vec<u32> = (0u32..).zip(&self.cosines).filter(there).map(|(list, _)| list).collect();
        let better =
            |a: &u32, b: &u32| self.cosines[*b as usize].total_cmp(&self.cosines[*a as usize]).then(a.cmp(b));
        if lists.len() > first && first > 0 {
            lists.select_nth_unstable_by(first - 1, better);
            let (best, others) = lists.split_at_mut(first);
            best.sort_unstable_by(better);
            others.sort_unstable();
        } else {
            lists.sort_unstable_by(better);
        }
        lists
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Centres of lists in a ring, so that each is near to those beside it.
    fn ring(lists: usize) -> Centroids {
        let angle = |list: usize| list as f32 * std::f32::consts::TAU / lists as f32;
        let means: Vec<f32> = (0..lists).flat_map(|list| [angle(list).cos(), angle(list).sin()]).collect();
        Centroids::from_means(&[2], &means, &[1.0])
    }

    #[test]
    fn lists_beside_a_divided_one_are_not_kept() {
        let older = ring(100);
        let at = |angle: f32| [angle.cos(), angle.sin()];
        let pieces = Centroids::from_means(&[2], &[at(2.5), at(2.55)].concat(), &[1.0]);
        let newer = older.divided(&[(40, pieces.clone())]);
        assert_eq!((newer.lists(), older.lists()), (101, 100));
        assert_eq!(newer.codes()[80..82], pieces.codes()[..2]);
        assert_eq!(newer.codes()[200..], pieces.codes()[2..]);
        let keeps = newer.keeps(&older);
        let moved: Vec<usize> = (0..100).filter(|&list| !keeps[list]).collect();
        // The list itself, and those within some places of it.
        assert!(moved.contains(&40) && moved.contains(&38) && moved.contains(&42), "{moved:?}");
        assert!(moved.len() <= BESIDE + 2 && moved.iter().all(|list| (34..=46).contains(list)), "{moved:?}");
        // The same centres keep everything, others nothing.
        assert!(older.keeps(&older).iter().all(|&keeps| keeps));
        let other = Centroids::from_means(&[2], &[[0.3f32, 0.5]; 100].concat(), &[1.0]);
        assert_eq!(other.keeps(&older), vec![false; 100]);
    }
}
