//! How fast pictures become vectors: `embed_speed --threads N --pictures DIR [--kernel scalar|avx2|avx512|neon|auto]`.
//!
//! Prints the time of the network alone, of a whole extraction from an encoded picture, and pictures per second with
//! N threads.
//!
//! With `--add-batch COUNT` instead what `Instance::add_batch` makes of them: pictures added and made durable per second,
//! with a pool of one thread and with one of N, in turns, and the ratio of the two.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser;
use lookalike::rayon::ThreadPoolBuilder;
use lookalike::{
    Add, BatchOptions, CommonSearch, CreateInstance, Embedder, Gallery, Pixels, SizeLimits, Source, View,
};

type Failure = Box<dyn std::error::Error>;

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
    /// Measure batches of this many adds; the folder's pictures in rotation.
    #[arg(long, value_name = "COUNT")]
    add_batch: Option<usize>,
}

fn main() -> Result<(), Failure> {
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
    if let Some(count) = arguments.add_batch {
        return batches(&pictures, count, arguments.threads, arguments.rounds);
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
        std::hint::black_box(model.network_pass(&plane)).ok();
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

/// Batches of `count` adds with one thread and with `threads`, in turns. One round goes before those that count.
fn batches(pictures: &[Vec<u8>], count: usize, threads: usize, rounds: usize) -> Result<(), Failure> {
    let dir = tempfile::tempdir()?;
    let gallery = Gallery::open(dir.path())?;
    let add = |(at, raw): (usize, &Vec<u8>)| Add::new(format!("{at}"), Source::bytes(raw.clone()));
    let adds: Vec<Add<'_>> = pictures.iter().cycle().take(count).enumerate().map(add).collect();
    let once = |threads: usize| -> Result<f64, Failure> {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build()?;
        let instance = gallery.open_or_create(&CreateInstance::new("speed", "common-search"))?;
        let begun = Instant::now();
        for result in instance.add_batch(&adds, &BatchOptions::new().pool(&pool)) {
            result?;
        }
        let rate = count as f64 / begun.elapsed().as_secs_f64();
        drop(instance);
        gallery.delete("speed")?;
        Ok(rate)
    };
    let mut rates = Vec::new();
    for round in 0..=rounds {
        let (one, many) = (once(1)?, once(threads)?);
        let warm = if round == 0 { " (does not count)" } else { "" };
        println!(
            "1 thread {one:.1}, {threads} threads {many:.1} pictures per second: {:.3}{warm}",
            many / one
        );
        rates.push([one, many, many / one]);
    }
    let [one, many, ratio] = [0, 1, 2].map(|column| {
        let mut values: Vec<f64> = rates[1..].iter().map(|rates| rates[column]).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    });
    println!("medians: 1 thread {one:.1}, {threads} threads {many:.1} pictures per second: {ratio:.3}");
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
