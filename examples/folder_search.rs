//! A folder of pictures that can be searched, and its duplicates found.
//!
//! ```text
//! cargo run --release --example folder_search -- index MY_FOLDER
//! cargo run --release --example folder_search -- search MY_FOLDER --image cat.jpg --report found.html
//! cargo run --release --example folder_search -- search MY_FOLDER --path 2026/cat.jpg --box 40,30,200,150 --in 2026
//! cargo run --release --example folder_search -- duplicates MY_FOLDER --report duplicates.html
//! ```
//!
//! `index` may be stopped at any moment and goes on where it was; called again it adds what is new, takes files that changed
//! anew, and forgets what is gone. What it keeps is a gallery of vectors in MY_FOLDER/.lookalike (`--gallery` puts it
//! elsewhere); the pictures are only read.

#[path = "support/folder.rs"]
mod folder;
#[path = "support/groups.rs"]
mod groups;
#[path = "support/page.rs"]
mod page;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use clap::{Args, Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use lookalike::rayon::prelude::*;
use lookalike::{CopyQuery, Instance, Mode, Query, Reader, Region, SizeLimits, Stored, Tags};
use serde_json::{Value, json};

use crate::groups::{Pair, complete_link};
use crate::page::{Asked, Card, Page, Section, Thumbnail};

/// Search a folder of pictures, and find its duplicates.
#[derive(Parser)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Makes a folder searchable, or brings what is known of it up to date.
    Index(Index),
    /// Searches by a picture, a part of one, or a folder.
    Search(Search),
    /// Groups pictures that are copies of each other.
    Duplicates(Duplicates),
}

