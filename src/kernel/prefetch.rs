//! Asking for memory before it is needed: rows of a large instance lie far apart, and each would be waited for.

/// Bytes of a line of the caches of most processors.
const LINE: usize = 64;

/// Asks for the lines of `bytes`. It changes nothing but the time that a later read takes.
#[inline]
#[allow(unsafe_code, reason = "the prefetch instruction")]
pub(crate) fn prefetch(bytes: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    for line in bytes.chunks(LINE) {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: SSE is part of x86-64; a prefetch reads nothing, and faults on no address.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (bytes, LINE);
}
