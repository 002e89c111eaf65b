//! JPEG to RGB8: baseline, extended sequential and progressive, 8 bits, Huffman-coded.
//!
//! Ours because no decoder at hand reports a picture that is cut short: they fill what is missing with grey,
//! and code IS.2002 needs to know. The reader counts: every block of every scan must be in the file
//! ([`bits`]), every component must have been sent, and the end-of-image marker must follow. What stands
//! after that marker (a second picture, a maker's trailer) is not looked at; nor is what stands inside other
//! segments, such as a thumbnail with an end marker of its own.
//!
//! Inverse DCT, upsampling and colour conversion give the bytes of the IJG library's default settings.

mod bits;
mod block;
mod colour;
mod huffman;
mod idct;
mod plan;
mod scan;
mod upsample;

use thiserror::Error;

use super::orient::Orientation;
use super::part::{Part, Wish};
use super::{PictureError, SizeLimits, check_sides};
use crate::kernel::image::Avx2;
use huffman::{Kind, Table, TableSpec};
use plan::{Kept, Plan, plan};

/// Why a JPEG gave no picture.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum JpegError {
    /// The file says what it is, and that is something this decoder does not do.
    #[error("JPEG: {0}")]
    Unsupported(&'static str),
    /// The file contradicts itself or ends too early.
    #[error("JPEG: {0}")]
    Damaged(&'static str),
}

const CUT: JpegError = JpegError::Damaged("the file ends before the end-of-image marker");

/// Most scans of a picture. Encoders write about ten; each costs a pass over all blocks however few bytes it
/// takes, so their number is what bounds the work a small file can cause.
const MAX_SCANS: usize = 128;

/// Bytes that may stand between the end of a segment or of a scan's last block and the next marker. The
/// standard allows none, some writers pad; many more mean that the data went out of step with the blocks.
const MAX_SLACK: usize = 64;

/// One of the one to four channels, with its share of the picture.
struct Component {
    id: u8,
    /// Sampling factors, 1 to 4.
    h: usize,
    v: usize,
    /// Which quantisation table.
    table: usize,
    /// Samples that the side of a block yields: 8, or fewer of a picture that is shrunk.
    size: usize,
    /// Samples that belong to the picture, at that size.
    width: usize,
    height: usize,
    /// Blocks that belong to the picture: what a scan of this component alone holds.
    blocks_x: usize,
    blocks_y: usize,
    /// Blocks with padding to whole MCUs: what a scan of several components holds.
    stride: usize,
    rows: usize,
    /// The blocks whose samples are made.
    kept: Kept,
    /// Samples of the kept blocks, in lines.
    plane: Vec<u8>,
    /// Coefficients of a progressive picture, blocks of 64 in zigzag order.
    coefficients: Vec<i16>,
    /// The quantisation table in zigzag order, as it was at the component's first scan.
    quant: Option<[u16; 64]>,
    /// Of each coefficient in zigzag order: how many low bits are still to come, -1 if nothing was sent.
    pending: [i8; 64],
}

impl Component {
    /// Samples of a line of the plane.
    fn line_len(&self) -> usize {
        (self.kept.x1 - self.kept.x0) * self.size
    }

    fn make_plane(&mut self) {
        self.plane = vec![0; self.line_len() * (self.kept.y1 - self.kept.y0) * self.size];
    }
}

struct Frame {
    width: usize,
    height: usize,
    progressive: bool,
    h_max: usize,
    v_max: usize,
    mcus_x: usize,
    mcus_y: usize,
    components: Vec<Component>,
}

/// What the Adobe segment says about the colours.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Adobe {
    transform: u8,
}

struct Decoder<'a> {
    data: &'a [u8],
    pos: usize,
    quant: [Option<[u16; 64]>; 4],
    dc: [Option<TableSpec>; 4],
    ac: [Option<TableSpec>; 4],
    restart_interval: usize,
    is_jfif: bool,
    adobe: Option<Adobe>,
    exif: Option<&'a [u8]>,
    scans: usize,
    wish: Wish<'a>,
    simd: Option<Avx2>,
    /// What the first scan found to be made: the orientation known by then, and the plan unless nothing is wanted.
    planned: Option<(Orientation, Option<Plan>)>,
}

/// What a JPEG is decoded to: pixels as they are stored, and what to do to them to see them upright.
pub(super) struct Stored {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) rgb: Vec<u8>,
    pub(super) orientation: Orientation,
}

