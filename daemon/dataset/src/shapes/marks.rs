//! Marks that say whether something is learnt, where a record has them: at a turn, or beside everything else.
//!
//! A turn keeps its marks, for [`Turn::is_learnt`](crate::chat::Turn::is_learnt); here is what is said of those that nothing honours.

use serde_json::{Map, Value};

use super::{Record, RecordLocation, Shape};
use crate::chat::Role;
use crate::findings::{Finding, Marked, marked_off, unread_mark};
use crate::mark::{MARKS, Mark, UNREAD_MARKS};

/// The marks of a whole record.
///
/// # Errors
/// It is not to be learnt.
pub(super) fn of_record(
    record: &mut Record,
    shape: Shape,
    place: RecordLocation<'_>,
    remarks: &mut Vec<Finding>,
) -> Result<(), Finding> {
    for name in MARKS {
        let Some(value) = record.take(name) else { continue };
        let mark = Mark::of(&value);
        if shape == Shape::Text && !mark.is_read() && is_measure(name, &value) {
            continue;
        }
        if !mark.is_learnt() {
            return Err(marked_off(place, name, &value));
        }
        if !mark.is_read() {
            remarks.push(unread_mark(place, Marked::Record, name, &value));
        }
    }
    Ok(())
}

/// Beside a text such a word is as likely what a thing weighs, or the name of a train: a number above 1, or a text.
fn is_measure(name: &str, value: &Value) -> bool {
    match value {
        Value::Number(number) => number.as_f64().is_some_and(|number| number > 1.0),
        Value::String(text) => text.trim().parse::<f64>().map_or(name != "trainable", |number| number > 1.0),
        _ => false,
    }
}

/// The marks of message `number`, counted from 1.
pub(super) fn of_turn(
    turn: &Map<String, Value>,
    role: Role,
    number: usize,
    place: RecordLocation<'_>,
    remarks: &mut Vec<Finding>,
) {
    for (name, value) in turn {
        let name = name.as_str();
        let marked = match role {
            _ if value.is_null() => continue,
            Role::Assistant if MARKS.contains(&name) && !Mark::of(value).is_read() => Marked::Turn(number),
            Role::Assistant if UNREAD_MARKS.contains(&name) => Marked::Turn(number),
            Role::Assistant => continue,
            // 1 is what weighs as much as everything else.
            _ if name != "weight" && MARKS.contains(&name) && Mark::of(value) == Mark::Learn => {
                Marked::OtherTurn(number, role)
            }
            _ => continue,
        };
        remarks.push(unread_mark(place, marked, name, value));
    }
}

