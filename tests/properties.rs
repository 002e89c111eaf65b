//! Requests of any shape: a code, never a panic, and the instance as it was.

use lookalike::{Add, Query, Region, Source, Tags, Update};
use proptest::prelude::*;

use crate::bed::{add, bmp, shipped, shoes};

fn tags() -> impl Strategy<Value = Tags> {
    let text = prop_oneof![Just("color".to_owned()), Just("kind".to_owned()), ".{0,5}", "[A-Z]{1,3}"];
    let values = proptest::collection::vec(prop_oneof![".{0,3}", "a{0,300}"], 0..4);
    proptest::collection::vec((text, values), 0..13).prop_map(|all| {
        all.into_iter().fold(Tags::new(), |tags, (key, values)| tags.with_values(key, values))
    })
}

fn path() -> impl Strategy<Value = String> {
    prop_oneof![".{0,8}", "[a-c]", Just("x".repeat(4096)), Just("x".repeat(4097)), Just("a\0".to_owned())]
}

fn side() -> impl Strategy<Value = i64> {
    prop_oneof![-3i64..140, any::<i64>(), Just(i64::MIN), Just(i64::MAX)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn any_request_gives_an_answer_or_a_code(
        path in path(),
        tags in tags(),
        (x, y, width, height) in (side(), side(), side(), side()),
        limit in prop_oneof![Just(0u32), 1u32..101, any::<u32>()],
        offset in prop_oneof![0u64..5, any::<u64>()],
        is_crop in any::<Option<bool>>(),
        min_sim in prop_oneof![Just(None), any::<f32>().prop_map(Some)],
        vector in proptest::collection::vec(any::<f32>(), 0..6),
    ) {
        let shoes = shoes();
        add(&shoes, "kept", [10, 20, 30]);
        let picture = bmp(100, 120, [1, 2, 3]);
        let region = Region::new(x, y, width, height);
        let fits = x >= 0 && y >= 0 && width >= 1 && height >= 1
            && x.checked_add(width).is_some_and(|end| end <= 100)
            && y.checked_add(height).is_some_and(|end| end <= 120);
        let boxed = shoes.search(&Query::image(&picture).region(region));
        prop_assert_eq!(boxed.is_ok(), fits, "{:?}: {:?}", region, boxed);

        let mut query = Query::image(&picture).or_path(&*path);
        (query.is_crop, query.min_sim) = (is_crop, min_sim);
        query = query.limit(limit).offset(offset).filter(tags.clone()).region(region);
        let _ = shoes.search(&query);
        let _ = shoes.search(&Query::path(&*path).limit(limit));
        let _ = shoes.search(&Query::tags(tags.clone()));
        let _ = shoes.search(&Query::vector(vector.clone()));
        let _ = shoes.check(&path);

        let before = shoes.len().unwrap();
        let add = shoes.add(&Add::new(&*path, Source::vector(vector)).tags(tags.clone()));
        prop_assert_eq!(shoes.len().unwrap(), before + u64::from(add.is_ok()));
        let update = shoes.update(&Update::new(&*path, tags));
        prop_assert!(add.is_ok() || update.is_err());
        let deleted = shoes.delete(&*path);
        prop_assert_eq!(deleted.is_ok(), add.is_ok(), "{:?}", deleted);
        prop_assert!(shoes.check("kept").unwrap());
    }

    #[test]
    fn any_cut_and_any_flip_of_a_picture_is_survived(cut in 0.0f64..1.0, at in 0.0f64..1.0, bit in 0u8..8) {
        let shoes = shoes();
        let whole = shipped("clock.jpg");
        let part = &whole[..(whole.len() as f64 * cut) as usize];
        let refused = shoes.add(&Add::new("a", Source::bytes(part)));
        prop_assert!(refused.is_err(), "a part of a JPEG is no picture");
        let mut flipped = whole.clone();
        flipped[(whole.len() as f64 * at) as usize] ^= 1 << bit;
        let _ = shoes.add(&Add::new("b", Source::bytes(flipped)));
    }
}

#[test]
fn floods_are_refused_quickly() {
    let shoes = shoes();
    let begun = std::time::Instant::now();
    let path = "x".repeat(10 << 20);
    assert_eq!(shoes.check(&path).unwrap_err().code().as_str(), "IS.0016");
    let flood: Tags = (0..100_000).map(|i| (format!("k{i}"), "v")).collect();
    assert_eq!(shoes.search(&Query::tags(flood)).unwrap_err().code().as_str(), "IS.1003");
    let value = Tags::from([("color", "v".repeat(1 << 20))]);
    let add = Add::new("a", Source::vector(vec![1.0; 4])).tags(value);
    assert_eq!(shoes.add(&add).unwrap_err().code().as_str(), "IS.1003");
    assert!(begun.elapsed().as_secs() < 10);
}
