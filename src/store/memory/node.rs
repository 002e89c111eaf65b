//! Files and directories of the memory disk: what programs see of each, and what a power cut may leave of it.

use std::collections::BTreeMap;
use std::hash::Hasher;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use siphasher::sip128::{Hasher128, SipHasher13};

use super::Chance;

/// What a disk writes as a whole, in bytes: a sector.
pub(super) const SECTOR: usize = 512;

/// Number of a file or directory, whatever its names.
pub(super) type Number = usize;

/// Bytes of a file with their hash, which is made once however many images share them.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) bytes: Vec<u8>,
    hash: OnceLock<u128>,
}

impl Content {
    pub(super) fn of(bytes: Vec<u8>) -> Arc<Self> {
        Arc::new(Self { bytes, hash: OnceLock::new() })
    }

    pub(super) fn hash(&self) -> u128 {
        *self.hash.get_or_init(|| {
            let mut hasher = SipHasher13::new();
            hasher.write(&self.bytes);
            hasher.finish128().as_u128()
        })
    }
}

/// A file. `now` is what reads give, `safe` what the last sync made durable.
#[derive(Debug, Clone, Default)]
pub(super) struct FileNode {
    pub(super) now: Arc<Content>,
    safe: Arc<Content>,
    /// Ranges written or cut since then.
    dirty: Vec<Range<usize>>,
    /// Ranges whose sync failed: the system takes them for written and never writes them again.
    lost: Vec<Range<usize>>,
    /// Lengths the file had since the last sync.
    lens: Vec<usize>,
}

impl FileNode {
    /// A file that is on disk as a whole.
    pub(super) fn durable(content: Arc<Content>) -> Self {
        Self { now: content.clone(), safe: content, ..Self::default() }
    }

    /// Whether a cut of the power may change it.
    pub(super) fn pending(&self) -> bool {
        !(self.dirty.is_empty() && self.lost.is_empty() && self.lens.is_empty())
    }

    pub(super) fn write(&mut self, at: usize, bytes: &[u8]) {
        let mut now = self.now.bytes.clone();
        self.lens.push(now.len());
        let end = at + bytes.len();
        if now.len() < end {
            now.resize(end, 0);
        }
        now[at..end].copy_from_slice(bytes);
        self.now = Content::of(now);
        // What is written anew will be written by the next sync.
        self.lost = without(&self.lost, &(at..end));
        self.dirty.push(at..end);
    }

    pub(super) fn cut(&mut self, len: usize) {
        let mut now = self.now.bytes.clone();
        self.lens.push(now.len());
        self.dirty.push(len.min(now.len())..len.max(now.len()));
        self.lost = without(&self.lost, &(len..usize::MAX));
        now.resize(len, 0);
        self.now = Content::of(now);
    }

    pub(super) fn sync(&mut self) {
        self.safe = if self.lost.is_empty() {
            self.now.clone()
        } else {
            let mut safe = self.now.bytes.clone();
            for range in &self.lost {
                for at in range.start..range.end.min(safe.len()) {
                    safe[at] = self.safe.bytes.get(at).copied().unwrap_or(0);
                }
            }
            Content::of(safe)
        };
        self.dirty.clear();
        self.lens.clear();
    }

    /// A sync that failed: nothing of what is pending will be written later, though some of it may have been.
    pub(super) fn sync_failed(&mut self) {
        self.lost.append(&mut self.dirty);
        self.lens.clear();
        self.lens.push(self.safe.bytes.len());
    }

    /// What the last sync left.
    pub(super) fn safe(&self) -> Arc<Content> {
        self.safe.clone()
    }

    /// What is seen now, but that of its last write only `keep` bytes were done.
    pub(super) fn torn(&self, last: &Range<usize>, keep: usize) -> Arc<Content> {
        let mut bytes = self.now.bytes.clone();
        let from = last.start + keep.min(last.len());
        if last.end == bytes.len() {
            bytes.truncate(from.max(self.safe.bytes.len().min(last.end)));
        }
        for at in from..last.end.min(bytes.len()) {
            bytes[at] = self.safe.bytes.get(at).copied().unwrap_or(0);
        }
        Content::of(bytes)
    }

    /// As long as it is now, but zeros where nothing was synced.
    pub(super) fn zeros(&self) -> Arc<Content> {
        let mut bytes = self.safe.bytes.clone();
        bytes.resize(self.now.bytes.len(), 0);
        Content::of(bytes)
    }

