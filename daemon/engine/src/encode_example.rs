//! How an example becomes tokens, and which of them carry loss.
//!
//! The invariant: a training item begins with exactly the tokens that an answer's prompt has ([`BaseText::prompt`]), and
//! goes on with the answer and its end token. What is trained is what is served.

use hotplate_dataset::{Content, Role, Turn};

use crate::base_text::{BaseError, BaseText};
use crate::sample::Sample;
use crate::tokenizer::Pieces;

/// What the rest of a text may be read behind, so that it is not read as the start of one.
const ANCHORS: [&str; 4] = ["", "\n", "x", "."];

impl BaseText {
    /// An example's tokens, at most `max_tokens`; what is longer loses its end and says so.
    ///
    /// - A text: BOS (if the tokenizer adds one), text, EOS; all carry loss but the first.
    /// - A completion: one user's and one assistant's turn through the chat template (without a template, prompt and
    ///   completion side by side); the completion and its end token carry loss.
    /// - A chat: through the template (without one, the turns on lines of their own); every assistant's turn and its
    ///   end token carry loss. Nothing after the last of them is kept.
    ///
    /// # Errors
    /// The template refuses these turns, or the tokenizer fails.
    pub fn encode_example(&self, content: &Content, max_tokens: usize) -> Result<Sample, BaseError> {
        let mut sample = match content {
            Content::Text(text) => self.text_sample(text)?,
            Content::Completion { prompt, completion } => {
                let turns = [(Role::User, prompt), (Role::Assistant, completion)]
                    .map(|(role, content)| Turn { role, content: content.clone() });
                if self.has_template()? {
                    self.chat_sample(&turns)?
                } else {
                    let joined = Joined { prompt: prompt.clone(), rest: completion.clone(), raw: true };
                    self.spans_sample(&joined, &[(prompt.len(), prompt.len() + completion.len())])?
                }
            }
            Content::Chat(turns) => {
                // Each turn is one token at least: what cannot fit need not be rendered.
                let kept = &turns[..turns.len().min(max_tokens.max(1))];
                let mut sample =
                    if self.has_template()? { self.chat_sample(kept)? } else { self.lines_sample(kept)? };
                sample.truncated = kept.len() < turns.len();
                sample
            }
        };
        sample.truncated |= sample.tokens.len() > max_tokens;
        sample.tokens.truncate(max_tokens);
        sample.supervised.truncate(max_tokens);
        if let Some(first) = sample.supervised.first_mut() {
            *first = false;
        }
        Ok(sample)
    }

    fn text_sample(&self, text: &str) -> Result<Sample, BaseError> {
        let mut tokens = self.encode_raw(text)?;
        if let Some(end) = self.eos.first()
            && tokens.last() != Some(end)
        {
            tokens.push(*end);
        }
        Ok(Sample { supervised: vec![true; tokens.len()], tokens, truncated: false })
    }

    fn chat_sample(&self, turns: &[Turn]) -> Result<Sample, BaseError> {
        let whole = self.render(turns, false)?;
        let mut spans: Vec<(usize, usize)> = Vec::new();
        let mut first_prompt = None;
        for (at, turn) in turns.iter().enumerate().filter(|(_, turn)| turn.role == Role::Assistant) {
            let prompt = self.render(&turns[..at], true)?;
            let start = self.answer_start(&turns[..at], turn, &prompt, &whole)?;
            let end = if at + 1 == turns.len() {
                whole.len()
            } else {
                common_prefix(&self.render(&turns[..=at], false)?, &whole)
            };
            let start = start.max(spans.last().map_or(0, |(_, end)| *end));
            first_prompt.get_or_insert(prompt);
            if start < end {
                spans.push((start, end));
            }
        }
        let (Some(prompt), Some((first, _))) = (first_prompt, spans.first().copied()) else {
            let joined = Joined { prompt: whole, rest: String::new(), raw: false };
            return self.spans_sample(&joined, &[]);
        };
        // Where a template opens an answer in another way than it shows a finished one, the training text opens as the
        // prompt does.
        let joined = Joined { rest: whole[first..].to_owned(), raw: false, prompt };
        let shifted = |place: usize| place - first + joined.prompt.len();
        let spans: Vec<_> = spans.into_iter().map(|(start, end)| (shifted(start), shifted(end))).collect();
        self.spans_sample(&joined, &spans)
    }

    /// Where in `whole` the answer begins to which `prompt` leads.
    fn answer_start(
        &self,
        before: &[Turn],
        turn: &Turn,
        prompt: &str,
        whole: &str,
    ) -> Result<usize, BaseError> {
        let common = common_prefix(prompt, whole);
        if common == prompt.len() {
            return Ok(common);
        }
        // The prompt has something that a finished answer has not (an empty thought, say), and the answer could begin
        // with the same letters by accident. Its own text says where it begins at the latest.
        let history = common_prefix(&self.render(before, false)?, whole).min(common);
        let own = turn.content.trim();
        let found = if own.is_empty() { None } else { whole[history..].find(own) };
        Ok(found.map_or(common, |at| common.min(history + at)))
    }

