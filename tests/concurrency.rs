//! Searches beside changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use lookalike::testing::DiskCall;
use lookalike::{Add, Instance, Query, Reader, Source, Tags};

use crate::bed::{Bed, Random};

fn is_shareable<T: Send + Sync + Clone + 'static>() {}

#[test]
fn handles_go_anywhere() {
    is_shareable::<Instance>();
    is_shareable::<Reader>();
    is_shareable::<lookalike::Gallery>();
}

/// Writers tag each image with its generation, always in pairs and in one batch: a reader that sees one of a pair
/// without the other saw a torn state.
#[test]
fn readers_see_whole_groups_and_their_own_writes() {
    let bed = Bed::with(|b| b.tail_rows(50));
    let shoes = bed.shoes();
    let (stop, searches) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for seed in 0..2 {
            let (shoes, stop, searches) = (shoes.clone(), &stop, &searches);
            scope.spawn(move || {
                let mut random = Random(seed);
                while !stop.load(Ordering::Relaxed) {
                    let reader = shoes.reader().unwrap();
                    let count = |kind| {
                        let query = Query::tags(Tags::from([("kind", kind)])).limit(1);
                        reader.search(&query).unwrap().count
                    };
                    assert_eq!(count("left"), count("right"));
                    let page = reader.search(&Query::vector(random.vector(4)).limit(20)).unwrap();
                    assert_eq!(page.count, reader.len());
                    searches.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut random = Random(99);
        for i in 0..600u64 {
            let pair = i % 150;
            let adds = ["left", "right"].map(|kind| {
                Add::new(format!("{pair}-{kind}"), Source::vector(random.vector(4))).tag("kind", kind)
            });
            assert!(shoes.add_batch(&adds, &Default::default()).iter().all(Result::is_ok));
            assert!(shoes.check(&format!("{pair}-left")).unwrap(), "a write that returned is seen");
            if i % 200 == 199 {
                shoes.optimize().unwrap();
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(shoes.len().unwrap(), 300);
    assert!(searches.into_inner() > 20);
}

/// Callers that wait for the writer share a sync.
#[test]
fn waiting_changes_share_a_sync() {
    let bed = Bed::new();
    let shoes = bed.shoes();
    let add = |name: String| shoes.add(&Add::new(name, Source::vector(vec![1.0; 4]))).map(drop);
    add("first".to_owned()).unwrap();
    // The first sync ends only when all the others wait.
    let (syncs, began) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (counted, waiting) = (syncs.clone(), began.clone());
    bed.disk.before(DiskCall::Sync, "log-", move || {
        if counted.fetch_add(1, Ordering::Relaxed) == 0 {
            while waiting.load(Ordering::Relaxed) < 8 {
                std::thread::sleep(Duration::from_millis(1));
            }
            // From its count to its place in the queue a thread has little to do.
            std::thread::sleep(Duration::from_millis(500));
        }
    });
    std::thread::scope(|scope| {
        for t in 0..8 {
            let (add, began) = (&add, &began);
            scope.spawn(move || {
                began.fetch_add(1, Ordering::Relaxed);
                add(format!("{t}")).unwrap();
            });
        }
    });
    assert_eq!(shoes.len().unwrap(), 9);
    // That of the one that came first, and one for the seven.
    assert_eq!(syncs.load(Ordering::Relaxed), 2);
}

#[test]
fn many_threads_open_and_close_one_instance() {
    let bed = Bed::new();
    drop(bed.shoes());
    std::thread::scope(|scope| {
        for t in 0..6 {
            let gallery = &bed.gallery;
            scope.spawn(move || {
                for i in 0..20 {
                    let shoes = gallery.instance("shoes").unwrap();
                    shoes.add(&Add::new(format!("{t}/{i}"), Source::vector(vec![1.0; 4]))).unwrap();
                }
            });
        }
    });
    assert_eq!(bed.gallery.instance("shoes").unwrap().len().unwrap(), 120);
}
