//! What a gallery should hold: instances, their images, their tag keys; and the changes to it.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, OnceLock};

use lookalike::{
    Add, CreateInstance, Delete, EmbedError, Embedder, Embedding, Error, Gallery, GalleryBuilder, Instance,
    OnExisting, Source, Tags, Update, View,
};

/// The blocks of the model that the simulator stores vectors of.
pub const BLOCKS: [usize; 2] = [4, 2];
/// Dimensions of its vectors.
pub const DIMS: usize = BLOCKS[0] + BLOCKS[1];

/// A model for vectors alone: nothing here has pictures.
pub struct Vectors;

impl Embedder for Vectors {
    fn name(&self) -> &str {
        "vectors"
    }
    fn version(&self) -> u32 {
        1
    }
    fn blocks(&self) -> &[usize] {
        &BLOCKS
    }
    fn embed(&self, _view: View<'_>) -> Result<Embedding, EmbedError> {
        Err(EmbedError::Failed("the simulator has no pictures".into()))
    }
}

/// A vector as it is kept: whole numbers, 2032 for the largest of a block.
pub fn rounded(vector: &[f32]) -> Vec<i16> {
    let mut start = 0;
    let mut all = Vec::with_capacity(vector.len());
    for len in BLOCKS {
        let block = vector.get(start..start + len).unwrap_or_default();
        let max = block.iter().fold(0.0f32, |max, v| max.max(v.abs()));
        all.extend(block.iter().map(|&v| (f64::from(v) / f64::from(max) * 2032.0).round() as i16));
        start += len;
    }
    all
}

/// The mean of the blocks' cosines: what a search ranks by.
pub fn score(a: &[i16], b: &[i16]) -> f64 {
    let mut start = 0;
    let mut sum = 0.0;
    for len in BLOCKS {
        let dot = |a: &[i16], b: &[i16]| -> f64 {
            a.iter().zip(b).skip(start).take(len).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
        };
        sum += dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
        start += len;
    }
    sum / BLOCKS.len() as f64
}

/// Tags of an image: keys and values.
pub type Labels = BTreeMap<String, Vec<String>>;

pub fn tags(labels: &Labels) -> Tags {
    labels.iter().fold(Tags::new(), |tags, (key, values)| tags.with_values(key, values.clone()))
}

/// An image.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Image {
    pub vector: Vec<i16>,
    pub labels: Labels,
}

/// What an instance holds.
#[derive(Debug, Clone, Default)]
pub struct Shelf {
    pub keys: Vec<String>,
    /// Each with its place in the order of insertion.
    pub images: BTreeMap<String, (u64, Arc<Image>)>,
    pub next: u64,
}

impl Shelf {
    pub fn put(&mut self, path: &str, image: Image) {
        let order = self.images.get(path).map_or(self.next, |(order, _)| *order);
        self.next = self.next.max(order + 1);
        self.images.insert(path.to_owned(), (order, Arc::new(image)));
    }

    /// Images in the order of insertion.
    pub fn in_order(&self) -> Vec<(&str, &Image)> {
        let mut all: Vec<_> =
            self.images.iter().map(|(path, (order, image))| (*order, &**path, &**image)).collect();
        all.sort_unstable_by_key(|(order, ..)| *order);
        all.into_iter().map(|(_, path, image)| (path, image)).collect()
    }
}

/// What a gallery holds.
#[derive(Debug, Clone, Default)]
pub struct State {
    pub shelves: BTreeMap<String, Arc<Shelf>>,
    digest: OnceLock<u64>,
}

impl State {
    /// A number that equal states have, and no others.
    pub fn digest(&self) -> u64 {
        *self.digest.get_or_init(|| {
            let mut hasher = DefaultHasher::new();
            for (name, shelf) in &self.shelves {
                (name, &shelf.keys, shelf.in_order()).hash(&mut hasher);
            }
            hasher.finish()
        })
    }

    /// Whether adding an image changes nothing, for there is one that is to be kept.
    pub fn keeps(&self, name: &str, new: &New) -> bool {
        let there = self.shelves.get(name).is_some_and(|shelf| shelf.images.contains_key(&new.path));
        there && new.existing == OnExisting::Keep
    }

    /// What is here and not in `other`, and the other way round.
    pub fn difference(&self, other: &Self) -> String {
        let lines = |state: &Self| -> BTreeSet<String> {
            let shelves = state.shelves.iter().flat_map(|(name, shelf)| {
                let images = shelf.in_order().into_iter().enumerate();
                let images =
                    images.map(move |(place, (path, image))| format!("{name} {place} {path} {image:?}"));
                images.chain([format!("{name} keys {:?}", shelf.keys)])
            });
            shelves.collect()
        };
        let (own, its) = (lines(self), lines(other));
        let (more, less): (Vec<_>, Vec<_>) = (own.difference(&its).collect(), its.difference(&own).collect());
        format!("more {more:?}; less {less:?}")
    }

