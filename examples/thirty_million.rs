//! Thirty million vectors on a small machine: makes them up, imports them, reopens the instance and measures it.
//!
//! ```text
//! cargo run --release --example thirty_million -- --dir DIR --rows 30000000
//! ```
//!
//! DIR gets the gallery (some 13 GB for 30,000,000 rows) and, for later runs with `--measure-only`, the queries and
//! their true answers as NumPy files, named as in `ann_bench`. `support/world.rs` says how vectors are made up, and
//! `support/truth.rs` how the truth is found on the way.
//!
//! Rows never lie in memory all at once: threads make blocks of them ahead of the import, as far as a bounded channel
//! lets them, and compare them with the queries. Each row has a path of 40 bytes and three tags:
//!
//! | key | values |
//! | --- | --- |
//! | `color` | 12, equally frequent |
//! | `shop` | 1,000, the frequency of one falls with its rank (Zipf) |
//! | `rare` | a tenth of the rows' number, so about ten rows each |
//!
//! The filter that is measured is the shop that nearest to one row in a thousand has.
//!
//! Each figure is a line of JSON. Searching is done by a fresh process, on one thread, with everything in the system's
//! cache that fits: for each effort an untimed pass over the queries and then the timed ones.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use lookalike::{Add, CreateInstance, Effort, Source, Tags};
use serde_json::json;

#[path = "support/bulk.rs"]
mod bulk;
#[path = "support/measure.rs"]
mod measure;
#[path = "support/npy.rs"]
mod npy;
#[path = "support/random.rs"]
mod random;
#[path = "support/report.rs"]
mod report;
#[path = "support/truth.rs"]
mod truth;
#[path = "support/vectors_only.rs"]
mod vectors_only;
#[path = "support/world.rs"]
mod world;

use measure::{Filter, KEPT, Opened, Questions, at_least_one, effort};
use random::{Random, mix};
use report::{Peak, line, round};
use truth::{Targets, Truth};
use world::{DIMS, LANES, Tile, World};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const NAME: &str = "millions";

/// Rows of a block: some megabytes with their tags, and enough that handing it over costs nothing.
const BLOCK: u64 = 4096;

/// Blocks that each thread may be ahead.
const AHEAD: usize = 2;

const SHOPS: usize = 1000;

/// The kind of random numbers that tags are drawn from; `world.rs` has the others.
const TAGS: u64 = 100;

/// Makes up vectors, imports them, and measures searches against their true answers.
#[derive(Parser)]
struct Options {
    /// Where the gallery and the true answers go.
    #[arg(long)]
    dir: PathBuf,
    /// Rows to import.
    #[arg(long, default_value_t = 30_000_000, value_parser = clap::value_parser!(u64).range(1..=i32::MAX as u64))]
    rows: u64,
    /// Queries, half of them rows with noise and half fresh draws.
    #[arg(long, default_value_t = 200, value_parser = at_least_one)]
    queries: usize,
    /// Clusters of the vectors.
    #[arg(long, default_value_t = 200_000, value_parser = at_least_one)]
    centres: usize,
    /// Another seed, other vectors.
    #[arg(long, default_value_t = 30)]
    seed: u64,
    /// Threads that make rows; one a core unless it is given.
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Measures throughput with so many threads, too.
    #[arg(long, default_value_t = 1, value_parser = at_least_one)]
    search_threads: usize,
    /// Only searches the instance that an earlier run built.
    #[arg(long)]
    measure_only: bool,
    /// Makes the rows and their truth and imports nothing: what that alone costs.
    #[arg(long, conflicts_with = "measure_only")]
    generate_only: bool,
    /// The efforts to measure.
    #[arg(long, value_delimiter = ',', value_parser = effort, default_value = "fast,default,high,exact")]
    efforts: Vec<(&'static str, Effort)>,
    /// Timed passes over the queries for each effort.
    #[arg(long, default_value_t = 3, value_parser = at_least_one)]
    passes: usize,
}

fn main() -> Outcome<()> {
    let options = Options::parse();
    if options.measure_only {
        return search(&options);
    }
    build(&options)?;
    if options.generate_only {
        return Ok(());
    }
    let mut again = Command::new(std::env::current_exe()?);
    let ended = again.args(std::env::args_os().skip(1)).arg("--measure-only").status()?;
    if ended.success() { Ok(()) } else { Err(format!("the searching process ended with {ended}").into()) }
}

// Tags and paths.

/// Draws tags, and knows how frequent each shop is.
struct Tagger {
    seed: u64,
    rares: u64,
    /// The share of each shop and all before it.
    shops: Vec<f64>,
    /// The shop to filter by.
    filter: u32,
}

impl Tagger {
    fn new(seed: u64, rows: u64) -> Self {
        let all: f64 = (1..=SHOPS).map(|rank| 1.0 / rank as f64).sum();
        let (mut sum, mut nearest) = (0.0, (f64::INFINITY, 0));
        let shops = (0..SHOPS).map(|shop| {
            let share = 1.0 / (shop + 1) as f64 / all;
            let away = (share - 0.001).abs();
            if away < nearest.0 {
                nearest = (away, shop as u32);
            }
            sum += share;
            sum
        });
        let shops = shops.collect();
        Self { seed, rares: (rows / 10).max(1), shops, filter: nearest.1 }
    }

