//! Why a task ended early.

use std::path::{Path, PathBuf};

use thiserror::Error;

/// What went wrong, in words for whoever started the task.
#[derive(Debug, Error)]
pub enum Failure {
    /// A file cannot be read or written, or is not what it should be.
    #[error("{0:?}: {1}")]
    File(PathBuf, #[source] Box<dyn std::error::Error + Send + Sync>),
    /// A line of a list has no path or no label.
    #[error("{list:?} has a line without a path and a label: {line:?}")]
    Line {
        /// The list.
        list: PathBuf,
        /// The beginning of the line.
        line: String,
    },
    /// A list names no picture.
    #[error("{0:?} names no picture")]
    Empty(PathBuf),
    /// A copy whose original is not listed.
    #[error("the copy {0:?} has the label {1:?}, which no original has")]
    Orphan(String, String),
    /// Pictures that nothing can be fitted on, or figures that do not go together.
    #[error("{0}")]
    Numbers(&'static str),
    /// The crash simulator could not run, or found something.
    #[error("{0}")]
    Simulator(String),
    /// The library refused.
    #[error("{0}")]
    Embed(#[source] lookalike::EmbedError),
}

impl Failure {
    /// `error` about `file`.
    pub fn file(file: &Path, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::File(file.to_owned(), error.into())
    }
}
