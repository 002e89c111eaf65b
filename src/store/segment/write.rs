//! Writing a segment: one pass over the rows for each section, everything appended, nothing rewritten.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

use roaring::RoaringBitmap;

use super::super::disk::{Disk, DiskFile};
use super::super::error::StoreError;
use super::super::frame::{FORMAT, Uuid};
use super::super::record::Hash;
use super::{ALIGN, BLOCK, FOOTER, Kind, MAGIC, TABLE_ENTRY, name, path_bucket, path_buckets};
use crate::cancel::Stop;
use crate::kernel::bits::{GROUP, GROUP_FACTORS};
use crate::vector::Layout;

/// Bytes gathered before a write.
const BUFFER: usize = 2 << 20;

/// Term lists up to this many rows are kept as plain positions: smaller and quicker to read than a bitmap.
const PLAIN_POSTINGS: usize = 64;

/// Groups of rows whose codes are made at a time.
const GROUPS: u32 = 4096;

/// Codes and factors of sixteen rows.
pub(crate) type Group = (Vec<u8>, [u8; GROUP_FACTORS]);

/// The rows of a new segment, in the order they will lie in.
pub(crate) trait RowSource {
    fn rows(&self) -> u32;
    fn upper(&self, row: u32) -> Result<&[u8], StoreError>;
    fn lower(&self, row: u32) -> Result<&[i8], StoreError>;
    fn inv_norms(&self, row: u32) -> Result<&[[u8; 4]], StoreError>;
    fn order(&self, row: u32) -> Result<u64, StoreError>;
    fn hash(&self, row: u32) -> Result<Hash, StoreError>;
    fn path(&self, row: u32) -> Result<&str, StoreError>;
    fn path_hash(&self, row: u32) -> Result<u64, StoreError>;
    /// Appends the numbers of a row's terms.
    fn terms<'a>(&'a self, row: u32, terms: &mut Terms<'a>, out: &mut Vec<u32>) -> Result<(), StoreError>;
    /// The centres that the rows lie in lists around, and where each list begins; the last number is that of rows.
    fn lists(&self) -> Option<(u64, &[u32])>;
    /// Codes of one bit a value, and factors, of groups of rows in lists.
    fn bits(&self, groups: Range<u32>) -> Result<Vec<Group>, StoreError>;
}

/// What the manifest keeps of a segment's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentFile {
    pub(crate) len: u64,
    pub(crate) rows: u32,
    /// Checksum of the footer, and through it of everything.
    pub(crate) crc: u32,
}

/// Writes the segment `id`, under a temporary name first; returns when it is durable under its final one.
pub(crate) fn write<S: RowSource>(
    disk: &dyn Disk,
    dir: &Path,
    uuid: &Uuid,
    id: u64,
    layout: &Layout,
    source: &S,
    cancel: Stop<'_>,
) -> Result<SegmentFile, StoreError> {
    let (tmp, name) = (format!("tmp-seg-{id:08}"), name(id));
    let written = write_tmp(disk, dir, uuid, id, layout, source, cancel, (&tmp, &name));
    if written.is_err() {
        // Best effort: an opening removes what is left of it.
        let _ = disk.remove_file(&dir.join(&tmp));
    }
    written
}

#[allow(clippy::too_many_arguments, reason = "the inner half of `write`")]
fn write_tmp<S: RowSource>(
    disk: &dyn Disk,
    dir: &Path,
    uuid: &Uuid,
    id: u64,
    layout: &Layout,
    source: &S,
    cancel: Stop<'_>,
    (tmp, name): (&str, &str),
) -> Result<SegmentFile, StoreError> {
    let io = |action| StoreError::io(action, name);
    let file = disk.create(&dir.join(tmp)).map_err(io("create"))?;
    let mut writer = Writer::new(file, name, cancel);
    vectors(&mut writer, source)?;
    paths(&mut writer, source)?;
    tags(&mut writer, source)?;
    lists(&mut writer, source)?;
    let shape = [source.rows(), layout.dims() as u32, layout.blocks() as u32];
    let sealed = writer.finish(uuid, id, shape)?;
    disk.rename(&dir.join(tmp), &dir.join(name)).map_err(io("rename"))?;
    disk.sync_dir(dir).map_err(io("sync the directory of"))?;
    Ok(sealed)
}

