//! Kills a program in the middle of its work and looks whether anything is missing that was acknowledged.
//!
//! ```text
//! cargo run --release --example kill_and_reopen -- --dir DIR --rows 100000 --batch 1000 --kill-after 60000
//! ```
//!
//! The program starts itself as a child that adds vectors, batch after batch, and says after each batch how many
//! rows `add_batch` has answered with `Ok`. At some moment it kills the child, without warning and without a chance
//! to tidy up (SIGKILL on Unix), opens the gallery and demands every acknowledged row, with its own vector. Without
//! `--kill-after` the moment is random. A second run on the same directory goes on where the first was killed.
//!
//! What this shows is that the files survive the process at any moment. That they survive a power cut rests on the
//! syncs, which can be counted in the child alone:
//!
//! ```text
//! strace -f -c -e trace=fsync,fdatasync TARGET/release/examples/kill_and_reopen --child --dir DIR
//! ```

use std::error::Error;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use lookalike::{
    Add, BatchOptions, CommonSearch, CreateInstance, Embedder, Gallery, Instance, Query, Reader, Source,
};

const NAME: &str = "durable";

/// Kills a process that adds rows, reopens its gallery, and counts what was lost.
#[derive(Parser)]
struct Options {
    /// The directory of the gallery.
    #[arg(long)]
    dir: PathBuf,
    /// Rows that the child adds, counted from the first run on.
    #[arg(long, default_value_t = 100_000)]
    rows: u64,
    /// Rows of one `add_batch`.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    batch: u64,
    /// Kills the child when this many rows are acknowledged; as many as `--rows` kills it when it has nothing left
    /// to do but has not closed the gallery.
    #[arg(long)]
    kill_after: Option<u64>,
    /// Only adds, and closes properly.
    #[arg(long)]
    child: bool,
    /// A child that waits to be killed instead of closing.
    #[arg(long, hide = true)]
    linger: bool,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let options = Options::parse();
    if options.child {
        add_rows(&options)?;
        return Ok(ExitCode::SUCCESS);
    }
    let acknowledged = run_and_kill(&options)?;
    let lost = reopen(&options, acknowledged)?;
    Ok(if lost == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The child: adds rows until there are enough, and says after each batch how many are durable.
fn add_rows(options: &Options) -> Result<(), Box<dyn Error>> {
    let gallery = Gallery::open(&options.dir)?;
    let instance = gallery.open_or_create(&CreateInstance::new(NAME, "common-search"))?;
    let mut acknowledged = instance.len()?;
    acknowledge(acknowledged)?;
    while acknowledged < options.rows {
        let rows = acknowledged..options.rows.min(acknowledged + options.batch);
        let adds: Vec<Add> =
            rows.clone().map(|row| Add::new(path(row), Source::vector(vector(row)))).collect();
        for added in instance.add_batch(&adds, &BatchOptions::new()) {
            added?;
        }
        acknowledged = rows.end;
        acknowledge(acknowledged)?;
    }
    if options.linger {
        // Until the parent kills this process, or ends itself.
        std::io::stdin().read_to_end(&mut Vec::new())?;
    }
    Ok(())
}

/// Without the flush the line could die with the process, and the parent would demand too little.
fn acknowledge(rows: u64) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{rows}")?;
    out.flush()
}

/// Runs a child and kills it; gives the rows that it acknowledged.
fn run_and_kill(options: &Options) -> Result<u64, Box<dyn Error>> {
    let mut child = Command::new(std::env::current_exe()?)
        .args([
            "--child",
            "--linger",
            "--rows",
            &options.rows.to_string(),
            "--batch",
            &options.batch.to_string(),
        ])
        .arg("--dir")
        .arg(&options.dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    // Held until the child is dead: its end would tell a lingering child to close.
    let stdin = child.stdin.take();
    let mut lines = BufReader::new(child.stdout.take().ok_or("the child has no output")?);
    let mut next = move || -> Result<Option<u64>, Box<dyn Error>> {
        let mut line = String::new();
        lines.read_line(&mut line)?;
        // A line without its end was not wholly written, so nothing was promised with it.
        line.strip_suffix('\n').map(|rows| Ok(rows.parse()?)).transpose()
    };

    let mut acknowledged = next()?.ok_or("the child could not begin")?;
    let left = options.rows.saturating_sub(acknowledged);
    let kill_after = options.kill_after.unwrap_or_else(|| acknowledged + random() % (left + 1));
    let started = Instant::now();
    let begun = acknowledged;
    while acknowledged < kill_after {
        acknowledged = next()?.ok_or("the child ended before it was to be killed")?;
    }
    let seconds = started.elapsed().as_secs_f64();
    // An acknowledgement comes between two batches. A random pause reaches what lies inside of one: a frame half
    // written, a sync under way, rows being sealed.
    thread::sleep(Duration::from_micros(random() % 50_000));
    child.kill()?;
    child.wait()?;
    drop(stdin);
    // What it said before it died counts, read or not.
    while let Some(rows) = next()? {
        acknowledged = rows;
    }
    println!("killed after   {acknowledged} acknowledged rows");
    if acknowledged > begun {
        println!("adding         {:.0} rows a second", (acknowledged - begun) as f64 / seconds);
    }
    Ok(acknowledged)
}

/// Opens what the dead child left and gives the number of acknowledged rows that are missing or wrong.
fn reopen(options: &Options, acknowledged: u64) -> Result<u64, Box<dyn Error>> {
    let started = Instant::now();
    let gallery = Gallery::open(&options.dir)?;
    let instance = gallery.instance(NAME)?;
    println!("opened in      {:.1} ms", started.elapsed().as_secs_f64() * 1e3);

    // Rows beyond the acknowledged ones may be there or not, for nothing was promised about them. But they must be
    // the next ones, without a gap, and carry the right vectors too.
    let found = instance.len()?;
    let reader = instance.reader()?;
    let wrong = (0..found.max(acknowledged)).filter(|row| !holds(&reader, *row)).collect::<Vec<_>>();
    println!("rows found     {found}, {} of them not acknowledged", found.saturating_sub(acknowledged));
    println!("torn bytes     {}", instance.torn_bytes()?);

    let started = Instant::now();
    instance.verify()?;
    println!("files verified in {:.1} ms", started.elapsed().as_secs_f64() * 1e3);

    let searched = (0..acknowledged).step_by(usize::try_from(acknowledged / 100).unwrap_or(1).max(1));
    let mut missed = 0;
    for row in searched.clone() {
        missed += u64::from(!finds(&instance, row)?);
    }
    println!("searches       {}, {missed} of them without the row in first place", searched.count());

    let lost = wrong.len() as u64 + missed;
    match wrong.first() {
        Some(first) => println!("LOST           {} rows, the first is {first}", wrong.len()),
        None => println!("lost           0 rows"),
    }
    Ok(lost)
}

/// Whether a row is there with its own vector. It is kept in 12 bits a value, so it comes back nearly the same; the
/// vectors of two rows have nothing in common.
fn holds(reader: &Reader, row: u64) -> bool {
    let Ok(stored) = reader.vector(&path(row)) else { return false };
    let (own, mut start) = (vector(row), 0);
    CommonSearch::new().blocks().iter().all(|length| {
        let block = start..start + length;
        start = block.end;
        stored.get(block.clone()).is_some_and(|stored| cosine(stored, &own[block]) > 0.999)
    })
}

fn finds(instance: &Instance, row: u64) -> Result<bool, Box<dyn Error>> {
    let page = instance.search(&Query::vector(vector(row)).limit(1))?;
    Ok(page.hits.first().is_some_and(|hit| hit.path == path(row)))
}

fn path(row: u64) -> String {
    format!("rows/{row:09}")
}

/// The vector of a row: a fixed function of its number, so that nothing has to be remembered to check it.
fn vector(row: u64) -> Vec<f32> {
    let dims: usize = CommonSearch::new().blocks().iter().sum();
    // SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014) of a counter that no two
    // rows share.
    (0..dims as u64)
        .map(|column| {
            let mut z = (row << 16 | column).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^= z >> 31;
            // 24 bits are exact in an f32.
            (z >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// A number that differs from run to run: the seed that the standard library gives its hash maps.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
