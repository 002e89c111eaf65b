//! Copies: the second answer, to whether an image is this very picture, edited.

use std::borrow::Cow;

use roaring::RoaringBitmap;
use serde::{Deserialize, Serialize};

use super::search::{Passing, Reader};
use super::{Found, Instance, Source, check_path};
use crate::error::{Cause, Operation, Result};
use crate::features::{CopyTarget, FLAT_COPY, Mode, TargetView};
use crate::image::Pixels;
use crate::index::{self, CodedView, CopyCode, HASH_MOST, Place, QueryCode, Ranked, Reach, Score, Top};
use crate::limits::{DEFAULT_LIMIT, MAX_LIMIT};
use crate::refusal::Refusal;
use crate::region::{Region, View};
use crate::store::{Look, Looked, StoreError};
use crate::tags::{Filter, TagSet, Tags};
use crate::trace::span;
use crate::vector::{Layout, RowCode};

/// Images whose vectors are nearest are looked at with their hashes: so many, and as many again as hits are asked for.
const CANDIDATES: u32 = 256;

/// So many images are all read, if lists or not.
const READ_ALL: u64 = 10_000;

/// A search for copies of a picture: the same picture scaled, recompressed, recoloured, cropped, bordered, overlaid.
///
/// [`Query`](crate::Query) asks how similar images are; this asks whether they are the same picture. See
/// [`Instance::find_copies`].
///
/// ```
/// # use lookalike::*;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let picture = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/pictures/cat.jpg"))?;
/// # let gallery = Gallery::open(dir.path())?;
/// # let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search").tags(["album"]))?;
/// photos.add(&Add::new("cat.jpg", Source::bytes(&picture)))?;
/// // A part of it, as if somebody had cut it out.
/// let part = CopyQuery::image(&picture).region(Region::new(60, 20, 380, 270));
/// let copies = photos.find_copies(&part.robust().min_copy(0.5))?;
/// assert_eq!(copies.hits[0].path, "cat.jpg");
/// assert!(copies.quality > Some(10));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct CopyQuery<'a> {
    /// The picture to find copies of. Empty bytes count as none.
    pub source: Option<Source<'a>>,
    /// The path to search by, when there is no picture: an image of the instance, or a picture that the host's
    /// resolver gives.
    pub path: Option<Cow<'a, str>>,
    /// Only images with these tags: for each key one of its values.
    pub tags: Tags,
    /// Most hits, 1 to 100 (IS.1010).
    pub limit: u32,
    /// The part of the upright picture to find copies of, in its pixels.
    pub region: Option<Region>,
    /// Whether the picture is also looked for mirrored, turned by quarters, and by its corners and its centre.
    pub robust: bool,
    /// Only hits at or above this `copy`, 0 to 1 (IS.1008).
    pub min_copy: Option<f32>,
    /// Leaves the image out that a search by path starts from.
    pub exclude_self: bool,
}

/// An image that may be a copy of the query picture: [`Instance::find_copies`] has an example.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CopyHit {
    /// The image's key.
    pub path: String,
    /// How sure it is that the image is a copy, 0 to 1; rises with `raw`. At .5 and above a copy is more likely than
    /// not, in an instance of thousands of images.
    pub copy: f32,
    /// The score that `copy` is read off: what the pictures share, less what the query shares with anything, and
    /// what their hashes agree in; about -1 to 1.75.
    pub raw: f32,
    /// How similar it is, 0 to 1, as a search of [`Mode::Default`] by the same picture says.
    pub sim: f32,
    /// Its tags.
    pub tags: Tags,
}

/// What a search for copies found: [`Instance::find_copies`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Copies {
    /// How much there is to see in the query picture, 0 (one colour) to 100; below about 10 an answer says little,
    /// and a picture of nearly one colour has no copies. `None` when no picture was looked at (a search by a stored
    /// image or a vector) or the model does not tell.
    pub quality: Option<u8>,
    /// The hits, best first; of equal ones the earlier added first.
    pub hits: Vec<CopyHit>,
    /// How they were found. `exact` says that no other image could have come before the last hit; when it is false,
    /// only images could that the vectors rank low and the hashes high.
    pub found: Found,
}

impl Default for CopyQuery<'_> {
    /// Nothing asked yet, for ten hits.
    fn default() -> Self {
        Self::new(None, None)
    }
}

