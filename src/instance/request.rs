//! What a program asks of an instance: plain requests, built step by step, checked when they are used.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::features::Mode;
use crate::image::Pixels;
use crate::region::Region;
use crate::store::OnExisting;
use crate::tags::Tags;

/// Where the pixels, or the vector, of an image come from.
///
/// ```
/// # use lookalike::*;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let picture = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/pictures/cat.jpg"))?;
/// # let gallery = Gallery::open(dir.path())?;
/// # let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search").tags(["album"]))?;
/// let pixels = Pixels::decode(&picture, &SizeLimits::default())?;
/// photos.add(&Add::new("from a file", Source::bytes(&picture)))?;
/// photos.add(&Add::new("from pixels", Source::pixels(pixels)))?;
/// photos.add(&Add::new("from a vector", Source::vector(photos.vector("from a file")?)))?;
/// // One picture, three times.
/// let page = photos.search(&Query::path("from a file").min_sim(1.0))?;
/// assert_eq!(page.count, 3);
/// // Nobody was told how to come by a picture.
/// let refused = photos.add(&Add::new("cat.jpg", Source::Resolve)).unwrap_err();
/// assert_eq!(refused.code(), Code::PictureUnavailable);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Source<'a> {
    /// A JPEG, PNG or BMP file, told apart by its content. Empty bytes count as [`Source::Resolve`], as they do
    /// for the service.
    Bytes(Cow<'a, [u8]>),
    /// Upright pixels. The size limits hold for their sides.
    Pixels(Cow<'a, Pixels>),
    /// Whatever the host's [`Resolver`](crate::Resolver) gives for the path: the service's download from its
    /// object store.
    Resolve,
    /// A vector of the instance's model, made elsewhere: as many finite values as the model has dimensions, no
    /// block of them all zero (else IS.1005 in an add, IS.1008 in a search). Each block is scaled to unit norm.
    Vector(Cow<'a, [f32]>),
}

impl<'a> Source<'a> {
    /// A JPEG, PNG or BMP file.
    pub fn bytes(bytes: impl Into<Cow<'a, [u8]>>) -> Self {
        Self::Bytes(bytes.into())
    }

    /// Upright pixels.
    pub fn pixels(pixels: Pixels) -> Self {
        Self::Pixels(Cow::Owned(pixels))
    }

    /// A vector made elsewhere.
    pub fn vector(values: impl Into<Cow<'a, [f32]>>) -> Self {
        Self::Vector(values.into())
    }
}

/// A request to add an image.
///
/// ```
/// use lookalike::{Add, OnExisting, Source};
/// let add = Add::new("shoes/1.jpg", Source::Resolve).tag("color", "red").on_existing(OnExisting::Keep);
/// assert_eq!(add.path, "shoes/1.jpg");
/// ```
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Add<'a> {
    /// The image's key: 1 to 4096 bytes (IS.2012, IS.0016) without control characters, exact and case-sensitive. Never
    /// opened as a file.
    pub path: Cow<'a, str>,
    /// Where its pixels come from.
    pub source: Source<'a>,
    /// Its tags; their keys must be the instance's.
    #[serde(default)]
    pub tags: Tags,
    /// What to do when the path is there already.
    #[serde(default)]
    pub on_existing: OnExisting,
}

impl<'a> Add<'a> {
    /// An image without tags, which replaces one of the same path.
    pub fn new(path: impl Into<Cow<'a, str>>, source: Source<'a>) -> Self {
        Self { path: path.into(), source, tags: Tags::new(), on_existing: OnExisting::Replace }
    }

    /// Adds one tag value. The limits of [`Tags`] are checked by the add.
    #[must_use]
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags = self.tags.with(key, value);
        self
    }

    /// Sets all tags.
    #[must_use]
    pub fn tags(mut self, tags: Tags) -> Self {
        self.tags = tags;
        self
    }

    /// Says what to do when the path is there already.
    #[must_use]
    pub fn on_existing(mut self, on_existing: OnExisting) -> Self {
        self.on_existing = on_existing;
        self
    }
}

