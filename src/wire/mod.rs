//! The service's requests and answers in JSON: what a server, or a program that was written against the service, needs.
//!
//! [`Service::answer`] takes what is asked (a [`Call`]) and a body in JSON, and gives a status and a body in JSON. There is
//! no HTTP in it: a server reads a request, says which call its method and path are, and sends what it gets.
//! `examples/rest_server.rs` is one, and the service's official client runs against it unchanged.
//!
//! | the service's request | [`Call`] | body | answer |
//! | --- | --- | --- | --- |
//! | `POST /v1/{project_id}/service` | [`CreateInstance`](Call::CreateInstance) | [`CreateRequest`] | [`InstanceInfo`](crate::InstanceInfo) |
//! | `GET /v1/{project_id}/service/{instance_name}` | [`QueryInstance`](Call::QueryInstance) | | [`InstanceInfo`](crate::InstanceInfo) |
//! | `DELETE /v1/{project_id}/service/{instance_name}` | [`DeleteInstance`](Call::DeleteInstance) | | [`ResultReply`] |
//! | `POST /v1/{project_id}/{instance_name}/image` | [`AddImage`](Call::AddImage) | [`AddRequest`] | [`ResultReply`] |
//! | `POST .../image/check` | [`CheckImage`](Call::CheckImage) | [`PathRequest`] | [`CheckReply`] |
//! | `PUT .../image` | [`UpdateImage`](Call::UpdateImage) | [`UpdateRequest`] | [`ResultReply`] |
//! | `DELETE .../image` | [`DeleteImage`](Call::DeleteImage) | [`PathRequest`] | [`ResultReply`] |
//! | `POST .../image/search` | [`SearchImages`](Call::SearchImages) | [`SearchRequest`] | [`SearchReply`] |
//!
//! Everything else is answered with 200, and every refusal with status 400 and an [`ErrorReply`].
//!
//! ```
//! use lookalike::wire::{AddRequest, Call, Service, encode};
//! use lookalike::{CreateInstance, Gallery};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let picture = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/pictures/cat.jpg"))?;
//! let service = Service::new(Gallery::open(dir.path())?);
//! let answer = service.answer(Call::CreateInstance, br#"{"name": "photos", "model": "common-search"}"#);
//! assert_eq!(answer.status, 200);
//!
//! let mut add = AddRequest::default();
//! add.path = Some("cat.jpg".to_owned());
//! add.file = Some(encode(&picture));
//! let answer = service.answer(Call::AddImage("photos"), &serde_json::to_vec(&add)?);
//! assert_eq!(answer.body, r#"{"result":"Success"}"#);
//!
//! let answer = service.answer(Call::SearchImages("photos"), br#"{"path": "cat.jpg"}"#);
//! assert_eq!(answer.body, r#"{"count":1,"result":[{"path":"cat.jpg","sim":1.0,"tags":{}}]}"#);
//!
//! let answer = service.answer(Call::SearchImages("photos"), br#"{"path": "cat.jpg", "limit": "ten"}"#);
//! assert_eq!(answer.status, 400);
//! assert!(answer.body.starts_with(r#"{"error_code":"IS.0002","error_msg":"limit: "#));
//! # Ok(()) }
//! ```
//!
//! # What is read
//!
//! * A field that is `null` counts as absent, and one that no request has is passed over. Of a field that stands twice the
//!   last counts.
//! * A body is checked in this order: its size (IS.0006), whether it is JSON (IS.0008), the types of its fields (IS.0002),
//!   whether a path is there (IS.0003); then the instance; then what the library checks, in its order, with base64
//!   (IS.2007) where it would look at the picture.
//! * The memory that a body takes is in proportion to its size, whatever it holds.

mod read;
mod reply;
mod request;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

pub use reply::{CheckReply, ErrorReply, ResultReply, SearchItem, SearchReply};
pub use request::{AddRequest, CreateRequest, PathRequest, SearchRequest, UpdateRequest, decode, encode};

use crate::code::Code;
use crate::error::{Error, Result};
use crate::gallery::Gallery;
use crate::instance::{Instance, Source};
use crate::limits::MAX_BODY_BYTES;

