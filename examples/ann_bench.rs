//! Builds an instance from vectors in NumPy files, reopens it, and measures it against their true neighbours.
//!
//! ```text
//! cargo run --release --example ann_bench -- --dir DIR --filters --threads 2
//! ```
//!
//! DIR holds, with N rows of D values and Q queries:
//!
//! | file | shape | what |
//! | --- | --- | --- |
//! | `base.npy` | f32 `[N, D]` | the rows, of unit norm |
//! | `queries.npy` | f32 `[Q, D]` | |
//! | `gt_ids.npy` | i32 `[Q, 100]` | the rows with the highest dot products, best first |
//! | `tags_KEY.npy` | i32 `[N]` | a tag of each row; KEY is `color`, `shop` or `rare` |
//! | `fvals_KEY.npy` | i32 `[Q]` | the value that each query is filtered by |
//! | `fgt_KEY.npy` | i32 `[Q, 10]` | the best rows of that value, -1 where there are fewer |
//!
//! The tags are stored if the files are there; `--filters` also measures searches under them.
//!
//! Row 17 gets the path `row/17`. First come two instances that are thrown away, for what one change costs: adds one
//! by one, and in batches until the first segment would be sealed. Then the instance proper is built, in batches while
//! a thread searches as fast as it can, or with `--import` through the bulk path. The program then starts itself anew
//! with `--query-only`, so that memory and opening are those of a fresh process, and searches: for each effort an
//! untimed pass over all queries, one for ten hits, one for a hundred. Latencies and recall@10 are those of the searches
//! for ten.
//!
//! Each figure is a line of JSON. `ids_EFFORT.npy` in DIR (i32 `[Q, 100]`) holds the rows that the limit-100 searches
//! gave, `ids10_EFFORT.npy` (i32 `[Q, 10]`) those of the limit-10 searches, so that recall can be computed by others.

use std::error::Error;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use lookalike::{Add, BatchOptions, CreateInstance, Effort, Gallery, Instance, Source, Tags};
use serde_json::{Value, json};

#[path = "support/bulk.rs"]
mod bulk;
#[path = "support/measure.rs"]
mod measure;
#[path = "support/npy.rs"]
mod npy;
#[path = "support/report.rs"]
mod report;
#[path = "support/vectors_only.rs"]
mod vectors_only;

use measure::{Filter, KEPT, Opened, Questions, at_least_one, effort};
use report::{Latencies, Peak, join, line, round};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// The keys of the tags.
const KEYS: [&str; 3] = ["color", "shop", "rare"];

const NAME: &str = "bench";

/// Rows that an instance keeps in memory before it seals them; fewer never meet a seal.
const TAIL: usize = 1 << 16;

/// Builds an instance from vectors in NumPy files and measures it.
#[derive(Parser)]
struct Options {
    /// The directory of the NumPy files.
    #[arg(long)]
    dir: PathBuf,
    /// Where to build the gallery, and leave it; without it, a temporary directory under DIR.
    #[arg(long)]
    instance_dir: Option<PathBuf>,
    /// Measures throughput with so many threads, too.
    #[arg(long, default_value_t = 1, value_parser = at_least_one)]
    threads: usize,
    /// Measures searches under the tags, too.
    #[arg(long)]
    filters: bool,
    /// Rows of one batch.
    #[arg(long, default_value_t = 1000, value_parser = at_least_one)]
    batch: usize,
    /// Rows to add one by one, into an instance of their own.
    #[arg(long, default_value_t = 2000)]
    singles: usize,
    /// Builds through the bulk path instead of by batches.
    #[arg(long)]
    import: bool,
    /// Builds without a thread that searches meanwhile.
    #[arg(long)]
    no_searcher: bool,
    /// Leaves the segments as the building made them.
    #[arg(long)]
    no_optimize: bool,
    /// Only searches an instance that was built before, in `--instance-dir`.
    #[arg(long, requires = "instance_dir")]
    query_only: bool,
    /// The efforts to measure.
    #[arg(long, value_delimiter = ',', value_parser = effort, default_value = "fast,default,high,exact")]
    efforts: Vec<(&'static str, Effort)>,
    /// Timed passes over the queries for each effort.
    #[arg(long, default_value_t = 1, value_parser = at_least_one)]
    passes: usize,
}

fn main() -> Outcome<()> {
    let options = Options::parse();
    if let (true, Some(dir)) = (options.query_only, &options.instance_dir) {
        return search(&options, dir);
    }
    let temporary = tempfile::tempdir_in(&options.dir)?;
    let dir = options.instance_dir.as_deref().unwrap_or(temporary.path());
    build(&options, dir)?;

    let mut again = Command::new(std::env::current_exe()?);
    again.args(std::env::args_os().skip(1)).arg("--query-only");
    if options.instance_dir.is_none() {
        again.arg("--instance-dir").arg(dir);
    }
    let ended = again.status()?;
    if ended.success() { Ok(()) } else { Err(format!("the searching process ended with {ended}").into()) }
}

// Building.

/// The rows to add, read from the files piece by piece.
struct Rows {
    base: npy::Array<f32>,
    tags: Vec<(&'static str, Vec<i32>)>,
}

impl Rows {
    fn open(dir: &Path) -> Outcome<Self> {
        let base = npy::Array::open(&dir.join("base.npy"))?;
        let mut tags = Vec::new();
        for key in KEYS {
            let file = dir.join(format!("tags_{key}.npy"));
            if file.exists() {
                let values = npy::Array::open(&file)?.all()?;
                if values.len() != base.rows() {
                    return Err(format!("{} has not one value for each row", file.display()).into());
                }
                tags.push((key, values));
            }
        }
        Ok(Self { base, tags })
    }

