//! The service's eight operations over HTTP, so that programs written against the service run against a directory.
//!
//! ```text
//! cargo run --release --features wire --example rest_server -- --gallery MY_GALLERY
//! curl -X POST http://127.0.0.1:8080/v1/any/service -d '{"name": "photos", "model": "common-search"}'
//! curl -X POST http://127.0.0.1:8080/v1/any/photos/image -d '{"path": "cat.jpg", "file": "'$(base64 -w0 cat.jpg)'"}'
//! curl -X POST http://127.0.0.1:8080/v1/any/photos/image/search -d '{"path": "cat.jpg"}'
//! ```
//!
//! With `--access-key` and `--secret-key` requests must be signed as the service's clients sign them, with `--token` they
//! must carry it as `X-Auth-Token`; with both, either will do. The official Python client runs against this server
//! unchanged: tests/official_client.py.
//!
//! It speaks plain HTTP. Signatures keep requests from being forged, not from being read: before it is reached from other
//! machines, something that speaks TLS belongs in front of it.

#[path = "support/signature.rs"]
mod signature;

use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use axum::response::Response;
use clap::Parser;
use http_body_util::BodyExt;
use lookalike::limits::MAX_BODY_BYTES;
use lookalike::wire::{Answer, Call, ErrorReply, Service};
use lookalike::{Code, Fault, Gallery};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use crate::signature::{Keys, Unaccepted};

/// The eight operations over HTTP.
#[derive(Parser)]
struct Options {
    /// The gallery's directory; made if it is not there.
    #[arg(long)]
    gallery: PathBuf,
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Access key of signed requests.
    #[arg(long, env = "LOOKALIKE_ACCESS_KEY", requires = "secret_key")]
    access_key: Option<String>,
    /// Its secret. An environment variable keeps it out of the list of processes.
    #[arg(long, env = "LOOKALIKE_SECRET_KEY", hide_env_values = true, requires = "access_key")]
    secret_key: Option<String>,
    /// The token that requests without a signature must carry.
    #[arg(long, env = "LOOKALIKE_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// For how long the token is valid, from the start of the server on; the service's tokens are for a day.
    #[arg(long, default_value_t = 24 * 60 * 60)]
    token_seconds: u64,
    /// The only project that is served; any, without it.
    #[arg(long)]
    project: Option<String>,
    /// Refuses every change. Other processes may change the gallery meanwhile; an instance is served as it was when it was
    /// first asked for.
    #[arg(long)]
    read_only: bool,
    /// A folder of pictures, from which an image is added when a request has a `path` below it and no `file`.
    #[arg(long)]
    pictures: Option<PathBuf>,
}

/// How long a body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(60);

/// Requests that are worked on at once; others wait. It bounds the memory of their bodies.
const AT_ONCE: usize = 16;

/// How long requests under way have to finish when the server stops.
const STOP_TIME: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = Options::parse();
    let given = [&options.access_key, &options.secret_key, &options.token];
    if given.into_iter().flatten().any(String::is_empty) {
        return Err("an empty key or token protects nothing".into());
    }
    if !options.listen.ip().is_loopback() && options.access_key.is_none() && options.token.is_none() {
        return Err("whoever reaches this address could change the gallery: give keys or a token".into());
    }

    // Everything that needs no HTTP is the library's: `Service` takes JSON and gives JSON.
    let mut gallery = Gallery::builder(&options.gallery);
    if options.read_only {
        gallery = gallery.read_only();
    }
    if let Some(folder) = options.pictures.clone() {
        gallery = gallery.resolver(move |path: &str| picture(&folder, path));
    }
    let service = Service::new(gallery.open()?);

    let listener = tokio::net::TcpListener::bind(options.listen).await?;
    println!("Listening on http://{}", listener.local_addr()?);
    let server = Arc::new(Server::new(options, service));
    let app = Router::new().fallback(respond).with_state(server);

    // On Ctrl-C no new request is taken, and those under way are finished. What was answered is on the disk in any case.
    let serve = axum::serve(listener, app).with_graceful_shutdown(stopped());
    tokio::select! {
        served = serve => served?,
        () = async { stopped().await; tokio::time::sleep(STOP_TIME).await } => {}
    }
    println!("Stopped");
    Ok(())
}

/// Ends on Ctrl-C, and on what a service manager sends.
async fn stopped() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}

/// The resolver: what the service downloads from its object store. The library never opens a path; what may be read is
/// decided here, and that is what lies below the folder.
fn picture(folder: &Path, path: &str) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
    if !Path::new(path).components().all(|part| matches!(part, Component::Normal(_))) {
        return Err("the path leads out of the folder".into());
    }
    Ok(std::fs::read(folder.join(path))?)
}

struct Server {
    service: Service,
    keys: Option<Keys>,
    token: Option<Token>,
    project: Option<String>,
    read_only: bool,
    at_once: Semaphore,
    requests: AtomicU64,
}

