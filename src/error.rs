//! The library's error, and the one page that picks a code for every fault.

use std::fmt;
use std::io;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::code::Code;
use crate::features::{EmbedError, EmbedFault, ModelError};
use crate::image::PictureError;
use crate::refusal::{BoxError, Refusal};
use crate::region::RegionError;
use crate::store::StoreError;
use crate::tags::{SchemaError, TagError};
use crate::vector::VectorError;

/// The result of every operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong: a [`Code`] of the service, a [kind](ErrorKind) for programs without codes, the operation, and
/// a message that names the facts.
///
/// ```
/// # use lookalike::*;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let picture = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/pictures/cat.jpg"))?;
/// # let gallery = Gallery::open(dir.path())?;
/// # let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search").tags(["album"]))?;
/// let refused = photos.search(&Query::image(&picture).limit(500)).unwrap_err();
/// assert_eq!(refused.code(), Code::LimitInvalid);
/// assert_eq!((refused.kind(), refused.operation()), (ErrorKind::InvalidInput, Operation::Search));
/// assert_eq!(refused.to_string(), "IS.1010: limit 500 is not 1 to 100");
///
/// // With `#` also what lies behind it.
/// let refused = photos.add(&Add::new("cut.jpg", Source::bytes(&picture[..9000]))).unwrap_err();
/// assert_eq!((refused.code(), refused.is_corruption()), (Code::PictureDamaged, true));
/// assert!(format!("{refused:#}").starts_with("IS.2002: the picture is damaged: "));
/// # Ok(()) }
/// ```
///
/// One word wide. The message may change in any release; the code of a given fault only with a note in the
/// changelog.
pub struct Error(Box<Repr>);

struct Repr {
    code: Code,
    kind: ErrorKind,
    operation: Operation,
    cause: BoxError,
}

/// What kind of fault it is: [`Error::kind`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request is wrong.
    InvalidInput,
    /// What it names is not there.
    NotFound,
    /// What it would make is there already.
    Exists,
    /// A format or model that the library does not have.
    Unsupported,
    /// Over a limit.
    LimitExceeded,
    /// A picture or a file of an instance is damaged.
    Corrupt,
    /// Somebody else has it open, or is at work on it.
    Locked,
    /// The gallery was opened to be read only.
    ReadOnly,
    /// No room on the disk.
    DiskFull,
    /// An earlier failure stopped writing; reopening the instance helps.
    Stopped,
    /// The operating system refused.
    Io,
    /// The caller called it off.
    Cancelled,
    /// Somebody else's code failed: a model, a resolver.
    Host,
    /// None of the above.
    Internal,
}

/// What the library was asked to do: [`Error::operation`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Operation {
    /// Open a gallery.
    OpenGallery,
    /// Create an instance.
    Create,
    /// Open an instance.
    Open,
    /// Describe an instance.
    Describe,
    /// List instances.
    List,
    /// Delete an instance.
    DeleteInstance,
    /// Add or remove tag keys.
    ChangeTagKeys,
    /// Add an image.
    Add,
    /// Check whether an image is there.
    Check,
    /// Update an image's tags.
    Update,
    /// Delete an image.
    Delete,
    /// Search.
    Search,
    /// Read an image's stored vector.
    Vector,
    /// Seal and merge.
    Optimize,
    /// Copy an instance into another gallery.
    Snapshot,
    /// Check every byte.
    Verify,
    /// Read ahead of searches.
    Preload,
    /// Make a damaged instance whole from what is sound in it.
    Repair,
    /// Decode a picture.
    Decode,
}

impl Error {
    /// The service's code.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// What kind of fault it is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What the library was asked to do.
    pub fn operation(&self) -> Operation {
        self.0.operation
    }

    /// Whether files of an instance or a picture are damaged.
    pub fn is_corruption(&self) -> bool {
        self.0.kind == ErrorKind::Corrupt
    }