    fn adds(&mut self, rows: Range<usize>) -> Outcome<Vec<Add<'static>>> {
        let vectors = self.base.read(rows.clone())?;
        let adds = rows.zip(vectors.chunks(self.base.columns())).map(|(row, vector)| {
            let tags: Tags = self.tags.iter().map(|(key, values)| (*key, values[row].to_string())).collect();
            Add::new(format!("row/{row}"), Source::vector(vector.to_vec())).tags(tags)
        });
        Ok(adds.collect())
    }
}

/// All rows, one after another, for the bulk path.
struct Stream<'a> {
    rows: &'a mut Rows,
    read: usize,
    block: std::vec::IntoIter<Add<'static>>,
    failed: Option<Box<dyn Error + Send + Sync>>,
}

impl<'a> Stream<'a> {
    const BLOCK: usize = 4096;

    fn new(rows: &'a mut Rows) -> Self {
        Self { rows, read: 0, block: Vec::new().into_iter(), failed: None }
    }
}

impl Iterator for Stream<'_> {
    type Item = Add<'static>;

    fn next(&mut self) -> Option<Add<'static>> {
        let block = self.read..self.rows.base.rows().min(self.read + Self::BLOCK);
        if self.block.len() == 0 && !block.is_empty() && self.failed.is_none() {
            self.read = block.end;
            match self.rows.adds(block) {
                Ok(adds) => self.block = adds.into_iter(),
                // An iterator can only end; the caller looks for the reason.
                Err(error) => self.failed = Some(error),
            }
        }
        self.block.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.rows.base.rows() - self.read + self.block.len();
        (left, Some(left))
    }
}

