//! The vectors of a folder of pictures, as an instance stores them, in a file that NumPy reads.
//!
//! ```text
//! cargo run --release --example embed -- --pictures DIR --list LIST.tsv --out OUT.npz
//! ```
//!
//! Every picture is added to a real instance and its vector is read back from the stored row, so what is measured
//! with the file is what a search sees: 12 bits a value, after the decoder, the scaling and the network. In Python:
//!
//! ```text
//! data = numpy.load("OUT.npz"); data["paths"], data["emb"]
//! ```
//!
//! The dot product of two rows is the raw score of the pair in the chosen mode.

use std::collections::HashSet;
use std::error::Error;
use std::path::{Component, Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use clap::Parser;
use lookalike::{Add, BatchOptions, CreateInstance, Gallery, Instance, Mode, Progress, SizeLimits, Source};

#[path = "support/npz.rs"]
mod npz;

/// Embeds the pictures of a list and writes their vectors for NumPy.
#[derive(Parser)]
struct Options {
    /// The folder that the paths of the list start from.
    #[arg(long)]
    pictures: PathBuf,
    /// Tab-separated lines whose first column is a path; a first line whose first column is `path` is a header.
    #[arg(long)]
    list: PathBuf,
    /// The .npz to write: `paths` (text) and `emb` (f32, one row a path, in the order of the list).
    #[arg(long)]
    out: PathBuf,
    /// How the blocks of the vectors are weighed: default, semantic, copy or balanced.
    #[arg(long, default_value = "default", value_parser = mode)]
    mode: Mode,
    /// The model of the instance.
    #[arg(long, default_value = "common-search")]
    model: String,
    /// Takes pictures of any size, not only of the service's 100 to 2048 pixels a side.
    #[arg(long)]
    any_size: bool,
    /// Where to keep the gallery; without it, a temporary directory.
    #[arg(long)]
    gallery: Option<PathBuf>,
    /// Threads that decode and embed; one a core unless it is given.
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

fn mode(name: &str) -> Result<Mode, String> {
    match name {
        "default" => Ok(Mode::Default),
        "semantic" => Ok(Mode::Semantic),
        "copy" => Ok(Mode::Copy),
        "balanced" => Ok(Mode::Balanced),
        _ => Err("there are default, semantic, copy and balanced".to_owned()),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let list = std::fs::read_to_string(&options.list)?;
    let paths = first_column(&list);

    let temporary = tempfile::tempdir()?;
    let instance = open(&options, temporary.path())?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(options.threads).build()?;

    // `Source::Resolve` leaves the reading to the resolver, so at most one file a thread is in memory, however long
    // the list is.
    let adds: Vec<Add> = paths.iter().map(|path| Add::new(*path, Source::Resolve)).collect();
    let report = Report::new();
    let progress = |now| report.show(now);
    let started = Instant::now();
    let results = instance.add_batch(&adds, &BatchOptions::new().pool(&pool).progress(&progress));
    let seconds = started.elapsed().as_secs_f64();

    // A refused picture leaves the others of a batch alone: each add has its own result.
    let (mut kept, mut emb, mut skipped) = (Vec::new(), Vec::new(), 0);
    for (path, result) in paths.iter().zip(results) {
        match result {
            Ok(_) => {
                emb.extend(instance.weighted_vector(path, options.mode)?);
                kept.push(*path);
            }
            Err(error) => {
                // With `#` the message also says what lies behind it, such as a file that is not there.
                eprintln!("skipped {path}: {error:#}");
                skipped += 1;
            }
        }
    }
    npz::write(&options.out, &kept, &emb)?;

    let dims = emb.len().checked_div(kept.len()).unwrap_or(0);
    println!("pictures   {}", kept.len());
    println!("skipped    {skipped}");
    println!("dimensions {dims}");
    println!("threads    {}", pool.current_num_threads());
    println!("seconds    {seconds:.2}");
    println!("pictures/s {:.1}", kept.len() as f64 / seconds);
    Ok(())
}

/// The paths of the list, each once, in its order.
fn first_column(list: &str) -> Vec<&str> {
    let mut seen = HashSet::new();
    let paths = list.lines().map(|line| line.split('\t').next().unwrap_or(line));
    let paths =
        paths.enumerate().filter(|(number, path)| !path.is_empty() && (*number > 0 || *path != "path"));
    paths.map(|(_, path)| path).filter(|path| seen.insert(*path)).collect()
}

/// The instance to add to: a new one, or the one that an earlier run left in `--gallery`.
fn open(options: &Options, temporary: &Path) -> Result<Instance, Box<dyn Error>> {
    let limits = if options.any_size { SizeLimits::any() } else { SizeLimits::default() };
    let pictures = options.pictures.clone();
    let gallery = Gallery::builder(options.gallery.as_deref().unwrap_or(temporary))
        .size_limits(limits)
        .resolver(move |path: &str| {
            // To the library a path is an opaque key, and `../` in it is as good as anything. What it may open is
            // decided here: nothing outside the folder.
            if !Path::new(path)
                .components()
                .all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
            {
                return Err("the path leads out of the folder".into());
            }
            Ok(std::fs::read(pictures.join(path))?)
        })
        .open()?;
    let instance = gallery.open_or_create(&CreateInstance::new("embed", &options.model))?;
    let model = gallery.describe("embed")?.domain;
    if model != options.model {
        return Err(format!("the gallery was made with the model {model:?}").into());
    }
    Ok(instance)
}

/// Says how far a batch is, about every five seconds, from whichever thread comes by.
struct Report {
    started: Instant,
    next: Mutex<Duration>,
}

impl Report {
    const EVERY: Duration = Duration::from_secs(5);

    fn new() -> Self {
        Self { started: Instant::now(), next: Mutex::new(Self::EVERY) }
    }

    fn show(&self, now: Progress) {
        let elapsed = self.started.elapsed();
        // A thread that finds another one at it has nothing to add.
        if let Ok(mut next) = self.next.try_lock()
            && elapsed >= *next
        {
            *next = elapsed + Self::EVERY;
            let speed = now.done as f64 / elapsed.as_secs_f64();
            eprintln!("{} of {} pictures, {speed:.1} a second", now.done, now.total);
        }
    }
}
