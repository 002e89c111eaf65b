//! What a repair keeps, and that it says what it does not.

use std::collections::BTreeMap;

use lookalike::{Code, Gallery, Instance, Query, Repaired, Tags};

use super::store::{self, Left, Made, NAME, Random, make};
use super::sweep::{Damage, told};
use super::{flips, stores};

/// Every image: its vector's bits, and its tags.
type Images = BTreeMap<String, (Vec<u32>, Tags)>;

fn images(instance: &Instance) -> Images {
    let mut all = Images::new();
    for number in 0..store::PATHS {
        let path = store::path(number);
        if instance.check(&path).unwrap() {
            let vector = instance.vector(&path).unwrap().iter().map(|value| value.to_bits()).collect();
            let hit = instance.search(&Query::path(&*path).limit(1)).unwrap().hits.remove(0);
            assert_eq!(hit.path, path);
            all.insert(path, (vector, hit.tags));
        }
    }
    assert_eq!(instance.len().unwrap(), all.len() as u64);
    all
}

fn whole(made: &Made) -> Images {
    let gallery = store::open(&made.root, true).unwrap();
    images(&gallery.instance(NAME).unwrap())
}

/// Damages, repairs, and checks that everything that was not told to be lost is there; gives the report and how many
/// images are not what they were.
fn repaired(made: &Made, damages: &[Damage], want: &Images) -> (Repaired, usize) {
    let what: Vec<String> = damages.iter().map(told).collect();
    damages.iter().for_each(|damage| made.apply(damage));
    let gallery = store::open(&made.root, false).unwrap();
    let report = gallery.repair(NAME).unwrap_or_else(|e| panic!("{:?} {what:?}: {e}", made.left));
    let instance =
        gallery.instance(NAME).unwrap_or_else(|e| panic!("{:?} {what:?}: {e}\n{report:?}", made.left));
    instance.verify().unwrap();
    let got = images(&instance);
    assert_eq!(got.len() as u64, report.images, "{what:?}");
    let changed: Vec<&String> = want
        .keys()
        .chain(got.keys().filter(|path| !want.contains_key(*path)))
        .filter(|path| want.get(*path) != got.get(*path))
        .collect();
    // Changes of a log that cannot be read may concern any image; otherwise each is named, or counted.
    let named = |path: &&String| {
        report.lost_paths.contains(path)
            || report.lost_log_paths.contains(path)
            || report.uncertain_paths.contains(path)
    };
    // A log that ends early says nothing of what followed.
    let log = report.damaged.iter().any(|damaged| damaged.file.starts_with("log-"));
    let torn = log || damages.iter().any(|damage| made.torn(damage).is_some());
    let unnamed = changed.iter().filter(|path| !named(path)).count() as u64;
    let nameless = report.lost_images - report.lost_paths.len() as u64;
    assert!(
        report.lost_log_bytes > 0 || torn || unnamed <= nameless,
        "{:?} {what:?}: {changed:?} changed\n{report:?}",
        made.left
    );
    // It takes changes, and opens again.
    instance.delete(lookalike::Delete::new(store::path(1)).if_exists()).unwrap();
    drop(instance);
    let again = gallery.repair(NAME).unwrap();
    assert!(again.is_whole(), "{what:?}: {again:?}");
    // Damaged files are kept.
    let left = store::read_files(&made.root.join(NAME));
    for file in &report.damaged {
        assert!(file.kept_as.as_ref().is_none_or(|kept| left.contains_key(kept)), "{file:?}");
    }
    left.keys().for_each(|name| std::fs::remove_file(made.root.join(NAME).join(name)).unwrap());
    made.files
        .iter()
        .for_each(|(name, bytes)| std::fs::write(made.root.join(NAME).join(name), bytes).unwrap());
    (report, changed.len())
}

#[test]
fn a_whole_instance_is_left_alone() {
    for made in stores() {
        let gallery = store::open(&made.root, false).unwrap();
        let report = gallery.repair(NAME).unwrap();
        assert!(report.is_whole() && report.images > 250, "{report:?}");
        assert_eq!(store::read_files(&made.root.join(NAME)), made.files, "nothing was changed");
    }
}

