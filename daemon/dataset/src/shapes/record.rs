//! A record: the fields that some shape reads, and the names of all. What no shape reads is not built, so that a record with a
//! megabyte of foreign fields costs no more memory than its text.

use std::fmt;

use serde::de::{Deserializer as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::{RecordLocation, is_known};
use crate::columns::{self, Columns, Rename, Use};
use crate::findings::{Finding, unclear_columns};
use crate::loose_json;

/// More names than this are not worth naming.
const MOST_NAMES: usize = 12;

/// The fields that shapes read, sorted.
const FIELDS: &[&str] = &[
    "chosen",
    "completion",
    "conversation",
    "conversations",
    "history",
    "input",
    "instruction",
    "kto_tag",
    "label",
    "loss",
    "messages",
    "output",
    "prompt",
    "rejected",
    "system",
    "text",
    "title",
    "tools",
    "train",
    "trainable",
    "training",
    "weight",
];

/// Fields that decide what a record is: the sides of a question and its answer, and all others.
const SIDES: [&str; 4] = ["completion", "instruction", "output", "prompt"];
const OTHERS: [&str; 6] = ["chosen", "conversation", "conversations", "messages", "rejected", "text"];

/// What kind of value stands where another one is wanted: "a number", "a list", ...
pub(crate) type Kind = &'static str;

pub(crate) fn kind(value: &Value) -> Kind {
    match loose_json::not_json(value) {
        Some("NaN") => return "NaN, which is not JSON",
        Some(_) => return "an infinity, which is not JSON",
        None => {}
    }
    match value {
        Value::String(text) if loose_json::whole_number(text).is_some() => "a number",
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Record {
    fields: Map<String, Value>,
    names: Vec<String>,
    /// Fields that are called otherwise in the file.
    called: Vec<(&'static str, String)>,
}

impl Record {
    /// Whether a shape reads a field of this name.
    pub(crate) fn is_field(name: &str) -> bool {
        FIELDS.binary_search(&name).is_ok()
    }

    /// Whether a column of this name may turn out to be such a field.
    pub(crate) fn is_read(name: &str, columns: &Columns) -> bool {
        Self::is_field(name) || columns::is_like_a_field(name) || columns.names(name)
    }

    /// What no shape reads leaves only its name.
    pub(crate) fn insert(&mut self, name: String, value: Value, columns: &Columns) {
        if Self::is_read(&name, columns) {
            self.fields.insert(name.clone(), value);
        }
        self.note(name);
    }

    /// A field whose column is called `column`.
    pub(crate) fn insert_field(&mut self, field: &'static str, column: &str, value: Value) {
        self.fields.insert(field.to_owned(), value);
        if column != field {
            self.called.push((field, column.to_owned()));
        }
        self.note(column.to_owned());
    }

    pub(crate) fn note(&mut self, name: String) {
        if self.names.len() < MOST_NAMES && !self.names.contains(&name) {
            self.names.push(name);
        }
    }

    /// The fields that are there, whatever they are called.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&'static str, &str)> {
        FIELDS
            .iter()
            .filter(|field| self.fields.contains_key(**field))
            .map(|field| (*field, self.called(field)))
    }

    /// What the file calls a field.
    pub(crate) fn called<'a>(&'a self, field: &'a str) -> &'a str {
        self.called.iter().find(|(name, _)| *name == field).map_or(field, |(_, column)| column)
    }

    /// With fields in the place of columns: as the recipe says, else by their names where no shape fits as it is.
    ///
    /// # Errors
    /// Two columns could be the same field.
    pub(super) fn with_fields(
        mut self,
        columns: &Use<'_>,
        fits: impl Fn(&Record) -> bool,
        place: RecordLocation<'_>,
    ) -> Result<Record, Finding> {
        if !columns.columns.is_empty() {
            let there: Vec<&str> = self.fields.keys().map(String::as_str).collect();
            let renames = columns.columns.among(&there);
            columns.note(self.fields.keys().chain(&self.names), &renames);
            if !renames.is_empty() {
                let renames = owned(&renames);
                self = self.renamed(&renames);
                let named: Vec<&str> = renames.iter().map(|(_, field)| *field).collect();
                let alone = self.clone().decided_by(&named);
                if fits(&alone) {
                    return Ok(alone);
                }
                if SIDES.iter().any(|field| named.contains(field)) {
                    self.fields.retain(|field, _| !OTHERS.contains(&field.as_str()));
                }
            }
        }
        if fits(&self) {
            return Ok(self);
        }
        for gaps_too in [false, true] {
            let there = self.fields.iter().filter(|(_, value)| gaps_too || !is_gap(value));
            let there: Vec<&str> = there.map(|(name, _)| name.as_str()).collect();
            match columns::by_name(&there) {
                None => {}
                Some(Ok(renames)) => {
                    let renames = owned(&renames);
                    return Ok(self.renamed(&renames));
                }
                Some(Err(unclear)) => return Err(unclear_columns(place, &unclear)),
            }
        }
        Ok(self)
    }

    fn renamed(mut self, renames: &[(String, &'static str)]) -> Record {
        let values: Vec<_> =
            renames.iter().map(|(column, field)| (column, field, self.fields.remove(column))).collect();
        for (column, field, value) in values {
            self.fields.insert((*field).to_owned(), value.unwrap_or_default());
            if column != field && !self.called.iter().any(|(name, _)| name == field) {
                self.called.push((field, column.clone()));
            }
        }
        self
    }

    /// What a recipe names decides what the record is; other fields are only read beside it.
    fn decided_by(mut self, named: &[&str]) -> Record {
        let decides = |field: &str| SIDES.contains(&field) || OTHERS.contains(&field);
        self.fields.retain(|field, _| named.contains(&field.as_str()) || !decides(field));
        // A question and its answer with more than that in front of them are a conversation.
        if ["system", "input", "history"].iter().any(|field| named.contains(field)) {
            for (from, to) in [("prompt", "instruction"), ("completion", "output")] {
                if named.contains(&from)
                    && !named.contains(&to)
                    && let Some(value) = self.fields.remove(from)
                {
                    self.fields.insert(to.to_owned(), value);
                    let column = self.called(from).to_owned();
                    self.called.push((to, column));
                }
            }
        }
        self
    }

    /// Whether the field is there and holds something: tables fill with null what a row has not, and pandas with NaN.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// What stands in a field that is there and holds nothing.
    pub(crate) fn gap(&self, name: &str) -> Option<Kind> {
        self.fields.get(name).filter(|value| is_gap(value)).map(kind)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.fields.get(name).filter(|value| !is_gap(value))
    }

    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        self.fields.get_mut(name).filter(|value| !is_gap(value)).map(Value::take)
    }

    /// The names of all fields, up to a dozen.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }
}

fn owned(renames: &[Rename<'_>]) -> Vec<(String, &'static str)> {
    renames.iter().map(|rename| (rename.column.to_owned(), rename.field)).collect()
}

fn is_gap(value: &Value) -> bool {
    value.is_null() || loose_json::not_json(value).is_some()
}

/// Any JSON, read as a record.
pub(crate) enum Parsed {
    Record(Record),
    Other(Kind),
}

impl Parsed {
    /// # Errors
    /// The text is no JSON.
    pub(crate) fn read(text: &str, columns: &Columns) -> Result<Parsed, serde_json::Error> {
        let read = |likes: bool| {
            loose_json::read(text, |text| {
                let mut deserializer = serde_json::Deserializer::from_str(text);
                let parsed = deserializer.deserialize_any(AnyJson { columns, likes })?;
                deserializer.end()?;
                Ok(parsed)
            })
        };
        match read(!columns.is_empty())? {
            // By no field of ours: what is called like one is looked at as well.
            Parsed::Record(record) if columns.is_empty() && !is_known(&record) => read(true),
            parsed => Ok(parsed),
        }
    }
}

struct AnyJson<'a> {
    columns: &'a Columns,
    /// Whether what is called like a field is built, too. It may be large, or broken where nobody looks.
    likes: bool,
}

impl<'de> Visitor<'de> for AnyJson<'_> {
    type Value = Parsed;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Parsed, E> {
        Ok(Parsed::Other("null"))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Parsed, E> {
        Ok(Parsed::Other("a boolean"))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Parsed, E> {
        Ok(Parsed::Other("a number"))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Parsed, E> {
        Ok(Parsed::Other("a number"))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Parsed, E> {
        Ok(Parsed::Other("a number"))
    }

    fn visit_str<E>(self, _: &str) -> Result<Parsed, E> {
        Ok(Parsed::Other("text"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Parsed, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Parsed::Other("a list"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Parsed, A::Error> {
        let mut record = Record::default();
        while let Some(name) = object.next_key::<String>()? {
            let is_read =
                if self.likes { Record::is_read(&name, self.columns) } else { Record::is_field(&name) };
            if is_read {
                record.insert(name, object.next_value()?, self.columns);
            } else {
                object.next_value::<IgnoredAny>()?;
                record.note(name);
            }
        }
        Ok(Parsed::Record(record))
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::read::{Limits, read};
    use crate::testing::{check, line_of};

    #[test]
    fn fields_are_found_by_search() {
        assert!(FIELDS.is_sorted());
    }

    #[test]
    fn nan_costs_a_record_only_where_it_is_read() {
        check(
            &[
                (
                    "a.jsonl",
                    r#"{"text": "fine", "score": NaN}
{"text": "fine too", "score": 1.0, "deep": {"a": [-Infinity, Infinity]}}
{"text": NaN, "score": 1.0}
{"prompt": "p", "completion": Infinity}
{"instruction": "i", "input": NaN, "output": "o"}
{"messages": [{"role": "assistant", "content": "a", "logprob": NaN, "more": {"x": NaN}}]}
{"messages": [{"role": "assistant", "content": NaN}]}
{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "", "tool_calls": [{"name": "f", "arguments": {"x": NaN}}]}]}
{"messages": [{"role": "assistant", "content": "b"}], "tools": [{"name": "f", "default": NaN}]}
{"text": "broken", "score": NaN "x"}
{"question": "Q", "answer": NaN}
{"text": "its content is broken", "content": "\ud800"}
{"question": "\ud800", "answer": "a"}
"#,
                ),
                (
                    "b.json",
                    "[{\"text\": \"list one\", \"score\": NaN}, {\"text\": \"list two\", \"score\": 2}]",
                ),
                ("c.json", "{\"text\": \"line one\", \"score\": NaN}\n{\"text\": \"line two\"}\n"),
            ],
            &expect![[r#"
                a.jsonl:1-1 "fine"
                a.jsonl:2-2 "fine too"
                a.jsonl:5-5 "i" -> "o"
                a.jsonl:6-6 assistant: "a"
                a.jsonl:12-12 "its content is broken"
                b.json:1-1 "list one"
                b.json:1-1 "list two"
                c.json:1-1 "line one"
                c.json:2-2 "line two"
                a.jsonl:3-3 HP010 wrong-type: "text" must be text; this is NaN, which is not JSON
                a.jsonl:4-4 HP010 wrong-type: "completion" must be text; this is an infinity, which is not JSON
                a.jsonl:7-7 HP010 wrong-type: a value in "content" of message 1 must be JSON; this is NaN, which is not JSON (null is)
                a.jsonl:8-8 HP010 wrong-type: a value in "tool_calls" of message 2 must be JSON; this is NaN, which is not JSON (null is)
                a.jsonl:9-9 HP010 wrong-type: a value in "tools" must be JSON; this is NaN, which is not JSON (null is)
                a.jsonl:10-10, column 33 HP003 invalid-json: not JSON: expected `,` or `}`
                a.jsonl:11-11 HP010 wrong-type: "answer" must be text; this is NaN, which is not JSON
                a.jsonl:13-13, column 21 HP003 invalid-json: not JSON: unexpected end of hex escape
            "#]],
        );
    }

    #[test]
    fn names_of_columns_are_known_in_every_format() {
        check(
            &[
                ("a.csv", "\u{feff}Question,ANSWER \nq1,a1\n"),
                ("b.tsv", "问题\t答案\n问一\t答一\n"),
                (
                    "c.jsonl",
                    "{\"Question\": \"q2\", \"Answer\": \"a2\"}\n{\"提问\": \"q3\", \"回答\": 5}\n{\"question\": \"q4\", \"answer\": \"a4\", \"prompt\": null}\n",
                ),
                ("d.json", "[{\"Instruction\": \"i\", \"Context\": \"c\", \"Response\": \"r\"}]"),
                ("e.csv", "标题,正文\n面馆,汤很浓\n"),
                ("f.csv", "Question,Answer,System\nq5,a5,be short\nq6,a6,\n"),
                ("g.csv", "text,question,answer\nthe text,q,a\n"),
            ],
            &expect![[r#"
                a.csv:2-2 "q1" -> "a1"
                b.tsv:2-2 "问一" -> "答一"
                c.jsonl:1-1 "q2" -> "a2"
                c.jsonl:3-3 "q4" -> "a4"
                d.json:1-1 "i\nc" -> "r"
                e.csv:2-2 "汤很浓"
                f.csv:2-2 system: "be short", user: "q5", assistant: "a5"
                f.csv:3-3 "q6" -> "a6"
                g.csv:2-2 "the text"
                c.jsonl:2-2 HP010 wrong-type: "回答" must be text; this is a number
            "#]],
        );
    }

    #[test]
    fn a_recipe_says_what_columns_are() {
        let read_with = |named: &[(&str, &str)], files: &[(&str, &str)]| {
            let folder = tempfile::tempdir().unwrap();
            for (name, text) in files {
                std::fs::write(folder.path().join(name), text).unwrap();
            }
            let named = named.iter().map(|(field, column)| ((*field).to_owned(), (*column).to_owned()));
            let columns = Columns::new(named.collect(), 2);
            let dataset = read(folder.path(), &Limits { columns: &columns, ..Limits::default() }).unwrap();
            let mut shown: Vec<String> =
                dataset.examples.iter().map(|example| format!("{:?}", example.content)).collect();
            shown.extend(dataset.findings.iter().map(line_of));
            shown.join("\n")
        };
        let files = [
            ("a.csv", "id,Frage,Antwort,text\n1,q1,a1,other\n"),
            (
                "b.jsonl",
                "{\"frage\": \"q2\", \"antwort\": \"a2\", \"messages\": [1]}\n{\"Frage\": 3, \"Antwort\": \"a\"}\n",
            ),
            ("c.txt", "a note"),
            ("d.jsonl", "{\"prompt\": \"own\", \"completion\": \"names\"}\n"),
        ];
        expect![[r#"
            Completion { prompt: "q1", completion: "a1" }
            Completion { prompt: "q2", completion: "a2" }
            Text("a note")
            Completion { prompt: "own", completion: "names" }
            b.jsonl:2-2 HP010 wrong-type: "Frage" must be text; this is a number"#]]
        .assert_eq(&read_with(&[("prompt", "Frage"), ("completion", "Antwort")], &files));
        expect![[r#"Text("a1")"#]].assert_eq(&read_with(&[("text", "Antwort")], &files[..1]));
        expect![[r#"
            a.csv:1-1 HP004 missing-field: "completion" (beside "prompt") is missing; found "id", "Frage", "Antwort", "text"
            hotplate.toml:2-2 HP026 missing-column: columns says that "Antwrot" is the completion, and no record has it; did you mean "Antwort"?"#]]
            .assert_eq(&read_with(&[("prompt", "Frage"), ("completion", "Antwrot")], &files[..1]));
        let system = [("prompt", "q"), ("completion", "a"), ("system", "rules")];
        expect![[r#"Chat(Chat { turns: [Turn { role: System, content: "be short", message: None }, Turn { role: User, content: "x", message: None }, Turn { role: Assistant, content: "y", message: None }], tools: None, context: 0 })"#]].assert_eq(&read_with(&system, &[("a.csv", "q,a,rules\nx,y,be short\n")]));
        let dialog = "Dialog\n\"[{\"\"role\"\": \"\"assistant\"\", \"\"content\"\": \"\"c\"\"}]\"\n";
        expect![[r#"Chat(Chat { turns: [Turn { role: Assistant, content: "c", message: None }], tools: None, context: 0 })"#]].assert_eq(&read_with(&[("messages", "dialog")], &[("a.csv", dialog)]));
        expect![[r#"Completion { prompt: "q", completion: "a" }"#]]
            .assert_eq(&read_with(&[("prompt", "Frage")], &[("a.csv", "Frage,Answer\nq,a\n")]));
    }
}
