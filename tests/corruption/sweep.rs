//! Damages a store in every way, and judges what it answers then.

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use lookalike::{Error, ErrorKind};

use super::store::{self, Answers, Left, Made, NAME};

/// No opening, call or check may take longer.
const LONGEST: Duration = Duration::from_secs(5);

/// What was done to a store.
#[derive(Debug, Clone)]
pub enum Damage {
    /// One byte has another value.
    Byte { file: String, at: usize, value: u8 },
    /// A file is shorter.
    Cut { file: String, len: usize },
    /// A file is gone.
    Gone { file: String },
    /// A file has other contents: another instance's, an older one's, those of another file.
    Swapped { file: String, whose: String, bytes: Vec<u8> },
    /// A file is there twice.
    Twice { file: String, copy: String },
}

/// What became of it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    pub trials: u64,
    /// The opening failed.
    pub refused: u64,
    /// It opened, and a call failed; those that did not were right.
    pub failed: u64,
    /// Every call was right, and `verify` found the damage.
    pub found: u64,
    /// Every call was right, and nothing is damaged that matters.
    pub right: u64,
    /// The state before the last change, as after a crash while it was written.
    pub torn: u64,
    pub slowest: Duration,
}

impl Tally {
    pub fn add(&mut self, other: Self) {
        self.trials += other.trials;
        self.refused += other.refused;
        self.failed += other.failed;
        self.found += other.found;
        self.right += other.right;
        self.torn += other.torn;
        self.slowest = self.slowest.max(other.slowest);
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} trials: {} refused, {} failed at a call, {} found by verify, {} right, {} torn tails; slowest {:.0} ms",
            self.trials,
            self.refused,
            self.failed,
            self.found,
            self.right,
            self.torn,
            self.slowest.as_secs_f64() * 1e3
        )
    }
}

impl Made {
    /// Does some damage, asks everything, and repairs what it did. The error says what was wrong.
    pub fn trial(&self, damage: &Damage) -> Result<Tally, String> {
        self.apply(damage);
        let began = Instant::now();
        let judged = catch_unwind(AssertUnwindSafe(|| self.judge(damage)));
        let took = began.elapsed();
        self.undo(damage);
        let mut tally = judged
            .unwrap_or_else(|_| Err("a panic".to_owned()))
            .map_err(|wrong| format!("{:?} store, {}: {wrong}", self.left, told(damage)))?;
        if took > LONGEST {
            return Err(format!("{:?} store, {}: took {took:?}", self.left, told(damage)));
        }
        (tally.trials, tally.slowest) = (1, took);
        Ok(tally)
    }

    /// The same with an opening for writing, which removes what is not of the state: never what may be of use to a
    /// repair. The files are put back.
    pub fn trial_writing(&self, damage: &Damage) -> Result<Tally, String> {
        self.apply(damage);
        let damaged = store::read_files(&self.root.join(NAME));
        let judged = self.judge_opened(damage, false);
        let left = store::read_files(&self.root.join(NAME));
        for name in left.keys() {
            fs::remove_file(self.path(name)).expect("removed");
        }
        self.files.iter().for_each(|(name, bytes)| fs::write(self.path(name), bytes).expect("put back"));
        let tally =
            judged.map_err(|wrong| format!("{:?} store, to write, {}: {wrong}", self.left, told(damage)))?;
        if tally.refused > 0 && left != damaged {
            return Err(format!("{:?} store, {}: refused, and files were changed", self.left, told(damage)));
        }
        Ok(Tally { trials: 1, ..tally })
    }

    fn judge(&self, damage: &Damage) -> Result<Tally, String> {
        self.judge_opened(damage, true)
    }

