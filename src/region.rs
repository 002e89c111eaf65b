//! Boxes inside a picture: integers, checked arithmetic, and the only maker of crops.
//!
//! [`Region`] is what a request says and may be anything; [`View`] is a box that is known to lie inside its
//! picture. The way from one to the other is [`Region::fit`].

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::cell::Cell;
use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::image::{self, Decoded, Part, PictureError, Pixels, SizeLimits, Wish};

/// A box in a query picture, in pixels of the upright picture: the service's `box`.
///
/// Any integers are taken here; whether the box fits is known when the picture is. It must lie wholly inside
/// and be at least 1 x 1, else the search fails with IS.1008. The 100 pixel rule of pictures does not apply.
///
/// ```
/// use lookalike::Region;
///
/// let region = Region::new(40, 10, 300, 20);
/// assert_eq!((region.x(), region.y(), region.width(), region.height()), (40, 10, Some(300), Some(20)));
/// // A side that is left out reaches to the edge of the picture.
/// let tall = Region::from_origin(40, 10).with_width(300);
/// assert_eq!((tall.height(), tall.to_string()), (None, "40,10 300x*".to_owned()));
/// assert_eq!(tall.with_height(20), region);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Region {
    x: i64,
    y: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    width: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    height: Option<i64>,
}

impl Region {
    /// The box of `width` x `height` pixels whose top left pixel is `(x, y)`; `(0, 0)` is the picture's.
    pub fn new(x: i64, y: i64, width: i64, height: i64) -> Self {
        Self { x, y, width: Some(width), height: Some(height) }
    }

    /// The box from `(x, y)` to the right and bottom edges of the picture.
    pub fn from_origin(x: i64, y: i64) -> Self {
        Self { x, y, width: None, height: None }
    }

    /// The same box, `width` pixels wide.
    #[must_use]
    pub fn with_width(self, width: i64) -> Self {
        Self { width: Some(width), ..self }
    }

    /// The same box, `height` pixels high.
    #[must_use]
    pub fn with_height(self, height: i64) -> Self {
        Self { height: Some(height), ..self }
    }

    /// The leftmost column, in pixels.
    pub fn x(&self) -> i64 {
        self.x
    }

    /// The topmost row, in pixels.
    pub fn y(&self) -> i64 {
        self.y
    }

    /// Width in pixels; `None` reaches to the edge.
    pub fn width(&self) -> Option<i64> {
        self.width
    }

    /// Height in pixels; `None` reaches to the edge.
    pub fn height(&self) -> Option<i64> {
        self.height
    }

    /// The part of `pixels` that the region names.
    pub(crate) fn fit<'a>(&self, pixels: &'a Pixels) -> Result<View<'a>, RegionError> {
        let (width, height) = (pixels.width(), pixels.height());
        let part = self.part_of(width, height);
        let view = part.and_then(|p| View::new(pixels, p.left, p.top, p.width, p.height));
        view.ok_or(RegionError { region: *self, width, height })
    }

    /// The part that the region names of a picture with these sides, if it lies inside and is not empty.
    fn part_of(&self, width: u32, height: u32) -> Option<Part> {
        let (left, width) = fit_side(self.x, self.width, width)?;
        let (top, height) = fit_side(self.y, self.height, height)?;
        Some(Part { left, top, width, height })
    }
}

/// Prints as `40,10 300x20`; a side that reaches to the edge is `*`.
impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = |side: Option<i64>| side.map_or_else(|| "*".to_owned(), |side| side.to_string());
        write!(f, "{},{} {}x{}", self.x, self.y, side(self.width), side(self.height))
    }
}

/// Start and length of one side, if it lies inside `0..limit` and is not empty.
fn fit_side(start: i64, length: Option<i64>, limit: u32) -> Option<(u32, u32)> {
    let start = u32::try_from(start).ok()?;
    let rest = limit.checked_sub(start)?;
    let length = match length {
        Some(length) => u32::try_from(length).ok()?,
        None => rest,
    };
    (1..=rest).contains(&length).then_some((start, length))
}

/// A region that does not fit in its picture (IS.1008).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("region {region} does not fit in a {width}x{height} picture")]
pub(crate) struct RegionError {
    region: Region,
    width: u32,
    height: u32,
}

/// A file decoded as far as the region of it that is asked for needs.
#[derive(Debug)]
pub(crate) struct Picture(Result<Decoded, RegionError>);

