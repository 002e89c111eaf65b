//! The entropy-coded data of a scan: sequential (T.81, F.2) and progressive (T.81, G.1 and G.2).

use super::huffman::{Bits, Table};
use super::{Component, Decoder, Frame, JpegError, build, idct};

/// Zigzag order to row-major order (T.81, figure A.6).
#[rustfmt::skip]
pub(super) const ZIGZAG: [u8; 64] = [
     0,  1,  8, 16,  9,  2,  3, 10, 17, 24, 32, 25, 18, 11,  4,  5,
    12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13,  6,  7, 14, 21, 28,
    35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
    58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

const PAST_BLOCK: JpegError = JpegError::Damaged("a run of coefficients past the end of its block");

/// Most blocks of an MCU (T.81, B.2.3).
const MAX_MCU_BLOCKS: usize = 10;

/// One component's part in a scan.
struct Part {
    component: usize,
    dc: Option<Table>,
    ac: Option<Table>,
    prediction: i32,
}

/// The parameters of a scan of a progressive picture, and what it carries from block to block.
struct Band {
    start: usize,
    end: usize,
    refine: bool,
    low: u32,
    /// Blocks whose band is still to be ended, this one included.
    end_run: u32,
}

impl Decoder<'_> {
    /// Reads the scan whose header is `header`; leaves the position at the end of its data.
    pub(super) fn scan(&mut self, frame: &mut Frame, header: &[u8]) -> Result<(), JpegError> {
        let (mut parts, mut band) = self.scan_header(frame, header)?;
        self.prepare(frame, &parts)?;
        let mut bits = Bits::new(self.data, self.pos);
        let single = match parts.as_slice() {
            [only] => Some(only.component),
            _ => None,
        };
        let (columns, rows) = match single.and_then(|index| frame.components.get(index)) {
            Some(component) => (component.blocks_x, component.blocks_y),
            None => (frame.mcus_x, frame.mcus_y),
        };
        let mut until_restart = self.restart_interval;
        let mut restarts = 0u8;
        for row in 0..rows {
            for column in 0..columns {
                if self.restart_interval > 0 {
                    if until_restart == 0 {
                        self.pos = bits.end();
                        self.restart(restarts)?;
                        restarts = (restarts + 1) & 7;
                        until_restart = self.restart_interval;
                        bits = Bits::new(self.data, self.pos);
                        parts.iter_mut().for_each(|part| part.prediction = 0);
                        band.end_run = 0;
                    }
                    until_restart -= 1;
                }
                for part in &mut parts {
                    let Some(component) = frame.components.get_mut(part.component) else { continue };
                    let (h, v) = if single.is_some() { (1, 1) } else { (component.h, component.v) };
                    for y in 0..v {
                        for x in 0..h {
                            let (x, y) = (column * h + x, row * v + y);
                            if frame.progressive {
                                progressive(&mut bits, part, &mut band, component, x, y)?;
                            } else {
                                sequential(&mut bits, part, component, x, y)?;
                            }
                        }
                    }
                }
            }
        }
        self.pos = bits.end();
        Ok(())
    }

    /// T.81, B.2.3, with the rules of table B.3 and, for progressive pictures, of G.1.1.1.
    fn scan_header(&self, frame: &mut Frame, header: &[u8]) -> Result<(Vec<Part>, Band), JpegError> {
        const BAD: JpegError = JpegError::Damaged("bad scan header");
        let (&count, rest) = header.split_first().ok_or(BAD)?;
        if !(1..=4).contains(&count) {
            return Err(BAD);
        }
        let (fields, rest) = rest.split_at_checked(2 * usize::from(count)).ok_or(BAD)?;
        let [start, end, approximation] = *rest.first_chunk::<3>().ok_or(BAD)?;
        let (high, low) = (approximation >> 4, approximation & 15);
        let band = if frame.progressive {
            Band {
                start: usize::from(start),
                end: usize::from(end),
                refine: high > 0,
                low: u32::from(low),
                end_run: 0,
            }
        } else {
            Band { start: 0, end: 63, refine: false, low: 0, end_run: 0 }
        };
        let is_dc = band.start == 0;
        if frame.progressive {
            let legal = end <= 63
                && start <= end
                && low <= 13
                && (high == 0 || high == low + 1)
                && if is_dc { end == 0 } else { count == 1 };
            if !legal {
                return Err(BAD);
            }
        }
        let mut parts: Vec<Part> = Vec::with_capacity(4);
        let mut mcu_blocks = 0;
        for &[id, tables] in fields.as_chunks::<2>().0 {
            let taken = |index: usize| parts.iter().any(|part| part.component == index);
            let index = (0..frame.components.len())
                .find(|&index| !taken(index) && frame.components.get(index).is_some_and(|c| c.id == id));
            let index = index.ok_or(BAD)?;
            let component = frame.components.get_mut(index).ok_or(BAD)?;
            mcu_blocks += component.h * component.v;
            // A coefficient comes once, then its lower bits one by one: so a file cannot ask for the same
            // work again and again.
            for pending in component.pending.get_mut(band.start..=band.end).ok_or(BAD)? {
                let expected = if high == 0 || !frame.progressive { -1 } else { high as i8 };
                if *pending != expected {
                    return Err(JpegError::Damaged(
                        "a coefficient is sent twice, or refined before it is sent",
                    ));
                }
                *pending = band.low as i8;
            }
            if !is_dc && component.pending[0] < 0 {
                return Err(JpegError::Damaged("a scan of AC coefficients before the DC coefficients"));
            }
            let needs_dc = is_dc && !band.refine;
            let needs_ac = !frame.progressive || !is_dc;
            parts.push(Part {
                component: index,
                dc: if needs_dc { Some(build(&self.dc, tables >> 4, false)?) } else { None },
                ac: if needs_ac { Some(build(&self.ac, tables & 15, true)?) } else { None },
                prediction: 0,
            });
        }
        if count > 1 && mcu_blocks > MAX_MCU_BLOCKS {
            return Err(JpegError::Damaged("an MCU of too many blocks"));
        }
        Ok((parts, band))
    }

    /// Makes room for the samples or coefficients of the components of a scan.
    fn prepare(&self, frame: &mut Frame, parts: &[Part]) -> Result<(), JpegError> {
        for part in parts {
            let Some(component) = frame.components.get_mut(part.component) else { continue };
            if component.quant.is_none() {
                let table = self.quant.get(component.table).copied().flatten();
                component.quant =
                    Some(table.ok_or(JpegError::Damaged("a scan without its quantisation table"))?);
            }
            let samples = component.stride * component.rows * 64;
            if frame.progressive && component.coefficients.is_empty() {
                component.coefficients = vec![0; samples];
            } else if !frame.progressive && component.plane.is_empty() {
                component.plane = vec![0; samples];
            }
        }
        Ok(())
    }

    /// The restart marker that must stand here, number `expected` modulo 8.
    fn restart(&mut self, expected: u8) -> Result<(), JpegError> {
        if self.marker()? != 0xD0 + expected {
            return Err(JpegError::Damaged("a restart marker is missing"));
        }
        Ok(())
    }
}

