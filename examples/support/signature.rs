//! Request signatures as the service's clients make them: the scheme `SDK-HMAC-SHA256`.
//!
//! A client and the server share a secret key. The client writes down the request in a fixed form (method, path, query,
//! some headers, a hash of the body), signs a hash of that with HMAC-SHA256, and sends
//!
//! ```text
//! Authorization: SDK-HMAC-SHA256 Access=<access key>, SignedHeaders=<a;b;c>, Signature=<hexadecimal>
//! ```
//!
//! The server writes down the same from what it received. If anything that was signed is not as it was sent, the
//! signature does not fit.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::HeaderMap;
use axum::http::request::Parts;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

const SCHEME: &str = "SDK-HMAC-SHA256";
const DATE: &str = "x-sdk-date";

/// How far the client's clock may be from ours. It also bounds for how long a request that somebody overheard can be
/// sent again.
const MAX_SKEW: Duration = Duration::from_secs(15 * 60);

/// Why a signature is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unaccepted {
    /// A header is missing, or not in its form.
    Header(&'static str),
    /// The date is too far from now.
    Expired,
    /// The access key is unknown, or the signature does not fit.
    Wrong,
}

/// An access key and its secret.
pub(crate) struct Keys {
    pub(crate) access: String,
    pub(crate) secret: String,
}

impl Keys {
    /// Checks what can be checked before the body is there, so that a stranger's body need not be read.
    pub(crate) fn check_head(&self, parts: &Parts, now: SystemTime) -> Result<(), Unaccepted> {
        let authorization = Authorization::read(&parts.headers)?;
        let date = header(&parts.headers, DATE).ok_or(Unaccepted::Header("X-Sdk-Date is missing"))?;
        let date = read_date(&date).ok_or(Unaccepted::Header("X-Sdk-Date is not YYYYMMDDTHHMMSSZ"))?;
        // What is not signed may have been changed on the way.
        if !["host", DATE].iter().all(|name| authorization.signed.contains(name)) {
            return Err(Unaccepted::Header("Host and X-Sdk-Date must be signed"));
        }
        let skew = now.duration_since(date).or_else(|_| date.duration_since(now)).unwrap_or_default();
        if skew > MAX_SKEW {
            return Err(Unaccepted::Expired);
        }
        if authorization.access != self.access { Err(Unaccepted::Wrong) } else { Ok(()) }
    }

    /// Checks the signature over the whole request.
    pub(crate) fn check(&self, parts: &Parts, body: &[u8], now: SystemTime) -> Result<(), Unaccepted> {
        self.check_head(parts, now)?;
        let authorization = Authorization::read(&parts.headers)?;
        let canonical = canonical_request(parts, &authorization.signed, body).ok_or(Unaccepted::Wrong)?;
        let date = header(&parts.headers, DATE).unwrap_or_default();
        let text = format!("{SCHEME}\n{date}\n{}", hex(&Sha256::digest(canonical)));
        let mut mac =
            <Hmac<Sha256>>::new_from_slice(self.secret.as_bytes()).map_err(|_| Unaccepted::Wrong)?;
        mac.update(text.as_bytes());
        let signature = unhex(authorization.signature).ok_or(Unaccepted::Wrong)?;
        // In constant time: how long a comparison takes must not say how much of a guess was right.
        mac.verify_slice(&signature).map_err(|_| Unaccepted::Wrong)
    }
}

/// The parts of the header `Authorization`.
struct Authorization<'a> {
    access: &'a str,
    signed: Vec<&'a str>,
    signature: &'a str,
}

