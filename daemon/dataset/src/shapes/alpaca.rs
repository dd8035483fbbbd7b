//! `{"instruction": ..., "input": ..., "output": ...}`, with `system` and `history` perhaps: the question is the instruction and, on
//! a line of its own, the input where there is one. History is pairs of question and answer that came before.

use serde_json::Value;

use super::{Record, RecordLocation, kind, optional_text, text_field};
use crate::chat::{Chat, Role, Turn};
use crate::content::Content;
use crate::findings::{Finding, wrong_type};
use crate::loose_json;

pub(super) fn content(mut record: Record, place: RecordLocation<'_>) -> Result<Content, Finding> {
    let instruction = text_field(&mut record, "instruction", place)?;
    let input = optional_text(&mut record, "input", place)?;
    let output = text_field(&mut record, "output", place)?;
    let system = optional_text(&mut record, "system", place)?;
    let history = history(record.take("history"), place)?;
    let question = match input {
        Some(input) if instruction.trim().is_empty() => input,
        Some(input) => format!("{instruction}\n{input}"),
        None => instruction,
    };
    if system.is_none() && history.is_empty() {
        return Ok(Content::Completion { prompt: question, completion: output });
    }
    let mut turns: Vec<Turn> = system.map(|system| Turn::new(Role::System, system)).into_iter().collect();
    for [asked, answered] in history {
        turns.push(Turn::new(Role::User, asked));
        turns.push(Turn::new(Role::Assistant, answered));
    }
    turns.push(Turn::new(Role::User, question));
    turns.push(Turn::new(Role::Assistant, output));
    Ok(Content::Chat(Chat::new(turns)))
}

fn history(history: Option<Value>, place: RecordLocation<'_>) -> Result<Vec<[String; 2]>, Finding> {
    const WANTED: &str = "a list of pairs of question and answer";
    let history = match history {
        None => return Ok(Vec::new()),
        Some(Value::String(text)) if text.trim().is_empty() => return Ok(Vec::new()),
        Some(Value::String(text)) => loose_json::from_str(&text).unwrap_or(Value::String(text)),
        Some(history) => history,
    };
    let wrong = |value: &Value| wrong_type(place, "\"history\"", WANTED, kind(value));
    let Value::Array(pairs) = history else { return Err(wrong(&history)) };
    pairs
        .into_iter()
        .map(|pair| {
            let texts = pair.as_array().map(|pair| pair.iter().map(loose_json::text).collect::<Vec<_>>());
            match texts.as_deref() {
                Some([Some(asked), Some(answered)]) => Ok([(*asked).to_owned(), (*answered).to_owned()]),
                _ => Err(wrong_type(place, "a pair of \"history\"", "two texts", kind(&pair))),
            }
        })
        .collect()
}