/// Decodes `data`, whose first bytes are those of a JPEG, as far as `wish` asks for pixels; `None` if it asks for none.
///
/// The sides are checked as soon as the frame header is read; until then nothing is allocated.
pub(super) fn decode(
    data: &[u8],
    limits: &SizeLimits,
    wish: Wish<'_>,
) -> Result<Option<Stored>, PictureError> {
    decode_with(Avx2::new(), data, limits, wish)
}

/// [`decode`] with the instructions of `simd`, which change nothing but the time it takes.
pub(super) fn decode_with(
    simd: Option<Avx2>,
    data: &[u8],
    limits: &SizeLimits,
    wish: Wish<'_>,
) -> Result<Option<Stored>, PictureError> {
    let mut known = None;
    loop {
        let mut decoder = Decoder::new(data, wish, simd);
        let mut frame = decoder.frame_header()?;
        check_sides(frame.width as u32, frame.height as u32, limits)?;
        if known.is_some() {
            decoder.exif = known;
        }
        decoder.scans(&mut frame)?;
        let orientation = decoder.orientation();
        let Some((planned_for, plan)) = decoder.planned else { return Ok(None) };
        if planned_for != orientation && known.is_none() {
            // The orientation stands behind pixels. Nobody writes that, and it costs no more than a second look.
            known = decoder.exif;
            continue;
        }
        let Some(plan) = plan else { return Ok(None) };
        let colours = decoder.colours(&frame);
        let rgb = colour::to_rgb(&mut frame, &plan, colours, simd);
        let Part { width, height, .. } = plan.shown;
        return Ok(Some(Stored { width, height, rgb, orientation }));
    }
}

impl<'a> Decoder<'a> {
    fn new(data: &'a [u8], wish: Wish<'a>, simd: Option<Avx2>) -> Self {
        Self {
            data,
            pos: 2,
            quant: [None; 4],
            dc: [const { None }; 4],
            ac: [const { None }; 4],
            restart_interval: 0,
            is_jfif: false,
            adobe: None,
            exif: None,
            scans: 0,
            wish,
            simd,
            planned: None,
        }
    }

    /// The next marker, skipping fill bytes and a few stray ones.
    fn marker(&mut self) -> Result<u8, JpegError> {
        self.skip_slack()?;
        loop {
            self.pos += 1;
            match *self.data.get(self.pos).ok_or(CUT)? {
                0xFF => {}
                marker => {
                    self.pos += 1;
                    return Ok(marker);
                }
            }
        }
    }

    /// Goes on to the next marker, which must not be far.
    fn skip_slack(&mut self) -> Result<(), JpegError> {
        let rest = self.data.get(self.pos..).unwrap_or(&[]);
        for (skipped, pair) in rest.windows(2).enumerate() {
            if let [0xFF, next] = pair
                && *next != 0
            {
                self.pos += skipped;
                return Ok(());
            }
            if skipped >= MAX_SLACK {
                return Err(JpegError::Damaged("bytes that belong to no segment and no block"));
            }
        }
        Err(CUT)
    }

