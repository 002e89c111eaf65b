//! One block's share of a scan: sequential (T.81, F.2) and progressive (T.81, G.1 and G.2).

use super::JpegError;
use super::bits::Bits;
use super::huffman::{END_OF_BLOCK, Table};

/// Zigzag order to row-major order (T.81, figure A.6).
#[rustfmt::skip]
pub(super) const ZIGZAG: [u8; 64] = [
     0,  1,  8, 16,  9,  2,  3, 10, 17, 24, 32, 25, 18, 11,  4,  5,
    12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13,  6,  7, 14, 21, 28,
    35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
    58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

pub(super) const PAST_BLOCK: JpegError =
    JpegError::Damaged("a run of coefficients past the end of its block");

/// The parameters of a scan of a progressive picture, and what it carries from block to block.
pub(super) struct Band {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) refine: bool,
    pub(super) low: u32,
    /// Blocks whose band is still to be ended, this one included.
    pub(super) end_run: u32,
}

/// The difference of a DC coefficient to the one before it.
#[inline(always)]
pub(super) fn dc_difference(bits: &mut Bits<'_>, table: &Table) -> Result<i32, JpegError> {
    bits.refill();
    if let Some((difference, _)) = bits.coefficient(table) {
        return Ok(difference);
    }
    match bits.symbol(table)? {
        0 => Ok(0),
        size @ 1..=15 => Ok(bits.signed(u32::from(size))),
        _ => Err(JpegError::Damaged("a DC coefficient of more than 15 bits")),
    }
}

/// Decodes the AC coefficients of a block of a sequential picture, dequantised, into `block`; yields the place in
/// zigzag order of the last one. `quant` is in zigzag order.
#[inline(always)]
pub(super) fn ac_coefficients(
    bits: &mut Bits<'_>,
    table: &Table,
    quant: &[i32; 64],
    block: &mut [i32; 64],
) -> Result<usize, JpegError> {
    let mut last = 0;
    let mut k = 1;
    while k < 64 {
        bits.refill();
        let value = if let Some((value, run)) = bits.coefficient(table) {
            k += run;
            value
        } else {
            let symbol = bits.symbol(table)?;
            let (run, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
            if size == 0 {
                if run != 15 {
                    break;
                }
                k += 16;
                continue;
            }
            k += run;
            bits.signed(size)
        };
        if k >= 64 {
            return if k >= END_OF_BLOCK { Ok(last) } else { Err(PAST_BLOCK) };
        }
        block[usize::from(ZIGZAG[k]) & 63] = value * quant[k];
        last = k;
        k += 1;
    }
    Ok(last)
}

/// The first scan of a band (T.81, G.1.2.2).
#[inline(always)]
pub(super) fn first(
    bits: &mut Bits<'_>,
    ac: &Table,
    band: &mut Band,
    block: &mut [i16; 64],
) -> Result<(), JpegError> {
    if band.end_run > 0 {
        band.end_run -= 1;
        return Ok(());
    }
    let mut k = band.start;
    while k <= band.end {
        bits.refill();
        let value = if let Some((value, run)) = bits.coefficient(ac) {
            if run == END_OF_BLOCK {
                break;
            }
            k += run;
            value
        } else {
            let symbol = bits.symbol(ac)?;
            let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
            if size == 0 {
                if run == 15 {
                    k += 16;
                    continue;
                }
                band.end_run = (1 << run) - 1;
                if run > 0 {
                    band.end_run += bits.unsigned(run);
                }
                break;
            }
            k += run as usize;
            bits.signed(size)
        };
        if k > band.end {
            return Err(PAST_BLOCK);
        }
        block[k & 63] = (value << band.low) as i16;
        k += 1;
    }
    Ok(())
}

/// A scan that adds one bit to the coefficients of a band (T.81, G.1.2.3).
#[inline(always)]
pub(super) fn refine(
    bits: &mut Bits<'_>,
    ac: &Table,
    band: &mut Band,
    block: &mut [i16; 64],
) -> Result<(), JpegError> {
    let bit = 1i16 << band.low;
    let mut k = band.start;
    if band.end_run == 0 {
        while k <= band.end {
            bits.refill();
            let symbol = bits.symbol(ac)?;
            let (mut run, size) = (u32::from(symbol >> 4), symbol & 15);
            let new = match size {
                0 if run == 15 => 0,
                0 => {
                    band.end_run = 1 << run;
                    if run > 0 {
                        band.end_run += bits.unsigned(run);
                    }
                    break;
                }
                1 if bits.bit() => bit,
                1 => -bit,
                _ => {
                    return Err(JpegError::Damaged(
                        "a new coefficient of more than one bit in a refining scan",
                    ));
                }
            };
            // Pass over `run` zeros, refining what is not zero.
            while k <= band.end {
                let value = &mut block[k & 63];
                if *value != 0 {
                    correct(bits, value, bit);
                } else if run == 0 {
                    break;
                } else {
                    run -= 1;
                }
                k += 1;
            }
            if new != 0 {
                if k > band.end {
                    return Err(PAST_BLOCK);
                }
                block[k & 63] = new;
            }
            k += 1;
        }
    }
    if band.end_run > 0 {
        for value in block.get_mut(k..=band.end).into_iter().flatten() {
            if *value != 0 {
                correct(bits, value, bit);
            }
        }
        band.end_run -= 1;
    }
    Ok(())
}

/// Reads the correction bit of a coefficient that is not zero.
#[inline(always)]
fn correct(bits: &mut Bits<'_>, value: &mut i16, bit: i16) {
    if bits.bit() && *value & bit == 0 {
        *value = if *value > 0 { value.wrapping_add(bit) } else { value.wrapping_sub(bit) };
    }
}
