//! Callers commit at the same time, and something goes wrong once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::Became::{Done, Log, Seal};
use super::{Row, TurnDisk, chance, commit, delete, explore, options, put, rows, thread, version};
use crate::store::Store;
use crate::store::draft::OnExisting::Fail;
use crate::store::draft::Outcome::{Added, Deleted};
use crate::store::memory::DiskFault;

const CALLERS: u8 = 3;
const CALLS: u8 = 2;

/// Paths whose adds were acknowledged. The lock is std's: nobody waits while holding it.
type Acknowledged = Arc<Mutex<Vec<String>>>;

/// Callers that add two rows a call; says how many calls failed.
fn add_beside_each_other(store: &Arc<Store>, acknowledged: &Acknowledged) -> u64 {
    let caller = |caller: u8| {
        let (store, acknowledged) = (store.clone(), acknowledged.clone());
        thread::spawn(move || {
            let mut failed = 0;
            for call in 0..CALLS {
                let paths = [0, 1].map(|row| format!("{caller}-{call}-{row}"));
                let got = commit(&store, paths.iter().map(|path| put(path, 1, Fail)).collect());
                if got == [Done(Added); 2] {
                    let snapshot = store.snapshot();
                    assert!(paths.iter().all(|path| version(&snapshot, path) == Some(1)), "{paths:?}");
                    acknowledged.lock().unwrap().extend(paths);
                } else {
                    // Of one frame: both or none.
                    assert!(got == [Log; 2] || got == [Seal; 2], "{got:?}");
                    failed += 1;
                }
            }
            failed
        })
    };
    let callers: Vec<_> = (0..CALLERS).map(caller).collect();
    callers.into_iter().map(|caller| caller.join().unwrap()).sum()
}

/// Whatever was acknowledged is there, and of each call all or nothing.
fn holds(there: &[Row], acknowledged: &Acknowledged) {
    let has = |path: &str| there.iter().any(|row| row.path == path);
    for path in acknowledged.lock().unwrap().iter() {
        assert!(has(path), "{path} was acknowledged, and is not among {there:?}");
    }
    for (caller, call) in (0..CALLERS).flat_map(|caller| (0..CALLS).map(move |call| (caller, call))) {
        let [one, other] = [0, 1].map(|row| has(&format!("{caller}-{call}-{row}")));
        assert_eq!(one, other, "half of call {call} of caller {caller} is among {there:?}");
    }
}

/// After it: what a kill or a power cut leaves, and whether more can be done.
fn afterwards(disk: &TurnDisk, store: Arc<Store>, acknowledged: &Acknowledged) {
    let seen = rows(&store.snapshot());
    holds(&seen, acknowledged);
    let mut more = commit(&store, vec![put("more", 1, Fail)]);
    if more == [Seal] {
        // An attempt that met the fault ended after it.
        more = commit(&store, vec![put("more", 1, Fail)]);
    }
    if store.is_halted() {
        assert_eq!(more, [Log]);
    } else {
        assert_eq!(more, [Done(Added)], "the fault is over");
        let seen = rows(&store.snapshot());
        assert_eq!(disk.recovered(), [seen.clone(), seen], "after a kill and after a power cut");
    }
    let seen = rows(&store.snapshot());
    disk.recovered().iter().for_each(|recovered| holds(recovered, acknowledged));
    let is_halted = store.is_halted();
    // The threads hold the store no longer when this returns.
    drop(store);
    for recovered in disk.recovered() {
        holds(&recovered, acknowledged);
        assert!(is_halted || recovered == seen, "after a close: {recovered:?}");
    }
}

#[test]
fn a_call_to_the_disk_fails() {
    let (met, refused) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let counts = (met.clone(), refused.clone());
    explore("a fault", 12_000, move || {
        let disk = TurnDisk::new();
        let tail_rows = [2, 4, 100][chance(3) as usize];
        let store = Arc::new(disk.open(options(chance(3) > 0, tail_rows)));
        let acknowledged = Acknowledged::default();
        let fault = [DiskFault::Io, DiskFault::Full, DiskFault::Sync][chance(3) as usize];
        disk.inner.fail(1 + chance(if tail_rows == 100 { 12 } else { 60 }), fault, false);
        let failed = add_beside_each_other(&store, &acknowledged);
        disk.inner.heal();
        counts.0.fetch_add(disk.inner.faults(), Ordering::Relaxed);
        counts.1.fetch_add(failed, Ordering::Relaxed);
        afterwards(&disk, store, &acknowledged);
    });
    let (met, refused) = (met.load(Ordering::Relaxed), refused.load(Ordering::Relaxed));
    println!("{met} faults met, {refused} calls failed by them");
    assert!(met > 1000 && refused > 300, "{met} faults met, {refused} calls failed by them");
}

