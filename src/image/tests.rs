#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::orient::Orientation;
use super::*;

mod mutations;
mod parts;

const ANY: SizeLimits = SizeLimits::any();

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The pictures of `tests/fixtures/pictures` by name, without the reference file.
fn fixtures() -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for file in std::fs::read_dir(folder("tests/fixtures/pictures")).unwrap() {
        let file = file.unwrap();
        let name = file.file_name().into_string().unwrap();
        if !name.ends_with(".tsv") {
            files.insert(name, std::fs::read(file.path()).unwrap());
        }
    }
    files
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(folder("tests/fixtures/pictures").join(name)).unwrap()
}

/// A JPEG segment.
fn segment(marker: u8, payload: &[u8]) -> Vec<u8> {
    let mut segment = vec![0xFF, marker];
    segment.extend_from_slice(&(payload.len() as u16 + 2).to_be_bytes());
    segment.extend_from_slice(payload);
    segment
}

/// Puts a segment right after the start of a JPEG.
fn with_segment(jpeg: &[u8], marker: u8, payload: &[u8]) -> Vec<u8> {
    [&jpeg[..2], &segment(marker, payload), &jpeg[2..]].concat()
}

/// Where the segment with `marker` starts, and where its payload ends.
fn find_segment(jpeg: &[u8], marker: u8) -> std::ops::Range<usize> {
    let mut at = 2;
    loop {
        assert_eq!(jpeg[at], 0xFF);
        let end = at + 2 + usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]]));
        if jpeg[at + 1] == marker {
            return at..end;
        }
        at = end;
    }
}

/// A PNG chunk.
fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let body = [kind, data].concat();
    let length = (data.len() as u32).to_be_bytes();
    [&length[..], &body, &crc32fast::hash(&body).to_be_bytes()].concat()
}

/// A PNG header that claims a size, and the end chunk.
fn png_claiming(width: u32, height: u32, depth: u8, colour: u8) -> Vec<u8> {
    let mut header = [width.to_be_bytes(), height.to_be_bytes()].concat();
    header.extend([depth, colour, 0, 0, 0]);
    let empty_stream = [0x78, 0x9C, 3, 0, 0, 0, 0, 1];
    [
        b"\x89PNG\r\n\x1A\n".to_vec(),
        chunk(b"IHDR", &header),
        chunk(b"IDAT", &empty_stream),
        chunk(b"IEND", b""),
    ]
    .concat()
}

/// A JPEG whose header is overwritten to claim another size.
fn jpeg_claiming(jpeg: &[u8], width: u16, height: u16) -> Vec<u8> {
    let mut jpeg = jpeg.to_vec();
    let frame = (0xC0..=0xC2).find_map(|m| std::panic::catch_unwind(|| find_segment(&jpeg, m)).ok());
    let at = frame.unwrap().start + 5;
    jpeg[at..at + 2].copy_from_slice(&height.to_be_bytes());
    jpeg[at + 2..at + 4].copy_from_slice(&width.to_be_bytes());
    jpeg
}

fn bmp_claiming(width: i32, height: i32) -> Vec<u8> {
    let mut bmp = fixture("bmp-24.bmp");
    bmp[18..22].copy_from_slice(&width.to_le_bytes());
    bmp[22..26].copy_from_slice(&height.to_le_bytes());
    bmp
}

fn is_damaged(result: &Result<Pixels, PictureError>) -> bool {
    matches!(result, Err(PictureError::Damaged(_)))
}

fn is_unsupported(result: &Result<Pixels, PictureError>) -> bool {
    matches!(result, Err(PictureError::UnsupportedFormat(_)))
}