struct Token {
    hash: [u8; 32],
    until: Option<Instant>,
}

impl Server {
    fn new(options: Options, service: Service) -> Self {
        let keys = options.access_key.zip(options.secret_key);
        let token = options.token.map(|token| Token {
            hash: Sha256::digest(token).into(),
            until: Instant::now().checked_add(Duration::from_secs(options.token_seconds)),
        });
        Self {
            service,
            keys: keys.map(|(access, secret)| Keys { access, secret }),
            token,
            project: options.project,
            read_only: options.read_only,
            at_once: Semaphore::new(AT_ONCE),
            requests: AtomicU64::new(0),
        }
    }

    /// What can be refused before the body is there. Codes that only a server can raise are raised here and in
    /// [`answer`](Self::answer).
    fn check_head(&self, parts: &Parts) -> Result<(), ErrorReply> {
        if self.keys.is_none() && self.token.is_none() {
            // A browser runs the pages of strangers on this machine, and says so in `Origin`.
            if parts.headers.contains_key("origin") {
                let message = "pages need a server with keys or a token";
                return Err(ErrorReply::new(Code::RequestNotAuthorised, message));
            }
            return Ok(());
        }
        if let Some(token) = parts.headers.get("x-auth-token") {
            return self.check_token(token.as_bytes());
        }
        if !parts.headers.contains_key("authorization") {
            let message = "neither X-Auth-Token nor Authorization is there";
            return Err(ErrorReply::new(Code::HeaderMissing, message));
        }
        let refuse = || ErrorReply::new(Code::RequestNotAuthorised, "requests cannot be signed here");
        let keys = self.keys.as_ref().ok_or_else(refuse)?;
        keys.check_head(parts, SystemTime::now()).map_err(unaccepted)
    }

    fn check_token(&self, token: &[u8]) -> Result<(), ErrorReply> {
        let token = token.trim_ascii();
        if token.is_empty() {
            return Err(ErrorReply::new(Code::TokenEmpty, "X-Auth-Token is empty"));
        }
        // Hashes are compared, so that the time it takes says nothing about the token.
        let own = self.token.as_ref().filter(|own| own.hash == <[u8; 32]>::from(Sha256::digest(token)));
        let refuse = || ErrorReply::new(Code::TokenRejected, "the token is not the server's");
        match own.ok_or_else(refuse)?.until {
            Some(until) if Instant::now() > until => {
                Err(ErrorReply::new(Code::TokenExpired, "the token has expired"))
            }
            _ => Ok(()),
        }
    }

    /// Answers a request that is all there.
    fn answer(&self, parts: &Parts, body: &[u8]) -> Result<Answer, ErrorReply> {
        // A token was checked with the head.
        let signed = !parts.headers.contains_key("x-auth-token");
        if let Some(keys) = self.keys.as_ref().filter(|_| signed) {
            keys.check(parts, body, SystemTime::now()).map_err(unaccepted)?;
        }
        let (project, call) = route(parts)?;
        if self.project.as_ref().is_some_and(|own| own != project) {
            return Err(ErrorReply::new(Code::ProjectMismatch, "the project is not the server's"));
        }
        if self.read_only && call.is_change() {
            return Err(ErrorReply::new(Code::MethodForbidden, "the server takes no changes"));
        }
        Ok(self.service.answer(call, body))
    }
}

fn unaccepted(reason: Unaccepted) -> ErrorReply {
    match reason {
        Unaccepted::Header(message) => ErrorReply::new(Code::HeaderMissing, message),
        Unaccepted::Expired => {
            ErrorReply::new(Code::TokenExpired, "X-Sdk-Date is more than 15 minutes from the server's clock")
        }
        Unaccepted::Wrong => ErrorReply::new(Code::RequestNotAuthorised, "the signature does not fit"),
    }
}

/// The project and the call that a method and a path mean.
fn route(parts: &Parts) -> Result<(&str, Call<'_>), ErrorReply> {
    let no_call = || {
        let message = format!("no operation is {} {}", parts.method, parts.uri.path());
        ErrorReply::new(Code::MethodNotAllowed, message)
    };
    let path = parts.uri.path().strip_prefix("/v1/").ok_or_else(no_call)?;
    let path: Vec<&str> = path.trim_end_matches('/').split('/').collect();
    let (project, path) = path.split_first().ok_or_else(no_call)?;
    // The service's paths leave it open whether `DELETE .../service/image` is for the instance `image` or for an image of
    // the instance `service`; here it is for the instance.
    let call = match (parts.method.as_str(), path) {
        ("POST", ["service"]) => Call::CreateInstance,
        ("GET", ["service", name]) => Call::QueryInstance(name),
        ("DELETE", ["service", name]) => Call::DeleteInstance(name),
        ("POST", [name, "image"]) => Call::AddImage(name),
        ("PUT", [name, "image"]) => Call::UpdateImage(name),
        ("DELETE", [name, "image"]) => Call::DeleteImage(name),
        ("POST", [name, "image", "check"]) => Call::CheckImage(name),
        ("POST", [name, "image", "search"]) => Call::SearchImages(name),
        _ => return Err(no_call()),
    };
    Ok((project, call))
}

