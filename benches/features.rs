//! The parts of an extraction: network, resize, perceptual half, projection; and for three sizes of JPEG decoding and the
//! whole. The JPEGs are a picture of `examples/pictures`, enlarged and encoded here at quality 90, 4:2:0.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use lookalike::{CommonSearch, Embedder, Pixels, SizeLimits, View};

/// `coffee.jpg` at another size, bilinear.
fn picture(width: usize, height: usize) -> Pixels {
    let raw = include_bytes!("../examples/pictures/coffee.jpg");
    let from = Pixels::decode(raw, &SizeLimits::default()).expect("a good picture");
    let (w, h) = (from.width() as usize, from.height() as usize);
    let at =
        |x: usize, y: usize, c: usize| f32::from(from.as_rgb8()[(y.min(h - 1) * w + x.min(w - 1)) * 3 + c]);
    let mut rgb = Vec::with_capacity(width * height * 3);
    for i in 0..width * height {
        let x = (i % width) as f32 * (w - 1) as f32 / width as f32;
        let y = (i / width) as f32 * (h - 1) as f32 / height as f32;
        let (px, py) = (x as usize, y as usize);
        for c in 0..3 {
            let row = |y: usize| at(px, y, c) + (at(px + 1, y, c) - at(px, y, c)) * x.fract();
            rgb.push((row(py) + (row(py + 1) - row(py)) * y.fract()) as u8);
        }
    }
    Pixels::from_rgb8(width as u32, height as u32, rgb).expect("sides that fit")
}

fn jpeg(pixels: &Pixels) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = Encoder::new(&mut out, 90);
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    let sides = [pixels.width() as u16, pixels.height() as u16];
    encoder.encode(pixels.as_rgb8(), sides[0], sides[1], ColorType::Rgb).expect("memory");
    out
}

fn parts(c: &mut Criterion) {
    let model = CommonSearch::new();
    model.ready().expect("good weights");
    let [rgb224, rgb64] = model.planes(View::whole(&picture(640, 480))).expect("good planes");
    for name in ["scalar", "avx2", "avx512", "neon"] {
        if let Some(one) = CommonSearch::with_kernel(name) {
            one.ready().expect("good weights");
            c.bench_function(&format!("network/{name}"), |b| b.iter(|| one.network_pass(black_box(&rgb224))));
        }
    }
    c.bench_function("perceptual", |b| b.iter(|| model.perceptual_pass(black_box(&rgb64))));
    c.bench_function("projection", |b| b.iter(|| model.projection_pass()));
    for (width, height) in [(640, 480), (1280, 960), (2048, 1536)] {
        let pixels = picture(width, height);
        let raw = jpeg(&pixels);
        let decode = || Pixels::decode(black_box(&raw), &SizeLimits::default()).expect("a good picture");
        c.bench_function(&format!("decode/{width}x{height}"), |b| b.iter(decode));
        c.bench_function(&format!("resize/{width}x{height}"), |b| {
            b.iter(|| model.planes(View::whole(&pixels)).expect("good planes"));
        });
        c.bench_function(&format!("extraction/{width}x{height}"), |b| {
            b.iter(|| model.embed(View::whole(&decode())).expect("a vector"));
        });
    }
}

criterion_group!(benches, parts);
criterion_main!(benches);
