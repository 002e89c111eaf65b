//! Training: spherical k-means (Dhillon and Modha 2001) over a sample of rows.

use rayon::prelude::*;

use super::centroids::Centroids;
use crate::cancel::Stop;
use crate::kernel::table::TableRows;

/// Passes over the sample.
const PASSES: usize = 8;
/// Rows assigned at a time.
const PART: usize = 4096;
/// Lists that a row meets once it is in one: those whose centres are nearest to that one's.
const NEAR: usize = 128;
/// Lists whose rows are assigned so at a time.
const LISTS: usize = 64;
/// A list of more times the mean is divided, at the cost of lists that have less than one in so many of the mean.
pub(crate) const OVERLONG: usize = 4;

/// What is trained on: rows as they are kept, `codes` `[rows, dims]` and one over the norm of each block of codes
/// `[rows, blocks]`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample<'a> {
    pub(crate) blocks: &'a [usize],
    pub(crate) codes: &'a [i8],
    pub(crate) inv_norms: &'a [f32],
}

impl Sample<'_> {
    fn rows(&self) -> usize {
        self.inv_norms.len() / self.blocks.len()
    }

    /// Some of the rows, as a table reads them.
    pub(super) fn asked(&self, rows: impl ExactSizeIterator<Item = usize>) -> TableRows {
        let (dims, blocks) = (self.codes.len() / self.rows(), self.blocks.len());
        let mut asked = TableRows::new(self.blocks, rows.len());
        rows.for_each(|row| {
            asked.push(&self.codes[row * dims..][..dims], &self.inv_norms[row * blocks..][..blocks]);
        });
        asked
    }

    /// Centres that are the means of some of the rows.
    pub(super) fn means(&self, members: &[Vec<u32>], weights: &[f32]) -> Centroids {
        let dims: usize = self.blocks.iter().sum();
        let mut means = vec![0.0; members.len() * dims];
        means.chunks_exact_mut(dims).zip(members).for_each(|(mean, members)| self.mean(members, mean));
        Centroids::from_means(self.blocks, &means, weights)
    }

    /// The mean of some of the rows, each block of unit norm; as it was where there are none.
    fn mean(&self, members: &[u32], mean: &mut [f32]) {
        if members.is_empty() {
            return;
        }
        mean.fill(0.0);
        members.iter().for_each(|&row| self.add(row as usize, mean));
        let share = 1.0 / members.len() as f32;
        mean.iter_mut().for_each(|value| *value *= share);
    }

    /// Whether two rows are kept as the same.
    fn is_same(&self, a: u32, b: u32) -> bool {
        let dims = self.codes.len() / self.rows();
        self.codes[a as usize * dims..][..dims] == self.codes[b as usize * dims..][..dims]
    }

    /// Adds the values of a row, each block of unit norm, to `sum`.
    fn add(&self, row: usize, sum: &mut [f32]) {
        let (dims, mut from) = (self.codes.len() / self.rows(), 0);
        let codes = &self.codes[row * dims..][..dims];
        for (&block, inv) in self.blocks.iter().zip(&self.inv_norms[row * self.blocks.len()..]) {
            for (sum, &code) in sum[from..from + block].iter_mut().zip(&codes[from..from + block]) {
                *sum += f32::from(code) * inv;
            }
            from += block;
        }
    }

    /// The list of each row; fewer when it was called off.
    pub(super) fn assign(&self, centroids: &Centroids, cancel: Stop<'_>, threads: Threads) -> Vec<u32> {
        let part = |part: usize| {
            if cancel.asked() {
                return Vec::new();
            }
            let rows = self.asked(part * PART..self.rows().min((part + 1) * PART));
            let mut lists = Vec::with_capacity(rows.len());
            centroids.assign(&rows, &mut lists);
            lists
        };
        let parts = 0..self.rows().div_ceil(PART);
        let lists: Vec<Vec<u32>> = match threads {
            Threads::Pool => parts.into_par_iter().map(part).collect(),
            Threads::Own => parts.map(part).collect(),
        };
        lists.concat()
    }

    /// The same for rows that are in lists already, each of which meets only the lists nearest to its own. None when it
    /// was called off.
    fn assign_near(
        &self,
        centroids: &Centroids,
        members: &[Vec<u32>],
        cancel: Stop<'_>,
        threads: Threads,
    ) -> Option<Vec<u32>> {
        let part = |part: usize| {
            if cancel.asked() {
                return None;
            }
            let lists = part * LISTS..members.len().min((part + 1) * LISTS);
            let mut assigned = Vec::new();
            for (members, near) in members[lists.clone()].iter().zip(centroids.neighbours(lists, NEAR)) {
                let rows = self.asked(members.iter().map(|&row| row as usize));
                centroids.assign_among(&near, &rows, &mut assigned);
            }
            Some(assigned)
        };
        let parts = 0..members.len().div_ceil(LISTS);
        let parts: Option<Vec<Vec<u32>>> = match threads {
            Threads::Pool => parts.into_par_iter().map(part).collect(),
            Threads::Own => parts.map(part).collect(),
        };
        let mut all = vec![0; self.rows()];
        for (&row, list) in members.iter().flatten().zip(parts?.into_iter().flatten()) {
            all[row as usize] = list;
        }
        Some(all)
    }
}