    /// Whether everything of `other` is here, however much more is.
    pub fn holds(&self, other: &Self) -> bool {
        other.shelves.iter().all(|(name, wanted)| {
            self.shelves.get(name).is_some_and(|own| {
                let same = |(path, (_, image)): (&String, &(u64, Arc<Image>))| {
                    own.images.get(path).is_some_and(|(_, found)| found == image)
                };
                wanted.images.iter().all(same) && wanted.keys.iter().all(|key| own.keys.contains(key))
            })
        })
    }
}

/// An image to be added.
#[derive(Debug, Clone)]
pub struct New {
    pub path: String,
    pub vector: Vec<f32>,
    pub labels: Labels,
    pub existing: OnExisting,
}

impl New {
    fn add(&self) -> Add<'_> {
        let source = Source::vector(self.vector.as_slice());
        Add::new(self.path.as_str(), source).tags(tags(&self.labels)).on_existing(self.existing)
    }

    fn apply(&self, shelf: &mut Shelf) {
        if self.existing == OnExisting::Replace || !shelf.images.contains_key(&self.path) {
            let image = Image { vector: rounded(&self.vector), labels: self.labels.clone() };
            shelf.put(&self.path, image);
        }
    }
}

/// What is done to an instance or with it.
#[derive(Debug, Clone)]
pub enum Act {
    Add(New),
    Batch(Vec<New>),
    Import(Vec<New>),
    Update { path: String, labels: Labels, merge: bool },
    Delete { path: String },
    AddKey(String),
    Optimize,
    Close,
    Create,
    DeleteInstance,
}

/// An act, and the name of the instance.
#[derive(Debug, Clone)]
pub struct Op {
    pub name: String,
    pub act: Act,
}

impl Op {
    /// The state when it is done.
    pub fn apply(&self, state: &State) -> State {
        let mut next = State { shelves: state.shelves.clone(), ..State::default() };
        match &self.act {
            Act::Create => {
                let keys = vec!["k".to_owned(), "c".to_owned()];
                next.shelves.insert(self.name.clone(), Arc::new(Shelf { keys, ..Shelf::default() }));
                return next;
            }
            Act::DeleteInstance => {
                next.shelves.remove(&self.name);
                return next;
            }
            Act::Optimize | Act::Close => return next,
            _ => {}
        }
        let Some(shelf) = next.shelves.get_mut(&self.name).map(Arc::make_mut) else { return next };
        match &self.act {
            Act::Add(new) => new.apply(shelf),
            Act::Batch(all) | Act::Import(all) => all.iter().for_each(|new| new.apply(shelf)),
            Act::Update { path, labels, merge } => {
                if let Some((_, image)) = shelf.images.get_mut(path) {
                    let image = Arc::make_mut(image);
                    let mut new = if *merge { image.labels.clone() } else { Labels::new() };
                    new.extend(labels.clone());
                    image.labels = new;
                }
            }
            Act::Delete { path } => drop(shelf.images.remove(path)),
            Act::AddKey(key) => shelf.keys.push(key.clone()),
            _ => {}
        }
        next
    }
}

/// A gallery that is open, with the instances that were used.
pub struct Host {
    pub gallery: Gallery,
    pub open: BTreeMap<String, Instance>,
}

impl Host {
    pub fn open(builder: GalleryBuilder) -> Result<Self, Error> {
        Ok(Self { gallery: builder.model(Vectors).open()?, open: BTreeMap::new() })
    }

    pub fn instance(&mut self, name: &str) -> Result<Instance, Error> {
        if let Some(instance) = self.open.get(name) {
            return Ok(instance.clone());
        }
        let instance = self.gallery.instance(name)?;
        self.open.insert(name.to_owned(), instance.clone());
        Ok(instance)
    }

    /// Does it; `Ok` when all of it was acknowledged.
    pub fn run(&mut self, op: &Op) -> Result<(), Error> {
        match &op.act {
            Act::Create => {
                let create = CreateInstance::new(&*op.name, "vectors").tags(["k", "c"]);
                return self.gallery.create(&create).map(drop);
            }
            Act::DeleteInstance => {
                self.open.remove(&op.name);
                return self.gallery.delete(&op.name);
            }
            Act::Close => {
                self.open.remove(&op.name);
                return Ok(());
            }
            _ => {}
        }
        let instance = self.instance(&op.name)?;
        match &op.act {
            Act::Add(new) => instance.add(&new.add()).map(drop),
            Act::Batch(all) => {
                let adds: Vec<Add<'_>> = all.iter().map(New::add).collect();
                instance
                    .add_batch(&adds, &Default::default())
                    .into_iter()
                    .try_for_each(|added| added.map(drop))
            }
            Act::Import(all) => {
                let imported = instance.import(all.iter().map(New::add))?;
                imported.failures.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
            }
            Act::Update { path, labels, merge } => {
                let update = Update::new(path.as_str(), tags(labels));
                instance.update(&if *merge { update.merge() } else { update })
            }
            Act::Delete { path } => instance.delete(Delete::new(path.as_str()).if_exists()).map(drop),
            Act::AddKey(key) => instance.add_tag_keys(&[key]),
            Act::Optimize => instance.optimize(),
            Act::Close | Act::Create | Act::DeleteInstance => Ok(()),
        }
    }
}
