//! Searching a snapshot: parts without lists exhaustively, then lists around each set of centres.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use roaring::RoaringBitmap;

use super::error::StoreError;
use super::snapshot::Snapshot;
use crate::index::{ListQuery, ListedRows, Place, QueryCode, Scan, Top, probe};
use crate::vector::RowCode;

/// Lists that are searched best first; those after them are searched as they lie in memory.
const BEST_FIRST: usize = 16;

/// See `Looked::share_of_nearest`.
const NEAREST: usize = 4;
const HELD_BACK: f64 = 2.0;

/// A gap that is wider by less is not worth another band of lists.
const WIDER: f32 = 0.004;

/// Which rows count, and how long to look for them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look<'a> {
    /// Of each part the only rows that count; all when there are none.
    pub(crate) only: Option<&'a [RoaringBitmap]>,
    /// What share of all rows those are.
    pub(crate) share: f64,
    /// Scores below it do not count.
    pub(crate) min_score: f32,
    /// No further list is begun after this moment.
    pub(crate) until: Option<Instant>,
    /// Set when the search is not wanted any more: what it has found is then worth nothing.
    pub(crate) stop: Option<&'a AtomicBool>,
}

/// What a search met.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Looked {
    /// Rows whose codes were looked at.
    pub(crate) scanned: u64,
    /// Lists that were searched.
    pub(crate) lists: u64,
    /// Rows in the nearest few of those lists and in the nearest `BEST_FIRST`, and how many of them count.
    nearest: [(u64, u64); 2],
    /// Rows found at or above the minimum; those that were seen not to be among the best are not counted when
    /// there is no minimum.
    pub(crate) counted: u64,
    /// Whether time ran out.
    pub(crate) cut: bool,
}

impl Looked {
    /// What share of the rows in the nearest lists counts, when `share` of all do: held back as if a few more rows of the
    /// usual kind had been met, for the lists may be short. The smaller one of the nearest few and of more: a query beside
    /// the border of what counts has all of its best rows on the other side.
    fn share_of_nearest(&self, share: f64) -> f64 {
        let shares = self
            .nearest
            .map(|(rows, counting)| (counting as f64 + HELD_BACK) / (rows as f64 + HELD_BACK / share));
        shares[0].min(shares[1])
    }
}

impl Snapshot {
    /// Whether any part has lists: otherwise every search is exhaustive.
    pub(crate) fn has_lists(&self) -> bool {
        self.sealed.iter().any(|sealed| sealed.segment.centres().is_some())
    }

    /// Looks for the best rows: exhaustively where there are no lists, and in lists whose cosine with the query is at
    /// most a gap below that of the best list, and in more of them until there are `enough` rows.
    ///
    /// `gap` tells the gap for a share of rows that count: the smaller, the deeper the best of them lie among all. Where a
    /// smaller share of the rows counts near the query than of all, the lists that were searched tell that share.
    pub(crate) fn look(
        &self,
        (row, weights): (&RowCode, &[f32]),
        gap: &dyn Fn(f64) -> f32,
        enough: usize,
        look: &Look<'_>,
        top: &mut Top,
    ) -> Result<Looked, StoreError> {
        let query = QueryCode::new(&self.layout, row, weights);
        let mut looked = Looked::default();
        for part in self.parts().filter(|&part| self.segment(part).is_none_or(|s| s.centres().is_none())) {
            let (scored, counted) = self.scan(&query, &self.scan_of(part, look), top)?;
            looked.scanned += scored;
            looked.counted += counted;
        }
        // What lists are searched with then depends on which rows these parts hold, not on how many parts they are: an
        // answer is the same after a reopening, which finds one tail where there were several.
        top.cut();
        for centres in &self.centres {
            let id = centres.entry.id;
            if !self.sealed.iter().any(|sealed| sealed.segment.centres() == Some(id)) {
                continue;
            }
            let mut lists = ListQuery::new(&centres.centroids, &self.layout, row, weights);
            let (mut reached, mut near) = (gap(look.share), None);
            while let Some(band) = self.probe_band(id, &query, &mut lists, reached, look, top)? {
                looked.scanned += band.scanned;
                looked.lists += band.lists;
                looked.counted += band.counted;
                looked.cut |= band.cut;
                if looked.cut {
                    break;
                }
                let near = *near.get_or_insert_with(|| band.share_of_nearest(look.share));
                let wider = if look.only.is_some() && near < look.share { gap(near) } else { reached };
                if wider > reached + WIDER {
                    reached = wider;
                } else if top.held() >= enough {
                    break;
                } else {
                    reached = reached * 1.5 + 0.05;
                }
            }
        }
        Ok(looked)
    }

