//! The service's JSON: its codes one by one, the shapes of its reference, and hostile bodies.

use lookalike::testing::FaultDisk;
use lookalike::wire::{AddRequest, Answer, Call, ErrorReply, SearchRequest, Service, encode};
use lookalike::{Code, Gallery, RaisedBy, Region, Tags};
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::bed::{Average, bmp};

struct Wire {
    service: Service,
    gallery: Gallery,
    _dir: TempDir,
}

impl Wire {
    /// A service with an instance `shoes`, tag keys `color` and `kind`, and a red image `red.bmp`.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let builder = Gallery::builder(dir.path()).fault_disk(FaultDisk::new()).model(Average);
        let gallery = builder.background(false).open().unwrap();
        let wire = Self { service: Service::new(gallery.clone()), gallery, _dir: dir };
        wire.ok(
            Call::CreateInstance,
            json!({"name": "shoes", "model": "average", "tags": ["color", "kind"], "description": "d"}),
        );
        let add = json!({"path": "red.bmp", "file": red(), "tags": {"color": "red"}});
        assert_eq!(wire.ok(Call::AddImage("shoes"), add), json!({"result": "Success"}));
        wire
    }

    fn ok(&self, call: Call<'_>, body: Value) -> Value {
        let answer = self.service.answer(call, body.to_string().as_bytes());
        assert_eq!(answer.status, 200, "{call:?} {answer:?}");
        serde_json::from_str(&answer.body).unwrap()
    }

    fn refused(&self, call: Call<'_>, body: impl AsRef<[u8]>) -> ErrorReply {
        refusal(&self.service.answer(call, body.as_ref()))
    }

    fn code(&self, call: Call<'_>, body: Value) -> Code {
        self.refused(call, body.to_string()).error_code
    }
}

fn refusal(answer: &Answer) -> ErrorReply {
    assert_eq!(answer.status, 400, "{answer:?}");
    serde_json::from_str(&answer.body).unwrap()
}

fn red() -> String {
    encode(&bmp(120, 100, [200, 10, 10]))
}

const ADD: Call<'_> = Call::AddImage("shoes");
const CHECK: Call<'_> = Call::CheckImage("shoes");
const UPDATE: Call<'_> = Call::UpdateImage("shoes");
const DELETE: Call<'_> = Call::DeleteImage("shoes");
const SEARCH: Call<'_> = Call::SearchImages("shoes");

macro_rules! raised {
    ($($name:ident $code:ident |$wire:ident| $body:block)*) => {
        $(#[test]
        fn $name() {
            let $wire = Wire::new();
            let reply: ErrorReply = $body;
            assert_eq!(reply.error_code, Code::$code, "{reply}");
            assert!(!reply.error_msg.is_empty());
        })*

        const RAISED: &[Code] = &[$(Code::$code),*];
    };
}