#[test]
fn a_call_to_the_disk_panics() {
    let (met, refused) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let counts = (met.clone(), refused.clone());
    explore("a panic", 12_000, move || {
        let disk = TurnDisk::new();
        let tail_rows = [2, 4, 100][chance(3) as usize];
        let store = Arc::new(disk.open(options(chance(3) > 0, tail_rows)));
        let acknowledged = Acknowledged::default();
        let at = disk.plan().calls + 1 + chance(if tail_rows == 100 { 12 } else { 80 });
        disk.plan().panic_at = Some(at);
        let failed = add_beside_each_other(&store, &acknowledged);
        let met = disk.plan().calls >= at;
        disk.plan().panic_at = None;
        counts.0.fetch_add(u64::from(met), Ordering::Relaxed);
        counts.1.fetch_add(failed, Ordering::Relaxed);
        afterwards(&disk, store, &acknowledged);
    });
    let (met, refused) = (met.load(Ordering::Relaxed), refused.load(Ordering::Relaxed));
    println!("{met} panics met, {refused} calls failed by them");
    assert!(met > 1000 && refused > 300, "{met} panics met, {refused} calls failed by them");
}

/// Two frozen tails wait, the tail is full, and segments cannot be made a few times: adds are refused and deletions are not,
/// and it goes on by itself when segments can be made again.
#[test]
fn a_full_tail_is_waited_for_and_sealing_goes_on_after_failures() {
    let counts = Arc::new(AtomicU64::new(0));
    let refusals = counts.clone();
    explore("no room", 6000, move || {
        let disk = TurnDisk::new();
        let store = Arc::new(disk.open(options(true, 2)));
        let left = 1 + chance(3);
        disk.plan().refused = left;
        let caller = |caller: u8| {
            let (store, refusals) = (store.clone(), refusals.clone());
            thread::spawn(move || {
                let mut refused = 0;
                for call in 0..4 {
                    let paths = [0, 1].map(|row| format!("{caller}-{call}-{row}"));
                    loop {
                        let got = commit(&store, paths.iter().map(|path| put(path, 1, Fail)).collect());
                        if got == [Done(Added); 2] {
                            break;
                        }
                        assert_eq!(got, [Seal; 2]);
                        refused += 1;
                        refusals.fetch_add(1, Ordering::Relaxed);
                        assert!(refused <= left, "each refusal is a new failure");
                        if call > 0 && refused == 1 {
                            let gone = format!("{caller}-0-0");
                            assert_eq!(commit(&store, vec![delete(&gone)]), [Done(Deleted)]);
                            assert_eq!(version(&store.snapshot(), &gone), None);
                            let again = commit(&store, vec![delete(&gone)]);
                            assert_eq!(again, [super::Became::Missing]);
                        }
                    }
                }
                refused
            })
        };
        let callers: Vec<_> = (0..2).map(caller).collect();
        let refused: Vec<u64> = callers.into_iter().map(|caller| caller.join().unwrap()).collect();
        assert!(!store.is_halted());
        let seen = rows(&store.snapshot());
        let gone = refused.iter().filter(|&&refused| refused > 0).count();
        assert!(seen.len() <= 16 && seen.len() >= 16 - gone, "{seen:?}");
        assert_eq!(disk.recovered(), [seen.clone(), seen.clone()], "after a kill and after a power cut");
        drop(store);
        assert_eq!(disk.recovered(), [seen.clone(), seen], "after a close");
    });
    let refusals = counts.load(Ordering::Relaxed);
    println!("{refusals} calls refused for want of room");
    assert!(refusals > 100, "{refusals} calls refused for want of room");
}
