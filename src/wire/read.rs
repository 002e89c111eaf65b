//! JSON from outside, read within bounds.
//!
//! Types are read straight from the text. A general JSON value would be simpler and could take a hundred times the
//! memory of a hostile body: here nothing is kept that no request has, and lists are kept only as far as their limit
//! needs.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::reply::ErrorReply;
use crate::code::Code;
use crate::limits::{MAX_TAG_KEYS, MAX_TAG_VALUES};
use crate::tags::Tags;

/// A request from its JSON.
pub(super) fn request<T: DeserializeOwned>(body: &[u8], max_bytes: usize) -> Result<T, ErrorReply> {
    if body.len() > max_bytes {
        let message = format!("a body of {} bytes; at most {max_bytes} are allowed", body.len());
        return Err(ErrorReply::new(Code::BodyTooLarge, message));
    }
    // Whether it is JSON at all comes first, whatever its fields are.
    let no_json = |error: &dyn fmt::Display| ErrorReply::new(Code::BodyNotJson, format!("no JSON: {error}"));
    let text = std::str::from_utf8(body).map_err(|error| no_json(&error))?;
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| no_json(&error))?;
    serde_json::from_str(text).map_err(|error| ErrorReply::new(Code::ParameterType, error.to_string()))
}

/// Makes a struct readable from a JSON object: each field by one name or several, absent and `null` the same, other
/// names passed over, and errors with the field's name before them.
macro_rules! readable {
    ($type:ident { $($($name:literal)|+ => $field:ident: $read:ty),* $(,)? }) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Fields;
                impl<'de> serde::de::Visitor<'de> for Fields {
                    type Value = $type;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("an object")
                    }
                    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<$type, A::Error> {
                        let mut read = $type::default();
                        while let Some(name) = map.next_key::<std::borrow::Cow<'de, str>>()? {
                            match &*name {
                                $($($name)|+ => {
                                    let value = map.next_value::<Option<$read>>();
                                    let value = value.map_err(|error| $crate::wire::read::named(&name, &error))?;
                                    read.$field = value.map(Into::into);
                                })*
                                _ => { map.next_value::<serde::de::IgnoredAny>()?; }
                            }
                        }
                        Ok(read)
                    }
                }
                deserializer.deserialize_map(Fields)
            }
        }
    };
}
pub(super) use readable;

/// An error with the name of the field.
pub(super) fn named<E: serde::de::Error>(name: &str, error: &E) -> E {
    E::custom(format_args!("{name}: {error}"))
}

/// Any integer; one that is no `i64` counts as the nearest that is, and both are out of every range.
pub(super) struct Integer(i64);

impl From<Integer> for i64 {
    fn from(value: Integer) -> Self {
        value.0
    }
}

impl<'de> Deserialize<'de> for Integer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;
        impl Visitor<'_> for Number {
            type Value = Integer;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an integer")
            }
            fn visit_i64<E>(self, value: i64) -> Result<Integer, E> {
                Ok(Integer(value))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Integer, E> {
                Ok(Integer(i64::try_from(value).unwrap_or(i64::MAX)))
            }
        }
        deserializer.deserialize_any(Number)
    }
}

/// Tags of an image or a query. `null`, also in a list, counts as an empty value: IS.1002 is the core's to raise.
pub(super) struct WireTags(Tags);

impl From<WireTags> for Tags {
    fn from(tags: WireTags) -> Self {
        tags.0
    }
}

impl<'de> Deserialize<'de> for WireTags {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Map;
        impl<'de> Visitor<'de> for Map {
            type Value = WireTags;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tag keys and values")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<WireTags, A::Error> {
                let mut tags = Tags::new();
                while let Some(key) = map.next_key::<Cow<'de, str>>()? {
                    let values = map.next_value::<Values>();
                    let Values(values) = values.map_err(|error| named(&key, &error))?;
                    // One more than is allowed: enough for the core to refuse.
                    let known = tags.get(&key).map(<[String]>::len);
                    let room = match known {
                        Some(count) => count <= MAX_TAG_VALUES,
                        None => tags.len() <= MAX_TAG_KEYS,
                    };
                    if room {
                        tags = tags.with_values(key, values);
                    }
                }
                Ok(WireTags(tags))
            }
        }
        deserializer.deserialize_map(Map)
    }
}

/// The values of a tag key: a string or a list of strings.
struct Values(Vec<String>);

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Values;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of strings")
            }
            fn visit_str<E>(self, value: &str) -> Result<Values, E> {
                Ok(Values(vec![value.to_owned()]))
            }
            fn visit_unit<E>(self) -> Result<Values, E> {
                Ok(Values(Vec::new()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Values, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = list.next_element::<Option<String>>()? {
                    if values.len() <= MAX_TAG_VALUES {
                        values.push(value.unwrap_or_default());
                    }
                }
                Ok(Values(values))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// Tag keys of a new instance.
pub(super) struct Keys(Vec<String>);

impl From<Keys> for Vec<String> {
    fn from(keys: Keys) -> Self {
        keys.0
    }
}

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Keys;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of strings")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Keys, A::Error> {
                let mut keys = Vec::new();
                while let Some(key) = list.next_element::<String>()? {
                    if keys.len() <= MAX_TAG_KEYS {
                        keys.push(key);
                    }
                }
                Ok(Keys(keys))
            }
        }
        deserializer.deserialize_seq(List)
    }
}
