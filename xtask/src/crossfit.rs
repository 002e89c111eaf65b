//! Judging a recipe by pictures it was not fitted on.
//!
//! Labels, or whole sources, are split in folds. For each fold a projection is fitted on the others, copies of other
//! folds' originals included, and judged on the fold. Then the families of edits are split too: a projection is fitted
//! without one part of them, for each part, and judged by the copies of that part.

use std::collections::BTreeSet;

use clap::ValueEnum;
use lookalike::fit::Projection;
use ndarray::{Array2, ArrayView2};

use crate::Failure;
use crate::closed::{Recipe, fit};
use crate::evaluate::{CopyQuery, Labelled, Tally, by_source, weighted};
use crate::gather::{Copy, Gathered, Original, Task};
use crate::project::project;
use crate::random::Random;

/// Sizes of the blocks that are judged: those of `common-search` and of `common-search-512`.
const SIZES: [[usize; 2]; 2] = [[160, 96], [256, 256]];
/// Weights of the copy block: default mode and copy mode.
const WEIGHTS: [f32; 2] = [0.25, 4.0];

/// What folds are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Split {
    /// Labels: what is shown is new, where it comes from is not.
    Labels,
    /// Sources (the second folder of a path): pictures of another make.
    Sources,
}

/// How to judge.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// What folds are made of.
    pub split: Split,
    /// How many there are.
    pub folds: usize,
    /// Parts that the families of edits are split into.
    pub parts: usize,
}

/// Figures of one size of vector, means over the folds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Figures {
    /// Default mode: mean average precision by kind and by thing, micro-AP of copies.
    pub default: [f64; 3],
    /// Copy mode: right answer first, micro-AP, recall without a wrong one.
    pub copy: [f64; 3],
}

/// Judges by the pictures that `asked` lets through; the gallery of copies is the whole of it.
pub fn judge(
    projection: &Projection,
    all: &Gathered,
    size: [usize; 2],
    asked: impl Fn(&Original) -> bool,
    edits: impl Fn(&Copy) -> bool,
) -> Figures {
    let [semantic, copy] = project(projection, &all.table, size);
    let mut figures = Figures::default();
    for w in WEIGHTS {
        let vectors = weighted(&semantic, &copy, w);
        let mut tally = Tally::default();
        search(&mut tally, all, &vectors, &asked, &edits);
        if w > 1.0 {
            figures.copy = of_copies(&tally);
        } else {
            let map = |task| retrieval_of(all, &vectors, task, &asked);
            figures.default = [map(Task::Category), map(Task::Instance), of_copies(&tally)[1]];
        }
    }
    figures
}

/// Mean average precision within the sources of one list; not a number without any.
fn retrieval_of(all: &Gathered, vectors: &Array2<f32>, task: Task, asked: impl Fn(&Original) -> bool) -> f64 {
    let pictures: Vec<Labelled<'_>> = (all.originals.iter().enumerate())
        .filter(|(_, one)| one.task == task && asked(one))
        .map(|(row, one)| Labelled {
            row,
            label: &one.listed.label,
            source: one.listed.source(),
            findable: one.listed.role != "query",
        })
        .collect();
    by_source(vectors.view(), &pictures).map_or(f64::NAN, |found| found.map)
}

/// Searches for the originals of the copies that were given and are let through.
fn search(
    tally: &mut Tally,
    all: &Gathered,
    vectors: &Array2<f32>,
    asked: impl Fn(&Original) -> bool,
    edits: impl Fn(&Copy) -> bool,
) {
    let kept = |one: &(usize, &Original)| one.1.task == Task::Copies && one.1.listed.role != "query";
    let gallery: Vec<usize> = all.originals.iter().enumerate().filter(kept).map(|one| one.0).collect();
    let queries: Vec<CopyQuery> = all
        .copies
        .iter()
        .filter(|copy| edits(copy) && asked(&all.originals[copy.original]))
        .filter_map(|copy| {
            let right = copy.positive?.then(|| gallery.binary_search(&copy.original).ok()).flatten();
            Some(CopyQuery { row: copy.row, right })
        })
        .collect();
    tally.search(vectors.view(), &gallery, &queries);
}

/// Right answer first, micro-AP, recall without a wrong one; not numbers without any copy.
fn of_copies(tally: &Tally) -> [f64; 3] {
    tally.found().map_or([f64::NAN; 3], |found| [found.first, found.uap, found.clean])
}

/// Fits on all folds but one, judges by that one, and prints the means over folds; the built-in projection first, as it
/// is, for the same questions.
///
/// # Errors
/// When a fold cannot be fitted on.
pub fn run(
    recipes: &[(&str, Recipe)],
    built_in: &Projection,
    all: &Gathered,
    classifier: Option<ArrayView2<'_, f32>>,
    plan: Plan,
) -> Result<(), Failure> {
    println!("                      default mode              copy mode");
    println!("                      category instance copies  first  uAP    clean");
    let families = Families::of(all);
    let keep = |_: &dyn Fn(&Original) -> bool, _: &dyn Fn(&Copy) -> bool| Ok(built_in.clone());
    report("built in", all, plan, &families, &keep)?;
    for (name, recipe) in recipes {
        let make = |original: &dyn Fn(&Original) -> bool, copy: &dyn Fn(&Copy) -> bool| {
            fit(recipe, &all.table, &all.sample(original, copy), classifier)
        };
        report(name, all, plan, &families, &make)?;
    }
    Ok(())
}

