//! A tour of the library: a folder of pictures becomes searchable, and edited copies of them are found again.
//!
//! ```text
//! cargo run --release --example quickstart
//! cargo run --release --example quickstart -- --pictures MY_FOLDER --gallery MY_GALLERY
//! ```
//!
//! It ends with an error if any copy is not found in the first place.

use std::error::Error;
use std::path::{Component, Path, PathBuf};
use std::time::Instant;

use clap::Parser;
use image::{Rgb, RgbImage, imageops::FilterType};
use lookalike::{
    Add, BatchOptions, Code, CreateInstance, Gallery, Instance, Mode, Page, Pixels, Query, Region,
    SizeLimits, Source, Tags,
};

/// A tour of lookalike.
#[derive(Parser)]
struct Options {
    /// A folder of JPEG, PNG and BMP files, searched with its sub-folders; those of the repository by default.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/pictures"))]
    pictures: PathBuf,
    /// Where the gallery is kept; without it, a temporary directory that is removed at the end.
    #[arg(long)]
    gallery: Option<PathBuf>,
    /// From how many of the pictures edited copies are made.
    #[arg(long, default_value_t = 3)]
    copies: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let temporary = tempfile::tempdir()?;
    let dir = options.gallery.as_deref().unwrap_or(temporary.path());
    let files = picture_files(&options.pictures)?;

    // A gallery is a directory, and an instance is a named set of images in it: what is searched together. A program
    // links the library and opens the directory; there is no server, and nothing to install beside it.
    let gallery = open(dir, &options.pictures)?;

    // An instance is created once. It has a model, which turns pictures into vectors (`common-search` is built in),
    // and the keys of the tags that its images may carry. If an earlier run created it, this opens what is there.
    let create = CreateInstance::new("pictures", "common-search").tags(["format", "shape", "brightness"]);
    let instance = gallery.open_or_create(&create)?;

    // Adding. A path is the image's name: what a search gives back. Where the pixels come from is a question of its
    // own: `Source::bytes(file)` hands them over, `Source::Resolve` has the gallery's resolver fetch them. The
    // instance keeps a vector and the tags, some 450 bytes an image, and never the picture.
    let adds: Vec<Add> = files
        .iter()
        .map(|path| Add::new(path, Source::Resolve).tags(tags(&options.pictures, path)))
        .collect();

    // A batch works on all cores. It gives a result for each add, and one that is refused leaves the others alone:
    // the default limits are those of Huawei's ImageSearch, so pictures under 100 or over 2048 pixels are refused.
    let started = Instant::now();
    let mut stored = Vec::new();
    for (path, result) in files.iter().zip(instance.add_batch(&adds, &BatchOptions::new())) {
        match result {
            Ok(_) => stored.push(path.as_str()),
            // With `#` an error also says what lies behind it.
            Err(error) => println!("Skipped {path}: {error:#}"),
        }
    }
    // All that returned `Ok` is on the disk now: not even a power cut takes it away.
    let seconds = started.elapsed().as_secs_f64();
    println!("Added {} pictures in {seconds:.2} s; the instance has {}.\n", stored.len(), instance.len()?);

    let mut table = Table::new(stored.iter().map(|path| path.len()).max().unwrap_or(0));
    // A few pictures from all over the folder.
    let step = (stored.len() / options.copies.max(1)).max(1);
    let examples: Vec<&str> = stored.iter().copied().step_by(step).take(options.copies).collect();
    let first = *examples.first().ok_or("there is no picture to search with")?;
    for &path in &examples {
        search_with_copies(&instance, &options.pictures, path, &mut table)?;
    }
    other_searches(&instance, &options.pictures, first, &mut table)?;

    // Deleting. From here on no search finds it. (On a path that is not there, `delete` is refused with IS.1006 unless
    // `Delete::if_exists` allows it. An example that leaves your gallery incomplete: the next run adds it again.)
    let last = *stored.last().unwrap_or(&first);
    let before = instance.check(last)?;
    instance.delete(last)?;
    println!("\nDeleted {last}: was there {before}, is there {}", instance.check(last)?);

    mistakes(&instance)?;

    // Closing needs no call: when the last handle goes, the instance closes. (Nor is closing needed: a program may
    // be killed at any moment and loses nothing it was told is stored. examples/kill_and_reopen.rs shows it.)
    drop(instance);
    drop(gallery);
    let started = Instant::now();
    let gallery = open(dir, &options.pictures)?;
    let instance = gallery.instance("pictures")?;
    println!("\nReopened in {:.1} ms.", started.elapsed().as_secs_f64() * 1e3);
    for &path in stored.iter().filter(|path| **path != last) {
        // The very same picture has `sim` 1, and nothing is above it.
        let vector = instance.vector(path)?;
        let page = instance.search(&Query::vector(vector))?;
        if !leads(&page, path) {
            return Err(format!("{path} is lost").into());
        }
    }
    println!("All {} others are found again.", stored.len() - usize::from(stored.contains(&last)));

    match table.wrong {
        0 => Ok(()),
        wrong => Err(format!("{wrong} searches did not give the right picture first").into()),
    }
}