/// A request to give an image new tags.
///
/// ```
/// # use lookalike::*;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let picture = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/pictures/cat.jpg"))?;
/// # let gallery = Gallery::open(dir.path())?;
/// # let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search").tags(["album"]))?;
/// photos.add(&Add::new("cat.jpg", Source::bytes(&picture)).tag("album", "pets"))?;
/// photos.update(&Update::new("cat.jpg", Tags::from([("album", "garden")])))?;
/// let hit = &photos.search(&Query::path("cat.jpg"))?.hits[0];
/// assert_eq!(hit.tags.get("album"), Some(&["garden".to_owned()][..]));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Update<'a> {
    /// The image's key.
    pub path: Cow<'a, str>,
    /// The new tags: at least one key (IS.2009).
    pub tags: Tags,
    /// Whether keys that the new tags do not name are kept. The service drops them, and so does the default.
    #[serde(default)]
    pub merge: bool,
}

impl<'a> Update<'a> {
    /// Replaces all tags of an image.
    pub fn new(path: impl Into<Cow<'a, str>>, tags: Tags) -> Self {
        Self { path: path.into(), tags, merge: false }
    }

    /// Keeps the values of keys that the new tags do not name.
    ///
    /// ```
    /// # use lookalike::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let gallery = Gallery::open(dir.path())?;
    /// # let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search").tags(["album", "year"]))?;
    /// # let vector: Vec<f32> = (0..256).map(|i| (i % 7) as f32 + 1.0).collect();
    /// photos.add(&Add::new("a.jpg", Source::vector(&vector)).tag("album", "pets").tag("year", "2025"))?;
    /// photos.update(&Update::new("a.jpg", Tags::from([("year", "2026")])).merge())?;
    /// let tags = photos.search(&Query::path("a.jpg"))?.hits.remove(0).tags;
    /// assert_eq!(tags, Tags::from([("album", "pets"), ("year", "2026")]));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn merge(mut self) -> Self {
        self.merge = true;
        self
    }
}

/// A request to delete an image. A path turns into one.
///
/// ```
/// # use lookalike::*;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let picture = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/pictures/cat.jpg"))?;
/// # let gallery = Gallery::open(dir.path())?;
/// # let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search").tags(["album"]))?;
/// photos.add(&Add::new("cat.jpg", Source::bytes(&picture)))?;
/// assert!(photos.delete("cat.jpg")?);
/// assert_eq!(photos.delete("cat.jpg").unwrap_err().code(), Code::DeleteRefused);
/// assert!(!photos.delete(Delete::new("cat.jpg").if_exists())?);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Delete<'a> {
    /// The image's key.
    pub path: Cow<'a, str>,
    /// Whether a path that is not there is fine. It is an error to the service (IS.1006), and by default.
    #[serde(default)]
    pub if_exists: bool,
}

impl<'a> Delete<'a> {
    /// Deletes an image that must be there.
    pub fn new(path: impl Into<Cow<'a, str>>) -> Self {
        Self { path: path.into(), if_exists: false }
    }

    /// A path that is not there is fine.
    #[must_use]
    pub fn if_exists(mut self) -> Self {
        self.if_exists = true;
        self
    }
}

impl<'a> From<&'a str> for Delete<'a> {
    fn from(path: &'a str) -> Self {
        Self::new(path)
    }
}

impl From<String> for Delete<'_> {
    fn from(path: String) -> Self {
        Self::new(path)
    }
}

impl<'a> From<&'a String> for Delete<'a> {
    fn from(path: &'a String) -> Self {
        Self::new(path.as_str())
    }
}

/// How much of an instance a search looks at.
///
/// Small instances (below [`train_rows`](crate::GalleryBuilder::train_rows)), small filters and [`Exact`](Self::Exact) read
/// every image that passes; other searches read the lists of the index that are nearest to the query, as many as were
/// measured, on the instance's own images, to hold the wanted share of the best hits.
/// [`Found`](crate::Found) says which it was.
///
/// ```
/// # use lookalike::*;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// let gallery = Gallery::builder(dir.path()).train_rows(400).open()?;
/// let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search"))?;
/// # let vector = |i: u32| (0..256).map(|d| ((i * (d + 3) * 7919) % 1009) as f32 - 504.0).collect::<Vec<f32>>();
/// photos.import((0..500).map(|i| Add::new(format!("{i}.jpg"), Source::vector(vector(i)))))?;
/// let exact = photos.search(&Query::vector(vector(42)).effort(Effort::Exact))?;
/// assert!(exact.found.exact && exact.found.rows_scanned == 500);
/// let fast = photos.search(&Query::vector(vector(42)).effort(Effort::Fast))?;
/// assert!(fast.found.lists_probed > 0);
/// assert_eq!(fast.hits[0], exact.hits[0]);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Effort {
    /// Quick: some 95 of 100 of the best hits.
    Fast,
    /// The balance that suits most programs: some 98 of 100.
    #[default]
    Default,
    /// Slower: more than 99 of 100.
    High,
    /// Every image: what brute force over the stored vectors would give.
    Exact,
}

