//! Several callers commit at the same time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Became::{Done, Exists, Missing};
use super::{Became, TurnDisk, became, chance, commit, delete, explore, options, put, rows, settle};
use super::{thread, version};
use crate::cancel::CancelToken;
use crate::store::draft::OnExisting::{Fail, Keep, Replace};
use crate::store::draft::Op;
use crate::store::draft::Outcome::{Added, Deleted, Kept, Replaced};

const CALLERS: u8 = 3;
const CALLS: u8 = 2;

/// What one caller asks for in one call, with what must become of it, and what must be there then: of each caller another
/// number of changes in another order.
#[allow(clippy::type_complexity, reason = "two lists")]
fn request(caller: u8, call: u8) -> (Vec<(Op, Became)>, Vec<(String, Option<u8>)>) {
    let path = |row: u8| format!("{caller}-{call}-{row}");
    let changes = match caller {
        0 => vec![(put(&path(0), 1, Fail), Done(Added)), (put(&path(0), 2, Replace), Done(Replaced))],
        1 => vec![
            (delete(&path(0)), Missing),
            (put(&path(0), 1, Keep), Done(Added)),
            (put(&path(0), 2, Keep), Done(Kept)),
            (put(&path(1), 1, Replace), Done(Added)),
            (put(&path(0), 3, Fail), Exists),
        ],
        _ => vec![
            (put(&path(0), 1, Replace), Done(Added)),
            (delete(&path(0)), Done(Deleted)),
            (put(&path(1), 4, Replace), Done(Added)),
        ],
    };
    let there = match caller {
        0 => vec![(path(0), Some(2))],
        1 => vec![(path(0), Some(1)), (path(1), Some(1))],
        _ => vec![(path(0), None), (path(1), Some(4))],
    };
    (changes, there)
}

#[test]
fn each_caller_gets_its_own_results_and_finds_its_rows() {
    let shared_syncs = Arc::new(AtomicU64::new(0));
    let shared = shared_syncs.clone();
    explore("group commit", 12_000, move || {
        let disk = TurnDisk::new();
        let store = Arc::new(disk.open(options(chance(2) == 0, 100)));
        let first = Arc::new(AtomicU64::new(0));
        let caller = |caller: u8| {
            let (store, first) = (store.clone(), first.clone());
            thread::spawn(move || {
                for call in 0..CALLS {
                    let (changes, there) = request(caller, call);
                    let (mut ops, expected): (Vec<Op>, Vec<Became>) = changes.into_iter().unzip();
                    // One that all of them want to be the first of.
                    ops.push(put("first", caller, Fail));
                    let mut got = commit(&store, ops);
                    match got.pop() {
                        Some(Done(Added)) => assert_eq!(first.fetch_add(1, Ordering::Relaxed), 0),
                        other => assert_eq!(other, Some(Exists)),
                    }
                    assert_eq!(got, expected, "of caller {caller}, call {call}");
                    let snapshot = store.snapshot();
                    for (path, wanted) in there {
                        assert_eq!(version(&snapshot, &path), wanted, "{path} after its call returned");
                    }
                }
            })
        };
        let callers: Vec<_> = (0..CALLERS).map(caller).collect();
        callers.into_iter().for_each(|caller| caller.join().unwrap());
        assert_eq!(first.load(Ordering::Relaxed), 1, "one was the first");
        let seen = rows(&store.snapshot());
        assert_eq!(seen.len(), 9);
        assert_eq!(disk.recovered(), [seen.clone(), seen.clone()], "after a kill and after a power cut");
        if disk.plan().frames < u64::from(CALLERS * CALLS) {
            shared.fetch_add(1, Ordering::Relaxed);
        }
        drop(store);
        assert_eq!(disk.recovered(), [seen.clone(), seen], "after a close");
    });
    let shared_syncs = shared_syncs.load(Ordering::Relaxed);
    println!("{shared_syncs} schedules in which callers shared a sync");
    assert!(shared_syncs > 100, "callers share syncs: in {shared_syncs} schedules");
}

/// An import holds the lock of merges while it waits for its turn; an optimize may be called off at any moment.
#[test]
fn imports_and_optimizes_beside_commits() {
    explore("import", 4000, || {
        let disk = TurnDisk::new();
        let background = chance(2) == 0;
        let store = Arc::new(disk.open(options(background, 2)));
        let committer = |caller: u8| {
            let store = store.clone();
            thread::spawn(move || {
                for call in 0..2u8 {
                    let paths = [0, 1].map(|row| format!("{caller}-{call}-{row}"));
                    let got = commit(&store, paths.iter().map(|path| put(path, 1, Replace)).collect());
                    // The import may have been there before.
                    let is_second = got == [Done(Replaced), Done(Added)] && paths[0] == "0-0-0";
                    assert!(got == [Done(Added); 2] || is_second, "{got:?}");
                    let snapshot = store.snapshot();
                    assert!(paths.iter().all(|path| version(&snapshot, path) == Some(1)));
                }
            })
        };
        let mut tasks = [0, 1].map(committer).into_iter().collect::<Vec<_>>();
        let importer = store.clone();
        tasks.push(thread::spawn(move || {
            let ops = vec![put("run-0", 1, Fail), put("0-0-0", 9, Keep), put("run-1", 1, Fail)];
            let results = importer.import(ops, 3, None).unwrap();
            let got: Vec<_> = results.iter().map(became).collect();
            assert!([Done(Added), Done(Kept)].contains(&got[1]) && got[0] == Done(Added) && got[2] == got[0]);
            assert_eq!(version(&importer.snapshot(), "run-1"), Some(1));
            importer.tend();
        }));
        if chance(2) == 0 {
            let (optimizer, token) = (store.clone(), CancelToken::new());
            let called_off = (chance(2) == 0).then(|| token.clone());
            tasks.push(thread::spawn(move || {
                let optimized = optimizer.optimize(Some(&token));
                assert!(optimized.is_ok() || token.is_cancelled(), "{optimized:?}");
            }));
            (0..chance(20)).for_each(|_| thread::yield_now());
            called_off.iter().for_each(CancelToken::cancel);
        }
        tasks.into_iter().for_each(|task| task.join().unwrap());
        let seen = rows(&store.snapshot());
        assert!(seen.len() == 10 && seen.iter().all(|row| row.version == 1), "{seen:?}");
        if background {
            settle(&store);
        }
        assert_eq!(disk.recovered(), [seen.clone(), seen], "after a kill and after a power cut");
    });
}
