//! Hostile requests, and the panics of other people's code.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lookalike::{
    Add, BatchOptions, Code, CreateInstance, Delete, EmbedError, Embedder, Embedding, Error, Gallery,
    Instance, Pixels, Query, Region, Source, Tags, Update, View,
};

use super::{measured, timed};

/// What a request may need that hands over nothing: a page far down counts scores in half a megabyte.
const SMALL: usize = 1 << 20;

/// A model that panics at one of its calls.
#[derive(Default)]
struct Average {
    blocks: Option<Vec<usize>>,
    calls: Arc<AtomicUsize>,
    panic_at: Arc<AtomicUsize>,
}

impl Embedder for Average {
    fn name(&self) -> &str {
        "average"
    }
    fn version(&self) -> u32 {
        1
    }
    fn blocks(&self) -> &[usize] {
        self.blocks.as_deref().unwrap_or(&[4])
    }
    fn embed(&self, view: View<'_>) -> Result<Embedding, EmbedError> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        assert_ne!(call, self.panic_at.load(Ordering::Relaxed), "a bug of the model");
        let first = view.row(0).first().copied().unwrap_or_default();
        Ok(Embedding { vector: vec![1.0, f32::from(first), 3.0, 4.0], hash: None })
    }
}

fn vector(fill: f32) -> Vec<f32> {
    vec![fill; 4]
}

struct Judge {
    wrong: Vec<String>,
    seen: usize,
    slowest: f64,
}

impl Judge {
    /// The code, within 10 ms and twice the memory of what was handed over.
    fn refused<T>(&mut self, name: &str, bytes: usize, code: Code, call: impl FnMut() -> Result<T, Error>) {
        let (result, took, peak) = measured(call);
        let said = result.as_ref().err().map(Error::code);
        self.judge(name, said == Some(code), &format!("{said:?}"), (took, peak, bytes));
        // A message does not carry what was handed over.
        let long = result.err().map_or(0, |error| error.to_string().len());
        if long > 1000 {
            self.wrong.push(format!("{name}: a message of {long} bytes"));
        }
    }

    fn accepted<T>(&mut self, name: &str, bytes: usize, call: impl FnMut() -> Result<T, Error>) {
        let (result, took, peak) = measured(call);
        let said = format!("{:?}", result.as_ref().err().map(Error::code));
        self.judge(name, result.is_ok(), &said, (took, peak, bytes));
    }

    fn judge(
        &mut self,
        name: &str,
        right: bool,
        said: &str,
        (took, peak, bytes): (std::time::Duration, usize, usize),
    ) {
        self.seen += 1;
        self.slowest = self.slowest.max(took.as_secs_f64() * 1e3);
        if !right || !timed(took, 10) || peak > 2 * bytes + SMALL {
            self.wrong.push(format!("{name}: {said}, {took:?}, {peak} bytes"));
        }
    }
}

pub fn hostile_requests() {
    let dir = tempfile::tempdir().expect("a directory");
    let gallery = Gallery::builder(dir.path()).model(Average::default()).open().expect("a gallery");
    gallery.create(&CreateInstance::new("i", "average").tags(["color", "kind"])).expect("created");
    let instance = gallery.instance("i").expect("opened");
    let mut judge = Judge { wrong: Vec::new(), seen: 0, slowest: 0.0 };
    let judge = &mut judge;
    judge.accepted("a search of nothing", 0, || instance.search(&Query::vector(vector(1.0))));
    paths(judge, &instance);
    tags(judge, &gallery, &instance);
    vectors(judge, &instance);
    numbers(judge, &instance);
    for (name, blocks) in
        [("no blocks", vec![]), ("a block of no dimensions", vec![4, 0]), ("too many", vec![1 << 40])]
    {
        judge.refused(name, 0, Code::ModelUnusable, || {
            let model = Average { blocks: Some(blocks.clone()), ..Average::default() };
            Gallery::builder(dir.path().join("other")).model(model).open()
        });
    }
    println!("{} requests, slowest {:.2} ms", judge.seen, judge.slowest);
    assert!(judge.wrong.is_empty(), "{:#?}", judge.wrong);
    assert!(judge.seen > 600, "{}", judge.seen);
}

