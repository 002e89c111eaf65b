//! A directory of instances.

mod about;
mod builder;
mod repair;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use about::{CreateInstance, InstanceInfo, Status};
pub use builder::GalleryBuilder;

use crate::code::Code;
use crate::error::{Cause, Error, Operation, Result};
use crate::features::{Mode, Model};
use crate::image::SizeLimits;
use crate::instance::{Crew, Inner, Instance, Resolver};
use crate::limits::{LEVEL, MAX_DESCRIPTION_CHARS};
use crate::refusal::{Refusal, check_name, shown};
use crate::store::disk::Disk;
use crate::store::{
    self, About, CreateError, MAKING, Manifest, OpenError, Opening, Options, Store, StoreError, WRITER,
    remove_tree,
};
use crate::tags::Schema;
use crate::trace::span;

/// Directories that are being removed begin with this, and no instance's name does: names have no dots.
const REMOVING: &str = ".tmp-delete-";

/// How long an opening waits for the last handle of the same instance to finish closing.
const CLOSING: Duration = Duration::from_secs(30);

/// Instances under one directory: create, open, describe, list, delete.
///
/// A cheap handle to share between threads. One process at a time has an instance open for writing; others are
/// refused (IS.2105) or open the gallery read-only.
///
/// ```
/// # use lookalike::*;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// let gallery = Gallery::open(dir.path())?;
/// let shoes = gallery.open_or_create(&CreateInstance::new("shoes", "common-search"))?;
/// // The instance outlives the gallery's handle, and others may have one, too.
/// drop(gallery);
/// std::thread::scope(|scope| {
///     let other = shoes.clone();
///     scope.spawn(move || assert_eq!(other.name(), "shoes"));
/// });
/// assert!(shoes.is_empty()?);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Gallery {
    core: Arc<Core>,
}

struct Core {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    models: HashMap<String, Model>,
    resolver: Option<Arc<dyn Resolver>>,
    limits: SizeLimits,
    crew: Arc<Crew>,
    options: Options,
    read_only: bool,
    entries: Mutex<HashMap<String, Entry>>,
    changed: Condvar,
}

/// What this process does with an instance right now.
enum Entry {
    Open(Weak<Inner>),
    Creating(InstanceInfo),
    Deleting(InstanceInfo),
    Repairing,
}

impl Gallery {
    /// Opens the gallery of a directory, with every option at its default.
    ///
    /// ```
    /// # use lookalike::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// let gallery = Gallery::open(dir.path().join("made/if/need/be"))?;
    /// assert!(gallery.list()?.is_empty());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`GalleryBuilder::open`].
    pub fn open(dir: impl AsRef<Path>) -> Result<Self> {
        Self::builder(dir).open()
    }

    /// Opens the gallery of a directory, with options.
    pub fn builder(dir: impl AsRef<Path>) -> GalleryBuilder {
        GalleryBuilder::new(dir.as_ref().to_owned())
    }

    /// Creates an instance, durably. Checked in this order: name, model, description, level, tags, existence.
    ///
    /// ```
    /// # use lookalike::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let gallery = Gallery::open(dir.path())?;
    /// let info = gallery.create(&CreateInstance::new("shoes", "common-search"))?;
    /// assert_eq!((info.status, info.level), (Status::Normal, 30_000_000));
    /// let taken = gallery.create(&CreateInstance::new("shoes", "common-search")).unwrap_err();
    /// assert_eq!(taken.code(), Code::InstanceExists);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// IS.0001 without name or model; IS.0007 for the name; IS.3014 for an unknown model, IS.0015, IS.3004, IS.2108 for
    /// one that is not ready; IS.3036 for the description, IS.3035 for level and capacity, IS.3024, IS.3026 for tag keys;
    /// IS.3000 when the name is taken; IS.3032 while it is being deleted; IS.2014, IS.3001, IS.3028 when it cannot be
    /// saved (if the last sync alone failed the instance is there, and may be lost with the power); IS.2105 in a read-only gallery.
    pub fn create(&self, create: &CreateInstance) -> Result<InstanceInfo> {
        let name = create.name.as_str();
        let create = || self.core.create(create).map_err(|cause| Error::new(Operation::Create, cause));
        span!("create", name).run(|_| 1, create)
    }

