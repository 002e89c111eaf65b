//! EXIF orientation: found in a picture's metadata, applied to its pixels.

use super::Pixels;
use super::part::Part;

/// What must be done to stored pixels to see the picture upright. The values of EXIF tag 0x0112.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Orientation {
    /// 1, and whatever is broken or unknown.
    #[default]
    Upright,
    /// 2
    MirrorX,
    /// 3
    Turn180,
    /// 4
    MirrorY,
    /// 5: rows become columns
    Transpose,
    /// 6
    TurnRight,
    /// 7: rows become columns, both reversed
    Transverse,
    /// 8
    TurnLeft,
}

impl Orientation {
    /// Reads the orientation from a TIFF structure, as it stands in a JPEG's APP1 segment (after `Exif\0\0`)
    /// or in a PNG's eXIf chunk. Anything that is not as it must be means upright.
    pub(super) fn from_exif(tiff: &[u8]) -> Self {
        Self::find(tiff).unwrap_or_default()
    }

    fn find(tiff: &[u8]) -> Option<Self> {
        let big_endian = match tiff.first_chunk::<4>()? {
            b"II*\0" => false,
            b"MM\0*" => true,
            _ => return None,
        };
        let short = |at: usize| {
            let bytes = *tiff.get(at..)?.first_chunk::<2>()?;
            Some(if big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
        };
        let long = |at: usize| {
            let bytes = *tiff.get(at..)?.first_chunk::<4>()?;
            Some(if big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
        };
        let directory = usize::try_from(long(4)?).ok()?;
        let entries = directory.checked_add(2)?;
        for index in 0..usize::from(short(directory)?) {
            let entry = entries.checked_add(index.checked_mul(12)?)?;
            if short(entry)? == 0x0112 {
                let (kind, count) = (short(entry.checked_add(2)?)?, long(entry.checked_add(4)?)?);
                // A SHORT, once.
                return if (kind, count) == (3, 1) {
                    Self::from_value(short(entry.checked_add(8)?)?)
                } else {
                    None
                };
            }
        }
        None
    }

    fn from_value(value: u16) -> Option<Self> {
        Some(match value {
            1 => Self::Upright,
            2 => Self::MirrorX,
            3 => Self::Turn180,
            4 => Self::MirrorY,
            5 => Self::Transpose,
            6 => Self::TurnRight,
            7 => Self::Transverse,
            8 => Self::TurnLeft,
            _ => return None,
        })
    }

    /// Where the upright pixel (x, y) is stored: whether rows and columns change places, and then whether columns
    /// and rows are reversed.
    fn moves(self) -> (bool, bool, bool) {
        match self {
            Self::Upright => (false, false, false),
            Self::MirrorX => (false, true, false),
            Self::Turn180 => (false, true, true),
            Self::MirrorY => (false, false, true),
            Self::Transpose => (true, false, false),
            Self::TurnRight => (true, false, true),
            Self::Transverse => (true, true, true),
            Self::TurnLeft => (true, true, false),
        }
    }

    /// The upright sides of a picture stored as `width` x `height`; the other way round it is the same.
    pub(super) fn sides(self, width: u32, height: u32) -> (u32, u32) {
        if self.moves().0 { (height, width) } else { (width, height) }
    }

    /// Where a part of an upright picture lies in the stored one, whose sides are given.
    pub(super) fn stored(self, part: Part, width: u32, height: u32) -> Part {
        let (swap, reverse_x, reverse_y) = self.moves();
        let mut part = if swap {
            Part { left: part.top, top: part.left, width: part.height, height: part.width }
        } else {
            part
        };
        if reverse_x {
            part.left = width.saturating_sub(part.left + part.width);
        }
        if reverse_y {
            part.top = height.saturating_sub(part.top + part.height);
        }
        part
    }

    /// Turns stored pixels into upright ones.
    pub(super) fn apply(self, pixels: Pixels) -> Pixels {
        if self == Self::Upright {
            return pixels;
        }
        let (width, height) = (pixels.width() as usize, pixels.height() as usize);
        let (swap, reverse_x, reverse_y) = self.moves();
        let (out_width, out_height) = if swap { (height, width) } else { (width, height) };
        let stored = pixels.as_rgb8().as_chunks::<3>().0;
        let mut rgb = vec![0u8; pixels.as_rgb8().len()];
        for (y, row) in rgb.chunks_exact_mut(out_width * 3).enumerate() {
            for (x, pixel) in row.as_chunks_mut::<3>().0.iter_mut().enumerate() {
                let (column, line) = if swap { (y, x) } else { (x, y) };
                let column = if reverse_x { width - 1 - column } else { column };
                let line = if reverse_y { height - 1 - line } else { line };
                if let Some(stored) = stored.get(line * width + column) {
                    *pixel = *stored;
                }
            }
        }
        Pixels::from_rgb8(out_width as u32, out_height as u32, rgb).unwrap_or(pixels)
    }
}
