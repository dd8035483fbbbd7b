//! How an example becomes tokens, and which of them carry loss.
//!
//! The invariant: a training item begins with exactly the tokens that an answer's prompt has ([`BaseSpec::prompt`]), and
//! goes on with the answer and its end token. What is trained is what is served.
//!
//! Where the answers lie in a rendered conversation is the work of [`answers`]; here is what becomes of it.

mod answers;

pub(crate) use answers::common_prefix;

use std::borrow::Cow;
use std::ops::Range;

use hotplate_dataset::{Chat, Content, Example, LeftOut, Role, Style, TrainOn, Turn};

use crate::base_spec::{BaseError, BaseSpec};
use crate::sample::Sample;
use crate::tokenizer::Pieces;

/// What the rest of a text may be read behind, so that it is not read as the start of one.
const ANCHORS: [&str; 4] = ["", "\n", "x", "."];

/// How examples become training items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncodeOptions {
    /// What is longer loses its end and says so.
    pub max_tokens: usize,
    pub train_on: TrainOn,
    pub style: Style,
}

impl EncodeOptions {
    /// The defaults: every completion is learnt, prose is plain.
    pub fn new(max_tokens: usize) -> Self {
        Self { max_tokens, train_on: TrainOn::default(), style: Style::default() }
    }
}

/// A training item, and what the chat template left out of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    pub sample: Sample,
    pub left_out: Vec<LeftOut>,
}

/// Without a template, all is shown.
impl From<Sample> for Encoded {
    fn from(sample: Sample) -> Self {
        Self { sample, left_out: Vec::new() }
    }
}

impl BaseSpec {
    /// All training items of an example: one, or a text's two where it is also learnt as an answer. A base without a chat
    /// template has no other form than the plain one.
    ///
    /// # Errors
    /// As [`encode_example`](Self::encode_example).
    pub fn encode_forms(
        &self,
        example: &Example,
        options: &EncodeOptions,
    ) -> Result<Vec<Encoded>, BaseError> {
        let style = if self.has_template()? { options.style } else { Style::Plain };
        example.forms(style).iter().map(|form| self.encode(form, options)).collect()
    }

    /// A content's tokens, at most `max_tokens`; what is longer loses its end and says so.
    ///
    /// - A text: BOS (if the tokenizer adds one), text, EOS; all carry loss but the first.
    /// - A completion: one user's and one assistant's turn through the chat template (without a template, prompt and
    ///   completion side by side); the completion and its end token carry loss.
    /// - A chat: through the template (without one, the turns on lines of their own); the assistant's turns and their
    ///   end tokens carry loss, calls of tools included. Nothing after the last of them is kept.
    ///
    /// [`TrainOn`] says which of the assistant's turns; with [`TrainOn::Everything`] all tokens carry loss and are kept, but for turns
    /// that are marked as not to be learnt.
    ///
    /// # Errors
    /// The template refuses these turns, or the tokenizer fails.
    pub fn encode_example(&self, content: &Content, options: &EncodeOptions) -> Result<Sample, BaseError> {
        self.encode(content, options).map(|encoded| encoded.sample)
    }

    fn encode(&self, content: &Content, options: &EncodeOptions) -> Result<Encoded, BaseError> {
        let EncodeOptions { max_tokens, train_on, .. } = *options;
        let mut encoded = match content {
            Content::Text(text) => self.text_sample(text)?.into(),
            Content::Completion { prompt, completion } => {
                if self.has_template()? {
                    let turns = vec![
                        Turn::new(Role::User, prompt.as_str()),
                        Turn::new(Role::Assistant, completion.as_str()),
                    ];
                    self.chat_sample(&Chat::new(turns), train_on)?
                } else {
                    let joined = Joined { prompt: prompt.clone(), rest: completion.clone(), raw: true };
                    let span = prompt.len()..prompt.len() + completion.len();
                    self.spans_sample(&joined, &[span], train_on)?.into()
                }
            }
            Content::Chat(chat) => {
                // Each turn is one token at least: what cannot fit need not be rendered.
                let most = max_tokens.max(1);
                let kept = if chat.turns.len() > most {
                    Cow::Owned(Chat { turns: chat.turns[..most].to_vec(), ..chat.clone() })
                } else {
                    Cow::Borrowed(chat)
                };
                let encode = |chat: &Chat, train_on| {
                    if self.has_template()? {
                        self.chat_sample(chat, train_on)
                    } else {
                        self.lines_sample(chat, train_on).map(Encoded::from)
                    }
                };
                let mut encoded = encode(&kept, train_on)?;
                let sample = &mut encoded.sample;
                if train_on == TrainOn::Everything
                    && let Some(others) = kept.marked_off()
                {
                    let others = encode(&others, TrainOn::Completions)?.sample;
                    let pairs = sample.tokens.iter().zip(&others.tokens).zip(&others.supervised);
                    for (carries, ((ours, theirs), off)) in sample.supervised.iter_mut().zip(pairs) {
                        *carries &= !(*off && ours == theirs);
                    }
                }
                sample.truncated = kept.turns.len() < chat.turns.len();
                encoded
            }
        };
        let sample = &mut encoded.sample;
        sample.truncated |= sample.tokens.len() > max_tokens;
        sample.tokens.truncate(max_tokens);
        sample.supervised.truncate(max_tokens);
        if let Some(first) = sample.supervised.first_mut() {
            *first = false;
        }
        Ok(encoded)
    }

