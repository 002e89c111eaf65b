//! The tag keys of an instance.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::limits::{MAX_TAG_KEY_CHARS, MAX_TAG_KEYS};

/// The tag keys of an instance, at most ten, in the order they were added. Keys are never removed, so a key's
/// place is its name in every file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Schema {
    keys: Vec<Arc<str>>,
}

/// Why tag keys are refused for an instance.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum SchemaError {
    #[error("{count} tag keys; an instance has at most {MAX_TAG_KEYS}")]
    TooMany { count: usize },
    #[error("a tag key is empty")]
    Empty,
    #[error("tag key {key:?} has a capital letter A to Z")]
    Capital { key: String },
    #[error("a tag key of {chars} characters; at most {MAX_TAG_KEY_CHARS} are allowed")]
    TooLong { chars: usize },
    #[error("tag key {key:?} is there twice")]
    Repeated { key: String },
}

impl Schema {
    /// This schema with more keys.
    ///
    /// # Errors
    /// The number of keys is checked before any key.
    pub(crate) fn with_keys<S: AsRef<str>>(&self, more: &[S]) -> Result<Self, SchemaError> {
        let count = self.keys.len().saturating_add(more.len());
        if count > MAX_TAG_KEYS {
            return Err(SchemaError::TooMany { count });
        }
        let mut keys = self.keys.clone();
        for key in more.iter().map(AsRef::as_ref) {
            let chars = key.chars().count();
            if key.is_empty() {
                return Err(SchemaError::Empty);
            } else if chars > MAX_TAG_KEY_CHARS {
                return Err(SchemaError::TooLong { chars });
            } else if key.bytes().any(|b| b.is_ascii_uppercase()) {
                return Err(SchemaError::Capital { key: key.to_owned() });
            } else if keys.iter().any(|k| **k == *key) {
                return Err(SchemaError::Repeated { key: key.to_owned() });
            }
            keys.push(key.into());
        }
        Ok(Self { keys })
    }

    /// The keys, in the order they were added.
    pub(crate) fn keys(&self) -> &[Arc<str>] {
        &self.keys
    }

    /// A key's place.
    pub(crate) fn index_of(&self, key: &str) -> Option<u8> {
        self.keys.iter().position(|k| **k == *key).and_then(|i| u8::try_from(i).ok())
    }

    /// Whether the schema, read from a file, is one that [`with_keys`](Self::with_keys) would have made.
    pub(crate) fn is_sound(&self) -> bool {
        Self::default().with_keys(&self.keys).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules() {
        let base = Schema::default().with_keys(&["color", "brand"]).unwrap();
        assert_eq!(base.index_of("brand"), Some(1));
        assert_eq!(base.index_of("Brand"), None);
        let refused = |keys: &[&str]| base.with_keys(keys).unwrap_err();
        assert_eq!(refused(&[""]), SchemaError::Empty);
        assert_eq!(refused(&["Color"]), SchemaError::Capital { key: "Color".into() });
        assert_eq!(refused(&["color"]), SchemaError::Repeated { key: "color".into() });
        assert_eq!(refused(&["x", "x"]), SchemaError::Repeated { key: "x".into() });
        assert_eq!(refused(&["k"; 9]), SchemaError::TooMany { count: 11 });
        assert!(
            base.with_keys(&["\u{c4}hre", "\u{39a}", "has space"]).is_ok(),
            "only Latin capitals are barred"
        );
        assert!(base.with_keys(&["a".repeat(64)]).is_ok());
        assert_eq!(refused(&[&"\u{e4}".repeat(65)]), SchemaError::TooLong { chars: 65 });
    }
}
