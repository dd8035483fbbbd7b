//! What each base wrote of its own, once: the texts that drift is measured on, and the answers that its runs rehearse.

use hotplate_train::reference_samples::ReferenceSamples;
use rusqlite::{OptionalExtension, params};

use super::{Result, Store, json_column, to_json};

impl Store {
    pub(crate) fn neutral_samples(&self, fingerprint: &str) -> Result<Option<ReferenceSamples>> {
        self.written("SELECT samples FROM neutral_samples WHERE fingerprint = ?1", fingerprint)
    }

    pub(crate) fn set_neutral_samples(
        &mut self,
        fingerprint: &str,
        samples: &ReferenceSamples,
    ) -> Result<()> {
        let sql = "INSERT OR REPLACE INTO neutral_samples (fingerprint, samples) VALUES (?1, ?2)";
        self.set_written(sql, fingerprint, samples)
    }

    pub(crate) fn rehearsal(&self, fingerprint: &str) -> Result<Option<ReferenceSamples>> {
        self.written("SELECT samples FROM rehearsal WHERE fingerprint = ?1", fingerprint)
    }

    pub(crate) fn set_rehearsal(&mut self, fingerprint: &str, samples: &ReferenceSamples) -> Result<()> {
        let sql = "INSERT OR REPLACE INTO rehearsal (fingerprint, samples) VALUES (?1, ?2)";
        self.set_written(sql, fingerprint, samples)
    }

    fn written(&self, sql: &str, fingerprint: &str) -> Result<Option<ReferenceSamples>> {
        self.read(|connection| connection.query_row(sql, [fingerprint], |row| json_column(row, 0)).optional())
    }

    fn set_written(&mut self, sql: &str, fingerprint: &str, samples: &ReferenceSamples) -> Result<()> {
        self.write(|transaction| {
            transaction.execute(sql, params![fingerprint, to_json(samples)?]).map(|_| ())
        })
    }
}
