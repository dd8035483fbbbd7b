//! Which folders are watched. They stay watched across restarts.

use std::path::{Path, PathBuf};

use hotplate_protocol::methods::train::Knobs;
use rusqlite::params;

use super::{Result, Store, json_column, path_text, to_json};
use crate::daemon::runs::train_request::DatasetTarget;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WatchRow {
    pub(crate) target: DatasetTarget,
    pub(crate) base: Option<PathBuf>,
    pub(crate) knobs: Knobs,
}

impl Store {
    pub(crate) fn watches(&self) -> Result<Vec<WatchRow>> {
        self.read(|connection| {
            let mut statement =
                connection.prepare("SELECT folder, adapter, base, knobs FROM watches ORDER BY folder")?;
            let rows = statement.query_map([], |row| {
                Ok(WatchRow {
                    target: DatasetTarget {
                        folder: PathBuf::from(row.get::<_, String>(0)?),
                        adapter: row.get(1)?,
                    },
                    base: row.get::<_, Option<String>>(2)?.map(PathBuf::from),
                    knobs: json_column(row, 3)?,
                })
            })?;
            rows.collect()
        })
    }

    pub(crate) fn set_watch(&mut self, watch: &WatchRow) -> Result<()> {
        self.write(|transaction| {
            let base = watch.base.as_deref().map(path_text);
            let sql = "INSERT OR REPLACE INTO watches (folder, adapter, base, knobs) VALUES (?1, ?2, ?3, ?4)";
            let target = &watch.target;
            let knobs = to_json(&watch.knobs)?;
            transaction
                .execute(sql, params![path_text(&target.folder), target.adapter, base, knobs])
                .map(|_| ())
        })
    }

    pub(crate) fn remove_watch(&mut self, folder: &Path) -> Result<()> {
        self.write(|transaction| {
            transaction
                .execute("DELETE FROM watches WHERE folder = ?1", params![path_text(folder)])
                .map(|_| ())
        })
    }
}
