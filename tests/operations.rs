//! What the eight operations do, rule by rule; R1 to R20 are the rules of docs/semantics.md.

use lookalike::{
    Add, Added, CreateInstance, Delete, Mode, OnExisting, Pixels, Query, Region, Source, Status, Tags, Update,
};

use crate::bed::{Bed, add, bmp, bmp_of, paths, shoes, shoes_with};

#[test]
fn an_instance_is_described_as_the_service_does() {
    let bed = Bed::new();
    let request = CreateInstance::new("shoes", "average").description("Autumn").tags(["color", "kind"]);
    let created = bed.gallery.create(&request).unwrap();
    assert_eq!(bed.gallery.describe("shoes").unwrap(), created);
    assert_eq!((created.instance_name.as_str(), created.domain.as_str()), ("shoes", "average"));
    assert_eq!((created.desc.as_str(), created.expired_date, created.level), ("Autumn", -1, 30_000_000));
    assert_eq!(
        (created.tags.as_slice(), created.status),
        (&["color".into(), "kind".into()][..], Status::Normal)
    );
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64;
    assert!((0..60_000).contains(&(now - created.register_date)), "milliseconds since 1970");
    bed.gallery.create(&CreateInstance::new("a", "common-search")).unwrap();
    let names: Vec<String> = bed.gallery.list().unwrap().into_iter().map(|i| i.instance_name).collect();
    assert_eq!(names, ["a", "shoes"]);
    bed.gallery.delete("a").unwrap();
    assert_eq!(bed.gallery.list().unwrap().len(), 1);
}

#[test]
fn a_name_is_free_again_after_deletion() {
    let bed = Bed::new();
    let old = bed.shoes();
    add(&old, "a", [1; 3]);
    bed.gallery.delete("shoes").unwrap();
    let new = bed.shoes();
    assert_eq!(new.len().unwrap(), 0);
    assert!(old.len().is_err());
    add(&new, "b", [1; 3]);
    drop(old);
    assert!(new.check("b").unwrap());
}

/// R19.
#[test]
fn tag_keys_are_added_and_stay() {
    let bed = Bed::new();
    let shoes = bed.shoes();
    shoes.add_tag_keys(&["size"]).unwrap();
    shoes.add(&Add::new("a", Source::bytes(bmp(100, 100, [1; 3]))).tag("size", "42")).unwrap();
    drop(shoes);
    let shoes = bed.gallery.instance("shoes").unwrap();
    assert_eq!(shoes.tag_keys().unwrap(), ["color", "kind", "size"]);
    assert_eq!(bed.gallery.describe("shoes").unwrap().tags, ["color", "kind", "size"]);
    let hits = shoes.search(&Query::tags(Tags::from([("size", "42")]))).unwrap().hits;
    assert_eq!(hits[0].tags, Tags::from([("size", "42")]));
}

/// R4: the image searched by its own path comes first, with sim 1, even among equals that are older.
#[test]
fn search_by_path_finds_itself_first() {
    let shoes = shoes();
    for i in 0..30 {
        add(&shoes, &format!("same-{i:02}"), [90, 120, 30]);
    }
    add(&shoes, "other", [0, 0, 255]);
    let page = shoes.search(&Query::path("same-17").limit(5)).unwrap();
    assert_eq!(
        page.hits.iter().map(|h| h.path.as_str()).collect::<Vec<_>>(),
        ["same-17", "same-00", "same-01", "same-02", "same-03"]
    );
    assert!(page.hits.iter().all(|hit| hit.sim == Some(1.0)));
    assert_eq!((page.count, page.found.exact, page.found.rows_scanned), (31, true, 31));
    let without = shoes.search(&Query::path("same-17").exclude_self().limit(100)).unwrap();
    assert_eq!((without.count, without.hits.len()), (30, 30));
    assert!(without.hits.iter().all(|hit| hit.path != "same-17"));
    assert!(without.hits[29].sim.unwrap() < 1.0, "another picture is never 1");
}

/// R10, R11: pages of one ranking, count before paging, nothing past the end.
#[test]
fn pages_neither_overlap_nor_skip() {
    let shoes = shoes_with(|b| b.tail_rows(7));
    for i in 0..40u8 {
        add(&shoes, &format!("p{i:02}"), [i.wrapping_mul(37), 255 - i, i]);
    }
    for query in [Query::path("p21"), Query::image(bmp(100, 100, [9, 200, 70]))] {
        let all = paths(&shoes, &query.clone().limit(100));
        assert_eq!(all.len(), 40);
        for limit in [1, 3, 7, 40] {
            let mut pages = Vec::new();
            for offset in (0..45).step_by(limit as usize) {
                let page = shoes.search(&query.clone().limit(limit).offset(offset)).unwrap();
                assert_eq!(page.count, 40);
                pages.extend(page.hits.into_iter().map(|hit| hit.path));
            }
            assert_eq!(pages, all, "limit {limit}");
        }
        let beyond = shoes.search(&query.offset(u64::MAX)).unwrap();
        assert_eq!((beyond.count, beyond.hits.len()), (40, 0));
    }
}