impl<'a> CopyQuery<'a> {
    fn new(source: Option<Source<'a>>, path: Option<Cow<'a, str>>) -> Self {
        Self {
            source,
            path,
            tags: Tags::new(),
            limit: DEFAULT_LIMIT,
            region: None,
            robust: false,
            min_copy: None,
            exclude_self: false,
        }
    }

    /// Copies of a picture: the bytes of a JPEG, PNG or BMP file.
    pub fn image(bytes: impl Into<Cow<'a, [u8]>>) -> Self {
        Self::source(Source::Bytes(bytes.into()))
    }

    /// Copies of upright pixels.
    ///
    /// ```
    /// # use lookalike::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let picture = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/pictures/cat.jpg"))?;
    /// # let gallery = Gallery::open(dir.path())?;
    /// # let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search").tags(["album"]))?;
    /// photos.add(&Add::new("cat.jpg", Source::bytes(&picture)))?;
    /// let pixels = Pixels::decode(&picture, &SizeLimits::default())?;
    /// let copies = photos.find_copies(&CopyQuery::pixels(pixels))?;
    /// assert!(copies.hits[0].copy > 0.99 && copies.quality > Some(10));
    /// # Ok(()) }
    /// ```
    pub fn pixels(pixels: Pixels) -> Self {
        Self::source(Source::pixels(pixels))
    }

    /// Copies of what any source gives. A vector is one view without a hash: it finds less.
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
    /// let query = CopyQuery::source(Source::vector(&vector)).filter(Tags::from([("album", "pets")]));
    /// let copies = photos.find_copies(&query)?;
    /// // No picture was looked at; and what was added by a vector has no hash, so it is called no copy.
    /// assert_eq!((copies.quality, copies.hits[0].path.as_str()), (None, "a.jpg"));
    /// assert!(copies.hits[0].copy < 0.5 && copies.hits[0].sim == 1.0);
    /// # Ok(()) }
    /// ```
    pub fn source(source: Source<'a>) -> Self {
        Self::new(Some(source), None)
    }

    /// Copies of an image of the instance, by what is stored of it: its vector and its one hash. With a region or
    /// [`robust`](Self::robust), and for a path that is not in the instance, of the picture that the host's resolver
    /// gives.
    pub fn path(path: impl Into<Cow<'a, str>>) -> Self {
        Self::new(None, Some(path.into()))
    }

    /// Looks for the picture mirrored, turned and cropped, too: eleven passes over the network instead of one or two.
    #[must_use]
    pub fn robust(mut self) -> Self {
        self.robust = true;
        self
    }

    /// Most hits, 1 to 100 (IS.1010 otherwise); 10 unless it is set.
    #[must_use]
    pub fn limit(mut self, limit: u32) -> Self {
        self.limit = limit;
        self
    }

    /// Only images with this tag, too.
    #[must_use]
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags = self.tags.with(key, value);
        self
    }

    /// Only images with these tags, in place of those that were set before.
    #[must_use]
    pub fn filter(mut self, tags: Tags) -> Self {
        self.tags = tags;
        self
    }

    /// Only a part of the query picture, which must lie wholly inside it (IS.1008 otherwise).
    #[must_use]
    pub fn region(mut self, region: Region) -> Self {
        self.region = Some(region);
        self
    }

    /// Only hits at or above this `copy`, 0 to 1 (IS.1008 otherwise).
    #[must_use]
    pub fn min_copy(mut self, min_copy: f32) -> Self {
        self.min_copy = Some(min_copy);
        self
    }

    /// Leaves out the image that a search by path starts from.
    #[must_use]
    pub fn exclude_self(mut self) -> Self {
        self.exclude_self = true;
        self
    }
}

