//! What a benchmark says: one line of JSON for each figure, and what it can learn about machine and process.
//!
//! What the processor is and what a process has in memory is read from Linux's `/proc`; elsewhere those figures are
//! `null`.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};

/// Prints a figure: its name first, then its fields.
pub(crate) fn line(figure: &str, fields: &Value) -> io::Result<()> {
    let fields = fields.to_string();
    let fields = fields.strip_prefix('{').unwrap_or("}");
    let mut out = io::stdout().lock();
    writeln!(out, "{{\"figure\":\"{figure}\",{fields}")?;
    // Runs take minutes, and whoever watches should see the figures as they come.
    out.flush()
}

/// A number with as many digits as are worth reading.
pub(crate) fn round(value: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (value * scale).round() / scale
}

/// How long each of many calls took, in milliseconds.
#[derive(Default)]
pub(crate) struct Latencies(Vec<f64>);

impl Latencies {
    pub(crate) fn push(&mut self, taken: Duration) {
        self.0.push(taken.as_secs_f64() * 1e3);
    }

    pub(crate) fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// `p50_ms`, `p99_ms`, `max_ms`, `mean_ms`, and the number of calls.
    pub(crate) fn summary(&mut self) -> Value {
        self.0.sort_by(f64::total_cmp);
        let mean = self.0.iter().sum::<f64>() / self.0.len() as f64;
        json!({
            "calls": self.0.len(),
            "p50_ms": round(self.percentile(0.5), 4),
            "p99_ms": round(self.percentile(0.99), 4),
            "max_ms": round(self.percentile(1.0), 4),
            "mean_ms": round(mean, 4),
        })
    }

    /// Between the two neighbouring calls, as NumPy's `percentile` does. The values are sorted.
    fn percentile(&self, share: f64) -> f64 {
        let at = share * self.0.len().saturating_sub(1) as f64;
        let value = |index: f64| self.0.get(index as usize).copied().unwrap_or(f64::NAN);
        value(at.floor()) + at.fract() * (value(at.ceil()) - value(at.floor()))
    }
}

/// Fields of several objects in one.
pub(crate) fn join(objects: impl IntoIterator<Item = Value>) -> Value {
    Value::Object(
        objects
            .into_iter()
            .flat_map(|object| match object {
                Value::Object(fields) => fields,
                _ => serde_json::Map::new(),
            })
            .collect(),
    )
}

/// The machine: its processor, cores, memory and system.
pub(crate) fn machine() -> Value {
    let first = |file: &str, key: &str| {
        let text = std::fs::read_to_string(file).ok()?;
        let line = text.lines().find(|line| line.starts_with(key))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let gib = first("/proc/meminfo", "MemTotal")
        .and_then(|total| total.split(' ').next()?.parse::<f64>().ok())
        .map(|kib| round(kib / f64::from(1 << 20), 1));
    // The extensions that kernels are chosen by.
    let flags = first("/proc/cpuinfo", "flags").unwrap_or_default();
    let known = ["avx2", "fma", "avx512f", "avx512bw", "avx512_vnni", "avx512_vpopcntdq"];
    let found: Vec<&str> = flags.split(' ').filter(|flag| known.contains(flag)).collect();
    json!({
        "processor": first("/proc/cpuinfo", "model name"),
        "family_model": [first("/proc/cpuinfo", "cpu family"), first("/proc/cpuinfo", "model\t")],
        "extensions": found,
        "cores": thread::available_parallelism().map_or(1, usize::from),
        "memory_gib": gib,
        "system": [std::env::consts::OS, std::env::consts::ARCH],
    })
}

/// Bytes of memory that belong to this process alone, files that it has mapped left out: heap and stacks.
///
/// This is `RssAnon` of `/proc/self/status`. The kernel keeps that number in a counter of each processor, so it may be
/// wrong by some hundred kilobytes; `exact` counts the pages instead, which takes milliseconds.
pub(crate) fn own_memory(exact: bool) -> Option<u64> {
    let (file, key) =
        if exact { ("/proc/self/smaps_rollup", "Anonymous:") } else { ("/proc/self/status", "RssAnon:") };
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// Seconds that the threads of this process have spent on processors.
pub(crate) fn process_cpu() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name in parentheses, which may hold spaces. utime and stime are the fields
    // 14 and 15, in ticks of 1/100 second.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    let ticks = fields.next()?.parse::<f64>().ok()? + fields.next()?.parse::<f64>().ok()?;
    Some(ticks / 100.0)
}

/// Looks at the process's own memory twenty times a second, and remembers the most there was.
pub(crate) struct Peak {
    shared: Arc<(AtomicU64, AtomicBool)>,
    thread: JoinHandle<()>,
}

impl Peak {
    pub(crate) fn watch() -> Self {
        let shared = Arc::new((AtomicU64::new(0), AtomicBool::new(false)));
        let seen = shared.clone();
        let thread = thread::spawn(move || {
            let (most, done) = &*seen;
            while !done.load(Ordering::Relaxed) {
                most.fetch_max(own_memory(false).unwrap_or(0), Ordering::Relaxed);
                thread::sleep(Duration::from_millis(50));
            }
        });
        Self { shared, thread }
    }

    /// The most bytes there were; `None` where that cannot be known.
    pub(crate) fn end(self) -> Option<u64> {
        self.shared.1.store(true, Ordering::Relaxed);
        self.thread.join().ok()?;
        Some(self.shared.0.load(Ordering::Relaxed)).filter(|most| *most > 0)
    }
}

/// Bytes of every file under a directory.
pub(crate) fn bytes_under(dir: &Path) -> io::Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.metadata()?;
        sum += if kind.is_dir() { bytes_under(&entry.path())? } else { kind.len() };
    }
    Ok(sum)
}