/// A search: by a picture, a stored image, a vector, tags, or a picture and tags.
///
/// With tags the images that match them are ranked, and no others: first filtered, then ranked.
///
/// It can be kept and sent (serde): a field that is left out has its default, and what is wrong is told by the search. Bytes
/// are then lists of numbers; the module `wire` reads the service's own form, in base64.
///
/// ```
/// # use lookalike::*;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let picture = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/pictures/cat.jpg"))?;
/// # let gallery = Gallery::open(dir.path())?;
/// # let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search").tags(["album"]))?;
/// photos.add(&Add::new("cat.jpg", Source::bytes(&picture)).tag("album", "pets"))?;
///
/// let query = Query::image(&picture).tag("album", "pets").region(Region::new(40, 30, 200, 150)).limit(5);
/// let page = photos.search(&query)?;
/// assert_eq!((page.count, page.hits[0].path.as_str()), (1, "cat.jpg"));
/// assert!(page.hits[0].sim > Some(0.5) && page.hits[0].sim < Some(1.0));
/// assert_eq!(photos.search(&Query::path("cat.jpg").exclude_self())?.hits, []);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Query<'a> {
    /// The picture, or the vector, to search by. Empty bytes count as none.
    pub source: Option<Source<'a>>,
    /// The path to search by, when there is no picture: an image of the instance, or a picture that the host's
    /// resolver gives.
    pub path: Option<Cow<'a, str>>,
    /// Only images with these tags: for each key one of its values.
    pub tags: Tags,
    /// Hits of a page, 1 to 100 (IS.1010).
    pub limit: u32,
    /// Hits before the page's first; any number, and beyond the last the page is empty.
    pub offset: u64,
    /// The part of the upright query picture to search by, in its pixels (IS.1008 if it does not fit).
    pub region: Option<Region>,
    /// `Some(false)` ignores the region, `Some(true)` demands one, `None` uses it if it is there.
    pub is_crop: Option<bool>,
    /// How the blocks of the vectors are weighed. `None` is [`Mode::Default`], and [`Mode::Balanced`] with a
    /// region.
    pub mode: Option<Mode>,
    /// How much of the instance to look at.
    pub effort: Effort,
    /// Only hits at or above this `sim`, 0 to 1 (IS.1008). Does nothing to a search by tags alone.
    pub min_sim: Option<f32>,
    /// Leaves the image out that a search by path starts from.
    pub exclude_self: bool,
    /// No further list of the index is begun after so long: bounds the time of a search that meets many. Pages of a
    /// search that was cut short may overlap.
    pub budget: Option<Duration>,
}

impl Default for Query<'_> {
    /// Nothing asked yet, for ten hits.
    fn default() -> Self {
        Self {
            source: None,
            path: None,
            tags: Tags::new(),
            limit: crate::limits::DEFAULT_LIMIT,
            offset: 0,
            region: None,
            is_crop: None,
            mode: None,
            effort: Effort::Default,
            min_sim: None,
            exclude_self: false,
            budget: None,
        }
    }
}

impl<'a> Query<'a> {
    fn new() -> Self {
        Self::default()
    }

    /// By a picture: the bytes of a JPEG, PNG or BMP file.
    pub fn image(bytes: impl Into<Cow<'a, [u8]>>) -> Self {
        Self::source(Source::Bytes(bytes.into()))
    }

    /// By upright pixels.
    ///
    /// ```
    /// # use lookalike::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let picture = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/pictures/cat.jpg"))?;
    /// # let gallery = Gallery::open(dir.path())?;
    /// # let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search").tags(["album"]))?;
    /// let pixels = Pixels::decode(&picture, &SizeLimits::default())?;
    /// photos.add(&Add::new("cat.jpg", Source::pixels(pixels.clone())))?;
    /// let half = View::whole(&pixels).fraction(0.0, 0.0, 0.5, 1.0).ok_or("no pixel")?;
    /// let page = photos.search(&Query::pixels(half.to_pixels()).mode(Mode::Copy))?;
    /// assert!(page.hits[0].sim > Some(0.2));
    /// # Ok(()) }
    /// ```
    pub fn pixels(pixels: Pixels) -> Self {
        Self::source(Source::pixels(pixels))
    }