#[test]
fn the_limit_is_ten_unless_it_is_set() {
    let shoes = shoes();
    for i in 0..12 {
        add(&shoes, &i.to_string(), [i, 0, 0]);
    }
    assert_eq!(paths(&shoes, &Query::path("3")).len(), 10);
}

/// R5: adding on an existing path replaces vector and tags, keeps one image and its place.
#[test]
fn add_replaces() {
    let shoes = shoes();
    let red = |path| Add::new(path, Source::bytes(bmp(100, 100, [250, 0, 0]))).tag("color", "red");
    assert_eq!(shoes.add(&red("a")).unwrap(), Added::New);
    assert_eq!(shoes.add(&red("b")).unwrap(), Added::New);
    let blue = Add::new("a", Source::bytes(bmp(100, 100, [0, 0, 250]))).tag("kind", "boot");
    assert_eq!(shoes.add(&blue).unwrap(), Added::Replaced);
    assert_eq!(shoes.len().unwrap(), 2);
    let hits = shoes.search(&Query::image(bmp(100, 100, [0, 0, 250]))).unwrap().hits;
    assert_eq!(
        (hits[0].path.as_str(), hits[0].sim, &hits[0].tags),
        ("a", Some(1.0), &Tags::from([("kind", "boot")]))
    );
    assert_eq!(paths(&shoes, &Query::tags(Tags::from([("color", "red")]))), ["b"]);
    // Its place in the order of insertion stays the first.
    shoes.update(&Update::new("b", Tags::from([("kind", "boot")]))).unwrap();
    assert_eq!(paths(&shoes, &Query::tags(Tags::from([("kind", "boot")]))), ["a", "b"]);
    assert_eq!(shoes.add(&blue.on_existing(OnExisting::Keep)).unwrap(), Added::Kept);
    // Deleted and added again it is the last.
    shoes.delete("a").unwrap();
    shoes.add(&Add::new("a", Source::vector(vec![1.0; 4])).tag("kind", "boot")).unwrap();
    assert_eq!(paths(&shoes, &Query::tags(Tags::from([("kind", "boot")]))), ["b", "a"]);
}

/// R6: an update replaces the tag set, or merges, and never the vector.
#[test]
fn update_replaces_or_merges_tags() {
    for sealed in [false, true] {
        let shoes = shoes();
        let tags = Tags::new().with("color", "red").with_values("kind", ["shoe", "boot"]);
        shoes.add(&Add::new("a", Source::vector(vec![3.0, 1.0, 2.0, 9.0])).tags(tags)).unwrap();
        if sealed {
            shoes.optimize().unwrap();
        }
        let before = shoes.vector("a").unwrap();
        let tags_of = || shoes.search(&Query::path("a")).unwrap().hits[0].tags.clone();
        shoes.update(&Update::new("a", Tags::from([("color", "blue")])).merge()).unwrap();
        assert_eq!(tags_of(), Tags::new().with("color", "blue").with_values("kind", ["boot", "shoe"]));
        shoes.update(&Update::new("a", Tags::from([("kind", "boot")]))).unwrap();
        assert_eq!(tags_of(), Tags::from([("kind", "boot")]));
        assert_eq!(paths(&shoes, &Query::tags(Tags::from([("color", "blue")]))), [""; 0]);
        assert_eq!((shoes.vector("a").unwrap(), shoes.len().unwrap()), (before, 1));
    }
}

/// R7.
#[test]
fn delete_says_whether_it_was_there() {
    let shoes = shoes();
    add(&shoes, "a", [1; 3]);
    assert!(shoes.delete("a").unwrap());
    assert!(!shoes.check("a").unwrap());
    assert!(!shoes.delete(Delete::new("a").if_exists()).unwrap());
    assert!(shoes.delete("a").is_err());
    assert_eq!(shoes.search(&Query::vector(vec![1.0; 4])).unwrap().count, 0);
}

