//! Cuts the power at every event of scripts, looks at what is left, goes on from there, and cuts again.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lookalike::rayon::{ThreadPoolBuildError, ThreadPoolBuilder};
use lookalike::testing::{Cuts, DiskFault, MemoryDisk, Survivors};

use super::super::random::Random;
use super::model::State;
use super::observe::{Fault, observe};
use super::script::{Run, Runner, Setting};

/// What to do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// At least so many cut points.
    pub points: u64,
    pub seed: u64,
    /// Images a point in which chance decides what survives; besides those of fixed kinds.
    pub chances: usize,
    /// Lengths that a write under way is torn at.
    pub torn: usize,
    /// One image in so many is written on and cut again.
    pub again: usize,
    /// Every script meets faults, and not half of them.
    pub faults: bool,
    /// Threads of the store seal and merge: no two runs are then alike.
    pub background: bool,
    /// Ends a run early, after the first failures.
    pub until_failure: bool,
    /// One script alone: that of the seed that a failure tells.
    pub script: Option<u64>,
    /// No new script is begun after so long.
    pub limit: Option<Duration>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            points: 10_000,
            seed: 1,
            chances: 6,
            torn: 6,
            again: 60,
            faults: false,
            background: false,
            until_failure: false,
            script: None,
            limit: None,
        }
    }
}

/// What was done and found.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    pub scripts: u64,
    /// Changes that were made before cuts, and of those the ones that an injected fault met.
    pub changes: u64,
    pub faulted: u64,
    /// Moments at which the power was cut: in scripts, after a first cut, after a second.
    pub points: [u64; 3],
    /// States of the disk that were looked at, likewise.
    pub images: [u64; 3],
    /// Those of them that no other was equal to, in the same script.
    pub distinct: u64,
    /// Images from which something acknowledged was missing.
    pub lost: u64,
    /// Images that held something that was never asked for, or half of it.
    pub phantom: u64,
    /// Images that did not open.
    pub refused: u64,
    /// Images of which two answers did not go together, or one was an error.
    pub wrong: u64,
    /// The first few, in words.
    pub failures: Vec<String>,
    pub seconds: f64,
}

impl Figures {
    /// Images that failed.
    pub fn failed(&self) -> u64 {
        self.lost + self.phantom + self.refused + self.wrong
    }

    /// Adds those of another run.
    pub fn add(&mut self, other: Self) {
        self.scripts += other.scripts;
        self.changes += other.changes;
        self.faulted += other.faulted;
        for depth in 0..3 {
            self.points[depth] += other.points[depth];
            self.images[depth] += other.images[depth];
        }
        self.distinct += other.distinct;
        self.lost += other.lost;
        self.phantom += other.phantom;
        self.refused += other.refused;
        self.wrong += other.wrong;
        self.failures.extend(other.failures);
        self.failures.truncate(20);
        self.seconds = self.seconds.max(other.seconds);
    }

    fn fail(&mut self, fault: &Fault, place: impl FnOnce() -> String) {
        match fault {
            Fault::Refused(_) => self.refused += 1,
            Fault::Wrong(_) => self.wrong += 1,
        }
        self.note(|| format!("{fault:?} {}", place()));
    }

    fn note(&mut self, text: impl FnOnce() -> String) {
        if self.failures.len() < 20 {
            self.failures.push(text().chars().take(3000).collect());
        }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [points, second, third] = self.points;
        let [images, again, once_more] = self.images;
        writeln!(
            f,
            "scripts {} with {} changes, {} of them met a fault",
            self.scripts, self.changes, self.faulted
        )?;
        writeln!(f, "cut points {points}; second cuts {second}, third cuts {third}")?;
        writeln!(f, "disk images {images}; after second cuts {again}, after third cuts {once_more}")?;
        writeln!(f, "distinct images {}", self.distinct)?;
        writeln!(
            f,
            "lost {} phantom {} refused {} wrong {}",
            self.lost, self.phantom, self.refused, self.wrong
        )?;
        write!(f, "seconds {:.1}", self.seconds)
    }
}

