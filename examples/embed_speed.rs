//! How fast pictures become vectors: `embed_speed --threads N --pictures DIR [--kernel scalar|avx2|avx512|neon|auto]`.
//!
//! Prints the time of the network alone, of a whole extraction from an encoded picture, and pictures per second with
//! N threads.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser;
use lookalike::{CommonSearch, Embedder, Pixels, SizeLimits, View};

#[derive(Parser)]
struct Arguments {
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// A folder of JPEG, PNG or BMP files.
    #[arg(long)]
    pictures: PathBuf,
    /// scalar, avx2, avx512, neon or auto.
    #[arg(long, default_value = "auto")]
    kernel: String,
    /// Passes over the folder.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    let model = CommonSearch::with_kernel(&arguments.kernel).ok_or("this CPU has no such kernel")?;
    model.ready()?;
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(&arguments.pictures)?.map(|f| Ok(f?.path())).collect::<std::io::Result<_>>()?;
    files.sort();
    let pictures: Vec<Vec<u8>> =
        files.iter().filter(|file| is_picture(file)).map(std::fs::read).collect::<std::io::Result<_>>()?;
    if pictures.is_empty() {
        return Err("no pictures there".into());
    }
    let extract = |raw: &[u8]| -> Result<Duration, Box<dyn std::error::Error + Send + Sync>> {
        let begun = Instant::now();
        let pixels = Pixels::decode(raw, &SizeLimits::default())?;
        std::hint::black_box(model.embed(View::whole(&pixels))?);
        Ok(begun.elapsed())
    };
    let plane: Vec<u8> = (0..224 * 224 * 3_usize).map(|i| (i * i % 251) as u8).collect();
    let network = || {
        let begun = Instant::now();
        std::hint::black_box(model.network_pass(&plane));
        begun.elapsed()
    };
    let mut networks = Vec::new();
    let mut extractions = Vec::new();
    for _ in 0..arguments.rounds {
        for raw in &pictures {
            networks.push(network());
            extractions.push(extract(raw).map_err(|e| e.to_string())?);
        }
    }
    print("network", networks);
    print("extraction", extractions);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..arguments.threads {
            scope.spawn(|| {
                for raw in pictures.iter().cycle().take(pictures.len() * arguments.rounds) {
                    extract(raw).expect("it was decoded before");
                }
            });
        }
    });
    let count = pictures.len() * arguments.rounds * arguments.threads;
    let rate = count as f64 / begun.elapsed().as_secs_f64();
    println!("{rate:.1} pictures per second, {} threads, kernel {}", arguments.threads, arguments.kernel);
    Ok(())
}

fn is_picture(file: &std::path::Path) -> bool {
    file.extension()
        .is_some_and(|e| ["jpg", "jpeg", "png", "bmp"].iter().any(|known| e.eq_ignore_ascii_case(known)))
}

fn print(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    println!("{what}: min {:.3} ms, median {:.3} ms", ms(times[0]), ms(times[times.len() / 2]));
}
