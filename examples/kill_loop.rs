//! Kills a writer and readers at random moments, again and again, and counts what was lost.
//!
//! ```text
//! cargo run --release --example kill_loop -- --kills 100
//! cargo run --release --example kill_loop -- --kills 2000 --dir DIR
//! ```
//!
//! The program starts itself as a writer that adds, replaces, retags and deletes images, one by one and in batches,
//! with a tail so small that segments are sealed, merged and given lists all the time; and as four readers that open the
//! same gallery read-only over and over and check that every image is whole. Each change is noted in a file before it
//! is asked for, and again when it was acknowledged. At a random moment the writer is killed (SIGKILL on Unix), every
//! other time a reader too. Then the gallery must open at once; each image must be as it was acknowledged, and those of the
//! change that was under way as before it or as after it, all of them alike.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use lookalike::{Add, BatchOptions, CreateInstance, Gallery, Instance, Query, Source, Tags, Update};

#[path = "../tests/random.rs"]
mod random;
#[path = "support/vectors_only.rs"]
mod vectors_only;

use random::Random;

const NAME: &str = "killed";
const PATHS: u64 = 400;
const DIMS: usize = 24;
/// No opening may take longer.
const LONGEST_OPENING: Duration = Duration::from_secs(1);

/// Kills a writer and readers, and counts what was lost.
#[derive(Parser)]
struct Options {
    /// How often.
    #[arg(long, default_value_t = 100)]
    kills: u64,
    /// The directory of the gallery; one of its own unless it is set.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// What decides the changes and the moments.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[arg(long, hide = true)]
    writer: bool,
    #[arg(long, hide = true)]
    reader: bool,
}

/// The version of an image's vector, and that of its tags.
type Version = (u64, u64);
/// What is there.
type State = BTreeMap<u64, Version>;
/// What images become; none: they are deleted.
type Change = Vec<(u64, Option<Version>)>;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let options = Options::parse();
    let own;
    let dir = match &options.dir {
        Some(dir) => dir.clone(),
        None => {
            own = tempfile::tempdir()?;
            own.path().to_owned()
        }
    };
    if options.writer {
        write(&dir, options.seed)?;
        return Ok(ExitCode::SUCCESS);
    }
    if options.reader {
        read(&dir, options.seed)?;
        return Ok(ExitCode::SUCCESS);
    }
    let failures = kill(&dir, &options)?;
    Ok(if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn kill(dir: &Path, options: &Options) -> Result<u64, Box<dyn Error>> {
    fs::create_dir_all(dir)?;
    gallery(dir, false)?.open_or_create(&CreateInstance::new(NAME, vectors_only::MODEL).tags(["v", "t"]))?;
    File::create(noted(dir))?;
    let mut dice = Random(options.seed);
    let mut readers = (0..4).map(|seed| start("--reader", dir, seed)).collect::<Result<Vec<_>, _>>()?;
    let (mut changes, mut failures, mut slowest, mut pending) = (0, 0, Duration::ZERO, 0);
    let began = Instant::now();
    for kill in 1..=options.kills {
        let mut writer = start("--writer", dir, dice.next())?;
        // It says so when it has opened the gallery: the lock of the one before is free at once.
        let mut line = String::new();
        BufReader::new(writer.stdout.take().ok_or("no output")?).read_line(&mut line)?;
        if line != "ready\n" {
            println!("kill {kill}: the next writer could not open");
            failures += 1;
        }
        thread::sleep(Duration::from_micros(dice.next() % 300_000));
        writer.kill()?;
        let reader = dice.next() as usize % (2 * readers.len());
        if let Some(reader) = readers.get_mut(reader) {
            if reader.try_wait()?.is_none() {
                reader.kill()?;
                reader.wait()?;
            } else {
                failures += 1;
            }
            *reader = start("--reader", dir, kill)?;
        }
        writer.wait()?;
        let (mut state, under_way, count) = replay(dir)?;
        changes += count;
        pending += u64::from(under_way.is_some());
        let opening = Instant::now();
        // Every other time nothing is mended, and the next writer finds what the killed one left.
        let gallery = gallery(dir, kill.is_multiple_of(2))?;
        let instance = gallery.instance(NAME)?;
        slowest = slowest.max(opening.elapsed());
        match check(&instance, &mut state, under_way) {
            Ok(()) => {}
            Err(what) => {
                println!("kill {kill}: LOST {what}");
                failures += 1;
            }
        }
        if kill.is_multiple_of(10) {
            instance.verify()?;
            println!(
                "{kill} kills, {changes} changes acknowledged, {} images, {failures} failures",
                state.len()
            );
        }
        drop(instance);
        begin_again(dir, &state)?;
    }
    for mut reader in readers {
        if let Some(status) = reader.try_wait()? {
            println!("a reader ended: {status}");
            failures += 1;
        }
        reader.kill()?;
        reader.wait()?;
    }
    if slowest > LONGEST_OPENING {
        println!("an opening took {slowest:?}");
        failures += 1;
    }
    println!(
        "seed {}: {} kills in {:.0} s, {changes} changes acknowledged, {pending} under way; slowest opening {:.0} ms; \
         {failures} failures",
        options.seed,
        options.kills,
        began.elapsed().as_secs_f64(),
        slowest.as_secs_f64() * 1e3,
    );
    Ok(failures)
}

fn start(what: &str, dir: &Path, seed: u64) -> std::io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(what).arg("--dir").arg(dir).args(["--seed", &seed.to_string()]);
    command
        .stdin(Stdio::null())
        .stdout(if what == "--writer" { Stdio::piped() } else { Stdio::null() })
        .spawn()
}

