//! What an instance is asked to be, and what it is described as.

use serde::{Deserialize, Serialize};

use crate::limits::LEVEL;
use crate::store::About;
use crate::tags::Schema;

/// A request to create an instance.
///
/// ```
/// use lookalike::CreateInstance;
/// let create = CreateInstance::new("shoes", "common-search").description("Autumn").tags(["color", "brand"]);
/// assert_eq!(create.level, 30_000_000);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CreateInstance {
    /// 1 to 16 characters: a letter a-z, then a-z, 0-9, `-`, `_` (IS.0001, IS.0007).
    pub name: String,
    /// `common-search`, `common-search-512`, or a model that the host registered (IS.3014).
    pub model: String,
    /// Up to 512 characters (IS.3036).
    pub description: String,
    /// The service's scale: 30,000,000 images, and nothing else (IS.3035).
    pub level: u64,
    /// Tag keys: up to 10 (IS.3024), of 1 to 64 characters, without Latin capitals, none twice (IS.3026).
    pub tags: Vec<String>,
    /// Images the instance takes, 1 to `level` (IS.3035); `None` for `level`.
    pub capacity: Option<u64>,
}

impl CreateInstance {
    /// An instance without description and tags.
    pub fn new(name: impl Into<String>, model: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            model: model.into(),
            description: String::new(),
            level: LEVEL,
            tags: Vec::new(),
            capacity: None,
        }
    }

    /// Sets the description, up to 512 characters.
    #[must_use]
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    /// Sets the service's scale, in images.
    #[must_use]
    pub fn level(mut self, level: u64) -> Self {
        self.level = level;
        self
    }

    /// Sets the tag keys, up to 10.
    #[must_use]
    pub fn tags<S: Into<String>>(mut self, keys: impl IntoIterator<Item = S>) -> Self {
        self.tags = keys.into_iter().map(Into::into).collect();
        self
    }

    /// Takes fewer images than the level allows.
    ///
    /// ```
    /// # use lookalike::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let gallery = Gallery::open(dir.path())?;
    /// # let vector: Vec<f32> = (0..256).map(|i| (i % 7) as f32 + 1.0).collect();
    /// let small = gallery.open_or_create(&CreateInstance::new("small", "common-search").capacity(1))?;
    /// small.add(&Add::new("a.jpg", Source::vector(&vector)))?;
    /// let refused = small.add(&Add::new("b.jpg", Source::vector(&vector))).unwrap_err();
    /// assert_eq!(refused.code(), Code::InstanceFull);
    /// // Replacing is no matter of room.
    /// assert_eq!(small.add(&Add::new("a.jpg", Source::vector(&vector)))?, Added::Replaced);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn capacity(mut self, images: u64) -> Self {
        self.capacity = Some(images);
        self
    }
}

/// What state an instance is in, in the service's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[non_exhaustive]
pub enum Status {
    /// Open for everything.
    Normal,
    /// Being created by this process.
    Creation,
    /// Being deleted by this process.
    Deleting,
    /// Files are damaged, or writing stopped: reopen it, and see what its error says.
    Abnormal,
}

/// An instance as the service describes it: [`Gallery::describe`](crate::Gallery::describe).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct InstanceInfo {
    /// Its name.
    pub instance_name: String,
    /// Its model.
    pub domain: String,
    /// Its description.
    pub desc: String,
    /// When it was created, in milliseconds since 1970-01-01 UTC.
    pub register_date: i64,
    /// When it ends; -1, for it never does.
    pub expired_date: i64,
    /// Its scale.
    pub level: u64,
    /// Its tag keys.
    pub tags: Vec<String>,
    /// Its state.
    pub status: Status,
}

impl InstanceInfo {
    pub(super) fn new(about: &About, schema: &Schema, status: Status) -> Self {
        Self {
            instance_name: about.name.clone(),
            domain: about.model.clone(),
            desc: about.description.clone(),
            register_date: i64::try_from(about.registered_ms).unwrap_or(i64::MAX),
            expired_date: -1,
            level: about.level,
            tags: schema.keys().iter().map(|key| key.to_string()).collect(),
            status,
        }
    }

    /// An instance of which only the name can be read.
    pub(super) fn unreadable(name: String) -> Self {
        let (domain, desc) = (String::new(), String::new());
        let (register_date, status) = (0, Status::Abnormal);
        Self {
            instance_name: name,
            domain,
            desc,
            register_date,
            expired_date: -1,
            level: LEVEL,
            tags: vec![],
            status,
        }
    }
}