fn vectors<S: RowSource>(writer: &mut Writer<'_>, source: &S) -> Result<(), StoreError> {
    writer.begin(Kind::Upper)?;
    for row in 0..source.rows() {
        writer.put(source.upper(row)?)?;
    }
    writer.begin(Kind::InvNorms)?;
    for row in 0..source.rows() {
        writer.put(source.inv_norms(row)?.as_flattened())?;
    }
    writer.begin(Kind::Lower)?;
    for row in 0..source.rows() {
        writer.put(bytemuck::cast_slice(source.lower(row)?))?;
    }
    writer.begin(Kind::Orders)?;
    for row in 0..source.rows() {
        writer.put(&source.order(row)?.to_le_bytes())?;
    }
    writer.begin(Kind::Hashes)?;
    let mut any_hash = false;
    for row in 0..source.rows() {
        any_hash = any_hash || source.hash(row)? != [0; 32];
        if any_hash {
            break;
        }
    }
    for row in 0..if any_hash { source.rows() } else { 0 } {
        writer.put(&source.hash(row)?)?;
    }
    Ok(())
}

fn paths<S: RowSource>(writer: &mut Writer<'_>, source: &S) -> Result<(), StoreError> {
    let rows = source.rows();
    writer.begin(Kind::PathOffsets)?;
    let mut end = 0u64;
    writer.put(&end.to_le_bytes())?;
    for row in 0..rows {
        end += source.path(row)?.len() as u64;
        writer.put(&end.to_le_bytes())?;
    }
    writer.begin(Kind::Paths)?;
    for row in 0..rows {
        writer.put(source.path(row)?.as_bytes())?;
    }
    let mut entries = Vec::with_capacity(rows as usize);
    for row in 0..rows {
        entries.push((source.path_hash(row)?, row));
    }
    entries.sort_unstable();
    let buckets = path_buckets(rows);
    writer.begin(Kind::PathBuckets)?;
    let mut next = 0;
    for bucket in 0..buckets {
        writer.put(&(next as u32).to_le_bytes())?;
        while entries.get(next).is_some_and(|&(hash, _)| path_bucket(hash, buckets) == bucket) {
            next += 1;
        }
    }
    writer.put(&rows.to_le_bytes())?;
    writer.begin(Kind::PathEntries)?;
    for (hash, row) in entries {
        writer.put(&(hash as u32).to_le_bytes())?;
        writer.put(&row.to_le_bytes())?;
    }
    Ok(())
}

/// The terms of a segment under way. Rows name them by the order in which they were met until all are known.
#[derive(Default)]
pub(crate) struct Terms<'a> {
    /// Their bytes.
    names: Vec<&'a [u8]>,
    numbers: HashMap<&'a [u8], u32>,
    /// Of each segment that rows come from, the number of each of its terms that was met.
    known: Vec<Vec<Option<u32>>>,
}

impl<'a> Terms<'a> {
    /// The number of a term, which is given as its bytes.
    pub(crate) fn number(&mut self, term: &'a [u8]) -> u32 {
        let next = self.names.len() as u32;
        let number = *self.numbers.entry(term).or_insert(next);
        if number == next {
            self.names.push(term);
        }
        number
    }

    /// The number of term `its` of the `terms` of the segment that is part `part` of a snapshot; `name` reads it, once.
    pub(crate) fn number_of(
        &mut self,
        (part, its, terms): (u32, u32, usize),
        name: impl FnOnce() -> Result<&'a [u8], StoreError>,
    ) -> Result<u32, StoreError> {
        let (part, its) = (part as usize, its as usize);
        if let Some(&Some(number)) = self.known.get(part).and_then(|known| known.get(its)) {
            return Ok(number);
        }
        let number = self.number(name()?);
        if self.known.len() <= part {
            self.known.resize_with(part + 1, Vec::new);
        }
        let known = &mut self.known[part];
        known.resize(terms, None);
        if let Some(slot) = known.get_mut(its) {
            *slot = Some(number);
        }
        Ok(number)
    }

    /// The terms in their own order, each as the number it has here.
    fn in_order(&self) -> Vec<u32> {
        // Most differ in the first bytes, which lie together here.
        let first = |term: &[u8]| {
            let mut bytes = [0; 8];
            let len = term.len().min(8);
            bytes[..len].copy_from_slice(&term[..len]);
            u64::from_be_bytes(bytes)
        };
        let mut order: Vec<(u64, u32)> = self.names.iter().map(|term| first(term)).zip(0..).collect();
        let name = |number: u32| self.names[number as usize];
        order.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| name(a.1).cmp(name(b.1))));
        order.into_iter().map(|(_, number)| number).collect()
    }
}

