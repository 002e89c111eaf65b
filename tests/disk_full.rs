//! A disk without room, and one that may not be written.

use lookalike::testing::{DiskCall, MemoryDisk};
use lookalike::{Add, Code, CreateInstance, ErrorKind, Gallery, GalleryBuilder, Instance, Query, Source};

use crate::bed::{Average, Bed, add};

fn open(disk: &MemoryDisk, options: impl FnOnce(GalleryBuilder) -> GalleryBuilder) -> Gallery {
    let builder = Gallery::builder("/g").memory_disk(disk.clone()).model(Average);
    options(builder).open().unwrap()
}

fn put(instance: &Instance, number: u32) -> lookalike::Result<()> {
    let vector = vec![1.0, number as f32, (number % 7) as f32, 0.5];
    instance.add(&Add::new(format!("img/{number}"), Source::vector(vector))).map(drop)
}

fn found(instance: &Instance) -> usize {
    instance.search(&Query::vector(vec![1.0, 2.0, 3.0, 4.0]).limit(100)).unwrap().hits.len()
}

#[test]
fn adds_fail_without_room_and_go_on_with_it() {
    let disk = MemoryDisk::new(1);
    let gallery = open(&disk, |b| b.background(false));
    gallery.create(&CreateInstance::new("shoes", "average")).unwrap();
    let shoes = gallery.instance("shoes").unwrap();
    (0..20).for_each(|number| put(&shoes, number).unwrap());
    disk.set_quota(Some(disk.used() + 70));
    let error = put(&shoes, 20).unwrap_err();
    assert_eq!((error.code(), error.kind()), (Code::AddFailed, ErrorKind::DiskFull), "{error}");
    assert!(error.to_string().contains("log-00000001"), "{error}");
    assert_eq!((found(&shoes), shoes.check("img/20").unwrap()), (20, false));
    // What a delete writes still fits.
    shoes.delete("img/3").unwrap();
    let keys = shoes.add_tag_keys(&["color"]).unwrap_err();
    assert_eq!((keys.code(), keys.kind()), (Code::InformationNotSaved, ErrorKind::DiskFull), "{keys}");
    let create = gallery.create(&CreateInstance::new("hats", "average")).unwrap_err();
    assert_eq!(create.kind(), ErrorKind::DiskFull, "{create}");
    assert_eq!(gallery.list().unwrap().len(), 1);
    disk.set_quota(Some(disk.used()));
    assert_eq!(shoes.delete("img/4").unwrap_err().kind(), ErrorKind::DiskFull);
    assert_eq!(found(&shoes), 19);
    // With room again the same handle goes on.
    disk.set_quota(None);
    put(&shoes, 20).unwrap();
    shoes.delete("img/4").unwrap();
    shoes.add_tag_keys(&["color"]).unwrap();
    gallery.create(&CreateInstance::new("hats", "average")).unwrap();
    drop(shoes);
    let shoes = gallery.instance("shoes").unwrap();
    assert_eq!((found(&shoes), shoes.tag_keys().unwrap().len()), (19, 1));
}

/// Whoever seals: without room for a segment the tail takes no more, nothing is lost, and deletes go on.
#[test]
fn sealing_without_room_neither_loses_nor_blocks() {
    for background in [false, true] {
        let disk = MemoryDisk::new(2);
        let gallery = open(&disk, |b| b.background(background).tail_rows(8));
        gallery.create(&CreateInstance::new("shoes", "average")).unwrap();
        let shoes = gallery.instance("shoes").unwrap();
        (0..4).for_each(|number| put(&shoes, number).unwrap());
        // Room for logs and manifests, and for no segment.
        disk.set_quota(Some(disk.used() + 5_000));
        let mut added = 4;
        let error = loop {
            match put(&shoes, added) {
                Ok(()) => added += 1,
                Err(error) => break error,
            }
            assert!(added < 100, "the quota is too large for this test");
        };
        assert_eq!(error.kind(), ErrorKind::DiskFull, "{error}");
        assert!([Code::TemporaryFileNotSaved, Code::AddFailed].contains(&error.code()), "{error}");
        assert_eq!(found(&shoes), added as usize);
        disk.set_quota(Some(disk.used() + 200));
        shoes.delete("img/1").unwrap();
        assert!(!shoes.check("img/1").unwrap());
        disk.set_quota(None);
        // The thread that seals may be between two attempts; an add asks for the next.
        (added..added + 20).for_each(|number| put(&shoes, number).unwrap());
        assert_eq!(found(&shoes), added as usize + 19);
        shoes.optimize().unwrap();
        shoes.verify().unwrap();
        drop(shoes);
        let shoes = gallery.instance("shoes").unwrap();
        assert_eq!((found(&shoes), shoes.torn_bytes().unwrap()), (added as usize + 19, 0));
    }
}

