//! Entries for fuzzing: the parsers of files, on any bytes.
//!
//! Bytes as they come hardly ever pass a checksum. So each parser is also given the bytes with their checksums made
//! right: what lies behind a checksum must not rely on it.

use std::io;
use std::path::Path;
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::disk::{Disk, DiskFile, DiskLock};
use super::frame::{self, Kind, Uuid};
use super::manifest::Manifest;
use super::map::Mapped;
use super::record;
use super::segment::{self, Salvage, Segment, Step};
use super::snapshot::{Snapshot, path_hash};
use super::{centres, codec, dead, log, mend};
use crate::index::{ListedRows, Rows};
use crate::tags::{Schema, Term};
use crate::vector::Layout;

/// The identity of everything here.
const UUID: Uuid = [7; 16];

#[allow(clippy::expect_used, reason = "a constant")]
fn layout() -> Layout {
    Layout::new(&[12, 6]).expect("two blocks are fine")
}

/// Framed files.
pub(crate) fn frame(bytes: &[u8]) {
    for kind in [Kind::Manifest, Kind::Dead, Kind::Centres] {
        let _ = frame::open(kind, "f", bytes);
        let sealed = frame::seal(kind, &UUID, bytes);
        assert!(
            frame::open(kind, "f", &sealed).is_ok_and(|(uuid, payload)| uuid == UUID && payload == bytes)
        );
    }
    let disk = OneFile(frame::seal(Kind::Dead, &UUID, bytes));
    if let Ok(rows) = dead::read(&disk, Path::new(""), &UUID, (1, 2), 1000) {
        assert!(rows.max().is_none_or(|max| max < 1000));
    }
    let disk = OneFile(frame::seal(Kind::Centres, &UUID, bytes));
    let crc = crc32fast::hash(&disk.0);
    let entry = super::manifest::CentresEntry { id: 1, crc, trained_at: 1, gaps: None };
    if let Ok(centres) = centres::read(&disk, Path::new(""), &UUID, &entry, &layout(), &[0.5, 0.5]) {
        assert_eq!(centres.centroids.codes().len(), centres.centroids.lists() * layout().dims());
    }
    if bytes.len() < 4096 {
        assert!(mend::candidates(bytes).len() <= bytes.len() + 1);
    }
}

/// Manifests: what can be read comes back when it is written.
pub(crate) fn manifest(bytes: &[u8]) {
    if let Some(manifest) = codec::decode::<Manifest>(bytes) {
        let _ = manifest.is_sound();
        let _ = Manifest::parse("m", manifest.generation, &frame::seal(Kind::Manifest, &UUID, bytes));
        assert!(codec::encode(&manifest).is_some_and(|again| again == bytes));
    }
}

/// Logs: as they come, with their checksums made right, and made of the bytes as payloads.
pub(crate) fn log(bytes: &[u8]) {
    let layout = layout();
    for bytes in [bytes.to_vec(), log::reseal(bytes, &UUID, 1)] {
        let salvaged = log::salvage(&bytes, &UUID, 1);
        let Ok(read) = log::read(&bytes, &UUID, 1, None) else { continue };
        assert_eq!(read.len + read.torn, bytes.len() as u64);
        let found: Vec<_> = salvaged.frames.iter().map(|(_, payload)| payload.clone()).collect();
        assert!(found.starts_with(&read.payloads), "a repair finds every sound frame");
        for payload in read.payloads {
            replay(&bytes[payload.clone()], &layout);
            let _ = record::named(&bytes[payload], &layout);
        }
    }
    replay(bytes, &layout);
}

/// Records that can be read come back when they are written, and apply.
fn replay(payload: &[u8], layout: &Layout) {
    let Some(records) = record::decode(payload, layout) else { return };
    let again = record::encode(&records);
    assert_eq!(record::decode(&again, layout).as_ref(), Some(&records));
    let base = empty(layout);
    let mut draft = super::draft::Draft::new(&base, 1, u64::MAX, 0);
    for record in records {
        let _ = draft.replay(record);
    }
    let (snapshot, _) = draft.finish();
    let (rows, dead) = snapshot.part(0);
    assert_eq!(snapshot.live(), u64::from(rows) - dead.len());
}

fn empty(layout: &Layout) -> Snapshot {
    Snapshot {
        uuid: UUID,
        layout: Arc::new(layout.clone()),
        schema: Arc::new(Schema::default()),
        centres: Vec::new(),
        sealed: Vec::new(),
        frozen: Vec::new(),
        tail: Default::default(),
        tail_dead: Default::default(),
    }
}

/// Segments, with their checksums made right.
pub(crate) fn segment(bytes: &[u8]) {
    let layout = layout();
    let Some((bytes, file, centres)) = segment::reseal(bytes, &UUID, 1, &layout) else { return };
    let disk = OneFile(bytes);
    if let Ok(Some(salvage)) = Salvage::open(&disk, Path::new(""), "s", (&UUID, 1), &layout, file) {
        for position in (0..file.rows).take(64) {
            let _ = salvage.row(position, &layout);
        }
    }
    for centres in [centres, None] {
        let Ok(segment) = Segment::open(&disk, Path::new(""), &UUID, 1, &layout, file, centres) else {
            continue;
        };
        let _ = segment.verify(&UUID, 1, &layout, file.crc);
        for position in (0..segment.rows()).take(64) {
            let _ = (segment.order(position), segment.hash(position), segment.lower(position));
            let _ = segment.run(position..segment.rows().min(position + 3));
            Step::ALL.iter().for_each(|&step| segment.soon_hit(position, step));
            segment.soon_upper(position);
            segment.soon_norms(position);
            segment.soon(position);
            segment.soon_whole(position);
            if let Ok(path) = segment.path(position) {
                let found = segment.find(path, path_hash(&UUID, path), &RoaringBitmap::new());
                assert!(!matches!(found, Ok(Some(at)) if at >= segment.rows()));
            }
            if let Ok(tags) = segment.tags(position) {
                for term in tags.terms() {
                    let found = segment.postings(term);
                    assert!(
                        !matches!(found, Ok(rows) if rows.max().is_some_and(|max| max >= segment.rows()))
                    );
                }
            }
        }
        for list in (0..segment.lists() as u32).take(64) {
            segment.soon_list(list);
            let Ok(range) = segment.list(list) else { continue };
            let groups = range.start / 16..range.end.div_ceil(16);
            let _ = segment.bits(groups);
        }
        let _ = segment.postings(&Term::new(0, "red"));
    }
}

/// A disk of one file that cannot be changed.
struct OneFile(Vec<u8>);

fn refused<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}

impl Disk for OneFile {
    fn create_dirs(&self, _: &Path) -> io::Result<()> {
        refused()
    }
    fn list(&self, _: &Path) -> io::Result<Vec<String>> {
        refused()
    }
    fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
        Ok(self.0.clone())
    }
    fn map(&self, _: &Path) -> io::Result<Mapped> {
        Ok(Mapped::Heap(self.0.clone()))
    }
    fn create(&self, _: &Path) -> io::Result<Box<dyn DiskFile>> {
        refused()
    }
    fn append(&self, _: &Path, _: u64) -> io::Result<Box<dyn DiskFile>> {
        refused()
    }
    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        refused()
    }
    fn remove_file(&self, _: &Path) -> io::Result<()> {
        refused()
    }
    fn remove_dir(&self, _: &Path) -> io::Result<()> {
        refused()
    }
    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        refused()
    }
    fn lock(&self, _: &Path, _: bool) -> io::Result<Option<Box<dyn DiskLock>>> {
        refused()
    }
}
