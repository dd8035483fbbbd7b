//! Prints the logits of a token sequence, for comparison with other implementations.
//!
//! `cargo run --release -p hotplate-engine --example logits -- [--base DIR] [--quantize q8] [--adapter DIR] --ids 1,2,3 [--examples 2,1 | --chunks 2,1] [--greedy 5]`

#![expect(clippy::print_stdout, reason = "the logits are the result")]

use std::path::PathBuf;

use anyhow::{Result, ensure};
use candle_core::{Device, Tensor};
use clap::Parser;
use hotplate_engine::base::Base;
use hotplate_engine::base_source::BaseSource;
use hotplate_engine::decoder::{Batch, KvCache};
use hotplate_engine::device::{self, Arithmetic, Machine};
use hotplate_engine::lora::Adapter;
use hotplate_engine::peft;
use hotplate_engine::quantise::Quantise;

/// One JSON object: `{"logits": [[...], ...]}`, a row for each token; with `--greedy`, also `"greedy": [...]`, the likeliest tokens
/// after them, one after the other.
#[derive(Parser)]
struct Arguments {
    /// A Hugging Face folder; the embedded base without it.
    #[arg(long)]
    base: Option<PathBuf>,
    /// How its weights are quantised when they are loaded.
    #[arg(long, value_parser = quantise)]
    quantize: Option<Quantise>,
    /// A PEFT folder.
    #[arg(long)]
    adapter: Option<PathBuf>,
    /// Token ids, separated by commas.
    #[arg(long, value_delimiter = ',', required = true)]
    ids: Vec<u32>,
    /// The tokens are several examples in one packed row, of these lengths.
    #[arg(long, value_delimiter = ',', conflicts_with = "chunks")]
    examples: Vec<usize>,
    /// The tokens go through a cache in pieces of these lengths.
    #[arg(long, value_delimiter = ',')]
    chunks: Vec<usize>,
    /// Write so many tokens after them.
    #[arg(long, default_value_t = 0)]
    greedy: usize,
}

fn quantise(name: &str) -> Result<Quantise, serde_json::Error> {
    serde_json::from_value(name.into())
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    // What it is compared with computes in f32.
    device::use_machine(Machine::best(Arithmetic::F32, &Machine::all()));
    let source = arguments.base.map_or(BaseSource::Embedded, |path| BaseSource::at(&path));
    let base = Base::open(&source.quantised(arguments.quantize), &Device::Cpu)?;
    let adapter = match &arguments.adapter {
        Some(folder) => Some(peft::load(folder, &base.text, &base.device)?),
        None => None,
    };
    let adapter = adapter.as_ref();
    for lengths in [&arguments.examples, &arguments.chunks] {
        let total: usize = lengths.iter().sum();
        ensure!(lengths.is_empty() || total == arguments.ids.len(), "the lengths do not add up to --ids");
    }
    let logits = if arguments.chunks.is_empty() {
        let batch = Batch::packed(pieces(&arguments.ids, &arguments.examples));
        base.decoder.logits(&base.decoder.forward(&batch, adapter, None)?, adapter)?
    } else {
        let mut cache = KvCache::default();
        let mut parts = Vec::new();
        for piece in pieces(&arguments.ids, &arguments.chunks) {
            let batch = Batch::part(piece, cache.len(), arguments.ids.len());
            parts.push(base.decoder.forward(&batch, adapter, Some(&mut cache))?);
        }
        base.decoder.logits(&Tensor::cat(&parts, 0)?, adapter)?
    };
    let logits = logits.to_vec2::<f32>()?;
    let greedy = greedy(&base, adapter, &arguments.ids, arguments.greedy)?;
    println!("{}", serde_json::json!({ "logits": logits, "greedy": greedy }));
    Ok(())
}

/// One piece of everything where no lengths are given.
fn pieces<'a>(ids: &'a [u32], lengths: &[usize]) -> Vec<&'a [u32]> {
    if lengths.is_empty() {
        return vec![ids];
    }
    let mut rest = ids;
    lengths
        .iter()
        .map(|length| {
            let (piece, after) = rest.split_at(*length);
            rest = after;
            piece
        })
        .collect()
}

/// As a generation reads: the prompt at once, then token by token, again from the start where the base wants it.
fn greedy(base: &Base, adapter: Option<&Adapter>, ids: &[u32], count: usize) -> Result<Vec<u32>> {
    let mut tokens = ids.to_vec();
    let mut cache = KvCache::default();
    for _ in 0..count {
        if base.decoder.outgrown(&cache, tokens.len()) {
            cache = KvCache::default();
        }
        let batch = Batch::continuation(&tokens[cache.len()..], cache.len());
        let hidden = base.decoder.forward(&batch, adapter, Some(&mut cache))?;
        let last = hidden.narrow(0, hidden.dim(0)? - 1, 1)?;
        let logits = base.decoder.logits(&last, adapter)?.squeeze(0)?.to_vec1::<f32>()?;
        let best = (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap_or(0);
        tokens.push(best as u32);
    }
    Ok(tokens.split_off(ids.len()))
}
