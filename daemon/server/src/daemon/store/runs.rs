//! Runs and everything that happened in them.

use std::path::PathBuf;

use hotplate_protocol::run::{RunEvent, RunId};
use rusqlite::{OptionalExtension, Transaction, params};

use super::{Result, Store, json_column, now, path_text, to_json};
use crate::daemon::runs::train_request::TrainRequest;

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Queued,
    Running,
    Finished,
    Kept,
    Failed,
    Cancelled,
}

impl Stage {
    fn text(self) -> &'static str {
        match self {
            Stage::Queued => "queued",
            Stage::Running => "running",
            Stage::Finished => "finished",
            Stage::Kept => "kept",
            Stage::Failed => "failed",
            Stage::Cancelled => "cancelled",
        }
    }

    /// The stage that a run's last event brings.
    fn of_last(event: &RunEvent) -> Stage {
        match event {
            RunEvent::Finished { .. } => Stage::Finished,
            RunEvent::Kept { .. } => Stage::Kept,
            RunEvent::Cancelled => Stage::Cancelled,
            _ => Stage::Failed,
        }
    }
}

/// A run that had not ended when the daemon did.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RunRow {
    pub(crate) run: RunId,
    pub(crate) order: TrainRequest,
    pub(crate) begun: bool,
    /// How often it was begun; more than a few mean that it takes the daemon down.
    pub(crate) attempts: u32,
    pub(crate) planned_version: Option<u32>,
    pub(crate) events: usize,
}

impl Store {
    pub(crate) fn add_run(&mut self, order: &TrainRequest) -> Result<RunId> {
        self.write(|transaction| {
            let sql =
                "INSERT INTO runs (run_order, folder, adapter, stage, created) VALUES (?1, ?2, ?3, ?4, ?5)";
            let target = &order.target;
            let values = params![
                to_json(order)?,
                path_text(&target.folder),
                target.adapter,
                Stage::Queued.text(),
                now()
            ];
            transaction.execute(sql, values)?;
            Ok(RunId(transaction.last_insert_rowid()))
        })
    }

    /// A waiting run took over the causes of another one.
    pub(crate) fn update_order(&mut self, run: RunId, order: &TrainRequest) -> Result<()> {
        self.write(|transaction| {
            let sql = "UPDATE runs SET run_order = ?2 WHERE id = ?1";
            transaction.execute(sql, params![run.0, to_json(order)?]).map(|_| ())
        })
    }

    pub(crate) fn begin_run(&mut self, run: RunId) -> Result<()> {
        self.write(|transaction| {
            let sql =
                "UPDATE runs SET stage = ?2, attempts = attempts + 1, planned_version = NULL WHERE id = ?1";
            transaction.execute(sql, params![run.0, Stage::Running.text()]).map(|_| ())
        })
    }

    /// Noted before the version's folder appears: a folder that a kill left without its row is known by this.
    pub(crate) fn plan_version(&mut self, run: RunId, version: u32) -> Result<()> {
        self.write(|transaction| {
            let sql = "UPDATE runs SET planned_version = ?2 WHERE id = ?1";
            transaction.execute(sql, params![run.0, version]).map(|_| ())
        })
    }

    /// The daemon ends in good order: no run is to blame.
    pub(crate) fn forgive_attempts(&mut self) -> Result<()> {
        self.write(|transaction| {
            let sql = "UPDATE runs SET attempts = 0 WHERE stage IN ('queued', 'running') AND attempts > 0";
            transaction.execute(sql, []).map(|_| ())
        })
    }

    pub(crate) fn end_run(&mut self, run: RunId, last: &RunEvent) -> Result<()> {
        self.write(|transaction| end_run(transaction, run, last))
    }

    pub(crate) fn add_events(&mut self, run: RunId, first_place: usize, events: &[RunEvent]) -> Result<()> {
        self.write(|transaction| {
            let mut statement = transaction.prepare_cached(
                "INSERT OR REPLACE INTO run_events (run, place, event) VALUES (?1, ?2, ?3)",
            )?;
            for (index, event) in events.iter().enumerate() {
                statement.execute(params![run.0, (first_place + index) as i64, to_json(event)?])?;
            }
            Ok(())
        })
    }

