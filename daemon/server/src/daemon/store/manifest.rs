//! What an adapter knows of a folder: each example, its side, and the version that learnt it.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use hotplate_dataset::{ExampleId, Side};
use hotplate_protocol::run::RunId;
use rusqlite::{Transaction, params};
use serde::{Deserialize, Serialize};

use super::{Result, Store, path_text};
use crate::daemon::runs::order::Target;

/// An example that a run learns or holds out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ManifestRow {
    pub(crate) example: ExampleId,
    pub(crate) side: Side,
    /// Relative to the folder.
    pub(crate) file: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) side: Side,
    /// The version that holds it; `None`: a run tried it and was not better.
    pub(crate) version: Option<u32>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Manifest {
    pub(crate) rows: HashMap<ExampleId, Known>,
}

impl Manifest {
    pub(crate) fn sides(&self) -> HashMap<ExampleId, Side> {
        self.rows.iter().map(|(id, known)| (*id, known.side)).collect()
    }

    /// Examples that were learnt by one of these versions.
    pub(crate) fn learnt<'a>(&'a self, lineage: &'a HashSet<u32>) -> impl Iterator<Item = ExampleId> + 'a {
        self.rows
            .iter()
            .filter(|(_, known)| {
                known.side == Side::Train && known.version.is_some_and(|version| lineage.contains(&version))
            })
            .map(|(id, _)| *id)
    }
}

impl Store {
    pub(crate) fn manifest(&self, target: &Target) -> Result<Manifest> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT example, side, version FROM manifest WHERE folder = ?1 AND adapter = ?2",
            )?;
            let rows = statement.query_map(params![path_text(&target.folder), target.adapter], |row| {
                let side = if row.get::<_, String>(1)? == "held_out" { Side::HeldOut } else { Side::Train };
                Ok((row.get::<_, String>(0)?, Known { side, version: row.get(2)? }))
            })?;
            let mut manifest = Manifest::default();
            for row in rows {
                let (example, known) = row?;
                if let Ok(id) = example.parse() {
                    manifest.rows.insert(id, known);
                }
            }
            Ok(manifest)
        })
    }

    /// Notes examples as tried: they do not start another run by themselves.
    pub(crate) fn mark_tried(&mut self, target: &Target, run: RunId, rows: &[ManifestRow]) -> Result<()> {
        self.write(|transaction| add_rows(transaction, target, run, None, rows))
    }
}

/// A full run replaces what was known of the folder.
pub(super) fn clear(transaction: &Transaction<'_>, target: &Target) -> rusqlite::Result<()> {
    let sql = "DELETE FROM manifest WHERE folder = ?1 AND adapter = ?2";
    transaction.execute(sql, params![path_text(&target.folder), target.adapter]).map(|_| ())
}

pub(super) fn add_rows(
    transaction: &Transaction<'_>,
    target: &Target,
    run: RunId,
    version: Option<u32>,
    rows: &[ManifestRow],
) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached(
        "INSERT OR REPLACE INTO manifest (folder, adapter, example, side, file, run, version) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    for row in rows {
        let side = match row.side {
            Side::Train => "train",
            Side::HeldOut => "held_out",
        };
        let (folder, file) = (path_text(&target.folder), path_text(&row.file));
        statement.execute(params![
            folder,
            target.adapter,
            row.example.to_string(),
            side,
            file,
            run.0,
            version
        ])?;
    }
    Ok(())
}
