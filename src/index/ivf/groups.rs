//! Centres in groups of like ones: a row meets the centres of the groups nearest to it and not all of them.
//!
//! With some thousand lists, finding the list of a row among all of them is most of the work of sealing, merging and
//! training. A second level, over the centres themselves, cuts it to a quarter at 4,096 lists. Groups are of as many
//! centres as a kernel takes at once: as k-means leaves them, a third of the lanes would be padding. The centre that it
//! finds is the nearest of all for nearly every row, and a near one for the others: ARCHITECTURE.md has the measurement.

use super::centroids::Centroids;
use super::kmeans::{Sample, Threads, train};
use crate::cancel::Stop;
use crate::kernel::table::{LANES, Nearest, TILE, Table, TableRows};

/// With fewer lists a row meets all centres.
pub(crate) const GROUPED: usize = 512;
/// A row meets the centres of the groups whose cosine is so little below that of the nearest one, and
const GAP: f32 = 0.3;
/// of so many groups at most.
const MOST: usize = 64;

/// Rounds of putting centres into groups.
const ROUNDS: usize = 3;
/// Groups that a centre asks to be in, the nearest first.
const ASKED: usize = 24;

/// Groups of the centres of one [`Centroids`].
#[derive(Debug, Clone)]
pub(crate) struct Groups {
    heads: Centroids,
    /// The centres, a group to each group of lanes; where there are fewer, its first centre again.
    members: Table,
    factors: Vec<f32>,
    /// Which centre a lane of `members` is.
    lists: Vec<u32>,
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
        let heads = train(&sample, lists.div_ceil(LANES), weights, Stop::never(), Threads::Own);
        // Nothing calls it off.
        let mut heads = heads.unwrap_or_else(|| Centroids::new(blocks, Vec::new(), Vec::new(), weights));
        let mut groups = Vec::new();
        for _ in 0..ROUNDS {
            groups = fill(&heads, &sample.asked(0..lists));
            // So that whoever meets a group meets a centre.
            groups.retain(|group| !group.is_empty());
            heads = sample.means(&groups, weights);
        }
        let mut own = Vec::new();
        for group in &groups {
            own.extend_from_slice(group);
            own.resize(own.len().next_multiple_of(LANES), group[0]);
        }
        let row = |&list: &u32| &codes[list as usize * dims..][..dims];
        let members = Table::coarse(blocks, &own.iter().flat_map(row).copied().collect::<Vec<_>>());
        let mut factors = vec![0.0; members.factors()];
        for (lane, &list) in own.iter().enumerate() {
            for block in 0..blocks.len() {
                factors[members.factor(lane, block)] = factor(list as usize, block);
            }
        }
        Self { heads, members, factors, lists: own }
    }

    /// Bytes on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.heads.heap_bytes() + self.members.bytes() + 4 * (self.factors.len() + self.lists.len())
    }

    /// Of each row the nearest of the centres that it meets; of several that are equally near always the same one.
    pub(crate) fn assign(&self, rows: &TableRows, out: &mut Vec<u32>) {
        let mut meeting: Vec<Vec<u32>> = vec![Vec::new(); self.heads.lists()];
        self.heads.near_lists(rows, GAP, MOST, |row, head, _| meeting[head as usize].push(row as u32));
        let rows = &rows.coarse();
        let mut nearest = vec![Nearest::<1>::default(); rows.len()];
        for (group, meeting) in meeting.iter().enumerate() {
            let (tiles, rest) = meeting.as_chunks::<TILE>();
            for tile in tiles {
                self.members.meet(group, rows, tile, &self.factors, &mut nearest);
            }
            for row in rest {
                self.members.meet(group, rows, std::array::from_ref(row), &self.factors, &mut nearest);
            }
        }
        out.extend(nearest.iter().flat_map(Nearest::centres).map(|lane| self.lists[lane as usize]));
    }
}

