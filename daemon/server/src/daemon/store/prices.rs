//! What work on a base takes on this machine, measured in runs; what a plan's seconds come from.

use rusqlite::{OptionalExtension, params};

use super::{Result, Store};
use crate::daemon::runs::reckon::Prices;

impl Store {
    pub(crate) fn prices(&self, fingerprint: &str, device: &str) -> Result<Option<Prices>> {
        self.read(|connection| {
            let sql = "SELECT learnt, read, written FROM prices WHERE fingerprint = ?1 AND device = ?2";
            connection
                .query_row(sql, params![fingerprint, device], |row| {
                    Ok(Prices { learnt: row.get(0)?, read: row.get(1)?, written: row.get(2)? })
                })
                .optional()
        })
    }

    pub(crate) fn set_prices(&mut self, fingerprint: &str, device: &str, prices: Prices) -> Result<()> {
        self.write(|transaction| {
            let sql =
                "INSERT OR REPLACE INTO prices (fingerprint, device, learnt, read, written) VALUES (?1, ?2, ?3, ?4, ?5)";
            let Prices { learnt, read, written } = prices;
            transaction.execute(sql, params![fingerprint, device, learnt, read, written]).map(|_| ())
        })
    }
}
