//! Power cuts, in the short form.

use lookalike::testing::{DiskFault, MemoryDisk, Survivors};
use lookalike::{Add, Added, CreateInstance, Durability, Gallery, Instance, OnExisting, Query, Source};

use crate::bed::Average;
use crate::crash::{Plan, run};
use crate::random::Random;

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

fn gallery(disk: &MemoryDisk, durability: Durability) -> Gallery {
    let builder = Gallery::builder("/g").memory_disk(disk.clone()).model(Average);
    builder.background(false).durability(durability).open().unwrap()
}

fn put(instance: &Instance, path: &str, value: f32) -> lookalike::Result<Added> {
    instance.add(&Add::new(path, Source::vector(vec![1.0, value, 0.0, 0.0])))
}

/// What a cut after the last event leaves, when nothing survives that was not synced.
fn cut(disk: &MemoryDisk) -> MemoryDisk {
    let mut cuts = disk.cuts();
    while cuts.advance() {}
    cuts.cut(Survivors::Nothing, 0)
}

/// Disks as a kill after each event leaves them.
fn kills(disk: &MemoryDisk) -> Vec<MemoryDisk> {
    let (mut cuts, mut all) = (disk.cuts(), Vec::new());
    while cuts.advance() {
        all.push(cuts.kill(0));
    }
    all
}

/// The process is killed between a rename and the sync of its directory, and the next one works on; then the power goes.
#[test]
fn what_an_opening_shows_survives_a_power_cut() {
    let disk = MemoryDisk::new(1);
    let gallery_here = gallery(&disk, Durability::Sync);
    gallery_here.create(&CreateInstance::new("shoes", "average")).unwrap();
    let shoes = gallery_here.instance("shoes").unwrap();
    put(&shoes, "a", 1.0).unwrap();
    shoes.optimize().unwrap();
    let mut tried = 0;
    for killed in kills(&disk) {
        let after = gallery(&killed, Durability::Sync);
        let Ok(shoes) = after.instance("shoes") else { continue };
        put(&shoes, "b", 2.0).unwrap();
        let images = shoes.len().unwrap();
        let left = gallery(&cut(&killed), Durability::Sync);
        assert_eq!(left.instance("shoes").unwrap().len().unwrap(), images);
        tried += 1;
    }
    assert!(tried > 20, "{tried}");
}

/// The same of a deletion: after a kill within it the instance is there as a whole or not at all, whatever comes then.
#[test]
fn a_deletion_cut_short_leaves_all_or_nothing() {
    let disk = MemoryDisk::new(1);
    let before = gallery(&disk, Durability::Sync);
    before.create(&CreateInstance::new("shoes", "average")).unwrap();
    put(&before.instance("shoes").unwrap(), "a", 1.0).unwrap();
    let first = disk.position();
    before.delete("shoes").unwrap();
    let mut tried = 0;
    for killed in kills(&disk).into_iter().skip(first) {
        // Opening it removes what is left; the power is cut after each step of that.
        drop(gallery(&killed, Durability::Sync));
        let mut cuts = killed.cuts();
        loop {
            for seed in 0..8 {
                let left = gallery(&cuts.cut(Survivors::Some, seed), Durability::Sync);
                for info in left.list().unwrap() {
                    assert_eq!(left.instance(&info.instance_name).unwrap().len().unwrap(), 1);
                }
                tried += 1;
            }
            if !cuts.advance() {
                break;
            }
        }
    }
    assert!(tried > 100, "{tried}");
}

/// Linux shows pages that a failed sync did not write, takes them for written, and lets the next sync succeed: an opening
/// writes them again before it rests on them.
#[test]
fn frames_that_a_failed_sync_left_in_memory_are_written_again() {
    let disk = MemoryDisk::new(1);
    let here = gallery(&disk, Durability::Sync);
    here.create(&CreateInstance::new("shoes", "average")).unwrap();
    let shoes = here.instance("shoes").unwrap();
    put(&shoes, "a", 1.0).unwrap();
    disk.fail(1, DiskFault::Sync, false);
    put(&shoes, "b", 2.0).unwrap_err();
    assert_eq!(put(&shoes, "c", 3.0).unwrap_err().code(), lookalike::Code::ServiceNotRunning);
    drop((shoes, here));
    let here = gallery(&disk, Durability::Sync);
    let shoes = here.instance("shoes").unwrap();
    put(&shoes, "d", 4.0).unwrap();
    let images = shoes.len().unwrap();
    let left = gallery(&cut(&disk), Durability::Sync).instance("shoes").unwrap();
    assert_eq!((left.len().unwrap(), left.check("d").unwrap()), (images, true));
}