impl Picture {
    /// Decodes `bytes` for `region` of it, or for all of it.
    ///
    /// With `target_px`, the sides of the plane that the model scales its view to, a JPEG that is much larger is
    /// decoded shrunk, and only around the region; without, the view is one of the whole picture in full size. The
    /// region counts in pixels of the upright picture in full size either way. Damage anywhere in the file is found
    /// either way, and comes before a region that does not fit.
    pub(crate) fn decode(
        bytes: &[u8],
        limits: &SizeLimits,
        region: Option<&Region>,
        target_px: Option<u32>,
    ) -> Result<Self, PictureError> {
        let region = region.copied().unwrap_or_default();
        let sides = Cell::new((0, 0));
        let part = |width, height| {
            sides.set((width, height));
            region.part_of(width, height)
        };
        let decoded = image::decode_for(bytes, limits, Wish { target_px, part: &part })?;
        let (width, height) = sides.get();
        Ok(Self(decoded.ok_or(RegionError { region, width, height })))
    }

    /// The region, or the whole picture.
    ///
    /// # Errors
    /// When the region does not fit.
    pub(crate) fn view(&self) -> Result<View<'_>, RegionError> {
        let Decoded { pixels, part } = self.0.as_ref().map_err(Clone::clone)?;
        // The part was made to lie inside; were it not, all of the pixels are shown.
        let view = View::new(pixels, part.left, part.top, part.width, part.height);
        Ok(view.unwrap_or_else(|| View::whole(pixels)))
    }
}

/// A part of a picture that is known to lie inside it and to hold at least one pixel.
///
/// ```
/// use lookalike::{Pixels, View};
///
/// let pixels = Pixels::from_rgb8(4, 2, (0..24).collect())?;
/// let right = View::whole(&pixels).part(2, 0, 2, 2).expect("it lies inside");
/// assert_eq!(right.row(1), &[18, 19, 20, 21, 22, 23]);
/// assert!(right.rows().eq([right.row(0), right.row(1)]));
/// assert_eq!((right.left(), right.top(), right.width(), right.height()), (2, 0, 2, 2));
/// assert!(right.part(1, 0, 2, 2).is_none());
/// assert!(!right.is_whole() && View::whole(right.pixels()).is_whole());
/// # Ok::<(), lookalike::PixelsError>(())
/// ```
#[derive(Clone, Copy)]
pub struct View<'a> {
    pixels: &'a Pixels,
    left: u32,
    top: u32,
    width: u32,
    height: u32,
}

impl<'a> View<'a> {
    /// The whole picture.
    pub fn whole(pixels: &'a Pixels) -> Self {
        Self { pixels, left: 0, top: 0, width: pixels.width(), height: pixels.height() }
    }

    /// The only place where a box is let through: inside the picture, not empty.
    fn new(pixels: &'a Pixels, left: u32, top: u32, width: u32, height: u32) -> Option<Self> {
        let inside = width >= 1
            && height >= 1
            && left.checked_add(width)? <= pixels.width()
            && top.checked_add(height)? <= pixels.height();
        inside.then_some(Self { pixels, left, top, width, height })
    }

    /// A part of this view; `left` and `top` count from the view's own corner, in pixels.
    ///
    /// `None` if it is empty or does not lie wholly inside.
    pub fn part(&self, left: u32, top: u32, width: u32, height: u32) -> Option<Self> {
        let inside = left.checked_add(width)? <= self.width && top.checked_add(height)? <= self.height;
        if !inside {
            return None;
        }
        Self::new(self.pixels, self.left.checked_add(left)?, self.top.checked_add(top)?, width, height)
    }

    /// The part between two corners given as fractions of the sides, `0.0..=1.0`, rounded to whole pixels.
    ///
    /// `None` if a fraction is out of range or not a number, or if no pixel is left.
    ///
    /// ```
    /// use lookalike::{Pixels, View};
    ///
    /// let pixels = Pixels::from_rgb8(100, 50, vec![7; 15_000])?;
    /// let middle = View::whole(&pixels).fraction(0.25, 0.25, 0.75, 0.75).expect("it lies inside");
    /// assert_eq!((middle.left(), middle.top(), middle.width(), middle.height()), (25, 13, 50, 25));
    /// assert!(middle.fraction(0.0, 0.0, 1.1, 1.0).is_none() && middle.fraction(0.5, 0.0, 0.5, 1.0).is_none());
    /// # Ok::<(), lookalike::PixelsError>(())
    /// ```
    pub fn fraction(&self, left: f64, top: f64, right: f64, bottom: f64) -> Option<Self> {
        let pixel = |fraction: f64, side: u32| {
            // The bounds hold for the product too; a NaN is in no range.
            (0.0..=1.0).contains(&fraction).then(|| (fraction * f64::from(side)).round() as u32)
        };
        let (x0, x1) = (pixel(left, self.width)?, pixel(right, self.width)?);
        let (y0, y1) = (pixel(top, self.height)?, pixel(bottom, self.height)?);
        self.part(x0, y0, x1.checked_sub(x0)?, y1.checked_sub(y0)?)
    }

