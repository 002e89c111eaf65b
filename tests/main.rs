//! The library through its public interface.

mod bed;
mod codes;
mod concurrency;
mod durability;
mod layering;
mod operations;
mod properties;
mod real_pictures;
