//! The fuzz targets, for `cargo fuzz` and for the runner of a stable toolchain alike.

pub mod mutate;
pub mod operations;
pub mod store;
pub mod targets;
