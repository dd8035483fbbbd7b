//! The six parts, in order. Each asks the daemon for something and says what came of it.

use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use hotplate_client::protocol::RequestKind;
use hotplate_client::protocol::methods::Nothing;
use hotplate_client::protocol::methods::adapters::Adapters;
use hotplate_client::protocol::methods::check::{Check, CheckParams};
use hotplate_client::protocol::methods::generate::{Generate, GenerateParams, Sampling};
use hotplate_client::protocol::methods::models::Models;
use hotplate_client::protocol::methods::run_attach::{AttachParams, AttachRun};
use hotplate_client::protocol::methods::status::Status;
use hotplate_client::protocol::methods::train::{Knobs, PlanTrain, Train, TrainParams};
use hotplate_client::protocol::methods::watch::Watch;
use hotplate_client::protocol::notifications::{RunEventNotification, RunEventParams};
use hotplate_client::protocol::run::{Plan, RunEvent, RunResult};
use hotplate_client::words::wrap;
use hotplate_client::{CallError, Canceller, CommandError, Connection, Shown, run_command, words};

use super::samples::{LATER, Samples};
use super::score::Score;
use super::speaker::Speaker;
use super::stage::Stage;
use super::tongue::{Part, Tongue};
use crate::cli::Ending;
use crate::cli::columns::{ledger, side_by_side};
use crate::cli::progress::RunProgress;
use crate::cli::style::{FAINT, PLACE, WARNING, paint};

/// The adapter's name: that of the folder with the notes.
const ADAPTER: &str = "notes";
/// The whole demo is to end within 120 s.
const LONGEST_TRAINING: f64 = 60.0;
/// A save is to be in use within 10 s; noticing it, judging and swapping take their share.
const LONGEST_SAVE: f64 = 6.0;
const SAVE_PATIENCE: Duration = Duration::from_secs(90);
const TEXT_TOKENS: usize = 90;
const SEED: u64 = 7;
const CURVE_WIDTH: usize = 48;

pub(super) struct Play<'a> {
    pub(super) stage: &'a Stage,
    pub(super) samples: &'static Samples,
    pub(super) tongue: Tongue,
    pub(super) speaker: &'a Speaker,
    pub(super) canceller: &'a Canceller,
}

struct Text {
    text: String,
    /// From the request to the first piece of text, on this side.
    first_piece: Duration,
}

/// How the later notes were learnt.
struct Followed {
    save_to_swap: Duration,
    before: f64,
    after: f64,
}

