//! Rows in bulk, and what an instance says of itself.

use lookalike::{Add, Instance, Result};
use serde_json::{Value, json};

/// Adds rows that come one after another, durably when it returns.
pub(crate) fn import<'a>(instance: &Instance, rows: impl IntoIterator<Item = Add<'a>>) -> Result<()> {
    match instance.import(rows)?.failures.into_iter().next() {
        Some((_, error)) => Err(error),
        None => Ok(()),
    }
}

/// What the instance says of itself: images, segments, lists, bytes on disk and on the heap, bytes of each plane.
pub(crate) fn stats(instance: &Instance) -> Result<Value> {
    Ok(json!(instance.stats()?))
}