async fn respond(State(server): State<Arc<Server>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let number = server.requests.fetch_add(1, Ordering::Relaxed);
    let answer = answer(server, parts, body).await.unwrap_or_else(|reply| Answer::refusal(&reply));
    // A fault that is not the request's is for whoever runs the server; the client gets the code alone.
    if let Some(error) =
        answer.error().filter(|e| matches!(e.code().fault(), Fault::Engine | Fault::Environment))
    {
        eprintln!("request {number}: {error:#}");
    }
    Response::builder()
        .status(answer.status)
        .header("content-type", "application/json")
        .header("x-request-id", number)
        .body(Body::from(answer.body))
        .unwrap_or_default()
}

async fn answer(server: Arc<Server>, parts: Parts, body: Body) -> Result<Answer, ErrorReply> {
    let _turn = server.at_once.acquire().await.map_err(|_| internal())?;
    let head = server.check_head(&parts);
    let limit = if head.is_ok() { MAX_BODY_BYTES } else { 0 };
    let read = tokio::time::timeout(BODY_TIME, read_body(&parts.headers, body, limit)).await;
    head?;
    let body = read.map_err(|_| ErrorReply::new(Code::TimedOut, "the body took too long to arrive"))??;
    // Decoding and syncing take their time: not on a thread that serves connections.
    let worker = server.clone();
    let worked = tokio::task::spawn_blocking(move || worker.answer(&parts, &body)).await;
    worked.map_err(|_| internal())?
}

fn internal() -> ErrorReply {
    ErrorReply::new(Code::Internal, Code::Internal.meaning())
}

/// Reads a body of at most `limit` bytes. A longer one is read on for a while and thrown away: a client that is still
/// sending would not see the answer.
async fn read_body(headers: &HeaderMap, mut body: Body, limit: usize) -> Result<Vec<u8>, ErrorReply> {
    let declared = headers.get("content-length").and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let refuse = || ErrorReply::new(Code::BodyTooLarge, format!("a body of more than {limit} bytes"));
    if declared.is_some_and(|declared| declared > 4 * MAX_BODY_BYTES as u64) {
        return Err(refuse());
    }
    let (mut bytes, mut total) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| ErrorReply::new(Code::BodyNotJson, "the body broke off"))?;
        if let Ok(data) = frame.into_data() {
            total += data.len();
            if total <= limit {
                bytes.extend_from_slice(&data);
            } else if total > 4 * MAX_BODY_BYTES {
                break;
            } else {
                bytes = Vec::new();
            }
        }
    }
    if total > limit { Err(refuse()) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(method: &str, path: &str) -> Result<String, Code> {
        let (parts, ()) = Request::builder().method(method).uri(path).body(()).unwrap().into_parts();
        let (project, call) = route(&parts).map_err(|reply| reply.error_code)?;
        Ok(format!("{project} {call:?}"))
    }

    #[test]
    fn the_service_s_paths() {
        for (method, path, call) in [
            ("POST", "/v1/p/service", "p CreateInstance"),
            ("GET", "/v1/p/service/a", "p QueryInstance(\"a\")"),
            ("DELETE", "/v1/p/service/a", "p DeleteInstance(\"a\")"),
            ("DELETE", "/v1/p/service/image", "p DeleteInstance(\"image\")"),
            ("POST", "/v1/p/a/image", "p AddImage(\"a\")"),
            ("POST", "/v1/p/service/image", "p AddImage(\"service\")"),
            ("PUT", "/v1/p/a/image/", "p UpdateImage(\"a\")"),
            ("DELETE", "/v1/p/a/image?x=1", "p DeleteImage(\"a\")"),
            ("POST", "/v1/p/a/image/check", "p CheckImage(\"a\")"),
            ("POST", "/v1/p/a/image/search", "p SearchImages(\"a\")"),
        ] {
            assert_eq!(called(method, path).as_deref(), Ok(call));
        }
        for (method, path) in [
            ("GET", "/v1/p/service"),
            ("PATCH", "/v1/p/a/image"),
            ("GET", "/v1/p/a/image/search"),
            ("GET", "/"),
            ("GET", "/v1/"),
            ("POST", "/v2/p/service"),
            ("POST", "/v1/p/a/b/image"),
        ] {
            assert_eq!(called(method, path), Err(Code::MethodNotAllowed), "{method} {path}");
        }
    }
}
