//! Scripts: random changes to a gallery, and what must be found after a cut at each moment of one.

use std::sync::Arc;

use lookalike::testing::MemoryDisk;
use lookalike::{Durability, Error, Gallery, GalleryBuilder, OnExisting};

use super::super::random::Random;
use super::model::{Act, DIMS, Host, Labels, New, Op, State};
use super::observe::{Fault, look};

/// Paths that images of an instance have.
pub const PATHS: usize = 36;
/// Values of the tag `c`.
pub const COLOURS: [&str; 3] = ["red", "green", "blue"];

pub fn path(number: usize) -> String {
    format!("p/{number}")
}

/// How the galleries of a script are opened.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    pub tail_rows: u32,
    pub train_rows: u64,
    pub durability: Durability,
    pub background: bool,
}

impl Setting {
    pub fn draw(random: &mut Random, background: bool) -> Self {
        Self {
            tail_rows: 3 + random.index(8) as u32,
            train_rows: [6, 12, 20, 1 << 20][random.index(4)],
            durability: if random.once_in(4) { Durability::Flush } else { Durability::Sync },
            background,
        }
    }

    pub fn builder(&self, disk: &MemoryDisk) -> GalleryBuilder {
        let builder = Gallery::builder("/gallery").memory_disk(disk.clone()).background(self.background);
        builder.tail_rows(self.tail_rows).train_rows(self.train_rows).durability(self.durability)
    }

    pub fn open(&self, disk: &MemoryDisk) -> Result<Host, Error> {
        Host::open(self.builder(disk))
    }
}

fn labels(random: &mut Random, keys: &[String]) -> Labels {
    let mut labels = Labels::from([("k".to_owned(), vec!["y".to_owned()])]);
    labels.insert("c".to_owned(), vec![COLOURS[random.index(3)].to_owned()]);
    if let Some(key) = random.of(keys).filter(|key| key.len() > 1) {
        let values = ["one", "three", "two"].map(str::to_owned);
        labels.insert(key.clone(), values[..1 + random.index(3)].to_vec());
    }
    labels
}

fn new(random: &mut Random, keys: &[String]) -> New {
    let existing = if random.once_in(8) { OnExisting::Keep } else { OnExisting::Replace };
    // A few vectors come again and again, so that there are ties.
    let vector =
        if random.once_in(8) { Random(random.index(3) as u64).vector(DIMS) } else { random.vector(DIMS) };
    New { path: path(random.index(PATHS)), vector, labels: labels(random, keys), existing }
}

/// The next thing to do in a gallery of this state.
pub fn draw(random: &mut Random, state: &State, names: usize) -> Op {
    let name = if names > 1 && random.once_in(6) { "second" } else { "first" }.to_owned();
    let op = |act| Op { name: name.clone(), act };
    let Some(shelf) = state.shelves.get(&name) else { return op(Act::Create) };
    let there: Vec<&String> = shelf.images.keys().collect();
    let several = |random: &mut Random, most: usize| -> Vec<New> {
        (0..1 + random.index(most)).map(|_| new(random, &shelf.keys)).collect()
    };
    op(match random.index(100) {
        0..30 => Act::Add(new(random, &shelf.keys)),
        30..44 => Act::Batch(several(random, 9)),
        44..58 => match random.of(&there) {
            Some(path) => {
                let (path, labels, merge) =
                    (path.to_string(), labels(random, &shelf.keys), random.once_in(2));
                Act::Update { path, labels, merge }
            }
            None => Act::Add(new(random, &shelf.keys)),
        },
        58..76 => match random.of(&there) {
            Some(path) if !random.once_in(10) => Act::Delete { path: path.to_string() },
            _ => Act::Delete { path: path(random.index(PATHS)) },
        },
        76..82 => Act::Import(several(random, 14)),
        82..86 if shelf.keys.len() < 9 => Act::AddKey(format!("key{}", shelf.keys.len())),
        86..91 => Act::Optimize,
        91..97 => Act::Close,
        97 if !random.once_in(2) || name == "second" => Act::DeleteInstance,
        _ => Act::Add(new(random, &shelf.keys)),
    })
}

/// From an event on, the states that a power cut, and a kill of the process, may leave.
#[derive(Debug, Clone)]
pub struct Mark {
    pub from: usize,
    pub cut: Vec<Arc<State>>,
    pub kill: Vec<Arc<State>>,
}

/// A script that was run.
pub struct Run {
    pub disk: MemoryDisk,
    pub setting: Setting,
    pub marks: Vec<Mark>,
    /// Changes that failed by an injected fault.
    pub failed: usize,
}

impl Run {
    /// The states allowed after so many events.
    pub fn mark(&self, position: usize) -> Option<&Mark> {
        let after = self.marks.partition_point(|mark| mark.from <= position);
        self.marks.get(after.checked_sub(1)?)
    }
}

