//! What each base wrote of its own, once: the texts that drift is measured on, and the answers that its runs rehearse. Kept by the base and its chat
//! template (`BaseSpec::answers_by`), which the column calls its fingerprint.

use hotplate_train::reference_samples::ReferenceSamples;
use rusqlite::{OptionalExtension, params};

use super::{Result, Store, json_column, to_json};

impl Store {
    pub(crate) fn neutral_samples(&self, answers_by: &str) -> Result<Option<ReferenceSamples>> {
        self.written("SELECT samples FROM neutral_samples WHERE fingerprint = ?1", answers_by)
    }

    pub(crate) fn set_neutral_samples(&mut self, answers_by: &str, samples: &ReferenceSamples) -> Result<()> {
        let sql = "INSERT OR REPLACE INTO neutral_samples (fingerprint, samples) VALUES (?1, ?2)";
        self.set_written(sql, answers_by, samples)
    }

    pub(crate) fn rehearsal(&self, answers_by: &str) -> Result<Option<ReferenceSamples>> {
        self.written("SELECT samples FROM rehearsal WHERE fingerprint = ?1", answers_by)
    }

    pub(crate) fn set_rehearsal(&mut self, answers_by: &str, samples: &ReferenceSamples) -> Result<()> {
        let sql = "INSERT OR REPLACE INTO rehearsal (fingerprint, samples) VALUES (?1, ?2)";
        self.set_written(sql, answers_by, samples)
    }

    fn written(&self, sql: &str, answers_by: &str) -> Result<Option<ReferenceSamples>> {
        self.read(|connection| connection.query_row(sql, [answers_by], |row| json_column(row, 0)).optional())
    }

    fn set_written(&mut self, sql: &str, answers_by: &str, samples: &ReferenceSamples) -> Result<()> {
        self.write(|transaction| transaction.execute(sql, params![answers_by, to_json(samples)?]).map(|_| ()))
    }
}
