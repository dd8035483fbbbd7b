//! The figures of one moment of a run, and what they mean in one sentence.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::copying::{Copied, CopyFigures};

/// From this share on, samples that stand in the training texts word for word are memory, not style.
pub const COPY_LIMIT: f64 = 0.5;
/// Texts of one voice share phrases: what the held-out examples have in common with the training texts is no memorising. Samples must
/// copy this much more than they.
pub const COPY_SURPLUS: f64 = 0.25;
/// Nats a token on the base's own answers. Runs of one strong voice that kept the assistant had 0.3 to 0.5, those that had lost it 1.1 to 1.9
/// (`tests/compare/RESULTS.md`).
pub const DRIFT_LIMIT: f64 = 0.75;
/// Nats a token between held-out and training loss. Perplexity on new texts is e times that on known ones.
pub const GAP_LIMIT: f64 = 1.0;

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
    /// Mean KL(base || adapter) on the base's neutral samples, nats a token.
    pub drift: Option<f64>,
}

/// What the figures say, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It repeats training texts.
    Memorising,
    /// It forgets what the base could do.
    Drifting,
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

    pub fn verdict(&self) -> Verdict {
        let above = |figure: Option<f64>, limit: f64| figure.is_some_and(|figure| figure >= limit);
        let usual = self.heldout_copy_rate.unwrap_or(0.0);
        if above(self.copy_rate, COPY_LIMIT.max(usual + COPY_SURPLUS)) {
            Verdict::Memorising
        } else if above(self.drift, DRIFT_LIMIT) {
            Verdict::Drifting
        } else if above(self.gap, GAP_LIMIT) {
            Verdict::GapWide
        } else {
            Verdict::Fine
        }
    }
}

impl Verdict {
    pub const ALL: [Verdict; 4] = [Verdict::Memorising, Verdict::Drifting, Verdict::GapWide, Verdict::Fine];

    /// Whether a run should end because of it.
    pub fn stops(self) -> bool {
        matches!(self, Verdict::Memorising | Verdict::Drifting)
    }

    /// Why a run was ended at a step, in one sentence.
    pub fn stopped_at(self, step: usize) -> String {
        format!("stopped at step {step}: {self}")
    }
}

/// What to think of it, as the second half of a sentence.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Memorising => "it began to memorise",
            Verdict::Drifting => "it began to forget what the base model knew",
            Verdict::GapWide => "it knows the training texts much better than texts it has not seen",
            Verdict::Fine => "it learns without memorising or forgetting",
        })
    }
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
        };
        assert_eq!(fine.verdict(), Verdict::Fine);
        assert_eq!(GuardFigures { gap: Some(1.2), ..fine }.verdict(), Verdict::GapWide);
        assert_eq!(GuardFigures { gap: Some(1.2), drift: Some(1.5), ..fine }.verdict(), Verdict::Drifting);
        let copied = GuardFigures { copy_rate: Some(0.6), drift: Some(1.5), ..fine };
        assert_eq!(copied.verdict(), Verdict::Memorising);
        assert_eq!(copied.verdict().stopped_at(140), "stopped at step 140: it began to memorise");
        // Texts that all say the same: copying is what these texts are.
        let alike = GuardFigures { heldout_copy_rate: Some(0.5), ..copied };
        assert_eq!(alike.verdict(), Verdict::Drifting);
        assert_eq!(GuardFigures::default().verdict(), Verdict::Fine);
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