fn tags<S: RowSource>(writer: &mut Writer<'_>, source: &S) -> Result<(), StoreError> {
    let rows = source.rows();
    let mut terms = Terms::default();
    // Of each row how many terms it has, and these.
    let mut all = Vec::<u32>::with_capacity(4 * rows as usize);
    // Of each term how many rows have it; then where its next row goes.
    let mut counts = Vec::<usize>::new();
    let (mut end, mut own) = (0u64, Vec::new());
    writer.begin(Kind::RowTermOffsets)?;
    writer.put(&end.to_le_bytes())?;
    for row in 0..rows {
        own.clear();
        source.terms(row, &mut terms, &mut own)?;
        // A segment that was made elsewhere may name a term twice.
        own.sort_unstable();
        own.dedup();
        counts.resize(terms.names.len(), 0);
        own.iter().for_each(|&number| counts[number as usize] += 1);
        all.push(own.len() as u32);
        all.extend_from_slice(&own);
        end += own.len() as u64;
        writer.put(&end.to_le_bytes())?;
    }
    // In the segment terms are numbered in their own order, and the terms of a row ascend.
    let order = terms.in_order();
    let (mut numbers, mut next) = (vec![0; order.len()], 0);
    for (number, &met) in (0u32..).zip(&order) {
        numbers[met as usize] = number;
        next += std::mem::replace(&mut counts[met as usize], next);
    }
    let mut postings = vec![0u32; next];
    let (mut left, mut row) = (&*all, 0u32);
    writer.begin(Kind::RowTerms)?;
    while let Some((&count, more)) = left.split_first() {
        let (its, others) = more.split_at(count as usize);
        own.clear();
        for &met in its {
            own.push(numbers[met as usize]);
            let next = &mut counts[met as usize];
            postings[*next] = row;
            *next += 1;
        }
        own.sort_unstable();
        own.iter().try_for_each(|number| writer.put(&number.to_le_bytes()))?;
        (left, row) = (others, row + 1);
    }
    drop(all);
    let mut end = 0u64;
    writer.begin(Kind::TermOffsets)?;
    writer.put(&end.to_le_bytes())?;
    for &met in &order {
        end += terms.names[met as usize].len() as u64;
        writer.put(&end.to_le_bytes())?;
    }
    writer.begin(Kind::Terms)?;
    order.iter().try_for_each(|&met| writer.put(terms.names[met as usize]))?;
    let mut ends = vec![0u64];
    writer.begin(Kind::Postings)?;
    let (start, mut from) = (writer.len, 0);
    for &met in &order {
        let to = counts[met as usize];
        put_postings(writer, &postings[from..to])?;
        ends.push(writer.len - start);
        from = to;
    }
    writer.begin(Kind::PostingOffsets)?;
    for end in ends {
        writer.put(&end.to_le_bytes())?;
    }
    Ok(())
}

fn lists<S: RowSource>(writer: &mut Writer<'_>, source: &S) -> Result<(), StoreError> {
    let lists = source.lists();
    writer.begin(Kind::Lists)?;
    if let Some((centres, starts)) = lists {
        writer.put(&centres.to_le_bytes())?;
        starts.iter().try_for_each(|start| writer.put(&start.to_le_bytes()))?;
    }
    writer.begin(Kind::Bits)?;
    let groups = if lists.is_some() { source.rows().div_ceil(GROUP as u32) } else { 0 };
    let mut factors = Vec::with_capacity(groups as usize);
    let mut next = 0;
    while next < groups {
        let end = groups.min(next.saturating_add(GROUPS));
        for (codes, own) in source.bits(next..end)? {
            writer.put(&codes)?;
            factors.push(own);
        }
        next = end;
    }
    writer.begin(Kind::BitFactors)?;
    factors.iter().try_for_each(|own| writer.put(own))
}

fn put_postings(writer: &mut Writer<'_>, positions: &[u32]) -> Result<(), StoreError> {
    if positions.len() <= PLAIN_POSTINGS {
        writer.put(&[0])?;
        return positions.iter().try_for_each(|p| writer.put(&p.to_le_bytes()));
    }
    let mut bitmap = RoaringBitmap::from_sorted_iter(positions.iter().copied()).unwrap_or_default();
    bitmap.optimize();
    let mut bytes = vec![1];
    bitmap.serialize_into(&mut bytes).map_err(StoreError::io("write", writer.name))?;
    writer.put(&bytes)
}

/// A section that was written.
struct Written {
    kind: Kind,
    offset: u64,
    len: u64,
    crcs: Vec<u8>,
}

/// Appends sections and keeps their block checksums.
struct Writer<'a> {
    file: Box<dyn DiskFile>,
    name: &'a str,
    /// Set when the file is not wanted any more.
    cancel: Stop<'a>,
    buffer: Vec<u8>,
    /// Bytes put so far.
    len: u64,
    sections: Vec<Written>,
    block: crc32fast::Hasher,
    in_block: usize,
    /// Up to where in the buffer the block's bytes are in its checksum: many small pieces are summed as one.
    summed: usize,
}

