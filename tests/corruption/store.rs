//! Small stores to be damaged, and what they answer while they are whole.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use lookalike::testing::{DiskCall, FaultDisk};
use lookalike::{
    Add, CreateInstance, Delete, Effort, EmbedError, Embedder, Embedding, Error, ErrorKind, Gallery,
    Instance, Page, Pixels, Query, Region, Source, Tags, Update, View,
};
use tempfile::TempDir;

pub use super::random::Random;

pub const NAME: &str = "shoes";
const DIMS: usize = 18;
/// Paths that were ever used, and some that never were.
pub const PATHS: u64 = 340;
/// Questions whose answers do not depend on which lists a search looks at come first: so many.
const BY_KEY: usize = 3 + 2 * PATHS as usize;
/// Bytes before the first frame of a log.
const LOG_HEADER: u64 = 48;

/// A model of two blocks, with hashes, quick and without a file.
pub struct Small;

impl Embedder for Small {
    fn name(&self) -> &str {
        "small"
    }
    fn version(&self) -> u32 {
        1
    }
    fn blocks(&self) -> &[usize] {
        &[12, 6]
    }
    fn embed(&self, view: View<'_>) -> Result<Embedding, EmbedError> {
        let mut vector = vec![1.0f32; DIMS];
        for (at, pixel) in view.rows().flat_map(|row| row.chunks_exact(3)).enumerate() {
            vector[at % DIMS] += f32::from(pixel[at % 3]) / 255.0;
        }
        let mut hash = [0; 32];
        hash.iter_mut().zip(&vector).for_each(|(byte, value)| *byte = *value as u8);
        Ok(Embedding { vector, hash: Some(hash) })
    }
}

/// How a store was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// Closed properly.
    Closed,
    /// Killed, with changes in the log.
    Killed,
    /// Killed while a full log waited to be sealed.
    Waiting,
}

/// A fingerprint of each answer, in the order of the questions.
pub type Answers = Vec<u64>;

/// A store on the disk that nobody has open, and what it should answer.
pub struct Made {
    _dir: TempDir,
    pub root: PathBuf,
    pub left: Left,
    pub answers: Answers,
    /// What it answered before each of the last frames of its last log, with the log's length then: what is left when
    /// a crash tears the log there. The first entry is the log without frames.
    pub before: Vec<(u64, Answers)>,
    /// Contents that files had earlier, newest last; names of files that are there and that are not any more.
    pub older: BTreeMap<String, Vec<Vec<u8>>>,
    /// Files as they are now.
    pub files: BTreeMap<String, Vec<u8>>,
}

/// A directory in memory where there is one: files are changed a million times.
pub fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.or_else(|_| tempfile::tempdir()).expect("a directory for the store")
}

pub fn open(root: &Path, read_only: bool) -> lookalike::Result<Gallery> {
    let builder = Gallery::builder(root).model(Small).background(false).tail_rows(70).train_rows(40);
    if read_only { builder.read_only() } else { builder }.open()
}

pub fn read_files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(dir).expect("the instance's directory") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("a name in UTF-8");
        files.insert(name, std::fs::read(entry.path()).expect("a file"));
    }
    files
}

fn tags(dice: &mut Random) -> Tags {
    let colour = ["red", "green", "blue"][dice.index(3)];
    let tags = Tags::from([("color", colour)]);
    match dice.index(3) {
        0 => tags,
        1 => tags.with("kind", format!("kind {}", dice.index(12))),
        _ => tags.with_values("kind", ["boot", "low", "\u{9774}"]),
    }
}

fn picture(dice: &mut Random) -> Pixels {
    let rgb = (0..100 * 100 * 3).map(|_| dice.next() as u8).collect();
    Pixels::from_rgb8(100, 100, rgb).expect("as many bytes as it takes")
}

pub fn path(number: u64) -> String {
    format!("img/{number:03}/{}.jpg", "x".repeat(number as usize % 9))
}

