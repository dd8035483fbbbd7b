//! `{"conversations": [{"from": ..., "value": ...}], "system": ..., "tools": ...}`: a chat as ShareGPT, Vicuna and their heirs write it.
//!
//! It becomes messages: `human` asks, `gpt` answers, `function_call` is the assistant's call of a tool (its value is the call as
//! JSON), `observation` is what the tool answered.

use serde_json::{Map, Value, json};

use super::{Record, RecordLocation, calls, kind, marks, messages, optional_text};
use crate::chat::{Chat, Role, Turn};
use crate::content::Content;
use crate::findings::{Finding, missing_field, no_answer, unknown_role, wrong_type};
use crate::loose_json;

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

pub(super) fn content(
    mut record: Record,
    place: RecordLocation<'_>,
    remarks: &mut Vec<Finding>,
) -> Result<Content, Finding> {
    let name = list_name(&record).unwrap_or("conversations");
    let tools = messages::tools(&mut record, place)?;
    let system = optional_text(&mut record, "system", place)?;
    let mut list = record.take(name).unwrap_or_default();
    // A table's cell.
    calls::open_list(&mut list);
    let Value::Array(list) = list else {
        return Err(wrong_type(place, &format!("\"{name}\""), "a list", kind(&list)));
    };
    let turns: Vec<Turn> = list
        .into_iter()
        .enumerate()
        .map(|(at, turn)| one(turn, at + 1, place, remarks))
        .collect::<Result<_, _>>()?;
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
fn one(
    turn: Value,
    number: usize,
    place: RecordLocation<'_>,
    remarks: &mut Vec<Finding>,
) -> Result<Turn, Finding> {
    let mut turn = match turn {
        Value::Object(turn) => turn,
        other => return Err(wrong_type(place, &format!("message {number}"), "an object", kind(&other))),
    };
    let text = |field: &str| {
        let what = format!("\"{field}\" of message {number}");
        let names = || turn.keys().take(12).cloned().collect::<Vec<_>>();
        let value = turn.get(field).ok_or_else(|| missing_field(place, &what, &names()))?;
        loose_json::text(value).ok_or_else(|| wrong_type(place, &what, "text", kind(value)))
    };
    let (from, value) = (text("from")?, text("value")?);
    let mut becomes = match speaker(from) {
        Some(Speaker::Says(role)) => Turn::new(role, value),
        Some(Speaker::Calls) => call(value, number, place, remarks)?,
        None => return Err(unknown_role(place, number, from)),
    };
    marks::of_turn(&turn, becomes.role, number, place, remarks);
    // Measures that Python wrote, and nothing reads.
    turn.retain(|_, value| loose_json::not_json_inside(value).is_none());
    if marks::has_any(&turn) {
        // The turn's own keys beside its text, the marks among them.
        let mut message = becomes.message().into_owned();
        turn.retain(|name, value| name != "value" && !message.contains_key(name) && !value.is_null());
        message.extend(turn);
        becomes.message = Some(Box::new(message));
    }
    Ok(becomes)
}

/// The assistant's turn that calls what the value says; a value that is no call is what the assistant says.
fn call(
    value: &str,
    number: usize,
    place: RecordLocation<'_>,
    remarks: &mut Vec<Finding>,
) -> Result<Turn, Finding> {
    let said = || Ok(Turn::new(Role::Assistant, value));
    let Ok(parsed) = loose_json::from_str::<Value>(value) else { return said() };
    let each = match parsed {
        Value::Array(calls) => calls,
        call => vec![call],
    };
    let mut list = Vec::with_capacity(each.len());
    for call in each {
        let Some(name) = call.get("name").and_then(loose_json::text) else { return said() };
        let arguments = match call.get("arguments").or_else(|| call.get("parameters")) {
            Some(arguments) => arguments.clone(),
            None => json!({}),
        };
        list.push(json!({"type": "function", "function": {"name": name, "arguments": arguments}}));
    }
    let mut message = Map::new();
    message.insert("role".to_owned(), json!("assistant"));
    message.insert("content".to_owned(), json!(""));
    message.insert("tool_calls".to_owned(), Value::Array(list));
    // Arguments may be text inside the text.
    calls::open(&mut message, number, place, remarks);
    messages::all_json(&message["tool_calls"], &format!("the call of message {number}"), place)?;
    Ok(Turn { role: Role::Assistant, content: String::new(), message: Some(Box::new(message)) })
}
