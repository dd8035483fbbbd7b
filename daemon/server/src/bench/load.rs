//! From nothing to the first token.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context;
use clap::Args;
use hotplate_engine::generate::Generation;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::generate::{first_token, greedy};
use super::measure::{gigabytes, memory, milliseconds, peak_memory};
use super::{Common, data, materialize, print};

/// Open a base and write one token, as the daemon does for the first question
#[derive(Debug, Args)]
pub(super) struct LoadArgs {
    #[command(flatten)]
    common: Common,
    #[arg(long, default_value_t = 4)]
    prompt_tokens: usize,
    /// Folder where quantised weights are kept, as the daemon keeps them
    #[arg(long, value_name = "DIR")]
    packed: Option<PathBuf>,
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

#[derive(Debug, Serialize)]
struct Report {
    weights: u64,
    prompt_tokens: usize,
    /// Config, tokenizer, and where the weights lie.
    open_ms: f64,
    /// From the beginning.
    first_token_ms: f64,
    /// Behind it: weights that lay in their file are copied.
    settle_ms: f64,
    memory: Option<u64>,
    peak_memory: Option<u64>,
}

pub(super) fn run(args: &LoadArgs) -> anyhow::Result<()> {
    anyhow::ensure!(args.prompt_tokens > 0, "--prompt-tokens must be 1 or more");
    let began = Instant::now();
    let base = args.common.open_cold(args.packed.as_deref())?;
    let open_ms = milliseconds(began.elapsed());
    let mut rng = ChaCha8Rng::seed_from_u64(args.seed);
    let prompt = data::random_tokens(&mut rng, args.prompt_tokens, base.decoder.config().vocab);
    let mut answer = Generation::new(&base, None, prompt, greedy(1))?;
    first_token(&mut answer, &base)?;
    let first_token_ms = milliseconds(began.elapsed());
    let began = Instant::now();
    materialize(&base)?;
    if let Some(folder) = &args.packed {
        base.keep_packed(folder).with_context(|| format!("cannot keep weights in {}", folder.display()))?;
    }
    let report = Report {
        weights: base.bytes(),
        prompt_tokens: args.prompt_tokens,
        open_ms,
        first_token_ms,
        settle_ms: milliseconds(began.elapsed()),
        memory: memory(),
        peak_memory: peak_memory(),
    };
    let rows = [
        ("weights", gigabytes(Some(report.weights))),
        ("opened", format!("{:.1} ms", report.open_ms)),
        ("first token", format!("{:.1} ms", report.first_token_ms)),
        ("copied", format!("{:.1} ms", report.settle_ms)),
        ("memory", gigabytes(report.memory)),
        ("peak memory", gigabytes(report.peak_memory)),
    ];
    print(args.common.json, &report, &rows.map(|(name, value)| (name.to_owned(), value)))
}
