//! Made-up vectors that are as hard to search as those of pictures: clusters of very different sizes and shapes.
//!
//! A row is drawn so, with D = 256:
//!
//! 1. A cluster, by weights that fall as a power of its rank: a few clusters are large, most are small.
//! 2. The cluster's centre plus noise. The noise has a spread of its own along each axis in each cluster, over a
//!    spectrum that falls from axis to axis, and a little of it in every direction alike.
//! 3. A turn of the whole space, the same for all rows, so that no axis is special to who sees the vectors: twice a
//!    change of some signs and a Hadamard transform. Any orthogonal matrix would do; this one needs 4,096 additions a
//!    row instead of 65,536 multiplications.
//! 4. Scaling to unit norm.
//!
//! Centres are drawn around 300 points that they share. Half of the queries are rows with noise, half are fresh draws.
//!
//! Every row has its own sequence of random numbers, so any row can be made again from its number. Rows are made eight
//! at a time, side by side, because processors do the same to eight numbers in nearly the time of one.

use std::ops::Range;
use std::thread;

use crate::random::{Normal, Random};

pub(crate) const DIMS: usize = 256;

/// Rows that are made together.
pub(crate) const LANES: usize = 8;

/// Points that the centres are drawn around.
const SUPER_CENTRES: u64 = 300;

/// Spread of the noise that is alike in every direction.
const EVERYWHERE: f32 = 0.005;

/// Noise of a query that was made from a row; a cosine of about .93 to it is left.
const QUERY_NOISE: f32 = 0.4;

/// Kinds of things that have random numbers of their own.
const SUPER: u64 = 1;
const CENTRE: u64 = 2;
const TURN: u64 = 3;
const ROW: u64 = 4;
const PICK: u64 = 5;
const NOISE: u64 = 6;
const FRESH: u64 = 7;

/// Eight vectors side by side: `tile[d][r]` is value `d` of row `r`.
pub(crate) type Tile = [[f32; LANES]; DIMS];

/// All that rows are made from.
pub(crate) struct World {
    seed: u64,
    normal: Normal,
    /// Spread of all data along each axis.
    axes: [f32; DIMS],
    /// One centre after another.
    centres: Vec<f32>,
    /// Spread of each cluster along each axis: the upper halves of f32, which is precise to a part in 256.
    spreads: Vec<u16>,
    /// Sum of the weights of each cluster and all before it.
    weights: Vec<f64>,
    /// The signs of the turn's two rounds.
    signs: [[f32; DIMS]; 2],
}

impl World {
    /// Makes the clusters, on some threads.
    pub(crate) fn new(seed: u64, clusters: usize, threads: usize) -> Self {
        let spectrum: [f64; DIMS] = std::array::from_fn(|axis| (-(axis as f64) / 32.0).exp() + 0.004);
        let sum: f64 = spectrum.iter().sum();
        let mut world = Self {
            seed,
            normal: Normal::new(),
            axes: spectrum.map(|variance| (variance / sum).sqrt() as f32),
            centres: vec![0.0; clusters * DIMS],
            spreads: vec![0; clusters * DIMS],
            weights: Vec::with_capacity(clusters),
            signs: [0, 1].map(|round| {
                let mut random = Random::new(seed, TURN, round);
                std::array::from_fn(|_| if random.bits() >> 63 == 0 { 1.0 } else { -1.0 })
            }),
        };
        let mut weight = 0.0;
        for rank in 1..=clusters {
            weight += (rank as f64).powf(-0.7);
            world.weights.push(weight);
        }
        let (mut centres, mut spreads) =
            (std::mem::take(&mut world.centres), std::mem::take(&mut world.spreads));
        let share = clusters.div_ceil(threads) * DIMS;
        thread::scope(|scope| {
            let parts = centres.chunks_mut(share).zip(spreads.chunks_mut(share)).enumerate();
            for (part, (centres, spreads)) in parts {
                let (world, first) = (&world, part * share / DIMS);
                scope.spawn(move || {
                    let both = centres.as_chunks_mut().0.iter_mut().zip(spreads.as_chunks_mut().0);
                    for (number, (centre, spread)) in both.enumerate() {
                        world.cluster(first + number, centre, spread);
                    }
                });
            }
        });
        (world.centres, world.spreads) = (centres, spreads);
        world
    }