raised! {
    is_0002_limit_as_text ParameterType |wire| {
        let reply = wire.refused(SEARCH, r#"{"path": "red.bmp", "limit": "ten"}"#);
        assert!(reply.error_msg.starts_with("limit: "), "{reply}");
        reply
    }
    is_0003_path_absent ParameterEmpty |wire| { wire.refused(CHECK, "{}") }
    is_0006_body_too_large BodyTooLarge |wire| {
        let body = json!({"path": "x".repeat(12 << 20)}).to_string();
        wire.refused(CHECK, body)
    }
    is_0008_no_json BodyNotJson |wire| { wire.refused(CHECK, r#"{"path": "red.bmp""#) }
    is_1011_offset_negative OffsetInvalid |wire| { wire.refused(SEARCH, r#"{"path": "red.bmp", "offset": -1}"#) }
    is_2007_no_base64 Base64Invalid |wire| { wire.refused(ADD, r#"{"path": "a", "file": "@@@"}"#) }
}

#[test]
fn every_code_of_the_json_form_is_raised_by_a_test() {
    let json = Code::ALL.iter().filter(|code| code.raised_by() == RaisedBy::Json);
    let missing: Vec<&Code> = json.filter(|code| !RAISED.contains(code)).collect();
    assert!(missing.is_empty(), "no test raises {missing:?}");
    assert!(RAISED.iter().all(|code| code.raised_by() == RaisedBy::Json));
}

#[test]
fn wrong_types() {
    let wire = Wire::new();
    for (call, body) in [
        (CHECK, json!([])),
        (CHECK, json!(["red.bmp"])),
        (CHECK, json!("red.bmp")),
        (CHECK, json!(null)),
        (CHECK, json!({"path": 1})),
        (ADD, json!({"path": "a", "file": 1})),
        (ADD, json!({"path": "a", "tags": "red"})),
        (ADD, json!({"path": "a", "tags": ["color"]})),
        (ADD, json!({"path": "a", "tags": {"color": 1}})),
        (ADD, json!({"path": "a", "tags": {"color": {"a": "b"}}})),
        (ADD, json!({"path": "a", "tags": {"color": ["red", 1]}})),
        (UPDATE, json!({"path": "a", "tags": {"color": true}})),
        (SEARCH, json!({"path": "a", "limit": 1.5})),
        (SEARCH, json!({"path": "a", "offset": "0"})),
        (SEARCH, json!({"path": "a", "is_crop": "true"})),
        (SEARCH, json!({"path": "a", "isCrop": 1})),
        (SEARCH, json!({"path": "a", "box": [1, 2, 3, 4]})),
        (SEARCH, json!({"path": "a", "box": {"x": "1"}})),
        (SEARCH, json!({"path": "a", "width": "1"})),
        (Call::CreateInstance, json!({"name": "a", "model": "average", "level": "30000000"})),
        (Call::CreateInstance, json!({"name": "a", "model": "average", "tags": "color"})),
        (Call::CreateInstance, json!({"name": "a", "model": "average", "tags": [1]})),
        (Call::CreateInstance, json!({"name": 1, "model": "average"})),
    ] {
        assert_eq!(wire.code(call, body.clone()), Code::ParameterType, "{call:?} {body}");
    }
    // `null` is nothing.
    let body =
        json!({"path": "red.bmp", "limit": null, "tags": null, "box": null, "is_crop": null, "more": [1]});
    assert_eq!(wire.ok(SEARCH, body)["count"], 1);
}

#[test]
fn no_json() {
    let wire = Wire::new();
    for body in [&b""[..], b"{", b"{}{}", b"{\"path\": \"\xff\"}", b"path", b"{\"limit\": \"x\", ", b"\0"] {
        assert_eq!(wire.refused(SEARCH, body).error_code, Code::BodyNotJson, "{body:?}");
    }
    // Deep nesting is read without recursion.
    let deep = format!(r#"{{"more": {}{}, "path": "red.bmp"}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(wire.service.answer(CHECK, deep.as_bytes()).body, r#"{"exist":"true"}"#);
    let deep = format!(r#"{{"tags": {}"#, "{\"a\":".repeat(100_000));
    assert_eq!(wire.refused(SEARCH, deep).error_code, Code::BodyNotJson);
}

#[test]
fn paths() {
    let wire = Wire::new();
    let tags = json!({"color": "red"});
    for call in [ADD, CHECK, UPDATE, DELETE] {
        for absent in [json!({"tags": tags}), json!({"path": null, "tags": tags})] {
            assert_eq!(wire.code(call, absent), Code::ParameterEmpty, "{call:?}");
        }
        let body = |path: &str| json!({"path": path, "tags": tags, "file": red()});
        assert_eq!(wire.code(call, body("")), Code::PathEmpty, "{call:?}");
        assert_eq!(wire.code(call, body("a\u{1}")), Code::PathInvalid, "{call:?}");
    }
    assert_eq!(wire.code(DELETE, json!({"path": "none"})), Code::DeleteRefused);
    assert_eq!(wire.code(UPDATE, json!({"path": "none", "tags": tags})), Code::UpdateRefused);
    assert_eq!(wire.ok(CHECK, json!({"path": "none"})), json!({"exist": "false"}));
}

#[test]
fn base64_is_a_matter_of_the_picture() {
    let wire = Wire::new();
    // What the library checks first is refused first.
    let add = |path: &str, tags: Value| json!({"path": path, "file": "@", "tags": tags});
    assert_eq!(wire.code(ADD, add("", json!({}))), Code::PathEmpty);
    assert_eq!(wire.code(ADD, add("a", json!({"size": "1"}))), Code::TagUnknown);
    assert_eq!(wire.code(ADD, add("a", json!({}))), Code::Base64Invalid);
    assert_eq!(wire.code(SEARCH, json!({"file": "@", "limit": 0})), Code::LimitInvalid);
    assert_eq!(wire.code(SEARCH, json!({"file": "@", "offset": -1})), Code::OffsetInvalid);
    assert_eq!(wire.code(SEARCH, json!({"file": "@", "path": "red.bmp"})), Code::Base64Invalid);
    let boxed = json!({"file": "@", "box": {"x": -1}});
    assert_eq!(wire.code(SEARCH, boxed), Code::Base64Invalid);
    // Whole and in lines is fine; anything else is not.
    let lines: Vec<String> = red().as_bytes().chunks(76).map(|l| String::from_utf8_lossy(l).into()).collect();
    assert_eq!(wire.ok(SEARCH, json!({"file": lines.join("\r\n")}))["result"][0]["sim"], 1.0);
    let (short, url) =
        (red().trim_end_matches('=').to_owned() + "A", format!("data:image/bmp;base64,{}", red()));
    for bad in [short.as_str(), url.as_str(), "Qk0", "Qk0_", "Qk02=", "\u{e4}"] {
        assert_eq!(
            wire.code(SEARCH, json!({"file": bad})),
            Code::Base64Invalid,
            "{}",
            &bad[..4.min(bad.len() & !1)]
        );
    }
    // No picture is another matter.
    assert_eq!(wire.code(ADD, json!({"path": "a", "file": encode(b"GIF89a")})), Code::FormatUnsupported);
    assert_eq!(
        wire.code(ADD, json!({"path": "a", "file": encode(&bmp(60, 60, [0; 3]))})),
        Code::PictureTooSmall
    );
}

#[test]
fn an_empty_file_counts_as_none() {
    let wire = Wire::new();
    for body in [json!({"path": "a"}), json!({"path": "a", "file": ""}), json!({"path": "a", "file": null})] {
        assert_eq!(wire.code(ADD, body), Code::PictureUnavailable);
    }
    assert_eq!(wire.ok(SEARCH, json!({"path": "red.bmp", "file": ""}))["count"], 1);
    assert_eq!(wire.code(SEARCH, json!({"file": ""})), Code::PathAndFileEmpty);
    assert_eq!(wire.code(SEARCH, json!({"path": ""})), Code::PathAndFileEmpty);
    assert_eq!(wire.code(SEARCH, json!({})), Code::PathOrFileRequired);
    assert_eq!(wire.code(SEARCH, json!({"tags": {}})), Code::PathOrFileRequired);
}

#[test]
fn tags() {
    let wire = Wire::new();
    for none in [json!(null), json!(""), json!([]), json!([""]), json!([null])] {
        let tags = json!({"color": none});
        assert_eq!(wire.code(ADD, json!({"path": "a", "file": red(), "tags": tags})), Code::TagValueMissing);
        assert_eq!(wire.code(SEARCH, json!({"tags": tags})), Code::TagValueMissing);
    }
    let eleven: Value =
        (0..11).map(|i| (format!("k{i}"), json!("v"))).collect::<serde_json::Map<_, _>>().into();
    assert_eq!(wire.code(SEARCH, json!({"tags": eleven})), Code::TooManyTags);
    let many: Vec<String> = (0..40).map(|i| i.to_string()).collect();
    assert_eq!(wire.code(UPDATE, json!({"path": "red.bmp", "tags": {"color": many}})), Code::TooManyTags);
    assert_eq!(wire.code(UPDATE, json!({"path": "red.bmp"})), Code::TagsRequired);
    assert_eq!(wire.code(UPDATE, json!({"path": "red.bmp", "tags": {}})), Code::TagsRequired);

    // A single value comes back as a string, several as a list.
    let found = |tags: Value| wire.ok(SEARCH, json!({"tags": tags}));
    let item = |tags: Value| json!({"count": 1, "result": [{"path": "red.bmp", "sim": 1.0, "tags": tags}]});
    assert_eq!(found(json!({"color": ["blue", "red"]})), item(json!({"color": "red"})));
    wire.ok(UPDATE, json!({"path": "red.bmp", "tags": {"color": ["b", "a"], "kind": ["x"]}}));
    assert_eq!(found(json!({"kind": "x"})), item(json!({"color": ["a", "b"], "kind": "x"})));
    assert_eq!(found(json!({"color": "red"})), json!({"count": 0, "result": []}));
}

#[test]
fn boxes_in_both_forms() {
    let wire = Wire::new();
    let file = red();
    let search = |rest: Value| {
        let mut body = json!({"file": file});
        body.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        body
    };
    for rest in [
        json!({"is_crop": true, "box": {"x": 1, "y": 2, "width": 20, "height": 50}}),
        json!({"box": {"x": 1}}),
        json!({"isCrop": true, "x": 1, "y": 2, "width": 20, "height": 50}),
        json!({"height": 50}),
        // Not used, so it may be anything.
        json!({"is_crop": false, "box": {"x": -1}}),
        json!({"isCrop": false, "x": 1000}),
    ] {
        assert_eq!(wire.ok(SEARCH, search(rest.clone()))["result"][0]["path"], "red.bmp", "{rest}");
    }
    for rest in [
        json!({"box": {"x": 100, "width": 21}}),
        json!({"box": {"width": 0}}),
        json!({"y": -1}),
        json!({"isCrop": true, "width": 121}),
        json!({"box": {"x": u64::MAX}}),
    ] {
        assert_eq!(wire.code(SEARCH, search(rest.clone())), Code::SearchRefused, "{rest}");
    }
    assert_eq!(wire.code(SEARCH, search(json!({"is_crop": true}))), Code::ParameterMissing);
    // A part of a stored image needs its picture.
    assert_eq!(wire.code(SEARCH, json!({"path": "red.bmp", "box": {"x": 1}})), Code::PictureUnavailable);
    // The newer form wins.
    let both: SearchRequest = serde_json::from_value(json!({"x": 7, "box": {"y": 3}})).unwrap();
    assert_eq!(both.region, Some(Region::from_origin(0, 3)));
}

#[test]
fn numbers_out_of_range() {
    let wire = Wire::new();
    for limit in [json!(0), json!(-1), json!(101), json!(i64::MIN), json!(u64::MAX)] {
        assert_eq!(
            wire.code(SEARCH, json!({"path": "red.bmp", "limit": limit})),
            Code::LimitInvalid,
            "{limit}"
        );
    }
    let page = wire.ok(SEARCH, json!({"path": "red.bmp", "offset": u64::MAX}));
    assert_eq!(page, json!({"count": 1, "result": []}));
    for level in [json!(0), json!(-1), json!(u64::MAX), json!(1_000_000)] {
        let body = json!({"name": "a", "model": "average", "level": level});
        assert_eq!(wire.code(Call::CreateInstance, body), Code::LevelInvalid, "{level}");
    }
}

#[test]
fn instances() {
    let wire = Wire::new();
    let info = wire.ok(Call::QueryInstance("shoes"), json!(null));
    assert!(info["registerDate"].as_i64().unwrap() > 1_700_000_000_000);
    let mut keys: Vec<&String> = info.as_object().unwrap().keys().collect();
    keys.sort();
    let all = ["desc", "domain", "expiredDate", "instanceName", "level", "registerDate", "status", "tags"];
    assert_eq!(keys, all);
    let rest = json!({"expiredDate": -1, "level": 30_000_000, "tags": ["color", "kind"], "status": "NORMAL"});
    for (key, value) in rest.as_object().unwrap() {
        assert_eq!(&info[key], value, "{key}");
    }
    assert_eq!(
        (&info["instanceName"], &info["domain"], &info["desc"]),
        (&"shoes".into(), &"average".into(), &"d".into())
    );

    for body in [json!({}), json!({"name": "", "model": "average"}), json!({"name": "a"})] {
        assert_eq!(wire.code(Call::CreateInstance, body), Code::ParameterMissing);
    }
    let again = json!({"name": "shoes", "model": "average"});
    assert_eq!(wire.code(Call::CreateInstance, again.clone()), Code::InstanceExists);
    let capital = json!({"name": "a", "model": "average", "tags": ["Color"]});
    assert_eq!(wire.code(Call::CreateInstance, capital), Code::InstanceTagNotAdded);
    let many: Vec<String> = (0..500).map(|i| i.to_string()).collect();
    let many = json!({"name": "a", "model": "average", "tags": many});
    assert_eq!(wire.code(Call::CreateInstance, many), Code::TooManyInstanceTags);

    // A missing instance has one code for image operations and another for its own.
    assert_eq!(wire.code(Call::QueryInstance("none"), json!({})), Code::InstanceUnknown);
    assert_eq!(wire.code(Call::DeleteInstance("none"), json!({})), Code::InstanceUnknown);
    assert_eq!(wire.code(Call::CheckImage("none"), json!({"path": "a"})), Code::InstanceMissing);
    assert_eq!(wire.code(Call::CheckImage("No"), json!({"path": "a"})), Code::InstanceNameInvalid);

    assert_eq!(wire.ok(Call::DeleteInstance("shoes"), json!(null)), json!({"result": "success"}));
    assert_eq!(wire.code(SEARCH, json!({"path": "red.bmp"})), Code::InstanceMissing);
    wire.ok(Call::CreateInstance, again);
    assert_eq!(wire.ok(CHECK, json!({"path": "red.bmp"})), json!({"exist": "false"}));
}

#[test]
fn the_host_may_close_and_delete_what_is_kept_open() {
    let wire = Wire::new();
    wire.gallery.instance("shoes").unwrap().close();
    assert_eq!(wire.ok(CHECK, json!({"path": "red.bmp"})), json!({"exist": "true"}));
    wire.gallery.delete("shoes").unwrap();
    assert_eq!(wire.code(CHECK, json!({"path": "red.bmp"})), Code::InstanceMissing);
}

#[test]
fn the_library_s_error_is_kept_for_the_host() {
    let wire = Wire::new();
    let answer = wire.service.answer(DELETE, br#"{"path": "none"}"#);
    assert_eq!(answer.error().unwrap().code(), Code::DeleteRefused);
    assert!(wire.service.answer(DELETE, b"{}").error().is_none());
}

#[test]
fn requests_are_written_as_they_are_read() {
    let mut search = SearchRequest::default();
    search.tags = Some(Tags::from([("color", "red")]));
    search.region = Some(Region::from_origin(1, 2).with_width(3));
    let text = serde_json::to_value(&search).unwrap();
    assert_eq!(text, json!({"tags": {"color": "red"}, "box": {"x": 1, "y": 2, "width": 3}}));
    assert_eq!(serde_json::from_value::<SearchRequest>(text).unwrap(), search);

    let mut add = AddRequest::default();
    assert_eq!(serde_json::to_value(&add).unwrap(), json!({}));
    assert_eq!(add.to_add().unwrap_err().error_code, Code::ParameterEmpty);
    (add.path, add.file) = (Some("a".to_owned()), Some("@".to_owned()));
    assert_eq!(add.to_add().unwrap_err().error_code, Code::Base64Invalid);
    search.file = add.file;
    assert_eq!(search.to_query().unwrap_err().error_code, Code::Base64Invalid);
}

/// JSON that is nearly a request.
fn near_request() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (-3i64..130).prop_map(Value::from),
        "[a-z@=/.]{0,8}".prop_map(Value::from),
        Just(Value::from("red.bmp")),
        Just(Value::from("red")),
        Just(Value::from("common-search")),
        Just(Value::from(red())),
    ];
    let name = proptest::sample::select(vec![
        "path",
        "file",
        "tags",
        "limit",
        "offset",
        "is_crop",
        "isCrop",
        "box",
        "x",
        "y",
        "width",
        "height",
        "name",
        "model",
        "level",
        "description",
        "color",
        "kind",
        "other",
    ]);
    leaf.prop_recursive(3, 24, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::hash_map(name.clone().prop_map(str::to_owned), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

#[test]
fn any_body_gets_an_answer() {
    let wire = Wire::new();
    let calls = [Call::CreateInstance, Call::QueryInstance("shoes"), ADD, CHECK, UPDATE, DELETE, SEARCH];
    let check = |body: &[u8]| {
        for call in calls {
            let answer = wire.service.answer(call, body);
            match answer.status {
                200 => assert!(serde_json::from_str::<Value>(&answer.body).unwrap().is_object()),
                _ => assert_ne!(refusal(&answer).error_code, Code::Internal),
            }
        }
    };
    proptest!(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() }, |(
        body in near_request(), bytes in proptest::collection::vec(any::<u8>(), 0..40), cut in any::<prop::sample::Index>(),
    )| {
        let text = body.to_string();
        check(text.as_bytes());
        check(&text.as_bytes()[..cut.index(text.len())]);
        check(&bytes);
    });
}