    fn judge_opened(&self, damage: &Damage, read_only: bool) -> Result<Tally, String> {
        let gallery = store::open(&self.root, read_only).map_err(|e| format!("no gallery: {e}"))?;
        let instance = match gallery.instance(NAME) {
            Ok(instance) => instance,
            Err(error) => {
                return self.names(damage, &error).map(|()| Tally { refused: 1, ..Tally::default() });
            }
        };
        let answers = store::ask(&gallery, &instance);
        let right = |want: &Answers| {
            answers.iter().zip(want).all(|(got, want)| got.as_ref().is_ok_and(|got| got == want))
        };
        if let Some(torn) = self.torn(damage) {
            // The log ends early, as after a crash: what it holds up to there is the state.
            return if right(torn) {
                Ok(Tally { torn: 1, ..Tally::default() })
            } else {
                Err("not the state before the torn change".to_owned())
            };
        }
        let mut failed = 0;
        for (at, (got, want)) in answers.iter().zip(&self.answers).enumerate() {
            match got {
                Ok(got) if got == want => {}
                Ok(_) => return Err(format!("WRONG ANSWER to question {at}")),
                Err(error) => {
                    self.names(damage, error)?;
                    failed += 1;
                }
            }
        }
        match instance.verify() {
            Err(error) => {
                self.names(damage, &error)?;
                Ok(if failed > 0 {
                    Tally { failed: 1, ..Tally::default() }
                } else {
                    Tally { found: 1, ..Tally::default() }
                })
            }
            Ok(()) if failed > 0 => Err("a call failed, and verify finds nothing".to_owned()),
            Ok(()) if self.matters(damage) => Err("verify does not find it".to_owned()),
            Ok(()) => Ok(Tally { right: 1, ..Tally::default() }),
        }
    }

    /// Whether anything is damaged: a lock file, a copy that nobody asked for and an equal file are not.
    fn matters(&self, damage: &Damage) -> bool {
        let state = |file: &str| file != "WRITER" && file != "READERS";
        match damage {
            Damage::Byte { file, at, value } => self.files[file][*at] != *value,
            Damage::Cut { file, len } => *len < self.files[file].len(),
            Damage::Gone { file } => state(file),
            Damage::Swapped { file, bytes, .. } => state(file) && self.files[file] != *bytes,
            Damage::Twice { .. } => false,
        }
    }

    /// What is left of a log that a crash may have left so: no checksum can tell that from damage.
    pub fn torn(&self, damage: &Damage) -> Option<&Answers> {
        let last = self.files.keys().rfind(|name| name.starts_with("log-"))?;
        let (file, len) = match damage {
            Damage::Byte { file, at, value } if self.files[file][*at] != *value => (file, *at),
            Damage::Cut { file, len } => (file, *len),
            // An older log is a beginning of this one.
            Damage::Swapped { file, bytes, .. } if self.files[file].starts_with(bytes) => (file, bytes.len()),
            _ => return None,
        };
        if file != last || self.left == Left::Closed || len == self.files[file].len() {
            return None;
        }
        let whole = self.before.iter().rposition(|(end, _)| *end <= len as u64)?;
        // A byte tears a log in its last frame alone; before it, later frames tell that it is damage.
        let torn = !matches!(damage, Damage::Byte { .. }) || whole + 2 == self.before.len();
        torn.then(|| &self.before[whole].1)
    }

    /// Whether an error says that files are damaged, and which and where.
    fn names(&self, damage: &Damage, error: &Error) -> Result<(), String> {
        let message = error.to_string();
        let (file, placed) = match damage {
            Damage::Byte { file, .. } => (file, true),
            Damage::Cut { file, .. } | Damage::Swapped { file, .. } => (file, true),
            Damage::Gone { file } => (file, false),
            Damage::Twice { copy, .. } => (copy, true),
        };
        // A segment whose lists do not fit its centres tells so, and a manifest that is gone has no name.
        let named =
            message.contains(file.as_str()) || file.starts_with("manifest") && message.contains("manifest");
        let kind = error.kind() == ErrorKind::Corrupt;
        let said = named && kind && (!placed || message.contains(" at byte "));
        if said { Ok(()) } else { Err(format!("the error does not say it: {error:?} {message}")) }
    }

