//! Where in a rendered conversation the assistant's answers lie.
//!
//! Templates do not tell. Three ways, the surest first:
//!
//! 1. The template marks them itself (`{% generation %}`).
//! 2. Most templates write turn after turn, so that a conversation's beginning is a beginning of its text: the answer lies
//!    between the prompt that leads to it and the text that ends with it.
//! 3. Some refuse a conversation's beginning, or write a turn in another way depending on what follows (Qwen3 drops old
//!    thoughts, Mistral moves the system's words into the last question). There the whole conversation is rendered with one
//!    turn changed ([`Rendered`]): where the two texts part is that turn's place.
//!
//! An answer goes up to and with its end token, which is the first behind what it says. Whatever way found it, each turn's words are looked
//! up in the text in the end ([`Places`](places::Places)): an answer's own must lie in what is learnt, all others outside. What none of
//! these ways finds is an error, and never a guess; a turn whose words are nowhere is told.

mod changed;
mod places;
mod rendered;

use std::ops::Range;

use hotplate_dataset::{Chat, LeftOut, Role, TrainOn, Turn};
use serde_json::Value;

use crate::base_spec::{BaseError, BaseSpec};
use crate::template_source::ANSWER_MARKS;
use rendered::{Rendered, Span};

/// A conversation as text, cut at the first answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answers {
    /// What is fed.
    pub(super) prompt: String,
    /// What follows it.
    pub(super) rest: String,
    /// Bytes of both together that carry loss: an answer with the end token that the template puts after it.
    pub(super) spans: Vec<Range<usize>>,
    /// What the template does not show.
    pub(super) left_out: Vec<LeftOut>,
}

/// The turns that carry loss, in order.
pub(super) fn learnt(chat: &Chat, train_on: TrainOn) -> Vec<usize> {
    match train_on {
        TrainOn::Completions | TrainOn::Everything => chat.learnt().collect(),
        TrainOn::Last => chat.learnt().next_back().into_iter().collect(),
    }
}

impl BaseSpec {
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
        let rendered = Rendered::new(self, turns, chat.tools.as_ref(), &whole);
        let hidden = |(at, part)| self.hidden_answer(at, part);
        if let Some(spans) = self.told_spans(&rendered, &wanted) {
            rendered.shows_calls(&wanted).and_then(|()| rendered.check(&wanted, &spans)).map_err(hidden)?;
            let left_out = rendered.left_out();
            return Ok(split(whole, None, spans, left_out));
        }
        let mut spans: Vec<Range<usize>> = Vec::new();
        let mut opening = None;
        for at in wanted.iter().copied() {
            let from = spans.last().map_or(0, |span| span.end);
            let found = rendered.answer(at, from).map_err(|part| self.hidden_answer(at, part))?;
            let Some(Span { bytes, prompt }) = found else { continue };
            let start = bytes.start.max(from);
            if start < bytes.end {
                opening.get_or_insert(prompt);
                spans.push(start..bytes.end);
            }
        }
        rendered.check(&wanted, &spans).map_err(hidden)?;
        let left_out = rendered.left_out();
        Ok(split(whole, opening.flatten(), spans, left_out))
    }

    /// The wanted answers as the template marks them, without the header that some templates mark, too, and with the end token that some
    /// leave outside.
    fn told_spans(&self, rendered: &Rendered, wanted: &[usize]) -> Option<Vec<Range<usize>>> {
        let Rendered { turns, tools, whole, .. } = *rendered;
        let marked = self.render_marked(turns, tools)?;
        let [start, end] = ANSWER_MARKS;
        if whole.contains(ANSWER_MARKS) {
            return None;
        }
        let (mut text, mut spans) = (String::with_capacity(whole.len()), Vec::new());
        for piece in marked.split_inclusive(ANSWER_MARKS) {
            text.push_str(piece.trim_end_matches(ANSWER_MARKS));
            if piece.ends_with(start) {
                spans.push(text.len()..text.len());
            } else if piece.ends_with(end) {
                spans.last_mut()?.end = text.len();
            }
        }
        if text != whole {
            return None;
        }
        let answers: Vec<usize> = (0..turns.len()).filter(|at| turns[*at].role == Role::Assistant).collect();
        if spans.len() == answers.len() {
            let each = spans.into_iter().zip(answers).filter(|(_, at)| wanted.contains(at));
            return Some(each.map(|(span, at)| rendered.told(span, Some(at))).collect());
        }
        let all = wanted == answers;
        all.then(|| spans.into_iter().map(|span| rendered.told(span, None)).collect())
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
fn split(
    whole: String,
    opening: Option<String>,
    spans: Vec<Range<usize>>,
    left_out: Vec<LeftOut>,
) -> Answers {
    let Some(first) = spans.first().map(|span| span.start) else {
        return Answers { prompt: whole, rest: String::new(), spans, left_out };
    };
    let rest = whole[first..].to_owned();
    // Where a template opens an answer in another way than it shows a finished one, the training text opens as the prompt
    // does.
    let prompt = opening.unwrap_or_else(|| whole[..first].to_owned());
    let shifted = |place: usize| place - first + prompt.len();
    let spans = spans.into_iter().map(|span| shifted(span.start)..shifted(span.end)).collect();
    Answers { prompt, rest, spans, left_out }
}

/// Bytes that two texts share at their beginning, ending between characters.
pub(crate) fn common_prefix(a: &str, b: &str) -> usize {
    let shared = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    (0..=shared).rev().find(|at| a.is_char_boundary(*at)).unwrap_or(0)
}