fn paths(judge: &mut Judge, instance: &Instance) {
    let control = "a\u{7}b".to_owned();
    for (name, path, code) in [
        ("no path", String::new(), Some(Code::PathEmpty)),
        ("1 byte", "a".to_owned(), None),
        ("4096 bytes", "x".repeat(4096), None),
        ("4097 bytes", "x".repeat(4097), Some(Code::PathInvalid)),
        ("10 MB", "\u{e4}".repeat(5 << 20), Some(Code::PathInvalid)),
        ("a control character", control, Some(Code::PathInvalid)),
    ] {
        let len = path.len();
        let tags = || Tags::from([("color", "red")]);
        match code {
            None => {
                // A change waits for the disk, whose time is not the library's.
                assert!(instance.add(&Add::new(&*path, Source::vector(vector(1.0)))).is_ok(), "{name}");
                judge.accepted(name, len, || instance.check(&path));
                judge.accepted(name, len, || instance.search(&Query::path(&*path)));
                assert!(instance.delete(Delete::new(&*path)).is_ok(), "{name}");
            }
            Some(code) => {
                judge.refused(name, len, code, || {
                    instance.add(&Add::new(&*path, Source::vector(vector(1.0))))
                });
                judge.refused(name, len, code, || instance.check(&path));
                judge.refused(name, len, code, || instance.update(&Update::new(&*path, tags())));
                judge.refused(name, len, code, || instance.delete(Delete::new(&*path)));
                judge.refused(name, len, code, || instance.vector(&path));
                let code = if path.is_empty() { Code::PathAndFileEmpty } else { code };
                judge.refused(name, len, code, || instance.search(&Query::path(&*path)));
            }
        }
    }
}

fn tags(judge: &mut Judge, gallery: &Gallery, instance: &Instance) {
    let mut many = Tags::new();
    for key in 0..1_000_000 {
        many = many.with(format!("k{key}"), "v");
    }
    let values = Tags::new().with_values("color", vec!["v"; 1_000_000]);
    let long = Tags::from([("color", "x".repeat(1 << 20))]);
    let key = Tags::from([("k".repeat(1 << 20), "v")]);
    let none = Tags::from([("color", "")]);
    for (name, tags, bytes, code) in [
        ("a million keys", &many, 40 << 20, Code::TooManyTags),
        ("a million values", &values, 40 << 20, Code::TooManyTags),
        ("a value of 1 MB", &long, 1 << 20, Code::TooManyTags),
        ("a key of 1 MB", &key, 1 << 20, Code::TagUnknown),
        ("a value of nothing", &none, 0, Code::TagValueMissing),
    ] {
        let (add, query) =
            (Add::new("a", Source::vector(vector(1.0))).tags(tags.clone()), Query::tags(tags.clone()));
        let update = Update::new("a", tags.clone());
        judge.refused(name, bytes, code, || instance.add(&add));
        judge.refused(name, bytes, code, || instance.update(&update));
        judge.refused(name, bytes, code, || instance.search(&query));
    }
    let create = |name: String| CreateInstance::new(name, "average");
    let keys: Vec<String> = (0..1_000_000).map(|key| format!("k{key}")).collect();
    let asked = create("new".to_owned()).tags(keys);
    judge.refused("an instance of a million keys", 40 << 20, Code::TooManyInstanceTags, || {
        gallery.create(&asked)
    });
    let asked = create("new".to_owned()).tags(["k".repeat(1 << 20)]);
    judge.refused("an instance with a key of 1 MB", 1 << 20, Code::InstanceTagNotAdded, || {
        gallery.create(&asked)
    });
    let asked = create("n".repeat(10 << 20));
    judge.refused("a name of 10 MB", 10 << 20, Code::InstanceNameInvalid, || gallery.create(&asked));
    let asked = create("new".to_owned()).description("d".repeat(5 << 20));
    judge.refused("a description of 5 MB", 5 << 20, Code::DescriptionTooLong, || gallery.create(&asked));
}

