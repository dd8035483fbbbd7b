//! Adapters, their versions, and the one transaction that makes a version the one that answers.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use hotplate_dataset::ExampleId;
use hotplate_engine::quantise::Quantise;
use hotplate_protocol::knobs::Method;
use hotplate_protocol::run::{Guard, RunEvent, RunId, RunKind};
use rusqlite::{OptionalExtension, Row, params};

use super::manifest::{self, ManifestRow};
use super::runs::{end_run, path_column};
use super::{Result, Store, json_column, now, path_text, to_json};
use crate::daemon::methods::import::Imported;
use crate::daemon::quantise;
use crate::daemon::runs::train_request::DatasetTarget;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AdapterRow {
    pub(crate) name: String,
    pub(crate) base_name: String,
    /// `None`: the embedded base.
    pub(crate) base_folder: Option<PathBuf>,
    /// How the base is quantised for it.
    pub(crate) quantise: Option<Quantise>,
    pub(crate) fingerprint: String,
    /// The dataset that it learnt last.
    pub(crate) folder: PathBuf,
    pub(crate) current: u32,
    /// Examples that it learnt are gone.
    pub(crate) stale: bool,
    /// The state of the folder for which a full retrain was not better.
    pub(crate) stale_tried: Option<String>,
    /// The highest number of a version that was deleted: none is used twice.
    pub(crate) newest_deleted: u32,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct VersionRow {
    pub(crate) version: u32,
    pub(crate) parent: Option<u32>,
    pub(crate) run: RunId,
    pub(crate) kind: RunKind,
    /// RFC 3339, UTC.
    pub(crate) created: String,
    pub(crate) base_heldout_loss: f64,
    pub(crate) heldout_loss: f64,
    pub(crate) examples: usize,
    pub(crate) steps: usize,
    pub(crate) seconds: f64,
    pub(crate) guard: Option<Guard>,
    pub(crate) method: Method,
    /// Its files are gone; the row stays for those that were built on it.
    pub(crate) pruned: bool,
    /// A name for the texts that judged it.
    pub(crate) judged_by: Option<String>,
}

/// A version whose folder is in place, with everything that becomes true together with it.
pub(crate) struct NewVersion<'a> {
    pub(crate) target: &'a DatasetTarget,
    pub(crate) base_name: &'a str,
    pub(crate) base_folder: Option<&'a Path>,
    pub(crate) quantise: Option<Quantise>,
    pub(crate) fingerprint: &'a str,
    pub(crate) row: VersionRow,
    pub(crate) learnt: &'a [ManifestRow],
    /// Of every example that the run used: its own loss now.
    pub(crate) losses: &'a [(ExampleId, f64)],
    /// Examples that were edited, and whose new text the run learnt.
    pub(crate) replaced: &'a [ExampleId],
    pub(crate) last: &'a RunEvent,
}

/// A version and those it was built on, back to the last full run.
pub(crate) fn lineage(versions: &[VersionRow], current: u32) -> HashSet<u32> {
    let mut chain = HashSet::new();
    let mut next = Some(current);
    while let Some(version) = next {
        if !chain.insert(version) {
            break;
        }
        next = versions.iter().find(|row| row.version == version).and_then(|row| row.parent);
    }
    chain
}

/// The version with the lowest held-out loss, of those that the texts which judged `like` have judged, too, and that still have files.
pub(crate) fn best_by_the_same_texts<'a>(
    versions: &'a [VersionRow],
    like: &VersionRow,
) -> Option<&'a VersionRow> {
    versions
        .iter()
        .filter(|row| !row.pruned && like.judged_by.is_some() && row.judged_by == like.judged_by)
        .min_by(|one, other| one.heldout_loss.total_cmp(&other.heldout_loss))
}

const ADAPTER: &str = "SELECT name, base_name, base_folder, fingerprint, folder, current, stale, stale_tried, quantise, newest FROM adapters";