/// Runs scripts and keeps the marks.
pub struct Runner {
    pub run: Run,
    host: Option<Host>,
    state: Arc<State>,
    /// Faults that were met before the last opening.
    faults: u64,
}

impl Runner {
    /// An empty disk.
    pub fn begin(disk: MemoryDisk, setting: Setting) -> Self {
        let state = Arc::new(State::default());
        let first = Mark { from: 0, cut: vec![state.clone()], kill: vec![state.clone()] };
        Self { run: Run { disk, setting, marks: vec![first], failed: 0 }, host: None, state, faults: 0 }
    }

    /// A disk that was cut, and opened since: until the opening returned all of `before` may be found again.
    pub fn after(
        disk: MemoryDisk,
        setting: Setting,
        before: Vec<Arc<State>>,
        host: Host,
        state: State,
    ) -> Self {
        let mut runner = Self::begin(disk, setting);
        runner.run.marks[0].cut = before.clone();
        runner.run.marks[0].kill = before;
        runner.state = Arc::new(state);
        runner.host = Some(host);
        runner.certain(runner.run.disk.position());
        runner
    }

    /// From here on this state and no other.
    fn certain(&mut self, from: usize) {
        let only = vec![self.state.clone()];
        self.run.marks.push(Mark { from, cut: only.clone(), kill: only });
    }

    /// Does `ops` random things.
    pub fn go(&mut self, random: &mut Random, ops: usize) -> Result<(), Fault> {
        // What a flush leaves is a prefix of the changes of one instance; of two it may be any two prefixes.
        let names = if self.run.setting.durability == Durability::Flush { 1 } else { 2 };
        for _ in 0..ops {
            let op = draw(random, &self.state, names);
            self.step(&op)?;
        }
        Ok(())
    }

    /// Closes everything.
    pub fn end(self) -> Run {
        drop(self.host);
        self.run
    }

    /// Does one thing.
    pub fn step(&mut self, op: &Op) -> Result<(), Fault> {
        let next = Arc::new(op.apply(&self.state));
        let flush = self.run.setting.durability == Durability::Flush;
        let begun = self.run.disk.position();
        let mut cut = self.run.marks.last().map(|mark| mark.cut.clone()).unwrap_or_default();
        cut.push(next.clone());
        let kill = vec![self.state.clone(), next.clone()];
        self.run.marks.push(Mark { from: begun + 1, cut: cut.clone(), kill });
        let done = match &mut self.host {
            Some(host) => host.run(op),
            None => self.run.setting.open(&self.run.disk).and_then(|host| self.host.insert(host).run(op)),
        };
        let position = self.run.disk.position();
        match done {
            Ok(()) => {
                let before = std::mem::replace(&mut self.state, next);
                // What was flushed is durable once the log was synced: by a close, or because something was sealed.
                let synced = match &op.act {
                    Act::Add(_) | Act::Batch(_) | Act::Update { .. } | Act::Delete { .. } => false,
                    // One that finds nothing to add does nothing.
                    Act::Import(all) => all.iter().any(|new| !before.keeps(&op.name, new)),
                    _ => true,
                };
                // A close tells nobody when its sync failed.
                if !flush || synced && self.run.disk.faults() == self.faults {
                    self.certain(position);
                } else {
                    self.run.marks.push(Mark { from: position, cut, kill: vec![self.state.clone()] });
                }
                Ok(())
            }
            Err(error) if self.run.disk.faults() > self.faults => self.failed(&next, &error),
            Err(error) => Err(Fault::Wrong(format!("{op:?}: {error:?}"))),
        }
    }

    /// After an injected fault the change was made or it was not: what is seen says which, before and after an opening,
    /// and from the opening on it is certain.
    fn failed(&mut self, next: &Arc<State>, error: &Error) -> Result<(), Fault> {
        self.run.failed += 1;
        self.run.disk.heal();
        let candidates = [self.state.clone(), next.clone()];
        let which = |seen: &State, when: &str| {
            let digest = seen.digest();
            let found = candidates.iter().find(|state| state.digest() == digest);
            found.cloned().ok_or_else(|| {
                Fault::Wrong(format!(
                    "{when} {error:?} neither before nor after: {}",
                    seen.difference(&candidates[1])
                ))
            })
        };
        if let Some(host) = &mut self.host {
            which(&look(host, false, 0)?, "right after")?;
        }
        self.host = None;
        let opened = self.run.setting.open(&self.run.disk);
        let mut host = opened.map_err(|error| Fault::Refused(format!("after a fault: {error:?}")))?;
        self.state = which(&look(&mut host, true, 0)?, "opened after")?;
        self.host = Some(host);
        self.faults = self.run.disk.faults();
        self.certain(self.run.disk.position());
        Ok(())
    }
}
