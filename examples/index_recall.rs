//! What lists find of what reading every image finds, on pictures, in every mode.
//!
//! ```text
//! cargo run --release --example index_recall -- --pictures DIR --list LIST.tsv [--pictures DIR --list LIST.tsv ...] \
//!     [--model common-search-512] [--train-rows 2000] [--any-size]
//! ```
//!
//! Nine pictures of ten are added to an instance whose index is made from `--train-rows` images on; the others search it,
//! and so do as many of those added, by their paths. Of each search the ten hits by lists are compared with the ten that
//! `Effort::Exact` gives.

use std::collections::HashSet;
use std::error::Error;
use std::path::PathBuf;

use clap::Parser;
use lookalike::rayon::prelude::*;
use lookalike::{Add, BatchOptions, CreateInstance, Effort, Gallery, Mode, Query, SizeLimits, Source};

/// Compares searches by lists with exhaustive ones.
#[derive(Parser)]
struct Options {
    /// A folder that the paths of a list start from.
    #[arg(long, required = true)]
    pictures: Vec<PathBuf>,
    /// Its list: tab-separated lines whose first column is a path; a first line whose first column is `path` is a header.
    #[arg(long, required = true)]
    list: Vec<PathBuf>,
    /// The model: common-search or common-search-512.
    #[arg(long, default_value = "common-search")]
    model: String,
    /// Images from which the instance has an index.
    #[arg(long, default_value_t = 2000)]
    train_rows: u64,
    /// Takes pictures of any size, not only of the service's 100 to 2048 pixels a side.
    #[arg(long)]
    any_size: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let root = tempfile::tempdir()?;
    let limits = if options.any_size { SizeLimits::any() } else { SizeLimits::default() };
    let gallery = Gallery::builder(root.path()).size_limits(limits).train_rows(options.train_rows).open()?;
    gallery.create(&CreateInstance::new("recall", &options.model))?;
    let instance = gallery.instance("recall")?;

    let (mut kept, mut asked) = (Vec::new(), Vec::new());
    for (number, file) in files(&options)?.into_iter().enumerate() {
        if number % 10 == 9 { asked.push(file) } else { kept.push(file) }
    }
    let mut skipped = 0;
    for group in kept.chunks(256) {
        let read = |file: &PathBuf| Ok((file.to_string_lossy().into_owned(), std::fs::read(file)?));
        let bytes = group.iter().map(read).collect::<std::io::Result<Vec<(String, Vec<u8>)>>>()?;
        let adds: Vec<Add<'_>> =
            bytes.iter().map(|(path, bytes)| Add::new(path.as_str(), Source::bytes(&bytes[..]))).collect();
        skipped += instance.add_batch(&adds, &BatchOptions::new()).iter().filter(|r| r.is_err()).count();
    }
    instance.optimize()?;
    let stats = instance.stats()?;
    println!(
        "{} images in {} lists, {} skipped, model {}",
        stats.images, stats.lists, skipped, options.model
    );

    println!("mode      queries  recall@10  lists  rows  by path: recall@10");
    for mode in Mode::ALL {
        let by_picture = asked.par_iter().filter_map(|file| {
            let query = Query::image(std::fs::read(file).ok()?).mode(mode);
            compare(&instance, &query)
        });
        let by_path = kept.par_iter().step_by(9).filter_map(|file| {
            compare(&instance, &Query::path(file.to_string_lossy().into_owned()).mode(mode))
        });
        let (pictures, paths): (Vec<_>, Vec<_>) = (by_picture.collect(), by_path.collect());
        let recall = |all: &[[u64; 4]]| {
            let sum = |at: usize| all.iter().map(|one| one[at]).sum::<u64>() as f64;
            (sum(0) / sum(1), sum(2) / all.len() as f64, sum(3) / all.len() as f64)
        };
        let ((found, lists, rows), (itself, ..)) = (recall(&pictures), recall(&paths));
        println!(
            "{:<9} {:>7}  {found:>9.4}  {lists:>5.0}  {rows:>5.0}  {itself:>9.4}",
            mode.as_str(),
            pictures.len()
        );
    }
    Ok(())
}

/// Hits found by lists, hits there are, lists searched, rows looked at; none when the picture is refused.
fn compare(instance: &lookalike::Instance, query: &Query<'_>) -> Option<[u64; 4]> {
    let page = instance.search(query).ok()?;
    let exact = instance.search(&query.clone().effort(Effort::Exact)).ok()?;
    let right: HashSet<&str> = exact.hits.iter().map(|hit| hit.path.as_str()).collect();
    let found = page.hits.iter().filter(|hit| right.contains(hit.path.as_str())).count();
    Some([found as u64, right.len() as u64, page.found.lists_probed, page.found.rows_scanned])
}

fn files(options: &Options) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut files = Vec::new();
    for (folder, list) in options.pictures.iter().zip(&options.list) {
        let text = std::fs::read_to_string(list)?;
        let paths = text.lines().filter_map(|line| line.split('\t').next());
        files.extend(paths.filter(|path| !path.is_empty() && *path != "path").map(|path| folder.join(path)));
    }
    if files.is_empty() {
        return Err("the lists name no pictures".into());
    }
    Ok(files)
}
