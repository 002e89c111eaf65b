//! Spans of the public operations, for whoever watches: with the feature `tracing`; without it nothing is left of them.
//!
//! A span has the operation's name, the target `lookalike`, the level DEBUG and these fields: `instance`; once it is known,
//! `count` (hits, images, rows: what the operation gave) and, of a refused one, `code`. No paths and no tags: they are the
//! caller's data.

use crate::error::Result;

/// An operation that is watched.
#[cfg(feature = "tracing")]
pub(crate) struct Span(pub(crate) ::tracing::Span);

/// Nothing.
#[cfg(not(feature = "tracing"))]
pub(crate) struct Span;

/// The span of an operation: its name and the instance's.
#[cfg(feature = "tracing")]
macro_rules! span {
    ($name:literal, $instance:expr) => {
        $crate::trace::Span(::tracing::debug_span!(
            target: "lookalike",
            $name,
            instance = $instance,
            count = ::tracing::field::Empty,
            code = ::tracing::field::Empty
        ))
    };
}

#[cfg(not(feature = "tracing"))]
macro_rules! span {
    ($name:literal, $instance:expr) => {{
        let _ = $instance;
        $crate::trace::Span
    }};
}

pub(crate) use span;

impl Span {
    /// Does the work inside the span; `count` says how much came of it.
    #[inline]
    pub(crate) fn run<T>(self, count: impl FnOnce(&T) -> u64, work: impl FnOnce() -> Result<T>) -> Result<T> {
        #[cfg(feature = "tracing")]
        return self.watch(count, work);
        #[cfg(not(feature = "tracing"))]
        {
            let _ = (self, count);
            work()
        }
    }

    #[cfg(feature = "tracing")]
    fn watch<T>(self, count: impl FnOnce(&T) -> u64, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let result = self.0.in_scope(work);
        match &result {
            Ok(done) => {
                self.0.record("count", count(done));
            }
            Err(error) => {
                self.0.record("code", error.code().as_str());
            }
        }
        result
    }

    /// The same for work that cannot be refused as a whole.
    #[inline]
    pub(crate) fn run_all<T>(self, count: impl FnOnce(&T) -> u64, work: impl FnOnce() -> T) -> T {
        #[cfg(feature = "tracing")]
        {
            let done = self.0.in_scope(work);
            self.0.record("count", count(&done));
            done
        }
        #[cfg(not(feature = "tracing"))]
        {
            let _ = (self, count);
            work()
        }
    }
}
