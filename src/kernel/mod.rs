//! Arithmetic on rows: exact in integers, so that every implementation gives the same bits.

mod dot;
pub(crate) mod image;

pub(crate) use dot::dot_i8;