fn vectors(judge: &mut Judge, instance: &Instance) {
    let tiny = f32::from_bits(1);
    for (name, values) in [
        ("NaN", vec![1.0, f32::NAN, 0.0, 0.0]),
        ("infinity", vec![f32::INFINITY, 0.0, 0.0, 0.0]),
        ("minus infinity", vec![1.0, f32::NEG_INFINITY, 0.0, 0.0]),
        ("zero", vector(0.0)),
        ("minus zero", vector(-0.0)),
        ("no values", vec![]),
        ("one value too few", vec![1.0; 3]),
        ("one value too many", vec![1.0; 5]),
        ("a million values", vec![1.0; 1_000_000]),
    ] {
        let len = values.len() * 4;
        let add = Add::new("v", Source::vector(values.clone()));
        judge.refused(name, len, Code::AddRefused, || instance.add(&add));
        judge.refused(name, len, Code::SearchRefused, || instance.search(&Query::vector(&*values)));
    }
    // However small or large they are, only their direction counts.
    for (name, values) in [
        ("denormal", vec![tiny, 0.0, 0.0, 0.0]),
        ("smallest normal", vector(f32::MIN_POSITIVE)),
        ("largest", vector(f32::MAX)),
        ("both", vec![f32::MAX, tiny, -f32::MAX, -tiny]),
    ] {
        assert!(instance.add(&Add::new(name, Source::vector(values.clone()))).is_ok(), "{name}");
        let page = instance.search(&Query::vector(values)).expect("searched");
        let hit = &page.hits[0];
        assert_eq!(hit.sim, Some(1.0), "{name}");
        let norm: f32 = instance.vector(name).expect("its vector").iter().map(|v| v * v).sum();
        assert!((norm - 1.0).abs() < 1e-3, "{name}: {norm}");
    }
}

fn numbers(judge: &mut Judge, instance: &Instance) {
    for limit in [0, 101, 1 << 31, u32::MAX] {
        let query = Query::vector(vector(1.0)).limit(limit);
        judge.refused(&format!("limit {limit}"), 0, Code::LimitInvalid, || instance.search(&query));
    }
    for offset in [0, 1, 20_000, 20_001, 1 << 32, 1 << 63, u64::MAX - 100, u64::MAX] {
        for query in
            [Query::vector(vector(1.0)), Query::path("largest"), Query::tags(Tags::from([("color", "no")]))]
        {
            let query = query.limit(100).offset(offset);
            judge.accepted(&format!("offset {offset}"), 0, || instance.search(&query));
            assert_eq!(
                instance.search(&query).expect("searched").hits.is_empty(),
                offset > 3 || query.source.is_none() && query.path.is_none()
            );
        }
    }
    for min_sim in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.1, 1.1] {
        let query = Query::vector(vector(1.0)).min_sim(min_sim);
        judge.refused(&format!("min_sim {min_sim}"), 0, Code::SearchRefused, || instance.search(&query));
    }
    let extremes = [i64::MIN, i64::MIN + 1, -1, 0, 1, 99, i64::from(u32::MAX), i64::MAX];
    let pixels = Pixels::from_rgb8(100, 100, vec![9; 30_000]).expect("pixels");
    for (x, w) in extremes.iter().flat_map(|x| extremes.map(|w| (*x, w))) {
        for (y, h) in [
            (0, 100),
            (i64::MAX, i64::MAX),
            (i64::MIN, i64::MIN),
            (i64::MAX, i64::MIN),
            (0, 0),
            (99, 1),
            (1, 99),
            (-1, 1),
        ] {
            let query = Query::pixels(pixels.clone()).region(Region::new(x, y, w, h));
            let inside = |start: i64, len: i64| {
                start >= 0 && len > 0 && start.checked_add(len).is_some_and(|end| end <= 100)
            };
            let name = format!("box {x},{y} {w}x{h}");
            if inside(x, w) && inside(y, h) {
                judge.accepted(&name, 30_000, || instance.search(&query));
            } else {
                judge.refused(&name, 30_000, Code::SearchRefused, || instance.search(&query));
            }
        }
    }
}