    /// Some sectors new, some old, some zero, some junk; of any length that it had or was growing through.
    ///
    /// Bytes that a write left as they were do not change: what a program overwrites with the same value is never
    /// lost, nor is what shares a sector with new bytes ("powersafe overwrite").
    pub(super) fn sectors(&self, chance: &mut Chance) -> Arc<Content> {
        let (safe, now) = (&self.safe.bytes, &self.now.bytes);
        let mut lens = self.lens.clone();
        lens.extend([safe.len(), now.len(), now.len(), now.len()]);
        let longest = lens.iter().copied().max().unwrap_or(0);
        let shortest = lens.iter().copied().min().unwrap_or(0);
        lens.push(shortest + chance.below(longest - shortest + 1));
        lens.push((shortest + chance.below(longest - shortest + 1)).next_multiple_of(SECTOR).min(longest));
        let len = lens[chance.below(lens.len())];
        let mut bytes = safe.clone();
        bytes.resize(len, 0);
        for range in self.dirty.iter().chain(&self.lost) {
            let end = range.end.min(len);
            let mut at = range.start;
            while at < end {
                let next = end.min((at + 1).next_multiple_of(SECTOR));
                let fate = chance.below(8);
                for (at, byte) in bytes.iter_mut().enumerate().take(next).skip(at) {
                    let (old, new) = (safe.get(at).copied(), now.get(at).copied());
                    *byte = match fate {
                        _ if old.is_some() && old == new => continue,
                        0..4 => new.unwrap_or(0),
                        4..6 => old.unwrap_or(0),
                        6 => 0,
                        _ => chance.byte(),
                    };
                }
                at = next;
            }
        }
        Content::of(bytes)
    }
}

fn without(ranges: &[Range<usize>], taken: &Range<usize>) -> Vec<Range<usize>> {
    let pieces = |range: &Range<usize>| {
        [range.start..range.end.min(taken.start), range.start.max(taken.end)..range.end]
    };
    ranges.iter().flat_map(pieces).filter(|piece| !piece.is_empty()).collect()
}

/// A change to the names in a directory.
#[derive(Debug, Clone)]
pub(super) enum Naming {
    Link {
        name: Arc<str>,
        number: Number,
    },
    Unlink {
        name: Arc<str>,
    },
    /// One step: there is no moment with both names, or with neither.
    Rename {
        from: Arc<str>,
        to: Arc<str>,
        number: Number,
    },
}

pub(super) type Names = BTreeMap<Arc<str>, Number>;

impl Naming {
    fn apply(&self, names: &mut Names) {
        match self {
            Self::Link { name, number } => drop(names.insert(name.clone(), *number)),
            Self::Unlink { name } => drop(names.remove(name)),
            Self::Rename { from, to, number } => {
                names.remove(from);
                names.insert(to.clone(), *number);
            }
        }
    }
}

/// A directory. `now` is what programs see; `safe` is what its last sync made durable.
#[derive(Debug, Clone, Default)]
pub(super) struct DirNode {
    pub(super) now: Names,
    pub(super) safe: Names,
    pending: Vec<Naming>,
}

impl DirNode {
    /// A directory whose names are on disk.
    pub(super) fn durable(names: Names) -> Self {
        Self { now: names.clone(), safe: names, pending: Vec::new() }
    }

    pub(super) fn pending(&self) -> bool {
        !self.pending.is_empty()
    }

    pub(super) fn change(&mut self, change: Naming) {
        change.apply(&mut self.now);
        self.pending.push(change);
    }

    pub(super) fn sync(&mut self) {
        self.safe = self.now.clone();
        self.pending.clear();
    }

    /// A file system that journals names in order keeps a prefix of the changes.
    pub(super) fn prefix(&self, chance: &mut Chance) -> Names {
        let mut names = self.safe.clone();
        let kept = chance.below(self.pending.len() + 1);
        self.pending.iter().take(kept).for_each(|change| change.apply(&mut names));
        names
    }

