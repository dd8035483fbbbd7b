//! What could stand at the cursor: command names and options. Paths are added by the front end, which knows where
//! it is.

use clap::Subcommand;

use super::Command;
use super::parse::grammar_of;

/// `matches` may each replace the characters from `start` to `end`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completions {
    pub start: usize,
    pub end: usize,
    pub matches: Vec<String>,
}

/// Positions count characters, as notebooks do. What lies behind the cursor is not looked at.
pub fn complete(line: &str, cursor_chars: usize) -> Completions {
    complete_as::<Command>(line, cursor_chars)
}

/// [`complete`] for a front end with commands of its own beside these.
pub fn complete_as<Action: Subcommand>(line: &str, cursor_chars: usize) -> Completions {
    let before: String = line.chars().take(cursor_chars).collect();
    let end = before.chars().count();
    let word = before.rsplit(char::is_whitespace).next().unwrap_or_default();
    let start = end - word.chars().count();
    let earlier: Vec<&str> = before[..before.len() - word.len()].split_whitespace().collect();

    let grammar = grammar_of::<Action>();
    let mut matches: Vec<String> = match earlier.first() {
        None => grammar.get_subcommands().map(|command| command.get_name().to_owned()).collect(),
        // Behind `--` everything is text.
        Some(_) if earlier.contains(&"--") || !word.starts_with('-') => Vec::new(),
        Some(name) => grammar.find_subcommand(name).map(options).unwrap_or_default(),
    };
    matches.retain(|candidate| candidate.starts_with(word));
    Completions { start, end, matches }
}

fn options(command: &clap::Command) -> Vec<String> {
    let long = command.get_arguments().filter_map(clap::Arg::get_long).chain(["help"]);
    long.map(|name| format!("--{name}")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::parse::grammar;
    use super::*;

    fn check(line: &str, start: usize, expected: &[&str]) {
        let end = line.chars().count();
        let matches = expected.iter().map(|&name| name.to_owned()).collect();
        assert_eq!(complete(line, end), Completions { start, end, matches }, "{line:?}");
    }

    #[test]
    fn commands_and_options() {
        check("tr", 0, &["train"]);
        check("  un", 2, &["unwatch"]);
        check("train notes --ep", 12, &["--epochs"]);
        check("generate 面包 --top", 12, &["--top-p", "--top-k"]);
        check("status -", 7, &["--json", "--quiet", "--help"]);
        check("train no", 6, &[]);
        check("nonsense --", 9, &[]);
        check("generate -- --", 12, &[]);
        assert_eq!(complete("train", 2).matches, ["train"]);
        assert_eq!(complete("", 9).matches.len(), grammar().get_subcommands().count());
    }
}
