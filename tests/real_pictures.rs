//! The built-in model on the pictures shipped with the repository, end to end.

use lookalike::{Add, BatchOptions, CreateInstance, Gallery, Mode, Query, Source};

use crate::bed::shipped;

const NAMES: [&str; 15] = [
    "astronaut.jpg",
    "brick.jpg",
    "cameraman.jpg",
    "cat.jpg",
    "cell.jpg",
    "clock.jpg",
    "coffee.jpg",
    "coins.jpg",
    "galaxies.jpg",
    "grass.jpg",
    "gravel.jpg",
    "retina.jpg",
    "rocket.jpg",
    "text.jpg",
    "tissue.jpg",
];

#[test]
fn every_picture_finds_itself_and_is_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let gallery = Gallery::open(dir.path()).unwrap();
    gallery.create(&CreateInstance::new("photos", "common-search")).unwrap();
    let photos = gallery.instance("photos").unwrap();
    let pictures: Vec<Vec<u8>> = NAMES.iter().map(|name| shipped(name)).collect();
    let adds: Vec<Add<'_>> =
        NAMES.iter().zip(&pictures).map(|(name, bytes)| Add::new(*name, Source::bytes(bytes))).collect();
    let results = photos.add_batch(&adds, &BatchOptions::new());
    assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 15);
    let mut found = 0;
    for (name, bytes) in NAMES.iter().zip(&pictures) {
        for mode in Mode::ALL {
            let hits = photos.search(&Query::image(bytes).mode(mode)).unwrap().hits;
            assert_eq!((hits[0].path.as_str(), hits[0].sim), (*name, Some(1.0)), "{mode:?}");
            assert!(hits[1].sim.unwrap() < 0.95, "{name} is not {}: {:?}", hits[1].path, hits[1].sim);
            found += 1;
        }
    }
    assert_eq!(found, 60);
    let before = photos.search(&Query::path("cat.jpg")).unwrap();
    drop(photos);
    let photos = gallery.instance("photos").unwrap();
    assert_eq!(photos.search(&Query::path("cat.jpg")).unwrap(), before);
    photos.optimize().unwrap();
    let sealed = photos.search(&Query::path("cat.jpg")).unwrap();
    assert_eq!(sealed.hits, before.hits);
}
