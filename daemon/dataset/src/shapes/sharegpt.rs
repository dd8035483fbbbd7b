//! `{"conversations": [{"from": ..., "value": ...}], "system": ..., "tools": ...}`: a chat as ShareGPT, Vicuna and their heirs write it.
//!
//! It becomes messages: `human` asks, `gpt` answers, `function_call` is the assistant's call of a tool (its value is the call as
//! JSON), `observation` is what the tool answered.

use serde_json::{Map, Value, json};

use super::{Place, Record, kind, messages, optional_text};
use crate::chat::{Chat, Role, Turn};
use crate::content::Content;
use crate::findings::{Finding, missing_field, no_answer, unknown_role, wrong_type};

/// Whether the field is a list of turns with `from` and `value`.
pub(super) fn is_list(record: &Record, name: &str) -> bool {
    let first = record.get(name).and_then(Value::as_array).and_then(|turns| turns.first());
    first.is_some_and(|first| first.get("from").is_some() && first.get("role").is_none())
}

pub(super) fn list_name(record: &Record) -> Option<&'static str> {
    ["conversations", "conversation", "messages"].into_iter().find(|name| match record.get(name) {
        // Whatever it is: what is wrong with it can be said.
        Some(_) if *name != "messages" => messages::list_name(record) != Some(*name),
        _ => is_list(record, name),
    })
}

/// Whose turn a word means.
enum Speaker {
    Says(Role),
    Calls,
}

fn speaker(word: &str) -> Option<Speaker> {
    Some(match word {
        "human" | "user" => Speaker::Says(Role::User),
        "gpt" | "assistant" | "chatgpt" | "bing" | "bard" | "claude" | "bot" | "model" => {
            Speaker::Says(Role::Assistant)
        }
        "system" => Speaker::Says(Role::System),
        "function_call" | "tool_call" => Speaker::Calls,
        "observation" | "function_response" | "function" | "tool" | "tool_response" => {
            Speaker::Says(Role::Tool)
        }
        _ => return None,
    })
}

pub(super) fn content(mut record: Record, place: Place<'_>) -> Result<Content, Finding> {
    let name = list_name(&record).unwrap_or("conversations");
    let tools = messages::tools(&mut record, place)?;
    let system = optional_text(&mut record, "system", place)?;
    let list = match record.take(name) {
        // A table's cell.
        Some(Value::String(text)) => serde_json::from_str(&text).unwrap_or(Value::String(text)),
        Some(list) => list,
        None => Value::Null,
    };
    let Value::Array(list) = list else {
        return Err(wrong_type(place, &format!("\"{name}\""), "a list", kind(&list)));
    };
    let turns: Vec<Turn> =
        list.into_iter().enumerate().map(|(at, turn)| one(turn, at + 1, place)).collect::<Result<_, _>>()?;
    let mut chat = Chat { turns, tools, context: 0 };
    if let Some(system) = system
        && chat.turns.first().is_none_or(|first| first.role != Role::System)
    {
        chat.turns.insert(0, Turn::new(Role::System, system));
    }
    if chat.turns.iter().all(|turn| turn.role != Role::Assistant) {
        return Err(no_answer(place, chat.turns.len()));
    }
    Ok(Content::Chat(chat))
}

/// `number` counts turns from 1.
fn one(turn: Value, number: usize, place: Place<'_>) -> Result<Turn, Finding> {
    let mut turn = match turn {
        Value::Object(turn) => turn,
        other => return Err(wrong_type(place, &format!("message {number}"), "an object", kind(&other))),
    };
    let mut text = |field: &str| match turn.get_mut(field).map(Value::take) {
        Some(Value::String(text)) => Ok(text),
        Some(other) => {
            Err(wrong_type(place, &format!("\"{field}\" of message {number}"), "text", kind(&other)))
        }
        None => {
            let names: Vec<String> = turn.keys().take(12).cloned().collect();
            Err(missing_field(place, &format!("\"{field}\" of message {number}"), &names))
        }
    };
    let (from, value) = (text("from")?, text("value")?);
    match speaker(&from) {
        Some(Speaker::Says(role)) => Ok(Turn::new(role, value)),
        Some(Speaker::Calls) => Ok(call(value)),
        None => Err(unknown_role(place, number, &from)),
    }
}

/// The assistant's turn that calls what the value says; a value that is no call is what the assistant says.
fn call(value: String) -> Turn {
    let Ok(parsed) = serde_json::from_str::<Value>(&value) else { return Turn::new(Role::Assistant, value) };
    let each = match parsed {
        Value::Array(calls) => calls,
        call => vec![call],
    };
    let mut calls = Vec::with_capacity(each.len());
    for call in each {
        let Some(Value::String(name)) = call.get("name") else { return Turn::new(Role::Assistant, value) };
        let arguments = match call.get("arguments").or_else(|| call.get("parameters")) {
            // Written as text inside the text.
            Some(Value::String(text)) => serde_json::from_str(text).unwrap_or_else(|_| json!(text)),
            Some(arguments) => arguments.clone(),
            None => json!({}),
        };
        calls.push(json!({"type": "function", "function": {"name": name, "arguments": arguments}}));
    }
    let mut message = Map::new();
    message.insert("role".to_owned(), json!("assistant"));
    message.insert("content".to_owned(), json!(""));
    message.insert("tool_calls".to_owned(), Value::Array(calls));
    Turn { role: Role::Assistant, content: String::new(), message: Some(Box::new(message)) }
}
