//! Prints the logits of a token sequence, for comparison with other implementations.
//!
//! `cargo run --release -p hotplate-engine --example logits -- [--base DIR] [--adapter DIR] --ids 1,2,3`

#![expect(clippy::print_stdout, reason = "the logits are the result")]

use std::path::PathBuf;

use anyhow::Result;
use candle_core::Device;
use clap::Parser;
use hotplate_engine::base::Base;
use hotplate_engine::base_source::BaseSource;
use hotplate_engine::decoder::Batch;
use hotplate_engine::peft;

/// One JSON object: `{"logits": [[...], ...]}`, a row for each token.
#[derive(Parser)]
struct Arguments {
    /// A Hugging Face folder; the embedded base without it.
    #[arg(long)]
    base: Option<PathBuf>,
    /// A PEFT folder.
    #[arg(long)]
    adapter: Option<PathBuf>,
    /// Token ids, separated by commas.
    #[arg(long, value_delimiter = ',', required = true)]
    ids: Vec<u32>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let source = arguments.base.map_or(BaseSource::Embedded, BaseSource::Folder);
    let base = Base::open(&source, &Device::Cpu)?;
    let adapter = match &arguments.adapter {
        Some(folder) => Some(peft::load(folder, &base.text, &base.device)?),
        None => None,
    };
    let batch = Batch::packed([arguments.ids.as_slice()]);
    let hidden = base.decoder.forward(&batch, adapter.as_ref(), None)?;
    let logits = base.decoder.logits(&hidden, adapter.as_ref())?.to_vec2::<f32>()?;
    println!("{}", serde_json::json!({ "logits": logits }));
    Ok(())
}
