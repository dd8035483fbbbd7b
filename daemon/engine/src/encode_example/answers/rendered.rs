//! One conversation's text, and the same conversation with one turn changed.

use std::cell::OnceCell;
use std::ops::Range;

use hotplate_dataset::{LeftOut, LeftOutPart, Role, Turn};
use serde_json::Value;

use super::changed::{Edge, MARKS, calls, parting, plain, with_mark_in_call, with_mark_in_text};
use super::common_prefix;
use super::places::Places;
use crate::base_error::HiddenPart;
use crate::base_spec::BaseSpec;

/// An answer's place in the text.
pub(super) struct Span {
    pub(super) bytes: Range<usize>,
    /// The prompt that leads to it, where it is not the text before it.
    pub(super) prompt: Option<String>,
}

pub(super) struct Rendered<'a> {
    pub(super) base: &'a BaseSpec,
    pub(super) turns: &'a [Turn],
    pub(super) tools: Option<&'a Value>,
    pub(super) whole: &'a str,
    /// Tokens that end an answer, as text.
    ends: Vec<String>,
    /// What the template writes to open an answer.
    opening: OnceCell<Option<String>>,
    places: OnceCell<Option<Places>>,
}

impl<'a> Rendered<'a> {
    pub(super) fn new(
        base: &'a BaseSpec,
        turns: &'a [Turn],
        tools: Option<&'a Value>,
        whole: &'a str,
    ) -> Self {
        Self {
            base,
            turns,
            tools,
            whole,
            ends: base.end_texts(),
            opening: OnceCell::new(),
            places: OnceCell::new(),
        }
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
        // A rendering of its own: only where the prompt does not tell.
        let before_own = || {
            let own = at.and_then(|at| self.place(at, Edge::Start)).map(|apart| apart.start);
            &self.whole[start..own.filter(|own| (start..=end).contains(own)).unwrap_or(end)]
        };
        let prompt = at.and_then(|at| self.prompt(at));
        let served = prompt.as_deref().filter(|prompt| self.whole.starts_with(prompt)).map(str::len);
        if let Some(served) = served.filter(|served| (start..=end).contains(served)) {
            start = served;
        } else if let Some(tail) =
            prompt.as_deref().and_then(|prompt| prompt.strip_prefix(&self.whole[..start]))
        {
            start += self.shared_opening(tail, before_own());
        } else if let Some(opening) = self.opening() {
            start += self.shared_opening(opening, before_own());
        }
        if let Some(last) = self.ends_in(start, end).last() {
            end = last.end;
        } else {
            end = self.end_behind(end).unwrap_or(end);
        }
        start..end
    }

    /// Whether all calls of these turns are shown; else the first that is not.
    pub(super) fn shows_calls(&self, wanted: &[usize]) -> Result<(), (usize, HiddenPart)> {
        wanted.iter().try_for_each(|at| self.said_to(*at).map(drop).map_err(|part| (*at, part)))
    }

    /// Behind the last thing that the calls say. A template that does not show one is no template for calls.
    fn said_to(&self, at: usize) -> Result<Option<usize>, HiddenPart> {
        let mut last = None;
        for number in 0..calls(&self.turns[at]) {
            let Some(changed) = self.marked(|mark| with_mark_in_call(&self.turns[at], number, mark), at)
            else {
                continue;
            };
            match parting(self.whole, &changed) {
                Some(apart) => last = last.max(Some(apart.end)),
                None if self.is_left_out(at) => return Ok(None),
                None => return Err(HiddenPart::Call),
            }
        }
        Ok(last)
    }

    /// Each wanted answer's words must lie in what is learnt, and nobody else's.
    pub(super) fn check(&self, wanted: &[usize], spans: &[Range<usize>]) -> Result<(), (usize, HiddenPart)> {
        for at in 0..self.turns.len() {
            let places: Vec<usize> = match self.places() {
                Some(places) => places.of(at).collect(),
                None if self.turns[at].content.trim().is_empty() => Vec::new(),
                None => self.place(at, Edge::End).into_iter().map(|apart| apart.end).collect(),
            };
            let is_wanted = wanted.contains(&at);
            let is_learnt = |place: usize| {
                spans.iter().any(|span| {
                    let inside = span.start < place && place < span.end;
                    inside || is_wanted && (span.start == place || span.end == place)
                })
            };
            if places.into_iter().any(|place| is_learnt(place) != is_wanted) {
                let nearest = wanted.iter().rev().find(|answer| **answer <= at).or(wanted.first());
                return Err((*nearest.unwrap_or(&at), HiddenPart::Divided));
            }
        }
        Ok(())
    }

    /// What the template does not show of these turns.
    pub(super) fn left_out(&self) -> Vec<LeftOut> {
        if let Some(places) = self.places() {
            return places.left_out(self.turns);
        }
        let says = |turn: &Turn| !turn.content.trim().is_empty();
        let unseen = |at: usize, edge| {
            let changed = self.marked(|mark| with_mark_in_text(&self.turns[at], mark, edge), at);
            changed.is_some_and(|changed| changed == self.whole)
        };
        let turns = self.turns.iter().enumerate();
        let hidden =
            turns.filter(|(at, turn)| says(turn) && unseen(*at, Edge::End) && unseen(*at, Edge::Start));
        let left_out = hidden.map(|(at, turn)| {
            let part = if turn.calls_tools() { LeftOutPart::TextBesideCalls } else { LeftOutPart::Whole };
            LeftOut { turn: at, role: turn.role, part }
        });
        left_out.collect()
    }