/// Who does the work.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Threads {
    /// The pool of threads that the caller is in.
    Pool,
    /// The caller alone: it may hold what a thread of the pool would wait for.
    Own,
}

/// Trains `lists` centres of a sample that is not empty; none when it was called off. The same sample gives the same
/// centres, whatever the number of threads: sums are taken list by list in the order of the rows.
pub(crate) fn train(
    sample: &Sample<'_>,
    lists: usize,
    weights: &[f32],
    cancel: Stop<'_>,
    threads: Threads,
) -> Option<Centroids> {
    let (rows, dims) = (sample.rows(), sample.blocks.iter().sum::<usize>());
    let lists = lists.clamp(1, rows.max(1));
    let mut means = vec![0.0f32; lists * dims];
    // Rows at equal distances in a sample that is in no order of likeness.
    for (list, mean) in means.chunks_exact_mut(dims).enumerate() {
        sample.add(list * rows / lists, mean);
    }
    let mut centroids = Centroids::from_means(sample.blocks, &means, weights);
    let mut members: Vec<Vec<u32>> = Vec::new();
    for _ in 0..PASSES {
        let assigned = if members.is_empty() || lists <= 2 * NEAR {
            sample.assign(&centroids, cancel, threads)
        } else {
            sample.assign_near(&centroids, &members, cancel, threads)?
        };
        if assigned.len() < rows {
            return None;
        }
        members = vec![Vec::new(); lists];
        (0u32..).zip(&assigned).for_each(|(row, &list)| members[list as usize].push(row));
        divide_the_largest(&mut members, |a, b| sample.is_same(a, b));
        let renew = |(mean, members): (&mut [f32], &Vec<u32>)| sample.mean(members, mean);
        match threads {
            Threads::Pool => means.par_chunks_exact_mut(dims).zip(&members).for_each(renew),
            Threads::Own => means.chunks_exact_mut(dims).zip(&members).for_each(renew),
        }
        centroids = Centroids::from_means(sample.blocks, &means, weights);
    }
    Some(centroids)
}

/// Centres for parts of one list, whose rows are the sample; none when it was called off, or when the rows are so much alike
/// that centres do not tell them apart.
pub(crate) fn divide(
    sample: &Sample<'_>,
    parts: usize,
    weights: &[f32],
    cancel: Stop<'_>,
) -> Option<Centroids> {
    let rows = sample.rows();
    if (1..rows).all(|row| sample.is_same(0, row as u32)) {
        return None;
    }
    let centroids = train(sample, parts, weights, cancel, Threads::Pool)?;
    let mut lengths = vec![0; centroids.lists()];
    sample.assign(&centroids, cancel, Threads::Pool).iter().for_each(|&part| lengths[part as usize] += 1);
    (lengths.iter().max().copied().unwrap_or_default() * 4 <= rows * 3).then_some(centroids)
}