/// The difference of a DC coefficient to the one before it.
#[inline(always)]
fn dc_difference(bits: &mut Bits<'_>, table: &Table) -> Result<i32, JpegError> {
    bits.refill();
    match bits.symbol(table)? {
        0 => Ok(0),
        size @ 1..=15 => bits.signed(u32::from(size)),
        _ => Err(JpegError::Damaged("a DC coefficient of more than 15 bits")),
    }
}

/// Decodes a block of a sequential picture into the component's samples.
fn sequential(
    bits: &mut Bits<'_>,
    part: &mut Part,
    component: &mut Component,
    x: usize,
    y: usize,
) -> Result<(), JpegError> {
    let (Some(dc), Some(ac), Some(quant)) = (&part.dc, &part.ac, &component.quant) else {
        return Err(JpegError::Damaged("a scan without its tables"));
    };
    let mut block = [0i32; 64];
    part.prediction = part.prediction.wrapping_add(dc_difference(bits, dc)?);
    block[0] = i32::from(part.prediction as i16) * i32::from(quant[0]);
    let mut last = 0;
    let mut k = 1;
    while k < 64 {
        bits.refill();
        let value = if let Some((value, run)) = bits.fast_ac(ac)? {
            k += run;
            value
        } else {
            let symbol = bits.symbol(ac)?;
            let (run, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
            if size == 0 {
                if run != 15 {
                    break;
                }
                k += 16;
                continue;
            }
            k += run;
            bits.signed(size)?
        };
        let (Some(&natural), Some(&step)) = (ZIGZAG.get(k), quant.get(k)) else { return Err(PAST_BLOCK) };
        block[usize::from(natural) & 63] = value * i32::from(step);
        last = k;
        k += 1;
    }
    let width = component.stride * 8;
    let Some(out) = component.plane.get_mut(y * 8 * width + x * 8..) else { return Err(PAST_BLOCK) };
    if last == 0 {
        idct::flat_block(block[0], out, width);
    } else {
        idct::block(&block, last, out, width);
    }
    Ok(())
}

/// Decodes a block's share of a progressive scan into the component's coefficients.
fn progressive(
    bits: &mut Bits<'_>,
    part: &mut Part,
    band: &mut Band,
    component: &mut Component,
    x: usize,
    y: usize,
) -> Result<(), JpegError> {
    let place = y * component.stride + x;
    let Some(block) = component.coefficients.as_chunks_mut::<64>().0.get_mut(place) else {
        return Err(PAST_BLOCK);
    };
    match (&part.dc, &part.ac) {
        (Some(dc), _) => {
            part.prediction = part.prediction.wrapping_add(dc_difference(bits, dc)?);
            block[0] = (part.prediction << band.low) as i16;
            Ok(())
        }
        (None, None) => {
            if bits.bit()? {
                block[0] |= 1 << band.low;
            }
            Ok(())
        }
        (None, Some(ac)) if band.refine => refine(bits, ac, band, block),
        (None, Some(ac)) => first(bits, ac, band, block),
    }
}

/// The first scan of a band (T.81, G.1.2.2).
fn first(bits: &mut Bits<'_>, ac: &Table, band: &mut Band, block: &mut [i16; 64]) -> Result<(), JpegError> {
    if band.end_run > 0 {
        band.end_run -= 1;
        return Ok(());
    }
    let mut k = band.start;
    while k <= band.end {
        bits.refill();
        let symbol = bits.symbol(ac)?;
        let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
        if size > 0 {
            k += run as usize;
            let value = (bits.signed(size)? << band.low) as i16;
            if k > band.end {
                return Err(PAST_BLOCK);
            }
            block[k & 63] = value;
            k += 1;
        } else if run == 15 {
            k += 16;
        } else {
            band.end_run = (1 << run) - 1;
            if run > 0 {
                band.end_run += bits.unsigned(run)?;
            }
            break;
        }
    }
    Ok(())
}

/// A scan that adds one bit to the coefficients of a band (T.81, G.1.2.3).
fn refine(bits: &mut Bits<'_>, ac: &Table, band: &mut Band, block: &mut [i16; 64]) -> Result<(), JpegError> {
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
                        band.end_run += bits.unsigned(run)?;
                    }
                    break;
                }
                1 => {
                    if bits.bit()? {
                        bit
                    } else {
                        -bit
                    }
                }
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
                    correct(bits, value, bit)?;
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
                correct(bits, value, bit)?;
            }
        }
        band.end_run -= 1;
    }
    Ok(())
}

