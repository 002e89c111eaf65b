//! Judging, on a table made by hand.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use super::*;
use crate::pictures::{Listed, Table};
use crate::project::likeness;
use lookalike::fit::{LENGTHS, WIDTH};

/// A projection that hands the first values of `gem` and `e6` through.
fn plain() -> Projection {
    let handing = |rows: usize| {
        let mut matrix = vec![0.0; rows * WIDTH];
        (0..rows.min(WIDTH)).for_each(|at| matrix[at * WIDTH + at] = 1.0);
        matrix
    };
    let empty = |rows: usize| vec![0.0; rows * WIDTH];
    let [gem, e6, hist, edge] = LENGTHS;
    Projection {
        means: LENGTHS.map(|length| vec![0.0; length]),
        semantic: [handing(gem), empty(hist), empty(edge)],
        semantic_bias: vec![0.0; WIDTH],
        copy: [handing(e6), empty(hist)],
        copy_bias: vec![0.0; WIDTH],
    }
}

fn gathered() -> Gathered {
    let original = |task, at: usize, label: usize| Original {
        task,
        listed: Listed {
            file: PathBuf::new(),
            path: format!("images/s/{at}"),
            label: label.to_string(),
            role: "both".to_owned(),
            group: String::new(),
            positive: true,
        },
        label,
    };
    let mut originals: Vec<Original> = (0..6).map(|at| original(Task::Category, at, at / 2)).collect();
    originals.extend((0..6).map(|at| original(Task::Instance, at, at / 2)));
    originals.extend((0..4).map(|at| original(Task::Copies, at, at)));
    let copies = (0..4).map(|at| Copy {
        row: originals.len() + at,
        original: originals.len() - 4 + at,
        family: "crop".to_owned(),
        positive: Some(true),
    });
    let copies: Vec<Copy> = copies.collect();
    let mut table = Table(LENGTHS.map(|length| Array2::zeros((originals.len() + copies.len(), length))));
    for (row, one) in originals.iter().enumerate() {
        let axis = one.label + if one.task == Task::Copies { 10 } else { 0 };
        table.0.iter_mut().for_each(|matrix| matrix[[row, axis]] = 1.0);
    }
    for copy in &copies {
        table.0.iter_mut().for_each(|matrix| matrix[[copy.row, originals[copy.original].label + 10]] = 3.0);
    }
    Gathered { table, originals, copies }
}

#[test]
fn what_is_told_apart_perfectly_gets_perfect_figures() {
    let all = gathered();
    let found = judge(&plain(), &all, [160, 96], |_| true, |_| true);
    assert_eq!(found, Figures { default: [1.0; 3], copy: [1.0; 3] });
    // Without questions there are no figures.
    assert!(judge(&plain(), &all, [160, 96], |_| true, |_| false).copy[0].is_nan());
}

#[test]
fn a_turned_projection_is_alike() {
    let all = gathered();
    let mut turned = plain();
    turned.semantic[0].iter_mut().for_each(|value| *value = -*value);
    turned.copy[0].chunks_exact_mut(WIDTH).for_each(|row| row[..96].reverse());
    let alike = likeness(&plain(), &turned, &all.table, [160, 96]);
    assert!(alike.iter().all(|value| (value - 1.0).abs() < 1e-6), "{alike:?}");
}

#[test]
fn blocks_are_cut_before_they_are_scaled() {
    let all = gathered();
    let [semantic, copy] = project(&plain(), &all.table, [2, 96]);
    assert_eq!((semantic.ncols(), copy.ncols()), (2, 96));
    assert_eq!(semantic.row(0).to_vec(), [1.0, 0.0]);
    // The third label's axis is cut away.
    assert_eq!(semantic.row(4).to_vec(), [0.0, 0.0]);
}

#[test]
fn folds_are_of_labels_or_of_sources() {
    let mut all = gathered();
    for (at, one) in all.originals.iter_mut().enumerate().filter(|(_, one)| one.task == Task::Instance) {
        one.listed.path = format!("images/source {}/{at}", one.label);
    }
    let plan = Plan { split: Split::Labels, folds: 2, parts: 2 };
    let folds = |plan: Plan| all.originals.iter().map(|one| plan.fold_of(&all, one)).collect::<Vec<_>>();
    // The two pictures of a label are never apart, whatever list they are of.
    assert!(folds(plan)[..6].chunks(2).all(|two| two[0] == two[1]));
    let sources = folds(Plan { split: Split::Sources, ..plan });
    assert_eq!(sources[..6], [0; 6]);
    assert_eq!(sources[6..12], [0, 0, 1, 1, 0, 0]);
}

#[test]
fn families_are_dealt_in_the_order_of_their_names() {
    let mut all = gathered();
    for (copy, family) in all.copies.iter_mut().zip(["tone", "crop", "jpeg", "blur"]) {
        copy.family = family.to_owned();
    }
    all.copies[3].positive = None;
    let families = Families::of(&all);
    assert_eq!(["crop", "jpeg", "tone"].map(|family| families.part(family, 2)), [0, 1, 0]);
    assert!(families.part("blur", 2) > 1);
}

#[test]
fn unseen_edits_are_judged_without_having_been_fitted_on() {
    let mut all = gathered();
    for (at, copy) in all.copies.iter_mut().enumerate() {
        copy.family = ["crop", "jpeg"][at % 2].to_owned();
    }
    let plan = Plan { split: Split::Labels, folds: 2, parts: 2 };
    let asked = std::cell::RefCell::new(Vec::new());
    let make = |_: &dyn Fn(&Original) -> bool, copy: &dyn Fn(&Copy) -> bool| {
        asked.borrow_mut().push(all.copies.iter().map(copy).collect::<Vec<_>>());
        Ok(plain())
    };
    report("plain", &all, plan, &Families::of(&all), &make).unwrap();
    let (odd, even) = (vec![false, true, false, true], vec![true, false, true, false]);
    let fold = [vec![true; 4], odd, even];
    assert_eq!(*asked.borrow(), [fold.clone(), fold].concat());
}
