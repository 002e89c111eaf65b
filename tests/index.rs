//! Searching by lists: what is found, in which order, page by page, beside changes.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use lookalike::{
    Add, Code, CommonSearch, CopyQuery, CreateInstance, Delete, Durability, Effort, EmbedError, Embedder,
    Embedding, Instance, Mode, Query, Source, Tags, View,
};

use lookalike::testing::DiskCall;

use crate::bed::{Bed, Random, flip};

/// Vectors of two blocks, 24 and 8 values, weighed as the built-in model weighs its own.
struct Pairs;

impl Embedder for Pairs {
    fn name(&self) -> &str {
        "pairs"
    }
    fn version(&self) -> u32 {
        1
    }
    fn blocks(&self) -> &[usize] {
        &[24, 8]
    }
    fn weights(&self, mode: Mode) -> Vec<f32> {
        match mode {
            Mode::Semantic => vec![1.0, 0.0],
            Mode::Copy => vec![1.0, 4.0],
            Mode::Balanced => vec![1.0, 1.0],
            _ => vec![1.0, 0.25],
        }
    }
    fn embed(&self, _: View<'_>) -> Result<Embedding, EmbedError> {
        Err(EmbedError::Failed("vectors only".into()))
    }
}

const DIMS: usize = 32;

/// Vectors around sixty centres.
fn clustered(random: &mut Random) -> Vec<f32> {
    let mut centre = Random(1000 + random.below(60));
    let noise = random.vector(DIMS);
    centre.vector(DIMS).iter().zip(noise).map(|(c, n)| c + 0.6 * n).collect()
}

fn instance(bed: &Bed) -> Instance {
    bed.gallery.create(&CreateInstance::new("pairs", "pairs").tags(["color", "rare"])).unwrap();
    bed.gallery.instance("pairs").unwrap()
}

fn rows(count: u64, seed: u64) -> Vec<Add<'static>> {
    let mut random = Random(seed);
    (0..count)
        .map(|i| {
            let tags = Tags::from([("color", (i % 3).to_string()), ("rare", (i / 7).to_string())]);
            Add::new(format!("row/{i}"), Source::vector(clustered(&mut random))).tags(tags)
        })
        .collect()
}

/// Images of an instance: path, blocks of unit norm.
type Stored = BTreeMap<String, Vec<f32>>;

fn stored(instance: &Instance, count: u64) -> Stored {
    let reader = instance.reader().unwrap();
    let paths = (0..count).map(|i| format!("row/{i}")).filter(|path| reader.check(path).unwrap());
    paths.map(|path| (path.clone(), reader.vector(&path).unwrap())).collect()
}

/// Scores by brute force over what is stored, best first.
fn brute_force(stored: &Stored, query: &[f32], weights: [f32; 2]) -> Vec<(f32, String)> {
    let unit = |block: &[f32]| {
        let norm = block.iter().map(|v| v * v).sum::<f32>().sqrt();
        block.iter().map(|v| v / norm).collect::<Vec<f32>>()
    };
    let query = [unit(&query[..24]), unit(&query[24..])];
    let mut all: Vec<(f32, String)> = stored
        .iter()
        .map(|(path, row)| {
            let dot = |block: usize, from: usize| -> f32 {
                query[block].iter().zip(&row[from..]).map(|(a, b)| a * b).sum()
            };
            let score = (weights[0] * dot(0, 0) + weights[1] * dot(1, 24)) / (weights[0] + weights[1]);
            (score, path.clone())
        })
        .collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0));
    all
}

fn paths(instance: &Instance, query: &Query<'_>) -> Vec<String> {
    instance.search(query).unwrap().hits.into_iter().map(|hit| hit.path).collect()
}

