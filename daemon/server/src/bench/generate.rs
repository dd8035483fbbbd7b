//! Answers against the clock.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use clap::{Args, ValueEnum};
use hotplate_engine::base::Base;
use hotplate_engine::generate::{Generation, GenerationEvent, step_together};
use hotplate_engine::lora::{Adapter, LoraSpec};
use hotplate_engine::peft;
use hotplate_engine::sampling::SamplingOptions;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::measure::{gigabytes, median, milliseconds, peak_memory};
use super::{Common, data, print};

/// Answer a prompt of random tokens, greedily
#[derive(Debug, Args)]
pub(super) struct GenerateArgs {
    #[command(flatten)]
    common: Common,
    #[arg(long, default_value_t = 1024)]
    prompt_tokens: usize,
    #[arg(long, default_value_t = 64)]
    new_tokens: usize,
    /// Answers that are written together
    #[arg(long, default_value_t = 1)]
    batch: usize,
    /// none, fresh (a new one on all linear layers), or a folder
    #[arg(long, default_value = "none")]
    adapter: String,
    /// Whether the answers share the adapter or each have one of their own; without --adapter, fresh ones
    #[arg(long, value_enum)]
    adapters: Option<Adapters>,
    /// Rank of a fresh adapter
    #[arg(long, default_value_t = 16)]
    rank: usize,
    /// Measurements, of which the median counts
    #[arg(long, default_value_t = 1)]
    repeat: usize,
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Adapters {
    /// The bare base answers
    None,
    /// One for all answers
    Same,
    /// One for each answer
    Distinct,
}

#[derive(Debug, Serialize)]
struct Report {
    parameters: u64,
    weights: u64,
    prompt_tokens: usize,
    new_tokens: usize,
    batch: usize,
    adapters: Adapters,
    /// Until the last of all answers has its first token.
    first_token_ms: f64,
    prefill_tokens_per_second: f64,
    /// Of all answers together, after their first tokens.
    decode_tokens_per_second: f64,
    load_seconds: f64,
    memory_after_load: Option<u64>,
    peak_memory: Option<u64>,
    /// Of the first answer.
    tokens: Vec<u32>,
}

/// One measurement.
struct Timing {
    first_token: f64,
    decode: f64,
    tokens: Vec<u32>,
}

pub(super) fn run(args: &GenerateArgs) -> anyhow::Result<()> {
    anyhow::ensure!(
        args.prompt_tokens > 0 && args.new_tokens > 0 && args.batch > 0 && args.repeat > 0,
        "every number must be 1 or more"
    );
    let began = Instant::now();
    let base = args.common.open()?;
    let load_seconds = began.elapsed().as_secs_f64();
    let memory_after_load = super::measure::memory();
    let adapters =
        args.adapters.unwrap_or(if args.adapter == "none" { Adapters::None } else { Adapters::Same });
    let of_answers = of_answers(args, adapters, &base)?;
    let timings: Vec<Timing> =
        (0..args.repeat).map(|_| measure(args, &base, &of_answers)).collect::<Result<_, _>>()?;
    let first = median(&timings.iter().map(|timing| timing.first_token).collect::<Vec<_>>());
    let decode = median(&timings.iter().map(|timing| timing.decode).collect::<Vec<_>>());
    let decoded = args.batch * (args.new_tokens - 1);
    let report = Report {
        parameters: base.parameters(),
        weights: base.bytes(),
        prompt_tokens: args.prompt_tokens,
        new_tokens: args.new_tokens,
        batch: args.batch,
        adapters,
        first_token_ms: first,
        prefill_tokens_per_second: (args.batch * args.prompt_tokens) as f64 / (first / 1e3),
        decode_tokens_per_second: if decoded == 0 { 0.0 } else { decoded as f64 / (decode / 1e3) },
        load_seconds,
        memory_after_load,
        peak_memory: peak_memory(),
        tokens: timings.into_iter().next().map(|timing| timing.tokens).unwrap_or_default(),
    };
    let rows = [
        ("weights", gigabytes(Some(report.weights))),
        ("first token", format!("{:.1} ms", report.first_token_ms)),
        ("prefill", format!("{:.1} tokens/s", report.prefill_tokens_per_second)),
        ("decode", format!("{:.1} tokens/s", report.decode_tokens_per_second)),
        ("memory after loading", gigabytes(report.memory_after_load)),
        ("peak memory", gigabytes(report.peak_memory)),
    ];
    print(args.common.json, &report, &rows.map(|(name, value)| (name.to_owned(), value)))
}

/// The adapter of each answer.
fn of_answers(
    args: &GenerateArgs,
    adapters: Adapters,
    base: &Base,
) -> anyhow::Result<Vec<Option<Arc<Adapter>>>> {
    let one = |seed| -> anyhow::Result<Option<Arc<Adapter>>> {
        Ok(Some(Arc::new(match args.adapter.as_str() {
            "none" | "fresh" => fresh(args.rank, seed, base)?,
            folder => peft::load(Path::new(folder), &base.text, &base.device)?,
        })))
    };
    match adapters {
        Adapters::None => Ok(vec![None; args.batch]),
        Adapters::Same => Ok(vec![one(args.seed)?; args.batch]),
        Adapters::Distinct => (0..args.batch as u64).map(|number| one(args.seed + number)).collect(),
    }
}

pub(super) fn fresh(rank: usize, seed: u64, base: &Base) -> anyhow::Result<Adapter> {
    let spec = LoraSpec { rank, alpha: rank as f64, ..LoraSpec::default() };
    Ok(Adapter::fresh(base.decoder.config(), &spec, seed, &base.device)?)
}

pub(super) fn greedy(new_tokens: usize) -> SamplingOptions {
    SamplingOptions {
        temperature: 0.0,
        max_tokens: new_tokens,
        ignore_eos: true,
        ..SamplingOptions::default()
    }
}

fn measure(args: &GenerateArgs, base: &Base, adapters: &[Option<Arc<Adapter>>]) -> anyhow::Result<Timing> {
    let mut rng = ChaCha8Rng::seed_from_u64(args.seed);
    let vocab = base.decoder.config().vocab;
    let mut answers = adapters
        .iter()
        .map(|adapter| {
            let prompt = data::random_tokens(&mut rng, args.prompt_tokens, vocab);
            Generation::new(base, adapter.clone(), prompt, greedy(args.new_tokens))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let began = Instant::now();
    let mut tokens = Vec::new();
    for (index, answer) in answers.iter_mut().enumerate() {
        let first = first_token(answer, base)?;
        if index == 0 {
            tokens.extend(first);
        }
    }
    let first_token = milliseconds(began.elapsed());
    let began = Instant::now();
    let mut answers: Vec<&mut Generation> = answers.iter_mut().collect();
    for _ in 1..args.new_tokens {
        for (index, event) in step_together(base, &mut answers).into_iter().enumerate() {
            match event? {
                GenerationEvent::Delta { token_ids, .. } | GenerationEvent::Done { token_ids, .. }
                    if index == 0 =>
                {
                    tokens.extend(token_ids);
                }
                _ => {}
            }
        }
    }
    Ok(Timing { first_token, decode: milliseconds(began.elapsed()), tokens })
}

/// Steps until a token has come.
pub(super) fn first_token(answer: &mut Generation, base: &Base) -> anyhow::Result<Vec<u32>> {
    loop {
        match answer.step(base)? {
            GenerationEvent::Reading => {}
            GenerationEvent::Delta { token_ids, .. } | GenerationEvent::Done { token_ids, .. } => {
                return Ok(token_ids);
            }
        }
    }
}
