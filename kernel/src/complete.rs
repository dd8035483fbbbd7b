//! What could stand at the cursor: commands and options from the shared grammar; folders and adapters from here; Rust from the
//! program that runs it.

use std::fs;
use std::path::Path;

use jupyter_protocol::CompleteReply;
use serde_json::{Value, json};

use crate::cell::{TextCommand, rust_at};
use crate::command;
use crate::daemon::Daemon;
use crate::notebook_words::command_names;
use crate::rust::{Completions, Rust};

/// More would be no help.
const MAX_MATCHES: usize = 200;

/// Where names of adapters come from; asked only when one is wanted.
pub(crate) trait AdapterNames {
    fn names(&mut self) -> Vec<String>;
}

impl AdapterNames for Daemon {
    fn names(&mut self) -> Vec<String> {
        self.adapter_names()
    }
}

/// Where completions of Rust come from; positions count bytes.
pub(crate) trait RustCompletions {
    fn completions(&mut self, code: &str, position: usize) -> Completions;
}

impl RustCompletions for Rust {
    fn completions(&mut self, code: &str, position: usize) -> Completions {
        self.complete(code, position)
    }
}

/// `cursor` and the reply's positions count characters (Unicode code points).
pub(crate) fn complete(
    code: &str,
    cursor: usize,
    folder: &Path,
    adapters: &mut impl AdapterNames,
    rust: &mut impl RustCompletions,
) -> CompleteReply {
    if let Some((piece, position)) = rust_at(code, cursor) {
        let found = rust.completions(&piece.text, position);
        let in_characters = |at: usize| {
            let before = code.get(..piece.offset + at).unwrap_or_default();
            before.chars().count()
        };
        let kinds = found.matches.iter().take(MAX_MATCHES);
        let kinds: Vec<Value> =
            kinds.map(|found| json!({ "text": found.text, "type": found.kind })).collect();
        let matches = found.matches.into_iter().map(|found| found.text).collect();
        let mut reply = reply(in_characters(found.start), in_characters(found.end), matches);
        reply.metadata.insert("_jupyter_types_experimental".to_owned(), Value::from(kinds));
        return reply;
    }
    let code: Vec<char> = code.chars().collect();
    let cursor = cursor.min(code.len());
    let before = code.get(..cursor).unwrap_or_default();
    let line_start = before.iter().rposition(|character| *character == '\n').map_or(0, |at| at + 1);
    let line: String = before.get(line_start..).unwrap_or_default().iter().collect();
    let earlier: String = before.get(..line_start).unwrap_or_default().iter().collect();
    if is_text(&earlier) {
        return reply(cursor, cursor, Vec::new());
    }

    let blank = line.chars().take_while(|character| character.is_whitespace()).count();
    let signs = line.chars().skip(blank).take_while(|character| *character == '%').count();
    match signs {
        // An empty line: everything that a line can begin with.
        0 if blank == line.chars().count() => {
            let commands = command_names().into_iter().map(|name| format!("%{name}"));
            let texts = TextCommand::names().map(|name| format!("%%{name}"));
            reply(cursor, cursor, commands.chain(texts).collect())
        }
        1 | 2 => {
            let skipped = line_start + blank + signs;
            let text: String = line.chars().skip(blank + signs).collect();
            let (start, mut matches) = in_command(&text, folder, adapters);
            if signs == 2 && start == 0 {
                matches.retain(|name| TextCommand::names().any(|known| known == name));
                // The one that the grammar does not know.
                matches.extend(
                    TextCommand::names()
                        .filter(|name| !text.is_empty() && name.starts_with(&text))
                        .map(str::to_owned),
                );
                matches.sort_unstable();
                matches.dedup();
            }
            reply(skipped + start, cursor, matches)
        }
        _ => reply(cursor, cursor, Vec::new()),
    }
}

fn reply(start: usize, end: usize, mut matches: Vec<String>) -> CompleteReply {
    matches.truncate(MAX_MATCHES);
    CompleteReply { matches, cursor_start: start, cursor_end: end, ..CompleteReply::default() }
}

/// Whether what follows these lines is a command's text.
fn is_text(earlier: &str) -> bool {
    earlier.lines().any(|line| line.trim_start().starts_with("%%"))
}

