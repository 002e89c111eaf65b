//! Power cuts, in the short form.

use lookalike::testing::{DiskFault, MemoryDisk};
use lookalike::{CreateInstance, Gallery};

use crate::bed::Average;
use crate::crash::{Plan, run};

#[test]
fn nothing_acknowledged_is_lost_at_any_cut() {
    let plan = Plan { points: 10_000, seed: 1, ..Plan::default() };
    let figures = run(&plan).unwrap();
    println!("seed {}\n{figures}", plan.seed);
    for failure in &figures.failures {
        println!("FAILED {failure}\n");
    }
    assert_eq!(figures.failed(), 0);
    let images: u64 = figures.images.iter().sum();
    assert!(figures.points[0] >= 10_000 && images >= 100_000 && figures.faulted > 0, "{figures}");
}

#[cfg(feature = "seeded-bugs")]
#[test]
fn every_seeded_bug_is_caught() {
    use crate::crash::seeded::{WITHIN, look_for};
    use lookalike::testing::SeededBug;

    let mut caught = 0;
    for bug in SeededBug::ALL {
        let figures = look_for(bug, 1).unwrap();
        let [points, second, third] = figures.points;
        println!(
            "{bug:?}: {} failed after {points} points, {second} second, {third} third, {} faults, {:.2} s",
            figures.failed(),
            figures.faulted,
            figures.seconds
        );
        println!("  {}", figures.failures.first().map_or("", |text| text));
        caught += u32::from(figures.failed() > 0 && figures.seconds < WITHIN.as_secs_f64());
    }
    assert_eq!(caught, 12);
}

#[test]
fn every_call_to_the_disk_may_fail() {
    let figures = crate::crash::faults::run(1, false).unwrap();
    println!("seed 1\n{figures}");
    for failure in &figures.failures {
        println!("FAILED {failure}\n");
    }
    assert_eq!(figures.failed, 0);
    assert!(figures.calls > 1500 && figures.errors > 500, "{figures}");
}

/// An instance may be called what directories that are being made were called once.
#[test]
fn no_name_is_taken_for_a_leftover() {
    let disk = MemoryDisk::new(1);
    let open = || Gallery::builder("/g").memory_disk(disk.clone()).model(Average).background(false).open();
    for name in ["tmp-create-a", "tmp-delete-a"] {
        open().unwrap().create(&CreateInstance::new(name, "average")).unwrap();
        open().unwrap().instance(name).unwrap();
    }
    // What a crash leaves of a creation is not listed.
    disk.fail(3, DiskFault::Io, true);
    open().unwrap().create(&CreateInstance::new("first", "average")).unwrap_err();
    disk.heal();
    let listed = open().unwrap().list().unwrap();
    assert_eq!(
        listed.iter().map(|info| &*info.instance_name).collect::<Vec<_>>(),
        ["tmp-create-a", "tmp-delete-a"]
    );
}
