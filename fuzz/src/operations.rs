//! Whole instances against a plain model: whatever is done, the answers are those of brute force.

use std::collections::BTreeMap;

use lookalike::{
    Add, CreateInstance, Delete, Effort, Gallery, Instance, OnExisting, Query, Source, Tags, Update,
};

use crate::store::{Input, Small};

/// What an image should be: its place in the order of insertion, its vector, its tags.
type Model = BTreeMap<String, (u64, Vec<f32>, Tags)>;

fn gallery(dir: &std::path::Path, tail_rows: u32, train_rows: u64) -> Gallery {
    let builder = Gallery::builder(dir).model(Small).background(false);
    let builder = builder.tail_rows(tail_rows).train_rows(train_rows);
    // What is fuzzed is not the disk.
    builder.durability(lookalike::Durability::Flush).open().expect("a gallery")
}

fn scratch() -> tempfile::TempDir {
    let memory = std::path::Path::new("/dev/shm");
    let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    dir.expect("a directory")
}

/// A sequence of operations, one a few bytes.
pub fn operations(bytes: &[u8]) {
    let mut input = Input(bytes);
    let dir = scratch();
    let (tail_rows, train_rows) = (1 + u32::from(input.byte() % 20), 1 + u64::from(input.byte() % 64));
    let mut gallery = self::gallery(dir.path(), tail_rows, train_rows);
    gallery.create(&CreateInstance::new("i", "small").tags(["color", "kind"])).expect("created");
    let mut instance = gallery.instance("i").expect("opened");
    let (mut model, mut clock) = (Model::new(), 0u64);
    let mut steps = 0;
    while !input.is_empty() && steps < 100 {
        steps += 1;
        let what = input.byte();
        let path = format!("p/{}", input.byte() % 24);
        match what % 16 {
            0..6 => {
                let (vector, tags) = (input.vector(), tags_of(&mut input));
                let on =
                    [OnExisting::Replace, OnExisting::Keep, OnExisting::Fail][usize::from(what >> 4) % 3];
                let add = Add::new(&*path, Source::vector(vector.clone())).tags(tags.clone()).on_existing(on);
                let added = instance.add(&add);
                let there = model.contains_key(&path);
                assert_eq!(added.is_err(), there && on == OnExisting::Fail, "{added:?}");
                if !there || on == OnExisting::Replace {
                    let order = model.get(&path).map_or(clock, |(order, ..)| *order);
                    clock += 1;
                    model.insert(path, (order, vector, tags));
                }
            }
            6 | 7 => {
                let tags = plain(&tags_of(&mut input).with("color", "new"));
                let mut update = Update::new(&*path, tags.clone());
                update.merge = what & 0x80 != 0;
                assert_eq!(instance.update(&update).is_ok(), model.contains_key(&path));
                let merge = update.merge;
                model.entry(path).and_modify(|(_, _, old)| {
                    let kept = old.iter().filter(|(key, _)| merge && tags.get(key).is_none());
                    *old =
                        kept.fold(tags.clone(), |all, (key, values)| all.with_values(key, values.to_vec()));
                });
            }
            8 | 9 => {
                let deleted = instance.delete(Delete::new(&*path).if_exists()).expect("deleted");
                assert_eq!(deleted, model.remove(&path).is_some());
            }
            10 => {
                let adds: Vec<(String, Vec<f32>)> =
                    (0..what >> 4).map(|i| (format!("p/{}", i + 20), input.vector())).collect();
                let asked: Vec<Add> = adds
                    .iter()
                    .map(|(path, vector)| Add::new(&**path, Source::vector(vector.clone())))
                    .collect();
                assert!(instance.add_batch(&asked, &Default::default()).iter().all(Result::is_ok));
                for (path, vector) in adds {
                    let order = model.get(&path).map_or(clock, |(order, ..)| *order);
                    clock += 1;
                    model.insert(path, (order, vector, Tags::new()));
                }
            }
            11 => instance.optimize().expect("optimized"),
            12 => {
                drop(instance);
                if what & 0x80 != 0 {
                    assert!(gallery.repair("i").expect("repaired").is_whole());
                }
                drop(gallery);
                gallery = self::gallery(dir.path(), tail_rows, train_rows);
                instance = gallery.instance("i").expect("opened again");
            }
            13 => instance.verify().expect("sound"),
            _ => check(&instance, &model, &mut input),
        }
    }
    check(&instance, &model, &mut input);
    instance.verify().expect("sound");
}

fn tags_of(input: &mut Input<'_>) -> Tags {
    let which = input.byte();
    let tags = Tags::from([("color", ["red", "green", "blue"][usize::from(which) % 3])]);
    let more = ["a".to_owned(), format!("{}", which >> 3 & 3)];
    if which & 0x40 == 0 { tags } else { plain(&tags.with_values("kind", more)) }
}

fn passes(image: &Tags, filter: &Tags) -> bool {
    filter
        .iter()
        .all(|(key, any)| image.get(key).is_some_and(|own| own.iter().any(|value| any.contains(value))))
}