    /// Bytes that it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.centres.len() * 4 + self.spreads.len() * 2 + self.weights.len() * 8
    }

    fn cluster(&self, number: usize, centre: &mut [f32; DIMS], spread: &mut [u16; DIMS]) {
        let mut random = Random::new(self.seed, CENTRE, number as u64);
        let mut around = Random::new(self.seed, SUPER, random.below(SUPER_CENTRES));
        self.normal.fill(&mut around, |axis, x| centre[axis] = 0.62 * x * self.axes[axis], DIMS);
        self.normal.fill(&mut random, |axis, x| centre[axis] += 0.78 * x * self.axes[axis], DIMS);
        let mut size = 0.0;
        self.normal.fill(&mut random, |_, x| size = (0.75 * (0.35 * x).exp()).clamp(0.25, 1.6), 1);
        let mut gains = [0.0; DIMS];
        self.normal.fill(&mut random, |axis, x| gains[axis] = (0.6 * x).exp() * self.axes[axis], DIMS);
        // All clusters of one size would have the same variance in all.
        let variance: f32 = gains.iter().map(|gain| gain * gain).sum();
        for (spread, gain) in spread.iter_mut().zip(gains) {
            // Two independent normal numbers add up to one, whose variance is the sum of theirs.
            let own = size * gain / variance.sqrt();
            *spread = ((own * own + EVERYWHERE * EVERYWHERE).sqrt().to_bits() >> 16) as u16;
        }
    }

    /// Makes a vector in a column of a tile: not turned yet, and not scaled.
    fn draw(&self, random: &mut Random, tile: &mut Tile, lane: usize) {
        let at = random.unit() * self.weights.last().copied().unwrap_or(0.0);
        let cluster = self.weights.partition_point(|weight| *weight <= at).min(self.weights.len() - 1);
        let place = cluster * DIMS..(cluster + 1) * DIMS;
        let (centre, spread) = (&self.centres[place.clone()], &self.spreads[place]);
        let set = |axis: usize, x: f32| {
            tile[axis][lane] = centre[axis] + f32::from_bits(u32::from(spread[axis]) << 16) * x;
        };
        self.normal.fill(random, set, DIMS);
    }

    /// Eight rows from `first` on, of unit norm, but not turned yet.
    pub(crate) fn rows(&self, first: u64, tile: &mut Tile) {
        for lane in 0..LANES {
            self.draw(&mut Random::new(self.seed, ROW, first + lane as u64), tile, lane);
        }
        scale(tile);
    }

    /// Turns a tile.
    pub(crate) fn turn(&self, tile: &mut Tile) {
        for signs in &self.signs {
            for (values, sign) in tile.iter_mut().zip(signs) {
                // A Hadamard transform of 256 values makes them longer by the root of 256.
                values.iter_mut().for_each(|value| *value *= sign / 16.0);
            }
            hadamard(tile);
        }
    }

    /// Queries, not turned yet: the first half rows among `rows` with noise, the rest fresh draws.
    pub(crate) fn queries(&self, rows: Range<u64>, count: usize) -> Vec<[f32; DIMS]> {
        let mut queries = Vec::with_capacity(count);
        let mut tile = [[0.0; LANES]; DIMS];
        for number in 0..count as u64 {
            if number < count as u64 / 2 {
                let row = rows.start
                    + Random::new(self.seed, PICK, number).below(rows.end.saturating_sub(rows.start).max(1));
                self.rows(row, &mut tile);
                let noise = |axis: usize, x: f32| tile[axis][0] += QUERY_NOISE * x * self.axes[axis];
                self.normal.fill(&mut Random::new(self.seed, NOISE, number), noise, DIMS);
            } else {
                self.draw(&mut Random::new(self.seed, FRESH, number), &mut tile, 0);
            }
            scale(&mut tile);
            queries.push(tile.map(|values| values[0]));
        }
        queries
    }

    /// Turns one vector.
    pub(crate) fn turned(&self, vector: &[f32; DIMS]) -> [f32; DIMS] {
        let mut tile = vector.map(|value| [value; LANES]);
        self.turn(&mut tile);
        tile.map(|values| values[0])
    }
}

/// Scales the rows of a tile to unit norm.
fn scale(tile: &mut Tile) {
    let factors = norms(tile).map(|norm| 1.0 / norm);
    for values in tile {
        values.iter_mut().zip(factors).for_each(|(value, factor)| *value *= factor);
    }
}

/// The norms of eight vectors, or of parts of them.
pub(crate) fn norms(values: &[[f32; LANES]]) -> [f32; LANES] {
    let mut squares = [0.0; LANES];
    for values in values {
        squares.iter_mut().zip(values).for_each(|(square, value)| *square += value * value);
    }
    squares.map(f32::sqrt)
}

/// The Hadamard transform of each row of a tile, not scaled.
fn hadamard(tile: &mut Tile) {
    let mut half = 1;
    while half < DIMS {
        for pair in tile.chunks_exact_mut(2 * half) {
            let (left, right) = pair.split_at_mut(half);
            for (left, right) in left.iter_mut().zip(right) {
                for (left, right) in left.iter_mut().zip(right) {
                    (*left, *right) = (*left + *right, *left - *right);
                }
            }
        }
        half *= 2;
    }
}
