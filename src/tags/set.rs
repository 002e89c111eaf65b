//! Tags as a caller gives them, and the set of terms that is kept of them.

use std::fmt;
use std::slice;
use std::sync::Arc;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use super::schema::Schema;
use crate::limits::{MAX_TAG_KEYS, MAX_TAG_VALUE_CHARS, MAX_TAG_VALUES};

/// Tags of an image or of a query: keys of the instance, each with one value or several.
///
/// On an image the values of a key are a set. In a query an image matches when it has, for every key, at least
/// one of the key's values; values are compared exactly, letter case included.
///
/// Limits, checked when the tags are used: at most 10 keys (IS.1003), each one of the instance's (IS.1004), at
/// least one value a key and none empty (IS.1002), at most 32 values a key of 256 characters each (IS.1003).
///
/// Serialises as the service does: a single value as a string, several as a list.
///
/// ```
/// use lookalike::Tags;
/// let tags = Tags::new().with("kind", "shoe").with_values("kind", ["boot"]).with("color", "red");
/// assert_eq!(tags.get("kind"), Some(&["shoe".to_owned(), "boot".to_owned()][..]));
/// assert!(tags.iter().map(|(key, _)| key).eq(["color", "kind"]));
/// assert_eq!(serde_json::to_string(&tags)?, r#"{"color":"red","kind":["shoe","boot"]}"#);
///
/// // From pairs; a key that stands twice has both values.
/// let pairs = Tags::from([("color", "red"), ("color", "blue")]);
/// assert_eq!((pairs.len(), pairs.is_empty(), Tags::new().is_empty()), (1, false, true));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Tags {
    /// By key, none twice.
    entries: Vec<(Arc<str>, Values)>,
}

/// Values of a key. One is kept by itself: hits of a search have little else, and each allocation counts there.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Values {
    One(String),
    /// None, or two and more.
    Several(Vec<String>),
}

impl Values {
    fn as_slice(&self) -> &[String] {
        match self {
            Self::One(value) => slice::from_ref(value),
            Self::Several(values) => values,
        }
    }

    fn push(&mut self, value: String) {
        *self = match std::mem::replace(self, Self::Several(Vec::new())) {
            Self::One(first) => Self::Several(vec![first, value]),
            Self::Several(values) if values.is_empty() => Self::One(value),
            Self::Several(mut values) => {
                values.push(value);
                Self::Several(values)
            }
        }
    }
}

impl Tags {
    /// No tags.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one value under `key`.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.values_mut(key.into()).push(value.into());
        self
    }

    /// Adds several values under `key`.
    #[must_use]
    pub fn with_values<V: Into<String>>(
        mut self,
        key: impl Into<String>,
        values: impl IntoIterator<Item = V>,
    ) -> Self {
        let all = self.values_mut(key.into());
        values.into_iter().for_each(|value| all.push(value.into()));
        self
    }

    fn values_mut(&mut self, key: String) -> &mut Values {
        let at = self.place(&key).unwrap_or_else(|at| {
            self.entries.insert(at, (key.into(), Values::Several(Vec::new())));
            at
        });
        &mut self.entries[at].1
    }

    /// Where the key is, or should be.
    fn place(&self, key: &str) -> Result<usize, usize> {
        self.entries.binary_search_by(|(own, _)| (**own).cmp(key))
    }

    /// The values under `key`.
    pub fn get(&self, key: &str) -> Option<&[String]> {
        self.place(key).ok().map(|at| self.entries[at].1.as_slice())
    }

    /// Keys and their values, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.entries.iter().map(|(key, values)| (&**key, values.as_slice()))
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Tags of terms as they are kept, under the names of their keys; terms of keys that the schema does not have are passed over.
    pub(crate) fn of_terms<'a>(terms: impl Iterator<Item = (u8, &'a str)>, schema: &Schema) -> Self {
        let mut tags =
            Self { entries: Vec::with_capacity(terms.size_hint().1.unwrap_or(0).min(MAX_TAG_KEYS)) };
        for (key, value) in terms {
            let Some(key) = schema.keys().get(usize::from(key)) else { continue };
            match tags.place(key) {
                Ok(at) => tags.entries[at].1.push(value.to_owned()),
                Err(at) => tags.entries.insert(at, (key.clone(), Values::One(value.to_owned()))),
            }
        }
        tags
    }
}

