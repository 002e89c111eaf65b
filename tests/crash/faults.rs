//! Every call to the disk failing once: a fixed script, run again for each call, and looked at after each failure.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use lookalike::rayon::{ThreadPoolBuildError, ThreadPoolBuilder};
use lookalike::testing::{DiskFault, MemoryDisk, Survivors};
use lookalike::{Code, Durability, Error, Query, Tags};

use super::super::random::Random;
use super::model::{Act, Host, Op, State};
use super::observe::{Fault, look};
use super::script::{Setting, draw};

/// Changes of the script.
const OPS: usize = 300;
/// Parts it is run in.
const SECTIONS: usize = 6;
/// Changes made after a failure, to see that everything works.
const AFTER: usize = 6;

/// Kinds of fault, and whether they stay.
const KINDS: [(DiskFault, bool); 6] = [
    (DiskFault::Io, false),
    (DiskFault::Full, false),
    (DiskFault::Sync, false),
    (DiskFault::Io, true),
    (DiskFault::Full, true),
    (DiskFault::Sync, true),
];

/// What was done and found.
#[derive(Debug, Default)]
pub struct Figures {
    /// Calls to the disk that the script makes.
    pub calls: u64,
    /// Runs of it, each with a fault at another call, or of another kind.
    pub runs: u64,
    /// Runs in which a change failed by it; in the others a fault met what is tried again later, or nothing.
    pub errors: u64,
    /// How often each code was given.
    pub codes: BTreeMap<&'static str, u64>,
    /// Runs after which something was not as it should be, and the first of them in words.
    pub failed: u64,
    pub failures: Vec<String>,
    pub seconds: f64,
}

impl Figures {
    fn fail(&mut self, text: String) {
        self.failed += 1;
        if self.failures.len() < 10 {
            self.failures.push(text);
        }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "script of {OPS} changes and {} calls to the disk", self.calls)?;
        writeln!(f, "runs {}, in {} of them a change failed", self.runs, self.errors)?;
        let codes: Vec<String> =
            self.codes.iter().map(|(code, times)| format!("{code} {times} times")).collect();
        writeln!(f, "codes {}", codes.join(", "))?;
        writeln!(f, "failed {}", self.failed)?;
        write!(f, "seconds {:.1}", self.seconds)
    }
}

/// Runs the script of `seed` with each call failing: by every kind of fault when `all`, by one kind after the other otherwise.
///
/// # Errors
/// When no thread can be made.
pub fn run(seed: u64, all: bool) -> Result<Figures, ThreadPoolBuildError> {
    let pool = ThreadPoolBuilder::new().num_threads(1).build()?;
    Ok(pool.install(|| run_here(seed, all)))
}

fn run_here(seed: u64, all: bool) -> Figures {
    let begun = Instant::now();
    let mut random = Random(seed);
    let setting = Setting { tail_rows: 6, train_rows: 12, durability: Durability::Sync, background: false };
    let mut figures = Figures::default();
    let (mut disk, mut state) = (MemoryDisk::new(seed), Arc::new(State::default()));
    for _ in 0..SECTIONS {
        let (mut ops, start) = (Vec::new(), state.clone());
        for _ in 0..OPS / SECTIONS {
            let op = draw(&mut random, &state, 2);
            state = Arc::new(op.apply(&state));
            ops.push(op);
        }
        let section = Section { disk, state: start, ops, setting, seed };
        disk = section.every_call(all, &mut figures);
    }
    figures.seconds = begun.elapsed().as_secs_f64();
    figures
}

/// A part of the script, and what is there when it begins: the gallery was closed, so it need not be done again.
struct Section {
    disk: MemoryDisk,
    state: Arc<State>,
    ops: Vec<Op>,
    setting: Setting,
    seed: u64,
}

impl Section {
    /// Runs the section once for each call, and once without a fault: gives the disk after that.
    fn every_call(&self, all: bool, figures: &mut Figures) -> MemoryDisk {
        let disk = self.disk.restart();
        let mut work = self.work(&disk);
        for op in &self.ops {
            if let Err(error) = work.attempt(op) {
                figures.fail(format!("without a fault, {op:?}: {error:?}"));
            }
        }
        drop(work);
        let calls = disk.calls();
        for n in 1..=calls {
            let kinds = if all { &KINDS[..] } else { &KINDS[(n % 6) as usize..][..1] };
            for &(fault, persistent) in kinds {
                let disk = self.disk.restart();
                disk.fail(n, fault, persistent);
                figures.runs += 1;
                let done = catch_unwind(AssertUnwindSafe(|| self.run(&disk, figures)));
                let done = done.unwrap_or_else(|_| Err(Fault::Wrong("a panic".to_owned())));
                if let Err(wrong) = done {
                    let kept = if persistent { "from" } else { "at" };
                    figures.fail(format!("{fault:?} {kept} call {} of {}: {wrong:?}", n, figures.calls));
                }
            }
        }
        figures.calls += calls;
        disk
    }

