//! Rows in bulk, and what an instance says of itself.
//!
//! STAND-INS: both functions become calls of `Instance::import` and `Instance::stats` once those exist.

use lookalike::{Add, BatchOptions, Instance, Result};
use serde_json::{Value, json};

/// Adds rows that come one after another, durably when it returns.
pub(crate) fn import<'a>(instance: &Instance, rows: impl IntoIterator<Item = Add<'a>>) -> Result<()> {
    let mut rows = rows.into_iter();
    loop {
        let batch: Vec<Add<'_>> = rows.by_ref().take(4096).collect();
        if batch.is_empty() {
            return Ok(());
        }
        for added in instance.add_batch(&batch, &BatchOptions::new()) {
            added?;
        }
    }
}

/// What the instance says of itself: images, segments, lists, bytes on disk and on the heap, bytes of each plane.
pub(crate) fn stats(instance: &Instance) -> Result<Value> {
    Ok(json!({ "images": instance.len()? }))
}
