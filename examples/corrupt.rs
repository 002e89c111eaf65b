//! Damages every byte of small stores, and counts what they answer then.
//!
//! ```text
//! cargo run --release --features testing --example corrupt
//! cargo run --release --features testing --example corrupt -- --all
//! ```
//!
//! Three stores of some 300 images each - closed, killed, and killed while a log waited to be sealed - with segments
//! that have lists, centres, deleted rows and logs. For every byte of every file one random bit is flipped (`--all`: each
//! of the eight, and the values 0 and 255); every file is cut at every length; every file is taken away, swapped with
//! others of the same store, of other stores and of earlier, and doubled. Each time the store is opened and asked
//! some 750 questions, and everything is verified. The answer must be that of the whole store, or an error that names
//! the file and the place. Anything else is printed, and the program fails.

use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use clap::Parser;

#[path = "../tests/random.rs"]
mod random;
#[path = "../tests/corruption/store.rs"]
#[allow(unreachable_pub, dead_code, reason = "shared with the tests")]
mod store;
#[path = "../tests/corruption/sweep.rs"]
#[allow(unreachable_pub, dead_code, reason = "shared with the tests")]
mod sweep;

use store::{Left, Made, Random, make};
use sweep::{Damage, Tally};

/// Damages every byte of small stores.
#[derive(Parser)]
struct Options {
    /// Every bit of every byte, and 0 and 255, not one bit.
    #[arg(long)]
    all: bool,
    /// What decides the stores' contents and the bits.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Threads, each with stores of its own.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=64))]
    threads: u64,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let began = Instant::now();
    let wrong = AtomicUsize::new(0);
    let tallies = std::thread::scope(|scope| {
        let run = |share: u64| {
            let (options, wrong) = (&options, &wrong);
            scope.spawn(move || sweep_share(options, share, wrong))
        };
        let runs: Vec<_> = (0..options.threads).map(run).collect();
        runs.into_iter().filter_map(|run| run.join().ok()).collect::<Vec<_>>()
    });
    let mut all = [Tally::default(); 3];
    for tally in &tallies {
        all.iter_mut().zip(tally).for_each(|(all, own)| all.add(*own));
    }
    for (what, tally) in ["bytes", "lengths", "missing, swapped, doubled"].iter().zip(&all) {
        println!("{what}: {tally}");
    }
    let wrong = wrong.into_inner() + (options.threads as usize - tallies.len());
    println!("seed {}, {:.0} s, {wrong} wrong", options.seed, began.elapsed().as_secs_f64());
    if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One in `threads` of all damages.
fn sweep_share(options: &Options, share: u64, wrong: &AtomicUsize) -> [Tally; 3] {
    let seed = options.seed * 3;
    let stores = [make(Left::Closed, seed), make(Left::Killed, seed + 1), make(Left::Waiting, seed + 2)];
    let mut all = [Tally::default(); 3];
    for (at, made) in stores.iter().enumerate() {
        let others: Vec<&Made> =
            stores.iter().enumerate().filter(|(i, _)| *i != at).map(|(_, m)| m).collect();
        let mine = |(number, _): &(u64, Damage)| number % options.threads == share;
        let run = |tally: &mut Tally, damages: &mut dyn Iterator<Item = Damage>| {
            for (_, damage) in (0..).zip(damages).filter(mine) {
                match made.trial(&damage) {
                    Ok(one) => tally.add(one),
                    Err(error) => {
                        println!("{error}");
                        wrong.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        };
        run(&mut all[0], &mut bytes(made, options).into_iter());
        run(&mut all[1], &mut made.cuts(1));
        run(&mut all[2], &mut made.mixups(&others).into_iter());
    }
    all
}

fn bytes(made: &Made, options: &Options) -> Vec<Damage> {
    let mut dice = Random(options.seed);
    let mut all = Vec::new();
    for (file, bytes) in &made.files {
        for (at, &byte) in bytes.iter().enumerate() {
            let values = if options.all {
                (0..8).map(|bit| byte ^ (1 << bit)).chain([0, 255]).filter(|&value| value != byte).collect()
            } else {
                vec![byte ^ (1 << dice.index(8))]
            };
            all.extend(values.into_iter().map(|value| Damage::Byte { file: file.clone(), at, value }));
        }
    }
    all
}