    /// The payload of the segment that starts here.
    fn segment(&mut self) -> Result<&'a [u8], JpegError> {
        let rest = self.data.get(self.pos..).ok_or(CUT)?;
        let length = usize::from(u16::from_be_bytes(*rest.first_chunk::<2>().ok_or(CUT)?));
        if length < 2 {
            return Err(JpegError::Damaged("a segment shorter than its own length field"));
        }
        let payload = rest.get(2..length).ok_or(CUT)?;
        self.pos += length;
        Ok(payload)
    }

    /// Reads up to and with the frame header.
    fn frame_header(&mut self) -> Result<Frame, JpegError> {
        loop {
            match self.marker()? {
                marker @ 0xC0..=0xC2 => return parse_frame(marker, self.segment()?),
                0xC3 => return Err(JpegError::Unsupported("lossless coding")),
                0xC5..=0xC7 => return Err(JpegError::Unsupported("hierarchical coding")),
                0xC9..=0xCB | 0xCD..=0xCF => return Err(JpegError::Unsupported("arithmetic coding")),
                marker => self.other(marker)?,
            }
        }
    }

    /// Reads all scans, up to and with the end-of-image marker.
    fn scans(&mut self, frame: &mut Frame) -> Result<(), JpegError> {
        loop {
            match self.marker()? {
                0xDA => {
                    self.scans += 1;
                    if self.scans > MAX_SCANS {
                        return Err(JpegError::Damaged("too many scans"));
                    }
                    let header = self.segment()?;
                    if self.planned.is_none() {
                        self.plan(frame);
                    }
                    self.scan(frame, header)?;
                }
                0xD9 => break,
                0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF => {
                    return Err(JpegError::Damaged("a second frame header"));
                }
                marker => self.other(marker)?,
            }
        }
        if frame.components.iter().any(|component| component.pending[0] < 0) {
            return Err(JpegError::Damaged("a component without a scan"));
        }
        Ok(())
    }

    fn orientation(&self) -> Orientation {
        self.exif.map_or(Orientation::Upright, Orientation::from_exif)
    }

    /// Asks what is wanted of the picture.
    fn plan(&mut self, frame: &mut Frame) {
        let orientation = self.orientation();
        let (width, height) = (frame.width as u32, frame.height as u32);
        let (upright_width, upright_height) = orientation.sides(width, height);
        let part = (self.wish.part)(upright_width, upright_height);
        let part = part.map(|part| orientation.stored(part, width, height));
        let plan = part.map(|part| plan(frame, part, self.wish.target_px));
        self.planned = Some((orientation, plan));
    }

    /// Any segment that may stand before or between scans.
    fn other(&mut self, marker: u8) -> Result<(), JpegError> {
        match marker {
            0xDB => parse_quant(self.segment()?, &mut self.quant),
            0xC4 => parse_huffman(self.segment()?, &mut self.dc, &mut self.ac),
            0xDD => {
                let payload = self.segment()?.first_chunk::<2>();
                let interval = payload.ok_or(JpegError::Damaged("a short restart interval segment"))?;
                self.restart_interval = usize::from(u16::from_be_bytes(*interval));
                Ok(())
            }
            0xE0 => {
                self.is_jfif |= self.segment()?.starts_with(b"JFIF\0");
                Ok(())
            }
            0xE1 => {
                if let Some(exif) = self.segment()?.strip_prefix(b"Exif\0\0") {
                    self.exif.get_or_insert(exif);
                }
                Ok(())
            }
            0xEE => {
                if let Some(rest) = self.segment()?.strip_prefix(b"Adobe") {
                    self.adobe = rest.get(6).map(|&transform| Adobe { transform });
                }
                Ok(())
            }
            // Other APPn, comments, and the tables of codings that were refused before.
            0xE2..=0xEF | 0xFE | 0xCC | 0xDC | 0xDE | 0xDF | 0xF0..=0xFD => self.segment().map(drop),
            // A marker that stands alone; encoders leave a restart marker at the end of a scan.
            0xD0..=0xD7 | 0x01 => Ok(()),
            0xD8 => Err(JpegError::Damaged("a second picture starts inside the first")),
            0xD9 => Err(JpegError::Damaged("end of image before any pixel")),
            0xDA => Err(JpegError::Damaged("a scan before the frame header")),
            _ => Err(JpegError::Damaged("a marker that does not exist")),
        }
    }

    /// What the components mean. The rules of the IJG library: JFIF is YCbCr, else the Adobe segment says,
    /// else the component ids do.
    fn colours(&self, frame: &Frame) -> colour::Colours {
        use colour::Colours;
        let transform = self.adobe.map(|adobe| adobe.transform);
        match frame.components.as_slice() {
            [_] => Colours::Grey,
            [r, g, b] => match transform {
                _ if self.is_jfif => Colours::YCbCr,
                Some(0) => Colours::Rgb,
                Some(_) => Colours::YCbCr,
                None if [r.id, g.id, b.id] == *b"RGB" => Colours::Rgb,
                None => Colours::YCbCr,
            },
            // Everyone stores inks inverted as Adobe does, and readers take it so even without its segment.
            _ => match transform {
                None | Some(0) => Colours::Cmyk,
                Some(_) => Colours::Ycck,
            },
        }
    }
}

