//! What fitting a projection needs of the library: raw descriptors, and the file of a projection as numbers.
//! For `xtask`; not covered by the promises about versions.

use std::sync::OnceLock;

use super::bundle::{Bundle, BundleError, sealed};
use super::cnn::Network;
use super::cnn::{LAST, MIDDLE};
use super::common_search::scaled;
use super::embedder::EmbedError;
use super::fuse::{COLUMNS, PROJECTION, VERSION};
use super::perceptual::{EDGE, Grey, HIST, Histogram, edges};
use crate::kernel::Kernel;
use crate::region::View;

/// Lengths of the descriptors, in the order of [`Descriptors::all`].
pub const LENGTHS: [usize; 4] = [LAST, MIDDLE, HIST, EDGE];
/// Columns of every matrix of a projection.
pub const WIDTH: usize = COLUMNS;

/// The raw descriptors of a picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Descriptors {
    /// The last map of the network, GeM pooled: 1280 values.
    pub gem: Vec<f32>,
    /// `block11.expand`, GeM pooled: 672 values.
    pub e6: Vec<f32>,
    /// The colour histogram: 144 values.
    pub hist: Vec<f32>,
    /// The grid of orientations: 128 values.
    pub edge: Vec<f32>,
}

impl Descriptors {
    /// All of them: `gem`, `e6`, `hist`, `edge`.
    pub fn all(&self) -> [&[f32]; 4] {
        [&self.gem, &self.e6, &self.hist, &self.edge]
    }
}

/// The descriptors of a view, as every model of this crate computes them.
///
/// # Errors
/// [`EmbedError`] when the weights are damaged or the view cannot be scaled.
pub fn descriptors(view: View<'_>) -> Result<Descriptors, EmbedError> {
    static LOADED: OnceLock<Result<(Network, Histogram), BundleError>> = OnceLock::new();
    let load = || Ok((Network::load(Kernel::best())?, Histogram::new()));
    let loaded = LOADED.get_or_init(load).as_ref();
    let (network, histogram) = loaded.map_err(|damage| EmbedError::Unusable(Box::new(*damage)))?;
    scaled(view, |rgb224, rgb64| {
        let taps = network.run(rgb224);
        let edge = edges(&Grey::new(rgb64));
        Descriptors { gem: taps.last, e6: taps.middle, hist: histogram.of(rgb64), edge }
    })
}

/// The file of the projection inside this crate.
pub fn built_in() -> &'static [u8] {
    PROJECTION
}

/// A projection as numbers: `y_S = sum n_k(x) S_k + bias`, `y_C` likewise, `n_k(x) = L2(L2(x) - mean_k)`.
///
/// Matrices are row-major, as many rows as their descriptor has values, [`WIDTH`] columns, the most important first.
#[derive(Debug, Clone, PartialEq)]
pub struct Projection {
    /// What is subtracted of `gem`, `e6`, `hist` and `edge`.
    pub means: [Vec<f32>; 4],
    /// Semantic block: matrices of `gem`, `hist`, `edge`.
    pub semantic: [Vec<f32>; 3],
    /// Added to the semantic block.
    pub semantic_bias: Vec<f32>,
    /// Copy block: matrices of `e6`, `hist`.
    pub copy: [Vec<f32>; 2],
    /// Added to the copy block.
    pub copy_bias: Vec<f32>,
}

/// Rows of the matrices of the semantic and of the copy block.
const SEMANTIC: [usize; 3] = [LAST, HIST, EDGE];
const COPY: [usize; 2] = [MIDDLE, HIST];

impl Projection {
    /// The file (docs/model.md has every byte). Matrices are rounded to 16 bits by column.
    ///
    /// # Errors
    /// [`EmbedError::Unusable`] when a length is wrong or a value is not finite.
    pub fn to_bytes(&self) -> Result<Vec<u8>, EmbedError> {
        let lengths = self.means.iter().map(Vec::len).eq(LENGTHS)
            && self.semantic.iter().map(Vec::len).eq(SEMANTIC.map(|rows| rows * COLUMNS))
            && self.copy.iter().map(Vec::len).eq(COPY.map(|rows| rows * COLUMNS))
            && [&self.semantic_bias, &self.copy_bias].iter().all(|bias| bias.len() == COLUMNS);
        let mut values = (self.means.iter().chain(&self.semantic).chain(&self.copy))
            .chain([&self.semantic_bias, &self.copy_bias])
            .flatten();
        if !lengths || !values.all(|value| value.is_finite()) {
            return Err(EmbedError::Unusable("a projection of other lengths, or not of numbers".into()));
        }
        let mut payload = Vec::new();
        self.means.iter().for_each(|mean| put_vector(&mut payload, mean));
        self.semantic.iter().for_each(|matrix| put_matrix(&mut payload, matrix));
        put_vector(&mut payload, &self.semantic_bias);
        self.copy.iter().for_each(|matrix| put_matrix(&mut payload, matrix));
        put_vector(&mut payload, &self.copy_bias);
        Ok(sealed(b"lkl-proj", VERSION, &payload))
    }

