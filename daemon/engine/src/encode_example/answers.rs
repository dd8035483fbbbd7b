//! Where in a rendered conversation the assistant's answers lie.
//!
//! Templates do not tell. Three ways, the surest first:
//!
//! 1. The template marks them itself (`{% generation %}`).
//! 2. Most templates write turn after turn, so that a conversation's beginning is a beginning of its text: the answer lies
//!    between the prompt that leads to it and the text that ends with it.
//! 3. Some write a turn in another way depending on what follows (Qwen3 drops old thoughts, Mistral moves the system's words
//!    into the last question). There a mark is put into the turn before it is rendered, and looked for in the text.

use hotplate_dataset::{Chat, Role, TrainOn, Turn};
use serde_json::{Map, Value};

use crate::base_text::{BaseError, BaseText};
use crate::template_source::ANSWER_MARKS;

/// A conversation as text, cut at the first answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answers {
    /// What is fed.
    pub(super) prompt: String,
    /// What follows it.
    pub(super) rest: String,
    /// Bytes of both together that carry loss: an answer with all that the template puts after it.
    pub(super) spans: Vec<(usize, usize)>,
    /// The template itself says that these bytes are learnt, no more and no fewer.
    pub(super) exact: bool,
}

/// The turns that carry loss, in order.
pub(super) fn learnt(chat: &Chat, train_on: TrainOn) -> Vec<usize> {
    match train_on {
        TrainOn::Completions | TrainOn::Everything => chat.learnt().collect(),
        TrainOn::Last => chat.learnt().next_back().into_iter().collect(),
    }
}

/// Marks that no text has, to find places by.
const MARKS: [char; 4] = ['\u{f8f1}', '\u{f8f2}', '\u{f8f3}', '\u{f8f4}'];

impl BaseText {
    pub(super) fn answers(&self, chat: &Chat, train_on: TrainOn) -> Result<Answers, BaseError> {
        let flat;
        let turns = if chat.turns.iter().any(Turn::has_parts) && !self.reads_parts() {
            flat = chat.turns.iter().map(Turn::flat).collect::<Vec<_>>();
            flat.as_slice()
        } else {
            chat.turns.as_slice()
        };
        let wanted = learnt(chat, train_on);
        let whole = self.render(turns, chat.tools.as_ref(), false)?;
        if let Some(spans) = self.told_spans(turns, chat.tools.as_ref(), &whole, &wanted) {
            return Ok(split(whole, None, spans, true));
        }
        let rendered = Rendered { base: self, turns, tools: chat.tools.as_ref(), whole: &whole };
        let mut spans: Vec<(usize, usize)> = Vec::new();
        let mut opening = None;
        for at in wanted {
            let Some((start, end, prompt)) = rendered.answer(at) else { continue };
            let start = start.max(spans.last().map_or(0, |(_, end)| *end));
            if start < end {
                opening.get_or_insert(prompt);
                spans.push((start, end));
            }
        }
        Ok(split(whole, opening.flatten(), spans, false))
    }

    /// The wanted answers as the template marks them.
    fn told_spans(
        &self,
        turns: &[Turn],
        tools: Option<&Value>,
        whole: &str,
        wanted: &[usize],
    ) -> Option<Vec<(usize, usize)>> {
        let marked = self.render_marked(turns, tools)?;
        let [start, end] = ANSWER_MARKS;
        if whole.contains(ANSWER_MARKS) {
            return None;
        }
        let (mut text, mut spans) = (String::with_capacity(whole.len()), Vec::new());
        for piece in marked.split_inclusive(ANSWER_MARKS) {
            text.push_str(piece.trim_end_matches(ANSWER_MARKS));
            if piece.ends_with(start) {
                spans.push((text.len(), text.len()));
            } else if piece.ends_with(end) {
                spans.last_mut()?.1 = text.len();
            }
        }
        let answers: Vec<usize> = (0..turns.len()).filter(|at| turns[*at].role == Role::Assistant).collect();
        if text != whole {
            return None;
        }
        if spans.len() == answers.len() {
            let each = spans.into_iter().zip(&answers);
            return Some(each.filter(|(_, at)| wanted.contains(at)).map(|(span, _)| span).collect());
        }
        (wanted == answers).then_some(spans)
    }

    /// Whether the template understands a text that is a list of parts; most expect one text.
    pub(crate) fn reads_parts(&self) -> bool {
        const PROBE: &str = "hotplate";
        let part = serde_json::json!({"role": "user", "content": [{"type": "text", "text": PROBE}]});
        let Value::Object(message) = part else { return false };
        let turn = Turn { role: Role::User, content: PROBE.to_owned(), message: Some(Box::new(message)) };
        self.render(&[turn], None, true)
            .is_ok_and(|text| text.contains(PROBE) && !text.contains("'type'") && !text.contains("\"type\""))
    }
}

/// Cuts a text at its first answer. `opening` is the prompt where it is not the text before that.
fn split(whole: String, opening: Option<String>, spans: Vec<(usize, usize)>, exact: bool) -> Answers {
    let Some((first, _)) = spans.first().copied() else {
        return Answers { prompt: whole, rest: String::new(), spans, exact };
    };
    let rest = whole[first..].to_owned();
    // Where a template opens an answer in another way than it shows a finished one, the training text opens as the prompt
    // does.
    let prompt = opening.unwrap_or_else(|| whole[..first].to_owned());
    let shifted = |place: usize| place - first + prompt.len();
    let spans = spans.into_iter().map(|(start, end)| (shifted(start), shifted(end))).collect();
    Answers { prompt, rest, spans, exact }
}

struct Rendered<'a> {
    base: &'a BaseText,
    turns: &'a [Turn],
    tools: Option<&'a Value>,
    whole: &'a str,
}