/// Opens a gallery whose resolver reads pictures from a folder.
fn open(dir: &Path, pictures: &Path) -> Result<Gallery, Box<dyn Error>> {
    let pictures = pictures.to_owned();
    let resolver = move |path: &str| {
        // The library itself never opens a path: it is an opaque key, and "../secret" is a legal one. What may be
        // read is the resolver's decision; here, what lies below the folder.
        if !Path::new(path).components().all(|part| matches!(part, Component::Normal(_))) {
            return Err("the path leads out of the folder".into());
        }
        Ok(std::fs::read(pictures.join(path))?)
    };
    Ok(Gallery::builder(dir).resolver(resolver).open()?)
}

/// Searches with edited copies of a picture: what people do to a picture before they pass it on.
fn search_with_copies(
    instance: &Instance,
    pictures: &Path,
    path: &str,
    table: &mut Table,
) -> Result<(), Box<dyn Error>> {
    let original = decode(&std::fs::read(pictures.join(path))?)?;
    let (width, height) = original.dimensions();
    let small = image::imageops::resize(&original, width * 3 / 5, height * 3 / 5, FilterType::Triangle);
    // A tenth off every side: a third of the picture.
    let cropped =
        image::imageops::crop_imm(&original, width / 10, height / 10, width * 4 / 5, height * 4 / 5);
    let copies = [
        ("scaled to 60 %", encode(&small, 90)?),
        ("cropped by a third", encode(&cropped.to_image(), 90)?),
        ("JPEG quality 20", encode(&original, 20)?),
        ("mirrored", encode(&image::imageops::flip_horizontal(&original), 90)?),
        ("caption over it", encode(&with_caption(&original), 90)?),
    ];
    for (kind, jpeg) in copies {
        // `Mode::Copy` asks for this very picture, edited; the default mode asks for pictures of the same kind.
        let query = Query::image(jpeg).mode(Mode::Copy);
        match table.search(instance, &format!("{kind}: {path}"), &query, |page| leads(page, path)) {
            // The limits hold for query pictures, too.
            Err(error) if error.code() == Code::PictureTooSmall => {
                println!("Skipped {kind}: {path}: {error}")
            }
            searched => searched?,
        }
    }
    Ok(())
}

/// Searches by a box, by tags, by a stored image.
fn other_searches(
    instance: &Instance,
    pictures: &Path,
    path: &str,
    table: &mut Table,
) -> Result<(), Box<dyn Error>> {
    let bytes = std::fs::read(pictures.join(path))?;

    // A part of the picture, in pixels of the upright picture: here the middle of it, a half of each side.
    let (width, height) = decode(&bytes)?.dimensions();
    let [x, y, w, h] = [width / 4, height / 4, width / 2, height / 2].map(i64::from);
    let query = Query::image(&bytes).region(Region::new(x, y, w, h));
    table.search(instance, &format!("by its middle: {path}"), &query, |page| leads(page, path))?;

    // A stored image needs no picture to search with: its vector is there. It comes first itself, and what follows
    // are its neighbours; `exclude_self` leaves it out.
    table.search(instance, &format!("by its path: {path}"), &Query::path(path), |page| leads(page, path))?;

    // Tags restrict: first filtered, then ranked, so the best of all images that carry them is found, however few
    // they are. Tags alone give images in the order in which they were added, without a `sim`.
    let tags = tags(pictures, path);
    let query = Query::image(&bytes).filter(tags.clone());
    table.search(instance, &format!("picture and its tags: {path}"), &query, |page| leads(page, path))?;
    let carry = |page: &Page| page.count > 0 && page.hits.iter().all(|hit| hit.tags == tags);
    table.search(instance, "the same tags alone", &Query::tags(tags.clone()), carry)?;

    // `sim` has a meaning: two unrelated pictures mostly stay under .2, two of the same kind are around .5, and what
    // is at .9 or above is almost always a copy. So a program can ask for copies only, and none is an answer too.
    let page = instance.search(&Query::path(path).mode(Mode::Copy).exclude_self().min_sim(0.9))?;
    println!("\nCopies of {path} in the gallery: {}", page.count);
    Ok(())
}

/// What is wrong with a request is said by a code, which stays the same while messages may change.
fn mistakes(instance: &Instance) -> Result<(), Box<dyn Error>> {
    println!("\nTwo mistakes:");
    let tiny = encode(&RgbImage::new(60, 60), 90)?;
    let refused = instance.add(&Add::new("tiny.jpg", Source::bytes(tiny)));
    expect_code(refused, Code::PictureTooSmall)?;
    let refused = instance.search(&Query::tags(Tags::new().with("colour", "red")));
    expect_code(refused, Code::TagUnknown)
}

fn expect_code<T>(result: lookalike::Result<T>, code: Code) -> Result<(), Box<dyn Error>> {
    match result {
        Err(error) if error.code() == code => {
            println!("  {error}\n    (the remedy: {})", code.remedy());
            Ok(())
        }
        Err(error) => Err(error.into()),
        Ok(_) => Err(format!("{code} was expected").into()),
    }
}

