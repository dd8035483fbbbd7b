//! The end of a run: is the new version good enough to answer, and its way onto the disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hotplate_engine::base_folder::{WriteBaseError, write_base};
use hotplate_engine::base_spec::BaseSpec;
use hotplate_engine::golden::Golden;
use hotplate_engine::peft::{self, Snapshot};
use hotplate_engine::quantise::Quantise;
use hotplate_protocol::RpcError;
use hotplate_protocol::run::{Cause, RunKind};
use hotplate_train::{Losses, TrainedWeights, most_allowed};

use crate::daemon::file_pool::FilePool;
use crate::daemon::{durable, rpc_errors};

/// The losses that decide, nats per supervised token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Figures {
    pub(crate) base: Losses,
    pub(crate) start: Losses,
    pub(crate) best: Losses,
    pub(crate) best_step: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Verdict {
    Swap,
    /// The old version stays, because of this.
    Keep(String),
}

/// How much worse than the version that stands a run that nobody asked for may be where the two could not be judged by the same examples: cross-validation
/// of other examples says so much and no more.
const OTHER_EXAMPLES: f64 = 0.25;

/// `rival`: the loss of the version that a full run nobody asked for would replace; `folds`: it was measured on other examples.
pub(crate) fn verdict(
    kind: RunKind,
    cause: &Cause,
    figures: &Figures,
    margin: f64,
    rival: Option<f64>,
    folds: bool,
) -> Verdict {
    let Figures { base, start, best, best_step } = figures;
    match kind {
        RunKind::Incremental if *best_step == 0 => Verdict::Keep(format!(
            "every step of the run brought the loss on the held-out examples from {:.3} to more than {:.3}; the old version stays",
            start.all,
            most_allowed(start.all, margin)
        )),
        RunKind::Incremental if best.all > most_allowed(start.all, margin) => Verdict::Keep(format!(
            "the loss on the held-out examples rose from {:.3} to {:.3}; the old version stays",
            start.all, best.all
        )),
        // A person asked: they get what they asked for, and the figures.
        RunKind::Full if *cause != Cause::Stale => Verdict::Swap,
        RunKind::Full if best.all >= base.all => Verdict::Keep(format!(
            "trained anew, the loss on the held-out examples was {:.3}, no better than the base's {:.3}; the old version stays",
            best.all, base.all
        )),
        RunKind::Full
            if rival.is_some_and(|rival| {
                best.all > most_allowed(rival, if folds { margin.max(OTHER_EXAMPLES) } else { margin })
            }) =>
        {
            Verdict::Keep(format!(
                "trained anew without what is gone, the loss on the held-out examples was {:.3}, and the old version's is {:.3}; the better one stays, \
                 and still holds what is gone; to forget that all the same, call hotplate train",
                best.all,
                rival.unwrap_or_default()
            ))
        }
        _ => Verdict::Swap,
    }
}

/// A version on its way to the disk.
pub(crate) struct Draft {
    pub(crate) adapter_name: String,
    pub(crate) version: u32,
    pub(crate) learnt: TrainedWeights,
    pub(crate) text: Arc<BaseSpec>,
    pub(crate) quantise: Option<Quantise>,
    /// What the adapter answers now that it is new.
    pub(crate) goldens: Vec<Golden>,
}

/// Writes the version's folder beside its place and lets it appear there in one step. Nobody uses it before the store says so.
pub(crate) fn write_version(file_pool: &FilePool, draft: &Draft) -> Result<PathBuf, RpcError> {
    write_folder(file_pool, &draft.adapter_name, draft.version, |beside| match &draft.learnt {
        TrainedWeights::Adapter(adapter) => Snapshot::new(&draft.text, adapter, draft.goldens.clone())
            .map(|own| Snapshot { quantise: draft.quantise, ..own })
            .and_then(|own| peft::save_with(beside, adapter, &draft.text, &own))
            .map_err(|error| rpc_errors::of_saving(&error)),
        // A base of its own: it answers without the one that it was made from.
        TrainedWeights::Base(decoder) => {
            write_base(beside, decoder, &draft.text).map_err(|error| of_writing_base(&error))
        }
    })
}

