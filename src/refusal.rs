//! What a request can be refused for, pictures, boxes, tags and vectors aside.

use thiserror::Error;

use crate::limits::{LEVEL, MAX_DESCRIPTION_CHARS, MAX_LIMIT, MAX_NAME_CHARS, MAX_PATH_BYTES};

/// An error of somebody else's code: a resolver, a model.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A refused request; the code of each is picked in `error.rs`.
#[derive(Debug, Error)]
pub(crate) enum Refusal {
    #[error("the instance has no name")]
    NameMissing,
    #[error("instance name {0:?} is not a-z followed by up to {n} of a-z, 0-9, - and _", n = MAX_NAME_CHARS - 1)]
    NameInvalid(String),
    #[error("the instance names no model")]
    ModelMissing,
    #[error("no model {0:?} is registered")]
    ModelUnknown(String),
    #[error("a description of {0} characters; at most {MAX_DESCRIPTION_CHARS} are allowed")]
    DescriptionTooLong(usize),
    #[error("level {0} is not {LEVEL}")]
    LevelInvalid(u64),
    #[error("a capacity of {0} images is not 1 to {LEVEL}")]
    CapacityInvalid(u64),
    #[error("an instance {0:?} exists already")]
    InstanceExists(String),
    #[error("there is no instance {0:?}")]
    InstanceUnknown(String),
    #[error("instance {0:?} was closed or deleted")]
    InstanceGone(String),
    #[error("instance {0:?} is being created")]
    BeingCreated(String),
    #[error("instance {0:?} is being created and takes no images yet")]
    NotYetNormal(String),
    #[error("instance {0:?} is being deleted")]
    BeingDeleted(String),
    #[error("the instance's model {name:?} version {version} is not registered")]
    ModelNotRegistered { name: String, version: u32 },
    #[error(
        "the instance was made with version {stored} of model {name:?}, and version {registered} is registered, \
             or their dimensions differ"
    )]
    ModelDiffers { name: String, stored: u32, registered: u32 },
    #[error("instance tags cannot be deleted")]
    TagNotDeletable,
    #[error("the path is empty")]
    PathEmpty,
    #[error("the path has {0} bytes; at most {MAX_PATH_BYTES} are allowed")]
    PathTooLong(usize),
    #[error("the path has a control character")]
    PathControl,
    #[error("the update names no tags")]
    TagsRequired,
    #[error("limit {0} is not 1 to {MAX_LIMIT}")]
    LimitInvalid(u32),
    #[error("min_sim {0} is not 0 to 1")]
    MinSimInvalid(f32),
    #[error("min_copy {0} is not 0 to 1")]
    MinCopyInvalid(f32),
    #[error("the model {0:?} has no copy score")]
    NoCopyScore(String),
    #[error("is_crop is true and there is no box")]
    BoxMissing,
    #[error("the search names neither a picture, nor a path, nor tags")]
    NothingAsked,
    #[error("the search's picture or path is empty, and it names nothing else")]
    EmptyAsked,
    #[error("no picture was given for {0:?}, and no resolver is installed")]
    NoResolver(String),
    #[error("a box without a picture or a path")]
    BoxWithoutPicture,
    #[error("the resolver gave no picture for {path:?}")]
    ResolverFailed { path: String, source: BoxError },
    #[error("the image is not in the instance")]
    ImageMissing,
    #[error("the image is in the instance already")]
    ImageExists,
    #[error("the instance holds {0} images and takes no more")]
    Full(u64),
    #[error("the work was called off")]
    Cancelled,
    #[error("the progress callback panicked")]
    CallbackPanicked,
}

/// Checks a path: the key of an image, opaque, 1 to 4096 bytes without control characters.
pub(crate) fn check_path(path: &str) -> Result<(), Refusal> {
    if path.is_empty() {
        Err(Refusal::PathEmpty)
    } else if path.len() > MAX_PATH_BYTES {
        Err(Refusal::PathTooLong(path.len()))
    } else if path.chars().any(char::is_control) {
        Err(Refusal::PathControl)
    } else {
        Ok(())
    }
}

/// Checks an instance name: `^[a-z][a-z0-9_-]{0,15}$`.
pub(crate) fn check_name(name: &str) -> Result<(), Refusal> {
    let mut chars = name.chars();
    let first = chars.next().ok_or(Refusal::NameMissing)?;
    let rest = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if name.len() <= MAX_NAME_CHARS && first.is_ascii_lowercase() && chars.all(rest) {
        Ok(())
    } else {
        Err(Refusal::NameInvalid(shown(name)))
    }
}

/// The first characters of a text from outside, for a message.
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(120).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "shoes-2", "a_b", "abcdefghijklmnop"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in
            ["1a", "-a", "_a", "A", "aB", "a b", "a.b", "..", "a/b", "\u{e4}", "abcdefghijklmnopq", "a\n"]
        {
            assert!(matches!(check_name(bad), Err(Refusal::NameInvalid(_))), "{bad}");
        }
        assert!(matches!(check_name(""), Err(Refusal::NameMissing)));
    }

    #[test]
    fn paths() {
        let (longest, too_long) = ("\u{e4}".repeat(2048), "a".repeat(4097));
        for good in ["a", "../image.jpg", "A/b c.jpg", "http://x/y?z=1", longest.as_str(), " "] {
            assert!(check_path(good).is_ok(), "{}", shown(good));
        }
        for bad in ["a\0b", "a\nb", "\u{85}", too_long.as_str()] {
            assert!(check_path(bad).is_err(), "{}", shown(bad));
        }
    }
}
