//! A folder is indexed, changed, searched, and its pages looked at: by a browser if there is one, else in their text.

use std::process::Command as Process;
use std::sync::atomic::{AtomicUsize, Ordering};

use image::{RgbImage, imageops};
use tempfile::TempDir;

use super::*;

/// Pictures of the repository, in sub-folders; copies of some; and files that are no pictures.
fn bed() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/pictures");
    for (name, to) in [
        ("cat.jpg", "animals/cats"),
        ("astronaut.jpg", "people"),
        ("coffee.jpg", "things"),
        ("clock.jpg", "things/old & <odd> \"names\" that are long enough to be broken in a narrow card"),
        ("rocket.jpg", ""),
    ] {
        std::fs::create_dir_all(dir.path().join(to)).unwrap();
        std::fs::copy(shipped.join(name), dir.path().join(to).join(name)).unwrap();
    }
    let cat = picture(&dir.path().join("animals/cats/cat.jpg"));
    imageops::resize(&cat, 300, 200, imageops::FilterType::Triangle)
        .save(dir.path().join("animals/cats/cat small.png"))
        .unwrap();
    // Larger than the service takes, and a copy in another folder.
    imageops::resize(&cat, 2700, 1800, imageops::FilterType::Triangle)
        .save(dir.path().join("people/cat, large.jpg"))
        .unwrap();
    std::fs::write(dir.path().join("animals/broken.jpg"), b"no picture").unwrap();
    let whole = std::fs::read(shipped.join("coffee.jpg")).unwrap();
    std::fs::write(dir.path().join("things/cut.jpg"), &whole[..whole.len() / 2]).unwrap();
    std::fs::write(dir.path().join("things/notes.txt"), b"no picture either").unwrap();
    dir
}

fn picture(file: &Path) -> RgbImage {
    image::open(file).unwrap().to_rgb8()
}

fn common(folder: &Path) -> Common {
    Common { folder: folder.to_owned(), gallery: None, json: true }
}

fn indexed(folder: &Path) -> Value {
    let options = Index { common: common(folder), service_limits: false };
    index(&options, &AtomicBool::new(false)).unwrap()
}

fn asked(folder: &Path) -> Search {
    let (within, report) = (Vec::new(), None);
    Search {
        common: common(folder),
        image: None,
        path: None,
        region: None,
        within,
        mode: None,
        limit: 20,
        report,
    }
}

fn grouped(folder: &Path, report: Option<PathBuf>) -> Value {
    let (common, within) = (common(folder), Vec::new());
    duplicates(&Duplicates { common, at_least: 0.9, largest: 50, within, report, shown: 200 }).unwrap()
}

fn paths(answer: &Value) -> Vec<&str> {
    answer["hits"].as_array().unwrap().iter().map(|hit| hit["path"].as_str().unwrap()).collect()
}

#[test]
fn a_folder_is_followed() {
    let bed = bed();
    let first = indexed(bed.path());
    assert_eq!((first["added"].as_u64(), first["pictures"].as_u64()), (Some(7), Some(7)), "{first}");
    let mut skipped: Vec<(&str, &str)> = first["skipped"]
        .as_array()
        .unwrap()
        .iter()
        .map(|skipped| (skipped["path"].as_str().unwrap(), skipped["code"].as_str().unwrap()))
        .collect();
    skipped.sort_unstable();
    assert_eq!(skipped, [("animals/broken.jpg", "IS.2001"), ("things/cut.jpg", "IS.2002")]);

    // Nothing changed, then: one file gone, one changed, one new, one that was a picture and is none.
    let again = indexed(bed.path());
    assert_eq!((again["added"].as_u64(), again["unchanged"].as_u64()), (Some(0), Some(7)), "{again}");
    std::fs::remove_file(bed.path().join("rocket.jpg")).unwrap();
    std::fs::copy(bed.path().join("people/astronaut.jpg"), bed.path().join("things/coffee.jpg")).unwrap();
    std::fs::copy(bed.path().join("people/astronaut.jpg"), bed.path().join("new.jpg")).unwrap();
    std::fs::write(bed.path().join("people/cat, large.jpg"), b"gone bad").unwrap();
    let third = indexed(bed.path());
    let count = |name: &str| third[name].as_u64().unwrap();
    assert_eq!(
        [count("added"), count("updated"), count("deleted"), count("unchanged")],
        [1, 1, 2, 4],
        "{third}"
    );
    assert_eq!(count("pictures"), 6);

    let by_changed =
        search(&Search { path: Some("things/coffee.jpg".to_owned()), ..asked(bed.path()) }).unwrap();
    let mut best = paths(&by_changed)[..3].to_vec();
    best.sort_unstable();
    assert_eq!(best, ["new.jpg", "people/astronaut.jpg", "things/coffee.jpg"]);
    let within = search(&Search { within: vec!["animals".to_owned()], ..asked(bed.path()) }).unwrap();
    assert_eq!(within["count"], 2, "{within}");

    // An empty folder is taken for one that is not mounted.
    let empty = tempfile::tempdir().unwrap();
    let gallery = Some(bed.path().join(".lookalike"));
    let common = Common { folder: empty.path().to_owned(), gallery, json: true };
    assert!(index(&Index { common, service_limits: false }, &AtomicBool::new(false)).is_err());
    let limited = Index {
        common: Common { gallery: Some(empty.path().join("g")), ..super::tests::common(bed.path()) },
        service_limits: true,
    };
    std::fs::rename(bed.path().join("animals/cats/cat.jpg"), bed.path().join("animals/cat.jpg")).unwrap();
    imageops::resize(&picture(&bed.path().join("animals/cat.jpg")), 90, 60, imageops::FilterType::Triangle)
        .save(bed.path().join("tiny.png"))
        .unwrap();
    let refused = index(&limited, &AtomicBool::new(false)).unwrap();
    assert!(refused["skipped"].as_array().unwrap().iter().any(|s| s["code"] == "IS.2107"), "{refused}");
}

