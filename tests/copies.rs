//! Copies: which are found, which are not, and what is refused.

use lookalike::{
    Add, Code, CopyQuery, CreateInstance, Embedder, Gallery, Instance, Mode, Pixels, Query, Region,
    SizeLimits, Source, Tags,
};

use crate::bed::{Bed, add, shipped};

const NAMES: [&str; 15] = [
    "astronaut",
    "brick",
    "cameraman",
    "cat",
    "cell",
    "clock",
    "coffee",
    "coins",
    "galaxies",
    "grass",
    "gravel",
    "retina",
    "rocket",
    "text",
    "tissue",
];

/// The shipped pictures but those named, in an instance of the built-in model, and what keeps it alive.
fn without(missing: &[&str]) -> (Bed, Instance) {
    let bed = Bed::new();
    bed.gallery.create(&CreateInstance::new("real", "common-search").tags(["kind"])).unwrap();
    let instance = bed.gallery.instance("real").unwrap();
    for name in NAMES.iter().filter(|name| !missing.contains(name)) {
        let kind = if *name < "coffee" { "early" } else { "late" };
        instance.add(&Add::new(*name, Source::bytes(picture(name))).tag("kind", kind)).unwrap();
    }
    (bed, instance)
}

fn picture(name: &str) -> Vec<u8> {
    shipped(&format!("{name}.jpg"))
}

fn pixels(name: &str) -> Pixels {
    Pixels::decode(&picture(name), &SizeLimits::default()).unwrap()
}

/// A picture by a function from x and y to the pixel of another one.
fn drawn(width: u32, height: u32, from: &Pixels, at: impl Fn(u32, u32) -> Option<(u32, u32)>) -> Pixels {
    let mut rgb = Vec::new();
    for y in 0..height {
        for x in 0..width {
            match at(x, y) {
                Some((x, y)) => {
                    let start = (y as usize * from.width() as usize + x as usize) * 3;
                    rgb.extend_from_slice(&from.as_rgb8()[start..start + 3]);
                }
                None => rgb.extend_from_slice(&[20, 24, 30]),
            }
        }
    }
    Pixels::from_rgb8(width, height, rgb).unwrap()
}

fn plain(colour: [u8; 3]) -> Pixels {
    Pixels::from_rgb8(200, 150, colour.repeat(200 * 150)).unwrap()
}

#[test]
fn a_picture_is_a_copy_of_itself_and_of_nothing_else() {
    let (_bed, instance) = without(&["coffee"]);
    for name in NAMES {
        let copies = instance.find_copies(&CopyQuery::image(picture(name)).limit(3)).unwrap();
        println!(
            "{name} {:?} {:?}",
            copies.quality,
            copies.hits.iter().map(|h| (h.raw, h.copy)).collect::<Vec<_>>()
        );
        assert!(copies.quality.unwrap() > 5 && copies.found.exact && copies.hits.len() == 3);
        let from = if name == "coffee" {
            0
        } else {
            assert_eq!(copies.hits[0].path, name);
            assert!(copies.hits[0].copy > 0.99 && copies.hits[0].sim == 1.0, "{name} {:?}", copies.hits[0]);
            1
        };
        for other in &copies.hits[from..] {
            assert!(other.copy < 0.5, "{name} {other:?}");
        }
    }
}

#[test]
fn edited_pictures_are_found() {
    let (_bed, instance) = without(&[]);
    for name in NAMES {
        let original = pixels(name);
        let (w, h) = (original.width(), original.height());
        let edited = [
            drawn(w, h, &original, |x, y| Some((w - 1 - x, y))),
            drawn(h, w, &original, |x, y| Some((y, h - 1 - x))),
            drawn(w * 4 / 5, h * 4 / 5, &original, |x, y| Some((x + w / 10, y + h / 10))),
            drawn(w + 80, h + 120, &original, |x, y| {
                Some((x.checked_sub(40)?, y.checked_sub(90)?)).filter(|&(x, y)| x < w && y < h)
            }),
            drawn(w.div_ceil(2).max(100), h.div_ceil(2).max(100), &original, |x, y| {
                Some(((x * 2).min(w - 1), (y * 2).min(h - 1)))
            }),
        ];
        for (edit, copy) in edited.into_iter().enumerate() {
            let best = &instance.find_copies(&CopyQuery::pixels(copy).robust().limit(2)).unwrap().hits;
            println!("{name} {edit}: {:.3} {:.3}, then {:.3}", best[0].raw, best[0].copy, best[1].copy);
            assert_eq!(best[0].path, name, "edit {edit}");
            assert!(best[0].copy > 0.5 && best[1].copy < 0.5, "{name} {edit}");
        }
    }
}

