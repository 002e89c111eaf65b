//! Lists of rows around centres (an inverted file), with codes of one bit a value.

mod centroids;
mod code;
mod gaps;
mod groups;
mod kmeans;
mod probe;
mod rotate;

pub(crate) use centroids::{Centroids, Encoder};
pub(crate) use gaps::{DEPTHS, Gaps, Reach};
pub(crate) use kmeans::{OVERLONG, Sample, Threads, divide, train};
pub(crate) use probe::{ListQuery, probe};
