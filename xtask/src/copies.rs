//! Copies of pictures made by this tool, in memory.

use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, RgbImage};
use lookalike::{Pixels, SizeLimits};

use crate::Failure;
use crate::pictures::{Listed, pixels};
use crate::random::Random;
use crate::transform::{MIXED, SINGLE, apply};

/// A copy to make: of which picture (its place in a list), and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// The place of the original.
    pub original: usize,
    /// A name that [`apply`] knows.
    pub transform: &'static str,
}

/// `each` orders for each of `count` pictures, in rotation, so that all transforms are used equally often.
pub fn orders(count: usize, each: usize) -> Vec<Order> {
    let names = SINGLE.iter().chain(&MIXED).copied();
    // A step that shares no factor with the number of names visits all of them, far from each other.
    let names: Vec<&str> = names.collect();
    const STEP: usize = 17;
    (0..count * each)
        .map(|at| Order { original: at / each, transform: names[at * STEP % names.len()] })
        .collect()
}

/// Makes a copy and reads it back through JPEG, as a copy out of the wild comes.
///
/// # Errors
/// When a picture cannot be read, or the encoder refuses.
pub fn make(order: &Order, list: &[Listed]) -> Result<Pixels, Failure> {
    let listed = &list[order.original];
    let random = &mut Random::of(&format!("{}|{}", listed.path, order.transform));
    let original = picture(listed)?;
    // Few transforms take a second picture, but which they are is not known here; reading it costs little.
    let other = picture(&list[random.below(list.len())])?;
    let (copy, quality) = apply(order.transform, &original, &other, random)
        .ok_or(Failure::Numbers("an order for a transform that does not exist"))?;
    let mut file = Vec::new();
    JpegEncoder::new_with_quality(&mut file, quality)
        .encode(copy.as_raw(), copy.width(), copy.height(), ExtendedColorType::Rgb8)
        .map_err(|error| Failure::file(&listed.file, error))?;
    Pixels::decode(&file, &SizeLimits::any()).map_err(|error| Failure::file(&listed.file, error))
}

fn picture(listed: &Listed) -> Result<RgbImage, Failure> {
    let pixels = pixels(&listed.file)?;
    let (w, h) = (pixels.width(), pixels.height());
    RgbImage::from_raw(w, h, pixels.as_rgb8().to_vec())
        .ok_or_else(|| Failure::file(&listed.file, "its pixels do not fill its sides"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn all_transforms_are_ordered_equally_often() {
        let all = SINGLE.len() + MIXED.len();
        let orders = orders(all, 3);
        assert_eq!(orders.len(), 3 * all);
        let used: BTreeSet<_> = orders.iter().map(|order| order.transform).collect();
        assert_eq!(used.len(), all);
        for three in orders.chunks(3) {
            assert_eq!(three.iter().map(|order| order.transform).collect::<BTreeSet<_>>().len(), 3);
        }
    }

    #[test]
    fn copies_of_a_picture_are_made() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/pictures/cat.jpg");
        let listed = Listed {
            file,
            path: "cat.jpg".to_owned(),
            label: "cat".to_owned(),
            role: "both".to_owned(),
            group: String::new(),
            positive: true,
        };
        for transform in ["jpeg_8", "square", "collage"] {
            let order = Order { original: 0, transform };
            let copy = make(&order, std::slice::from_ref(&listed)).unwrap();
            assert_eq!(copy, make(&order, std::slice::from_ref(&listed)).unwrap());
            assert!(copy.width() >= 451 && copy.height() >= 300, "{transform}");
        }
        assert!(make(&Order { original: 0, transform: "none" }, &[listed]).is_err());
    }
}
