//! A small mutator: what a coverage-guided fuzzer does to inputs, without the coverage.

#[path = "../../tests/random.rs"]
mod random;

pub use random::Random;

/// An input made of those of a corpus.
pub fn input(dice: &mut Random, corpus: &[Vec<u8>], words: &[&[u8]], max_len: usize) -> Vec<u8> {
    let mut bytes = match corpus.get(dice.index(corpus.len() + 1)) {
        Some(seed) => seed.clone(),
        // Nothing but junk.
        None => (0..dice.index(512)).map(|_| dice.next() as u8).collect(),
    };
    for _ in 0..1 << dice.index(5) {
        change(dice, &mut bytes, corpus, words);
    }
    bytes.truncate(max_len);
    bytes
}

fn change(dice: &mut Random, bytes: &mut Vec<u8>, corpus: &[Vec<u8>], words: &[&[u8]]) {
    let len = bytes.len();
    let at = dice.index(len);
    match dice.index(12) {
        _ if len == 0 => bytes.push(dice.next() as u8),
        0 | 1 => bytes[at] ^= 1 << dice.index(8),
        2 => bytes[at] = dice.next() as u8,
        3 => bytes[at] = bytes[at].wrapping_add(dice.index(7) as u8).wrapping_sub(3),
        4 => bytes[at] = [0, 1, 0x7f, 0x80, 0xfe, 0xff][dice.index(6)],
        5 => bytes.truncate(at),
        6 => drop(bytes.drain(at..(at + 1 + dice.index(16)).min(len))),
        7 => {
            let end = (at + 1 + dice.index(64)).min(len);
            let copy = bytes[at..end].to_vec();
            let to = dice.index(len);
            bytes.splice(to..to, copy);
        }
        8 => {
            // A number where one may stand: little- and big-endian, of two sizes.
            let number = [0, 1, u64::MAX, 1 << 31, 1 << 16, dice.next(), dice.next() & 0xffff][dice.index(7)];
            let mut new = if dice.index(2) == 0 { number.to_le_bytes() } else { number.to_be_bytes() };
            let width = 1 << dice.index(4);
            if dice.index(2) == 0 {
                new.rotate_left(8 - width);
            }
            bytes[at..].iter_mut().zip(&new[..width]).for_each(|(byte, new)| *byte = *new);
        }
        9 => {
            if let Some(other) = corpus.get(dice.index(corpus.len())) {
                let from = dice.index(other.len());
                let piece = &other[from..(from + 1 + dice.index(256)).min(other.len()).max(from)];
                let to = (at + piece.len()).min(len);
                bytes.splice(at..if dice.index(2) == 0 { at } else { to }, piece.iter().copied());
            }
        }
        _ => {
            if let Some(word) = words.get(dice.index(words.len())) {
                let end = if dice.index(2) == 0 { at } else { (at + word.len()).min(len) };
                bytes.splice(at..end, word.iter().copied());
            }
        }
    }
}
