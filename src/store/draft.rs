//! Changes being put together: applied to a snapshot one after another, published all at once or not at all.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash as Hashes, Hasher};
use std::sync::Arc;

use roaring::RoaringBitmap;
use serde::{Deserialize, Serialize};

use super::error::StoreError;
use super::record::{Hash, Record, RowRef, TailRow};
use super::snapshot::{Snapshot, path_hash};
use super::tail::NewRows;
use crate::index::Place;
use crate::limits::{MAX_DIMS, MAX_TAG_KEYS, MAX_TAG_VALUE_CHARS, MAX_TAG_VALUES};
use crate::tags::{Filter, TagSet};
use crate::vector::RowCode;

/// What to do with an image whose path is there already.
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
/// let again = Add::new("a.jpg", Source::vector(&other));
/// assert_eq!(photos.add(&again.clone().on_existing(OnExisting::Keep))?, Added::Kept);
/// let refused = photos.add(&again.clone().on_existing(OnExisting::Fail)).unwrap_err();
/// assert_eq!((refused.code(), refused.kind()), (Code::AddRefused, ErrorKind::Exists));
/// assert_eq!(photos.add(&again)?, Added::Replaced);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OnExisting {
    /// Replace its vector and its tags in one step; the image keeps its place in the order of insertion.
    #[default]
    Replace,
    /// Keep it as it is; the add is `Ok` and changes nothing.
    Keep,
    /// Refuse the add (IS.1005).
    Fail,
}

/// Most bytes that an image's tags take in a record.
const MAX_TAGS_BYTES: usize = MAX_TAG_KEYS * MAX_TAG_VALUES * (4 * MAX_TAG_VALUE_CHARS + 3);

/// A change that somebody asks for. Everything in it was checked.
#[derive(Debug)]
pub(crate) enum Op {
    Put {
        path: Arc<str>,
        tags: Arc<TagSet>,
        code: RowCode,
        hash: Hash,
        on_existing: OnExisting,
    },
    Retag {
        path: Arc<str>,
        tags: Arc<TagSet>,
        merge: bool,
    },
    /// With a filter only if it accepts the image's tags; it is kept otherwise.
    Delete {
        path: Arc<str>,
        only: Option<Arc<Filter>>,
    },
}

impl Op {
    pub(crate) fn path(&self) -> &str {
        match self {
            Self::Put { path, .. } | Self::Retag { path, .. } | Self::Delete { path, .. } => path,
        }
    }

    /// Whether it adds a row to the tail.
    pub(crate) fn adds_row(&self) -> bool {
        !matches!(self, Self::Delete { .. })
    }

    /// At most so many bytes of a frame.
    pub(crate) fn bytes(&self) -> usize {
        let tags = |tags: &TagSet| tags.terms().iter().map(|t| t.as_bytes().len() + 2).sum::<usize>();
        64 + match self {
            Self::Put { path, tags: t, code, .. } => {
                path.len() + code.upper.len() + code.lower.len() + tags(t)
            }
            // A row of the largest vector; when merged, with the most tags that the image may have had.
            Self::Retag { path, tags: t, merge } => {
                path.len() + MAX_DIMS + MAX_DIMS / 2 + tags(t) + if *merge { MAX_TAGS_BYTES } else { 0 }
            }
            Self::Delete { path, .. } => path.len(),
        }
    }
}

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Added,
    Replaced,
    Kept,
    Updated,
    Deleted,
}

/// Why a change was refused or failed.
#[derive(Debug, Clone)]
pub(crate) enum OpError {
    /// The path is there already.
    Exists,
    /// The path is not there.
    Missing,
    /// The instance holds as many images as it may.
    Full { capacity: u64 },
    /// The state could not be read.
    Read(Arc<StoreError>),
    /// The tail is full and could not be sealed.
    Seal(Arc<StoreError>),
    /// The log could not be written.
    Log(Arc<StoreError>),
}

/// Rows that were added to a snapshot.
pub(crate) struct Run {
    pub(crate) rows: NewRows,
    /// Those of them that later ones replaced.
    pub(crate) dead: RoaringBitmap,
    /// Rows of the snapshot that were replaced.
    pub(crate) killed: Vec<Place>,
    pub(crate) next_order: u64,
}

/// What the log must say of a change.
#[derive(Debug)]
pub(crate) enum Change {
    /// The row that was added last stands for its path.
    Put,
    Delete(Arc<str>),
}

/// A path with its hash, by which a map finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    hash: u64,
    path: Arc<str>,
}

impl Hashes for Key {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u64(self.hash);
    }
}

