//! Calls of tools in a message, and descriptions of tools: what arrives as JSON in a text becomes what the JSON says.
//!
//! OpenAI's interface has arguments as text, templates want the object: whoever serves a model opens the text before the template sees
//! it, and so do we.

use serde_json::{Map, Value};

use super::RecordLocation;
use crate::findings::{Finding, text_arguments};
use crate::loose_json;

/// Opens the arguments of every call of message `number`, counted from 1.
pub(super) fn open(
    message: &mut Map<String, Value>,
    number: usize,
    place: RecordLocation<'_>,
    remarks: &mut Vec<Finding>,
) {
    if let Some(calls) = message.get_mut("tool_calls") {
        open_list(calls);
    }
    let calls = message.get_mut("tool_calls").and_then(Value::as_array_mut).map(Vec::as_mut_slice);
    for (at, call) in calls.unwrap_or_default().iter_mut().enumerate() {
        let call =
            if call.get("function").is_some_and(Value::is_object) { &mut call["function"] } else { call };
        if !opened(call) {
            remarks.push(text_arguments(place, &format!("call {} of message {number}", at + 1)));
        }
    }
    if let Some(call) = message.get_mut("function_call")
        && !opened(call)
    {
        remarks.push(text_arguments(place, &format!("\"function_call\" of message {number}")));
    }
}

/// `false`: the arguments are a text that is no object.
fn opened(call: &mut Value) -> bool {
    ["arguments", "parameters"].into_iter().all(|name| {
        let Some(arguments) = call.get_mut(name) else { return true };
        if let Some(object) = loose_json::text(arguments).and_then(object) {
            *arguments = object;
        }
        !arguments.is_string()
    })
}

/// The object that a text holds as JSON, also as JSON in JSON. No text at all is what a call without arguments has.
pub(super) fn object(text: &str) -> Option<Value> {
    if text.trim().is_empty() {
        return Some(Value::Object(Map::new()));
    }
    match loose_json::from_str::<Value>(text).ok()? {
        object @ Value::Object(_) => Some(object),
        Value::String(text) => loose_json::from_str::<Value>(&text).ok().filter(Value::is_object),
        _ => None,
    }
}

/// The list that a text holds as JSON.
pub(super) fn open_list(value: &mut Value) {
    if let Some(text) = loose_json::text(value)
        && let Ok(list @ Value::Array(_)) = loose_json::from_str::<Value>(text)
    {
        *value = list;
    }
}