impl Instance {
    /// Which images are copies of a picture, and how sure that is.
    ///
    /// The score of an image is the largest, over views of the query (itself, without its border, and nine more when
    /// [`robust`](CopyQuery::robust)), of the cosine of the copy blocks less the mean of the three largest
    /// cosines of the view with a fixed set of other pictures; plus `max(0, s - 1/4)` for the similarity s of the
    /// hashes, the best of the query's mirrored and turned ones. All images that pass the tags are scored by their vectors, or, in an instance with lists, those that
    /// the lists nearest to each view hold ([`Effort::High`](crate::Effort::High)); the best 256 and as many more as hits are
    /// asked for also by their hashes.
    ///
    /// ```
    /// # use lookalike::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let picture = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/pictures/cat.jpg"))?;
    /// # let gallery = Gallery::open(dir.path())?;
    /// # let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search").tags(["album"]))?;
    /// # let coffee = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/pictures/coffee.jpg"))?;
    /// photos.add(&Add::new("cat.jpg", Source::bytes(&picture)))?;
    /// photos.add(&Add::new("coffee.jpg", Source::bytes(&coffee)))?;
    /// let copies = photos.find_copies(&CopyQuery::image(&picture))?;
    /// let [cat, coffee] = &copies.hits[..] else { panic!("two images") };
    /// assert!(cat.copy > 0.99 && cat.sim == 1.0 && coffee.copy < 0.1 && cat.raw > coffee.raw);
    /// // What else is a copy of the first?
    /// let others = photos.find_copies(&CopyQuery::path("cat.jpg").exclude_self().min_copy(0.5))?;
    /// assert_eq!((others.hits.len(), others.quality), (0, None));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`search`](Self::search), and IS.1008 for a `min_copy` that is not 0 to 1 and for an instance whose model
    /// has no copy score.
    pub fn find_copies(&self, query: &CopyQuery<'_>) -> Result<Copies> {
        self.reader_for(Operation::Search)?.find_copies(query)
    }
}

impl Reader {
    /// As [`Instance::find_copies`], of this reader's state.
    ///
    /// # Errors
    /// As [`Instance::find_copies`].
    pub fn find_copies(&self, query: &CopyQuery<'_>) -> Result<Copies> {
        let copies = || -> Result<Copies, Cause> {
            self.instance.go_on()?;
            let copies = self.copies(query)?;
            self.instance.go_on()?;
            Ok(copies)
        };
        let span = span!("find_copies", self.instance.name());
        span.run(
            |copies: &Copies| copies.hits.len() as u64,
            || copies().map_err(|cause| self.failed(Operation::Search, cause)),
        )
    }

    fn copies(&self, query: &CopyQuery<'_>) -> Result<Copies, Cause> {
        if !(1..=MAX_LIMIT).contains(&query.limit) {
            return Err(Refusal::LimitInvalid(query.limit).into());
        }
        if let Some(min) = query.min_copy.filter(|min| !(0.0..=1.0).contains(min)) {
            return Err(Refusal::MinCopyInvalid(min).into());
        }
        let filter = Filter::new(TagSet::check(&query.tags, &self.snapshot.schema)?);
        let model = &self.instance.inner.model;
        let block = model.copy_block().ok_or_else(|| Refusal::NoCopyScore(model.name().to_owned()))?;
        let (target, itself) = self.target(query, block)?;
        let passing = self.passing(filter.as_ref())?;
        let mut top = Top::new((CANDIDATES + query.limit) as usize);
        let code = code(&self.snapshot.layout, block, &target);
        let by_lists = self.snapshot.has_lists() && passing.count() > READ_ALL;
        let (mut scanned, mut probed) = (0, 0);
        let candidates = if by_lists {
            let (candidates, looked) = self.copy_candidates(&target, block, &passing, query.limit)?;
            (scanned, probed) = (looked.scanned, looked.lists);
            Some(candidates)
        } else {
            None
        };
        scanned +=
            self.scan_all(&code, candidates.as_ref().unwrap_or(&passing), f32::NEG_INFINITY, &mut top)?.0;
        let nearest = top.into_sorted();
        // The most that an image outside the candidates can have.
        let outside = nearest.last().filter(|_| scanned > nearest.len() as u64);
        let outside = outside.map_or(f32::NEG_INFINITY, |last| last.score + HASH_MOST);
        let curve = model.copy_curve(query.robust);
        let mut ranking = self.with_hashes(&target, nearest, curve.raw(FLAT_COPY))?;
        ranking.retain(|ranked| !(query.exclude_self && Some(ranked.place) == itself));
        let reached = ranking.get(query.limit as usize - 1).map_or(f32::NEG_INFINITY, |last| last.score);
        let sim = QueryCode::new(&self.snapshot.layout, &target.row, &model.weights(Mode::Default));
        let sim_curve = model.curve(Mode::Default);
        let mut hits = Vec::new();
        for ranked in ranking.into_iter().take(query.limit as usize) {
            let copy = curve.copy(ranked.score);
            if query.min_copy.is_some_and(|min| copy < min) {
                break;
            }
            let (row, lower) = (self.snapshot.row(ranked.place)?, self.snapshot.lower(ranked.place)?);
            hits.push(CopyHit {
                path: self.snapshot.path(ranked.place)?.to_owned(),
                copy,
                raw: ranked.score,
                sim: sim_curve.sim(sim.score(row.upper, lower, row.inv_norms)),
                tags: self.snapshot.named_tags(ranked.place)?,
            });
        }
        let exact = !by_lists && reached > outside;
        let found = Found { rows_scanned: scanned, lists_probed: probed, exact };
        Ok(Copies { quality: target.quality, hits, found })
    }

