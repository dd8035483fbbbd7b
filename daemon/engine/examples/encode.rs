//! A dataset folder as training sees it: tokens, what carries loss, and the side of each example in a first full run.
//!
//! `cargo run --release -p hotplate-engine --example encode -- [--base DIR] FOLDER`
//!
//! Prints one JSON object an example: `{"tokens": [...], "supervised": [...], "held_out": false}`.

#![expect(clippy::print_stdout, reason = "the tokens are the result")]

use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use hotplate_dataset::{Limits, Side, read, split};
use hotplate_engine::base_source::BaseSource;
use hotplate_engine::base_text::BaseText;
use hotplate_engine::encode_example::EncodeOptions;

#[derive(Parser)]
struct Arguments {
    /// A Hugging Face folder; the embedded base without it.
    #[arg(long)]
    base: Option<PathBuf>,
    folder: PathBuf,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let source = arguments.base.map_or(BaseSource::Embedded, BaseSource::Folder);
    let text = BaseText::open(&source)?;
    let dataset = read(&arguments.folder, &Limits::default())?;
    let sides = split(&dataset.examples, &HashMap::new());
    for example in &dataset.examples {
        let sample = text.encode_example(&example.content, &EncodeOptions::new(text.config.context))?;
        let held_out = sides.get(&example.id) == Some(&Side::HeldOut);
        println!(
            "{}",
            serde_json::json!({ "tokens": sample.tokens, "supervised": sample.supervised, "held_out": held_out })
        );
    }
    Ok(())
}
