//! What each base wrote of its own, once: the texts that drift is measured on.

use hotplate_engine::guard::NeutralSamples;
use rusqlite::{OptionalExtension, params};

use super::{Result, Store, json_column, to_json};

impl Store {
    pub(crate) fn neutral_samples(&self, fingerprint: &str) -> Result<Option<NeutralSamples>> {
        self.read(|connection| {
            let sql = "SELECT samples FROM neutral_samples WHERE fingerprint = ?1";
            connection.query_row(sql, [fingerprint], |row| json_column(row, 0)).optional()
        })
    }

    pub(crate) fn set_neutral_samples(&mut self, fingerprint: &str, samples: &NeutralSamples) -> Result<()> {
        self.write(|transaction| {
            let sql = "INSERT OR REPLACE INTO neutral_samples (fingerprint, samples) VALUES (?1, ?2)";
            transaction.execute(sql, params![fingerprint, to_json(samples)?]).map(|_| ())
        })
    }
}