/// A version's folder, written by `save`.
pub(crate) fn write_folder(
    file_pool: &FilePool,
    adapter: &str,
    version: u32,
    save: impl FnOnce(&Path) -> Result<(), RpcError>,
) -> Result<PathBuf, RpcError> {
    let place = file_pool.version_folder(adapter, version);
    if let Some(adapter) = place.parent() {
        file_pool.stored(adapter.to_owned())?;
    }
    let beside = place.with_file_name(format!("{DRAFT_PREFIX}{version}"));
    let written = durable::fresh_folder(&beside)
        .map_err(|error| rpc_errors::of_writing(&beside, &error))
        .and_then(|()| save(&beside))
        .and_then(|()| {
            durable::publish(&beside, &place).map_err(|error| rpc_errors::of_writing(&place, &error))
        });
    match written {
        Ok(()) => Ok(place),
        Err(error) => {
            // Give a full disk its room back; what cannot be removed now is removed at the next start.
            let _ = std::fs::remove_dir_all(&beside);
            Err(error)
        }
    }
}

/// Folders of this kind are never anybody's version.
pub(crate) const DRAFT_PREFIX: &str = ".new-";

fn of_writing_base(error: &WriteBaseError) -> RpcError {
    if let WriteBaseError::Io { file, source } = error {
        return rpc_errors::of_writing(file, source);
    }
    RpcError::new(hotplate_protocol::ErrorCode::StorageFailed, error.to_string())
}

#[cfg(test)]
mod tests {
    use hotplate_train::MARGIN;

    use super::*;

    fn figures(start: f64, best: f64, best_step: usize) -> Figures {
        let losses = |all| Losses { all, new: None };
        Figures { base: losses(4.0), start: losses(start), best: losses(best), best_step }
    }

    fn kept(kind: RunKind, cause: &Cause, figures: &Figures) -> bool {
        matches!(verdict(kind, cause, figures, MARGIN, None, false), Verdict::Keep(_))
    }

    #[test]
    fn an_incremental_run_must_not_be_worse_by_more_than_the_margin() {
        let cause = Cause::Saved { files: Vec::new() };
        assert!(!kept(RunKind::Incremental, &cause, &figures(3.0, 2.9, 5)));
        assert!(!kept(RunKind::Incremental, &cause, &figures(3.0, 3.05, 5)));
        assert!(kept(RunKind::Incremental, &cause, &figures(3.0, 3.07, 5)));
        assert!(kept(RunKind::Incremental, &cause, &figures(3.0, 3.0, 0)));
        // Hundredths of a nat are nothing, however low the loss is.
        assert!(!kept(RunKind::Incremental, &cause, &figures(0.07, 0.085, 5)));
        assert!(kept(RunKind::Incremental, &cause, &figures(0.07, 0.095, 5)));
    }

    #[test]
    fn a_better_version_is_not_replaced_unasked() {
        let kept = |cause: &Cause, best: f64, folds| {
            let verdict = verdict(RunKind::Full, cause, &figures(4.0, best, 5), MARGIN, Some(2.0), folds);
            matches!(verdict, Verdict::Keep(_))
        };
        assert!(!kept(&Cause::Stale, 2.03, false) && kept(&Cause::Stale, 2.05, false));
        assert!(!kept(&Cause::Stale, 2.4, true) && kept(&Cause::Stale, 2.6, true));
        assert!(!kept(&Cause::Asked, 3.9, false), "a person asked");
    }

    #[test]
    fn a_full_run_is_kept_back_only_when_nobody_asked_for_it() {
        assert!(!kept(RunKind::Full, &Cause::Asked, &figures(4.0, 4.0, 0)));
        assert!(!kept(RunKind::Full, &Cause::Stale, &figures(4.0, 3.0, 5)));
        assert!(kept(RunKind::Full, &Cause::Stale, &figures(4.0, 4.0, 0)));
    }
}