/// R8, R9, R12, R13: OR inside a key, AND between keys, exact; by tags alone in insertion order without sim.
#[test]
fn tags_filter_first() {
    for sealed in [false, true] {
        let shoes = shoes();
        let colours = [["red", "blue"], ["red", "green"], ["blue", "black"], ["Red", "grey"]];
        for (i, colours) in colours.iter().enumerate() {
            let tags = Tags::new()
                .with_values("color", *colours)
                .with("kind", if i % 2 == 0 { "shoe" } else { "boot" });
            let shade = 60 * i as u8;
            let picture = Source::bytes(bmp(100, 100, [shade, 255 - shade, 128]));
            shoes.add(&Add::new(format!("p{i}"), picture).tags(tags)).unwrap();
        }
        add(&shoes, "untagged", [128, 128, 128]);
        if sealed {
            shoes.optimize().unwrap();
        }
        let by = |tags: Tags| paths(&shoes, &Query::tags(tags));
        assert_eq!(by(Tags::from([("color", "red")])), ["p0", "p1"]);
        assert_eq!(by(Tags::new().with_values("color", ["red", "black"])), ["p0", "p1", "p2"]);
        assert_eq!(by(Tags::new().with("color", "red").with("kind", "boot")), ["p1"]);
        assert_eq!(by(Tags::from([("color", "pink")])), [""; 0]);
        let page = shoes.search(&Query::tags(Tags::from([("color", "red")])).limit(1).offset(1)).unwrap();
        assert_eq!((page.count, page.hits[0].sim, page.hits[0].path.as_str()), (2, None, "p1"));
        let near = Query::image(bmp(100, 100, [180, 75, 128]));
        assert_eq!(paths(&shoes, &near.clone().filter(Tags::new())).len(), 5, "empty tags are no filter");
        let page = shoes.search(&near.tag("kind", "shoe")).unwrap();
        assert_eq!(page.count, 2);
        assert_eq!(page.hits.iter().map(|h| h.path.as_str()).collect::<Vec<_>>(), ["p2", "p0"]);
        // The image itself only when it passes.
        assert_eq!(paths(&shoes, &Query::path("p1").tag("kind", "shoe")).len(), 2);
    }
}

/// R1: the tri-state crop, and what the box defaults to.
#[test]
fn boxes() {
    let shoes = shoes();
    add(&shoes, "red", [255, 0, 0]);
    add(&shoes, "blue", [0, 0, 255]);
    add(&shoes, "purple", [128, 0, 128]);
    // Left third red, the rest blue.
    let picture = bmp_of(120, 100, |x, _| if x < 40 { [255, 0, 0] } else { [0, 0, 255] });
    let first = |query: Query<'_>| shoes.search(&query).unwrap().hits[0].path.clone();
    let query = Query::image(&picture);
    assert_eq!(first(query.clone()), "purple");
    assert_eq!(first(query.clone().region(Region::new(0, 0, 20, 50))), "red");
    assert_eq!(first(query.clone().region(Region::from_origin(40, 0))), "blue");
    assert_eq!(first(query.clone().region(Region::new(0, 0, 20, 50)).is_crop(true)), "red");
    assert_eq!(first(query.clone().region(Region::new(0, 0, 20, 50)).is_crop(false)), "purple");
    assert_eq!(first(query.clone().region(Region::new(500, 0, 20, 50)).is_crop(false)), "purple", "ignored");
    let exact = shoes.search(&query.region(Region::new(0, 0, 1, 1))).unwrap();
    assert_eq!((exact.hits[0].path.as_str(), exact.hits[0].sim), ("red", Some(1.0)));
}

/// R2, R3: pixels from the resolver for a box of a stored image and for a path that is not in the library.
#[test]
fn a_resolver_gives_pictures() {
    let bed = Bed::with(|b| {
        b.resolver(|path: &str| match path {
            "red.bmp" => Ok(bmp(100, 100, [255, 0, 0])),
            "half.bmp" => Ok(bmp_of(100, 100, |x, _| if x < 50 { [255, 0, 0] } else { [0, 0, 255] })),
            _ => Err("no such picture".into()),
        })
    });
    let shoes = bed.shoes();
    shoes.add(&Add::new("red.bmp", Source::Resolve)).unwrap();
    shoes.add(&Add::new("half.bmp", Source::bytes(&[][..]))).unwrap();
    add(&shoes, "blue", [0, 0, 255]);
    let half = Query::path("half.bmp").region(Region::new(60, 0, 20, 20));
    assert_eq!(paths(&shoes, &half)[0], "blue");
    shoes.delete("red.bmp").unwrap();
    assert_eq!(paths(&shoes, &Query::path("red.bmp"))[0], "half.bmp");
    // A picture that is there wins over the path.
    let both = Query::image(bmp(100, 100, [0, 0, 255])).or_path("half.bmp");
    assert_eq!(paths(&shoes, &both)[0], "blue");
}

