//! The shared sentences speak of a shell (`hotplate train`); in a notebook the same command is `%train`.

use crate::command;

/// Ends the list of commands.
const CELLS: &str = "\n\nIn a cell:
  Several commands run in order, until one fails; # begins a comment.
  With %% in the first line, a command takes the rest of the cell:
  %%generate [OPTIONS]       the prompt
  %%compare [OPTIONS]        prompts, one a line
  %%examples FOLDER          texts to learn, divided by lines of ---; they become a new file there
  %%check                    texts, looked at as if they were a file
  %%train FOLDER [OPTIONS]   settings as in hotplate.toml, or none";

/// The grammar's list of commands, as it is used in a notebook.
pub(crate) fn overview(help: &str) -> String {
    let names = command_names();
    let sign = |line: &str| match line.strip_prefix("  ") {
        Some(entry) if names.iter().any(|name| entry.split(' ').next() == Some(name.as_str())) => {
            format!("  %{entry}")
        }
        _ => line.to_owned(),
    };
    let lines: Vec<String> = in_notebook(help).lines().map(sign).collect();
    lines.join("\n") + CELLS
}

/// `text` with each `hotplate COMMAND` as it is typed in a cell.
pub(crate) fn in_notebook(text: &str) -> String {
    const PROGRAM: &str = "hotplate ";
    let names = command_names();
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(PROGRAM) {
        let (before, found) = rest.split_at(at);
        let after = &found[PROGRAM.len()..];
        let word: String = after.chars().take_while(char::is_ascii_lowercase).collect();
        // A path may end in "hotplate", and a sentence may speak of Hotplate itself.
        let starts_a_word = !before
            .chars()
            .next_back()
            .is_some_and(|character| character.is_alphanumeric() || "/\\-_.".contains(character));
        result.push_str(before);
        if starts_a_word && (names.contains(&word) || after.starts_with("<COMMAND>")) {
            result.push('%');
        } else {
            result.push_str(PROGRAM);
        }
        rest = after;
    }
    result.push_str(rest);
    result
}

pub(crate) fn command_names() -> Vec<String> {
    command::names()
}

#[cfg(test)]
mod tests {
    use hotplate_client::command::GrammarError;

    use super::*;

    #[test]
    fn the_overview_lists_commands_as_they_are_typed() {
        let Err(GrammarError::Help { text }) = command::parse_line("--help") else { panic!("no help") };
        let overview = overview(&text);
        for line in ["\n  %train ", "\n  %status ", "\n  %%generate ", "Usage: %<COMMAND>"] {
            assert!(overview.contains(line), "{line:?} in {overview}");
        }
    }

    #[test]
    fn shell_lines_become_cell_lines() {
        let check = |text: &str, expected: &str| assert_eq!(in_notebook(text), expected);
        check("Usage: hotplate train [OPTIONS] <FOLDER>", "Usage: %train [OPTIONS] <FOLDER>");
        check("restart it with: hotplate stop", "restart it with: %stop");
        check("Usage: hotplate <COMMAND>", "Usage: %<COMMAND>");
        check("hotplate is here, /opt/hotplate train", "hotplate is here, /opt/hotplate train");
        check("try hotplate generate or `hotplate watch x`", "try %generate or `%watch x`");
        check("", "");
    }
}
