//! Looks at everything in a gallery, and compares each answer with brute force over what was found.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use lookalike::{Effort, Error, Hit, Instance, Page, Query};

use super::super::random::Random;
use super::model::{DIMS, Host, Image, Labels, Shelf, State, rounded, score};
use super::script::{COLOURS, PATHS, path};

/// Why what was found is not a gallery that works.
#[derive(Debug, Clone)]
pub enum Fault {
    /// It, or an instance of it, did not open.
    Refused(String),
    /// Two of its answers do not go together, or one is an error.
    Wrong(String),
}

/// What a gallery holds, when all its answers go together.
pub fn observe(
    open: impl FnOnce() -> Result<Host, Error>,
    thorough: bool,
    seed: u64,
) -> Result<(Host, State), Fault> {
    let seen = catch_unwind(AssertUnwindSafe(|| {
        let mut host = open().map_err(|error| Fault::Refused(format!("the gallery: {error:?}")))?;
        let state = look(&mut host, thorough, seed)?;
        Ok((host, state))
    }));
    seen.unwrap_or_else(|_| Err(Fault::Wrong("a panic".to_owned())))
}

/// The same of a gallery that is open.
pub fn look(host: &mut Host, thorough: bool, seed: u64) -> Result<State, Fault> {
    let refused = |name: &str| {
        let name = name.to_owned();
        move |error: Error| Fault::Refused(format!("{name}: {error:?}"))
    };
    let mut state = State::default();
    let mut random = Random(seed);
    for info in host.gallery.list().map_err(refused("the list"))? {
        let name = info.instance_name;
        let instance = host.instance(&name).map_err(refused(&name))?;
        let shelf = shelf(&instance, thorough, &mut random)?;
        state.shelves.insert(name, Arc::new(shelf));
    }
    Ok(state)
}

fn shelf(instance: &Instance, thorough: bool, random: &mut Random) -> Result<Shelf, Fault> {
    let failed = |what: &'static str| move |error: Error| Fault::Wrong(format!("{what}: {error:?}"));
    let mut shelf = Shelf { keys: instance.tag_keys().map_err(failed("keys"))?, ..Shelf::default() };
    let reader = instance.reader().map_err(failed("reader"))?;
    // Every image has the tag, so these are all of them, in the order of insertion.
    let page = reader.search(&Query::tags(one_tag("k", "y")).limit(100)).map_err(failed("by tags"))?;
    let count = instance.len().map_err(failed("count"))?;
    ensure(page.count == count && page.hits.len() as u64 == count, || format!("{count} images, {page:?}"))?;
    for hit in &page.hits {
        let vector = reader.vector(&hit.path).map_err(failed("vector"))?;
        let image = Image { vector: rounded(&vector), labels: labels(hit) };
        ensure(!shelf.images.contains_key(&hit.path), || format!("{} twice", hit.path))?;
        shelf.put(&hit.path, image);
    }
    for number in 0..PATHS {
        let path = path(number);
        let there = reader.check(&path).map_err(failed("check"))?;
        ensure(there == shelf.images.contains_key(&path), || format!("check of {path} gives {there}"))?;
    }
    let query = random.vector(DIMS);
    let exact = Query::vector(query.clone()).limit(100).effort(Effort::Exact);
    let page = reader.search(&exact).map_err(failed("search"))?;
    ranked(&shelf, &rounded(&query), &page, |_| true, 100)?;
    let colour = COLOURS[random.index(COLOURS.len())];
    let filtered = Query::vector(query.clone()).filter(one_tag("c", colour)).limit(5);
    let page = reader.search(&filtered).map_err(failed("filtered search"))?;
    ranked(&shelf, &rounded(&query), &page, |labels| has(labels, "c", colour), 5)?;
    let page = reader.search(&Query::tags(one_tag("c", colour)).limit(100)).map_err(failed("by colour"))?;
    let wanted: Vec<&str> = shelf
        .in_order()
        .into_iter()
        .filter(|(_, image)| has(&image.labels, "c", colour))
        .map(|(path, _)| path)
        .collect();
    ensure(page.hits.iter().map(|hit| &*hit.path).eq(wanted.iter().copied()), || {
        format!("{colour}: {page:?}, not {wanted:?}")
    })?;
    let paths: Vec<&String> = shelf.images.keys().collect();
    if let Some(path) = random.of(&paths) {
        let page = reader.search(&Query::path(path.as_str()).limit(3)).map_err(failed("by path"))?;
        let first = page.hits.first().map(|hit| (&hit.path, hit.sim));
        ensure(first == Some((path, Some(1.0))), || format!("{path} finds first {first:?}"))?;
        // By lists, where there are any: what it finds must be right, though it need not be all.
        let page = reader.search(&Query::vector(query.clone())).map_err(failed("by lists"))?;
        plausible(&shelf, &rounded(&query), &page)?;
    }
    if thorough {
        instance.verify().map_err(failed("verify"))?;
    }
    Ok(shelf)
}