/// Makes a store of some 300 images: segments with lists around two generations of centres, dead rows, a log.
pub fn make(left: Left, seed: u64) -> Made {
    let dir = scratch();
    let disk = FaultDisk::new();
    let live = dir.path().join("live");
    let gallery = Gallery::builder(&live).model(Small).background(false).tail_rows(70).train_rows(40);
    let gallery = gallery.fault_disk(disk.clone()).open().expect("a gallery");
    let create = CreateInstance::new(NAME, "small").description("to be damaged").tags(["color", "kind"]);
    gallery.create(&create).expect("created");
    let instance = gallery.instance(NAME).expect("opened");
    let mut dice = Random(seed);
    let mut older: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
    let mut keep = || {
        for (name, bytes) in read_files(&live.join(NAME)) {
            let kept = older.entry(name).or_default();
            if kept.last() != Some(&bytes) {
                kept.push(bytes);
            }
        }
    };
    let add = |dice: &mut Random, number: u64| {
        let source =
            if number % 8 == 3 { Source::pixels(picture(dice)) } else { Source::vector(dice.vector(DIMS)) };
        let add = Add::new(path(number), source).tags(tags(dice));
        instance.add(&add).expect("added");
    };
    // Of paths that may be gone already.
    let delete = |path: String| instance.delete(Delete::new(path).if_exists()).expect("deleted");
    let update = |path: String, tags: Tags| match instance.update(&Update::new(path, tags)) {
        Err(error) if error.kind() != ErrorKind::NotFound => panic!("{error}"),
        updated => updated.is_ok(),
    };
    for number in 0..250 {
        add(&mut dice, number);
        if number % 20 == 19 {
            delete(path(number / 2));
            add(&mut dice, number / 3);
            keep();
        }
    }
    instance.optimize().expect("optimized");
    keep();
    instance.add_tag_keys(&["size"]).expect("a tag key");
    // What each prefix of the last log stands for.
    let mut before: Vec<(u64, Answers)> = Vec::new();
    let mut log = String::new();
    let mut note = || {
        let files = read_files(&live.join(NAME));
        let (name, bytes) = files.into_iter().rfind(|(name, _)| name.starts_with("log-")).expect("a log");
        if name != log {
            // Rows went into lists when the log was begun: searches may find others than they did before.
            let mut first = before.pop().map(|(_, answers)| answers).unwrap_or_default();
            first.truncate(BY_KEY);
            (before, log) = (vec![(LOG_HEADER, first)], name);
        }
        before.push((bytes.len() as u64, answers(&gallery, &instance).expect("answers")));
    };
    // Enough for one more segment, and for dead rows of the first.
    for number in 250..330 {
        add(&mut dice, number);
        note();
        if number % 10 == 9 {
            delete(path(number / 2 + 40));
            note();
            update(path(number / 4), tags(&mut dice));
            note();
            keep();
        }
    }
    if left == Left::Waiting {
        disk.fail(DiskCall::Create, "tmp-seg-", std::io::ErrorKind::StorageFull);
        let mut number = 0;
        while instance.add(&Add::new(path(number), Source::vector(dice.vector(DIMS)))).is_ok() {
            number += 1;
        }
        note();
    }
    for number in 0..8u64 {
        match number % 4 {
            _ if left == Left::Waiting => delete(path(255 + number)),
            0 => delete(path(290 + number)),
            1 => update(path(300 + number), tags(&mut dice)),
            _ => {
                add(&mut dice, 320 + number);
                true
            }
        };
        note();
        keep();
    }
    let root = dir.path().join("damaged");
    std::fs::create_dir_all(root.join(NAME)).expect("a directory");
    if left == Left::Closed {
        drop(instance);
    }
    let files = read_files(&live.join(NAME));
    files
        .iter()
        .for_each(|(name, bytes)| std::fs::write(root.join(NAME).join(name), bytes).expect("written"));
    let answers = before.last().expect("some").1.clone();
    Made { _dir: dir, root, left, answers, before, older, files }
}

fn fingerprint(what: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

fn of_page(page: Page) -> u64 {
    let mut hasher = DefaultHasher::new();
    (page.count, page.found.exact).hash(&mut hasher);
    for hit in &page.hits {
        (&hit.path, hit.sim.map(f32::to_bits)).hash(&mut hasher);
        hit.tags.iter().for_each(|tag| tag.hash(&mut hasher));
    }
    hasher.finish()
}

/// That an image is not there is an answer too.
fn there(answer: Result<u64, Error>) -> Result<u64, Error> {
    answer.or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(0) } else { Err(error) })
}

/// Every answer of an instance, or the first error.
pub fn answers(gallery: &Gallery, instance: &Instance) -> Result<Answers, Error> {
    ask(gallery, instance).into_iter().collect()
}

/// Asks everything: the description, each path, each vector, and some fifty searches.
pub fn ask(gallery: &Gallery, instance: &Instance) -> Vec<Result<u64, Error>> {
    let mut all = vec![
        gallery.describe(NAME).map(|info| fingerprint((info.desc, info.tags, info.level, info.domain))),
        instance.tag_keys().map(fingerprint),
        instance.len(),
    ];
    for number in 0..PATHS {
        all.push(instance.check(&path(number)).map(u64::from));
        let vector = instance.vector(&path(number));
        all.push(there(vector.map(|v| fingerprint(v.iter().map(|v| v.to_bits()).collect::<Vec<_>>()))));
    }
    let mut dice = Random(77);
    let colour = |at: usize| Tags::from([("color", ["red", "green", "blue"][at % 3])]);
    let mut search = |query: Query<'_>| all.push(there(instance.search(&query).map(of_page)));
    for at in 0..3 {
        for offset in [0, 60, 120] {
            search(Query::tags(colour(at)).limit(60).offset(offset));
        }
    }
    for kind in ["boot", "kind 3", "\u{9774}", "no such kind"] {
        search(Query::tags(Tags::from([("kind", kind)])).limit(100));
    }
    for at in 0..9 {
        search(Query::vector(dice.vector(DIMS)));
        search(Query::vector(dice.vector(DIMS)).filter(colour(at)).limit(40));
        search(Query::vector(dice.vector(DIMS)).effort(Effort::Exact).limit(100));
        search(Query::path(path(at as u64 * 37)).limit(7).offset(at as u64 * 3));
    }
    search(Query::vector(dice.vector(DIMS)).min_sim(0.05).limit(100));
    search(Query::path(path(200)).exclude_self());
    search(Query::pixels(picture(&mut dice)).limit(12));
    search(Query::pixels(picture(&mut dice)).region(Region::new(10, 10, 60, 40)));
    all
}
