//! Asking for memory before it is needed: rows of a large instance lie far apart, and each would be waited for.

/// Bytes of a line of the caches of most processors.
const LINE: usize = 64;

/// Asks for the lines that some values lie in. It changes nothing but the time that a later read takes.
#[inline]
#[allow(unsafe_code, reason = "the prefetch instruction")]
pub(crate) fn prefetch<T>(values: &[T]) {
    const {
        assert!(0 < size_of::<T>() && size_of::<T>() <= LINE, "one of a line's values stands for all of them")
    };
    #[cfg(target_arch = "x86_64")]
    for first in values.chunks(const { LINE / size_of::<T>() }) {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: SSE is part of x86-64; a prefetch reads nothing, and faults on no address.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(first.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = values;
}