    fn text_sample(&self, text: &str) -> Result<Sample, BaseError> {
        let mut tokens = self.encode_raw(text)?;
        if let Some(end) = self.eos.first()
            && tokens.last().is_none_or(|last| !self.eos.contains(last))
        {
            // What a tokenizer puts behind a text ends it only where an answer ends on it, too.
            tokens = self.tokenizer.encode_open(text)?;
            tokens.push(*end);
        }
        Ok(Sample { supervised: vec![true; tokens.len()], tokens, truncated: false })
    }

    fn chat_sample(&self, chat: &Chat, train_on: TrainOn) -> Result<Encoded, BaseError> {
        let answers::Answers { prompt, rest, spans, left_out } = self.answers(chat, train_on)?;
        let sample = self.spans_sample(&Joined { prompt, rest, raw: false }, &spans, train_on)?;
        Ok(Encoded { sample, left_out })
    }

    /// Without a template: each turn on a line of its own.
    fn lines_sample(&self, chat: &Chat, train_on: TrainOn) -> Result<Sample, BaseError> {
        let mut whole = String::new();
        let mut spans = Vec::new();
        let learnt = answers::learnt(chat, train_on);
        for (at, turn) in chat.turns.iter().enumerate() {
            if !whole.is_empty() {
                whole.push('\n');
            }
            let start = whole.len();
            whole.push_str(&turn.content);
            if learnt.contains(&at) && start < whole.len() {
                spans.push(start..whole.len());
            }
        }
        let first = spans.first().map_or(whole.len(), |span| span.start);
        let rest = whole.split_off(first);
        self.spans_sample(&Joined { prompt: whole, rest, raw: true }, &spans, train_on)
    }

    /// Tokens of a text of which some spans carry loss, up to the end token of the last one.
    fn spans_sample(
        &self,
        joined: &Joined,
        spans: &[Range<usize>],
        train_on: TrainOn,
    ) -> Result<Sample, BaseError> {
        let (Pieces { mut tokens, spans: places }, prompt_tokens) = self.join(joined)?;
        let mut supervised = vec![false; tokens.len()];
        let mut ended = false;
        for span in spans {
            let inside: Vec<usize> =
                (prompt_tokens..tokens.len()).filter(|at| joined.is_within(places[*at], span)).collect();
            // A template may put more after the end token (a line break): that is never generated.
            let last_end = inside.iter().rposition(|at| self.eos.contains(&tokens[*at]));
            ended = last_end.is_some();
            for at in &inside[..last_end.map_or(inside.len(), |last| last + 1)] {
                supervised[*at] = true;
            }
        }
        if train_on == TrainOn::Everything {
            supervised.fill(true);
        }
        let kept = supervised.iter().rposition(|carries| *carries).map_or(tokens.len(), |last| last + 1);
        tokens.truncate(kept);
        supervised.truncate(kept);
        if let Some(end) = self.eos.first()
            && !ended
            && !spans.is_empty()
            && tokens.last() != Some(end)
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

impl Joined {
    /// Whether a token's place belongs to a span: it may reach over its borders only with white space.
    fn is_within(&self, (from, to): (usize, usize), span: &Range<usize>) -> bool {
        // A byte-level tokenizer may count no white space to a token's place: a line break's is empty, at its end.
        let touches = to > span.start && (from < span.end || (from == to && from == span.end));
        let outside = [from..span.start.min(to), span.end.max(from)..to];
        touches && outside.into_iter().all(|part| part.is_empty() || self.is_white(part))
    }

    fn is_white(&self, part: Range<usize>) -> bool {
        let border = self.prompt.len();
        let mut bytes = part.map(|at| {
            let (text, at) = if at < border { (&self.prompt, at) } else { (&self.rest, at - border) };
            text.as_bytes().get(at).copied().unwrap_or(b' ')
        });
        bytes.all(|byte| byte.is_ascii_whitespace())
    }
}

#[cfg(test)]
mod tests;
