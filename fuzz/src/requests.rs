//! The service's JSON: whatever a body holds, the answer is JSON with a status and, if it is a refusal, a code.

use lookalike::testing::MemoryDisk;
use lookalike::wire::{Answer, Call, Service};
use lookalike::{Gallery, SizeLimits};
use serde_json::Value;

use crate::store::Small;

/// So that small pictures of the corpus pass.
const LIMITS: SizeLimits = SizeLimits { min_side_px: 1, max_side_px: 600, max_encoded_bytes: 1 << 20 };
const CREATE: &[u8] = br#"{"name": "photos", "model": "small", "tags": ["color", "kind"]}"#;
const ADD: &[u8] = br#"{"path": "a", "tags": {"color": "red"}, "file": "{file}"}"#;
/// One pixel.
const PICTURE: &str = "Qk06AAAAAAAAADYAAAAoAAAAAQAAAAEAAAABABgAAAAAAAQAAAATCwAAEwsAAAAAAAAAAAAAAAD/AA==";

/// Codes of what cannot be written, read or mapped.
const DISK: &[&str] =
    &["2014", "2100", "2101", "2102", "2103", "2104", "2105", "2109", "3001", "3003", "3008", "3011", "3013"];

/// The body as each of the calls, on an instance that holds an image; a body before it may have changed that.
pub fn request(bytes: &[u8]) {
    let builder = Gallery::builder("/gallery").memory_disk(MemoryDisk::new(1)).model(Small).background(false);
    let service =
        Service::new(builder.size_limits(LIMITS).open().expect("a gallery")).max_body_bytes(1 << 16);
    let add = String::from_utf8_lossy(ADD).replace("{file}", PICTURE);
    assert_eq!(sound(&service.answer(Call::CreateInstance, CREATE))["error_code"], Value::Null);
    assert_eq!(sound(&service.answer(Call::AddImage("photos"), add.as_bytes()))["error_code"], Value::Null);
    for call in [
        Call::SearchImages("photos"),
        Call::CheckImage("photos"),
        Call::AddImage("photos"),
        Call::SearchImages("photos"),
        Call::UpdateImage("photos"),
        Call::DeleteImage("photos"),
        Call::CreateInstance,
        Call::QueryInstance("photos"),
    ] {
        sound(&service.answer(call, bytes));
    }
    let names = String::from_utf8_lossy(bytes);
    sound(&service.answer(Call::QueryInstance(&names), b""));
}

/// The answer's JSON, once it is clear that it is an answer.
fn sound(answer: &Answer) -> Value {
    let body: Value = serde_json::from_str(&answer.body).expect("an answer is JSON");
    match answer.status {
        200 => assert!(body.get("error_code").is_none(), "{body}"),
        400 => {
            let code = body["error_code"].as_str().expect("a refusal has a code");
            let number = code.strip_prefix("IS.").expect("of the service's form");
            assert!(number.len() == 4 && number.bytes().all(|digit| digit.is_ascii_digit()), "{code}");
            // Nothing is wrong with this disk: no body may bring the library to say so.
            assert!(!DISK.contains(&number), "{body}");
            assert!(body["error_msg"].as_str().is_some_and(|message| !message.is_empty()), "{body}");
        }
        status => panic!("status {status}: {body}"),
    }
    body
}
