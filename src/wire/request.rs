//! What is asked.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::read::{Integer, Keys, WireTags, readable};
use super::reply::ErrorReply;
use crate::code::Code;
use crate::gallery::CreateInstance;
use crate::instance::{Add, Query, Source, Update};
use crate::limits::{LEVEL, MAX_LIMIT};
use crate::region::Region;
use crate::tags::Tags;

/// The text of a picture in a request: base64 of the standard alphabet, padded.
///
/// ```
/// assert_eq!(lookalike::wire::encode(b"BM6"), "Qk02");
/// ```
pub fn encode(picture: &[u8]) -> String {
    STANDARD.encode(picture)
}

/// The bytes of a picture from its text: base64 of the standard alphabet, padded; ASCII white space is passed over, and
/// nothing else.
///
/// ```
/// use lookalike::{Code, wire::decode};
/// assert_eq!(decode("Qk\n02"), Ok(b"BM6".to_vec()));
/// assert_eq!(decode("Qk0").map_err(|refused| refused.error_code), Err(Code::Base64Invalid));
/// ```
///
/// # Errors
/// IS.2007.
pub fn decode(text: &str) -> Result<Vec<u8>, ErrorReply> {
    let refuse = |error| ErrorReply::new(Code::Base64Invalid, format!("file is no base64: {error}"));
    if text.bytes().any(|byte| byte.is_ascii_whitespace()) {
        let dense: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        return STANDARD.decode(dense).map_err(refuse);
    }
    STANDARD.decode(text).map_err(refuse)
}

fn path(path: Option<&str>) -> Result<&str, ErrorReply> {
    path.ok_or_else(|| ErrorReply::new(Code::ParameterEmpty, "path is missing"))
}

/// A request to create an instance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CreateRequest {
    /// Its name, as [`CreateInstance::name`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Its description, up to 512 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its scale; the service has one, 30,000,000 images, which holds when there is none here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<i64>,
    /// Its tag keys; of more than are allowed only the first eleven are read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
}

readable!(CreateRequest {
    "name" => name: String,
    "model" => model: String,
    "description" => description: String,
    "level" => level: Integer,
    "tags" => tags: Keys,
});

impl CreateRequest {
    /// The request to the library. What is missing is empty, which the library refuses.
    ///
    /// ```
    /// # use lookalike::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use lookalike::wire::CreateRequest;
    /// let request: CreateRequest = serde_json::from_str(r#"{"name": "shoes", "model": "common-search", "tags": ["color"]}"#)?;
    /// assert_eq!(request.to_create(), CreateInstance::new("shoes", "common-search").tags(["color"]));
    /// # Ok(()) }
    /// ```
    pub fn to_create(&self) -> CreateInstance {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        // No level is negative, and 0 is refused as every other is.
        let level = self.level.map_or(LEVEL, |level| u64::try_from(level).unwrap_or(0));
        CreateInstance::new(text(&self.name), text(&self.model))
            .description(text(&self.description))
            .level(level)
            .tags(self.tags.iter().flatten())
    }
}

/// A request to add an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AddRequest {
    /// The image's key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The picture, in base64. Without it, and when it is empty, the gallery's resolver is asked for `path`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Its tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Tags>,
}

readable!(AddRequest { "path" => path: String, "file" => file: String, "tags" => tags: WireTags });

impl AddRequest {
    /// The request to the library.
    ///
    /// ```
    /// # use lookalike::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use lookalike::wire::AddRequest;
    /// let request: AddRequest = serde_json::from_str(r#"{"path": "a.bmp", "file": "Qk02", "tags": {"color": "red"}}"#)?;
    /// let add = request.to_add()?;
    /// assert!(matches!(&add.source, Source::Bytes(bytes) if bytes[..] == *b"BM6"));
    /// assert_eq!((&*add.path, add.tags), ("a.bmp", Tags::from([("color", "red")])));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// IS.0003 without a path, IS.2007 for a file that is no base64.
    pub fn to_add(&self) -> Result<Add<'_>, ErrorReply> {
        let mut add = self.without_file()?;
        if let Some(file) = &self.file {
            add.source = Source::bytes(decode(file)?);
        }
        Ok(add)
    }

    pub(super) fn without_file(&self) -> Result<Add<'_>, ErrorReply> {
        let path = path(self.path.as_deref())?;
        Ok(Add::new(path, Source::Resolve).tags(self.tags.clone().unwrap_or_default()))
    }
}

/// A request to check or delete an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PathRequest {
    /// The image's key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

readable!(PathRequest { "path" => path: String });

impl PathRequest {
    /// The image's key.
    ///
    /// ```
    /// # use lookalike::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use lookalike::wire::PathRequest;
    /// let request: PathRequest = serde_json::from_str(r#"{"path": null}"#)?;
    /// assert_eq!(request.path().unwrap_err().error_code, Code::ParameterEmpty);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// IS.0003 when there is none.
    pub fn path(&self) -> Result<&str, ErrorReply> {
        path(self.path.as_deref())
    }
}

/// A request to give an image other tags.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct UpdateRequest {
    /// The image's key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Its new tags, in place of all it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Tags>,
}

readable!(UpdateRequest { "path" => path: String, "tags" => tags: WireTags });

impl UpdateRequest {
    /// The request to the library.
    ///
    /// ```
    /// # use lookalike::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use lookalike::wire::UpdateRequest;
    /// let request: UpdateRequest = serde_json::from_str(r#"{"path": "a.jpg", "tags": {"color": ["red", "blue"]}}"#)?;
    /// let update = request.to_update()?;
    /// // The service knows no merging.
    /// assert_eq!((update.tags.len(), update.merge), (1, false));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// IS.0003 without a path.
    pub fn to_update(&self) -> Result<Update<'_>, ErrorReply> {
        Ok(Update::new(path(self.path.as_deref())?, self.tags.clone().unwrap_or_default()))
    }
}

