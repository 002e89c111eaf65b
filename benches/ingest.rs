//! Adding rows: `cargo bench --bench ingest`. What it takes of a disk depends on the disk: every commit is synced.

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lookalike::{Add, CreateInstance, Gallery, Instance, Source, Tags};

#[path = "../examples/support/made_up.rs"]
mod made_up;

use made_up::vector;

fn rows(from: u64, count: u64) -> Vec<Add<'static>> {
    (from..from + count)
        .map(|i| {
            let tags = Tags::from([("tenth", (i % 10).to_string())]);
            Add::new(format!("row/{i}"), Source::vector(vector(i))).tags(tags)
        })
        .collect()
}

/// An instance of its own for each round, so that none grows without bound.
fn timed(rounds: u64, add: impl Fn(&Instance) -> Duration) -> Duration {
    let mut taken = Duration::ZERO;
    for _ in 0..rounds {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let gallery = Gallery::open(dir.path()).expect("a gallery");
        let create = CreateInstance::new("bench", "common-search").tags(["tenth"]);
        taken += add(&gallery.open_or_create(&create).expect("an instance"));
    }
    taken
}

fn ingest(c: &mut Criterion) {
    let mut group = c.benchmark_group("ingest 256");
    group.sample_size(10);
    let singles = rows(0, 200);
    group.throughput(Throughput::Elements(200));
    group.bench_function("200 rows one by one", |b| {
        b.iter_custom(|rounds| {
            timed(rounds, |instance| {
                let start = Instant::now();
                for add in &singles {
                    instance.add(add).expect("an add");
                }
                start.elapsed()
            })
        });
    });
    let all = rows(0, 50_000);
    group.throughput(Throughput::Elements(50_000));
    group.bench_function("50,000 rows in batches of 1,000", |b| {
        b.iter_custom(|rounds| {
            timed(rounds, |instance| {
                let start = Instant::now();
                for batch in all.chunks(1000) {
                    assert!(instance.add_batch(batch, &Default::default()).iter().all(Result::is_ok));
                }
                start.elapsed()
            })
        });
    });
    group.bench_function("50,000 rows by import", |b| {
        b.iter_custom(|rounds| {
            timed(rounds, |instance| {
                let start = Instant::now();
                assert_eq!(instance.import(all.iter().cloned()).expect("an import").added, 50_000);
                start.elapsed()
            })
        });
    });
    group.finish();
}

criterion_group!(benches, ingest);
criterion_main!(benches);
