//! The store under many interleavings of its threads.
//!
//! ```text
//! RUSTFLAGS="--cfg lookalike_shuttle" cargo test --release --lib store::interleaving
//! ```
//!
//! Other tests do not run in such a build: its locks ([`super::sync`]) are those of the crate `shuttle`, whose threads are run one
//! at a time. Before each lock, each wait, each call that wakes and each call to the disk the scheduler chooses who goes on:
//! by chance, or with priorities that change at two points chosen by chance (PCT: Burckhardt et al., ASPLOS 2010). When nobody
//! can go on that is a deadlock, and when it never ends, a livelock: both fail. A sleep that is cut short by its time is one of
//! the choices.
//!
//! What a schedule did can be done again: a failure prints its schedule, to be given in `LOOKALIKE_SCHEDULE` to the test that
//! failed. `LOOKALIKE_SEED` sets the seed, `LOOKALIKE_TIMES` how many times as many schedules are tried (`--nocapture` prints
//! both).
//!
//! It covers the order of what happens under locks, and between them. It cannot see what a processor or a compiler may do with
//! accesses that are not under locks: each schedule is one order of all steps. The store shares nothing that needs more: all but
//! a few flags (`closing`, `optimizing`, `abnormal`, `halted`) lies under locks, and nothing is read on the word of a flag.
//! Threads that rayon shares work of one step among are not scheduled; they take no locks of the store. Schedules are
//! samples: that none of them fails is no proof.

mod closing;
mod commits;
mod disk;
mod readers;
mod trouble;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use shuttle::rand::{Rng, thread_rng};
use shuttle::scheduler::{PctScheduler, RandomScheduler, ReplayScheduler, Scheduler};

use self::disk::{DIR, TurnDisk};
use super::compact;
use super::draft::{OnExisting, Op, OpError, Outcome};
use super::snapshot::Snapshot;
use super::sync::thread;
use super::writer::Options;
use super::{Durability, Store};
use crate::vector::{Layout, RowCode};

/// The seed, unless it is set.
const SEED: u64 = 20_261;
/// Points at which priorities change, and one.
const DEPTH: usize = 3;
/// Steps after which a schedule is taken to be endless.
const ENDLESS: usize = 200_000;

/// Runs `body` under so many schedules of chance, and half as many of priorities.
fn explore(name: &str, schedules: usize, body: impl Fn() + Send + Sync + 'static) {
    let set = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
    let (seed, times) = (set("LOOKALIKE_SEED").unwrap_or(SEED), set("LOOKALIKE_TIMES").unwrap_or(1));
    let schedules = schedules * times as usize;
    let (body, begun) = (Arc::new(body), Instant::now());
    if let Ok(schedule) = std::env::var("LOOKALIKE_SCHEDULE") {
        run(ReplayScheduler::new_from_encoded(schedule.trim()), &body);
        return;
    }
    println!("{name}: seed {seed}, {schedules} schedules of chance, {} of priorities", schedules / 2);
    run(RandomScheduler::new_from_seed(seed, schedules), &body);
    run(PctScheduler::new_from_seed(seed, DEPTH, schedules / 2), &body);
    println!("{name}: {:.1} s", begun.elapsed().as_secs_f32());
}

fn run(scheduler: impl Scheduler + 'static, body: &Arc<impl Fn() + Send + Sync + 'static>) {
    let mut config = shuttle::Config::new();
    // Sorting, encoding and training happen on these stacks.
    config.stack_size = 1 << 20;
    config.max_steps = shuttle::MaxSteps::FailAfter(ENDLESS);
    let body = body.clone();
    shuttle::Runner::new(scheduler, config).run(move || body());
}

/// One of `0..n`, by the schedule.
fn chance(n: u64) -> u64 {
    thread_rng().gen_range(0..n)
}

fn layout() -> Layout {
    Layout::new(&[4]).unwrap()
}

/// A store that never trains, with threads or without.
fn options(background: bool, tail_rows: u32) -> Options {
    Options {
        durability: Durability::Sync,
        tail_rows,
        background,
        train_rows: u64::MAX,
        preload: false,
        weights: Arc::from(vec![vec![1.0]]),
    }
}

/// A live row; its version is what its hash says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    order: u64,
    path: String,
    version: u8,
}

/// All live rows, oldest first: each path once, and each number.
fn rows(snapshot: &Snapshot) -> Vec<Row> {
    let mut rows = Vec::new();
    for part in snapshot.parts() {
        let (count, dead) = snapshot.part(part);
        for position in (0..count).filter(|&position| !dead.contains(position)) {
            let place = crate::index::Place { part, position };
            rows.push(Row {
                order: snapshot.order(place).unwrap(),
                path: snapshot.path(place).unwrap().to_owned(),
                version: snapshot.hash(place).unwrap()[0],
            });
        }
    }
    rows.sort_by_key(|row| row.order);
    let orders: HashSet<u64> = rows.iter().map(|row| row.order).collect();
    let paths: HashSet<&str> = rows.iter().map(|row| &*row.path).collect();
    assert!(orders.len() == rows.len() && paths.len() == rows.len(), "a row is there twice: {rows:?}");
    rows
}

/// Waits until nothing is left to be sealed or merged, while nobody asks for it.
fn settle(store: &Store) {
    for _ in 0..ENDLESS / 20 {
        let snapshot = store.snapshot();
        if snapshot.frozen.is_empty() && compact::due(&snapshot).is_empty() {
            return;
        }
        thread::yield_now();
    }
    panic!("nobody builds what is due");
}

/// The version of the live row of a path.
fn version(snapshot: &Snapshot, path: &str) -> Option<u8> {
    snapshot.locate(path).unwrap().map(|place| snapshot.hash(place).unwrap()[0])
}

fn put(path: &str, version: u8, on_existing: OnExisting) -> Op {
    let seed = path.bytes().fold(u32::from(version), |seed, byte| seed * 31 % 9973 + u32::from(byte));
    let values = [1, 7, 31, 127].map(|factor| (seed * factor % 101) as f32 - 50.5);
    let code = RowCode::encode(&layout(), &values).unwrap();
    Op::Put { path: path.into(), tags: Arc::default(), code, hash: [version; 32], on_existing }
}

fn delete(path: &str) -> Op {
    Op::Delete { path: path.into(), only: None }
}

/// What became of a change, in a form that can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Became {
    Done(Outcome),
    Exists,
    Missing,
    /// No room, and no log.
    Seal,
    Log,
}

fn became(result: &Result<Outcome, OpError>) -> Became {
    match result {
        Ok(outcome) => Became::Done(*outcome),
        Err(OpError::Exists) => Became::Exists,
        Err(OpError::Missing) => Became::Missing,
        Err(OpError::Seal(_)) => Became::Seal,
        Err(OpError::Log(_)) => Became::Log,
        Err(other @ (OpError::Full { .. } | OpError::Read(_))) => panic!("{other:?}"),
    }
}

/// Commits, and says what became of each.
fn commit(store: &Store, ops: Vec<Op>) -> Vec<Became> {
    let count = ops.len();
    let results = store.commit(ops);
    assert_eq!(results.len(), count, "one result a change");
    results.iter().map(became).collect()
}