/// Runs scripts until there were enough cut points. On this thread alone, but for `Plan::background`.
///
/// # Errors
/// When no thread can be made.
pub fn run(plan: &Plan) -> Result<Figures, ThreadPoolBuildError> {
    // Work that the library does in parallel is done here: without waking others, and always in the same order.
    let pool = ThreadPoolBuilder::new().num_threads(1).build()?;
    Ok(pool.install(|| run_here(plan)))
}

/// The same on the thread that calls, whatever pool it is of.
pub fn run_here(plan: &Plan) -> Figures {
    let begun = Instant::now();
    let mut figures = Figures::default();
    let mut seeds = Random(plan.seed);
    if let Some(seed) = plan.script {
        script(plan, seed, &mut figures);
        figures.seconds = begun.elapsed().as_secs_f64();
        return figures;
    }
    while figures.points[0] < plan.points
        && !(plan.until_failure && figures.failed() > 0)
        && plan.limit.is_none_or(|limit| begun.elapsed() < limit)
    {
        script(plan, seeds.next(), &mut figures);
    }
    figures.seconds = begun.elapsed().as_secs_f64();
    figures
}

/// One script from an empty disk, and every cut of it.
fn script(plan: &Plan, seed: u64, figures: &mut Figures) {
    let mut random = Random(seed);
    let setting = Setting::draw(&mut random, plan.background);
    let disk = MemoryDisk::new(seed);
    let ops = 30 + random.index(50);
    let mut runner = Runner::begin(disk.clone(), setting);
    let mut done = Ok(());
    // Half of the scripts meet a fault here and there.
    let faults = (random.once_in(2) || plan.faults) && !plan.background;
    for _ in 0..ops {
        if faults && random.once_in(6) {
            let fault = [DiskFault::Io, DiskFault::Full, DiskFault::Sync, DiskFault::Sync][random.index(4)];
            disk.fail(1 + random.index(20) as u64, fault, false);
        }
        done = done.and_then(|()| runner.go(&mut random, 1));
    }
    figures.scripts += 1;
    figures.changes += ops as u64;
    figures.faulted += runner.run.failed as u64;
    if let Err(fault) = &done {
        figures.fail(fault, || format!("while script {seed} ran, {setting:?}"));
    }
    disk.heal();
    let run = runner.end();
    let mut sweep = Sweep { plan, seed, random, figures, known: HashMap::new() };
    sweep.cuts(&run, 0);
}

/// The cuts of one script.
struct Sweep<'a> {
    plan: &'a Plan,
    seed: u64,
    random: Random,
    figures: &'a mut Figures,
    /// What images that were looked at held, by their hash.
    known: HashMap<u128, u64>,
}