/// A panic in a model, a resolver or a callback is an error to that caller; all others go on.
pub fn panics_of_others() {
    const MANY: usize = 30;
    // Their messages are of no interest here.
    std::panic::set_hook(Box::new(|_| {}));
    let dir = tempfile::tempdir().expect("a directory");
    let (calls, panic_at) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let model = Average { blocks: None, calls: calls.clone(), panic_at: panic_at.clone() };
    let resolved = Arc::<AtomicUsize>::default();
    let asked = resolved.clone();
    let gallery = Gallery::builder(dir.path())
        .model(model)
        .resolver(move |path: &str| {
            asked.fetch_add(1, Ordering::Relaxed);
            assert!(!path.ends_with("bad"), "a bug of the resolver");
            Err("no such picture".into())
        })
        .open()
        .expect("a gallery");
    gallery.create(&CreateInstance::new("i", "average")).expect("created");
    let instance = gallery.instance("i").expect("opened");
    let pixels = Pixels::from_rgb8(100, 100, vec![9; 30_000]).expect("pixels");
    let mut failed = 0;
    for at in 1..=MANY {
        // In the threads of a batch, at each of its calls.
        calls.store(0, Ordering::Relaxed);
        panic_at.store(at, Ordering::Relaxed);
        let paths: Vec<String> = (0..MANY).map(|i| format!("{at}/{i}")).collect();
        let adds: Vec<Add> =
            paths.iter().map(|path| Add::new(&**path, Source::pixels(pixels.clone()))).collect();
        let results = instance.add_batch(&adds, &BatchOptions::new());
        let codes: Vec<Code> =
            results.iter().filter_map(|result| result.as_ref().err()).map(Error::code).collect();
        assert_eq!(codes, [Code::FeaturesFailed], "call {at}");
        failed += codes.len();
        panic_at.store(0, Ordering::Relaxed);
        // The others are there, and the instance takes more.
        assert_eq!(instance.len().expect("a length"), (at * (MANY - 1)) as u64);
        assert!(instance.search(&Query::pixels(pixels.clone())).is_ok());
        // In a search.
        calls.store(0, Ordering::Relaxed);
        panic_at.store(1, Ordering::Relaxed);
        let error = instance.search(&Query::pixels(pixels.clone())).expect_err("the model panics");
        assert_eq!(error.code(), Code::FeaturesFailed);
        panic_at.store(0, Ordering::Relaxed);
        // In a resolver, and in a callback of a batch.
        let error =
            instance.add(&Add::new(format!("{at}/bad"), Source::Resolve)).expect_err("the resolver panics");
        assert_eq!(error.code(), Code::PictureUnavailable);
        let reports = AtomicUsize::new(0);
        let progress = |_: lookalike::Progress| {
            assert_ne!(reports.fetch_add(1, Ordering::Relaxed) + 1, at.min(3), "a bug of the callback");
        };
        let again: Vec<Add> = (0..3).map(|_| Add::new("again", Source::vector(vector(1.0)))).collect();
        let results = instance.add_batch(&again, &BatchOptions::new().progress(&progress));
        let told =
            |result: &Result<_, Error>| result.as_ref().is_err_and(|error| error.code() == Code::Internal);
        assert!(results.iter().any(told) || results.iter().all(Result::is_ok), "{results:?}");
        let _ = instance.delete(Delete::new("again").if_exists()).expect("it goes on");
        assert!(instance.verify().is_ok());
    }
    let _ = std::panic::take_hook();
    assert_eq!((failed, resolved.load(Ordering::Relaxed)), (MANY, MANY));
}