/// T.81, B.2.2.
fn parse_frame(marker: u8, payload: &[u8]) -> Result<Frame, JpegError> {
    const SHORT: JpegError = JpegError::Damaged("a short frame header");
    let [precision, y1, y0, x1, x0, count] = *payload.first_chunk::<6>().ok_or(SHORT)?;
    let height = usize::from(u16::from_be_bytes([y1, y0]));
    let width = usize::from(u16::from_be_bytes([x1, x0]));
    if precision != 8 {
        return Err(JpegError::Unsupported("samples of other than 8 bits"));
    }
    if height == 0 {
        return Err(JpegError::Unsupported("a height that is not in the header"));
    }
    if width == 0 {
        return Err(JpegError::Damaged("a width of zero"));
    }
    if !matches!(count, 1 | 3 | 4) {
        return Err(JpegError::Unsupported("other than 1, 3 or 4 components"));
    }
    let fields = payload.get(6..6 + 3 * usize::from(count)).ok_or(SHORT)?;
    let mut components = Vec::with_capacity(4);
    for &[id, sampling, table] in fields.as_chunks::<3>().0 {
        let (h, v) = (usize::from(sampling >> 4), usize::from(sampling & 15));
        if !(1..=4).contains(&h) || !(1..=4).contains(&v) || table > 3 {
            return Err(JpegError::Damaged("bad component parameters"));
        }
        components.push(Component {
            id,
            h,
            v,
            table: usize::from(table),
            size: 8,
            width: 0,
            height: 0,
            blocks_x: 0,
            blocks_y: 0,
            stride: 0,
            rows: 0,
            kept: Kept::default(),
            plane: Vec::new(),
            coefficients: Vec::new(),
            quant: None,
            pending: [-1; 64],
        });
    }
    let h_max = components.iter().map(|component| component.h).max().unwrap_or(1);
    let v_max = components.iter().map(|component| component.v).max().unwrap_or(1);
    let (mcus_x, mcus_y) = (width.div_ceil(8 * h_max), height.div_ceil(8 * v_max));
    for component in &mut components {
        if h_max % component.h != 0 || v_max % component.v != 0 {
            return Err(JpegError::Unsupported("components sampled in fractions of each other"));
        }
        component.width = (width * component.h).div_ceil(h_max);
        component.height = (height * component.v).div_ceil(v_max);
        component.blocks_x = component.width.div_ceil(8);
        component.blocks_y = component.height.div_ceil(8);
        component.stride = mcus_x * component.h;
        component.rows = mcus_y * component.v;
    }
    Ok(Frame { width, height, progressive: marker == 0xC2, h_max, v_max, mcus_x, mcus_y, components })
}

/// T.81, B.2.4.1.
fn parse_quant(mut payload: &[u8], tables: &mut [Option<[u16; 64]>; 4]) -> Result<(), JpegError> {
    const BAD: JpegError = JpegError::Damaged("bad quantisation table");
    while let Some((&kind, rest)) = payload.split_first() {
        let wide = match kind >> 4 {
            0 => false,
            1 => true,
            _ => return Err(BAD),
        };
        let slot = tables.get_mut(usize::from(kind & 15)).ok_or(BAD)?;
        let (values, rest) = rest.split_at_checked(if wide { 128 } else { 64 }).ok_or(BAD)?;
        let mut table = [0u16; 64];
        if wide {
            for (entry, pair) in table.iter_mut().zip(values.as_chunks::<2>().0) {
                *entry = u16::from_be_bytes(*pair);
            }
        } else {
            for (entry, &value) in table.iter_mut().zip(values) {
                *entry = u16::from(value);
            }
        }
        *slot = Some(table);
        payload = rest;
    }
    Ok(())
}

/// T.81, B.2.4.2.
fn parse_huffman(
    mut payload: &[u8],
    dc: &mut [Option<TableSpec>; 4],
    ac: &mut [Option<TableSpec>; 4],
) -> Result<(), JpegError> {
    const BAD: JpegError = JpegError::Damaged("bad Huffman table");
    while let Some((&kind, rest)) = payload.split_first() {
        let (counts, rest) = rest.split_first_chunk::<16>().ok_or(BAD)?;
        let total: usize = counts.iter().map(|&count| usize::from(count)).sum();
        let (values, rest) = rest.split_at_checked(total).ok_or(BAD)?;
        if total > 256 {
            return Err(BAD);
        }
        let class = match kind >> 4 {
            0 => &mut *dc,
            1 => &mut *ac,
            _ => return Err(BAD),
        };
        let slot = class.get_mut(usize::from(kind & 15)).ok_or(BAD)?;
        *slot = Some(TableSpec { counts: *counts, values: values.to_vec() });
        payload = rest;
    }
    Ok(())
}

/// The table of a scan component, built.
fn build(specs: &[Option<TableSpec>; 4], index: u8, kind: Kind) -> Result<Table, JpegError> {
    let spec = specs.get(usize::from(index)).and_then(Option::as_ref);
    Table::new(spec.ok_or(JpegError::Damaged("a scan without its Huffman table"))?, kind)
}
