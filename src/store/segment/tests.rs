//! Segments that say nonsense behind right checksums, and where damage is told.

use std::ops::Range;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use roaring::RoaringBitmap;

use super::super::disk::Disk;
use super::super::error::StoreError;
use super::super::frame::Uuid;
use super::super::memory::MemoryDisk;
use super::super::record::Hash;
use super::super::snapshot::path_hash;
use super::write::{Group, Terms};
use super::*;
use crate::cancel::Stop;
use crate::index::{ListedRows, Rows};
use crate::kernel::bits::{self, GROUP_FACTORS};
use crate::tags::Term;
use crate::vector::{Layout, RowCode};

const UUID: Uuid = [9; 16];
const DIMS: usize = 64;
/// Their upper planes take some three blocks.
const ROWS: u32 = 300;
const CENTRES: u64 = 5;
const LISTS: [u32; 4] = [0, 100, 100, ROWS];

/// Three hundred images in three lists, or in none.
struct Images {
    rows: Vec<RowCode>,
    paths: Vec<String>,
    /// Of each row.
    terms: Vec<[Term; 2]>,
    listed: bool,
}

impl Images {
    fn new(listed: bool) -> Self {
        let layout = layout();
        let value = |row: u32, at: usize| ((row as usize * 31 + at * 17) % 101) as f32 - 50.0;
        let rows = (0..ROWS).map(|row| {
            let values: Vec<f32> = (0..DIMS).map(|at| value(row, at)).collect();
            RowCode::encode(&layout, &values).unwrap()
        });
        let paths = (0..ROWS).map(|row| format!("shelf/{row}.jpg"));
        let terms = (0..ROWS).map(|row| [size(row), colour(row)]).collect();
        Self { rows: rows.collect(), paths: paths.collect(), terms, listed }
    }
}

impl RowSource for Images {
    fn rows(&self) -> u32 {
        ROWS
    }
    fn upper(&self, row: u32) -> Result<&[u8], StoreError> {
        Ok(&self.rows[row as usize].upper)
    }
    fn lower(&self, row: u32) -> Result<&[i8], StoreError> {
        Ok(&self.rows[row as usize].lower)
    }
    fn inv_norms(&self, _: u32) -> Result<&[[u8; 4]], StoreError> {
        Ok(&[[0, 0, 0x80, 0x3f]])
    }
    fn order(&self, row: u32) -> Result<u64, StoreError> {
        Ok(u64::from(row))
    }
    fn hash(&self, row: u32) -> Result<Hash, StoreError> {
        Ok([row as u8 + 1; 32])
    }
    fn path(&self, row: u32) -> Result<&str, StoreError> {
        Ok(&self.paths[row as usize])
    }
    fn path_hash(&self, row: u32) -> Result<u64, StoreError> {
        Ok(path_hash(&UUID, &self.paths[row as usize]))
    }
    fn terms<'a>(&'a self, row: u32, terms: &mut Terms<'a>, out: &mut Vec<u32>) -> Result<(), StoreError> {
        // Twice, as damage may have it, and not in their order.
        let [size, colour] = &self.terms[row as usize];
        out.extend([size, colour, size].map(|term| terms.number(term.as_bytes())));
        Ok(())
    }
    fn lists(&self) -> Option<(u64, &[u32])> {
        self.listed.then_some((CENTRES, &LISTS[..]))
    }
    fn bits(&self, groups: Range<u32>) -> Result<Vec<Group>, StoreError> {
        Ok(groups.map(|_| (vec![0x5a; bits::group_bytes(DIMS)], [0; GROUP_FACTORS])).collect())
    }
}

fn colour(row: u32) -> Term {
    Term::new(0, ["red", "green"][row as usize % 2])
}

fn size(row: u32) -> Term {
    Term::new(1, ["s", "m", "l"][row as usize % 3])
}

fn layout() -> Layout {
    Layout::new(&[DIMS]).unwrap()
}

/// The bytes of a segment's file, and what its manifest says of it.
fn file(listed: bool) -> (Vec<u8>, SegmentFile) {
    let (disk, flag) = (MemoryDisk::new(1), AtomicBool::new(false));
    let (dir, stop) = (Path::new("/segments"), Stop::either(&flag, None));
    disk.create_dirs(dir).unwrap();
    let sealed = write(&disk, dir, &UUID, 1, &layout(), &Images::new(listed), stop).unwrap();
    (disk.read(&dir.join(name(1))).unwrap(), sealed)
}

