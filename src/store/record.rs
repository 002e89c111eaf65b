//! What a log frame holds: changes to images, written by hand in little-endian.
//!
//! `count u32`, then each record:
//! `1 | order u64 | path | upper plane [ceil(dims / 2)] | lower plane [dims] i8 | hash [32] | tags` for an image added, replaced or
//! given new tags,
//! `2 | path` for a deletion;
//! `path` = `length u16 | UTF-8`, `tags` = `count u16`, then `length u16 | term` each.
//!
//! New tags are a whole row, with the old codes verbatim: what a record does then never depends on a row that a
//! merge may have dropped meanwhile, and replaying a record twice is the same as once.

use std::sync::Arc;

use super::bytes::Reader;
use crate::limits::MAX_PATH_BYTES;
use crate::tags::{TagSet, Term};
use crate::vector::{Layout, RowCode};

/// A perceptual hash; all zero where there is none.
pub(crate) type Hash = [u8; 32];

/// A row as it is kept in memory before it is sealed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TailRow {
    pub(crate) path: Arc<str>,
    pub(crate) order: u64,
    pub(crate) tags: Arc<TagSet>,
    pub(crate) code: RowCode,
    pub(crate) hash: Hash,
}

/// One change.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Record {
    Put(TailRow),
    Delete { path: Arc<str> },
}

/// A row, wherever it is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowRef<'a> {
    pub(crate) path: &'a str,
    pub(crate) order: u64,
    pub(crate) tags: &'a Arc<TagSet>,
    pub(crate) upper: &'a [u8],
    pub(crate) lower: &'a [i8],
    pub(crate) hash: &'a Hash,
}

/// Records on their way into a frame's payload.
#[derive(Debug)]
pub(crate) struct Payload {
    bytes: Vec<u8>,
    /// Where the payload begins.
    start: usize,
    records: u32,
}

impl Payload {
    /// No records, behind `room` bytes for what goes before them.
    pub(crate) fn with_room(room: usize) -> Self {
        Self { bytes: vec![0; room + 4], start: room, records: 0 }
    }

    /// An image is added, replaced or given new tags.
    pub(crate) fn put(&mut self, row: &RowRef<'_>) {
        self.records += 1;
        self.bytes.push(1);
        self.bytes.extend_from_slice(&row.order.to_le_bytes());
        self.put_path(row.path);
        self.bytes.extend_from_slice(row.upper);
        self.bytes.extend_from_slice(bytemuck::cast_slice(row.lower));
        self.bytes.extend_from_slice(row.hash);
        self.bytes.extend_from_slice(&(row.tags.terms().len() as u16).to_le_bytes());
        for term in row.tags.terms() {
            self.bytes.extend_from_slice(&(term.as_bytes().len() as u16).to_le_bytes());
            self.bytes.extend_from_slice(term.as_bytes());
        }
    }

    /// An image is deleted.
    pub(crate) fn delete(&mut self, path: &str) {
        self.records += 1;
        self.bytes.push(2);
        self.put_path(path);
    }

    fn put_path(&mut self, path: &str) {
        debug_assert!(path.len() <= MAX_PATH_BYTES, "checked before it gets here");
        self.bytes.extend_from_slice(&(path.len() as u16).to_le_bytes());
        self.bytes.extend_from_slice(path.as_bytes());
    }

    /// Whether there are no records.
    pub(crate) fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// The room, then the payload.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.bytes[self.start..self.start + 4].copy_from_slice(&self.records.to_le_bytes());
        self.bytes
    }
}

/// A frame's payload.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn encode(records: &[Record]) -> Vec<u8> {
    let mut payload = Payload::with_room(0);
    for record in records {
        match record {
            Record::Put(row) => payload.put(&RowRef {
                path: &row.path,
                order: row.order,
                tags: &row.tags,
                upper: &row.code.upper,
                lower: &row.code.lower,
                hash: &row.hash,
            }),
            Record::Delete { path } => payload.delete(path),
        }
    }
    payload.finish()
}