    /// Whether the same call may succeed later: somebody else has the lock, or the disk is full.
    ///
    /// ```
    /// # use lookalike::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let gallery = Gallery::open(dir.path())?;
    /// # let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search").tags(["album"]))?;
    /// // Somebody else wants to write, too: another program, or here another gallery.
    /// let locked = Gallery::open(dir.path())?.instance("photos").unwrap_err();
    /// assert_eq!((locked.code(), locked.is_retryable()), (Code::ServiceNotRunning, true));
    /// drop(photos);
    /// assert!(Gallery::open(dir.path())?.instance("photos").is_ok());
    /// # Ok(()) }
    /// ```
    pub fn is_retryable(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Locked | ErrorKind::DiskFull)
    }

    #[cold]
    pub(crate) fn new(operation: Operation, cause: impl Into<Cause>) -> Self {
        let cause = cause.into();
        let (code, kind) = cause.pick(operation);
        Self(Box::new(Repr { code, kind, operation, cause: cause.into_inner() }))
    }
}

impl Error {
    /// The message with what lies behind it, down to the first cause.
    fn write_chain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.code, self.0.cause)?;
        let mut source = self.0.cause.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

/// The code and the fact; with `{:#}` also what lies behind it.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() { self.write_chain(f) } else { write!(f, "{}: {}", self.0.code, self.0.cause) }
    }
}

/// What a `main` that returns an error shows: the message, what lies behind it, and the operation.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_chain(f)?;
        write!(f, " [{:?}, {:?}]", self.0.operation, self.0.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // The cause's own words are in this error's message already.
        self.0.cause.source()
    }
}

/// A fault of any part of the library.
#[derive(Debug)]
pub(crate) enum Cause {
    Refusal(Refusal),
    Picture(PictureError),
    Region(RegionError),
    Tag(TagError),
    Schema(SchemaError),
    Vector(VectorError),
    Model(ModelError),
    Embed(EmbedFault),
    /// The store failed while it did what the operation asks.
    Store(Arc<StoreError>),
    /// The lock, the manifest or the other files failed while an instance was opened.
    OpenLock(StoreError),
    OpenManifest(StoreError),
    OpenFiles(StoreError),
    /// The tail could not be sealed, so no row can be added.
    Seal(Arc<StoreError>),
    /// The row of the very image that the request names is unreadable.
    Row(StoreError),
    /// A directory could not be made.
    Directory(StoreError),
    /// A new instance's manifest could not be written.
    Manifest(StoreError),
}