    fn places(&self) -> Option<&Places> {
        self.places.get_or_init(|| Places::find(self.turns, self.whole, |turns| self.text(turns))).as_ref()
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
            .or_else(|| self.place(at, Edge::End).map(|apart| apart.end));
        // Where a text beside the calls is not shown, what they say.
        let called = if own.is_none() { self.call_place(at) } else { None };
        let own = own.or(called)?;
        if let Some(prompt) = prompt
            && let Some(before) = at.checked_sub(1)
            && let Some(in_whole) = self.place(before, Edge::End).map(|apart| apart.end)
            && let Some(in_prompt) = self.place_in_prompt(before, at, &prompt)
            && in_whole <= own
            // With nothing behind the history, nothing opens the answer there.
            && let tail = &prompt[in_prompt..]
            && !tail.trim().is_empty()
        {
            let shared = self.shared_opening(tail, &self.whole[in_whole..own]);
            // The same history, so that only the opening differs: train on the one that is served.
            let opens_otherwise = self.whole[..in_whole] == prompt[..in_prompt];
            let start = match header {
                Some(header) if shared < tail.len() => header,
                _ => in_whole + shared,
            };
            return Some((start, opens_otherwise.then_some(prompt)));
        }
        let start = self.opened_before(own, from, called.is_some()).or(header);
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

    /// Where a turn's first call says something.
    fn call_place(&self, at: usize) -> Option<usize> {
        let changed = self.marked(|mark| with_mark_in_call(&self.turns[at], 0, mark), at)?;
        parting(self.whole, &changed).map(|apart| apart.start)
    }

    /// Behind the last opening of an answer before `own`, with nothing but white space and empty tags in between, or what leads to a call.
    fn opened_before(&self, own: usize, from: usize, calls: bool) -> Option<usize> {
        let opening = self.opening()?;
        let before = self.whole.get(from..own)?;
        let start = before.rfind(opening)? + opening.len();
        let between = before[start..].trim();
        let only_tags = calls
            || between.is_empty()
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
            if let [one] = ends.as_slice()
                && self.whole[one.end..limit].trim().is_empty()
            {
                return Some(one.end);
            }
            let Some(said) = last_said.or_else(|| self.place(at, Edge::End).map(|apart| apart.end)) else {
                return Some(ends.last().map_or(limit, |last| last.end));
            };
            // Some templates close every conversation with a turn of their own.
            let limit = self.before_header(said, limit);
            let first = ends.iter().find(|end| end.start >= said && end.end <= limit);
            return Some(match first {
                Some(end) => end.end,
                None => self.end_behind(limit).unwrap_or(limit),
            });
        }
        let said = last_said.or_else(|| self.place(at, Edge::End).map(|apart| apart.end))?;
        let next = self.before_header(said, self.next_said(at, said));
        if let Some(end) = self.ends_in(said, next).next() {
            return Some(end.end);
        }
        // No token ends it: what this text and the one that ends here have in common.
        let through = self.text(&self.turns[..=at])?;
        let in_through = self.place_in(at, at + 1, &through, last_said.is_some())?;
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
            // Some templates open no answer behind an answer, or end the last one in another way.
            let is_user = |at: &usize| self.turns[*at - 1].role == Role::User;
            let asked = (1..self.turns.len()).rev().find(is_user);
            std::iter::once(self.turns.len()).chain(asked).find_map(|count| {
                let turns = &self.turns[..count];
                let opened = self.base.render_prompt(turns, self.tools).ok()?;
                let plain = if count < self.turns.len() { self.text(turns)? } else { self.whole.to_owned() };
                opened.strip_prefix(&plain).filter(|opening| !opening.trim().is_empty()).map(str::to_owned)
            })
        });
        opening.as_deref()
    }

    /// Where between two places the next turn's header starts, if it starts as an answer's does: with the same special token.
    fn before_header(&self, from: usize, to: usize) -> usize {
        let first = self.opening().and_then(|opening| self.base.leading_token(opening));
        let header = first.filter(|first| !self.ends.contains(first)).and_then(|first| {
            let between = self.whole.get(from..to)?;
            between.find(&first)
        });
        header.map_or(to, |place| from + place)
    }

    /// How much of the text is written by the prompt that ends with `tail`. Where they part, whole tokens count: `<|call>` does not begin as
    /// `<|channel>` does.
    fn shared_opening(&self, tail: &str, text: &str) -> usize {
        let shared = common_prefix(tail, text);
        if shared == tail.len() || shared == text.len() {
            return shared;
        }
        let tokens = self.base.shared_tokens(tail, text).min(shared);
        (0..=tokens).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
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

    /// The end of a turn's text, or of its last call, in the text that the first `count` turns become.
    fn place_in(&self, at: usize, count: usize, text: &str, of_call: bool) -> Option<usize> {
        let mark = MARKS.into_iter().find(|mark| !text.contains(*mark))?;
        let mut turns = self.turns.get(..count)?.to_vec();
        let turn = &self.turns[at];
        *turns.get_mut(at)? = match calls(turn).checked_sub(1) {
            Some(last) if of_call => with_mark_in_call(turn, last, mark)?,
            _ => with_mark_in_text(turn, mark, Edge::End)?,
        };
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
