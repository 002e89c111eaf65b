//! Scans: their headers, and the order of their blocks (T.81, A.2, B.2.3 and B.2.5).

use super::bits::{Bits, Segment};
use super::block::{Band, PAST_BLOCK, ZIGZAG, ac_coefficients, dc_difference, first, refine};
use super::huffman::{Kind, Table};
use super::{Component, Decoder, Frame, JpegError, build, idct};
use crate::kernel::image::{Avx2, Work, run};

/// Most blocks of an MCU (T.81, B.2.3).
const MAX_MCU_BLOCKS: usize = 10;

/// One component's part in a scan.
struct Part {
    component: usize,
    dc: Option<Table>,
    ac: Option<Table>,
    /// In zigzag order.
    quant: [i32; 64],
    prediction: i32,
}

impl Decoder<'_> {
    /// Reads the scan whose header is `header`; leaves the position at the end of its data.
    pub(super) fn scan(&mut self, frame: &mut Frame, header: &[u8]) -> Result<(), JpegError> {
        let (mut parts, mut band) = self.scan_header(frame, header)?;
        self.prepare(frame, &mut parts)?;
        let mut segment = Segment::default();
        segment.load(self.data, self.pos);
        let mut bits = segment.bits();
        let single = match parts.as_slice() {
            [only] => Some(only.component),
            _ => None,
        };
        let (columns, rows) = match single.and_then(|index| frame.components.get(index)) {
            Some(component) => (component.blocks_x, component.blocks_y),
            None => (frame.mcus_x, frame.mcus_y),
        };
        let interval = self.restart_interval;
        let mut until_restart = interval;
        let mut restarts = 0u8;
        for row in 0..rows {
            let mut column = 0;
            while column < columns {
                if interval > 0 && until_restart == 0 {
                    bits.check()?;
                    self.pos = segment.end(self.data, bits.used());
                    self.restart(restarts)?;
                    restarts = (restarts + 1) & 7;
                    until_restart = interval;
                    segment.load(self.data, self.pos);
                    bits = segment.bits();
                    parts.iter_mut().for_each(|part| part.prediction = 0);
                    band.end_run = 0;
                }
                let end = if interval > 0 { columns.min(column + until_restart) } else { columns };
                until_restart = until_restart.saturating_sub(end - column);
                let place = Place { row, columns: column..end, single: single.is_some() };
                let (bits, parts) = (&mut bits, parts.as_mut_slice());
                if frame.progressive {
                    run(self.simd, Progressive { bits, parts, frame, place, band: &mut band })?;
                } else {
                    run(self.simd, Sequential { bits, parts, frame, place, simd: self.simd })?;
                }
                column = end;
            }
            bits.check()?;
        }
        self.pos = segment.end(self.data, bits.used());
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
                dc: if needs_dc { Some(build(&self.dc, tables >> 4, Kind::Dc)?) } else { None },
                ac: if needs_ac { Some(build(&self.ac, tables & 15, Kind::Ac)?) } else { None },
                quant: [0; 64],
                prediction: 0,
            });
        }
        if count > 1 && mcu_blocks > MAX_MCU_BLOCKS {
            return Err(JpegError::Damaged("an MCU of too many blocks"));
        }
        Ok((parts, band))
    }

    /// Makes room for the samples or coefficients of the components of a scan.
    fn prepare(&self, frame: &mut Frame, parts: &mut [Part]) -> Result<(), JpegError> {
        for part in parts {
            let Some(component) = frame.components.get_mut(part.component) else { continue };
            if component.quant.is_none() {
                let table = self.quant.get(component.table).copied().flatten();
                component.quant =
                    Some(table.ok_or(JpegError::Damaged("a scan without its quantisation table"))?);
            }
            part.quant = component.quant.unwrap_or([0; 64]).map(i32::from);
            if frame.progressive && component.coefficients.is_empty() {
                component.coefficients = vec![0; component.stride * component.rows * 64];
            } else if !frame.progressive && component.plane.is_empty() {
                component.make_plane();
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

/// MCUs, or blocks of a scan of a single component, that stand side by side.
struct Place {
    row: usize,
    columns: std::ops::Range<usize>,
    single: bool,
}

/// Decodes blocks of a sequential picture, and makes the samples of those that are kept.
struct Sequential<'a, 'd> {
    bits: &'a mut Bits<'d>,
    parts: &'a mut [Part],
    frame: &'a mut Frame,
    place: Place,
    simd: Option<Avx2>,
}

impl Work for Sequential<'_, '_> {
    type Output = Result<(), JpegError>;

    #[inline(always)]
    fn run(self) -> Self::Output {
        let Self { bits, parts, frame, place, simd } = self;
        // In a variable of its own the reader lives in registers.
        let mut reader = *bits;
        for column in place.columns {
            for part in &mut *parts {
                let Some(component) = frame.components.get_mut(part.component) else { continue };
                let (Some(dc), Some(ac)) = (&part.dc, &part.ac) else {
                    return Err(JpegError::Damaged("a scan without its tables"));
                };
                let (h, v) = if place.single { (1, 1) } else { (component.h, component.v) };
                let (kept, size, stride) = (component.kept, component.size, component.line_len());
                for y in place.row * v..(place.row + 1) * v {
                    for x in column * h..(column + 1) * h {
                        let mut block = [0i32; 64];
                        part.prediction = part.prediction.wrapping_add(dc_difference(&mut reader, dc)?);
                        block[0] = i32::from(part.prediction as i16) * part.quant[0];
                        let last = ac_coefficients(&mut reader, ac, &part.quant, &mut block)?;
                        if !(kept.x0..kept.x1).contains(&x) || !(kept.y0..kept.y1).contains(&y) {
                            continue;
                        }
                        let start = (y - kept.y0) * size * stride + (x - kept.x0) * size;
                        let Some(out) = component.plane.get_mut(start..) else { return Err(PAST_BLOCK) };
                        idct::put(simd, &block, last, size, out, stride);
                    }
                }
            }
        }
        *bits = reader;
        Ok(())
    }
}

/// Decodes a progressive scan's share of blocks into the coefficients of their components.
struct Progressive<'a, 'd> {
    bits: &'a mut Bits<'d>,
    parts: &'a mut [Part],
    frame: &'a mut Frame,
    place: Place,
    band: &'a mut Band,
}

impl Work for Progressive<'_, '_> {
    type Output = Result<(), JpegError>;

    #[inline(always)]
    fn run(self) -> Self::Output {
        let Self { bits, parts, frame, place, band } = self;
        let mut reader = *bits;
        for column in place.columns {
            for part in &mut *parts {
                let Some(component) = frame.components.get_mut(part.component) else { continue };
                let (h, v) = if place.single { (1, 1) } else { (component.h, component.v) };
                let blocks = component.coefficients.as_chunks_mut::<64>().0;
                for y in place.row * v..(place.row + 1) * v {
                    for x in column * h..(column + 1) * h {
                        let Some(block) = blocks.get_mut(y * component.stride + x) else {
                            return Err(PAST_BLOCK);
                        };
                        match (&part.dc, &part.ac) {
                            (Some(dc), _) => {
                                let difference = dc_difference(&mut reader, dc)?;
                                part.prediction = part.prediction.wrapping_add(difference);
                                block[0] = (part.prediction << band.low) as i16;
                            }
                            (None, None) => block[0] |= i16::from(reader.bit()) << band.low,
                            (None, Some(ac)) if band.refine => refine(&mut reader, ac, band, block)?,
                            (None, Some(ac)) => first(&mut reader, ac, band, block)?,
                        }
                    }
                }
            }
        }
        *bits = reader;
        Ok(())
    }
}

/// Inverse DCT of the kept blocks of a component of a progressive picture; frees the coefficients.
pub(super) fn finish(component: &mut Component, simd: Option<Avx2>) {
    // The buffer is freed at the end.
    let coefficients = std::mem::take(&mut component.coefficients);
    let Some(quant) = component.quant else { return };
    component.make_plane();
    let (kept, size, stride) = (component.kept, component.size, component.line_len());
    let rows = coefficients.as_chunks::<64>().0.chunks(component.stride.max(1));
    let rows = rows.take(kept.y1).skip(kept.y0);
    for (blocks, lines) in rows.zip(component.plane.chunks_mut((size * stride).max(1))) {
        for (x, block) in blocks.iter().take(kept.x1).skip(kept.x0).enumerate() {
            let Some(out) = lines.get_mut(x * size..) else { continue };
            let mut values = [0i32; 64];
            let mut last = 0;
            for (k, ((&value, &step), &natural)) in block.iter().zip(&quant).zip(&ZIGZAG).enumerate() {
                values[usize::from(natural) & 63] = i32::from(value) * i32::from(step);
                last = if value == 0 { last } else { k };
            }
            idct::put(simd, &values, last, size, out, stride);
        }
    }
}
