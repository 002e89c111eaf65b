//! Arithmetic on rows: exact in integers, so that every implementation gives the same bits.

pub(crate) mod bits;
mod conv;
mod dot;
mod hadamard;
pub(crate) mod image;
mod prefetch;
pub(crate) mod table;
mod upper;

pub(crate) use conv::{
    Depthwise, Entry, Kernel, Output, Pointwise, Rounding, Stem, StemScratch, Stream, Window,
};
pub(crate) use dot::{WideQuery, dot_i8};
pub(crate) use hadamard::hadamard;
pub(crate) use prefetch::prefetch;
pub(crate) use upper::{TOGETHER, UpperQuery};
