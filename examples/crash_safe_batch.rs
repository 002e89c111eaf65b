//! A long import that may be killed at any moment and goes on where it was.
//!
//! ```text
//! cargo run --release --example crash_safe_batch -- --gallery MY_GALLERY --pictures MY_FOLDER
//! ```
//!
//! There is nothing to write down beside the gallery: what was added is in it, durably, so a later run asks the gallery.
//! Without `--gallery` the example runs itself three times on a temporary one, kills the first two runs in the middle of their
//! work, and demands that no run finds fewer than were durable before, and that the third has everything.

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::Parser;
use lookalike::{Add, BatchOptions, CreateInstance, Gallery, OnExisting, Progress, SizeLimits, Source};

/// Adds a folder of pictures, whatever happened to earlier runs.
#[derive(Parser)]
struct Options {
    /// A folder of pictures; those of the repository by default.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/pictures"))]
    pictures: PathBuf,
    /// Where the gallery is kept; without it the example shows itself being killed.
    #[arg(long)]
    gallery: Option<PathBuf>,
    /// Pictures of a group; each group is durable before the next begins.
    #[arg(long, default_value_t = 4)]
    group: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    match &options.gallery {
        Some(gallery) => run(&options, gallery),
        None => show(&options),
    }
}

/// The import: all that a program of your own needs.
fn run(options: &Options, gallery: &Path) -> Result<(), Box<dyn Error>> {
    let pictures = options.pictures.clone();
    let read = Arc::new(AtomicUsize::new(0));
    let count = read.clone();
    let resolver = move |path: &str| {
        count.fetch_add(1, Ordering::Relaxed);
        Ok(std::fs::read(pictures.join(path))?)
    };
    let gallery = Gallery::builder(gallery).size_limits(SizeLimits::any()).resolver(resolver).open()?;
    let instance = gallery.open_or_create(&CreateInstance::new("pictures", "common-search"))?;
    // What a crash interrupted before it was acknowledged was cut off; nothing that was acknowledged is in it.
    println!("begin: {} there, {} bytes cut", instance.len()?, instance.torn_bytes()?);

    let mut names: Vec<String> = std::fs::read_dir(&options.pictures)?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".jpg"))
        .collect();
    names.sort_unstable();
    // `Keep`: a path that is there costs a look-up, and no decoding.
    let add = |name| Add::new(name, Source::Resolve).on_existing(OnExisting::Keep);
    let adds: Vec<Add<'_>> = names.iter().map(add).collect();
    let progress = |progress: Progress| println!("seen: {}", progress.done);
    for group in adds.chunks(options.group.max(1)) {
        for (add, added) in
            group.iter().zip(instance.add_batch(group, &BatchOptions::new().progress(&progress)))
        {
            match added {
                Ok(_) => {}
                // One bad picture is no reason to stop; that the disk is full would be.
                Err(error) if error.is_retryable() => return Err(error.into()),
                Err(error) => println!("skipped: {}: {error:#}", add.path),
            }
        }
        // From here on a power cut takes none of the group.
        println!("durable: {}", instance.len()?);
    }
    println!("done: {} there, {} read", instance.len()?, read.load(Ordering::Relaxed));
    Ok(())
}

/// Runs this program, kills it twice, and looks what the last run found.
fn show(options: &Options) -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let (mut durable, mut last) = (0, String::new());
    for kill_after in [Some(2), Some(7), None] {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--group", &options.group.to_string(), "--pictures"])
            .arg(&options.pictures)
            .arg("--gallery")
            .arg(dir.path())
            .stdout(Stdio::piped())
            .spawn()?;
        let out = child.stdout.take().ok_or("the child has no output")?;
        let (mut seen, mut killed) = (0, false);
        for line in BufReader::new(out).lines() {
            let line = line?;
            println!("  {line}");
            seen += usize::from(line.starts_with("seen"));
            if let Some(count) = line.strip_prefix("begin: ").and_then(|rest| rest.split(' ').next()) {
                let there: u64 = count.parse()?;
                if there < durable {
                    return Err(format!("{durable} were durable, {there} are there").into());
                }
            }
            if let Some(count) = line.strip_prefix("durable: ") {
                durable = count.parse()?;
            }
            if Some(seen) == kill_after && !killed {
                child.kill()?;
                killed = true;
                println!("  (killed)");
            }
            last = line;
        }
        child.wait()?;
    }
    let pictures = std::fs::read_dir(&options.pictures)?
        .filter(|entry| entry.as_ref().is_ok_and(|e| e.file_name().to_string_lossy().ends_with(".jpg")))
        .count();
    if !last.starts_with(&format!("done: {pictures} there")) {
        return Err(format!("the last run says {last:?}; {pictures} pictures were to be added").into());
    }
    println!("Killed twice, and all {pictures} pictures are there.");
    Ok(())
}
