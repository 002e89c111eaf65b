//! Decoding of parts and of shrunk pictures.

use super::*;
use crate::kernel::image::Avx2;

/// The pixels of `part` of a picture, or of all of it, shrunk for a target.
fn pixels(bytes: &[u8], part: Option<Part>, target_px: u32) -> Result<Pixels, PictureError> {
    let part = |width, height| Some(part.unwrap_or(Part::whole(width, height)));
    let wish = Wish { target_px: Some(target_px), part: &part };
    decode_for(bytes, &ANY, wish).map(|decoded| decoded.unwrap().pixels)
}

fn cut_out(pixels: &Pixels, part: Part) -> Vec<u8> {
    let rows = pixels.as_rgb8().chunks_exact(pixels.width() as usize * 3);
    let rows = rows.skip(part.top as usize).take(part.height as usize);
    rows.flat_map(|row| &row[part.left as usize * 3..][..part.width as usize * 3]).copied().collect()
}

fn jpegs() -> impl Iterator<Item = (String, Vec<u8>)> {
    fixtures().into_iter().filter(|(name, _)| name.ends_with(".jpg"))
}

/// Parts of many shapes, at all places that differ.
fn parts(width: u32, height: u32) -> Vec<Part> {
    let mut parts = Vec::new();
    for (left, top) in [(0, 0), (1, 3), (width / 2, height / 3), (width - 1, height - 1), (17, 16), (7, 9)] {
        for (w, h) in [(1, 1), (width, 1), (3, height), (width / 2, height / 2), (16, 16), (33, 9)] {
            if left < width && top < height && w > 0 && h > 0 {
                let (width, height) = (w.min(width - left), h.min(height - top));
                parts.push(Part { left, top, width, height });
            }
        }
    }
    parts
}

#[test]
fn a_part_has_the_pixels_of_the_whole() {
    let mut seen = 0;
    for (name, bytes) in jpegs() {
        let whole = decode(&bytes, &ANY).unwrap();
        for part in parts(whole.width(), whole.height()) {
            // A target that is never reached: nothing is shrunk.
            let got = pixels(&bytes, Some(part), 10_000).unwrap();
            assert_eq!((got.width(), got.height()), (part.width, part.height), "{name} {part:?}");
            assert_eq!(got.as_rgb8(), cut_out(&whole, part), "{name} {part:?}");
            seen += 1;
        }
    }
    assert!(seen > 1000, "{seen}");
}

/// The filters see the same neighbours in a shrunk part as in the shrunk whole.
#[test]
fn a_shrunk_part_has_the_pixels_of_the_shrunk_whole() {
    let mut seen = [0; 9];
    for (name, bytes) in jpegs().filter(|(name, _)| !name.starts_with("orient")) {
        let full = decode(&bytes, &ANY).unwrap();
        let (width, height) = (full.width(), full.height());
        for part in parts(width, height) {
            for target in [1, 2, 4, 8, 12] {
                let ratio = part::shrink_ratio(part, Some(target));
                let same = |t: &u32| part::shrink_ratio(Part::whole(width, height), Some(*t)) == ratio;
                let Some(for_whole) = (1..100).find(same) else { continue };
                let small = part.shrunk(ratio);
                let whole = pixels(&bytes, None, for_whole).unwrap();
                if small.left + small.width > whole.width() || small.top + small.height > whole.height() {
                    // In the half pixel at the edge that the whole leaves out.
                    continue;
                }
                let got = pixels(&bytes, Some(part), target).unwrap();
                assert_eq!(got.as_rgb8(), cut_out(&whole, small), "{name} {part:?} 1/{ratio}");
                seen[ratio as usize] += 1;
            }
        }
    }
    assert!([1, 2, 4, 8].iter().all(|&ratio| seen[ratio] > 200), "{seen:?}");
}

