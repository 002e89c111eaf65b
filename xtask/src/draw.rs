//! What is laid over, around or beside a picture to make a copy of it: lines of make-believe text, borders, frames.

use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};

use crate::random::Random;

/// White and black, which most of what is drawn over pictures is made of.
pub const WHITE: Rgb<u8> = Rgb([255; 3]);
pub const BLACK: Rgb<u8> = Rgb([0; 3]);

/// Fills a box, as far as it lies inside.
pub fn fill(on: &mut RgbImage, left: i64, top: i64, width: i64, height: i64, colour: Rgb<u8>) {
    let inside = |start: i64, length: i64, side: u32| {
        start.clamp(0, i64::from(side)) as u32..(start + length).clamp(0, i64::from(side)) as u32
    };
    for y in inside(top, height, on.height()) {
        for x in inside(left, width, on.width()) {
            on.put_pixel(x, y, colour);
        }
    }
}

/// A line of marks that look like letters from afar: no font is needed, and to the descriptors text is little else.
pub fn letters(
    on: &mut RgbImage,
    left: f64,
    top: f64,
    size: f64,
    count: usize,
    colour: Rgb<u8>,
    random: &mut Random,
) {
    let stroke = (size * 0.14).max(1.0) as i64;
    let mut x = left;
    for _ in 0..count {
        let (tall, wide) = (size * random.between(0.55, 1.0), size * random.between(0.3, 0.6));
        if random.below(6) > 0 {
            let base = (top + size - tall) as i64;
            // A stem, sometimes a second one, and one or two bars.
            fill(on, x as i64, base, stroke, tall as i64, colour);
            if random.coin() {
                fill(on, (x + wide) as i64 - stroke, base, stroke, tall as i64, colour);
            }
            for _ in 0..=random.below(2) {
                fill(
                    on,
                    x as i64,
                    base + (tall * random.between(0.0, 0.9)) as i64,
                    wide as i64,
                    stroke,
                    colour,
                );
            }
        }
        x += wide + size * 0.2;
    }
}

/// Lines of text with a shadow, somewhere on the picture.
pub fn text(on: &mut RgbImage, lines: usize, share: f64, colour: Rgb<u8>, random: &mut Random) {
    let (w, h) = (f64::from(on.width()), f64::from(on.height()));
    for _ in 0..lines {
        let (x, y, size) = (random.between(0.0, 0.4) * w, random.between(0.02, 0.85) * h, share * h);
        let edge = (size * 0.08).max(1.0);
        let same = random.clone();
        letters(on, x + edge, y + edge, size, 18, BLACK, &mut same.clone());
        letters(on, x, y, size, 18, colour, random);
    }
}

/// A picture on a larger ground of one colour, its corner at `(left, top)`.
pub fn framed(picture: &RgbImage, width: u32, height: u32, left: u32, top: u32, colour: Rgb<u8>) -> RgbImage {
    let mut ground = RgbImage::from_pixel(width.max(1), height.max(1), colour);
    imageops::replace(&mut ground, picture, left.into(), top.into());
    ground
}

/// A border on all sides, as a share of the longer side.
pub fn border(picture: &RgbImage, share: f64, colour: Rgb<u8>) -> RgbImage {
    let (w, h) = picture.dimensions();
    let edge = (share * f64::from(w.max(h))) as u32;
    framed(picture, w + 2 * edge, h + 2 * edge, edge, edge, colour)
}

/// Bars that make a picture square.
pub fn square(picture: &RgbImage, colour: Rgb<u8>) -> RgbImage {
    let (w, h) = picture.dimensions();
    let side = w.max(h);
    framed(picture, side, side, (side - w) / 2, (side - h) / 2, colour)
}

/// A caption on a white bar above and large letters at the bottom.
pub fn meme(picture: &RgbImage, random: &mut Random) -> RgbImage {
    let (w, h) = picture.dimensions();
    let bar = h * 18 / 100;
    let mut out = framed(picture, w, h + bar, 0, bar, WHITE);
    let (wide, high) = (f64::from(w), f64::from(bar));
    for line in [0.1, 0.52] {
        letters(&mut out, wide * 0.03, high * line, high * 0.34, 30, BLACK, random);
    }
    let size = f64::from(h) * 0.1;
    letters(&mut out, wide * 0.2, f64::from(h + bar) - size * 1.3, size, 12, WHITE, random);
    out
}

