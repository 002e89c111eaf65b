//! From lists to a table of descriptors and what is known of each row.

use std::collections::HashMap;
use std::path::PathBuf;

use crate::Failure;
use crate::cache::{self, Key};
use crate::closed::Sample;
use crate::copies::{Order, make, orders};
use crate::evaluate::numbered;
use crate::pictures::{Listed, Table, describe, list, pixels};
use crate::transform::family;

/// A folder of pictures and its list.
#[derive(Debug, Clone)]
pub struct Place {
    /// Where the paths of the list start.
    pub folder: PathBuf,
    /// The list.
    pub list: PathBuf,
}

/// What to gather.
#[derive(Debug, Clone)]
pub struct Sources {
    /// Pictures labelled by what kind of thing they show.
    pub category: Place,
    /// Pictures labelled by which thing they show.
    pub instance: Place,
    /// Originals of copies.
    pub copies: Place,
    /// Copies made by another program, labelled as their originals are.
    pub queries: Option<Place>,
    /// Copies made here of each original of a copy, and of each other picture.
    pub made: [usize; 2],
    /// Where descriptors are kept from one run to the next.
    pub cache: Option<PathBuf>,
}

/// Which list a picture is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Kinds of things.
    Category,
    /// Things.
    Instance,
    /// Originals of copies.
    Copies,
}

/// An original; its place is its row in the table.
#[derive(Debug, Clone)]
pub struct Original {
    /// Which list it is of.
    pub task: Task,
    /// Its line of the list.
    pub listed: Listed,
    /// Its label as a number, different in each list.
    pub label: usize,
}

/// A copy.
#[derive(Debug, Clone)]
pub struct Copy {
    /// Its row in the table.
    pub row: usize,
    /// The row of its original.
    pub original: usize,
    /// The kind of edit.
    pub family: String,
    /// Whether a search can find its original in the gallery; `None` for copies made here, which are only fitted on.
    pub positive: Option<bool>,
}

/// Everything there is to fit on and to judge by.
#[derive(Debug)]
pub struct Gathered {
    /// Descriptors: first of the originals, then of the copies.
    pub table: Table,
    /// Rows `0..originals.len()`.
    pub originals: Vec<Original>,
    /// The rest.
    pub copies: Vec<Copy>,
}

/// Reads the lists, makes copies, and computes the descriptors of all.
///
/// # Errors
/// [`Failure`]: the first list or picture that cannot be used.
pub fn gather(sources: &Sources) -> Result<Gathered, Failure> {
    let mut originals = Vec::new();
    for (task, place) in [
        (Task::Category, &sources.category),
        (Task::Instance, &sources.instance),
        (Task::Copies, &sources.copies),
    ] {
        let listed = list(&place.folder, &place.list)?;
        let labels = numbered(listed.iter().map(|one| one.label.as_str()));
        originals.extend(listed.into_iter().zip(labels).map(|(listed, label)| Original {
            task,
            listed,
            label,
        }));
    }
    let mut copies = Vec::new();
    let mut files = Vec::new();
    if let Some(place) = &sources.queries {
        (copies, files) = given(&list(&place.folder, &place.list)?, &originals)?;
    }
    let (made, orders) = to_make(&originals, sources.made, originals.len() + copies.len());
    copies.extend(made);

    let all: Vec<Listed> = originals.iter().map(|original| original.listed.clone()).collect();
    let compute = || {
        let of_originals = describe("originals", all.len(), |at| pixels(&all[at].file))?;
        let of_given = describe("copies given", files.len(), |at| pixels(&files[at]))?;
        let of_made = describe("copies made", orders.len(), |at| make(&orders[at], &all))?;
        of_originals.and(&of_given)?.and(&of_made)
    };
    let Some(file) = &sources.cache else {
        return Ok(Gathered { table: compute()?, originals, copies });
    };
    let paths = all.iter().map(|one| &one.file).chain(&files);
    let key = Key::of(
        paths
            .map(|file| file.to_string_lossy().into_owned())
            .chain(orders.iter().map(|order| format!("{} {}", order.original, order.transform))),
    );
    // The first picture tells whether the network is still the one that the file was made with.
    let probe = describe("the first picture", 1, |_| pixels(&all[0].file))?;
    let rows = originals.len() + copies.len();
    if let Some(table) = cache::read(file, key, rows, &probe)? {
        return Ok(Gathered { table, originals, copies });
    }
    let table = compute()?;
    cache::write(file, key, &table)?;
    Ok(Gathered { table, originals, copies })
}

/// Copies of a list, and their files.
fn given(queries: &[Listed], originals: &[Original]) -> Result<(Vec<Copy>, Vec<PathBuf>), Failure> {
    let sources: HashMap<&str, usize> = originals
        .iter()
        .enumerate()
        .filter(|(_, original)| original.task == Task::Copies)
        .map(|(row, original)| (original.listed.label.as_str(), row))
        .collect();
    let copy = |(at, query): (usize, &Listed)| {
        let original = *sources
            .get(query.label.as_str())
            .ok_or_else(|| Failure::Orphan(query.path.clone(), query.label.clone()))?;
        let (row, family) = (originals.len() + at, query.group.clone());
        Ok(Copy { row, original, family, positive: Some(query.positive) })
    };
    let copies = queries.iter().enumerate().map(copy).collect::<Result<_, Failure>>()?;
    Ok((copies, queries.iter().map(|query| query.file.clone()).collect()))
}

