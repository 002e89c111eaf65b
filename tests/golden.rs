//! Files of this format, kept: what this version wrote must be read by every later one, and be written so again.
//!
//! `tests/golden/before` is an instance that was killed with changes in its log; `tests/golden/after` is what became of it
//! by the changes of `changes` and a close; the two `*.txt` files are their answers. When the number of a
//! format that was released rises, keep these under a name with the old number, let a test open them, and make new ones:
//!
//! ```text
//! LOOKALIKE_MAKE_GOLDEN=1 cargo test --release --features testing --test main golden
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lookalike::{Add, Code, CreateInstance, Effort, Gallery, Instance, Query, Source, Tags, Update};

use crate::bed::{Average, Random};

/// Where the number of the format is in a framed file, in a log, and from the end of a segment.
const FORMAT_AT: usize = 8;
const FOOTER: usize = 72;

fn kept() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn gallery(root: &Path, train_rows: u64) -> Gallery {
    let builder = Gallery::builder(root).model(Average).background(false).tail_rows(30);
    builder.train_rows(train_rows).open().unwrap()
}

/// Files of an instance, but those of its locks.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let named = entries.map(|entry| (entry.file_name().into_string().unwrap(), entry.path()));
    named
        .filter(|(name, _)| name.contains('-'))
        .map(|(name, path)| (name, std::fs::read(path).unwrap()))
        .collect()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    files(from).iter().for_each(|(name, bytes)| std::fs::write(to.join(name), bytes).unwrap());
}

fn tags(number: u64) -> Tags {
    let tags = Tags::from([("color", ["red", "green", "blue"][number as usize % 3])]);
    if number.is_multiple_of(4) { tags.with_values("kind", ["boot", "\u{9774}"]) } else { tags }
}

fn add(instance: &Instance, random: &mut Random, number: u64) {
    let add = Add::new(format!("img/{number}"), Source::vector(random.vector(4))).tags(tags(number));
    instance.add(&add).unwrap();
}

/// Changes, a seal, and a merge of everything.
fn changes(instance: &Instance) {
    let mut random = Random(5);
    for number in 100..120 {
        add(instance, &mut random, number);
    }
    instance.delete("img/12").unwrap();
    instance.update(&Update::new("img/13", tags(8))).unwrap();
    instance.add_tag_keys(&["size"]).unwrap();
    instance.optimize().unwrap();
    instance.delete("img/110").unwrap();
    add(instance, &mut random, 121);
}

/// Every answer, to be read and compared.
fn answers(instance: &Instance) -> String {
    let mut all = format!("{} images, keys {:?}\n", instance.len().unwrap(), instance.tag_keys().unwrap());
    for number in 0..125 {
        let path = format!("img/{number}");
        if instance.check(&path).unwrap() {
            let bits: Vec<String> = instance
                .vector(&path)
                .unwrap()
                .iter()
                .map(|value| format!("{:08x}", value.to_bits()))
                .collect();
            all += &format!("{path} {}\n", bits.join(" "));
        }
    }
    let mut random = Random(6);
    let mut search = |query: Query<'_>| {
        let page = instance.search(&query).unwrap();
        all += &format!("{} of {}:", page.hits.len(), page.count);
        for hit in page.hits {
            let sim = hit.sim.map_or("-".to_owned(), |sim| format!("{:08x}", sim.to_bits()));
            all += &format!(" {} {sim} {:?}", hit.path, hit.tags);
        }
        all.push('\n');
    };
    for number in 0..6 {
        search(Query::tags(tags(number)).limit(100));
        search(Query::vector(random.vector(4)).limit(8));
        search(Query::vector(random.vector(4)).filter(tags(number)).limit(5).offset(2));
        search(Query::vector(random.vector(4)).effort(Effort::Exact).limit(100));
        search(Query::path(format!("img/{}", 20 + number)).limit(4));
    }
    all
}

/// Makes the files anew, if that is asked for.
fn make() {
    if std::env::var_os("LOOKALIKE_MAKE_GOLDEN").is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let gallery = gallery(dir.path(), 50);
    let create = CreateInstance::new("kept", "average").description("of format 2").tags(["color", "kind"]);
    gallery.create(&create).unwrap();
    let instance = gallery.instance("kept").unwrap();
    let mut random = Random(4);
    for number in 0..70 {
        add(&instance, &mut random, number);
    }
    instance.delete("img/3").unwrap();
    instance.delete("img/65").unwrap();
    for number in 70..100 {
        add(&instance, &mut random, number);
    }
    let _ = std::fs::remove_dir_all(kept());
    copy(&dir.path().join("kept"), &kept().join("before"));
    std::fs::write(kept().join("before.txt"), answers(&instance)).unwrap();
    changed(&kept().join("after"));
}

/// Copies what was kept from before, changes it, and copies the files that gives to `to`.
fn changed(to: &Path) {
    let dir = tempfile::tempdir().unwrap();
    copy(&kept().join("before"), &dir.path().join("kept"));
    // No training: what centres there are do.
    let instance = gallery(dir.path(), 1 << 40).instance("kept").unwrap();
    changes(&instance);
    let text = answers(&instance);
    drop(instance);
    copy(&dir.path().join("kept"), to);
    std::fs::write(to.with_extension("txt"), text).unwrap();
}

#[test]
fn golden_files_are_read_and_written_again() {
    make();
    let names: Vec<String> = files(&kept().join("before")).into_keys().collect();
    for kind in ["manifest-", "log-", "seg-", "cent-", "dead-"] {
        assert!(names.iter().any(|name| name.starts_with(kind)), "no {kind} among {names:?}");
    }
    for state in ["before", "after"] {
        let dir = tempfile::tempdir().unwrap();
        copy(&kept().join(state), &dir.path().join("kept"));
        let instance = gallery(dir.path(), 1 << 40).instance("kept").unwrap();
        instance.verify().unwrap();
        assert_eq!(instance.torn_bytes().unwrap(), 0);
        let wanted = std::fs::read_to_string(kept().join(state).with_extension("txt")).unwrap();
        assert!(wanted.lines().count() > 90);
        for (got, wanted) in answers(&instance).lines().zip(wanted.lines()) {
            assert_eq!(got, wanted, "{state}");
        }
    }
    // The same changes give the same bytes in every file.
    let dir = tempfile::tempdir().unwrap();
    changed(&dir.path().join("after"));
    let (got, wanted) = (files(&dir.path().join("after")), files(&kept().join("after")));
    assert_eq!(got.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>());
    for (name, bytes) in &wanted {
        let at = got[name].iter().zip(bytes).position(|(a, b)| a != b);
        assert!(got[name] == *bytes, "{name} differs at byte {at:?}");
    }
}

#[test]
fn files_of_a_newer_format_are_refused() {
    let mut refused = 0;
    for (name, mut bytes) in files(&kept().join("after")) {
        let dir = tempfile::tempdir().unwrap();
        copy(&kept().join("after"), &dir.path().join("kept"));
        let at = if name.starts_with("seg-") { bytes.len() - FOOTER + FORMAT_AT } else { FORMAT_AT };
        // A newer version would have made its checksum in its own way.
        bytes[at] = 3;
        bytes[at + 4] ^= 0x77;
        std::fs::write(dir.path().join("kept").join(&name), bytes).unwrap();
        let error = gallery(dir.path(), 1 << 40).instance("kept").unwrap_err();
        assert_eq!(error.code(), Code::ConfigurationUnreadable, "{name}: {error}");
        assert!(error.to_string().contains(&name) && error.to_string().contains("format 3"), "{error}");
        refused += 1;
    }
    assert!(refused >= 4, "{refused}");
}