impl fmt::Debug for Tags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Tags {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        pairs.into_iter().fold(Self::new(), |tags, (key, value)| tags.with(key, value))
    }
}

impl<K: Into<String>, V: Into<String>, const N: usize> From<[(K, V); N]> for Tags {
    fn from(pairs: [(K, V); N]) -> Self {
        pairs.into_iter().collect()
    }
}

impl Serialize for Tags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(untagged)]
        enum Values<'a> {
            One(&'a str),
            Several(&'a [String]),
        }
        serializer.collect_map(self.iter().map(|(key, values)| match values {
            [one] => (key, Values::One(one)),
            several => (key, Values::Several(several)),
        }))
    }
}

impl<'de> Deserialize<'de> for Tags {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Values {
            One(String),
            Several(Vec<String>),
        }
        struct Map;
        impl<'de> Visitor<'de> for Map {
            type Value = Tags;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map from tag keys to a string or a list of strings")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Tags, A::Error> {
                let mut tags = Tags::new();
                while let Some((key, values)) = access.next_entry::<String, Values>()? {
                    tags = match values {
                        Values::One(value) => tags.with(key, value),
                        Values::Several(values) => tags.with_values(key, values),
                    };
                }
                Ok(tags)
            }
        }
        deserializer.deserialize_map(Map)
    }
}

/// Why tags of an image or a query are refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum TagError {
    #[error("{count} tag keys; an image or a query has at most {MAX_TAG_KEYS}")]
    TooManyKeys { count: usize },
    #[error("tag key {key:?} is not a tag of the instance")]
    UnknownKey { key: String },
    #[error("tag key {key:?} has no value, or an empty one")]
    NoValue { key: String },
    #[error("tag key {key:?} has {count} values; at most {MAX_TAG_VALUES} are allowed")]
    TooManyValues { key: String, count: usize },
    #[error("a value of tag key {key:?} has {chars} characters; at most {MAX_TAG_VALUE_CHARS} are allowed")]
    ValueTooLong { key: String, chars: usize },
}

/// One value of one key, as bytes that sort by key and then by value: the key's place, then the value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Term(Box<[u8]>);

impl Term {
    pub(crate) fn new(key: u8, value: &str) -> Self {
        Self(std::iter::once(key).chain(value.bytes()).collect())
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Self::parts(bytes)?;
        Some(Self(bytes.into()))
    }

    /// Key and value of a term's bytes.
    pub(crate) fn parts(bytes: &[u8]) -> Option<(u8, &str)> {
        let (&key, value) = bytes.split_first()?;
        let value = std::str::from_utf8(value).ok()?;
        (!value.is_empty()).then_some((key, value))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn key(&self) -> u8 {
        self.0.first().copied().unwrap_or(0)
    }

    fn value(&self) -> &str {
        self.0.get(1..).and_then(|v| std::str::from_utf8(v).ok()).unwrap_or("")
    }
}

/// The tags of one image as they are kept: terms, sorted, none twice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TagSet {
    terms: Vec<Term>,
}