#[test]
fn every_fixture_decodes_to_its_reference() {
    let reference = std::fs::read_to_string(folder("tests/fixtures/pictures/reference.tsv")).unwrap();
    let mut wrong = Vec::new();
    for line in reference.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let got = decode(&fixture(fields[0]), &ANY).map(|pixels| {
            let crc = crc32fast::hash(pixels.as_rgb8());
            format!("{}\t{}\t{}\t{crc:08x}", fields[0], pixels.width(), pixels.height())
        });
        if got.as_deref().ok() != Some(line) {
            wrong.push(format!("{line}: {got:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(reference.lines().count(), 108);
}

#[test]
fn examples_decode_within_the_service_limits() {
    let mut seen = 0;
    for file in std::fs::read_dir(folder("examples/pictures")).unwrap() {
        let file = file.unwrap().path();
        if file.extension().is_some_and(|extension| extension == "jpg") {
            decode(&std::fs::read(&file).unwrap(), &SizeLimits::default()).unwrap();
            seen += 1;
        }
    }
    assert_eq!(seen, 15);
}

#[test]
fn every_cut_is_an_error() {
    let (mut files, mut cuts) = (0, 0);
    for (name, bytes) in fixtures() {
        if name.starts_with("other") {
            continue;
        }
        // Every length of small files and near both ends of large ones.
        let step = bytes.len() / 1000 + 1;
        for length in (0..bytes.len()).filter(|&at| at % step == 0 || at < 700 || at + 300 > bytes.len()) {
            let result = decode(&bytes[..length], &ANY);
            assert!(
                is_damaged(&result) || is_unsupported(&result) && length < 18,
                "{name} of {} bytes cut to {length}: {result:?}",
                bytes.len()
            );
            cuts += 1;
        }
        files += 1;
    }
    assert_eq!(files, 108);
    assert!(cuts > 100_000, "{cuts}");
}

#[test]
fn cut_photographs_are_damaged() {
    for file in ["astronaut.jpg", "grass.jpg", "clock.jpg"] {
        let bytes = std::fs::read(folder("examples/pictures").join(file)).unwrap();
        for percent in [5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99] {
            assert!(is_damaged(&decode(&bytes[..bytes.len() * percent / 100], &ANY)), "{file} {percent} %");
        }
        for less in 1..=64 {
            assert!(is_damaged(&decode(&bytes[..bytes.len() - less], &ANY)), "{file} less {less}");
        }
        // Cut, and the end marker put back.
        for percent in [5, 20, 40, 60, 80, 95, 99] {
            let cut = [&bytes[..bytes.len() * percent / 100], b"\xFF\xD9"].concat();
            assert!(is_damaged(&decode(&cut, &ANY)), "{file} {percent} % and end");
        }
    }
}

/// An end marker, a restart marker or a hole inside the data of a scan.
#[test]
fn overwritten_scans_are_damaged() {
    let mut seen = 0;
    for (name, bytes) in fixtures() {
        if !name.starts_with("jpeg") || bytes.len() < 700 {
            continue;
        }
        let first = find_segment(&bytes, 0xDA).end;
        for at in (first..bytes.len() - 4).step_by(3) {
            // Both bytes must be data of a scan: in a header they may mean nothing, and where a scan is
            // whole an end marker makes a coarser but whole progressive picture.
            let is_marker = |w: &[u8]| w[0] == 0xFF && !matches!(w[1], 0 | 0xD0..=0xD7);
            let header = bytes[..at].windows(2).rposition(is_marker).unwrap();
            let in_header = bytes[header + 1] != 0xDA || header + 20 >= at;
            let in_scan = !in_header && !bytes[at - 1..at + 3].windows(2).any(is_marker);
            if !in_scan {
                continue;
            }
            let mut broken = bytes.clone();
            broken[at..at + 2].copy_from_slice(b"\xFF\xD9");
            assert!(is_damaged(&decode(&broken, &ANY)), "{name}: end marker at {at} of {}", bytes.len());
            seen += 1;
            if !name.contains("restart") && !name.contains("41") && !name.contains("apart") {
                broken[at..at + 2].copy_from_slice(b"\xFF\xD3");
                assert!(is_damaged(&decode(&broken, &ANY)), "{name}: restart marker at {at}");
            }
        }
    }
    assert!(seen > 5000, "{seen}");
}

#[test]
fn a_missing_restart_interval_is_damaged() {
    for name in ["jpeg-420-restart.jpg", "jpeg-progressive-restart.jpg", "jpeg-410.jpg"] {
        let bytes = fixture(name);
        let places: Vec<usize> = (0..bytes.len() - 1)
            .filter(|&i| bytes[i] == 0xFF && (0xD0..=0xD7).contains(&bytes[i + 1]))
            .collect();
        assert!(places.len() >= 3, "{name}");
        for pair in places.windows(2) {
            let without = [&bytes[..pair[0]], &bytes[pair[1]..]].concat();
            assert!(is_damaged(&decode(&without, &ANY)), "{name}");
        }
    }
}

#[test]
fn what_follows_the_end_marker_does_not_matter() {
    let bytes = fixture("jpeg-420.jpg");
    let whole = decode(&bytes, &ANY).unwrap();
    let second = fixture("jpeg-progressive-444.jpg");
    for junk in [&b"\0"[..], b"\xFF", b"\xFF\xD8\xFF", &[0xA5; 3000], &second] {
        assert_eq!(decode(&[&bytes, junk].concat(), &ANY).unwrap(), whole);
        // A cut first picture is not rescued by the end marker of a second one.
        assert!(is_damaged(&decode(&[&bytes[..bytes.len() * 3 / 5], junk].concat(), &ANY)));
        assert!(is_damaged(&decode(&[&bytes[..bytes.len() - 2], junk].concat(), &ANY)));
    }
}

#[test]
fn a_thumbnail_is_not_taken_for_the_picture() {
    let bytes = fixture("jpeg-422.jpg");
    let whole = decode(&bytes, &ANY).unwrap();
    let mut exif = b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0".to_vec();
    exif.extend(fixture("jpeg-size-16x16.jpg"));
    let bytes = with_segment(&bytes, 0xE1, &exif);
    assert_eq!(decode(&bytes, &ANY).unwrap(), whole);
    for length in (0..bytes.len()).step_by(7) {
        assert!(decode(&bytes[..length], &ANY).is_err());
    }
}

#[test]
fn adobe_without_jfif_and_unknown_segments_are_read() {
    let bytes = fixture("jpeg-444.jpg");
    let whole = decode(&bytes, &ANY).unwrap();
    for (marker, payload) in
        [(0xFE, &b"a comment \xFF\xD9"[..]), (0xED, b"\xFF\xDA"), (0xE2, b"ICC_PROFILE\0\x01\x01")]
    {
        assert_eq!(decode(&with_segment(&bytes, marker, payload), &ANY).unwrap(), whole);
    }
    // Fill bytes and a few stray bytes before a marker.
    for stray in [&b"\xFF\xFF\xFF"[..], b"\0\0", b"\xFF\0", &[7; 60]] {
        let padded = [&bytes[..2], &segment(0xFE, b""), stray, &bytes[2..]].concat();
        assert_eq!(decode(&padded, &ANY).unwrap(), whole);
        let end = bytes.len() - 2;
        assert_eq!(decode(&[&bytes[..end], stray, b"\xFF\xD9"].concat(), &ANY).unwrap(), whole);
    }
    // Many: a scan that lost its step.
    let padded = [&bytes[..bytes.len() - 2], &[7; 100], b"\xFF\xD9"].concat();
    assert!(is_damaged(&decode(&padded, &ANY)));
}

#[test]
fn other_codings_of_jpeg_are_unsupported() {
    let bytes = fixture("jpeg-444.jpg");
    let frame = find_segment(&bytes, 0xC0).start;
    for marker in [0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF] {
        let mut other = bytes.clone();
        other[frame + 1] = marker;
        assert!(is_unsupported(&decode(&other, &ANY)), "{marker:x}");
    }
    let mut other = bytes.clone();
    other[frame + 4] = 12;
    assert!(is_unsupported(&decode(&other, &ANY)));
    assert!(is_unsupported(&decode(&jpeg_claiming(&bytes, 61, 0), &ANY)));
    assert!(is_damaged(&decode(&jpeg_claiming(&bytes, 0, 45), &ANY)));
    // A second frame header.
    let twice = [&bytes[..frame], &bytes[find_segment(&bytes, 0xC0)], &bytes[frame..]].concat();
    assert!(is_damaged(&decode(&twice, &ANY)));
}

#[test]
fn other_formats_are_unsupported() {
    let mut seen = 0;
    for (name, bytes) in fixtures() {
        if name.starts_with("other") {
            assert!(is_unsupported(&decode(&bytes, &ANY)), "{name}");
            seen += 1;
        }
    }
    assert_eq!(seen, 6);
    for bytes in [
        &b""[..],
        b"B",
        b"BM",
        b"BMW is a maker of cars, and this is a text.",
        b"\xFF",
        b"\xFF\xD8",
        b"\x89PNG\r\n\x1A",
        b"\x89PNG\r\n\n\x1A0123456789",
        b"GIF89a",
        b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>",
        b"%PDF-1.7",
        &[0; 4096],
    ] {
        assert!(is_unsupported(&decode(bytes, &ANY)), "{bytes:?}");
    }
}

#[test]
fn limits_hold_in_their_order() {
    let service = SizeLimits::default();
    let base = fixture("jpeg-420.jpg");
    let damaged = fixture("jpeg-420.jpg")[..base.len() / 2].to_vec();
    // The length comes before everything else, even the format.
    let short = SizeLimits { max_encoded_bytes: 10, ..service };
    assert!(matches!(decode(&[0; 11], &short), Err(PictureError::TooManyBytes { bytes: 11, max: 10 })));
    assert!(is_unsupported(&decode(&[0; 10], &short)));
    for (width, height) in [(2049, 2048), (2048, 2049), (50, 2049), (65535, 1)] {
        let size = (u32::from(width), u32::from(height));
        for bytes in [
            jpeg_claiming(&base, width, height),
            jpeg_claiming(&damaged, width, height),
            png_claiming(size.0, size.1, 8, 2),
            bmp_claiming(width.into(), height.into()),
            bmp_claiming(width.into(), -i32::from(height)),
        ] {
            let result = decode(&bytes, &service);
            assert!(
                matches!(result, Err(PictureError::TooLarge { width, height, max: 2048 }) if (width, height) == size),
                "{result:?}"
            );
        }
    }
    for (width, height) in [(99, 2048), (2048, 99), (1, 1), (100, 99)] {
        for bytes in [
            jpeg_claiming(&damaged, width, height),
            png_claiming(width.into(), height.into(), 8, 2),
            bmp_claiming(width.into(), height.into()),
        ] {
            assert!(matches!(decode(&bytes, &service), Err(PictureError::TooSmall { min: 100, .. })));
        }
    }
    // Both ends are allowed: then it is the pixels that are missing.
    for (width, height) in [(100, 100), (2048, 2048), (100, 2048)] {
        assert!(is_damaged(&decode(&jpeg_claiming(&base, width, height), &service)));
        assert!(is_damaged(&decode(&png_claiming(width.into(), height.into(), 8, 2), &service)));
    }
}

#[test]
fn limits_of_a_host_are_bounded() {
    let wild = SizeLimits { min_side_px: 0, max_side_px: u32::MAX, max_encoded_bytes: usize::MAX };
    assert!(check_sides(8192, 8192, &wild).is_ok());
    assert!(matches!(check_sides(8193, 1, &wild), Err(PictureError::TooLarge { max: 8192, .. })));
    assert!(matches!(check_sides(0, 1, &wild), Err(PictureError::TooSmall { min: 1, .. })));
    assert_eq!((ANY.min_side_px, ANY.max_side_px), (1, 8192));
}

#[test]
fn bombs_are_refused_from_the_header() {
    let base = fixture("jpeg-420.jpg");
    let bombs = [
        jpeg_claiming(&base, 12_000, 12_000),
        jpeg_claiming(&base, 65_535, 65_535),
        png_claiming(20_000, 20_000, 8, 0),
        png_claiming(8_000, 8_000, 16, 6),
        png_claiming(i32::MAX as u32, i32::MAX as u32, 16, 6),
        bmp_claiming(60_000, 60_000),
        bmp_claiming(30_000, -30_000),
    ];
    for bomb in bombs {
        let start = Instant::now();
        let result = decode(&bomb, &SizeLimits::default());
        assert!(matches!(result, Err(PictureError::TooLarge { .. })), "{result:?}");
        assert!(start.elapsed() < Duration::from_millis(5));
    }
    for (width, height) in [(i32::MAX, i32::MAX), (i32::MIN, 1), (-5, 5), (0, 0), (200, i32::MIN)] {
        let start = Instant::now();
        assert!(decode(&bmp_claiming(width, height), &SizeLimits::default()).is_err());
        assert!(start.elapsed() < Duration::from_millis(5));
    }
}

/// A file that asks for much work with few bytes: thousands of scans over all blocks of a large picture.
#[test]
fn scan_floods_are_refused() {
    let base = fixture("jpeg-progressive-444.jpg");
    let scan = find_segment(&base, 0xDA);
    let head = jpeg_claiming(&base, 2048, 2048)[..scan.start].to_vec();
    // One DC scan, cut short; then the same again.
    let next = base[scan.end..].windows(2).position(|w| w[0] == 0xFF && w[1] != 0).unwrap() + scan.end;
    let mut flood = head;
    for _ in 0..5000 {
        flood.extend_from_slice(&base[scan.start..next]);
    }
    let start = Instant::now();
    assert!(is_damaged(&decode(&flood, &SizeLimits::default())));
    assert!(start.elapsed() < Duration::from_millis(200));
    // A DC scan that is whole, then again and again.
    let mut flood = base[..next].to_vec();
    for _ in 0..5000 {
        flood.extend_from_slice(&base[scan.start..next]);
    }
    flood.extend_from_slice(b"\xFF\xD9");
    let start = Instant::now();
    assert!(is_damaged(&decode(&flood, &ANY)));
    assert!(start.elapsed() < Duration::from_millis(50));
}

#[test]
fn png_damage_is_seen() {
    let bytes = fixture("png-rgb8.png");
    let mut changed = 0;
    // Any bit of the critical chunks: length, kind, data and checksum.
    for at in 8..bytes.len() {
        for bit in [0, 5] {
            let mut broken = bytes.clone();
            broken[at] ^= 1 << bit;
            let result = decode(&broken, &ANY);
            assert!(result.is_err(), "bit {bit} of byte {at}");
            changed += 1;
        }
    }
    assert_eq!(changed, (bytes.len() - 8) * 2);
}

/// Found by fuzzing: the decoder's palette look-up panics on it.
#[test]
fn a_png_palette_of_parts_of_colours_is_damaged() {
    for colours in [&b""[..], &[1], &[1; 2], &[1; 4], &[1; 190], &[1; 767], &[1; 771]] {
        let mut header = [100u32.to_be_bytes(), 100u32.to_be_bytes()].concat();
        header.extend([8, 3, 0, 0, 0]);
        let data = &fixture("png-grey8.png")[8 + 25..];
        let start =
            [b"\x89PNG\r\n\x1A\n".to_vec(), chunk(b"IHDR", &header), chunk(b"PLTE", colours)].concat();
        assert!(decode_unfenced(&[&start, data].concat()).is_err());
    }
}

#[test]
fn exif_is_read_in_both_byte_orders_or_not_at_all() {
    let big = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0".to_vec();
    let little = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0".to_vec();
    assert_eq!(Orientation::from_exif(&big), Orientation::TurnRight);
    assert_eq!(Orientation::from_exif(&little), Orientation::TurnRight);
    for tiff in [&big, &little] {
        for length in 0..20 {
            assert_eq!(Orientation::from_exif(&tiff[..length]), Orientation::Upright);
        }
        for at in 0..tiff.len() {
            for value in [0, 1, 7, 9, 0x7F, 0xFF] {
                let mut broken = tiff.clone();
                broken[at] = value;
                Orientation::from_exif(&broken);
            }
        }
    }
    for (at, value) in [(0, b'X'), (3, 0), (4, 0xFF), (7, 200), (13, 4), (17, 2), (19, 9), (19, 0)] {
        let mut broken = big.clone();
        broken[at] = value;
        assert_eq!(Orientation::from_exif(&broken), Orientation::Upright, "byte {at} set to {value}");
    }
}

#[test]
fn orientations_undo_each_other() {
    let pixels = Pixels::from_rgb8(3, 2, (0..18).collect()).unwrap();
    let all = [
        (Orientation::MirrorX, Orientation::MirrorX),
        (Orientation::Turn180, Orientation::Turn180),
        (Orientation::MirrorY, Orientation::MirrorY),
        (Orientation::Transpose, Orientation::Transpose),
        (Orientation::TurnRight, Orientation::TurnLeft),
        (Orientation::Transverse, Orientation::Transverse),
        (Orientation::TurnLeft, Orientation::TurnRight),
    ];
    for (there, back) in all {
        let turned = there.apply(pixels.clone());
        assert_ne!(turned, pixels);
        assert_eq!(back.apply(turned), pixels, "{there:?}");
    }
    let right = Orientation::TurnRight.apply(pixels);
    assert_eq!(right.as_rgb8(), [9, 10, 11, 0, 1, 2, 12, 13, 14, 3, 4, 5, 15, 16, 17, 6, 7, 8]);
}

#[test]
fn a_panic_of_a_decoder_is_damage() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let result = fence(|| -> Result<Pixels, PictureError> { panic!("on purpose") });
    std::panic::set_hook(hook);
    assert!(is_damaged(&result));
}

#[test]
fn decoding_twice_gives_the_same() {
    for name in ["jpeg-progressive-420.jpg", "png-rgba16-interlaced.png", "bmp-rle8.bmp"] {
        let bytes = fixture(name);
        assert_eq!(decode(&bytes, &ANY).unwrap(), decode(&bytes, &ANY).unwrap());
    }
}

/// Small limits keep random headers from asking for much.
const SMALL: SizeLimits = SizeLimits { min_side_px: 1, max_side_px: 256, max_encoded_bytes: 1 << 20 };

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn random_bytes_never_panic(
        start in prop_oneof![
            Just(&b"\xFF\xD8\xFF"[..]),
            Just(&b"\x89PNG\r\n\x1A\n\0\0\0\x0DIHDR"[..]),
            Just(&b"BM\0\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0"[..]),
            Just(&b""[..]),
        ],
        rest in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let _ = decode_unfenced(&[start, &rest].concat());
    }

    #[test]
    fn changed_bytes_never_panic(
        file in any::<prop::sample::Index>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        near_start in any::<bool>(),
    ) {
        let files = &*FIXTURES;
        let mut bytes = files[file.index(files.len())].clone();
        let end = if near_start { bytes.len().min(200) } else { bytes.len() };
        for (at, value) in changes {
            bytes[at.index(end)] = value;
        }
        let _ = decode_unfenced(&bytes);
    }
}

static FIXTURES: std::sync::LazyLock<Vec<Vec<u8>>> =
    std::sync::LazyLock::new(|| fixtures().into_values().collect());

/// Like [`decode`], but a panic comes through: the fence is for what tests did not find.
fn decode_unfenced(bytes: &[u8]) -> Result<Pixels, PictureError> {
    let whole = |width, height| Some(Part::whole(width, height));
    let format = Format::of(bytes).ok_or(PictureError::UnsupportedFormat(Detail::default()))?;
    let decoded = decode_format(format, bytes, &SMALL, Wish { target_px: None, part: &whole })?;
    Ok(decoded.unwrap().pixels)
}