    /// The colour, shop and rare value of a row.
    fn draw(&self, row: u64) -> (u64, u32, u64) {
        let mut random = Random::new(self.seed, TAGS, row);
        let (color, at) = (random.below(12), random.unit());
        let shop = self.shops.partition_point(|sum| *sum <= at).min(SHOPS - 1);
        (color, shop as u32, random.below(self.rares))
    }
}

/// 40 bytes, in no order that the rows' numbers have.
fn path(row: u64) -> String {
    format!("{:016x}/{row:019}.jpg", mix(row))
}

// Making rows.

/// What a thread that makes rows gives back when all are made.
struct Made {
    truth: Truth,
    /// How long it compared rows with queries, and how long it made rows.
    comparing: Duration,
    making: Duration,
}

/// Makes every `threads`-th block from block `first` on.
fn make(plan: &Plan<'_>, first: u64, to: &SyncSender<Vec<Add<'static>>>) -> Made {
    let mut truth = Truth::new(plan.targets.whole.len(), KEPT, 10);
    let (mut comparing, mut making) = (Duration::ZERO, Duration::ZERO);
    let mut tile: Tile = [[0.0; LANES]; DIMS];
    let mut promising = Vec::new();
    let mut lap = Instant::now();
    // Adds the time since the last call to one of the sums.
    let mut into = |sum: &mut Duration| {
        let now = Instant::now();
        *sum += now - lap;
        lap = now;
    };
    for start in (first * BLOCK..plan.rows).step_by(plan.threads * BLOCK as usize) {
        let end = plan.rows.min(start + BLOCK);
        let mut adds = Vec::with_capacity((end - start) as usize);
        for eight in (start..end).step_by(LANES) {
            plan.world.rows(eight, &mut tile);
            into(&mut making);
            truth.promising(plan.targets, &tile, &mut promising);
            into(&mut comparing);
            plan.world.turn(&mut tile);
            for (lane, row) in (eight..end).take(LANES).enumerate() {
                let vector: Vec<f32> = tile.iter().map(|values| values[lane]).collect();
                let (color, shop, rare) = plan.tagger.draw(row);
                let tags =
                    [("color", color.to_string()), ("shop", shop.to_string()), ("rare", rare.to_string())];
                into(&mut making);
                for (_, query) in promising.iter().filter(|(promising, _)| *promising == lane) {
                    truth.score(plan.targets, *query, &vector, row);
                }
                if shop == plan.tagger.filter {
                    truth.match_filter(plan.targets, &vector, row);
                }
                into(&mut comparing);
                adds.push(Add::new(path(row), Source::vector(vector)).tags(Tags::from(tags)));
            }
        }
        into(&mut making);
        // Nobody takes it any more: the import has ended early and says why.
        if to.send(adds).is_err() {
            break;
        }
        // Waiting is neither.
        into(&mut Duration::default());
    }
    Made { truth, comparing, making }
}

/// What the threads that make rows share.
struct Plan<'a> {
    world: &'a World,
    targets: &'a Targets,
    tagger: &'a Tagger,
    rows: u64,
    threads: usize,
}