    /// Without a template: each turn on a line of its own.
    fn lines_sample(&self, turns: &[Turn]) -> Result<Sample, BaseError> {
        let mut whole = String::new();
        let mut spans = Vec::new();
        for turn in turns {
            if !whole.is_empty() {
                whole.push('\n');
            }
            let start = whole.len();
            whole.push_str(&turn.content);
            if turn.role == Role::Assistant && start < whole.len() {
                spans.push((start, whole.len()));
            }
        }
        let first = spans.first().map_or(whole.len(), |(start, _)| *start);
        let rest = whole.split_off(first);
        self.spans_sample(&Joined { prompt: whole, rest, raw: true }, &spans)
    }

    /// Tokens of a text of which some spans carry loss, up to the end token of the last one.
    fn spans_sample(&self, joined: &Joined, spans: &[(usize, usize)]) -> Result<Sample, BaseError> {
        let (Pieces { mut tokens, spans: places }, prompt_tokens) = self.join(joined)?;
        let mut supervised = vec![false; tokens.len()];
        let mut ended = false;
        for (start, end) in spans {
            // A byte-level tokenizer may count no white space to a token's place: a line break's is empty, at its end.
            let within =
                |(from, to): (usize, usize)| to > *start && (from < *end || (from == to && from == *end));
            let inside: Vec<usize> = (prompt_tokens..tokens.len()).filter(|at| within(places[*at])).collect();
            // A template may put more after the end token (a line break): that is never generated.
            let last_end = inside.iter().rposition(|at| self.eos.contains(&tokens[*at]));
            ended = last_end.is_some();
            for at in &inside[..last_end.map_or(inside.len(), |last| last + 1)] {
                supervised[*at] = true;
            }
        }
        let kept = supervised.iter().rposition(|carries| *carries).map_or(tokens.len(), |last| last + 1);
        tokens.truncate(kept);
        supervised.truncate(kept);
        if let Some(end) = self.eos.first()
            && !ended
            && !spans.is_empty()
        {
            tokens.push(*end);
            supervised.push(true);
        }
        Ok(Sample { tokens, supervised, truncated: false })
    }

    /// Tokens of a prompt and what follows it, beginning with exactly the prompt's own tokens, and how many those are.
    fn join(&self, joined: &Joined) -> Result<(Pieces, usize), BaseError> {
        let Joined { prompt, rest, raw } = joined;
        let before = if *raw { self.prompt(prompt, true)? } else { self.tokenizer.encode(prompt, false)? };
        let together = self.tokenizer.encode_pieces(&format!("{prompt}{rest}"), *raw)?;
        if together.tokens.starts_with(&before) {
            return Ok((together, before.len()));
        }
        // A token reaches over the border ("\n" + "\n" can be one). Split there. A tokenizer that reads the rest as the
        // start of a text and puts a space before it must read it behind something else.
        let wanted = self.tokenizer.decode(&together.tokens, false)?;
        for anchor in ANCHORS {
            let Some(after) = self.behind(anchor, rest)? else { continue };
            let split: Vec<u32> = before.iter().chain(&after.tokens).copied().collect();
            if self.tokenizer.decode(&split, false)? == wanted {
                let shifted =
                    after.spans.iter().map(|(start, end)| (start + prompt.len(), end + prompt.len()));
                let spans = std::iter::repeat_n((0, 0), before.len()).chain(shifted).collect();
                return Ok((Pieces { tokens: split, spans }, before.len()));
            }
        }
        let reaches = together.spans.iter().position(|(_, end)| *end > prompt.len());
        let prompt_tokens = reaches.unwrap_or(together.tokens.len());
        Ok((together, prompt_tokens))
    }

    /// The tokens of `rest` as they are behind `anchor`, or nothing where a token belongs to both.
    fn behind(&self, anchor: &str, rest: &str) -> Result<Option<Pieces>, BaseError> {
        let Pieces { mut tokens, mut spans } =
            self.tokenizer.encode_pieces(&format!("{anchor}{rest}"), false)?;
        let first = spans.iter().position(|(_, end)| *end > anchor.len()).unwrap_or(spans.len());
        if spans.get(first).is_some_and(|(start, _)| *start < anchor.len()) {
            return Ok(None);
        }
        tokens.drain(..first);
        let shifted =
            spans.drain(first..).map(|(start, end)| (start - anchor.len(), end - anchor.len())).collect();
        Ok(Some(Pieces { tokens, spans: shifted }))
    }
}

/// A text in two parts: what is fed, and what should come.
struct Joined {
    prompt: String,
    rest: String,
    /// No template: the tokenizer adds its BOS.
    raw: bool,
}

/// Bytes that two texts share at their beginning, ending between characters.
fn common_prefix(a: &str, b: &str) -> usize {
    let shared = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    (0..=shared).rev().find(|at| a.is_char_boundary(*at)).unwrap_or(0)
}

#[cfg(test)]
mod tests;
