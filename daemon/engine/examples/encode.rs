//! Prints every training item of a folder, one JSON object a line, for comparison with other implementations; with `--findings`, what is wrong
//! with the folder's records, too.
//!
//! `cargo run --release -p hotplate-engine --example encode -- [--base DIR] [--train-on last] [--style instruct] FOLDER`

#![expect(clippy::print_stdout, reason = "the items are the result")]

use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use hotplate_dataset::{Dataset, Finding, Limits, Side, Style, TrainOn, read, split};
use hotplate_engine::base_source::BaseSource;
use hotplate_engine::base_spec::BaseSpec;
use hotplate_engine::encode_example::{EncodeOptions, Encoded};

/// Each line: `{"file": ..., "line": ..., "id": ..., "tokens": [...], "supervised": [...], "truncated": ..., "left_out": [...],
/// "held_out": ...}`, its side in a first full run.
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
    /// Prints each finding of the reader as `{"file": ..., "line": ..., "finding": ..., "message": ...}` first.
    #[arg(long)]
    findings: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let base = BaseSpec::open(&arguments.base.map_or(BaseSource::Embedded, |path| BaseSource::at(&path)))?;
    let options = EncodeOptions {
        max_tokens: arguments.max_tokens,
        train_on: arguments.train_on,
        style: arguments.style,
    };
    let Dataset { examples, findings, .. } = read(&arguments.folder, &Limits::default())?;
    for finding in findings.into_iter().filter(|_| arguments.findings) {
        let Finding { code, file, lines: (line, _), message, .. } = finding;
        println!(
            "{}",
            serde_json::json!({"file": file, "line": line, "finding": code.code(), "message": message})
        );
    }
    let sides = split(&examples, &HashMap::new());
    for example in examples {
        let held_out = sides.get(&example.id) == Some(&Side::HeldOut);
        let place = serde_json::json!(
            {"file": example.file, "line": example.lines.0, "id": example.id, "held_out": held_out}
        );
        let items = match base.encode_forms(&example, &options) {
            Ok(forms) => forms
                .into_iter()
                .map(|Encoded { sample, left_out }| {
                    let left_out: Vec<String> = left_out.iter().map(ToString::to_string).collect();
                    serde_json::json!({
                        "tokens": sample.tokens, "supervised": sample.supervised, "truncated": sample.truncated, "left_out": left_out,
                    })
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
