//! Lists of pictures and the descriptors of what they name.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use lookalike::rayon::prelude::*;
use lookalike::{Pixels, SizeLimits, View, fit};
use ndarray::{Array2, Axis, concatenate};

use crate::Failure;

/// A line of a list: `path`, `label`, and the columns of copies where there are any, separated by tabs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The picture's file.
    pub file: PathBuf,
    /// Its path as the list has it.
    pub path: String,
    /// What it shows; for a copy, the label of its original.
    pub label: String,
    /// `both`, `gallery` or `query`.
    pub role: String,
    /// The kind of edit, for a copy.
    pub group: String,
    /// Whether a copy's original is to be found: `positive` is not 0.
    pub positive: bool,
}

impl Listed {
    /// The second folder of the path, by which sources are told apart; else empty.
    pub fn source(&self) -> &str {
        let mut folders = self.path.split('/').skip(1);
        let second = folders.next().unwrap_or("");
        if folders.next().is_some() { second } else { "" }
    }
}

/// Reads a list; paths start from `folder`. A first line whose first column is `path` names the columns, else they are
/// `path`, `label`, `role`.
///
/// # Errors
/// When the list cannot be read, is empty, or a line has no label.
pub fn list(folder: &Path, list: &Path) -> Result<Vec<Listed>, Failure> {
    let text = std::fs::read_to_string(list).map_err(|error| Failure::file(list, error))?;
    let mut lines = text.lines().filter(|line| !line.is_empty()).peekable();
    let mut names = vec!["path", "label", "role"];
    if let Some(first) = lines.next_if(|line| line.split('\t').next() == Some("path")) {
        names = first.split('\t').collect();
    }
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('\t').collect();
        let cell = |name: &str| {
            names.iter().position(|other| *other == name).and_then(|at| cells.get(at)).copied().unwrap_or("")
        };
        let (path, label) = (cell("path"), cell("label"));
        if path.is_empty() || label.is_empty() {
            return Err(Failure::Line { list: list.to_owned(), line: line.chars().take(80).collect() });
        }
        Ok(Listed {
            file: folder.join(path),
            path: path.to_owned(),
            label: label.to_owned(),
            role: cell("role").to_owned(),
            group: cell("group").to_owned(),
            positive: cell("positive") != "0",
        })
    };
    let rows: Vec<Listed> = lines.map(row).collect::<Result<_, _>>()?;
    if rows.is_empty() { Err(Failure::Empty(list.to_owned())) } else { Ok(rows) }
}

/// Descriptors, one row a picture, in the order of `fit::LENGTHS`: `gem`, `e6`, `hist`, `edge`.
#[derive(Debug, Clone, PartialEq)]
pub struct Table(pub [Array2<f32>; 4]);

impl Table {
    /// The number of pictures.
    pub fn len(&self) -> usize {
        self.0[0].nrows()
    }

    /// Those of `self`, then those of `other`.
    ///
    /// # Errors
    /// When their descriptors differ in length.
    pub fn and(&self, other: &Self) -> Result<Self, Failure> {
        let mut both = self.clone();
        for (mine, theirs) in both.0.iter_mut().zip(&other.0) {
            *mine = concatenate(Axis(0), &[mine.view(), theirs.view()])
                .map_err(|_| Failure::Numbers("descriptors of different lengths"))?;
        }
        Ok(both)
    }
}

/// A picture's file as upright pixels, of any size.
///
/// # Errors
/// When the file cannot be read or is no picture.
pub fn pixels(file: &Path) -> Result<Pixels, Failure> {
    let bytes = std::fs::read(file).map_err(|error| Failure::file(file, error))?;
    Pixels::decode(&bytes, &SizeLimits::any()).map_err(|error| Failure::file(file, error))
}

/// The descriptors of `count` pictures that `picture` gives, on every thread of the global pool.
///
/// # Errors
/// The first picture that fails.
pub fn describe(
    what: &str,
    count: usize,
    picture: impl Fn(usize) -> Result<Pixels, Failure> + Sync,
) -> Result<Table, Failure> {
    let (begun, done) = (Instant::now(), AtomicUsize::new(0));
    let rows = (0..count).into_par_iter().map(|at| {
        let pixels = picture(at)?;
        let found = fit::descriptors(View::whole(&pixels)).map_err(Failure::Embed)?;
        let so_far = done.fetch_add(1, Ordering::Relaxed) + 1;
        if so_far.is_multiple_of(500) || so_far == count {
            eprintln!("{what}: {so_far} of {count}, {:.0} s", begun.elapsed().as_secs_f64());
        }
        Ok(found)
    });
    let rows: Vec<fit::Descriptors> = rows.collect::<Result<_, Failure>>()?;
    let mut table = Table(fit::LENGTHS.map(|length| Array2::zeros((count, length))));
    for (at, row) in rows.iter().enumerate() {
        for (matrix, values) in table.0.iter_mut().zip(row.all()) {
            matrix.row_mut(at).iter_mut().zip(values).for_each(|(to, value)| *to = *value);
        }
    }
    Ok(table)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Listed>, Failure> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("list.tsv");
        std::fs::write(&file, text).unwrap();
        list(Path::new("pictures"), &file)
    }

    #[test]
    fn columns_are_found_by_name() {
        let rows = read(
            "path\tlabel\trole\ttransform\tgroup\tstrength\tpositive\na/b/c.jpg\tx\tquery\tj5\tjpeg\t5\t0\n",
        );
        let row = rows.unwrap().remove(0);
        assert_eq!(
            (row.file, row.group.as_str(), row.positive),
            (Path::new("pictures/a/b/c.jpg").into(), "jpeg", false)
        );
        let rows = read("c.jpg\tx\nimages/s/d.jpg\ty\tboth").unwrap();
        assert_eq!((rows[0].source(), rows[1].source(), rows[1].positive), ("", "s", true));
    }

    #[test]
    fn lists_that_say_nothing_are_refused() {
        for text in ["", "path\tlabel\n", "a.jpg\n", "\tlabel\n"] {
            assert!(read(text).is_err(), "{text:?}");
        }
        assert!(list(Path::new(""), Path::new("no such list")).is_err());
    }
}
