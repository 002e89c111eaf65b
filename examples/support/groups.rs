//! Groups of copies: complete link, so that in a group each is a copy of each, and no chain of half-likenesses joins what has
//! nothing in common.

use std::collections::HashMap;

/// Two images, by number, and how sure it is that one is a copy of the other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Pair {
    pub(crate) a: usize,
    pub(crate) b: usize,
    pub(crate) copy: f32,
}

/// A group of at least two images, in ascending order, and its least sure pair.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Group {
    pub(crate) images: Vec<usize>,
    pub(crate) weakest: f32,
}

/// Joins the surest pairs first, and two groups only if all pairs between them are there and they are together no larger than
/// `largest`. What order the pairs come in does not matter; of a pair that comes twice the surer counts.
pub(crate) fn complete_link(images: usize, pairs: &[Pair], largest: usize) -> Vec<Group> {
    let mut known: HashMap<(usize, usize), f32> = HashMap::new();
    for pair in pairs.iter().filter(|pair| pair.a != pair.b && pair.a.max(pair.b) < images) {
        let copy = known.entry((pair.a.min(pair.b), pair.a.max(pair.b))).or_insert(pair.copy);
        *copy = copy.max(pair.copy);
    }
    let mut sorted: Vec<((usize, usize), f32)> = known.iter().map(|(&pair, &copy)| (pair, copy)).collect();
    sorted.sort_by(|(pair, copy), (other, other_copy)| other_copy.total_cmp(copy).then(pair.cmp(other)));

    let mut group_of: Vec<usize> = (0..images).collect();
    let mut members: Vec<Vec<usize>> = (0..images).map(|image| vec![image]).collect();
    let between = |a: usize, b: usize| known.get(&(a.min(b), a.max(b))).copied();
    for ((a, b), _) in sorted {
        let (into, from) = (group_of[a].min(group_of[b]), group_of[a].max(group_of[b]));
        let all = || members[into].iter().all(|&x| members[from].iter().all(|&y| between(x, y).is_some()));
        if into != from && members[into].len() + members[from].len() <= largest && all() {
            let moved = std::mem::take(&mut members[from]);
            moved.iter().for_each(|&image| group_of[image] = into);
            members[into].extend(moved);
        }
    }
    let mut groups = Vec::new();
    for mut images in members.into_iter().filter(|images| images.len() > 1) {
        images.sort_unstable();
        let pairs = (0..images.len()).flat_map(|i| (0..i).map(move |j| (i, j)));
        let weakest = pairs.filter_map(|(i, j)| between(images[i], images[j])).fold(1.0, f32::min);
        groups.push(Group { images, weakest });
    }
    groups.sort_by_key(|group| group.images[0]);
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pair(a: usize, b: usize, copy: f32) -> Pair {
        Pair { a, b, copy }
    }

    #[test]
    fn a_chain_is_not_one_group() {
        // 0-1-2 with nothing between 0 and 2: the surer pair stays.
        let groups = complete_link(3, &[pair(0, 1, 0.8), pair(1, 2, 0.9)], 10);
        assert_eq!(groups, [Group { images: vec![1, 2], weakest: 0.9 }]);
        let all = [pair(0, 1, 0.8), pair(1, 2, 0.9), pair(2, 0, 0.7)];
        assert_eq!(complete_link(3, &all, 10), [Group { images: vec![0, 1, 2], weakest: 0.7 }]);
    }

    proptest! {
        #[test]
        fn groups_are_cliques_within_bounds_in_any_order(
            edges in proptest::collection::vec((0usize..12, 0usize..12, 0u8..4), 0..60),
            largest in 2usize..6,
            turn in 0usize..60,
        ) {
            let mut pairs: Vec<Pair> =
                edges.iter().map(|&(a, b, copy)| pair(a, b, 0.5 + f32::from(copy) / 10.0)).collect();
            let groups = complete_link(12, &pairs, largest);
            let mut seen = [false; 12];
            for group in &groups {
                prop_assert!((2..=largest).contains(&group.images.len()));
                for (i, &a) in group.images.iter().enumerate() {
                    prop_assert!(!std::mem::replace(&mut seen[a], true), "{a} is in two groups");
                    for &b in &group.images[..i] {
                        prop_assert!(pairs.iter().any(|p| (p.a, p.b) == (a, b) || (p.a, p.b) == (b, a)));
                    }
                }
            }
            if !pairs.is_empty() {
                let turn = turn % pairs.len();
                pairs.rotate_left(turn);
                pairs.iter_mut().for_each(|p| std::mem::swap(&mut p.a, &mut p.b));
                prop_assert_eq!(complete_link(12, &pairs, largest), groups);
            }
        }
    }
}
