//! Snapshots are taken while the store changes and is built anew beside them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use super::Became::Done;
use super::{Row, TurnDisk, chance, commit, explore, options, put, rows, settle, thread};
use crate::store::draft::OnExisting::{Fail, Replace};
use crate::store::draft::Outcome::{Added, Replaced};
use crate::store::upkeep::MAX_FROZEN;
use crate::store::{Options, Store};

const WRITERS: u8 = 2;
const STEPS: u8 = 4;
/// Snapshots that a reader takes.
const LOOKS: usize = 8;

/// Which step a writer had come to, as the rows have it: two that it replaces at each step, and two that it adds. They must
/// all be of one step.
fn step(rows: &[Row], writer: u8) -> u8 {
    let of = |path: String| rows.iter().find(|row| row.path == path).map_or(0, |row| row.version);
    let [one, other] = [0, 1].map(|pair| of(format!("{writer}-pair-{pair}")));
    assert_eq!(one, other, "half a call of writer {writer} in {rows:?}");
    let added = rows.iter().filter(|row| row.path.starts_with(&format!("{writer}-new-"))).count();
    assert_eq!(added, 2 * usize::from(one), "writer {writer} at step {one} in {rows:?}");
    one
}

fn write(store: &Store, writer: u8, done: &AtomicU8) {
    for step in 1..=STEPS {
        let became = if step == 1 { Added } else { Replaced };
        let ops = vec![
            put(&format!("{writer}-pair-0"), step, Replace),
            put(&format!("{writer}-new-{step}-0"), step, Fail),
            put(&format!("{writer}-new-{step}-1"), step, Fail),
            put(&format!("{writer}-pair-1"), step, Replace),
        ];
        assert_eq!(commit(store, ops), [Done(became), Done(Added), Done(Added), Done(became)]);
        done.store(step, Ordering::Relaxed);
    }
}

fn look(store: &Store, done: &[AtomicU8; WRITERS as usize]) {
    let mut before = [0; WRITERS as usize];
    let mut kept = None;
    for _ in 0..LOOKS {
        let acknowledged = [0, 1].map(|writer: usize| done[writer].load(Ordering::Relaxed));
        let snapshot = store.snapshot();
        let rows = rows(&snapshot);
        assert!(snapshot.frozen.len() <= MAX_FROZEN, "{} frozen tails", snapshot.frozen.len());
        for writer in 0..WRITERS {
            let (step, at) = (step(&rows, writer), usize::from(writer));
            assert!(step >= acknowledged[at], "step {step} of writer {writer}: {acknowledged:?} returned");
            assert!(step >= before[at], "step {step} of writer {writer} after {before:?}");
            before[at] = step;
        }
        if kept.is_none() {
            kept = Some((snapshot, rows));
        }
        thread::yield_now();
    }
    let (snapshot, then) = kept.unwrap();
    assert_eq!(rows(&snapshot), then, "a snapshot stays what it was");
}

fn read_beside_writers(name: &str, schedules: usize, train_rows: u64) -> (u64, u64) {
    let (removed, centres) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let counts = (removed.clone(), centres.clone());
    explore(name, schedules, move || {
        let disk = TurnDisk::new();
        let options = Options { train_rows, ..options(true, 2 + 4 * chance(2) as u32) };
        let store = Arc::new(disk.open(options));
        let done = Arc::new([AtomicU8::new(0), AtomicU8::new(0)]);
        let mut tasks = Vec::new();
        for writer in 0..WRITERS {
            let (store, done) = (store.clone(), done.clone());
            tasks.push(thread::spawn(move || write(&store, writer, &done[usize::from(writer)])));
        }
        for _ in 0..2 {
            let (store, done) = (store.clone(), done.clone());
            tasks.push(thread::spawn(move || look(&store, &done)));
        }
        tasks.into_iter().for_each(|task| task.join().unwrap());
        let seen = rows(&store.snapshot());
        assert!((0..WRITERS).all(|writer| step(&seen, writer) == STEPS), "{seen:?}");
        assert_eq!(disk.recovered(), [seen.clone(), seen.clone()], "after a kill and after a power cut");
        settle(&store);
        assert_eq!(rows(&store.snapshot()), seen, "after all was sealed and merged");
        drop(store);
        assert_eq!(disk.recovered(), [seen.clone(), seen], "after a close");
        counts.0.fetch_add(disk.plan().removed, Ordering::Relaxed);
        counts.1.fetch_add(disk.plan().centres, Ordering::Relaxed);
    });
    let counts = (removed.load(Ordering::Relaxed), centres.load(Ordering::Relaxed));
    println!("{} segments that were merged, {} times centres were trained", counts.0, counts.1);
    counts
}

#[test]
fn snapshots_hold_whole_groups_and_never_go_back() {
    let (removed, centres) = read_beside_writers("snapshots", 6000, u64::MAX);
    assert!(removed > 1000 && centres == 0, "{removed} segments merged, {centres} trainings");
}

#[test]
fn snapshots_with_lists_do_so_too() {
    let (removed, centres) = read_beside_writers("snapshots with lists", 1500, 6);
    assert!(removed > 300 && centres > 100, "{removed} segments merged, {centres} trainings");
}