    /// The picture this is a part of.
    pub fn pixels(&self) -> &'a Pixels {
        self.pixels
    }

    /// The leftmost column, counted in the picture, in pixels.
    pub fn left(&self) -> u32 {
        self.left
    }

    /// The topmost row, counted in the picture, in pixels.
    pub fn top(&self) -> u32 {
        self.top
    }

    /// Width in pixels, at least 1.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels, at least 1.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Whether this is the whole picture.
    pub fn is_whole(&self) -> bool {
        (self.width, self.height) == (self.pixels.width(), self.pixels.height())
    }

    /// Row `y` of the view, counted from its top: `width` pixels of three bytes. Empty past the last row.
    pub fn row(&self, y: u32) -> &'a [u8] {
        if y >= self.height {
            return &[];
        }
        let row = (self.top as usize + y as usize) * self.pixels.width() as usize;
        let start = (row + self.left as usize) * 3;
        self.pixels.as_rgb8().get(start..start + self.width as usize * 3).unwrap_or(&[])
    }

    /// The rows from top to bottom.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        let view = *self;
        (0..self.height).map(move |y| view.row(y))
    }

    /// A copy of the part as a picture of its own, three bytes a pixel.
    ///
    /// ```
    /// use lookalike::{Pixels, View};
    ///
    /// let pixels = Pixels::from_rgb8(4, 2, (0..24).collect())?;
    /// let corner = View::whole(&pixels).part(3, 1, 1, 1).expect("it lies inside").to_pixels();
    /// assert_eq!(corner, Pixels::from_rgb8(1, 1, vec![21, 22, 23])?);
    /// # Ok::<(), lookalike::PixelsError>(())
    /// ```
    pub fn to_pixels(&self) -> Pixels {
        let mut rgb = Vec::with_capacity(self.width as usize * self.height as usize * 3);
        self.rows().for_each(|row| rgb.extend_from_slice(row));
        // The rows are `height` times `width` pixels, so this cannot fail.
        Pixels::from_rgb8(self.width, self.height, rgb).unwrap_or_else(|_| self.pixels.clone())
    }
}