/// In every mode, exactly and by lists, with and without deleted images.
#[test]
fn lists_find_what_brute_force_finds() {
    let bed = Bed::with(|b| b.model(Pairs).train_rows(2_000));
    let pairs = instance(&bed);
    assert_eq!(pairs.import(rows(6_000, 3)).unwrap().added, 6_000);
    for i in (0..6_000).step_by(11) {
        pairs.delete(&*format!("row/{i}")).unwrap();
    }
    let stats = pairs.stats().unwrap();
    assert!(stats.lists >= 64 && stats.images < 6_000 && stats.dead > 500, "{stats:?}");
    let stored = stored(&pairs, 6_000);
    let modes = [
        (Mode::Default, [1.0, 0.25]),
        (Mode::Semantic, [1.0, 0.0]),
        (Mode::Copy, [1.0, 4.0]),
        (Mode::Balanced, [1.0, 1.0]),
    ];
    bed.gallery.create(&CreateInstance::new("coder", "pairs")).unwrap();
    let coder = bed.gallery.instance("coder").unwrap();
    let mut random = Random(77);
    for (mode, weights) in modes {
        let (mut found, mut probed, queries) = ([0usize; 4], 0, 60);
        for _ in 0..queries {
            // As it is rounded when it is kept: so does a search round it.
            coder.add(&Add::new("query", Source::vector(clustered(&mut random)))).unwrap();
            let vector = coder.vector("query").unwrap();
            let all = brute_force(&stored, &vector, weights);
            let tenth = all[9].0;
            let efforts = [Effort::Fast, Effort::Default, Effort::High, Effort::Exact];
            for (effort, found) in efforts.into_iter().zip(&mut found) {
                let query = Query::vector(&vector[..]).mode(mode).effort(effort);
                let page = pairs.search(&query).unwrap();
                assert_eq!((page.count, page.hits.len()), (stats.images, 10));
                assert_eq!(page.found.exact, effort == Effort::Exact);
                probed += page.found.lists_probed;
                let score = |path: &str| all.iter().find(|(_, p)| p == path).unwrap().0;
                // Brute force here sums in f32: rows as good as the tenth may change places.
                *found += page.hits.iter().filter(|hit| score(&hit.path) >= tenth - 2e-6).count();
            }
        }
        let recall = found.map(|found| found as f32 / (10 * queries) as f32);
        println!("{mode:?}: {recall:?}, {} lists a search", probed / (3 * queries as u64));
        assert_eq!(recall[3], 1.0);
        assert!(recall[0] > 0.85 && recall[1] > 0.95 && recall[2] > 0.98, "{mode:?} {recall:?}");
    }
}

/// Whatever the pages' length, and whether the filter leaves lists to search or rows to read.
#[test]
fn pages_neither_overlap_nor_skip() {
    let bed = Bed::with(|b| b.model(Pairs).train_rows(2_000));
    let pairs = instance(&bed);
    pairs.import(rows(9_500, 5)).unwrap();
    let mut random = Random(8);
    let vector = clustered(&mut random);
    for (query, matches) in
        [(Query::vector(&vector[..]), 9_500u64), (Query::vector(&vector[..]).tag("color", "1"), 3_167)]
    {
        for limit in [10u32, 100] {
            let reader = pairs.reader().unwrap();
            let (mut seen, mut pages) = (HashSet::new(), 0);
            // Short pages at the start and at the joints of the prefixes, long ones all the way.
            let offsets: Vec<u64> = if limit == 10 {
                (0..200)
                    .step_by(10)
                    .chain((1_000..1_060).step_by(10))
                    .chain((8_160..8_240).step_by(10))
                    .collect()
            } else {
                (0..9_600).step_by(100).collect()
            };
            for offset in offsets {
                let page = reader.search(&query.clone().limit(limit).offset(offset)).unwrap();
                assert_eq!(page.count, matches);
                let expected = matches.saturating_sub(offset).min(u64::from(limit));
                assert_eq!(page.hits.len() as u64, expected, "offset {offset}");
                for hit in page.hits {
                    assert!(seen.insert(hit.path.clone()), "{} again at {offset}", hit.path);
                }
                pages += 1;
            }
            assert!(pages > 20 && (limit == 10 || seen.len() as u64 == matches));
        }
    }
}

