//! What searches under filters find of what reading every image that passes finds, from filters that half the images pass
//! to filters that one in a million passes.
//!
//! ```text
//! cargo run --release --example filter_recall -- --dir DIR [--rows 1000000] [--queries 500] [--seed 1]
//! ```
//!
//! DIR holds `base.npy` and `queries.npy`, as for `ann_bench`. Each row gets two kinds of tags. `share` has the value `2^k`
//! for each k with a chance of 1 in 2^k, whatever the vector. `side` has it when the row is one of that share that lies
//! furthest in some direction: such rows lie in a few lists, which are near the query or far from it. Of each search the
//! ten hits of `Effort::Default` are compared with the ten of `Effort::Exact`.

use std::collections::HashSet;
use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use clap::Parser;
use lookalike::{Add, CreateInstance, Effort, Query, Source, Tags};
use serde_json::json;

#[path = "support/bulk.rs"]
mod bulk;
#[path = "support/npy.rs"]
#[allow(dead_code, reason = "other examples write")]
mod npy;
#[path = "support/random.rs"]
#[allow(dead_code, reason = "other examples draw more")]
mod random;
#[path = "support/report.rs"]
#[allow(dead_code, reason = "other examples say more")]
mod report;
#[path = "support/vectors_only.rs"]
mod vectors_only;

use random::Random;
use report::{line, round};

/// Compares filtered searches by lists with exact ones.
#[derive(Parser)]
struct Options {
    /// The directory of the NumPy files.
    #[arg(long)]
    dir: PathBuf,
    /// Rows to take, if there are more.
    #[arg(long, default_value_t = 1_000_000)]
    rows: usize,
    /// Queries to take, if there are more.
    #[arg(long, default_value_t = 500)]
    queries: usize,
    /// The rarest filter: one in 2 to the power of this.
    #[arg(long, default_value_t = HALVINGS, value_parser = clap::value_parser!(u32).range(1..=i64::from(HALVINGS)))]
    halvings: u32,
    /// Another seed, other tags.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// The largest k.
const HALVINGS: u32 = 20;

/// Rows read at a time, and rows that thresholds are taken from.
const BLOCK: usize = 65_536;

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let mut base = npy::Array::<f32>::open(&options.dir.join("base.npy"))?;
    let mut queries = npy::Array::<f32>::open(&options.dir.join("queries.npy"))?;
    let (rows, dims) = (options.rows.min(base.rows()), base.columns());
    let queries = queries.read(0..options.queries.min(queries.rows()))?;

    let mut random = Random::new(options.seed, 0, 0);
    let direction: Vec<f32> = (0..dims).map(|_| random.unit() as f32 - 0.5).collect();
    let along = |row: &[f32]| row.iter().zip(&direction).map(|(a, b)| a * b).sum::<f32>();
    let mut sample: Vec<f32> = base.read(0..rows.min(BLOCK))?.chunks(dims).map(along).collect();
    sample.sort_by(|a, b| b.total_cmp(a));
    let threshold = |k: u32| sample.get(sample.len() >> k).copied().filter(|_| sample.len() >> k > 0);

    let root = tempfile::tempdir_in(&options.dir)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let gallery = vectors_only::gallery(root.path(), dims, cores)?;
    gallery.create(&CreateInstance::new("filters", vectors_only::MODEL).tags(["share", "side"]))?;
    let instance = gallery.instance("filters")?;
    let mut failed = None;
    let blocks = (0..rows).step_by(BLOCK).map_while(|start| {
        let read = base.read(start..rows.min(start + BLOCK));
        read.map_err(|error| failed = Some(error)).ok().map(|values| (start, values))
    });
    let adds = blocks.flat_map(|(start, values)| {
        let mut adds = Vec::with_capacity(BLOCK);
        for (number, row) in (start..).zip(values.chunks(dims)) {
            let mut random = Random::new(options.seed, 1, number as u64);
            let drawn = (1..=HALVINGS).filter(|k| random.unit() < 0.5f64.powi(*k as i32));
            let side = (1..=HALVINGS).filter(|&k| threshold(k).is_some_and(|least| along(row) >= least));
            let (share, side): (Vec<_>, Vec<_>) = (drawn.map(value).collect(), side.map(value).collect());
            let mut tags = Tags::new();
            for (key, values) in [("share", share), ("side", side)] {
                if !values.is_empty() {
                    tags = tags.with_values(key, values);
                }
            }
            adds.push(Add::new(format!("row/{number}"), Source::vector(row.to_vec())).tags(tags));
        }
        adds
    });
    bulk::import(&instance, adds)?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    instance.optimize()?;
    line("stats", &bulk::stats(&instance)?)?;

    for (key, k) in
        ["share", "side"].into_iter().flat_map(|key| (1..=options.halvings).map(move |k| (key, k)))
    {
        let mut taken = report::Latencies::default();
        let (mut found, mut owed, mut lists, mut matches) = (0, 0, 0, 0);
        let mut right_counts = true;
        for query in queries.chunks(dims) {
            let query = Query::vector(query).tag(key, value(k)).limit(10);
            let begun = Instant::now();
            let page = instance.search(&query)?;
            taken.push(begun.elapsed());
            let exact = instance.search(&query.effort(Effort::Exact))?;
            let right: HashSet<&str> = exact.hits.iter().map(|hit| hit.path.as_str()).collect();
            found += page.hits.iter().filter(|hit| right.contains(hit.path.as_str())).count();
            owed += right.len();
            lists += page.found.lists_probed;
            matches = exact.count;
            right_counts &= page.count == exact.count && page.hits.len() == exact.hits.len();
        }
        let summary = taken.summary();
        line(
            "filter",
            &json!({
                "key": key,
                "one_in": 1u64 << k,
                "matches": matches,
                "recall_at_10": round(found as f64 / owed.max(1) as f64, 5),
                "lists_probed": round(lists as f64 / (queries.len() / dims) as f64, 1),
                "counts_right": right_counts,
                "p50_ms": summary["p50_ms"],
                "mean_ms": summary["mean_ms"],
            }),
        )?;
    }
    Ok(())
}

fn value(k: u32) -> String {
    (1u64 << k).to_string()
}
