//! What a base writes of its own, which has nothing to do with anybody's data: answers to everyday prompts, drawn once and kept by the base's fingerprint.
//!
//! The likeliest answer of a base that chats, with fixed seeds what another one writes on from an opening. It must not know what the texts are for.

use hotplate_engine::answers::{Answers, Question};
use hotplate_engine::base::Base;
use hotplate_engine::base_spec::{BaseError, BaseSpec};
use hotplate_engine::generate::GenerateError;
use hotplate_engine::sampling::SamplingOptions;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReferenceSample {
    pub tokens: Vec<u32>,
    /// How many of them are the opening, not the base's own; at least 1.
    pub prompt_tokens: usize,
}

impl ReferenceSample {
    pub fn prompt(&self) -> &[u32] {
        &self.tokens[..self.prompt_tokens.min(self.tokens.len())]
    }

    /// What the base wrote, with the token that ended it.
    pub fn own(&self) -> &[u32] {
        &self.tokens[self.prompt_tokens.min(self.tokens.len())..]
    }
}

/// A base's texts of one kind; belongs to its fingerprint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReferenceSamples {
    pub samples: Vec<ReferenceSample>,
}

/// Why a base could not write.
#[derive(Debug, thiserror::Error)]
pub enum ReferenceError {
    #[error(transparent)]
    Base(#[from] BaseError),
    #[error(transparent)]
    Generate(#[from] GenerateError),
}

/// What a base is given to write from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opening {
    /// Asked as a person would, through the chat template.
    Question(&'static str),
    /// A text that goes on. An empty one is the bare beginning of a text where the base has a token for that.
    Text(&'static str),
}

impl Opening {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Opening::Question(text) | Opening::Text(text) => text,
        }
    }

    /// `None`: the chat template refuses it.
    pub(crate) fn tokens(self, text: &BaseSpec) -> Result<Option<Vec<u32>>, BaseError> {
        match self {
            Opening::Question(question) => Ok(text.prompt(question, false).ok()),
            Opening::Text(opening) => {
                let mut tokens = text.prompt(opening, true)?;
                if tokens.is_empty() {
                    tokens.extend(text.bos.or(text.eos.first().copied()));
                }
                Ok(Some(tokens))
            }
        }
    }

    /// A base that chats is asked for what it would answer, another one for what it might write.
    fn options(self, number: usize, max_tokens: usize) -> SamplingOptions {
        SamplingOptions {
            temperature: if matches!(self, Opening::Question(_)) { 0.0 } else { 1.0 },
            top_p: 1.0,
            seed: number as u64,
            max_tokens,
            ..SamplingOptions::default()
        }
    }
}

/// The drawing of a base's texts, all of them together: one forward pass a step.
pub struct ReferenceSampling {
    prompts: Vec<Vec<u32>>,
    answers: Answers,
}

impl ReferenceSampling {
    /// `most` tokens each.
    ///
    /// # Errors
    /// The tokenizer fails on an opening. A chat template that refuses a question is no error: then there is one text less.
    pub(crate) fn new(
        base: &Base,
        openings: impl IntoIterator<Item = Opening>,
        most: usize,
    ) -> Result<ReferenceSampling, BaseError> {
        let context = base.decoder.config().context;
        let most = most.min(context / 2);
        let (mut prompts, mut questions) = (Vec::new(), Vec::new());
        for opening in openings {
            let Some(prompt) = opening.tokens(&base.text)? else { continue };
            if prompt.is_empty() || prompt.len() + most >= context {
                continue;
            }
            let options = opening.options(prompts.len(), most);
            questions.push(Question { prompt: prompt.clone(), options });
            prompts.push(prompt);
        }
        Ok(ReferenceSampling { answers: Answers::new(None, questions), prompts })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.prompts.is_empty()
    }

    /// Tokens that are written, and how many there will be at most.
    pub fn progress(&self) -> (usize, usize) {
        self.answers.progress()
    }

    /// One forward pass; all texts after the last. An empty answer is none; one that came to its end has its end token.
    ///
    /// # Errors
    /// A tensor operation that failed.
    pub fn step(&mut self, base: &Base) -> Result<Option<ReferenceSamples>, ReferenceError> {
        let Some(answers) = self.answers.step(base)? else { return Ok(None) };
        let written = self.prompts.iter().zip(answers).filter(|(_, answer)| !answer.tokens.is_empty());
        let samples = written.map(|(prompt, answer)| ReferenceSample {
            tokens: prompt.iter().chain(&answer.tokens).chain(&answer.end).copied().collect(),
            prompt_tokens: prompt.len(),
        });
        Ok(Some(ReferenceSamples { samples: samples.collect() }))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use hotplate_engine::generate::{Generation, GenerationEvent};

    use super::*;
    use crate::test_base;

    pub(crate) fn drawn(base: &Base, mut drawing: ReferenceSampling) -> ReferenceSamples {
        loop {
            if let Some(samples) = drawing.step(base).unwrap() {
                let (done, of) = drawing.progress();
                assert!(done <= of);
                return samples;
            }
        }
    }

    const OPENINGS: [Opening; 4] =
        [Opening::Text(""), Opening::Text("a b"), Opening::Text("c"), Opening::Question("a")];

    fn draw(base: &Base) -> ReferenceSamples {
        drawn(base, ReferenceSampling::new(base, OPENINGS, 32).unwrap())
    }

    /// Drawn together, they are what each seed draws by itself.
    #[test]
    fn samples_are_those_of_each_opening_alone() {
        let base = test_base::base(7);
        let samples = draw(&base).samples;
        assert!(samples.len() >= 3, "{samples:?}");
        let of = |opening: &Opening| opening.tokens(&base.text).unwrap();
        for (number, sample) in samples.iter().enumerate() {
            let opening = OPENINGS.iter().find(|each| of(each).as_deref() == Some(sample.prompt())).unwrap();
            let prompt = sample.prompt().to_vec();
            let options = opening.options(number, 32);
            let mut generation = Generation::new(&base, None, prompt, options).unwrap();
            let mut own = Vec::new();
            loop {
                let (token_ids, over) = match generation.step(&base).unwrap() {
                    GenerationEvent::Reading => (Vec::new(), false),
                    GenerationEvent::Delta { token_ids, .. } => (token_ids, false),
                    GenerationEvent::Done { token_ids, .. } => (token_ids, true),
                };
                own.extend(token_ids);
                if over {
                    own.extend(generation.end());
                    break;
                }
            }
            assert_eq!(sample.own(), own);
            assert!(!sample.prompt().is_empty() && (1..=33).contains(&own.len()));
        }
    }

    #[test]
    fn the_same_base_writes_the_same_and_another_something_else() {
        let samples = draw(&test_base::base(7));
        assert_eq!(samples, draw(&test_base::base(7)));
        assert_ne!(samples, draw(&test_base::base(8)));
        let json = serde_json::to_string(&samples).unwrap();
        assert_eq!(serde_json::from_str::<ReferenceSamples>(&json).unwrap(), samples);
    }

    #[test]
    fn what_leaves_no_room_for_an_answer_is_left_out() {
        let base = test_base::base(7);
        let long: &'static str = "a b c ".repeat(base.decoder.config().context).leak();
        let drawing = ReferenceSampling::new(&base, [Opening::Text(long)], 32).unwrap();
        assert!(drawing.is_empty());
        assert_eq!(drawn(&base, drawing), ReferenceSamples::default());
    }
}
