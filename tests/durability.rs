//! What is found again after a close, a kill, and a merge.

use std::collections::BTreeMap;

use lookalike::{Add, Delete, Durability, Gallery, Instance, OnExisting, Query, Source, Tags, Update};

use crate::bed::{Average, Bed, Random, add};

/// What an image should be: tags, vector, place in the order of insertion.
type Image = (Tags, Vec<f32>, u64);
/// What an instance should hold.
type Model = BTreeMap<String, Image>;

/// A random change to the instance and to the model of it.
fn step(random: &mut Random, instance: &Instance, model: &mut Model, clock: &mut u64) {
    let path = format!("img/{}", random.below(60));
    let tags = Tags::from([("color", ["red", "green", "blue"][random.below(3) as usize])]);
    match random.below(10) {
        0..5 => {
            let vector = random.vector(4);
            let order = model.get(&path).map_or(*clock, |(.., order)| *order);
            *clock += 1;
            instance.add(&Add::new(&*path, Source::vector(vector.clone())).tags(tags.clone())).unwrap();
            model.insert(path, (tags, vector, order));
        }
        5..7 => {
            let updated = instance.update(&Update::new(&*path, tags.clone()));
            assert_eq!(updated.is_ok(), model.contains_key(&path));
            model.entry(path).and_modify(|(old, ..)| *old = tags);
        }
        7..9 => {
            let deleted = instance.delete(Delete::new(&*path).if_exists()).unwrap();
            assert_eq!(deleted, model.remove(&path).is_some());
        }
        _ if random.below(4) == 0 => instance.optimize().unwrap(),
        _ => {}
    }
}

fn assert_same(instance: &Instance, model: &Model) {
    assert_eq!(instance.len().unwrap(), model.len() as u64);
    for i in 0..60 {
        let path = format!("img/{i}");
        assert_eq!(instance.check(&path).unwrap(), model.contains_key(&path), "{path}");
    }
    let mut by_order: Vec<(&String, &Image)> = model.iter().collect();
    by_order.sort_by_key(|(_, (.., order))| *order);
    for colour in ["red", "green", "blue"] {
        let tags = Tags::from([("color", colour)]);
        let wanted: Vec<&String> =
            by_order.iter().filter(|(_, (t, ..))| *t == tags).map(|(p, _)| *p).collect();
        let page = instance.search(&Query::tags(tags).limit(100)).unwrap();
        assert_eq!(page.hits.iter().map(|hit| &hit.path).collect::<Vec<_>>(), wanted, "{colour}");
    }
    for (path, (tags, vector, _)) in model {
        let hit = &instance.search(&Query::vector(vector.clone()).limit(1)).unwrap().hits[0];
        assert_eq!(hit.sim, Some(1.0));
        // Another image may have been given nearly the same vector; its own path it finds first in any case.
        let itself = &instance.search(&Query::path(&**path).limit(1)).unwrap().hits[0];
        assert_eq!((&itself.path, &itself.tags), (path, tags));
    }
}

#[test]
fn random_histories_survive_reopening_sealing_and_merging() {
    let mut checks = 0;
    for seed in 0..9 {
        println!("seed {seed}");
        let mut random = Random(seed);
        // Some with lists, some with threads that seal and merge beside the changes.
        let bed = Bed::with(|b| {
            let b = b.tail_rows(5 + 20 * (seed as u32 % 6)).background(seed % 3 == 2);
            if seed % 2 == 1 { b.train_rows(20) } else { b }
        });
        let mut shoes = bed.shoes();
        let (mut model, mut clock) = (Model::new(), 0);
        for round in 0..12 {
            for _ in 0..random.below(60) {
                step(&mut random, &shoes, &mut model, &mut clock);
            }
            assert_same(&shoes, &model);
            if round % 3 == 2 {
                drop(shoes);
                shoes = bed.gallery.instance("shoes").unwrap();
                assert_eq!(shoes.torn_bytes().unwrap(), 0);
                assert_same(&shoes, &model);
            }
            shoes.verify().unwrap();
            checks += 1;
        }
    }
    assert_eq!(checks, 108);
}