fn adapter_row(row: &Row<'_>) -> rusqlite::Result<AdapterRow> {
    Ok(AdapterRow {
        name: row.get(0)?,
        base_name: row.get(1)?,
        base_folder: row.get::<_, Option<String>>(2)?.map(PathBuf::from),
        fingerprint: row.get(3)?,
        folder: path_column(row, 4)?,
        current: row.get(5)?,
        stale: row.get(6)?,
        stale_tried: row.get(7)?,
        quantise: quantise::stored(row.get::<_, Option<String>>(8)?.as_deref()),
        newest_deleted: row.get(9)?,
    })
}

fn kind_text(kind: RunKind) -> &'static str {
    match kind {
        RunKind::Full => "full",
        RunKind::Incremental => "incremental",
    }
}

impl Store {
    pub(crate) fn adapters(&self) -> Result<Vec<AdapterRow>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(&format!("{ADAPTER} ORDER BY name"))?;
            let rows = statement.query_map([], adapter_row)?;
            rows.collect()
        })
    }

    pub(crate) fn adapter(&self, name: &str) -> Result<Option<AdapterRow>> {
        self.read(|connection| {
            let sql = format!("{ADAPTER} WHERE name = ?1");
            connection.query_row(&sql, [name], adapter_row).optional()
        })
    }

    /// Oldest first.
    pub(crate) fn versions(&self, adapter: &str) -> Result<Vec<VersionRow>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT version, parent, run, kind, created, base_heldout_loss, heldout_loss, examples, steps, seconds, guard, method, pruned, judged_by
                 FROM versions WHERE adapter = ?1 ORDER BY version",
            )?;
            let rows = statement.query_map([adapter], |row| {
                Ok(VersionRow {
                    version: row.get(0)?,
                    parent: row.get(1)?,
                    run: RunId(row.get(2)?),
                    kind: if row.get::<_, String>(3)? == "full" { RunKind::Full } else { RunKind::Incremental },
                    created: row.get(4)?,
                    base_heldout_loss: row.get(5)?,
                    heldout_loss: row.get(6)?,
                    examples: usize::try_from(row.get::<_, i64>(7)?).unwrap_or(0),
                    steps: usize::try_from(row.get::<_, i64>(8)?).unwrap_or(0),
                    seconds: row.get(9)?,
                    guard: row
                        .get::<_, Option<String>>(10)?
                        .map(|_| json_column(row, 10))
                        .transpose()?,
                    method: Method::of_word(&row.get::<_, String>(11)?).unwrap_or(Method::Lora),
                    pruned: row.get(12)?,
                    judged_by: row.get(13)?,
                })
            })?;
            rows.collect()
        })
    }

    /// The swap: from this commit on, the new version answers, its examples are learnt and its run has ended.
    pub(crate) fn swap_in(&mut self, new: &NewVersion<'_>) -> Result<()> {
        self.write(|transaction| {
            let NewVersion { target, row, .. } = new;
            let full = row.kind == RunKind::Full;
            transaction.execute(
                "INSERT INTO adapters (name, base_name, base_folder, fingerprint, folder, current, quantise)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                 ON CONFLICT (name) DO UPDATE SET
                 base_name = ?2, base_folder = ?3, fingerprint = ?4, folder = ?5, current = ?6, quantise = ?7",
                params![
                    target.adapter,
                    new.base_name,
                    new.base_folder.map(path_text),
                    new.fingerprint,
                    path_text(&target.folder),
                    row.version,
                    quantise::to_store(new.quantise)
                ],
            )?;
            transaction.execute(
                "INSERT INTO versions (adapter, version, parent, run, kind, created, base_heldout_loss, heldout_loss, examples, steps, seconds, guard, method, judged_by)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
                params![
                    target.adapter,
                    row.version,
                    row.parent,
                    row.run.0,
                    kind_text(row.kind),
                    row.created,
                    row.base_heldout_loss,
                    row.heldout_loss,
                    row.examples as i64,
                    row.steps as i64,
                    row.seconds,
                    row.guard.as_ref().map(to_json).transpose()?,
                    match row.method {
                        Method::Lora => "lora",
                        Method::Full => "full",
                    },
                    row.judged_by
                ],
            )?;
            if full {
                manifest::clear(transaction, target)?;
                let sql = "UPDATE adapters SET stale = 0, stale_tried = NULL WHERE name = ?1";
                transaction.execute(sql, [&target.adapter])?;
            }
            manifest::add_rows(transaction, target, row.run, Some(row.version), new.learnt)?;
            manifest::set_losses(transaction, target, new.losses)?;
            manifest::set_replaced(transaction, target, row.version, new.replaced)?;
            end_run(transaction, row.run, new.last)
        })
    }

    /// An adapter from elsewhere, as the version that answers: no run made it, and nothing is known of its losses.
    pub(crate) fn enter_imported(&mut self, imported: &Imported) -> Result<()> {
        self.write(|transaction| {
            transaction.execute(
                "INSERT INTO adapters (name, base_name, base_folder, fingerprint, folder, current, quantise)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                 ON CONFLICT (name) DO UPDATE SET
                 base_name = ?2, base_folder = ?3, fingerprint = ?4, current = ?6, quantise = ?7",
                params![
                    imported.name,
                    imported.base_name,
                    imported.base_folder.as_deref().map(path_text),
                    imported.fingerprint,
                    path_text(&imported.from),
                    imported.version,
                    quantise::to_store(imported.quantise)
                ],
            )?;
            transaction.execute(
                "INSERT INTO versions (adapter, version, parent, run, kind, created, base_heldout_loss, heldout_loss, examples, steps, seconds)
                 VALUES (?1, ?2, NULL, 0, ?3, ?4, 0, 0, 0, 0, 0)",
                params![imported.name, imported.version, kind_text(RunKind::Full), now()],
            )?;
            Ok(())
        })
    }

    /// The caller has checked that the version exists.
    pub(crate) fn set_current(&mut self, adapter: &str, version: u32) -> Result<()> {
        self.write(|transaction| {
            let sql = "UPDATE adapters SET current = ?2 WHERE name = ?1";
            transaction.execute(sql, params![adapter, version]).map(|_| ())
        })
    }

    pub(crate) fn set_stale(&mut self, adapter: &str, stale: bool) -> Result<()> {
        self.write(|transaction| {
            transaction
                .execute("UPDATE adapters SET stale = ?2 WHERE name = ?1", params![adapter, stale])
                .map(|_| ())
        })
    }

    /// A full retrain of the folder in this state brought nothing: it is not tried again before the folder changes.
    pub(crate) fn set_stale_tried(&mut self, adapter: &str, state: &str) -> Result<()> {
        self.write(|transaction| {
            let sql = "UPDATE adapters SET stale_tried = ?2 WHERE name = ?1";
            transaction.execute(sql, params![adapter, state]).map(|_| ())
        })
    }
}