    /// By a vector of the instance's model.
    pub fn vector(values: impl Into<Cow<'a, [f32]>>) -> Self {
        Self::source(Source::Vector(values.into()))
    }

    /// By any source.
    pub fn source(source: Source<'a>) -> Self {
        Self { source: Some(source), ..Self::new() }
    }

    /// By an image of the instance.
    pub fn path(path: impl Into<Cow<'a, str>>) -> Self {
        Self { path: Some(path.into()), ..Self::new() }
    }

    /// A path beside the picture, as the service's requests may carry one: it is used when the picture is empty.
    ///
    /// ```
    /// # use lookalike::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let gallery = Gallery::open(dir.path())?;
    /// # let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search").tags(["album"]))?;
    /// # let vector: Vec<f32> = (0..256).map(|i| (i % 7) as f32 + 1.0).collect();
    /// photos.add(&Add::new("a.jpg", Source::vector(&vector)))?;
    /// let page = photos.search(&Query::image(&[][..]).or_path("a.jpg"))?;
    /// assert_eq!(page.hits[0].path, "a.jpg");
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn or_path(mut self, path: impl Into<Cow<'a, str>>) -> Self {
        self.path = Some(path.into());
        self
    }

    /// By tags alone: hits in the order they were added, without a `sim`.
    ///
    /// ```
    /// # use lookalike::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let gallery = Gallery::open(dir.path())?;
    /// # let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search").tags(["album"]))?;
    /// # let vector: Vec<f32> = (0..256).map(|i| (i % 7) as f32 + 1.0).collect();
    /// # let other: Vec<f32> = (0..256).map(|i| (i % 11) as f32 - 5.0).collect();
    /// photos.add(&Add::new("a.jpg", Source::vector(&vector)).tag("album", "pets"))?;
    /// photos.add(&Add::new("b.jpg", Source::vector(&other)).tag("album", "pets"))?;
    /// let page = photos.search(&Query::tags(Tags::from([("album", "pets")])))?;
    /// let found: Vec<_> = page.hits.iter().map(|hit| (hit.path.as_str(), hit.sim)).collect();
    /// assert_eq!(found, [("a.jpg", None), ("b.jpg", None)]);
    /// # Ok(()) }
    /// ```
    pub fn tags(tags: Tags) -> Self {
        Self { tags, ..Self::new() }
    }

