//! Where in a rendered conversation each turn's words stand, told by one more rendering with a mark at every turn's edges.

use hotplate_dataset::{LeftOut, LeftOutPart, Role, Turn};
use serde_json::Value;

/// Private characters that no family's vocabulary and hardly any text has: four for each turn.
const FIRST: u32 = 0xF_0000;
const LAST: u32 = 0xF_FFFD;
const KINDS: usize = 4;
/// What a reasoning model's thought is called, beside the content.
const THOUGHTS: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];
const THINK: &str = "<think>";

/// What a mark stands at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The text's beginning, its thought included.
    Start,
    End,
    Call,
    Thought,
}

impl Kind {
    const ALL: [Kind; KINDS] = [Kind::Start, Kind::End, Kind::Call, Kind::Thought];
}

/// The marks of one turn: which were put in, and where in the text they stand.
#[derive(Debug, Clone, Default)]
struct Marked {
    put: Vec<Kind>,
    found: Vec<(Kind, usize)>,
}

impl Marked {
    fn hides(&self, kind: Kind) -> bool {
        self.put.contains(&kind) && !self.shows(kind)
    }

    fn shows(&self, kind: Kind) -> bool {
        self.found.iter().any(|(found, _)| *found == kind)
    }
}

/// Places of all turns' words in a text.
#[derive(Debug)]
pub(super) struct Places(Vec<Marked>);

impl Places {
    /// `render` gives a conversation's text. `None`: the template does something else where there are marks, so that nothing is known.
    pub(super) fn find(
        turns: &[Turn],
        whole: &str,
        render: impl Fn(&[Turn]) -> Option<String>,
    ) -> Option<Self> {
        if turns.len() * KINDS > (LAST - FIRST) as usize || whole.chars().any(is_mark) {
            return None;
        }
        // A template may look at how a text begins, or into a call.
        [Kind::ALL.as_slice(), &[Kind::End, Kind::Call, Kind::Thought], &[Kind::End]]
            .into_iter()
            .find_map(|kinds| Self::found(turns, whole, kinds, &render))
    }

    fn found(
        turns: &[Turn],
        whole: &str,
        kinds: &[Kind],
        render: impl Fn(&[Turn]) -> Option<String>,
    ) -> Option<Self> {
        let mut marked = vec![Marked::default(); turns.len()];
        let changed: Vec<Turn> = turns
            .iter()
            .zip(&mut marked)
            .enumerate()
            .map(|(at, (turn, marked))| {
                let mut turn = turn.clone();
                for kind in kinds {
                    if let Some(mark) = mark(at, *kind)
                        && put(&mut turn, *kind, mark)
                    {
                        marked.put.push(*kind);
                    }
                }
                turn
            })
            .collect();
        let text = render(&changed)?;
        let mut plain = String::with_capacity(text.len());
        for char in text.chars() {
            if is_mark(char) {
                let number = (u32::from(char) - FIRST) as usize;
                let kind = Kind::ALL[number % KINDS];
                marked.get_mut(number / KINDS)?.found.push((kind, plain.len()));
            } else {
                plain.push(char);
            }
        }
        (plain == whole).then_some(Self(marked))
    }

    /// Where the words of a turn stand that are shown: bytes at their edges.
    pub(super) fn of(&self, turn: usize) -> impl Iterator<Item = usize> {
        self.0.get(turn).into_iter().flat_map(|marked| marked.found.iter().map(|(_, place)| *place))
    }