fn gallery(dir: &Path, read_only: bool) -> lookalike::Result<Gallery> {
    let builder = vectors_only::builder(&dir.join("gallery"), DIMS).tail_rows(60).train_rows(150);
    if read_only { builder.read_only() } else { builder }.open()
}

/// The file of what is asked for and acknowledged.
fn noted(dir: &Path) -> PathBuf {
    dir.join("expected")
}

/// The writer: changes until it is killed.
fn write(dir: &Path, seed: u64) -> Result<(), Box<dyn Error>> {
    let instance = gallery(dir, false)?.instance(NAME)?;
    println!("ready");
    let (mut state, _, _) = replay(dir)?;
    let mut file = OpenOptions::new().append(true).open(noted(dir))?;
    let mut dice = Random(seed);
    loop {
        let many = if dice.next().is_multiple_of(4) { 1 + dice.next() % 40 } else { 1 };
        let kind = dice.next() % 8;
        let mut change = Change::new();
        for _ in 0..many {
            let number = dice.next() % PATHS;
            let version = dice.next() >> 32;
            let old = state.get(&number).copied();
            if change.iter().any(|(other, _)| *other == number) {
                continue;
            }
            change.push(match (kind, old) {
                (0, Some(_)) if many == 1 => (number, None),
                (1, Some((v, _))) if many == 1 => (number, Some((v, version))),
                _ => (number, Some((version, version))),
            });
        }
        note(&mut file, "asked", &change)?;
        let adds: Vec<Add> = change.iter().filter_map(|(n, version)| Some(add(*n, (*version)?))).collect();
        match (&change[..], state.get(&change[0].0)) {
            ([(number, None)], _) => drop(instance.delete(path(*number))?),
            ([(number, Some((v, t)))], Some((old, _))) if v == old => {
                instance.update(&Update::new(path(*number), tags((*v, *t))))?;
            }
            ([_], _) => drop(instance.add(&adds[0])?),
            _ => instance
                .add_batch(&adds, &BatchOptions::new())
                .into_iter()
                .try_for_each(|added| added.map(drop))?,
        }
        note(&mut file, "done", &change)?;
        apply(&mut state, &change);
    }
}

/// A reader: opens the gallery over and over, until it is killed.
fn read(dir: &Path, seed: u64) -> Result<(), Box<dyn Error>> {
    let mut dice = Random(seed);
    loop {
        let instance = gallery(dir, true)?.instance(NAME)?;
        for _ in 0..1 + dice.next() % 20 {
            let reader = instance.reader()?;
            let page = reader.search(&Query::vector(vector(dice.next() % PATHS, dice.next())).limit(20))?;
            assert_eq!(page.count, reader.len(), "every image is counted");
            for hit in &page.hits {
                let stored = reader.vector(&hit.path)?;
                let (v, _) = version(&hit.tags)?;
                let number: u64 = hit.path.trim_start_matches("img/").parse()?;
                assert!(vectors_only::cosine(&stored, &vector(number, v)) > 0.999, "{} is whole", hit.path);
            }
        }
    }
}

fn add(number: u64, version: Version) -> Add<'static> {
    Add::new(path(number), Source::vector(vector(number, version.0))).tags(tags(version))
}