/// The rows in order: each thread's blocks in turn.
struct Ahead {
    threads: Vec<Receiver<Vec<Add<'static>>>>,
    taken: usize,
    block: std::vec::IntoIter<Add<'static>>,
    left: usize,
    /// How long it had to wait for blocks.
    waited: Duration,
}

impl Iterator for Ahead {
    type Item = Add<'static>;

    fn next(&mut self) -> Option<Add<'static>> {
        if self.block.len() == 0 && self.left > 0 {
            let begun = Instant::now();
            self.block = self.threads[self.taken % self.threads.len()].recv().ok()?.into_iter();
            self.waited += begun.elapsed();
            self.taken += 1;
        }
        let add = self.block.next()?;
        self.left -= 1;
        Some(add)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

// Building.

fn build(options: &Options) -> Outcome<()> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let threads = if options.threads == 0 { cores } else { options.threads };
    std::fs::create_dir_all(&options.dir)?;
    line("machine", &report::machine())?;
    line(
        "data",
        &json!({
            "rows": options.rows,
            "dims": DIMS,
            "queries": options.queries,
            "centres": options.centres,
            "seed": options.seed,
        }),
    )?;

    let watch = Peak::watch();
    let begun = Instant::now();
    let world = World::new(options.seed, options.centres, threads);
    let queries = world.queries(0..options.rows, options.queries);
    let targets = Targets::new(&world, &queries);
    let tagger = Tagger::new(options.seed, options.rows);
    let prepared = begun.elapsed().as_secs_f64();

    let gallery = vectors_only::gallery(&gallery_dir(&options.dir), DIMS, cores)?;
    let keys = ["color", "shop", "rare"];
    gallery.create(&CreateInstance::new(NAME, vectors_only::MODEL).tags(keys))?;
    let instance = gallery.instance(NAME)?;
    let plan = Plan { world: &world, targets: &targets, tagger: &tagger, rows: options.rows, threads };
    let importing = Instant::now();
    let (made, waited) = thread::scope(|scope| -> Outcome<_> {
        let (mut makers, mut receivers) = (Vec::new(), Vec::new());
        for first in 0..threads as u64 {
            let (send, receive) = sync_channel(AHEAD);
            let plan = &plan;
            makers.push(scope.spawn(move || make(plan, first, &send)));
            receivers.push(receive);
        }
        let mut rows = Ahead {
            threads: receivers,
            taken: 0,
            block: Vec::new().into_iter(),
            left: options.rows as usize,
            waited: Duration::ZERO,
        };
        if options.generate_only {
            rows.by_ref().for_each(drop);
        } else {
            bulk::import(&instance, &mut rows)?;
        }
        let waited = rows.waited;
        // Lets go of threads that would wait for ever if the import had not taken everything.
        drop(rows);
        let made: Result<Vec<Made>, _> = makers.into_iter().map(|maker| maker.join()).collect();
        Ok((made.map_err(|_| "a thread that makes rows panicked")?, waited))
    })?;
    let imported = importing.elapsed().as_secs_f64();
    let found = instance.len()?;
    if found != options.rows && !options.generate_only {
        return Err(format!("{} rows were imported, {found} are there", options.rows).into());
    }
    let mark = Instant::now();
    if !options.generate_only {
        instance.optimize()?;
    }
    let optimized = mark.elapsed().as_secs_f64();
    let mark = Instant::now();
    instance.close();
    let closed = mark.elapsed().as_secs_f64();
    let seconds = begun.elapsed().as_secs_f64();

