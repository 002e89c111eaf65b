//! Power cuts, in the short form.

use crate::crash::{Plan, run};

/// Threads share what a test prints, so each figure has its name.
#[test]
fn nothing_acknowledged_is_lost_at_any_cut() {
    let points = std::env::var("POINTS").ok().and_then(|p| p.parse().ok()).unwrap_or(10_000);
    let seed = std::env::var("SEED").ok().and_then(|p| p.parse().ok()).unwrap_or(1);
    let plan = Plan { points, seed, ..Plan::default() };
    let figures = run(&plan).unwrap();
    println!("seed {}\n{figures}", plan.seed);
    for failure in &figures.failures {
        println!("FAILED {failure}\n");
    }
    assert_eq!(figures.failed(), 0);
}