#[test]
fn what_is_sound_is_kept_and_the_rest_is_told() {
    let (mut tried, mut lossless, mut lost, mut all) = (0, 0, 0, 0);
    for (at, made) in stores().iter().enumerate() {
        let want = whole(made);
        for damage in flips(made, 40 + at as u64, 250) {
            let (report, changed) = repaired(made, std::slice::from_ref(&damage), &want);
            let crash = made.torn(&damage).is_some();
            assert!(crash || report.damaged.len() == 1, "{}: {report:?}", told(&damage));
            tried += 1;
            lossless += usize::from(changed == 0);
            lost += changed;
            all += want.len();
        }
    }
    println!(
        "{tried} flips, {lossless} without loss, {:.2} % of images lost",
        100.0 * lost as f64 / all as f64
    );
    assert_eq!(tried, 750);
    assert!(lossless > tried / 3, "{lossless}");
}

/// Of a segment's table and footer every field can be told from its neighbours, whichever one of its bits is another.
#[test]
fn a_damaged_table_costs_no_image() {
    const FOOTER: usize = 72;
    const ENTRY: usize = 32;
    const SECTIONS: usize = 18;
    let made = make(Left::Closed, 9);
    let want = whole(&made);
    let (file, bytes) = made.files.iter().find(|(name, _)| name.starts_with("seg-")).unwrap();
    let (footer, mut lossy) = (bytes.len() - FOOTER, Vec::new());
    // The kind, the checksum of the checksums, where the section begins, its length, and where its checksums begin.
    let fields =
        [0, 4, 8, 16, 24].map(|field| (0..SECTIONS).map(move |s| footer - (SECTIONS - s) * ENTRY + field));
    let places = fields.into_iter().flatten().chain((footer..bytes.len()).step_by(4));
    let mut dice = Random(77);
    for field in places {
        // Any bit of the field: all numbers of the table have at least four bytes.
        let (at, bit) = (field + dice.index(4), dice.index(8));
        let damage = Damage::Byte { file: file.clone(), at, value: bytes[at] ^ 1 << bit };
        let (report, changed) = repaired(&made, &[damage], &want);
        assert_eq!(report.damaged.len(), 1, "{at}: {report:?}");
        if changed > 0 {
            lossy.push((footer.abs_diff(at), bit, changed));
        }
    }
    assert!(lossy.is_empty(), "{lossy:?}");
}

/// What a damaged frame of a log held is told as far as its bytes still say it.
#[test]
fn a_damaged_frame_is_told() {
    let bed = crate::bed::Bed::new();
    let shoes = bed.shoes();
    let mut lens = vec![std::fs::metadata(bed.file("log-")).unwrap().len()];
    for path in ["a", "bb", "ccc"] {
        shoes.add(&lookalike::Add::new(path, lookalike::Source::vector(vec![1.0, 2.0, 3.0, 4.0]))).unwrap();
        lens.push(std::fs::metadata(bed.file("log-")).unwrap().len());
    }
    drop(shoes);
    // The last byte of the second frame lies behind its path.
    crate::bed::flip(&bed.file("log-"), lens[2] as usize - 1);
    let report = bed.gallery.repair("shoes").unwrap();
    assert_eq!((report.lost_log_paths, report.lost_commits), (vec!["bb".to_owned()], 1));
    assert_eq!(report.lost_log_bytes, lens[2] - lens[1]);
    let shoes = bed.gallery.instance("shoes").unwrap();
    assert!(shoes.check("a").unwrap() && !shoes.check("bb").unwrap() && shoes.check("ccc").unwrap());
}

#[test]
fn nothing_is_made_of_nothing() {
    let bed = crate::bed::Bed::new();
    let shoes = bed.shoes();
    shoes.add(&lookalike::Add::new("a", lookalike::Source::vector(vec![1.0, 2.0, 3.0, 4.0]))).unwrap();
    drop(shoes);
    let log = bed.file("log-");
    crate::bed::flip(&log, std::fs::metadata(&log).unwrap().len() as usize - 1);
    assert_eq!(bed.gallery.repair("shoes").unwrap().images, 0);
    let stats = bed.gallery.instance("shoes").unwrap().stats().unwrap();
    assert_eq!((stats.images, stats.segments), (0, 0));
}

