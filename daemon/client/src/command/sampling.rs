//! How the next token is drawn, for `generate`.

use clap::Args;
use hotplate_protocol::methods::generate::Sampling;

use super::numbers::{above_zero, one_or_more, probability, zero_or_more};

#[derive(Debug, Clone, Default, PartialEq, Args)]
#[command(next_help_heading = "Sampling (the base model's own settings come before these defaults)")]
pub struct SamplingArgs {
    /// How daring: 0 always takes the likeliest token [default: 0.7]
    #[arg(long, value_name = "X", value_parser = zero_or_more, allow_negative_numbers = true)]
    pub temperature: Option<f64>,
    /// Only the likeliest tokens that together reach this probability [default: 0.95]
    #[arg(long, value_name = "P", value_parser = probability, allow_negative_numbers = true)]
    pub top_p: Option<f64>,
    /// Only the K likeliest tokens; 0 for all [default: 0]
    #[arg(long, value_name = "K", allow_negative_numbers = true)]
    pub top_k: Option<usize>,
    /// Above 1: tokens that are there already become less likely [default: 1]
    #[arg(long, value_name = "X", value_parser = above_zero, allow_negative_numbers = true)]
    pub repetition_penalty: Option<f64>,
    /// The same seed gives the same text [default: random]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub seed: Option<u64>,
    /// Tokens to write at most [default: 256]
    #[arg(long, value_name = "N", value_parser = one_or_more, allow_negative_numbers = true)]
    pub max_tokens: Option<usize>,
    /// End before this text; may be given several times
    #[arg(long, value_name = "TEXT")]
    pub stop: Vec<String>,
    /// Go on past the model's own end
    #[arg(long)]
    pub ignore_eos: bool,
}

impl SamplingArgs {
    pub fn to_sampling(&self) -> Sampling {
        Sampling {
            temperature: self.temperature,
            top_p: self.top_p,
            top_k: self.top_k,
            repetition_penalty: self.repetition_penalty,
            seed: self.seed,
            max_tokens: self.max_tokens,
            stop: self.stop.clone(),
            ignore_eos: self.ignore_eos,
        }
    }
}
