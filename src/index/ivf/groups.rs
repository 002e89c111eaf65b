//! Centres in groups of like ones: a row meets the centres of the groups nearest to it and not all of them.
//!
//! With some thousand lists, finding the list of a row among all of them is most of the work of sealing, merging and
//! training. A second level of spherical k-means, over the centres themselves, cuts it to a third at 4,096 lists and to
//! an eighth at 16,384. The centre that it finds is the nearest of all for nearly every row, and a near one for the
//! others: ARCHITECTURE.md has the measurement.

use std::ops::Range;

use super::centroids::Centroids;
use super::kmeans::{Sample, Threads, train};
use crate::cancel::Stop;
use crate::kernel::table::{LANES, Nearest, TILE, Table, TableRow};

/// With fewer lists a row meets all centres.
pub(crate) const GROUPED: usize = 512;
/// Centres of a group, on average.
const GROUP_LISTS: usize = 16;
/// A row meets the centres of the groups whose cosine is so little below that of the nearest one, and
const GAP: f32 = 0.3;
/// of so many groups at most.
const MOST: usize = 48;

/// Groups of the centres of one [`Centroids`].
#[derive(Debug, Clone)]
pub(crate) struct Groups {
    heads: Centroids,
    /// The centres, group after group; the last lanes of a group hold its first centre again.
    members: Table,
    factors: Vec<f32>,
    /// Which centre a lane of `members` is.
    lists: Vec<u32>,
    /// Of each group, its groups of lanes.
    lanes: Vec<Range<usize>>,
}

impl Groups {
    /// `codes` is `[lists, dims]`, `directions` `[lists, blocks]`: what makes a centre's code one of unit norm in the metric
    /// that rows are assigned by. `factors` gives of a centre and a block what a dot product is multiplied by there.
    pub(crate) fn new(
        blocks: &[usize],
        codes: &[i8],
        directions: &[f32],
        weights: &[f32],
        factor: impl Fn(usize, usize) -> f32,
    ) -> Self {
        let (dims, lists) = (blocks.iter().sum::<usize>(), directions.len() / blocks.len());
        let sample = Sample { blocks, codes, inv_norms: directions };
        let heads = train(&sample, lists / GROUP_LISTS, weights, Stop::never(), Threads::Own);
        // Nothing calls it off.
        let heads = heads.unwrap_or_else(|| Centroids::new(blocks, Vec::new(), Vec::new(), weights));
        let mut groups: Vec<Vec<u32>> = vec![Vec::new(); heads.lists()];
        for (list, head) in (0u32..).zip(sample.assign(&heads, Stop::never(), Threads::Own)) {
            groups[head as usize].push(list);
        }
        // So that whoever meets a group meets a centre.
        let heads = heads.retain(|head| !groups[head].is_empty());
        groups.retain(|group| !group.is_empty());
        let (mut own, mut lanes) = (Vec::new(), Vec::new());
        for group in &groups {
            let start = own.len() / LANES;
            own.extend_from_slice(group);
            own.resize(own.len().next_multiple_of(LANES), group[0]);
            lanes.push(start..own.len() / LANES);
        }
        let row = |&list: &u32| &codes[list as usize * dims..][..dims];
        let members = Table::new(blocks, &own.iter().flat_map(row).copied().collect::<Vec<_>>());
        let mut factors = vec![0.0; members.factors()];
        for (lane, &list) in own.iter().enumerate() {
            for block in 0..blocks.len() {
                factors[members.factor(lane, block)] = factor(list as usize, block);
            }
        }
        Self { heads, members, factors, lists: own, lanes }
    }

