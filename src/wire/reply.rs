//! What is answered.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::code::{Code, Fault};
use crate::error::Error;
use crate::instance::{Hit, Page};
use crate::tags::Tags;

/// The answer to a change: `{"result": "Success"}`.
///
/// The service writes `success` for a deleted instance and `Success` for images.
///
/// ```
/// use lookalike::wire::ResultReply;
/// assert_eq!(serde_json::to_string(&ResultReply::image())?, r#"{"result":"Success"}"#);
/// assert_eq!(serde_json::to_string(&ResultReply::instance())?, r#"{"result":"success"}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ResultReply {
    /// The word.
    pub result: String,
}

impl ResultReply {
    /// An image was added, changed or deleted.
    pub fn image() -> Self {
        Self { result: "Success".to_owned() }
    }

    /// An instance was deleted.
    pub fn instance() -> Self {
        Self { result: "success".to_owned() }
    }
}

/// The answer to a check: `{"exist": "true"}`, a string and no boolean.
///
/// ```
/// use lookalike::wire::CheckReply;
/// assert_eq!(serde_json::to_string(&CheckReply::from(true))?, r#"{"exist":"true"}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CheckReply {
    /// Whether the image is there.
    #[serde(with = "as_text")]
    pub exist: bool,
}

impl From<bool> for CheckReply {
    fn from(exist: bool) -> Self {
        Self { exist }
    }
}

/// A boolean as the service writes it.
mod as_text {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Text {
        True,
        False,
    }

    // The signature is serde's.
    #[allow(clippy::trivially_copy_pass_by_ref)]
    pub(super) fn serialize<S: Serializer>(value: &bool, serializer: S) -> Result<S::Ok, S::Error> {
        if *value { Text::True } else { Text::False }.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
        Ok(matches!(Text::deserialize(deserializer)?, Text::True))
    }
}

/// The answer to a search.
///
/// ```
/// # use lookalike::*;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let gallery = Gallery::open(dir.path())?;
/// # let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search").tags(["album"]))?;
/// # let vector: Vec<f32> = (0..256).map(|i| (i % 7) as f32 + 1.0).collect();
/// use lookalike::wire::SearchReply;
/// photos.add(&Add::new("a.jpg", Source::vector(&vector)).tag("album", "pets"))?;
/// let reply = SearchReply::from(photos.search(&Query::path("a.jpg"))?);
/// let json = r#"{"count":1,"result":[{"path":"a.jpg","sim":1.0,"tags":{"album":"pets"}}]}"#;
/// assert_eq!(serde_json::to_string(&reply)?, json);
/// assert_eq!(serde_json::from_str::<SearchReply>(json)?, reply);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SearchReply {
    /// Images that match, before offset and limit.
    pub count: u64,
    /// The hits of the page, best first.
    pub result: Vec<SearchItem>,
}

/// A hit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SearchItem {
    /// The image's key.
    pub path: String,
    /// How similar it is, 0 to 1. The service declares it for every hit, so it is 1 in a search by tags alone, where
    /// [`Hit::sim`] is `None`.
    pub sim: f32,
    /// Its tags: a single value as a string, several as a list; `{}` without any.
    pub tags: Tags,
}

impl From<Page> for SearchReply {
    fn from(page: Page) -> Self {
        let item = |hit: Hit| SearchItem { path: hit.path, sim: hit.sim.unwrap_or(1.0), tags: hit.tags };
        Self { count: page.count, result: page.hits.into_iter().map(item).collect() }
    }
}

/// The body of every refusal: `{"error_code": "IS.2107", "error_msg": "..."}`.
///
/// Match on the code. The message says what is wrong with the request, or with its picture. Of a fault that is not the
/// request's it says no more than the code does: file names and causes are for the host ([`Answer::error`]), not for
/// whoever sent the request.
///
/// [`Answer::error`]: super::Answer::error
///
/// ```
/// # use lookalike::*;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let gallery = Gallery::open(dir.path())?;
/// # let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search").tags(["album"]))?;
/// use lookalike::wire::ErrorReply;
/// let error = photos.search(&Query::path("a.jpg").limit(101)).unwrap_err();
/// let json = r#"{"error_code":"IS.1010","error_msg":"limit 101 is not 1 to 100"}"#;
/// assert_eq!(serde_json::to_string(&ErrorReply::from(&error))?, json);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ErrorReply {
    /// The code.
    pub error_code: Code,
    /// What is wrong, for people.
    pub error_msg: String,
}

impl ErrorReply {
    /// A refusal, also for codes that only a server can raise.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { error_code: code, error_msg: message.into() }
    }
}

impl From<&Error> for ErrorReply {
    fn from(error: &Error) -> Self {
        let code = error.code();
        let message = match code.fault() {
            Fault::Caller | Fault::Data => {
                // The code has its own field.
                let text = error.to_string();
                text.strip_prefix(&format!("{code}: ")).unwrap_or(&text).to_owned()
            }
            Fault::Engine | Fault::Environment => code.meaning().to_owned(),
        };
        Self::new(code, message)
    }
}

impl fmt::Display for ErrorReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.error_code, self.error_msg)
    }
}

impl std::error::Error for ErrorReply {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Operation;
    use crate::refusal::Refusal;
    use crate::store::StoreError;

    #[test]
    fn a_check_is_a_string() {
        let reply = CheckReply { exist: true };
        assert_eq!(serde_json::to_string(&reply).unwrap(), r#"{"exist":"true"}"#);
        assert_eq!(serde_json::from_str::<CheckReply>(r#"{"exist":"false"}"#).unwrap(), false.into());
        assert!(serde_json::from_str::<CheckReply>(r#"{"exist":true}"#).is_err());
    }

    #[test]
    fn a_single_value_is_a_string() {
        let tags = Tags::from([("color", "red")]).with_values("kind", ["a", "b"]);
        let reply =
            SearchReply { count: 2, result: vec![SearchItem { path: "a".into(), sim: 0.51263, tags }] };
        let text =
            r#"{"count":2,"result":[{"path":"a","sim":0.51263,"tags":{"color":"red","kind":["a","b"]}}]}"#;
        assert_eq!(serde_json::to_string(&reply).unwrap(), text);
        assert_eq!(serde_json::from_str::<SearchReply>(text).unwrap(), reply);
    }

    #[test]
    fn messages_name_the_request_and_not_the_host() {
        let reply = ErrorReply::from(&Error::new(Operation::Search, Refusal::LimitInvalid(101)));
        let text = r#"{"error_code":"IS.1010","error_msg":"limit 101 is not 1 to 100"}"#;
        assert_eq!(serde_json::to_string(&reply).unwrap(), text);
        assert_eq!(serde_json::from_str::<ErrorReply>(text).unwrap(), reply);

        let source = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        let fault = StoreError::Io { action: "write", file: "secret-place".into(), source };
        let reply = ErrorReply::from(&Error::new(Operation::Add, fault));
        assert_eq!((reply.error_code, reply.error_msg.contains("secret")), (Code::AddFailed, false));
    }
}
