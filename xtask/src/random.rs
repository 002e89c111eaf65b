//! Pseudo-random numbers that are the same on every machine and in every release: copies of pictures must be.

/// SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014, figure 17).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// A sequence of its own for each text.
    ///
    /// FNV-1a of the bytes (draft-eastlake-fnv, section 2) as the seed; SplitMix64 needs no better one.
    pub fn of(text: &str) -> Self {
        let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        Self(text.bytes().fold(0xcbf2_9ce4_8422_2325, fold))
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in `low..high`.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        // 53 bits are what a f64 holds.
        let unit = (self.bits() >> 11) as f64 / (1_u64 << 53) as f64;
        low + (high - low) * unit
    }

    /// Uniform in `0..count`, near enough for pictures; 0 when `count` is 0.
    pub fn below(&mut self, count: usize) -> usize {
        (self.bits() % (count.max(1) as u64)) as usize
    }

    /// True half of the time.
    pub fn coin(&mut self) -> bool {
        self.bits() >> 63 == 1
    }

    /// A number of mean 0 and variance 1, nearly normal: twelve uniform ones, less their mean.
    pub fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.between(0.0, 1.0)).sum::<f64>() - 6.0
    }

    /// Any colour.
    pub fn colour(&mut self) -> [u8; 3] {
        [(); 3].map(|()| (self.bits() >> 56) as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_fixed() {
        // The first values for seed 0 of the generator's reference implementation.
        let mut zero = Random(0);
        assert_eq!([zero.bits(), zero.bits()], [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4]);
        assert_ne!(Random::of("a").bits(), Random::of("b").bits());
    }

    #[test]
    fn numbers_stay_in_their_range() {
        let mut random = Random::of("range");
        let (mut sum, mut squares) = (0.0, 0.0);
        for _ in 0..10_000 {
            assert!((2.0..3.0).contains(&random.between(2.0, 3.0)) && random.below(7) < 7);
            let value = random.normal();
            sum += value;
            squares += value * value;
        }
        assert!((sum / 1e4).abs() < 0.05 && (squares / 1e4 - 1.0).abs() < 0.05);
        assert_eq!(random.below(0), 0);
    }
}
