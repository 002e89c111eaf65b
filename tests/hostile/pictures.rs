//! Hostile pictures: bombs, lies, cuts, floods.

use std::path::Path;

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use lookalike::{Code, Pixels, SizeLimits};

use super::{measured, timed};

/// What is to become of a picture.
enum Fate {
    /// Its header says enough.
    Header(Code),
    /// Refused, or not, in bounds: as long as reading all of it takes.
    Bounded,
    /// A picture of the largest size.
    Accepted,
    /// The same at its worst: some more time and memory.
    Worst,
}
use Fate::{Accepted, Bounded, Header, Worst};

type Picture = (String, Vec<u8>, Fate);

/// Peak beyond the input, in bytes.
const MOST: usize = 48 << 20;

pub fn hostile_pictures() {
    let all: Vec<Picture> =
        [headers(), foreign(), cuts(), lies(), floods(), large()].into_iter().flatten().collect();
    let (mut wrong, mut slowest, mut largest, mut slowest_header) = (Vec::new(), 0.0f64, 0, 0.0f64);
    for (name, bytes, fate) in &all {
        let (result, took, peak) = measured(|| Pixels::decode(bytes, &SizeLimits::default()).map(drop));
        let ms = took.as_secs_f64() * 1e3;
        let said = match &result {
            Ok(()) => "accepted".to_owned(),
            Err(error) => error.code().to_string(),
        };
        println!("{name:<40} {:>9} bytes  {said:<9} {ms:>8.2} ms {:>9} KiB", bytes.len(), peak >> 10);
        let sound = match fate {
            Header(code) => {
                slowest_header = slowest_header.max(ms);
                result.as_ref().is_err_and(|e| e.code() == *code) && timed(took, 5) && peak <= 1 << 20
            }
            Bounded => timed(took, 200) && peak <= MOST,
            Accepted => result.is_ok() && timed(took, 200) && peak <= MOST,
            Worst => result.is_ok() && timed(took, 500) && peak <= MOST + bytes.len(),
        };
        if !matches!(fate, Header(_)) {
            (slowest, largest) = (slowest.max(ms), largest.max(peak));
        }
        if !sound {
            wrong.push(format!("{name}: {said}, {ms:.1} ms, {} KiB", peak >> 10));
        }
    }
    println!(
        "{} pictures; from the header: slowest {slowest_header:.2} ms; others: slowest {slowest:.0} ms, most memory {:.1} MiB",
        all.len(),
        largest as f64 / f64::from(1 << 20)
    );
    assert!(all.len() >= 60, "{}", all.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn noise(len: usize) -> Vec<u8> {
    let mut z = 1u64;
    let mut next = || {
        z = z.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (z >> 56) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// Something like a photograph: smooth, with some noise.
fn scene(side: usize) -> Vec<u8> {
    let noise = noise(side * side * 3);
    let value = |(i, noise): (usize, &u8)| {
        let (x, y, c) = (i / 3 % side, i / 3 / side, i % 3);
        ((x / (3 + c) + y / 5 + (x * y / 4000)) % 220) as u8 + noise / 10
    };
    noise.iter().enumerate().map(value).collect()
}

fn jpeg(side: u16, rgb: &[u8], quality: u8, progressive: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = Encoder::new(&mut out, quality);
    encoder.set_progressive(progressive);
    encoder.set_sampling_factor(if quality > 95 { SamplingFactor::F_1_1 } else { SamplingFactor::F_2_2 });
    encoder.encode(rgb, side, side, ColorType::Rgb).expect("encoded");
    out
}

fn png(side: u32, bytes: &[u8], color: ExtendedColorType) -> Vec<u8> {
    let mut out = Vec::new();
    PngEncoder::new(&mut out).write_image(bytes, side, side, color).expect("encoded");
    out
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let body = [&kind[..], data].concat();
    [&(data.len() as u32).to_be_bytes()[..], &body, &crc(&body).to_be_bytes()].concat()
}

fn png_of(width: u32, height: u32, depth: u8, color: u8, rest: &[Vec<u8>]) -> Vec<u8> {
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[depth, color, 0, 0, 0]].concat();
    let mut out = [&b"\x89PNG\r\n\x1a\n"[..], &chunk(b"IHDR", &header)].concat();
    rest.iter().for_each(|chunk| out.extend_from_slice(chunk));
    out.extend_from_slice(&chunk(b"IEND", &[]));
    out
}

/// A zlib stream of zeros, about a thousandth as long.
fn zeros(len: usize) -> Vec<u8> {
    // A PNG of zeros in one row, of which only the compressed data is of use here.
    let side = (len as f64).sqrt() as u32;
    let whole = png(side, &vec![0; (side * side) as usize], ExtendedColorType::L8);
    let mut out = Vec::new();
    let mut at = 8;
    while at + 12 <= whole.len() {
        let len = u32::from_be_bytes(whole[at..at + 4].try_into().expect("four bytes")) as usize;
        if &whole[at + 4..at + 8] == b"IDAT" {
            out.extend_from_slice(&whole[at + 8..at + 8 + len]);
        }
        at += 12 + len;
    }
    out
}

fn bmp_header(width: i32, height: i32, bits: u16, compression: u32) -> Vec<u8> {
    let mut out = b"BM".to_vec();
    for field in [1078u32, 0, 1078, 40] {
        out.extend_from_slice(&field.to_le_bytes());
    }
    out.extend_from_slice(&width.to_le_bytes());
    out.extend_from_slice(&height.to_le_bytes());
    out.extend_from_slice(&[1, 0]);
    out.extend_from_slice(&bits.to_le_bytes());
    for field in [compression, 0, 2835, 2835, 0, 0] {
        out.extend_from_slice(&field.to_le_bytes());
    }
    if bits <= 8 {
        (0..256u32).for_each(|i| out.extend_from_slice(&[i as u8, i as u8, i as u8, 0]));
    }
    out
}

/// A JPEG that says it has other sides than it has.
fn jpeg_of(width: u16, height: u16) -> Vec<u8> {
    let mut file = jpeg(128, &scene(128), 60, false);
    let at = file.windows(2).position(|w| w == [0xff, 0xc0]).expect("a frame header");
    file[at + 5..at + 7].copy_from_slice(&height.to_be_bytes());
    file[at + 7..at + 9].copy_from_slice(&width.to_be_bytes());
    file
}

fn headers() -> Vec<Picture> {
    let (large, small) = (Code::PictureTooLarge, Code::PictureTooSmall);
    let mut all: Vec<Picture> = Vec::new();
    let data = [chunk(b"IDAT", &zeros(400 * 400))];
    for (width, height, depth, color, code) in [
        (2049, 100, 8, 0, large),
        (100, 2049, 8, 2, large),
        (20_000, 20_000, 8, 0, large),
        (8_000, 8_000, 16, 6, large),
        (i32::MAX as u32, i32::MAX as u32, 16, 6, large),
        (99, 2048, 8, 2, small),
        (1, 1, 1, 0, small),
    ] {
        let name = format!("png {width} x {height}, {depth} bits");
        all.push((name, png_of(width, height, depth, color, &data), Header(code)));
    }
    for (width, height, code) in [
        (2049, 128, large),
        (128, 2049, large),
        (12_000, 12_000, large),
        (65_535, 65_535, large),
        (99, 128, small),
        (1, 1, small),
    ] {
        all.push((format!("jpeg {width} x {height}"), jpeg_of(width, height), Header(code)));
    }
    for (width, height, bits, compression, code) in [
        (2049, 128, 24, 0, large),
        (128, -2049, 24, 0, large),
        (20_000, 20_000, 32, 0, large),
        (i32::MAX, i32::MAX, 1, 0, Code::PictureDamaged),
        (65_535, 65_535, 8, 1, large),
        (99, 99, 24, 0, small),
    ] {
        let name = format!("bmp {width} x {height}, {bits} bits");
        all.push((name, bmp_header(width, height, bits, compression), Header(code)));
    }
    for (name, bytes) in [
        ("png 0 x 0", png_of(0, 0, 8, 0, &data)),
        ("png 200 x 0", png_of(200, 0, 8, 0, &data)),
        ("jpeg 0 x 128", jpeg_of(0, 128)),
        ("jpeg 128 x 0", jpeg_of(128, 0)),
        ("bmp 0 x 0", bmp_header(0, 0, 24, 0)),
        ("bmp -200 x 200", bmp_header(-200, 200, 24, 0)),
        ("bmp of the least height", bmp_header(200, i32::MIN, 24, 0)),
    ] {
        all.push((name.to_owned(), bytes, Bounded));
    }
    let limit = lookalike::limits::MAX_ENCODED_BYTES;
    let mut long = jpeg_of(128, 128);
    long.resize(limit + 1, 0);
    all.push(("jpeg longer than a file may be".to_owned(), long, Header(large)));
    all
}

fn foreign() -> Vec<Picture> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pictures");
    let mut all: Vec<Picture> = Vec::new();
    for kind in ["gif", "ico", "ppm", "tga", "tiff", "webp"] {
        let bytes = std::fs::read(fixtures.join(format!("other.{kind}"))).expect("a fixture");
        all.push((format!("{kind}, whatever its name"), bytes, Header(Code::FormatUnsupported)));
    }
    let junk: [(&str, Vec<u8>); 6] = [
        ("10 MB of noise", noise(10 << 20)),
        ("10 MB of zeros", vec![0; 10 << 20]),
        ("one byte", vec![0xff]),
        ("a web page", b"<!DOCTYPE html><html></html>".to_vec()),
        ("an archive", [&b"PK\x03\x04"[..], &noise(5000)].concat()),
        ("a picture that begins late", [&[0; 7][..], &jpeg_of(128, 128)].concat()),
    ];
    all.extend(junk.map(|(name, bytes)| (name.to_owned(), bytes, Header(Code::FormatUnsupported))));
    all
}

fn cuts() -> Vec<Picture> {
    let scene = scene(256);
    let files = [
        ("jpeg", jpeg(256, &scene, 80, false)),
        ("progressive jpeg", jpeg(256, &scene, 80, true)),
        ("png", png(256, &scene, ExtendedColorType::Rgb8)),
        ("bmp", [bmp_header(256, 256, 24, 0), vec![0; 1024], scene.clone()].concat()),
    ];
    let mut all: Vec<Picture> = Vec::new();
    for (name, file) in &files {
        for percent in [1, 10, 50, 90, 99] {
            let cut = file[..file.len() * percent / 100].to_vec();
            all.push((format!("{name} cut at {percent} %"), cut, Bounded));
        }
    }
    all
}

/// Files that say one thing and do another.
fn lies() -> Vec<Picture> {
    let whole = png(128, &scene(128), ExtendedColorType::Rgb8);
    let mut all: Vec<(&str, Vec<u8>)> = Vec::new();
    for (name, at) in [("png, checksum of its header", 30), ("png, checksum of its data", whole.len() - 20)] {
        let mut file = whole.clone();
        file[at] ^= 0x55;
        all.push((name, file));
    }
    all.push(("png of 2048 x 2048 without data", png_of(2048, 2048, 16, 6, &[])));
    all.push((
        "png of 2048 x 2048 with little data",
        png_of(2048, 2048, 16, 6, &[chunk(b"IDAT", &zeros(9000))]),
    ));
    all.push((
        "png with 64 MB where 40 KB belong",
        png_of(200, 200, 8, 0, &[chunk(b"IDAT", &zeros(64 << 20))]),
    ));
    all.push(("png, a chunk of 4 GB", {
        let mut file = whole.clone();
        file[33..37].copy_from_slice(&u32::MAX.to_be_bytes());
        file
    }));
    all.push(("png without a palette", png_of(200, 200, 8, 3, &[chunk(b"IDAT", &zeros(201 * 201))])));
    all.push(("jpeg of 2048 x 2048 with data for 128", jpeg_of(2048, 2048)));
    let file = jpeg_of(128, 128);
    let huffman = file.windows(2).position(|w| w == [0xff, 0xc4]).expect("a table");
    for (name, at, value) in [
        ("jpeg, a code of too many words", huffman + 5, 255u8),
        ("jpeg, a table of no kind", huffman + 4, 0x77),
        ("jpeg, a segment of no length", huffman + 3, 0),
    ] {
        let mut file = file.clone();
        file[at] = value;
        all.push((name, file));
    }
    all.push(("jpeg without an end", file[..file.len() - 2].to_vec()));
    all.push(("jpeg, nothing but starts", [0xff, 0xd8].repeat(100_000)));
    all.push(("bmp, pixels begin beyond its end", {
        let mut file = bmp_header(200, 200, 24, 0);
        file[10..14].copy_from_slice(&u32::MAX.to_le_bytes());
        file
    }));
    all.push(("bmp, runs that never end", [bmp_header(2048, 2048, 8, 1), [0, 0].repeat(1 << 20)].concat()));
    all.push((
        "bmp, jumps out of the picture",
        [bmp_header(2048, 2048, 8, 1), [0, 2, 255, 255].repeat(1 << 18)].concat(),
    ));
    all.into_iter().map(|(name, bytes)| (name.to_owned(), bytes, Bounded)).collect()
}

/// Many small things.
fn floods() -> Vec<Picture> {
    let mut all: Vec<(&str, Vec<u8>)> = Vec::new();
    let data = chunk(b"IDAT", &zeros(301 * 301));
    let text = vec![chunk(b"tEXt", b"k\0v"); 100_000];
    all.push(("png, 100,000 texts", png_of(300, 300, 8, 0, &[text, vec![data.clone()]].concat())));
    let empty = vec![chunk(b"IDAT", &[]); 100_000];
    all.push((
        "png, 100,000 empty pieces of data",
        png_of(300, 300, 8, 0, &[empty, vec![data.clone()]].concat()),
    ));
    let packed = [&b"k\0\0"[..], &zeros(64 << 20)].concat();
    for (name, kind) in [("png, 64 MB of packed text", b"zTXt"), ("png, 64 MB of colour profile", b"iCCP")] {
        all.push((name, png_of(300, 300, 8, 0, &[chunk(kind, &packed), data.clone()])));
    }
    let base = jpeg_of(128, 128);
    let with = |segment: &[u8], times: usize| [&base[..2], &segment.repeat(times), &base[2..]].concat();
    all.push(("jpeg, 100,000 comments", with(&[0xff, 0xfe, 0, 4, 1, 2], 100_000)));
    all.push((
        "jpeg, 150 segments of 64 KB",
        with(&[&[0xff, 0xe2, 0xff, 0xff][..], &noise(65_533)].concat(), 150),
    ));
    let exif = [
        &[0xff, 0xe1, 0, 38][..],
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\xff\xff\xff\xff\x06\0\0\0\x08\0\0\0\0\0\0\0",
    ]
    .concat();
    all.push(("jpeg, 10,000 Exif blocks that loop", with(&exif, 10_000)));
    let scans = jpeg(2048, &scene(2048), 30, true);
    let last = scans.windows(2).rposition(|w| w == [0xff, 0xda]).expect("a scan");
    let end = scans.len() - 2;
    let many =
        [&scans[..end], &scans[last..end].repeat(1000 / (1 + (end - last) / 20_000)), &scans[end..]].concat();
    all.push(("jpeg, a scan of all pixels over and over", many));
    let empty_scans =
        [&scans[..end], &[&scans[last..last + 10], &[0; 6][..]].concat().repeat(10_000), &scans[end..]]
            .concat();
    all.push(("jpeg, 10,000 scans of nothing", empty_scans));
    let small = jpeg(256, &scene(256), 50, true);
    let last = small.windows(2).rposition(|w| w == [0xff, 0xda]).expect("a scan");
    let end = small.len() - 2;
    all.push((
        "jpeg, its last scan 5,000 times",
        [&small[..end], &small[last..end].repeat(5000), &small[end..]].concat(),
    ));
    all.into_iter().map(|(name, bytes)| (name.to_owned(), bytes, Bounded)).collect()
}

/// Pictures that are fine, and as large as they may be.
fn large() -> Vec<Picture> {
    let scene = scene(2048);
    let noise = noise(2048 * 2048 * 8);
    let rgb = &noise[..2048 * 2048 * 3];
    let bmp = |bits: u16, pixels: &[u8]| {
        let mut file = bmp_header(2048, 2048, bits, 0);
        file.resize(1078, 0);
        file.extend_from_slice(pixels);
        file
    };
    [
        ("jpeg 2048 x 2048", jpeg(2048, &scene, 85, false)),
        ("jpeg 2048 x 2048, progressive", jpeg(2048, &scene, 85, true)),
        ("jpeg 2048 x 2048, colours at full size", jpeg(2048, &scene, 96, false)),
        ("png 2048 x 2048", png(2048, &scene, ExtendedColorType::Rgb8)),
        ("png 2048 x 2048, noise", png(2048, rgb, ExtendedColorType::Rgb8)),
        ("png 2048 x 2048, 16 bits and alpha, noise", png(2048, &noise, ExtendedColorType::Rgba16)),
        ("bmp 2048 x 2048", bmp(24, &scene)),
        ("bmp 2048 x 2048, 32 bits", bmp(32, &noise[..2048 * 2048 * 4])),
    ]
    .into_iter()
    .map(|(name, bytes)| (name.to_owned(), bytes, Accepted))
    // Noise takes a JPEG longest, and is like nothing that a camera makes.
    .chain([("jpeg 2048 x 2048, noise at its best".to_owned(), jpeg(2048, rgb, 100, false), Worst)])
    .collect()
}
