//! One run as one live display: what has happened so far, as text and as HTML. Owns no clock and sends nothing.

use hotplate_client::protocol::run::{RunEvent, RunWork, SamplePair};
use hotplate_client::words;

use super::Bundle;
use super::curve::Curve;
use super::html;

const TEXT_WIDTH: usize = 40;
const GETTING_READY: &str = "getting ready";

#[derive(Debug, Default)]
pub(super) struct Training {
    title: String,
    /// The latest step, as `step 12 of 140: ...`.
    now: String,
    step: usize,
    steps: usize,
    notes: Vec<String>,
    curve: Curve,
    /// The latest answers to the recipe's prompts.
    samples: Option<(usize, Vec<SamplePair>)>,
    end: Option<End>,
}

#[derive(Debug)]
enum End {
    /// There is a new version.
    Version,
    /// What was tried was no better.
    Kept,
    /// The sentence that says why.
    Broken(String),
}

impl Training {
    pub(super) fn apply(&mut self, event: &RunEvent) {
        let sentence = words::event(event).unwrap_or_default();
        match event {
            // A run's first event: what was known of it is told again from the start.
            RunEvent::Queued { .. } => {
                let now = if sentence.is_empty() { GETTING_READY.to_owned() } else { sentence };
                *self = Training { now, ..Training::default() };
            }
            RunEvent::Started { plan, .. } => {
                self.title = sentence;
                self.steps = plan.steps;
                GETTING_READY.clone_into(&mut self.now);
            }
            RunEvent::Step { step, steps, loss, .. } => {
                self.step = *step;
                self.steps = *steps;
                self.now = sentence;
                self.curve.add_train(*step, *loss);
            }
            // Between two steps, the last one says more.
            RunEvent::Working { work: RunWork::Learning, .. } if self.step > 0 => {}
            RunEvent::Working { .. } => self.now = sentence,
            RunEvent::Evaluated { step, heldout_loss, .. } => self.curve.add_heldout(*step, *heldout_loss),
            RunEvent::Note { text } => self.notes.push(text.clone()),
            RunEvent::FoldsDone { .. } => self.notes.push(sentence),
            RunEvent::Sampled { step, samples } => self.samples = Some((*step, samples.clone())),
            RunEvent::Finished { .. } => self.end = Some(End::Version),
            RunEvent::Kept { .. } => self.end = Some(End::Kept),
            RunEvent::Failed { .. } | RunEvent::Cancelled => self.end = Some(End::Broken(sentence)),
        }
    }

    /// What came of the run, to be said below the picture: some front ends (`jupyter console`) show a display's first picture only.
    pub(super) fn outcome(event: &RunEvent) -> Option<String> {
        match event {
            RunEvent::Finished { .. } | RunEvent::Kept { .. } => words::event(event),
            _ => None,
        }
    }

    pub(super) fn bundle(&self) -> Bundle {
        Bundle { text: self.text(), html: self.html() }
    }

    fn share(&self) -> f64 {
        match &self.end {
            // A run that stopped early because it got no better is done all the same.
            Some(End::Version) => 1.0,
            _ if self.steps == 0 => 0.0,
            _ => self.step as f64 / self.steps as f64,
        }
    }

    fn losses(&self) -> String {
        let figure =
            |label: &str, loss: Option<f64>| loss.map(|loss| format!("{label} {}", words::loss(loss)));
        let figures = [
            figure("loss", self.curve.last_train()),
            figure("on texts it has not seen: before", self.curve.first_heldout()),
            figure("best", self.curve.best_heldout()),
        ];
        figures.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    fn text(&self) -> String {
        let filled = (self.share() * TEXT_WIDTH as f64).round() as usize;
        let bar = format!(
            "{}{}",
            "█".repeat(filled.min(TEXT_WIDTH)),
            "░".repeat(TEXT_WIDTH.saturating_sub(filled))
        );
        let mut lines = vec![self.title.clone(), format!("{bar} {:.0} %", self.share() * 100.0)];
        if self.end.is_none() {
            lines.push(self.now.clone());
        }
        for (name, line) in [
            ("loss     ", self.curve.train_line(TEXT_WIDTH)),
            ("held-out ", self.curve.heldout_line(TEXT_WIDTH)),
        ] {
            if !line.is_empty() {
                lines.push(format!("{name}{line}"));
            }
        }
        if self.end.is_none() {
            lines.push(self.losses());
        }
        lines.extend(self.notes.iter().cloned());
        if let Some((step, samples)) = &self.samples {
            lines.extend(words::event(&RunEvent::Sampled { step: *step, samples: samples.clone() }));
        }
        if let Some(End::Broken(why)) = &self.end {
            lines.push(why.clone());
        }
        lines.retain(|line| !line.is_empty());
        lines.join("\n")
    }

    fn html(&self) -> String {
        let mut html = String::from("<div class=\"hotplate-training\">");
        if !self.title.is_empty() {
            html.push_str(&html::heading(&self.title));
        }
        html.push_str(&html::bar(self.share()));
        if self.end.is_none() && !self.now.is_empty() {
            html.push_str(&html::lines(&self.now));
        }
        html.push_str(&self.curve.svg(self.steps));
        if self.end.is_none() && !self.losses().is_empty() {
            html.push_str(&html::note(&self.losses()));
        }
        for note in &self.notes {
            html.push_str(&html::note(note));
        }
        if let Some((step, samples)) = &self.samples {
            let rows: Vec<Vec<String>> = samples
                .iter()
                .map(|pair| vec![pair.prompt.clone(), pair.base.clone(), pair.mine.clone()])
                .collect();
            html.push_str(&html::table(&[&format!("step {}", words::number(*step)), "base", "mine"], &rows));
        }
        if let Some(End::Broken(why)) = &self.end {
            html.push_str(&html::lines(why));
        }
        html.push_str("</div>");
        html
    }
}

#[cfg(test)]
mod tests {
    use hotplate_client::protocol::run::{Cause, Plan, RunKind};

