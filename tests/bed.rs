//! What the tests stand on: a gallery on a disk that can fail, small models, pictures made on the spot.

use std::path::{Path, PathBuf};

pub use crate::random::Random;
use lookalike::testing::FaultDisk;
use lookalike::{
    Add, CreateInstance, EmbedError, Embedder, Embedding, Gallery, GalleryBuilder, Instance, Query, Source,
    View,
};
use tempfile::TempDir;

/// Mean red, green and blue, and a constant: four dimensions, quick, and never zero.
pub struct Average;

impl Embedder for Average {
    fn name(&self) -> &str {
        "average"
    }
    fn version(&self) -> u32 {
        1
    }
    fn blocks(&self) -> &[usize] {
        &[4]
    }
    fn embed(&self, view: View<'_>) -> Result<Embedding, EmbedError> {
        let mut sums = [0u64; 3];
        for pixel in view.rows().flat_map(|row| row.chunks_exact(3)) {
            sums.iter_mut().zip(pixel).for_each(|(sum, &v)| *sum += u64::from(v));
        }
        let count = u64::from(view.width()) * u64::from(view.height());
        let mut vector: Vec<f32> = sums.iter().map(|&sum| (sum / count) as f32).collect();
        vector.push(1.0);
        Ok(Embedding { vector, hash: None })
    }
}

pub struct Bed {
    pub dir: TempDir,
    pub disk: FaultDisk,
    pub gallery: Gallery,
}

impl Bed {
    pub fn new() -> Self {
        Self::with(|builder| builder)
    }

    /// A gallery with more options; the model `average` and the fault disk are always there.
    pub fn with(options: impl FnOnce(GalleryBuilder) -> GalleryBuilder) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let disk = FaultDisk::new();
        // Without threads, so that faults meet the calls that the tests mean.
        let builder = Gallery::builder(dir.path().join("root")).fault_disk(disk.clone()).model(Average);
        let builder = builder.background(false);
        let gallery = options(builder).open().unwrap();
        Self { dir, disk, gallery }
    }

    pub fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// An instance `shoes` of the model `average` with the tag keys `color` and `kind`.
    pub fn shoes(&self) -> Instance {
        self.gallery.create(&CreateInstance::new("shoes", "average").tags(["color", "kind"])).unwrap();
        self.gallery.instance("shoes").unwrap()
    }

    /// The one file of the instance `shoes` whose name begins with `prefix`.
    pub fn file(&self, prefix: &str) -> PathBuf {
        self.file_of("shoes", prefix)
    }

    /// The last file of an instance whose name begins so.
    pub fn file_of(&self, instance: &str, prefix: &str) -> PathBuf {
        let mut names: Vec<PathBuf> = std::fs::read_dir(self.root().join(instance))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with(prefix))
            .collect();
        names.sort();
        names.pop().unwrap_or_else(|| panic!("no file {prefix}*"))
    }
}

/// An instance that keeps its gallery alive.
pub struct Shoes {
    instance: Instance,
    _bed: Bed,
}

impl std::ops::Deref for Shoes {
    type Target = Instance;
    fn deref(&self) -> &Instance {
        &self.instance
    }
}

/// The instance `shoes` in a gallery of its own.
pub fn shoes() -> Shoes {
    shoes_with(|builder| builder)
}

/// The same, with options for the gallery.
pub fn shoes_with(options: impl FnOnce(GalleryBuilder) -> GalleryBuilder) -> Shoes {
    let bed = Bed::with(options);
    Shoes { instance: bed.shoes(), _bed: bed }
}

/// Changes one byte of a file.
pub fn flip(file: &Path, at: usize) {
    let mut bytes = std::fs::read(file).unwrap();
    bytes[at] ^= 0x40;
    std::fs::write(file, bytes).unwrap();
}

/// Where `needle` first is in a file.
pub fn find(file: &Path, needle: &[u8]) -> usize {
    let bytes = std::fs::read(file).unwrap();
    bytes.windows(needle.len()).position(|window| window == needle).expect("the bytes are in the file")
}

/// A 24-bit BMP of one colour.
pub fn bmp(width: u32, height: u32, [r, g, b]: [u8; 3]) -> Vec<u8> {
    bmp_of(width, height, |_, _| [r, g, b])
}

/// A 24-bit BMP of a function of x and y, from the top left.
pub fn bmp_of(width: u32, height: u32, pixel: impl Fn(u32, u32) -> [u8; 3]) -> Vec<u8> {
    let row = (width as usize * 3).next_multiple_of(4);
    let len = 54 + row * height as usize;
    let mut out = b"BM".to_vec();
    for field in [len as u32, 0, 54, 40, width, height, 1 | 24 << 16, 0, 0, 2835, 2835, 0, 0] {
        out.extend_from_slice(&field.to_le_bytes());
    }
    for y in (0..height).rev() {
        let start = out.len();
        for x in 0..width {
            let [r, g, b] = pixel(x, y);
            out.extend_from_slice(&[b, g, r]);
        }
        out.resize(start + row, 0);
    }
    out
}

/// A picture shipped with the examples.
pub fn shipped(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/pictures").join(name);
    std::fs::read(path).unwrap()
}

/// Adds a picture of one colour.
pub fn add(instance: &Instance, path: &str, colour: [u8; 3]) {
    instance.add(&Add::new(path, Source::bytes(bmp(100, 100, colour)))).unwrap();
}

/// Paths of a search's hits.
pub fn paths(instance: &Instance, query: &Query<'_>) -> Vec<String> {
    instance.search(query).unwrap().hits.into_iter().map(|hit| hit.path).collect()
}
