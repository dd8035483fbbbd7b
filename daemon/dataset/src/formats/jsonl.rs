//! `.jsonl`: one record a line.

use std::path::Path;

use super::Found;
use super::record::{ChatFault, Field, Messages, Record};
use crate::chat::{Chat, Role};
use crate::content::Content;
use crate::findings::{
    BadByte, EmptyPlace, Finding, empty, invalid_json, missing_field, no_answer, not_utf8, record_too_large,
    unknown_role, wrong_type,
};
use crate::lines::{Body, Line};

pub(crate) struct JsonLinesParser<'a> {
    file: &'a Path,
    max_record_bytes: usize,
    records: usize,
    last_line: usize,
}

impl<'a> JsonLinesParser<'a> {
    pub(crate) fn new(file: &'a Path, max_record_bytes: usize) -> Self {
        Self { file, max_record_bytes, records: 0, last_line: 0 }
    }

    pub(crate) fn line(&mut self, line: &Line<'_>, on_found: &mut dyn FnMut(Found)) {
        self.last_line = line.number;
        let lines = (line.number, line.number);
        let found = match line.body {
            Body::TooLong { bytes } => Err(record_too_large(self.file, lines, bytes, self.max_record_bytes)),
            Body::Whole(bytes) if bytes.trim_ascii().is_empty() => return,
            Body::Whole(bytes) => {
                match (str::from_utf8(bytes), BadByte::find(line.number, line.offset, bytes)) {
                    (Ok(text), _) => self.record(line.number, text),
                    (Err(_), Some(bad_byte)) => Err(not_utf8(self.file, lines, bad_byte)),
                    (Err(_), None) => return,
                }
            }
        };
        self.records += 1;
        on_found(match found {
            Ok(content) => Found::Example { content, lines },
            Err(finding) => Found::Finding(finding),
        });
    }

    pub(crate) fn finish(self, on_found: &mut dyn FnMut(Found)) {
        if self.records == 0 {
            on_found(Found::Finding(empty(self.file, (1, self.last_line.max(1)), EmptyPlace::File)));
        }
    }

    fn record(&self, line: usize, text: &str) -> Result<Content, Finding> {
        let record: Record =
            serde_json::from_str(text).map_err(|error| invalid_json(self.file, line, text, &error))?;
        let content = match record {
            Record::Other(kind) => {
                return Err(wrong_type(self.file, line, "a record", "an object", kind));
            }
            Record::Object { messages: Some(messages), .. } => self.chat(line, messages)?,
            Record::Object { prompt: Some(prompt), completion: Some(completion), .. } => {
                Content::Completion {
                    prompt: self.text(line, "\"prompt\"", prompt)?,
                    completion: self.text(line, "\"completion\"", completion)?,
                }
            }
            Record::Object { text: Some(text), .. } => Content::Text(self.text(line, "\"text\"", text)?),
            Record::Object { prompt, completion, names, .. } => {
                let missing = match (prompt, completion) {
                    (Some(_), _) => "\"completion\" (beside \"prompt\")",
                    (_, Some(_)) => "\"prompt\" (beside \"completion\")",
                    _ => "\"text\", or \"prompt\" and \"completion\", or \"messages\"",
                };
                return Err(missing_field(self.file, line, missing, &names));
            }
        };
        if content.is_empty() {
            return Err(empty(self.file, (line, line), EmptyPlace::Record));
        }
        Ok(content)
    }

    fn text(&self, line: usize, what: &str, field: Field) -> Result<String, Finding> {
        match field {
            Field::Text(text) => Ok(text),
            Field::Other(kind) => Err(wrong_type(self.file, line, what, "text", kind)),
        }
    }

    fn chat(&self, line: usize, messages: Messages) -> Result<Content, Finding> {
        match messages {
            Messages::Turns(turns) if turns.iter().any(|turn| turn.role == Role::Assistant) => {
                Ok(Content::Chat(Chat::new(turns)))
            }
            Messages::Turns(turns) => Err(no_answer(self.file, line, turns.len())),
            Messages::Other(kind) => Err(wrong_type(self.file, line, "\"messages\"", "a list", kind)),
            Messages::Fault { message, fault } => Err(match fault {
                ChatFault::NotAnObject(kind) => {
                    wrong_type(self.file, line, &format!("message {message}"), "an object", kind)
                }
                ChatFault::NotText { field, kind } => {
                    wrong_type(self.file, line, &format!("\"{field}\" of message {message}"), "text", kind)
                }
                ChatFault::Missing { field, names } => {
                    missing_field(self.file, line, &format!("\"{field}\" of message {message}"), &names)
                }
                ChatFault::UnknownRole(role) => unknown_role(self.file, line, message, &role),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::testing::check;

    #[test]
    fn the_three_shapes_and_which_goes_first() {
        check(
            &[(
                "a.jsonl",
                "\u{feff}{\"text\": \"a\\r\\nb\"}\r\n\r\n  {\"prompt\": \"p\", \"completion\": \"c\", \"text\": \"t\"}  \r\n{\"messages\": [{\"role\": \"assistant\", \"content\": \"hi\", \"name\": \"x\"}], \"text\": 5}",
            )],
            &expect![[r#"
                a.jsonl:1-1 "a\r\nb"
                a.jsonl:3-3 "p" -> "c"
                a.jsonl:4-4 assistant: "hi"
            "#]],
        );
    }

    #[test]
    fn deep_and_strange_json_is_only_a_finding() {
        let deep = format!("{{\"text\": {}", "[".repeat(1000));
        let ignored = format!("{{\"text\": \"fine\", \"id\": {}1{}}}", "[".repeat(1000), "]".repeat(1000));
        check(
            &[(
                "a.jsonl",
                &format!(
                    "{deep}\n{ignored}\n{{\"text\": \"\\ud800\"}}\n{{\"text\": \"a\"}} {{}}\n{{\"text\": 1e999}}\n"
                ),
            )],
            &expect![[r#"
                a.jsonl:2-2 "fine"
                a.jsonl:1-1, column 1010 HP003 invalid-json: the line ends too early: it ended while parsing a list
                a.jsonl:3-3, column 17 HP003 invalid-json: not JSON: unexpected end of hex escape
                a.jsonl:4-4, column 15 HP003 invalid-json: not JSON: trailing characters
                a.jsonl:5-5, column 14 HP003 invalid-json: not JSON: number out of range
            "#]],
        );
    }
}
