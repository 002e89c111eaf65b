//! Copy scores of made copies against a gallery, for an evaluation.
//!
//! ```text
//! cargo run --release --example copy_scores -- --gallery-pictures DIR --gallery LIST.tsv \
//!     --query-pictures DIR --queries LIST.tsv --out OUT.tsv [--robust]
//! ```
//!
//! The pictures of the gallery are added to a real instance, and every query asks it for copies; a line of the
//! output is `query<TAB>gallery<TAB>score`, the 50 best of each query. The score is the raw one: `copy` rises with it,
//! and ends at 1.

use std::collections::HashSet;
use std::error::Error;
use std::fmt::Write as _;
use std::path::{Component, Path, PathBuf};
use std::time::Instant;

use clap::Parser;
use lookalike::rayon::prelude::*;
use lookalike::{Add, BatchOptions, CopyQuery, CreateInstance, Gallery, Instance, SizeLimits, Source};

/// Asks an instance for copies of pictures and writes the scores.
#[derive(Parser)]
struct Options {
    /// The folder that the paths of the gallery's list start from.
    #[arg(long)]
    gallery_pictures: PathBuf,
    /// Tab-separated lines with a header that names the columns `path` and, if there are roles, `role`: those of
    /// the roles `both` and `gallery` are added.
    #[arg(long)]
    gallery: PathBuf,
    /// The folder that the paths of the queries' list start from.
    #[arg(long)]
    query_pictures: PathBuf,
    /// Tab-separated lines with a header that names the column `path`.
    #[arg(long)]
    queries: PathBuf,
    /// The file to write.
    #[arg(long)]
    out: PathBuf,
    /// Looks for the pictures mirrored, turned and cropped, too.
    #[arg(long)]
    robust: bool,
    /// Takes pictures of any size, not only of the service's 100 to 2048 pixels a side.
    #[arg(long)]
    any_size: bool,
    /// The model of the instance.
    #[arg(long, default_value = "common-search")]
    model: String,
    /// Hits written of each query, 1 to 100.
    #[arg(long, default_value_t = 50)]
    best: u32,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let gallery = std::fs::read_to_string(&options.gallery)?;
    let gallery = paths(&gallery, &["both", "gallery"])?;
    let queries = std::fs::read_to_string(&options.queries)?;
    let queries = paths(&queries, &[])?;

    let temporary = tempfile::tempdir()?;
    let instance = open(&options, temporary.path())?;
    let adds: Vec<Add> = gallery.iter().map(|path| Add::new(*path, Source::Resolve)).collect();
    let mut skipped = 0;
    for (path, result) in gallery.iter().zip(instance.add_batch(&adds, &BatchOptions::new())) {
        if let Err(error) = result {
            eprintln!("skipped {path}: {error:#}");
            skipped += 1;
        }
    }

    let started = Instant::now();
    let answers: Vec<Result<String, String>> =
        queries.par_iter().map(|path| answer(&options, &instance, path)).collect();
    let seconds = started.elapsed().as_secs_f64();
    let mut lines = String::new();
    for answer in answers {
        match answer {
            Ok(hits) => lines += &hits,
            Err(error) => {
                eprintln!("skipped {error}");
                skipped += 1;
            }
        }
    }
    std::fs::write(&options.out, lines)?;
    println!("images     {}", instance.len()?);
    println!("queries    {}", queries.len());
    println!("skipped    {skipped}");
    println!("queries/s  {:.1}", queries.len() as f64 / seconds);
    Ok(())
}

/// The lines of one query.
fn answer(options: &Options, instance: &Instance, path: &str) -> Result<String, String> {
    let file =
        std::fs::read(options.query_pictures.join(path)).map_err(|error| format!("{path}: {error}"))?;
    let mut query = CopyQuery::image(file).limit(options.best);
    if options.robust {
        query = query.robust();
    }
    let copies = instance.find_copies(&query).map_err(|error| format!("{path}: {error:#}"))?;
    let mut lines = String::new();
    for hit in copies.hits {
        writeln!(lines, "{path}\t{}\t{}", hit.path, hit.raw).map_err(|error| error.to_string())?;
    }
    Ok(lines)
}

/// The paths of a list, each once, in its order: those of the roles, or all when no roles are given.
fn paths<'a>(list: &'a str, roles: &[&str]) -> Result<Vec<&'a str>, Box<dyn Error>> {
    let mut lines = list.lines();
    let header: Vec<&str> = lines.next().unwrap_or_default().split('\t').collect();
    let path = header.iter().position(|name| *name == "path").ok_or("a list has no column \"path\"")?;
    let role = header.iter().position(|name| *name == "role");
    let mut seen = HashSet::new();
    let mut paths = Vec::new();
    for line in lines.filter(|line| !line.is_empty()) {
        let fields: Vec<&str> = line.split('\t').collect();
        let wanted = match role.and_then(|role| fields.get(role)) {
            Some(role) => roles.is_empty() || roles.contains(role),
            None => true,
        };
        let path = *fields.get(path).ok_or_else(|| format!("a line without a path: {line}"))?;
        if wanted && seen.insert(path) {
            paths.push(path);
        }
    }
    Ok(paths)
}

/// A new instance, which reads its pictures from the folder of the gallery.
fn open(options: &Options, root: &Path) -> Result<Instance, Box<dyn Error>> {
    let limits = if options.any_size { SizeLimits::any() } else { SizeLimits::default() };
    let pictures = options.gallery_pictures.clone();
    let gallery = Gallery::builder(root)
        .size_limits(limits)
        .resolver(move |path: &str| {
            // To the library a path is an opaque key; what it may open is decided here: nothing outside the folder.
            let inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
            if !Path::new(path).components().all(inside) {
                return Err("the path leads out of the folder".into());
            }
            Ok(std::fs::read(pictures.join(path))?)
        })
        .open()?;
    gallery.create(&CreateInstance::new("copies", &options.model))?;
    Ok(gallery.instance("copies")?)
}
