//! Why the daemon before this one ended, where it was a fault of its own.

use rusqlite::{OptionalExtension, params};

use super::{Result, Store, now};

impl Store {
    pub(crate) fn note_fault(&mut self, what: &str) -> Result<()> {
        self.write(|transaction| {
            transaction.execute("DELETE FROM last_fault", [])?;
            let sql = "INSERT INTO last_fault (at, what) VALUES (?1, ?2)";
            transaction.execute(sql, params![now(), what]).map(|_| ())
        })
    }

    /// When it was and what, once.
    pub(crate) fn take_fault(&mut self) -> Result<Option<(String, String)>> {
        self.write(|transaction| {
            let sql = "SELECT at, what FROM last_fault";
            let found = transaction.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
            transaction.execute("DELETE FROM last_fault", [])?;
            Ok(found)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_fault_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(&folder.path().join("store.sqlite")).unwrap();
        assert_eq!(store.take_fault().unwrap(), None);
        store.note_fault("one").unwrap();
        store.note_fault("two").unwrap();
        assert_eq!(store.take_fault().unwrap().unwrap().1, "two");
        assert_eq!(store.take_fault().unwrap(), None);
    }
}