/// What all commands take.
#[derive(Args, Clone)]
struct Common {
    /// The folder of pictures.
    folder: PathBuf,
    /// Where the gallery is kept; without it, in `.lookalike` of the folder.
    #[arg(long)]
    gallery: Option<PathBuf>,
    /// Prints the answer as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args, Clone)]
struct Index {
    #[command(flatten)]
    common: Common,
    /// Refuses pictures that the ImageSearch service would refuse: sides under 100 or over 2048 pixels. Without it all sizes
    /// up to 16384 are taken; large ones are decoded shrunk, so they cost little more.
    #[arg(long)]
    service_limits: bool,
}

#[derive(Args, Clone)]
struct Search {
    #[command(flatten)]
    common: Common,
    /// A picture to search by.
    #[arg(long, conflicts_with = "path")]
    image: Option<PathBuf>,
    /// A picture of the folder to search by.
    #[arg(long)]
    path: Option<String>,
    /// The part of the picture to search by: left, top, width and height in pixels of the upright picture.
    #[arg(long = "box", value_name = "X,Y,W,H", value_parser = region)]
    region: Option<Region>,
    /// Only pictures in this sub-folder or below it; several are alternatives.
    #[arg(long = "in", value_name = "SUBFOLDER")]
    within: Vec<String>,
    /// What to look for: `default`, `semantic` (of the same kind), `copy` (this very picture), `balanced`.
    #[arg(long)]
    mode: Option<Mode>,
    /// Most pictures to show, 1 to 100.
    #[arg(long, default_value_t = 20)]
    limit: u32,
    /// Writes a page to look at.
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
}

#[derive(Args, Clone)]
struct Duplicates {
    #[command(flatten)]
    common: Common,
    /// How sure it must be that two pictures are copies: at .5 more likely than not.
    #[arg(long, default_value_t = 0.9)]
    at_least: f32,
    /// Most pictures of a group; more copies make more groups.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(2..=1000))]
    largest: u32,
    /// Only pictures in this sub-folder or below it; several are alternatives.
    #[arg(long = "in", value_name = "SUBFOLDER")]
    within: Vec<String>,
    /// Writes a page to look at.
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// Most groups on the page.
    #[arg(long, default_value_t = 200)]
    shown: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let (json, answer) = match Options::parse().command {
        Command::Index(options) => (options.common.json, index(&options, &AtomicBool::new(false))?),
        Command::Search(options) => (options.common.json, search(&options)?),
        Command::Duplicates(options) => (options.common.json, duplicates(&options)?),
    };
    if json {
        println!("{answer:#}")
    } else {
        print(&answer)
    }
    Ok(())
}

/// Brings the instance up to date; what it did, as JSON.
fn index(options: &Index, stop: &AtomicBool) -> Result<Value, Box<dyn Error>> {
    let limits = if options.service_limits { SizeLimits::default() } else { SizeLimits::any() };
    let instance = open(&options.common, limits)?;
    let bar = bar(options.common.json);
    let begun = |pictures| bar.set_length(pictures);
    let indexed = folder::follow(&instance, &options.common.folder, stop, begun, &|_| bar.inc(1))?;
    bar.finish_and_clear();
    let mut answer = serde_json::to_value(&indexed)?;
    answer["pictures"] = json!(instance.len()?);
    Ok(answer)
}

/// Searches; the hits, as JSON. Writes the report if one is wanted.
fn search(options: &Search) -> Result<Value, Box<dyn Error>> {
    let instance = open(&options.common, SizeLimits::any())?;
    let bytes = match (&options.image, &options.path) {
        (Some(file), _) => Some(std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?),
        (None, Some(path)) => std::fs::read(folder::file_of(&options.common.folder, path)?).ok(),
        (None, None) => None,
    };
    let mut query = match (&options.image, &options.path) {
        (Some(_), _) => Query::image(bytes.as_deref().unwrap_or_default()),
        (None, Some(path)) => Query::path(path),
        (None, None) => Query::tags(Tags::new()),
    };
    query = query.filter(folders(&options.within)).limit(options.limit);
    query.region = options.region;
    query.mode = options.mode;
    let found = instance.search(&query)?;

    if let Some(file) = &options.report {
        let cards: Vec<Card> = found
            .hits
            .par_iter()
            .map(|hit| card(&options.common.folder, &hit.path, &hit.tags, hit.sim.map(|sim| ("sim", sim))))
            .collect();
        let mut facts = Vec::new();
        facts.extend(options.image.as_ref().map(|file| ("Picture", file.display().to_string())));
        facts.extend(options.path.as_ref().map(|path| ("Picture of the folder", path.clone())));
        facts.extend(options.region.map(|region| ("Box", shown(region))));
        facts.extend((!options.within.is_empty()).then(|| ("Folders", options.within.join(" or "))));
        facts.extend(options.mode.map(|mode| ("Mode", mode.to_string())));
        facts.push(("Pictures searched", found.count.to_string()));
        let thumbnail = bytes.as_deref().and_then(Thumbnail::of_query);
        let note = if query.path.is_none() && query.source.is_none() {
            "In the order they were added."
        } else {
            "Best first. sim is 1 for the same picture, .9 and above for copies nearly always, and under .2 for most \
             unrelated ones."
        };
        let section = Section { heading: plural(cards.len(), "picture"), note: note.to_owned(), cards };
        let page = Page {
            title: "What was found".to_owned(),
            lead: options.common.folder.display().to_string(),
            asked: Some(Asked { thumbnail, region: options.region, facts }),
            sections: vec![section],
        };
        std::fs::write(file, page.to_html())?;
    }
    let hits: Vec<Value> = found
        .hits
        .iter()
        .map(|hit| json!({ "path": hit.path, "sim": hit.sim.map(number), "tags": hit.tags }))
        .collect();
    Ok(json!({ "count": found.count, "exact": found.found.exact, "hits": hits, "report": options.report }))
}

/// Groups copies; the groups, as JSON. Writes the report if one is wanted.
fn duplicates(options: &Duplicates) -> Result<Value, Box<dyn Error>> {
    // One state for all of it, whatever is added meanwhile.
    let reader = open(&options.common, SizeLimits::any())?.reader()?;
    let images = reader.iter()?.collect::<lookalike::Result<Vec<Stored>>>()?;
    let inside = |image: &Stored| {
        let folders = image.tags.get("folder").unwrap_or_default();
        options.within.is_empty() || folders.iter().any(|folder| options.within.contains(folder))
    };
    let mut images: Vec<Stored> = images.into_iter().filter(inside).collect();
    // By path, so that the groups do not depend on when a picture was added.
    images.sort_by(|a, b| a.path.cmp(&b.path));
    let bar = bar(options.common.json);
    bar.set_length(images.len() as u64);
    let pairs = pairs(&reader, &images, options, &bar)?;
    bar.finish_and_clear();

    let groups = complete_link(images.len(), &pairs, options.largest as usize);
    let mut answer = Vec::new();
    let mut sections = Vec::new();
    for (place, group) in (1..).zip(&groups) {
        let folder = &options.common.folder;
        let of = |&image: &usize| {
            let Stored { path, tags, .. } = &images[image];
            (card(folder, path, tags, None), file_bytes(folder, path))
        };
        let mut cards: Vec<(Card, u64)> = group.images.par_iter().map(of).collect();
        // The largest first: the one to keep, probably.
        let pixels =
            |card: &Card| card.thumbnail.as_ref().map_or(0, |t| u64::from(t.width) * u64::from(t.height));
        cards.sort_by(|(a, a_bytes), (b, b_bytes)| {
            (pixels(b), b_bytes).cmp(&(pixels(a), a_bytes)).then(a.path.cmp(&b.path))
        });
        let sides =
            |card: &Card| card.thumbnail.as_ref().map(|thumbnail| [thumbnail.width, thumbnail.height]);
        let members = cards
            .iter()
            .map(|(card, bytes)| json!({ "path": card.path, "sides": sides(card), "bytes": bytes }));
        answer.push(json!({ "weakest": number(group.weakest), "images": members.collect::<Vec<_>>() }));
        if options.report.is_some() && sections.len() < options.shown {
            sections.push(Section {
                heading: format!("Group {place}: {}", plural(cards.len(), "picture")),
                note: format!("Each pair {:.3} or more; the largest first.", group.weakest),
                cards: cards.into_iter().map(|(card, _)| card).collect(),
            });
        }
    }
    if let Some(file) = &options.report {
        let left = match groups.len() - sections.len() {
            0 => String::new(),
            left => format!(" {left} more are not shown."),
        };
        let lead = format!(
            "{}: {} in {}, each pair with at least {}.{left}",
            options.common.folder.display(),
            plural(groups.len(), "group"),
            plural(images.len(), "picture"),
            options.at_least
        );
        let page = Page { title: "Copies".to_owned(), lead, asked: None, sections };
        std::fs::write(file, page.to_html())?;
    }
    Ok(json!({ "pictures": images.len(), "groups": answer, "report": options.report }))
}

/// Pairs of images that are copies: each image asks for its own.
fn pairs(
    reader: &Reader,
    images: &[Stored],
    options: &Duplicates,
    bar: &ProgressBar,
) -> lookalike::Result<Vec<Pair>> {
    let place = |path: &str| images.binary_search_by(|image| image.path.as_str().cmp(path)).ok();
    let of = |(a, image): (usize, &Stored)| -> lookalike::Result<Vec<Pair>> {
        // Of what is stored of the image: no picture is decoded.
        let query = CopyQuery::path(&image.path).exclude_self().filter(folders(&options.within));
        let copies = reader.find_copies(&query.min_copy(options.at_least).limit(100))?;
        bar.inc(1);
        let pair = |hit: lookalike::CopyHit| Some(Pair { a, b: place(&hit.path)?, copy: hit.copy });
        Ok(copies.hits.into_iter().filter_map(pair).collect())
    };
    let pairs = images.par_iter().enumerate().map(of).collect::<lookalike::Result<Vec<_>>>()?;
    Ok(pairs.into_iter().flatten().collect())
}

fn open(common: &Common, limits: SizeLimits) -> Result<Instance, Box<dyn Error>> {
    let gallery = common.gallery.clone().unwrap_or_else(|| common.folder.join(".lookalike"));
    if !common.folder.is_dir() {
        return Err(format!("{} is no folder", common.folder.display()).into());
    }
    folder::open(&common.folder, &gallery, limits)
}

fn folders(within: &[String]) -> Tags {
    match within {
        [] => Tags::new(),
        folders => {
            Tags::new().with_values("folder", folders.iter().map(|folder| folder.trim_end_matches('/')))
        }
    }
}

fn card(folder: &Path, path: &str, tags: &Tags, score: Option<(&'static str, f32)>) -> Card {
    let bytes = folder::file_of(folder, path).ok().and_then(|file| std::fs::read(file).ok());
    let thumbnail = bytes.as_deref().and_then(Thumbnail::of);
    let mut facts = Vec::new();
    facts.extend(thumbnail.as_ref().map(|t| format!("{} \u{d7} {} px", t.width, t.height)));
    facts.extend(bytes.map(|bytes| format!("{} KB", bytes.len().div_ceil(1000))));
    // Of a folder in a folder its own name is enough: the path is there.
    let folders = tags.get("folder").unwrap_or_default().iter();
    let tags = folders.map(|folder| folder.rsplit('/').next().unwrap_or_default().to_owned()).collect();
    Card { thumbnail, path: path.to_owned(), score, facts, tags }
}

fn file_bytes(folder: &Path, path: &str) -> u64 {
    let file = folder::file_of(folder, path).ok();
    file.and_then(|file| file.metadata().ok()).map_or(0, |about| about.len())
}

fn bar(hidden: bool) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos} of {len} pictures, {per_sec}, {eta} left");
    let bar = if hidden { ProgressBar::hidden() } else { ProgressBar::new(0) };
    style.map_or(bar.clone(), |style| bar.with_style(style))
}

