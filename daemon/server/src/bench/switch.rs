//! What it costs to answer with another adapter than a moment ago, and what an adapter takes in memory.

use std::fs;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use clap::Args;
use hotplate_engine::base::Base;
use hotplate_engine::generate::Generation;
use hotplate_engine::lora::Adapter;
use hotplate_engine::peft;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::generate::{first_token, fresh, greedy};
use super::measure::{gigabytes, median, memory, milliseconds, peak_memory, percentile};
use super::{Common, data, print};

/// Take turns with many resident adapters
#[derive(Debug, Args)]
pub(super) struct SwitchArgs {
    #[command(flatten)]
    common: Common,
    /// Adapters in memory
    #[arg(long, default_value_t = 50)]
    adapters: usize,
    #[arg(long, default_value_t = 64)]
    prompt_tokens: usize,
    #[arg(long, default_value_t = 16)]
    rank: usize,
    /// First tokens to measure of each kind
    #[arg(long, default_value_t = 50)]
    repeat: usize,
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

#[derive(Debug, Serialize)]
struct Report {
    adapters: usize,
    prompt_tokens: usize,
    /// First token with the adapter of the answer before.
    same_median_ms: f64,
    same_p99_ms: f64,
    /// First token with another one.
    switch_median_ms: f64,
    switch_p99_ms: f64,
    /// Median after a switch over median without one.
    ratio: f64,
    /// Reading one from disk and checking it.
    load_median_ms: f64,
    bytes_on_disk: u64,
    /// Growth of this process for one adapter. `None` where the system does not say.
    bytes_in_memory: Option<u64>,
    memory_over_file: Option<f64>,
    peak_memory: Option<u64>,
}

pub(super) fn run(args: &SwitchArgs) -> anyhow::Result<()> {
    anyhow::ensure!(
        args.adapters > 1 && args.prompt_tokens > 0 && args.repeat > 0,
        "switching takes 2 adapters and at least one token"
    );
    let base = args.common.open()?;
    let folder = tempfile::tempdir().context("cannot make a folder for an adapter")?;
    peft::save(folder.path(), &fresh(args.rank, args.seed, &base)?, &base.text, &[])?;
    let bytes_on_disk = fs::metadata(folder.path().join("adapter_model.safetensors"))
        .context("the adapter's file is not there")?
        .len();

    let before = memory();
    let (mut adapters, mut loads) = (Vec::new(), Vec::new());
    for _ in 0..args.adapters {
        let began = Instant::now();
        adapters.push(Arc::new(peft::load(folder.path(), &base.text, &base.device)?));
        loads.push(milliseconds(began.elapsed()));
    }
    let grown = before.zip(memory()).map(|(before, after)| after.saturating_sub(before));
    let bytes_in_memory = grown.map(|grown| grown / args.adapters as u64);

    let mut rng = ChaCha8Rng::seed_from_u64(args.seed);
    let mut first = |adapter: &Arc<Adapter>| first_token_ms(&base, adapter, args.prompt_tokens, &mut rng);
    first(&adapters[0])?;
    let (mut same, mut switched) = (Vec::new(), Vec::new());
    // One after the other, so that a busy moment of the machine meets both kinds.
    for round in 1..=args.repeat {
        let adapter = &adapters[round % adapters.len()];
        switched.push(first(adapter)?);
        same.push(first(adapter)?);
    }
    let report = Report {
        adapters: args.adapters,
        prompt_tokens: args.prompt_tokens,
        same_median_ms: median(&same),
        same_p99_ms: percentile(&same, 0.99),
        switch_median_ms: median(&switched),
        switch_p99_ms: percentile(&switched, 0.99),
        ratio: median(&switched) / median(&same),
        load_median_ms: median(&loads),
        bytes_on_disk,
        bytes_in_memory,
        memory_over_file: bytes_in_memory.map(|bytes| bytes as f64 / bytes_on_disk as f64),
        peak_memory: peak_memory(),
    };
    let pair = |median: f64, p99: f64| format!("{median:.1} ms, 99 % below {p99:.1} ms");
    let rows = [
        ("first token, same adapter", pair(report.same_median_ms, report.same_p99_ms)),
        ("first token, another one", pair(report.switch_median_ms, report.switch_p99_ms)),
        ("ratio", format!("{:.3}", report.ratio)),
        ("reading one from disk", format!("{:.1} ms", report.load_median_ms)),
        ("one on disk", format!("{:.1} MB", report.bytes_on_disk as f64 / 1e6)),
        (
            "one in memory",
            report.bytes_in_memory.map_or_else(
                || "not known on this system".to_owned(),
                |bytes| format!("{:.1} MB", bytes as f64 / 1e6),
            ),
        ),
        ("peak memory", gigabytes(report.peak_memory)),
    ];
    print(args.common.json, &report, &rows.map(|(name, value)| (name.to_owned(), value)))
}

fn first_token_ms(
    base: &Base,
    adapter: &Arc<Adapter>,
    prompt_tokens: usize,
    rng: &mut ChaCha8Rng,
) -> anyhow::Result<f64> {
    let prompt = data::random_tokens(rng, prompt_tokens, base.decoder.config().vocab);
    let began = Instant::now();
    let mut answer = Generation::new(base, Some(Arc::clone(adapter)), prompt, greedy(2))?;
    first_token(&mut answer, base)?;
    Ok(milliseconds(began.elapsed()))
}