#[test]
fn an_instance_opens_on_a_full_disk() {
    let disk = MemoryDisk::new(3);
    let gallery = open(&disk, |b| b.background(false));
    gallery.create(&CreateInstance::new("shoes", "average")).unwrap();
    (0..5).for_each(|number| put(&gallery.instance("shoes").unwrap(), number).unwrap());
    drop(gallery);
    disk.set_quota(Some(disk.used()));
    let gallery = open(&disk, |b| b.background(false));
    let shoes = gallery.instance("shoes").unwrap();
    assert_eq!(found(&shoes), 5);
    assert_eq!(put(&shoes, 5).unwrap_err().kind(), ErrorKind::DiskFull);
    disk.set_quota(None);
    put(&shoes, 5).unwrap();
    assert_eq!(found(&shoes), 6);
}

/// On the real file system, with half of each write done.
#[test]
fn half_written_frames_are_taken_back() {
    let bed = Bed::new();
    let shoes = bed.shoes();
    add(&shoes, "a", [1; 3]);
    for call in [DiskCall::Write, DiskCall::Create] {
        bed.disk.fail(call, "", std::io::ErrorKind::StorageFull);
    }
    for number in 0..10 {
        assert_eq!(put(&shoes, number).unwrap_err().kind(), ErrorKind::DiskFull);
        assert!(shoes.optimize().is_err());
    }
    assert_eq!(found(&shoes), 1);
    bed.disk.heal();
    (0..10).for_each(|number| put(&shoes, number).unwrap());
    shoes.optimize().unwrap();
    drop(shoes);
    let shoes = bed.gallery.instance("shoes").unwrap();
    assert_eq!((found(&shoes), shoes.torn_bytes().unwrap()), (11, 0));
    shoes.verify().unwrap();
}

#[test]
fn what_may_not_be_written_is_told() {
    let bed = Bed::new();
    add(&bed.shoes(), "a", [1; 3]);
    bed.disk.fail(DiskCall::Lock, "WRITER", std::io::ErrorKind::ReadOnlyFilesystem);
    let error = bed.gallery.instance("shoes").unwrap_err();
    assert_eq!(error.code(), Code::ServiceNotRunning, "{error}");
    assert!(error.to_string().contains("WRITER"), "{error}");
    bed.disk.fail(DiskCall::Create, "", std::io::ErrorKind::ReadOnlyFilesystem);
    bed.disk.fail(DiskCall::CreateDirs, "", std::io::ErrorKind::ReadOnlyFilesystem);
    let create = bed.gallery.create(&CreateInstance::new("hats", "average")).unwrap_err();
    assert_eq!((create.code(), create.kind()), (Code::DirectoryNotCreated, ErrorKind::Io), "{create}");
    // To read it no more than the readers' lock is needed.
    let reader =
        Gallery::builder(bed.root()).fault_disk(bed.disk.clone()).model(Average).read_only().open().unwrap();
    let shoes = reader.instance("shoes").unwrap();
    assert_eq!(found(&shoes), 1);
    for error in [
        put(&shoes, 1).unwrap_err(),
        shoes.delete("a").unwrap_err(),
        shoes.optimize().unwrap_err(),
        shoes.snapshot(bed.dir.path().join("copy")).unwrap_err(),
        shoes.add_tag_keys(&["size"]).unwrap_err(),
        reader.create(&CreateInstance::new("hats", "average")).unwrap_err(),
        reader.delete("shoes").unwrap_err(),
    ] {
        assert_eq!((error.code(), error.kind()), (Code::ServiceNotRunning, ErrorKind::ReadOnly), "{error}");
        assert!(!error.is_retryable(), "trying again does not help");
    }
}
