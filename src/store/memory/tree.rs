//! The files of a memory disk, the events that change them, and the states a power cut leaves.

use std::ffi::OsStr;
use std::hash::Hasher;
use std::io;
use std::path::{Component, Path};
use std::sync::Arc;

use siphasher::sip128::{Hasher128, SipHasher13};

use super::node::{Content, DirNode, FileNode, Names, Naming, Number};
use super::{Chance, Survivors};

/// Something that changed the disk. A power cut may come after each, and within a write.
#[derive(Debug, Clone)]
pub(super) enum Event {
    MakeDir { dir: Number, name: Arc<str> },
    Create { dir: Number, name: Arc<str> },
    Write { file: Number, at: usize, bytes: Arc<[u8]> },
    Cut { file: Number, len: usize },
    Sync { file: Number },
    SyncFailed { file: Number },
    Rename { dir: Number, from: Arc<str>, to: Arc<str> },
    Remove { dir: Number, name: Arc<str> },
    SyncDir { dir: Number },
}

#[derive(Debug, Clone)]
enum Node {
    File(FileNode),
    Dir(DirNode),
}

/// Every file and directory, by number; the first is the root.
#[derive(Debug, Clone)]
pub(super) struct Tree {
    nodes: Vec<Arc<Node>>,
}

pub(super) fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Tree {
    pub(super) fn new() -> Self {
        Self { nodes: vec![Arc::new(Node::Dir(DirNode::default()))] }
    }

    /// The number of a path.
    pub(super) fn find(&self, path: &Path) -> io::Result<Number> {
        let names = path.components().filter_map(|part| match part {
            Component::Normal(name) => name.to_str(),
            _ => None,
        });
        names.into_iter().try_fold(0, |at, name| self.dir(at)?.now.get(name).copied().ok_or_else(missing))
    }

    /// The directory that a path lies in, and its name there.
    pub(super) fn parent(&self, path: &Path) -> io::Result<(Number, Arc<str>)> {
        let name = path.file_name().and_then(OsStr::to_str).ok_or(io::ErrorKind::InvalidInput)?;
        Ok((self.find(path.parent().unwrap_or(Path::new("/")))?, Arc::from(name)))
    }

    pub(super) fn dir(&self, number: Number) -> io::Result<&DirNode> {
        match self.nodes.get(number).map(|node| &**node) {
            Some(Node::Dir(dir)) => Ok(dir),
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(missing()),
        }
    }

    pub(super) fn file(&self, number: Number) -> io::Result<&FileNode> {
        match self.nodes.get(number).map(|node| &**node) {
            Some(Node::File(file)) => Ok(file),
            Some(Node::Dir(_)) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(missing()),
        }
    }

    fn dir_mut(&mut self, number: Number, change: impl FnOnce(&mut DirNode)) {
        if let Some(Node::Dir(dir)) = self.nodes.get_mut(number).map(Arc::make_mut) {
            change(dir);
        }
    }

    fn file_mut(&mut self, number: Number, change: impl FnOnce(&mut FileNode)) {
        if let Some(Node::File(file)) = self.nodes.get_mut(number).map(Arc::make_mut) {
            change(file);
        }
    }

    /// The number that the next file or directory will get.
    pub(super) fn next(&self) -> Number {
        self.nodes.len()
    }

    pub(super) fn apply(&mut self, event: &Event) {
        match event {
            Event::MakeDir { dir, name } | Event::Create { dir, name } => {
                let (number, name) = (self.nodes.len(), name.clone());
                let node = match event {
                    Event::MakeDir { .. } => Node::Dir(DirNode::default()),
                    _ => Node::File(FileNode::default()),
                };
                self.nodes.push(Arc::new(node));
                self.dir_mut(*dir, |dir| dir.change(Naming::Link { name, number }));
            }
            Event::Write { file, at, bytes } => self.file_mut(*file, |file| file.write(*at, bytes)),
            Event::Cut { file, len } => self.file_mut(*file, |file| file.cut(*len)),
            Event::Sync { file } => self.file_mut(*file, FileNode::sync),
            Event::SyncFailed { file } => self.file_mut(*file, FileNode::sync_failed),
            Event::Rename { dir, from, to } => {
                let number = self.dir(*dir).ok().and_then(|dir| dir.now.get(from).copied());
                if let Some(number) = number {
                    let change = Naming::Rename { from: from.clone(), to: to.clone(), number };
                    self.dir_mut(*dir, |dir| dir.change(change));
                }
            }
            Event::Remove { dir, name } => {
                self.dir_mut(*dir, |dir| dir.change(Naming::Unlink { name: name.clone() }));
            }
            Event::SyncDir { dir } => self.dir_mut(*dir, DirNode::sync),
        }
    }

    /// Whether a cut of the power may leave anything but what programs see.
    pub(super) fn pending(&self) -> bool {
        self.nodes.iter().any(|node| match &**node {
            Node::File(file) => file.pending(),
            Node::Dir(dir) => dir.pending(),
        })
    }

    /// Bytes of all files that have a name.
    pub(super) fn used(&self) -> usize {
        let mut used = 0;
        self.walk(0, &mut |_, content| used += content.bytes.len());
        used
    }

    /// A hash of every name and every byte.
    pub(super) fn hash(&self) -> u128 {
        let mut hasher = SipHasher13::new();
        self.walk(0, &mut |name, content| {
            hasher.write(name.as_bytes());
            hasher.write_u8(0);
            hasher.write_u128(content.hash());
        });
        hasher.finish128().as_u128()
    }

    fn walk(&self, dir: Number, each: &mut impl FnMut(&str, &Content)) {
        for (name, &number) in self.dir(dir).iter().flat_map(|dir| &dir.now) {
            match &*self.nodes[number] {
                Node::File(file) => each(name, &file.now),
                Node::Dir(_) => {
                    each(name, &Content::default());
                    self.walk(number, each);
                }
            }
        }
    }

    /// What a power cut leaves, as a tree of its own: everything in it is on disk. `last` is the event before the cut.
    pub(super) fn cut(&self, survivors: Survivors, last: Option<&Event>, chance: &mut Chance) -> Self {
        let mut left = Self { nodes: Vec::new() };
        self.copy(0, survivors, last, chance, &mut left);
        left
    }

    fn copy(
        &self,
        number: Number,
        survivors: Survivors,
        last: Option<&Event>,
        chance: &mut Chance,
        left: &mut Self,
    ) -> Number {
        let own = left.nodes.len();
        match &*self.nodes[number] {
            Node::File(file) => {
                let content = content(file, number, survivors, last, chance);
                left.nodes.push(Arc::new(Node::File(FileNode::durable(content))));
            }
            Node::Dir(dir) => {
                let names = match survivors {
                    Survivors::Nothing | Survivors::Data => dir.safe.clone(),
                    Survivors::Everything | Survivors::Names | Survivors::Torn(_) | Survivors::Zeros => {
                        dir.now.clone()
                    }
                    Survivors::Some if chance.below(2) == 0 => dir.prefix(chance),
                    Survivors::Some => dir.some(chance),
                };
                // The directory's place first, then what is in it.
                left.nodes.push(Arc::new(Node::Dir(DirNode::default())));
                let copied: Names = names
                    .iter()
                    .map(|(name, &child)| (name.clone(), self.copy(child, survivors, last, chance, left)))
                    .collect();
                left.nodes[own] = Arc::new(Node::Dir(DirNode::durable(copied)));
            }
        }
        own
    }
}

fn content(
    file: &FileNode,
    number: Number,
    survivors: Survivors,
    last: Option<&Event>,
    chance: &mut Chance,
) -> Arc<Content> {
    if !file.pending() {
        return file.now.clone();
    }
    match (survivors, last) {
        (Survivors::Nothing | Survivors::Names, _) => file.safe(),
        (Survivors::Torn(keep), Some(Event::Write { file: written, at, bytes })) if *written == number => {
            file.torn(&(*at..at + bytes.len()), keep)
        }
        (Survivors::Everything | Survivors::Data | Survivors::Torn(_), _) => file.now.clone(),
        (Survivors::Zeros, _) => file.zeros(),
        (Survivors::Some, _) => match chance.below(4) {
            0 => file.safe(),
            1 => file.now.clone(),
            _ => file.sectors(chance),
        },
    }
}
