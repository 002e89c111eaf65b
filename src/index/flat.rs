//! Exhaustive search.

use roaring::RoaringBitmap;

use super::rows::Rows;
use super::top::{Place, Ranked, Top};

/// Rows read at a time: their codes (1 MiB at 256 dimensions) stay in the second-level cache between the
/// checksum and the scores.
const RUN: u32 = 4096;

/// A query that scores rows.
pub(crate) trait Score {
    /// The score of a row: its codes, and one over the norm of each block.
    fn score(&self, codes: &[i8], inv_norms: &[[u8; 4]]) -> f32;
}

/// Which rows to score, and which scores count.
#[derive(Debug)]
pub(crate) struct Scan<'a> {
    /// Which part of the snapshot the rows are: goes into [`Place`].
    pub(crate) part: u32,
    /// Number of rows.
    pub(crate) rows: u32,
    /// The only rows that count; all when there are none.
    pub(crate) only: Option<&'a RoaringBitmap>,
    /// Rows that do not count.
    pub(crate) dead: &'a RoaringBitmap,
    /// Scores below it do not count.
    pub(crate) min_score: f32,
}

/// Scores every row that counts, offers it to `top`, and returns `(rows scored, rows at or above the minimum)`.
pub(crate) fn scan<R: Rows>(
    rows: &R,
    query: &impl Score,
    scan: &Scan<'_>,
    dims: usize,
    blocks: usize,
    top: &mut Top,
) -> Result<(u64, u64), R::Error> {
    let (mut scored, mut counted) = (0, 0);
    let mut one = |position: u32, codes: &[i8], inv_norms: &[[u8; 4]]| -> Result<(), R::Error> {
        let score = query.score(codes, inv_norms);
        scored += 1;
        if score >= scan.min_score {
            counted += 1;
            if score >= top.bar() {
                let place = Place { part: scan.part, position };
                top.offer(Ranked { score, order: rows.order(position)?, place });
            }
        }
        Ok(())
    };
    match scan.only {
        Some(only) => {
            for position in only {
                if !scan.dead.contains(position) {
                    let run = rows.run(position..position + 1)?;
                    one(position, run.codes, run.inv_norms)?;
                }
            }
        }
        None => {
            let any_dead = !scan.dead.is_empty();
            let mut position = 0;
            while position < scan.rows {
                let run = rows.run(position..scan.rows.min(position.saturating_add(RUN)))?;
                for (codes, inv_norms) in run.codes.chunks_exact(dims).zip(run.inv_norms.chunks_exact(blocks))
                {
                    if !any_dead || !scan.dead.contains(position) {
                        one(position, codes, inv_norms)?;
                    }
                    position += 1;
                }
            }
        }
    }
    Ok((scored, counted))
}