    /// Opens an instance; a second call gives another handle of the same. What is in it then is durable, unless the gallery
    /// is read-only: an opening syncs what it rests on.
    ///
    /// ```
    /// # use lookalike::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let gallery = Gallery::open(dir.path())?;
    /// # let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search").tags(["album"]))?;
    /// let again = gallery.instance("photos")?;
    /// again.add_tag_keys(&["year"])?;
    /// assert_eq!(photos.tag_keys()?, ["album", "year"]);
    /// assert_eq!(gallery.instance("pictures").unwrap_err().code(), Code::InstanceUnknown);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// IS.0001, IS.0007 for the name; IS.3005 when there is none; IS.0014, IS.3032 while it is being created or
    /// deleted; IS.2105 when another process has it open, or while it is being repaired; IS.3011, IS.3008, IS.2109 when
    /// its files cannot be read; IS.3029 when its model is not registered, IS.3004, IS.0015, IS.2108 when the model
    /// differs or is not ready.
    pub fn instance(&self, name: &str) -> Result<Instance> {
        let open = || self.core.instance(name).map_err(|cause| Error::new(Operation::Open, cause));
        span!("open", name).run(|_| 1, open)
    }

    /// Opens an instance, and creates it first, durably, if there is none of that name; one that is there is left as it is.
    ///
    /// ```
    /// # use lookalike::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let gallery = Gallery::open(dir.path())?;
    /// # let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search").tags(["album"]))?;
    /// // It is there, so the other tag keys do not count.
    /// let same = gallery.open_or_create(&CreateInstance::new("photos", "common-search").tags(["year"]))?;
    /// assert_eq!(same.tag_keys()?, ["album"]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`create`](Self::create) and [`instance`](Self::instance).
    pub fn open_or_create(&self, create: &CreateInstance) -> Result<Instance> {
        match self.create(create) {
            Err(error) if error.code() != Code::InstanceExists => Err(error),
            _ => self.instance(&create.name),
        }
    }

    /// Describes an instance, open or not.
    ///
    /// ```
    /// # use lookalike::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let gallery = Gallery::open(dir.path())?;
    /// # let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search").tags(["album"]))?;
    /// let info = gallery.describe("photos")?;
    /// assert_eq!((info.domain.as_str(), info.status, info.expired_date), ("common-search", Status::Normal, -1));
    /// // In JSON it has the service's names.
    /// let json = serde_json::to_value(&info)?;
    /// assert_eq!((&json["instanceName"], &json["status"]), (&"photos".into(), &"NORMAL".into()));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// IS.0001, IS.0007 for the name; IS.3005 when there is none; IS.3013 when it cannot be read.
    pub fn describe(&self, name: &str) -> Result<InstanceInfo> {
        let describe = || self.core.describe(name).map_err(|cause| Error::new(Operation::Describe, cause));
        span!("describe", name).run(|_| 1, describe)
    }

    /// Describes every instance, by name. One that cannot be read is listed as [`Status::Abnormal`].
    ///
    /// ```
    /// # use lookalike::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let gallery = Gallery::open(dir.path())?;
    /// # let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search").tags(["album"]))?;
    /// gallery.create(&CreateInstance::new("drawings", "common-search"))?;
    /// let names: Vec<String> = gallery.list()?.into_iter().map(|info| info.instance_name).collect();
    /// assert_eq!(names, ["drawings", "photos"]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// IS.0009 when the directory itself cannot be read.
    pub fn list(&self) -> Result<Vec<InstanceInfo>> {
        span!("list", "").run(|infos: &Vec<InstanceInfo>| infos.len() as u64, || self.describe_all())
    }

    fn describe_all(&self) -> Result<Vec<InstanceInfo>> {
        let operation = Operation::List;
        let names = self.core.disk.list(&self.core.dir);
        let mut names = names.map_err(|e| Error::new(operation, dir_error("list", &self.core.dir)(e)))?;
        names.retain(|name| check_name(name).is_ok());
        names.sort_unstable();
        let describe =
            |name: String| self.core.describe(&name).unwrap_or_else(|_| InstanceInfo::unreadable(name));
        Ok(names.into_iter().map(describe).collect())
    }

