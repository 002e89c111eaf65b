//! Tags: the keys an instance allows, the values an image carries, and filters over them.

mod filter;
mod schema;
mod set;

pub(crate) use filter::Filter;
pub(crate) use schema::{Schema, SchemaError};
pub use set::Tags;
pub(crate) use set::{TagError, TagSet, Term};
