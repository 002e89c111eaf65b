//! The built-in model against what the reference gives for the pictures of `examples/pictures`.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::common_search::{Parts, Planes};
use super::perceptual::{Grey, Histogram, Spectrum, content_box, edges};
use super::{CommonSearch, Embedder, copies};
use crate::image::{self, Pixels, SizeLimits};
use crate::kernel::Kernel;
use crate::region::View;
use crate::resample::Resampler;
use crate::vector::{Layout, RowCode};

const GOLDEN: &[u8] = include_bytes!("../../tests/fixtures/golden.bin");

/// One picture of `golden.bin` (`tools/make_golden.py` has the layout).
struct Golden {
    path: String,
    semantic: Vec<f32>,
    copy: Vec<f32>,
    hash: [u8; 32],
    hist: Vec<f32>,
    edge: Vec<f32>,
    trim: Vec<f32>,
    plane: Vec<u8>,
}

fn golden(mut raw: &[u8], planes: bool) -> Vec<Golden> {
    let mut take = |len: usize| {
        let (now, rest) = raw.split_at(len);
        raw = rest;
        now.to_vec()
    };
    let floats =
        |raw: Vec<u8>| raw.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect::<Vec<f32>>();
    let mut all = Vec::new();
    for _ in 0..if planes { 33 } else { 15 } {
        let len = usize::from(take(1)[0]);
        all.push(Golden {
            path: String::from_utf8(take(len)).unwrap(),
            semantic: floats(take(640)),
            copy: floats(take(384)),
            hash: take(32).try_into().unwrap(),
            hist: floats(take(576)),
            edge: floats(take(512)),
            trim: floats(take(16)),
            plane: if planes { take(64 * 64 * 3) } else { Vec::new() },
        });
    }
    assert!(raw.is_empty());
    all
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

fn picture(file: &Path) -> Pixels {
    image::decode(&std::fs::read(file).unwrap(), &SizeLimits::any())
        .unwrap_or_else(|e| panic!("{file:?}: {e}"))
}

/// Worst cosines of the blocks and largest distance of hashes over pictures, with a line for each.
fn judge(all: &[Golden], root: &Path) -> (f64, f64, u32) {
    let model = CommonSearch::new();
    let mut worst = (1.0_f64, 1.0_f64, 0);
    for golden in all {
        let pixels = picture(&root.join(&golden.path));
        let mut cells = Vec::new();
        Resampler::new().trim(View::whole(&pixels), &mut cells).unwrap();
        let trim: Vec<f32> = content_box(&cells).iter().map(|v| *v as f32 / 128.0).collect();
        assert_eq!(trim, golden.trim, "{}", golden.path);
        let have = model.embed(View::whole(&pixels)).unwrap();
        let (s, c) =
            (cosine(&have.vector[..160], &golden.semantic), cosine(&have.vector[160..], &golden.copy));
        let bits = have.hash.unwrap().iter().zip(golden.hash).map(|(a, b)| (a ^ b).count_ones()).sum();
        println!("{:.5} {:.5} {bits:3} {}", s, c, golden.path);
        worst = (worst.0.min(s), worst.1.min(c), worst.2.max(bits));
    }
    println!("worst: S {:.5} C {:.5} hash {}", worst.0, worst.1, worst.2);
    worst
}

#[test]
fn the_committed_pictures_get_the_reference_vectors() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples");
    let (s, c, bits) = judge(&golden(GOLDEN, false), &root);
    assert!(s >= 0.995 && c >= 0.997 && bits <= 8, "S {s} C {c} hash {bits}");
}

#[test]
fn the_large_model_begins_as_the_small_one() {
    let pixels = picture(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/pictures/cat.jpg"));
    let (small, large) = (CommonSearch::new(), CommonSearch::large());
    assert_eq!((large.name(), large.blocks()), ("common-search-512", &[256, 256][..]));
    let short = small.embed(View::whole(&pixels)).unwrap();
    let long = large.embed(View::whole(&pixels)).unwrap();
    assert_eq!((long.vector.len(), long.hash), (512, short.hash));
    assert!(cosine(&long.vector[..160], &short.vector[..160]) > 1.0 - 1e-9);
    assert!(cosine(&long.vector[256..352], &short.vector[160..]) > 1.0 - 1e-9);
}

/// What is stored of a picture: the upper plane, the lower plane and the hash.
fn stored(model: &CommonSearch, pixels: &Pixels) -> Vec<u8> {
    let layout = Layout::new(model.blocks()).unwrap();
    let have = model.embed(View::whole(pixels)).unwrap();
    let row = RowCode::encode(&layout, &have.vector).unwrap();
    row.upper
        .into_iter()
        .chain(row.lower.iter().map(|rest| rest.cast_unsigned()))
        .chain(have.hash.unwrap())
        .collect()
}

/// The rows of the committed pictures (128 bytes of upper plane, 256 of lower plane and 32 of hash each), made once and kept: another
/// CPU, compiler or kernel gives the same bytes.
/// LOOKALIKE_STORED = a file to write them to, after a change of the model.
#[test]
fn stored_rows_are_the_same_bytes_on_every_kernel_and_machine() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples");
    let pictures: Vec<Pixels> =
        golden(GOLDEN, false).iter().map(|golden| picture(&folder.join(&golden.path))).collect();
    let all = |kernel: Kernel| {
        let model = CommonSearch::with_kernel(kernel.name()).unwrap();
        pictures.iter().map(|pixels| stored(&model, pixels)).collect::<Vec<_>>()
    };
    let rows = all(Kernel::best());
    if let Some(file) = std::env::var_os("LOOKALIKE_STORED") {
        std::fs::write(file, rows.concat()).unwrap();
    }
    let kept = std::fs::read(folder.join("../tests/fixtures/stored.bin")).unwrap();
    assert!(rows.concat() == kept, "the built-in model has changed: raise its version");
    for kernel in Kernel::all() {
        assert_eq!(all(kernel), rows, "{kernel:?}");
    }
}

