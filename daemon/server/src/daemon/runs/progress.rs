//! From the worker's news to the end of a run: steps, losses, the verdict, the swap.

use std::path::PathBuf;

use hotplate_dataset::ExampleId;
use hotplate_protocol::knobs::Method;
use hotplate_protocol::run::{
    BetterVersion, Cause, Futile, Guard, GuardVerdict, RunEvent, RunId, RunKind, RunResult, RunWork,
};
use hotplate_protocol::{ErrorCode, RpcError};
use hotplate_train::guard::{self, GuardFigures};
use hotplate_train::{Losses, Outcome, StopReason, TrainedWeights, most_allowed};

use super::Phase;
use super::finish::{Draft, Verdict, verdict};
use super::look::unix;
use super::prepare::RunJob;
use crate::daemon::file_pool::FileJob;
use crate::daemon::state::Daemon;
use crate::daemon::store::{NewVersion, VersionRow, best_by_the_same_texts, created_now};
use crate::daemon::worker::{News, Trained, figures};

/// What a run's end will say, while its version is being written.
pub(super) struct Ending {
    job: RunJob,
    base_loss: Losses,
    start_loss: Losses,
    best_loss: Losses,
    train_loss: f64,
    best_step: usize,
    steps: usize,
    tokens: usize,
    tokens_per_second: f64,
    guard: Guard,
    reason: String,
    futile: Option<Futile>,
    folds: usize,
    losses: Vec<(ExampleId, f64)>,
}

/// The engine's figures as clients see them.
fn guard_of(figures: &GuardFigures) -> Guard {
    let finite = |figure: Option<f64>| figure.filter(|figure| figure.is_finite());
    Guard {
        verdict: match figures.verdict() {
            guard::Verdict::Memorising => GuardVerdict::Memorising,
            guard::Verdict::Drifting => GuardVerdict::Drifting,
            guard::Verdict::Looping => GuardVerdict::Looping,
            guard::Verdict::Leaking => GuardVerdict::Leaking,
            guard::Verdict::GapWide => GuardVerdict::GapWide,
            guard::Verdict::Fine => GuardVerdict::Fine,
        },
        gap: finite(figures.gap),
        copy_rate: finite(figures.copy_rate),
        heldout_copy_rate: finite(figures.heldout_copy_rate),
        longest_copy_tokens: figures.longest_copy.map(|copied| copied.tokens),
        drift: finite(figures.drift),
        agreement: finite(figures.agreement),
        loops: finite(figures.loops),
        base_loops: finite(figures.base_loops),
        leaks: finite(figures.leaks),
    }
}

fn futile_of(futile: guard::Futile) -> Futile {
    match futile {
        guard::Futile::Known => Futile::Known,
        guard::Futile::NoOrder => Futile::NoOrder,
        guard::Futile::TooLittle => Futile::TooLittle,
    }
}

impl Daemon {
    pub(crate) fn training_news(&mut self, run: RunId, news: News) {
        // A run that was cancelled may still have news on the way.
        let Some(active) = self.runs.active.as_mut().filter(|active| active.run == run) else { return };
        match news {
            News::Event(event) => {
                if let RunEvent::Step { step, steps, loss, .. } = &event {
                    (active.step, active.steps, active.loss) = (*step, *steps, Some(*loss));
                }
                self.emit(run, event);
            }
            News::Evaluated { step, losses, best, moved } => {
                let continues = active.job.as_ref().is_some_and(|job| job.start.is_some());
                // An incremental run is judged against the version it starts from; the bare base comes with its result.
                if step == 0 && continues && !best {
                    return;
                }
                self.emit(
                    run,
                    RunEvent::Evaluated {
                        step,
                        heldout_loss: losses.all,
                        best,
                        drift: moved.map(|moved| moved.drift).filter(|drift| drift.is_finite()),
                    },
                );
            }
            News::Failed(error) => self.failed(run, &error),
            News::Finished(trained) => self.trained(run, *trained),
        }
    }

    /// Its examples count as tried: the same save must not fail again and again. But a full disk is not their fault.
    fn failed(&mut self, run: RunId, error: &RpcError) {
        if error.code != ErrorCode::StorageFailed {
            self.note_tried(run);
        }
        self.end_without_version(run, &RunEvent::Failed { error: error.message.clone() });
    }

