//! A small mutator: what a coverage-guided fuzzer does to inputs, without the coverage.

/// Numbers that look random, from a seed (splitmix64: Steele, Lea, Flood, 2014).
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.roll() % n.max(1) as u64) as usize
    }
}

/// An input made of those of a corpus.
pub fn input(dice: &mut Dice, corpus: &[Vec<u8>], words: &[&[u8]], max_len: usize) -> Vec<u8> {
    let mut bytes = match corpus.get(dice.below(corpus.len() + 1)) {
        Some(seed) => seed.clone(),
        // Nothing but junk.
        None => (0..dice.below(512)).map(|_| dice.roll() as u8).collect(),
    };
    for _ in 0..1 << dice.below(5) {
        change(dice, &mut bytes, corpus, words);
    }
    bytes.truncate(max_len);
    bytes
}

fn change(dice: &mut Dice, bytes: &mut Vec<u8>, corpus: &[Vec<u8>], words: &[&[u8]]) {
    let len = bytes.len();
    let at = dice.below(len);
    match dice.below(12) {
        _ if len == 0 => bytes.push(dice.roll() as u8),
        0 | 1 => bytes[at] ^= 1 << dice.below(8),
        2 => bytes[at] = dice.roll() as u8,
        3 => bytes[at] = bytes[at].wrapping_add(dice.below(7) as u8).wrapping_sub(3),
        4 => bytes[at] = [0, 1, 0x7f, 0x80, 0xfe, 0xff][dice.below(6)],
        5 => bytes.truncate(at),
        6 => drop(bytes.drain(at..(at + 1 + dice.below(16)).min(len))),
        7 => {
            let end = (at + 1 + dice.below(64)).min(len);
            let copy = bytes[at..end].to_vec();
            let to = dice.below(len);
            bytes.splice(to..to, copy);
        }
        8 => {
            // A number where one may stand: little- and big-endian, of two sizes.
            let number = [0, 1, u64::MAX, 1 << 31, 1 << 16, dice.roll(), dice.roll() & 0xffff][dice.below(7)];
            let mut new = if dice.below(2) == 0 { number.to_le_bytes() } else { number.to_be_bytes() };
            let width = 1 << dice.below(4);
            if dice.below(2) == 0 {
                new.rotate_left(8 - width);
            }
            bytes[at..].iter_mut().zip(&new[..width]).for_each(|(byte, new)| *byte = *new);
        }
        9 => {
            if let Some(other) = corpus.get(dice.below(corpus.len())) {
                let from = dice.below(other.len());
                let piece = &other[from..(from + 1 + dice.below(256)).min(other.len()).max(from)];
                let to = (at + piece.len()).min(len);
                bytes.splice(at..if dice.below(2) == 0 { at } else { to }, piece.iter().copied());
            }
        }
        _ => {
            if let Some(word) = words.get(dice.below(words.len())) {
                let end = if dice.below(2) == 0 { at } else { (at + word.len()).min(len) };
                bytes.splice(at..end, word.iter().copied());
            }
        }
    }
}
