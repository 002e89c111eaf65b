//! A model of one's own: what turns a picture into a vector is a trait, and the rest of the library does not ask how.
//!
//! ```text
//! cargo run --release --example own_model
//! cargo run --release --example own_model -- --pictures MY_FOLDER
//! ```
//!
//! The model here has two blocks: colours (a histogram of hue and brightness) and edges (how strong they are, by direction
//! and place). A network of your own goes in the same place. It ends with an error if the model does not do what it should.

use std::error::Error;
use std::path::PathBuf;

use clap::Parser;
use lookalike::{
    Add, BatchOptions, CreateInstance, EmbedError, Embedder, Embedding, Gallery, Mode, Query, SizeLimits,
    Source, View,
};

/// Searches a folder with a model of colours and edges.
#[derive(Parser)]
struct Options {
    /// A folder of pictures; those of the repository by default.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/pictures"))]
    pictures: PathBuf,
}

/// Colours in 12 hues of 4 brightnesses each and 4 greys; edges in 8 directions over 4 x 4 fields.
struct ColourAndEdges;

const COLOURS: usize = 12 * 4 + 4;
const FIELDS: u32 = 4;
const DIRECTIONS: usize = 8;
const EDGES: usize = (FIELDS * FIELDS) as usize * DIRECTIONS;

impl Embedder for ColourAndEdges {
    fn name(&self) -> &str {
        "colour-edges"
    }

    /// To be raised whenever the same picture would get another vector: an instance of another version is then refused, for
    /// vectors of two versions must not be compared.
    fn version(&self) -> u32 {
        1
    }

    fn blocks(&self) -> &[usize] {
        &[COLOURS, EDGES]
    }

    /// A `view` is the picture or the box that somebody searches by: upright pixels, row by row.
    fn embed(&self, view: View<'_>) -> Result<Embedding, EmbedError> {
        let rows: Vec<&[u8]> = view.rows().collect();
        let mut vector = vec![0.0f32; COLOURS + EDGES];
        let (colours, edges) = vector.split_at_mut(COLOURS);
        for pixel in rows.iter().flat_map(|row| row.chunks_exact(3)) {
            colours[colour([pixel[0], pixel[1], pixel[2]])] += 1.0;
        }
        // Large fields would drown small ones.
        colours.iter_mut().for_each(|share| *share = share.sqrt());

        let grey = |x: u32, y: u32| {
            let at = x as usize * 3;
            rows[y as usize][at..at + 3].iter().map(|&v| f32::from(v)).sum::<f32>() / 3.0
        };
        let (width, height) = (view.width(), view.height());
        for y in 1..height.saturating_sub(1) {
            for x in 1..width.saturating_sub(1) {
                let (dx, dy) = (grey(x + 1, y) - grey(x - 1, y), grey(x, y + 1) - grey(x, y - 1));
                let turn = dy.atan2(dx) / std::f32::consts::TAU + 0.5;
                let direction = (turn * DIRECTIONS as f32) as usize % DIRECTIONS;
                let field = y * FIELDS / height * FIELDS + x * FIELDS / width;
                edges[field as usize * DIRECTIONS + direction] += dx.hypot(dy);
            }
        }
        // A block must not be all zero: a picture without any edge is the same in all directions.
        edges.iter_mut().for_each(|strength| *strength = (*strength + 1.0).sqrt());
        Ok(Embedding { vector, hash: None })
    }

    /// `Semantic` asks for pictures of the same kind: edges count more. The other modes weigh both alike.
    fn weights(&self, mode: Mode) -> Vec<f32> {
        if mode == Mode::Semantic { vec![1.0, 3.0] } else { vec![1.0, 1.0] }
    }

    /// From the mean cosine to `sim`: any two pictures share a good deal of both histograms, so little is similar below .7.
    fn calibration(&self, _mode: Mode) -> &[(f32, f32)] {
        &[(0.0, 0.0), (0.7, 0.1), (0.9, 0.5), (1.0, 1.0)]
    }
}

/// Which of the colours a pixel is.
fn colour([r, g, b]: [u8; 3]) -> usize {
    let [r, g, b] = [r, g, b].map(i32::from);
    let (high, low) = (r.max(g).max(b), r.min(g).min(b));
    if high - low < 24 {
        return 48 + (high * 4 / 256) as usize;
    }
    let range = high - low;
    // Sixtieths of a turn, in 0..360.
    let hue = if high == r {
        60 * (g - b) / range
    } else if high == g {
        120 + 60 * (b - r) / range
    } else {
        240 + 60 * (r - g) / range
    };
    let hue = hue.rem_euclid(360) / 30;
    (hue * 4 + high * 4 / 256) as usize
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let dir = tempfile::tempdir()?;
    let pictures = options.pictures.clone();
    let resolver = move |path: &str| Ok(std::fs::read(pictures.join(path))?);

    // Registered under its name; instances that were created with it need it at every opening.
    let limits = SizeLimits::any();
    let gallery =
        Gallery::builder(dir.path()).model(ColourAndEdges).size_limits(limits).resolver(resolver).open()?;
    let instance = gallery.open_or_create(&CreateInstance::new("pictures", "colour-edges"))?;

    let mut names: Vec<String> = std::fs::read_dir(&options.pictures)?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| [".jpg", ".jpeg", ".png", ".bmp"].iter().any(|end| name.to_lowercase().ends_with(end)))
        .collect();
    names.sort_unstable();
    let adds: Vec<Add<'_>> = names.iter().map(|name| Add::new(name, Source::Resolve)).collect();
    for (name, added) in names.iter().zip(instance.add_batch(&adds, &BatchOptions::new())) {
        if let Err(error) = added {
            println!("Skipped {name}: {error:#}");
        }
    }
    println!("{} pictures, blocks of {:?} values", instance.len()?, instance.blocks());

    for name in &names {
        if !instance.check(name)? {
            continue;
        }
        // The same picture has `sim` 1 whatever the model.
        let bytes = std::fs::read(options.pictures.join(name))?;
        let hits = instance.search(&Query::image(bytes).limit(3))?.hits;
        let line: Vec<String> =
            hits.iter().map(|hit| format!("{} {:.3}", hit.path, hit.sim.unwrap_or_default())).collect();
        println!("{name:16} {}", line.join("   "));
        if !hits.iter().any(|hit| hit.path == *name && hit.sim == Some(1.0)) {
            return Err(format!("{name} is not found by itself").into());
        }
    }

    // Without the model the instance is refused, not searched with another.
    drop((instance, gallery));
    match Gallery::open(dir.path())?.instance("pictures") {
        Err(error) => println!("Without the model: {error}"),
        Ok(_) => return Err("an instance opened without its model".into()),
    }
    Ok(())
}
