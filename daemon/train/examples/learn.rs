//! One run from a fresh adapter with the default recipe, or with settings that differ from it: for whoever tunes the defaults.
//!
//! `cargo run --release -p hotplate-train --example learn -- [--base DIR] --samples FILE [--settings JSON]`
//!
//! `FILE` holds what the example `encode` prints. Prints each evaluation and the outcome, one JSON object a line.

#![expect(clippy::print_stdout, reason = "the losses are the result")]

use std::path::PathBuf;

use anyhow::Result;
use candle_core::Device;
use clap::Parser;
use hotplate_engine::base::Base;
use hotplate_engine::base_source::BaseSource;
use hotplate_engine::device::{self, Arithmetic, Machine};
use hotplate_engine::sample::Sample;
use hotplate_train::{HeldOut, TrainData, TrainEvent, TrainSettings, Trainer, Validation};
use serde::Deserialize;

#[derive(Parser)]
struct Arguments {
    /// A Hugging Face folder; the embedded base without it.
    #[arg(long)]
    base: Option<PathBuf>,
    #[arg(long)]
    samples: PathBuf,
    /// Settings that differ from the defaults, as a JSON object.
    #[arg(long, default_value = "{}")]
    settings: String,
}

#[derive(Deserialize)]
struct Line {
    tokens: Vec<u32>,
    supervised: Vec<bool>,
    held_out: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    // What it is compared with computes in f32.
    device::use_machine(Machine::best(Arithmetic::F32, &Machine::all()));
    let source = arguments.base.map_or(BaseSource::Embedded, |path| BaseSource::at(&path));
    let base = Base::open(&source, &Device::Cpu)?;
    let (mut train, mut heldout) = (Vec::new(), Vec::new());
    for line in std::fs::read_to_string(&arguments.samples)?.lines() {
        let Line { tokens, supervised, held_out } = serde_json::from_str(line)?;
        let sample = Sample { tokens, supervised, truncated: false };
        if held_out {
            heldout.push(HeldOut { sample, is_new: false });
        } else {
            train.push(sample);
        }
    }
    let defaults = TrainSettings::for_data(base.decoder.config(), train.len(), false);
    let mut settings = serde_json::to_value(defaults)?;
    let changes: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&arguments.settings)?;
    for (name, value) in changes {
        settings[name] = value;
    }
    let settings: TrainSettings = serde_json::from_value(settings)?;
    let data = TrainData { train, heldout: Validation::Holdout(heldout) };
    let mut trainer = Trainer::new(&base, None, data, settings)?;
    loop {
        match trainer.step(&base)? {
            TrainEvent::Evaluated { step, losses, .. } => {
                println!("{}", serde_json::json!({ "step": step, "heldout_loss": losses.all }));
            }
            TrainEvent::Finished { reason } => {
                println!("{}", serde_json::json!({ "reason": reason.to_string() }));
                break;
            }
            _ => {}
        }
    }
    let outcome = trainer.finish()?;
    println!(
        "{}",
        serde_json::json!({
            "best_step": outcome.best_step, "steps": outcome.steps, "tokens": outcome.tokens, "base_loss": outcome.base_loss.all,
            "best_loss": outcome.best_loss.all, "train_loss": outcome.train_loss, "guard": outcome.guard,
        })
    );
    Ok(())
}
