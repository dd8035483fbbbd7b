//! Turns with a mark in them, and where two texts part.

use std::ops::Range;

use hotplate_dataset::{Role, Turn};
use serde_json::{Map, Value};

use super::common_prefix;

/// Marks that no text has, to find places by.
pub(super) const MARKS: [char; 4] = ['\u{f8f1}', '\u{f8f2}', '\u{f8f3}', '\u{f8f4}'];

/// Which end of a turn is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Edge {
    Start,
    End,
}

/// The bytes of `text` that `other` has something else for: none where it has only more.
pub(super) fn parting(text: &str, other: &str) -> Option<Range<usize>> {
    if text == other {
        return None;
    }
    let start = common_prefix(text, other);
    let (rest, others) = (&text[start..], &other[start..]);
    let shared = rest.bytes().rev().zip(others.bytes().rev()).take_while(|(a, b)| a == b).count();
    let end = (text.len() - shared..=text.len()).find(|at| text.is_char_boundary(*at))?;
    Some(start..end)
}

/// An answer that only says the mark.
pub(super) fn plain(mark: char) -> Turn {
    Turn::new(Role::Assistant, mark.to_string())
}

/// Puts the mark to an edge of what the turn says.
pub(super) fn with_mark_in_text(turn: &Turn, mark: char, edge: Edge) -> Option<Turn> {
    let mut turn = turn.clone();
    let content = put(&turn.content, mark, edge);
    match turn.message.as_mut().and_then(|message| message.get_mut("content")) {
        Some(Value::Array(parts)) => {
            let mut parts = parts.iter_mut().filter_map(|part| match part {
                Value::String(_) => Some(part),
                part => part.get_mut("text"),
            });
            let part = match edge {
                Edge::Start => parts.next()?,
                Edge::End => parts.next_back()?,
            };
            *part = Value::String(put(part.as_str()?, mark, edge));
        }
        Some(place) => *place = Value::String(content),
        None => turn.content = content,
    }
    Some(turn)
}

/// How many tools the assistant calls in a turn.
pub(super) fn calls(turn: &Turn) -> usize {
    if turn.key("function_call").is_some() {
        return 1;
    }
    turn.key("tool_calls").and_then(Value::as_array).map_or(0, Vec::len)
}

/// Puts the mark behind each value of a tool call's arguments, or behind the tool's name where there are none. Behind each, for some
/// templates sort the arguments.
pub(super) fn with_mark_in_call(turn: &Turn, number: usize, mark: char) -> Option<Turn> {
    let mut turn = turn.clone();
    let call = call_of(turn.message.as_mut()?, number)?;
    if let Some(arguments) = call.get_mut("arguments").filter(|arguments| !is_empty(arguments)) {
        mark_values(arguments, mark);
    } else {
        let name = call.get_mut("name")?;
        *name = Value::String(put(name.as_str()?, mark, Edge::End));
    }
    Some(turn)
}

fn call_of(message: &mut Map<String, Value>, number: usize) -> Option<&mut Map<String, Value>> {
    if message.contains_key("function_call") {
        return message.get_mut("function_call")?.as_object_mut();
    }
    let call = message.get_mut("tool_calls")?.as_array_mut()?.get_mut(number)?.as_object_mut()?;
    if call.contains_key("function") { call.get_mut("function")?.as_object_mut() } else { Some(call) }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(members) => members.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

fn mark_values(value: &mut Value, mark: char) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            members.values_mut().for_each(|member| mark_values(member, mark));
        }
        Value::Array(items) if !items.is_empty() => items.iter_mut().for_each(|item| mark_values(item, mark)),
        // Arguments as JSON text: a template may read them, so they must stay JSON.
        Value::String(text) => match serde_json::from_str::<Value>(text) {
            Ok(mut inner @ (Value::Object(_) | Value::Array(_))) if !is_empty(&inner) => {
                let end = text.trim_end_matches(['}', ']', '"', ' ', '\n', '\t', '\r']).len();
                if text[end..].starts_with('"') {
                    text.insert(end, mark);
                } else {
                    mark_values(&mut inner, mark);
                    *text = inner.to_string();
                }
            }
            _ => text.push(mark),
        },
        other => *other = Value::String(mark.to_string()),
    }
}

fn put(text: &str, mark: char, edge: Edge) -> String {
    match edge {
        Edge::Start => format!("{mark}{text}"),
        Edge::End => format!("{text}{mark}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_part_where_something_was_put_in() {
        assert_eq!(parting("abc", "abc"), None);
        assert_eq!(parting("abc", "abXc"), Some(2..2));
        assert_eq!(parting("a12c", "a\"X\"c"), Some(1..3));
        // 你 and 佡 share their first two bytes.
        assert_eq!(parting("x你", "x佡"), Some(1..4));
        assert_eq!(parting("aa", "aXa"), Some(1..1));
        assert_eq!(parting("", "x"), Some(0..0));
    }

    #[test]
    fn a_call_is_marked_behind_its_last_argument() {
        let marked = |call: Value| {
            let Value::Object(message) = json!({"role": "assistant", "tool_calls": [call]}) else { panic!() };
            let turn =
                Turn { role: Role::Assistant, content: String::new(), message: Some(Box::new(message)) };
            let turn = with_mark_in_call(&turn, 0, '*').unwrap();
            turn.key("tool_calls").unwrap()[0].to_string()
        };
        let function = |arguments: Value| json!({"function": {"name": "f", "arguments": arguments}});
        assert_eq!(
            marked(function(json!({"a": "b"}))),
            r#"{"function":{"name":"f","arguments":{"a":"b*"}}}"#
        );
        assert_eq!(
            marked(function(json!({"a": [1, 2]}))),
            r#"{"function":{"name":"f","arguments":{"a":["*","*"]}}}"#
        );
        assert_eq!(marked(function(json!({}))), r#"{"function":{"name":"f*","arguments":{}}}"#);
        assert_eq!(marked(json!({"name": "f"})), r#"{"name":"f*"}"#);
        assert_eq!(
            marked(function(json!("{\"a\": \"b\"}"))),
            r#"{"function":{"name":"f","arguments":"{\"a\": \"b*\"}"}}"#
        );
        assert_eq!(
            marked(function(json!("{\"a\":1}"))),
            r#"{"function":{"name":"f","arguments":"{\"a\":\"*\"}"}}"#
        );
    }
}
