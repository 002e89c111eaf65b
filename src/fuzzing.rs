//! Entries for fuzzing, without promises about versions: the parsers that no public call reaches alone.
//!
//! Each takes any bytes. It may refuse them; it must not panic, take long, or need more memory than they are worth.

use crate::image::{Pixels, SizeLimits};
use crate::region::{Picture, Region};
use crate::resample::Resampler;
use crate::store;

/// Decodes a picture for a part of it, as a search does; gives the sides of what is seen.
pub fn picture(bytes: &[u8], region: Option<&Region>, target_px: Option<u32>) -> Option<(u32, u32)> {
    let limits = SizeLimits { min_side_px: 1, ..SizeLimits::default() };
    let picture = Picture::decode(bytes, &limits, region, target_px).ok()?;
    let view = picture.view().ok()?;
    assert_eq!(
        view.rows().map(<[u8]>::len).sum::<usize>(),
        view.width() as usize * view.height() as usize * 3
    );
    Some((view.width(), view.height()))
}

/// Framed files: manifests, dead rows, centres.
pub fn frame(bytes: &[u8]) {
    store::fuzzing::frame(bytes);
}

/// The payload of a manifest.
pub fn manifest(bytes: &[u8]) {
    store::fuzzing::manifest(bytes);
}

/// A log.
pub fn log(bytes: &[u8]) {
    store::fuzzing::log(bytes);
}

/// A segment.
pub fn segment(bytes: &[u8]) {
    store::fuzzing::segment(bytes);
}

/// The sides of the part of a picture that a region names, if it fits.
pub fn region(pixels: &Pixels, region: &Region) -> Option<(u32, u32)> {
    let view = region.fit(pixels).ok()?;
    let seen = view.to_pixels();
    assert_eq!((seen.width(), seen.height()), (view.width(), view.height()));
    let (mut planes, mut resampler) = (Vec::new(), Resampler::default());
    assert!(resampler.small(view, &mut planes).is_ok() && resampler.network(view, &mut planes).is_ok());
    Some((view.width(), view.height()))
}