    /// Reads a file that [`to_bytes`](Self::to_bytes) made.
    ///
    /// # Errors
    /// [`EmbedError::Unusable`] when it is damaged or of another kind.
    pub fn from_bytes(raw: &[u8]) -> Result<Self, EmbedError> {
        Self::read(raw).map_err(|damage| EmbedError::Unusable(Box::new(damage)))
    }

    fn read(raw: &[u8]) -> Result<Self, BundleError> {
        let mut bundle = Bundle::open("projection", b"lkl-proj", VERSION, raw)?;
        let file = &mut bundle;
        let [gem, e6, hist, edge] = LENGTHS;
        let projection = Self {
            means: [
                take_vector(file, gem)?,
                take_vector(file, e6)?,
                take_vector(file, hist)?,
                take_vector(file, edge)?,
            ],
            semantic: [take_matrix(file, gem)?, take_matrix(file, hist)?, take_matrix(file, edge)?],
            semantic_bias: take_vector(file, COLUMNS)?,
            copy: [take_matrix(file, e6)?, take_matrix(file, hist)?],
            copy_bias: take_vector(file, COLUMNS)?,
        };
        bundle.finish()?;
        Ok(projection)
    }
}

fn put_vector(to: &mut Vec<u8>, values: &[f32]) {
    // No descriptor is longer than some thousand values.
    to.extend((values.len() as u32).to_le_bytes());
    values.iter().for_each(|value| to.extend(value.to_le_bytes()));
}

fn put_matrix(to: &mut Vec<u8>, values: &[f32]) {
    let mut largest = [0.0_f32; COLUMNS];
    for row in values.chunks_exact(COLUMNS) {
        largest.iter_mut().zip(row).for_each(|(most, value)| *most = most.max(value.abs()));
    }
    // A column of zeros keeps a step above zero, so that dividing by it gives codes of zero.
    let steps = largest.map(|most| if most > 0.0 { most / f32::from(i16::MAX) } else { 1.0 });
    to.extend(((values.len() / COLUMNS) as u32).to_le_bytes());
    to.extend((COLUMNS as u32).to_le_bytes());
    steps.iter().for_each(|step| to.extend(step.to_le_bytes()));
    for row in values.chunks_exact(COLUMNS) {
        for (value, step) in row.iter().zip(&steps) {
            to.extend(((value / step).round_ties_even() as i16).to_le_bytes());
        }
    }
    debug_assert!(to.len().is_multiple_of(4));
}

fn take_vector(file: &mut Bundle<'_>, len: usize) -> Result<Vec<f32>, BundleError> {
    file.expect(len)?;
    file.f32s(len)
}

fn take_matrix(file: &mut Bundle<'_>, rows: usize) -> Result<Vec<f32>, BundleError> {
    file.expect(rows)?;
    file.expect(COLUMNS)?;
    let steps = file.f32s(COLUMNS)?;
    let codes = file.bytes(rows * COLUMNS * 2)?.as_chunks::<2>().0;
    Ok(codes
        .iter()
        .zip(steps.iter().cycle())
        .map(|(code, step)| f32::from(i16::from_le_bytes(*code)) * step)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_file_comes_back_byte_for_byte() {
        let projection = Projection::from_bytes(PROJECTION).unwrap();
        assert_eq!(projection.to_bytes().unwrap(), PROJECTION);
    }

    #[test]
    fn damage_and_foreign_files_are_refused() {
        for at in [0, 9, 13, 17, 30, 5_000, 700_000, PROJECTION.len() - 1] {
            let mut raw = PROJECTION.to_vec();
            raw[at] ^= 0x20;
            assert!(Projection::from_bytes(&raw).is_err(), "{at}");
        }
        for len in [0, 19, 20, 1_000, PROJECTION.len() - 1] {
            assert!(Projection::from_bytes(&PROJECTION[..len]).is_err(), "{len}");
        }
        let longer = sealed(b"lkl-proj", VERSION, &[&PROJECTION[20..], &[0; 4]].concat());
        assert!(Projection::from_bytes(&longer).is_err());
    }

    #[test]
    fn what_is_no_projection_is_not_written() {
        let good = Projection::from_bytes(PROJECTION).unwrap();
        let mut short = good.clone();
        short.copy[1].pop();
        let mut wild = good.clone();
        wild.semantic_bias[3] = f32::NAN;
        assert!(short.to_bytes().is_err() && wild.to_bytes().is_err());
        // A column of zeros stays one.
        let mut empty = good;
        empty.copy[0].iter_mut().step_by(COLUMNS).for_each(|value| *value = 0.0);
        let back = Projection::from_bytes(&empty.to_bytes().unwrap()).unwrap();
        assert!(back.copy[0].iter().step_by(COLUMNS).all(|value| *value == 0.0));
    }
}