    /// Deletes an instance and its files, durably. Open handles are refused from here on (IS.2019).
    ///
    /// ```
    /// # use lookalike::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let gallery = Gallery::open(dir.path())?;
    /// # let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search").tags(["album"]))?;
    /// gallery.delete("photos")?;
    /// assert_eq!(gallery.describe("photos").unwrap_err().code(), Code::InstanceUnknown);
    /// assert_eq!(photos.len().unwrap_err().code(), Code::InstanceMissing);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// IS.0001, IS.0007 for the name; IS.3005 when there is none; IS.3030 while it is being created, IS.3032
    /// while it is being deleted; IS.2105 when another process has it open, and in a read-only gallery; IS.3003 when its
    /// files could not be removed: if it is not listed any more, what is left goes at the next opening of the gallery.
    pub fn delete(&self, name: &str) -> Result<()> {
        let delete = || self.core.delete(name).map_err(|cause| Error::new(Operation::DeleteInstance, cause));
        span!("delete_instance", name).run(|_| 1, delete)
    }
}

impl std::fmt::Debug for Gallery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Gallery({:?})", self.core.dir)
    }
}

fn dir_error(action: &'static str, dir: &Path) -> impl FnOnce(std::io::Error) -> StoreError {
    let file = dir.display().to_string();
    move |source| StoreError::Io { action, file, source }
}