pub(crate) fn created_now() -> String {
    now()
}

/// A version that nobody trained.
#[cfg(test)]
pub(crate) fn test_version(version: u32, parent: Option<u32>, run: RunId, kind: RunKind) -> VersionRow {
    VersionRow {
        version,
        parent,
        run,
        kind,
        created: now(),
        base_heldout_loss: 3.0,
        heldout_loss: 2.0,
        examples: 2,
        steps: 10,
        seconds: 1.5,
        guard: None,
        method: Method::Lora,
        pruned: false,
        judged_by: None,
    }
}

#[cfg(test)]
mod tests {
    use hotplate_dataset::{ContentHash, Side};
    use hotplate_protocol::run::Cause;

    use super::*;
    use crate::daemon::runs::train_request::test_order;

    fn learnt(text: &str) -> ManifestRow {
        ManifestRow {
            example: ContentHash::of(text.as_bytes()),
            side: Side::Train,
            file: "a.txt".into(),
            sketch: None,
            line: 1,
        }
    }

    fn swap(store: &mut Store, version: u32, parent: Option<u32>, kind: RunKind, rows: &[ManifestRow]) {
        let order = test_order("notes", kind, Cause::Asked);
        let run = store.add_run(&order).unwrap();
        store
            .swap_in(&NewVersion {
                target: &order.target,
                base_name: "hotplate-tiny",
                base_folder: None,
                quantise: None,
                fingerprint: "f",
                row: test_version(version, parent, run, kind),
                learnt: rows,
                losses: &[],
                replaced: &[],
                last: &RunEvent::Cancelled,
            })
            .unwrap();
    }