fn build(options: &Options, dir: &Path) -> Outcome<()> {
    let mut rows = Rows::open(&options.dir)?;
    let questions = questions(&options.dir)?;
    let (count, dims) = (rows.base.rows(), rows.base.columns());
    if dims != questions.dims {
        return Err(format!("rows have {dims} values, queries {}", questions.dims).into());
    }
    line("machine", &report::machine())?;
    line("data", &json!({ "rows": count, "dims": dims, "queries": questions.len() }))?;

    let gallery = vectors_only::gallery(dir, dims, 1)?;
    one_by_one(options, &gallery, &mut rows)?;
    burst(options, &gallery, &mut rows)?;

    // An instance that is there already is an error here: it would be measured together with the new rows.
    let instance = create(&gallery, NAME, &rows)?;
    let watch = Peak::watch();
    let cpu = report::process_cpu();
    let begun = Instant::now();
    if options.import {
        let mut stream = Stream::new(&mut rows);
        bulk::import(&instance, &mut stream)?;
        if let Some(error) = stream.failed {
            return Err(error);
        }
    } else {
        sustained(options, &instance, &questions, &mut rows)?;
    }
    let adding = begun.elapsed().as_secs_f64();
    let found = instance.len()?;
    if found != count as u64 {
        return Err(format!("{count} rows were added, {found} are there").into());
    }
    let mut mark = Instant::now();
    if !options.no_optimize {
        instance.optimize()?;
    }
    let optimizing = mark.elapsed().as_secs_f64();
    mark = Instant::now();
    instance.close();
    drop(instance);
    let seconds = begun.elapsed().as_secs_f64();
    line(
        "build",
        &json!({
            "rows": count,
            "way": if options.import { "import" } else { "batches" },
            "seconds": round(seconds, 3),
            "rows_per_second": round(count as f64 / seconds, 0),
            "adding_seconds": round(adding, 3),
            "optimize_seconds": round(optimizing, 3),
            "close_seconds": round(mark.elapsed().as_secs_f64(), 3),
            // With the searching and the reading thread.
            "cpu_seconds": report::process_cpu().zip(cpu).map(|(now, before)| round(now - before, 1)),
            "peak_own_memory_bytes": watch.end(),
        }),
    )?;
    Ok(())
}

fn create(gallery: &Gallery, name: &str, rows: &Rows) -> Outcome<Instance> {
    let keys = rows.tags.iter().map(|(key, _)| *key);
    gallery.create(&CreateInstance::new(name, vectors_only::MODEL).tags(keys))?;
    Ok(gallery.instance(name)?)
}

/// Adds one by one, each durable before the next begins.
fn one_by_one(options: &Options, gallery: &Gallery, rows: &mut Rows) -> Outcome<()> {
    let adds = rows.adds(0..options.singles.min(rows.base.rows()))?;
    if adds.is_empty() {
        return Ok(());
    }
    let instance = create(gallery, "singles", rows)?;
    let mut latencies = Latencies::default();
    let begun = Instant::now();
    for add in &adds {
        let begun = Instant::now();
        instance.add(add)?;
        latencies.push(begun.elapsed());
    }
    rate("singles", adds.len(), begun.elapsed().as_secs_f64(), json!({}), latencies)?;
    instance.close();
    gallery.delete("singles")?;
    Ok(())
}

/// Batches one after the other, into memory and the log and not further: what a burst of adds sees.
fn burst(options: &Options, gallery: &Gallery, rows: &mut Rows) -> Outcome<()> {
    let count = rows.base.rows().min(TAIL - 1) / options.batch * options.batch;
    if count == 0 {
        return Ok(());
    }
    // Made before the clock runs: some hundred megabytes at most.
    let adds = rows.adds(0..count)?;
    let instance = create(gallery, "burst", rows)?;
    let mut latencies = Latencies::default();
    let begun = Instant::now();
    for batch in adds.chunks(options.batch) {
        add_batch(&instance, batch, &mut latencies)?;
    }
    let fields = json!({ "batch": options.batch });
    rate("burst", adds.len(), begun.elapsed().as_secs_f64(), fields, latencies)?;
    instance.close();
    gallery.delete("burst")?;
    Ok(())
}

/// All rows in batches, as fast as they are taken, with sealing and merging, while another thread searches. A third
/// one reads the rows from the file.
fn sustained(options: &Options, instance: &Instance, questions: &Questions, rows: &mut Rows) -> Outcome<()> {
    let count = rows.base.rows();
    let (send, batches) = sync_channel(4);
    let (mut latencies, full) = (Latencies::default(), AtomicBool::new(false));
    let begun = Instant::now();
    let searched = thread::scope(|scope| -> Outcome<Latencies> {
        scope.spawn(move || {
            for start in (0..count).step_by(options.batch) {
                let batch = rows.adds(start..count.min(start + options.batch));
                // When nobody takes it, the adding thread has met an error.
                if send.send(batch).is_err() {
                    break;
                }
            }
        });
        let searcher =
            (!options.no_searcher).then(|| scope.spawn(|| search_until(instance, questions, &full)));
        let added = || -> Outcome<()> {
            for batch in batches {
                add_batch(instance, &batch?, &mut latencies)?;
            }
            Ok(())
        };
        let added = added();
        full.store(true, Ordering::Relaxed);
        let searched = searcher.map(|thread| thread.join().map_err(|_| "the searching thread panicked"));
        added?;
        searched.transpose()?.unwrap_or_else(|| Ok(Latencies::default()))
    });
    let mut searched = searched?;
    let fields = json!({ "batch": options.batch, "searched_meanwhile": !options.no_searcher });
    rate("sustained", count, begun.elapsed().as_secs_f64(), fields, latencies)?;
    if !options.no_searcher {
        line("search_while_adding", &searched.summary())?;
    }
    Ok(())
}

