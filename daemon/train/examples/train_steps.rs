//! The first training steps from a given adapter on given tokens, for comparison with other implementations.
//!
//! `cargo run --release -p hotplate-train --example train_steps -- --base DIR --adapter DIR --samples FILE [--settings JSON] --out FILE`
//!
//! `FILE` holds one JSON object a line: `{"tokens": [...], "supervised": [...]}`. Prints one JSON object with each step's loss, learning
//! rate and example numbers. `--out` gets the tensors (safetensors): `gradient.NAME`, of the mean loss on all examples before the first
//! step, and `value.NAME`, after the last.

#![expect(clippy::print_stdout, reason = "the losses are the result")]

use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use candle_core::Device;
use clap::Parser;
use hotplate_engine::base::Base;
use hotplate_engine::base_source::BaseSource;
use hotplate_engine::device::{self, Arithmetic, Machine};
use hotplate_engine::peft;
use hotplate_engine::sample::Sample;
use hotplate_train::{
    HeldOut, Method, TrainData, TrainEvent, TrainSettings, TrainedWeights, Trainer, Validation, gradients,
};

#[derive(Parser)]
struct Arguments {
    /// A Hugging Face folder.
    #[arg(long)]
    base: PathBuf,
    /// A PEFT folder; without it every weight is trained.
    #[arg(long)]
    adapter: Option<PathBuf>,
    #[arg(long)]
    samples: PathBuf,
    /// Settings that differ from the defaults, as JSON.
    #[arg(long, default_value = "{}")]
    settings: String,
    #[arg(long)]
    out: PathBuf,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    // What it is compared with computes in f32.
    device::use_machine(Machine::best(Arithmetic::F32, &Machine::all()));
    let base = Base::open(&BaseSource::at(&arguments.base), &Device::Cpu)?;
    let mut settings: TrainSettings = serde_json::from_str(&arguments.settings)?;
    let start = if let Some(folder) = &arguments.adapter {
        TrainedWeights::Adapter(peft::load(folder, &base.text, &base.device)?)
    } else {
        settings.method = Method::Full;
        TrainedWeights::Base(Box::new((*base.decoder).clone()))
    };
    let train = std::fs::read_to_string(&arguments.samples)?
        .lines()
        .map(|line| {
            let value: HashMap<String, serde_json::Value> = serde_json::from_str(line)?;
            Ok(Sample {
                tokens: serde_json::from_value(value.get("tokens").context("no tokens")?.clone())?,
                supervised: serde_json::from_value(
                    value.get("supervised").context("no supervised")?.clone(),
                )?,
                truncated: false,
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let (_, gradients) = gradients(&base.decoder, &start, &train, settings.row_tokens)?;
    let mut tensors: HashMap<String, candle_core::Tensor> =
        gradients.into_iter().map(|(name, value)| (format!("gradient.{name}"), value)).collect();

    let judge = train.first().context("no examples")?.clone();
    let heldout = Validation::Holdout(vec![HeldOut { sample: judge, is_new: false }]);
    let mut trainer = Trainer::new(&base, Some(&start), TrainData { train, heldout }, settings)?;
    let mut steps = Vec::new();
    let mut examples = trainer.next_examples().to_vec();
    loop {
        match trainer.step(&base)? {
            TrainEvent::Step { loss, learning_rate, step, steps: most, .. } => {
                steps.push(serde_json::json!({ "loss": loss, "rate": learning_rate, "examples": examples }));
                if step == most {
                    break;
                }
                examples = trainer.next_examples().to_vec();
            }
            TrainEvent::Finished { reason } => bail!("the run ended early: {reason}"),
            _ => {}
        }
    }
    tensors
        .extend(trainer.current().named()?.into_iter().map(|(name, value)| (format!("value.{name}"), value)));
    candle_core::safetensors::save(&tensors, &arguments.out)?;
    println!("{}", serde_json::json!({ "steps": steps }));
    Ok(())
}