/// Whether a turn has any mark that says something.
pub(super) fn has_any(turn: &Map<String, Value>) -> bool {
    MARKS.iter().any(|name| turn.get(*name).is_some_and(|value| Mark::of(value) != Mark::Absent))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::content::Content;
    use crate::testing::{check, read_files};

    /// What of a file's only conversation is learnt.
    fn learnt(line: &str) -> Vec<String> {
        let dataset = read_files(&[("a.jsonl", line.as_bytes())]);
        assert!(dataset.findings.is_empty(), "{:?}", dataset.findings);
        let Content::Chat(chat) = &dataset.examples[0].content else { panic!("{line}") };
        chat.learnt().map(|at| chat.turns[at].content.clone()).collect()
    }

    #[test]
    fn a_turn_that_is_marked_is_not_learnt_and_makes_another_example() {
        let messages = |off: &str, on: &str| {
            format!(
                r#"{{"messages": [{{"role": "user", "content": "q1"}}, {{"role": "assistant", "content": "bad", {off}}}, {{"role": "user", "content": "q2"}}, {{"role": "assistant", "content": "good", {on}}}]}}"#
            )
        };
        let sharegpt = |off: &str, on: &str| {
            format!(
                r#"{{"conversations": [{{"from": "human", "value": "q1", "loss": null}}, {{"from": "gpt", "value": "bad", {off}}}, {{"from": "human", "value": "q2"}}, {{"from": "gpt", "value": "good", {on}}}]}}"#
            )
        };
        let sides = |off: &str, on: &str| {
            format!(
                r#"{{"prompt": [{{"role": "user", "content": "q1"}}], "completion": [{{"role": "assistant", "content": "bad", {off}}}, {{"role": "user", "content": "q2"}}, {{"role": "assistant", "content": "good", {on}}}]}}"#
            )
        };
        let mut all = String::new();
        let mut count = 0;
        for name in ["weight", "loss", "train", "training", "trainable"] {
            for (off, on) in
                [("0", "1"), ("false", "true"), ("\"no\"", "\"yes\""), ("0.0", "1.0"), ("\"0\"", "\"1\"")]
            {
                for line in [messages, sharegpt, sides].map(|shape: fn(&str, &str) -> String| {
                    shape(&format!("\"{name}\": {off}"), &format!("\"{name}\": {on}"))
                }) {
                    assert_eq!(learnt(&line), ["good"], "{line}");
                    all.push_str(&line);
                    all.push('\n');
                    count += 1;
                }
            }
        }
        let plain = messages("\"name\": null", "\"name\": null");
        assert_eq!(learnt(&plain), ["bad", "good"]);
        all.push_str(&plain);
        let dataset = read_files(&[("a.jsonl", all.as_bytes())]);
        assert_eq!((dataset.examples.len(), dataset.findings.len()), (count + 1, 0));
    }

    #[test]
    fn a_call_may_be_marked_and_a_record_too() {
        check(
            &[
                (
                    "a.jsonl",
                    r#"{"conversations": [{"from": "human", "value": "q"}, {"from": "function_call", "value": "{\"name\": \"f\", \"arguments\": \"{}\"}", "weight": 0}, {"from": "observation", "value": "r"}, {"from": "gpt", "value": "a"}]}
{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a", "train": false}]}
{"prompt": "p", "completion": "c", "weight": 0}
{"prompt": "p", "completion": "c", "weight": 1}
{"instruction": "i", "output": "o", "train": "false"}
{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}], "trainable": false}
{"text": "a text", "weight": "0"}
{"text": "a thing of 250 g", "weight": 250}
{"text": "half a text", "weight": 0.5}
{"text": "less than nothing", "weight": -1}
{"text": "who knows", "trainable": "maybe"}
{"text": "by rail", "train": "the early one"}
"#,
                ),
                ("b.csv", "prompt,completion,Train\np1,c1,yes\np2,c2,no\np3,c3,\n"),
            ],
            &expect![[r#"
                a.jsonl:1-1 user: "q", assistant: {"role":"assistant","content":"","tool_calls":[{"type":"function","function":{"name":"f","arguments":{}}}],"from":"function_call","weight":0}, tool: "r", assistant: "a"
                a.jsonl:4-4 "p" -> "c"
                a.jsonl:8-8 "a thing of 250 g"
                a.jsonl:9-9 "half a text"
                a.jsonl:11-11 "who knows"
                a.jsonl:12-12 "by rail"
                b.csv:2-2 "p1" -> "c1"
                b.csv:4-4 "p3" -> "c3"
                a.jsonl:2-2 HP018 nothing-learnt: no token of it carries loss
                a.jsonl:3-3 HP018 nothing-learnt: the record is marked as not to be learnt: "weight" is 0
                a.jsonl:5-5 HP018 nothing-learnt: the record is marked as not to be learnt: "train" is "false"
                a.jsonl:6-6 HP018 nothing-learnt: the record is marked as not to be learnt: "trainable" is false
                a.jsonl:7-7 HP018 nothing-learnt: the record is marked as not to be learnt: "weight" is "0"
                a.jsonl:9-9 HP022 unread-mark: "weight" is 0.5 and is not read: something is learnt (1, true) or not (0, false)
                a.jsonl:10-10 HP018 nothing-learnt: the record is marked as not to be learnt: "weight" is -1
                a.jsonl:11-11 HP022 unread-mark: "trainable" is "maybe" and is not read: something is learnt (1, true) or not (0, false)
                b.csv:3-3 HP018 nothing-learnt: the record is marked as not to be learnt: "train" is "no"
            "#]],
        );
    }
}
