//! Mutated JPEGs through the decoder that shrinks and cuts: no panic, no overflow, and the same outcome with and without
//! the instructions of the processor.
//!
//! `LOOKALIKE_MUTATIONS=1000000 cargo test --lib mutated_jpegs` does more of them, `LOOKALIKE_MUTATIONS_SEED` others.

use super::*;
use crate::kernel::image::Avx2;

/// A generator of Marsaglia, "Xorshift RNGs" (2003), p. 4.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) as usize % end.max(1)
    }

    /// A byte as markers, lengths and tables have them, or any.
    fn byte(&mut self) -> u8 {
        const ODD: [u8; 12] = [0, 1, 2, 0x11, 0x7F, 0x80, 0xC4, 0xD9, 0xDA, 0xDB, 0xDD, 0xFF];
        match self.below(3) {
            0 => ODD[self.below(ODD.len())],
            _ => self.below(256) as u8,
        }
    }

    /// Changes bytes, bits, or the order of pieces; half of the time in the segments before the first scan.
    fn mutate(&mut self, bytes: &mut Vec<u8>, scan: usize) {
        for _ in 0..=self.below(4) {
            let end = if self.below(2) == 0 { scan.min(bytes.len()) } else { bytes.len() };
            let at = 2 + self.below(end.saturating_sub(2));
            match self.below(12) {
                0 if self.below(4) == 0 => bytes.truncate(at),
                1 => {
                    // A piece again, elsewhere: a segment or part of a scan out of its place.
                    let piece: Vec<u8> = bytes.iter().skip(at).take(self.below(80)).copied().collect();
                    let to = (2 + self.below(bytes.len())).min(bytes.len());
                    bytes.splice(to..to, piece);
                }
                2 => {
                    let last = (at + self.below(12)).min(bytes.len());
                    bytes.drain(at.min(last)..last);
                }
                3..=6 => {
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte ^= 1 << self.below(8);
                    }
                }
                _ => {
                    let new = self.byte();
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte = new;
                    }
                }
            }
        }
    }
}

/// A number of the environment.
fn wanted(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[test]
fn mutated_jpegs_do_no_harm() {
    let count = wanted("LOOKALIKE_MUTATIONS").unwrap_or(4_000);
    let random = &mut Random(wanted("LOOKALIKE_MUTATIONS_SEED").unwrap_or(1).max(1));
    let simd = Avx2::new();
    // The sides of a header may become anything; what is larger than this is refused before it costs time.
    let limits = SizeLimits { max_side_px: 160, ..ANY };
    let jpegs: Vec<(String, Vec<u8>, usize)> = fixtures()
        .into_iter()
        .filter(|(name, bytes)| name.ends_with(".jpg") && bytes.len() < 12_000)
        .map(|(name, bytes)| {
            let scan = find_segment(&bytes, 0xDA).end;
            (name, bytes, scan)
        })
        .collect();
    assert!(jpegs.len() > 30, "{}", jpegs.len());
    let (mut decoded, mut shrunk) = (0_u64, 0_u64);
    for round in 0..count {
        let (name, original, scan) = &jpegs[random.below(jpegs.len())];
        let mut bytes = original.clone();
        random.mutate(&mut bytes, *scan);
        if !bytes.starts_with(&[0xFF, 0xD8]) {
            continue;
        }
        let target_px = [None, Some(1), Some(4), Some(9), Some(16), Some(27)][random.below(6)];
        let shape = [0; 4].map(|_| random.below(1 << 16) as u32);
        let part = |width: u32, height: u32| {
            let (left, top) = (shape[0] % width, shape[1] % height);
            let box_of = Part {
                left,
                top,
                width: 1 + shape[2] % (width - left),
                height: 1 + shape[3] % (height - top),
            };
            Some(if shape[0] & 3 == 0 { box_of } else { Part::whole(width, height) })
        };
        let wish = Wish { target_px, part: &part };
        let run = |simd| {
            let found = catch_unwind(AssertUnwindSafe(|| jpeg::decode_with(simd, &bytes, &limits, wish)));
            let found =
                found.unwrap_or_else(|_| panic!("{name}, round {round}, {target_px:?}: {bytes:02x?}"));
            found.ok().flatten().map(|stored| (stored.width, stored.height, stored.rgb))
        };
        let found = run(simd);
        assert!(found == run(None), "{name}, round {round}, {target_px:?}: {bytes:02x?}");
        decoded += u64::from(found.is_some());
        shrunk += u64::from(found.is_some_and(|(width, ..)| target_px.is_some() && width < 40));
    }
    println!("{count} inputs of {} pictures: {decoded} decoded, {shrunk} of them small", jpegs.len());
    // A mutation that nothing survives would test the refusals alone.
    assert!(decoded * 10 > count);
}