    /// Rows of the lists that a search for (row, weights) looks at with this gap, and of parts without lists.
    pub(crate) fn rows_within(&self, (row, weights): (&RowCode, &[f32]), gap: f32) -> u64 {
        let mut rows = 0;
        for centres in &self.centres {
            let listed =
                |part: &u32| self.segment(*part).is_some_and(|s| s.centres() == Some(centres.entry.id));
            let parts: Vec<u32> = self.parts().filter(listed).collect();
            if parts.is_empty() {
                continue;
            }
            let mut lists = ListQuery::new(&centres.centroids, &self.layout, row, weights);
            for list in lists.next(gap, 1).unwrap_or_default() {
                for segment in parts.iter().filter_map(|&part| self.segment(part)) {
                    // A damaged table is told by the search that meets it.
                    rows += segment.list(list).map_or(0, |range| u64::from(range.end - range.start));
                }
            }
        }
        let unlisted = self.parts().filter(|&part| self.segment(part).is_none_or(|s| s.centres().is_none()));
        rows + unlisted.map(|part| u64::from(self.part(part).0)).sum::<u64>()
    }

    /// Searches the next lists around some centres, down to `gap` below the best; none when all were searched.
    pub(crate) fn probe_band(
        &self,
        centres: u64,
        query: &QueryCode,
        lists: &mut ListQuery,
        gap: f32,
        look: &Look<'_>,
        top: &mut Top,
    ) -> Result<Option<Looked>, StoreError> {
        // Time may run out: then those that matter most come first.
        let first = if look.until.is_some() { usize::MAX } else { BEST_FIRST };
        let Some(band) = lists.next(gap, first) else { return Ok(None) };
        let mut looked = Looked::default();
        let parts: Vec<u32> = self
            .parts()
            .filter(|&part| self.segment(part).is_some_and(|s| s.centres() == Some(centres)))
            .collect();
        for (at, &list) in band.iter().enumerate() {
            if look.until.is_some_and(|until| Instant::now() >= until)
                || look.stop.is_some_and(|stop| stop.load(Ordering::Relaxed))
            {
                looked.cut = true;
                break;
            }
            if let Some(&next) = band.get(at + 1) {
                parts
                    .iter()
                    .filter_map(|&part| self.segment(part))
                    .for_each(|segment| segment.soon_list(next));
            }
            for &part in &parts {
                let Some(segment) = self.segment(part) else { continue };
                let met = probe(segment, list, query, lists, &self.scan_of(part, look), top)?;
                looked.scanned += met.scanned;
                looked.counted += met.counted;
                let nearest = looked.nearest.iter_mut().zip([NEAREST, BEST_FIRST]);
                for ((rows, counting), _) in nearest.filter(|(_, lists)| at < *lists) {
                    *rows += met.listed;
                    *counting += met.matching;
                }
            }
            looked.lists += 1;
        }
        Ok(Some(looked))
    }

    fn scan_of<'a>(&'a self, part: u32, look: &Look<'a>) -> Scan<'a> {
        let (rows, dead) = self.part(part);
        let only = look.only.and_then(|parts| parts.get(part as usize));
        Scan { part, rows: 0..rows, only, dead, min_score: look.min_score, bar: None, stop: look.stop }
    }