/// Shrunk pixels are the mean of those they stand for, but for what lies between filters.
#[test]
fn shrunk_pictures_look_like_the_full_ones() {
    for (name, bytes) in jpegs() {
        let full = decode(&bytes, &ANY).unwrap();
        for target in [2, 4, 10] {
            let small = pixels(&bytes, None, target).unwrap();
            let part = Part::whole(full.width(), full.height());
            let ratio = part::shrink_ratio(part, Some(target));
            let want = part.shrunk(ratio);
            assert_eq!((small.width(), small.height()), (want.width, want.height), "{name}");
            let mut difference = 0;
            for (at, pixel) in small.as_rgb8().as_chunks::<3>().0.iter().enumerate() {
                let (x, y) = (at as u32 % want.width * ratio, at as u32 / want.width * ratio);
                let (w, h) = (ratio.min(full.width() - x), ratio.min(full.height() - y));
                let block = cut_out(&full, Part { left: x, top: y, width: w, height: h });
                for (channel, &value) in pixel.iter().enumerate() {
                    let sum: u32 = block.iter().skip(channel).step_by(3).map(|&v| u32::from(v)).sum();
                    difference += (sum / (w * h)).abs_diff(u32::from(value));
                }
            }
            let mean = f64::from(difference) / small.as_rgb8().len() as f64;
            assert!(mean < 12.0, "{name} 1/{ratio}: {mean}");
        }
    }
}

#[test]
fn progressive_pictures_shrink_alike() {
    for kind in ["420", "444"] {
        let (plain, progressive) = (format!("jpeg-{kind}.jpg"), format!("jpeg-progressive-{kind}.jpg"));
        for target in [2, 4, 8, 12] {
            let want = pixels(&fixture(&plain), None, target).unwrap();
            assert_eq!(pixels(&fixture(&progressive), None, target).unwrap(), want);
        }
    }
}

#[test]
fn damage_is_found_whatever_is_asked_for() {
    let bytes = fixture("jpeg-420.jpg");
    let nothing = Wish { target_px: Some(4), part: &|_, _| None };
    assert!(decode_for(&bytes, &ANY, nothing).unwrap().is_none());
    for (name, bytes) in jpegs() {
        let scan = find_segment(&bytes, 0xDA).end;
        for length in (scan..bytes.len()).step_by(bytes.len() / 60 + 1) {
            let cut = &bytes[..length];
            let corner = Part::whole(1, 1);
            assert!(matches!(pixels(cut, Some(corner), 1), Err(PictureError::Damaged(_))), "{name} {length}");
            assert!(matches!(pixels(cut, None, 2), Err(PictureError::Damaged(_))), "{name} {length}");
            assert!(
                matches!(decode_for(cut, &ANY, nothing), Err(PictureError::Damaged(_))),
                "{name} {length}"
            );
        }
    }
}

#[test]
fn an_orientation_behind_the_pixels_turns_the_part() {
    let bytes = fixture("jpeg-420.jpg");
    let tiff = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let exif = segment(0xE1, &[b"Exif\0\0", &tiff[..]].concat());
    let late = [&bytes[..bytes.len() - 2], &exif, b"\xFF\xD9"].concat();
    let early = [&bytes[..2], &exif, &bytes[2..]].concat();
    let whole = decode(&late, &ANY).unwrap();
    assert_eq!((whole.width(), whole.height()), (45, 61));
    assert_eq!(decode(&early, &ANY).unwrap(), whole);
    for part in parts(45, 61) {
        for bytes in [&early, &late] {
            let got = pixels(bytes, Some(part), 10_000).unwrap();
            assert_eq!(got.as_rgb8(), cut_out(&whole, part), "{part:?}");
        }
    }
}

/// On a processor without the instructions there is nothing to compare.
#[test]
fn every_processor_gives_the_same_bytes() {
    let simd = Avx2::new();
    let whole = |width, height| Some(Part::whole(width, height));
    let mut state = 1u64;
    for (name, bytes) in jpegs() {
        for round in 0..60 {
            let mut bytes = bytes.clone();
            // The first round whole, then damaged in the data, which may still decode.
            for _ in 0..round.min(3) {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let at = bytes.len() / 4 + (state >> 33) as usize % (bytes.len() * 3 / 4);
                bytes[at] = (state >> 25) as u8;
            }
            for target_px in [None, Some(2), Some(10)] {
                let wish = Wish { target_px, part: &whole };
                let run = |simd| jpeg::decode_with(simd, &bytes, &SMALL, wish).ok().flatten().map(|s| s.rgb);
                assert!(run(simd) == run(None), "{name} {round}");
            }
        }
    }
}