/// Takes the hash of a [`Key`] for what it is.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.0 = self.0.rotate_left(8) ^ u64::from(byte));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// A snapshot with changes on top.
pub(crate) struct Draft<'a> {
    base: &'a Snapshot,
    rows: NewRows,
    /// Where each path that was touched is now.
    touched: HashMap<Key, Option<Place>, BuildHasherDefault<AsItIs>>,
    /// Of each part.
    dead: Vec<Arc<RoaringBitmap>>,
    live: u64,
    next_order: u64,
    capacity: u64,
}

impl<'a> Draft<'a> {
    /// No changes yet, and room for those of so many rows.
    pub(crate) fn new(base: &'a Snapshot, next_order: u64, capacity: u64, room: usize) -> Self {
        Self {
            base,
            rows: NewRows::behind(&base.tail, room),
            touched: HashMap::with_capacity_and_hasher(room, BuildHasherDefault::default()),
            dead: base.parts().map(|part| base.dead(part).clone()).collect(),
            live: base.live(),
            next_order,
            capacity,
        }
    }

    /// Applies a change that is asked for, whose path has this hash; gives what became of it, and what the log must say.
    pub(crate) fn apply(&mut self, op: Op, path_hash: u64) -> Result<(Outcome, Option<Change>), OpError> {
        let key = |path: &Arc<str>| Key { hash: path_hash, path: path.clone() };
        match op {
            Op::Put { path, tags, code, hash, on_existing } => {
                let key = key(&path);
                let existing = self.locate(&key)?;
                let order = match (existing, on_existing) {
                    (Some(_), OnExisting::Keep) => return Ok((Outcome::Kept, None)),
                    (Some(_), OnExisting::Fail) => return Err(OpError::Exists),
                    (Some(place), OnExisting::Replace) => self.order(place)?,
                    (None, _) if self.live >= self.capacity => {
                        return Err(OpError::Full { capacity: self.capacity });
                    }
                    (None, _) => self.next_order,
                };
                let outcome = if existing.is_some() { Outcome::Replaced } else { Outcome::Added };
                self.put(key, existing, TailRow { path, order, tags, code, hash });
                Ok((outcome, Some(Change::Put)))
            }
            Op::Retag { path, tags, merge } => {
                let key = key(&path);
                let place = self.locate(&key)?.ok_or(OpError::Missing)?;
                let old = self.copy(place, path)?;
                let tags = if merge { Arc::new(old.tags.merged(&tags)) } else { tags };
                self.put(key, Some(place), TailRow { tags, ..old });
                Ok((Outcome::Updated, Some(Change::Put)))
            }
            Op::Delete { path, only } => {
                let key = key(&path);
                let place = self.locate(&key)?.ok_or(OpError::Missing)?;
                if let Some(filter) = only
                    && !filter.accepts(&*self.tags(place)?)
                {
                    return Ok((Outcome::Kept, None));
                }
                self.kill(place);
                self.touched.insert(key, None);
                Ok((Outcome::Deleted, Some(Change::Delete(path))))
            }
        }
    }

    /// Applies a change that the log says was made.
    pub(crate) fn replay(&mut self, record: Record) -> Result<(), OpError> {
        match record {
            Record::Put(row) => {
                let key = self.key(&row.path);
                let existing = self.locate(&key)?;
                self.put(key, existing, row);
            }
            Record::Delete { path } => {
                // A merge may have dropped the row before.
                let key = self.key(&path);
                if let Some(place) = self.locate(&key)? {
                    self.kill(place);
                    self.touched.insert(key, None);
                }
            }
        }
        Ok(())
    }

    /// Applies a record without looking for the row that is there: a seeded bug.
    #[cfg(feature = "seeded-bugs")]
    pub(crate) fn replay_blindly(&mut self, record: Record) {
        if let Record::Put(row) = record {
            self.put(self.key(&row.path), None, row);
        }
    }

    fn key(&self, path: &Arc<str>) -> Key {
        Key { hash: path_hash(&self.base.uuid, path), path: path.clone() }
    }

    fn locate(&self, key: &Key) -> Result<Option<Place>, OpError> {
        match self.touched.get(key) {
            Some(&place) => Ok(place),
            None => self.base.locate_hashed(&key.path, key.hash).map_err(read_error),
        }
    }