impl Core {
    fn entries(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn exists(&self, name: &str) -> Result<bool, StoreError> {
        let names = self.disk.list(&self.dir).map_err(dir_error("list", &self.dir))?;
        Ok(names.iter().any(|n| n == name))
    }

    /// Finishes what a crash interrupted: instances half made or half removed.
    fn remove_leftovers(&self) {
        let names = if self.read_only { Ok(Vec::new()) } else { self.disk.list(&self.dir) };
        let mut names = names.unwrap_or_default();
        names.retain(|name| name.starts_with(MAKING) || name.starts_with(REMOVING));
        // That an instance was renamed to be removed must be durable before files of it go: else a power cut could bring
        // back its name without them.
        if !names.is_empty() && self.disk.sync_dir(&self.dir).is_ok() {
            for name in names {
                let dir = self.dir.join(name);
                // Another process at work on it holds its lock.
                if let Ok(Some(_lock)) = self.disk.lock(&dir.join(WRITER), true) {
                    let _ = remove_tree(&*self.disk, &dir);
                }
            }
        }
    }

    fn create(&self, create: &CreateInstance) -> Result<InstanceInfo, Cause> {
        if self.read_only {
            return Err(StoreError::ReadOnly.into());
        }
        let (model, schema) = self.check_create(create)?;
        let name = &create.name;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let about = About {
            name: name.clone(),
            model: model.name().to_owned(),
            model_version: model.version(),
            description: create.description.clone(),
            level: create.level,
            capacity: create.capacity.unwrap_or(create.level),
            registered_ms: u64::try_from(now).unwrap_or(u64::MAX),
        };
        let info = InstanceInfo::new(&about, &schema, Status::Creation);
        {
            let mut entries = self.entries();
            match entries.get(name) {
                Some(Entry::Deleting(_)) => return Err(Refusal::BeingDeleted(name.clone()).into()),
                Some(_) => return Err(Refusal::InstanceExists(name.clone()).into()),
                None if self.exists(name)? => return Err(Refusal::InstanceExists(name.clone()).into()),
                None => entries.insert(name.clone(), Entry::Creating(info.clone())),
            };
        }
        let _entry = EntryGuard { core: self, name };
        model.ready()?;
        self.make(about, schema, model)?;
        Ok(InstanceInfo { status: Status::Normal, ..info })
    }

    fn check_create(&self, create: &CreateInstance) -> Result<(&Model, Schema), Cause> {
        check_name(&create.name)?;
        if create.model.is_empty() {
            return Err(Refusal::ModelMissing.into());
        }
        let model = self.models.get(&create.model);
        let model = model.ok_or_else(|| Refusal::ModelUnknown(shown(&create.model)))?;
        let chars = create.description.chars().count();
        if chars > MAX_DESCRIPTION_CHARS {
            return Err(Refusal::DescriptionTooLong(chars).into());
        }
        if create.level != LEVEL {
            return Err(Refusal::LevelInvalid(create.level).into());
        }
        if let Some(capacity) = create.capacity.filter(|capacity| !(1..=LEVEL).contains(capacity)) {
            return Err(Refusal::CapacityInvalid(capacity).into());
        }
        Ok((model, Schema::default().with_keys(&create.tags)?))
    }

    /// Makes the files of an instance under another name, whole and synced, then gives them theirs.
    fn make(&self, about: About, schema: Schema, model: &Model) -> Result<(), Cause> {
        let (tmp, dir) = (self.dir.join(format!("{MAKING}{}", about.name)), self.dir.join(&about.name));
        let name = about.name.clone();
        let made = (|| {
            self.disk.create_dirs(&tmp).map_err(|e| Cause::Directory(dir_error("create", &tmp)(e)))?;
            let lock = self.disk.lock(&tmp.join(WRITER), true).map_err(dir_error("lock", &tmp))?;
            let _lock = lock.ok_or_else(|| Refusal::InstanceExists(name.clone()))?;
            store::create(&*self.disk, &tmp, about, schema, model.layout().clone()).map_err(|e| match e {
                CreateError::Log(error) => Cause::from(error),
                CreateError::Manifest(error) => Cause::Manifest(error),
            })?;
            self.disk.rename(&tmp, &dir).map_err(|error| match error.kind() {
                std::io::ErrorKind::DirectoryNotEmpty | std::io::ErrorKind::AlreadyExists => {
                    Cause::from(Refusal::InstanceExists(name.clone()))
                }
                _ => dir_error("rename", &tmp)(error).into(),
            })?;
            Ok(self.disk.sync_dir(&self.dir).map_err(dir_error("sync", &self.dir))?)
        })();
        if made.is_err() {
            let _ = remove_tree(&*self.disk, &tmp);
        }
        made
    }

    fn instance(self: &Arc<Self>, name: &str) -> Result<Instance, Cause> {
        check_name(name)?;
        let mut entries = self.entries();
        loop {
            match entries.get(name) {
                Some(Entry::Creating(_)) => return Err(Refusal::NotYetNormal(name.to_owned()).into()),
                Some(Entry::Deleting(_)) => return Err(Refusal::BeingDeleted(name.to_owned()).into()),
                Some(Entry::Repairing) => return Err(Cause::OpenLock(StoreError::Locked)),
                Some(Entry::Open(inner)) => match inner.upgrade() {
                    // A closed instance opens anew: its old handles stay closed.
                    Some(inner) if inner.store().is_some() => return Ok(Instance::new(inner)),
                    Some(_) => break,
                    // Its last handle is closing it at this moment.
                    None => {
                        let (guard, wait) = self
                            .changed
                            .wait_timeout(entries, CLOSING)
                            .unwrap_or_else(PoisonError::into_inner);
                        entries = guard;
                        if wait.timed_out() {
                            return Err(Cause::OpenLock(StoreError::Locked));
                        }
                    }
                },
                None => break,
            }
        }
        if !self.exists(name)? {
            return Err(Refusal::InstanceUnknown(name.to_owned()).into());
        }
        let inner = Arc::new(self.open(name)?);
        entries.insert(name.to_owned(), Entry::Open(Arc::downgrade(&inner)));
        Ok(Instance::new(inner))
    }

    fn open(self: &Arc<Self>, name: &str) -> Result<Inner, Cause> {
        if !self.read_only {
            // Its name may be in the system's memory alone, if the process that made it was killed before it synced it.
            self.disk.sync_dir(&self.dir).map_err(dir_error("sync", &self.dir))?;
        }
        let opening = Opening::begin(self.disk.clone(), &self.dir.join(name), !self.read_only);
        let opening = opening.map_err(open_cause)?;
        let model = self.model_of(opening.manifest())?;
        model.ready()?;
        let options = Options { weights: weights(&model), ..self.options.clone() };
        let store = Store::open(opening, options).map_err(open_cause)?;
        let (core, key) = (Arc::downgrade(self), name.to_owned());
        let on_close = move || {
            if let Some(core) = core.upgrade() {
                let mut entries = core.entries();
                if matches!(entries.get(&key), Some(Entry::Open(inner)) if inner.strong_count() == 0) {
                    entries.remove(&key);
                }
                core.changed.notify_all();
            }
        };
        Ok(Inner::new(
            name.to_owned(),
            model,
            self.resolver.clone(),
            self.limits,
            self.crew.clone(),
            store,
            Box::new(on_close),
        ))
    }

    fn model_of(&self, manifest: &Manifest) -> Result<Model, Refusal> {
        let (name, version) = (&manifest.about.model, manifest.about.model_version);
        let model = self.models.get(name);
        let model = model.ok_or_else(|| Refusal::ModelNotRegistered { name: name.clone(), version })?;
        if model.version() != version || *model.layout() != manifest.layout {
            let (stored, registered) = (version, model.version());
            return Err(Refusal::ModelDiffers { name: name.clone(), stored, registered });
        }
        Ok(model.clone())
    }

    fn describe(&self, name: &str) -> Result<InstanceInfo, Cause> {
        check_name(name)?;
        let mut status = Status::Normal;
        match self.entries().get(name) {
            Some(Entry::Creating(info) | Entry::Deleting(info)) => return Ok(info.clone()),
            Some(Entry::Open(inner)) => {
                let store = inner.upgrade().and_then(|inner| inner.store());
                if store.is_some_and(|store| store.is_abnormal()) {
                    status = Status::Abnormal;
                }
            }
            Some(Entry::Repairing) | None => {}
        }
        if !self.exists(name)? {
            return Err(Refusal::InstanceUnknown(name.to_owned()).into());
        }
        let (_, manifest) = Manifest::read(&*self.disk, &self.dir.join(name)).map_err(Cause::OpenManifest)?;
        Ok(InstanceInfo::new(&manifest.about, &manifest.schema, status))
    }

    fn delete(&self, name: &str) -> Result<(), Cause> {
        if self.read_only {
            return Err(StoreError::ReadOnly.into());
        }
        check_name(name)?;
        // What is damaged can be deleted all the same.
        let info = match self.describe(name) {
            Err(Cause::OpenManifest(_)) => InstanceInfo::unreadable(name.to_owned()),
            described => described?,
        };
        let open = {
            let mut entries = self.entries();
            let open = match entries.get(name) {
                Some(Entry::Creating(_)) => return Err(Refusal::BeingCreated(name.to_owned()).into()),
                Some(Entry::Deleting(_)) => return Err(Refusal::BeingDeleted(name.to_owned()).into()),
                Some(Entry::Repairing) => return Err(Cause::OpenLock(StoreError::Locked)),
                Some(Entry::Open(inner)) => inner.upgrade(),
                None => None,
            };
            entries
                .insert(name.to_owned(), Entry::Deleting(InstanceInfo { status: Status::Deleting, ..info }));
            open
        };
        let _entry = EntryGuard { core: self, name };
        let store = open.and_then(|inner| inner.take_store());
        let dir = self.dir.join(name);
        let _lock = match &store {
            Some(store) => {
                store.abandon();
                None
            }
            None => {
                let lock = self.disk.lock(&dir.join(WRITER), true).map_err(dir_error("lock", &dir))?;
                Some(lock.ok_or(Cause::OpenLock(StoreError::Locked))?)
            }
        };
        // From the rename on the instance is gone; a crash leaves only what the next opening removes.
        let gone = self.dir.join(format!("{REMOVING}{name}-{}", unique(&*self.disk)));
        self.disk.rename(&dir, &gone).map_err(dir_error("rename", &dir))?;
        self.disk.sync_dir(&self.dir).map_err(dir_error("sync", &self.dir))?;
        Ok(remove_tree(&*self.disk, &gone).map_err(dir_error("remove the files of", &dir))?)
    }
}

/// The weights of the blocks in each mode, each with a sum of 1.
fn weights(model: &Model) -> Arc<[Vec<f32>]> {
    let of_mode = |&mode: &Mode| {
        let weights = model.weights(mode);
        let total: f32 = weights.iter().sum();
        weights.iter().map(|weight| weight / total).collect()
    };
    Mode::ALL.iter().map(of_mode).collect()
}

/// Takes an entry away when the work on it ends, however it ends.
struct EntryGuard<'a> {
    core: &'a Core,
    name: &'a str,
}

impl Drop for EntryGuard<'_> {
    fn drop(&mut self) {
        self.core.entries().remove(self.name);
        self.core.changed.notify_all();
    }
}

fn open_cause(error: OpenError) -> Cause {
    match error {
        OpenError::Lock(error) => Cause::OpenLock(error),
        OpenError::Manifest(error) => Cause::OpenManifest(error),
        OpenError::Files(error) => Cause::OpenFiles(error),
    }
}

/// A number that no other removal of this machine uses.
fn unique(disk: &dyn Disk) -> u64 {
    let mut bytes = [0; 8];
    // Without randomness the time has to do: the name only has to differ from what an older crash left.
    if disk.random(&mut bytes).is_err() {
        bytes = (SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64)
            .to_le_bytes();
    }
    u64::from_le_bytes(bytes)
}