    #[test]
    fn a_swap_is_one_step() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(&folder.path().join("store.sqlite")).unwrap();
        swap(&mut store, 1, None, RunKind::Full, &[learnt("a"), learnt("b")]);
        swap(&mut store, 2, Some(1), RunKind::Incremental, &[learnt("c")]);
        assert_eq!(store.adapter("notes").unwrap().unwrap().current, 2);
        let target = test_order("notes", RunKind::Full, Cause::Asked).target;
        assert_eq!(store.manifest(&target).unwrap().rows.len(), 3);
        assert!(store.open_runs().unwrap().is_empty(), "the run ends with the swap");

        store.set_stale("notes", true).unwrap();
        swap(&mut store, 3, None, RunKind::Full, &[learnt("c")]);
        assert!(!store.adapter("notes").unwrap().unwrap().stale);
        assert_eq!(store.manifest(&target).unwrap().rows.len(), 1, "a full run starts a new manifest");
        // The same version twice: nothing of the second attempt stays.
        let order = test_order("notes", RunKind::Full, Cause::Asked);
        let run = store.add_run(&order).unwrap();
        let again = NewVersion {
            target: &order.target,
            base_name: "other",
            base_folder: None,
            quantise: None,
            fingerprint: "g",
            row: test_version(3, None, run, RunKind::Full),
            learnt: &[],
            losses: &[],
            replaced: &[],
            last: &RunEvent::Cancelled,
        };
        assert!(store.swap_in(&again).is_err());
        assert_eq!(store.adapter("notes").unwrap().unwrap().base_name, "hotplate-tiny");
        assert_eq!(store.manifest(&target).unwrap().rows.len(), 1);
    }

    #[test]
    fn what_was_edited_counts_as_gone_only_for_versions_before_the_edit() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(&folder.path().join("store.sqlite")).unwrap();
        let (old, new) = (learnt("a note"), learnt("a note, edited"));
        swap(&mut store, 1, None, RunKind::Full, std::slice::from_ref(&old));
        let order = test_order("notes", RunKind::Incremental, Cause::Asked);
        let run = store.add_run(&order).unwrap();
        let guard = Guard {
            verdict: hotplate_protocol::run::GuardVerdict::Fine,
            gap: Some(0.25),
            copy_rate: None,
            heldout_copy_rate: None,
            longest_copy_tokens: None,
            drift: Some(0.5),
            agreement: None,
            loops: None,
            base_loops: None,
            leaks: None,
        };
        store
            .swap_in(&NewVersion {
                target: &order.target,
                base_name: "hotplate-tiny",
                base_folder: None,
                quantise: None,
                fingerprint: "f",
                row: VersionRow {
                    guard: Some(guard.clone()),
                    ..test_version(2, Some(1), run, RunKind::Incremental)
                },
                learnt: std::slice::from_ref(&new),
                losses: &[(new.example, 1.5)],
                replaced: &[old.example],
                last: &RunEvent::Cancelled,
            })
            .unwrap();
        assert_eq!(store.versions("notes").unwrap()[1].guard, Some(guard));
        let manifest = store.manifest(&order.target).unwrap();
        assert_eq!(manifest.rows[&new.example].loss, Some(1.5));
        let held = |chain: &[u32]| -> Vec<ExampleId> {
            let chain = chain.iter().copied().collect();
            let mut held: Vec<_> = manifest.learnt(&chain).collect();
            held.sort_unstable();
            held
        };
        assert_eq!(held(&[1, 2]), [new.example]);
        assert_eq!(held(&[1]), [old.example], "rolled back, the old text is what is known");
    }

    #[test]
    fn what_was_rolled_back_is_not_in_the_lineage() {
        let kind = RunKind::Incremental;
        let rows = [
            test_version(1, None, RunId(1), RunKind::Full),
            test_version(2, Some(1), RunId(2), kind),
            test_version(3, Some(2), RunId(3), kind),
            test_version(4, Some(2), RunId(4), kind),
        ];
        assert_eq!(lineage(&rows, 4), HashSet::from([4, 2, 1]));
        assert_eq!(lineage(&rows, 1), HashSet::from([1]));
    }
}
