//! Paths, tags and vectors to Apache Parquet and back: for what a larger engine is to take over, and for a move to another
//! instance.
//!
//! ```text
//! cargo run --release --example export                                                  # shows a round trip
//! cargo run --release --example export -- --gallery G --instance photos --to photos.parquet
//! cargo run --release --example export -- --gallery H --instance photos --from photos.parquet
//! ```
//!
//! The columns: `path` (UTF-8); `tags` (UTF-8: an object in JSON, from a key to a value or a list of values); `vector` (a list of
//! f32: what is stored, for the way back); `search_vector` (a list of f32, of unit norm: the dot product of two of these is the
//! raw score of the default mode, so it is the one for an engine with a plain inner product).
//!
//! Perceptual hashes are not in it: images that come back are found by vectors as before, and `find_copies` says less of
//! them.

use std::error::Error;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Parser;
use lookalike::{Add, CreateInstance, Effort, Gallery, Instance, Mode, Query, Source, Stored, Tags};
use parquet::data_type::{ByteArray, ByteArrayType, FloatType};
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use parquet::record::{List, Row, RowAccessor};
use parquet::schema::parser::parse_message_type;

/// Rows of a row group: what is in memory at a time.
const GROUP: usize = 4096;

const SCHEMA: &str = "message images {
  required binary path (STRING);
  required binary tags (STRING);
  required group vector (LIST) { repeated group list { required float element; } }
  required group search_vector (LIST) { repeated group list { required float element; } }
}";

/// Writes an instance to Parquet, or reads one.
#[derive(Parser)]
struct Options {
    /// The gallery's directory; without it, a round trip of the repository's pictures is shown.
    #[arg(long)]
    gallery: Option<PathBuf>,
    /// The instance; made with the keys of the file's tags when it is read.
    #[arg(long, default_value = "pictures")]
    instance: String,
    /// The file to write.
    #[arg(long, requires = "gallery", conflicts_with = "from")]
    to: Option<PathBuf>,
    /// The file to read.
    #[arg(long, requires = "gallery")]
    from: Option<PathBuf>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let Some(dir) = &options.gallery else { return round_trip() };
    let gallery = Gallery::open(dir)?;
    match (&options.to, &options.from) {
        (Some(file), _) => {
            let written = export(&gallery.instance(&options.instance)?, file)?;
            println!("{written} images in {}", file.display());
        }
        (None, Some(file)) => {
            let (instance, read) = import(&gallery, &options.instance, file)?;
            println!("{read} images read; the instance has {}", instance.len()?);
        }
        (None, None) => return Err("--to or --from is needed".into()),
    }
    Ok(())
}

/// Writes every image, of one state of the instance.
fn export(instance: &Instance, file: &Path) -> Result<u64, Box<dyn Error>> {
    let reader = instance.reader()?;
    let (schema, properties) = (Arc::new(parse_message_type(SCHEMA)?), Arc::new(WriterProperties::new()));
    let mut writer = SerializedFileWriter::new(File::create(file)?, schema, properties)?;
    let mut images = reader.iter()?;
    let mut written = 0;
    loop {
        let group: Vec<Stored> = images.by_ref().take(GROUP).collect::<lookalike::Result<_>>()?;
        if group.is_empty() {
            break;
        }
        let text = |texts: Vec<String>| -> Vec<ByteArray> {
            texts.into_iter().map(|text| text.into_bytes().into()).collect()
        };
        let tags =
            group.iter().map(|image| serde_json::to_string(&image.tags)).collect::<Result<Vec<_>, _>>()?;
        let vectors = group.iter().map(|image| reader.vector(&image.path));
        let vectors: Vec<Vec<f32>> = vectors.collect::<lookalike::Result<_>>()?;
        let weighted = group.iter().map(|image| reader.weighted_vector(&image.path, Mode::Default));
        let weighted: Vec<Vec<f32>> = weighted.collect::<lookalike::Result<_>>()?;
        written += group.len() as u64;
        let paths = group.into_iter().map(|image| image.path).collect();

        let mut rows = writer.next_row_group()?;
        for texts in [text(paths), text(tags)] {
            let mut column = rows.next_column()?.ok_or("a column is missing")?;
            column.typed::<ByteArrayType>().write_batch(&texts, None, None)?;
            column.close()?;
        }
        for lists in [vectors, weighted] {
            // A list begins where the repetition level is 0; all values are there, so the definition level is 1.
            let starts = |list: &Vec<f32>| (0..list.len()).map(|at| i16::from(at > 0)).collect::<Vec<_>>();
            let repetitions: Vec<i16> = lists.iter().flat_map(starts).collect();
            let definitions = vec![1; repetitions.len()];
            let mut column = rows.next_column()?.ok_or("a column is missing")?;
            column.typed::<FloatType>().write_batch(
                &lists.concat(),
                Some(&definitions),
                Some(&repetitions),
            )?;
            column.close()?;
        }
        rows.close()?;
    }
    writer.close()?;
    Ok(written)
}

