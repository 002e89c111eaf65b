//! What is fuzzed: each target takes any bytes, and must neither panic nor take long.

use lookalike::{Error, Pixels, Region, SizeLimits, fuzzing};

pub use crate::operations::operations;

/// A target.
pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]),
    /// Longest input.
    pub max_len: usize,
    /// Words that inputs are made of.
    pub words: &'static [&'static [u8]],
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target { name: "jpeg", run: jpeg, max_len: 1 << 16, words: JPEG },
    Target { name: "png", run: png, max_len: 1 << 16, words: PNG },
    Target { name: "bmp", run: bmp, max_len: 1 << 16, words: BMP },
    Target { name: "region", run: region, max_len: 4096, words: NUMBERS },
    Target { name: "tags", run: tags, max_len: 4096, words: &[b"color", b"kind", b"red", b"\0"] },
    Target { name: "frame", run: frame, max_len: 1 << 14, words: NUMBERS },
    Target { name: "log", run: log, max_len: 1 << 14, words: LOG },
    Target { name: "manifest", run: manifest, max_len: 1 << 14, words: NUMBERS },
    Target { name: "segment", run: segment, max_len: 1 << 16, words: NUMBERS },
    Target { name: "operations", run: operations, max_len: 4096, words: &[] },
    Target { name: "request", run: request, max_len: 1 << 16, words: JSON },
];

const JPEG: &[&[u8]] = &[
    &[0xff, 0xd8],
    &[0xff, 0xd9],
    &[0xff, 0xc0],
    &[0xff, 0xc2],
    &[0xff, 0xc4],
    &[0xff, 0xda],
    &[0xff, 0xdb],
    &[0xff, 0xdd, 0, 4],
    &[0xff, 0xd0],
    &[0xff, 0xee, 0, 14],
    b"Adobe",
    b"Exif\0\0II*\0",
    &[0xff, 0],
];
const PNG: &[&[u8]] = &[
    b"\x89PNG\r\n\x1a\n",
    b"IHDR",
    b"IDAT",
    b"IEND",
    b"PLTE",
    b"tRNS",
    b"eXIf",
    b"acTL",
    b"fcTL",
    b"fdAT",
    b"iCCP",
];
const BMP: &[&[u8]] =
    &[b"BM", &[40, 0, 0, 0], &[124, 0, 0, 0], &[12, 0, 0, 0], &[3, 0, 0, 0], &[0, 0], &[0, 1], &[0, 2]];
const LOG: &[&[u8]] = &[b"LOOKLOG\0", b"LKFR", &[1], &[2], &[0xff; 8], &[0; 8], &[1, 0, 0, 0]];
const NUMBERS: &[&[u8]] = &[
    &[0xff; 8],
    &[0; 8],
    &[0xff; 4],
    &[0; 4],
    &[0xff, 0xff, 0xff, 0x7f],
    &[0, 0, 0, 0x80],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
    &[0, 16, 0, 0],
];
const JSON: &[&[u8]] = &[
    b"{\"",
    b"\":",
    b"[",
    b"]",
    b"}",
    b",",
    b"null",
    b"true",
    b"-1",
    b"1e999",
    b"\"\\u0000\"",
    b"\"\\ud800\"",
    b"limit",
    b"offset",
    b"tags",
    b"path",
    b"file",
    b"box",
    b"is_crop",
    b"18446744073709551616",
    b"aGk=",
];

const LIMITS: SizeLimits = SizeLimits { min_side_px: 1, max_side_px: 600, max_encoded_bytes: 1 << 20 };

/// Decodes a picture whole, shrunk and in part: the sides agree, and so does whether it is sound.
fn picture(bytes: &[u8], magic: &[u8]) {
    let mut own;
    let bytes = if bytes.starts_with(magic) {
        bytes
    } else {
        own = magic.to_vec();
        own.extend_from_slice(bytes);
        &own
    };
    let whole = match Pixels::decode(bytes, &LIMITS) {
        Ok(pixels) => pixels,
        Err(error) => return coded(&error),
    };
    let (width, height) = (whole.width(), whole.height());
    assert!(width <= LIMITS.max_side_px && height <= LIMITS.max_side_px);
    assert_eq!(fuzzing::picture(bytes, None, None), Some((width, height)));
    assert!(fuzzing::picture(bytes, None, Some(64)).is_some());
    let region = Region::new(0, 0, i64::from(width.div_ceil(2)), i64::from(height.div_ceil(2)));
    assert!(fuzzing::picture(bytes, Some(&region), Some(32)).is_some());
    assert!(fuzzing::picture(bytes, Some(&Region::from_origin(i64::from(width), 0)), None).is_none());
}

fn coded(error: &Error) {
    assert!(error.code().as_str().starts_with("IS."), "{error}");
}

pub fn jpeg(bytes: &[u8]) {
    picture(bytes, &[0xff, 0xd8, 0xff]);
}

pub fn png(bytes: &[u8]) {
    picture(bytes, b"\x89PNG\r\n\x1a\n");
}

pub fn bmp(bytes: &[u8]) {
    picture(bytes, b"BM");
}

/// A box of any numbers in a picture of any sides, through the resampling and the model.
pub fn region(bytes: &[u8]) {
    let mut numbers = bytes.chunks(8).map(|chunk| {
        let mut number = [0; 8];
        number[..chunk.len()].copy_from_slice(chunk);
        i64::from_le_bytes(number)
    });
    let mut number = || numbers.next().unwrap_or_default();
    let sides = number();
    let (width, height) = (1 + (sides & 0xff) as u32, 1 + (sides >> 8 & 0xff) as u32);
    let small = sides & 1 << 16 != 0;
    let mut side = |limit: u32| if small { number().rem_euclid(i64::from(limit) + 2) } else { number() };
    let (x, y, w, h) = (side(width), side(height), side(width), side(height));
    let region = match sides >> 20 & 3 {
        0 => Region::new(x, y, w, h),
        1 => Region::from_origin(x, y),
        2 => Region::from_origin(x, y).with_width(w),
        _ => Region::from_origin(x, y).with_height(h),
    };
    let pixels = Pixels::from_rgb8(width, height, vec![(sides >> 24) as u8; (width * height * 3) as usize]);
    let pixels = pixels.expect("as many bytes as pixels");
    let fits = |start: i64, length: Option<i64>, limit: u32| {
        let end = start.checked_add(length.unwrap_or(i64::from(limit) - start.clamp(0, i64::from(limit))));
        start >= 0
            && length.is_none_or(|l| l > 0)
            && start < i64::from(limit)
            && end.is_some_and(|e| e <= i64::from(limit))
    };
    let want = fits(x, region.width(), width) && fits(y, region.height(), height);
    let got = fuzzing::region(&pixels, &region);
    assert_eq!(got.is_some(), want, "{region} in {width} x {height}");
    if let Some((w, h)) = got {
        assert!(w >= 1 && h >= 1 && w <= width && h <= height);
    }
}

/// Tags and filters on an instance of a few images, against a plain comparison.
pub fn tags(bytes: &[u8]) {
    crate::operations::tags(bytes);
}

pub fn frame(bytes: &[u8]) {
    fuzzing::frame(bytes);
}

pub fn log(bytes: &[u8]) {
    fuzzing::log(bytes);
}

pub fn manifest(bytes: &[u8]) {
    fuzzing::manifest(bytes);
}

pub fn segment(bytes: &[u8]) {
    fuzzing::segment(bytes);
}

/// The JSON facade: whatever is asked, a reply or a code.
pub fn request(bytes: &[u8]) {
    crate::requests::request(bytes);
}
