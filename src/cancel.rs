//! Calling work off.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Calls off what is under way: clones are one token, to be kept by whoever may want to stop the work.
///
/// [`Instance::cancelled_by`](crate::Instance::cancelled_by) gives a handle whose operations look at it; they then end with
/// IS.0012, the kind [`Cancelled`](crate::ErrorKind::Cancelled), within some milliseconds. A token that was called off stays so.
///
/// ```
/// let token = lookalike::CancelToken::new();
/// let other = token.clone();
/// other.cancel();
/// assert!(token.is_cancelled());
/// ```
#[derive(Debug, Clone, Default)]
pub struct CancelToken {
    called_off: Arc<AtomicBool>,
}

impl CancelToken {
    /// Nothing is called off yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Calls it off, from any thread.
    pub fn cancel(&self) {
        self.called_off.store(true, Ordering::Relaxed);
    }

    /// Whether it was called off.
    pub fn is_cancelled(&self) -> bool {
        self.called_off.load(Ordering::Relaxed)
    }

    pub(crate) fn flag(&self) -> &AtomicBool {
        &self.called_off
    }
}

/// Reasons to give up long work: any of two flags.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stop<'a> {
    flags: [Option<&'a AtomicBool>; 2],
}

impl<'a> Stop<'a> {
    pub(crate) fn either(one: &'a AtomicBool, other: Option<&'a AtomicBool>) -> Self {
        Self { flags: [Some(one), other] }
    }

    /// Of work that is always done to its end.
    pub(crate) fn never() -> Self {
        Self { flags: [None, None] }
    }

    pub(crate) fn asked(&self) -> bool {
        self.flags.iter().flatten().any(|flag| flag.load(Ordering::Relaxed))
    }
}
