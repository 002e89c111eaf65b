//! A folder of pictures and the instance that follows it.
//!
//! What the instance knows of a file is kept with the image itself, as the tag `version`: its length and the time of its last
//! change. So there is no second place that could disagree with it, and a run that was interrupted is taken up by the next.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::UNIX_EPOCH;

use lookalike::rayon::prelude::*;
use lookalike::{
    Add, BatchOptions, Code, CreateInstance, Delete, Fault, Gallery, Instance, Progress, SizeLimits, Source,
    Tags,
};
use serde::Serialize;

/// Pictures between two moments at which an interruption loses nothing.
const GROUP: usize = 256;

/// Values that a tag key may have, and characters of a value.
const MOST_VALUES: usize = 32;
const MOST_CHARS: usize = 256;

/// What a run did.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Indexed {
    pub(crate) added: u64,
    pub(crate) updated: u64,
    pub(crate) deleted: u64,
    pub(crate) unchanged: u64,
    pub(crate) interrupted: bool,
    pub(crate) skipped: Vec<Skipped>,
}

/// A picture that is not in the instance, and why.
#[derive(Debug, Serialize)]
pub(crate) struct Skipped {
    pub(crate) path: String,
    /// The library's code; none when the file could not even be named or opened.
    pub(crate) code: Option<Code>,
    pub(crate) why: String,
}

/// Pictures of a folder, each with its version; and what could not be looked into.
#[derive(Default)]
struct Scan {
    files: BTreeMap<String, String>,
    skipped: Vec<Skipped>,
    /// Paths of folders that could not be read, with `/` at their end: what is in them is not known to be gone.
    unread: Vec<String>,
}

/// Opens the gallery of a folder: its instance `pictures`, and a resolver that reads files below the folder.
///
/// The library never opens a path by itself; what may be read is decided here.
pub(crate) fn open(folder: &Path, gallery: &Path, limits: SizeLimits) -> Result<Instance, Box<dyn Error>> {
    let folder = folder.to_owned();
    let resolver = move |path: &str| Ok(std::fs::read(file_of(&folder, path)?)?);
    let gallery = Gallery::builder(gallery).resolver(resolver).size_limits(limits).open()?;
    let create = CreateInstance::new("pictures", "common-search").tags(["folder", "version"]);
    Ok(gallery.open_or_create(&create)?)
}

/// The file that a path of the instance names.
pub(crate) fn file_of(folder: &Path, path: &str) -> Result<PathBuf, &'static str> {
    match Path::new(path).components().all(|part| matches!(part, Component::Normal(_))) {
        true => Ok(folder.join(path)),
        false => Err("the path leads out of the folder"),
    }
}

