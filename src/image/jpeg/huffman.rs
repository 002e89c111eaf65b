//! Huffman codes of JPEG (ITU-T T.81, annexes C and F).

use super::JpegError;
use super::bits::{Bits, extend};

/// Codes of up to this many bits, and codes with their values if they fit, are found by one look-up.
const LOOKUP_BITS: u32 = 10;

/// The run of an entry of [`Table::fast`] that ends its block: past the end from any place.
pub(super) const END_OF_BLOCK: usize = 128;

/// What a table is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Dc,
    Ac,
}

/// The counts and values of a DHT segment. Kept as they came: a table is built when a scan needs it, so a
/// file full of DHT segments costs nothing.
#[derive(Clone)]
pub(super) struct TableSpec {
    pub(super) counts: [u8; 16],
    pub(super) values: Vec<u8>,
}

/// A Huffman code, ready to decode.
pub(super) struct Table {
    /// By the next bits: `length << 8 | value`, or 0 for a longer (or no) code.
    lookup: Box<[u16; 1 << LOOKUP_BITS]>,
    /// By the next bits: `value << 16 | run << 8 | bits used` of a whole coefficient, or 0.
    fast: Box<[i32; 1 << LOOKUP_BITS]>,
    /// Last code of each length, -1 if there is none.
    max_code: [i32; 17],
    /// What to add to a code of each length to get the place of its value.
    offset: [i32; 17],
    values: [u8; 256],
}

impl Table {
    /// Builds the code of `spec` (T.81, C.2 and F.2.2.3).
    pub(super) fn new(spec: &TableSpec, kind: Kind) -> Result<Self, JpegError> {
        const BAD: JpegError = JpegError::Damaged("bad Huffman table");
        let mut table = Self {
            lookup: Box::new([0; 1 << LOOKUP_BITS]),
            fast: Box::new([0; 1 << LOOKUP_BITS]),
            max_code: [-1; 17],
            offset: [0; 17],
            values: [0; 256],
        };
        table.values.get_mut(..spec.values.len()).ok_or(BAD)?.copy_from_slice(&spec.values);
        let (mut code, mut place) = (0i32, 0i32);
        for (length, &count) in (1u32..).zip(&spec.counts) {
            let count = i32::from(count);
            // More codes than a prefix code of this length has room for.
            if code + count > 1 << length {
                return Err(BAD);
            }
            let slot = length as usize;
            if let (Some(offset), Some(max_code)) = (table.offset.get_mut(slot), table.max_code.get_mut(slot))
            {
                *offset = place - code;
                *max_code = if count > 0 { code + count - 1 } else { -1 };
            }
            for _ in 0..count {
                if length <= LOOKUP_BITS {
                    let value = *spec.values.get(place as usize).ok_or(BAD)?;
                    let first = (code as usize) << (LOOKUP_BITS - length);
                    let entries = table.lookup.get_mut(first..first + (1 << (LOOKUP_BITS - length)));
                    entries.ok_or(BAD)?.fill((length as u16) << 8 | u16::from(value));
                }
                code += 1;
                place += 1;
            }
            code <<= 1;
        }
        table.build_fast(kind);
        Ok(table)
    }

    /// The value of a code longer than the look-up, and its length. Takes the bits and not their reader, so that
    /// the reader can live in registers.
    #[cold]
    #[inline(never)]
    fn long(&self, bits: i32) -> Option<(u8, u32)> {
        for length in LOOKUP_BITS + 1..=16 {
            let code = bits >> (16 - length);
            if code <= self.max_code[length as usize] {
                return Some((self.values[(code + self.offset[length as usize]) as usize & 255], length));
            }
        }
        None
    }

    /// The look-up that yields run, value and length of a coefficient at once.
    fn build_fast(&mut self, kind: Kind) {
        for (bits, (entry, &code)) in (0u32..).zip(self.fast.iter_mut().zip(self.lookup.iter())) {
            let length = u32::from(code >> 8);
            let (run, size) = match (kind, code & 255) {
                // An end of block; runs of blocks are left to those who know them.
                (Kind::Ac, 0) => (END_OF_BLOCK as i32, 0),
                (Kind::Ac, symbol) if symbol & 15 == 0 => continue,
                (Kind::Ac, symbol) => (i32::from(symbol >> 4), u32::from(symbol & 15)),
                (Kind::Dc, symbol) => (0, u32::from(symbol)),
            };
            if length == 0 || length + size > LOOKUP_BITS {
                continue;
            }
            let value = if size == 0 {
                0
            } else {
                extend(bits >> (LOOKUP_BITS - length - size) & ((1 << size) - 1), size)
            };
            *entry = value << 16 | run << 8 | (length + size) as i32;
        }
    }
}

const NO_CODE: JpegError = JpegError::Damaged("a bit pattern that is no Huffman code");

impl Bits<'_> {
    /// The next Huffman-coded value. Needs a [`refill`](Self::refill) before it.
    #[inline(always)]
    pub(super) fn symbol(&mut self, table: &Table) -> Result<u8, JpegError> {
        let entry = table.lookup[self.peek::<LOOKUP_BITS>()];
        if entry != 0 {
            self.skip(u32::from(entry >> 8));
            return Ok(entry as u8);
        }
        let (symbol, length) = table.long(self.peek::<16>() as i32).ok_or(NO_CODE)?;
        self.skip(length);
        Ok(symbol)
    }

    /// Value and run of the next coefficient if both are coded in few bits; a run of [`END_OF_BLOCK`] ends the block.
    #[inline(always)]
    pub(super) fn coefficient(&mut self, table: &Table) -> Option<(i32, usize)> {
        let entry = table.fast[self.peek::<LOOKUP_BITS>()];
        if entry == 0 {
            return None;
        }
        self.skip((entry & 255) as u32);
        Some((entry >> 16, (entry >> 8 & 255) as usize))
    }
}