/// A description of a tool, or its parameters, as text.
pub(super) fn open_description(tool: &mut Value) {
    if let Some(object) =
        loose_json::text(tool).filter(|text| text.trim_start().starts_with('{')).and_then(object)
    {
        *tool = object;
    }
    let tool = if tool.get("function").is_some() { &mut tool["function"] } else { tool };
    if let Some(parameters) = tool.get_mut("parameters")
        && let Some(object) = loose_json::text(parameters).and_then(object)
    {
        *parameters = object;
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::testing::{check, read_files};

    #[test]
    fn arguments_in_a_text_are_the_object_and_nulls_stay() {
        let call = |arguments: &str| {
            format!(
                r#"{{"messages": [{{"role": "user", "content": "Weather?"}}, {{"role": "assistant", "content": null, "tool_calls": [{{"id": "a", "type": "function", "function": {{"name": "w", "arguments": {arguments}}}}}]}}]}}"#
            )
        };
        let lines = [
            call(r#""{\"place\": \"Ulm\", \"unit\": null}""#),
            call(r#"{"place": "Ulm", "unit": null, "deep": [{"a": null}]}"#),
            call(r#""""#),
            call(r#""\"{\\\"n\\\": 1}\"""#),
            call(r#""Ulm""#),
            call(r#""[1, 2]""#),
            call(r#""{\"n\": NaN}""#),
            call(r#"{"n": Infinity}"#),
            r#"{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "", "function_call": {"name": "w", "arguments": "{\"n\": 1}"}}]}"#.to_owned(),
            r#"{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "", "tool_calls": "[{\"name\": \"w\", \"arguments\": \"{}\"}]"}]}"#.to_owned(),
        ];
        check(
            &[("a.jsonl", &lines.join("\n"))],
            &expect![[r#"
            a.jsonl:1-1 user: "Weather?", assistant: {"role":"assistant","content":null,"tool_calls":[{"id":"a","type":"function","function":{"name":"w","arguments":{"place":"Ulm","unit":null}}}]}
            a.jsonl:2-2 user: "Weather?", assistant: {"role":"assistant","content":null,"tool_calls":[{"id":"a","type":"function","function":{"name":"w","arguments":{"place":"Ulm","unit":null,"deep":[{"a":null}]}}}]}
            a.jsonl:3-3 user: "Weather?", assistant: {"role":"assistant","content":null,"tool_calls":[{"id":"a","type":"function","function":{"name":"w","arguments":{}}}]}
            a.jsonl:4-4 user: "Weather?", assistant: {"role":"assistant","content":null,"tool_calls":[{"id":"a","type":"function","function":{"name":"w","arguments":{"n":1}}}]}
            a.jsonl:5-5 user: "Weather?", assistant: {"role":"assistant","content":null,"tool_calls":[{"id":"a","type":"function","function":{"name":"w","arguments":"Ulm"}}]}
            a.jsonl:6-6 user: "Weather?", assistant: {"role":"assistant","content":null,"tool_calls":[{"id":"a","type":"function","function":{"name":"w","arguments":"[1, 2]"}}]}
            a.jsonl:9-9 user: "q", assistant: {"role":"assistant","content":"","function_call":{"name":"w","arguments":{"n":1}}}
            a.jsonl:10-10 user: "q", assistant: {"role":"assistant","content":"","tool_calls":[{"name":"w","arguments":{}}]}
            a.jsonl:5-5 HP023 text-arguments: the arguments of call 1 of message 2 are a text that holds no JSON object
            a.jsonl:6-6 HP023 text-arguments: the arguments of call 1 of message 2 are a text that holds no JSON object
            a.jsonl:7-7 HP010 wrong-type: a value in "tool_calls" of message 2 must be JSON; this is NaN, which is not JSON (null is)
            a.jsonl:8-8 HP010 wrong-type: a value in "tool_calls" of message 2 must be JSON; this is Infinity, which is not JSON (null is)
        "#]],
        );
    }

    #[test]
    fn descriptions_of_tools_keep_their_nulls_and_may_be_texts() {
        let record = |tools: &str| {
            format!(r#"{{"messages": [{{"role": "assistant", "content": "a"}}], "tools": {tools}}}"#)
        };
        let tools = |tools: &str| {
            let dataset = read_files(&[("a.jsonl", record(tools).as_bytes())]);
            let crate::content::Content::Chat(chat) = &dataset.examples[0].content else { panic!() };
            chat.tools.as_ref().map(ToString::to_string).unwrap_or_default()
        };
        let one = r#"[{"type":"function","function":{"name":"w","parameters":{"unit":{"default":null}}}}]"#;
        assert_eq!(tools(one), one);
        assert_eq!(tools(&serde_json::to_string(one).unwrap()), one);
        let text = |value: &str| serde_json::to_string(value).unwrap();
        let inner = r#"{"type":"function","function":{"name":"w","parameters":{"unit":{"default":null}}}}"#;
        assert_eq!(tools(&format!("[{}]", text(inner))), one);
        let parameters = r#"{"unit":{"default":null}}"#;
        let flat =
            format!(r#"[{{"type":"function","function":{{"name":"w","parameters":{}}}}}]"#, text(parameters));
        assert_eq!(tools(&flat), one);
    }

    #[test]
    fn whole_numbers_keep_their_digits_and_are_no_texts() {
        let digits = "12345678901234567890123";
        check(
            &[(
                "a.jsonl",
                &format!(
                    "{{\"text\": {digits}}}\n{{\"messages\": [{{\"role\": \"assistant\", \"content\": {digits}}}]}}\n{{\"messages\": [{{\"role\": \"tool\", \"content\": {digits}}}, {{\"role\": \"assistant\", \"content\": \"a\"}}]}}\n"
                ),
            )],
            &expect![[r#"
                a.jsonl:3-3 tool: "12345678901234567890123", assistant: "a"
                a.jsonl:1-1 HP010 wrong-type: "text" must be text; this is a number
                a.jsonl:2-2 HP010 wrong-type: "content" of message 1 must be text; this is a number
            "#]],
        );
        let line = format!(
            r#"{{"messages": [{{"role": "assistant", "content": "", "tool_calls": [{{"name": "f", "arguments": {{"n": {digits}, "m": -{digits}, "i": 18446744073709551615}}}}]}}]}}"#
        );
        let dataset = read_files(&[("a.jsonl", line.as_bytes())]);
        let crate::content::Content::Chat(chat) = &dataset.examples[0].content else { panic!() };
        let arguments = &chat.turns[0].key("tool_calls").unwrap()[0]["arguments"];
        let whole = |name: &str| arguments[name].as_str().and_then(crate::whole_number).map(str::to_owned);
        assert_eq!((whole("n"), whole("m")), (Some(digits.to_owned()), Some(format!("-{digits}"))));
        assert_eq!(arguments["i"], serde_json::json!(u64::MAX));
    }
}
