//! The bit reader of entropy-coded JPEG data (ITU-T T.81, annexes B.1.1.5 and F.2.2.5).
//!
//! The data up to the next marker is copied once without its stuffing, so that a refill is a load and a shift. Past
//! its end the reader yields zero bits and goes on counting: [`Bits::check`] tells whether more bits were used than
//! the file holds, which is what tells a whole scan from one that was cut. It must be asked before what was decoded
//! is believed, and often enough to bound the work that a short file causes: once a row of blocks.

use super::{JpegError, MAX_SLACK};

const CUT: JpegError = JpegError::Damaged("the data of a scan ends before its last block");

/// Zero bytes after the data, so that a refill at its very end needs no case of its own.
const PADDING: usize = 8;

/// The data between two markers, without stuffing.
#[derive(Default)]
pub(super) struct Segment {
    /// The data, then [`PADDING`].
    bytes: Vec<u8>,
    /// Where in the file the next marker stands, or its length.
    marker: usize,
}

impl Segment {
    /// Takes what stands in `data` from `pos` to the next marker.
    pub(super) fn load(&mut self, data: &[u8], pos: usize) {
        self.bytes.clear();
        let mut rest = data.get(pos..).unwrap_or(&[]);
        loop {
            let (run, after) = rest.split_at(plain(rest));
            if self.bytes.capacity() - self.bytes.len() <= run.len() {
                // By a quarter, not to twice as much: all of it is held beside the samples.
                self.bytes.reserve_exact(run.len() + self.bytes.len() / 4 + (1 << 12));
            }
            self.bytes.extend_from_slice(run);
            match after {
                [0xFF, 0, tail @ ..] => {
                    self.bytes.push(0xFF);
                    rest = tail;
                }
                _ => {
                    self.marker = data.len() - after.len();
                    break;
                }
            }
        }
        self.bytes.extend([0; PADDING]);
    }

    /// A reader at the start of the data.
    pub(super) fn bits(&self) -> Bits<'_> {
        Bits { bytes: &self.bytes, pos: 0, acc: 0, count: 0 }
    }

    /// The position in the file of the first byte that `used` bits do not reach, if that is not far from the marker
    /// (else some position that is too far from it).
    pub(super) fn end(&self, data: &[u8], used: usize) -> usize {
        let left = (self.bytes.len() - PADDING).saturating_sub(used.div_ceil(8));
        let mut pos = self.marker;
        for _ in 0..left.min(MAX_SLACK + 1) {
            pos = pos.saturating_sub(1);
            // A stuffed FF 00 is two bytes of the file.
            if pos > 0 && data.get(pos) == Some(&0) && data.get(pos - 1) == Some(&0xFF) {
                pos -= 1;
            }
        }
        pos
    }
}

/// How many bytes stand before the first FF.
fn plain(bytes: &[u8]) -> usize {
    const GROUP: usize = 32;
    let whole = bytes.as_chunks::<GROUP>().0;
    let has = |group: &[u8; GROUP]| group.iter().fold(false, |has, &byte| has | (byte == 0xFF));
    let start = whole.iter().position(has).unwrap_or(whole.len()) * GROUP;
    let tail = bytes.get(start..).unwrap_or(&[]);
    start + tail.iter().position(|&byte| byte == 0xFF).unwrap_or(tail.len())
}

/// Reads bits of a [`Segment`].
#[derive(Clone, Copy)]
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    /// Bytes that were taken into `acc`.
    pos: usize,
    /// The next bits, from the top.
    acc: u64,
    /// How many bits of `acc` count as taken; those below are either zero or the right ones already.
    count: u32,
}