    let sum = |part: fn(&Made) -> Duration| made.iter().map(part).sum::<Duration>().as_secs_f64();
    let (comparing, making) = (sum(|made| made.comparing), sum(|made| made.making));
    let mut truth = Truth::new(options.queries, KEPT, 10);
    made.into_iter().for_each(|made| truth.join(made.truth));
    line(
        "build",
        &json!({
            "rows": options.rows,
            "way": if options.generate_only { "nothing imported" } else { "import" },
            "seconds": round(seconds, 2),
            "rows_per_second": round(options.rows as f64 / seconds, 0),
            "preparing_seconds": round(prepared, 2),
            "import_seconds": round(imported, 2),
            // Of which the import waited for rows so long.
            "waiting_seconds": round(waited.as_secs_f64(), 2),
            "optimize_seconds": round(optimized, 2),
            "close_seconds": round(closed, 2),
            // Sums of the threads that make rows; with more threads than cores some of it is waiting for a core.
            "making_thread_seconds": round(making, 2),
            "truth_thread_seconds": round(comparing, 2),
            "making_threads": threads,
            "cpu_seconds": report::process_cpu(),
            "peak_own_memory_bytes": watch.end(),
            "of_which_world_bytes": world.bytes(),
        }),
    )?;
    let pairs = options.rows * options.queries as u64;
    let gflops = |values: usize| round(pairs as f64 * 2.0 * values as f64 / comparing / 1e9, 1);
    line(
        "truth",
        &json!({
            "pairs": pairs,
            "pairs_scored_in_full": truth.scored,
            // Multiplications and additions that were done, and that comparing in full would have taken.
            "gflops_a_thread": gflops(truth::HEAD),
            "gflops_a_thread_as_if_in_full": gflops(DIMS),
            "filter_matches": truth.matches,
        }),
    )?;
    save(options, &targets, &tagger, truth)
}

fn gallery_dir(dir: &Path) -> PathBuf {
    dir.join("gallery")
}

// The queries and their true answers, between the two processes.

fn save(options: &Options, targets: &Targets, tagger: &Tagger, truth: Truth) -> Outcome<()> {
    let file = |name: &str| options.dir.join(name);
    let rows = |best: Vec<truth::Best>, width: usize| -> Vec<i32> {
        let padded = |best: truth::Best| {
            let rows = best.rows().into_iter().map(|row| row as i32);
            rows.chain(std::iter::repeat(-1)).take(width).collect::<Vec<_>>()
        };
        best.into_iter().flat_map(padded).collect()
    };
    npy::write(&file("queries.npy"), DIMS, targets.whole.as_flattened())?;
    npy::write(&file("gt_ids.npy"), KEPT, &rows(truth.all, KEPT))?;
    npy::write(&file("fgt_shop.npy"), 10, &rows(truth.filtered, 10))?;
    npy::write(&file("fvals_shop.npy"), 1, &vec![tagger.filter as i32; options.queries])?;
    npy::write(&file("fcount_shop.npy"), 1, &[truth.matches as i32])?;
    Ok(())
}

fn load(dir: &Path) -> Outcome<(Questions, Filter)> {
    let file = |name: &str| dir.join(name);
    let mut vectors = npy::Array::open(&file("queries.npy"))?;
    let mut truth = npy::Array::open(&file("gt_ids.npy"))?;
    if (truth.rows(), truth.columns()) != (vectors.rows(), KEPT) {
        return Err("queries.npy and gt_ids.npy are not of the same run".into());
    }
    let questions = Questions { dims: vectors.columns(), vectors: vectors.all()?, truth: truth.all()? };
    let count = npy::Array::<i32>::open(&file("fcount_shop.npy"))?.all()?;
    let count = count.first().copied().ok_or("fcount_shop.npy is empty")?;
    let filter = Filter {
        key: "shop".to_owned(),
        values: npy::Array::open(&file("fvals_shop.npy"))?.all()?,
        truth: npy::Array::open(&file("fgt_shop.npy"))?.all()?,
        counts: vec![count.try_into()?; questions.len()],
    };
    Ok((questions, filter))
}

// Searching.

fn search(options: &Options) -> Outcome<()> {
    let dir = gallery_dir(&options.dir);
    // A search of many rows may take every core, as it does in a program that sets nothing.
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let opened = Opened::new(&dir, NAME, DIMS, cores)?;
    let (questions, filter) = load(&options.dir)?;
    opened.describe(&dir, &questions)?;
    let plan =
        measure::Plan { efforts: &options.efforts, passes: options.passes, threads: options.search_threads };
    measure::searches(&opened.instance, &questions, &plan, &options.dir)?;
    measure::filters(&opened.instance, &questions, &filter, &plan)
}