impl Sweep<'_> {
    /// Cuts a run: at every event the first time, at some of them after that.
    fn cuts(&mut self, run: &Run, depth: usize) {
        let mut cuts = run.disk.cuts();
        let of_events = if depth == 0 { 1 } else { (run.disk.position() / 6).max(1) };
        loop {
            if self.random.once_in(of_events) {
                self.figures.points[depth] += 1;
                self.point(run, &cuts, depth);
            }
            if !cuts.advance() || self.plan.until_failure && self.figures.failed() > 0 {
                return;
            }
        }
    }

    /// Everything that a cut at one moment may leave.
    fn point(&mut self, run: &Run, cuts: &Cuts, depth: usize) {
        let Some(mark) = run.mark(cuts.position()) else { return };
        if self.random.once_in(self.plan.again) && depth < 2 {
            // A kill leaves what a cut leaves when everything survives; but what comes after it rests on less.
            let disk = cuts.kill(self.random.next());
            self.figures.images[depth] += 1;
            self.go_on(run, &disk, &mark.kill, &mark.cut, depth, cuts);
        }
        let mut kinds = vec![Survivors::Everything];
        if cuts.pending() {
            kinds.extend([Survivors::Nothing, Survivors::Names, Survivors::Data, Survivors::Zeros]);
            let chances = if depth == 0 { self.plan.chances } else { 2 };
            kinds.extend([Survivors::Some].repeat(chances));
        }
        if let Some(bytes) = cuts.written() {
            let torn = if depth == 0 { self.plan.torn } else { 1 };
            kinds.extend((0..torn).map(|_| Survivors::Torn(self.random.index(bytes))));
        }
        for survivors in kinds {
            let disk = cuts.cut(survivors, self.random.next());
            self.figures.images[depth] += 1;
            if depth < 2 && self.random.once_in(self.plan.again) {
                self.go_on(run, &disk, &mark.cut, &mark.cut, depth, cuts);
            } else {
                self.judge(run, &disk, &mark.cut, survivors, cuts);
            }
        }
    }

    /// Looks at an image, unless an equal one was looked at before; it must be one of `allowed`.
    fn judge(
        &mut self,
        run: &Run,
        disk: &MemoryDisk,
        allowed: &[Arc<State>],
        survivors: Survivors,
        cuts: &Cuts,
    ) {
        let hash = disk.hash();
        if let Some(digest) = self.known.get(&hash)
            && allowed.iter().any(|state| state.digest() == *digest)
        {
            return;
        }
        self.figures.distinct += 1;
        let seed = self.random.next();
        match observe(|| run.setting.open(disk), seed.is_multiple_of(8), seed) {
            Ok((_host, state)) => {
                self.known.insert(hash, state.digest());
                self.compare(run, &state, allowed, || format!("{survivors:?} at {cuts:?}"));
            }
            Err(fault) => {
                let place = format!("{survivors:?} at {cuts:?} of script {}, {:?}", self.seed, run.setting);
                self.figures.fail(&fault, || place);
            }
        }
    }

    fn compare(
        &mut self,
        run: &Run,
        state: &State,
        allowed: &[Arc<State>],
        place: impl FnOnce() -> String,
    ) -> bool {
        let digest = state.digest();
        if allowed.iter().any(|state| state.digest() == digest) {
            return true;
        }
        // What every allowed state has was acknowledged.
        let lost = !allowed.iter().any(|allowed| state.holds(allowed));
        let name = if lost { "lost" } else { "phantom" };
        if lost {
            self.figures.lost += 1;
        } else {
            self.figures.phantom += 1;
        }
        let (seed, setting) = (self.seed, run.setting);
        let place = place();
        let nearest = allowed.last().map(|allowed| state.difference(allowed)).unwrap_or_default();
        self.figures.note(|| {
            let states = allowed.len();
            format!(
                "{name}: {place} of script {seed}, {setting:?}; {states} states allowed, from the last: {nearest}"
            )
        });
        false
    }

    /// Opens an image, which must be one of `allowed`, changes it, and cuts that: what a cut before the opening was done
    /// may leave is `before`.
    fn go_on(
        &mut self,
        run: &Run,
        disk: &MemoryDisk,
        allowed: &[Arc<State>],
        before: &[Arc<State>],
        depth: usize,
        cuts: &Cuts,
    ) {
        self.figures.distinct += 1;
        let seed = self.random.next();
        let mut random = Random(seed);
        match observe(|| run.setting.open(disk), false, seed) {
            Ok((host, state)) => {
                if !self.compare(run, &state, allowed, || format!("cut {depth} at {cuts:?}")) {
                    return;
                }
                let mut runner = Runner::after(disk.clone(), run.setting, before.to_vec(), host, state);
                let ops = 1 + random.index(6);
                let done = runner.go(&mut random, ops);
                if let Err(fault) = &done {
                    let place =
                        format!("after cut {depth} at {cuts:?} of script {}, {:?}", self.seed, run.setting);
                    self.figures.fail(fault, || place);
                }
                self.cuts(&runner.end(), depth + 1);
            }
            Err(fault) => {
                let place = format!("cut {depth} at {cuts:?} of script {}, {:?}", self.seed, run.setting);
                self.figures.fail(&fault, || place);
            }
        }
    }
}
