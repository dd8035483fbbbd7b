//! One conversation's text, and the same conversation with one turn changed.

use std::cell::OnceCell;
use std::ops::Range;

use hotplate_dataset::Turn;
use serde_json::Value;

use super::changed::{Edge, MARKS, parting, plain, with_mark_in_call, with_mark_in_text};
use super::common_prefix;
use crate::base_error::HiddenPart;
use crate::base_text::BaseText;

/// An answer's place in the text.
pub(super) struct Span {
    pub(super) bytes: Range<usize>,
    /// The prompt that leads to it, where it is not the text before it.
    pub(super) prompt: Option<String>,
}

pub(super) struct Rendered<'a> {
    pub(super) base: &'a BaseText,
    pub(super) turns: &'a [Turn],
    pub(super) tools: Option<&'a Value>,
    pub(super) whole: &'a str,
    /// Tokens that end an answer, as text.
    ends: Vec<String>,
    /// What the template writes to open an answer.
    opening: OnceCell<Option<String>>,
}

impl<'a> Rendered<'a> {
    pub(super) fn new(
        base: &'a BaseText,
        turns: &'a [Turn],
        tools: Option<&'a Value>,
        whole: &'a str,
    ) -> Self {
        Self { base, turns, tools, whole, ends: base.end_texts(), opening: OnceCell::new() }
    }

    /// Where an answer lies that starts behind `from`; nothing where the template leaves it out.
    pub(super) fn answer(&self, at: usize, from: usize) -> Result<Option<Span>, HiddenPart> {
        let last_said = self.said_to(at)?;
        let Some((start, prompt)) = self.start(at, from) else {
            return if self.is_left_out(at) { Ok(None) } else { Err(HiddenPart::Start) };
        };
        let Some(end) = self.end(at, start, last_said) else {
            return if self.is_left_out(at) { Ok(None) } else { Err(HiddenPart::End) };
        };
        Ok(Some(Span { bytes: start..end, prompt }))
    }

    /// A span that the template marks, from behind its header up to and with its end token.
    pub(super) fn told(&self, span: Range<usize>, at: Option<usize>) -> Range<usize> {
        let Range { mut start, mut end } = span;
        let prompt = at.and_then(|at| self.prompt(at)).filter(|prompt| self.whole.starts_with(prompt));
        if let Some(prompt) = prompt
            && (start..=end).contains(&prompt.len())
        {
            start = prompt.len();
        } else if let Some(opening) = self.opening()
            && self.whole[start..end].starts_with(opening)
        {
            start += opening.len();
        }
        if let Some(last) = self.ends_in(start, end).last() {
            end = last.end;
        } else {
            end = self.end_behind(end).unwrap_or(end);
        }
        start..end
    }

    /// Behind the last thing that a call says. A template that does not show it is no template for calls.
    fn said_to(&self, at: usize) -> Result<Option<usize>, HiddenPart> {
        if !self.turns[at].calls_tools() {
            return Ok(None);
        }
        let Some(changed) = self.marked(|mark| with_mark_in_call(&self.turns[at], mark), at) else {
            return Ok(None);
        };
        match parting(self.whole, &changed) {
            Some(apart) => Ok(Some(apart.end)),
            None if self.is_left_out(at) => Ok(None),
            None => Err(HiddenPart::Call),
        }
    }

    fn start(&self, at: usize, from: usize) -> Option<(usize, Option<String>)> {
        let prompt = self.prompt(at);
        if let Some(prompt) = &prompt
            && self.whole.starts_with(prompt)
        {
            return Some((prompt.len(), None));
        }
        let header = self.behind_header(at);
        // An answer's own start, or its end where its start is a thought that is dropped: the header stands before it.
        let own = header
            .or_else(|| self.place(at, Edge::Start).map(|apart| apart.start))
            .or_else(|| self.place(at, Edge::End).map(|apart| apart.end))?;
        if let Some(prompt) = prompt
            && let Some(before) = at.checked_sub(1)
            && let Some(in_whole) = self.place(before, Edge::End).map(|apart| apart.end)
            && let Some(in_prompt) = self.place_in_prompt(before, at, &prompt)
            && in_whole <= own
        {
            let tail = &prompt[in_prompt..];
            let shared = common_prefix(tail, &self.whole[in_whole..own]);
            // The same history, so that only the opening differs: train on the one that is served.
            let opens_otherwise = self.whole[..in_whole] == prompt[..in_prompt];
            let start = match header {
                Some(header) if shared < tail.len() => header,
                _ => in_whole + shared,
            };
            return Some((start, opens_otherwise.then_some(prompt)));
        }
        let start = self.opened_before(own, from).or(header);
        let start = start.or_else(|| {
            // Where it is only a text, its first character.
            let turn = &self.turns[at];
            let thinks =
                ["reasoning_content", "thinking", "reasoning"].iter().any(|key| turn.key(key).is_some());
            (!thinks && !turn.calls_tools())
                .then(|| self.place(at, Edge::Start))
                .flatten()
                .map(|apart| apart.start)
        });
        start.map(|start| (start, None))
    }

    /// Behind what the template writes before any answer in this place.
    fn behind_header(&self, at: usize) -> Option<usize> {
        let mark = self.mark()?;
        let changed = self.with(at, plain(mark))?;
        let apart = common_prefix(self.whole, &changed);
        changed[apart..].starts_with(mark).then_some(apart)
    }

