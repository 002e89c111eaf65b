//! Huffman codes and the bit reader of entropy-coded JPEG data (ITU-T T.81, annexes C and F).
//!
//! The reader never makes bits up: using one bit more than the file holds before the next marker is
//! [`JpegError::Damaged`]. That is what tells a whole scan from one that was cut.

use super::JpegError;

/// Codes of up to this many bits are found by one look-up.
const LOOKUP_BITS: u32 = 9;
/// AC codes whose code and value bits fit in this many bits are decoded by one look-up.
const FAST_BITS: u32 = 10;

/// The counts and values of a DHT segment. Kept as they came: a table is built when a scan needs it, so a
/// file full of DHT segments costs nothing.
#[derive(Clone)]
pub(super) struct TableSpec {
    pub(super) counts: [u8; 16],
    pub(super) values: Vec<u8>,
}

/// A Huffman code, ready to decode.
pub(super) struct Table {
    /// By the next 9 bits: `length << 8 | value`, or 0 for a longer (or no) code.
    lookup: [u16; 1 << LOOKUP_BITS],
    /// By the next 10 bits: `value << 16 | run << 8 | bits used`, or 0.
    fast: Vec<i32>,
    /// Last code of each length, -1 if there is none.
    max_code: [i32; 17],
    /// What to add to a code of each length to get the place of its value.
    offset: [i32; 17],
    values: [u8; 256],
}

impl Table {
    /// Builds the code of `spec` (T.81, C.2 and F.2.2.3).
    pub(super) fn new(spec: &TableSpec, is_ac: bool) -> Result<Self, JpegError> {
        const BAD: JpegError = JpegError::Damaged("bad Huffman table");
        let mut table = Self {
            lookup: [0; 1 << LOOKUP_BITS],
            fast: Vec::new(),
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
        if is_ac {
            table.build_fast();
        }
        Ok(table)
    }

    /// The look-up that yields run, value and length of an AC coefficient at once.
    fn build_fast(&mut self) {
        self.fast = vec![0; 1 << FAST_BITS];
        for (bits, entry) in (0u32..).zip(&mut self.fast) {
            let short = (bits >> (FAST_BITS - LOOKUP_BITS)) as usize;
            let code = self.lookup.get(short).copied().unwrap_or(0);
            let length = u32::from(code >> 8);
            let (run, size) = (i32::from(code >> 4 & 15), u32::from(code & 15));
            if length == 0 || size == 0 || length + size > FAST_BITS {
                continue;
            }
            let value = bits >> (FAST_BITS - length - size) & ((1 << size) - 1);
            *entry = extend(value, size) << 16 | run << 8 | (length + size) as i32;
        }
    }
}

/// Table F.12 of T.81: the signed value of `size` bits.
#[inline(always)]
fn extend(bits: u32, size: u32) -> i32 {
    let bits = bits as i32;
    if bits < 1 << (size - 1) { bits - (1 << size) + 1 } else { bits }
}

/// Reads bits up to the next marker, unstuffing `FF 00`.
pub(super) struct Bits<'a> {
    data: &'a [u8],
    pos: usize,
    /// The next bits, from the top.
    acc: u64,
    /// How many bits of `acc` are real.
    count: u32,
}

const CUT: JpegError = JpegError::Damaged("the data of a scan ends before its last block");

impl<'a> Bits<'a> {
    pub(super) fn new(data: &'a [u8], pos: usize) -> Self {
        Self { data, pos, acc: 0, count: 0 }
    }

    /// Makes at least 32 bits available, unless the data ends.
    #[inline(always)]
    pub(super) fn refill(&mut self) {
        if self.count < 32 {
            self.refill_slow();
        }
    }

