//! Searches an open instance and compares its answers with the true ones: recall, latency, throughput.
//!
//! The paths of the rows end in the row's number, with or without an extension: `row/17` is row 17.

use std::error::Error;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lookalike::{Effort, Gallery, Instance, Page, Query};
use serde_json::{Value, json};

use crate::report::{Latencies, join, line, round};
use crate::{bulk, npy, report, vectors_only};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// The efforts, from the quickest to the one that looks at everything.
const EFFORTS: [(&str, Effort); 4] =
    [("fast", Effort::Fast), ("default", Effort::Default), ("high", Effort::High), ("exact", Effort::Exact)];

/// An effort by its name on a command line.
pub(crate) fn effort(name: &str) -> Result<(&'static str, Effort), String> {
    let known = EFFORTS.into_iter().find(|(known, _)| *known == name);
    known.ok_or_else(|| "there are fast, default, high and exact".to_owned())
}

/// A count on a command line that must not be 0.
pub(crate) fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| "a number from 1 on".to_owned())
}

/// Vectors to search by, and their true answers.
pub(crate) struct Questions {
    pub(crate) vectors: Vec<f32>,
    pub(crate) dims: usize,
    /// The best 100 rows of each query, best first.
    pub(crate) truth: Vec<i32>,
}

/// True answers kept for each query.
pub(crate) const KEPT: usize = 100;

/// A tag that every query is searched under, with a value of its own for each.
pub(crate) struct Filter {
    pub(crate) key: String,
    pub(crate) values: Vec<i32>,
    /// The best ten of the rows that match, for each query; -1 where there are fewer.
    pub(crate) truth: Vec<i32>,
    /// How many rows match, for each query.
    pub(crate) counts: Vec<u64>,
}

/// What some searches answered, query by query.
struct Answers {
    latencies: Latencies,
    rows: Vec<Vec<i32>>,
    counts: Vec<u64>,
    scanned: u64,
    probed: u64,
    exact: bool,
}

impl Questions {
    pub(crate) fn len(&self) -> usize {
        self.vectors.len() / self.dims
    }

    /// The requests, made before any clock runs.
    pub(crate) fn requests(&self, effort: Effort, limit: u32, filter: Option<&Filter>) -> Vec<Query<'_>> {
        let requests = self.vectors.chunks(self.dims).enumerate().map(|(number, vector)| {
            let query = Query::vector(vector).effort(effort).limit(limit);
            match filter.and_then(|filter| Some((&filter.key, filter.values.get(number)?))) {
                Some((key, value)) => query.tag(key, value.to_string()),
                None => query,
            }
        });
        requests.collect()
    }
}

/// Searches one query after the other, each `passes` times; the answers are those of the last pass.
fn ask(instance: &Instance, requests: &[Query<'_>], passes: usize) -> Outcome<Answers> {
    let mut answers = Answers {
        latencies: Latencies::default(),
        rows: Vec::new(),
        counts: Vec::new(),
        scanned: 0,
        probed: 0,
        exact: true,
    };
    for pass in 1..=passes {
        for request in requests {
            let begun = Instant::now();
            let page = instance.search(request)?;
            answers.latencies.push(begun.elapsed());
            if pass == passes {
                answers.keep(&page)?;
            }
        }
    }
    Ok(answers)
}

impl Answers {
    fn keep(&mut self, page: &Page) -> Outcome<()> {
        self.rows.push(page.hits.iter().map(|hit| row_of(&hit.path)).collect::<Outcome<_>>()?);
        self.counts.push(page.count);
        self.scanned += page.found.rows_scanned;
        self.probed += page.found.lists_probed;
        self.exact &= page.found.exact;
        Ok(())
    }

    /// What share of the true first `k` was found among the first `k`. `truth` has `width` entries a query.
    fn recall(&self, truth: &[i32], width: usize, k: usize) -> f64 {
        let (mut found, mut wanted) = (0, 0);
        for (rows, truth) in self.rows.iter().zip(truth.chunks(width)) {
            // Where fewer rows match than are asked for, the rest is -1.
            for row in truth.iter().take(k).filter(|row| **row >= 0) {
                wanted += 1;
                found += usize::from(rows.iter().take(k).any(|hit| hit == row));
            }
        }
        found as f64 / f64::from(wanted)
    }

    /// Rows and lists that were looked at, on average.
    fn work(&self) -> Value {
        let queries = self.rows.len() as f64;
        json!({
            "rows_scanned": round(self.scanned as f64 / queries, 1),
            "lists_probed": round(self.probed as f64 / queries, 1),
            "exact": self.exact,
        })
    }

    /// Row numbers, `width` a query, -1 where there were fewer hits.
    fn padded(&self, width: usize) -> Vec<i32> {
        let pad = |rows: &Vec<i32>| rows.iter().copied().chain(std::iter::repeat(-1)).take(width).collect();
        self.rows.iter().flat_map(|rows| -> Vec<i32> { pad(rows) }).collect()
    }
}

/// How to search.
pub(crate) struct Plan<'a> {
    pub(crate) efforts: &'a [(&'static str, Effort)],
    /// Timed passes over the queries.
    pub(crate) passes: usize,
    /// With more than one, so many threads search at once, too.
    pub(crate) threads: usize,
}