impl Cause {
    /// Whether files of the instance are damaged.
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            Self::Store(e) | Self::Seal(e) => e.is_corruption(),
            Self::Row(e) => e.is_corruption(),
            _ => false,
        }
    }

    fn into_inner(self) -> BoxError {
        match self {
            Self::Refusal(e) => e.into(),
            Self::Picture(e) => e.into(),
            Self::Region(e) => e.into(),
            Self::Tag(e) => e.into(),
            Self::Schema(e) => e.into(),
            Self::Vector(e) => e.into(),
            Self::Model(e) => e.into(),
            Self::Embed(e) => e.into(),
            Self::Store(e) | Self::Seal(e) => e.into(),
            Self::OpenLock(e) | Self::OpenManifest(e) | Self::OpenFiles(e) => e.into(),
            Self::Row(e) | Self::Directory(e) | Self::Manifest(e) => e.into(),
        }
    }

    fn pick(&self, operation: Operation) -> (Code, ErrorKind) {
        use ErrorKind::{Corrupt, Host, InvalidInput, LimitExceeded, Unsupported};
        match self {
            Self::Refusal(e) => refusal(e, operation),
            Self::Picture(e) => match e {
                PictureError::TooManyBytes { .. } | PictureError::TooLarge { .. } => {
                    (Code::PictureTooLarge, LimitExceeded)
                }
                PictureError::TooSmall { .. } => (Code::PictureTooSmall, LimitExceeded),
                PictureError::UnsupportedFormat(_) => (Code::FormatUnsupported, Unsupported),
                PictureError::Damaged(_) => (Code::PictureDamaged, Corrupt),
            },
            Self::Region(_) => (Code::SearchRefused, InvalidInput),
            Self::Tag(e) => match e {
                TagError::TooManyKeys { .. }
                | TagError::TooManyValues { .. }
                | TagError::ValueTooLong { .. } => (Code::TooManyTags, LimitExceeded),
                TagError::UnknownKey { .. } => (Code::TagUnknown, InvalidInput),
                TagError::NoValue { .. } => (Code::TagValueMissing, InvalidInput),
            },
            Self::Schema(e) => match e {
                SchemaError::TooMany { .. } => (Code::TooManyInstanceTags, LimitExceeded),
                _ => (Code::InstanceTagNotAdded, InvalidInput),
            },
            // A vector that the caller brought.
            Self::Vector(_) if operation == Operation::Search => (Code::SearchRefused, InvalidInput),
            Self::Vector(_) => (Code::AddRefused, InvalidInput),
            Self::Model(_) => (Code::ModelUnusable, InvalidInput),
            Self::Embed(e) => match e {
                EmbedFault::Embed(EmbedError::FileMissing(_)) => (Code::ModelFileMissing, Host),
                EmbedFault::Embed(EmbedError::Unusable(_)) => (Code::ModelUnusable, Host),
                EmbedFault::Embed(EmbedError::Failed(_)) | EmbedFault::Vector(_) | EmbedFault::Panicked => {
                    (Code::FeaturesFailed, Host)
                }
            },
            Self::Store(e) => (store(e, operation), kind(e)),
            Self::OpenLock(e) => (Code::ServiceNotRunning, kind(e)),
            Self::OpenManifest(e) if operation == Operation::Describe => (Code::InstanceNotObtained, kind(e)),
            Self::OpenManifest(e) => (Code::ConfigurationUnreadable, kind(e)),
            Self::OpenFiles(e) => match e {
                StoreError::Format { .. } => (Code::ConfigurationUnreadable, kind(e)),
                StoreError::Missing { .. } | StoreError::Io { action: "map", .. } => {
                    (Code::GalleryUnreachable, kind(e))
                }
                _ => (Code::InstanceNotStarted, kind(e)),
            },
            Self::Seal(e) => (Code::TemporaryFileNotSaved, kind(e)),
            Self::Row(e) => (Code::ImageNotIndexed, kind(e)),
            Self::Directory(e) => (Code::DirectoryNotCreated, kind(e)),
            Self::Manifest(e) => (Code::InformationNotSaved, kind(e)),
        }
    }
}

fn refusal(refusal: &Refusal, operation: Operation) -> (Code, ErrorKind) {
    use ErrorKind::{Cancelled, Exists, Host, InvalidInput, LimitExceeded, Locked, NotFound, Unsupported};
    match refusal {
        Refusal::NameMissing | Refusal::ModelMissing | Refusal::BoxMissing => {
            (Code::ParameterMissing, InvalidInput)
        }
        Refusal::NameInvalid(_) => (Code::InstanceNameInvalid, InvalidInput),
        Refusal::ModelUnknown(_) => (Code::ModelUnknown, NotFound),
        Refusal::DescriptionTooLong(_) => (Code::DescriptionTooLong, LimitExceeded),
        Refusal::LevelInvalid(_) | Refusal::CapacityInvalid(_) => (Code::LevelInvalid, InvalidInput),
        Refusal::InstanceExists(_) => (Code::InstanceExists, Exists),
        Refusal::InstanceUnknown(_) => (Code::InstanceUnknown, NotFound),
        Refusal::InstanceGone(_) => (Code::InstanceMissing, NotFound),
        Refusal::BeingCreated(_) => (Code::InstanceBeingCreated, Locked),
        Refusal::NotYetNormal(_) => (Code::InstanceAbnormal, Locked),
        Refusal::BeingDeleted(_) => (Code::InstanceBeingDeleted, Locked),
        Refusal::ModelNotRegistered { .. } => (Code::InstanceModelNotObtained, NotFound),
        Refusal::ModelDiffers { .. } => (Code::ModelUnusable, Unsupported),
        Refusal::TagNotDeletable => (Code::InstanceTagNotDeletable, Unsupported),
        Refusal::PathEmpty => (Code::PathEmpty, InvalidInput),
        Refusal::PathTooLong(_) => (Code::PathInvalid, LimitExceeded),
        Refusal::PathControl => (Code::PathInvalid, InvalidInput),
        Refusal::TagsRequired => (Code::TagsRequired, InvalidInput),
        Refusal::LimitInvalid(_) => (Code::LimitInvalid, InvalidInput),
        Refusal::MinSimInvalid(_) | Refusal::MinCopyInvalid(_) => (Code::SearchRefused, InvalidInput),
        Refusal::NoCopyScore(_) => (Code::SearchRefused, Unsupported),
        Refusal::NothingAsked => (Code::PathOrFileRequired, InvalidInput),
        Refusal::EmptyAsked => (Code::PathAndFileEmpty, InvalidInput),
        Refusal::NoResolver(_) | Refusal::BoxWithoutPicture => (Code::PictureUnavailable, NotFound),
        Refusal::ResolverFailed { .. } => (Code::PictureUnavailable, Host),
        Refusal::ImageMissing => match operation {
            Operation::Delete => (Code::DeleteRefused, NotFound),
            Operation::Update => (Code::UpdateRefused, NotFound),
            _ => (Code::ImageNotIndexed, NotFound),
        },
        Refusal::ImageExists => (Code::AddRefused, Exists),
        Refusal::Full(_) => (Code::InstanceFull, LimitExceeded),
        Refusal::Cancelled => (Code::TimedOut, Cancelled),
        Refusal::CallbackPanicked => (Code::Internal, Host),
    }
}

