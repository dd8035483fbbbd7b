//! Lays out small datasets for tests and shows what was read from them.

use std::fmt::Write as _;
use std::path::PathBuf;

use expect_test::Expect;

use crate::chat::Turn;
use crate::content::{Content, Example};
use crate::findings::Finding;
use crate::read::{Dataset, Limits, Measured, read};

pub(crate) fn text_example(text: &str) -> Example {
    let content = Content::Text(text.to_owned());
    Example { id: content.id(), content, title: None, file: PathBuf::from("notes.txt"), lines: (1, 1) }
}

/// One token a character, so that a test can count with its fingers.
#[expect(clippy::unnecessary_wraps, reason = "the shape of what a caller lends")]
pub(crate) fn count_characters(example: &Example) -> Result<Measured, String> {
    let tokens = match &example.content {
        Content::Text(text) => text.chars().count(),
        Content::Completion { prompt, completion } => prompt.chars().count() + completion.chars().count(),
        Content::Chat(chat) => chat.turns.iter().map(|turn| turn.content.chars().count()).sum(),
    };
    let learnt = match &example.content {
        Content::Text(_) => tokens,
        Content::Completion { prompt, .. } => 60_usize.saturating_sub(prompt.chars().count()),
        Content::Chat(chat) => chat.learnt().count(),
    };
    Ok(Measured { tokens, longest_form: tokens, learnt, ..Measured::default() })
}

/// Up to 60 tokens an example and 4000 bytes a record.
pub(crate) fn read_files(files: &[(&str, &[u8])]) -> Dataset {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let limits = Limits {
        max_tokens: 60,
        measure: Some(&count_characters),
        max_record_bytes: 4000,
        ..Limits::default()
    };
    read(folder.path(), &limits).unwrap()
}

/// Reads the files and compares examples and findings, one a line, with what is expected.
#[track_caller]
pub(crate) fn check_bytes(files: &[(&str, &[u8])], expected: &Expect) {
    let dataset = read_files(files);
    let mut shown = String::new();
    for Example { content, file, lines, .. } in &dataset.examples {
        let content = match content {
            Content::Text(text) => format!("{text:?}"),
            Content::Completion { prompt, completion } => format!("{prompt:?} -> {completion:?}"),
            Content::Chat(chat) => {
                let turns: Vec<_> = chat
                    .turns
                    .iter()
                    .map(|turn| format!("{}: {}", turn.role.name(), shown_turn(turn)))
                    .collect();
                turns.join(", ")
            }
        };
        let _ = writeln!(shown, "{}:{}-{} {content}", file.display(), lines.0, lines.1);
    }
    for finding in &dataset.findings {
        let _ = writeln!(shown, "{}", line_of(finding));
    }
    expected.assert_eq(&shown);
}

#[track_caller]
pub(crate) fn check(files: &[(&str, &str)], expected: &Expect) {
    let files: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_bytes())).collect();
    check_bytes(&files, expected);
}

/// Its text, or the whole message where it says more.
fn shown_turn(turn: &Turn) -> String {
    match &turn.message {
        None => format!("{:?}", turn.content),
        Some(message) => serde_json::to_string(message).unwrap(),
    }
}

pub(crate) fn line_of(finding: &Finding) -> String {
    let Finding { code, file, lines, column, message } = finding;
    let column = column.map(|column| format!(", column {column}")).unwrap_or_default();
    let place = format!("{}:{}-{}{column}", file.display(), lines.0, lines.1);
    format!("{place} {} {}: {message}", code.code(), code.name())
}
