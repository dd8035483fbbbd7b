//! Training steps against the clock.

use std::path::PathBuf;
use std::time::Instant;

use clap::{Args, ValueEnum};
use hotplate_engine::base_spec::Sample;
use hotplate_engine::lora::LoraSpec;
use hotplate_train::{HeldOut, TrainData, TrainEvent, TrainSettings, Trainer, Validation};
use serde::Serialize;

use super::measure::{gigabytes, median, peak_memory};
use super::{Common, data, print};

/// Train a LoRA adapter for some steps
#[derive(Debug, Args)]
pub(super) struct TrainArgs {
    #[command(flatten)]
    common: Common,
    /// Rows of random tokens a step
    #[arg(long, default_value_t = 2, conflicts_with = "data")]
    rows: usize,
    /// Tokens of each of them
    #[arg(long, default_value_t = 256, conflicts_with = "data")]
    tokens: usize,
    /// A dataset's folder, or a .jsonl file with input_ids and labels
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// Examples of it at most
    #[arg(long, requires = "data")]
    limit: Option<usize>,
    /// Steps to measure; without it 6 on random rows, and one epoch of a dataset
    #[arg(long)]
    steps: Option<usize>,
    /// Steps before the clock runs
    #[arg(long, default_value_t = 1)]
    warm_up: usize,
    /// Examples a step of a dataset
    #[arg(long, default_value_t = 4)]
    batch: usize,
    /// Rank of the adapter
    #[arg(long, default_value_t = 16)]
    rank: usize,
    /// Whether activations are kept for the way back or computed again
    #[arg(long, value_enum, default_value_t = Again::Auto)]
    recompute: Again,
    /// Longer examples are cut
    #[arg(long, default_value_t = 4096)]
    max_tokens: usize,
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Again {
    /// As much is kept as fits the usual budget
    Auto,
    /// Each layer is computed again
    Always,
    /// All is kept
    Never,
}

#[derive(Debug, Serialize)]
struct Report {
    parameters: u64,
    /// Bytes that the weights take.
    weights: u64,
    examples: usize,
    steps: usize,
    /// Real ones, in the measured steps.
    tokens: usize,
    seconds: f64,
    /// All tokens over all seconds.
    tokens_per_second: f64,
    /// Of the steps' own figures.
    median_tokens_per_second: f64,
    losses: Vec<f64>,
    load_seconds: f64,
    memory_after_load: Option<u64>,
    peak_memory: Option<u64>,
}

pub(super) fn run(args: &TrainArgs) -> anyhow::Result<()> {
    let began = Instant::now();
    let base = args.common.open()?;
    let load_seconds = began.elapsed().as_secs_f64();
    let memory_after_load = super::measure::memory();
    let config = base.decoder.config();
    let max_tokens = args.max_tokens.clamp(2, config.context);
    let (mut train, batch) = if let Some(path) = &args.data {
        (data::read(path, &base.text, max_tokens)?, args.batch)
    } else {
        anyhow::ensure!(args.rows > 0 && args.tokens > 1, "at least one row of two tokens is needed");
        let tokens = args.tokens.min(config.context);
        (data::random_rows(args.rows, tokens, config.vocab, args.seed), args.rows)
    };
    train.truncate(args.limit.unwrap_or(usize::MAX));
    let examples = train.len();
    let per_epoch = examples.div_ceil(batch.max(1)).max(1);
    let steps = args.steps.unwrap_or(if args.data.is_some() { per_epoch } else { 6 }).max(1);
    let all_steps = steps + args.warm_up;
    let usual = TrainSettings::for_data(config, examples, false);
    let settings = TrainSettings {
        epochs: all_steps.div_ceil(per_epoch),
        max_steps: Some(all_steps),
        lora: LoraSpec { rank: args.rank, alpha: args.rank as f64, ..LoraSpec::default() },
        batch,
        seed: args.seed,
        // The peer has none.
        dropout: 0.0,
        patience: usize::MAX,
        evaluations_per_epoch: 1,
        memory_budget: match args.recompute {
            Again::Auto => usual.memory_budget,
            Again::Always => 0,
            Again::Never => u64::MAX,
        },
        ..usual
    };
    // Evaluations are not what is measured: the least that a run accepts.
    let shortest = Sample { tokens: vec![0, 0], supervised: vec![false, true], truncated: false };
    let heldout = Validation::Holdout(vec![HeldOut { sample: shortest, is_new: false }]);
    let mut trainer = Trainer::new(&base, None, TrainData { train, heldout }, settings)?;

    let (mut step_seconds, mut step_tokens, mut losses) = (Vec::new(), Vec::new(), Vec::new());
    let mut began = Instant::now();
    loop {
        match trainer.step(&base)? {
            TrainEvent::Step { step, tokens, loss, .. } => {
                if step > args.warm_up {
                    step_seconds.push(began.elapsed().as_secs_f64());
                    step_tokens.push(tokens);
                }
                losses.push(loss);
                began = Instant::now();
                // What a run does after its last step is not what is measured either.
                if step == all_steps {
                    break;
                }
            }
            TrainEvent::Evaluated { .. } => began = Instant::now(),
            TrainEvent::Finished { .. } => break,
            _ => {}
        }
    }
    let (tokens, seconds) = (step_tokens.iter().sum::<usize>(), step_seconds.iter().sum::<f64>());
    let rates: Vec<f64> = step_tokens.iter().zip(&step_seconds).map(|(t, s)| *t as f64 / s).collect();
    let report = Report {
        parameters: base.parameters(),
        weights: base.bytes(),
        examples,
        steps: step_seconds.len(),
        tokens,
        seconds,
        tokens_per_second: tokens as f64 / seconds,
        median_tokens_per_second: median(&rates),
        losses,
        load_seconds,
        memory_after_load,
        peak_memory: peak_memory(),
    };
    let rows = [
        ("weights", gigabytes(Some(report.weights))),
        ("steps", format!("{} after {} to warm up", report.steps, args.warm_up)),
        ("tokens", report.tokens.to_string()),
        ("tokens/s", format!("{:.1}", report.tokens_per_second)),
        ("median of steps", format!("{:.1} tokens/s", report.median_tokens_per_second)),
        ("loss", loss_words(&report.losses)),
        ("memory after loading", gigabytes(report.memory_after_load)),
        ("peak memory", gigabytes(report.peak_memory)),
    ];
    print(args.common.json, &report, &rows.map(|(name, value)| (name.to_owned(), value)))
}

fn loss_words(losses: &[f64]) -> String {
    match (losses.first(), losses.last()) {
        (Some(first), Some(last)) => format!("{first:.4}, at the end {last:.4}"),
        _ => "none".to_owned(),
    }
}
