//! Which segments to merge, and the rows that a new segment is made of.

use std::collections::HashMap;
use std::ops::Range;

use rayon::prelude::*;

use super::centres::Centres;
use super::error::StoreError;
use super::record::Hash;
use super::segment::{Group, RowSource, Terms};
use super::snapshot::{Sealed, Snapshot, path_hash};
use crate::index::{self, Encoder, ListedRows, Place};
use crate::kernel::bits::{self, GROUP, GROUP_FACTORS};
use crate::kernel::table::TableRows;
use crate::vector::{decode, eights};

/// Segments of one size class that are merged: a row is rewritten once for each time the instance grows so many
/// times larger.
const FAN_IN: usize = 4;
/// Smallest size class, in rows.
const SMALLEST: u32 = 1 << 14;
/// A segment with more than one dead row in so many is rewritten.
const DEAD_SHARE: u64 = 4;

/// Rows assigned to lists at a time.
const ASSIGNED: usize = 2048;

/// Live rows of parts of a snapshot, by list and then by insertion number; without centres by insertion number alone.
pub(crate) struct LiveRows<'a> {
    snapshot: &'a Snapshot,
    centres: Option<&'a Centres>,
    rows: Vec<Row>,
    /// Where each list begins, and where the last ends.
    starts: Vec<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    list: u32,
    order: u64,
    place: Place,
    /// It stays in the list that it lies in, so its code stays what it is.
    kept: bool,
}

impl<'a> LiveRows<'a> {
    /// The rows of `parts`, in lists around `centres` if there are any: rows that lie in lists around the same centres
    /// already stay in theirs, others are assigned.
    pub(crate) fn of(
        snapshot: &'a Snapshot,
        parts: &[u32],
        centres: Option<&'a Centres>,
    ) -> Result<Self, StoreError> {
        let (mut rows, mut keeps) = (Vec::new(), Keeps::default());
        for &part in parts {
            let (kept, others) = ranges(snapshot, part, centres, &mut keeps)?;
            let dead = snapshot.dead(part);
            let mut add = |list: u32, range: Range<u32>, kept: bool| -> Result<(), StoreError> {
                for position in range.filter(|&position| !dead.contains(position)) {
                    let place = Place { part, position };
                    rows.push(Row { list, order: snapshot.order(place)?, place, kept });
                }
                Ok(())
            };
            kept.into_iter().try_for_each(|(list, range)| add(list, range, true))?;
            others.into_iter().try_for_each(|range| add(0, range, false))?;
        }
        if let Some(centres) = centres {
            let mut others: Vec<&mut Row> = rows.iter_mut().filter(|row| !row.kept).collect();
            others.par_chunks_mut(ASSIGNED).try_for_each(|rows| assign(snapshot, centres, rows))?;
        }
        rows.par_sort_unstable();
        let lists = centres.map_or(0, |centres| centres.centroids.lists());
        let mut starts = vec![0; lists + 1];
        if lists > 0 {
            rows.iter().for_each(|row| starts[row.list as usize + 1] += 1);
            (0..lists).for_each(|list| starts[list + 1] += starts[list]);
        }
        Ok(Self { snapshot, centres, rows, starts })
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The centres that the rows are in lists around.
    pub(crate) fn centres(&self) -> Option<u64> {
        self.centres.map(|centres| centres.entry.id)
    }

    fn place(&self, row: u32) -> Place {
        self.rows[row as usize].place
    }

    /// Writes the code of one row into the codes of a group and gives its factors.
    fn encode(
        &self,
        encoder: &mut Encoder<'_>,
        row: Row,
        group: &mut [u8],
        lane: usize,
    ) -> Result<[u8; 4], StoreError> {
        let put = |word: usize, bytes: [u8; 4], group: &mut [u8]| {
            group[(word * GROUP + lane) * 4..][..4].copy_from_slice(&bytes);
        };
        if let Some(segment) = self.snapshot.segment(row.place.part).filter(|_| row.kept) {
            let (from, at) = (row.place.position / GROUP as u32, row.place.position as usize % GROUP);
            let (codes, factors) = segment.bits(from..from + 1)?;
            for (word, rows) in codes.as_chunks::<{ GROUP * 4 }>().0.iter().enumerate() {
                put(word, rows.as_chunks().0[at], group);
            }
            return Ok(factors.as_chunks().0[at]);
        }
        let (run, lower) = (self.snapshot.row(row.place)?, self.snapshot.lower(row.place)?);
        let inv_norms = run.inv_norms.iter().map(index::inv_norm);
        let decode = |out: &mut Vec<f32>| decode(&self.snapshot.layout, run.upper, lower, inv_norms, out);
        let (words, factors) = encoder.encode(row.list, decode);
        for (word, bits) in words.iter().enumerate() {
            put(word, bits.to_le_bytes(), group);
        }
        let ([a0, a1], [e0, e1]) = (bits::half(factors.a), bits::half(factors.e));
        Ok([a0, a1, e0, e1])
    }
}

/// Lists and their ranges in a part.
type Lists = Vec<(u32, Range<u32>)>;

/// Of older centres which lists stay as they are.
type Keeps = HashMap<u64, Vec<bool>>;

/// The rows of a part that stay in the lists that they are in, and the others.
fn ranges(
    snapshot: &Snapshot,
    part: u32,
    centres: Option<&Centres>,
    keeps: &mut Keeps,
) -> Result<(Lists, Vec<Range<u32>>), StoreError> {
    let all = 0..snapshot.part(part).0;
    let segment = snapshot.segment(part).and_then(|segment| Some((segment, segment.centres()?)));
    let (Some(centres), Some((segment, own))) = (centres, segment) else {
        return Ok((Vec::new(), vec![all]));
    };
    let Some(older) = snapshot.centres.iter().find(|centres| centres.entry.id == own) else {
        return Ok((Vec::new(), vec![all]));
    };
    let keeps = keeps.entry(own).or_insert_with(|| match own == centres.entry.id {
        true => vec![true; centres.centroids.lists()],
        false => centres.centroids.keeps(&older.centroids),
    });
    let (mut kept, mut others) = (Vec::new(), Vec::new());
    for (list, is_kept) in (0..).zip(keeps.iter().copied()) {
        let range = segment.list(list)?;
        if is_kept { kept.push((list, range)) } else { others.push(range) }
    }
    Ok((kept, others))
}

/// Finds the lists of rows.
fn assign(snapshot: &Snapshot, centres: &Centres, rows: &mut [&mut Row]) -> Result<(), StoreError> {
    let mut asked = TableRows::new(centres.centroids.blocks(), rows.len());
    let (mut rounded, mut factors) = (Vec::new(), Vec::new());
    for row in &*rows {
        let (run, lower) = (snapshot.row(row.place)?, snapshot.lower(row.place)?);
        rounded.clear();
        eights(run.upper, lower, &mut rounded);
        factors.clear();
        factors.extend(run.inv_norms.iter().map(|inv| index::upper_factor(index::inv_norm(inv))));
        asked.push(&rounded, &factors);
    }
    let mut lists = Vec::with_capacity(rows.len());
    centres.centroids.assign(&asked, &mut lists);
    rows.iter_mut().zip(lists).for_each(|(row, list)| row.list = list);
    Ok(())
}

impl RowSource for LiveRows<'_> {
    fn rows(&self) -> u32 {
        self.rows.len() as u32
    }

