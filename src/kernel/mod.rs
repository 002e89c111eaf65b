//! Arithmetic on rows: exact in integers, so that every implementation gives the same bits.

pub(crate) mod bits;
mod conv;
mod dot;
pub(crate) mod image;
pub(crate) mod table;

pub(crate) use conv::{
    Depthwise, Entry, Kernel, Output, Pointwise, Rounding, Stem, StemScratch, Stream, Window,
};
pub(crate) use dot::{DotQuery, WideQuery, dot_i8};
