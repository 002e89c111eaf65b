//! What concerns an instance as a whole: going through it, deleting by tags, backups, calling work off.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lookalike::testing::DiskCall;
use lookalike::{
    Add, BatchOptions, CancelToken, Code, CopyQuery, Delete, Durability, EmbedError, Embedder, Embedding,
    ErrorKind, Gallery, Instance, Pixels, Query, Region, Source, Stats, Stored, Tags, Update, View,
};

use crate::bed::{Average, Bed, Random, bmp, shoes};

#[test]
fn images_come_in_the_order_they_were_added() {
    // Segments with lists, a segment without, a tail; replaced and deleted ones.
    let bed = Bed::with(|builder| builder.tail_rows(64).train_rows(200));
    let instance = bed.shoes();
    let mut random = Random(11);
    let mut want: Vec<(String, Option<String>)> = Vec::new();
    for i in 0..500u32 {
        let (path, color) = (format!("p{i:03}"), format!("c{}", i % 5));
        let vector = random.vector(4);
        instance.add(&Add::new(path.clone(), Source::vector(vector)).tag("color", &color)).unwrap();
        want.push((path, Some(color)));
    }
    assert!(instance.stats().unwrap().lists > 0, "no lists");
    for i in (0..500).step_by(7) {
        let again = Add::new(want[i].0.clone(), Source::vector(random.vector(4))).tag("color", "new");
        instance.add(&again).unwrap();
        want[i].1 = Some("new".to_owned());
    }
    // Side by side in memory: replaced ones, with their old place, and new ones.
    for i in (0..20).rev() {
        instance
            .add(&Add::new(want[i].0.clone(), Source::vector(random.vector(4))).tag("color", "late"))
            .unwrap();
        want[i].1 = Some("late".to_owned());
        let path = format!("q{i:03}");
        instance.add(&Add::new(path.clone(), Source::vector(random.vector(4)))).unwrap();
        want.push((path, None));
    }
    let reader = instance.reader().unwrap();
    let mut count = 0;
    let mut position = 0;
    want.retain(|(path, _)| {
        position += 1;
        let keep = position % 11 != 0;
        if !keep {
            instance.delete(path).unwrap();
            count += 1;
        }
        keep
    });
    assert!(count > 40);
    let all = |images: lookalike::Images| -> Vec<(String, Option<String>)> {
        let images = images.map(|image| image.unwrap());
        images.map(|i| (i.path, i.tags.get("color").map(|values| values.concat()))).collect()
    };
    assert_eq!(all(instance.iter().unwrap()), want);
    // The reader's state is as it was.
    assert_eq!(reader.iter().unwrap().size_hint(), (0, Some(520)));
    assert_eq!(all(reader.iter().unwrap()).len(), 520);
    instance.optimize().unwrap();
    assert_eq!(all(instance.iter().unwrap()), want);
    drop(reader);

    // Damage ends it with an error, not with fewer images.
    let file = bed.file("seg-");
    drop(instance);
    let at = crate::bed::find(&file, b"p123");
    crate::bed::flip(&file, at);
    let instance = bed.gallery.instance("shoes").unwrap();
    let last = instance.iter().unwrap().last().unwrap();
    assert!(last.unwrap_err().is_corruption());
}

/// Adds `count` images of the colour `color`, from `first` on.
fn fill(instance: &Instance, first: u32, count: u32, color: &str) {
    let mut random = Random(u64::from(first));
    let vectors: Vec<Vec<f32>> = (0..count).map(|_| random.vector(4)).collect();
    let add = |(i, vector): (u32, &Vec<f32>)| {
        Add::new(format!("p{i:05}"), Source::vector(vector.clone())).tag("color", color)
    };
    let adds: Vec<Add<'_>> = (first..).zip(&vectors).map(add).collect();
    instance.add_batch(&adds, &BatchOptions::new()).into_iter().for_each(|added| assert!(added.is_ok()));
}

fn color(value: &str) -> Tags {
    Tags::from([("color", value)])
}

fn all(instance: &Instance) -> Vec<(Stored, Vec<f32>)> {
    let images = instance.iter().unwrap().map(|image| image.unwrap());
    images.map(|image| (image.clone(), instance.vector(&image.path).unwrap())).collect()
}