fn open(bytes: &[u8], file: SegmentFile, listed: bool) -> Result<Segment, StoreError> {
    let (disk, dir) = (MemoryDisk::new(1), Path::new("/segments"));
    disk.create_dirs(dir).unwrap();
    disk.create(&dir.join(name(1))).unwrap().write(bytes).unwrap();
    Segment::open(&disk, dir, &UUID, 1, &layout(), file, listed.then_some(CENTRES))
}

/// As [`open`], of bytes that were changed: with every checksum made right.
fn open_forged(bytes: &[u8], listed: bool) -> Result<Segment, StoreError> {
    let (bytes, file, _) = reseal(bytes, &UUID, 1, &layout()).unwrap();
    open(&bytes, file, listed)
}

/// Where damage is told.
#[track_caller]
fn told<T>(result: Result<T, StoreError>) -> usize {
    match result {
        Err(StoreError::Corrupt { file, offset, .. }) => {
            assert_eq!(file, name(1));
            offset as usize
        }
        Err(error) => panic!("another error: {error}"),
        Ok(_) => panic!("the damage was not found"),
    }
}

fn put(bytes: &mut [u8], at: usize, number: u32) {
    bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
}

/// Where the table says how long a section is.
fn length_of(bytes: &[u8], kind: Kind) -> usize {
    let end = bytes.len() - FOOTER;
    let start = end - Kind::ALL.len() * TABLE_ENTRY;
    let mut entries = (start..end).step_by(TABLE_ENTRY);
    entries.find(|&at| bytes[at..at + 4] == (kind as u32).to_le_bytes()).unwrap() + 16
}

#[test]
fn every_row_is_found_again() {
    for listed in [false, true] {
        let (bytes, sealed) = file(listed);
        let (segment, images) = (open(&bytes, sealed, listed).unwrap(), Images::new(listed));
        segment.verify(&UUID, 1, &layout(), sealed.crc).unwrap();
        for row in 0..ROWS {
            let path = images.path(row).unwrap();
            let found = segment.find(path, path_hash(&UUID, path), &RoaringBitmap::new()).unwrap();
            assert_eq!((found, segment.path(row).unwrap()), (Some(row), path));
            assert_eq!(segment.hash(row).unwrap(), [row as u8 + 1; 32]);
        }
        assert_eq!(segment.postings(&Term::new(0, "green")).unwrap().len(), u64::from(ROWS / 2));
    }
}

/// Each length is looked at by itself: a section that is too short is not made up for by others that are right.
#[test]
fn sections_have_the_lengths_that_their_rows_need() {
    let (bytes, _) = file(true);
    let fixed = [
        (Kind::Upper, DIMS / 2),
        (Kind::InvNorms, 4),
        (Kind::Lower, DIMS),
        (Kind::Orders, 8),
        (Kind::Hashes, 32),
        (Kind::PathOffsets, 8),
        (Kind::PathBuckets, 4),
        (Kind::PathEntries, 8),
        (Kind::RowTermOffsets, 8),
        (Kind::TermOffsets, 8),
        (Kind::PostingOffsets, 8),
        (Kind::Lists, 1),
        (Kind::Bits, bits::group_bytes(DIMS)),
        (Kind::BitFactors, GROUP_FACTORS),
    ];
    for (kind, entry) in fixed {
        let (mut forged, at) = (bytes.clone(), length_of(&bytes, kind));
        let len = u64::from_le_bytes(forged[at..at + 8].try_into().unwrap());
        forged[at..at + 8].copy_from_slice(&(len - entry as u64).to_le_bytes());
        match open_forged(&forged, true) {
            Err(StoreError::Corrupt { what, .. }) => {
                assert_eq!(what, "a section has the wrong length", "{kind:?}");
            }
            result => panic!("{kind:?}: {result:?}"),
        }
    }
    // Both halves of the terms' table, so short that there is not even where the first one begins.
    let mut forged = bytes.clone();
    for kind in [Kind::TermOffsets, Kind::PostingOffsets] {
        let at = length_of(&bytes, kind);
        forged[at..at + 8].fill(0);
    }
    told(open_forged(&forged, true));
    // The same file without a change is fine, but not for a manifest that names no lists.
    open_forged(&bytes, true).unwrap();
    told(open_forged(&bytes, false));
}

