//! `hotplate bench`: how fast this machine trains and answers, measured in this very process.
//!
//! No daemon takes part, so that the peak of the resident memory is that of the work alone. Owns the stop-watch and the words for what it says;
//! the work itself goes through the engine's public doors, as the daemon's does.

mod data;
mod generate;
mod load;
mod machine;
mod measure;
mod switch;
mod train;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use clap::{Args, Subcommand};
use hotplate_client::command::QuantizeArg;
use hotplate_engine::base::{Base, Materialized};
use hotplate_engine::base_spec::{BaseSource, BaseSpec};
use hotplate_engine::device::{self, Device, DeviceChoice};
use hotplate_home::Home;
use serde::Serialize;

use crate::arithmetic;
use crate::cli::Ending;
use crate::cli::columns::ledger;
use crate::daemon::quantise::asked_or;

/// Measure training, answering, loading and switching adapters on this machine
///
/// Runs in a process of its own, beside the daemon or without one. Real weights are not needed: a folder with random ones
/// in a model's shape takes as long.
#[derive(Debug, Args)]
#[command(hide = true)]
#[command(
    after_help = "Examples:\n  # Two rows of 256 tokens a step\n  hotplate bench train --model DIR --rows 2 --tokens 256 --json\n  # Answer after 1,024 tokens\n  hotplate bench generate --model DIR --prompt-tokens 1024 --new-tokens 64\n  # From nothing to the first token\n  hotplate bench load --model DIR\n  # What each of the kernels does on this processor\n  hotplate bench machine\n  # Take turns with 50 adapters\n  hotplate bench switch --model DIR --adapters 50"
)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Train(train::TrainArgs),
    Generate(generate::GenerateArgs),
    Load(load::LoadArgs),
    Machine(machine::MachineArgs),
    Switch(switch::SwitchArgs),
}

/// What all of them take.
#[derive(Debug, Args)]
struct Common {
    /// Folder with the base model; the one inside this program without it
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    #[command(flatten)]
    quantize: QuantizeArg,
    /// Threads at most; all cores without it
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Print one JSON object and nothing else
    #[arg(long)]
    json: bool,
}

impl Common {
    /// A warm base, as the daemon has it a moment after its first answer.
    fn open(&self) -> anyhow::Result<Base> {
        let base = self.open_cold(None)?;
        materialize(&base)?;
        Ok(base)
    }

    /// Its weights may still lie in their file.
    fn open_cold(&self, packed: Option<&Path>) -> anyhow::Result<Base> {
        let device = self.device()?;
        let source = match &self.model {
            Some(folder) => BaseSource::at(folder),
            None => BaseSource::Embedded,
        };
        let quantise = asked_or(self.quantize.quantize, None);
        let text = Arc::new(BaseSpec::open(&source)?);
        Ok(Base::with_text(text, quantise, &device, packed)?)
    }

    fn device(&self) -> anyhow::Result<Device> {
        use_threads(self.threads)?;
        arithmetic::choose(&Home::from_env()?)?;
        Ok(device::open(DeviceChoice::Auto)?)
    }
}

fn use_threads(threads: Option<usize>) -> anyhow::Result<()> {
    let Some(threads) = threads else { return Ok(()) };
    anyhow::ensure!(threads > 0, "--threads must be 1 or more");
    device::use_threads(threads).context("the number of threads cannot be set")
}

fn materialize(base: &Base) -> anyhow::Result<()> {
    loop {
        match base.materialize() {
            Materialized::Copied => {}
            Materialized::Stays { bytes } => {
                anyhow::bail!("there is no memory for a weight of {bytes} bytes")
            }
            Materialized::Nothing => return Ok(()),
        }
    }
}

pub(crate) fn run(args: &BenchArgs) -> Result<(), Ending> {
    let done = match &args.what {
        What::Train(args) => train::run(args),
        What::Generate(args) => generate::run(args),
        What::Load(args) => load::run(args),
        What::Machine(args) => machine::run(args),
        What::Switch(args) => switch::run(args),
    };
    done.map_err(Ending::Failed)
}

/// One JSON object, or names and values under each other.
fn print(json: bool, report: &impl Serialize, rows: &[(String, String)]) -> anyhow::Result<()> {
    let text = if json {
        serde_json::to_string(report).context("the figures cannot be written as JSON")?
    } else {
        ledger(rows).join("\n")
    };
    writeln!(std::io::stdout(), "{text}").context("cannot write the figures")
}