    /// A run's events in order; `None` if there is no such run.
    pub(crate) fn events(&self, run: RunId) -> Result<Option<Vec<RunEvent>>> {
        self.read(|connection| {
            let known: Option<i64> = connection
                .query_row("SELECT id FROM runs WHERE id = ?1", [run.0], |row| row.get(0))
                .optional()?;
            if known.is_none() {
                return Ok(None);
            }
            let mut statement =
                connection.prepare_cached("SELECT event FROM run_events WHERE run = ?1 ORDER BY place")?;
            let rows = statement.query_map([run.0], |row| json_column(row, 0))?;
            rows.collect::<rusqlite::Result<Vec<RunEvent>>>().map(Some)
        })
    }

    /// Runs that had not ended, oldest first.
    pub(crate) fn open_runs(&self) -> Result<Vec<RunRow>> {
        self.read(|connection| {
            let mut statement = connection.prepare(
                "SELECT id, run_order, stage, attempts, planned_version,
                     (SELECT count(*) FROM run_events WHERE run = runs.id)
                 FROM runs WHERE stage IN ('queued', 'running') ORDER BY id",
            )?;
            let rows = statement.query_map([], |row| {
                Ok(RunRow {
                    run: RunId(row.get(0)?),
                    order: json_column(row, 1)?,
                    begun: row.get::<_, String>(2)? == Stage::Running.text(),
                    attempts: row.get(3)?,
                    planned_version: row.get(4)?,
                    events: usize::try_from(row.get::<_, i64>(5)?).unwrap_or(0),
                })
            })?;
            rows.collect()
        })
    }
}

pub(super) fn end_run(transaction: &Transaction<'_>, run: RunId, last: &RunEvent) -> rusqlite::Result<()> {
    let sql = "UPDATE runs SET stage = ?2, ended = ?3, outcome = ?4 WHERE id = ?1";
    transaction.execute(sql, params![run.0, Stage::of_last(last).text(), now(), to_json(last)?]).map(|_| ())
}

/// A path that was written with `path_text`.
pub(super) fn path_column(row: &rusqlite::Row<'_>, index: usize) -> rusqlite::Result<PathBuf> {
    row.get::<_, String>(index).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use hotplate_protocol::run::{Cause, RunKind};

    use super::*;
    use crate::daemon::runs::train_request::test_order;

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store.sqlite")).unwrap();
        (folder, store)
    }

    #[test]
    fn what_has_not_ended_is_found_again() {
        let (_folder, mut store) = store();
        let order = test_order("notes", RunKind::Full, Cause::Asked);
        let (first, second) = (store.add_run(&order).unwrap(), store.add_run(&order).unwrap());
        store.begin_run(second).unwrap();
        store.plan_version(second, 3).unwrap();
        store.end_run(first, &RunEvent::Cancelled).unwrap();
        let open = store.open_runs().unwrap();
        assert_eq!(open.len(), 1);
        assert_eq!((open[0].run, open[0].begun, open[0].attempts), (second, true, 1));
        assert_eq!((open[0].planned_version, &open[0].order), (Some(3), &order));
    }

    #[test]
    fn events_keep_their_order_and_a_place_is_written_once() {
        let (_folder, mut store) = store();
        let run = store.add_run(&test_order("notes", RunKind::Full, Cause::Asked)).unwrap();
        let note = |text: &str| RunEvent::Note { text: text.to_owned() };
        store.add_events(run, 0, &[note("a"), note("b")]).unwrap();
        store.add_events(run, 1, &[note("b"), note("c")]).unwrap();
        assert_eq!(store.events(run).unwrap().unwrap(), [note("a"), note("b"), note("c")]);
        assert!(store.events(RunId(99)).unwrap().is_none());
    }
}