    fn note_tried(&mut self, run: RunId) {
        let Some(active) = self.runs.active.as_ref().filter(|active| active.run == run) else { return };
        let Some(job) = &active.job else { return };
        let target = &active.order.target;
        let noted = match (active.order.kind, &active.order.cause) {
            (RunKind::Incremental, _) => self.store.mark_tried(target, run, &job.learns),
            (RunKind::Full, Cause::Stale) => self.store.set_stale_tried(&target.adapter, &job.state),
            (RunKind::Full, _) => Ok(()),
        };
        if let Err(error) = noted {
            tracing::warn!(%error, run = run.0, "what a run tried could not be noted");
        }
    }

    fn trained(&mut self, run: RunId, trained: Trained) {
        let Trained {
            outcome,
            job,
            text,
            tokens_per_second,
            prices,
            seconds,
            losses,
            rival_loss,
            neutral,
            rehearsal,
            goldens,
        } = trained;
        if let Some(answers) = rehearsal
            && let Err(error) = self.store.set_rehearsal(&text.answers_by(), &answers)
        {
            tracing::warn!(%error, "the base's own answers could not be stored");
        }
        if let Some(samples) = neutral
            && let Err(error) = self.store.set_neutral_samples(&text.answers_by(), &samples)
        {
            tracing::warn!(%error, "the base's own samples could not be stored");
        }
        if let Some(prices) = prices {
            self.note_prices(&job.fingerprint, prices);
        }
        if !matches!(outcome.reason, StopReason::AllSteps { .. }) {
            self.emit(run, RunEvent::Note { text: outcome.reason.to_string() });
        }
        let figures = figures(&outcome);
        let signs = guard_of(&outcome.guard);
        let verdict = match outcome.reason {
            // It had no chance: nothing was made worse.
            StopReason::Asked { best_step: 0, .. } => {
                Verdict::Keep(format!("{}; the old version stays", outcome.reason))
            }
            _ => verdict(
                job.order.kind,
                &job.order.cause,
                &figures,
                job.settings.margin,
                rival_loss,
                job.folds.is_some(),
            ),
        };
        match verdict {
            Verdict::Keep(reason) => {
                self.note_tried(run);
                let last = RunEvent::Kept {
                    reason,
                    heldout_loss_before: figures.start.all,
                    heldout_loss_after: figures.best.all,
                    tokens: outcome.tokens,
                    seconds,
                    guard: Some(signs),
                };
                self.end_without_version(run, &last);
            }
            Verdict::Swap => {
                let Outcome {
                    learnt,
                    best_step,
                    steps,
                    tokens,
                    base_loss,
                    start_loss,
                    best_loss,
                    train_loss,
                    reason,
                    futile,
                    folds,
                    ..
                } = outcome;
                let (name, quantise) = (job.order.target.adapter.clone(), job.order.quantise);
                let version = match self.next_version(&name) {
                    Ok(version) => version,
                    Err(error) => return self.failed(run, &error),
                };
                if let Err(error) = self.store.plan_version(run, version) {
                    return self.failed(run, &error.into());
                }
                let ending = Ending {
                    job,
                    base_loss,
                    start_loss,
                    best_loss,
                    train_loss,
                    best_step,
                    steps,
                    tokens,
                    tokens_per_second,
                    guard: signs,
                    reason: reason.to_string(),
                    futile: futile.map(futile_of),
                    folds: folds.map_or(0, |folds| folds.losses.len()),
                    losses,
                };
                if let Some(active) = self.runs.active.as_mut().filter(|active| active.run == run) {
                    active.phase = Phase::Saving(Box::new(ending));
                }
                self.emit(
                    run,
                    RunEvent::Working { work: RunWork::Saving, done: 0, of: 1, seconds_left: None },
                );
                let draft = Draft { adapter_name: name, version, learnt, text, quantise, goldens };
                self.file_jobs.send(FileJob::WriteVersion(run, Box::new(draft)));
            }
        }
    }

    /// A person who asked gets the new version, and hears of an old one that the same texts found better.
    fn better_than(&self, adapter: &str, new: &VersionRow, margin: f64) -> Option<BetterVersion> {
        let versions = self.store.versions(adapter).ok()?;
        let best = best_by_the_same_texts(&versions, new)?;
        (most_allowed(best.heldout_loss, margin) < new.heldout_loss)
            .then_some(BetterVersion { version: best.version, heldout_loss: best.heldout_loss })
    }

