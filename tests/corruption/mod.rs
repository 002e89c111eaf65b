//! Damaged files: the answer of the whole store, or an error that names the place; never another answer.
//!
//! The long form, every byte and every length, is the example `corrupt`.

mod repair;
pub mod store;
pub mod sweep;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lookalike::Gallery;
use lookalike::testing::{DiskCall, FaultDisk};

use crate::random;
use store::{Left, Made, Random, make};
use sweep::{Damage, Tally};

const FLIPS: usize = 21_000;

fn stores() -> [Made; 3] {
    [make(Left::Closed, 1), make(Left::Killed, 2), make(Left::Waiting, 3)]
}

fn run(made: &Made, damages: impl IntoIterator<Item = Damage>) -> Tally {
    run_as(made, damages, Made::trial)
}

fn run_as(
    made: &Made,
    damages: impl IntoIterator<Item = Damage>,
    trial: impl Fn(&Made, &Damage) -> Result<Tally, String>,
) -> Tally {
    let mut tally = Tally::default();
    let mut wrong = Vec::new();
    for damage in damages {
        match trial(made, &damage) {
            Ok(one) => tally.add(one),
            Err(error) => wrong.push(error),
        }
    }
    println!("{:?}: {tally}", made.left);
    assert!(wrong.is_empty(), "{} wrong, such as\n{}", wrong.len(), wrong[..wrong.len().min(20)].join("\n"));
    tally
}

/// Random bits of random files; files count alike, however long they are.
fn flips(made: &Made, seed: u64, count: usize) -> Vec<Damage> {
    let files: Vec<(&String, &Vec<u8>)> = made.files.iter().filter(|(_, bytes)| !bytes.is_empty()).collect();
    let mut dice = Random(seed);
    let flip = |_| {
        let (file, bytes) = files[dice.index(files.len())];
        let at = dice.index(bytes.len());
        let value = match dice.index(10) {
            0 if bytes[at] != 0 => 0,
            1 if bytes[at] != 255 => 255,
            _ => bytes[at] ^ (1 << dice.index(8)),
        };
        Damage::Byte { file: file.clone(), at, value }
    };
    (0..count).map(flip).collect()
}

#[test]
fn a_whole_store_has_every_kind_of_file() {
    for made in stores() {
        let of = |prefix: &str| made.files.keys().filter(|name| name.starts_with(prefix)).count();
        println!("{:?}: {:?}", made.left, made.files.iter().map(|(n, b)| (n, b.len())).collect::<Vec<_>>());
        let all = ["manifest-", "log-", "seg-", "cent-", "dead-"].map(of);
        assert!(all.iter().all(|&count| count > 0), "{all:?}");
        assert_eq!(all[0], 1, "one manifest");
        assert_eq!(of("log-") > 1, made.left == Left::Waiting);
        assert!(made.answers.len() > 700, "{}", made.answers.len());
        let whole = Damage::Cut { file: "WRITER".to_owned(), len: 0 };
        assert_eq!(made.trial(&whole).unwrap().right, 1);
    }
}

#[test]
fn flipped_bytes_give_the_answer_or_an_error() {
    let (seed, mut all) = (20_261, Tally::default());
    println!("seed {seed}");
    for (at, made) in stores().iter().enumerate() {
        all.add(run(made, flips(made, seed + at as u64, FLIPS / 3)));
    }
    println!("{all}");
    assert_eq!(all.trials, FLIPS as u64);
    assert!(all.refused > 1000 && all.failed > 1000 && all.found > 100, "{all}");
    assert_eq!(all.right, 0, "every byte is under a checksum");
}

#[test]
fn cut_files_give_the_answer_or_an_error() {
    for made in stores() {
        let tally = run(&made, made.cuts(199));
        assert!(tally.trials > 150, "{tally}");
        assert_eq!(tally.right, 0);
    }
}

#[test]
fn missing_and_mixed_up_files_give_the_answer_or_an_error() {
    let made = stores();
    for (at, one) in made.iter().enumerate() {
        let others: Vec<&Made> =
            made.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, m)| m).collect();
        let tally = run(one, one.mixups(&others));
        assert!(tally.trials > 100 && tally.refused > 50, "{tally}");
    }
}

#[test]
fn an_opening_for_writing_that_fails_changes_nothing() {
    let made = stores();
    for (at, one) in made.iter().enumerate() {
        let others: Vec<&Made> =
            made.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, m)| m).collect();
        let damages = flips(one, 5, 300).into_iter().chain(one.cuts(997)).chain(one.mixups(&others));
        let tally = run_as(one, damages, Made::trial_writing);
        assert!(tally.trials > 400 && tally.refused > 200, "{tally}");
    }
}

/// Found by killing: of thousands of files a listing may show neither the manifest that goes nor the one that comes, and the
/// next listing neither, too.
#[test]
fn listings_that_show_no_manifest_are_not_believed_at_once() {
    let made = make(Left::Killed, 7);
    let dir = made.root.join(store::NAME);
    let names = || store::read_files(&dir).into_keys().find(|name| name.contains("manifest-")).unwrap();
    let (shown, hidden) = (dir.join(names()), dir.join("unseen"));
    for (blind, found) in [(3, true), (1000, false)] {
        let (disk, listings) = (FaultDisk::new(), Arc::new(AtomicUsize::new(0)));
        let (from, to, count) = (shown.clone(), hidden.clone(), listings.clone());
        disk.before(DiskCall::List, store::NAME, move || {
            let seen = count.fetch_add(1, Ordering::Relaxed);
            let moved = if seen == 0 { std::fs::rename(&from, &to) } else { Ok(()) };
            moved.and_then(|()| if seen == blind { std::fs::rename(&to, &from) } else { Ok(()) }).unwrap();
        });
        let gallery = Gallery::builder(&made.root).fault_disk(disk).model(store::Small).read_only().open();
        let opened = gallery.unwrap().instance(store::NAME);
        assert_eq!(opened.is_ok(), found, "{opened:?}");
        assert!(listings.load(Ordering::Relaxed) < 200);
    }
}

/// Found by killing: a stale manifest that stays for the sake of readers may be taken for the newest by another, for a
/// directory is not listed in one moment.
#[test]
fn superseded_manifests_go_even_while_others_read() {
    let made = make(Left::Killed, 6);
    let of = |prefix: &str| {
        let files = store::read_files(&made.root.join(store::NAME));
        files.into_keys().filter(|name| name.starts_with(prefix)).collect::<Vec<_>>()
    };
    let newest = of("manifest-").remove(0);
    std::fs::copy(
        made.root.join(store::NAME).join(&newest),
        made.root.join(store::NAME).join("manifest-00000001"),
    )
    .unwrap();
    let readers = store::open(&made.root, true).unwrap();
    let reader = readers.instance(store::NAME).unwrap();
    let gallery = store::open(&made.root, false).unwrap();
    let instance = gallery.instance(store::NAME).unwrap();
    assert_eq!(of("manifest-"), [newest], "an opening for writing leaves the newest");
    instance.add_tag_keys(&["late"]).unwrap();
    assert_eq!(of("manifest-").len(), 1, "and so does every change of it");
    assert_eq!(store::answers(&readers, &reader).unwrap()[2..], made.answers[2..], "the reader reads on");
    drop(instance);
    assert_eq!(of("manifest-").len(), 1);
}
