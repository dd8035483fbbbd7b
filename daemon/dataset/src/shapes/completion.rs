//! `{"prompt": ..., "completion": ...}`: only the completion is learnt. Both are texts, or both are lists of messages, as TRL writes
//! them; then what the assistant said in the prompt is only read.

use serde_json::Value;

use super::{Record, RecordLocation, kind, messages, text_field};
use crate::chat::{Chat, Role};
use crate::content::Content;
use crate::findings::{Finding, no_answer, wrong_type};

pub(super) fn content(
    mut record: Record,
    place: RecordLocation<'_>,
    remarks: &mut Vec<Finding>,
) -> Result<Content, Finding> {
    let lists = ["prompt", "completion"].map(|name| record.get(name).is_some_and(Value::is_array));
    match lists {
        [false, false] => Ok(Content::Completion {
            prompt: text_field(&mut record, "prompt", place)?,
            completion: text_field(&mut record, "completion", place)?,
        }),
        [true, true] => {
            let tools = messages::tools(&mut record, place)?;
            let mut turns = messages::turns(record.take("prompt"), "prompt", place, remarks)?;
            let context = turns.len();
            turns.extend(messages::turns(record.take("completion"), "completion", place, remarks)?);
            let chat = Chat { turns, tools, context };
            if chat.turns.iter().skip(context).all(|turn| turn.role != Role::Assistant) {
                return Err(no_answer(place, chat.turns.len() - context));
            }
            Ok(Content::Chat(chat))
        }
        [prompt_is_list, _] => {
            let (list, other) =
                if prompt_is_list { ("prompt", "completion") } else { ("completion", "prompt") };
            let found = record.get(other).map_or("null", kind);
            Err(wrong_type(
                place,
                &format!("\"{other}\""),
                &format!("a list of messages, as \"{list}\" is"),
                found,
            ))
        }
    }
}
