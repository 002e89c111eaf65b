//! Copies of a picture as they are met in the wild, made the same way on every run.
//!
//! Names are `kind` or `kind_strength`. Kinds belong to families, named as the groups of `make_copies.py` are; a fit may
//! leave whole families out to see what it makes of edits it has never seen.

use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};

use crate::draw;
use crate::random::Random;

/// Every transform that [`apply`] knows, most of them at two strengths.
pub const SINGLE: [&str; 44] = [
    "jpeg_60",
    "jpeg_25",
    "jpeg_8",
    "scale_25",
    "scale_60",
    "aspect_70",
    "aspect_145",
    "crop_10",
    "crop_30",
    "crop_50",
    "crop_65",
    "rotate_4",
    "rotate_15",
    "rotate_90",
    "rotate_180",
    "mirror_h",
    "mirror_v",
    "blur_6",
    "blur_16",
    "noise_15",
    "noise_40",
    "pixels_30",
    "saturation_30",
    "saturation_200",
    "hue_40",
    "hue_180",
    "contrast_50",
    "contrast_170",
    "light_50",
    "light_160",
    "gamma_50",
    "gamma_200",
    "grey",
    "sepia",
    "invert",
    "border_8",
    "border_25",
    "square",
    "text_6",
    "text_13",
    "meme",
    "page_tall",
    "page_wide",
    "pasted_60",
];

/// More of them, made of two steps or of two pictures.
pub const MIXED: [&str; 6] =
    ["collage", "cover_15", "cover_35", "perspective_8", "mix_crop_mirror_jpeg", "mix_turn_text_blur"];

/// A copy: pixels, and the quality its JPEG is saved at.
pub type Copy = (RgbImage, u8);

/// Quality of copies whose transform names none.
const QUALITY: u8 = 92;

/// The first word of a name.
fn kind(name: &str) -> &str {
    name.split('_').next().unwrap_or(name)
}

/// Which family a transform is of.
pub fn family(name: &str) -> &str {
    match kind(name) {
        "scale" => "resize",
        "mirror" => "flip",
        "pixels" => "pixelate",
        "saturation" | "hue" => "color",
        "contrast" | "light" | "gamma" => "tone",
        "grey" | "sepia" | "invert" => "gray",
        "square" => "border",
        "page" => "screenshot",
        "pasted" | "collage" => "inpicture",
        "cover" => "occlude",
        "mix" => "combo",
        own => own,
    }
}

/// The copy of `picture` that `name` says; `other` is a picture for edits that take two. `None` for an unknown name.
pub fn apply(name: &str, picture: &RgbImage, other: &RgbImage, random: &mut Random) -> Option<Copy> {
    let strength = name.rsplit('_').next().and_then(|text| text.parse::<u8>().ok()).unwrap_or(0);
    let part = f64::from(strength) / 100.0;
    let plain = |copy: RgbImage| (copy, QUALITY);
    Some(match kind(name) {
        "jpeg" => (picture.clone(), strength),
        "scale" => plain(scaled(picture, part, part)),
        "aspect" => plain(scaled(picture, part.sqrt(), 1.0 / part.sqrt())),
        "crop" => plain(cropped(picture, part, random)),
        "rotate" => plain(turned(picture, strength, random)),
        "mirror" if name.ends_with('h') => plain(imageops::flip_horizontal(picture)),
        "mirror" => plain(imageops::flip_vertical(picture)),
        "blur" => plain(blurred(picture, part / 10.0)),
        "noise" => plain(noisy(picture, f64::from(strength), random)),
        "pixels" => plain(pixelated(picture, f64::from(strength))),
        "saturation" | "hue" | "contrast" | "light" | "gamma" | "grey" | "sepia" | "invert" => {
            plain(recoloured(kind(name), strength, picture))
        }
        "border" => plain(draw::border(picture, part, if strength < 20 { draw::BLACK } else { draw::WHITE })),
        "square" => plain(draw::square(picture, draw::BLACK)),
        "text" => {
            let mut copy = picture.clone();
            let (lines, colour) = if strength < 10 { (1, draw::WHITE) } else { (4, Rgb([255, 235, 0])) };
            draw::text(&mut copy, lines, part, colour, random);
            plain(copy)
        }
        "meme" => plain(draw::meme(picture, random)),
        "page" => plain(draw::screenshot(picture, name.ends_with("tall"), random)),
        "pasted" => plain(draw::pasted(picture, other, part, random)),
        "collage" => plain(draw::collage(picture, other, random)),
        "cover" => plain(draw::occluded(picture, part, random)),
        "perspective" => plain(warped(picture, part, random)),
        "mix" if name.ends_with("jpeg") => (cropped(&imageops::flip_horizontal(picture), 0.35, random), 20),
        "mix" => {
            let mut copy = turned(picture, 8, random);
            draw::text(&mut copy, 2, 0.08, draw::WHITE, random);
            (blurred(&copy, 0.006), 35)
        }
        _ => return None,
    })
}

