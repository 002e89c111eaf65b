//! The fuzz targets, for `cargo fuzz` and for the runner of a stable toolchain alike.

pub mod mutate;
pub mod operations;
pub mod requests;
pub mod store;
pub mod targets;
