//! `{"messages": [{"role": ..., "content": ...}], "tools": [...]}`: a chat as OpenAI and Hugging Face write it.
//!
//! Messages keep all their keys, in their order: a template sees `tool_calls`, `name`, `reasoning_content` and whatever else it
//! asks for. Keys of the message itself that are null are taken for missing (as transformers does, for templates ask whether a key is
//! there), but for `content`; a null further inside is somebody's own.

use serde_json::{Map, Value};

use super::{Record, RecordLocation, calls, kind, marks};
use crate::chat::{Chat, Role, Turn};
use crate::content::Content;
use crate::findings::{Finding, missing_field, no_answer, unknown_role, wrong_type};
use crate::loose_json;

/// The field that holds the messages.
pub(super) fn list_name(record: &Record) -> Option<&'static str> {
    ["messages", "conversations", "conversation"].into_iter().find(|name| match record.get(name) {
        // Whatever it is: what is wrong with it can be said.
        Some(_) if *name == "messages" => !super::sharegpt::is_list(record, name),
        Some(Value::Array(messages)) => messages.first().is_some_and(|first| first.get("role").is_some()),
        _ => false,
    })
}

pub(super) fn content(
    mut record: Record,
    place: RecordLocation<'_>,
    remarks: &mut Vec<Finding>,
) -> Result<Content, Finding> {
    let name = list_name(&record).unwrap_or("messages");
    let tools = tools(&mut record, place)?;
    let turns = turns(record.take(name), name, place, remarks)?;
    let chat = Chat { turns, tools, context: 0 };
    if chat.turns.iter().all(|turn| turn.role != Role::Assistant) {
        return Err(no_answer(place, chat.turns.len()));
    }
    Ok(Content::Chat(chat))
}

/// A list of function descriptions; tables hold it as JSON in a text.
pub(super) fn tools(record: &mut Record, place: RecordLocation<'_>) -> Result<Option<Value>, Finding> {
    let tools = match record.take("tools") {
        None => return Ok(None),
        Some(Value::String(text)) if text.trim().is_empty() => return Ok(None),
        Some(Value::String(text)) => match loose_json::from_str(&text) {
            Ok(tools) => tools,
            Err(_) => return Err(wrong_type(place, "\"tools\"", "a list, or a list as JSON", "text")),
        },
        Some(tools) => tools,
    };
    match tools {
        Value::Array(tools) if tools.is_empty() => Ok(None),
        Value::Array(mut tools) => {
            tools.iter_mut().for_each(calls::open_description);
            let tools = Value::Array(tools);
            all_json(&tools, "\"tools\"", place)?;
            Ok(Some(tools))
        }
        Value::Null => Ok(None),
        other => Err(wrong_type(place, "\"tools\"", "a list", kind(&other))),
    }
}

/// All messages of a list; `name` is the field's.
pub(super) fn turns(
    mut list: Option<Value>,
    name: &str,
    place: RecordLocation<'_>,
    remarks: &mut Vec<Finding>,
) -> Result<Vec<Turn>, Finding> {
    // A table's cell.
    list.iter_mut().for_each(calls::open_list);
    match list {
        Some(Value::Array(messages)) => messages
            .into_iter()
            .enumerate()
            .map(|(at, message)| turn(message, at + 1, place, remarks))
            .collect(),
        other => {
            let found = other.as_ref().map_or("null", kind);
            Err(wrong_type(place, &format!("\"{name}\""), "a list", found))
        }
    }
}

/// `number` counts messages from 1.
fn turn(
    message: Value,
    number: usize,
    place: RecordLocation<'_>,
    remarks: &mut Vec<Finding>,
) -> Result<Turn, Finding> {
    let mut message = match message {
        Value::Object(message) => message,
        other => return Err(wrong_type(place, &format!("message {number}"), "an object", kind(&other))),
    };
    let missing = |field: &str, message: &Map<String, Value>| {
        let names: Vec<String> = message.keys().take(12).cloned().collect();
        missing_field(place, &format!("\"{field}\" of message {number}"), &names)
    };
    let wrong = |field: &str, found: &Value| {
        wrong_type(place, &format!("\"{field}\" of message {number}"), "text", kind(found))
    };
    let word = match message.get("role") {
        Some(role) => loose_json::text(role).ok_or_else(|| wrong("role", role))?,
        None => return Err(missing("role", &message)),
    };
    let Some(role) = Role::of(word) else { return Err(unknown_role(place, number, word)) };
    let own_word = word != role.name();
    marks::of_turn(&message, role, number, place, remarks);
    message.retain(|name, value| name == "content" || !(value.is_null() || is_unread_nan(name, value)));
    calls::open(&mut message, number, place, remarks);
    for (name, value) in &message {
        all_json(value, &format!("\"{name}\" of message {number}"), place)?;
    }
    let calls_tools = ["tool_calls", "function_call"].into_iter().any(|name| message.contains_key(name));
    let content = match message.get("content") {
        Some(Value::String(text)) if loose_json::whole_number(text).is_none() => text.clone(),
        Some(Value::String(digits)) if role == Role::Tool => {
            loose_json::whole_number(digits).unwrap_or(digits).to_owned()
        }
        Some(Value::Null) | None if calls_tools => String::new(),
        Some(Value::Array(parts)) => match joined(parts) {
            Ok(text) => text,
            Err(_) if role == Role::Tool => Value::Array(parts.clone()).to_string(),
            Err(Part::Foreign(part)) => {
                let what = format!("part {part} of \"content\" of message {number}");
                return Err(wrong_type(
                    place,
                    &what,
                    "text (pictures and sound are not learnt yet)",
                    "another kind",
                ));
            }
        },
        // What a tool answered may be data; some templates write it as JSON themselves.
        Some(data @ (Value::Object(_) | Value::Number(_) | Value::Bool(_))) if role == Role::Tool => {
            data.to_string()
        }
        Some(other) => return Err(wrong("content", other)),
        None => return Err(missing("content", &message)),
    };
    let plain = !own_word
        && message.iter().all(|(name, value)| match name.as_str() {
            "role" => true,
            "content" => value.is_string(),
            _ => false,
        })
        && message.contains_key("content");
    Ok(Turn { role, content, message: (!plain).then(|| Box::new(message)) })
}

enum Part {
    /// The number of a part, from 1, that is no text.
    Foreign(usize),
}

/// The texts of a list of parts, `{"type": "text", "text": "..."}`.
fn joined(parts: &[Value]) -> Result<String, Part> {
    let mut texts = Vec::with_capacity(parts.len());
    for (at, part) in parts.iter().enumerate() {
        let text = match part {
            // "output_text" and "input_text" are newer words for the same.
            Value::Object(part) => part.get("text").and_then(loose_json::text),
            part => loose_json::text(part),
        };
        texts.push(text.ok_or(Part::Foreign(at + 1))?);
    }
    Ok(texts.join("\n"))
}

/// A measure beside the message (a log probability, a score) that Python wrote, and nothing reads.
fn is_unread_nan(name: &str, value: &Value) -> bool {
    !matches!(name, "content" | "tool_calls" | "function_call")
        && loose_json::not_json_inside(value).is_some()
}

/// # Errors
/// Python's numbers that no JSON has would stand in the template's text.
pub(super) fn all_json(value: &Value, what: &str, place: RecordLocation<'_>) -> Result<(), Finding> {
    match loose_json::not_json_inside(value) {
        None => Ok(()),
        Some(token) => {
            let found = format!("{token}, which is not JSON (null is)");
            Err(wrong_type(place, &format!("a value in {what}"), "JSON", &found))
        }
    }
}
