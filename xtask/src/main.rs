//! Tasks of lookalike's developers: `cargo xtask --help`. docs/model.md, "Fitting the projection again", has examples of
//! the first two; `cargo xtask growth --out docs/growth.svg FILE...` plots runs of the index benchmarks; `cargo xtask crash`
//! runs the crash simulator of docs/reliability.md.

mod cache;
mod closed;
mod copies;
mod crash;
mod crossfit;
mod draw;
mod evaluate;
mod failure;
mod gather;
mod growth;
mod linear;
mod npy;
mod pictures;
mod plot;
mod project;
mod random;
mod transform;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use lookalike::fit::{Projection, built_in};
use ndarray::Array2;

use crate::closed::{Recipe, fit};
use crate::crossfit::{Plan, Split};
pub(crate) use crate::failure::Failure;
use crate::gather::{Gathered, Place, Sources, gather};

/// Tasks of lookalike's developers.
#[derive(Parser)]
enum Task {
    #[command(flatten)]
    Projection(ProjectionTask),
    /// Cuts the power at every moment of random scripts, and looks at what is left.
    Crash(crash::Options),
    /// Shows how cost grows with the rows: prints a table and writes a plot.
    Growth {
        /// The SVG to write.
        #[arg(long)]
        out: PathBuf,
        /// The recalls that the times of searches are compared at.
        #[arg(long, value_delimiter = ',', default_value = "0.95,0.98")]
        recall: Vec<f64>,
        /// What `ann_bench` and `thirty_million` printed, a file for each run.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

#[derive(Subcommand)]
enum ProjectionTask {
    /// Makes the projection of the built-in model from pictures.
    FitProjection {
        #[command(flatten)]
        from: From,
        /// How to fit.
        #[arg(long, value_enum, default_value_t = Name::Second)]
        recipe: Name,
        /// The file to write.
        #[arg(long)]
        out: PathBuf,
    },
    /// Judges recipes by labels, originals and edits that they were not fitted on, beside the built-in projection.
    CrossFit {
        #[command(flatten)]
        from: From,
        /// Parts that the labels are split into.
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(2..=20))]
        folds: u8,
        /// What is split.
        #[arg(long, value_enum, default_value_t = Split::Labels)]
        split: Split,
        /// Parts that the families of edits are split into; each is left out of a fit and judged by it.
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(2..=20))]
        parts: u8,
    },
}

/// The recipes there are.
#[derive(Clone, Copy, ValueEnum)]
enum Name {
    /// That of the first projection.
    First,
    /// Better at copies by edits that were not fitted on.
    Second,
}

impl Name {
    fn recipe(self) -> Recipe {
        match self {
            Self::First => Recipe::first(),
            Self::Second => Recipe::second(),
        }
    }
}

/// What to fit on.
#[derive(Args)]
struct From {
    /// Pictures labelled by the kind of thing they show: their folder and its list (`path<TAB>label`, a header or none).
    #[arg(long, num_args = 2, value_names = ["DIR", "TSV"], required = true)]
    category: Vec<PathBuf>,
    /// Pictures labelled by the very thing they show.
    #[arg(long, num_args = 2, value_names = ["DIR", "TSV"], required = true)]
    instance: Vec<PathBuf>,
    /// Originals of copies, each with a label of its own.
    #[arg(long, num_args = 2, value_names = ["DIR", "TSV"], required = true)]
    copies: Vec<PathBuf>,
    /// Copies of these made by another program, labelled as their originals are.
    #[arg(long, num_args = 2, value_names = ["DIR", "TSV"])]
    copies_queries: Option<Vec<PathBuf>>,
    /// Copies to make of each original of a copy; 10 unless copies are given.
    #[arg(long)]
    made: Option<usize>,
    /// Copies to make of each picture of the other two lists.
    #[arg(long, default_value_t = 0)]
    made_of_others: usize,
    /// The classifier's rows, a .npy by `tools/classifier_rows.py`; without it the network's own training is not heard.
    #[arg(long)]
    classifier: Option<PathBuf>,
    /// A file that keeps the descriptors for the next run with the same pictures: they are what takes time.
    #[arg(long)]
    cache: Option<PathBuf>,
}

fn main() -> ExitCode {
    let done = match Task::parse() {
        Task::Projection(task) => run(&task),
        Task::Crash(options) => crash::crash(&options),
        Task::Growth { out, recall, files } => {
            growth::run(&out, &files, &recall).map(|table| print!("{table}"))
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: &ProjectionTask) -> Result<(), Failure> {
    let (ProjectionTask::FitProjection { from, .. } | ProjectionTask::CrossFit { from, .. }) = task;
    // Read first: pictures take minutes, and a wrong name should not.
    let classifier: Option<Array2<f32>> = from.classifier.as_deref().map(npy::read).transpose()?;
    let rows = classifier.as_ref().map(|matrix| matrix.view());
    let all = gather(&from.sources())?;
    match task {
        ProjectionTask::FitProjection { out, recipe, .. } => {
            let sample = all.sample(|_| true, |_| true);
            let projection = fit(&recipe.recipe(), &all.table, &sample, rows)?;
            let file = projection.to_bytes().map_err(Failure::Embed)?;
            std::fs::write(out, &file).map_err(|error| Failure::file(out, error))?;
            report(&all, &projection)
        }
        ProjectionTask::CrossFit { folds, split, parts, .. } => crossfit::run(
            &[("first", Recipe::first()), ("second", Recipe::second())],
            &Projection::from_bytes(built_in()).map_err(Failure::Embed)?,
            &all,
            rows,
            Plan { split: *split, folds: (*folds).into(), parts: (*parts).into() },
        ),
    }
}

/// Prints how like the built-in projection the new one is, and what both make of the pictures it was fitted on.
fn report(all: &Gathered, new: &Projection) -> Result<(), Failure> {
    let old = Projection::from_bytes(built_in()).map_err(Failure::Embed)?;
    let [semantic, copy] = project::likeness(&old, new, &all.table, [160, 96]);
    println!("{} originals, {} copies", all.originals.len(), all.copies.len());
    println!("scores correlate with the built-in projection's by {semantic:.4} (semantic), {copy:.4} (copy)");
    println!("on the pictures of this fit, which flatters what was fitted on them:");
    for (name, projection) in [("built in", &old), ("new", new)] {
        let found = crossfit::judge(projection, all, [160, 96], |_| true, |_| true);
        let [category, instance, default] = found.default;
        let [first, uap, clean] = found.copy;
        println!(
            "{name:9} category {category:.4} instance {instance:.4} copies {default:.4}; copy mode first {first:.4} uAP {uap:.4} clean {clean:.4}"
        );
    }
    Ok(())
}

impl From {
    fn sources(&self) -> Sources {
        // clap has counted them.
        let place = |both: &[PathBuf]| Place {
            folder: both.first().cloned().unwrap_or_default(),
            list: both.get(1).cloned().unwrap_or_default(),
        };
        let made = self.made.unwrap_or(if self.copies_queries.is_some() { 0 } else { 10 });
        Sources {
            category: place(&self.category),
            instance: place(&self.instance),
            copies: place(&self.copies),
            queries: self.copies_queries.as_deref().map(place),
            made: [made, self.made_of_others],
            cache: self.cache.clone(),
        }
    }
}
