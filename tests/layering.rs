//! The directions of the data flow, checked in the source.

use std::path::{Path, PathBuf};

/// From the left of the data flow to its right: a module uses what stands before it.
const ORDER: [&str; 21] = [
    "code", "limits", "cancel", "kernel", "image", "region", "resample", "vector", "features", "index",
    "tags", "store", "refusal", "error", "trace", "decode", "fuzzing", "instance", "gallery", "wire", "lib",
];

fn sources(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

fn module(path: &Path) -> String {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let first = path.strip_prefix(src).unwrap().components().next().unwrap();
    first.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned()
}

fn all() -> Vec<(PathBuf, String)> {
    let mut paths = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut paths);
    assert!(paths.len() > 40, "{} files", paths.len());
    paths.into_iter().map(|path| (path.clone(), std::fs::read_to_string(path).unwrap())).collect()
}

/// The code of a file without its tests.
fn code(text: &str) -> &str {
    text.split("\n#[cfg(test)]\n").next().unwrap_or(text)
}

#[test]
fn modules_use_what_is_left_of_them() {
    let place =
        |name: &str| ORDER.iter().position(|m| *m == name).unwrap_or_else(|| panic!("{name} has no place"));
    let mut uses = 0;
    for (path, text) in all() {
        let own = place(&module(&path));
        for line in code(&text).lines().filter(|line| !line.trim_start().starts_with("//")) {
            for part in line.split("crate::").skip(1) {
                let name: String = part.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                if ORDER.contains(&name.as_str()) {
                    uses += 1;
                    assert!(place(&name) <= own, "{path:?} uses {name}: {line}");
                }
            }
        }
    }
    assert!(uses > 60, "{uses} uses");
}

#[test]
fn foreign_crates_stay_in_their_files() {
    let only = [
        ("bincode::", &["store/codec.rs"][..]),
        ("fast_image_resize::", &["resample.rs"]),
        ("memmap2::", &["store/map.rs"]),
        ("image::", &["image/bmp.rs"]),
        ("base64::", &["wire/request.rs"]),
        ("tracing::", &["trace.rs"]),
        ("shuttle::", &["store/sync.rs", "store/interleaving/mod.rs"]),
        ("serde_json::", &["wire/mod.rs", "wire/read.rs"]),
    ];
    let mut seen = 0;
    for (path, text) in all() {
        for (name, allowed) in only {
            let found = code(&text).lines().any(|line| {
                let line = line.trim_start();
                !line.starts_with("//")
                    && (line.starts_with(&format!("use {name}")) || line.contains(&format!(" ::{name}")))
            });
            if found {
                seen += 1;
                assert!(allowed.iter().any(|a| path.ends_with(a)), "{path:?} names {name}");
            }
        }
    }
    assert!(seen >= 3, "{seen} found");
}

#[test]
fn unsafe_stays_on_its_islands() {
    for (path, text) in all() {
        let held = code(&text).lines().any(|line| {
            let line = line.trim_start();
            !line.starts_with("//") && (line.contains("unsafe {") || line.contains("unsafe fn"))
        });
        let island = path.ends_with("store/map.rs") || module(&path) == "kernel";
        assert!(!held || island, "{path:?} holds unsafe");
    }
}
