//! What a query asks of tags: AND over keys, OR over the values of a key.

use roaring::RoaringBitmap;

use super::set::{TagSet, Term};

/// A checked filter; it holds at least one term.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filter {
    wanted: TagSet,
}

impl Filter {
    /// The filter for `wanted`, or none when it asks for nothing.
    pub(crate) fn new(wanted: TagSet) -> Option<Self> {
        (!wanted.terms().is_empty()).then_some(Self { wanted })
    }

    /// Positions that match, given a lookup from a term to the positions that carry it.
    pub(crate) fn matches<E>(
        &self,
        mut postings: impl FnMut(&Term) -> Result<RoaringBitmap, E>,
    ) -> Result<RoaringBitmap, E> {
        let mut all: Option<RoaringBitmap> = None;
        for values in self.wanted.by_key() {
            let mut any = RoaringBitmap::new();
            for term in values {
                any |= postings(term)?;
            }
            let both = match all {
                Some(previous) => previous & any,
                None => any,
            };
            if both.is_empty() {
                return Ok(both);
            }
            all = Some(both);
        }
        Ok(all.unwrap_or_default())
    }

    /// Whether one image's tags match.
    pub(crate) fn accepts(&self, tags: &TagSet) -> bool {
        self.wanted.by_key().all(|values| values.iter().any(|v| tags.terms().binary_search(v).is_ok()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Schema, Tags};
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The bitmap way and the one-by-one way agree.
        #[test]
        fn bitmaps_agree_with_sets(
            images in proptest::collection::vec(proptest::collection::vec((0u8..3, 0u8..4), 0..5), 0..60),
            asked in proptest::collection::vec((0u8..3, 0u8..5), 1..6),
        ) {
            let schema = Schema::default().with_keys(&["k0", "k1", "k2"]).unwrap();
            let set = |pairs: &[(u8, u8)]| {
                let tags: Tags = pairs.iter().map(|(k, v)| (format!("k{k}"), v.to_string())).collect();
                TagSet::check(&tags, &schema).unwrap()
            };
            let sets: Vec<TagSet> = images.iter().map(|pairs| set(pairs)).collect();
            let filter = Filter::new(set(&asked)).unwrap();
            let found = filter.matches(|term| Ok::<_, ()>(
                (0u32..).zip(&sets).filter(|(_, s)| s.terms().contains(term)).map(|(i, _)| i).collect(),
            )).unwrap();
            let plain: RoaringBitmap =
                (0u32..).zip(&sets).filter(|(_, s)| filter.accepts(s)).map(|(i, _)| i).collect();
            prop_assert_eq!(found, plain);
        }
    }
}