/// The picture in a page: bars above, marks around it; tall as on a telephone or wide as on a desk.
pub fn screenshot(picture: &RgbImage, tall: bool, random: &mut Random) -> RgbImage {
    let dark = random.coin();
    let (ground, ink) = if dark { ([18; 3], [221; 3]) } else { ([250; 3], [34; 3]) };
    let (w, h) = picture.dimensions();
    let (width, height, left, top) =
        if tall { (w, (h * 8 / 5).max(w * 2), 0, 0) } else { (w * 19 / 10, h * 9 / 5, w / 2, h / 4) };
    let top = if tall { height * 11 / 100 } else { top };
    let mut page = framed(picture, width, height, left, top, Rgb(ground));
    let bar = Rgb(if dark { [0; 3] } else { [204; 3] });
    fill(&mut page, 0, 0, width.into(), i64::from(height) * 4 / 100, bar);
    let size = f64::from(height) * 0.022;
    letters(&mut page, f64::from(width) * 0.05, f64::from(height) * 0.06, size, 14, Rgb(ink), random);
    for line in 0..5_u32 {
        let y = f64::from(top + h) + size * 1.6 * f64::from(line + 1);
        letters(&mut page, f64::from(left) + size, y, size, 24, Rgb(ink), random);
    }
    page
}

/// The picture somewhere on another one, covering at most `share` of each side.
pub fn pasted(picture: &RgbImage, on: &RgbImage, share: f64, random: &mut Random) -> RgbImage {
    let (w, h) = (f64::from(on.width()), f64::from(on.height()));
    let scale = (share * w / f64::from(picture.width())).min(share * h / f64::from(picture.height()));
    let side = |length: u32| ((f64::from(length) * scale) as u32).max(1);
    let small =
        imageops::resize(picture, side(picture.width()), side(picture.height()), FilterType::CatmullRom);
    let mut out = on.clone();
    let x = random.between(0.0, (w - f64::from(small.width())).max(0.0));
    let y = random.between(0.0, (h - f64::from(small.height())).max(0.0));
    imageops::replace(&mut out, &small, x as i64, y as i64);
    out
}

/// Two pictures of one height side by side.
pub fn collage(picture: &RgbImage, other: &RgbImage, random: &mut Random) -> RgbImage {
    let height = picture.height();
    let width =
        (u64::from(other.width()) * u64::from(height) / u64::from(other.height())).clamp(1, 8192) as u32;
    let other = imageops::resize(other, width, height, FilterType::CatmullRom);
    let (left, right) = if random.coin() { (picture, &other) } else { (&other, picture) };
    let mut out = framed(left, left.width() + right.width() + 6, height, 0, 0, WHITE);
    imageops::replace(&mut out, right, i64::from(left.width()) + 6, 0);
    out
}

/// A box of one colour over a share of the area.
pub fn occluded(picture: &RgbImage, share: f64, random: &mut Random) -> RgbImage {
    let mut out = picture.clone();
    let (w, h, k) = (f64::from(out.width()), f64::from(out.height()), share.sqrt());
    let (x, y) = (random.between(0.0, w * (1.0 - k)), random.between(0.0, h * (1.0 - k)));
    let colour = Rgb(random.colour());
    fill(&mut out, x as i64, y as i64, (w * k) as i64, (h * k) as i64, colour);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_are_cut_at_the_edges() {
        let mut picture = RgbImage::new(4, 3);
        fill(&mut picture, -5, -5, 6, 7, WHITE);
        fill(&mut picture, 3, 2, 100, 100, WHITE);
        let white: Vec<_> =
            picture.enumerate_pixels().filter(|p| *p.2 == WHITE).map(|p| (p.0, p.1)).collect();
        assert_eq!(white, [(0, 0), (0, 1), (3, 2)]);
    }

    #[test]
    fn frames_have_their_sides() {
        let picture = RgbImage::from_pixel(100, 60, Rgb([9, 9, 9]));
        let random = &mut Random::of("frames");
        assert_eq!(border(&picture, 0.1, BLACK).dimensions(), (120, 80));
        assert_eq!(square(&picture, BLACK).dimensions(), (100, 100));
        assert_eq!(meme(&picture, random).dimensions(), (100, 70));
        assert_eq!(collage(&picture, &RgbImage::new(30, 20), random).dimensions(), (100 + 6 + 90, 60));
        for tall in [true, false] {
            let page = screenshot(&picture, tall, random);
            let inside = page.pixels().filter(|pixel| pixel.0 == [9; 3]).count();
            assert!(page.height() > 100 && inside > 5_500, "{inside}");
        }
    }
}