/// What was flushed may be lost, but not what it replaced: a seal or new tag keys make it durable before they rest on it.
#[test]
fn flushed_changes_are_lost_in_their_order() {
    let disk = MemoryDisk::new(1);
    let here = gallery(&disk, Durability::Flush);
    here.create(&CreateInstance::new("shoes", "average")).unwrap();
    let shoes = here.instance("shoes").unwrap();
    put(&shoes, "a", 1.0).unwrap();
    put(&shoes, "b", 1.0).unwrap();
    shoes.optimize().unwrap();
    put(&shoes, "a", 2.0).unwrap();
    // A segment with dead rows is merged, and the row that died lives in the log alone.
    shoes.optimize().unwrap();
    put(&shoes, "b", 3.0).unwrap();
    shoes.add_tag_keys(&["color"]).unwrap();
    let left = gallery(&cut(&disk), Durability::Flush).instance("shoes").unwrap();
    assert_eq!((left.len().unwrap(), left.tag_keys().unwrap().len()), (2, 1));
    let b = left.vector("b").unwrap();
    assert!((b[1] / b[0] - 3.0).abs() < 0.01, "{b:?}");
    put(&shoes, "c", 1.0).unwrap();
    let before = cut(&disk);
    assert_eq!(gallery(&before, Durability::Flush).instance("shoes").unwrap().len().unwrap(), 2);
}

/// After a change whose fate is unknown an image is not promised to stay.
#[test]
fn an_image_is_not_kept_on_a_promise_that_may_not_hold() {
    let disk = MemoryDisk::new(1);
    let here = gallery(&disk, Durability::Sync);
    here.create(&CreateInstance::new("shoes", "average")).unwrap();
    let shoes = here.instance("shoes").unwrap();
    put(&shoes, "a", 1.0).unwrap();
    disk.fail(1, DiskFault::Sync, false);
    shoes.delete("a").unwrap_err();
    let keep = Add::new("a", Source::vector(vec![1.0; 4])).on_existing(OnExisting::Keep);
    assert_eq!(shoes.add(&keep).unwrap_err().code(), lookalike::Code::ServiceNotRunning);
}

/// The power goes at each moment of an import, of the division of the list that its images make too long, and of the merge
/// after that.
#[test]
fn a_division_of_a_list_that_is_cut_short_loses_nothing() {
    let (first, more, seed) = (500, 600, 5);
    let open = |disk: &MemoryDisk| {
        let builder = Gallery::builder("/g").memory_disk(disk.clone()).model(Average).background(false);
        builder.train_rows(first).open().unwrap().instance("shoes").unwrap()
    };
    let disk = MemoryDisk::new(seed);
    gallery(&disk, Durability::Sync).create(&CreateInstance::new("shoes", "average")).unwrap();
    let shoes = open(&disk);
    let mut random = Random(seed);
    let mut import = |from: u64, count: u64, spread: f32| {
        let adds = (from..from + count).map(|number| {
            let mut vector = random.vector(4);
            vector.iter_mut().for_each(|value| *value *= spread);
            vector[0] += 1.0;
            Add::new(format!("p/{number}"), Source::vector(vector))
        });
        assert_eq!(shoes.import(adds.collect::<Vec<_>>()).unwrap().added, count);
    };
    import(0, first, 3.0);
    let lists = shoes.stats().unwrap().lists;
    let begun = disk.position();
    import(first, more, 0.05);
    assert!(shoes.stats().unwrap().lists > lists, "no list was divided");
    let mut cuts = disk.cuts();
    let (mut tried, mut seen) = (0, [0; 3]);
    while cuts.advance() {
        if cuts.position() <= begun {
            continue;
        }
        for (survivors, seed) in [(Survivors::Nothing, 0), (Survivors::Some, 1), (Survivors::Some, 2)] {
            let left = cuts.cut(survivors, seed);
            let shoes = open(&left);
            shoes.verify().unwrap();
            let stats = shoes.stats().unwrap();
            let images = stats.images;
            assert!(images == first || images == first + more, "{stats:?}");
            seen[usize::from(images > first) + usize::from(stats.lists > lists)] += 1;
            for number in (0..images).step_by(97) {
                let query = Query::path(format!("p/{number}")).limit(3);
                assert_eq!(shoes.search(&query).unwrap().hits[0].path, format!("p/{number}"));
            }
            tried += 1;
        }
        // What was due is done by whoever opens it next.
        let shoes = open(&cuts.cut(Survivors::Nothing, 0));
        shoes.optimize().unwrap();
        shoes.verify().unwrap();
    }
    println!("seed {seed}: {tried} disks, {seen:?} before the import, before the division and after it");
    assert!(tried > 60 && seen.iter().all(|&count| count > 0), "{tried} {seen:?}");
}

/// A process that dies right after it made the directory leaves it to the next to make its name durable.
#[test]
fn the_directory_itself_survives() {
    let disk = MemoryDisk::new(1);
    drop(gallery(&disk, Durability::Sync));
    for killed in kills(&disk) {
        let here = gallery(&killed, Durability::Sync);
        here.create(&CreateInstance::new("shoes", "average")).unwrap();
        assert_eq!(gallery(&cut(&killed), Durability::Sync).list().unwrap().len(), 1);
    }
}

/// Threads that seal and merge beside the changes: every run is another.
#[test]
fn nothing_is_lost_beside_threads_that_seal_and_merge() {
    let plan = Plan { points: 2_000, seed: 3, background: true, chances: 2, torn: 2, ..Plan::default() };
    let figures = run(&plan).unwrap();
    println!("seed {}\n{figures}", plan.seed);
    figures.failures.iter().for_each(|failure| println!("FAILED {failure}\n"));
    assert_eq!(figures.failed(), 0);
}