/// Measures each effort: figures `search` and `throughput`. The rows that were found are written to `dir`:
/// `ids_EFFORT.npy` has those of searches for a hundred hits, `ids10_EFFORT.npy` those of searches for ten.
pub(crate) fn searches(
    instance: &Instance,
    questions: &Questions,
    plan: &Plan<'_>,
    dir: &Path,
) -> Outcome<()> {
    for effort in plan.efforts {
        let (fields, ten, hundred) = search(instance, questions, *effort, plan.passes)?;
        line("search", &fields)?;
        for (file, answers, width) in [("ids", &hundred, KEPT), ("ids10", &ten, 10)] {
            npy::write(&dir.join(format!("{file}_{}.npy", effort.0)), width, &answers.padded(width))?;
        }
        if plan.threads > 1 {
            let passes = plan.passes * plan.threads;
            line("throughput", &throughput(instance, questions, *effort, plan.threads, passes)?)?;
        }
    }
    Ok(())
}

/// Measures each effort under a filter: figures `filter`.
pub(crate) fn filters(
    instance: &Instance,
    questions: &Questions,
    filter: &Filter,
    plan: &Plan<'_>,
) -> Outcome<()> {
    for effort in plan.efforts {
        line("filter", &filtered(instance, questions, filter, *effort, plan.passes)?)?;
    }
    Ok(())
}

/// The searches of one effort on one thread: an untimed pass, then `passes` for ten hits, then one for a hundred.
///
/// Gives the fields of a figure, and the answers for ten and for a hundred hits.
fn search(
    instance: &Instance,
    questions: &Questions,
    effort: (&str, Effort),
    passes: usize,
) -> Outcome<(Value, Answers, Answers)> {
    let ten = questions.requests(effort.1, 10, None);
    let hundred = questions.requests(effort.1, KEPT as u32, None);
    ask(instance, &ten, 1)?;
    let mut ten = ask(instance, &ten, passes)?;
    let mut hundred = ask(instance, &hundred, 1)?;
    let summary = ten.latencies.summary();
    let fields = join([
        json!({
            "effort": effort.0,
            "threads": 1,
            "recall_at_10": round(ten.recall(&questions.truth, KEPT, 10), 5),
            "recall_at_100": round(hundred.recall(&questions.truth, KEPT, 100), 5),
            "queries_per_second": round(1e3 / summary["mean_ms"].as_f64().unwrap_or(f64::NAN), 1),
            "limit_100": join([hundred.latencies.summary(), hundred.work()]),
        }),
        summary,
        ten.work(),
    ]);
    Ok((fields, ten, hundred))
}

/// The same under a filter, for ten hits.
fn filtered(
    instance: &Instance,
    questions: &Questions,
    filter: &Filter,
    effort: (&str, Effort),
    passes: usize,
) -> Outcome<Value> {
    let requests = questions.requests(effort.1, 10, Some(filter));
    ask(instance, &requests, 1)?;
    let mut answers = ask(instance, &requests, passes)?;
    let summary = answers.latencies.summary();
    // A search owes as many hits as match, up to the limit, and their number.
    let complete =
        answers.rows.iter().zip(&filter.counts).all(|(rows, count)| rows.len() as u64 == 10.min(*count));
    let matches = filter.counts.iter().sum::<u64>() as f64 / filter.counts.len() as f64;
    Ok(join([
        json!({
            "filter": filter.key,
            "effort": effort.0,
            "threads": 1,
            "matches": round(matches, 1),
            "recall_at_10": round(answers.recall(&filter.truth, 10, 10), 5),
            "queries_per_second": round(1e3 / summary["mean_ms"].as_f64().unwrap_or(f64::NAN), 1),
            "count_right": answers.counts == filter.counts,
            "all_hits_given": complete,
        }),
        summary,
        answers.work(),
    ]))
}