/// Where the word at the end of `text` starts, in characters, and what it could be.
fn in_command(text: &str, folder: &Path, adapters: &mut impl AdapterNames) -> (usize, Vec<String>) {
    let found = command::complete(text);
    let word: String = text.chars().skip(found.start).collect();
    if !found.matches.is_empty() || word.starts_with('-') {
        return (found.start, found.matches);
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    let earlier =
        if word.is_empty() { &words[..] } else { words.split_last().map_or(&[][..], |(_, rest)| rest) };
    let fitting = |names: Vec<String>| names.into_iter().filter(|name| name.starts_with(&word)).collect();
    let matches = match wanted(earlier) {
        Wanted::Nothing => Vec::new(),
        Wanted::Folder => paths(folder, &word, Kind::Folders),
        Wanted::File => paths(folder, &word, Kind::Files),
        Wanted::Base => {
            let mut bases: Vec<String> = fitting(vec!["hotplate-tiny".to_owned()]);
            bases.extend(paths(folder, &word, Kind::Folders));
            bases
        }
        Wanted::Adapter => fitting(adapters.names()),
        Wanted::Command => fitting(command_names()),
    };
    (found.start, matches)
}

enum Wanted {
    Nothing,
    Folder,
    /// Or a folder.
    File,
    Base,
    Adapter,
    Command,
}

/// What the word after these words is.
fn wanted(earlier: &[&str]) -> Wanted {
    let (Some(name), Some(last)) = (earlier.first(), earlier.last()) else { return Wanted::Nothing };
    match (*name, *last) {
        (_, "-a" | "--adapter")
        | (
            "rollback" | "export" | "verify" | "use" | "attach" | "finish" | "cancel",
            "rollback" | "export" | "verify" | "use" | "attach" | "finish" | "cancel",
        ) => Wanted::Adapter,
        (_, "--base") => Wanted::Base,
        ("help", "help") => Wanted::Command,
        ("score", _) => Wanted::File,
        (_, "--out" | "-o") | ("import" | "check" | "train" | "watch" | "unwatch" | "examples", _) => {
            Wanted::Folder
        }
        _ => Wanted::Nothing,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Folders,
    /// And the folders on the way to them.
    Files,
}

/// Paths that begin with `typed`; folders have a closing slash. Hidden ones only where a dot was typed.
fn paths(here: &Path, typed: &str, kind: Kind) -> Vec<String> {
    let (parent, start) = match typed.rfind('/') {
        Some(slash) => typed.split_at(slash + 1),
        None => ("", typed),
    };
    let Ok(entries) = fs::read_dir(here.join(parent)) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let fits = name.starts_with(start) && (start.starts_with('.') || !name.starts_with('.'));
            let closing = match entry.path().is_dir() {
                true => "/",
                false if kind == Kind::Files => "",
                false => return None,
            };
            fits.then(|| quoted(&format!("{parent}{name}{closing}")))
        })
        .collect();
    names.sort_unstable();
    names
}

/// As it must be typed so that the grammar reads one word.
fn quoted(path: &str) -> String {
    if !path.contains(|character: char| character.is_whitespace() || "'\"\\#".contains(character)) {
        return path.to_owned();
    }
    shlex::try_quote(path).map_or_else(|_| path.to_owned(), std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rust::Completion;

    struct Two;

    impl AdapterNames for Two {
        fn names(&mut self) -> Vec<String> {
            vec!["notes".to_owned(), "面包店".to_owned()]
        }
    }

    struct Methods;

    impl RustCompletions for Methods {
        fn completions(&mut self, code: &str, position: usize) -> Completions {
            let start = code[..position].rfind('.').map_or(position, |dot| dot + 1);
            let matches =
                ["push", "pop"].map(|text| Completion { text: text.into(), kind: "function".into() });
            Completions { start, end: position, matches: matches.into() }
        }
    }

    /// `|` is the cursor.
    fn check(code: &str, start: usize, expected: &[&str]) {
        let here = tempfile::tempdir().unwrap();
        for folder in ["notes", "notes/summer", "new ones", ".hidden", "面包"] {
            fs::create_dir(here.path().join(folder)).unwrap();
        }
        fs::write(here.path().join("note.txt"), "").unwrap();
        let cursor = code.chars().position(|character| character == '|').unwrap();
        let reply = complete(&code.replace('|', ""), cursor, here.path(), &mut Two, &mut Methods);
        assert_eq!(reply.matches, expected, "{code}");
        assert_eq!((reply.cursor_start, reply.cursor_end), (start, cursor), "{code}");
    }

    #[test]
    fn commands_and_options() {
        check("%tr|", 1, &["train"]);
        check("# 面包\n  %che|", 8, &["check"]);
        check("%%ge|", 2, &["generate"]);
        check("%%ru|", 2, &["rust"]);
        check("%%tr|", 2, &["train"]);
        check("%%st|", 2, &[]);
        check("%us|", 1, &["use"]);
        check("%train notes --ep|ochs 3", 13, &["--epochs"]);
        check("%%generate 面包 --top-|", 14, &["--top-p", "--top-k"]);
        check("%help ro|", 6, &["rollback"]);
    }

    #[test]
    fn folders_and_adapters() {
        check("%check n|", 7, &["'new ones/'", "notes/"]);
        check("%check 面|", 7, &["面包/"]);
        check("%train notes/|", 7, &["notes/summer/"]);
        check("%train .|", 7, &[".hidden/"]);
        check("%train nowhere/|", 7, &[]);
        check("%score no|", 7, &["note.txt", "notes/"]);
        check("%%examples no|", 11, &["notes/"]);
        check("%export notes --out n|", 20, &["'new ones/'", "notes/"]);
        check("%use 面|", 5, &["面包店"]);
        check("%attach no|", 8, &["notes"]);
        check("%generate -a |", 13, &["notes", "面包店"]);
        check("%generate -a 面|", 13, &["面包店"]);
        check("%rollback no|", 10, &["notes"]);
        check("%train x --base hot|", 16, &["hotplate-tiny"]);
    }

    #[test]
    fn rust_in_characters() {
        check("%status\nlet 面 = 包.p|;", 18, &["push", "pop"]);
    }

    #[test]
    fn nothing_to_offer() {
        check("%%generate -a x\n%tr|", 19, &[]);
        check("%generate Write |", 16, &[]);
        check("%%%tr|", 5, &[]);
    }

    #[test]
    fn an_empty_line_offers_every_command() {
        let reply = complete("", 99, Path::new("."), &mut Two, &mut Methods);
        assert!(reply.matches.contains(&"%train".to_owned()));
        assert!(reply.matches.contains(&"%%generate".to_owned()));
    }
}