    #[inline]
    fn refill_slow(&mut self) {
        if let Some(chunk) = self.data.get(self.pos..).and_then(|rest| rest.first_chunk::<8>()) {
            let word = u64::from_be_bytes(*chunk);
            let inverse = !word;
            // No byte of the word is FF (no byte of the inverse is 00).
            let zero = inverse.wrapping_sub(0x0101_0101_0101_0101) & word & 0x8080_8080_8080_8080;
            if zero == 0 {
                let bytes = (64 - self.count) / 8;
                self.acc |= (word >> (64 - 8 * bytes)) << (64 - 8 * bytes - self.count);
                self.count += 8 * bytes;
                self.pos += bytes as usize;
                return;
            }
        }
        while self.count <= 56 {
            let Some(&byte) = self.data.get(self.pos) else { return };
            if byte != 0xFF {
                self.pos += 1;
            } else if self.data.get(self.pos + 1) == Some(&0) {
                self.pos += 2;
            } else {
                return;
            }
            self.acc |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
    }

    #[inline(always)]
    fn consume(&mut self, bits: u32) -> Result<(), JpegError> {
        if bits > self.count {
            return Err(CUT);
        }
        self.acc <<= bits;
        self.count -= bits;
        Ok(())
    }

    /// The next Huffman-coded value. Needs a [`refill`](Self::refill) before it.
    #[inline(always)]
    pub(super) fn symbol(&mut self, table: &Table) -> Result<u8, JpegError> {
        let entry = table.lookup[(self.acc >> (64 - LOOKUP_BITS)) as usize];
        if entry != 0 {
            self.consume(u32::from(entry >> 8))?;
            return Ok(entry as u8);
        }
        self.long_symbol(table)
    }

    #[cold]
    fn long_symbol(&mut self, table: &Table) -> Result<u8, JpegError> {
        let bits = (self.acc >> 48) as i32;
        for length in LOOKUP_BITS + 1..=16 {
            let code = bits >> (16 - length);
            if code <= table.max_code[length as usize] {
                self.consume(length)?;
                return Ok(table.values[(code + table.offset[length as usize]) as usize & 255]);
            }
        }
        Err(if self.count < 16 { CUT } else { JpegError::Damaged("a bit pattern that is no Huffman code") })
    }

    /// Value, run and zero of the next AC coefficient if they are coded in few bits: `(value, run)`.
    #[inline(always)]
    pub(super) fn fast_ac(&mut self, table: &Table) -> Result<Option<(i32, usize)>, JpegError> {
        let entry = table.fast.get((self.acc >> (64 - FAST_BITS)) as usize).copied().unwrap_or(0);
        if entry == 0 {
            return Ok(None);
        }
        self.consume((entry & 255) as u32)?;
        Ok(Some((entry >> 16, (entry >> 8 & 15) as usize)))
    }

    /// `size` bits, 1 to 15, as a signed value. Needs a refill before it (one serves a symbol and its value).
    #[inline(always)]
    pub(super) fn signed(&mut self, size: u32) -> Result<i32, JpegError> {
        Ok(extend(self.unsigned(size)?, size))
    }

    /// `size` bits, 1 to 15. Needs a refill before it.
    #[inline(always)]
    pub(super) fn unsigned(&mut self, size: u32) -> Result<u32, JpegError> {
        let bits = (self.acc >> (64 - size)) as u32;
        self.consume(size)?;
        Ok(bits)
    }

    /// One bit; refills by itself.
    #[inline(always)]
    pub(super) fn bit(&mut self) -> Result<bool, JpegError> {
        self.refill();
        Ok(self.unsigned(1)? != 0)
    }

    /// Leaves the entropy-coded data: the position of the first byte that was not used, and it drops what is
    /// left of the last byte.
    pub(super) fn end(&self) -> usize {
        // Walk back over the whole bytes that were read ahead; a stuffed FF 00 is two bytes of the file.
        let mut pos = self.pos;
        for _ in 0..self.count / 8 {
            pos = pos.saturating_sub(1);
            if pos > 0 && self.data.get(pos) == Some(&0) && self.data.get(pos - 1) == Some(&0xFF) {
                pos -= 1;
            }
        }
        pos
    }
}
