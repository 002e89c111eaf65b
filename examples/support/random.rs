//! Pseudo-random numbers, uniform and normal, that are a fixed function of a seed: the same on every machine.
//!
//! The generator is xoshiro256++ (Blackman and Vigna, "Scrambled linear pseudorandom number generators", 2021), seeded
//! by SplitMix64 (Steele, Lea and Flood, 2014). Normal numbers come from the ziggurat (Marsaglia and Tsang, "The
//! ziggurat method for generating random variables", 2000): a number costs a table entry, a multiplication and a
//! comparison, 98 times of 100.

/// SplitMix64's last step: every bit of the result depends on every bit of `z`, and no two `z` give the same.
pub(crate) fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// One over the golden ratio, of 64 bits: SplitMix64's step.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// A sequence of random bits.
pub(crate) struct Random([u64; 4]);

impl Random {
    /// The sequence of one thing (`number`) of one kind (`stream`): all of them differ.
    pub(crate) fn new(seed: u64, stream: u64, number: u64) -> Self {
        let start = mix(mix(mix(seed).wrapping_add(stream)).wrapping_add(number));
        Self([1, 2, 3, 4].map(|step: u64| mix(start.wrapping_add(step.wrapping_mul(STEP)))))
    }

    pub(crate) fn bits(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.0;
        let result = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// Uniform from 0 to 1, without 1: the 53 bits that an f64 holds.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform in `0..count`.
    pub(crate) fn below(&mut self, count: u64) -> u64 {
        // The high half of a product (Lemire, 2019); what it favours is favoured by less than one in 2^30 here.
        ((u128::from(self.bits()) * u128::from(count)) >> 64) as u64
    }
}

/// Layers of the ziggurat, and where the lowest ends.
const LAYERS: usize = 256;
const TAIL_FROM: f64 = 3.654_152_885_361_009;
/// Area of each layer.
const AREA: f64 = 0.004_928_673_233_99;

/// Tables that turn bits into numbers of mean 0 and variance 1, normally distributed.
pub(crate) struct Normal {
    /// Right edge of each layer, from the widest on; the last is 0.
    edges: [f32; LAYERS + 1],
    /// Height of the curve at the edges.
    heights: [f32; LAYERS + 1],
}

impl Normal {
    pub(crate) fn new() -> Self {
        let height = |x: f64| (-0.5 * x * x).exp();
        let mut edges = [0.0; LAYERS + 1];
        // The lowest layer has a tail besides; as a box of the same area it would end here.
        edges[0] = AREA / height(TAIL_FROM);
        edges[1] = TAIL_FROM;
        for layer in 2..LAYERS {
            let below: f64 = edges[layer - 1];
            edges[layer] = (-2.0 * (AREA / below + height(below)).ln()).sqrt();
        }
        Self { edges: edges.map(|edge| edge as f32), heights: edges.map(|edge| height(edge) as f32) }
    }

    /// Hands `count` normal numbers to `out`, each with its place in their row.
    pub(crate) fn fill(&self, random: &mut Random, mut out: impl FnMut(usize, f32), count: usize) {
        // 64 bits are enough for two.
        for pair in 0..count.div_ceil(2) {
            let bits = random.bits();
            out(2 * pair, self.one(bits as u32, random));
            if 2 * pair + 1 < count {
                out(2 * pair + 1, self.one((bits >> 32) as u32, random));
            }
        }
    }

    /// A number from 8 bits for the layer and 24 for the place in it.
    #[inline]
    fn one(&self, bits: u32, random: &mut Random) -> f32 {
        let layer = (bits & 0xff) as usize;
        let place = (bits as i32 >> 8) as f32 / (1 << 23) as f32;
        let x = place * self.edges[layer];
        // Left of the next layer's edge all of this layer lies under the curve.
        if x.abs() < self.edges[layer + 1] { x } else { self.at_the_edge(layer, x, random) }
    }

    #[cold]
    fn at_the_edge(&self, mut layer: usize, mut x: f32, random: &mut Random) -> f32 {
        loop {
            if layer == 0 {
                // The tail, by Marsaglia's method.
                let far = loop {
                    let right = -(1.0 - random.unit()).ln() / TAIL_FROM;
                    if -2.0 * (1.0 - random.unit()).ln() > right * right {
                        break (TAIL_FROM + right) as f32;
                    }
                };
                return far.copysign(x);
            }
            let (low, high) = (self.heights[layer], self.heights[layer + 1]);
            if low + (high - low) * (random.unit() as f32) < (-0.5 * x * x).exp() {
                return x;
            }
            // Above the curve: another layer and another place.
            let bits = random.bits();
            layer = (bits & 0xff) as usize;
            x = ((bits as i64 >> 40) as f32 / (1 << 23) as f32) * self.edges[layer];
            if x.abs() < self.edges[layer + 1] {
                return x;
            }
        }
    }
}
