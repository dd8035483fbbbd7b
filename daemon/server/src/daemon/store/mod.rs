//! What must survive the daemon: runs, versions, manifests, watches, measured prices. One SQLite file.
//!
//! Owns the file, its schema, and what is written together. It must not know tensors, sockets or files of adapters. The main
//! loop holds the one store that writes; others open a [`reader`](Store::reader).

mod last_fault;
mod manifest;
mod neutral;
mod preparations;
mod prices;
mod removal;
mod runs;
mod schema;
mod versions;
mod watches;

use std::path::{Path, PathBuf};
use std::time::Duration;

use hotplate_home::free_bytes;
use hotplate_protocol::{ErrorCode, RpcError};
pub(crate) use manifest::{Known, Manifest, ManifestRow};
pub(crate) use preparations::ReadFor;
pub(crate) use removal::Going;
pub(crate) use runs::RunRow;
use rusqlite::{Connection, ErrorCode as SqlCode, OpenFlags, Transaction};
#[cfg(test)]
pub(crate) use versions::test_version;
pub(crate) use versions::{AdapterRow, NewVersion, VersionRow, best_by_the_same_texts, created_now, lineage};
pub(crate) use watches::WatchRow;

#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error(
        "the store {} is damaged ({why}); nothing was changed in it. Move it aside (mv {} {}.damaged) and start again: the adapters stay \
         where they are and can be named by their folders", file.display(), file.display(), file.display()
    )]
    Damaged { file: PathBuf, why: String },
    #[error(
        "the store {} was written by a newer Hotplate (its version is {found}, this one knows {}); update Hotplate",
        file.display(), schema::VERSION
    )]
    Newer { file: PathBuf, found: i64 },
    #[error(
        "the disk is full: {} cannot be written; make room there. Nothing that was saved before is lost", file.display()
    )]
    Full { file: PathBuf },
    #[error("the store {} is a link, and Hotplate opens nothing in its own folders through a link; put the file itself there", file.display())]
    Link { file: PathBuf },
    #[error("the store {} cannot be used: {source}; check that you may write there", file.display())]
    Failed { file: PathBuf, source: rusqlite::Error },
}

impl From<StoreError> for RpcError {
    fn from(error: StoreError) -> Self {
        RpcError::new(ErrorCode::StorageFailed, error.to_string())
    }
}

pub(crate) type Result<T> = std::result::Result<T, StoreError>;

pub(crate) struct Store {
    connection: Connection,
    file: PathBuf,
}