/// A request to search.
///
/// The box is read as `is_crop` and `box`, and as older clients write it: `isCrop`, and `x`, `y`, `width`, `height`
/// beside the other fields. It is written in the newer form.
///
/// ```
/// use lookalike::wire::SearchRequest;
/// # fn main() -> Result<(), serde_json::Error> {
/// let newer: SearchRequest =
///     serde_json::from_str(r#"{"path": "a.jpg", "is_crop": true, "box": {"x": 1, "y": 2, "width": 20, "height": 50}}"#)?;
/// let older: SearchRequest =
///     serde_json::from_str(r#"{"path": "a.jpg", "isCrop": true, "x": 1, "y": 2, "width": 20, "height": 50}"#)?;
/// assert_eq!(newer, older);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "SearchFields")]
#[non_exhaustive]
pub struct SearchRequest {
    /// The picture, in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The path to search by, when there is no picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Hits of a page, 1 to 100; 10 when there is none here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
    /// Hits to skip, 0 or more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<i64>,
    /// Only images with these tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Tags>,
    /// Whether to use the box: it is used unless this is false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_crop: Option<bool>,
    /// The part of the picture to search by.
    #[serde(rename = "box", skip_serializing_if = "Option::is_none")]
    pub region: Option<Region>,
}

#[derive(Default)]
struct SearchFields {
    file: Option<String>,
    path: Option<String>,
    limit: Option<i64>,
    offset: Option<i64>,
    tags: Option<Tags>,
    is_crop: Option<bool>,
    region: Option<BoxFields>,
    flat_x: Option<i64>,
    flat_y: Option<i64>,
    flat_width: Option<i64>,
    flat_height: Option<i64>,
}

readable!(SearchFields {
    "file" => file: String,
    "path" => path: String,
    "limit" => limit: Integer,
    "offset" => offset: Integer,
    "tags" => tags: WireTags,
    "is_crop" | "isCrop" => is_crop: bool,
    "box" => region: BoxFields,
    "x" => flat_x: Integer,
    "y" => flat_y: Integer,
    "width" => flat_width: Integer,
    "height" => flat_height: Integer,
});

#[derive(Default)]
struct BoxFields {
    x: Option<i64>,
    y: Option<i64>,
    width: Option<i64>,
    height: Option<i64>,
}

readable!(BoxFields {
    "x" => x: Integer,
    "y" => y: Integer,
    "width" => width: Integer,
    "height" => height: Integer,
});

impl From<BoxFields> for Region {
    fn from(fields: BoxFields) -> Self {
        let mut region = Self::from_origin(fields.x.unwrap_or(0), fields.y.unwrap_or(0));
        if let Some(width) = fields.width {
            region = region.with_width(width);
        }
        if let Some(height) = fields.height {
            region = region.with_height(height);
        }
        region
    }
}

impl From<SearchFields> for SearchRequest {
    fn from(fields: SearchFields) -> Self {
        let (x, y) = (fields.flat_x, fields.flat_y);
        let (width, height) = (fields.flat_width, fields.flat_height);
        let is_flat = [x, y, width, height].iter().any(Option::is_some);
        let flat = is_flat.then_some(BoxFields { x, y, width, height });
        Self {
            file: fields.file,
            path: fields.path,
            limit: fields.limit,
            offset: fields.offset,
            tags: fields.tags,
            is_crop: fields.is_crop,
            region: fields.region.or(flat).map(Region::from),
        }
    }
}

impl SearchRequest {
    /// The request to the library.
    ///
    /// ```
    /// # use lookalike::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use lookalike::wire::SearchRequest;
    /// let request: SearchRequest = serde_json::from_str(r#"{"path": "a.jpg", "limit": 20, "offset": 40}"#)?;
    /// let query = request.to_query()?;
    /// assert_eq!((query.path.as_deref(), query.limit, query.offset), (Some("a.jpg"), 20, 40));
    /// let request: SearchRequest = serde_json::from_str(r#"{"path": "a.jpg", "offset": -1}"#)?;
    /// assert_eq!(request.to_query().unwrap_err().error_code, Code::OffsetInvalid);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// IS.1010 for a limit that is not 1 to 100, IS.1011 for a negative offset, IS.2007 for a file that is no base64.
    pub fn to_query(&self) -> Result<Query<'_>, ErrorReply> {
        let mut query = self.without_file()?;
        if let Some(file) = &self.file {
            query.source = Some(Source::bytes(decode(file)?));
        }
        Ok(query)
    }

    pub(super) fn without_file(&self) -> Result<Query<'_>, ErrorReply> {
        let mut query = Query::tags(self.tags.clone().unwrap_or_default());
        if let Some(limit) = self.limit {
            let allowed = u32::try_from(limit).ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
            let refuse =
                || ErrorReply::new(Code::LimitInvalid, format!("limit {limit} is not 1 to {MAX_LIMIT}"));
            query.limit = allowed.ok_or_else(refuse)?;
        }
        if let Some(offset) = self.offset {
            let refuse = |_| ErrorReply::new(Code::OffsetInvalid, format!("offset {offset} is negative"));
            query.offset = u64::try_from(offset).map_err(refuse)?;
        }
        query.path = self.path.as_deref().map(Into::into);
        query.is_crop = self.is_crop;
        query.region = self.region;
        Ok(query)
    }
}
