//! Makes `hotplate-tiny`, the embedded base: writes a corpus from the grammar beside this file, trains a tokenizer and then every
//! weight of a small Llama on it, and writes an ordinary Hugging Face folder.
//!
//! `cargo run --release -p hotplate-train --example pretrain [-- --out DIR] [--steps N] [--from DIR]`
//!
//! Same arguments, same weights. `daemon/engine/embedded/README.md` tells what came out.

#![expect(clippy::print_stdout, reason = "the loss is what a person runs this for")]

mod files;
mod grammar;
mod text;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor};
use clap::Parser;
use hotplate_engine::base::Base;
use hotplate_engine::base_source::BaseSource;
use hotplate_engine::config::DecoderConfig;
use hotplate_engine::decoder::{Block, Decoder};
use hotplate_engine::lora::Linear;
use hotplate_engine::norm::Norm;
use hotplate_engine::ops::frozen_linear::FrozenLinear;
use hotplate_engine::sample::Sample;
use hotplate_train::full::{FullStep, FullTrainer};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Trains the embedded base from nothing.
#[derive(Parser)]
struct Arguments {
    /// Where the Hugging Face folder is written.
    #[arg(long, default_value = "target/hotplate-tiny")]
    out: PathBuf,
    /// Optimiser steps.
    #[arg(long, default_value_t = 3000)]
    steps: usize,
    /// Tokens of one step.
    #[arg(long, default_value_t = 2048)]
    tokens: usize,
    /// Peak learning rate.
    #[arg(long, default_value_t = 3e-3)]
    rate: f64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Goes on from the weights and the tokenizer of this folder, with a fresh optimiser.
    #[arg(long)]
    from: Option<PathBuf>,
}

const WARMUP: usize = 100;
const HELDOUT_DOCUMENTS: usize = 200;

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    std::fs::create_dir_all(&arguments.out)
        .with_context(|| format!("cannot make {}", arguments.out.display()))?;
    let corpus = text::Corpus::parse()?;
    println!("{} clause patterns", corpus.clause_patterns());
    let (tokenizer, decoder) = if let Some(folder) = &arguments.from {
        let base = Base::open(&BaseSource::Folder(folder.clone()), &Device::Cpu)?;
        (text::read_tokenizer(folder)?, Arc::unwrap_or_clone(base.decoder))
    } else {
        let config = DecoderConfig::parse(files::CONFIG.as_bytes(), &arguments.out.join("config.json"))?;
        (text::train_tokenizer(&corpus, arguments.seed)?, random_decoder(config, arguments.seed)?)
    };
    files::write_text_side(&arguments.out, &tokenizer)?;
    println!("{} parameters", decoder.parameters());
    let mut trainer = FullTrainer::new(&decoder)?;

    // Its own stream of documents: none of them is trained on (a note of the same words is all but impossible).
    let mut heldout_rng = ChaCha8Rng::seed_from_u64(0x5eed);
    let heldout: Vec<Sample> =
        (0..HELDOUT_DOCUMENTS).map(|_| corpus.sample(&tokenizer, &mut heldout_rng)).collect::<Result<_>>()?;

    let mut rng = ChaCha8Rng::seed_from_u64(arguments.seed);
    let started = Instant::now();
    let mut seen = 0;
    let mut recent = (0.0, 0);
    for step in 1..=arguments.steps {
        let mut samples = Vec::new();
        let mut tokens = 0;
        while tokens < arguments.tokens {
            let sample = corpus.sample(&tokenizer, &mut rng)?;
            tokens += sample.tokens.len();
            samples.push(sample);
        }
        seen += tokens;
        let settings = FullStep {
            learning_rate: rate(step, &arguments),
            weight_decay: 0.05,
            clip: 1.0,
            row_tokens: arguments.tokens * 2,
        };
        let loss = trainer.step(&samples, settings)?;
        recent = (recent.0 + loss, recent.1 + 1);
        if step % 50 == 0 || step == arguments.steps {
            let speed = seen as f64 / started.elapsed().as_secs_f64();
            println!("step {step:5}  loss {:.4}  {speed:.0} tokens/s", recent.0 / f64::from(recent.1));
            recent = (0.0, 0);
        }
        if step % 400 == 0 || step == arguments.steps {
            println!("step {step:5}  held-out {:.4}", trainer.evaluate(&heldout, arguments.tokens)?);
            files::write_weights(&arguments.out, trainer.decoder())?;
        }
    }
    println!("{seen} tokens in {:.0} s", started.elapsed().as_secs_f64());
    Ok(())
}

/// Linear warm-up, then a cosine to a twentieth of the peak.
fn rate(step: usize, arguments: &Arguments) -> f64 {
    if step <= WARMUP {
        return arguments.rate * step as f64 / WARMUP as f64;
    }
    let part = (step - WARMUP) as f64 / (arguments.steps - WARMUP).max(1) as f64;
    let cosine = f64::midpoint(1.0, (part * std::f64::consts::PI).cos());
    arguments.rate * (0.05 + 0.95 * cosine)
}

/// Normal weights of deviation 0.02; those that write into the residual stream are smaller by the root of their number (GPT-2's
/// initialisation).
fn random_decoder(config: DecoderConfig, seed: u64) -> Result<Decoder> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed.wrapping_add(77));
    let device = Device::Cpu;
    let mut normal = |shape: &[usize], deviation: f32| -> Result<Tensor> {
        let count: usize = shape.iter().product();
        let values: Vec<f32> = (0..count)
            .map(|_| {
                // Box and Muller.
                let (u, v): (f32, f32) = (rng.random_range(f32::EPSILON..1.0), rng.random());
                deviation * (-2.0 * u.ln()).sqrt() * (std::f32::consts::TAU * v).cos()
            })
            .collect();
        Ok(Tensor::from_vec(values, shape, &device)?)
    };
    let into_residual = 0.02 / (2.0 * config.layers as f32).sqrt();
    let embedding = normal(&[config.vocab, config.hidden], 0.02)?;
    let ones = || Tensor::ones(config.hidden, DType::F32, &device);
    let mut blocks = Vec::new();
    for _ in 0..config.layers {
        let mut linears = Vec::new();
        for &linear in Linear::of(&config) {
            let (outputs, inputs) = linear.shape(&config);
            let deviation =
                if matches!(linear, Linear::Output | Linear::Down) { into_residual } else { 0.02 };
            linears.push((linear, FrozenLinear::new(normal(&[outputs, inputs], deviation)?, None)));
        }
        blocks.push(Block::new([(Norm::Input, ones()?), (Norm::BeforeMlp, ones()?)], linears));
    }
    let head = FrozenLinear::new(embedding.clone(), None);
    let norm = ones()?;
    Ok(Decoder::new(config, embedding, blocks, norm, head, device))
}
