//! `cargo xtask crash`: the crash simulator of the tests, for as long as one likes.

#[path = "../../tests/random.rs"]
mod random;
#[path = "../../tests/crash/mod.rs"]
mod simulator;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Args;
use lookalike::testing::SeededBug;

use self::simulator::{Figures, Plan, faults, run, seeded};
use crate::Failure;

/// How the simulator is run.
#[derive(Args)]
pub struct Options {
    /// Moments at which the power is cut; those in recoveries come on top.
    #[arg(long, default_value_t = 10_000)]
    points: u64,
    /// What chance follows from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Runs one script alone, of the seed that a failure told, with the same further options.
    #[arg(long, conflicts_with = "points")]
    script: Option<u64>,
    /// Threads that run scripts, each its own.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    threads: u8,
    /// Disk images a point in which chance decides what survives.
    #[arg(long, default_value_t = Plan::default().chances)]
    chances: usize,
    /// Lengths that a write under way is torn at.
    #[arg(long, default_value_t = Plan::default().torn)]
    torn: usize,
    /// One image in so many is written on and cut again, and of those one in so many once more.
    #[arg(long, default_value_t = Plan::default().again)]
    again: usize,
    /// Instances seal and merge in threads of their own: no two runs are then alike.
    #[arg(long)]
    background: bool,
    /// Plants twelve bugs, one after another, and shows how soon each is found.
    #[arg(long, conflicts_with_all = ["points", "faults"])]
    bugs: bool,
    /// Lets every call to the disk fail, in every way, instead of cutting the power; scripts as many as threads.
    #[arg(long, conflicts_with = "points")]
    faults: bool,
}

/// Runs it and prints what was found.
///
/// # Errors
/// When something was lost, or a planted bug was not found.
pub fn crash(options: &Options) -> Result<(), Failure> {
    // Images that cannot be read are found in silence: a panic is counted, and told with the rest.
    std::panic::set_hook(Box::new(|_| {}));
    if options.bugs {
        bugs(options.seed)
    } else if options.faults {
        every_fault(options)
    } else {
        cuts(options)
    }
}

fn cuts(options: &Options) -> Result<(), Failure> {
    /// Cut points that a thread makes at a time.
    const SHARE: u64 = 20_000;
    let shares = options.script.map_or(options.points.div_ceil(SHARE), |_| 1);
    let (begun, left) = (std::time::Instant::now(), AtomicU64::new(shares));
    let all = Mutex::new(Figures::default());
    let work = || -> Result<(), Failure> {
        while let Ok(share) = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)) {
            let plan = Plan {
                points: SHARE.min(options.points),
                // A share has the same seed whichever thread it falls to.
                seed: options.seed.wrapping_mul(1 << 32).wrapping_add(share),
                chances: options.chances,
                torn: options.torn,
                again: options.again,
                background: options.background,
                script: options.script,
                ..Plan::default()
            };
            let figures = run(&plan).map_err(|error| Failure::Simulator(error.to_string()))?;
            let mut all = all.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            all.add(figures);
            eprintln!("{} points, {} failed", all.points[0], all.failed());
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..options.threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| {
            thread.join().unwrap_or_else(|_| Err(Failure::Simulator("the simulator panicked".to_owned())))
        })
    })?;
    let mut all = all.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    all.seconds = begun.elapsed().as_secs_f64();
    println!("seed {} threads {}\n{all}", options.seed, options.threads);
    all.failures.iter().for_each(|failure| println!("FAILED {failure}"));
    if all.failed() > 0 { Err(Failure::Simulator(format!("{} images failed", all.failed()))) } else { Ok(()) }
}

fn bugs(seed: u64) -> Result<(), Failure> {
    println!("{:24}caught  cut points (second, third)  seconds  first seen as", format!("seed {seed}"));
    let mut missed = 0;
    for bug in SeededBug::ALL {
        let figures = seeded::look_for(bug, seed).map_err(|error| Failure::Simulator(error.to_string()))?;
        let caught = figures.failed() > 0 && figures.seconds < seeded::WITHIN.as_secs_f64();
        missed += u32::from(!caught);
        let kinds = [
            ("lost", figures.lost),
            ("phantom", figures.phantom),
            ("refused", figures.refused),
            ("wrong", figures.wrong),
        ];
        let seen: Vec<&str> = kinds.iter().filter(|(_, images)| *images > 0).map(|(name, _)| *name).collect();
        let [points, second, third] = figures.points;
        let cuts = format!("{points} ({second}, {third})");
        let (name, caught) = (format!("{bug:?}"), if caught { "yes" } else { "NO" });
        println!("{name:24}{caught:6}  {cuts:27}  {:7.2}  {}", figures.seconds, seen.join(", "));
    }
    if missed > 0 { Err(Failure::Simulator(format!("{missed} bugs were not found"))) } else { Ok(()) }
}

fn every_fault(options: &Options) -> Result<(), Failure> {
    let mut failed = 0;
    for seed in (options.seed..).take(options.threads.into()) {
        let figures = faults::run(seed, true).map_err(|error| Failure::Simulator(error.to_string()))?;
        println!("seed {seed}\n{figures}");
        figures.failures.iter().for_each(|failure| println!("FAILED {failure}"));
        failed += figures.failed;
    }
    if failed > 0 { Err(Failure::Simulator(format!("{failed} runs failed"))) } else { Ok(()) }
}
