//! Renders conversations through a base's chat template, for comparison with other implementations.
//!
//! `cargo run --release -p hotplate-engine --example chat -- DIR < conversations.json`

#![expect(clippy::print_stdout, reason = "the texts are the result")]

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use hotplate_engine::base_spec::{BaseSource, BaseSpec};
use serde_json::{Value, json};

/// Reads a list of `{"messages": [...], "tools": [...] or null, "add_generation_prompt": bool}` and prints a list of
/// `{"text", "tokens"}` or `{"error"}`, and before it the tokens that end an answer. With a `"template"`, that is taken in place of the base's,
/// and there are no tokens.
#[derive(Parser)]
struct Arguments {
    /// A Hugging Face folder.
    base: PathBuf,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let text = BaseSpec::open(&BaseSource::at(&arguments.base))?;
    let conversations: Vec<Value> = serde_json::from_reader(std::io::stdin().lock())?;
    let rendered = conversations.iter().map(|conversation| {
        let messages = conversation["messages"].as_array().cloned().unwrap_or_default();
        let tools = Some(&conversation["tools"]).filter(|tools| !tools.is_null());
        let open = conversation["add_generation_prompt"].as_bool().unwrap_or(false);
        if let Some(template) = conversation["template"].as_str() {
            return match text.chat_through(template, &messages, tools, open) {
                Ok(text) => json!({"text": text}),
                Err(error) => json!({"error": error.to_string()}),
            };
        }
        match text.chat(&messages, tools, open) {
            Ok((text, tokens)) => json!({"text": text, "tokens": tokens}),
            Err(error) => json!({"error": error.to_string()}),
        }
    });
    println!("{}", json!({"eos": text.eos, "rendered": rendered.collect::<Vec<_>>()}));
    Ok(())
}