/// Damage that is found is told at its place: within the block, the table or the footer that it is in.
#[test]
fn damage_is_told_where_it_is() {
    let made = make(Left::Closed, 9);
    let (file, bytes) = made.files.iter().find(|(name, _)| name.starts_with("seg-")).unwrap();
    let path = made.root.join(NAME).join(file);
    let mut told = 0;
    for at in (0..bytes.len() - 100).step_by(5) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x04;
        std::fs::write(&path, &damaged).unwrap();
        let gallery = store::open(&made.root, true).unwrap();
        let error = gallery.instance(NAME).and_then(|instance| instance.verify()).unwrap_err();
        let message = format!("{error:#}");
        let place = message.split("byte ").nth(1).and_then(|rest| {
            rest.split(|c: char| !c.is_ascii_digit()).next().and_then(|number| number.parse::<usize>().ok())
        });
        let place = place.unwrap_or_else(|| panic!("no place in {message}"));
        assert!(place <= at && at - place < 4096, "{at} told at {place}: {message}");
        told += 1;
    }
    std::fs::write(&path, bytes).unwrap();
    assert!(told > 2000, "{told}");
}

#[test]
fn cuts_and_missing_files_and_many_flips_are_survived() {
    let mut tried = 0;
    for (at, made) in stores().iter().enumerate() {
        let want = whole(made);
        let sparing = |damage: &Damage| !matches!(damage, Damage::Cut { file, .. } | Damage::Gone { file } if file.starts_with("manifest"));
        for damage in
            made.cuts(1499).chain(made.mixups(&[]).into_iter().filter(|d| matches!(d, Damage::Gone { .. })))
        {
            if sparing(&damage) {
                repaired(made, &[damage], &want);
                tried += 1;
            }
        }
        let mut dice = Random(at as u64);
        for seed in 0..60 {
            let mut many = flips(made, 900 + seed, 2 + dice.index(12));
            // One byte of the manifest can be mended, and no more.
            let mut seen = false;
            many.retain(|damage| {
                let manifest = matches!(damage, Damage::Byte { file, .. } if file.starts_with("manifest"));
                !manifest || !std::mem::replace(&mut seen, true)
            });
            repaired(made, &many, &want);
            tried += 1;
        }
    }
    assert!(tried > 270, "{tried}");
}

/// A segment whose list of dead rows is lost brings back no image that lives elsewhere, and names what may be dead.
#[test]
fn lost_deletions_are_told() {
    let made = make(Left::Closed, 9);
    let want = whole(&made);
    let file = made.files.keys().find(|name| name.starts_with("dead-")).unwrap().clone();
    let (report, changed) = repaired(&made, &[Damage::Gone { file }], &want);
    assert!(changed > 0 && !report.uncertain_paths.is_empty() && report.lost_images == 0, "{report:?}");
    assert_eq!(report.damaged[0].kept_as, None);
}

#[test]
fn an_open_instance_is_not_repaired() {
    let made = make(Left::Closed, 4);
    let gallery = store::open(&made.root, false).unwrap();
    let code = |gallery: &Gallery| gallery.repair(NAME).unwrap_err().code();
    let instance = gallery.instance(NAME).unwrap();
    assert_eq!(code(&gallery), Code::ServiceNotRunning, "open here");
    let other = store::open(&made.root, false).unwrap();
    assert_eq!(code(&other), Code::ServiceNotRunning, "open elsewhere");
    drop(instance);
    let readers = store::open(&made.root, true).unwrap();
    assert_eq!(code(&readers), Code::ServiceNotRunning, "a gallery that only reads");
    let reader = readers.instance(NAME).unwrap();
    assert_eq!(code(&gallery), Code::ServiceNotRunning, "read elsewhere");
    drop(reader);
    assert_eq!(gallery.repair("nothing").unwrap_err().code(), Code::InstanceUnknown);
    let manifest = made.files.keys().find(|name| name.starts_with("manifest-")).unwrap();
    std::fs::remove_file(made.root.join(NAME).join(manifest)).unwrap();
    assert_eq!(code(&gallery), Code::ConfigurationUnreadable, "nothing says what the files mean");
}