#[test]
fn images_are_counted_and_deleted_by_tags() {
    let bed = Bed::with(|builder| builder.tail_rows(1500));
    let instance = bed.shoes();
    fill(&instance, 0, 5000, "red");
    fill(&instance, 5000, 700, "blue");
    instance.update(&Update::new("p00007", Tags::new().with_values("color", ["red", "blue"]))).unwrap();
    let either = Tags::new().with_values("color", ["red", "blue"]);
    assert_eq!(instance.count_where(&color("red")).unwrap(), 5000);
    assert_eq!(instance.count_where(&either).unwrap(), 5700);
    assert_eq!(instance.count_where(&color("green")).unwrap(), 0);
    for refused in [instance.count_where(&Tags::new()), instance.delete_where(&Tags::new())] {
        assert_eq!(refused.unwrap_err().code(), Code::PathOrFileRequired);
    }
    assert_eq!(instance.delete_where(&Tags::from([("size", "9")])).unwrap_err().code(), Code::TagUnknown);

    assert_eq!(instance.delete_where(&color("red")).unwrap(), 5000);
    assert_eq!(instance.delete_where(&color("red")).unwrap(), 0);
    assert_eq!((instance.len().unwrap(), instance.count_where(&color("blue")).unwrap()), (700, 700));
    drop(instance);
    assert_eq!(bed.gallery.instance("shoes").unwrap().len().unwrap(), 700);
}

#[test]
fn a_delete_by_tags_that_fails_keeps_whole_groups() {
    let bed = Bed::new();
    let instance = bed.shoes();
    fill(&instance, 0, 9000, "red");
    let (writes, disk) = (AtomicUsize::new(0), bed.disk.clone());
    bed.disk.before(DiskCall::Write, "log-", move || {
        if writes.fetch_add(1, Ordering::Relaxed) == 0 {
            disk.fail(DiskCall::Write, "log-", std::io::ErrorKind::StorageFull);
        }
    });
    let failed = instance.delete_where(&color("red")).unwrap_err();
    assert_eq!((failed.code(), failed.kind()), (Code::DeleteFailed, ErrorKind::DiskFull));
    bed.disk.heal();
    // One group is gone, durably; the rest is there, and the same call goes on.
    drop(instance);
    let instance = bed.gallery.instance("shoes").unwrap();
    assert_eq!(instance.count_where(&color("red")).unwrap(), 9000 - 4096);
    assert_eq!(instance.delete_where(&color("red")).unwrap(), 9000 - 4096);
}

#[test]
fn an_image_that_is_retagged_meanwhile_is_kept() {
    let bed = Bed::new();
    let instance = bed.shoes();
    fill(&instance, 0, 5000, "red");
    // While the first group is written, somebody gives an image of the second other tags, and waits for their turn.
    let begun = Arc::new(AtomicBool::new(false));
    let (seen, other) = (begun.clone(), instance.clone());
    bed.disk.before(DiskCall::Write, "log-", move || {
        if !seen.swap(true, Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(400));
        }
    });
    let retag = thread::spawn(move || {
        while !begun.load(Ordering::Relaxed) {
            thread::yield_now();
        }
        other.update(&Update::new("p04999", color("blue"))).unwrap();
    });
    let deleted = instance.delete_where(&color("red")).unwrap();
    retag.join().unwrap();
    assert_eq!((deleted, instance.check("p04999").unwrap()), (4999, true));
}

/// Calls a token off while it embeds.
struct Hasty(CancelToken);

impl Embedder for Hasty {
    fn name(&self) -> &str {
        "hasty"
    }
    fn version(&self) -> u32 {
        1
    }
    fn blocks(&self) -> &[usize] {
        &[4]
    }
    fn embed(&self, view: View<'_>) -> Result<Embedding, EmbedError> {
        self.0.cancel();
        Average.embed(view)
    }
}

fn assert_called_off<T: std::fmt::Debug>(result: lookalike::Result<T>) {
    let error = result.unwrap_err();
    assert_eq!((error.code(), error.kind()), (Code::TimedOut, ErrorKind::Cancelled), "{error:#}");
}

