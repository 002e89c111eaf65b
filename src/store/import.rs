//! Many images at once, without the log: a run of them becomes a segment, and is durable when its manifest is.

use std::sync::{Arc, PoisonError};

use super::compact::LiveRows;
use super::draft::{Draft, Op};
use super::error::StoreError;
use super::log;
use super::snapshot::{Snapshot, path_hash};
use super::tail::Tail;
use super::writer::Results;
use super::{Core, Turn, lock};
use crate::cancel::{CancelToken, Stop};

impl Core {
    fn take_turn(&self) -> Turn<'_> {
        let mut queue = lock(&self.queue);
        while queue.busy {
            queue = self.turn.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        queue.busy = true;
        Turn(self)
    }

    /// Applies changes that add rows, and writes these as a segment of their own. Changes by others wait meanwhile;
    /// merges too. `expected` is how many images there will be in all, as far as anybody knows.
    ///
    /// Either all of it is durable and visible when it returns, or nothing.
    pub(crate) fn import(
        &self,
        ops: Vec<Op>,
        expected: u64,
        cancel: Option<&CancelToken>,
    ) -> Result<Results, StoreError> {
        drop(self.writable()?);
        let _merging = lock(&self.merging);
        let _turn = self.take_turn();
        self.guarded(|| self.import_run(ops, expected, self.stop(cancel)))
    }

    fn import_run(&self, ops: Vec<Op>, expected: u64, stop: Stop<'_>) -> Result<Results, StoreError> {
        // The log is replayed over the segments, so what it says of these paths must be older than the run: in segments.
        {
            let mut writer = self.writable()?;
            writer.mark_dirty()?;
            if writer.log.len() > log::HEADER as u64 {
                self.freeze(writer)?;
            }
        }
        while self.seal_next()? {}
        let base = self.snapshot();
        let (next_order, capacity) = {
            let writer = self.writable()?;
            writer.ready()?;
            (writer.next_order, writer.manifest.about.capacity)
        };
        let mut draft = Draft::new(&base, next_order, capacity, ops.len());
        let apply = |op: Op| {
            let hash = path_hash(&base.uuid, op.path());
            draft.apply(op, hash).map(|(outcome, _)| outcome)
        };
        let results: Results = ops.into_iter().map(apply).collect();
        let run = draft.into_run();
        let replaced = run.killed.iter().map(|&place| base.path(place).map(str::to_owned));
        let replaced: Vec<String> = replaced.collect::<Result<_, _>>()?;
        let mut tail = Tail::default();
        tail.push(run.rows);
        let alone = Snapshot {
            sealed: Vec::new(),
            frozen: Vec::new(),
            tail,
            tail_dead: Arc::new(run.dead),
            ..(*base).clone()
        };
        let expected = expected.max(base.live() + alone.live());
        self.train_for_import(&alone, expected, stop)?;
        let newest = self.snapshot();
        let rows = LiveRows::of(&alone, &[0], newest.centres.last())?;
        let built = self.write(&alone, &rows, stop)?;
        let mut writer = self.writable()?;
        writer.next_order = run.next_order;
        let published = writer.publish_imported(built, &replaced);
        self.publish(&writer);
        published.map(|()| results)
    }
}