#[test]
fn min_sim_counts_what_it_keeps() {
    let shoes = shoes();
    for i in 0..50u8 {
        add(&shoes, &format!("p{i}"), [i * 5, 255 - i * 5, 100]);
    }
    let query = Query::path("p10").limit(100);
    let all = shoes.search(&query).unwrap().hits;
    for min in [0.0, 0.7, 0.95, 0.999, 1.0] {
        let wanted: Vec<_> = all.iter().filter(|hit| hit.sim.unwrap() >= min).cloned().collect();
        let page = shoes.search(&query.clone().min_sim(min)).unwrap();
        assert_eq!((page.count, &page.hits), (wanted.len() as u64, &wanted), "min_sim {min}");
        assert!(!wanted.is_empty());
    }
}

#[test]
fn vectors_and_pixels_are_sources_too() {
    let shoes = shoes();
    shoes.add(&Add::new("v", Source::vector(vec![30.0, 40.0, 0.0, 0.0]))).unwrap();
    shoes.add(&Add::new("p", Source::pixels(Pixels::from_rgb8(100, 100, vec![7; 30_000]).unwrap()))).unwrap();
    let kept = shoes.vector("v").unwrap();
    assert!((kept[0] - 0.6).abs() < 0.005 && (kept[1] - 0.8).abs() < 0.005, "{kept:?}");
    let hits = shoes.search(&Query::vector(vec![3.0, 4.0, 0.0, 0.0])).unwrap().hits;
    assert_eq!((hits[0].path.as_str(), hits[0].sim), ("v", Some(1.0)));
    let small = Pixels::from_rgb8(99, 100, vec![7; 29_700]).unwrap();
    assert_eq!(shoes.search(&Query::pixels(small)).unwrap_err().code().as_str(), "IS.2107");
    assert_eq!(shoes.weighted_vector("v", Mode::Copy).unwrap(), kept);
}

#[test]
fn a_batch_has_one_result_a_picture() {
    let bed = Bed::new();
    let shoes = bed.shoes();
    let picture = bmp(100, 100, [1, 2, 3]);
    let small = bmp(99, 100, [1, 2, 3]);
    let adds: Vec<Add<'_>> = (0..1500)
        .map(|i| match i % 5 {
            3 => Add::new(format!("p{i}"), Source::bytes(&small)),
            4 => Add::new(format!("p{}", i - 4), Source::vector(vec![1.0, i as f32, 0.0, 0.0])),
            _ => Add::new(format!("p{i}"), Source::bytes(&picture)).tag("color", "red"),
        })
        .collect();
    let seen = std::sync::atomic::AtomicUsize::new(0);
    let progress = |p: lookalike::Progress| {
        assert!(p.done <= p.total && p.total == 1500);
        seen.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    let results = shoes.add_batch(&adds, &lookalike::BatchOptions::new().progress(&progress).pool(&pool));
    assert_eq!((results.len(), seen.into_inner()), (1500, 1500));
    for (i, result) in results.iter().enumerate() {
        match i % 5 {
            3 => assert_eq!(result.as_ref().unwrap_err().code().as_str(), "IS.2107"),
            // Of the same path twice the later wins.
            4 => assert_eq!(*result.as_ref().unwrap(), Added::Replaced),
            _ => assert_eq!(*result.as_ref().unwrap(), Added::New),
        }
    }
    assert_eq!(shoes.len().unwrap(), 900);
    assert_eq!(shoes.search(&Query::tags(Tags::from([("color", "red")]))).unwrap().count, 600);
}

#[test]
fn a_panicking_callback_ends_its_batch_only() {
    let bed = Bed::new();
    let shoes = bed.shoes();
    let adds: Vec<Add<'_>> = (0..50).map(|i| Add::new(i.to_string(), Source::vector(vec![1.0; 4]))).collect();
    let progress = |_: lookalike::Progress| panic!("a bug of the host");
    let results = shoes.add_batch(&adds, &lookalike::BatchOptions::new().progress(&progress));
    assert!(results.iter().any(|r| r.as_ref().is_err_and(|e| e.code().as_str() == "IS.0009")));
    let added = results.iter().filter(|r| r.is_ok()).count() as u64;
    assert_eq!(shoes.len().unwrap(), added);
    add(&shoes, "later", [1; 3]);
}

#[test]
fn tags_read_and_write_as_the_service_does() {
    let tags = Tags::new().with("color", "red").with_values("kind", ["a", "b"]);
    let json = serde_json::to_string(&tags).unwrap();
    assert_eq!(json, r#"{"color":"red","kind":["a","b"]}"#);
    assert_eq!(serde_json::from_str::<Tags>(&json).unwrap(), tags);
    assert!(serde_json::from_str::<Tags>(r#"{"color":7}"#).is_err());
    let info = Bed::new().gallery.create(&CreateInstance::new("a", "average")).unwrap();
    let json = serde_json::to_value(&info).unwrap();
    assert_eq!(
        (&json["instanceName"], &json["status"], &json["expiredDate"]),
        (&"a".into(), &"NORMAL".into(), &(-1).into())
    );
}