    /// Images whose copy blocks are near those of the views: what lists hold, as many of each view as are looked at
    /// with their hashes.
    fn copy_candidates(
        &self,
        target: &CopyTarget,
        block: usize,
        passing: &Passing,
        limit: u32,
    ) -> Result<(Passing, Looked), StoreError> {
        let layout = &self.snapshot.layout;
        let weights: Vec<f32> = (0..layout.blocks()).map(|b| f32::from(u8::from(b == block))).collect();
        let keep = (CANDIDATES + limit) as usize;
        let gap = |share: f64| self.reach(Reach::High, Mode::Copy, keep, passing, share);
        let share = passing.share(self.len());
        let look = Look {
            only: passing.parts(),
            share,
            min_score: f32::NEG_INFINITY,
            until: None,
            stop: self.stop(),
        };
        let mut found = vec![RoaringBitmap::new(); self.snapshot.parts().count()];
        let mut all = Looked::default();
        for view in &target.views {
            let row = RowCode::of_block(layout, block, &view.values, view.inv_norm);
            let mut top = Top::new(keep);
            let looked = self.snapshot.look((&row, &weights), &gap, keep, &look, &mut top)?;
            (all.scanned, all.lists) = (all.scanned + looked.scanned, all.lists + looked.lists);
            for ranked in top.into_sorted() {
                if let Some(part) = found.get_mut(ranked.place.part as usize) {
                    part.insert(ranked.place.position);
                }
            }
        }
        Ok((Passing::of(found), all))
    }

    /// What the query looks for; and the image of the instance that it starts from, if it does.
    fn target(&self, query: &CopyQuery<'_>, block: usize) -> Result<(CopyTarget, Option<Place>), Cause> {
        let model = &self.instance.inner.model;
        let path = query.path.as_deref().unwrap_or_default();
        let region = query.region.as_ref();
        let given = query.source.as_ref().filter(|source| match source {
            Source::Bytes(bytes) => !bytes.is_empty(),
            Source::Resolve => !path.is_empty(),
            Source::Pixels(_) | Source::Vector(_) => true,
        });
        if let Some(vector @ Source::Vector(_)) = given {
            let (row, _) = self.instance.embed(vector, path, region)?;
            return Ok((model.copy_row(row, None, block)?, None));
        }
        let mut itself = None;
        if given.is_none() {
            if path.is_empty() {
                return Err(Refusal::EmptyAsked.into());
            }
            check_path(path)?;
            itself = self.snapshot.locate(path)?;
        }
        if let Some(place) = itself.filter(|_| region.is_none() && !query.robust) {
            let row = self.snapshot.code(place).map_err(Cause::Row)?;
            return Ok((model.copy_row(row, Some(self.snapshot.hash(place)?), block)?, itself));
        }
        let look = |view: View<'_>| model.copy_views(view, block, query.robust);
        let target = self.instance.with_view(given.unwrap_or(&Source::Resolve), path, region, look)?;
        Ok((target, itself))
    }

    /// The candidates with what their hashes add, best first; those that cannot be told for being flat at most `flat`.
    fn with_hashes(
        &self,
        target: &CopyTarget,
        nearest: Vec<Ranked>,
        flat: f32,
    ) -> Result<Vec<Ranked>, StoreError> {
        let hashed = self.instance.inner.model.copy_hashed();
        let mut ranking = nearest;
        for ranked in &mut ranking {
            if hashed {
                let hash = self.snapshot.hash(ranked.place)?;
                ranked.score += index::hash_score(&target.hashes, &hash);
                if target.flat || hash == [0; 32] {
                    ranked.score = ranked.score.min(flat);
                }
            }
        }
        ranking.sort_by(Ranked::cmp_best_first);
        Ok(ranking)
    }
}

/// The views of a target, ready to score rows by their block number `block`.
fn code(layout: &Layout, block: usize, target: &CopyTarget) -> CopyCode {
    let start = layout.ranges().nth(block).unwrap_or_default().start;
    let coded = |view: &TargetView| CodedView::new(start, &view.values, view.inv_norm, view.background);
    CopyCode::new(block, target.views.iter().map(coded).collect())
}
