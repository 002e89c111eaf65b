//! A store is closed, or given up, while its threads work.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::Became::{Done, Log, Seal};
use super::{DIR, TurnDisk, chance, commit, explore, options, put, rows, thread};
use crate::store::draft::OnExisting::Fail;
use crate::store::draft::Outcome::Added;
use crate::store::recover::Opening;
use crate::store::{Options, Store};

/// Adds two rows a call; ends with the first call that is not `Ok`. Gives the paths that were acknowledged.
fn add(store: &Store, caller: u8, calls: u8, acknowledged: &Mutex<Vec<String>>) {
    for call in 0..calls {
        let paths = [0, 1].map(|row| format!("{caller}-{call}-{row}"));
        let got = commit(store, paths.iter().map(|path| put(path, 1, Fail)).collect());
        if got != [Done(Added); 2] {
            assert!(got == [Log; 2] || got == [Seal; 2], "{got:?}");
            return;
        }
        acknowledged.lock().unwrap().extend(paths);
    }
}

/// Whoever uses it last closes it, while the threads seal and merge.
#[test]
fn closing_ends_what_is_being_built_and_loses_nothing() {
    let counts = Arc::new(AtomicU64::new(0));
    let unsealed = counts.clone();
    explore("closing", 6000, move || {
        let disk = TurnDisk::new();
        let train_rows = if chance(4) == 0 { 4 } else { u64::MAX };
        let store = Arc::new(disk.open(Options { train_rows, ..options(true, 2) }));
        let acknowledged = Arc::new(Mutex::new(Vec::new()));
        let caller = |caller: u8| {
            let (store, acknowledged) = (store.clone(), acknowledged.clone());
            thread::spawn(move || add(&store, caller, 3, &acknowledged))
        };
        let callers = [0, 1].map(caller);
        drop(store);
        callers.into_iter().for_each(|caller| caller.join().unwrap());
        assert_eq!(acknowledged.lock().unwrap().len(), 12, "every add is Ok");
        // On the same disk: locks were let go.
        let store = disk.open(Options { preload: true, ..options(chance(2) == 0, 2) });
        let snapshot = store.snapshot();
        drop(store);
        let seen = rows(&snapshot);
        assert_eq!(seen.len(), 12);
        unsealed.fetch_add(u64::from(!snapshot.frozen.is_empty()), Ordering::Relaxed);
        assert_eq!(disk.recovered(), [seen.clone(), seen], "after a close");
    });
    let unsealed = counts.load(Ordering::Relaxed);
    println!("{unsealed} closings while tails waited to be sealed");
    assert!(unsealed > 100, "{unsealed} closings while tails waited to be sealed");
}

/// As when an instance is deleted while others use it: who waits for room, too, gets an answer.
#[test]
fn a_store_that_is_given_up_answers_everybody() {
    let counts = Arc::new(AtomicU64::new(0));
    let refused = counts.clone();
    explore("giving up", 6000, move || {
        let disk = TurnDisk::new();
        let store = Arc::new(disk.open(options(chance(3) > 0, 2)));
        // Sealing fails for ever, a few times, or never.
        disk.plan().refused = [0, 2, u64::MAX][chance(3) as usize];
        let acknowledged = Arc::new(Mutex::new(Vec::new()));
        let caller = |caller: u8| {
            let (store, acknowledged) = (store.clone(), acknowledged.clone());
            thread::spawn(move || add(&store, caller, 4, &acknowledged))
        };
        let callers = [0, 1].map(caller);
        let last = store.clone();
        let given_up = thread::spawn(move || {
            (0..chance(30)).for_each(|_| thread::yield_now());
            last.abandon();
            assert_eq!(commit(&last, vec![put("late", 1, Fail)]), [Log]);
        });
        drop(store);
        callers.into_iter().for_each(|caller| caller.join().unwrap());
        given_up.join().unwrap();
        let acknowledged = acknowledged.lock().unwrap();
        refused.fetch_add(u64::from(acknowledged.len() < 16), Ordering::Relaxed);
        for recovered in disk.recovered() {
            let has = |path: &String| recovered.iter().any(|row| row.path == *path);
            assert!(acknowledged.iter().all(has), "{acknowledged:?} of {recovered:?}");
            assert!(!has(&"late".to_owned()));
        }
        assert!(Opening::begin(Arc::new(disk), Path::new(DIR), true).is_ok(), "the lock was let go");
    });
    let refused = counts.load(Ordering::Relaxed);
    println!("{refused} schedules in which it was given up before all was done");
    assert!(refused > 500, "{refused} schedules in which it was given up before all was done");
}
