//! Commands of other tools: whoever types one is led to ours.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Their words, what they want, and the command here.
const ELSEWHERE: &[(&[&str], &str, &str)] = &[
    (
        &[
            "run",
            "chat",
            "predict",
            "infer",
            "inference",
            "complete",
            "ask",
            "prompt",
            "write",
            "sample",
            "answer",
        ],
        "let a model write",
        "hotplate generate -a ADAPTER \"PROMPT\"",
    ),
    (
        &["finetune", "fine-tune", "fit", "tune", "teach", "learn", "lora", "sft", "create", "new", "init"],
        "teach a model from your texts",
        "hotplate train FOLDER",
    ),
    (
        &["list", "ls", "show", "info", "versions", "history", "adapter"],
        "see your adapters and their versions",
        "hotplate adapters (base models: hotplate models)",
    ),
    (&["model", "bases"], "see the base models", "hotplate models"),
    (&["ps", "top", "jobs", "runs"], "see what the daemon does", "hotplate status"),
    (
        &["rm", "remove", "del", "forget", "unlearn"],
        "delete an adapter or a version",
        "hotplate delete ADAPTER",
    ),
    (&["clean", "gc", "cleanup"], "delete old versions", "hotplate prune"),
    (&["mv", "move"], "give an adapter another name", "hotplate rename ADAPTER NAME"),
    (
        &["serve", "start", "up", "server"],
        "start the daemon",
        "nothing: every command starts it, and hotplate status shows it",
    ),
    (&["kill", "quit", "exit", "shutdown", "down"], "end the daemon", "hotplate stop"),
    (&["download", "fetch", "install", "get"], "fetch a base model from the hub", "hotplate pull ORG/NAME"),
    (&["load", "add"], "take in an adapter from elsewhere", "hotplate import FOLDER"),
    (
        &["push", "upload", "publish", "save", "convert", "merge", "fuse", "cp", "copy"],
        "write an adapter for other programs",
        "hotplate export ADAPTER --out PATH (--to merged, --to gguf)",
    ),
    (
        &["quantize", "quantise"],
        "keep a base in fewer bits",
        "--quantize q8 or q4, with train, watch and generate",
    ),
    (
        &["eval", "evaluate", "test", "perplexity", "benchmark", "measure"],
        "measure how well a model knows your texts",
        "hotplate score -a ADAPTER FOLDER",
    ),
    (&["diff"], "see base and adapter side by side", "hotplate compare -a ADAPTER \"PROMPT\""),
    (&["lint", "validate", "inspect", "preview"], "look at a folder of texts", "hotplate check FOLDER"),
    (&["revert", "undo", "restore", "checkout"], "let an older version answer", "hotplate rollback ADAPTER"),
    (&["resume", "follow", "join"], "see a run again", "hotplate attach"),
    (&["abort"], "end a run", "hotplate cancel"),
    (&["log", "tail"], "read the daemon's log", "hotplate logs"),
    (
        &["base", "set", "default", "select", "switch"],
        "choose the base model",
        "hotplate use DIR, FILE or ORG/NAME",
    ),
    (
        &["config", "configure", "settings"],
        "see and change settings",
        "hotplate train FOLDER --dry-run, and hotplate.toml in it",
    ),
    (&["notebook", "jupyter", "jupyterlab"], "work in a notebook", "hotplate lab"),
    (&["version"], "see the version", "hotplate --version"),
    (&["completion"], "complete words in your shell", "hotplate completions SHELL"),
];

/// What to say of a word that is no command here and is one elsewhere; `None` for all other mistakes.
pub fn lead_on(error: &clap::Error) -> Option<String> {
    if error.kind() != ErrorKind::InvalidSubcommand {
        return None;
    }
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else { return None };
    let (_, wish, command) = ELSEWHERE.iter().find(|(words, ..)| words.contains(&word.as_str()))?;
    Some(format!(
        "hotplate has no command '{word}'; to {wish}: {command}\n\nFor all commands, try 'hotplate help'."
    ))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::parse::{GrammarError, grammar, parse_line};
    use super::*;

    #[test]
    fn words_of_other_tools_lead_to_commands_that_there_are() {
        let names: HashSet<String> =
            grammar().get_subcommands().map(|command| command.get_name().to_owned()).collect();
        // Those that only a shell has.
        let shell = ["use", "lab", "completions", "help"];
        let mut seen = HashSet::new();
        for (words, _, command) in ELSEWHERE {
            for word in *words {
                assert!(seen.insert(word), "{word} stands twice");
                assert!(!names.contains(*word) && !shell.contains(word), "{word} is a command of ours");
                let Err(GrammarError::Usage { text }) = parse_line(word) else { panic!("{word}") };
                assert!(text.contains(command), "{text}");
            }
            for ours in command.split("hotplate ").skip(1) {
                let name = ours.split(|c: char| !c.is_ascii_lowercase()).next().unwrap_or_default();
                assert!(name.is_empty() || names.contains(name) || shell.contains(&name), "{command}");
            }
        }
    }
}