/// The records of a payload, or none when it is not one.
pub(crate) fn decode(payload: &[u8], layout: &Layout) -> Option<Vec<Record>> {
    let mut reader = Reader::new(payload);
    let count = reader.u32()?;
    let mut records = Vec::new();
    for _ in 0..count {
        records.push(match reader.u8()? {
            1 => {
                let order = reader.u64()?;
                let path = take_path(&mut reader)?;
                let upper = reader.take(layout.upper_bytes())?;
                let lower: Vec<i8> = reader.take(layout.dims())?.iter().map(|&c| c.cast_signed()).collect();
                let code = RowCode::from_planes(layout, upper, &lower).ok()?;
                let hash = reader.array()?;
                Record::Put(TailRow { path, order, tags: take_tags(&mut reader)?, code, hash })
            }
            2 => Record::Delete { path: take_path(&mut reader)? },
            _ => return None,
        });
    }
    reader.is_empty().then_some(records)
}

/// Paths that a damaged payload seems to name, up to where it makes no sense any more.
pub(crate) fn named(payload: &[u8], layout: &Layout) -> Vec<Arc<str>> {
    let (mut reader, mut paths) = (Reader::new(payload), Vec::new());
    // Each path as soon as it was read, whether or not the rest of its record makes sense.
    let next = |reader: &mut Reader<'_>, paths: &mut Vec<Arc<str>>| -> Option<()> {
        match reader.u8()? {
            1 => {
                reader.u64()?;
                paths.push(take_path(reader)?);
                reader.take(layout.upper_bytes() + layout.dims() + 32)?;
                take_tags(reader).map(drop)
            }
            2 => {
                paths.push(take_path(reader)?);
                Some(())
            }
            _ => None,
        }
    };
    let count = reader.u32().unwrap_or_default();
    while paths.len() < count as usize && next(&mut reader, &mut paths).is_some() {}
    paths
}

fn take_path(reader: &mut Reader<'_>) -> Option<Arc<str>> {
    let len = usize::from(reader.u16()?);
    std::str::from_utf8(reader.take(len)?).ok().filter(|path| !path.is_empty()).map(Arc::from)
}

fn take_tags(reader: &mut Reader<'_>) -> Option<Arc<TagSet>> {
    let count = reader.u16()?;
    let mut terms = Vec::new();
    for _ in 0..count {
        let len = usize::from(reader.u16()?);
        terms.push(Term::from_bytes(reader.take(len)?)?);
    }
    Some(Arc::new(TagSet::from_terms(terms)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn records() -> (Layout, Vec<Record>) {
        let layout = Layout::new(&[3]).unwrap();
        let tags = Arc::new(TagSet::from_terms(vec![Term::new(0, "red"), Term::new(2, "\u{e4}")]));
        let row = TailRow {
            path: "a/b.jpg".into(),
            order: 77,
            tags,
            code: RowCode::encode(&layout, &[0.5, -1.0, 0.25]).unwrap(),
            hash: [9; 32],
        };
        let records = vec![Record::Put(row), Record::Delete { path: "\u{4e2d}".into() }];
        (layout, records)
    }

    #[test]
    fn comes_back() {
        let (layout, records) = records();
        assert_eq!(decode(&encode(&records), &layout), Some(records));
        assert_eq!(decode(&encode(&[]), &layout), Some(vec![]));
    }

    #[test]
    fn damaged_payloads_still_name_paths() {
        let (layout, records) = records();
        let bytes = encode(&records);
        let paths = |bytes: &[u8]| named(bytes, &layout).iter().map(|p| p.to_string()).collect::<Vec<_>>();
        assert_eq!(paths(&bytes), ["a/b.jpg", "\u{4e2d}"]);
        assert_eq!(paths(&bytes[..bytes.len() - 1]), ["a/b.jpg"]);
        // A record that is cut behind its path.
        assert_eq!(paths(&bytes[..30]), ["a/b.jpg"]);
        // No more than the payload says it has, whatever follows.
        let longer = [&bytes[..], &bytes[4..]].concat();
        assert_eq!(paths(&longer), ["a/b.jpg", "\u{4e2d}"]);
        assert!(paths(&bytes[..3]).is_empty() && paths(&[]).is_empty());
    }

    #[test]
    fn cut_payloads_are_refused() {
        let (layout, records) = records();
        let bytes = encode(&records);
        for len in 0..bytes.len() {
            assert_eq!(decode(&bytes[..len], &layout), None, "{len} of {} bytes", bytes.len());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes, &Layout::new(&[3]).unwrap());
        }
    }
}
