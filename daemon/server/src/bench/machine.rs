//! What each of the kernels does on this processor, and which one is used.

use clap::Args;
use hotplate_engine::device::{self, Machine, Measured, Processor};
use hotplate_home::Home;
use serde::Serialize;

use super::print;
use crate::arithmetic::{self, kept::Kept};

/// Measure the kernels that this processor can run, and say which ones are used
///
/// Billions of multiply-adds a second (G/s) of products with 128 rows (training, a prompt), 8 (answers at once) and 1 (one answer), by how the weights are stored.
/// Each start of the daemon uses what was measured at the first one.
#[derive(Debug, Args)]
pub(super) struct MachineArgs {
    /// Use from now on what is measured now: for a first measurement on a machine that was busy
    #[arg(long)]
    keep: bool,
    /// Threads at most; all cores without it
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Print one JSON object and nothing else
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    processor: String,
    /// What this process would run, and why.
    used: String,
    kernels: Vec<KernelsReport>,
}

#[derive(Debug, Serialize)]
struct KernelsReport {
    kernels: String,
    times_f32: f64,
    rates: Vec<RateReport>,
}

#[derive(Debug, Serialize)]
struct RateReport {
    rows: usize,
    weights: String,
    giga_multiply_adds_per_second: f64,
}

pub(super) fn run(args: &MachineArgs) -> anyhow::Result<()> {
    super::use_threads(args.threads)?;
    let processor = Processor::here().to_string();
    let measured = device::in_pool(|| device::measure(&device::candidates(&Machine::all())));
    let home = Home::from_env()?;
    if args.keep
        && let Some(chosen) = device::fastest(&measured)
    {
        let file = home.processors()?;
        let mut kept = Kept::read(&file);
        kept.note(&processor, chosen.machine, &measured);
        kept.write(&file)?;
    }
    arithmetic::choose(&home)?;
    let used = arithmetic::told();
    let mut rows = vec![("processor".to_owned(), processor.clone()), ("used".to_owned(), used.clone())];
    rows.extend(by_kernels(&measured));
    let kernels = measured.iter().map(|measured| KernelsReport {
        kernels: measured.machine.to_string(),
        times_f32: measured.times,
        rates: measured
            .rates
            .iter()
            .map(|(rows, right, rate)| RateReport {
                rows: *rows,
                weights: right.to_string(),
                giga_multiply_adds_per_second: *rate,
            })
            .collect(),
    });
    let report = Report { processor, used, kernels: kernels.collect() };
    print(args.json, &report, &rows)
}

/// Rows for a person: what was measured of each of the kernels.
fn by_kernels(measured: &[Measured]) -> Vec<(String, String)> {
    measured
        .iter()
        .flat_map(|measured| {
            let head = (measured.machine.to_string(), format!("{:.2} × as fast as f32", measured.times));
            let by_rows = measured.rates.chunk_by(|(one, ..), (other, ..)| one == other).map(|rates| {
                let rows = rates[0].0;
                let rates: Vec<String> =
                    rates.iter().map(|(_, right, rate)| format!("{right} {rate:.0}")).collect();
                let name = format!("  {rows} row{}", if rows == 1 { "" } else { "s" });
                (name, format!("{} G/s", rates.join(", ")))
            });
            std::iter::once(head).chain(by_rows).collect::<Vec<_>>()
        })
        .collect()
}