/// One of the eight operations, with the name of the instance that it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Call<'a> {
    /// Create the instance that the body names.
    CreateInstance,
    /// Describe an instance; the body is not read.
    QueryInstance(&'a str),
    /// Delete an instance; the body is not read.
    DeleteInstance(&'a str),
    /// Add an image.
    AddImage(&'a str),
    /// Check whether an image is there.
    CheckImage(&'a str),
    /// Give an image other tags.
    UpdateImage(&'a str),
    /// Delete an image.
    DeleteImage(&'a str),
    /// Search.
    SearchImages(&'a str),
}

impl Call<'_> {
    /// Whether the call changes anything.
    ///
    /// ```
    /// use lookalike::wire::Call;
    /// assert!(Call::DeleteImage("photos").is_change() && !Call::SearchImages("photos").is_change());
    /// ```
    pub fn is_change(&self) -> bool {
        match self {
            Self::QueryInstance(_) | Self::CheckImage(_) | Self::SearchImages(_) => false,
            Self::CreateInstance
            | Self::DeleteInstance(_)
            | Self::AddImage(_)
            | Self::UpdateImage(_)
            | Self::DeleteImage(_) => true,
        }
    }
}

/// What is sent back: [`Service::answer`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Answer {
    /// 200, or 400 for every refusal, as the service does it.
    pub status: u16,
    /// JSON.
    pub body: String,
    error: Option<Error>,
}

impl Answer {
    /// The answer to a request that is refused before it comes to a [`Service`].
    ///
    /// ```
    /// use lookalike::wire::{Answer, ErrorReply};
    /// use lookalike::Code;
    ///
    /// let answer = Answer::refusal(&ErrorReply::new(Code::TokenExpired, "the token ended an hour ago"));
    /// assert_eq!(answer.status, 400);
    /// assert_eq!(answer.body, r#"{"error_code":"IS.0021","error_msg":"the token ended an hour ago"}"#);
    /// ```
    pub fn refusal(reply: &ErrorReply) -> Self {
        Self::new(400, reply)
    }

    /// What the library said, if it is the library that refused: for the host's log, with the names of files and the
    /// causes that the body leaves out.
    ///
    /// ```
    /// # use lookalike::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let gallery = Gallery::open(dir.path())?;
    /// # let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search").tags(["album"]))?;
    /// use lookalike::wire::{Call, Service};
    ///
    /// let service = Service::new(gallery);
    /// let answer = service.answer(Call::DeleteImage("photos"), br#"{"path": "a.jpg"}"#);
    /// assert_eq!(answer.error().map(|error| error.code()), Some(Code::DeleteRefused));
    /// // The library was not asked for what could not be read.
    /// assert!(service.answer(Call::DeleteImage("photos"), b"{").error().is_none());
    /// # Ok(()) }
    /// ```
    pub fn error(&self) -> Option<&Error> {
        self.error.as_ref()
    }

    fn new(status: u16, body: &impl Serialize) -> Self {
        match serde_json::to_string(body) {
            Ok(body) => Self { status, body, error: None },
            // Replies are strings, numbers and maps of strings, which always are JSON.
            Err(_) => {
                let body = format!(r#"{{"error_code":"{}","error_msg":"no answer"}}"#, Code::Internal);
                Self { status: 400, body, error: None }
            }
        }
    }
}

/// Why there is no reply.
enum Failure {
    Refused(ErrorReply),
    Failed(Error),
}

impl From<ErrorReply> for Failure {
    fn from(reply: ErrorReply) -> Self {
        Self::Refused(reply)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Answers the service's requests from a gallery.
///
/// To be shared between threads. It keeps the instances that were asked for open, so that a request does not wait for
/// files to be mapped; they close with it.
pub struct Service {
    gallery: Gallery,
    instances: Mutex<HashMap<String, Instance>>,
    max_body_bytes: usize,
}

impl Service {
    /// Answers from `gallery`, bodies of at most 12 MB ([`MAX_BODY_BYTES`]).
    pub fn new(gallery: Gallery) -> Self {
        Self { gallery, instances: Mutex::default(), max_body_bytes: MAX_BODY_BYTES }
    }

    /// Another limit for bodies than the service's 12 MB, in bytes; a larger body gives IS.0006.
    ///
    /// ```
    /// # use lookalike::*;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let gallery = Gallery::open(dir.path())?;
    /// # let photos = gallery.open_or_create(&CreateInstance::new("photos", "common-search").tags(["album"]))?;
    /// use lookalike::wire::{Call, Service};
    ///
    /// let service = Service::new(gallery).max_body_bytes(20);
    /// let answer = service.answer(Call::CheckImage("photos"), br#"{"path": "pictures/a.jpg"}"#);
    /// assert!(answer.body.contains("IS.0006"));
    /// assert_eq!(service.answer(Call::CheckImage("photos"), br#"{"path": "a.jpg"}"#).body, r#"{"exist":"false"}"#);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn max_body_bytes(mut self, bytes: usize) -> Self {
        self.max_body_bytes = bytes;
        self
    }

    /// Answers a request: the module's page has an example. It blocks while pictures are decoded and changes are synced to
    /// disk: what is answered with 200 is durable.
    pub fn answer(&self, call: Call<'_>, body: &[u8]) -> Answer {
        match self.reply(call, body) {
            Ok(answer) => answer,
            Err(Failure::Refused(reply)) => Answer::refusal(&reply),
            Err(Failure::Failed(error)) => {
                let answer = Answer::refusal(&ErrorReply::from(&error));
                Answer { error: Some(error), ..answer }
            }
        }
    }

    fn reply(&self, call: Call<'_>, body: &[u8]) -> Result<Answer, Failure> {
        Ok(match call {
            Call::CreateInstance => {
                let request: CreateRequest = self.read(body)?;
                done(&self.gallery.create(&request.to_create())?)
            }
            Call::QueryInstance(name) => done(&self.gallery.describe(name)?),
            Call::DeleteInstance(name) => {
                self.gallery.delete(name)?;
                self.instances().remove(name);
                done(&ResultReply::instance())
            }
            Call::AddImage(name) => {
                let request: AddRequest = self.read(body)?;
                let mut add = request.without_file()?;
                let instance = self.instance(name)?;
                look(request.file.as_deref(), |source| {
                    add.source = source.unwrap_or(Source::Resolve);
                    instance.add(&add)
                })?;
                done(&ResultReply::image())
            }
            Call::CheckImage(name) => {
                let request: PathRequest = self.read(body)?;
                let path = request.path()?;
                done(&CheckReply::from(self.instance(name)?.check(path)?))
            }
            Call::UpdateImage(name) => {
                let request: UpdateRequest = self.read(body)?;
                let update = request.to_update()?;
                self.instance(name)?.update(&update)?;
                done(&ResultReply::image())
            }
            Call::DeleteImage(name) => {
                let request: PathRequest = self.read(body)?;
                let path = request.path()?;
                self.instance(name)?.delete(path)?;
                done(&ResultReply::image())
            }
            Call::SearchImages(name) => {
                let request: SearchRequest = self.read(body)?;
                let mut query = request.without_file()?;
                let instance = self.instance(name)?;
                let page = look(request.file.as_deref(), |source| {
                    query.source = source;
                    instance.search(&query)
                })?;
                done(&SearchReply::from(page))
            }
        })
    }

    fn read<T: serde::de::DeserializeOwned>(&self, body: &[u8]) -> Result<T, ErrorReply> {
        read::request(body, self.max_body_bytes)
    }

    fn instances(&self) -> MutexGuard<'_, HashMap<String, Instance>> {
        self.instances.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The instance of that name, opened if it is not open. For image operations "no such instance" is IS.2019.
    fn instance(&self, name: &str) -> Result<Instance, Failure> {
        let kept = self.instances().get(name).cloned();
        // The host may have closed or deleted it, and made another of that name.
        if let Some(instance) = kept.filter(|instance| instance.len().is_ok()) {
            return Ok(instance);
        }
        match self.gallery.instance(name) {
            Ok(instance) => {
                self.instances().insert(name.to_owned(), instance.clone());
                Ok(instance)
            }
            Err(error) => {
                self.instances().remove(name);
                if error.code() == Code::InstanceUnknown {
                    let reply = ErrorReply::from(&error);
                    return Err(ErrorReply { error_code: Code::InstanceMissing, ..reply }.into());
                }
                Err(error.into())
            }
        }
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Service({:?})", self.gallery)
    }
}

fn done(reply: &impl Serialize) -> Answer {
    Answer::new(200, reply)
}

/// Has the library look at a file in base64. The library checks what is cheap first, and base64 is a matter of the
/// picture: in place of a file that is none the library gets one of no format, and what it says to that is IS.2007.
fn look<T>(
    file: Option<&str>,
    ask: impl FnOnce(Option<Source<'static>>) -> Result<T, Error>,
) -> Result<T, Failure> {
    let (bytes, refused) = match file.map(decode) {
        Some(Ok(bytes)) => (Some(bytes), None),
        Some(Err(refusal)) => (Some(b"?".to_vec()), Some(refusal)),
        None => (None, None),
    };
    match (ask(bytes.map(Source::bytes)), refused) {
        (Err(error), Some(refusal)) if error.code() == Code::FormatUnsupported => Err(refusal.into()),
        (result, _) => Ok(result?),
    }
}