/// The state that a kill leaves: the files as they are, without a clean close.
#[test]
fn a_copy_of_the_files_at_any_moment_opens() {
    let bed = Bed::with(|b| b.tail_rows(40).train_rows(30));
    let shoes = bed.shoes();
    let (mut random, mut model, mut clock) = (Random(7), Model::new(), 0);
    for round in 0..25 {
        for _ in 0..17 {
            step(&mut random, &shoes, &mut model, &mut clock);
        }
        let copy = tempfile::tempdir().unwrap();
        std::fs::create_dir(copy.path().join("shoes")).unwrap();
        for entry in std::fs::read_dir(bed.root().join("shoes")).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), copy.path().join("shoes").join(entry.file_name())).unwrap();
        }
        let gallery = Gallery::builder(copy.path()).model(Average).open().unwrap();
        assert_same(&gallery.instance("shoes").unwrap(), &model);
        println!("round {round}: {} images", model.len());
    }
}

#[test]
fn a_torn_tail_is_cut_and_told() {
    let bed = Bed::new();
    let shoes = bed.shoes();
    add(&shoes, "a", [1; 3]);
    add(&shoes, "b", [2; 3]);
    // The state without a clean close: a crash while the last frame was written.
    let log = bed.file("log-");
    let (bytes, manifest) = (std::fs::read(&log).unwrap(), std::fs::read(bed.file("manifest-")).unwrap());
    let manifest_name = bed.file("manifest-");
    drop(shoes);
    std::fs::remove_file(bed.file("manifest-")).unwrap();
    std::fs::write(manifest_name, manifest).unwrap();
    std::fs::write(&log, &bytes[..bytes.len() - 1]).unwrap();
    let shoes = bed.gallery.instance("shoes").unwrap();
    assert!(shoes.torn_bytes().unwrap() > 0);
    assert_eq!((shoes.check("a").unwrap(), shoes.check("b").unwrap()), (true, false));
    add(&shoes, "c", [3; 3]);
    drop(shoes);
    let shoes = bed.gallery.instance("shoes").unwrap();
    assert_eq!((shoes.len().unwrap(), shoes.torn_bytes().unwrap()), (2, 0));
}

#[test]
fn a_log_that_lost_its_end_after_a_clean_close_is_damage() {
    let bed = Bed::new();
    let shoes = bed.shoes();
    add(&shoes, "a", [1; 3]);
    add(&shoes, "b", [2; 3]);
    drop(shoes);
    let log = bed.file("log-");
    let bytes = std::fs::read(&log).unwrap();
    for cut in [1, 40, bytes.len() - 48] {
        std::fs::write(&log, &bytes[..bytes.len() - cut]).unwrap();
        let error = bed.gallery.instance("shoes").unwrap_err();
        assert!(error.is_corruption(), "cut {cut}: {error:?}");
    }
    std::fs::write(&log, &bytes).unwrap();
    assert_eq!(bed.gallery.instance("shoes").unwrap().len().unwrap(), 2);
}