impl<'a> Authorization<'a> {
    fn read(headers: &'a HeaderMap) -> Result<Self, Unaccepted> {
        let malformed = Unaccepted::Header("Authorization is not of the scheme SDK-HMAC-SHA256");
        let value = headers.get("authorization").and_then(|value| value.to_str().ok()).ok_or(malformed)?;
        let fields = value.strip_prefix(SCHEME).ok_or(malformed)?;
        let field = |name: &str| {
            let mut values = fields.split(',').filter_map(|field| field.trim().strip_prefix(name));
            values
                .find_map(|value| value.strip_prefix('='))
                .filter(|value| !value.is_empty())
                .ok_or(malformed)
        };
        let signed = field("SignedHeaders")?.split(';').collect();
        Ok(Self { access: field("Access")?, signed, signature: field("Signature")? })
    }
}

/// The request in the form that is signed; `None` if a signed header was not sent.
fn canonical_request(parts: &Parts, signed: &[&str], body: &[u8]) -> Option<String> {
    let mut path: Vec<String> = parts.uri.path().split('/').map(|part| quote(&unquote(part))).collect();
    // It ends with a slash, whatever the path of the request does.
    if path.last().is_some_and(|last| !last.is_empty()) {
        path.push(String::new());
    }
    let mut query: Vec<(String, String)> = parts
        .uri
        .query()
        .into_iter()
        .flat_map(|query| query.split('&'))
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (quote(&unquote(key)), quote(&unquote(value)))
        })
        .collect();
    query.sort();
    let query: Vec<String> = query.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let mut headers = String::new();
    for name in signed {
        headers += &format!("{name}:{}\n", header(&parts.headers, name)?);
    }
    // The hash is made of the body that came, not taken from a header: a body that nobody signed is not accepted.
    let body = hex(&Sha256::digest(body));
    let (method, path, query) = (&parts.method, path.join("/"), query.join("&"));
    Some(format!("{method}\n{path}\n{query}\n{headers}\n{}\n{body}", signed.join(";")))
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(String::from_utf8_lossy(headers.get(name)?.as_bytes()).trim().to_owned())
}

/// Percent-encodes all but letters, digits and `-._~`.
fn quote(bytes: &[u8]) -> String {
    let mut text = String::new();
    for &byte in bytes {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                text.push(char::from(byte))
            }
            _ => text += &format!("%{byte:02X}"),
        }
    }
    text
}

