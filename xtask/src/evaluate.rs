//! How good vectors are: the retrieval measures by which a projection is judged.

use std::collections::HashMap;

use ndarray::{Array2, ArrayView1, ArrayView2, Axis};

/// Means over queries.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Retrieval {
    /// Mean average precision over the full ranking.
    pub map: f64,
    /// Share of queries whose first answer is right.
    pub first: f64,
}

/// How well copies are found.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Copies {
    /// Share of copies whose original comes first.
    pub first: f64,
    /// Average precision of all pairs of all queries in one list by score ("micro-AP").
    pub uap: f64,
    /// Share of copies whose pair scores above every wrong pair.
    pub clean: f64,
}

/// One query of a copy search.
#[derive(Debug, Clone, Copy)]
pub struct CopyQuery {
    /// Row of the query's vector.
    pub row: usize,
    /// Place of its original among the gallery's rows, if that is there.
    pub right: Option<usize>,
}

/// Pairs of each query that enter the list of all pairs.
const KEPT: usize = 50;

/// A picture that is looked for, and looked for others with.
#[derive(Debug, Clone, Copy)]
pub struct Labelled<'a> {
    /// Row of its vector.
    pub row: usize,
    /// Those of the same label are right answers.
    pub label: &'a str,
    /// Pictures are only compared within their source.
    pub source: &'a str,
    /// Whether others can find it.
    pub findable: bool,
}

/// Every picture is a query among the others that can be found. `None` if none has a right answer.
pub fn retrieval(vectors: ArrayView2<'_, f32>, pictures: &[Labelled<'_>]) -> Option<Retrieval> {
    let rows: Vec<usize> = pictures.iter().map(|picture| picture.row).collect();
    let picked = vectors.select(Axis(0), &rows);
    let scores = picked.dot(&picked.t());
    let mut sum = Retrieval::default();
    let mut queries = 0.0;
    for (query, row) in scores.axis_iter(Axis(0)).enumerate() {
        let mut others: Vec<(f32, bool)> = (pictures.iter().enumerate())
            .filter(|(at, other)| *at != query && other.findable)
            .map(|(at, other)| (row[at], other.label == pictures[query].label))
            .collect();
        // Of equal scores the wrong one comes first.
        others.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let (mut right, mut precision) = (0.0, 0.0);
        for (place, _) in others.iter().enumerate().filter(|(_, other)| other.1) {
            right += 1.0;
            precision += right / (place + 1) as f64;
        }
        if right > 0.0 {
            sum.map += precision / right;
            sum.first += f64::from(u8::from(others[0].1));
            queries += 1.0;
        }
    }
    (queries > 0.0).then(|| Retrieval { map: sum.map / queries, first: sum.first / queries })
}

/// The mean over sources of [`retrieval`] within each.
pub fn by_source(vectors: ArrayView2<'_, f32>, pictures: &[Labelled<'_>]) -> Option<Retrieval> {
    let mut sources: Vec<&str> = pictures.iter().map(|picture| picture.source).collect();
    sources.sort_unstable();
    sources.dedup();
    let of = |source: &&str| {
        let own: Vec<Labelled<'_>> =
            pictures.iter().filter(|picture| picture.source == *source).copied().collect();
        retrieval(vectors, &own)
    };
    let found: Vec<Retrieval> = sources.iter().filter_map(of).collect();
    let count = found.len() as f64;
    let mean = |of: fn(&Retrieval) -> f64| found.iter().map(of).sum::<f64>() / count;
    (!found.is_empty()).then(|| Retrieval { map: mean(|r| r.map), first: mean(|r| r.first) })
}

/// The pairs of copy searches, perhaps of several: each may be made with vectors of its own.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Scores, and whether the pair is right.
    pairs: Vec<(f32, bool)>,
    /// Queries that have an answer.
    positives: usize,
    /// Those of them whose answer came first.
    first: usize,
}

impl Tally {
    /// Searches for originals among the rows of `gallery`.
    pub fn search(&mut self, vectors: ArrayView2<'_, f32>, gallery: &[usize], queries: &[CopyQuery]) {
        let rows: Vec<usize> = queries.iter().map(|query| query.row).collect();
        let asked = vectors.select(Axis(0), &rows);
        let kept = vectors.select(Axis(0), gallery);
        let scores = asked.dot(&kept.t());
        for (query, row) in queries.iter().zip(scores.axis_iter(Axis(0))) {
            self.pairs.extend(best_pairs(row, query.right));
            if let Some(right) = query.right {
                self.positives += 1;
                let better = row.iter().enumerate().any(|(at, score)| at != right && *score >= row[right]);
                self.first += usize::from(!better);
            }
        }
    }

    /// What has been found so far. `None` if no query has its original in its gallery.
    pub fn found(&self) -> Option<Copies> {
        let mut pairs = self.pairs.clone();
        pairs.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let (mut right, mut uap, mut clean) = (0.0, 0.0, None);
        for (place, pair) in pairs.iter().enumerate() {
            if pair.1 {
                right += 1.0;
                uap += right / (place + 1) as f64;
            } else {
                clean = clean.or(Some(right));
            }
        }
        let share = |value: f64| value / self.positives as f64;
        (self.positives > 0).then(|| Copies {
            first: share(self.first as f64),
            uap: share(uap),
            clean: share(clean.unwrap_or(right)),
        })
    }
}

/// The best pairs of a query, and its right one wherever it comes.
fn best_pairs(row: ArrayView1<'_, f32>, right: Option<usize>) -> Vec<(f32, bool)> {
    let mut all: Vec<(f32, bool)> =
        row.iter().enumerate().map(|(at, score)| (*score, right == Some(at))).collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let tail = all.split_off(all.len().min(KEPT));
    all.extend(tail.into_iter().find(|pair| pair.1));
    all
}

