//! Exhaustive search over stored rows: `cargo bench --bench search`.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lookalike::{Add, CreateInstance, Effort, Gallery, Instance, Query, Source, Tags};

#[path = "../examples/support/made_up.rs"]
mod made_up;

use made_up::vector;

const ROWS: u64 = 100_000;

fn fill(instance: &Instance) {
    for group in (0..ROWS).collect::<Vec<_>>().chunks(5_000) {
        let adds: Vec<Add<'_>> = group
            .iter()
            .map(|&i| {
                let tags =
                    Tags::from([("tenth", (i % 10).to_string()), ("thousandth", (i % 1000).to_string())]);
                Add::new(format!("row/{i}"), Source::vector(vector(i))).tags(tags)
            })
            .collect();
        assert!(instance.add_batch(&adds, &Default::default()).iter().all(Result::is_ok));
    }
}

fn search(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let gallery = Gallery::open(dir.path()).expect("a gallery");
    let create = CreateInstance::new("bench", "common-search").tags(["tenth", "thousandth"]);
    let instance = gallery.open_or_create(&create).expect("an instance");
    fill(&instance);
    instance.optimize().expect("one segment");

    let mut group = c.benchmark_group("flat 100k x 256");
    group.throughput(Throughput::Elements(ROWS));
    let query = Query::vector(vector(ROWS + 1)).effort(Effort::Exact);
    group.bench_function("all", |b| b.iter(|| instance.search(&query).expect("hits")));
    let tenth = query.clone().tag("tenth", "3");
    group.bench_function("under a tag of a tenth", |b| b.iter(|| instance.search(&tenth).expect("hits")));
    let thousandth = query.clone().tag("thousandth", "333");
    group.bench_function("under a tag of a thousandth", |b| {
        b.iter(|| instance.search(&thousandth).expect("hits"))
    });
    let by_path = Query::path("row/777").effort(Effort::Exact);
    group.bench_function("by path", |b| b.iter(|| instance.search(&by_path).expect("hits")));
    let page = Query::tags(Tags::from([("tenth", "3")])).offset(5_000);
    group.bench_function("tags alone, page 500", |b| b.iter(|| instance.search(&page).expect("hits")));
    group.finish();
}

criterion_group!(benches, search);
criterion_main!(benches);
