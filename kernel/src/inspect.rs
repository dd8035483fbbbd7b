//! Help for what stands at the cursor: the command of its line, or a name in Rust.

use hotplate_client::command::GrammarError;
use jupyter_protocol::{InspectReply, Media, MediaType};

use crate::cell::rust_at;
use crate::command::parse_line;
use crate::notebook_words::{command_names, in_notebook, overview};
use crate::rust::{Docs, Rust};

/// `cursor` counts characters. A command's help is shown wherever in its line the cursor is.
pub(crate) fn inspect(code: &str, cursor: usize, rust: &mut Rust) -> InspectReply {
    if let Some((piece, position)) = rust_at(code, cursor) {
        let Some(Docs { text, html }) = rust.inspect(&piece.text, position) else {
            return InspectReply::default();
        };
        let data = Media::new(vec![MediaType::Plain(text), MediaType::Html(html)]);
        return InspectReply { found: true, data, ..InspectReply::default() };
    }
    let help = line_at(code, cursor).and_then(|line| help_for(&line));
    match help {
        Some(text) => {
            InspectReply { found: true, data: MediaType::Plain(text).into(), ..InspectReply::default() }
        }
        None => InspectReply::default(),
    }
}

fn line_at(code: &str, cursor: usize) -> Option<String> {
    let before: String = code.chars().take(cursor).collect();
    code.lines().nth(before.matches('\n').count()).map(str::to_owned)
}

fn help_for(line: &str) -> Option<String> {
    let trimmed = line.trim_start();
    // Consoles ask about what precedes a question mark.
    let words = trimmed.strip_prefix("%%").or_else(|| trimmed.strip_prefix('%'))?.trim_end_matches('?');
    let mut words = words.split_whitespace();
    match (words.next(), words.next()) {
        (None, _) | (Some("help"), None) => help(""),
        (Some("help"), Some(name)) | (Some(name), _) => help(name),
    }
}

/// The grammar's own help; with an empty name, the list of commands. `None`: there is no such command.
pub(crate) fn help(name: &str) -> Option<String> {
    if !name.is_empty() && !command_names().iter().any(|known| known == name) {
        return None;
    }
    match parse_line(&format!("{name} --help")) {
        Err(GrammarError::Help { text }) if name.is_empty() => Some(overview(&text)),
        Err(GrammarError::Help { text }) => Some(in_notebook(&text)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(code: &str, cursor: usize) -> Option<String> {
        let reply = inspect(code, cursor, &mut Rust::default());
        assert_eq!(reply.found, !reply.data.content.is_empty());
        reply.data.content.into_iter().find_map(|media| match media {
            MediaType::Plain(text) => Some(text),
            _ => None,
        })
    }

    #[test]
    fn the_command_of_the_line() {
        let train = plain("# 面包\n%train notes/\n%status", 10).unwrap();
        assert!(train.contains("Usage: %train"), "{train}");
        assert!(plain("# 面包\n%train notes/\n%status", 25).unwrap().contains("Usage: %status"));
        assert!(plain("%%generate -a x\nprompt", 3).unwrap().contains("Usage: %generate"));
        assert!(plain("%help check", 1).unwrap().contains("Usage: %check"));
        assert!(plain("%train?", 7).unwrap().contains("Usage: %train"));
        assert!(plain("%", 1).unwrap().contains("train"));
    }

    #[test]
    fn nothing_to_say() {
        for (code, cursor) in [("", 0), ("", 99), ("# text", 3), ("%nonsense", 2), ("text\n", 5)] {
            assert_eq!(plain(code, cursor), None, "{code:?}");
        }
    }
}
