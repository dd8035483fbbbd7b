//! Prints every training item of a folder, one JSON object a line, for comparison with other implementations.
//!
//! `cargo run --release -p hotplate-engine --example encode -- [--base DIR] [--train-on last] [--style instruct] FOLDER`

#![expect(clippy::print_stdout, reason = "the items are the result")]

use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use hotplate_dataset::{Limits, Side, Style, TrainOn, read, split};
use hotplate_engine::base_source::BaseSource;
use hotplate_engine::base_text::BaseText;
use hotplate_engine::encode_example::EncodeOptions;

/// Each line: `{"file": ..., "line": ..., "id": ..., "tokens": [...], "supervised": [...], "truncated": ..., "held_out": ...}`, its side in a
/// first full run.
#[derive(Parser)]
struct Arguments {
    folder: PathBuf,
    /// A Hugging Face folder; the embedded base without it.
    #[arg(long)]
    base: Option<PathBuf>,
    #[arg(long, default_value_t)]
    train_on: TrainOn,
    #[arg(long, default_value_t)]
    style: Style,
    #[arg(long, default_value_t = usize::MAX)]
    max_tokens: usize,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let base = BaseText::open(&arguments.base.map_or(BaseSource::Embedded, |path| BaseSource::at(&path)))?;
    let options = EncodeOptions {
        max_tokens: arguments.max_tokens,
        train_on: arguments.train_on,
        style: arguments.style,
    };
    let examples = read(&arguments.folder, &Limits::default())?.examples;
    let sides = split(&examples, &HashMap::new());
    for example in examples {
        let held_out = sides.get(&example.id) == Some(&Side::HeldOut);
        let place = serde_json::json!(
            {"file": example.file, "line": example.lines.0, "id": example.id, "held_out": held_out}
        );
        let items = match base.encode_forms(&example, &options) {
            Ok(samples) => samples
                .into_iter()
                .map(|sample| {
                    serde_json::json!({"tokens": sample.tokens, "supervised": sample.supervised, "truncated": sample.truncated})
                })
                .collect(),
            Err(error) => vec![serde_json::json!({"error": error.to_string()})],
        };
        for mut item in items {
            if let (Some(item), Some(place)) = (item.as_object_mut(), place.as_object()) {
                item.extend(place.clone());
            }
            println!("{item}");
        }
    }
    Ok(())
}