    /// The row of this draft that a place names, if it is one.
    fn own(&self, place: Place) -> Option<RowRef<'_>> {
        if place.part == self.base.tail_part() { self.rows.get(place.position) } else { None }
    }

    /// The row that was added last.
    pub(crate) fn last(&self) -> Option<RowRef<'_>> {
        self.rows.last()
    }

    fn order(&self, place: Place) -> Result<u64, OpError> {
        match self.own(place) {
            Some(row) => Ok(row.order),
            None => self.base.order(place).map_err(read_error),
        }
    }

    fn tags(&self, place: Place) -> Result<Arc<TagSet>, OpError> {
        match self.own(place) {
            Some(row) => Ok(row.tags.clone()),
            None => self.base.tags(place).map_err(read_error),
        }
    }

    fn copy(&self, place: Place, path: Arc<str>) -> Result<TailRow, OpError> {
        if let (Some(row), Some(code)) = (self.own(place), self.rows.code(place.position)) {
            return Ok(TailRow { path, order: row.order, tags: row.tags.clone(), code, hash: *row.hash });
        }
        let read = |path| {
            Ok(TailRow {
                path,
                order: self.base.order(place)?,
                tags: self.base.tags(place)?,
                code: self.base.code(place)?,
                hash: self.base.hash(place)?,
            })
        };
        read(path).map_err(read_error)
    }

    fn put(&mut self, key: Key, existing: Option<Place>, row: TailRow) {
        if let Some(place) = existing {
            self.kill(place);
        }
        self.next_order = self.next_order.max(row.order.saturating_add(1));
        self.live += 1;
        let position = self.rows.push(key.hash, row);
        self.touched.insert(key, Some(Place { part: self.base.tail_part(), position }));
    }

    fn kill(&mut self, place: Place) {
        if let Some(dead) = self.dead.get_mut(place.part as usize)
            && Arc::make_mut(dead).insert(place.position)
        {
            self.live -= 1;
        }
    }

    /// The changes as rows of their own, apart from the snapshot, which has no tail.
    pub(crate) fn into_run(self) -> Run {
        let tail = self.base.tail_part();
        let mut killed = Vec::new();
        for part in self.base.parts().filter(|&part| part != tail) {
            let newly = &*self.dead[part as usize] - &**self.base.dead(part);
            killed.extend(newly.into_iter().map(|position| Place { part, position }));
        }
        let dead = self.dead.last().map(|dead| (**dead).clone()).unwrap_or_default();
        Run { rows: self.rows, dead, killed, next_order: self.next_order }
    }

    /// The snapshot with the changes, and the insertion number after them.
    pub(crate) fn finish(self) -> (Snapshot, u64) {
        let mut snapshot = self.base.clone();
        let sealed = snapshot.sealed.iter_mut().map(|sealed| &mut sealed.dead);
        let frozen = snapshot.frozen.iter_mut().map(|frozen| &mut frozen.dead);
        let all = sealed.chain(frozen).chain([&mut snapshot.tail_dead]);
        all.zip(self.dead).for_each(|(old, new)| *old = new);
        snapshot.tail.push(self.rows);
        (snapshot, self.next_order)
    }
}

fn read_error(error: StoreError) -> OpError {
    OpError::Read(Arc::new(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::Layout;

    fn empty(layout: Layout) -> Snapshot {
        Snapshot {
            uuid: [1; 16],
            layout: Arc::new(layout),
            schema: Arc::default(),
            centres: Vec::new(),
            sealed: Vec::new(),
            frozen: Vec::new(),
            tail: Default::default(),
            tail_dead: Default::default(),
        }
    }

    #[test]
    fn room_is_for_images_and_not_for_changes() {
        let layout = Layout::new(&[2]).unwrap();
        let code = RowCode::encode(&layout, &[1.0, 2.0]).unwrap();
        let base = empty(layout);
        let mut draft = Draft::new(&base, 1, 2, 0);
        let put = |draft: &mut Draft<'_>, path: &str| {
            let (tags, code, on_existing) = (Arc::default(), code.clone(), OnExisting::Replace);
            let op = Op::Put { path: path.into(), tags, code, hash: [0; 32], on_existing };
            draft.apply(op, path_hash(&base.uuid, path)).is_ok()
        };
        assert!(put(&mut draft, "a") && put(&mut draft, "a") && put(&mut draft, "b"));
        // Full: a new image is refused, another vector of an old one is not.
        assert!(!put(&mut draft, "c") && put(&mut draft, "a") && !put(&mut draft, "c"));
        let delete = Op::Delete { path: "a".into(), only: None };
        assert!(draft.apply(delete, path_hash(&base.uuid, "a")).is_ok());
        assert!(put(&mut draft, "c") && !put(&mut draft, "a"));
    }

    /// Found by fuzzing: a log whose checksums are right may still say anything.
    #[test]
    fn the_last_number_of_all_is_survived() {
        let layout = Layout::new(&[2]).unwrap();
        let code = RowCode::encode(&layout, &[1.0, 2.0]).unwrap();
        let base = empty(layout);
        let mut draft = Draft::new(&base, 1, 10, 0);
        let row = TailRow { path: "a".into(), order: u64::MAX, tags: Arc::default(), code, hash: [0; 32] };
        draft.replay(Record::Put(row)).unwrap();
        assert_eq!(draft.finish().1, u64::MAX);
    }
}