fn search_until(instance: &Instance, questions: &Questions, done: &AtomicBool) -> Outcome<Latencies> {
    let mut latencies = Latencies::default();
    let requests = questions.requests(Effort::Default, 10, None);
    // Thousands that find nothing would make a median of nothing.
    while instance.is_empty()? && !done.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(1));
    }
    for request in requests.iter().cycle() {
        if done.load(Ordering::Relaxed) {
            break;
        }
        let begun = Instant::now();
        instance.search(request)?;
        latencies.push(begun.elapsed());
    }
    Ok(latencies)
}

fn add_batch(instance: &Instance, batch: &[Add<'_>], latencies: &mut Latencies) -> Outcome<()> {
    let begun = Instant::now();
    let results = instance.add_batch(batch, &BatchOptions::new());
    latencies.push(begun.elapsed());
    for result in results {
        result?;
    }
    Ok(())
}

fn rate(figure: &str, rows: usize, seconds: f64, fields: Value, mut latencies: Latencies) -> Outcome<()> {
    let rate = json!({
        "rows": rows,
        "seconds": round(seconds, 3),
        "rows_per_second": round(rows as f64 / seconds, 0),
    });
    Ok(line(figure, &join([rate, fields, latencies.summary()]))?)
}

// Searching.

fn search(options: &Options, dir: &Path) -> Outcome<()> {
    let opened =
        Opened::new(dir, NAME, npy::Array::<f32>::open(&options.dir.join("queries.npy"))?.columns(), 1)?;
    let questions = questions(&options.dir)?;
    opened.describe(dir, &questions)?;
    let plan = measure::Plan { efforts: &options.efforts, passes: options.passes, threads: options.threads };
    measure::searches(&opened.instance, &questions, &plan, &options.dir)?;
    if options.filters {
        for filter in filters(&options.dir, questions.len())? {
            measure::filters(&opened.instance, &questions, &filter, &plan)?;
        }
    }
    Ok(())
}

fn questions(dir: &Path) -> Outcome<Questions> {
    let mut vectors = npy::Array::open(&dir.join("queries.npy"))?;
    let mut truth = npy::Array::open(&dir.join("gt_ids.npy"))?;
    if vectors.rows() == 0 || (truth.rows(), truth.columns()) != (vectors.rows(), KEPT) {
        return Err(format!("gt_ids.npy has not {KEPT} rows for each of {} queries", vectors.rows()).into());
    }
    Ok(Questions { dims: vectors.columns(), vectors: vectors.all()?, truth: truth.all()? })
}

/// The filters whose files are there; none is an error.
fn filters(dir: &Path, queries: usize) -> Outcome<Vec<Filter>> {
    let mut filters = Vec::new();
    for key in KEYS {
        let file = |kind: &str| dir.join(format!("{kind}_{key}.npy"));
        if !file("fvals").exists() {
            continue;
        }
        let values: Vec<i32> = npy::Array::open(&file("fvals"))?.all()?;
        let truth: Vec<i32> = npy::Array::open(&file("fgt"))?.all()?;
        if values.len() != queries || truth.len() != queries * 10 {
            return Err(format!("the files of the filter {key} are not those of {queries} queries").into());
        }
        let mut counts = std::collections::HashMap::new();
        for value in npy::Array::<i32>::open(&file("tags"))?.all()? {
            *counts.entry(value).or_insert(0) += 1;
        }
        let counts = values.iter().map(|value| counts.get(value).copied().unwrap_or(0)).collect();
        filters.push(Filter { key: key.to_owned(), values, truth, counts });
    }
    if filters.is_empty() {
        return Err(format!("{} has no fvals_KEY.npy to filter by", dir.display()).into());
    }
    Ok(filters)
}
