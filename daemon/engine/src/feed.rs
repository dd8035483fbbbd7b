//! Feeding: examples of a person in front of a prompt, so that a base without an adapter sees how he writes.
//!
//! The tokens are training's. A base that chats gets them as earlier turns through its template, one conversation with the
//! prompt; another one, and a raw prompt, as texts with the base's own BOS and EOS. The nearest example stands nearest to
//! the prompt. No example is ever cut. Which ones are near, and what folders are, is not known here.
//!
//! In a conversation a text is the answer to the instruction that `style = "instruct"` would make of its title, whatever the style: a turn needs a question.
//! Examples with other system words or tools than the nearest are left out, because a conversation has one system. A folder of which nothing can be fed is an
//! error.

use hotplate_dataset::{Chat, Content, Example, Role, TrainOn, Turn};
use serde_json::Value;

use crate::base_spec::{BaseError, BaseSpec};
use crate::encode_example::EncodeOptions;
use crate::sample::Sample;

/// After so many examples in a row that do not fit, no more are tried.
const MISSES: usize = 64;

/// How much may stand before a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    pub tokens: usize,
    pub examples: usize,
}

/// What stands before a prompt, and what does not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fed {
    /// The nearest first.
    pub examples: Vec<FedExample>,
    pub passed_over: Vec<PassedOver>,
}

/// Which of the ranked examples, and the tokens it adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FedExample {
    pub rank: usize,
    pub tokens: usize,
}

/// Why an example that was tried does not stand before the prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PassedOver {
    /// It has more tokens than were left.
    NoRoom { tokens: usize },
    /// Its system's words or tools are not those of the nearest example: a conversation has one system.
    OtherSystem,
    /// The template does not take its turns before a prompt.
    Refused,
}

impl BaseSpec {
    /// The tokens that lead to an answer: `prompt` as in [`prompt`](Self::prompt), behind as many of `ranked`, nearest first, as
    /// there is room for.
    ///
    /// # Errors
    /// The template refuses even the prompt alone, or the tokenizer fails.
    pub fn feed_prompt(
        &self,
        prompt: &str,
        raw: bool,
        ranked: &[&Example],
        room: Room,
    ) -> Result<(Vec<u32>, Fed), BaseError> {
        let alone = self.short_prompt(prompt, raw, &|| false)?;
        if raw || !self.has_template()? {
            let mut texts = Texts { base: self, tokens: Vec::new() };
            let fed = take(ranked, room, &mut |example, left| texts.add(example, left));
            texts.tokens.extend(alone);
            return Ok((texts.tokens, fed));
        }
        let mut talk = Conversation {
            base: self,
            system: None,
            before: Vec::new(),
            last: vec![Turn::new(Role::User, prompt)],
            answers: false,
            tokens: alone.len(),
        };
        let fed = take(ranked, room, &mut |example, left| talk.add(example, left));
        Ok((talk.encode()?, fed))
    }

    /// An example as the answer to its own prompt, behind others as [`feed_prompt`](Self::feed_prompt) puts them there: what feeding is
    /// measured with. Loss lies on its own answers alone.
    ///
    /// # Errors
    /// As [`encode_example`](Self::encode_example).
    pub fn feed_example(
        &self,
        example: &Example,
        ranked: &[&Example],
        room: Room,
        options: &EncodeOptions,
    ) -> Result<(Sample, Fed), BaseError> {
        // Everything would be what stands before it, too.
        let train_on = if options.train_on == TrainOn::Last { TrainOn::Last } else { TrainOn::Completions };
        let options = EncodeOptions { train_on, ..*options };
        if !self.has_template()? {
            let own = self.encode_example(&example.content, &options)?;
            let mut texts = Texts { base: self, tokens: Vec::new() };
            let fed = take(ranked, room, &mut |example, left| texts.add(example, left));
            let supervised = vec![false; texts.tokens.len()].into_iter().chain(own.supervised).collect();
            texts.tokens.extend(own.tokens);
            return Ok((Sample { tokens: texts.tokens, supervised, truncated: own.truncated }, fed));
        }
        let Shot { system, turns, context } = Shot::of(&example.in_conversation());
        let mut talk = Conversation {
            base: self,
            system: Some(system),
            before: Vec::new(),
            last: turns,
            answers: true,
            tokens: 0,
        };
        talk.tokens = talk.encode()?.len();
        let alone = talk.tokens;
        let fed = take(ranked, room, &mut |example, left| talk.add(example, left));
        let System { turns: mut all, tools } = talk.system.unwrap_or_default();
        let leading = all.len() + talk.before.len() + context;
        all.extend(talk.before);
        all.extend(talk.last);
        let max_tokens = options.max_tokens.saturating_add(talk.tokens.saturating_sub(alone));
        let options = EncodeOptions { max_tokens, ..options };
        let sample =
            self.encode_example(&Content::Chat(Chat { turns: all, tools, context: leading }), &options)?;
        Ok((sample, fed))
    }
}