/// One flipped bit anywhere in a closed instance gives the right answer or an error, never a wrong answer.
#[test]
fn flipped_bits_never_give_a_wrong_answer() {
    let bed = Bed::new();
    let shoes = bed.shoes();
    let mut random = Random(11);
    for i in 0..40 {
        let tags = Tags::from([("color", if i % 3 == 0 { "red" } else { "blue" })]);
        shoes.add(&Add::new(format!("img/{i}"), Source::vector(random.vector(4))).tags(tags)).unwrap();
        if i == 29 {
            shoes.optimize().unwrap();
        }
    }
    shoes.delete("img/3").unwrap();
    let answers = |instance: &Instance| -> lookalike::Result<String> {
        let mut all = String::new();
        for i in 0..41 {
            all += &format!("{:?}", instance.check(&format!("img/{i}"))?);
        }
        let red = Tags::from([("color", "red")]);
        all += &format!("{:?}", instance.search(&Query::tags(red.clone()).limit(100))?);
        all += &format!("{:?}", instance.search(&Query::vector(vec![0.5, -0.5, 0.1, 0.9]).limit(100))?);
        all += &format!("{:?}", instance.search(&Query::path("img/7").filter(red).limit(100))?);
        Ok(all)
    };
    let wanted = answers(&shoes).unwrap();
    drop(shoes);
    let files: Vec<_> = ["manifest-", "log-", "seg-"].iter().map(|prefix| bed.file(prefix)).collect();
    let (mut errors, mut right) = (0, 0);
    for file in &files {
        let pristine = std::fs::read(file).unwrap();
        for _ in 0..400 {
            let mut bytes = pristine.clone();
            let bit = random.below(bytes.len() as u64 * 8) as usize;
            bytes[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(file, bytes).unwrap();
            let reader = Gallery::builder(bed.root()).model(Average).read_only().open().unwrap();
            match reader.instance("shoes").and_then(|instance| answers(&instance)) {
                Ok(got) => {
                    assert_eq!(got, wanted, "bit {bit} of {file:?}");
                    right += 1;
                }
                Err(_) => errors += 1,
            }
        }
        std::fs::write(file, pristine).unwrap();
    }
    println!("{errors} errors, {right} right answers");
    assert!(errors + right == 1200 && errors > 600, "{errors} errors, {right} right");
}

#[test]
fn flushed_changes_survive_the_process() {
    let bed = Bed::with(|b| b.durability(Durability::Flush));
    let shoes = bed.shoes();
    for i in 0..20 {
        add(&shoes, &i.to_string(), [i, 0, 0]);
    }
    drop(shoes);
    assert_eq!(bed.gallery.instance("shoes").unwrap().len().unwrap(), 20);
}

#[test]
fn a_reader_beside_the_writer_sees_the_state_at_its_opening() {
    let bed = Bed::with(|b| b.tail_rows(3));
    let shoes = bed.shoes();
    for i in 0..10 {
        add(&shoes, &i.to_string(), [i, 0, 0]);
    }
    let other = Gallery::builder(bed.root()).model(Average).read_only().open().unwrap();
    let reader = other.instance("shoes").unwrap();
    for i in 10..30 {
        add(&shoes, &i.to_string(), [i, 0, 0]);
        shoes.delete(&*(i - 10).to_string()).unwrap();
    }
    shoes.optimize().unwrap();
    assert_eq!((reader.len().unwrap(), reader.check("0").unwrap()), (10, true));
    reader.verify().unwrap();
    assert_eq!(other.describe("shoes").unwrap().instance_name, "shoes");
    drop(reader);
    assert_eq!(other.instance("shoes").unwrap().len().unwrap(), 10);
    // With no reader left the files of older states go.
    shoes.optimize().unwrap();
    add(&shoes, "x", [1; 3]);
    shoes.optimize().unwrap();
    drop(shoes);
    drop(bed.gallery.instance("shoes").unwrap());
    let names: Vec<String> = std::fs::read_dir(bed.root().join("shoes"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names.len(), 5, "a manifest, a log, a segment, two locks: {names:?}");
}

#[test]
fn resuming_a_batch_keeps_what_is_there() {
    let bed = Bed::new();
    let shoes = bed.shoes();
    let adds: Vec<Add<'_>> = (0..10)
        .map(|i| {
            Add::new(i.to_string(), Source::vector(vec![1.0, i as f32, 0.0, 0.0]))
                .on_existing(OnExisting::Keep)
        })
        .collect();
    let first = shoes.add_batch(&adds[..6], &Default::default());
    let second = shoes.add_batch(&adds, &Default::default());
    assert!(first.iter().all(|r| *r.as_ref().unwrap() == lookalike::Added::New));
    assert_eq!(second.iter().filter(|r| *r.as_ref().unwrap() == lookalike::Added::Kept).count(), 6);
}
