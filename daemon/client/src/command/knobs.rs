//! The knobs of a run, for `train` and `watch`. All of them may be left out.

use clap::Args;
use hotplate_protocol::methods::train::Knobs;

use super::numbers::{above_zero, one_or_more};

#[derive(Debug, Clone, Default, PartialEq, Args)]
#[command(next_help_heading = "Knobs (what you leave out is chosen from the size of your data)")]
pub struct KnobArgs {
    /// Times through the data at most; a run stops earlier when it gets no better
    #[arg(long, value_name = "N", value_parser = one_or_more, allow_negative_numbers = true)]
    pub epochs: Option<usize>,
    /// Optimiser steps at most
    #[arg(long, value_name = "N", value_parser = one_or_more, allow_negative_numbers = true)]
    pub max_steps: Option<usize>,
    /// Learning rate: how far each step goes
    #[arg(long, value_name = "X", value_parser = above_zero, allow_negative_numbers = true)]
    pub lr: Option<f64>,
    /// Rank of the adapter: how much it can hold
    #[arg(long, value_name = "R", value_parser = one_or_more, allow_negative_numbers = true)]
    pub rank: Option<usize>,
    /// Strength of the adapter; it is scaled by alpha / rank
    #[arg(long, value_name = "X", value_parser = above_zero, allow_negative_numbers = true)]
    pub alpha: Option<f64>,
    /// Examples per step
    #[arg(long, value_name = "N", value_parser = one_or_more, allow_negative_numbers = true)]
    pub batch: Option<usize>,
    /// The same seed and data give the same adapter
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub seed: Option<u64>,
    /// Cut longer examples to this many tokens, with a finding
    #[arg(long, value_name = "N", value_parser = one_or_more, allow_negative_numbers = true)]
    pub max_tokens: Option<usize>,
}

impl KnobArgs {
    pub fn to_knobs(&self) -> Knobs {
        Knobs {
            epochs: self.epochs,
            max_steps: self.max_steps,
            learning_rate: self.lr,
            rank: self.rank,
            alpha: self.alpha,
            batch: self.batch,
            seed: self.seed,
            max_tokens: self.max_tokens,
        }
    }
}