/// Takes percent-encoding away; what is none stays.
fn unquote(text: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((&first, after)) = rest.split_first() {
        let code = after.get(..2).and_then(|code| std::str::from_utf8(code).ok()).and_then(unhex);
        match code {
            Some(code) if first == b'%' => {
                bytes.extend(code);
                rest = &after[2..];
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    bytes
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    Some(
        digits.filter(|digits| digits.len() % 2 == 0)?.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect(),
    )
}

/// Reads `YYYYMMDDTHHMMSSZ`, UTC.
fn read_date(text: &str) -> Option<SystemTime> {
    let bytes = text.as_bytes();
    if bytes.len() != 16 || bytes[8] != b'T' || bytes[15] != b'Z' {
        return None;
    }
    let number = |range: std::ops::Range<usize>| {
        let digits = text.get(range)?;
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<u64>().ok())?
    };
    let (year, month, day) = (number(0..4)?, number(4..6)?, number(6..8)?);
    let (hour, minute, second) = (number(9..11)?, number(11..13)?, number(13..15)?);
    if year < 1970
        || !(1..=12).contains(&month)
        || !(1..=31).contains(&day)
        || hour > 23
        || minute > 59
        || second > 60
    {
        return None;
    }
    // Days since 1970-01-01, with years that begin in March so that the leap day is the last.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719_468;
    Some(UNIX_EPOCH + Duration::from_secs(((days * 24 + hour) * 60 + minute) * 60 + second))
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    /// Signed by version 3.1.219 of the official Python client.
    const SIGNATURE: &str = "b606d28a442625e6dea071c7cede271d7ecf0e148ca449deff505eaa05357e5a";

    fn keys() -> Keys {
        Keys { access: "AKAKAKAK".to_owned(), secret: "SKSKSKSK".to_owned() }
    }

    fn parts(change: impl Fn(&str) -> String) -> Parts {
        let request = Request::builder()
            .method("POST")
            .uri(change("/v1/p0/a%20b/image?z=1&a=%C3%A4"))
            .header("host", change("127.0.0.1:8080"))
            .header("x-sdk-date", change("20260304T050607Z"))
            .header("content-type", change("application/json"))
            .header(
                "authorization",
                format!(
                    "SDK-HMAC-SHA256 Access=AKAKAKAK, SignedHeaders=content-type;host;x-sdk-date, Signature={}",
                    change(SIGNATURE)
                ),
            );
        request.body(()).unwrap().into_parts().0
    }

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_772_600_767)
    }

    const BODY: &[u8] = br#"{"path": "a.jpg"}"#;

    #[test]
    fn what_the_official_client_signs_is_accepted() {
        assert_eq!(keys().check(&parts(str::to_owned), BODY, now()), Ok(()));
    }

    #[test]
    fn what_was_changed_is_not() {
        assert_eq!(keys().check(&parts(str::to_owned), b"{}", now()), Err(Unaccepted::Wrong));
        for (from, to) in
            [("p0", "p1"), ("z=1", "z=2"), (":8080", ":8081"), ("0607Z", "0608Z"), ("/json", "/bson")]
        {
            let changed = parts(|text| text.replace(from, to));
            assert_eq!(keys().check(&changed, BODY, now()), Err(Unaccepted::Wrong), "{to}");
        }
        let other = Keys { secret: "other".to_owned(), ..keys() };
        assert_eq!(other.check(&parts(str::to_owned), BODY, now()), Err(Unaccepted::Wrong));
        let other = Keys { access: "other".to_owned(), ..keys() };
        assert_eq!(other.check(&parts(str::to_owned), BODY, now()), Err(Unaccepted::Wrong));
        for bad in ["xyz", "00", "0"] {
            let changed = parts(|text| if text == SIGNATURE { bad.to_owned() } else { text.to_owned() });
            assert!(keys().check(&changed, BODY, now()).is_err());
        }
    }

    #[test]
    fn old_and_early_requests_are_not() {
        for (seconds, accepted) in [(0, true), (900, true), (901, false)] {
            for at in [now() + Duration::from_secs(seconds), now() - Duration::from_secs(seconds)] {
                let checked = keys().check(&parts(str::to_owned), BODY, at);
                assert_eq!(checked, if accepted { Ok(()) } else { Err(Unaccepted::Expired) });
            }
        }
    }

    #[test]
    fn missing_and_unsigned_headers() {
        for name in ["authorization", "x-sdk-date"] {
            let mut parts = parts(str::to_owned);
            parts.headers.remove(name);
            assert!(matches!(keys().check(&parts, BODY, now()), Err(Unaccepted::Header(_))), "{name}");
        }
        for value in [
            "",
            "Basic abc",
            "SDK-HMAC-SHA256",
            "SDK-HMAC-SHA256 Access=AKAKAKAK, SignedHeaders=host, Signature=00",
            "SDK-HMAC-SHA256 Access=AKAKAKAK, SignedHeaders=host;x-sdk-date, Signature=",
        ] {
            let mut parts = parts(str::to_owned);
            parts.headers.insert("authorization", value.parse().unwrap());
            assert!(matches!(keys().check(&parts, BODY, now()), Err(Unaccepted::Header(_))), "{value}");
        }
        let mut parts = parts(str::to_owned);
        parts.headers.remove("content-type");
        assert_eq!(keys().check(&parts, BODY, now()), Err(Unaccepted::Wrong));
    }

    #[test]
    fn dates() {
        assert_eq!(read_date("20260304T050607Z"), Some(now()));
        assert_eq!(read_date("19700101T000000Z"), Some(UNIX_EPOCH));
        for bad in [
            "",
            "20261304T050607Z",
            "2026030aT050607Z",
            "20260304 050607Z",
            "+0260304T050607Z",
            "\u{e4}0260304T05060Z",
        ] {
            assert_eq!(read_date(bad), None, "{bad}");
        }
    }
}
