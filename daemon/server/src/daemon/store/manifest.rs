//! What an adapter knows of a folder: each example, its side, and the version that learnt it.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use hotplate_dataset::{ExampleId, Side, Sketch};
use hotplate_protocol::run::RunId;
use rusqlite::{Transaction, params};
use serde::{Deserialize, Serialize};

use super::runs::path_column;
use super::{Result, Store, path_text};
use crate::daemon::runs::train_request::DatasetTarget;

/// An example that a run learns or holds out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ManifestRow {
    pub(crate) example: ExampleId,
    pub(crate) side: Side,
    /// Relative to the folder.
    pub(crate) file: PathBuf,
    /// What its text is known again by after an edit.
    #[serde(default)]
    pub(crate) sketch: Option<Sketch>,
    /// Its first line, which tells its place among the others of its file.
    #[serde(default)]
    pub(crate) line: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Known {
    pub(crate) side: Side,
    pub(crate) file: PathBuf,
    /// That learnt it, or tried to.
    pub(crate) run: RunId,
    /// Its own loss after the last run that used it, nats per supervised token.
    pub(crate) loss: Option<f64>,
    pub(crate) sketch: Option<Sketch>,
    /// Its first line when it was learnt; 0: not noted then.
    pub(crate) line: usize,
    /// The version that learnt an edited text in its place.
    pub(crate) replaced: Option<u32>,
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

    /// Examples that these versions hold: learnt by one of them, and not replaced by an edited text since.
    pub(crate) fn learnt<'a>(&'a self, lineage: &'a HashSet<u32>) -> impl Iterator<Item = ExampleId> + 'a {
        self.rows
            .iter()
            .filter(|(_, known)| {
                let within = |version: Option<u32>| version.is_some_and(|version| lineage.contains(&version));
                known.side == Side::Train && within(known.version) && !within(known.replaced)
            })
            .map(|(id, _)| *id)
    }
}

impl Store {
    pub(crate) fn manifest(&self, target: &DatasetTarget) -> Result<Manifest> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT example, side, version, file, run, loss, sketch, replaced, line FROM manifest WHERE folder = ?1 AND adapter = ?2",
            )?;
            let rows = statement.query_map(params![path_text(&target.folder), target.adapter], |row| {
                let side = if row.get::<_, String>(1)? == "held_out" { Side::HeldOut } else { Side::Train };
                let known = Known {
                    side,
                    version: row.get(2)?,
                    file: path_column(row, 3)?,
                    run: RunId(row.get(4)?),
                    loss: row.get(5)?,
                    sketch: row.get::<_, Option<Vec<u8>>>(6)?.and_then(|bytes| Sketch::from_bytes(&bytes)),
                    replaced: row.get(7)?,
                    line: row.get::<_, Option<i64>>(8)?.and_then(|line| usize::try_from(line).ok()).unwrap_or(0),
                };
                Ok((row.get::<_, String>(0)?, known))
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

    /// Notes that these stand in the folder again, though an edited text had taken their place.
    pub(crate) fn mark_back(&mut self, target: &DatasetTarget, examples: &[ExampleId]) -> Result<()> {
        self.write(|transaction| {
            let mut statement = transaction.prepare_cached(
                "UPDATE manifest SET replaced = NULL WHERE folder = ?1 AND adapter = ?2 AND example = ?3",
            )?;
            for example in examples {
                statement.execute(params![path_text(&target.folder), target.adapter, example.to_string()])?;
            }
            Ok(())
        })
    }

    /// Notes examples as tried: they do not start another run by themselves.
    pub(crate) fn mark_tried(
        &mut self,
        target: &DatasetTarget,
        run: RunId,
        rows: &[ManifestRow],
    ) -> Result<()> {
        self.write(|transaction| add_rows(transaction, target, run, None, rows))
    }
}

/// A full run replaces what was known of the folder.
pub(super) fn clear(transaction: &Transaction<'_>, target: &DatasetTarget) -> rusqlite::Result<()> {
    let sql = "DELETE FROM manifest WHERE folder = ?1 AND adapter = ?2";
    transaction.execute(sql, params![path_text(&target.folder), target.adapter]).map(|_| ())
}

pub(super) fn add_rows(
    transaction: &Transaction<'_>,
    target: &DatasetTarget,
    run: RunId,
    version: Option<u32>,
    rows: &[ManifestRow],
) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached(
        "INSERT OR REPLACE INTO manifest (folder, adapter, example, side, file, run, version, sketch, line) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
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
            version,
            row.sketch.as_ref().map(Sketch::to_bytes),
            row.line as i64
        ])?;
    }
    Ok(())
}

pub(super) fn set_losses(
    transaction: &Transaction<'_>,
    target: &DatasetTarget,
    losses: &[(ExampleId, f64)],
) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached(
        "UPDATE manifest SET loss = ?4 WHERE folder = ?1 AND adapter = ?2 AND example = ?3",
    )?;
    for (example, loss) in losses.iter().filter(|(_, loss)| loss.is_finite()) {
        statement.execute(params![path_text(&target.folder), target.adapter, example.to_string(), loss])?;
    }
    Ok(())
}

pub(super) fn set_replaced(
    transaction: &Transaction<'_>,
    target: &DatasetTarget,
    version: u32,
    examples: &[ExampleId],
) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached(
        "UPDATE manifest SET replaced = ?4 WHERE folder = ?1 AND adapter = ?2 AND example = ?3",
    )?;
    for example in examples {
        statement.execute(params![
            path_text(&target.folder),
            target.adapter,
            example.to_string(),
            version
        ])?;
    }
    Ok(())
}