    /// The list that a row of a segment with lists lies in.
    pub(crate) fn list_of(&self, place: Place) -> Result<u32, StoreError> {
        let Some(segment) = self.segment(place.part) else { return Ok(0) };
        let (mut low, mut high) = (0, segment.lists() as u32);
        while low < high {
            let middle = low + (high - low) / 2;
            if segment.list(middle)?.end <= place.position { low = middle + 1 } else { high = middle }
        }
        Ok(low)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::super::disk::RealDisk;
    use super::super::draft::{Draft, OnExisting, Op};
    use super::super::record::{Record, TailRow};
    use super::super::{About, Durability, Opening, Options, Store, create};
    use super::*;
    use crate::index::Ranked;
    use crate::tags::Schema;
    use crate::vector::Layout;

    const DIMS: usize = 32;

    /// Rows around some dozen directions.
    fn code(number: u32) -> RowCode {
        let mut state = u64::from(number % 24 + 1);
        let mut draw = |seed: u64| {
            state = (state ^ seed)
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        };
        let around: Vec<f32> = (0..DIMS).map(|_| draw(0)).collect();
        let values: Vec<f32> = around.iter().map(|v| v + 0.8 * draw(u64::from(number) << 20)).collect();
        RowCode::encode(&Layout::new(&[DIMS]).unwrap(), &values).unwrap()
    }

    /// A snapshot of rows in lists.
    fn listed(dir: &Path, rows: u32) -> Arc<Snapshot> {
        let about = About {
            name: "i".to_owned(),
            model: "m".to_owned(),
            model_version: 1,
            description: String::new(),
            level: 100_000,
            capacity: 100_000,
            registered_ms: 0,
        };
        assert!(create(&RealDisk, dir, about, Schema::default(), Layout::new(&[DIMS]).unwrap()).is_ok());
        let options = Options {
            durability: Durability::Flush,
            tail_rows: rows,
            background: false,
            train_rows: 1,
            preload: false,
            weights: Arc::from(vec![vec![1.0]]),
        };
        let opening = Opening::begin(Arc::new(RealDisk), dir, true).ok().unwrap();
        let store = Store::open(opening, options).ok().unwrap();
        let put = |number: u32| {
            let (path, code) = (format!("{number}").into(), code(number));
            Op::Put { path, tags: Arc::default(), code, hash: [0; 32], on_existing: OnExisting::Replace }
        };
        assert!(store.commit((0..rows).map(put).collect()).iter().all(Result::is_ok));
        store.optimize(None).unwrap();
        store.snapshot()
    }

    /// The snapshot with more rows, in one tail or in two.
    fn with_tails(listed: &Snapshot, rows: std::ops::Range<u32>, cut: Option<u32>) -> Snapshot {
        let mut snapshot = listed.clone();
        for number in rows {
            if cut == Some(number) {
                snapshot.freeze(1);
            }
            let mut draft = Draft::new(&snapshot, u64::from(number), u64::MAX, 1);
            let (path, code) = (format!("{number}").into(), code(number));
            let order = u64::from(number);
            draft
                .replay(Record::Put(TailRow { path, order, tags: Arc::default(), code, hash: [0; 32] }))
                .unwrap();
            snapshot = draft.finish().0;
        }
        snapshot
    }

    /// Found by the corruption tests: with two tails for one the bar that lists were met with was another, and some of their
    /// rows were dismissed that were not before a reopening.
    #[test]
    fn it_does_not_matter_how_many_tails_there_are() {
        let dir = tempfile::tempdir().unwrap();
        let listed = listed(dir.path(), 3000);
        assert!(listed.has_lists());
        let rows = 3000..3400;
        let (one, two) = (with_tails(&listed, rows.clone(), None), with_tails(&listed, rows, Some(3200)));
        assert_eq!((one.frozen.len(), two.frozen.len()), (0, 1));
        let answer = |snapshot: &Snapshot, number: u32| {
            let look = Look { only: None, share: 1.0, min_score: f32::NEG_INFINITY, until: None, stop: None };
            let mut top = Top::new(10);
            let looked = snapshot.look((&code(number), &[1.0]), &|_| 0.6, 10, &look, &mut top).unwrap();
            let hit =
                |ranked: Ranked| (ranked.score.to_bits(), snapshot.path(ranked.place).unwrap().to_owned());
            (looked, top.into_sorted().into_iter().map(hit).collect::<Vec<_>>())
        };
        let mut from_lists = 0;
        for number in 5000..5400 {
            let found = answer(&one, number);
            assert_eq!(found, answer(&two, number), "query {number}");
            from_lists += u32::from(found.1.iter().any(|(_, path)| path.parse::<u32>().unwrap() < 3000));
        }
        assert!(from_lists > 300, "{from_lists}");
    }

    #[test]
    fn the_share_near_a_query_is_the_smaller_one_held_back() {
        let share = |nearest| Looked { nearest, ..Looked::default() }.share_of_nearest(0.25);
        // Where nothing was met it is the share of all.
        assert_eq!(share([(0, 0), (0, 0)]), 0.25);
        let held = |rows: f64, counting: f64| (counting + HELD_BACK) / (rows + 4.0 * HELD_BACK);
        assert_eq!(share([(100, 0), (1000, 900)]), held(100.0, 0.0));
        assert_eq!(share([(100, 90), (1000, 50)]), held(1000.0, 50.0));
        assert!(share([(100_000, 0), (400_000, 0)]) < 0.001);
    }
}