/// Many threads at once, each taking the next query, until every query was asked `passes` times.
fn throughput(
    instance: &Instance,
    questions: &Questions,
    effort: (&str, Effort),
    threads: usize,
    passes: usize,
) -> Outcome<Value> {
    let requests = questions.requests(effort.1, 10, None);
    let (next, total) = (AtomicUsize::new(0), requests.len() * passes);
    let begun = Instant::now();
    let taken: Vec<Outcome<Latencies>> = thread::scope(|scope| {
        let work = || {
            let mut latencies = Latencies::default();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(request) = requests.get(at % requests.len()).filter(|_| at < total) else {
                    return Ok(latencies);
                };
                let begun = Instant::now();
                instance.search(request)?;
                latencies.push(begun.elapsed());
            }
        };
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let end = |thread: thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|_| Err("a searching thread panicked".into()))
        };
        running.into_iter().map(end).collect()
    });
    let seconds = begun.elapsed().as_secs_f64();
    let mut all = Latencies::default();
    for latencies in taken {
        all.append(latencies?);
    }
    let fields = json!({
        "effort": effort.0,
        "threads": threads,
        "queries_per_second": round(total as f64 / seconds, 1),
    });
    Ok(join([fields, all.summary()]))
}

/// An instance that was just opened, and what that took.
pub(crate) struct Opened {
    pub(crate) instance: Instance,
    /// Lives as long as the instance is used.
    _gallery: Gallery,
    search_threads: usize,
    took: Duration,
    /// The process's own memory before, and what opening added to it.
    before: Option<u64>,
    heap: Option<u64>,
}

impl Opened {
    /// Opens an instance. To be called before the process does anything else: memory that was used and let go of is
    /// used again, and what opening takes could hide in it.
    pub(crate) fn new(dir: &Path, name: &str, dims: usize, search_threads: usize) -> Outcome<Self> {
        let before = report::own_memory(true);
        let begun = Instant::now();
        let gallery = vectors_only::gallery(dir, dims, search_threads)?;
        let instance = gallery.instance(name)?;
        let took = begun.elapsed();
        let heap = Self::since(before);
        Ok(Self { instance, _gallery: gallery, search_threads, took, before, heap })
    }

    fn since(before: Option<u64>) -> Option<u64> {
        Some(report::own_memory(true)?.saturating_sub(before?))
    }

    /// Searches for the first time, reads into memory what fits, and searches with every query once; figures `open`, `disk` and `stats`.
    pub(crate) fn describe(&self, dir: &Path, questions: &Questions) -> Outcome<()> {
        let requests = questions.requests(Effort::Default, 10, None);
        // The queries' own memory is not the instance's.
        let asking =
            report::own_memory(true).zip(self.before).map(|(now, before)| now.saturating_sub(before));
        let begun = Instant::now();
        if let Some(request) = requests.first() {
            self.instance.search(request)?;
        }
        let first = begun.elapsed();
        let begun = Instant::now();
        let fits = self.instance.preload()?;
        let preloaded = begun.elapsed();
        ask(&self.instance, &requests, 1)?;
        let warm = Self::since(self.before).zip(asking).map(|(warm, asking)| warm.saturating_sub(asking));
        let (rows, bytes) = (self.instance.len()?, report::bytes_under(dir)?);
        let ms = |time: Duration| round(time.as_secs_f64() * 1e3, 2);
        line(
            "open",
            &json!({
                "rows": rows,
                "open_ms": ms(self.took),
                "first_search_ms": ms(first),
                "preload_ms": ms(preloaded),
                "preloaded_whole": fits,
                "heap_bytes": self.heap,
                "heap_bytes_of_searching": warm,
                // One search may take so many.
                "search_threads": self.search_threads,
            }),
        )?;
        let each = round(bytes as f64 / rows as f64, 1);
        line("disk", &json!({ "rows": rows, "bytes": bytes, "bytes_per_vector": each }))?;
        Ok(line("stats", &bulk::stats(&self.instance)?)?)
    }
}

/// The number that a path ends in.
fn row_of(path: &str) -> Outcome<i32> {
    let stem = path.trim_end_matches(|c: char| !c.is_ascii_digit());
    let digits = stem.rsplit(|c: char| !c.is_ascii_digit()).next().unwrap_or("");
    digits.parse().map_err(|_| format!("the path {path:?} has no row number").into())
}