    /// POSIX promises no order: any of the changes may be kept, and any lost.
    pub(super) fn some(&self, chance: &mut Chance) -> Names {
        let mut names = self.safe.clone();
        let of_ten = [2, 5, 8][chance.below(3)];
        for change in &self.pending {
            if chance.below(10) < of_ten {
                change.apply(&mut names);
            }
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: &[u8]) -> FileNode {
        FileNode::durable(Content::of(bytes.to_vec()))
    }

    #[test]
    fn a_file_is_pending_until_its_sync() {
        let mut file = file(b"0123456789");
        assert!(!file.pending());
        file.write(10, b"abc");
        assert!(file.pending());
        file.sync();
        assert!(!file.pending());
        assert_eq!(file.safe().bytes, b"0123456789abc");
        file.cut(4);
        assert!(file.pending());
        assert_eq!((&file.now.bytes[..], &file.safe().bytes[..]), (&b"0123"[..], &b"0123456789abc"[..]));
        // After a sync that failed nothing is written any more, and that stays so.
        file.sync_failed();
        file.sync();
        assert!(file.pending());
    }

    #[test]
    fn a_torn_write_leaves_a_prefix() {
        let mut longer = file(b"0123456789");
        longer.write(10, b"abcdef");
        let torn = |file: &FileNode, range, keep| file.torn(&range, keep).bytes.clone();
        assert_eq!(torn(&longer, 10..16, 0), b"0123456789");
        assert_eq!(torn(&longer, 10..16, 4), b"0123456789abcd");
        assert_eq!(torn(&longer, 10..16, 9), b"0123456789abcdef");
        let mut within = file(b"0123456789");
        within.write(3, b"abcd");
        assert_eq!(torn(&within, 3..7, 2), b"012ab56789");
    }

    #[test]
    fn any_sector_may_be_new_or_old_or_zero_or_junk() {
        // Sectors of ones, of which the second and third are overwritten with twos; the fourth is written as it was,
        // and a fifth and part of a sixth are new.
        let mut file = file(&[1; 4 * SECTOR]);
        file.write(SECTOR, &[2; 2 * SECTOR]);
        file.write(3 * SECTOR, &[1; SECTOR]);
        file.write(4 * SECTOR, &[3; SECTOR + 100]);
        let (mut fates, mut lens) = (std::collections::BTreeMap::new(), std::collections::BTreeSet::new());
        for seed in 0..4000 {
            let left = file.sectors(&mut Chance(seed));
            lens.insert(left.bytes.len());
            assert!(left.bytes.len() >= 4 * SECTOR && left.bytes.len() <= 5 * SECTOR + 100);
            assert!(left.bytes[..SECTOR].iter().chain(&left.bytes[3 * SECTOR..4 * SECTOR]).all(|&b| b == 1));
            let second = &left.bytes[SECTOR..2 * SECTOR];
            let fate = match second[0] {
                byte if second.iter().any(|&other| other != byte) => "junk",
                2 => "new",
                1 => "old",
                0 => "zero",
                _ => "a byte that nobody wrote",
            };
            *fates.entry(fate).or_insert(0) += 1;
        }
        // Of eight: four, two, one and one.
        let share = |fate| fates.get(fate).copied().unwrap_or(0) as f64 / 4000.0 * 8.0;
        for (fate, expected) in [("new", 4.0), ("old", 2.0), ("zero", 1.0), ("junk", 1.0)] {
            assert!((share(fate) - expected).abs() < 0.3, "{fates:?}");
        }
        assert_eq!(fates.len(), 4, "{fates:?}");
        // Those that it had, the ends of sectors, and many between.
        assert!(lens.len() > 100 && lens.contains(&(4 * SECTOR)) && lens.contains(&(5 * SECTOR)));
        assert_eq!(lens.last(), Some(&(5 * SECTOR + 100)));
    }

    #[test]
    fn names_are_kept_in_order_or_in_none() {
        let mut dir = DirNode::durable(Names::from([("old".into(), 1)]));
        dir.change(Naming::Link { name: "a".into(), number: 2 });
        dir.change(Naming::Rename { from: "a".into(), to: "b".into(), number: 2 });
        dir.change(Naming::Unlink { name: "old".into() });
        let of = |left: Names| left.keys().map(|name| name.to_string()).collect::<Vec<_>>().join(" ");
        let seen = |some: bool| -> std::collections::BTreeSet<String> {
            let mut chance = Chance(7);
            (0..500).map(|_| of(if some { dir.some(&mut chance) } else { dir.prefix(&mut chance) })).collect()
        };
        assert!(seen(false).iter().eq(["a old", "b", "b old", "old"]), "{:?}", seen(false));
        // Out of order also: the removal alone.
        assert!(seen(true).is_superset(&seen(false)) && seen(true).contains(""), "{:?}", seen(true));
        dir.sync();
        assert!(!dir.pending() && of(dir.prefix(&mut Chance(1))) == "b");
    }
}
