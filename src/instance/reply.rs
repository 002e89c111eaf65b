//! What an instance answers.

use serde::{Deserialize, Serialize};

use crate::tags::Tags;

/// What an add did: [`Instance::add`](crate::Instance::add).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Added {
    /// The image is new.
    New,
    /// It replaced the image of the same path.
    Replaced,
    /// The image of that path was kept ([`OnExisting::Keep`](crate::OnExisting::Keep)).
    Kept,
}

/// An image that a search found; [`Page`] has an example.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Hit {
    /// The image's key.
    pub path: String,
    /// How similar it is, 0 to 1; 1 means the same picture. None in a search by tags alone.
    pub sim: Option<f32>,
    /// Its tags.
    pub tags: Tags,
}

/// How an answer was found; [`Page`] has an example.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Found {
    /// Rows that were scored; 0 in a search by tags alone.
    pub rows_scanned: u64,
    /// Lists of the index that were probed; 0 for an exhaustive search.
    pub lists_probed: u64,
    /// Whether the hits are those that brute force over the stored vectors would give.
    pub exact: bool,
}

/// One page of an answer: [`Instance::search`](crate::Instance::search).
///
/// ```
/// # use lookalike::*;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let gallery = Gallery::open(dir.path())?;
/// # let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search").tags(["album"]))?;
/// # let vector: Vec<f32> = (0..256).map(|i| (i % 7) as f32 + 1.0).collect();
/// # let other: Vec<f32> = (0..256).map(|i| (i % 11) as f32 - 5.0).collect();
/// photos.add(&Add::new("a.jpg", Source::vector(&vector)).tag("album", "cats"))?;
/// photos.add(&Add::new("b.jpg", Source::vector(&other)).tag("album", "cats"))?;
///
/// let page = photos.search(&Query::vector(&vector).tag("album", "cats").limit(1))?;
/// // Two images pass the tags; the page has the better one.
/// assert_eq!((page.count, page.hits.len()), (2, 1));
/// assert_eq!((page.hits[0].path.as_str(), page.hits[0].sim), ("a.jpg", Some(1.0)));
/// assert_eq!(page.hits[0].tags.get("album"), Some(&["cats".to_owned()][..]));
/// // So few images are read one by one.
/// assert!(page.found.exact && page.found.rows_scanned == 2 && page.found.lists_probed == 0);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Page {
    /// Images that match, before offset and limit: all that pass the tags; with
    /// [`Query::min_sim`](crate::Query::min_sim) those of them at or above it.
    pub count: u64,
    /// The hits of the page, best first; of equal ones the earlier added first.
    pub hits: Vec<Hit>,
    /// How they were found.
    pub found: Found,
}
