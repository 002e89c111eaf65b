//! Threads that help with one large search.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// How many threads the searches of a gallery may take beside those of their callers, all together.
///
/// They are made for a search and end with it: 20 us each, and only for work of milliseconds. A pool's would have to be
/// waited for when it is busy, and the host's pool is, for seconds, when it embeds pictures.
#[derive(Debug)]
pub(crate) struct Crew {
    free: AtomicUsize,
}

impl Crew {
    /// `threads`: of one search, its caller's included.
    pub(crate) fn new(threads: usize) -> Self {
        Self { free: AtomicUsize::new(threads.saturating_sub(1)) }
    }

    /// Does every piece of a work, on this thread and on at most `most` others, and gives what each thread made of its
    /// share. A thread that is done with a piece takes the next; after an error no further one is begun.
    ///
    /// # Panics
    /// With what a piece panics with, after the other threads have ended.
    pub(super) fn share<P: Sync, S: Send, E: Send>(
        &self,
        pieces: &[P],
        most: usize,
        start: impl Fn() -> S + Sync,
        work: impl Fn(&mut S, &P) -> Result<(), E> + Sync,
    ) -> Result<Vec<S>, E> {
        let taken = Taken::new(&self.free, most.min(pieces.len().saturating_sub(1)));
        let next = AtomicUsize::new(0);
        let one = || {
            let mut own = start();
            while let Some(piece) = pieces.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let Err(error) = work(&mut own, piece) {
                    next.store(pieces.len(), Ordering::Relaxed);
                    return Err(error);
                }
            }
            Ok(own)
        };
        thread::scope(|scope| {
            // A thread that cannot be had is done without.
            let spawn =
                |_| thread::Builder::new().name("lookalike-search".into()).spawn_scoped(scope, one).ok();
            let helpers: Vec<_> = (0..taken.count).filter_map(spawn).collect();
            let mut shares = vec![one()];
            for helper in helpers {
                shares.push(helper.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            shares.into_iter().collect()
        })
    }
}

/// Threads that a search has, until it ends, however it ends.
struct Taken<'a> {
    free: &'a AtomicUsize,
    count: usize,
}

impl<'a> Taken<'a> {
    fn new(free: &'a AtomicUsize, most: usize) -> Self {
        let take = |free: usize| Some(free - free.min(most));
        // The number says who may start a thread and nothing about memory, so order is free.
        let before = free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        Self { free, count: before.unwrap_or_default().min(most) }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.free.fetch_add(self.count, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn every_piece_is_done_once() {
        for threads in [0, 1, 2, 5] {
            let crew = Crew::new(threads);
            for count in [0u64, 1, 2, 100] {
                let pieces: Vec<u64> = (0..count).collect();
                let add = |sum: &mut u64, piece: &u64| {
                    *sum += 1 << 32 | piece;
                    Ok::<_, ()>(())
                };
                let shares = crew.share(&pieces, 3, || 0, add).unwrap();
                assert!(shares.len() <= 4.min(threads.max(1)).min(pieces.len().max(1)), "{}", shares.len());
                assert_eq!(shares.iter().sum::<u64>(), pieces.iter().map(|piece| 1 << 32 | piece).sum());
            }
            assert_eq!(crew.free.into_inner(), threads.saturating_sub(1));
        }
    }

    #[test]
    fn errors_and_panics_end_it_and_give_the_threads_back() {
        let crew = Crew::new(4);
        let pieces: Vec<u32> = (0..1000).collect();
        let fail = |(): &mut (), &piece: &u32| if piece == 5 { Err(piece) } else { Ok(()) };
        assert_eq!(crew.share(&pieces, 3, || (), fail), Err(5));
        let panic = |(): &mut (), &piece: &u32| {
            assert!(piece != 5, "on purpose");
            Ok::<_, ()>(())
        };
        assert!(catch_unwind(AssertUnwindSafe(|| crew.share(&pieces, 3, || (), panic))).is_err());
        assert_eq!(crew.free.into_inner(), 3);
    }
}