#[test]
fn flat_pictures_have_no_copies() {
    let (_bed, instance) = without(&[]);
    for (path, colour) in [("grey", [128; 3]), ("blue", [20, 40, 200]), ("white", [255; 3])] {
        instance.add(&Add::new(path, Source::pixels(plain(colour)))).unwrap();
    }
    let queries = [
        CopyQuery::pixels(plain([128; 3])),
        CopyQuery::pixels(plain([200, 40, 20])).robust(),
        CopyQuery::path("blue"),
    ];
    for query in queries {
        let copies = instance.find_copies(&query.limit(20)).unwrap();
        assert!(copies.quality.is_none_or(|quality| quality == 0), "{:?}", copies.quality);
        assert_eq!(copies.hits.len(), 18);
        assert!(copies.hits.iter().all(|hit| hit.copy < 0.5), "{:?}", copies.hits[0]);
    }
    let cat = instance.find_copies(&CopyQuery::image(picture("cat")).limit(20)).unwrap();
    assert!(cat.hits.iter().all(|hit| hit.path == "cat" || hit.copy < 0.5));
    // The ordinary search has no such scruples.
    let page = instance.search(&Query::pixels(plain([128; 3]))).unwrap();
    assert_eq!((page.hits[0].path.as_str(), page.hits[0].sim), ("grey", Some(1.0)));
}

#[test]
fn answers_are_ordered_repeatable_and_filtered() {
    let (_bed, instance) = without(&[]);
    let query = CopyQuery::image(picture("clock")).limit(15);
    let all = instance.find_copies(&query).unwrap();
    assert!(all.hits.is_sorted_by(|a, b| a.raw >= b.raw && a.copy >= b.copy));
    assert_eq!(instance.reader().unwrap().find_copies(&query).unwrap(), all);
    instance.optimize().unwrap();
    assert_eq!(instance.find_copies(&query).unwrap(), all, "from a sealed file");

    let late = instance.find_copies(&query.clone().tag("kind", "late")).unwrap();
    assert!(late.hits.len() == 9 && late.hits.iter().all(|hit| hit.tags == Tags::from([("kind", "late")])));
    let wanted: Vec<_> = all.hits.iter().filter(|hit| hit.path.as_str() >= "coffee").collect();
    assert_eq!(late.hits.iter().collect::<Vec<_>>(), wanted);

    let sure = instance.find_copies(&query.clone().min_copy(0.5)).unwrap();
    assert_eq!(sure.hits, all.hits[..1]);
    let similar = instance.search(&Query::image(picture("clock")).mode(Mode::Default).limit(15)).unwrap();
    for hit in &all.hits {
        let same = similar.hits.iter().find(|other| other.path == hit.path).unwrap();
        assert_eq!(same.sim, Some(hit.sim));
    }
}

#[test]
fn by_path_by_box_and_by_vector() {
    let (_bed, instance) = without(&[]);
    let by_path = instance.find_copies(&CopyQuery::path("cat").limit(3)).unwrap();
    assert_eq!((by_path.quality, by_path.hits[0].path.as_str()), (None, "cat"));
    assert!(by_path.hits[0].copy > 0.99);
    let others = instance.find_copies(&CopyQuery::path("cat").exclude_self()).unwrap();
    assert!(others.hits.len() == 10 && others.hits.iter().all(|hit| hit.path != "cat" && hit.copy < 0.5));

    let framed = {
        let cat = pixels("cat");
        let (w, h) = (cat.width(), cat.height());
        drawn(w + 300, h, &cat, |x, y| x.checked_sub(300).map(|x| (x, y)))
    };
    let part = Region::new(300, 0, 451, 300);
    let by_box = instance.find_copies(&CopyQuery::pixels(framed).region(part)).unwrap();
    assert!(by_box.hits[0].path == "cat" && by_box.hits[0].sim == 1.0 && by_box.hits[0].copy > 0.99);

    let vector = instance.vector("cat").unwrap();
    let by_vector = instance.find_copies(&CopyQuery::source(Source::vector(vector))).unwrap();
    assert!(by_vector.hits[0].path == "cat" && by_vector.hits[0].copy > 0.5, "{:?}", by_vector.hits[0]);
}