#[test]
fn lists_lie_within_the_rows_and_follow_each_other() {
    let (bytes, sealed) = file(true);
    let starts = open(&bytes, sealed, true).unwrap().place(Kind::Lists).start + 8;
    let forge = |index: usize, row: u32| {
        let mut forged = bytes.clone();
        put(&mut forged, starts + index * 4, row);
        open_forged(&forged, true).unwrap()
    };
    let segment = open(&bytes, sealed, true).unwrap();
    assert_eq!(segment.lists(), 3);
    assert_eq!([0, 1, 2].map(|list| segment.list(list).unwrap()), [0..100, 100..100, 100..ROWS]);
    let segment = forge(3, ROWS + 1);
    assert!(segment.list(1).is_ok());
    assert_eq!(told(segment.list(2)), starts + 2 * 4);
    assert_eq!(told(forge(2, 99).list(1)), starts + 4);
    segment.soon_list(2);
}

#[test]
fn a_position_outside_is_told_at_its_place() {
    let (bytes, sealed) = file(false);
    let entries = open(&bytes, sealed, false).unwrap().place(Kind::PathEntries).start;
    let mut places = 0;
    for entry in 0..ROWS as usize {
        let at = entries + entry * 8 + 4;
        let row = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        let mut forged = bytes.clone();
        put(&mut forged, at, ROWS);
        let (segment, path) = (open_forged(&forged, false).unwrap(), format!("shelf/{row}.jpg"));
        let found = segment.find(&path, path_hash(&UUID, &path), &RoaringBitmap::new());
        assert_eq!(told(found), at - 4);
        places += 1;
    }
    assert_eq!(places, ROWS);
}

#[test]
fn a_damaged_footer_is_told_at_its_place() {
    let (bytes, sealed) = file(false);
    let footer = bytes.len() - FOOTER;
    // Whatever is damaged, the checksum tells it first; but for what says that this is a segment.
    for at in 0..FOOTER {
        let mut damaged = bytes.clone();
        damaged[footer + at] ^= 0x10;
        assert_eq!(told(open(&damaged, sealed, false)) - footer, if at < 8 { 0 } else { 12 }, "{at}");
    }
    // Sound, and another's.
    let (others, file, _) = reseal(&bytes, &[8; 16], 1, &layout()).unwrap();
    assert_eq!(told(open(&others, file, false)), footer + 16);
    // A table behind the file's end.
    let mut forged = bytes.clone();
    forged[footer + 64..footer + 72].copy_from_slice(&(1u64 << 40).to_le_bytes());
    let mut crc = crc32fast::Hasher::new();
    crc.update(&forged[footer..footer + 12]);
    crc.update(&forged[footer + 16..]);
    let crc = crc.finalize();
    put(&mut forged, footer + 12, crc);
    assert_eq!(told(open(&forged, SegmentFile { crc, ..sealed }, false)), footer + 64);
    let (shape, more) = (footer + 48, SegmentFile { rows: ROWS + 1, ..sealed });
    assert_eq!(told(open(&bytes, more, false)), shape);
    assert_eq!(told(open(&bytes[..bytes.len() - 1], sealed, false)), bytes.len() - 1);
}

#[test]
fn padding_is_looked_at_by_verify() {
    let (bytes, sealed) = file(true);
    let segment = open(&bytes, sealed, true).unwrap();
    let mut places = 0;
    for kind in Kind::ALL {
        // What is behind a section up to the next multiple of the alignment; block checksums may begin there at once.
        let end = segment.place(kind).end;
        for at in (end..end.next_multiple_of(ALIGN)).filter(|&at| bytes[at] == 0) {
            let mut damaged = bytes.clone();
            damaged[at] = 1;
            match open(&damaged, sealed, true).unwrap().verify(&UUID, 1, &layout(), sealed.crc) {
                Err(StoreError::Corrupt { offset, .. }) => assert_eq!(offset as usize, at, "{kind:?}"),
                result => panic!("{kind:?}, {at}: {result:?}"),
            }
            places += 1;
        }
    }
    assert!(places > 100, "{places} bytes of padding");
}