/// A score with the digits that it has: JSON's numbers are longer.
fn number(score: f32) -> f64 {
    score.to_string().parse().unwrap_or_default()
}

fn plural(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

fn region(text: &str) -> Result<Region, String> {
    let numbers: Result<Vec<i64>, _> = text.split(',').map(|number| number.trim().parse()).collect();
    match numbers.as_deref() {
        Ok(&[x, y, width, height]) => Ok(Region::new(x, y, width, height)),
        _ => Err("not four numbers with commas between them".to_owned()),
    }
}

fn shown(region: Region) -> String {
    let side = |side: Option<i64>| side.map_or_else(|| "rest".to_owned(), |side| side.to_string());
    format!("{} \u{d7} {} px at {}, {}", side(region.width()), side(region.height()), region.x(), region.y())
}

/// The answer for people.
fn print(answer: &Value) {
    for hit in answer["hits"].as_array().into_iter().flatten() {
        let sim = hit["sim"].as_f64().map_or_else(|| "    -".to_owned(), |sim| format!("{sim:.3}"));
        println!("{sim}  {}", hit["path"].as_str().unwrap_or_default());
    }
    for (number, group) in (1..).zip(answer["groups"].as_array().into_iter().flatten()) {
        println!("{number}. {:.3}", group["weakest"].as_f64().unwrap_or_default());
        for image in group["images"].as_array().into_iter().flatten() {
            println!("   {}", image["path"].as_str().unwrap_or_default());
        }
    }
    for skipped in answer["skipped"].as_array().into_iter().flatten() {
        let (path, why) = (skipped["path"].as_str(), skipped["why"].as_str());
        println!("Skipped {}: {}", path.unwrap_or_default(), why.unwrap_or_default());
    }
    for name in ["added", "updated", "deleted", "unchanged", "count", "pictures"] {
        if let Some(number) = answer[name].as_u64() {
            println!("{name}: {number}");
        }
    }
    if let Some(report) = answer["report"].as_str() {
        println!("Report: {report}");
    }
}

#[cfg(test)]
#[path = "support/folder_tests.rs"]
mod tests;
