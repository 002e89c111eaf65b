//! What a soak measures each minute, and what of it may not grow.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::Duration;

use lookalike::Instance;

/// What the last sixth of the time may be, compared with the first.
const SLOWER: f64 = 1.2;
const LARGER: f64 = 1.05;
/// How many times the bytes of the images the files may have.
const DISK: f64 = 2.5;

/// A minute, or less of a short run.
pub(crate) struct Line {
    /// Milliseconds.
    pub(crate) searches: Vec<f32>,
    pub(crate) changes: Vec<f32>,
    /// Bytes that belong to the process alone, but for the times that it noted.
    pub(crate) memory: u64,
    pub(crate) open_files: u64,
    pub(crate) disk: u64,
}

impl Line {
    pub(crate) fn noted_bytes(&self) -> usize {
        (self.searches.capacity() + self.changes.capacity()) * size_of::<f32>()
    }

    pub(crate) fn print(&self, elapsed: Duration, instance: &Instance) -> Result<(), Box<dyn Error>> {
        let stats = instance.stats()?;
        println!(
            "{:>5.1} min: {} searches, p50 {:.2} p99 {:.2} slowest {:.1} ms; {} changes, p99 {:.2} ms; {:.0} MB own, \
             {} open files, {:.0} MB on disk; {} images, {} dead, {} segments, {} in the tail",
            elapsed.as_secs_f64() / 60.0,
            self.searches.len(),
            percentile(&self.searches, 0.5),
            percentile(&self.searches, 0.99),
            percentile(&self.searches, 1.0),
            self.changes.len(),
            percentile(&self.changes, 0.99),
            self.memory as f64 / 1e6,
            self.open_files,
            self.disk as f64 / 1e6,
            stats.images,
            stats.dead,
            stats.segments,
            stats.tail_rows,
        );
        Ok(())
    }
}

/// How many figures of the last sixth of the lines are worse than they may be. Of a run of less than an hour the times
/// are shown, but not judged: they say more of the machine.
pub(crate) fn judge(lines: &[Line], live_bytes: u64, judge_times: bool) -> usize {
    let sixth = lines.len().div_ceil(6);
    let (first, last) = (&lines[..sixth], &lines[lines.len() - sixth..]);
    let times = |lines: &[Line], of: fn(&Line) -> &Vec<f32>| {
        let mut all: Vec<f32> = lines.iter().flat_map(|line| of(line).iter().copied()).collect();
        all.sort_by(f32::total_cmp);
        f64::from(percentile(&all, 0.99))
    };
    let most = |lines: &[Line], of: fn(&Line) -> u64| lines.iter().map(of).max().unwrap_or_default() as f64;
    let mut grown = 0;
    let mut compare = |what: &str, first: f64, last: f64, limit: f64, judged: bool| {
        let worse = judged && last > limit * first;
        println!(
            "{what}: {first:.2} at first, {last:.2} at last, limit {limit} x{}",
            if worse { ": GREW" } else { "" }
        );
        grown += usize::from(worse);
    };
    let searches = |lines| times(lines, |line| &line.searches);
    compare("p99 of a search, ms", searches(first), searches(last), SLOWER, judge_times);
    let changes = |lines| times(lines, |line| &line.changes);
    compare("p99 of a change, ms", changes(first), changes(last), SLOWER, false);
    let memory = |lines| most(lines, |line| line.memory) / 1e6;
    compare("own memory, MB", memory(first), memory(last), LARGER, judge_times);
    // A file that is being written is open for a moment: what stays open is what every line sees.
    let files = |lines: &[Line]| lines.iter().map(|line| line.open_files).min().unwrap_or_default() as f64;
    compare("open files", files(first), files(last), 1.0, true);
    compare(
        "bytes, images alone and most on disk, MB",
        live_bytes as f64 / 1e6,
        most(lines, |l| l.disk) / 1e6,
        DISK,
        true,
    );
    grown
}

/// Of sorted values.
fn percentile(sorted: &[f32], share: f64) -> f32 {
    let at = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(at.saturating_sub(1)).copied().unwrap_or(f32::NAN)
}

/// Bytes of the files of a directory and those below.
pub(crate) fn disk_bytes(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let bytes = |entry: fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => disk_bytes(&entry.path()),
        Ok(meta) => meta.len(),
        // It was removed meanwhile.
        Err(_) => 0,
    };
    entries.map(bytes).sum()
}