/// Makes a projection from the originals and the copies that are let through.
type Make<'a> =
    dyn Fn(&dyn Fn(&Original) -> bool, &dyn Fn(&Copy) -> bool) -> Result<Projection, Failure> + 'a;

/// The rows of one recipe.
fn report(
    name: &str,
    all: &Gathered,
    plan: Plan,
    families: &Families,
    make: &Make<'_>,
) -> Result<(), Failure> {
    let mut rows = [Figures::default(); 2];
    let count = plan.folds as f64;
    let mut unseen = Unseen { overall: [0.0; 3], by_family: vec![[0.0; 2]; families.0.len()] };
    for fold in 0..plan.folds {
        let held = |one: &Original| plan.fold_of(all, one) == fold;
        let projection = make(&|one| !held(one), &|_| true)?;
        for (row, size) in rows.iter_mut().zip(SIZES) {
            add(row, &judge(&projection, all, size, held, |_| true), count);
        }
        unseen.fold(all, plan, families, make, &held, &projection)?;
    }
    for (what, row) in ["256", "512"].iter().zip(rows) {
        let [category, instance, found] = row.default;
        let [first, uap, clean] = row.copy;
        println!(
            "{name:8} {what:12} {category:.4}   {instance:.4}   {found:.4}  {first:.4} {uap:.4} {clean:.4}"
        );
    }
    let [first, uap, clean] = unseen.overall;
    println!("{name:8} 256, edits left out, in {} parts     {first:.4} {uap:.4} {clean:.4}", plan.parts);
    let each: Vec<String> = (families.0.iter().zip(&unseen.by_family))
        .map(|(family, [seen, left_out])| format!("{family} {seen:.3} {left_out:.3}"))
        .collect();
    println!("{name:8} uAP by family, fitted on and left out: {}", each.join(", "));
    Ok(())
}

/// What is found of copies by families that were left out, copy mode, `common-search`; means over folds.
struct Unseen {
    /// Right answer first, micro-AP, recall without a wrong one: all copies in one list, each scored by the projection
    /// that was fitted without its family.
    overall: [f64; 3],
    /// Micro-AP of each family alone: fitted on, left out.
    by_family: Vec<[f64; 2]>,
}

impl Unseen {
    fn fold(
        &mut self,
        all: &Gathered,
        plan: Plan,
        families: &Families,
        make: &Make<'_>,
        held: &dyn Fn(&Original) -> bool,
        full: &Projection,
    ) -> Result<(), Failure> {
        let count = plan.folds as f64;
        let vectors = |projection: &Projection| {
            let [semantic, copy] = project(projection, &all.table, SIZES[0]);
            weighted(&semantic, &copy, WEIGHTS[1])
        };
        let alone = |vectors: &Array2<f32>, family: &str| {
            let mut tally = Tally::default();
            search(&mut tally, all, vectors, held, |copy| copy.family == family);
            of_copies(&tally)[1] / count
        };
        let seen = vectors(full);
        let mut tally = Tally::default();
        for part in 0..plan.parts {
            let left_out = |copy: &Copy| families.part(&copy.family, plan.parts) == part;
            let projection = make(&|one| !held(one), &|copy| !left_out(copy))?;
            let unseen = vectors(&projection);
            search(&mut tally, all, &unseen, held, left_out);
            for (at, family) in families.0.iter().enumerate().filter(|(at, _)| at % plan.parts == part) {
                self.by_family[at][0] += alone(&seen, family);
                self.by_family[at][1] += alone(&unseen, family);
            }
        }
        self.overall.iter_mut().zip(of_copies(&tally)).for_each(|(sum, new)| *sum += new / count);
        Ok(())
    }
}

/// The families of the copies that were given, in the order of their names.
struct Families(Vec<String>);

impl Families {
    fn of(all: &Gathered) -> Self {
        let given = all.copies.iter().filter(|copy| copy.positive.is_some());
        Self(given.map(|copy| copy.family.clone()).collect::<BTreeSet<_>>().into_iter().collect())
    }

    /// Which part a family is in: they are dealt out in turn. One that only copies made here have is in no part, and
    /// always fitted on.
    fn part(&self, family: &str, parts: usize) -> usize {
        self.0.iter().position(|one| one == family).map_or(usize::MAX, |at| at % parts)
    }
}

impl Plan {
    /// The fold that an original is judged in.
    fn fold_of(self, all: &Gathered, one: &Original) -> usize {
        match self.split {
            Split::Labels => Random::of(&one.listed.label).below(self.folds),
            Split::Sources => {
                let same = all.originals.iter().filter(|other| other.task == one.task);
                let sources: BTreeSet<&str> = same.map(|other| other.listed.source()).collect();
                sources.iter().position(|source| *source == one.listed.source()).unwrap_or(0) % self.folds
            }
        }
    }
}

/// Adds `new / count`.
fn add(sum: &mut Figures, new: &Figures, count: f64) {
    for (sum, new) in sum.default.iter_mut().zip(new.default).chain(sum.copy.iter_mut().zip(new.copy)) {
        *sum += new / count;
    }
}

#[cfg(test)]
#[path = "crossfit_tests.rs"]
mod tests;