/// Which end of a turn is marked.
#[derive(Clone, Copy)]
enum Edge {
    Start,
    End,
}

impl Rendered<'_> {
    /// Start and end of the answer in the whole text, and the prompt that leads to it where it is not the text before it.
    fn answer(&self, at: usize) -> Option<(usize, usize, Option<String>)> {
        let prompt = self.text(&self.turns[..at], true);
        let (start, prompt) = match prompt {
            Some(prompt) if self.whole.starts_with(&prompt) => (prompt.len(), None),
            prompt => self.marked_start(at, prompt)?,
        };
        let end = if at + 1 == self.turns.len() {
            self.whole.len()
        } else {
            match self.text(&self.turns[..=at], false) {
                Some(through) if through.len() > start && self.whole.starts_with(&through) => through.len(),
                through => self.marked_end(at, through.as_deref())?,
            }
        };
        Some((start, end, prompt))
    }

    fn text(&self, turns: &[Turn], add_generation_prompt: bool) -> Option<String> {
        self.base.render(turns, self.tools, add_generation_prompt).ok()
    }

    /// Where the answer starts: behind what the template writes between the turn before it and an answer.
    fn marked_start(&self, at: usize, prompt: Option<String>) -> Option<(usize, Option<String>)> {
        // A mark before a thought that is dropped is dropped with it; the answer's end is behind its start at least.
        let own = self
            .place(at, self.turns, self.whole, Edge::Start)
            .or_else(|| self.place(at, self.turns, self.whole, Edge::End))?;
        let Some(prompt) = prompt else { return Some((own, None)) };
        let Some(before) = at.checked_sub(1) else { return Some((own, None)) };
        let in_whole = self.place(before, self.turns, self.whole, Edge::End);
        let in_prompt = self.place_in_prompt(before, &self.turns[..at], &prompt);
        let (Some(in_whole), Some(in_prompt)) = (in_whole, in_prompt) else { return Some((own, None)) };
        if in_whole > own {
            return Some((own, None));
        }
        let start = in_whole + common_prefix(&prompt[in_prompt..], &self.whole[in_whole..own]);
        // The same history, so that only the opening differs: train on the one that is served.
        let opens_otherwise = self.whole[..in_whole] == prompt[..in_prompt];
        Some((start, opens_otherwise.then_some(prompt)))
    }

    /// Where the answer ends: behind what the template writes after a turn.
    fn marked_end(&self, at: usize, through: Option<&str>) -> Option<usize> {
        let own = self.place(at, self.turns, self.whole, Edge::End)?;
        let inside = through.and_then(|through| {
            let place = self.place(at, &self.turns[..=at], through, Edge::End)?;
            Some(common_prefix(&through[place..], &self.whole[own..]))
        });
        Some(own + inside.unwrap_or(0))
    }

    /// Where in `text`, which is what `turns` become, the turn `at` starts or ends.
    fn place(&self, at: usize, turns: &[Turn], text: &str, edge: Edge) -> Option<usize> {
        place_of(turns, at, text, edge, |turns| self.text(turns, false))
    }

    fn place_in_prompt(&self, at: usize, turns: &[Turn], text: &str) -> Option<usize> {
        place_of(turns, at, text, Edge::End, |turns| self.text(turns, true))
    }
}

fn place_of(
    turns: &[Turn],
    at: usize,
    text: &str,
    edge: Edge,
    render: impl Fn(&[Turn]) -> Option<String>,
) -> Option<usize> {
    let mark = MARKS.into_iter().find(|mark| !text.contains(*mark))?;
    let mut marked = turns.to_vec();
    set_mark(marked.get_mut(at)?, mark, edge)?;
    let rendered = render(&marked)?;
    let found = match edge {
        Edge::Start => rendered.find(mark)?,
        Edge::End => rendered.rfind(mark)?,
    };
    // All before the mark is as it was; a trim behind or before it may have been held up by it.
    text.get(..found).filter(|start| rendered.starts_with(start)).map(|_| found)
}

/// Puts the mark to an edge of what the turn says: its text, or the name of the tool that it calls.
fn set_mark(turn: &mut Turn, mark: char, edge: Edge) -> Option<()> {
    let text = turn.content.trim();
    let call = if turn.calls_tools() {
        turn.message.as_mut().and_then(|message| called(message, edge))
    } else {
        None
    };
    if let Some(Value::String(name)) = call
        && (matches!(edge, Edge::End) || text.is_empty())
    {
        *name = with_mark(name, mark, edge);
        return Some(());
    }
    let content = with_mark(text, mark, edge);
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
            *part = Value::String(with_mark(part.as_str()?.trim(), mark, edge));
        }
        Some(place) => *place = Value::String(content),
        None => turn.content = content,
    }
    Some(())
}

/// The name of the first or last tool that a message calls.
fn called(message: &mut Map<String, Value>, edge: Edge) -> Option<&mut Value> {
    if message.contains_key("function_call") {
        return message.get_mut("function_call")?.get_mut("name");
    }
    let calls = message.get_mut("tool_calls")?.as_array_mut()?;
    let call = match edge {
        Edge::Start => calls.first_mut()?,
        Edge::End => calls.last_mut()?,
    };
    let has_function = call.get("function").is_some();
    if has_function { call.get_mut("function")?.get_mut("name") } else { call.get_mut("name") }
}

fn with_mark(text: &str, mark: char, edge: Edge) -> String {
    match edge {
        Edge::Start => format!("{mark}{text}"),
        Edge::End => format!("{text}{mark}"),
    }
}

/// Bytes that two texts share at their beginning, ending between characters.
pub(super) fn common_prefix(a: &str, b: &str) -> usize {
    let shared = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    (0..=shared).rev().find(|at| a.is_char_boundary(*at)).unwrap_or(0)
}
