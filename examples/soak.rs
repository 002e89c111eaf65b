//! Holds a load for an hour: one writer, several readers, deletes, seals and merges all the while.
//!
//! ```text
//! cargo run --release --example soak -- --minutes 60
//! ```
//!
//! An instance is filled, worn in by as many changes at full speed as it has images, so that everything was merged at least
//! once, and then kept at its size: each second so many images are added, and as many deleted, every tenth is replaced
//! instead. Readers search at a fixed rate, by vector, with a filter and by path, and check what they get:
//! every image is whole, none is there that was deleted before, none is missing that was added before, and the counts are
//! those of their state. A search counts as late from the moment it was due, not from the moment it could begin.
//!
//! At the end the first sixth of the time is compared with the last: memory, open files and the slowest hundredth of the
//! searches must not grow, and the disk must hold no more than 2.5 times what the images need. Each minute is a line.

use std::collections::VecDeque;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use lookalike::{Add, CreateInstance, Instance, Query, Source, Tags};

#[path = "support/soak_figures.rs"]
mod figures;
#[path = "../tests/random.rs"]
mod random;
#[path = "support/report.rs"]
#[allow(dead_code, reason = "benchmarks say more")]
mod report;
#[path = "support/vectors_only.rs"]
mod vectors_only;

use figures::{Line, disk_bytes, judge};
use random::Random;

const DIMS: usize = 256;
/// Vectors lie around so many centres.
const CENTRES: u64 = 2000;
/// The values of the tag that is filtered by.
const KINDS: u64 = 50;
/// Holds a load and sees whether anything grows.
#[derive(Parser)]
struct Options {
    /// How long.
    #[arg(long, default_value_t = 60.0)]
    minutes: f64,
    /// Images that the instance is kept at.
    #[arg(long, default_value_t = 200_000)]
    images: u64,
    /// Images added a second, and deleted.
    #[arg(long, default_value_t = 50)]
    adds: u64,
    /// Readers.
    #[arg(long, default_value_t = 4)]
    readers: u64,
    /// Searches of each a second.
    #[arg(long, default_value_t = 25)]
    searches: u64,
    /// Images of a tail; fewer are sealed and merged more often.
    #[arg(long, default_value_t = 5000)]
    tail_rows: u32,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The directory of the gallery, which should be empty; one of its own unless it is set.
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// What writer and readers tell each other.
struct Shared {
    instance: Instance,
    end: AtomicBool,
    /// Counts acknowledged changes.
    clock: AtomicU64,
    /// Of each image number: when it was acknowledged, when its deletion was asked for, and when that was acknowledged.
    added: Vec<AtomicU64>,
    asked: Vec<AtomicU64>,
    deleted: Vec<AtomicU64>,
    /// Image numbers from here on may be there, up to `next`.
    oldest: AtomicU64,
    next: AtomicU64,
    changes: AtomicU64,
    /// Milliseconds of the searches and of the changes since the last line.
    searched: Mutex<Vec<f32>>,
    changed: Mutex<Vec<f32>>,
    errors: Mutex<Vec<String>>,
}

/// What the writer knows: its chance, and the numbers of the images that are there.
struct Writer {
    dice: Random,
    live: VecDeque<u64>,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let options = Options::parse();
    let own = tempfile::tempdir()?;
    let dir = options.dir.clone().unwrap_or_else(|| own.path().to_owned());
    let gallery = vectors_only::builder(&dir.join("gallery"), DIMS).tail_rows(options.tail_rows).open()?;
    let instance = gallery
        .open_or_create(&CreateInstance::new("soaked", vectors_only::MODEL).tags(["kind", "version"]))?;
    if !instance.is_empty()? {
        return Err("the directory has a gallery already".into());
    }
    let imported = instance.import((0..options.images).map(|number| add(number, 0)))?;
    instance.optimize()?;
    let bytes = disk_bytes(&dir);
    println!(
        "{} images, {} bytes each; seed {}",
        imported.added,
        bytes / options.images.max(1),
        options.seed
    );