    /// Only images with this tag, too.
    #[must_use]
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags = self.tags.with(key, value);
        self
    }

    /// Only images with these tags, in place of those that were set before.
    ///
    /// ```
    /// # use lookalike::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let gallery = Gallery::open(dir.path())?;
    /// # let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search").tags(["album"]))?;
    /// # let vector: Vec<f32> = (0..256).map(|i| (i % 7) as f32 + 1.0).collect();
    /// # let other: Vec<f32> = (0..256).map(|i| (i % 11) as f32 - 5.0).collect();
    /// photos.add(&Add::new("a.jpg", Source::vector(&vector)).tag("album", "pets"))?;
    /// photos.add(&Add::new("b.jpg", Source::vector(&other)).tag("album", "garden"))?;
    /// let garden = Tags::new().with_values("album", ["garden", "house"]);
    /// let page = photos.search(&Query::vector(&vector).filter(garden))?;
    /// assert_eq!((page.count, page.hits[0].path.as_str()), (1, "b.jpg"));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn filter(mut self, tags: Tags) -> Self {
        self.tags = tags;
        self
    }

    /// Hits of a page, 1 to 100 (IS.1010 otherwise); 10 unless it is set.
    ///
    /// ```
    /// # use lookalike::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let gallery = Gallery::open(dir.path())?;
    /// # let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search").tags(["album"]))?;
    /// # let vector: Vec<f32> = (0..256).map(|i| (i % 7) as f32 + 1.0).collect();
    /// for limit in [0, 101] {
    ///     let refused = photos.search(&Query::vector(&vector).limit(limit)).unwrap_err();
    ///     assert_eq!(refused.code(), Code::LimitInvalid);
    /// }
    /// assert!(photos.search(&Query::vector(&vector).limit(100)).is_ok());
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn limit(mut self, limit: u32) -> Self {
        self.limit = limit;
        self
    }

    /// Hits to skip, 0 unless it is set. Pages agree with each other within one [`Reader`](crate::Reader).
    #[must_use]
    pub fn offset(mut self, offset: u64) -> Self {
        self.offset = offset;
        self
    }

    /// Only a part of the query picture, which must lie wholly inside it (IS.1008 otherwise).
    #[must_use]
    pub fn region(mut self, region: Region) -> Self {
        self.region = Some(region);
        self
    }

    /// The service's `is_crop`: whether to use the region.
    ///
    /// ```
    /// # use lookalike::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let picture = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/pictures/cat.jpg"))?;
    /// # let gallery = Gallery::open(dir.path())?;
    /// # let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search").tags(["album"]))?;
    /// photos.add(&Add::new("cat.jpg", Source::bytes(&picture)))?;
    /// let part = Query::image(&picture).region(Region::new(40, 30, 200, 150));
    /// assert!(photos.search(&part)?.hits[0].sim < Some(1.0));
    /// assert_eq!(photos.search(&part.is_crop(false))?.hits[0].sim, Some(1.0));
    /// let refused = photos.search(&Query::image(&picture).is_crop(true)).unwrap_err();
    /// assert_eq!(refused.code(), Code::ParameterMissing);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn is_crop(mut self, is_crop: bool) -> Self {
        self.is_crop = Some(is_crop);
        self
    }

    /// How the blocks of the vectors are weighed.
    ///
    /// ```
    /// # use lookalike::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let gallery = Gallery::open(dir.path())?;
    /// # let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search").tags(["album"]))?;
    /// # let vector: Vec<f32> = (0..256).map(|i| (i % 7) as f32 + 1.0).collect();
    /// # let other: Vec<f32> = (0..256).map(|i| (i % 11) as f32 - 5.0).collect();
    /// // The same semantic block, and another copy block.
    /// let edited: Vec<f32> = [&vector[..160], &other[160..]].concat();
    /// photos.add(&Add::new("a.jpg", Source::vector(&edited)))?;
    /// let sim = |mode| photos.search(&Query::vector(&vector).mode(mode)).map(|page| page.hits[0].sim);
    /// assert!(sim(Mode::Semantic)? > Some(0.99) && sim(Mode::Copy)? < sim(Mode::Default)?);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = Some(mode);
        self
    }

    /// How much of the instance to look at; [`Effort`] has an example.
    #[must_use]
    pub fn effort(mut self, effort: Effort) -> Self {
        self.effort = effort;
        self
    }

    /// Only hits at or above this `sim`, 0 to 1 (IS.1008 otherwise).
    ///
    /// ```
    /// # use lookalike::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let gallery = Gallery::open(dir.path())?;
    /// # let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search").tags(["album"]))?;
    /// # let vector: Vec<f32> = (0..256).map(|i| (i % 7) as f32 + 1.0).collect();
    /// # let other: Vec<f32> = (0..256).map(|i| (i % 11) as f32 - 5.0).collect();
    /// photos.add(&Add::new("a.jpg", Source::vector(&vector)))?;
    /// photos.add(&Add::new("b.jpg", Source::vector(&other)))?;
    /// // None at all is an answer, too.
    /// assert_eq!(photos.search(&Query::path("a.jpg").exclude_self().min_sim(0.9))?.count, 0);
    /// assert_eq!(photos.search(&Query::vector(&vector).min_sim(0.9))?.count, 1);
    /// let refused = photos.search(&Query::vector(&vector).min_sim(90.0)).unwrap_err();
    /// assert_eq!(refused.code(), Code::SearchRefused);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn min_sim(mut self, min_sim: f32) -> Self {
        self.min_sim = Some(min_sim);
        self
    }

    /// Leaves out the image that a search by path starts from.
    #[must_use]
    pub fn exclude_self(mut self) -> Self {
        self.exclude_self = true;
        self
    }

    /// Begins no further list of the index after so long. It has no effect where there are no lists, and on the time that
    /// the picture takes.
    ///
    /// ```
    /// # use lookalike::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let gallery = Gallery::open(dir.path())?;
    /// # let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search").tags(["album"]))?;
    /// # let vector: Vec<f32> = (0..256).map(|i| (i % 7) as f32 + 1.0).collect();
    /// photos.add(&Add::new("a.jpg", Source::vector(&vector)))?;
    /// let page = photos.search(&Query::vector(&vector).budget(std::time::Duration::from_millis(2)))?;
    /// assert!(page.found.exact);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn budget(mut self, budget: Duration) -> Self {
        self.budget = Some(budget);
        self
    }
}