/// Reads the correction bit of a coefficient that is not zero.
#[inline(always)]
fn correct(bits: &mut Bits<'_>, value: &mut i16, bit: i16) -> Result<(), JpegError> {
    if bits.bit()? && *value & bit == 0 {
        *value = if *value > 0 { value.wrapping_add(bit) } else { value.wrapping_sub(bit) };
    }
    Ok(())
}

/// Inverse DCT of all blocks of a component of a progressive picture; frees the coefficients.
pub(super) fn finish(component: &mut Component) {
    let coefficients = std::mem::take(&mut component.coefficients);
    let Some(quant) = component.quant else { return };
    let width = component.stride * 8;
    component.plane = vec![0; component.stride * component.rows * 64];
    let rows = coefficients.as_chunks::<64>().0.chunks(component.stride.max(1));
    for (blocks, lines) in rows.zip(component.plane.chunks_mut(8 * width.max(1))) {
        for (x, block) in blocks.iter().enumerate() {
            let Some(out) = lines.get_mut(x * 8..) else { continue };
            let mut values = [0i32; 64];
            let mut last = 0;
            for (k, ((&value, &step), &natural)) in block.iter().zip(&quant).zip(&ZIGZAG).enumerate() {
                values[usize::from(natural) & 63] = i32::from(value) * i32::from(step);
                last = if value == 0 { last } else { k };
            }
            if last == 0 {
                idct::flat_block(values[0], out, width);
            } else {
                idct::block(&values, last, out, width);
            }
        }
    }
}