/// The members of the group of each head, [`LANES`] at most: whoever is nearest to a head that has room is served first.
fn fill(heads: &Centroids, centres: &TableRows) -> Vec<Vec<u32>> {
    let mut asked: Vec<(f32, u32, u32)> = Vec::new();
    heads.near_lists(centres, f32::INFINITY, ASKED, |centre, head, cosine| {
        asked.push((cosine, centre as u32, head));
    });
    asked.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    let mut groups: Vec<Vec<u32>> = vec![Vec::new(); heads.lists()];
    let mut is_in = vec![false; centres.len()];
    for (_, centre, head) in asked {
        let (group, is_in) = (&mut groups[head as usize], &mut is_in[centre as usize]);
        if !*is_in && group.len() < LANES {
            group.push(centre);
            *is_in = true;
        }
    }
    // Some in a hundred find all those full and take what there is.
    let mut open = 0;
    for (centre, _) in (0u32..).zip(is_in).filter(|(_, is_in)| !is_in) {
        while groups[open].len() == LANES {
            open += 1;
        }
        groups[open].push(centre);
    }
    groups
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

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
        let rows = |range: Range<usize>| {
            let mut rows = TableRows::new(&blocks, range.len());
            range.for_each(|row| rows.push(&codes[row * 40..][..40], &inv_norms[row * 2..][..2]));
            rows
        };
        let (mut found, mut nearest) = (Vec::new(), Vec::new());
        centroids.assign(&rows(0..count), &mut found);
        centroids.assign_by_all(&rows(0..count), &mut nearest);
        let same = found.iter().zip(&nearest).filter(|(a, b)| a == b).count();
        assert!(same * 100 >= count * 97, "{same} of {count}");
        // The company that a row is in changes nothing.
        let mut alone = Vec::new();
        (0..count).for_each(|row| centroids.assign(&rows(row..row + 1), &mut alone));
        assert_eq!(alone, found);
    }

    /// `LOOKALIKE_ROWS=base.npy cargo test --release --lib groups -- --ignored --nocapture`: f32 `[rows, 256]`, a quarter of
    /// a million rows and more.
    #[test]
    #[ignore = "measures with vectors that are not in the repository"]
    fn of_rows_in_a_file() {
        let file = std::env::var("LOOKALIKE_ROWS").unwrap();
        let lists = std::env::var("LOOKALIKE_LISTS").map_or(4096, |lists| lists.parse().unwrap());
        let (dims, rows) = (256, 48 * lists + 65_536);
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
            codes.extend(row.eights());
            inv_norms.push(16.0 * row.inv_norms[0]);
        }
        let trained = 48 * lists;
        let sample =
            Sample { blocks: &[dims], codes: &codes[..trained * dims], inv_norms: &inv_norms[..trained] };
        let begun = std::time::Instant::now();
        let centroids = train(&sample, lists, &[1.0], Stop::never(), Threads::Pool).unwrap();
        let took = begun.elapsed();
        let asked = |range: Range<usize>| {
            let mut asked = TableRows::new(&[dims], range.len());
            range.for_each(|row| asked.push(&codes[row * dims..][..dims], &inv_norms[row..=row]));
            asked
        };
        centroids.assign(&asked(trained..trained + 1), &mut Vec::new());
        let (mut found, mut nearest) = (Vec::new(), Vec::new());
        let begun = std::time::Instant::now();
        (trained..rows).step_by(2048).for_each(|row| centroids.assign(&asked(row..row + 2048), &mut found));
        let by_groups = begun.elapsed();
        centroids.assign_by_all(&asked(trained..rows), &mut nearest);
        let by_all = begun.elapsed() - by_groups;
        let same = found.iter().zip(&nearest).filter(|(a, b)| a == b).count();
        let heap = centroids.heap_bytes() / lists;
        let cosine =
            |(row, &list): (usize, &u32)| f64::from(centroids.cosine(list, asked(row..row + 1).get(0)));
        let mean = |lists: &[u32]| (trained..rows).zip(lists).map(cosine).sum::<f64>() / lists.len() as f64;
        println!(
            "trained in {took:?}; {same} of {}; {by_groups:?} for {by_all:?}; mean cosine {:.5} for {:.5}; {heap} bytes a list",
            found.len(),
            mean(&found),
            mean(&nearest),
        );
        assert!(same * 100 >= found.len() * 95);
    }
}