    /// What the template does not show of these turns.
    pub(super) fn left_out(&self, turns: &[Turn]) -> Vec<LeftOut> {
        let last = turns.iter().rposition(|turn| turn.role == Role::Assistant);
        let each = turns.iter().zip(&self.0).enumerate();
        each.filter_map(|(at, (turn, marked))| {
            let (no_text, no_call) = (marked.hides(Kind::End), marked.hides(Kind::Call));
            let part = if no_text && turn.calls_tools() && !no_call {
                Some(LeftOutPart::TextBesideCalls)
            } else if no_text || (no_call && !marked.shows(Kind::End)) {
                Some(LeftOutPart::Whole)
            } else {
                None
            };
            let thought = marked.hides(Kind::Thought) || (thinks(&turn.content) && marked.hides(Kind::Start));
            let part = part.or((last == Some(at) && thought).then_some(LeftOutPart::LastThought))?;
            Some(LeftOut { turn: at, role: turn.role, part })
        })
        .collect()
    }
}

fn is_mark(char: char) -> bool {
    (FIRST..=LAST).contains(&u32::from(char))
}

fn mark(turn: usize, kind: Kind) -> Option<char> {
    let number = turn * KINDS + Kind::ALL.iter().position(|each| *each == kind)?;
    char::from_u32(FIRST + u32::try_from(number).ok()?)
}

fn thinks(content: &str) -> bool {
    content.trim_start().starts_with(THINK)
}

/// Whether there was a place for the mark.
fn put(turn: &mut Turn, kind: Kind, mark: char) -> bool {
    let message = turn.message.as_mut();
    match kind {
        Kind::Start | Kind::End => {
            let text = match message.and_then(|message| message.get_mut("content")) {
                Some(Value::Array(parts)) => {
                    let mut texts = parts.iter_mut().filter_map(|part| match part {
                        Value::String(text) => Some(text),
                        part => part.get_mut("text").and_then(as_text),
                    });
                    if kind == Kind::Start { texts.next() } else { texts.next_back() }
                }
                Some(content) => as_text(content),
                None => Some(&mut turn.content),
            };
            text.is_some_and(|text| put_in_text(text, kind, mark))
        }
        Kind::Thought => message.is_some_and(|message| {
            let key = THOUGHTS.iter().find(|key| message.get(**key).is_some_and(Value::is_string));
            let thought = key.and_then(|key| message.get_mut(*key)).and_then(as_text);
            thought.is_some_and(|thought| put_in_text(thought, Kind::End, mark))
        }),
        Kind::Call => message.is_some_and(|message| {
            let one = message.get_mut("function_call").map(std::slice::from_mut);
            let calls = match one {
                Some(call) => Some(call),
                None => message.get_mut("tool_calls").and_then(Value::as_array_mut).map(Vec::as_mut_slice),
            };
            let marked = calls.into_iter().flatten().map(|call| {
                let function =
                    if call.get("function").is_some() { call.get_mut("function") } else { Some(call) };
                let arguments = function.and_then(|function| function.get_mut("arguments"));
                arguments.map_or(0, |arguments| put_in_values(arguments, mark))
            });
            marked.sum::<usize>() > 0
        }),
    }
}

fn as_text(value: &mut Value) -> Option<&mut String> {
    if let Value::String(text) = value { Some(text) } else { None }
}

/// Within the white space around it, which templates cut off, and behind the tag that opens a thought, which they look for.
fn put_in_text(text: &mut String, kind: Kind, mark: char) -> bool {
    let said = text.trim();
    if said.is_empty() {
        return false;
    }
    let place = if kind == Kind::Start {
        let behind = said.strip_prefix(THINK).map_or(said, str::trim_start);
        text.trim_end().len() - behind.len()
    } else {
        text.trim_end().len()
    };
    text.insert(place, mark);
    true
}

/// Behind each text among a call's arguments; numbers and the like stay what they are. How many there are.
fn put_in_values(value: &mut Value, mark: char) -> usize {
    match value {
        Value::Object(members) => members.values_mut().map(|member| put_in_values(member, mark)).sum(),
        Value::Array(items) => items.iter_mut().map(|item| put_in_values(item, mark)).sum(),
        // Not into JSON, nor into a number with many digits, which the dataset marks itself.
        Value::String(text) if !text.starts_with(['{', '[', '\u{fdd1}']) => {
            text.push(mark);
            1
        }
        _ => 0,
    }
}
