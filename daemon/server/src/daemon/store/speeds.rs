//! How fast this machine trains, measured in runs; what a plan's seconds come from.

use rusqlite::{OptionalExtension, params};

use super::{Result, Store};

impl Store {
    /// Tokens per second of training, evaluations included.
    pub(crate) fn speed(&self, fingerprint: &str, device: &str) -> Result<Option<f64>> {
        self.read(|connection| {
            let sql = "SELECT tokens_per_second FROM speeds WHERE fingerprint = ?1 AND device = ?2";
            connection.query_row(sql, params![fingerprint, device], |row| row.get(0)).optional()
        })
    }

    pub(crate) fn set_speed(
        &mut self,
        fingerprint: &str,
        device: &str,
        tokens_per_second: f64,
    ) -> Result<()> {
        self.write(|transaction| {
            let sql =
                "INSERT OR REPLACE INTO speeds (fingerprint, device, tokens_per_second) VALUES (?1, ?2, ?3)";
            transaction.execute(sql, params![fingerprint, device, tokens_per_second]).map(|_| ())
        })
    }
}