    /// Bytes on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.heads.heap_bytes() + self.members.bytes() + 4 * (self.factors.len() + self.lists.len())
    }

    /// Of each row the nearest of the centres that it meets; of several that are equally near always the same one.
    pub(crate) fn assign(&self, rows: &[TableRow], out: &mut Vec<u32>) {
        let mut meeting: Vec<Vec<u32>> = vec![Vec::new(); self.lanes.len()];
        self.heads.near_lists(rows, GAP, MOST, |row, head| meeting[head as usize].push(row as u32));
        let mut nearest = vec![Nearest::<1>::default(); rows.len()];
        for (lanes, meeting) in self.lanes.iter().zip(&meeting) {
            let (tiles, rest) = meeting.as_chunks::<TILE>();
            for tile in tiles {
                let mut together = Nearest::gather(tile.map(|row| &nearest[row as usize]));
                let rows = tile.map(|row| &rows[row as usize]);
                self.members.go_on(lanes.clone(), &rows, &self.factors, &mut together);
                tile.iter().enumerate().for_each(|(at, &row)| nearest[row as usize] = together.one(at));
            }
            for &row in rest {
                let row = row as usize;
                self.members.go_on(lanes.clone(), &[&rows[row]], &self.factors, &mut nearest[row]);
            }
        }
        let lower = |a: u32, b: u32| if self.lists[b as usize] < self.lists[a as usize] { b } else { a };
        out.extend(nearest.iter().flat_map(|row| row.centres(lower)).map(|lane| self.lists[lane as usize]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows around some hundred directions, as their codes and what makes them of unit norm.
    fn rows(count: usize) -> (Vec<i8>, Vec<f32>) {
        let mut state = 5u64;
        let mut draw = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        };
        let around: Vec<[f32; 40]> = (0..150).map(|_| std::array::from_fn(|_| draw())).collect();
        let (mut codes, mut inv_norms) = (Vec::new(), Vec::new());
        for row in 0..count {
            let row: Vec<i8> =
                around[row % around.len()].iter().map(|v| (70.0 * (v + 0.7 * draw())) as i8).collect();
            for block in [&row[..24], &row[24..]] {
                let square: i32 = block.iter().map(|&c| i32::from(c).pow(2)).sum();
                inv_norms.push(1.0 / (square.max(1) as f32).sqrt());
            }
            codes.extend(row);
        }
        (codes, inv_norms)
    }

    #[test]
    fn nearly_every_row_goes_to_its_nearest_centre() {
        let (blocks, count) = ([24, 16], 6000);
        let (codes, inv_norms) = rows(count);
        let sample = Sample { blocks: &blocks, codes: &codes, inv_norms: &inv_norms };
        let weights = [0.7, 0.3];
        let centroids = train(&sample, 2 * GROUPED, &weights, Stop::never(), Threads::Own).unwrap();
        let rows: Vec<TableRow> = (0..count)
            .map(|row| TableRow::new(&blocks, &codes[row * 40..][..40], &inv_norms[row * 2..][..2]))
            .collect();
        let (mut found, mut nearest) = (Vec::new(), Vec::new());
        centroids.assign(&rows, &mut found);
        centroids.assign_by_all(&rows, &mut nearest);
        let same = found.iter().zip(&nearest).filter(|(a, b)| a == b).count();
        assert!(same * 100 >= count * 97, "{same} of {count}");
        // The company that a row is in changes nothing.
        let mut alone = Vec::new();
        rows.iter().for_each(|row| centroids.assign(std::slice::from_ref(row), &mut alone));
        assert_eq!(alone, found);
    }

    /// `LOOKALIKE_ROWS=base.npy cargo test --release --lib groups -- --ignored --nocapture`: f32 `[rows, 256]`, a quarter of
    /// a million rows and more.
    #[test]
    #[ignore = "measures with vectors that are not in the repository"]
    fn of_rows_in_a_file() {
        let file = std::env::var("LOOKALIKE_ROWS").unwrap();
        let (dims, lists, rows) = (256, 4096, 48 * 4096 + 65_536);
        let bytes = std::fs::read(file).unwrap();
        let values: Vec<f32> = bytes[128..][..rows * dims * 4]
            .as_chunks()
            .0
            .iter()
            .map(|bytes| f32::from_le_bytes(*bytes))
            .collect();
        let layout = crate::vector::Layout::new(&[256]).unwrap();
        let (mut codes, mut inv_norms) = (Vec::new(), Vec::new());
        for row in values.chunks(dims) {
            let row = crate::vector::RowCode::encode(&layout, row).unwrap();
            codes.extend(row.codes);
            inv_norms.push(16.0 * row.inv_norms[0]);
        }
        let trained = 48 * lists;
        let sample =
            Sample { blocks: &[dims], codes: &codes[..trained * dims], inv_norms: &inv_norms[..trained] };
        let centroids = train(&sample, lists, &[1.0], Stop::never(), Threads::Pool).unwrap();
        let rows: Vec<TableRow> = (trained..rows)
            .map(|row| TableRow::new(&[dims], &codes[row * dims..][..dims], &inv_norms[row..=row]))
            .collect();
        centroids.assign(&rows[..1], &mut Vec::new());
        let (mut found, mut nearest) = (Vec::new(), Vec::new());
        let begun = std::time::Instant::now();
        rows.chunks(2048).for_each(|rows| centroids.assign(rows, &mut found));
        let by_groups = begun.elapsed();
        centroids.assign_by_all(&rows, &mut nearest);
        let by_all = begun.elapsed() - by_groups;
        let same = found.iter().zip(&nearest).filter(|(a, b)| a == b).count();
        let heap = centroids.heap_bytes() / lists;
        println!("{same} of {}; {by_groups:?} for {by_all:?}; {heap} bytes a list", rows.len());
        assert!(same * 100 >= rows.len() * 95);
    }
}