#[test]
fn searches_are_called_off() {
    let token = CancelToken::new();
    let bed = Bed::with(|builder| builder.model(Hasty(token.clone())));
    let create = lookalike::CreateInstance::new("hasty", "hasty").tags(["color"]);
    let instance = bed.gallery.open_or_create(&create).unwrap();
    fill(&instance, 0, 3000, "red");
    let patient = instance.cancelled_by(&token);
    let query = Query::vector(vec![1.0, 0.5, 0.2, 0.1]);
    let before = patient.search(&query).unwrap();
    assert_eq!(before, instance.search(&query).unwrap());
    // In the middle: the query's picture is embedded, and then nobody wants the answer.
    assert_called_off(patient.search(&Query::image(bmp(100, 100, [9, 9, 9]))));
    assert_called_off(patient.search(&query));
    assert_called_off(patient.search(&query.clone().offset(25_000)));
    assert_called_off(patient.iter().unwrap().next().unwrap());
    assert_called_off(patient.delete_where(&color("red")));
    assert_called_off(patient.add(&Add::new("new", Source::vector(vec![1.0; 4]))));
    assert_eq!((instance.search(&query).unwrap(), instance.len().unwrap()), (before, 3000));
}

/// Waits until the threads have brought an instance to some state, for half a minute at most.
fn await_stats(instance: &Instance, done: impl Fn(&Stats) -> bool) {
    let began = Instant::now();
    while !done(&instance.stats().unwrap()) {
        assert!(began.elapsed().as_secs() < 30, "{:?}", instance.stats().unwrap());
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn full_tails_are_sealed_without_another_occasion() {
    // A tail that became full is sealed at once, not with the next change.
    let bed = Bed::with(|builder| builder.background(true).tail_rows(100));
    let instance = bed.shoes();
    fill(&instance, 0, 100, "red");
    instance.add(&Add::new("one more", Source::vector(vec![1.0; 4]))).unwrap();
    await_stats(&instance, |stats| stats.segments == 1);
    assert_eq!(instance.stats().unwrap().tail_rows, 1);

    // So is one that an optimize froze before it was called off.
    let token = CancelToken::new();
    let calls_off = token.clone();
    bed.disk.before(DiskCall::Create, "log-", move || calls_off.cancel());
    assert_called_off(instance.cancelled_by(&token).optimize());
    bed.disk.heal();
    await_stats(&instance, |stats| stats.segments == 2);
    assert_eq!(instance.len().unwrap(), 101);
}

/// A manifest of the same instance that is not the state's, as a restored backup of one file would be.
#[test]
fn a_manifest_that_is_another_states_is_found() {
    let bed = Bed::new();
    let shoes = bed.shoes();
    fill(&shoes, 0, 10, "red");
    drop(shoes);
    let twin = bed.dir.path().join("twin");
    std::fs::create_dir_all(twin.join("shoes")).unwrap();
    for entry in std::fs::read_dir(bed.root().join("shoes")).unwrap() {
        let file = entry.unwrap();
        std::fs::copy(file.path(), twin.join("shoes").join(file.file_name())).unwrap();
    }
    let gallery = Gallery::builder(&twin).model(Average).background(false).open().unwrap();
    let twins = gallery.instance("shoes").unwrap();
    let ours = bed.gallery.instance("shoes").unwrap();
    fill(&ours, 10, 5, "red");
    fill(&twins, 10, 7, "blue");
    ours.optimize().unwrap();
    twins.optimize().unwrap();
    ours.verify().unwrap();
    let manifest = bed.file("manifest-");
    std::fs::copy(twin.join("shoes").join(manifest.file_name().unwrap()), &manifest).unwrap();
    assert_eq!(ours.verify().unwrap_err().code(), Code::Internal);
}

#[test]
fn a_reader_opens_beside_a_writer_that_goes_on() {
    let bed = Bed::new();
    let shoes = bed.shoes();
    fill(&shoes, 0, 1, "red");
    // Twice the manifest that was listed is gone when it is read.
    let (disk, reads, writer) =
        (lookalike::testing::FaultDisk::new(), Arc::new(AtomicUsize::new(0)), shoes.clone());
    let counted = reads.clone();
    disk.before(DiskCall::Read, "manifest-", move || {
        let read = counted.fetch_add(1, Ordering::Relaxed) as u32;
        if read < 2 {
            fill(&writer, 1 + read, 1, "red");
            writer.optimize().unwrap();
        }
    });
    let readers = Gallery::builder(bed.root()).fault_disk(disk).model(Average).read_only().open().unwrap();
    assert_eq!(readers.instance("shoes").unwrap().len().unwrap(), 3);
    assert!(reads.load(Ordering::Relaxed) >= 3);
}

#[test]
fn every_row_of_every_part_is_scanned_once() {
    let bed = Bed::with(|builder| builder.tail_rows(50));
    let shoes = bed.shoes();
    fill(&shoes, 0, 50, "red");
    fill(&shoes, 50, 50, "red");
    fill(&shoes, 100, 20, "blue");
    assert!(shoes.stats().unwrap().segments > 0 && shoes.stats().unwrap().tail_rows > 0);
    let page = shoes.search(&Query::vector(vec![1.0; 4])).unwrap();
    assert_eq!((page.found.rows_scanned, page.found.lists_probed, page.count), (120, 0, 120));
}

#[test]
fn a_merge_that_an_earlier_process_left_is_made() {
    let Bed { dir, disk, gallery } = Bed::new();
    gallery.create(&lookalike::CreateInstance::new("shoes", "average").tags(["color"])).unwrap();
    let instance = gallery.instance("shoes").unwrap();
    fill(&instance, 0, 60, "red");
    fill(&instance, 60, 40, "blue");
    instance.optimize().unwrap();
    disk.fail(DiskCall::Create, "seg-", std::io::ErrorKind::StorageFull);
    assert_eq!(instance.delete_where(&color("red")).unwrap(), 60);
    assert_eq!(instance.stats().unwrap().dead, 60);
    drop((instance, gallery));
    disk.heal();
    let builder = Gallery::builder(dir.path().join("root")).model(Average).background(true);
    let instance = builder.open().unwrap().instance("shoes").unwrap();
    await_stats(&instance, |stats| stats.dead == 0);
    let stats = instance.stats().unwrap();
    assert_eq!((stats.images, stats.dead, stats.segments), (40, 0, 1));
}

#[test]
fn changes_are_called_off_between_steps() {
    // Adds: some are made, the rest refused.
    let bed = Bed::with(|builder| builder.tail_rows(1000));
    let instance = bed.shoes();
    let token = CancelToken::new();
    let patient = instance.cancelled_by(&token);
    let seen = AtomicUsize::new(0);
    let progress = |_| {
        if seen.fetch_add(1, Ordering::Relaxed) == 49 {
            token.cancel();
        }
    };
    let adds: Vec<Add<'_>> =
        (0..500).map(|i| Add::new(format!("a{i}"), Source::vector(vec![1.0, i as f32, 0.0, 1.0]))).collect();
    let results = patient.add_batch(&adds, &BatchOptions::new().progress(&progress));
    let made = results.iter().filter(|result| result.is_ok()).count();
    assert!((50..500).contains(&made), "{made}");
    results.into_iter().filter(Result::is_err).for_each(assert_called_off);
    assert_eq!(instance.len().unwrap(), made as u64);

    // An import: the run that was called off leaves nothing.
    let token = CancelToken::new();
    let stopping = adds.iter().cloned().cycle().enumerate().map(|(i, add)| {
        if i == 20_000 {
            token.cancel();
        }
        add
    });
    assert_called_off(instance.cancelled_by(&token).import(stopping));
    assert_eq!(instance.len().unwrap(), made as u64);

    // An optimize: in the middle of a segment. What is there stays, and no half segment does.
    fill(&instance, 0, 3000, "red");
    let files = |dir: &Path| std::fs::read_dir(dir).unwrap().count();
    let token = CancelToken::new();
    let calls_off = token.clone();
    bed.disk.before(DiskCall::Create, "seg-", move || calls_off.cancel());
    let (before, listed) = (all(&instance), files(&bed.root().join("shoes")));
    assert_called_off(instance.cancelled_by(&token).optimize());
    bed.disk.heal();
    assert_eq!(all(&instance), before);
    assert!(files(&bed.root().join("shoes")) <= listed + 1, "a new log at most");
    instance.optimize().unwrap();
    assert_eq!((all(&instance), instance.stats().unwrap().segments), (before, 1));

    // A delete: the group that was begun is made.
    fill(&instance, 0, 9000, "blue");
    let token = CancelToken::new();
    let calls_off = token.clone();
    bed.disk.before(DiskCall::Write, "log-", move || calls_off.cancel());
    assert_called_off(instance.cancelled_by(&token).delete_where(&color("blue")));
    bed.disk.heal();
    assert_eq!(instance.count_where(&color("blue")).unwrap(), 9000 - 4096);

    // Where there is little to do, too.
    let small = shoes();
    fill(&small, 0, 10, "red");
    let token = CancelToken::new();
    token.cancel();
    let patient = small.cancelled_by(&token);
    assert_called_off(patient.optimize());
    assert_called_off(patient.preload());
    assert_called_off(patient.delete_where(&color("green")));
    assert_called_off(patient.snapshot(bed.dir.path().join("small")));
    assert_eq!(small.stats().unwrap().tail_rows, 10);

    // A backup: nothing of it is left.
    let token = CancelToken::new();
    let to = bed.dir.path().join("backup");
    let stopping = instance.cancelled_by(&token);
    bed.disk.before(DiskCall::Create, "tmp-create-shoes/seg-", move || token.cancel());
    assert_called_off(stopping.snapshot(&to));
    assert_eq!(files(&to), 0);
}

#[test]
fn a_backup_is_the_state_at_its_call() {
    for durability in [Durability::Sync, Durability::Flush] {
        let bed = Bed::with(|builder| builder.tail_rows(700).train_rows(900).durability(durability));
        let instance = bed.shoes();
        fill(&instance, 0, 3000, "red");
        (0..3000).step_by(3).for_each(|i| assert!(instance.delete(format!("p{i:05}")).unwrap()));
        fill(&instance, 2000, 100, "blue");
        assert!(instance.stats().unwrap().tail_rows > 0 && instance.stats().unwrap().segments > 0);
        let before = all(&instance);

        // Others write meanwhile.
        let (stop, other) = (Arc::new(AtomicBool::new(false)), instance.clone());
        let stopped = stop.clone();
        let writing = thread::spawn(move || {
            for i in (10_000..).take_while(|_| !stopped.load(Ordering::Relaxed)) {
                fill(&other, i, 1, "new");
            }
        });
        let to = bed.dir.path().join("backup");
        instance.snapshot(&to).unwrap();
        stop.store(true, Ordering::Relaxed);
        writing.join().unwrap();

        let open = || Gallery::builder(&to).model(Average).open().unwrap();
        let copy = open().instance("shoes").unwrap();
        copy.verify().unwrap();
        let old = |images: Vec<(Stored, Vec<f32>)>| -> Vec<(Stored, Vec<f32>)> {
            images.into_iter().filter(|(image, _)| image.path.as_str() < "p1").collect()
        };
        assert_eq!(old(all(&copy)), before, "{durability:?}");
        // What it has of the others' is a prefix.
        let newer = copy.len().unwrap() - before.len() as u64;
        assert_eq!(copy.count_where(&color("new")).unwrap(), newer);
        (10_000..10_000 + newer).for_each(|i| assert!(copy.check(&format!("p{i:05}")).unwrap()));

        // Each goes its own way.
        copy.delete_where(&color("red")).unwrap();
        fill(&copy, 20_000, 2000, "green");
        copy.optimize().unwrap();
        drop(copy);
        instance.optimize().unwrap();
        instance.verify().unwrap();
        assert_eq!(old(all(&instance)), before);
        let copy = open().instance("shoes").unwrap();
        assert_eq!(
            (copy.count_where(&color("red")).unwrap(), copy.count_where(&color("green")).unwrap()),
            (0, 2000)
        );
        let taken = instance.snapshot(&to).unwrap_err();
        assert_eq!(taken.code(), Code::InstanceExists);
    }
}

#[test]
fn a_backup_that_fails_or_died_leaves_nothing_behind() {
    let bed = Bed::new();
    let instance = bed.shoes();
    fill(&instance, 0, 900, "red");
    instance.optimize().unwrap();
    fill(&instance, 900, 100, "red");
    let to = bed.dir.path().join("backup");
    for (call, name) in [
        (DiskCall::Create, "backup/.tmp-create-shoes/seg-"),
        (DiskCall::Sync, "backup/.tmp-create-shoes/log-"),
        (DiskCall::Write, "backup/.tmp-create-shoes/tmp-manifest"),
        (DiskCall::Rename, "backup/shoes"),
    ] {
        bed.disk.fail(call, name, std::io::ErrorKind::StorageFull);
        let failed = instance.snapshot(&to).unwrap_err();
        assert_eq!(
            (failed.code(), failed.kind()),
            (Code::TemporaryFileNotSaved, ErrorKind::DiskFull),
            "{name}"
        );
        bed.disk.heal();
        assert_eq!(std::fs::read_dir(&to).unwrap().count(), 0, "{name}");
    }
    // A copy that died in the middle left a link to a segment: the next must not write through it.
    let segment = bed.file("seg-");
    let died = to.join(".tmp-create-shoes");
    std::fs::create_dir_all(&died).unwrap();
    std::fs::hard_link(&segment, died.join(segment.file_name().unwrap())).unwrap();
    instance.snapshot(&to).unwrap();
    instance.verify().unwrap();
    assert_eq!(instance.len().unwrap(), 1000);
    drop(instance);
    let copy = Gallery::builder(&to).model(Average).open().unwrap();
    assert_eq!(copy.instance("shoes").unwrap().len().unwrap(), 1000);
}

#[cfg(unix)]
#[test]
fn a_backup_on_the_same_disk_shares_what_is_sealed() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    let gallery = Gallery::builder(dir.path().join("a")).model(Average).open().unwrap();
    let create = lookalike::CreateInstance::new("shoes", "average").tags(["color"]);
    let instance = gallery.open_or_create(&create).unwrap();
    fill(&instance, 0, 1000, "red");
    instance.optimize().unwrap();
    fill(&instance, 1000, 10, "red");
    instance.snapshot(dir.path().join("b")).unwrap();
    let links = |file: &str| dir.path().join("b/shoes").join(file).metadata().unwrap().nlink();
    let names = std::fs::read_dir(dir.path().join("b/shoes")).unwrap();
    let names: Vec<String> = names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let (mut segments, mut logs) = (0, 0);
    for name in &names {
        if name.starts_with("seg-") {
            segments += 1;
            assert_eq!(links(name), 2, "{name}");
        } else if name.starts_with("log-") {
            logs += 1;
            assert_eq!(links(name), 1, "{name}: what grows is copied");
        }
    }
    assert_eq!((segments, logs), (1, 1));
    // The source goes; the copy stays.
    drop(instance);
    gallery.delete("shoes").unwrap();
    let copy =
        Gallery::builder(dir.path().join("b")).model(Average).open().unwrap().instance("shoes").unwrap();
    copy.verify().unwrap();
    assert_eq!(copy.len().unwrap(), 1010);
}

#[test]
fn what_is_stored_or_sent_can_be_kept() {
    fn back<T: serde::Serialize + serde::de::DeserializeOwned>(value: &T) -> T {
        serde_json::from_str(&serde_json::to_string(value).unwrap()).unwrap()
    }
    let instance = shoes();
    fill(&instance, 0, 30, "red");
    let query = Query::vector(vec![0.5, 1.0, 0.25, 1.0]).filter(color("red")).limit(3).min_sim(0.1);
    let again: Query<'static> = back(&query);
    let page = instance.search(&query).unwrap();
    assert_eq!(instance.search(&again).unwrap(), page);
    assert_eq!((page.hits.len(), back(&page)), (3, page.clone()));
    // What is left out has its default.
    let short: Query<'static> =
        serde_json::from_str(r#"{"path": "p00003", "region": null, "effort": "exact"}"#).unwrap();
    assert_eq!(instance.search(&short).unwrap().hits.len(), 10);
    let copies: CopyQuery<'static> = serde_json::from_str(r#"{"path": "p00003", "robust": true}"#).unwrap();
    assert!(copies.robust && copies.limit == 10 && back(&copies).robust);

    let pixels = Pixels::from_rgb8(100, 100, vec![77; 30_000]).unwrap();
    let add: Add<'static> = back(&Add::new("new", Source::pixels(pixels.clone())).tag("color", "grey"));
    instance.add(&add).unwrap();
    let update: Update<'static> = back(&Update::new("new", color("blue")));
    instance.update(&update).unwrap();
    assert_eq!(instance.count_where(&color("blue")).unwrap(), 1);
    let found =
        instance.search(&Query::pixels(pixels.clone()).region(back(&Region::new(1, 2, 30, 40)))).unwrap();
    assert_eq!(found.hits[0].path, "new");
    let delete: Delete<'static> = serde_json::from_str(r#"{"path": "new"}"#).unwrap();
    assert!(instance.delete(delete).unwrap());

    let mut torn = serde_json::to_value(&pixels).unwrap();
    torn["width"] = 99.into();
    assert!(serde_json::from_value::<Pixels>(torn).unwrap_err().to_string().contains("do not fill"));
    assert_eq!(back(&(ErrorKind::DiskFull, Code::TimedOut)), (ErrorKind::DiskFull, Code::TimedOut));
    assert_eq!(serde_json::to_string(&Durability::Flush).unwrap(), "\"flush\"");
}
