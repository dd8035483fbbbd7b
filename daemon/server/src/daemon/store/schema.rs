//! The store's tables, and the steps that bring an older store up to date.

use rusqlite::{Connection, Transaction};

/// One entry for each version of the schema; an entry that was released never changes.
const MIGRATIONS: &[&str] = &["
CREATE TABLE runs (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    run_order       TEXT NOT NULL,              -- the order, JSON
    folder          TEXT NOT NULL,
    adapter         TEXT NOT NULL,
    stage           TEXT NOT NULL,              -- queued, running, finished, kept, failed, cancelled
    attempts        INTEGER NOT NULL DEFAULT 0, -- how often it was begun
    planned_version INTEGER,                    -- set just before its version's folder appears
    created         TEXT NOT NULL,
    ended           TEXT,
    outcome         TEXT                        -- its last event, JSON
);
CREATE INDEX runs_stage ON runs (stage);
CREATE TABLE run_events (
    run   INTEGER NOT NULL REFERENCES runs (id),
    place INTEGER NOT NULL,
    event TEXT NOT NULL,
    PRIMARY KEY (run, place)
) WITHOUT ROWID;
CREATE TABLE adapters (
    name        TEXT PRIMARY KEY,
    base_name   TEXT NOT NULL,
    base_folder TEXT,                           -- NULL: the embedded base
    fingerprint TEXT NOT NULL,
    folder      TEXT NOT NULL,
    current     INTEGER NOT NULL,
    stale       INTEGER NOT NULL DEFAULT 0,
    stale_tried TEXT                            -- the state of the folder for which a full retrain was not better
);
CREATE TABLE versions (
    adapter           TEXT NOT NULL REFERENCES adapters (name),
    version           INTEGER NOT NULL,
    parent            INTEGER,                  -- the version that an incremental run started from
    run               INTEGER NOT NULL,
    kind              TEXT NOT NULL,
    created           TEXT NOT NULL,
    base_heldout_loss REAL NOT NULL,
    heldout_loss      REAL NOT NULL,
    examples          INTEGER NOT NULL,
    steps             INTEGER NOT NULL,
    seconds           REAL NOT NULL,
    PRIMARY KEY (adapter, version)
) WITHOUT ROWID;
CREATE TABLE manifest (
    folder  TEXT NOT NULL,
    adapter TEXT NOT NULL,
    example TEXT NOT NULL,
    side    TEXT NOT NULL,                      -- train, held_out
    file    TEXT NOT NULL,
    run     INTEGER NOT NULL,                   -- that learnt it, or tried to
    version INTEGER,                            -- that holds it; NULL: tried, and not better
    PRIMARY KEY (folder, adapter, example)
) WITHOUT ROWID;
CREATE TABLE watches (
    folder  TEXT PRIMARY KEY,
    adapter TEXT NOT NULL,
    base    TEXT,
    knobs   TEXT NOT NULL
);
CREATE TABLE speeds (
    fingerprint       TEXT NOT NULL,
    device            TEXT NOT NULL,
    tokens_per_second REAL NOT NULL,
    PRIMARY KEY (fingerprint, device)
) WITHOUT ROWID;
", "
ALTER TABLE versions ADD COLUMN guard TEXT;                     -- signs of memorising and forgetting, JSON; NULL: not measured
ALTER TABLE versions ADD COLUMN method TEXT NOT NULL DEFAULT 'lora';
ALTER TABLE manifest ADD COLUMN loss REAL;                      -- the example's own after the last run that used it
ALTER TABLE manifest ADD COLUMN sketch BLOB;                    -- what an edited text is known again by
ALTER TABLE manifest ADD COLUMN replaced INTEGER;               -- the version that learnt an edited text in its place
CREATE TABLE neutral_samples (
    fingerprint TEXT PRIMARY KEY,
    samples     TEXT NOT NULL                                   -- the base's own texts, JSON
) WITHOUT ROWID;
", "
ALTER TABLE adapters ADD COLUMN quantise TEXT;                  -- how the base is quantised for it: q8, q4; NULL: as it is stored
", "
CREATE TABLE preparations (                                     -- folders that are being read, or were when the daemon died
    folder  TEXT NOT NULL,
    adapter TEXT NOT NULL,
    what    TEXT NOT NULL,                                      -- watch, run
    open    INTEGER NOT NULL,
    deaths  INTEGER NOT NULL,                                   -- in a row
    PRIMARY KEY (folder, adapter, what)
) WITHOUT ROWID;
CREATE TABLE last_fault (at TEXT NOT NULL, what TEXT NOT NULL); -- of the daemon before; one row at most
", "
ALTER TABLE versions ADD COLUMN pruned INTEGER NOT NULL DEFAULT 0; -- its files are gone; the row stays for those that were built on it
ALTER TABLE versions ADD COLUMN judged_by TEXT;                 -- a name for the texts that judged it; NULL: not known
ALTER TABLE adapters ADD COLUMN newest INTEGER NOT NULL DEFAULT 0; -- the highest number of a version that was deleted
CREATE TABLE doomed (
    folder TEXT PRIMARY KEY                                     -- below the adapters' folder, of a version without a row: to be removed
) WITHOUT ROWID;
", "
DROP TABLE speeds;                                              -- what a machine takes, measured again at the next run
CREATE TABLE prices (
    fingerprint TEXT NOT NULL,
    device      TEXT NOT NULL,
    learnt      REAL NOT NULL,                                  -- seconds for a token that is learnt, read, written
    read        REAL NOT NULL,
    written     REAL NOT NULL,
    PRIMARY KEY (fingerprint, device)
) WITHOUT ROWID;
ALTER TABLE manifest ADD COLUMN line INTEGER;                   -- the example's first line when it was learnt
", "
CREATE TABLE rehearsal (
    fingerprint TEXT PRIMARY KEY,
    samples     TEXT NOT NULL                                   -- the base's own answers, which its runs rehearse, JSON
) WITHOUT ROWID;
DELETE FROM neutral_samples;                                    -- a base that chats is asked questions alone by now
", "
DELETE FROM neutral_samples;                                    -- by now they are a base's likeliest answers, with their end
DELETE FROM rehearsal;                                          -- more answers, and shorter ones
"];

/// As the first release made it.
#[cfg(test)]
pub(super) const FIRST: &str = MIGRATIONS[0];

/// The version that this build reads and writes.
pub(super) const VERSION: i64 = MIGRATIONS.len() as i64;

pub(super) fn found(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Runs what is missing, each step whole or not at all.
pub(super) fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let from = found(connection)?;
    for (step, sql) in MIGRATIONS.iter().enumerate().skip(usize::try_from(from).unwrap_or(0)) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(sql)?;
        set_version(&transaction, step as i64 + 1)?;
        transaction.commit()?;
    }
    Ok(())
}

fn set_version(transaction: &Transaction<'_>, version: i64) -> rusqlite::Result<()> {
    transaction.pragma_update(None, "user_version", version)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A new entry goes to the end: a store counts how many it has been through.
    #[test]
    fn what_was_released_is_as_it_was() {
        let released = MIGRATIONS[..7].concat();
        assert_eq!(&blake3::hash(released.as_bytes()).to_hex()[..16], "1a8c4991cd15901b");
    }
}