/// Lists without a member take half of the largest: every second of its rows. So do the smallest lists while the largest is
/// overlong; the rows that they had find another list in the next pass. A list of rows that are all the same stays as it
/// is: nothing tells its halves apart.
fn divide_the_largest(members: &mut [Vec<u32>], is_same: impl Fn(u32, u32) -> bool) {
    let mean = (members.iter().map(Vec::len).sum::<usize>() / members.len().max(1)).max(1);
    let mut small: Vec<(usize, usize)> =
        members.iter().enumerate().map(|(list, rows)| (rows.len(), list)).collect();
    small.retain(|(rows, _)| *rows == 0 || rows * OVERLONG < mean);
    small.sort_unstable();
    let mut large: std::collections::BinaryHeap<(usize, usize)> =
        members.iter().enumerate().map(|(list, rows)| (rows.len(), list)).collect();
    let mut small = small.into_iter().peekable();
    while let Some(&(rows, list)) = small.peek() {
        let Some((most, largest)) = large.pop() else { return };
        if most < 2 || (rows > 0 && most <= OVERLONG * mean) {
            return;
        }
        let all = &members[largest];
        if rows > 0 && all.iter().all(|&row| is_same(row, all[0])) {
            continue;
        }
        let half =
            |odd| all.iter().enumerate().filter(move |(i, _)| (i % 2 == 1) == odd).map(|(_, &row)| row);
        let halves: [Vec<u32>; 2] = [half(false).collect(), half(true).collect()];
        let [kept, given] = halves;
        large.extend([(kept.len(), largest), (given.len(), list)]);
        members[largest] = kept;
        members[list] = given;
        small.next();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_clusters_of_a_sample() {
        let blocks = [8];
        let (mut codes, mut inv_norms) = (Vec::new(), Vec::new());
        for row in 0..400 {
            let mut values = [0i8; 8];
            values[row % 8] = 120;
            values[(row + 1) % 8] = (row % 5) as i8;
            let norm = values.iter().map(|&v| f32::from(v).powi(2)).sum::<f32>().sqrt();
            codes.extend(values);
            inv_norms.push(1.0 / norm);
        }
        let sample = Sample { blocks: &blocks, codes: &codes, inv_norms: &inv_norms };
        let go_on = Stop::never();
        let centroids = train(&sample, 8, &[1.0], go_on, Threads::Pool).unwrap();
        let assigned = sample.assign(&centroids, go_on, Threads::Pool);
        let lists: std::collections::BTreeSet<u32> = assigned.iter().copied().collect();
        assert_eq!(lists.len(), 8);
        assert!((0..400).all(|row| assigned[row] == assigned[row % 8]));
    }

    #[test]
    fn passes_among_near_lists_lose_little() {
        // Clusters enough that lists have neighbours to choose from.
        let (blocks, rows, lists) = ([24], 12_000, 3 * NEAR);
        let (mut codes, mut inv_norms, mut dice) = (Vec::new(), Vec::new(), 7u64);
        let mut draw = || {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (dice >> 56) as i8
        };
        let around: Vec<[i8; 24]> = (0..lists).map(|_| [0; 24].map(|_| draw())).collect();
        for row in 0..rows {
            let values = around[row % lists].map(|value| value / 2 + draw() / 4);
            let norm = values.iter().map(|&v| f32::from(v).powi(2)).sum::<f32>().sqrt();
            codes.extend(values);
            inv_norms.push(1.0 / norm.max(1.0));
        }
        let sample = Sample { blocks: &blocks, codes: &codes, inv_norms: &inv_norms };
        let go_on = Stop::never();
        let centroids = train(&sample, lists, &[1.0], go_on, Threads::Pool).unwrap();
        let assigned = sample.assign(&centroids, go_on, Threads::Pool);
        let mut members: Vec<Vec<u32>> = vec![Vec::new(); lists];
        (0u32..).zip(&assigned).for_each(|(row, &list)| members[list as usize].push(row));
        let near = sample.assign_near(&centroids, &members, go_on, Threads::Pool).unwrap();
        assert_eq!(near, sample.assign_near(&centroids, &members, go_on, Threads::Own).unwrap());
        // Nothing is nearer than what all centres gave.
        assert_eq!(near, assigned);
        // From the list beside theirs nearly all find the right one.
        let mut beside: Vec<Vec<u32>> = vec![Vec::new(); lists];
        for (list, (members, near)) in members.iter().zip(centroids.neighbours(0..lists, 2)).enumerate() {
            let other = near.into_iter().find(|&near| near as usize != list).unwrap();
            beside[other as usize].extend(members);
        }
        let same = sample.assign_near(&centroids, &beside, go_on, Threads::Pool).unwrap();
        let same = same.iter().zip(&assigned).filter(|(a, b)| a == b).count();
        println!("{same} of {rows}");
        assert!(same * 100 >= rows * 95, "{same} of {rows}");
    }

    #[test]
    fn rows_that_are_alike_are_not_divided() {
        let blocks = [8];
        let sample = |codes: &[i8], rows: usize| {
            let inv_norms = vec![0.01; rows];
            let sample = Sample { blocks: &blocks, codes, inv_norms: &inv_norms };
            divide(&sample, 4, &[1.0], Stop::never()).map(|centroids| centroids.lists())
        };
        let same = [10i8, 20, 30, 40, 50, 60, 70, 80].repeat(100);
        assert_eq!(sample(&same, 100), None);
        assert_eq!((sample(&same[..8], 1), sample(&[], 0)), (None, None));
        let mut one_other = same.clone();
        one_other[0] = -120;
        assert_eq!(sample(&one_other, 100), None);
        let mut halves = same;
        halves[400..].iter_mut().step_by(2).for_each(|value| *value = -*value);
        assert_eq!(sample(&halves, 100), Some(4));
    }

    #[test]
    fn lists_that_are_overlong_are_divided() {
        // Nine rows of ten lie around one direction, the others far from each other.
        let (blocks, rows, lists) = ([16], 6400, 64);
        let (mut codes, mut inv_norms, mut dice) = (Vec::new(), Vec::new(), 7u64);
        let mut draw = || {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (dice >> 56) as i8
        };
        for row in 0..rows {
            let mut values = [0i8; 16].map(|_| draw());
            if row % 10 > 0 {
                values = values.map(|value| value / 8);
                values[0] = 120;
            }
            let norm = values.iter().map(|&v| f32::from(v).powi(2)).sum::<f32>().sqrt();
            codes.extend(values);
            inv_norms.push(1.0 / norm.max(1.0));
        }
        let sample = Sample { blocks: &blocks, codes: &codes, inv_norms: &inv_norms };
        let centroids = train(&sample, lists, &[1.0], Stop::never(), Threads::Pool).unwrap();
        let mut lengths = vec![0; lists];
        for list in sample.assign(&centroids, Stop::never(), Threads::Pool) {
            lengths[list as usize] += 1;
        }
        let longest = lengths.iter().max().copied().unwrap_or_default();
        assert!(longest <= OVERLONG * rows / lists, "{longest} of {rows} in {lists} lists: {lengths:?}");
    }

    #[test]
    fn what_cannot_be_divided_takes_no_list_away() {
        let one = |row| vec![row];
        let mut members =
            vec![(0..900).collect(), one(900), one(901), one(902), one(903), (904..1000).collect()];
        let before = members.clone();
        divide_the_largest(&mut members, |_, _| true);
        assert_eq!(members, before);
        divide_the_largest(&mut members, |_, _| false);
        // Once is enough: its halves are not overlong.
        assert_eq!(members.iter().map(Vec::len).collect::<Vec<_>>(), [450, 450, 1, 1, 1, 96]);
        let mut members = vec![vec![1, 2, 3, 4], vec![]];
        divide_the_largest(&mut members, |_, _| true);
        assert_eq!(members, [vec![1, 3], vec![2, 4]]);
    }
}
