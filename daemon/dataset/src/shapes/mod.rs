//! What a record means: one file per shape. A record is an object with named fields, wherever it comes from; the shape is told by
//! its fields, record by record.
//!
//! A new shape is one file and its lines in [`Shape`] and [`read`].
//!
//! A message keeps all its keys, so that a template sees what transformers would show it.

mod alpaca;
mod calls;
mod completion;
mod marks;
mod messages;
mod preference;
mod record;
mod sharegpt;
mod text;

use std::path::Path;

pub(crate) use record::{Parsed, Record, kind};
use serde_json::Value;

use crate::columns::Use;
use crate::content::Content;
use crate::findings::{EmptyPlace, Finding, empty, missing_field, shown, wrong_type};
use crate::loose_json::{self, whole_number};

/// The fields that make an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Shape {
    /// `text`, or a note as it is.
    Text,
    /// `prompt` and `completion`, as texts or as lists of messages.
    Completion,
    /// `messages`, each with `role` and `content`; OpenAI's and Hugging Face's.
    Messages,
    /// `instruction`, `output`, and perhaps `input`, `system`, `history`.
    Alpaca,
    /// `conversations`, each with `from` and `value`.
    ShareGpt,
}

impl Shape {
    /// In the order in which they go first where a record has the fields of several.
    pub const ALL: [Shape; 5] =
        [Shape::Messages, Shape::ShareGpt, Shape::Completion, Shape::Alpaca, Shape::Text];

    pub const fn name(self) -> &'static str {
        match self {
            Shape::Text => "text",
            Shape::Completion => "prompt+completion",
            Shape::Messages => "messages",
            Shape::Alpaca => "alpaca",
            Shape::ShareGpt => "sharegpt",
        }
    }

    fn fits(self, record: &Record) -> bool {
        match self {
            Shape::Text => record.has("text"),
            Shape::Completion => record.has("prompt") && record.has("completion"),
            Shape::Messages => messages::list_name(record).is_some(),
            Shape::Alpaca => record.has("instruction") && record.has("output"),
            Shape::ShareGpt => sharegpt::list_name(record).is_some(),
        }
    }
}

/// Where a record stands.
#[derive(Clone, Copy)]
pub(crate) struct RecordLocation<'a> {
    pub(crate) file: &'a Path,
    pub(crate) lines: (usize, usize),
}

/// What a record became.
pub(crate) struct Shaped {
    pub(crate) shape: Shape,
    pub(crate) content: Content,
    /// The record's own word for what its text is called.
    pub(crate) title: Option<String>,
    /// What is to be said of an example that is learnt all the same.
    pub(crate) remarks: Vec<Finding>,
}

/// # Errors
/// Why the record is no example.
pub(crate) fn read(parsed: Parsed, columns: &Use<'_>, place: RecordLocation<'_>) -> Result<Shaped, Finding> {
    let mut record = match parsed {
        Parsed::Record(record) => record.with_fields(columns, is_known, place)?,
        Parsed::Other(kind) => return Err(wrong_type(place, "a record", "an object", kind)),
    };
    let shape = Shape::ALL.into_iter().find(|shape| shape.fits(&record));
    if let Some(finding) = preference::found(&record, shape, place) {
        return Err(finding);
    }
    let Some(shape) = shape else { return Err(nothing_known(&record, place)) };
    let title = record.take("title").and_then(|title| loose_json::text(&title).map(str::to_owned));
    let mut remarks = Vec::new();
    marks::of_record(&mut record, shape, place, &mut remarks)?;
    let content = match shape {
        Shape::Text => text::content(record, place),
        Shape::Completion => completion::content(record, place, &mut remarks),
        Shape::Messages => messages::content(record, place, &mut remarks),
        Shape::Alpaca => alpaca::content(record, place),
        Shape::ShareGpt => sharegpt::content(record, place, &mut remarks),
    }?;
    if content.is_empty() {
        return Err(empty(place.file, place.lines, EmptyPlace::Record));
    }
    Ok(Shaped { shape, content, title, remarks })
}

/// The record that a table's columns make, with nothing in it.
///
/// # Errors
/// They make none, or could make several.
pub(crate) fn header(
    names: &[String],
    columns: &Use<'_>,
    place: RecordLocation<'_>,
) -> Result<Record, Finding> {
    let mut record = Record::default();
    for name in names {
        record.insert(name.clone(), Value::String(String::new()), columns.columns);
    }
    let record = record.with_fields(columns, is_known, place)?;
    if is_known(&record) { Ok(record) } else { Err(nothing_known(&record, place)) }
}

/// Whether records with these fields can be told: as examples, or as preference data, which have a finding of their own.
fn is_known(record: &Record) -> bool {
    record.has("chosen") || record.has("rejected") || Shape::ALL.into_iter().any(|shape| shape.fits(record))
}

/// Says what would do, as near to what is there as possible.
fn nothing_known(record: &Record, place: RecordLocation<'_>) -> Finding {
    let gap = ["text", "completion", "prompt", "messages", "conversations", "output", "instruction"]
        .into_iter()
        .find_map(|name| Some((name, record.gap(name)?)));
    if let Some((name, found)) = gap {
        let expected = if name == "messages" || name == "conversations" { "a list" } else { "text" };
        return wrong_type(place, &shown(record.called(name)), expected, found);
    }
    let missing = if record.has("prompt") {
        "\"completion\" (beside \"prompt\")"
    } else if record.has("completion") {
        "\"prompt\" (beside \"completion\")"
    } else if record.has("instruction") {
        "\"output\" (beside \"instruction\")"
    } else {
        "\"text\", or \"prompt\" and \"completion\", or \"messages\", or \"instruction\" and \"output\", or \"conversations\""
    };
    missing_field(place, missing, record.names())
}

/// A field that must be a text.
fn text_field(record: &mut Record, name: &str, place: RecordLocation<'_>) -> Result<String, Finding> {
    match record.take(name) {
        Some(Value::String(text)) if whole_number(&text).is_none() => Ok(text),
        other => {
            let found = other.as_ref().map(kind).or_else(|| record.gap(name)).unwrap_or("null");
            Err(wrong_type(place, &shown(record.called(name)), "text", found))
        }
    }
}

/// A field that may be missing, null or blank.
fn optional_text(
    record: &mut Record,
    name: &str,
    place: RecordLocation<'_>,
) -> Result<Option<String>, Finding> {
    if !record.has(name) {
        return Ok(None);
    }
    text_field(record, name, place).map(|text| Some(text).filter(|text| !text.trim().is_empty()))
}
