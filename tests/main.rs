//! The library through its public interface.

#![allow(unreachable_pub, reason = "a test binary has no public interface")]

mod bed;
mod codes;
mod concurrency;
mod copies;
mod corruption;
mod crash;
mod crash_safety;
mod disk_full;
mod durability;
mod golden;
mod index;
mod layering;
mod operations;
mod properties;
mod random;
mod real_pictures;
mod whole;
#[cfg(feature = "wire")]
mod wire;