    use super::*;

    pub(super) fn plan() -> Plan {
        Plan {
            kind: RunKind::Full,
            base: "hotplate-tiny".into(),
            adapter: "<notes>".into(),
            train_examples: 53,
            heldout_examples: 6,
            replay_examples: 0,
            texts_as_answers: 0,
            rehearsed_answers: 0,
            tokens: 3412,
            supervised_tokens: 3000,
            epochs: 8,
            steps: 100,
            tokens_per_step: 240,
            learning_rate: 0.001,
            rank: 16,
            alpha: 16.0,
            trainable_parameters: 294_912,
            likely_steps: 0,
            seconds: Some(24.6),
            seconds_at_most: None,
            memory_bytes: 181_000_000,
            findings: 0,
            settings: Vec::new(),
            folds: 0,
            problem: None,
        }
    }

    fn step(step: usize, loss: f64) -> RunEvent {
        RunEvent::Step {
            step,
            steps: 100,
            epoch: 0.1,
            loss,
            learning_rate: 1e-3,
            tokens_per_second: 1000.0,
            seconds: 1.0,
            seconds_left: 9.0,
        }
    }

    #[test]
    fn a_run_from_its_start_to_its_end() {
        let mut training = Training::default();
        training.apply(&RunEvent::Queued { position: 2 });
        assert!(training.text().contains("Waits for 2 runs"), "{}", training.text());
        training.apply(&RunEvent::Started { plan: plan(), cause: Cause::Asked });
        training.apply(&RunEvent::Evaluated { step: 0, heldout_loss: 5.0, best: true, drift: None });
        training.apply(&step(25, 4.0));
        training.apply(&step(50, 3.0));
        training.apply(&RunEvent::Evaluated { step: 50, heldout_loss: 3.5, best: true, drift: None });
        let Bundle { text, html } = training.bundle();
        assert!(text.contains(" 50 %") && text.contains("step 50 of 100"), "{text}");
        assert!(text.contains("before 5.00, best 3.50"), "{text}");
        assert!(text.contains("loss     █▁") && text.contains("held-out █▁"), "{text}");
        assert!(html.contains("width:50.0%") && html.contains("<svg"), "{html}");
        assert!(html.contains("&lt;notes&gt;") && !html.contains("<notes>"), "{html}");

        let pair = SamplePair { prompt: "A <note>.".into(), base: "Once".into(), mine: "Dear all".into() };
        training.apply(&RunEvent::Sampled { step: 50, samples: vec![pair] });
        let Bundle { text, html } = training.bundle();
        assert!(text.contains("base: Once\n  mine: Dear all"), "{text}");
        assert!(
            html.contains("<table") && html.contains("A &lt;note&gt;.") && html.contains("Dear all"),
            "{html}"
        );

        training.apply(&RunEvent::Note { text: "stopped early".into() });
        training.apply(&RunEvent::Cancelled);
        let Bundle { text, html } = training.bundle();
        assert!(text.contains("cancelled") && text.contains("stopped early"), "{text}");
        assert!(!text.contains("step 50 of 100"), "{text}");
        assert!(html.contains("width:50.0%"), "{html}");
    }

    #[test]
    fn events_out_of_nowhere_do_no_harm() {
        let mut training = Training::default();
        training.apply(&step(7, f64::NAN));
        training.apply(&RunEvent::Failed { error: "loss became NaN".into() });
        let Bundle { text, html } = training.bundle();
        assert!(text.contains("loss became NaN") && html.contains("loss became NaN"));
    }
}