impl<'a> Writer<'a> {
    fn new(file: Box<dyn DiskFile>, name: &'a str, cancel: Stop<'a>) -> Self {
        let buffer = Vec::with_capacity(BUFFER);
        let block = crc32fast::Hasher::new();
        Self { file, name, cancel, buffer, len: 0, sections: Vec::new(), block, in_block: 0, summed: 0 }
    }

    fn raw(&mut self, mut bytes: &[u8]) -> Result<(), StoreError> {
        self.len += bytes.len() as u64;
        while self.buffer.len() + bytes.len() >= BUFFER {
            let (now, later) = bytes.split_at(BUFFER - self.buffer.len());
            self.buffer.extend_from_slice(now);
            self.flush()?;
            bytes = later;
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        if self.cancel.asked() {
            return Err(StoreError::Stopped("the instance is being closed".to_owned()));
        }
        self.sum();
        self.file.write(&self.buffer).map_err(StoreError::io("write", self.name))?;
        self.buffer.clear();
        self.summed = 0;
        Ok(())
    }

    fn pad(&mut self) -> Result<(), StoreError> {
        let over = (self.len % ALIGN as u64) as usize;
        if over > 0 {
            self.raw(&[0; ALIGN][over..])?;
        }
        // Padding is in no block.
        (self.block, self.summed) = (crc32fast::Hasher::new(), self.buffer.len());
        Ok(())
    }

    fn begin(&mut self, kind: Kind) -> Result<(), StoreError> {
        self.end()?;
        self.sections.push(Written { kind, offset: self.len, len: 0, crcs: Vec::new() });
        Ok(())
    }

    fn end(&mut self) -> Result<(), StoreError> {
        self.end_block();
        self.pad()
    }

    /// Brings the checksum of the block up to date.
    fn sum(&mut self) {
        self.block.update(&self.buffer[self.summed..]);
        self.summed = self.buffer.len();
    }

    fn end_block(&mut self) {
        self.sum();
        if self.in_block > 0
            && let Some(section) = self.sections.last_mut()
        {
            section.crcs.extend_from_slice(&std::mem::take(&mut self.block).finalize().to_le_bytes());
            self.in_block = 0;
        }
    }

    fn put(&mut self, mut bytes: &[u8]) -> Result<(), StoreError> {
        if let Some(section) = self.sections.last_mut() {
            section.len += bytes.len() as u64;
        }
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK - self.in_block));
            self.raw(now)?;
            self.in_block += now.len();
            if self.in_block == BLOCK {
                self.end_block();
            }
            bytes = later;
        }
        Ok(())
    }

    /// Writes the block checksums, the table and the footer, and syncs. `shape` is rows, dims, blocks.
    fn finish(mut self, uuid: &Uuid, id: u64, shape: [u32; 3]) -> Result<SegmentFile, StoreError> {
        self.end()?;
        let sections = std::mem::take(&mut self.sections);
        let mut table = Vec::with_capacity(sections.len() * TABLE_ENTRY);
        for section in &sections {
            table.extend_from_slice(&(section.kind as u32).to_le_bytes());
            table.extend_from_slice(&crc32fast::hash(&section.crcs).to_le_bytes());
            for number in [section.offset, section.len, self.len] {
                table.extend_from_slice(&number.to_le_bytes());
            }
            self.raw(&section.crcs)?;
        }
        let table_offset = self.len;
        self.raw(&table)?;
        let len = self.len + FOOTER as u64;
        let mut footer = Vec::with_capacity(FOOTER);
        footer.extend_from_slice(MAGIC);
        footer.extend_from_slice(&FORMAT.to_le_bytes());
        footer.extend_from_slice(&[0; 4]);
        footer.extend_from_slice(uuid);
        footer.extend_from_slice(&id.to_le_bytes());
        footer.extend_from_slice(&len.to_le_bytes());
        shape.iter().for_each(|number| footer.extend_from_slice(&number.to_le_bytes()));
        footer.extend_from_slice(&crc32fast::hash(&table).to_le_bytes());
        footer.extend_from_slice(&table_offset.to_le_bytes());
        let mut crc = crc32fast::Hasher::new();
        crc.update(&footer[..12]);
        crc.update(&footer[16..]);
        let crc = crc.finalize();
        footer[12..16].copy_from_slice(&crc.to_le_bytes());
        self.raw(&footer)?;
        self.flush()?;
        if !planted!(ManifestBeforeSegment) {
            self.file.sync().map_err(StoreError::io("sync", self.name))?;
        }
        Ok(SegmentFile { len, rows: shape[0], crc })
    }
}