/// Whether each element of `keys` comes first, as numbers from 0 in the order of their first appearance.
pub fn numbered<'a>(keys: impl Iterator<Item = &'a str>) -> Vec<usize> {
    let mut seen = HashMap::new();
    keys.map(|key| {
        let next = seen.len();
        *seen.entry(key).or_insert(next)
    })
    .collect()
}

/// Both blocks of unit norm side by side, the copy block weighed: dot products are `(S.S' + w C.C') / (1 + w)`.
pub fn weighted(semantic: &Array2<f32>, copy: &Array2<f32>, w: f32) -> Array2<f32> {
    let mut out = Array2::zeros((semantic.nrows(), semantic.ncols() + copy.ncols()));
    let at = semantic.ncols();
    out.slice_mut(ndarray::s![.., ..at]).assign(&(semantic / (1.0 + w).sqrt()));
    out.slice_mut(ndarray::s![.., at..]).assign(&(copy * (w / (1.0 + w)).sqrt()));
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use ndarray::array;

    use super::*;

    fn labelled<'a>(labels: &[&'a str]) -> Vec<Labelled<'a>> {
        let one = |(row, label): (usize, &&'a str)| Labelled { row, label, source: "s", findable: true };
        labels.iter().enumerate().map(one).collect()
    }

    #[test]
    fn measures_of_a_small_set() {
        // On a circle: 0 and 1 are near, 2 lies between them and 3.
        let vectors = array![[1.0_f32, 0.0], [0.96, 0.28], [0.6, 0.8], [0.0, 1.0]];
        let found = retrieval(vectors.view(), &labelled(&["a", "a", "b", "b"])).unwrap();
        assert_eq!(found, Retrieval { map: 0.875, first: 0.75 });
        // 0 and 2 belong together, with 1 between them; 1 finds 3 last, and 3 finds 1 after 2.
        let found = retrieval(vectors.view(), &labelled(&["a", "b", "a", "b"])).unwrap();
        let want = (1.0 / 2.0 + 1.0 / 3.0 + 1.0 / 3.0 + 1.0 / 2.0) / 4.0;
        assert!((found.map - want).abs() < 1e-12 && found.first == 0.0, "{found:?}");
        assert_eq!(retrieval(vectors.view(), &labelled(&["a", "b"])), None);
        // Who cannot be found is no answer, but asks.
        let mut some = labelled(&["a", "b", "a", "b"]);
        some[1].findable = false;
        let found = retrieval(vectors.view(), &some).unwrap();
        assert_eq!(found, Retrieval { map: (1.0 + 1.0 / 3.0 + 0.5) / 3.0, first: 1.0 / 3.0 });
    }

    #[test]
    fn sources_count_alike() {
        let vectors = array![[1.0_f32, 0.0], [0.96, 0.28], [0.6, 0.8], [0.0, 1.0]];
        let mut all = labelled(&["a", "a", "b", "b"]);
        all[2].source = "t";
        all[3].source = "t";
        assert_eq!(by_source(vectors.view(), &all), Some(Retrieval { map: 1.0, first: 1.0 }));
    }

    fn copies(vectors: ArrayView2<'_, f32>, gallery: &[usize], queries: &[CopyQuery]) -> Option<Copies> {
        let mut tally = Tally::default();
        tally.search(vectors, gallery, queries);
        tally.found()
    }

    #[test]
    fn ties_count_as_wrong() {
        let same = Array2::<f32>::ones((4, 2));
        assert_eq!(retrieval(same.view(), &labelled(&["a", "a", "b", "b"])).unwrap().first, 0.0);
        let query = CopyQuery { row: 0, right: Some(0) };
        let found = copies(same.view(), &[1, 2], &[query]).unwrap();
        assert_eq!((found.first, found.clean, found.uap), (0.0, 0.0, 0.5));
    }

    #[test]
    fn copies_among_strangers() {
        let vectors = array![[1.0_f32, 0.0], [0.0, 1.0], [0.9, 0.1], [0.2, 0.7], [0.1, 0.95]];
        let queries = [
            CopyQuery { row: 2, right: Some(0) },
            CopyQuery { row: 3, right: Some(1) },
            CopyQuery { row: 4, right: None },
        ];
        let found = copies(vectors.view(), &[0, 1], &queries).unwrap();
        // In order: the stranger .95, then the right pairs .9 and .7.
        assert_eq!((found.first, found.clean), (1.0, 0.0));
        assert!((found.uap - (1.0 / 2.0 + 2.0 / 3.0) / 2.0).abs() < 1e-12);
        assert_eq!(copies(vectors.view(), &[0], &queries[2..]), None);
        // Two searches are one list: the stranger of the second stands above the pair of the first.
        let mut both = Tally::default();
        both.search(vectors.view(), &[0, 1], &queries[..1]);
        assert_eq!(both.found(), Some(Copies { first: 1.0, uap: 1.0, clean: 1.0 }));
        both.search(vectors.view(), &[0, 1], &queries[2..]);
        assert_eq!(both.found(), Some(Copies { first: 1.0, uap: 0.5, clean: 0.0 }));
    }

    #[test]
    fn weights_make_the_score_of_a_mode() {
        let both = weighted(&array![[1.0, 0.0], [0.6, 0.8]], &array![[1.0], [1.0]], 4.0);
        assert!((both.row(0).dot(&both.row(1)) - (0.6 + 4.0) / 5.0).abs() < 1e-6);
        assert_eq!(numbered(["a", "b", "a"].into_iter()), [0, 1, 0]);
    }
}
