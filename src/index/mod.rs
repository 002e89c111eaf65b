//! Ranking rows: pure search over slices. No files, no locks, no tags.

mod copies;
mod deep;
mod flat;
mod ivf;
mod positions;
mod query;
mod rows;
mod top;

pub(crate) use copies::{CodedView, CopyCode, HASH_MOST, hash_score};
pub(crate) use deep::Locator;
pub(crate) use flat::{Scan, Score, scan, visit};
pub(crate) use ivf::{
    Centroids, DEPTHS, Encoder, Gaps, ListQuery, OVERLONG, Reach, Sample, Threads, divide, probe, train,
};
pub(crate) use query::QueryCode;
pub(crate) use rows::{ListedRows, RowRun, Rows, inv_norm, upper_factor};
pub(crate) use top::{Place, Ranked, SharedBar, Top};
