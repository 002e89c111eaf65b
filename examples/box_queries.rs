//! How often a box of a picture finds the picture it was drawn in.
//!
//! ```text
//! cargo run --release --example box_queries -- --pictures DIR --list LIST.tsv --seed 1 \
//!     [--more DIR --more-list LIST.tsv]
//! ```
//!
//! Every picture is added to an instance, and one random box of each, 20 to 60 % of its area, searches it. The same
//! seed draws the same boxes.

use std::collections::HashSet;
use std::error::Error;
use std::path::{Path, PathBuf};

use clap::Parser;
use lookalike::rayon::prelude::*;
use lookalike::{
    Add, BatchOptions, CreateInstance, Gallery, Instance, Mode, Pixels, Query, Region, SizeLimits, Source,
};

/// Searches an instance by boxes of its pictures and counts how often the right picture comes first.
#[derive(Parser)]
struct Options {
    /// The folder that the paths of the list start from.
    #[arg(long)]
    pictures: PathBuf,
    /// Tab-separated lines whose first column is a path; a first line whose first column is `path` is a header.
    #[arg(long)]
    list: PathBuf,
    /// A folder of pictures that are added, too, and not searched by.
    #[arg(long, requires = "more_list")]
    more: Vec<PathBuf>,
    /// Their lists, one a folder.
    #[arg(long)]
    more_list: Vec<PathBuf>,
    /// What the boxes are drawn from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How the blocks of the vectors are weighed: default, semantic, copy or balanced.
    #[arg(long, default_value = "balanced")]
    mode: Mode,
    /// Takes pictures of any size, not only of the service's 100 to 2048 pixels a side.
    #[arg(long)]
    any_size: bool,
}

impl Options {
    fn limits(&self) -> SizeLimits {
        if self.any_size { SizeLimits::any() } else { SizeLimits::default() }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let root = tempfile::tempdir()?;
    let gallery = Gallery::builder(root.path()).size_limits(options.limits()).open()?;
    gallery.create(&CreateInstance::new("boxes", "common-search"))?;
    let instance = gallery.instance("boxes")?;

    let searched = files(&options.pictures, &options.list)?;
    let mut skipped = add(&instance, &searched);
    for (folder, list) in options.more.iter().zip(&options.more_list) {
        skipped += add(&instance, &files(folder, list)?);
    }

    let results: Vec<Result<bool, String>> = searched
        .par_iter()
        .enumerate()
        .map(|(number, file)| {
            found(&options, &instance, file, number as u64).map_err(|error| format!("{file:?}: {error:#}"))
        })
        .collect();
    let (mut first, mut asked) = (0, 0);
    for result in results {
        match result {
            Ok(right) => {
                asked += 1;
                first += usize::from(right);
            }
            Err(error) => {
                eprintln!("skipped {error}");
                skipped += 1;
            }
        }
    }
    println!("images     {}", instance.len()?);
    println!("skipped    {skipped}");
    println!("boxes      {asked}");
    println!("first      {first} ({:.4})", f64::from(first as u32) / f64::from(asked.max(1)));
    Ok(())
}

/// Whether a box of the picture finds the picture itself.
fn found(options: &Options, instance: &Instance, file: &Path, number: u64) -> Result<bool, Box<dyn Error>> {
    let pixels = Pixels::decode(&std::fs::read(file)?, &options.limits())?;
    let region = draw(options.seed, number, pixels.width(), pixels.height());
    let page = instance.search(&Query::pixels(pixels).region(region).mode(options.mode).limit(1))?;
    Ok(page.hits.first().is_some_and(|hit| Path::new(&hit.path) == file))
}

/// A box of 20 to 60 % of the area, its sides up to a factor of two from the picture's proportions.
fn draw(seed: u64, number: u64, width: u32, height: u32) -> Region {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number;
    // SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), upper 53 bits as a number below 1.
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    };
    let area = 0.2 + 0.4 * next();
    let stretch = 2_f64.powf(2.0 * next() - 1.0);
    let across = (area * stretch).sqrt().clamp(area, 1.0);
    let side = |share: f64, side: u32| ((share * f64::from(side)).round() as u32).clamp(1, side);
    let (w, h) = (side(across, width), side(area / across, height));
    let mut place = |room: u32| ((f64::from(room) + 1.0) * next()) as i64;
    Region::new(place(width - w), place(height - h), i64::from(w), i64::from(h))
}

/// Adds files under their own names; gives how many were refused.
fn add(instance: &Instance, files: &[PathBuf]) -> usize {
    let mut skipped = 0;
    // By hundreds, so that not all files are in memory at once.
    for files in files.chunks(100) {
        let read = |file: &PathBuf| {
            let bytes = std::fs::read(file).unwrap_or_default();
            Add::new(file.to_string_lossy().into_owned(), Source::bytes(bytes))
        };
        let adds: Vec<Add> = files.iter().map(read).collect();
        for (file, result) in files.iter().zip(instance.add_batch(&adds, &BatchOptions::new())) {
            if let Err(error) = result {
                eprintln!("skipped {file:?}: {error:#}");
                skipped += 1;
            }
        }
    }
    skipped
}

/// The files of a list, each once.
fn files(folder: &Path, list: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let list = std::fs::read_to_string(list)?;
    let mut seen = HashSet::new();
    let paths = list.lines().map(|line| line.split('\t').next().unwrap_or(line)).enumerate();
    let paths = paths.filter(|(number, path)| !path.is_empty() && (*number > 0 || *path != "path"));
    Ok(paths.map(|(_, path)| path).filter(|path| seen.insert(*path)).map(|path| folder.join(path)).collect())
}