/// A side times a factor, at least one pixel.
fn side(length: u32, factor: f64) -> u32 {
    ((f64::from(length) * factor).round() as u32).max(1)
}

fn scaled(picture: &RgbImage, x: f64, y: f64) -> RgbImage {
    let (w, h) = picture.dimensions();
    imageops::resize(picture, side(w, x), side(h, y), FilterType::Lanczos3)
}

/// A part of the picture of nearly its proportions, `removed` of the area cut away.
fn cropped(picture: &RgbImage, removed: f64, random: &mut Random) -> RgbImage {
    let (w, h) = picture.dimensions();
    let (keep, lean) = ((1.0 - removed).sqrt(), random.between(0.85, 1.18).sqrt());
    let (cw, ch) = (side(w, keep * lean).min(w), side(h, keep / lean).min(h));
    let (x, y) = (random.below((w - cw) as usize + 1), random.below((h - ch) as usize + 1));
    imageops::crop_imm(picture, x as u32, y as u32, cw, ch).to_image()
}

/// Turned about its middle on a black ground large enough; quarter turns exactly.
fn turned(picture: &RgbImage, degrees: u8, random: &mut Random) -> RgbImage {
    match degrees {
        90 => return imageops::rotate90(picture),
        180 => return imageops::rotate180(picture),
        _ => {}
    }
    let angle = f64::from(degrees).to_radians() * if random.coin() { 1.0 } else { -1.0 };
    let (sin, cos) = angle.sin_cos();
    let (w, h) = (f64::from(picture.width()), f64::from(picture.height()));
    let (wide, high) = (w * cos.abs() + h * sin.abs(), w * sin.abs() + h * cos.abs());
    mapped(picture, (wide.ceil() as u32, high.ceil() as u32), draw::BLACK, |x, y| {
        let (x, y) = (x - wide / 2.0, y - high / 2.0);
        (x * cos + y * sin + w / 2.0, y * cos - x * sin + h / 2.0)
    })
}

/// Seen at a slant: the corners move in by up to `share` of the sides.
fn warped(picture: &RgbImage, share: f64, random: &mut Random) -> RgbImage {
    let (w, h) = (f64::from(picture.width()), f64::from(picture.height()));
    let mut inset = || random.between(0.0, share);
    let (left, right, top, bottom) =
        ([inset(), inset()], [inset(), inset()], [inset(), inset()], [inset(), inset()]);
    // Rows and columns shrink linearly from side to side: close enough to a perspective at these slants.
    mapped(picture, picture.dimensions(), Rgb([128; 3]), |x, y| {
        let (u, v) = (x / w, y / h);
        let along = |ends: [f64; 2], at: f64| ends[0] * (1.0 - at) + ends[1] * at;
        let (l, r, t, b) = (along(left, v), along(right, v), along(top, u), along(bottom, u));
        ((u - l) / (1.0 - l - r) * w, (v - t) / (1.0 - t - b) * h)
    })
}

/// Each pixel of the result from where `source` says, bilinear; `ground` where that lies outside.
fn mapped(
    picture: &RgbImage,
    (width, height): (u32, u32),
    ground: Rgb<u8>,
    source: impl Fn(f64, f64) -> (f64, f64),
) -> RgbImage {
    let (w, h) = (i64::from(picture.width()), i64::from(picture.height()));
    RgbImage::from_fn(width.max(1), height.max(1), |x, y| {
        let (sx, sy) = source(f64::from(x) + 0.5, f64::from(y) + 0.5);
        let (sx, sy) = (sx - 0.5, sy - 0.5);
        if !(-0.5..w as f64 - 0.5).contains(&sx) || !(-0.5..h as f64 - 0.5).contains(&sy) {
            return ground;
        }
        let (x0, y0) = (sx.floor(), sy.floor());
        let (fx, fy) = (sx - x0, sy - y0);
        let at = |dx: i64, dy: i64| {
            let (x, y) = ((x0 as i64 + dx).clamp(0, w - 1), (y0 as i64 + dy).clamp(0, h - 1));
            picture.get_pixel(x as u32, y as u32).0.map(f64::from)
        };
        let (a, b, c, d) = (at(0, 0), at(1, 0), at(0, 1), at(1, 1));
        Rgb(std::array::from_fn(|i| {
            let (upper, lower) = (a[i] * (1.0 - fx) + b[i] * fx, c[i] * (1.0 - fx) + d[i] * fx);
            (upper * (1.0 - fy) + lower * fy).round() as u8
        }))
    })
}