/// Far down the ranking, where it is not held any more: exactly what sorting all would give, and no image twice.
#[test]
fn deep_pages_go_on_where_the_others_end() {
    let bed = Bed::with(|b| b.model(Pairs).train_rows(2_000));
    let pairs = instance(&bed);
    let total = 24_000u64;
    // Pairs of equal vectors, so that insertion numbers must decide.
    let all =
        (0..total).map(|i| Add::new(format!("row/{i}"), Source::vector(clustered(&mut Random(i / 2 + 5)))));
    assert_eq!(pairs.import(all).unwrap().added, total);
    let vector = clustered(&mut Random(99));
    for query in [
        Query::vector(&vector[..]),
        Query::vector(&vector[..]).effort(Effort::Exact),
        Query::path("row/77"),
        Query::path("row/77").exclude_self().effort(Effort::Exact),
    ] {
        let (mut seen, mut last) = (Vec::new(), f32::INFINITY);
        let reader = pairs.reader().unwrap();
        for offset in (19_600..24_400).step_by(100) {
            let page = reader.search(&query.clone().limit(100).offset(offset)).unwrap();
            assert_eq!(page.count, total - u64::from(query.exclude_self));
            assert_eq!(page.hits.len() as u64, page.count.saturating_sub(offset).min(100), "offset {offset}");
            for hit in page.hits {
                // Beyond the prefixes the ranking is that of all images.
                assert!(hit.sim <= Some(last), "{hit:?} after {last}");
                last = hit.sim.unwrap();
                seen.push(hit.path);
            }
        }
        let distinct: HashSet<&String> = seen.iter().collect();
        assert_eq!(distinct.len(), seen.len());
        assert_eq!(seen.len() as u64, total - u64::from(query.exclude_self) - 19_600);
    }
}

/// A filter that leaves many images is answered by lists, one that leaves few by reading these.
#[test]
fn filters_large_and_small() {
    let bed = Bed::with(|b| b.model(Pairs).train_rows(2_000));
    let pairs = instance(&bed);
    let all = (0..60_000u64).map(|i| {
        let mut random = Random(i * 7 + 1);
        let tags = Tags::from([("color", if i % 10 < 9 { "many" } else { "few" })]);
        let tags = tags.with("rare", (i % 100).to_string());
        Add::new(format!("row/{i}"), Source::vector(clustered(&mut random))).tags(tags)
    });
    assert_eq!(pairs.import(all).unwrap().added, 60_000);
    let mut random = Random(4);
    let (mut same, queries) = (0, 30);
    for _ in 0..queries {
        let vector = clustered(&mut random);
        let many = Query::vector(&vector[..]).tag("color", "many");
        let page = pairs.search(&many).unwrap();
        assert_eq!((page.count, page.found.exact), (54_000, false));
        assert!(page.hits.iter().all(|hit| hit.tags.get("color") == Some(&["many".to_owned()][..])));
        let exact: HashSet<String> = paths(&pairs, &many.clone().effort(Effort::Exact)).into_iter().collect();
        same += page.hits.iter().filter(|hit| exact.contains(&hit.path)).count();
        let few = pairs.search(&Query::vector(&vector[..]).tag("color", "few")).unwrap();
        assert_eq!(few.count, 6_000);
        assert!(few.hits.iter().all(|hit| hit.tags.get("color") == Some(&["few".to_owned()][..])));
        let rare = pairs.search(&Query::vector(&vector[..]).tag("rare", "7")).unwrap();
        assert_eq!((rare.count, rare.found.exact, rare.found.rows_scanned), (600, true, 600));
    }
    assert!(same as f32 >= 0.95 * (10 * queries) as f32, "{same} of {}", 10 * queries);
}