impl BaseSpec {
    /// What an example answers, as tokens without any template: what an answer that copies it consists of.
    ///
    /// # Errors
    /// The tokenizer fails.
    pub fn answer_tokens(&self, example: &Example) -> Result<Vec<u32>, BaseError> {
        let text = match &example.content {
            Content::Text(text) => text.clone(),
            Content::Completion { completion, .. } => completion.clone(),
            Content::Chat(chat) => {
                let turns = chat.turns.iter().filter(|turn| turn.role == Role::Assistant);
                turns.map(|turn| turn.content.as_str()).collect::<Vec<_>>().join("\n")
            }
        };
        self.tokenizer.encode(&text, false)
    }
}

/// The nearest that fit. `add` puts an example before the others if it has at most so many tokens.
fn take(
    ranked: &[&Example],
    room: Room,
    add: &mut dyn FnMut(&Example, usize) -> Result<usize, PassedOver>,
) -> Fed {
    let mut fed = Fed::default();
    let (mut left, mut misses) = (room.tokens, 0);
    for (rank, example) in ranked.iter().enumerate() {
        if fed.examples.len() == room.examples || misses == MISSES {
            break;
        }
        match add(example, left) {
            Ok(tokens) => {
                left -= tokens;
                misses = 0;
                fed.examples.push(FedExample { rank, tokens });
            }
            Err(why) => {
                misses += 1;
                fed.passed_over.push(why);
            }
        }
    }
    fed
}

/// Before a prompt without a template.
struct Texts<'a> {
    base: &'a BaseSpec,
    tokens: Vec<u32>,
}

impl Texts<'_> {
    fn add(&mut self, example: &Example, left: usize) -> Result<usize, PassedOver> {
        let sample = self.base.encode_example(&example.content, &EncodeOptions::new(usize::MAX));
        let mut tokens = sample.map_err(|_| PassedOver::Refused)?.tokens;
        let own = tokens.len();
        if own > left {
            return Err(PassedOver::NoRoom { tokens: own });
        }
        tokens.append(&mut self.tokens);
        self.tokens = tokens;
        Ok(own)
    }
}

/// Before a prompt that goes through the template.
struct Conversation<'a> {
    base: &'a BaseSpec,
    /// `None` until the nearest example brings it.
    system: Option<System>,
    before: Vec<Turn>,
    last: Vec<Turn>,
    /// Whether the last turns hold their answer; else they lead to one.
    answers: bool,
    /// Of all turns.
    tokens: usize,
}

/// What a conversation has once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct System {
    turns: Vec<Turn>,
    tools: Option<Value>,
}

/// An example as turns that others may stand before and behind.
struct Shot {
    system: System,
    turns: Vec<Turn>,
    /// The first so many turns are not learnt.
    context: usize,
}

impl Shot {
    /// The content of a conversation, without what comes after its last answer.
    fn of(content: &Content) -> Shot {
        match content {
            Content::Completion { prompt, completion } => Shot {
                system: System::default(),
                turns: vec![
                    Turn::new(Role::User, prompt.as_str()),
                    Turn::new(Role::Assistant, completion.as_str()),
                ],
                context: 0,
            },
            Content::Chat(Chat { turns, tools, context }) => {
                let leads = |turn: &&Turn| matches!(turn.role, Role::System | Role::Developer);
                let system: Vec<Turn> = turns.iter().take_while(leads).cloned().collect();
                let end =
                    turns.iter().rposition(|turn| turn.role == Role::Assistant).map_or(0, |last| last + 1);
                Shot {
                    turns: turns.get(system.len()..end).unwrap_or_default().to_vec(),
                    context: context.saturating_sub(system.len()),
                    system: System { turns: system, tools: tools.clone() },
                }
            }
            // In a conversation a text is an answer.
            Content::Text(_) => Shot { system: System::default(), turns: Vec::new(), context: 0 },
        }
    }
}

impl Conversation<'_> {
    fn add(&mut self, example: &Example, left: usize) -> Result<usize, PassedOver> {
        let Shot { system, mut turns, .. } = Shot::of(&example.in_conversation());
        if turns.is_empty() {
            return Err(PassedOver::Refused);
        }
        if self.system.as_ref().is_some_and(|own| *own != system) {
            return Err(PassedOver::OtherSystem);
        }
        turns.extend_from_slice(&self.before);
        let tried = Conversation { system: Some(system), before: turns, last: self.last.clone(), ..*self };
        let all = tried.encode().map_err(|_| PassedOver::Refused)?.len();
        // A template may spend fewer tokens on a turn once others follow it.
        let own = all.saturating_sub(self.tokens);
        if own > left {
            return Err(PassedOver::NoRoom { tokens: own });
        }
        *self = Conversation { tokens: all, ..tried };
        Ok(own)
    }

    fn encode(&self) -> Result<Vec<u32>, BaseError> {
        let system = self.system.clone().unwrap_or_default();
        let mut turns = [system.turns.as_slice(), &self.before, &self.last].concat();
        if turns.iter().any(Turn::has_parts) && !self.base.reads_parts() {
            turns = turns.iter().map(Turn::flat).collect();
        }
        let tools = system.tools.as_ref();
        let text = if self.answers {
            self.base.render(&turns, tools, false)?
        } else {
            self.base.render_prompt(&turns, tools)?
        };
        self.base.tokenizer.encode(&text, false)
    }
}

#[cfg(test)]
mod tests;