impl Bits<'_> {
    /// Makes at least 32 bits available: enough for a code of 16 bits and the value after it.
    #[inline(always)]
    pub(super) fn refill(&mut self) {
        if self.count < 32 {
            let chunk = self.bytes.get(self.pos..).and_then(|rest| rest.first_chunk::<8>());
            let word = chunk.map_or(0, |chunk| u64::from_be_bytes(*chunk));
            self.acc |= word >> self.count;
            self.pos += ((63 - self.count) >> 3) as usize;
            self.count |= 56;
        }
    }

    /// The next `N` bits, which are not used up.
    #[inline(always)]
    pub(super) fn peek<const N: u32>(&self) -> usize {
        (self.acc >> (64 - N)) as usize
    }

    /// Uses up `bits` of the bits that the last refill made available.
    #[inline(always)]
    pub(super) fn skip(&mut self, bits: u32) {
        self.acc <<= bits & 63;
        self.count = self.count.wrapping_sub(bits);
    }

    /// `size` bits, 1 to 15. Needs a refill before it (one serves a symbol and its value).
    #[inline(always)]
    pub(super) fn unsigned(&mut self, size: u32) -> u32 {
        let bits = (self.acc >> (64 - size)) as u32;
        self.skip(size);
        bits
    }

    /// `size` bits, 1 to 15, as a signed value. Needs a refill before it.
    #[inline(always)]
    pub(super) fn signed(&mut self, size: u32) -> i32 {
        extend(self.unsigned(size), size)
    }

    /// One bit; refills by itself.
    #[inline(always)]
    pub(super) fn bit(&mut self) -> bool {
        self.refill();
        self.unsigned(1) != 0
    }

    /// How many bits were used, those that were made up past the end among them.
    pub(super) fn used(&self) -> usize {
        (self.pos * 8).saturating_sub(self.count as usize)
    }

    /// An error if bits were used that the file does not hold.
    #[inline(always)]
    pub(super) fn check(&self) -> Result<(), JpegError> {
        if self.used() > (self.bytes.len() - PADDING) * 8 { Err(CUT) } else { Ok(()) }
    }
}

/// Table F.12 of T.81: the signed value of `size` bits.
#[inline(always)]
pub(super) fn extend(bits: u32, size: u32) -> i32 {
    let bits = bits as i32;
    // The first bit says the sign: 0 for values that start at 1 - 2^size.
    let negative = (bits >> (size - 1)) - 1;
    bits + (negative & (1 - (1 << size)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn stuffing_is_taken_out_and_counted_back() {
        let data = [1, 0xFF, 0, 2, 3, 0xFF, 0, 0xFF, 0xD9, 9];
        let mut segment = Segment::default();
        segment.load(&data, 0);
        assert_eq!(segment.bytes[..5], [1, 0xFF, 2, 3, 0xFF]);
        // After n bytes the next one stands there in the file.
        for (bytes, place) in [(0, 0), (1, 1), (2, 3), (3, 4), (4, 5), (5, 7)] {
            assert_eq!(segment.end(&data, bytes * 8), place);
            assert_eq!(segment.end(&data, (bytes * 8).saturating_sub(3)), place);
        }
    }

    #[test]
    fn bits_past_the_end_are_noticed() {
        for length in 0..40 {
            let mut segment = Segment::default();
            let data: Vec<u8> = (0..length).map(|i| i * 5 + 1).collect();
            segment.load(&data, 0);
            let mut bits = segment.bits();
            for &byte in &data {
                bits.refill();
                assert_eq!(bits.unsigned(8), u32::from(byte));
                bits.check().unwrap();
            }
            assert!(!bits.bit());
            assert!(bits.check().is_err());
            for _ in 0..1000 {
                assert!(!bits.bit());
            }
            assert!(bits.check().is_err());
        }
    }

    #[test]
    fn values_extend_as_the_standard_says() {
        for size in 1..=15u32 {
            for bits in 0..1 << size {
                let want = if bits < 1 << (size - 1) { bits as i32 - (1 << size) + 1 } else { bits as i32 };
                assert_eq!(extend(bits, size), want);
            }
        }
    }

    #[test]
    fn runs_end_at_the_first_ff() {
        for length in 0..100 {
            for at in 0..=length {
                let mut bytes = vec![0xFE; length];
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = 0xFF;
                }
                assert_eq!(plain(&bytes), at);
            }
        }
    }
}
