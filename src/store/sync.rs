//! The locks and threads of the store. In `store::interleaving` a scheduler of tests decides over them, and over nothing else:
//! flags and counters stay those of std, as do locks that are held while nobody waits for anything.

use std::time::Duration;

#[cfg(all(test, lookalike_shuttle))]
pub(super) use shuttle::{
    sync::{Condvar, Mutex, MutexGuard, RwLock},
    thread,
};
#[cfg(not(all(test, lookalike_shuttle)))]
pub(super) use std::{
    sync::{Condvar, Mutex, MutexGuard, RwLock},
    thread,
};

/// Waits until it is told, or for so long; says whether the time is over. `guard` is one of `mutex`.
#[cfg(not(all(test, lookalike_shuttle)))]
pub(super) fn wait_for<'a, T>(
    told: &Condvar,
    _mutex: &'a Mutex<T>,
    guard: MutexGuard<'a, T>,
    time: Duration,
) -> (MutexGuard<'a, T>, bool) {
    let (guard, timeout) = told.wait_timeout(guard, time).unwrap_or_else(std::sync::PoisonError::into_inner);
    (guard, timeout.timed_out())
}

/// Here time is over when chance has it: one time in four, whatever happens meanwhile; else never.
#[cfg(all(test, lookalike_shuttle))]
pub(super) fn wait_for<'a, T>(
    told: &Condvar,
    mutex: &'a Mutex<T>,
    guard: MutexGuard<'a, T>,
    _time: Duration,
) -> (MutexGuard<'a, T>, bool) {
    use shuttle::rand::{Rng, thread_rng};
    if thread_rng().gen_ratio(1, 4) {
        drop(guard);
        thread::yield_now();
        return (super::lock(mutex), true);
    }
    (told.wait(guard).unwrap_or_else(std::sync::PoisonError::into_inner), false)
}
