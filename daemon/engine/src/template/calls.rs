//! Calls of tools whose arguments are text, as OpenAI's interface has them.

use serde_json::Value as Json;

use super::json::plain;
use super::value_of;

/// The messages with the arguments of their calls as JSON in a text; `None` where no call has an object.
pub(super) fn with_text_arguments(messages: &[Json]) -> Option<Vec<Json>> {
    let has_object = |message: &Json| {
        message.get("tool_calls").and_then(Json::as_array).is_some_and(|calls| calls.iter().any(is_of_object))
    };
    if !messages.iter().any(has_object) {
        return None;
    }
    let mut messages = messages.to_vec();
    let calls =
        messages.iter_mut().filter_map(|message| message.get_mut("tool_calls")?.as_array_mut()).flatten();
    for call in calls {
        let call = if call.get("function").is_some() { call.get_mut("function") } else { Some(call) };
        if let Some(arguments) =
            call.and_then(|call| call.get_mut("arguments")).filter(|each| each.is_object())
            && let Ok(text) = plain(&value_of(arguments))
        {
            *arguments = Json::String(text);
        }
    }
    Some(messages)
}

fn is_of_object(call: &Json) -> bool {
    call.get("function").unwrap_or(call).get("arguments").is_some_and(Json::is_object)
}