impl fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "View({},{} {}x{} of {:?})", self.left, self.top, self.width, self.height, self.pixels)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pixels(width: u32, height: u32) -> Pixels {
        let rgb = (0..width * height * 3).map(|i| (i * 7 % 251) as u8).collect();
        Pixels::from_rgb8(width, height, rgb).unwrap()
    }

    #[test]
    fn sides_are_those_that_were_given() {
        let of = |region: Region| (region.x(), region.y(), region.width(), region.height());
        assert_eq!(of(Region::new(1, 2, 3, 4)), (1, 2, Some(3), Some(4)));
        assert_eq!(of(Region::from_origin(1, 2)), (1, 2, None, None));
        assert_eq!(of(Region::from_origin(1, 2).with_height(5)), (1, 2, None, Some(5)));
        assert_eq!(of(Region::from_origin(1, 2).with_width(6).with_height(5)), (1, 2, Some(6), Some(5)));
    }

    #[test]
    fn says_what_does_not_fit() {
        let pixels = pixels(320, 240);
        let error = Region::new(40, 10, 300, 20).fit(&pixels).unwrap_err();
        assert_eq!(error.to_string(), "region 40,10 300x20 does not fit in a 320x240 picture");
        let error = Region::from_origin(320, 0).with_height(-1).fit(&pixels).unwrap_err();
        assert_eq!(error.to_string(), "region 320,0 *x-1 does not fit in a 320x240 picture");
    }

    #[test]
    fn missing_sides_reach_to_the_edge() {
        let pixels = pixels(320, 240);
        let view = Region::from_origin(300, 0).fit(&pixels).unwrap();
        assert_eq!((view.left(), view.top(), view.width(), view.height()), (300, 0, 20, 240));
        assert!(Region::default().fit(&pixels).unwrap().is_whole());
    }

    #[test]
    fn takes_boxes_smaller_than_a_picture_may_be() {
        let pixels = pixels(320, 240);
        assert!(Region::new(10, 10, 20, 50).fit(&pixels).is_ok());
        assert!(Region::new(319, 239, 1, 1).fit(&pixels).is_ok());
    }

    #[test]
    fn refuses_the_extremes() {
        let pixels = pixels(320, 240);
        let extremes = [i64::MIN, i64::MIN + 1, -1, 0, 1, i64::from(u32::MAX), i64::MAX - 1, i64::MAX];
        let mut fitted = 0;
        for x in extremes {
            for width in extremes {
                for (y, height) in [(0, 240), (i64::MAX, i64::MAX), (i64::MIN, i64::MIN)] {
                    fitted += usize::from(Region::new(x, y, width, height).fit(&pixels).is_ok());
                }
            }
        }
        // x 0 or 1 with width 1.
        assert_eq!(fitted, 2);
    }

    #[test]
    fn fractions_out_of_range_are_refused() {
        let pixels = pixels(100, 50);
        let whole = View::whole(&pixels);
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1e-9, 1.000_001, 1e300] {
            assert!(whole.fraction(bad, 0.0, 1.0, 1.0).is_none());
            assert!(whole.fraction(0.0, 0.0, 1.0, bad).is_none());
        }
        assert!(whole.fraction(0.5, 0.0, 0.5, 1.0).is_none());
        assert!(whole.fraction(0.6, 0.0, 0.5, 1.0).is_none());
        let part = whole.fraction(0.25, 0.5, 0.75, 1.0).unwrap();
        assert_eq!((part.left(), part.top(), part.width(), part.height()), (25, 25, 50, 25));
        assert!(whole.fraction(0.0, 0.0, 1.0, 1.0).unwrap().is_whole());
    }

    /// Numbers near the sides of small pictures, and numbers from anywhere.
    fn number() -> impl Strategy<Value = i64> {
        prop_oneof![8 => -3i64..40, 1 => any::<i64>(), 1 => Just(i64::MAX), 1 => Just(i64::MIN)]
    }

    proptest! {
        #[test]
        fn fits_exactly_what_lies_inside(
            (w, h) in (1u32..32, 1u32..32),
            (x, y) in (number(), number()),
            (width, height) in (proptest::option::of(number()), proptest::option::of(number())),
        ) {
            let pixels = pixels(w, h);
            let region = Region { x, y, width, height };
            let side = |start: i64, length: Option<i64>, limit: u32| {
                let (start, limit) = (i128::from(start), i128::from(limit));
                let length = length.map_or(limit - start, i128::from);
                (start >= 0 && length >= 1 && start + length <= limit).then_some((start, length))
            };
            let oracle = side(x, width, w).zip(side(y, height, h));
            let view = region.fit(&pixels).ok();
            let got = view.map(|v| {
                let wide = i128::from;
                ((wide(v.left()), wide(v.width())), (wide(v.top()), wide(v.height())))
            });
            prop_assert_eq!(got, oracle);
            if let Some(view) = view {
                let copy = view.to_pixels();
                prop_assert_eq!((copy.width(), copy.height()), (view.width(), view.height()));
                for row in 0..view.height() {
                    for column in 0..view.width() {
                        let at = |pixels: &Pixels, x: u32, y: u32| {
                            let start = ((y * pixels.width() + x) * 3) as usize;
                            pixels.as_rgb8()[start..start + 3].to_vec()
                        };
                        let want = at(&pixels, view.left() + column, view.top() + row);
                        prop_assert_eq!(at(&copy, column, row), want);
                    }
                }
            }
        }

        #[test]
        fn a_part_of_a_part_lies_inside(
            outer in (0u32..12, 0u32..12, 0u32..14, 0u32..14),
            inner in (any::<u32>(), 0u32..12, 0u32..12, any::<u32>()),
        ) {
            let pixels = pixels(12, 9);
            let Some(outer) = View::whole(&pixels).part(outer.0, outer.1, outer.2, outer.3) else {
                return Ok(());
            };
            for (x, y, w, h) in [inner, (inner.0 % 12, inner.1, inner.2, inner.3 % 12)] {
                if let Some(part) = outer.part(x, y, w, h) {
                    prop_assert!(part.left() >= outer.left() && part.top() >= outer.top());
                    prop_assert!(part.left() + part.width() <= outer.left() + outer.width());
                    prop_assert!(part.top() + part.height() <= outer.top() + outer.height());
                    prop_assert_eq!(part.rows().len() as u32, part.height());
                    prop_assert!(part.rows().all(|row| row.len() as u32 == part.width() * 3));
                }
            }
        }

        #[test]
        fn fractions_give_a_part_or_nothing(corners in proptest::array::uniform4(any::<f64>())) {
            let pixels = pixels(12, 9);
            let [a, b, c, d] = corners;
            for scale in [1.0, 1e300] {
                let view = View::whole(&pixels).fraction(a / scale, b / scale, c.abs().fract(), d.abs().fract());
                prop_assert!(view.is_none_or(|view| view.width() <= 12 && view.height() <= 9));
            }
        }
    }
}
