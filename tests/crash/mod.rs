//! The crash simulator: a whole gallery on a disk in memory, the power cut at every event, and after each cut everything
//! looked at: nothing that was acknowledged may be missing, nothing may be there that nobody asked for, no opening may be
//! refused, and every answer must be that of brute force.
//!
//! `tests/crash_safety.rs` runs its short form and `cargo xtask crash` the long one, from these same files.

#![allow(dead_code, reason = "each of the two uses some of it")]
#![allow(unused_imports, reason = "as above")]

pub mod faults;
mod model;
mod observe;
mod script;
#[cfg(feature = "seeded-bugs")]
pub mod seeded;
mod sweep;

pub use sweep::{Figures, Plan, run};
