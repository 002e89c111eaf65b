//! Runs the fuzz targets on a stable toolchain: mutations of the corpus, without coverage.
//!
//! ```text
//! cargo run --release --manifest-path fuzz/Cargo.toml -- --seconds 15 [--target NAME] [--seed S] [--input FILE]
//! ```
//!
//! A panic, an input that takes more than a second, or one that needs more than 512 MiB is a finding: the input is
//! written to `fuzz/artifacts/` and the program fails in the end.

use std::alloc::{GlobalAlloc, Layout, System};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lookalike_fuzz::mutate::{Random, input};
use lookalike_fuzz::targets::{TARGETS, Target};

/// No input may take longer. On a busy machine any may once: it counts if it does so every time.
const LONGEST: Duration = Duration::from_secs(1);
const TIMES: usize = 5;
/// Or need more memory.
const MOST_BYTES: usize = 512 << 20;

/// Counts what is allocated.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: hands everything to the system's allocator and only counts.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(held, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Options {
    seconds: f64,
    target: Option<String>,
    seed: u64,
    input: Option<PathBuf>,
}

fn options() -> Result<Options, String> {
    let mut options = Options { seconds: 15.0, target: None, seed: 1, input: None };
    let mut args = std::env::args().skip(1);
    while let Some(name) = args.next() {
        let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
        let wrong = |_| format!("{name} {value}: not a number");
        match name.as_str() {
            "--seconds" => options.seconds = value.parse().map_err(|_| wrong(()))?,
            "--seed" => options.seed = value.parse().map_err(|_| wrong(()))?,
            "--target" => options.target = Some(value),
            "--input" => options.input = Some(value.into()),
            _ => return Err(format!("{name} is no option: --seconds, --target, --seed, --input")),
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    // The message of a panic is a finding's, and is printed with it.
    let mut findings = 0;
    let chosen = |target: &&Target| options.target.as_ref().is_none_or(|name| name == target.name);
    let targets: Vec<&Target> = TARGETS.iter().filter(chosen).collect();
    for target in &targets {
        findings += match &options.input {
            Some(file) => again(target, file),
            None => fuzz(target, &options),
        };
    }
    if targets.is_empty() {
        eprintln!("no such target; there are {:?}", TARGETS.iter().map(|t| t.name).collect::<Vec<_>>());
    }
    if findings == 0 && !targets.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn again(target: &Target, file: &Path) -> usize {
    match std::fs::read(file) {
        Ok(bytes) => usize::from(run(target, &bytes).is_err()),
        Err(error) => {
            eprintln!("{}: {error}", file.display());
            1
        }
    }
}

/// Time and memory of one input, or what is wrong with it.
fn run(target: &Target, bytes: &[u8]) -> Result<(Duration, usize), String> {
    let mut ran = run_once(target, bytes)?;
    for _ in 1..TIMES {
        if ran.0 <= LONGEST {
            break;
        }
        let again = run_once(target, bytes)?;
        ran = (ran.0.min(again.0), ran.1.max(again.1));
    }
    match ran {
        (took, _) if took > LONGEST => Err(format!("took {took:?} and more, {TIMES} times")),
        ran => Ok(ran),
    }
}

fn run_once(target: &Target, bytes: &[u8]) -> Result<(Duration, usize), String> {
    let before = HELD.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let began = Instant::now();
    let ran = catch_unwind(AssertUnwindSafe(|| (target.run)(bytes)));
    let (took, peak) = (began.elapsed(), PEAK.load(Ordering::Relaxed).saturating_sub(before));
    match ran {
        Err(_) => Err("a panic".to_owned()),
        Ok(()) if peak > MOST_BYTES => Err(format!("needed {peak} bytes")),
        Ok(()) => Ok((took, peak)),
    }
}

fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(dir).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    files.iter().filter_map(|file| std::fs::read(file).ok()).collect()
}

fn fuzz(target: &Target, options: &Options) -> usize {
    let corpus = corpus(target);
    let mut dice = Random(options.seed);
    let (mut runs, mut findings, mut slowest, mut largest) = (0u64, 0, Duration::ZERO, 0);
    let began = Instant::now();
    let mut seeds = corpus.iter();
    while began.elapsed().as_secs_f64() < options.seconds && findings < 10 {
        let bytes = match seeds.next() {
            Some(seed) => seed.clone(),
            None => input(&mut dice, &corpus, target.words, target.max_len),
        };
        runs += 1;
        match run(target, &bytes) {
            Ok((took, peak)) => (slowest, largest) = (slowest.max(took), largest.max(peak)),
            Err(what) => {
                findings += 1;
                let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("artifacts").join(target.name);
                let file = dir.join(format!("{}-{runs}", options.seed));
                let kept = std::fs::create_dir_all(&dir).and_then(|()| std::fs::write(&file, &bytes));
                eprintln!("{}: {what}, run {runs}; the input: {} ({kept:?})", target.name, file.display());
            }
        }
    }
    println!(
        "{:<10} seed {}, {} seeds, {runs} runs in {:.0} s, slowest {:.1} ms, most memory {:.1} MiB, {findings} findings",
        target.name,
        options.seed,
        corpus.len(),
        began.elapsed().as_secs_f64(),
        slowest.as_secs_f64() * 1e3,
        largest as f64 / f64::from(1 << 20),
    );
    findings
}
