#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use super::*;

#[test]
fn decodes_examples() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/pictures");
    let mut seen = 0;
    for file in std::fs::read_dir(dir).unwrap() {
        let file = file.unwrap().path();
        if file.extension().is_some_and(|extension| extension == "jpg") {
            decode(&std::fs::read(&file).unwrap(), &SizeLimits::default()).unwrap();
            seen += 1;
        }
    }
    assert_eq!(seen, 15);
}

/// Not a test of the suite: writes what the decoder makes of a list of files.
#[test]
#[ignore = "ad hoc"]
fn dump() {
    use std::io::Write;
    let list = std::fs::read_to_string(std::env::var("DUMP_LIST").unwrap()).unwrap();
    let mut out = std::io::BufWriter::new(std::fs::File::create(std::env::var("DUMP_OUT").unwrap()).unwrap());
    for file in list.lines() {
        match decode(&std::fs::read(file).unwrap(), &SizeLimits::any()) {
            Ok(pixels) => {
                writeln!(
                    out,
                    "{file}\t{}\t{}\t{:08x}",
                    pixels.width(),
                    pixels.height(),
                    crc32fast::hash(pixels.as_rgb8())
                )
                .unwrap();
            }
            Err(error) => writeln!(out, "{file}\tERR\t{error:?}").unwrap(),
        }
    }
}
