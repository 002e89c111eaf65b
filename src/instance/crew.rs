//! Threads that help with one large search, or with a batch of vectors.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

/// How many threads the calls of a gallery may take beside those of their callers, all together.
///
/// They are made for a call and end with it: 20 us each, and only for work of milliseconds. A pool's would have to be
/// waited for when it is busy, and the host's pool is, for seconds, when it embeds pictures.
#[derive(Debug)]
pub(crate) struct Crew {
    free: AtomicUsize,
}

impl Crew {
    /// `threads`: of one call, its caller's included.
    pub(crate) fn new(threads: usize) -> Self {
        Self { free: AtomicUsize::new(threads.saturating_sub(1)) }
    }

    /// Does every piece of a work, on this thread and on at most `most` others, and gives what each thread made of its
    /// share. Each begins with a stretch of its own, the same whenever so many threads do as many pieces: a search that
    /// reads the same rows again then finds them in the caches of the core that read them. Who is done takes from the ends of
    /// others; after an error no further piece is begun.
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
        let threads = taken.count + 1;
        let begin = |thread: usize| (thread * pieces.len() / threads) as u32;
        let stretches: Vec<Stretch> =
            (0..threads).map(|thread| Stretch::new(begin(thread)..begin(thread + 1))).collect();
        let stretches = &stretches;
        let (start, work) = (&start, &work);
        let one = move |thread: usize| {
            let mut own = start();
            let its = || stretches[thread].first();
            let others = || (1..threads).find_map(|other| stretches[(thread + other) % threads].last());
            while let Some(piece) = its().or_else(others) {
                if let Err(error) = work(&mut own, &pieces[piece as usize]) {
                    stretches.iter().for_each(Stretch::clear);
                    return Err(error);
                }
            }
            Ok(own)
        };
        thread::scope(|scope| {
            // A thread that cannot be had is done without.
            let spawn = |thread| {
                let builder = thread::Builder::new().name("lookalike-helper".into());
                builder.spawn_scoped(scope, move || one(thread)).ok()
            };
            let helpers: Vec<_> = (1..threads).filter_map(spawn).collect();
            let mut shares = vec![one(0)];
            for helper in helpers {
                shares.push(helper.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            shares.into_iter().collect()
        })
    }
}

/// Pieces that nobody has taken yet: where they begin in the upper half, and where they end in the lower.
struct Stretch(AtomicU64);

impl Stretch {
    fn new(pieces: Range<u32>) -> Self {
        Self(AtomicU64::new(Self::pack(pieces)))
    }

    fn pack(pieces: Range<u32>) -> u64 {
        u64::from(pieces.start) << 32 | u64::from(pieces.end)
    }

    /// Takes one of the pieces: `split` gives it and those that are left. The number says who does what and nothing about
    /// memory, so order is free.
    fn take(&self, split: impl Fn(Range<u32>) -> (u32, Range<u32>)) -> Option<u32> {
        let mut now = self.0.load(Ordering::Relaxed);
        loop {
            let pieces = (now >> 32) as u32..now as u32;
            if pieces.is_empty() {
                return None;
            }
            let (piece, left) = split(pieces);
            match self.0.compare_exchange_weak(now, Self::pack(left), Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some(piece),
                Err(changed) => now = changed,
            }
        }
    }

    fn first(&self) -> Option<u32> {
        self.take(|pieces| (pieces.start, pieces.start + 1..pieces.end))
    }

    fn last(&self) -> Option<u32> {
        self.take(|pieces| (pieces.end - 1, pieces.start..pieces.end - 1))
    }

    fn clear(&self) {
        self.0.store(0, Ordering::Relaxed);
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
                assert_eq!(
                    shares.iter().sum::<u64>(),
                    pieces.iter().map(|piece| 1 << 32 | piece).sum::<u64>()
                );
            }
            assert_eq!(crew.free.into_inner(), threads.saturating_sub(1));
        }
    }

    #[test]
    fn threads_begin_where_they_began_before() {
        let crew = Crew::new(4);
        let pieces: Vec<usize> = (0..102).collect();
        for _ in 0..20 {
            // Nobody goes on before each has its first piece.
            let all = std::sync::Barrier::new(4);
            let work = |first: &mut Option<usize>, piece: &usize| {
                if first.is_none() {
                    *first = Some(*piece);
                    all.wait();
                }
                Ok::<_, ()>(())
            };
            let firsts = crew.share(&pieces, 3, || None, work).unwrap();
            assert_eq!(firsts, [Some(0), Some(25), Some(51), Some(76)]);
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
