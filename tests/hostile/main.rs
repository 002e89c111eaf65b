//! Input meant to harm: how long it takes to refuse, and how much memory.
//!
//! A program of its own, for its allocator counts; run alone, for its clock is the machine's. Times are demanded of
//! optimised code alone.

#![allow(unreachable_pub, reason = "a test binary has no public interface")]

mod pictures;
mod requests;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Counts what is held.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: hands everything to the system's allocator and only counts.
#[allow(unsafe_code, reason = "a counting allocator")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(held, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(held, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // Large blocks grow where they are, or their pages move: both are never held.
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        let held = HELD.fetch_add(new_size, Ordering::Relaxed) + new_size;
        PEAK.fetch_max(held, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(pointer, layout, new_size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What a call gave, the shortest time of three, and the most memory of any beyond what was held before.
pub fn measured<T>(mut call: impl FnMut() -> T) -> (T, Duration, usize) {
    let (mut shortest, mut most, mut last) = (Duration::MAX, 0, None);
    for _ in 0..3 {
        drop(last.take());
        let before = HELD.load(Ordering::Relaxed);
        PEAK.store(before, Ordering::Relaxed);
        let began = Instant::now();
        last = Some(call());
        shortest = shortest.min(began.elapsed());
        most = most.max(PEAK.load(Ordering::Relaxed).saturating_sub(before));
    }
    (last.expect("three calls"), shortest, most)
}

/// Whether a time counts: the code is optimised.
pub fn timed(took: Duration, most_ms: u64) -> bool {
    cfg!(debug_assertions) || took <= Duration::from_millis(most_ms)
}

/// One test, so that nothing else allocates or runs meanwhile.
#[test]
fn hostile_input_is_refused_quickly_and_in_little_memory() {
    pictures::hostile_pictures();
    requests::hostile_requests();
    requests::panics_of_others();
}
