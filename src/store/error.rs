//! What can go wrong in a store.

use std::io;

use thiserror::Error;

/// A fault of the store: what it was doing, to which file.
#[derive(Debug, Error)]
pub(crate) enum StoreError {
    #[error("cannot {action} {file}: {source}")]
    Io { action: &'static str, file: String, source: io::Error },
    #[error("{file} is damaged at byte {offset}: {what}")]
    Corrupt { file: String, offset: u64, what: &'static str },
    #[error("{file} is missing")]
    Missing { file: String },
    #[error("{file} has format {found}; this version reads {known}")]
    Format { file: String, found: u32, known: u32 },
    #[error("another handle or process has the instance open for writing")]
    Locked,
    #[error("writing stopped after an earlier failure ({0}); reopen the instance")]
    Stopped(String),
    #[error("the instance was opened read-only")]
    ReadOnly,
    #[error("files of the instance are damaged; it takes no more changes")]
    Abnormal,
}

impl StoreError {
    pub(crate) fn io(action: &'static str, file: &str) -> impl FnOnce(io::Error) -> Self {
        move |source| {
            if source.kind() == io::ErrorKind::NotFound {
                Self::Missing { file: file.to_owned() }
            } else {
                Self::Io { action, file: file.to_owned(), source }
            }
        }
    }

    pub(crate) fn is_corruption(&self) -> bool {
        matches!(self, Self::Corrupt { .. } | Self::Missing { .. })
    }
}
