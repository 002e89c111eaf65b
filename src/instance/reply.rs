//! What an instance answers.

use serde::{Deserialize, Serialize};

use crate::tags::Tags;

/// What an add did.
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

/// An image that a search found.
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

/// How an answer was found.
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

/// One page of an answer.
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
