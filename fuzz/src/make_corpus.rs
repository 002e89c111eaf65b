//! Makes the corpus: small pictures of the library's own tests, and files of a small instance.
//!
//! ```text
//! cargo run --release --manifest-path fuzz/Cargo.toml --bin make_corpus
//! ```

use std::error::Error;
use std::fs;
use std::path::Path;

use lookalike::{Add, CreateInstance, Gallery, Source, Tags};
use lookalike_fuzz::mutate::Random;
use lookalike_fuzz::store::{DIMS, Small};

/// Longer pictures are left out: a corpus should be quick.
const LONGEST: u64 = 3000;

fn main() -> Result<(), Box<dyn Error>> {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR"));
    let put = |target: &str, name: &str, bytes: &[u8]| -> std::io::Result<()> {
        let dir = fuzz.join("corpus").join(target);
        fs::create_dir_all(&dir)?;
        fs::write(dir.join(name), bytes)
    };
    for entry in fs::read_dir(fuzz.join("../tests/fixtures/pictures"))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let target = match path.extension().and_then(|e| e.to_str()) {
            Some("jpg") => "jpeg",
            Some("png") => "png",
            Some("bmp") => "bmp",
            _ => continue,
        };
        if fs::metadata(&path)?.len() <= LONGEST {
            put(target, &name, &fs::read(&path)?)?;
        }
    }
    for (at, region) in
        [[1u64, 0, 0, 1, 1], [0xff_ffff, 5, 5, 7, u64::MAX], [0x1_4040, 0, 0, 64, 64]].iter().enumerate()
    {
        put("region", &format!("{at}"), &region.map(u64::to_le_bytes).concat())?;
    }
    let mut dice = Random(1);
    for at in 0..6 {
        let random: Vec<u8> = (0..300).map(|_| dice.next() as u8).collect();
        put("operations", &format!("{at}"), &random)?;
        put("tags", &format!("{at}"), &random[..60])?;
    }
    for (at, body) in REQUESTS.iter().enumerate() {
        put("request", &format!("{at}.json"), body.as_bytes())?;
    }
    files(&put)
}

/// Bodies as clients send them.
const REQUESTS: &[&str] = &[
    r#"{"name": "other", "model": "small", "level": 30000000, "description": "d", "tags": ["color"]}"#,
    r#"{"path": "b", "tags": {"color": ["red", "blue"], "kind": "x"}, "file": "Qk06AAAAAAAAADYAAAAoAAAAAQAAAAEAAAABABgAAAAAAAQAAAATCwAAEwsAAAAAAAAAAAAAAAD/AA=="}"#,
    r#"{"path": "a", "tags": {"color": "blue"}}"#,
    r#"{"path": "a"}"#,
    r#"{"path": "a", "limit": 10, "offset": 0, "is_crop": true, "box": {"x": 0, "y": 0, "width": 1, "height": 1}}"#,
    r#"{"file": "Qk06AAAAAAAAADYAAAAoAAAAAQAAAAEAAAABABgAAAAAAAQAAAATCwAAEwsAAAAAAAAAAAAAAAD/AA==", "x": 0, "y": 0, "w": 1, "h": 1, "tags": {"color": ["red"]}}"#,
    r#"{"tags": {"color": "red", "kind": ["a", "b"]}, "limit": 100, "offset": 3}"#,
];

/// Keeps an input of a target under a name.
type Put<'a> = &'a dyn Fn(&str, &str, &[u8]) -> std::io::Result<()>;

/// Files of an instance with lists, deleted rows and a log.
fn files(put: Put<'_>) -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let gallery =
        Gallery::builder(dir.path()).model(Small).background(false).tail_rows(30).train_rows(25).open()?;
    gallery.create(&CreateInstance::new("i", "small").tags(["color", "kind"]))?;
    let instance = gallery.instance("i")?;
    let mut dice = Random(2);
    for number in 0..50 {
        let vector: Vec<f32> =
            (0..DIMS).map(|_| (dice.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0).collect();
        let tags =
            Tags::from([("color", ["red", "blue"][number % 2])]).with("kind", format!("{}", number % 5));
        instance.add(&Add::new(format!("img/{number}"), Source::vector(vector)).tags(tags))?;
        if number % 7 == 6 {
            instance.delete(format!("img/{}", number - 4))?;
        }
    }
    drop(instance);
    for entry in fs::read_dir(dir.path().join("i"))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let bytes = fs::read(&path)?;
        match name.split('-').next().unwrap_or_default() {
            "log" => put("log", &name, &bytes)?,
            "seg" => put("segment", &name, &bytes)?,
            // The frame around them is made anew.
            "manifest" => {
                put("manifest", &name, &bytes[40..])?;
                put("frame", &name, &bytes)?;
            }
            "dead" | "cent" => put("frame", &name, &bytes[40..])?,
            _ => {}
        }
    }
    Ok(())
}