/// With LOOKALIKE_GOLDEN = a file of `make_golden.py --all` and LOOKALIKE_ROOT = the folder its paths lie below.
#[test]
#[ignore = "needs pictures that are not in the repository"]
fn all_pictures_get_the_reference_vectors() {
    let variable = |name: &str| PathBuf::from(std::env::var_os(name).unwrap());
    let all = golden(&std::fs::read(variable("LOOKALIKE_GOLDEN")).unwrap(), true);
    for golden in &all {
        let grey = Grey::new(&golden.plane);
        let hash = Spectrum::new(&grey).hash();
        let bits: u32 = hash.iter().zip(golden.hash).map(|(a, b)| (a ^ b).count_ones()).sum();
        let hist = cosine(&Histogram::new().of(&golden.plane), &golden.hist);
        let edge = cosine(&edges(&grey), &golden.edge);
        println!("from the plane: hist {hist:.7} edge {edge:.7} hash {bits} {}", golden.path);
        assert!(hist > 0.99999 && edge > 0.99999 && bits <= 2);
    }
    let (s, c, bits) = judge(&all, &variable("LOOKALIKE_ROOT"));
    assert!(s >= 0.995 && c >= 0.995 && bits <= 8, "S {s} C {c} hash {bits}");
}

/// With LOOKALIKE_LIST = a file of paths, one a line: writes for each the 256 values (f32; 512 with LOOKALIKE_LARGE) and the
/// hash (32 bytes) to the file LOOKALIKE_OUT.
#[test]
#[ignore = "a tool for evaluations"]
fn extract_a_list() {
    let variable = |name: &str| PathBuf::from(std::env::var_os(name).unwrap());
    let list = std::fs::read_to_string(variable("LOOKALIKE_LIST")).unwrap();
    let files: Vec<&str> = list.lines().collect();
    let large = std::env::var_os("LOOKALIKE_LARGE").is_some();
    let model = if large { CommonSearch::large() } else { CommonSearch::new() };
    let rows: Vec<Vec<u8>> = files
        .par_iter()
        .map(|file| {
            let have = model.embed(View::whole(&picture(Path::new(file)))).unwrap();
            have.vector.iter().flat_map(|v| v.to_le_bytes()).chain(have.hash.unwrap()).collect()
        })
        .collect();
    std::fs::write(variable("LOOKALIKE_OUT"), rows.concat()).unwrap();
}

/// With LOOKALIKE_LIST = a file of paths, one a line, and LOOKALIKE_ROBUST = 0 or 1: writes for each what the copy score
/// sees of it, the copy block in all its columns, to the file LOOKALIKE_OUT: u32 views, u32 hashes, u32 quality; f32
/// `[views, 256]`; hashes `[hashes, 32]`.
#[test]
#[ignore = "a tool for evaluations"]
fn extract_copy_views_of_a_list() {
    let variable = |name: &str| PathBuf::from(std::env::var_os(name).unwrap());
    let list = std::fs::read_to_string(variable("LOOKALIKE_LIST")).unwrap();
    let robust = std::env::var("LOOKALIKE_ROBUST").unwrap() == "1";
    let files: Vec<&str> = list.lines().collect();
    let parts = Parts::load(crate::kernel::Kernel::best(), [160, 256]).unwrap();
    let raw: Vec<Vec<u8>> = files
        .par_iter()
        .map(|file| {
            let mut planes = Planes::default();
            let pixels = picture(Path::new(file));
            let view = View::whole(&pixels);
            planes.resampler.network(view, &mut planes.rgb224).unwrap();
            planes.resampler.small(view, &mut planes.rgb64).unwrap();
            let embedding = parts.embed(&planes.rgb224, &planes.rgb64);
            let first = embedding.vector[160..].to_vec();
            let views = copies::views(&parts, &mut planes, view, embedding, 160, robust).unwrap();
            let counts = [views.others.len() + 1, views.hashes.len(), usize::from(views.quality.unwrap())];
            let mut out: Vec<u8> = counts.iter().flat_map(|&n| (n as u32).to_le_bytes()).collect();
            out.extend([first].iter().chain(&views.others).flatten().flat_map(|v| v.to_le_bytes()));
            out.extend(views.hashes.as_flattened());
            out
        })
        .collect();
    std::fs::write(variable("LOOKALIKE_OUT"), raw.concat()).unwrap();
}