/// Everything that can be asked is what the model says.
fn check(instance: &Instance, model: &Model, input: &mut Input<'_>) {
    assert_eq!(instance.len().expect("a length"), model.len() as u64);
    for number in 0..36 {
        let path = format!("p/{number}");
        assert_eq!(instance.check(&path).expect("checked"), model.contains_key(&path), "{path}");
    }
    let filter = tags_of(input);
    let mut wanted: Vec<(&u64, &String)> = model
        .iter()
        .filter(|(_, (.., tags))| passes(tags, &filter))
        .map(|(path, (order, ..))| (order, path))
        .collect();
    wanted.sort();
    let page = instance.search(&Query::tags(filter.clone()).limit(100)).expect("searched");
    let got: Vec<&String> = page.hits.iter().map(|hit| &hit.path).collect();
    assert_eq!(got, wanted.iter().map(|(_, path)| *path).collect::<Vec<_>>(), "{filter:?}");
    assert_eq!(page.count, wanted.len() as u64);

    // Scores of the stored vectors, which are kept in 12 bits a value: near ties may swap.
    let query = input.vector();
    let (offset, effort) =
        (u64::from(input.byte() % 8), if input.byte() & 1 == 0 { Effort::Exact } else { Effort::High });
    let page = instance
        .search(&Query::vector(query.clone()).filter(filter.clone()).limit(100).effort(effort))
        .expect("searched");
    assert_eq!(page.count, wanted.len() as u64);
    assert_eq!(page.hits.len(), wanted.len());
    assert!(page.hits.is_sorted_by(|a, b| a.sim >= b.sim), "best first");
    let score = |path: &String| {
        let stored = &model[path].1;
        let cosine = |range: std::ops::Range<usize>| {
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
            let (a, b) = (&query[range.clone()], &stored[range]);
            dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
        };
        cosine(0..12) + cosine(12..18)
    };
    let scores: Vec<f32> = page.hits.iter().map(|hit| score(&hit.path)).collect();
    assert!(scores.windows(2).all(|pair| pair[0] > pair[1] - 4e-3), "{scores:?}");
    for hit in &page.hits {
        assert_eq!(hit.tags, model[&hit.path].2, "{}", hit.path);
    }
    // Pages of the same ranking.
    let part = Query::vector(query).filter(filter).limit(5).offset(offset).effort(Effort::Exact);
    let part = instance.search(&part).expect("searched");
    if effort == Effort::Exact {
        let from = page.hits.iter().skip(offset as usize).take(5).map(|hit| &hit.path);
        assert_eq!(part.hits.iter().map(|hit| &hit.path).collect::<Vec<_>>(), from.collect::<Vec<_>>());
    }
}

/// Any tags: what is accepted comes back, and a filter finds what a plain comparison does.
pub fn tags(bytes: &[u8]) {
    thread_local! {
        static OPEN: (tempfile::TempDir, Instance) = {
            let dir = scratch();
            let gallery = gallery(dir.path(), 50, 1 << 20);
            gallery.create(&CreateInstance::new("t", "small").tags(["color", "kind", "\u{1f45f}"])).expect("created");
            (dir, gallery.instance("t").expect("opened"))
        };
    }
    OPEN.with(|(_, instance)| {
        let mut input = Input(bytes);
        let mut stored: BTreeMap<String, Tags> = BTreeMap::new();
        for number in 0..1 + input.byte() % 4 {
            let (path, tags) = (format!("{number}"), any_tags(&mut input));
            let add = Add::new(&*path, Source::vector(vec![1.0; crate::store::DIMS])).tags(tags.clone());
            match instance.add(&add) {
                Ok(_) => drop(stored.insert(path, plain(&tags))),
                Err(error) => assert!(error.code().as_str().starts_with("IS.100"), "{error}"),
            }
        }
        let filter = any_tags(&mut input);
        match instance.search(&Query::vector(vec![1.0; crate::store::DIMS]).filter(filter.clone()).limit(100))
        {
            Ok(page) => {
                let found: BTreeMap<String, Tags> =
                    page.hits.into_iter().map(|hit| (hit.path, hit.tags)).collect();
                let wanted = stored.iter().filter(|(_, tags)| passes(tags, &filter));
                assert_eq!(found, wanted.map(|(path, tags)| (path.clone(), tags.clone())).collect());
            }
            Err(error) => assert!(error.code().as_str().starts_with("IS.100"), "{error}"),
        }
        for path in stored.keys() {
            instance.delete(&**path).expect("deleted");
        }
    });
}

/// Values of a key are a set.
fn plain(tags: &Tags) -> Tags {
    tags.iter().fold(Tags::new(), |all, (key, values)| {
        let mut values = values.to_vec();
        values.sort();
        values.dedup();
        all.with_values(key, values)
    })
}

fn any_tags(input: &mut Input<'_>) -> Tags {
    let mut tags = Tags::new();
    for _ in 0..input.byte() % 5 {
        let which = input.byte();
        let key = match which % 8 {
            0..3 => "color".to_owned(),
            3..5 => "kind".to_owned(),
            5 | 6 => "\u{1f45f}".to_owned(),
            _ => String::from_utf8_lossy(input.take(3)).into_owned(),
        };
        let len = usize::from(input.byte() % 6);
        let value = String::from_utf8_lossy(input.take(len)).repeat(if which > 250 { 100 } else { 1 });
        tags = tags.with(key, value);
    }
    tags
}