#[test]
fn what_is_refused() {
    let (bed, instance) = without(&NAMES);
    let code = |query: CopyQuery<'_>| instance.find_copies(&query).unwrap_err().code();
    let cat = picture("cat");
    assert_eq!(code(CopyQuery::image(&cat).limit(0)), Code::LimitInvalid);
    assert_eq!(code(CopyQuery::image(&cat).limit(101)), Code::LimitInvalid);
    assert_eq!(code(CopyQuery::image(&cat).min_copy(1.5)), Code::SearchRefused);
    assert_eq!(code(CopyQuery::image(&cat).min_copy(f32::NAN)), Code::SearchRefused);
    assert_eq!(code(CopyQuery::image(&cat).tag("size", "9")), Code::TagUnknown);
    assert_eq!(code(CopyQuery::image(&cat).region(Region::new(0, 0, 452, 1))), Code::SearchRefused);
    assert_eq!(code(CopyQuery::image(&cat[..900])), Code::PictureDamaged);
    assert_eq!(code(CopyQuery::image(&[][..])), Code::PathAndFileEmpty);
    assert_eq!(code(CopyQuery::path("")), Code::PathAndFileEmpty);
    assert_eq!(code(CopyQuery::path("a\0")), Code::PathInvalid);
    assert_eq!(code(CopyQuery::path("nowhere")), Code::PictureUnavailable);
    let vector = vec![1.0; 256];
    assert_eq!(code(CopyQuery::source(Source::vector(&vector[..9]))), Code::SearchRefused);
    assert!(instance.find_copies(&CopyQuery::image(&cat)).unwrap().hits.is_empty());
    instance.close();
    assert_eq!(code(CopyQuery::image(&cat)), Code::InstanceMissing);

    // A host's model without a copy score.
    let shoes = bed.shoes();
    add(&shoes, "a", [1; 3]);
    let error = shoes.find_copies(&CopyQuery::path("a")).unwrap_err();
    assert_eq!(error.code(), Code::SearchRefused);
    assert!(error.to_string().contains("average"), "{error}");
}

/// A host's model that only names its block: the picture itself, no hash, no background.
#[test]
fn a_hosts_model_may_have_a_copy_score() {
    struct Halves;
    impl Embedder for Halves {
        fn name(&self) -> &str {
            "halves"
        }
        fn version(&self) -> u32 {
            1
        }
        fn blocks(&self) -> &[usize] {
            &[1, 3]
        }
        fn embed(&self, view: lookalike::View<'_>) -> Result<lookalike::Embedding, lookalike::EmbedError> {
            let pixel = view.row(0)[..3].iter().map(|&v| f32::from(v) + 1.0);
            Ok(lookalike::Embedding { vector: [1.0].into_iter().chain(pixel).collect(), hash: None })
        }
        fn copy_block(&self) -> Option<usize> {
            Some(1)
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let gallery = Gallery::builder(dir.path()).model(Halves).open().unwrap();
    gallery.create(&CreateInstance::new("host", "halves")).unwrap();
    let instance = gallery.instance("host").unwrap();
    for (path, colour) in [("red", [200, 0, 0]), ("green", [0, 200, 0])] {
        instance.add(&Add::new(path, Source::pixels(plain(colour)))).unwrap();
    }
    let copies = instance.find_copies(&CopyQuery::pixels(plain([100, 0, 0]))).unwrap();
    assert_eq!((copies.quality, copies.hits[0].path.as_str()), (None, "red"));
    assert!((copies.hits[0].raw - 1.0).abs() < 1e-3 && copies.hits[1].raw < 0.1);
}