#[test]
fn reading_ahead_reads_every_block_of_what_searches_read() {
    for (listed, kinds) in
        [(true, &[Kind::Lists, Kind::BitFactors, Kind::Bits][..]), (false, &[Kind::InvNorms, Kind::Upper])]
    {
        let (bytes, sealed) = file(listed);
        let segment = open(&bytes, sealed, listed).unwrap();
        // The planes begin in their first block and are not in it alone.
        assert!(segment.unread(Kind::Upper) > 1);
        segment.preload(true, Stop::either(&AtomicBool::new(true), None)).unwrap();
        assert!(segment.unread(Kind::Upper) > 1, "called off");
        segment.preload(false, Stop::never()).unwrap();
        for &kind in kinds {
            assert_eq!(segment.unread(kind), 0, "{kind:?}");
        }
        assert!(segment.unread(Kind::Lower) > 0);
        segment.preload(true, Stop::never()).unwrap();
        for kind in Kind::ALL {
            assert_eq!(segment.unread(kind), 0, "{kind:?}");
        }
        // Damage in any block of them is met on the way.
        for &kind in kinds {
            let place = segment.place(kind);
            for at in [place.start, place.end - 1] {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1;
                let block = place.start + (at - place.start) / BLOCK * BLOCK;
                // The opening itself reads which centres the lists are around.
                let met = open(&damaged, sealed, listed);
                assert!(met.is_ok() || (kind, block) == (Kind::Lists, place.start), "{kind:?}, {at}");
                assert_eq!(told(met.and_then(|segment| segment.preload(false, Stop::never()))), block);
            }
        }
    }
}

/// What a file with right checksums says of a row's terms may be nonsense: looking ahead ends where the terms do.
#[test]
fn looking_ahead_ends() {
    let (bytes, sealed) = file(false);
    let sound = open(&bytes, sealed, false).unwrap();
    assert!(sound.tags(0).is_ok());
    let end = sound.place(Kind::RowTermOffsets).start + 8;
    let mut forged = bytes;
    forged[end..end + 8].copy_from_slice(&u64::MAX.to_le_bytes());
    let forged = open_forged(&forged, false).unwrap();
    assert!(matches!(forged.tags(0), Err(StoreError::Corrupt { .. })));
    Step::ALL.iter().for_each(|&step| forged.soon_hit(0, step));
}

#[test]
fn the_terms_of_a_row_ascend_and_none_stands_twice() {
    let (bytes, sealed) = file(false);
    let segment = open(&bytes, sealed, false).unwrap();
    let mut numbers = Vec::new();
    for row in 0..ROWS {
        assert_eq!(segment.tags(row).unwrap().terms(), [colour(row), size(row)]);
        numbers.clear();
        let mut keep = |number| {
            numbers.push(number);
            Ok(())
        };
        segment.each_term(row, &mut keep).unwrap();
        assert!(numbers.len() == 2 && numbers.is_sorted(), "{numbers:?}");
    }
    let of = |term: &Term| segment.postings(term).unwrap().into_iter().collect::<Vec<_>>();
    assert_eq!(of(&colour(1)), (0..ROWS).filter(|row| row % 2 == 1).collect::<Vec<_>>());
    assert_eq!(of(&size(2)), (0..ROWS).filter(|row| row % 3 == 2).collect::<Vec<_>>());
    assert!(of(&Term::new(1, "xl")).is_empty());
}

#[test]
fn terms_of_other_segments_are_read_once() {
    let colours = [colour(0), colour(1)];
    let mut terms = Terms::default();
    let red = terms.number(colours[0].as_bytes());
    let mut read = 0;
    let mut of = |part, its, colour: usize| {
        terms.number_of((part, its, 2), || {
            read += 1;
            Ok(colours[colour].as_bytes())
        })
    };
    for _ in 0..3 {
        assert_eq!(of(5, 0, 1).unwrap(), red + 1);
        assert_eq!(of(5, 1, 0).unwrap(), red);
        assert_eq!(of(2, 1, 1).unwrap(), red + 1);
    }
    assert_eq!(read, 3);
    assert!(terms.number_of((5, 7, 2), || Err(StoreError::Stopped(String::new()))).is_err());
}

#[test]
fn the_upper_plane_of_a_row_is_that_of_its_run_and_checked() {
    let (bytes, sealed) = file(false);
    let segment = open(&bytes, sealed, false).unwrap();
    for row in 0..ROWS {
        assert_eq!(segment.upper(row).unwrap(), segment.run(row..row + 1).unwrap().upper);
    }
    let mut damaged = bytes.clone();
    damaged[segment.place(Kind::Upper).end - 1] ^= 1;
    let segment = open(&damaged, sealed, false).unwrap();
    assert!(matches!(segment.upper(ROWS - 1), Err(StoreError::Corrupt { .. })));
}