    let seconds = options.minutes * 60.0;
    let most = 2 * options.images + (seconds * options.adds as f64 * 1.1) as u64 + 1000;
    let numbers = || (0..most).map(|_| AtomicU64::new(0)).collect::<Vec<_>>();
    let shared = Shared {
        instance,
        end: AtomicBool::new(false),
        clock: AtomicU64::new(1),
        added: numbers(),
        asked: numbers(),
        deleted: numbers(),
        oldest: AtomicU64::new(0),
        next: AtomicU64::new(options.images),
        changes: AtomicU64::new(0),
        searched: Mutex::default(),
        changed: Mutex::default(),
        errors: Mutex::default(),
    };
    shared.added[..options.images as usize].iter().for_each(|added| added.store(1, SeqCst));
    let mut writer = Writer { dice: Random(options.seed), live: (0..options.images).collect() };
    for _ in 0..options.images {
        shared.change(&mut writer)?;
    }
    shared.changes.store(0, SeqCst);
    let mut lines = Vec::new();
    thread::scope(|scope| -> Result<(), Box<dyn Error>> {
        scope.spawn(|| shared.watch(|| shared.write(&options, writer)));
        for reader in 0..options.readers {
            let (shared, options) = (&shared, &options);
            scope.spawn(move || shared.watch(|| shared.read(options, reader)));
        }
        let (began, each) = (Instant::now(), Duration::from_secs_f64((seconds / 60.0).clamp(1.0, 60.0)));
        while began.elapsed().as_secs_f64() < seconds && lock(&shared.errors).is_empty() {
            thread::sleep(each);
            let noted: usize = lines.iter().map(Line::noted_bytes).sum();
            let line = shared.line(&dir, noted as u64);
            line.print(began.elapsed(), &shared.instance)?;
            lines.push(line);
        }
        shared.end.store(true, SeqCst);
        Ok(())
    })?;
    let errors = std::mem::take(&mut *lock(&shared.errors));
    for error in &errors {
        println!("FAILED {error}");
    }
    shared.instance.verify()?;
    let grown = judge(&lines, bytes, options.minutes >= 60.0);
    println!(
        "seed {}: {} changes, {} searches in {:.0} minutes; {} errors; {} of the figures grew",
        options.seed,
        shared.changes.load(SeqCst),
        lines.iter().map(|line| line.searches.len()).sum::<usize>(),
        options.minutes,
        errors.len(),
        grown
    );
    Ok(if errors.is_empty() && grown == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Shared {
    /// Runs a thread's part; what goes wrong, a panic too, ends the whole.
    fn watch(&self, run: impl FnOnce() -> Result<(), Box<dyn Error>>) {
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
        match ran {
            Ok(Ok(())) => {}
            Ok(Err(error)) => lock(&self.errors).push(error.to_string()),
            Err(_) => lock(&self.errors).push("a panic".to_owned()),
        }
    }

    /// The writer: at its rate until the end.
    fn write(&self, options: &Options, mut writer: Writer) -> Result<(), Box<dyn Error>> {
        let mut pace = Pace::new(options.adds);
        while let Some(due) = pace.wait(&self.end) {
            if !self.change(&mut writer)? {
                return Ok(());
            }
            lock(&self.changed).push(due.elapsed().as_secs_f32() * 1e3);
        }
        Ok(())
    }

    /// Replaces an image, or adds one and deletes another; false when all numbers are used up.
    fn change(&self, Writer { dice, live }: &mut Writer) -> Result<bool, Box<dyn Error>> {
        if dice.once_in(10) {
            let number = live[dice.index(live.len())];
            self.instance.add(&add(number, dice.next()))?;
        } else {
            let number = self.next.load(SeqCst);
            let (Some(added), false) = (self.added.get(number as usize), live.is_empty()) else {
                return Ok(false);
            };
            self.instance.add(&add(number, 0))?;
            added.store(self.clock.fetch_add(1, SeqCst) + 1, SeqCst);
            self.next.store(number + 1, SeqCst);
            live.push_back(number);
            // Mostly old ones; one in eight from anywhere.
            let place = if dice.once_in(8) { dice.index(live.len()) } else { dice.index(live.len().min(64)) };
            let gone = live.remove(place).ok_or("nothing to delete")?;
            self.asked[gone as usize].store(1, SeqCst);
            self.instance.delete(path(gone))?;
            self.deleted[gone as usize].store(self.clock.fetch_add(1, SeqCst) + 1, SeqCst);
            self.oldest.store(live.front().copied().unwrap_or_default(), SeqCst);
            self.changes.fetch_add(1, SeqCst);
        }
        self.changes.fetch_add(1, SeqCst);
        Ok(true)
    }

    /// A reader: at its rate until the end.
    fn read(&self, options: &Options, reader: u64) -> Result<(), Box<dyn Error>> {
        let mut dice = Random(options.seed ^ (reader + 1) << 32);
        let mut pace = Pace::new(options.searches);
        while let Some(due) = pace.wait(&self.end) {
            let oldest = self.oldest.load(SeqCst);
            let number = oldest + dice.below(self.next.load(SeqCst) - oldest);
            let before = self.clock.load(SeqCst);
            let kind = kind(dice.below(KINDS));
            let near: Vec<f32> =
                vector(number, 0).iter().zip(dice.vector(DIMS)).map(|(a, b)| a + 0.5 * b).collect();
            let state = self.instance.reader()?;
            let (query, count) = match dice.below(10) {
                0 if state.check(&path(number))? => (Query::path(path(number)), state.len()),
                1 | 2 => {
                    let filter = Tags::from([("kind", kind)]);
                    let count = state.count_where(&filter)?;
                    (Query::vector(near).filter(filter), count)
                }
                _ => (Query::vector(near), state.len()),
            };
            let page = state.search(&query)?;
            lock(&self.searched).push(due.elapsed().as_secs_f32() * 1e3);

            // Counting by tags needs nothing of the search, nor this of either.
            let there = state.check(&path(number))?;
            let of = |times: &[AtomicU64], number: u64| times[number as usize].load(SeqCst);
            let (added, asked) = (of(&self.added, number), of(&self.asked, number));
            if !there && (1..=before).contains(&added) && asked == 0 {
                return Err(format!("image {number} is missing").into());
            }
            if page.count != count || page.hits.len() as u64 != count.min(10) {
                return Err(format!("{} hits of {}, not {count}", page.hits.len(), page.count).into());
            }
            if !page.hits.is_sorted_by(|a, b| a.sim >= b.sim) {
                return Err("hits out of order".into());
            }
            for hit in &page.hits {
                let number: u64 = hit.path.trim_start_matches("img/").parse()?;
                if (1..=before).contains(&of(&self.deleted, number)) {
                    return Err(format!("image {number} was deleted").into());
                }
                let version =
                    hit.tags.get("version").and_then(|values| values.first()).ok_or("no version")?;
                if vectors_only::cosine(&state.vector(&hit.path)?, &vector(number, version.parse()?)) < 0.999
                {
                    return Err(format!("image {number} is another").into());
                }
            }
        }
        Ok(())
    }
}

impl Shared {
    /// `noted`: bytes of the lines so far, which are no memory of the library's.
    fn line(&self, dir: &Path, noted: u64) -> Line {
        let taken = |times: &Mutex<Vec<f32>>| {
            let mut times = std::mem::take(&mut *lock(times));
            times.sort_by(f32::total_cmp);
            times
        };
        Line {
            searches: taken(&self.searched),
            changes: taken(&self.changed),
            memory: report::own_memory(false).unwrap_or_default().saturating_sub(noted),
            open_files: fs::read_dir("/proc/self/fd").map_or(0, |files| files.count() as u64),
            disk: disk_bytes(dir),
        }
    }
}

/// The moments at which something is due.
struct Pace {
    next: Instant,
    each: Duration,
}

impl Pace {
    fn new(a_second: u64) -> Self {
        Self { next: Instant::now(), each: Duration::from_secs(1) / a_second.clamp(1, 1_000_000) as u32 }
    }

    /// Sleeps until the next moment, which it gives; none at the end.
    fn wait(&mut self, end: &AtomicBool) -> Option<Instant> {
        self.next += self.each;
        let now = Instant::now();
        if self.next > now {
            thread::sleep(self.next - now);
        }
        (!end.load(SeqCst)).then_some(self.next)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn add(number: u64, version: u64) -> Add<'static> {
    let tags = Tags::from([("kind", kind(number % KINDS)), ("version", version.to_string())]);
    Add::new(path(number), Source::vector(vector(number, version))).tags(tags)
}

fn path(number: u64) -> String {
    format!("img/{number}")
}

fn kind(kind: u64) -> String {
    format!("k{kind}")
}

/// The vector of a version of an image: a fixed function, so that nothing has to be remembered to check it.
fn vector(number: u64, version: u64) -> Vec<f32> {
    let mut own = Random(number << 32 ^ version);
    let centre = own.below(CENTRES);
    Random(centre).vector(DIMS).iter().zip(own.vector(DIMS)).map(|(centre, own)| centre + 0.7 * own).collect()
}