impl TagSet {
    /// Checks `tags` against the limits and the instance's keys.
    pub(crate) fn check(tags: &Tags, schema: &Schema) -> Result<Self, TagError> {
        let count = tags.len();
        if count > MAX_TAG_KEYS {
            return Err(TagError::TooManyKeys { count });
        }
        let mut terms = Vec::new();
        for (key, values) in tags.iter() {
            let shown = || key.chars().take(MAX_SHOWN).collect::<String>();
            let index = schema.index_of(key).ok_or_else(|| TagError::UnknownKey { key: shown() })?;
            if values.is_empty() || values.iter().any(String::is_empty) {
                return Err(TagError::NoValue { key: shown() });
            }
            let count = values.len();
            if count > MAX_TAG_VALUES {
                return Err(TagError::TooManyValues { key: shown(), count });
            }
            for value in values {
                let chars = value.chars().count();
                if chars > MAX_TAG_VALUE_CHARS {
                    return Err(TagError::ValueTooLong { key: shown(), chars });
                }
                terms.push(Term::new(index, value));
            }
        }
        Ok(Self::from_terms(terms))
    }

    /// A set of terms that were checked before.
    pub(crate) fn from_terms(mut terms: Vec<Term>) -> Self {
        terms.sort_unstable();
        terms.dedup();
        Self { terms }
    }

    pub(crate) fn terms(&self) -> &[Term] {
        &self.terms
    }

    /// This set with the keys of `newer` replaced by its values; other keys stay.
    pub(crate) fn merged(&self, newer: &Self) -> Self {
        let kept = self.terms.iter().filter(|term| !newer.terms.iter().any(|n| n.key() == term.key()));
        Self::from_terms(kept.chain(&newer.terms).cloned().collect())
    }

    /// Terms by key: what a filter asks for.
    pub(crate) fn by_key(&self) -> impl Iterator<Item = &[Term]> {
        self.terms.chunk_by(|a, b| a.key() == b.key())
    }

    /// The tags under their names.
    pub(crate) fn to_tags(&self, schema: &Schema) -> Tags {
        Tags::of_terms(self.terms.iter().map(|term| (term.key(), term.value())), schema)
    }
}

/// Characters of a foreign key that an error message shows.
const MAX_SHOWN: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Schema {
        Schema::default().with_keys(&["color", "kind"]).unwrap()
    }

    #[test]
    fn a_set_is_what_comes_back() {
        let tags = Tags::new().with_values("kind", ["b", "a", "b"]).with("color", "red");
        let set = TagSet::check(&tags, &schema()).unwrap();
        let back = set.to_tags(&schema());
        assert_eq!(back, Tags::new().with("color", "red").with_values("kind", ["a", "b"]));
        assert_eq!(set.by_key().map(<[Term]>::len).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn merge_replaces_by_key() {
        let set = |tags: Tags| TagSet::check(&tags, &schema()).unwrap();
        let old = set(Tags::new().with_values("kind", ["a", "b"]).with("color", "red"));
        let merged = old.merged(&set(Tags::from([("kind", "c")])));
        assert_eq!(merged.to_tags(&schema()), Tags::from([("color", "red"), ("kind", "c")]));
    }

    #[test]
    fn refusals_come_in_the_documented_order() {
        let eleven: Tags = (0..11).map(|i| (format!("k{i}"), "v")).collect();
        let refused = |tags: &Tags| TagSet::check(tags, &schema()).unwrap_err();
        assert_eq!(refused(&eleven), TagError::TooManyKeys { count: 11 });
        assert_eq!(refused(&Tags::from([("Color", "x")])), TagError::UnknownKey { key: "Color".into() });
        assert_eq!(refused(&Tags::from([("color", "")])), TagError::NoValue { key: "color".into() });
        let none: [&str; 0] = [];
        assert_eq!(
            refused(&Tags::new().with_values("color", none)),
            TagError::NoValue { key: "color".into() }
        );
        let many = Tags::new().with_values("color", (0..33).map(|i| i.to_string()));
        assert_eq!(refused(&many), TagError::TooManyValues { key: "color".into(), count: 33 });
        let long = Tags::from([("color", "\u{e4}".repeat(257))]);
        assert_eq!(refused(&long), TagError::ValueTooLong { key: "color".into(), chars: 257 });
    }
}