/// The rows of the answer, printed as they come.
struct Table {
    kind_width: usize,
    path_width: usize,
    wrong: usize,
}

impl Table {
    fn new(path_width: usize) -> Self {
        let table = Self { kind_width: path_width + 22, path_width: path_width.max(6), wrong: 0 };
        table.line("query", "rank 1", "sim", "right", "ms");
        table
    }

    fn line(&self, kind: &str, path: &str, sim: &str, right: &str, ms: &str) {
        let (kind_width, path_width) = (self.kind_width, self.path_width);
        println!("{kind:kind_width$}  {path:path_width$}  {sim:>5}  {right:5}  {ms:>6}");
    }

    /// Searches, and notes whether the answer is right.
    fn search(
        &mut self,
        instance: &Instance,
        kind: &str,
        query: &Query<'_>,
        right: impl Fn(&Page) -> bool,
    ) -> lookalike::Result<()> {
        let started = Instant::now();
        let page = instance.search(query)?;
        let ms = started.elapsed().as_secs_f64() * 1e3;
        let right = right(&page);
        self.wrong += usize::from(!right);
        let (path, sim) = page.hits.first().map_or(("nothing", None), |hit| (hit.path.as_str(), hit.sim));
        let sim = sim.map_or_else(|| "-".to_owned(), |sim| format!("{sim:.3}"));
        self.line(kind, path, &sim, if right { "yes" } else { "NO" }, &format!("{ms:.1}"));
        Ok(())
    }
}

/// Whether an image is the first hit, or as good as the first: a folder may hold the same picture twice.
fn leads(page: &Page, path: &str) -> bool {
    let best = page.hits.first().and_then(|hit| hit.sim);
    page.hits.iter().take_while(|hit| hit.sim == best).any(|hit| hit.path == path)
}

// From here on nothing is about the library: files, and what a picture editor would do.

/// Pictures below a folder, as paths relative to it with `/` between their parts, in a fixed order.
fn picture_files(folder: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let (mut folders, mut files) = (vec![folder.to_owned()], Vec::new());
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next)? {
            let entry = entry?;
            let (kind, path) = (entry.file_type()?, entry.path());
            let extension = path.extension().and_then(|end| end.to_str()).unwrap_or("").to_ascii_lowercase();
            if kind.is_dir() {
                folders.push(path);
            } else if matches!(extension.as_str(), "jpg" | "jpeg" | "png" | "bmp") {
                let parts = path.strip_prefix(folder)?.iter();
                let parts: Option<Vec<&str>> = parts.map(|part| part.to_str()).collect();
                files.push(parts.ok_or_else(|| format!("{path:?} is not UTF-8"))?.join("/"));
            }
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// Tags that can be seen: the format, the shape, the brightness. A picture that cannot be read has none, and is
/// refused when it is added.
fn tags(folder: &Path, path: &str) -> Tags {
    let format = path.rsplit_once('.').map_or("none", |(_, extension)| extension).to_ascii_lowercase();
    let tags = Tags::new().with("format", format);
    let Some(picture) = std::fs::read(folder.join(path)).ok().and_then(|bytes| decode(&bytes).ok()) else {
        return tags;
    };
    let shape = match picture.width().cmp(&picture.height()) {
        std::cmp::Ordering::Greater => "landscape",
        std::cmp::Ordering::Equal => "square",
        std::cmp::Ordering::Less => "portrait",
    };
    let bytes = picture.as_raw();
    let brightness = match bytes.iter().map(|value| u64::from(*value)).sum::<u64>() / bytes.len() as u64 {
        0..85 => "dark",
        85..170 => "medium",
        170.. => "bright",
    };
    tags.with("shape", shape).with("brightness", brightness)
}

/// Upright pixels, decoded as the library does it; boxes are placed in these.
fn decode(bytes: &[u8]) -> Result<RgbImage, Box<dyn Error>> {
    let pixels = Pixels::decode(bytes, &SizeLimits::any())?;
    let picture = RgbImage::from_raw(pixels.width(), pixels.height(), pixels.as_rgb8().to_vec());
    Ok(picture.ok_or("the pixels do not fill the picture")?)
}

fn encode(picture: &RgbImage, quality: u8) -> Result<Vec<u8>, image::ImageError> {
    let mut jpeg = Vec::new();
    image::codecs::jpeg::JpegEncoder::new_with_quality(&mut jpeg, quality).encode_image(picture)?;
    Ok(jpeg)
}

/// A black bar across the lower part, with white strokes where letters would be.
fn with_caption(picture: &RgbImage) -> RgbImage {
    let mut picture = picture.clone();
    let (width, height) = picture.dimensions();
    let (top, bottom) = (height * 7 / 10, height * 9 / 10);
    for y in top..bottom {
        for x in 0..width {
            let letter = (x / (width / 60).max(1)) % 3 < 2
                && (top + (bottom - top) / 3..bottom - (bottom - top) / 3).contains(&y);
            picture.put_pixel(x, y, Rgb(if letter { [255; 3] } else { [0; 3] }));
        }
    }
    picture
}