fn path(number: u64) -> String {
    format!("img/{number}")
}

fn tags((v, t): Version) -> Tags {
    Tags::from([("v", v.to_string()), ("t", t.to_string())])
}

fn version(tags: &Tags) -> Result<Version, Box<dyn Error>> {
    let of = |key| tags.get(key).and_then(|values| values.first()).ok_or("a tag is missing");
    Ok((of("v")?.parse()?, of("t")?.parse()?))
}

/// A line for a change. It is in the operating system's hands when this returns, and outlives the process.
fn note(file: &mut File, what: &str, change: &Change) -> std::io::Result<()> {
    let mut line = what.to_owned();
    for (number, version) in change {
        match version {
            Some((v, t)) => line += &format!(" {number}:{v}:{t}"),
            None => line += &format!(" {number}"),
        }
    }
    file.write_all((line + "\n").as_bytes())
}

fn apply(state: &mut State, change: &Change) {
    for (number, version) in change {
        match version {
            Some(version) => drop(state.insert(*number, *version)),
            None => drop(state.remove(number)),
        }
    }
}

/// What was acknowledged, the change that was under way, and how many were acknowledged.
fn replay(dir: &Path) -> Result<(State, Option<Change>, u64), Box<dyn Error>> {
    let (mut state, mut pending, mut count) = (State::new(), None, 0);
    let text = fs::read_to_string(noted(dir))?;
    // A line without its end was not wholly written: what it says was not asked for, or was acknowledged to nobody.
    for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
        let mut words = line.split(' ');
        let what = words.next().unwrap_or_default();
        let change = words.map(|word| {
            let mut numbers = word.split(':').map(str::parse);
            let number = numbers.next().ok_or("no number")??;
            let version = numbers.next().transpose()?.zip(numbers.next().transpose()?);
            Ok((number, version))
        });
        let change = change.collect::<Result<Change, Box<dyn Error>>>()?;
        if what == "asked" {
            pending = Some(change);
        } else {
            apply(&mut state, &change);
            count += u64::from(what == "done");
            pending = None;
        }
    }
    Ok((state, pending, count))
}

/// The file anew, with nothing but what is there.
fn begin_again(dir: &Path, state: &State) -> std::io::Result<()> {
    let mut file = File::create(noted(dir))?;
    note(&mut file, "there", &state.iter().map(|(number, version)| (*number, Some(*version))).collect())
}

/// Compares; `state` becomes what was found when a change was under way.
fn check(instance: &Instance, state: &mut State, under_way: Option<Change>) -> Result<(), Box<dyn Error>> {
    let found = found(instance)?;
    if found == *state {
        return Ok(());
    }
    let mut after = state.clone();
    apply(&mut after, &under_way.unwrap_or_default());
    if found != after {
        let differs = |n: &u64| found.get(n) != state.get(n) && found.get(n) != after.get(n);
        let wrong: Vec<u64> = (0..PATHS).filter(differs).collect();
        return Err(format!("images {wrong:?}, or half of a batch").into());
    }
    *state = found;
    Ok(())
}

/// Every image, with its own vector and found by it.
fn found(instance: &Instance) -> Result<State, Box<dyn Error>> {
    let (mut found, mut dice) = (State::new(), Random(instance.len()?));
    for number in 0..PATHS {
        if !instance.check(&path(number))? {
            continue;
        }
        let page = instance.search(&Query::path(path(number)).limit(1))?;
        let hit = page.hits.first().ok_or("an image does not find itself")?;
        let (v, t) = version(&hit.tags)?;
        let own = vector(number, v);
        if hit.path != path(number) || vectors_only::cosine(&instance.vector(&hit.path)?, &own) < 0.999 {
            return Err(format!("image {number} is another").into());
        }
        if dice.next().is_multiple_of(16) {
            let page = instance.search(&Query::vector(own).limit(1))?;
            if page.hits.first().is_none_or(|hit| hit.path != path(number)) {
                return Err(format!("image {number} is not found by its vector").into());
            }
        }
        found.insert(number, (v, t));
    }
    if instance.len()? != found.len() as u64 {
        return Err("an image that nobody added".into());
    }
    Ok(found)
}

/// The vector of a version of an image: a fixed function, so that nothing has to be remembered to check it.
fn vector(number: u64, version: u64) -> Vec<f32> {
    Random(number << 40 ^ version).vector(DIMS)
}