/// Images that pass may all lie on the other side of the query: then the lists near it tell so, and more are searched.
#[test]
fn filters_of_a_region_far_away() {
    let bed = Bed::with(|b| b.model(Pairs).train_rows(2_000));
    let pairs = instance(&bed);
    let mut random = Random(9);
    let all: Vec<Vec<f32>> = (0..60_000).map(|_| clustered(&mut random)).collect();
    let side = |vector: &[f32]| vector[0] + vector[1] > 0.5;
    let adds = (0..).zip(&all).map(|(i, vector)| {
        let tags = Tags::from([("color", if side(vector) { "this" } else { "that" })]);
        Add::new(format!("row/{i}"), Source::vector(&vector[..])).tags(tags)
    });
    assert_eq!(pairs.import(adds).unwrap().added, 60_000);
    let passing = all.iter().filter(|vector| side(vector)).count();
    assert!((6_000..40_000).contains(&passing), "{passing}");
    let (mut same, mut asked) = (0, 0);
    while asked < 40 {
        let vector = clustered(&mut random);
        if side(&vector) {
            continue;
        }
        asked += 1;
        let query = Query::vector(&vector[..]).tag("color", "this");
        let page = pairs.search(&query).unwrap();
        assert!(!page.found.exact);
        let exact: HashSet<String> = paths(&pairs, &query.effort(Effort::Exact)).into_iter().collect();
        same += page.hits.iter().filter(|hit| exact.contains(&hit.path)).count();
    }
    // Without that 348 are found.
    assert!(same as f32 >= 0.97 * (10 * asked) as f32, "{same} of {}", 10 * asked);
}

#[test]
fn a_minimum_counts_what_lists_hold() {
    let bed = Bed::with(|b| b.model(Pairs).train_rows(2_000));
    let pairs = instance(&bed);
    pairs.import(rows(6_000, 3)).unwrap();
    let mut random = Random(5);
    for _ in 0..20 {
        let vector = clustered(&mut random);
        let query = Query::vector(&vector[..]).min_sim(0.8).effort(Effort::High);
        let (lists, all) =
            (pairs.search(&query).unwrap(), pairs.search(&query.clone().effort(Effort::Exact)).unwrap());
        assert!(lists.count <= all.count && lists.count as f32 >= 0.9 * all.count as f32);
        assert!(lists.hits.iter().all(|hit| hit.sim >= Some(0.8)) && all.found.exact && !lists.found.exact);
    }
}

#[test]
fn a_search_by_path_finds_itself_first_and_a_budget_ends_a_search() {
    let bed = Bed::with(|b| b.model(Pairs).train_rows(2_000));
    let pairs = instance(&bed);
    pairs.import(rows(6_000, 3)).unwrap();
    for i in (0..6_000).step_by(97) {
        let path = format!("row/{i}");
        let page = pairs.search(&Query::path(&*path)).unwrap();
        assert_eq!((page.hits[0].path.as_str(), page.hits[0].sim), (&*path, Some(1.0)));
        let others = pairs.search(&Query::path(&*path).exclude_self()).unwrap();
        assert_eq!(others.count, page.count - 1);
        assert!(others.hits.iter().all(|hit| hit.path != path));
    }
    let query = Query::path("row/1").effort(Effort::High);
    let page = pairs.search(&query.clone().budget(Duration::ZERO)).unwrap();
    assert_eq!((page.found.lists_probed, page.hits.len()), (0, 1));
    let page = pairs.search(&query.budget(Duration::from_secs(60))).unwrap();
    assert_eq!(page.hits.len(), 10);
}