impl Store {
    /// Opens the store to write, makes it if it is missing, brings it up to date.
    pub(crate) fn open(file: &Path) -> Result<Store> {
        let fault = |error| fault(file, error);
        let mut connection =
            connect(file, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
        connection.busy_timeout(Duration::from_secs(5)).map_err(fault)?;
        let found = schema::found(&connection).map_err(fault)?;
        if found > schema::VERSION {
            return Err(StoreError::Newer { file: file.to_owned(), found });
        }
        let check: String =
            connection.pragma_query_value(None, "quick_check", |row| row.get(0)).map_err(fault)?;
        if check != "ok" {
            return Err(StoreError::Damaged { file: file.to_owned(), why: check });
        }
        // WAL: readers never wait. FULL: a commit that was answered survives a power cut.
        connection.pragma_update(None, "journal_mode", "wal").map_err(fault)?;
        connection.pragma_update(None, "synchronous", "full").map_err(fault)?;
        connection.pragma_update(None, "foreign_keys", true).map_err(fault)?;
        schema::migrate(&mut connection).map_err(fault)?;
        Ok(Store { connection, file: file.to_owned() })
    }

    /// A second connection that only reads, for another thread.
    pub(crate) fn reader(file: &Path) -> Result<Store> {
        let connection = connect(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection.busy_timeout(Duration::from_secs(5)).map_err(|error| fault(file, error))?;
        Ok(Store { connection, file: file.to_owned() })
    }

    fn read<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        work(&self.connection).map_err(|error| fault(&self.file, error))
    }

    /// What is written so survives this process, not a power cut, and costs no wait for the disk.
    fn without_sync<T>(&mut self, work: impl FnOnce(&mut Store) -> Result<T>) -> Result<T> {
        let set = |store: &Store, how| {
            store
                .connection
                .pragma_update(None, "synchronous", how)
                .map_err(|error| fault(&store.file, error))
        };
        set(self, "normal")?;
        let done = work(self);
        set(self, "full")?;
        done
    }

    /// All of it, or nothing.
    fn write<T>(&mut self, work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> Result<T> {
        let run = |connection: &mut Connection| {
            let transaction = connection.transaction()?;
            let value = work(&transaction)?;
            transaction.commit()?;
            Ok(value)
        };
        run(&mut self.connection).map_err(|error| fault(&self.file, error))
    }
}

/// Opens the file itself, and no link in its place. The folder's own name may go through one.
fn connect(file: &Path, flags: OpenFlags) -> Result<Connection> {
    if file.is_symlink() {
        return Err(StoreError::Link { file: file.to_owned() });
    }
    let real = match (file.parent().and_then(|folder| folder.canonicalize().ok()), file.file_name()) {
        (Some(folder), Some(name)) => folder.join(name),
        _ => file.to_owned(),
    };
    let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    Connection::open_with_flags(real, flags).map_err(|error| fault(file, error))
}

fn fault(file: &Path, error: rusqlite::Error) -> StoreError {
    let file = file.to_owned();
    match error.sqlite_error_code() {
        Some(SqlCode::DiskFull) => StoreError::Full { file },
        Some(SqlCode::DatabaseCorrupt | SqlCode::NotADatabase) => {
            StoreError::Damaged { file, why: error.to_string() }
        }
        // The WAL file meets a full disk as an I/O error where the file system says so late.
        Some(SqlCode::SystemIoFailure) if is_full(&file) => StoreError::Full { file },
        _ => StoreError::Failed { file, source: error },
    }
}

fn is_full(file: &Path) -> bool {
    file.parent().and_then(free_bytes) == Some(0)
}

/// A value that lies in a column as JSON. What cannot be read is a damaged row.
fn json_column<T: serde::de::DeserializeOwned>(row: &rusqlite::Row<'_>, index: usize) -> rusqlite::Result<T> {
    let text: String = row.get(index)?;
    serde_json::from_str(&text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(index, rusqlite::types::Type::Text, Box::new(error))
    })
}

fn to_json<T: serde::Serialize>(value: &T) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

/// Paths come from JSON or from the file system; those that are no UTF-8 were refused at the rim.
fn path_text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn now() -> String {
    chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::runs::reckon::Prices;

    #[test]
    fn a_damaged_store_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("store.sqlite");
        std::fs::write(&file, b"this is no database, but it may be somebody's\n".repeat(100)).unwrap();
        let before = std::fs::read(&file).unwrap();
        let error = Store::open(&file).err().unwrap();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains("Move it aside"));
        assert_eq!(std::fs::read(&file).unwrap(), before);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_no_store_but_its_folder_may_be_one() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("real")).unwrap();
        std::os::unix::fs::symlink("real", at("link")).unwrap();
        drop(Store::open(&at("link/store.sqlite")).unwrap());
        std::os::unix::fs::symlink("real/store.sqlite", at("store.sqlite")).unwrap();
        assert!(matches!(Store::open(&at("store.sqlite")), Err(StoreError::Link { .. })));
        assert!(matches!(Store::reader(&at("store.sqlite")), Err(StoreError::Link { .. })));
    }

    #[test]
    fn a_store_of_a_newer_daemon_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("store.sqlite");
        drop(Store::open(&file).unwrap());
        Connection::open(&file).unwrap().pragma_update(None, "user_version", 99).unwrap();
        assert!(matches!(Store::open(&file), Err(StoreError::Newer { found: 99, .. })));
    }

    /// A store of the first schema, with everything that its daemon would have put there.
    #[test]
    fn an_older_store_is_brought_up_to_date_and_loses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("store.sqlite");
        let old = Connection::open(&file).unwrap();
        old.execute_batch(schema::FIRST).unwrap();
        old.execute_batch(
            r#"INSERT INTO runs (run_order, folder, adapter, stage, created) VALUES ('{"target":{"folder":"/notes","adapter":"notes"},"base":null,
                "knobs":{"rank":8},"kind":"full","cause":{"kind":"asked"},"saved_at":null}', '/notes', 'notes', 'queued', 'then');
            INSERT INTO adapters VALUES ('notes', 'hotplate-tiny', NULL, 'f', '/notes', 1, 0, NULL);
            INSERT INTO versions VALUES ('notes', 1, NULL, 1, 'full', 'then', 4.0, 2.0, 2, 10, 1.5);
            INSERT INTO watches VALUES ('/notes', 'notes', NULL, '{"max_steps":6}');"#,
        )
        .unwrap();
        let example = hotplate_dataset::ContentHash::of(b"a");
        old.execute(
            "INSERT INTO manifest VALUES ('/notes', 'notes', ?1, 'train', 'a.txt', 1, 1)",
            [example.to_string()],
        )
        .unwrap();
        old.pragma_update(None, "user_version", 1).unwrap();
        drop(old);

        let store = Store::open(&file).unwrap();
        let order = store.open_runs().unwrap().remove(0).order;
        assert_eq!(order.knobs.rank, Some(8));
        let version = store.versions("notes").unwrap().remove(0);
        assert_eq!((version.heldout_loss, version.guard), (2.0, None));
        let known = store.manifest(&order.target).unwrap().rows.remove(&example).unwrap();
        assert_eq!((known.version, known.loss, known.sketch, known.replaced), (Some(1), None, None, None));
        assert_eq!(store.watches().unwrap()[0].knobs.max_steps, Some(6));
        assert!(store.adapter("notes").unwrap().is_some());
    }

    #[test]
    fn opening_twice_changes_nothing_and_readers_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("store.sqlite");
        let mut store = Store::open(&file).unwrap();
        let prices = Prices { learnt: 0.01, read: 0.002, written: 0.05 };
        store.set_prices("f", "cpu", prices).unwrap();
        let reader = Store::reader(&file).unwrap();
        assert_eq!(reader.prices("f", "cpu").unwrap(), Some(prices));
        drop(store);
        assert_eq!(Store::open(&file).unwrap().prices("f", "cpu").unwrap(), Some(prices));
    }
}
