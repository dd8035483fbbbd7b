//! Versions and adapters that go, and names that change: what is written together, and which folders are to be removed because of it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use hotplate_protocol::run::RunId;
use rusqlite::{Transaction, params};

use super::{Result, Store, path_text};

/// Versions of one adapter that lose their files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Going {
    /// Nothing is left of them.
    pub(crate) gone: Vec<u32>,
    /// The record stays, because other versions were built on them.
    pub(crate) records: Vec<u32>,
}

impl Going {
    /// All of them, oldest first.
    pub(crate) fn all(&self) -> Vec<u32> {
        let mut all: Vec<u32> = self.gone.iter().chain(&self.records).copied().collect();
        all.sort_unstable();
        all
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.gone.is_empty() && self.records.is_empty()
    }
}

impl Store {
    /// `folders` are theirs, below the adapters' folder.
    pub(crate) fn remove_versions(
        &mut self,
        adapter: &str,
        going: &Going,
        folders: &[PathBuf],
    ) -> Result<()> {
        self.write(|transaction| {
            for version in &going.gone {
                // What only this version had learnt counts as tried, as after a rollback.
                for sql in [
                    "UPDATE manifest SET version = NULL WHERE adapter = ?1 AND version = ?2",
                    "UPDATE manifest SET replaced = NULL WHERE adapter = ?1 AND replaced = ?2",
                    "UPDATE adapters SET newest = max(newest, ?2) WHERE name = ?1",
                    "DELETE FROM versions WHERE adapter = ?1 AND version = ?2",
                ] {
                    transaction.execute(sql, params![adapter, version])?;
                }
            }
            for version in &going.records {
                let sql = "UPDATE versions SET pruned = 1 WHERE adapter = ?1 AND version = ?2";
                transaction.execute(sql, params![adapter, version])?;
            }
            doom(transaction, folders)
        })
    }

    /// The adapter, its versions, what it knows of examples, and the history of its runs, which have ended.
    pub(crate) fn remove_adapter(&mut self, adapter: &str, folders: &[PathBuf]) -> Result<()> {
        self.write(|transaction| {
            for sql in [
                "DELETE FROM versions WHERE adapter = ?1",
                "DELETE FROM manifest WHERE adapter = ?1",
                "DELETE FROM run_events WHERE run IN (SELECT id FROM runs WHERE adapter = ?1 AND stage NOT IN ('queued', 'running'))",
                "DELETE FROM runs WHERE adapter = ?1 AND stage NOT IN ('queued', 'running')",
                "DELETE FROM adapters WHERE name = ?1",
            ] {
                transaction.execute(sql, [adapter])?;
            }
            doom(transaction, folders)
        })
    }

    /// The folders `made` under the new name are in place, and were doomed until now; from now on the `old` ones are.
    pub(crate) fn rename_adapter(
        &mut self,
        adapter: &str,
        name: &str,
        made: &[PathBuf],
        old: &[PathBuf],
    ) -> Result<()> {
        self.write(|transaction| {
            // Versions refer to their adapter: the new row comes first, the old one goes last.
            transaction.execute(
                "INSERT INTO adapters (name, base_name, base_folder, fingerprint, folder, current, stale, stale_tried, quantise, newest)
                 SELECT ?2, base_name, base_folder, fingerprint, folder, current, stale, stale_tried, quantise, newest
                 FROM adapters WHERE name = ?1",
                [adapter, name],
            )?;
            // Of runs under that name which never made a version.
            transaction.execute("DELETE FROM manifest WHERE adapter = ?1", [name])?;
            for table in ["versions", "manifest", "runs"] {
                transaction.execute(
                    &format!("UPDATE {table} SET adapter = ?2 WHERE adapter = ?1"),
                    [adapter, name],
                )?;
            }
            transaction.execute("DELETE FROM adapters WHERE name = ?1", [adapter])?;
            for folder in made {
                transaction.execute("DELETE FROM doomed WHERE folder = ?1", [path_text(folder)])?;
            }
            doom(transaction, old)
        })
    }

    /// Notes folders that are to be removed, whatever happens.
    pub(crate) fn doom(&mut self, folders: &[PathBuf]) -> Result<()> {
        self.write(|transaction| doom(transaction, folders))
    }

    /// The folder is out of the way.
    pub(crate) fn undoom(&mut self, folder: &Path) -> Result<()> {
        self.write(|transaction| {
            transaction.execute("DELETE FROM doomed WHERE folder = ?1", [path_text(folder)]).map(|_| ())
        })
    }

    /// Below the adapters' folder.
    pub(crate) fn doomed(&self) -> Result<Vec<PathBuf>> {
        self.read(|connection| {
            let mut statement = connection.prepare("SELECT folder FROM doomed")?;
            let rows = statement.query_map([], |row| row.get::<_, String>(0).map(PathBuf::from))?;
            rows.collect()
        })
    }

    /// Runs of this adapter that nobody asked for: a save or something that was deleted caused them.
    pub(crate) fn caused_by_files(&self, adapter: &str) -> Result<HashSet<RunId>> {
        self.read(|connection| {
            let mut statement = connection.prepare(
                "SELECT id FROM runs WHERE adapter = ?1 AND json_extract(run_order, '$.cause.kind') <> 'asked'",
            )?;
            let rows = statement.query_map([adapter], |row| row.get(0).map(RunId))?;
            rows.collect()
        })
    }
}

fn doom(transaction: &Transaction<'_>, folders: &[PathBuf]) -> rusqlite::Result<()> {
    for folder in folders {
        transaction.execute("INSERT OR IGNORE INTO doomed (folder) VALUES (?1)", [path_text(folder)])?;
    }
    Ok(())
}