    /// Above everything that the store or the disk knows: a number is never used twice.
    fn next_version(&self, adapter: &str) -> Result<u32, RpcError> {
        let newest = self.store.versions(adapter)?.last().map_or(0, |row| row.version);
        let deleted = self.store.adapter(adapter)?.map_or(0, |row| row.newest_deleted);
        let mut free = newest.max(deleted) + 1;
        while self.file_pool.version_folder(adapter, free).exists() {
            free += 1;
        }
        Ok(free)
    }

    pub(crate) fn version_written(&mut self, run: RunId, draft: &Draft, result: Result<PathBuf, RpcError>) {
        let active = self.runs.active.as_mut().filter(|active| active.run == run);
        let Some((active, began)) = active.map(|active| {
            let began = active.began;
            (active, began)
        }) else {
            // Cancelled meanwhile: nobody knows this version, and nobody will.
            if let Ok(folder) = result {
                let _ = std::fs::remove_dir_all(folder);
            }
            return;
        };
        let path = match result {
            Ok(path) => path,
            Err(error) => return self.failed(run, &error),
        };
        let Phase::Saving(ending) = std::mem::replace(&mut active.phase, Phase::Training) else { return };
        let cause = active.order.cause.clone();
        let saved_at = active.order.saved_at.filter(|_| matches!(cause, Cause::Saved { .. }));
        let now = unix(std::time::SystemTime::now());
        let seconds = began.elapsed().as_secs_f64();
        let Ending { job, base_loss, start_loss, best_loss, .. } = &*ending;
        let target = &job.order.target;
        let row = VersionRow {
            version: draft.version,
            parent: job.start,
            run,
            kind: job.order.kind,
            created: created_now(),
            base_heldout_loss: base_loss.all,
            heldout_loss: best_loss.all,
            examples: job.learns.len(),
            steps: ending.steps,
            seconds,
            guard: Some(ending.guard.clone()),
            method: match draft.learnt {
                TrainedWeights::Adapter(_) => Method::Lora,
                TrainedWeights::Base(_) => Method::Full,
            },
            pruned: false,
            judged_by: Some(job.judged_by()),
        };
        let better = self.better_than(&target.adapter, &row, job.settings.margin);
        let superseded = self.superseded(&target.adapter, &row);
        let result = RunResult {
            run,
            kind: job.order.kind,
            adapter: target.adapter.clone(),
            version: draft.version,
            path,
            base_heldout_loss: base_loss.all,
            heldout_loss_before: start_loss.all,
            heldout_loss: best_loss.all,
            new_heldout_loss_before: start_loss.new,
            new_heldout_loss_after: best_loss.new,
            train_loss: ending.train_loss,
            train_examples: job.train.len(),
            heldout_examples: job.heldout.len(),
            best_step: ending.best_step,
            steps: ending.steps,
            tokens: ending.tokens,
            tokens_per_second: ending.tokens_per_second,
            seconds,
            save_to_swap_seconds: saved_at.map(|saved| (now - saved).max(0.0)),
            guard: Some(ending.guard.clone()),
            reason: Some(ending.reason.clone()),
            folds: ending.folds,
            futile: ending.futile,
            better,
            pruned: superseded.all(),
        };
        let last = RunEvent::Finished { result };
        let swapped = self.store.swap_in(&NewVersion {
            target,
            base_name: &draft.text.name,
            base_folder: job.order.base.as_deref(),
            quantise: job.order.quantise,
            fingerprint: &job.fingerprint,
            row,
            learnt: &job.learns,
            losses: &ending.losses,
            replaced: &job.replaces,
            last: &last,
        });
        match swapped {
            Ok(()) => {
                self.make_room(run, &target.adapter, &superseded);
                self.ended(run, last);
            }
            Err(error) => {
                // Nobody knows this version; but a commit whose answer was lost may have happened all the same.
                let unknown = self
                    .store
                    .versions(&target.adapter)
                    .is_ok_and(|rows| rows.iter().all(|row| row.version != draft.version));
                if unknown {
                    let _ = std::fs::remove_dir_all(
                        self.file_pool.version_folder(&target.adapter, draft.version),
                    );
                }
                self.failed(run, &error.into());
            }
        }
    }
}