    fn work<'a>(&self, disk: &'a MemoryDisk) -> Work<'a> {
        Work { disk, setting: self.setting, host: None, candidates: vec![self.state.clone()] }
    }

    /// Runs the section until a change fails, and then sees to it that nothing is broken.
    fn run(&self, disk: &MemoryDisk, figures: &mut Figures) -> Result<(), Fault> {
        let mut work = self.work(disk);
        let mut met = self.ops.len();
        for (place, op) in self.ops.iter().enumerate() {
            if let Err(error) = work.attempt(op) {
                if disk.faults() == 0 {
                    return Err(Fault::Wrong(format!("{op:?}: {error:?}")));
                }
                figures.errors += 1;
                *figures.codes.entry(error.code().as_str()).or_default() += 1;
                met = place;
                break;
            }
        }
        let mut random = Random(self.seed ^ met as u64);
        work.reads_go_on()?;
        // While the disk still fails: errors or not, but no panic, and nothing half done.
        for _ in 0..2 {
            let op = work.changes(&mut random);
            let _ = work.attempt(&op);
        }
        work.reads_go_on()?;
        disk.heal();
        work.seen("right after")?;
        // With the disk well again, and without an opening: it works, or it says that an opening is needed.
        for _ in 0..2 {
            let op = work.changes(&mut random);
            if let Err(error) = work.attempt(&op)
                && ![Code::ServiceNotRunning, Code::InstanceUnknown].contains(&error.code())
            {
                return Err(Fault::Wrong(format!("healed, {op:?}: {error:?}")));
            }
        }
        work.host = None;
        work.narrow("opened again")?;
        for _ in 0..AFTER {
            let op = draw(&mut random, work.state(), 2);
            work.attempt(&op).map_err(|error| Fault::Wrong(format!("after all, {op:?}: {error:?}")))?;
        }
        work.narrow("at the end")?;
        work.host = None;
        let mut cuts = disk.cuts();
        while cuts.advance() {}
        let disk = cuts.cut(Survivors::Nothing, 0);
        let mut left = Work { disk: &disk, host: None, ..work };
        left.narrow("after a power cut")
    }
}

/// A gallery whose disk may fail, and the states it may be in.
struct Work<'a> {
    disk: &'a MemoryDisk,
    setting: Setting,
    host: Option<Host>,
    candidates: Vec<Arc<State>>,
}

impl Work<'_> {
    fn state(&self) -> &State {
        // There is always one.
        &self.candidates[0]
    }

    fn host(&mut self) -> Result<&mut Host, Error> {
        if self.host.is_none() {
            self.host = Some(self.setting.open(self.disk)?);
        }
        match &mut self.host {
            Some(host) => Ok(host),
            None => unreachable!("it was opened"),
        }
    }

    /// Does it: then it is done, or it may be or not.
    fn attempt(&mut self, op: &Op) -> Result<(), Error> {
        let done = self.host().and_then(|host| host.run(op));
        let after = self.candidates.iter().map(|state| Arc::new(op.apply(state)));
        let after: Vec<Arc<State>> = after.collect();
        if done.is_ok() {
            self.candidates = after;
        } else {
            self.candidates.extend(after);
        }
        done
    }

    /// Whatever the disk does: instances that are open answer.
    fn reads_go_on(&mut self) -> Result<(), Fault> {
        for (name, instance) in self.host.iter().flat_map(|host| &host.open) {
            let all = instance.search(&Query::tags(Tags::new().with("k", "y")).limit(100));
            let page = all.map_err(|error| Fault::Wrong(format!("a search of {name}: {error:?}")))?;
            let expected = |state: &Arc<State>| {
                state.shelves.get(name).is_some_and(|shelf| shelf.images.len() == page.hits.len())
            };
            if !self.candidates.iter().any(expected) {
                return Err(Fault::Wrong(format!("a search of {name} finds {}", page.hits.len())));
            }
        }
        Ok(())
    }

    /// The next add, batch or delete.
    fn changes(&self, random: &mut Random) -> Op {
        loop {
            let op = draw(random, self.state(), 2);
            match op.act {
                Act::Add(_) | Act::Batch(_) | Act::Delete { .. } => return op,
                // Of an instance that is not there nothing can be asked.
                Act::Create => return Op { act: Act::Optimize, ..op },
                _ => {}
            }
        }
    }

    /// Looks at everything: it must be one of the states that it may be.
    fn seen(&mut self, when: &str) -> Result<u64, Fault> {
        let host = self.host().map_err(|error| Fault::Refused(format!("{when}: {error:?}")))?;
        let seen = look(host, true, 5).map_err(|fault| match fault {
            Fault::Refused(text) => Fault::Refused(format!("{when}: {text}")),
            Fault::Wrong(text) => Fault::Wrong(format!("{when}: {text}")),
        })?;
        let digest = seen.digest();
        if self.candidates.iter().any(|state| state.digest() == digest) {
            return Ok(digest);
        }
        let differences = self.candidates.iter().map(|state| seen.difference(state));
        let least = differences.min_by_key(String::len).unwrap_or_default();
        Err(Fault::Wrong(format!("{when} neither before nor after: {least}")))
    }

    /// Looks at everything: it is that one of the states from here on.
    fn narrow(&mut self, when: &str) -> Result<(), Fault> {
        let digest = self.seen(when)?;
        self.candidates.retain(|state| state.digest() == digest);
        self.candidates.truncate(1);
        Ok(())
    }
}
