//! The spans of the feature `tracing`. A program of its own: others in the process would decide what is watched.

#[allow(dead_code, unreachable_pub, unused_imports, reason = "shared with the other tests")]
mod bed;
mod random;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use lookalike::{Add, BatchOptions, CopyQuery, Query, Source, Tags, Update};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::bed::{Bed, bmp};

/// Keeps the spans that it is told of.
#[derive(Clone, Default)]
struct Watcher {
    next: Arc<AtomicU64>,
    spans: Arc<Mutex<Vec<Seen>>>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Seen {
    id: u64,
    name: &'static str,
    instance: String,
    count: Option<u64>,
    code: Option<String>,
}

impl Visit for Seen {
    fn record_u64(&mut self, field: &Field, value: u64) {
        assert_eq!(field.name(), "count");
        self.count = Some(value);
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "instance" => self.instance = value.to_owned(),
            "code" => self.code = Some(value.to_owned()),
            other => panic!("field {other}"),
        }
    }
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        panic!("{}: {value:?}", field.name());
    }
}

impl Subscriber for Watcher {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "lookalike"
    }
    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let id = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        let mut seen = Seen { id, name: span.metadata().name(), ..Seen::default() };
        span.record(&mut seen);
        self.spans.lock().unwrap().push(seen);
        Id::from_u64(id)
    }
    fn record(&self, id: &Id, values: &Record<'_>) {
        let mut spans = self.spans.lock().unwrap();
        values.record(spans.iter_mut().find(|seen| seen.id == id.into_u64()).unwrap());
    }
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[test]
fn every_operation_has_a_span() {
    let watcher = Watcher::default();
    tracing::subscriber::with_default(watcher.clone(), || {
        let bed = Bed::new();
        let instance = bed.shoes();
        let picture = bmp(100, 100, [200, 10, 10]);
        instance.add(&Add::new("a", Source::bytes(&picture)).tag("color", "red")).unwrap();
        let adds = [Add::new("b", Source::bytes(&picture)), Add::new("", Source::bytes(&picture))];
        instance.add_batch(&adds, &BatchOptions::new());
        instance.import([Add::new("c", Source::bytes(&picture))]).unwrap();
        instance.update(&Update::new("b", Tags::from([("color", "red")]))).unwrap();
        instance.check("nowhere").unwrap();
        instance.vector("a").unwrap();
        instance.search(&Query::image(&picture).limit(2)).unwrap();
        instance.search(&Query::image(&picture).limit(0)).unwrap_err();
        instance.find_copies(&CopyQuery::path("a")).unwrap_err();
        instance.iter().unwrap();
        instance.count_where(&Tags::from([("color", "red")])).unwrap();
        instance.add_tag_keys(&["size"]).unwrap();
        instance.optimize().unwrap();
        instance.verify().unwrap();
        instance.preload().unwrap();
        instance.snapshot(bed.dir.path().join("copy")).unwrap();
        instance.delete_where(&Tags::from([("color", "red")])).unwrap();
        instance.delete("c").unwrap();
        instance.delete("c").unwrap_err();
        bed.gallery.list().unwrap();
        bed.gallery.describe("shoes").unwrap();
        drop(instance);
        bed.gallery.delete("shoes").unwrap();
    });
    let seen = watcher.spans.lock().unwrap().clone();
    let seen: Vec<(&str, &str, Option<u64>, Option<&str>)> =
        seen.iter().map(|s| (s.name, s.instance.as_str(), s.count, s.code.as_deref())).collect();
    let ok = |name, count| (name, "shoes", Some(count), None);
    let refused = |name, code| (name, "shoes", None, Some(code));
    assert_eq!(
        seen,
        [
            ok("create", 1),
            ok("open", 1),
            ok("add", 1),
            ok("add_batch", 1),
            ok("import", 1),
            ok("update", 1),
            ok("check", 0),
            ok("vector", 1),
            ok("search", 2),
            refused("search", "IS.1010"),
            refused("find_copies", "IS.1008"),
            ok("iter", 3),
            ok("count_where", 2),
            ok("add_tag_keys", 1),
            ok("optimize", 1),
            ok("verify", 1),
            ok("preload", 1),
            ok("snapshot", 1),
            ok("delete_where", 2),
            ok("delete", 1),
            refused("delete", "IS.1006"),
            ("list", "", Some(1), None),
            ok("describe", 1),
            ok("delete_instance", 1),
        ]
    );
}
