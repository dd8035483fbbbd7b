//! What is being read for a watch or a run. A mark that still stands at the next start means that the daemon died in the middle of it.

use std::path::PathBuf;

use rusqlite::params;

use super::{Result, Store, path_text};
use crate::daemon::runs::train_request::DatasetTarget;

/// What a folder is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadFor {
    Watch,
    Run,
}

impl ReadFor {
    fn text(self) -> &'static str {
        match self {
            ReadFor::Watch => "watch",
            ReadFor::Run => "run",
        }
    }
}

/// A person may kill the daemon at any moment; twice in a row in the middle of the same is no accident.
const DEATHS: u32 = 2;

impl Store {
    /// Noted before a folder is read. Not for a power cut: that is nobody's fault.
    pub(crate) fn begin_preparing(&mut self, target: &DatasetTarget, what: ReadFor) -> Result<()> {
        self.write_for_this_boot(
            "INSERT INTO preparations (folder, adapter, what, open, deaths) VALUES (?1, ?2, ?3, 1, 0)
             ON CONFLICT (folder, adapter, what) DO UPDATE SET open = 1",
            target,
            what,
        )
    }

    /// It came to an end, whatever that was.
    pub(crate) fn end_preparing(&mut self, target: &DatasetTarget, what: ReadFor) -> Result<()> {
        self.write_for_this_boot(
            "DELETE FROM preparations WHERE folder = ?1 AND adapter = ?2 AND what = ?3",
            target,
            what,
        )
    }

    fn write_for_this_boot(&mut self, sql: &str, target: &DatasetTarget, what: ReadFor) -> Result<()> {
        self.without_sync(|store| {
            store.write(|transaction| {
                let values = params![path_text(&target.folder), target.adapter, what.text()];
                transaction.execute(sql, values).map(|_| ())
            })
        })
    }

    /// The daemon ends in good order: nothing that is being read is to blame.
    pub(crate) fn forgive_preparations(&mut self) -> Result<()> {
        self.write(|transaction| {
            transaction.execute("DELETE FROM preparations WHERE open = 1", []).map(|_| ())
        })
    }

    /// At the start: what was being read when the daemon aborted, or was killed this time and the time before.
    pub(crate) fn suspended(&mut self, aborted: bool) -> Result<Vec<(DatasetTarget, ReadFor)>> {
        self.write(|transaction| {
            let sql = "UPDATE preparations SET deaths = deaths + ?1, open = 0 WHERE open = 1";
            transaction.execute(sql, [if aborted { DEATHS } else { 1 }])?;
            let sql = "SELECT folder, adapter, what FROM preparations WHERE deaths >= ?1 ORDER BY folder";
            let mut statement = transaction.prepare(sql)?;
            let rows = statement.query_map([DEATHS], |row| {
                let target =
                    DatasetTarget { folder: PathBuf::from(row.get::<_, String>(0)?), adapter: row.get(1)? };
                let run = row.get::<_, String>(2)? == ReadFor::Run.text();
                Ok((target, if run { ReadFor::Run } else { ReadFor::Watch }))
            })?;
            rows.collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_daemon_dies_of_twice_in_a_row_is_suspended() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Store::open(&folder.path().join("store.sqlite")).unwrap();
        let target = |name: &str| DatasetTarget {
            folder: PathBuf::from("/notes").join(name),
            adapter: name.to_owned(),
        };
        let mut store = open();
        for (name, what) in [("a", ReadFor::Watch), ("b", ReadFor::Run), ("c", ReadFor::Watch)] {
            store.begin_preparing(&target(name), what).unwrap();
        }
        store.end_preparing(&target("c"), ReadFor::Watch).unwrap();
        drop(store);
        // Once may be a person's `kill -9`.
        let mut store = open();
        assert_eq!(store.suspended(false).unwrap(), []);
        store.begin_preparing(&target("a"), ReadFor::Watch).unwrap();
        store.begin_preparing(&target("b"), ReadFor::Run).unwrap();
        store.end_preparing(&target("b"), ReadFor::Run).unwrap();
        drop(store);
        let mut store = open();
        assert_eq!(store.suspended(false).unwrap(), [(target("a"), ReadFor::Watch)]);
        // It stays so until somebody asks for it again and it succeeds.
        assert_eq!(store.suspended(false).unwrap().len(), 1);
        store.end_preparing(&target("a"), ReadFor::Watch).unwrap();
        assert_eq!(store.suspended(false).unwrap(), []);
        // An abort is no person's.
        store.begin_preparing(&target("a"), ReadFor::Run).unwrap();
        assert_eq!(store.suspended(true).unwrap(), [(target("a"), ReadFor::Run)]);
    }

    #[test]
    fn an_end_in_good_order_is_no_death() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(&folder.path().join("store.sqlite")).unwrap();
        let target = DatasetTarget { folder: PathBuf::from("/notes"), adapter: "notes".to_owned() };
        for _ in 0..5 {
            store.begin_preparing(&target, ReadFor::Run).unwrap();
            store.forgive_preparations().unwrap();
            assert_eq!(store.suspended(false).unwrap(), []);
        }
    }
}