fn ensure(right: bool, what: impl FnOnce() -> String) -> Result<(), Fault> {
    if right { Ok(()) } else { Err(Fault::Wrong(what())) }
}

fn one_tag(key: &str, value: &str) -> lookalike::Tags {
    lookalike::Tags::new().with(key, value)
}

fn labels(hit: &Hit) -> Labels {
    hit.tags.iter().map(|(key, values)| (key.to_owned(), values.to_vec())).collect()
}

fn has(labels: &Labels, key: &str, value: &str) -> bool {
    labels.get(key).is_some_and(|values| values.iter().any(|own| own == value))
}

/// Each hit is an image with its tags and its score, the best first.
fn plausible(shelf: &Shelf, query: &[i16], page: &Page) -> Result<Vec<f64>, Fault> {
    let mut scores: Vec<f64> = Vec::with_capacity(page.hits.len());
    let mut seen = std::collections::BTreeSet::new();
    for hit in &page.hits {
        let Some((_, image)) = shelf.images.get(&hit.path) else {
            return Err(Fault::Wrong(format!("{} is found and not there", hit.path)));
        };
        let score = score(query, &image.vector);
        let close = hit.sim.is_some_and(|sim| (f64::from(sim) - score.clamp(0.0, 1.0)).abs() < 1e-5);
        ensure(close, || format!("{} has score {score}, and sim {:?}", hit.path, hit.sim))?;
        ensure(labels(hit) == image.labels, || format!("{} has other tags: {hit:?}", hit.path))?;
        ensure(scores.last().is_none_or(|&last| last > score - 1e-6), || format!("no ranking: {page:?}"))?;
        ensure(seen.insert(&hit.path), || format!("{} found twice", hit.path))?;
        scores.push(score);
    }
    Ok(scores)
}

/// The page is the best `limit` of the images that pass, and counts them all.
fn ranked(
    shelf: &Shelf,
    query: &[i16],
    page: &Page,
    passes: impl Fn(&Labels) -> bool,
    limit: usize,
) -> Result<(), Fault> {
    let found = plausible(shelf, query, page)?;
    let pass = shelf.images.values().filter(|(_, image)| passes(&image.labels));
    let mut all: Vec<f64> = pass.map(|(_, image)| score(query, &image.vector)).collect();
    all.sort_unstable_by(|a, b| b.total_cmp(a));
    ensure(page.count == all.len() as u64, || format!("{} counted of {}", page.count, all.len()))?;
    let same =
        found.len() == all.len().min(limit) && found.iter().zip(&all).all(|(a, b)| (a - b).abs() < 1e-6);
    ensure(same, || format!("found {found:?} of {all:?}"))?;
    let right = page
        .hits
        .iter()
        .all(|hit| shelf.images.get(&hit.path).is_some_and(|(_, image)| passes(&image.labels)));
    ensure(right, || format!("a hit does not pass the filter: {page:?}"))
}