/// Threads seal, train and merge while callers add, delete and search; each search sees one state.
#[test]
fn the_index_grows_beside_changes_and_searches() {
    let bed = Bed::with(|b| b.model(Pairs).background(true).tail_rows(500).train_rows(2_000));
    let pairs = instance(&bed);
    let (stop, searches) = (AtomicBool::new(false), AtomicU64::new(0));
    let all = rows(12_000, 9);
    std::thread::scope(|scope| {
        for seed in 0..2 {
            let (pairs, stop, searches) = (pairs.clone(), &stop, &searches);
            scope.spawn(move || {
                let mut random = Random(seed);
                while !stop.load(Ordering::Relaxed) {
                    let reader = pairs.reader().unwrap();
                    let vector = clustered(&mut random);
                    let page = reader.search(&Query::vector(vector)).unwrap();
                    assert_eq!(page.count, reader.len());
                    assert_eq!(page.hits.len() as u64, reader.len().min(10));
                    let distinct: HashSet<&str> = page.hits.iter().map(|hit| hit.path.as_str()).collect();
                    assert_eq!(distinct.len(), page.hits.len());
                    for hit in &page.hits {
                        assert!(reader.check(&hit.path).unwrap());
                    }
                    searches.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for (number, group) in all.chunks(100).enumerate() {
            assert!(pairs.add_batch(group, &Default::default()).iter().all(Result::is_ok));
            // An image of long ago, perhaps in a segment that is being merged.
            let path = format!("row/{}", number * 37);
            pairs.delete(Delete::new(&*path).if_exists()).unwrap();
            assert!(!pairs.check(&path).unwrap());
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(searches.into_inner() > 20);
    let gone: HashSet<String> = (0..120).map(|number| format!("row/{}", number * 37)).collect();
    let check = |pairs: &Instance| {
        assert_eq!(pairs.len().unwrap(), 12_000 - 120);
        for i in 0..12_000 {
            let path = format!("row/{i}");
            assert_eq!(pairs.check(&path).unwrap(), !gone.contains(&path), "{path}");
        }
        pairs.verify().unwrap();
    };
    check(&pairs);
    pairs.optimize().unwrap();
    let stats = pairs.stats().unwrap();
    assert_eq!((stats.segments, stats.tail_rows, stats.dead), (1, 0, 0), "{stats:?}");
    assert!(stats.lists >= 64);
    check(&pairs);
    drop(pairs);
    let pairs = bed.gallery.instance("pairs").unwrap();
    check(&pairs);
    assert_eq!(pairs.preload().unwrap(), cfg!(target_os = "linux"));
    check(&pairs);
    drop(pairs);
    // A thread that reads ahead changes nothing, and ends with the instance.
    let gallery = lookalike::Gallery::builder(bed.root()).model(Pairs).preload(true).open().unwrap();
    check(&gallery.instance("pairs").unwrap());
}

/// A list that has come to far more than its share is divided, and the others stay as they are.
#[test]
fn lists_are_divided_where_images_come_in_one_place() {
    let bed = Bed::with(|b| b.model(Pairs).train_rows(2_000).background(false));
    let instance = instance(&bed);
    assert!(instance.import(rows(2_000, 3)).unwrap().failed == 0);
    instance.optimize().unwrap();
    // The centres: their number, and the bytes of each.
    let centres = || {
        let names = std::fs::read_dir(bed.root().join("pairs")).unwrap().map(|entry| entry.unwrap().path());
        let named = |path: &std::path::PathBuf| path.to_string_lossy().contains("cent-");
        let files: Vec<_> = names.filter(named).collect();
        assert_eq!(files.len(), 1, "{files:?}");
        let bytes = std::fs::read(&files[0]).unwrap();
        let lists = u32::from_le_bytes(bytes[48..52].try_into().unwrap()) as usize;
        let codes = &bytes[bytes.len() - lists * DIMS..];
        (lists, codes.chunks(DIMS).map(<[u8]>::to_vec).collect::<Vec<_>>())
    };
    let (lists, first) = centres();
    let mut random = Random(4);
    let centre = random.vector(DIMS);
    let mut near = |count: usize, at: usize| {
        let adds: Vec<Add> = (at..at + count)
            .map(|number| {
                let vector: Vec<f32> =
                    centre.iter().zip(random.vector(DIMS)).map(|(a, b)| a + 0.2 * b).collect();
                Add::new(format!("near/{number}"), Source::vector(vector))
            })
            .collect();
        assert_eq!(instance.import(adds).unwrap().added, count as u64);
    };
    // A third more, all around one centre, makes one list overlong; but the instance has not grown enough to write
    // everything anew.
    near(700, 0);
    assert_eq!(centres(), (lists, first.clone()));
    near(700, 700);
    let (more, second) = centres();
    let stay = first.iter().zip(&second).filter(|(a, b)| a == b).count();
    println!("{stay} of {lists} lists stay, {more} in all");
    assert!(more >= lists + 20 && stay + 8 >= lists, "{stay} of {lists} lists stay, {more} in all");
    let check = |expected: u64| {
        let (stats, mut found) = (instance.stats().unwrap(), [0; 2]);
        assert_eq!((stats.images, stats.lists), (expected, centres().0 as u64));
        instance.verify().unwrap();
        for seed in 0..50 {
            let mut random = Random(seed + 900);
            let far = clustered(&mut random);
            let beside = centre.iter().zip(random.vector(DIMS)).map(|(a, b)| a + 0.2 * b).collect();
            for (vector, found) in [far, beside].into_iter().zip(&mut found) {
                let hits = |effort| -> Vec<String> {
                    let page = instance.search(&Query::vector(vector.clone()).effort(effort)).unwrap();
                    page.hits.into_iter().map(|hit| hit.path).collect()
                };
                let (exact, default) = (hits(Effort::Exact), hits(Effort::Default));
                *found += default.iter().filter(|path| exact.contains(path)).count();
            }
        }
        println!("{found:?} of 500");
        // Gaps hold for images of all kinds together.
        assert!(found.iter().sum::<usize>() >= 960, "{found:?} of 500");
    };
    check(3_400);
    // What is written anew anyway is divided at once, and what was divided stays.
    near(900, 1_400);
    instance.optimize().unwrap();
    let third = centres();
    check(4_300);
    instance.optimize().unwrap();
    assert_eq!(centres(), third);
}

/// Images that are all the same cannot be told apart by any centre: their list stays, however long, and is no reason to divide
/// others that are long, but not overlong.
#[test]
fn a_list_of_equal_images_is_not_divided() {
    let bed = Bed::with(|b| b.model(Pairs).train_rows(2_000).background(false));
    let instance = instance(&bed);
    instance.import(rows(2_000, 3)).unwrap();
    instance.optimize().unwrap();
    let lists = instance.stats().unwrap().lists;
    let mut random = Random(4);
    let (one, other) = (random.vector(DIMS), random.vector(DIMS));
    let same = (0..1_500).map(|number| Add::new(format!("same/{number}"), Source::vector(one.clone())));
    let near = (0..80).map(|number| {
        let vector: Vec<f32> = other.iter().zip(random.vector(DIMS)).map(|(a, b)| a + 0.2 * b).collect();
        Add::new(format!("near/{number}"), Source::vector(vector))
    });
    instance.import(same.chain(near).collect::<Vec<_>>()).unwrap();
    instance.optimize().unwrap();
    assert_eq!(instance.stats().unwrap().lists, lists);
    assert_eq!(instance.search(&Query::vector(one).limit(100)).unwrap().hits.len(), 100);
}

/// What is due after an import is done: the gaps are measured, and searches look at fewer lists for less effort.
#[test]
fn an_import_leaves_an_index_that_is_measured() {
    let bed = Bed::with(|b| b.model(Pairs).train_rows(2_000));
    let pairs = instance(&bed);
    let before = pairs.import(rows(1_000, 3)).unwrap();
    assert_eq!((before.added, pairs.stats().unwrap().lists), (1_000, 0));
    pairs.import(rows(6_000, 4)).unwrap();
    // Both runs are in lists now, and nothing in them is dead weight.
    let stats = pairs.stats().unwrap();
    assert!(stats.lists >= 64 && stats.images == 6_000, "{stats:?}");
    let lists = |effort| -> u64 {
        let searches = (0..40).map(|i| {
            let vector = clustered(&mut Random(i + 500));
            let page = pairs.search(&Query::vector(vector).effort(effort)).unwrap();
            assert!(page.found.rows_scanned > 0 && !page.found.exact);
            page.found.lists_probed
        });
        searches.sum()
    };
    let (fast, default, high) = (lists(Effort::Fast), lists(Effort::Default), lists(Effort::High));
    println!("{fast}, {default}, {high} lists in 40 searches");
    assert!(fast <= default && default < high);
    // Before anything is measured it would be nearly every list at the highest effort.
    assert!(high < 40 * stats.lists / 2);
}

/// Sealing is tried again with every add; what was built in vain goes, or a full disk would be filled further.
#[test]
fn what_was_built_in_vain_is_removed() {
    let bed = Bed::with(|b| b.tail_rows(3));
    let shoes = bed.shoes();
    for i in 0..3 {
        shoes.add(&Add::new(format!("a{i}"), Source::vector(vec![1.0, i as f32, 0.0, 1.0]))).unwrap();
    }
    let disk = bed.disk.clone();
    // The new log is begun; the manifest that would name the segment is not written.
    bed.disk.before(DiskCall::Create, "tmp-seg", move || {
        disk.fail(DiskCall::Sync, "tmp-manifest", std::io::ErrorKind::StorageFull);
    });
    let segments = || {
        let names =
            std::fs::read_dir(bed.root().join("shoes")).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().contains("seg-")).count()
    };
    for i in 0..6 {
        let add = Add::new(format!("b{i}"), Source::vector(vec![1.0; 4]));
        assert_eq!(shoes.add(&add).unwrap_err().code().to_string(), "IS.2005");
        assert_eq!(segments(), 0);
    }
    // Deletions go on, and adds when there is room again.
    shoes.delete("a1").unwrap();
    bed.disk.heal();
    shoes.add(&Add::new("c", Source::vector(vec![1.0; 4]))).unwrap();
    assert_eq!((shoes.len().unwrap(), segments()), (3, 1));
    drop(shoes);
    let shoes = bed.gallery.instance("shoes").unwrap();
    assert_eq!((shoes.len().unwrap(), shoes.check("a1").unwrap()), (3, false));
}

/// A sync that failed proves nothing of what it was asked for, and neither would another.
#[test]
fn a_failed_sync_before_a_new_log_stops_writing() {
    let bed = Bed::with(|b| b.tail_rows(3).durability(Durability::Flush));
    let shoes = bed.shoes();
    let add = |i: u32| shoes.add(&Add::new(format!("a{i}"), Source::vector(vec![1.0; 4])));
    (0..3).for_each(|i| assert!(add(i).is_ok()));
    bed.disk.fail(DiskCall::Sync, "log-", std::io::ErrorKind::Other);
    assert!(add(3).is_err());
    bed.disk.heal();
    assert_eq!(add(4).unwrap_err().code().to_string(), "IS.2105");
    assert!(shoes.check("a2").unwrap());
}

#[test]
fn damaged_centres_are_told_by_verify_and_by_opening() {
    let bed = Bed::with(|b| b.model(Pairs).train_rows(100));
    let pairs = instance(&bed);
    pairs.import(rows(300, 1)).unwrap();
    pairs.verify().unwrap();
    let names = std::fs::read_dir(bed.root().join("pairs")).unwrap().map(|entry| entry.unwrap().path());
    let centres: Vec<_> =
        names.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("cent-")).collect();
    assert_eq!(centres.len(), 1);
    flip(&centres[0], 200);
    assert!(format!("{:#}", pairs.verify().unwrap_err()).contains("cent-"));
    drop(pairs);
    assert!(bed.gallery.instance("pairs").is_err());
}

#[test]
#[cfg(target_os = "linux")]
fn damage_is_told_by_reading_ahead() {
    let bed = Bed::with(|b| b.model(Pairs).train_rows(100));
    let pairs = instance(&bed);
    pairs.import(rows(300, 1)).unwrap();
    pairs.optimize().unwrap();
    assert!(pairs.preload().unwrap());
    drop(pairs);
    flip(&bed.file_of("pairs", "seg-"), 200);
    let refused = bed.gallery.instance("pairs").unwrap().preload().unwrap_err();
    assert_eq!(refused.code(), Code::Internal);
    assert!(format!("{refused:#}").contains("seg-"), "{refused:#}");
}

/// A stranger's picture is no copy of any, and a copy is found, whether lists are searched or every image.
#[test]
fn copies_are_found_by_lists_too() {
    let (mut answers, mut random) = (Vec::new(), Random(31));
    let dims = CommonSearch::new().blocks().iter().sum::<usize>();
    let row = |i: u64| Random(10_000 + i).vector(dims);
    let queries: Vec<Vec<f32>> = (0..20)
        .map(|i| {
            let noise = random.vector(dims);
            row(i * 531).iter().zip(noise).map(|(v, n)| v + 0.2 * n).collect()
        })
        .collect();
    for train_rows in [2_000, u64::MAX] {
        let bed = Bed::with(|b| b.train_rows(train_rows));
        bed.gallery.create(&CreateInstance::new("copies", "common-search")).unwrap();
        let copies = bed.gallery.instance("copies").unwrap();
        let all = (0..12_000).map(|i| Add::new(format!("row/{i}"), Source::vector(row(i))));
        assert_eq!(copies.import(all).unwrap().added, 12_000);
        answers.push(
            queries
                .iter()
                .map(|vector| {
                    let source = Source::Vector(vector.into());
                    let found = copies.find_copies(&CopyQuery::source(source).limit(1)).unwrap();
                    assert_eq!(found.found.lists_probed > 0, train_rows == 2_000);
                    (found.hits[0].path.clone(), found.hits[0].raw)
                })
                .collect::<Vec<_>>(),
        );
    }
    assert_eq!(answers[0], answers[1]);
    assert!((0u64..).zip(&answers[0]).all(|(i, (path, _))| *path == format!("row/{}", i * 531)));
}

/// What an import replaces stays replaced, whatever the log said of it before, and what is wrong is told.
#[test]
fn an_import_is_durable_as_a_whole() {
    let bed = Bed::with(|b| b.model(Pairs).train_rows(100));
    let pairs = instance(&bed);
    let mut old = rows(50, 1);
    assert!(pairs.add_batch(&old, &Default::default()).iter().all(Result::is_ok));
    pairs.delete("row/49").unwrap();
    let first = pairs.vector("row/7").unwrap();
    old.truncate(0);
    let mut new = rows(400, 2);
    new.push(Add::new("row/399", Source::vector(vec![2.0; DIMS])));
    new.push(Add::new("bad", Source::vector(vec![f32::NAN; DIMS])));
    new.push(Add::new("", Source::vector(vec![1.0; DIMS])));
    let imported = pairs.import(new).unwrap();
    assert_eq!((imported.added, imported.replaced, imported.failed), (351, 50, 2));
    let codes: Vec<(u64, String)> =
        imported.failures.iter().map(|(place, error)| (*place, error.code().to_string())).collect();
    assert_eq!(codes, [(401, "IS.1005".to_owned()), (402, "IS.2012".to_owned())]);
    // The files as they are now are what a crash would leave.
    let copy = tempfile::tempdir().unwrap();
    std::fs::create_dir(copy.path().join("pairs")).unwrap();
    for entry in std::fs::read_dir(bed.root().join("pairs")).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.path().join("pairs").join(entry.file_name())).unwrap();
    }
    let gallery = lookalike::Gallery::builder(copy.path()).model(Pairs).open().unwrap();
    let after = gallery.instance("pairs").unwrap();
    for instance in [&pairs, &after] {
        assert_eq!(instance.len().unwrap(), 400);
        assert_ne!(instance.vector("row/7").unwrap(), first);
        // The order of insertion is that of the first addition.
        let page = instance.search(&Query::tags(Tags::from([("color", "0")])).limit(3)).unwrap();
        let paths: Vec<&str> = page.hits.iter().map(|hit| hit.path.as_str()).collect();
        assert_eq!(paths, ["row/0", "row/3", "row/6"]);
        instance.verify().unwrap();
    }
}

/// An import that cannot write tells why with the code that an add would.
#[test]
fn an_import_that_fails_changes_nothing() {
    let bed = Bed::with(|b| b.model(Pairs));
    let pairs = instance(&bed);
    bed.disk.fail(DiskCall::Write, "tmp-seg", std::io::ErrorKind::StorageFull);
    assert_eq!(pairs.import(rows(10, 1)).unwrap_err().code().to_string(), "IS.2005");
    bed.disk.heal();
    assert!(pairs.is_empty().unwrap());
    assert_eq!(pairs.import(rows(10, 1)).unwrap().added, 10);
    drop(pairs);
    let gallery = lookalike::Gallery::builder(bed.root()).model(Pairs).read_only().open().unwrap();
    let pairs = gallery.instance("pairs").unwrap();
    assert_eq!(pairs.import(rows(20, 1)).unwrap_err().code().to_string(), "IS.2105");
    assert_eq!(pairs.len().unwrap(), 10);
}