/// The code for a fault of the store, by what it was asked to do.
fn store(error: &StoreError, operation: Operation) -> Code {
    match error {
        StoreError::Locked | StoreError::Stopped(_) | StoreError::ReadOnly => return Code::ServiceNotRunning,
        StoreError::Abnormal => return Code::InstanceAbnormal,
        _ => {}
    }
    match operation {
        Operation::Add => Code::AddFailed,
        Operation::Check => Code::CheckFailed,
        Operation::Update => Code::UpdateFailed,
        Operation::Delete => Code::DeleteFailed,
        Operation::Search => Code::SearchFailed,
        Operation::Vector => Code::ImageNotIndexed,
        Operation::Optimize | Operation::Snapshot | Operation::Repair => Code::TemporaryFileNotSaved,
        Operation::ChangeTagKeys => Code::InformationNotSaved,
        Operation::Create => Code::InstanceNotCreated,
        Operation::DeleteInstance => Code::InstanceNotDeleted,
        Operation::Describe => Code::InstanceNotObtained,
        Operation::Open => Code::InstanceNotStarted,
        Operation::OpenGallery
        | Operation::List
        | Operation::Verify
        | Operation::Preload
        | Operation::Decode => Code::Internal,
    }
}

fn kind(error: &StoreError) -> ErrorKind {
    match error {
        StoreError::Io { source, .. } => match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::DiskFull,
            _ => ErrorKind::Io,
        },
        StoreError::Corrupt { .. } | StoreError::Missing { .. } | StoreError::Abnormal => ErrorKind::Corrupt,
        StoreError::Format { .. } => ErrorKind::Unsupported,
        StoreError::Locked => ErrorKind::Locked,
        StoreError::ReadOnly => ErrorKind::ReadOnly,
        StoreError::Stopped(_) => ErrorKind::Stopped,
    }
}

macro_rules! causes {
    ($($from:ty => $variant:ident),* $(,)?) => {
        $(impl From<$from> for Cause {
            fn from(error: $from) -> Self {
                Self::$variant(error.into())
            }
        })*
    };
}

causes! {
    Refusal => Refusal,
    PictureError => Picture,
    RegionError => Region,
    TagError => Tag,
    SchemaError => Schema,
    VectorError => Vector,
    ModelError => Model,
    EmbedFault => Embed,
    StoreError => Store,
    Arc<StoreError> => Store,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_word_and_both_forms() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
        let error = Error::new(Operation::Search, Refusal::LimitInvalid(101));
        assert_eq!(error.to_string(), "IS.1010: limit 101 is not 1 to 100");
        assert!(format!("{error:?}").contains("Search"), "{error:?}");
        fn is_send<T: Send + Sync + 'static>() {}
        is_send::<Error>();
    }
}
