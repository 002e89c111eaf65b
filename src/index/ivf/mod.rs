//! Lists of rows around centres (an inverted file), with codes of one bit a value.

pub(crate) mod centroids;
pub(crate) mod code;
pub(crate) mod kmeans;
pub(crate) mod rotate;