impl Play<'_> {
    pub(super) fn all(&self) -> Result<Score, Ending> {
        self.kitchen()?;
        self.notes()?;
        let knobs = self.plan()?;
        let (trained, first_token) = self.training(knobs.clone())?;
        // What the notes are learnt with, so that a slow machine, too, is done in seconds.
        let followed = self.save(Knobs { max_steps: Some(steps_for_a_save(&trained)), ..knobs })?;

        let adapters = self.ask::<Adapters>(&Nothing {})?;
        let versions = adapters.iter().find(|adapter| adapter.name == ADAPTER);
        Ok(Score {
            base_heldout_loss: trained.base_heldout_loss,
            tuned_heldout_loss: trained.heldout_loss,
            train_seconds: trained.seconds,
            train_tokens_per_second: trained.tokens_per_second,
            save_to_swap_seconds: followed.save_to_swap.as_secs_f64(),
            new_notes_loss_before: followed.before,
            new_notes_loss_after: followed.after,
            first_token_ms: first_token.as_secs_f64() * 1000.0,
            adapter_versions: versions.map_or(0, |adapter| adapter.versions.len()),
            peak_rss_bytes: self.ask::<Status>(&Nothing {})?.peak_rss_bytes,
        })
    }

    fn kitchen(&self) -> Result<(), Ending> {
        self.speaker.heading(&self.tongue.heading(Part::Kitchen));
        self.speaker.say(&self.tongue.kitchen(self.stage.ready.as_secs_f64(), self.stage.home()));
        let begun = Instant::now();
        {
            let _waiting = self.speaker.waiting(self.tongue.loading());
            self.write("a", None, 1)?;
        }
        let loading = begun.elapsed();
        let models = self.ask::<Models>(&Nothing {})?;
        let base = models
            .iter()
            .find(|model| model.path.is_none())
            .context("the daemon has no base model of its own")?;
        self.speaker.say(&self.tongue.loaded(&base.name, base.parameters, loading.as_secs_f64()));
        Ok(())
    }

    fn notes(&self) -> Result<(), Ending> {
        self.speaker.heading(&self.tongue.heading(Part::Notes));
        let folder = self.stage.notes();
        self.samples
            .lay_out(&folder)
            .with_context(|| format!("cannot write the sample notes to {}", folder.display()))?;
        self.speaker.say(self.tongue.taste());
        self.speaker.quote(self.samples.taste);
        let check =
            self.ask::<Check>(&CheckParams { folder, base: None, fallback_base: None, list: false })?;
        self.speaker.say(&self.tongue.checked(&check));
        for finding in &check.findings {
            let (message, remedy) = self.tongue.finding(finding);
            let place = paint(PLACE, words::finding_place(finding));
            let name = paint(WARNING, format_args!("{} {}", finding.code, finding.name));
            self.speaker.lines(&[format!("  {place}  {name}")]);
            for line in wrap(&message, self.speaker.width() - 4) {
                self.speaker.lines(&[format!("    {line}")]);
            }
            for line in wrap(&remedy, self.speaker.width() - 4) {
                self.speaker.lines(&[format!("    {}", paint(FAINT, line))]);
            }
        }
        self.speaker.say(self.tongue.skipped());
        Ok(())
    }

    /// The knobs that the training is to have: the daemon's own choice, unless this machine is too slow for it.
    fn plan(&self) -> Result<Knobs, Ending> {
        self.speaker.heading(&self.tongue.heading(Part::Plan));
        let mut knobs = Knobs::default();
        // The daemon trains a little to know this machine's speed.
        let waiting = self.speaker.waiting(self.tongue.measuring());
        let plan = self.ask::<PlanTrain>(&self.params(ADAPTER, knobs.clone()))?;
        drop(waiting);
        self.speaker.lines(&ledger(&self.tongue.plan(&plan)));
        if let Some(steps) = affordable_steps(&plan) {
            self.speaker.say(&self.tongue.shortened(steps));
            knobs.max_steps = Some(steps);
        }
        Ok(knobs)
    }

    /// Returns the run's result, and how long the first piece of a text takes with everything warm.
    fn training(&self, knobs: Knobs) -> Result<(RunResult, Duration), Ending> {
        self.speaker.heading(&self.tongue.heading(Part::Training));
        let waiting = self.speaker.waiting(self.tongue.writing());
        let mut before = Vec::new();
        let unrelated = self.samples.unrelated();
        for prompt in self.samples.prompts().chain([unrelated]) {
            before.push((prompt, self.write(prompt, None, TEXT_TOKENS)?));
        }
        drop(waiting);

        let started = self.ask::<Train>(&self.params(ADAPTER, knobs))?;
        let mut progress = RunProgress::new(self.tongue.bar());
        let mut result = None;
        run_command::follow(self.connection(), started.run, self.canceller, &mut |shown| {
            let Shown::Run { event, .. } = shown else { return };
            if self.speaker.is_aloud() {
                progress.event(&event);
            }
            if let RunEvent::Finished { result: finished } = event {
                result = Some(finished);
            }
        })?;
        let result = result.context("the run ended without a new version; see: hotplate logs")?;
        self.speaker.lines(&progress.curves(CURVE_WIDTH));
        self.speaker.say(&self.tongue.trained(
            result.seconds,
            result.tokens_per_second,
            result.steps,
            result.best_step,
        ));

        let mut first_piece = Duration::ZERO;
        for (prompt, untrained) in before {
            let waiting = self.speaker.waiting(self.tongue.writing());
            let trained = self.write(prompt, Some(ADAPTER), TEXT_TOKENS)?;
            drop(waiting);
            first_piece = trained.first_piece;
            if prompt == unrelated {
                self.speaker.gap();
                self.speaker.say(self.tongue.unrelated());
            }
            self.speaker.gap();
            self.speaker.say_softly(&format!("» {prompt}"));
            self.speaker.lines(&side_by_side(
                &self.tongue.heads(),
                &[&untrained.text, &trained.text],
                self.speaker.width(),
            ));
        }
        Ok((result, first_piece))
    }

    fn save(&self, knobs: Knobs) -> Result<Followed, Ending> {
        self.speaker.heading(&self.tongue.heading(Part::Save));
        self.ask::<AttachRun>(&AttachParams { run: None })?;
        let steps = knobs.max_steps.unwrap_or_default();
        self.ask::<Watch>(&self.params(ADAPTER, knobs))?;
        let folder = self.stage.notes();
        self.speaker.say(&self.tongue.watching(&folder, steps));
        let notes = self.samples.later.split("\n---\n").count();
        self.speaker.say(&self.tongue.saved(LATER, notes));

        let mut waiting = Some(self.speaker.waiting(self.tongue.noticing()));
        let saved = self.samples.save_later(&folder);
        let saved_at = Instant::now();
        let file = saved.with_context(|| format!("cannot save {LATER} in {}", folder.display()))?;
        let mut progress = RunProgress::new(self.tongue.bar());
        let result = loop {
            let event = self.next_event(saved_at)?.event;
            waiting.take();
            if self.speaker.is_aloud() {
                progress.event(&event);
            }
            match event {
                RunEvent::Started { .. } => {
                    let noticed = saved_at.elapsed().as_secs_f64();
                    progress.beside(|| self.speaker.say(&self.tongue.noticed(noticed)));
                }
                RunEvent::Finished { result } => break result,
                RunEvent::Kept { reason, .. } => {
                    return Err(anyhow!("the daemon kept the version before: {reason}").into());
                }
                RunEvent::Failed { error } => return Err(anyhow!(error).into()),
                RunEvent::Cancelled => {
                    return Err(anyhow!("somebody cancelled the run on {}", file.display()).into());
                }
                RunEvent::Queued { .. }
                | RunEvent::Step { .. }
                | RunEvent::Working { .. }
                | RunEvent::Evaluated { .. }
                | RunEvent::FoldsDone { .. }
                | RunEvent::Sampled { .. }
                | RunEvent::Note { .. } => {}
            }
        };
        let save_to_swap = saved_at.elapsed();
        let (Some(before), Some(after)) = (result.new_heldout_loss_before, result.new_heldout_loss_after)
        else {
            return Err(anyhow!("none of the notes in {} was held out", file.display()).into());
        };
        self.speaker.lines(&progress.curves(CURVE_WIDTH));
        self.speaker.say_well(&self.tongue.swapped(
            result.version,
            save_to_swap.as_secs_f64(),
            before,
            after,
        ));
        Ok(Followed { save_to_swap, before, after })
    }

    /// The next event of any run; an error when none comes in time.
    fn next_event(&self, since: Instant) -> Result<RunEventParams, Ending> {
        loop {
            let left = SAVE_PATIENCE.saturating_sub(since.elapsed());
            if left.is_zero() {
                let seconds = SAVE_PATIENCE.as_secs();
                return Err(anyhow!("the save was not learnt within {seconds} s; see: hotplate logs").into());
            }
            if self.canceller.is_cancelled() {
                return Err(Ending::Interrupted);
            }
            match self.connection().next_notification_within(left.min(Duration::from_millis(100))) {
                Ok(notification) => {
                    if let Some(Ok(params)) = notification.parse::<RunEventNotification>() {
                        return Ok(params);
                    }
                }
                // Nothing within this time.
                Err(CallError::Cancelled) => {}
                Err(error) => return Err(CommandError::from(error).into()),
            }
        }
    }

    fn write(&self, prompt: &str, adapter: Option<&str>, max_tokens: usize) -> Result<Text, Ending> {
        let params = GenerateParams {
            prompt: prompt.to_owned(),
            adapter: adapter.map(str::to_owned),
            base: None,
            raw: false,
            // A toy likes to repeat itself; the same for both sides.
            sampling: Sampling {
                seed: Some(SEED),
                max_tokens: Some(max_tokens),
                repetition_penalty: Some(1.1),
                ..Sampling::default()
            },
            ..GenerateParams::default()
        };
        let begun = Instant::now();
        let mut first_piece = None;
        let result = self
            .connection()
            .call_with::<Generate>(&params, self.canceller, &mut |_| {
                first_piece.get_or_insert_with(|| begun.elapsed());
            })
            .map_err(CommandError::from)?;
        // A text of nothing has no first piece; then its end is what was waited for.
        Ok(Text { text: result.text, first_piece: first_piece.unwrap_or_else(|| begun.elapsed()) })
    }

    fn ask<R: RequestKind>(&self, params: &R::Params) -> Result<R::Result, Ending> {
        let asked = self.connection().call_with::<R>(params, self.canceller, &mut |_| {});
        asked.map_err(|error| CommandError::from(error).into())
    }

    fn params(&self, adapter: &str, knobs: Knobs) -> TrainParams {
        TrainParams {
            folder: self.stage.notes(),
            base: None,
            fallback_base: None,
            adapter: Some(adapter.to_owned()),
            knobs,
        }
    }

    fn connection(&self) -> &Connection {
        self.stage.connection()
    }
}

/// How many steps of `plan` fit into the demo; `None` if all do.
fn affordable_steps(plan: &Plan) -> Option<usize> {
    let seconds = plan.seconds_at_most.or(plan.seconds).filter(|seconds| *seconds > LONGEST_TRAINING)?;
    Some(((plan.steps as f64 * LONGEST_TRAINING / seconds) as usize).max(1))
}

/// How many steps this machine makes in the time that a save is to take.
fn steps_for_a_save(trained: &RunResult) -> usize {
    let seconds_per_step = trained.seconds / trained.steps.max(1) as f64;
    ((LONGEST_SAVE / seconds_per_step) as usize).max(4)
}