/// Makes the instance what the folder is: adds what is new, replaces what changed, deletes what is gone.
///
/// `begun` is told how many pictures there are to look at, `progress` after each of them. Once `stop` is set the rest is left
/// for the next run.
pub(crate) fn follow(
    instance: &Instance,
    folder: &Path,
    stop: &AtomicBool,
    begun: impl FnOnce(u64),
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Indexed, Box<dyn Error>> {
    let scan = scan(folder)?;
    let mut stored: HashMap<String, String> = HashMap::new();
    for image in instance.iter()? {
        let image = image?;
        let version = image.tags.get("version").and_then(|versions| versions.first().cloned());
        stored.insert(image.path, version.unwrap_or_default());
    }
    if scan.files.is_empty() && !stored.is_empty() {
        return Err("there is no picture in the folder; if that is meant, remove the gallery".into());
    }
    let mut indexed = Indexed { skipped: scan.skipped, ..Indexed::default() };

    let gone: Vec<&String> = stored
        .keys()
        .filter(|path| !scan.files.contains_key(*path) && !scan.unread.iter().any(|f| path.starts_with(f)))
        .collect();
    indexed.deleted = delete(instance, &gone)?;

    let due: Vec<(&String, &String)> =
        scan.files.iter().filter(|(path, version)| stored.get(*path) != Some(version)).collect();
    indexed.unchanged = (scan.files.len() - due.len()) as u64;
    begun(due.len() as u64);
    for group in due.chunks(GROUP) {
        if stop.load(Ordering::Relaxed) {
            indexed.interrupted = true;
            break;
        }
        let adds: Vec<Add<'_>> = group
            .iter()
            .map(|(path, version)| Add::new(*path, Source::Resolve).tags(tags(path, version)))
            .collect();
        let options = BatchOptions::new().progress(progress).cancel(stop);
        let mut outdated = Vec::new();
        for ((path, _), result) in group.iter().zip(instance.add_batch(&adds, &options)) {
            match result {
                Ok(_) if stored.contains_key(*path) => indexed.updated += 1,
                Ok(_) => indexed.added += 1,
                Err(error) if error.code() == Code::TimedOut => indexed.interrupted = true,
                // The fault of one picture; a full disk, say, would be everybody's.
                Err(error) if is_of_picture(error.code()) => {
                    let (code, why) = (Some(error.code()), format!("{error:#}"));
                    indexed.skipped.push(Skipped { path: (*path).clone(), code, why });
                    // What the instance has is not the picture that is there now.
                    outdated.extend(stored.contains_key(*path).then_some(*path));
                }
                Err(error) => return Err(error.into()),
            }
        }
        indexed.deleted += delete(instance, &outdated)?;
    }
    Ok(indexed)
}

fn is_of_picture(code: Code) -> bool {
    code.fault() == Fault::Data || matches!(code, Code::PictureUnavailable | Code::PathInvalid)
}

/// Deletes images: side by side, for then they share the syncs of the disk.
fn delete(instance: &Instance, paths: &[&String]) -> lookalike::Result<u64> {
    let one = |path: &&String| instance.delete(Delete::new(path.as_str()).if_exists());
    let deleted: Vec<bool> = paths.par_iter().map(one).collect::<lookalike::Result<_>>()?;
    Ok(deleted.into_iter().filter(|&there| there).count() as u64)
}

/// Every folder that a picture is in, so that a search in one finds what is below it; `.` for the folder itself.
fn tags(path: &str, version: &str) -> Tags {
    let above = path.match_indices('/').map(|(at, _)| &path[..at]);
    let mut folders: Vec<&str> =
        above.filter(|folder| folder.chars().count() <= MOST_CHARS).take(MOST_VALUES).collect();
    if folders.is_empty() {
        folders.push(".");
    }
    Tags::new().with_values("folder", folders).with("version", version)
}

/// Pictures below a folder: paths relative to it, with `/` between their parts. Hidden folders and links are left out.
fn scan(folder: &Path) -> Result<Scan, Box<dyn Error>> {
    let mut scan = Scan::default();
    // The folder itself must be there: else everything would seem to be gone.
    std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut waiting = vec![String::new()];
    while let Some(prefix) = waiting.pop() {
        let entries = match std::fs::read_dir(folder.join(&prefix)) {
            Ok(entries) => entries,
            Err(error) => {
                scan.skipped.push(Skipped { path: prefix.clone(), code: None, why: error.to_string() });
                scan.unread.push(prefix);
                continue;
            }
        };
        for entry in entries {
            let entry = entry?;
            let name = match entry.file_name().into_string() {
                Ok(name) => name,
                Err(name) => {
                    let (path, why) = (format!("{prefix}{}", name.to_string_lossy()), "not UTF-8".to_owned());
                    scan.skipped.push(Skipped { path, code: None, why });
                    continue;
                }
            };
            let (kind, path) = (entry.file_type()?, format!("{prefix}{name}"));
            if kind.is_dir() && !name.starts_with('.') {
                waiting.push(format!("{path}/"));
            } else if kind.is_file() && is_picture(&name) {
                match entry.metadata() {
                    Ok(about) => {
                        let changed = about.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
                        let changed = changed.unwrap_or_default().as_nanos();
                        scan.files.insert(path, format!("{}-{changed}", about.len()));
                    }
                    Err(error) => {
                        scan.unread.push(path.clone());
                        scan.skipped.push(Skipped { path, code: None, why: error.to_string() });
                    }
                }
            }
        }
    }
    Ok(scan)
}

fn is_picture(name: &str) -> bool {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension).to_ascii_lowercase();
    matches!(extension.as_str(), "jpg" | "jpeg" | "png" | "bmp")
}