    fn path(&self, file: &str) -> std::path::PathBuf {
        self.root.join(NAME).join(file)
    }

    pub fn apply(&self, damage: &Damage) {
        let done = match damage {
            Damage::Byte { file, at, value } => poke(&self.path(file), *at, *value),
            Damage::Cut { file, len } => fs::write(self.path(file), &self.files[file][..*len]),
            Damage::Gone { file } => fs::remove_file(self.path(file)),
            Damage::Swapped { file, bytes, .. } => fs::write(self.path(file), bytes),
            Damage::Twice { file, copy } => fs::write(self.path(copy), &self.files[file]),
        };
        done.expect("the damage is done");
    }

    fn undo(&self, damage: &Damage) {
        let done = match damage {
            Damage::Byte { file, at, .. } => poke(&self.path(file), *at, self.files[file][*at]),
            Damage::Cut { file, .. } | Damage::Gone { file } | Damage::Swapped { file, .. } => {
                fs::write(self.path(file), &self.files[file])
            }
            Damage::Twice { copy, .. } => fs::remove_file(self.path(copy)),
        };
        done.expect("the damage is undone");
    }

    /// Cuts at every length, one in `step`.
    pub fn cuts(&self, step: usize) -> impl Iterator<Item = Damage> + '_ {
        let every = move |(file, bytes): (&String, &Vec<u8>)| {
            let file = file.clone();
            (0..bytes.len())
                .step_by(step)
                .map(move |len| Damage::Cut { file: file.clone(), len })
                .collect::<Vec<_>>()
        };
        self.files.iter().flat_map(every)
    }

    /// Files gone, swapped with files of the same kind of `others` and of earlier, and doubled.
    pub fn mixups(&self, others: &[&Self]) -> Vec<Damage> {
        let kind = |name: &str| name.split('-').next().unwrap_or_default().to_owned();
        let mut all = Vec::new();
        for file in self.files.keys() {
            all.push(Damage::Gone { file: file.clone() });
            let mut swap = |whose: String, bytes: &[u8]| {
                all.push(Damage::Swapped { file: file.clone(), whose, bytes: bytes.to_vec() });
            };
            for (name, bytes) in self.files.iter().filter(|(name, _)| *name != file) {
                swap(format!("its own {name}"), bytes);
            }
            for (name, earlier) in self.older.iter().filter(|(name, _)| kind(name) == kind(file)) {
                earlier.iter().for_each(|bytes| swap(format!("an earlier {name}"), bytes));
            }
            for other in others {
                for (name, bytes) in other.files.iter().filter(|(name, _)| kind(name) == kind(file)) {
                    swap(format!("another instance's {name}"), bytes);
                }
            }
            if let Some((kind, number)) = file.rsplit_once('-') {
                let next = number.parse::<u64>().expect("a number") + 1;
                for copy in [format!("{kind}-{next:08}"), format!("{kind}-99999999"), format!("tmp-{file}")] {
                    if !self.files.contains_key(&copy) {
                        all.push(Damage::Twice { file: file.clone(), copy });
                    }
                }
            }
        }
        all
    }
}

fn poke(path: &std::path::Path, at: usize, value: u8) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    file.seek(SeekFrom::Start(at as u64))?;
    file.write_all(&[value])
}

/// A damage in one line.
pub fn told(damage: &Damage) -> String {
    match damage {
        Damage::Byte { file, at, value } => format!("byte {at} of {file} is {value:#04x}"),
        Damage::Cut { file, len } => format!("{file} is cut at {len}"),
        Damage::Gone { file } => format!("{file} is gone"),
        Damage::Swapped { file, whose, .. } => format!("{file} is {whose}"),
        Damage::Twice { file, copy } => format!("{file} is also there as {copy}"),
    }
}