    fn upper(&self, row: u32) -> Result<&[u8], StoreError> {
        Ok(self.snapshot.row(self.place(row))?.upper)
    }

    fn lower(&self, row: u32) -> Result<&[i8], StoreError> {
        self.snapshot.lower(self.place(row))
    }

    fn inv_norms(&self, row: u32) -> Result<&[[u8; 4]], StoreError> {
        Ok(self.snapshot.row(self.place(row))?.inv_norms)
    }

    fn order(&self, row: u32) -> Result<u64, StoreError> {
        Ok(self.rows[row as usize].order)
    }

    fn hash(&self, row: u32) -> Result<Hash, StoreError> {
        self.snapshot.hash(self.place(row))
    }

    fn path(&self, row: u32) -> Result<&str, StoreError> {
        self.snapshot.path(self.place(row))
    }

    fn path_hash(&self, row: u32) -> Result<u64, StoreError> {
        Ok(path_hash(&self.snapshot.uuid, self.path(row)?))
    }

    fn terms<'b>(&'b self, row: u32, terms: &mut Terms<'b>, out: &mut Vec<u32>) -> Result<(), StoreError> {
        let place = self.place(row);
        let Some(segment) = self.snapshot.segment(place.part) else {
            let tags = self.snapshot.tail_tags(place).into_iter().flat_map(|tags| tags.terms());
            out.extend(tags.map(|term| terms.number(term.as_bytes())));
            return Ok(());
        };
        segment.each_term(place.position, |its| {
            let number =
                terms.number_of((place.part, its, segment.terms()), || segment.term_name(its as usize))?;
            out.push(number);
            Ok(())
        })
    }

    fn lists(&self) -> Option<(u64, &[u32])> {
        self.centres.map(|centres| (centres.entry.id, &*self.starts))
    }

    fn bits(&self, groups: Range<u32>) -> Result<Vec<Group>, StoreError> {
        let Some(centres) = self.centres else { return Ok(Vec::new()) };
        let dims = self.snapshot.layout.dims();
        let group = |encoder: &mut Encoder<'_>, group: u32| {
            let (mut codes, mut factors) = (vec![0; bits::group_bytes(dims)], [0; GROUP_FACTORS]);
            let rows = self.rows.get(group as usize * GROUP..).unwrap_or_default().iter().take(GROUP);
            for (lane, row) in rows.enumerate() {
                let own = self.encode(encoder, *row, &mut codes, lane)?;
                factors[lane * 4..][..4].copy_from_slice(&own);
            }
            Ok((codes, factors))
        };
        let encoder = || Encoder::new(&centres.centroids);
        groups.into_par_iter().with_min_len(64).map_init(encoder, group).collect()
    }
}

/// Parts that should be merged now: those without lists around the newest centres, if there are centres; else
/// [`FAN_IN`] segments of one size class, or one that is mostly dead weight; none when nothing is due.
pub(crate) fn due(snapshot: &Snapshot) -> Vec<u32> {
    let newest = snapshot.centres.last().map(|centres| centres.entry.id);
    let outdated = |sealed: &Sealed| newest.is_some() && sealed.segment.centres() != newest;
    let outdated: Vec<u32> =
        (0u32..).zip(&snapshot.sealed).filter(|(_, sealed)| outdated(sealed)).map(|(part, _)| part).collect();
    if !outdated.is_empty() {
        return outdated;
    }
    let sizes = (0u32..).zip(snapshot.sealed.iter().map(|s| (u64::from(s.segment.rows()), s.dead.len())));
    let class = |live: u64| (live / u64::from(SMALLEST)).max(1).ilog(FAN_IN as u64);
    let mut classes: Vec<Vec<u32>> = Vec::new();
    for (part, (rows, dead)) in sizes {
        if dead * DEAD_SHARE > rows {
            return vec![part];
        }
        let class = class(rows - dead) as usize;
        classes.resize_with(classes.len().max(class + 1), Vec::new);
        classes[class].push(part);
    }
    classes.into_iter().find(|parts| parts.len() >= FAN_IN).unwrap_or_default()
}