/// A Gaussian blur, its sigma a share of the shorter side.
fn blurred(picture: &RgbImage, share: f64) -> RgbImage {
    let sigma = share * f64::from(picture.width().min(picture.height()));
    imageops::fast_blur(picture, (sigma as f32).max(0.3))
}

fn noisy(picture: &RgbImage, deviation: f64, random: &mut Random) -> RgbImage {
    let mut copy = picture.clone();
    for value in copy.iter_mut() {
        *value = (f64::from(*value) + deviation * random.normal()).round().clamp(0.0, 255.0) as u8;
    }
    copy
}

/// Squares, about `count` along the shorter side.
fn pixelated(picture: &RgbImage, count: f64) -> RgbImage {
    let (w, h) = picture.dimensions();
    let factor = (count / f64::from(w.min(h))).min(1.0);
    let small = imageops::resize(picture, side(w, factor), side(h, factor), FilterType::Triangle);
    imageops::resize(&small, w, h, FilterType::Nearest)
}

/// Colours and tones, pixel by pixel.
fn recoloured(kind: &str, strength: u8, picture: &RgbImage) -> RgbImage {
    let part = f64::from(strength) / 100.0;
    if kind == "hue" {
        return imageops::huerotate(picture, strength.into());
    }
    let luma = |p: [f64; 3]| 0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2];
    let all: f64 = picture.pixels().map(|p| luma(p.0.map(f64::from))).sum();
    let mean = all / f64::from(picture.width()) / f64::from(picture.height());
    let mut copy = picture.clone();
    for pixel in copy.pixels_mut() {
        let p = pixel.0.map(f64::from);
        let grey = luma(p);
        let new = match kind {
            "saturation" => p.map(|v| grey + (v - grey) * part),
            "contrast" => p.map(|v| mean + (v - mean) * part),
            "light" => p.map(|v| v * part),
            "gamma" => p.map(|v| 255.0 * (v / 255.0).powf(part)),
            "grey" => [grey; 3],
            // From a dark brown to a pale yellow.
            "sepia" => [40.0 + grey * 0.843, 26.0 + grey * 0.839, 10.0 + grey * 0.784],
            _ => p.map(|v| 255.0 - v),
        };
        pixel.0 = new.map(|v| v.round().clamp(0.0, 255.0) as u8);
    }
    copy
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn picture(w: u32, h: u32) -> RgbImage {
        RgbImage::from_fn(w, h, |x, y| Rgb([(x * 255 / w) as u8, (y * 255 / h) as u8, ((x + y) % 256) as u8]))
    }

    #[test]
    fn every_name_makes_a_copy_the_same_each_time() {
        let other = picture(60, 90);
        for (w, h) in [(120, 80), (100, 140), (3, 2), (1, 1)] {
            let picture = picture(w, h);
            for name in SINGLE.iter().chain(&MIXED) {
                let make = || apply(name, &picture, &other, &mut Random::of(name));
                let (copy, quality) = make().unwrap_or_else(|| panic!("{name}"));
                assert!(copy.width() > 0 && copy.height() > 0 && (1..=100).contains(&quality), "{name}");
                assert_eq!(make(), Some((copy, quality)), "{name}");
            }
        }
        assert_eq!(apply("nothing_5", &other, &other, &mut Random::of("")), None);
    }

    #[test]
    fn families_hold_several_strengths() {
        let families: BTreeSet<_> = SINGLE.iter().chain(&MIXED).map(|name| family(name)).collect();
        assert!(families.len() >= 18 && families.contains("tone"), "{families:?}");
    }

    #[test]
    fn a_turn_by_nothing_changes_nothing() {
        let picture = picture(31, 17);
        assert_eq!(turned(&picture, 0, &mut Random::of("turn")), picture);
        assert_eq!(warped(&picture, 0.0, &mut Random::of("warp")), picture);
        assert_eq!(turned(&turned(&picture, 180, &mut Random::of("")), 180, &mut Random::of("")), picture);
    }

    #[test]
    fn crops_keep_their_share() {
        let (copy, _) =
            apply("crop_50", &picture(200, 100), &picture(1, 1), &mut Random::of("c")).unwrap_or_default();
        let share = f64::from(copy.width() * copy.height()) / 20_000.0;
        assert!((0.4..0.6).contains(&share), "{share}");
    }
}