/// Copies to make here; their rows begin at `first`.
fn to_make(originals: &[Original], each: [usize; 2], first: usize) -> (Vec<Copy>, Vec<Order>) {
    let mut all = Vec::new();
    for (of_copies, each) in [(true, each[0]), (false, each[1])] {
        let rows: Vec<usize> =
            (0..originals.len()).filter(|row| (originals[*row].task == Task::Copies) == of_copies).collect();
        let here = orders(rows.len(), each);
        all.extend(here.into_iter().map(|order| Order { original: rows[order.original], ..order }));
    }
    let copy = |(at, order): (usize, &Order)| Copy {
        row: first + at,
        original: order.original,
        family: family(order.transform).to_owned(),
        positive: None,
    };
    (all.iter().enumerate().map(copy).collect(), all)
}

impl Gathered {
    /// What to fit on: the originals and the copies that the two questions let through.
    pub fn sample(&self, original: impl Fn(&Original) -> bool, copy: impl Fn(&Copy) -> bool) -> Sample {
        let mut sample = Sample::default();
        for (row, one) in self.originals.iter().enumerate().filter(|(_, one)| original(one)) {
            sample.originals.push(row);
            match one.task {
                Task::Category => sample.categories.push((row, one.label)),
                Task::Instance => sample.instances.push((row, one.label)),
                Task::Copies => {}
            }
        }
        let fitted = |one: &&Copy| copy(one) && original(&self.originals[one.original]);
        sample.copies = self.copies.iter().filter(fitted).map(|one| (one.row, one.original)).collect();
        sample
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use super::*;

    /// The example pictures under made-up labels.
    pub(crate) fn sources(dir: &Path) -> Sources {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/pictures");
        let place = |name: &str, text: &str| {
            std::fs::write(dir.join(name), text).unwrap();
            Place { folder: folder.clone(), list: dir.join(name) }
        };
        Sources {
            category: place("category", "cat.jpg\ta\ncoffee.jpg\ta\ncoins.jpg\tb\nclock.jpg\tb\n"),
            instance: place("instance", "grass.jpg\tg\ngravel.jpg\tg\n"),
            copies: place("copies", "rocket.jpg\tr\tboth\nretina.jpg\ts\tquery\n"),
            queries: Some(place(
                "queries",
                "path\tlabel\tgroup\tpositive\ntext.jpg\tr\tcrop\t1\ncell.jpg\ts\tjpeg\t0\n",
            )),
            made: [2, 1],
            cache: None,
        }
    }

    #[test]
    fn rows_are_what_they_are_said_to_be() {
        let dir = tempfile::tempdir().unwrap();
        let all = gather(&sources(dir.path())).unwrap();
        assert_eq!((all.table.len(), all.originals.len(), all.copies.len()), (8 + 2 + 4 + 6, 8, 2 + 4 + 6));
        assert!(all.copies.iter().enumerate().all(|(at, copy)| copy.row == 8 + at));
        assert_eq!((all.copies[0].original, all.copies[1].original), (6, 7));
        assert_eq!(all.copies[1].positive, Some(false));
        // Made copies resemble their own original more than any other.
        for copy in &all.copies[2..] {
            let row = |at: usize| all.table.0[2].row(at);
            let best =
                (0..8).max_by(|a, b| row(copy.row).dot(&row(*a)).total_cmp(&row(copy.row).dot(&row(*b))));
            assert!(best == Some(copy.original) || copy.family != "crop", "{copy:?}");
        }
        let sample = all.sample(|one| one.task != Task::Instance, |copy| copy.family != "crop");
        assert_eq!((sample.originals.len(), sample.categories.len(), sample.instances.len()), (6, 4, 0));
        assert!(sample.copies.iter().all(|(_, original)| ![4, 5].contains(original)));
    }

    #[test]
    fn descriptors_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let mut sources = sources(dir.path());
        sources.made = [0, 0];
        sources.cache = Some(dir.path().join("cache"));
        let first = gather(&sources).unwrap();
        assert_eq!(gather(&sources).unwrap().table, first.table);
        // Other pictures are not taken for these.
        std::fs::write(&sources.instance.list, "grass.jpg\tg\nbrick.jpg\tg\n").unwrap();
        assert_ne!(gather(&sources).unwrap().table, first.table);
    }

    #[test]
    fn copies_of_nothing_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let sources = sources(dir.path());
        std::fs::write(&sources.queries.as_ref().unwrap().list, "text.jpg\tnobody\n").unwrap();
        assert!(matches!(gather(&sources), Err(Failure::Orphan(..))));
    }
}