/// Adds what a file has to an instance, which is made if it is not there.
fn import(gallery: &Gallery, name: &str, file: &Path) -> Result<(Instance, u64), Box<dyn Error>> {
    let reader = SerializedFileReader::new(File::open(file)?)?;
    // The keys first: an instance knows the keys of its tags.
    let mut keys: Vec<String> = Vec::new();
    for row in
        reader.get_row_iter(Some(parse_message_type("message images { required binary tags (STRING); }")?))?
    {
        let tags: Tags = serde_json::from_str(row?.get_string(0)?)?;
        keys.extend(tags.iter().map(|(key, _)| key.to_owned()));
        keys.sort_unstable();
        keys.dedup();
    }
    let instance = gallery.open_or_create(&CreateInstance::new(name, "common-search").tags(keys))?;
    let mut bad = None;
    let adds = reader.get_row_iter(None)?.map_while(|row| {
        let add = row.map_err(Box::<dyn Error>::from).and_then(|row| add(&row));
        add.map_err(|error| bad = Some(error)).ok()
    });
    // Without the log: the quickest way for many, and durable as a whole.
    let imported = instance.import(adds)?;
    if let Some(error) = bad {
        return Err(error);
    }
    for (place, error) in &imported.failures {
        println!("Row {place}: {error:#}");
    }
    Ok((instance, imported.added + imported.replaced))
}

fn add(row: &Row) -> Result<Add<'static>, Box<dyn Error>> {
    let list: &List = row.get_list(2)?;
    let values = list.elements().iter().map(|field| match field {
        parquet::record::Field::Float(value) => Ok(*value),
        other => Err(format!("{other} in a vector")),
    });
    let vector: Vec<f32> = values.collect::<Result<_, _>>()?;
    let tags: Tags = serde_json::from_str(row.get_string(1)?)?;
    Ok(Add::new(row.get_string(0)?.clone(), Source::vector(vector)).tags(tags))
}

/// The pictures of the repository to a file and into a new instance, which must be equal.
fn round_trip() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let gallery = Gallery::open(dir.path())?;
    let create = CreateInstance::new("before", "common-search").tags(["letter", "length"]);
    let before = gallery.open_or_create(&create)?;
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/pictures"));
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if let Some(stem) = name.strip_suffix(".jpg") {
            let letters = stem.chars().map(String::from);
            let tags = Tags::new().with_values("letter", letters).with("length", stem.len().to_string());
            before.add(
                &Add::new(name.as_str(), Source::bytes(std::fs::read(folder.join(&name))?)).tags(tags),
            )?;
        }
    }
    let file = dir.path().join("images.parquet");
    let written = export(&before, &file)?;
    let (after, read) = import(&gallery, "after", &file)?;

    let all = |instance: &Instance| instance.iter()?.collect::<lookalike::Result<Vec<Stored>>>();
    let (images, back) = (all(&before)?, all(&after)?);
    let mut equal = images == back && written == read;
    for image in &images {
        equal &= before.vector(&image.path)? == after.vector(&image.path)?;
        let query = Query::path(&image.path).effort(Effort::Exact);
        equal &= before.search(&query)? == after.search(&query)?;
        // What another engine would score is what the library does.
        let (a, b) = (
            before.weighted_vector(&image.path, Mode::Default)?,
            after.weighted_vector(&image.path, Mode::Default)?,
        );
        let norm: f32 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
        equal &= (norm - 1.0).abs() < 1e-4;
    }
    println!("{written} images, {} bytes; equal after the way back: {equal}", file.metadata()?.len());
    if equal { Ok(()) } else { Err("what came back differs".into()) }
}
