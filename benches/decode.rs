//! Decoding of JPEGs and scaling to the network's input, one thread.
//!
//! The pictures are one of `examples/pictures`, enlarged, with grain of a fixed seed, and written at quality 88 with
//! 4:2:0 sampling. They are left in the target folder's `tmp` for `benches/peers/pillow_decode.py`.

use std::fs;
use std::hint::black_box;
use std::path::Path;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use lookalike::{Pixels, SizeLimits};

#[path = "../tests/fixtures/encode.rs"]
mod encode;

/// Sides of the pictures, in pixels.
const SIDES: [(u32, u32); 3] = [(640, 480), (1280, 960), (2048, 1536)];

/// Side of the network's input, in pixels.
const NETWORK_SIDE_PX: u32 = 224;

fn resize(resizer: &mut Resizer, pixels: &Pixels, sides: (u32, u32), filter: FilterType, out: &mut [u8]) {
    let (width, height) = (pixels.width(), pixels.height());
    let source =
        ImageRef::new(width, height, pixels.as_rgb8(), PixelType::U8x3).expect("pixels fill a picture");
    let mut out = Image::from_slice_u8(sides.0, sides.1, out, PixelType::U8x3).expect("room for the result");
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter)).use_alpha(false);
    resizer.resize(&source, &mut out, &options).expect("the same kind of pixels");
}

fn picture(width: u32, height: u32) -> Vec<u8> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/pictures/coffee.jpg");
    let file = fs::read(file).expect("a picture of the repository");
    let pixels = Pixels::decode(&file, &SizeLimits::any()).expect("a whole picture");
    let mut rgb = vec![0; width as usize * height as usize * 3];
    resize(&mut Resizer::new(), &pixels, (width, height), FilterType::Lanczos3, &mut rgb);
    let mut state = 1u32;
    for pixel in rgb.as_chunks_mut::<3>().0 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let grain = (state >> 24) as i16 / 16 - 8;
        *pixel = pixel.map(|value| (i16::from(value) + grain).clamp(0, 255) as u8);
    }
    encode::jpeg_420(width as usize, height as usize, &rgb, 88)
}

fn decode(c: &mut Criterion) {
    let limits = SizeLimits::any();
    for (width, height) in SIDES {
        let (name, bytes) = (format!("{width}x{height}"), picture(width, height));
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("decode-{name}.jpg"));
        fs::write(file, &bytes).expect("the target folder can be written to");

        let mut group = c.benchmark_group("decode");
        group.throughput(Throughput::Elements(u64::from(width) * u64::from(height)));
        group.bench_function(BenchmarkId::new("full", &name), |b| {
            b.iter(|| Pixels::decode(black_box(&bytes), &limits).expect("a whole picture"));
        });
        group.finish();

        let pixels = Pixels::decode(&bytes, &limits).expect("a whole picture");
        let side = NETWORK_SIDE_PX as usize;
        let (mut resizer, mut out) = (Resizer::new(), vec![0; side * side * 3]);
        let mut group = c.benchmark_group("resize");
        group.bench_function(BenchmarkId::new("bicubic-224", &name), |b| {
            let sides = (NETWORK_SIDE_PX, NETWORK_SIDE_PX);
            b.iter(|| resize(&mut resizer, black_box(&pixels), sides, FilterType::CatmullRom, &mut out));
        });
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30);
    targets = decode
}
criterion_main!(benches);