#[test]
fn an_interrupted_run_is_taken_up() {
    let bed = bed();
    let instance = open(&common(bed.path()), SizeLimits::any()).unwrap();
    let (stop, seen) = (AtomicBool::new(false), AtomicUsize::new(0));
    let progress = |_| {
        if seen.fetch_add(1, Ordering::Relaxed) + 1 >= 3 {
            stop.store(true, Ordering::Relaxed);
        }
    };
    let first = folder::follow(&instance, bed.path(), &stop, |due| assert_eq!(due, 9), &progress).unwrap();
    assert!(first.interrupted);
    let before = instance.len().unwrap();
    assert!((1..7).contains(&before), "{before}");
    let rest = folder::follow(&instance, bed.path(), &AtomicBool::new(false), |_| (), &|_| ()).unwrap();
    assert_eq!((rest.added, rest.unchanged, rest.interrupted), (7 - before, before, false));
}

#[test]
fn pages_show_what_was_found() {
    let bed = bed();
    indexed(bed.path());
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("search.html");
    let options = Search {
        path: Some("animals/cats/cat.jpg".to_owned()),
        region: Some(Region::new(120, 20, 200, 150)),
        report: Some(file.clone()),
        ..asked(bed.path())
    };
    let found = search(&options).unwrap();
    assert_eq!(paths(&found).len(), 7);
    assert!(paths(&found)[..3].iter().all(|path| path.contains("cat")), "{found}");
    // The query and seven hits.
    look_at(&file, 8, 7, 1);

    let file = out.path().join("duplicates.html");
    let groups = grouped(bed.path(), Some(file.clone()));
    assert_eq!(groups["groups"].as_array().unwrap().len(), 1, "{groups}");
    let members: Vec<&Value> = groups["groups"][0]["images"].as_array().unwrap().iter().collect();
    assert_eq!(members.len(), 3);
    assert_eq!(
        (&members[0]["path"], &members[0]["sides"][0]),
        (&json!("people/cat, large.jpg"), &json!(2700))
    );
    assert_eq!(groups, grouped(bed.path(), Some(file.clone())), "the same in every run");
    look_at(&file, 3, 3, 0);
}

/// Checks a page: so many pictures, cards and boxes, all shown, and nothing wider than the screen.
fn look_at(file: &Path, pictures: usize, cards: usize, boxes: usize) {
    let html = std::fs::read_to_string(file).unwrap();
    let count = |what: &str| html.matches(what).count();
    assert_eq!((count("<img "), count("<figure>"), count("class=\"box\"")), (pictures, cards, boxes));
    assert_eq!(count("src=\"data:image/jpeg;base64,"), pictures);
    for outside in ["http://", "https://", "<script", "<link", "url(", "<odd>"] {
        assert!(!html.contains(outside), "{outside} in the page");
    }
    let browsers = ["chromium", "chromium-browser", "google-chrome"];
    let installed =
        |name: &&str| Process::new(name).arg("--version").output().is_ok_and(|out| out.status.success());
    let Some(browser) = browsers.into_iter().find(installed) else {
        println!("{}: no browser is installed; its text was checked", file.display());
        return;
    };
    // The page in a narrow window tells what the browser made of it.
    let told = "<script>onload = () => { const images = [...document.images]; const wide = [...document.querySelectorAll('*')]\
                .filter(e => e.getBoundingClientRect().right > innerWidth + 1).length; document.body.textContent = 'seen ' + \
                images.filter(i => i.complete && i.naturalWidth > 1).length + ' of ' + images.length + ', too wide ' + wide; }</script>";
    let asking = file.with_extension("asking.html");
    std::fs::write(&asking, html.replace("</head>", &format!("{told}</head>"))).unwrap();
    let profile = tempfile::tempdir().unwrap();
    let mut run = Process::new(browser);
    run.args(["--headless", "--no-sandbox", "--disable-gpu", "--window-size=500,900", "--dump-dom"]);
    run.arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("file://{}", asking.display()));
    let out = run.output().unwrap();
    let dom = String::from_utf8_lossy(&out.stdout);
    let wanted = format!("seen {pictures} of {pictures}, too wide 0");
    assert!(dom.contains(&wanted), "{wanted}: {dom}\n{}", String::from_utf8_lossy(&out.stderr));
    println!("{}: rendered by {browser}", file.display());
}
