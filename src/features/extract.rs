//! From a view to its descriptors, before any projection: what a projection is fitted on and what it is given.

use std::cell::RefCell;

use super::bundle::BundleError;
use super::cnn::{Network, Taps};
use super::embedder::EmbedError;
use super::perceptual::{Grey, Histogram, Spectrum, edges};
use crate::region::View;
use crate::resample::Resampler;

/// The network and the tables of the perceptual half.
#[derive(Debug)]
pub(super) struct Extractor {
    network: Network,
    histogram: Histogram,
}

/// What is known of a view before it is projected.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Raw {
    /// Both layers of the network, pooled.
    pub(super) taps: Taps,
    /// `perceptual::HIST` values.
    pub(super) hist: Vec<f32>,
    /// `perceptual::EDGE` values.
    pub(super) edge: Vec<f32>,
    /// The perceptual hash.
    pub(super) hash: [u8; 32],
}

/// The planes of one picture and the memory to make them; kept by each thread.
#[derive(Default)]
struct Planes {
    resampler: Resampler,
    rgb224: Vec<u8>,
    rgb64: Vec<u8>,
}

thread_local! {
    static PLANES: RefCell<Planes> = RefCell::default();
}

impl Extractor {
    /// With the network inside this crate.
    pub(super) fn load() -> Result<Self, BundleError> {
        Ok(Self { network: Network::load()?, histogram: Histogram::new() })
    }

    /// The descriptors of a view.
    pub(super) fn run(&self, view: View<'_>) -> Result<Raw, EmbedError> {
        PLANES.with_borrow_mut(|planes| {
            let Planes { resampler, rgb224, rgb64 } = planes;
            resampler.network(view, rgb224).map_err(|refused| EmbedError::Failed(Box::new(refused)))?;
            resampler.small(view, rgb64).map_err(|refused| EmbedError::Failed(Box::new(refused)))?;
            let grey = Grey::new(rgb64);
            Ok(Raw {
                taps: self.network.run(rgb224),
                hist: self.histogram.of(rgb64),
                edge: edges(&grey),
                hash: Spectrum::new(&grey).hash(),
            })
        })
    }
}
