//! The figures of one moment of a run, and what they mean in one sentence.

use serde::{Deserialize, Serialize};

use super::copying::{Copied, CopyFigures};
use super::drift::Moved;

/// From this share on, samples that stand in the training texts word for word are memory, not style.
const COPY_LIMIT: f64 = 0.5;
/// Texts of one voice share phrases: what the held-out examples have in common with the training texts is no memorising. Samples must
/// copy this much more than they.
const COPY_SURPLUS: f64 = 0.25;
/// Nats a token on the base's own answers to questions (`tests/compare/RESULTS.md`: adapters that were made good and bad on purpose).
const DRIFT_LIMIT: f64 = 0.15;
/// The same on texts that a base that does not chat writes freely: there the voice that was learnt may well be heard.
const FREE_DRIFT_LIMIT: f64 = 1.0;
/// Share of everyday answers that go round in circles, above the base's own.
const LOOP_SURPLUS: f64 = 0.12;
/// Share of everyday answers in which the training texts turn up.
const LEAK_LIMIT: f64 = 0.12;
/// Nats a token between held-out and training loss. Perplexity on new texts is e times that on known ones.
const GAP_LIMIT: f64 = 1.0;

/// The guard figures of one moment of a run. What was not measured is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct GuardFigures {
    /// Held-out loss minus training loss, nats a token.
    pub gap: Option<f64>,
    /// Mean share of a sample that one training text holds word for word, 0 to 1.
    pub copy_rate: Option<f64>,
    /// The same of the held-out examples: what is common in these texts anyway.
    pub heldout_copy_rate: Option<f64>,
    /// The longest copied run of all samples.
    pub longest_copy: Option<Copied>,
    /// The base's neutral samples are answers to questions.
    pub asked: bool,
    /// Mean KL(base || adapter) on the base's neutral samples, nats a token.
    pub drift: Option<f64>,
    /// Share of places in those samples where base and adapter think the same token likeliest, 0 to 1.
    pub agreement: Option<f64>,
    /// Share of the adapter's answers to the same questions that go round in circles, and of the base's.
    pub loops: Option<f64>,
    pub base_loops: Option<f64>,
    /// Share of the adapter's answers in which the training texts turn up, 0 to 1.
    pub leaks: Option<f64>,
}

/// What the figures say, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It repeats training texts.
    Memorising,
    /// It forgets what the base could do.
    Drifting,
    /// Its answers go round in circles.
    Looping,
    /// The training texts turn up where nobody asked for them.
    Leaking,
    /// It knows the training texts far better than others of the same voice.
    GapWide,
    Fine,
}

impl GuardFigures {
    /// Adds what the copy check of the samples found.
    #[must_use]
    pub fn with_copies(self, copies: &CopyFigures) -> Self {
        Self { copy_rate: copies.rate, longest_copy: copies.longest, ..self }
    }

    /// Adds what was measured on the base's own samples. What is no number is none.
    #[must_use]
    pub fn with_moved(self, moved: Option<Moved>) -> Self {
        let moved = moved.filter(|moved| moved.drift.is_finite());
        Self { drift: moved.map(|moved| moved.drift), agreement: moved.map(|moved| moved.agreement), ..self }
    }

    pub fn verdict(&self) -> Verdict {
        let above = |figure: Option<f64>, limit: f64| figure.is_some_and(|figure| figure >= limit);
        let usual = self.heldout_copy_rate.unwrap_or(0.0);
        if above(self.copy_rate, COPY_LIMIT.max(usual + COPY_SURPLUS)) {
            Verdict::Memorising
        } else if above(self.drift, if self.asked { DRIFT_LIMIT } else { FREE_DRIFT_LIMIT }) {
            Verdict::Drifting
        } else if above(self.loops, self.base_loops.unwrap_or(0.0) + LOOP_SURPLUS) {
            Verdict::Looping
        } else if above(self.leaks, LEAK_LIMIT) {
            Verdict::Leaking
        } else if above(self.gap, GAP_LIMIT) {
            Verdict::GapWide
        } else {
            Verdict::Fine
        }
    }
}

/// Whether so much drift is too much for a base that was asked: its other answers are gone.
pub(crate) fn forgets(moved: &Moved) -> bool {
    GuardFigures { asked: true, ..GuardFigures::default() }.with_moved(Some(*moved)).verdict()
        == Verdict::Drifting
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_figure_speaks() {
        let fine = GuardFigures {
            gap: Some(0.3),
            copy_rate: Some(0.1),
            heldout_copy_rate: Some(0.05),
            longest_copy: None,
            drift: Some(0.2),
            ..GuardFigures::default()
        };
        assert_eq!(fine.verdict(), Verdict::Fine);
        assert_eq!(GuardFigures { gap: Some(1.2), ..fine }.verdict(), Verdict::GapWide);
        assert_eq!(GuardFigures { asked: true, drift: Some(0.3), ..fine }.verdict(), Verdict::Drifting);
        assert_eq!(GuardFigures { drift: Some(0.3), ..fine }.verdict(), Verdict::Fine);
        assert_eq!(GuardFigures { gap: Some(1.2), drift: Some(1.5), ..fine }.verdict(), Verdict::Drifting);
        let copied = GuardFigures { copy_rate: Some(0.6), drift: Some(1.5), ..fine };
        assert_eq!(copied.verdict(), Verdict::Memorising);
        // Texts that all say the same: copying is what these texts are.
        let alike = GuardFigures { heldout_copy_rate: Some(0.5), ..copied };
        assert_eq!(alike.verdict(), Verdict::Drifting);
        assert_eq!(GuardFigures::default().verdict(), Verdict::Fine);
        assert_eq!(GuardFigures { loops: Some(0.2), ..fine }.verdict(), Verdict::Looping);
        assert_eq!(GuardFigures { loops: Some(0.2), base_loops: Some(0.1), ..fine }.verdict(), Verdict::Fine);
        assert_eq!(GuardFigures { leaks: Some(0.3), gap: Some(1.2), ..fine }.verdict(), Verdict::Leaking);
        assert_eq!(GuardFigures { drift: Some(f64::NAN), ..fine }.verdict(), Verdict::Fine);
    }

    #[test]
    fn figures_survive_json_and_older_files() {
        let figures = GuardFigures { drift: Some(0.25), ..GuardFigures::default() };
        let json = serde_json::to_string(&figures).unwrap();
        assert_eq!(serde_json::from_str::<GuardFigures>(&json).unwrap(), figures);
        assert_eq!(serde_json::from_str::<GuardFigures>("{}").unwrap(), GuardFigures::default());
    }
}