    /// Behind the last opening of an answer before `own`, with nothing but white space and empty tags in between.
    fn opened_before(&self, own: usize, from: usize) -> Option<usize> {
        let opening = self.opening()?;
        let before = self.whole.get(from..own)?;
        let start = before.rfind(opening)? + opening.len();
        let between = before[start..].trim();
        let only_tags = between.is_empty()
            || (between.starts_with('<') && between.ends_with('>') && between.len() < 64)
            || (between.starts_with('[') && between.ends_with(']') && between.len() < 64);
        (only_tags && self.ends_in(from + start, own).next().is_none()).then_some(from + start)
    }

    fn end(&self, at: usize, start: usize, last_said: Option<usize>) -> Option<usize> {
        let through = if at + 1 == self.turns.len() {
            Some(self.whole.len())
        } else {
            self.text(&self.turns[..=at])
                .filter(|through| through.len() > start && self.whole.starts_with(through))
                .map(|through| through.len())
        };
        if let Some(limit) = through {
            let ends: Vec<Range<usize>> = self.ends_in(start, limit).collect();
            return Some(match ends.as_slice() {
                [] => self.end_behind(limit).unwrap_or(limit),
                [one] => one.end,
                [.., last] => {
                    let said = last_said.or_else(|| self.place(at, Edge::End).map(|apart| apart.end));
                    let first = said.and_then(|said| ends.iter().find(|end| end.start >= said));
                    first.unwrap_or(last).end
                }
            });
        }
        let said = last_said.or_else(|| self.place(at, Edge::End).map(|apart| apart.end))?;
        let next = self.next_said(at, said);
        if let Some(end) = self.ends_in(said, next).next() {
            return Some(end.end);
        }
        // No token ends it: what this text and the one that ends here have in common.
        let through = self.text(&self.turns[..=at])?;
        let in_through = self.place_in(at, at + 1, &through)?;
        let shared = common_prefix(&through[in_through..], &self.whole[said..next]);
        Some(said + shared)
    }

    /// Where the next turn that the template shows begins to speak.
    fn next_said(&self, at: usize, said: usize) -> usize {
        let places = (at + 1..self.turns.len())
            .filter_map(|next| self.place(next, Edge::Start))
            .map(|apart| apart.start);
        places.into_iter().find(|place| *place >= said).unwrap_or(self.whole.len())
    }

    /// The end tokens between two places, in order.
    fn ends_in(&self, start: usize, end: usize) -> impl Iterator<Item = Range<usize>> {
        let mut rest = start;
        std::iter::from_fn(move || {
            let text = self.whole.get(rest..end)?;
            let found = self.ends.iter().filter_map(|token| Some((text.find(token.as_str())?, token.len())));
            let (place, length) = found.min_by_key(|(place, length)| (*place, usize::MAX - length))?;
            let found = rest + place..rest + place + length;
            rest = found.end;
            Some(found)
        })
    }

    /// Behind an end token that follows, with nothing but white space before it.
    fn end_behind(&self, place: usize) -> Option<usize> {
        let end = self.ends_in(place, self.whole.len()).next()?;
        self.whole[place..end.start].trim().is_empty().then_some(end.end)
    }

    fn text(&self, turns: &[Turn]) -> Option<String> {
        self.base.render(turns, self.tools, false).ok()
    }

    fn prompt(&self, at: usize) -> Option<String> {
        self.base.render_prompt(&self.turns[..at], self.tools).ok()
    }

    fn opening(&self) -> Option<&str> {
        let opening = self.opening.get_or_init(|| {
            let opened = self.base.render_prompt(self.turns, self.tools).ok()?;
            opened.strip_prefix(self.whole).filter(|opening| !opening.trim().is_empty()).map(str::to_owned)
        });
        opening.as_deref()
    }

    fn mark(&self) -> Option<char> {
        MARKS.into_iter().find(|mark| !self.whole.contains(*mark))
    }

    /// The text with another turn in this place.
    fn with(&self, at: usize, turn: Turn) -> Option<String> {
        let mut turns = self.turns.to_vec();
        *turns.get_mut(at)? = turn;
        self.text(&turns)
    }

    fn marked(&self, change: impl Fn(char) -> Option<Turn>, at: usize) -> Option<String> {
        self.with(at, change(self.mark()?)?)
    }

    /// Whether the text is the same whatever this turn says.
    fn is_left_out(&self, at: usize) -> bool {
        self.marked(|mark| Some(plain(mark)), at).is_some_and(|changed| changed == self.whole)
    }

    /// Where a turn's text starts or ends: where another text with a mark there parts from this one, and it is only the mark.
    fn place(&self, at: usize, edge: Edge) -> Option<Range<usize>> {
        let changed = self.marked(|mark| with_mark_in_text(&self.turns[at], mark, edge), at)?;
        parting(self.whole, &changed).filter(|apart| edge == Edge::Start || apart.is_empty())
    }

    /// The end of a turn in the text that the first `count` turns become.
    fn place_in(&self, at: usize, count: usize, text: &str) -> Option<usize> {
        let mark = MARKS.into_iter().find(|mark| !text.contains(*mark))?;
        let mut turns = self.turns.get(..count)?.to_vec();
        *turns.get_mut(at)? = with_mark_in_text(&self.turns[at], mark, Edge::End)?;
        parting(text, &self.text(&turns)?).map(|apart| apart.end)
    }

    fn place_in_prompt(&self, at: usize, count: usize, prompt: &str) -> Option<usize> {
        let mark = MARKS.into_iter().find(|mark| !prompt.contains(*mark))?;
        let mut turns = self.turns.get(..count)?.to_vec();
        *turns.get_mut(at)? = with_mark_in_text(&self.turns[at], mark, Edge::End)?;
        let changed = self.base.render_prompt(&turns, self.tools).ok()?;
        parting(prompt, &changed).map(|apart| apart.end)
    }
}
