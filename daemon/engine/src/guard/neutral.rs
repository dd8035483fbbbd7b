//! The base's own texts, which an adapter's drift is measured on.
//!
//! A base writes them itself, once, with fixed seeds: from an empty page, from a few everyday openings, and where it has a chat template, as answers
//! to everyday questions. Whatever a person trains, these texts have nothing to do with it.

use serde::{Deserialize, Serialize};

use crate::base::Base;
use crate::base_text::BaseError;
use crate::generate::{GenerateError, Generation, GenerationEvent};
use crate::sampling::SamplingOptions;

/// Tokens of each sample behind its opening, at most.
pub const SAMPLE_TOKENS: usize = 32;

/// How the samples begin. An empty text is the bare beginning of a text where the base has a token for that.
const OPENINGS: [&str; 8] =
    ["", "", "The", "In the morning", "Most people think that", "Here is how it works:", "今天", "他说"];
const QUESTIONS: [&str; 8] = [
    "What is the weather like in spring?",
    "How do I boil an egg?",
    "Tell me something about the sea.",
    "Write two sentences about a train.",
    "What is the difference between a lake and a river?",
    "Name three things that are found in a kitchen.",
    "请介绍一下春天。",
    "怎样保存蔬菜？",
];

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeutralSample {
    pub tokens: Vec<u32>,
    /// How many of them are the opening, not the base's own; at least 1.
    pub prompt_tokens: usize,
}

/// All of a base's neutral samples; belongs to its fingerprint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeutralSamples {
    pub samples: Vec<NeutralSample>,
}

/// Why a base could not write.
#[derive(Debug, thiserror::Error)]
pub enum NeutralError {
    #[error(transparent)]
    Base(#[from] BaseError),
    #[error(transparent)]
    Generate(#[from] GenerateError),
}

/// The drawing of a base's neutral samples: one forward pass a step.
pub struct NeutralDrawing {
    prompts: Vec<Vec<u32>>,
    next: usize,
    current: Option<Generation>,
    tokens: Vec<u32>,
    drawn: NeutralSamples,
}

impl NeutralDrawing {
    /// # Errors
    /// The tokenizer fails on the openings. A chat template that refuses them is no error: then there are no questions.
    pub fn new(base: &Base) -> Result<NeutralDrawing, BaseError> {
        let text = &base.text;
        let room = base.decoder.config().context.saturating_sub(SAMPLE_TOKENS);
        let mut prompts = Vec::new();
        for opening in OPENINGS {
            let mut tokens = text.encode_raw(opening)?;
            if tokens.is_empty() {
                tokens.extend(text.bos.or(text.eos.first().copied()));
            }
            prompts.push(tokens);
        }
        // Half and half: a chat base lives in its template, but should not forget how to write either.
        if text.chats() {
            for question in QUESTIONS {
                prompts.extend(text.prompt(question, false).ok());
            }
        }
        prompts.retain(|prompt| !prompt.is_empty() && prompt.len() < room.max(2));
        Ok(NeutralDrawing {
            prompts,
            next: 0,
            current: None,
            tokens: Vec::new(),
            drawn: NeutralSamples::default(),
        })
    }

    /// One forward pass; all samples after the last.
    pub fn step(&mut self, base: &Base) -> Result<Option<NeutralSamples>, NeutralError> {
        let Some(prompt) = self.prompts.get(self.next) else { return Ok(Some(self.drawn.clone())) };
        if self.current.is_none() {
            let options = SamplingOptions {
                temperature: 1.0,
                top_p: 1.0,
                seed: self.next as u64,
                max_tokens: SAMPLE_TOKENS,
                ..SamplingOptions::default()
            };
            self.tokens.clone_from(prompt);
            self.current = Some(Generation::new(base, None, prompt.clone(), options)?);
        }
        let Some(generation) = &mut self.current else { return Ok(None) };
        let (token_ids, over) = match generation.step(base)? {
            GenerationEvent::Reading => (Vec::new(), false),
            GenerationEvent::Delta { token_ids, .. } => (token_ids, false),
            GenerationEvent::Done { token_ids, .. } => (token_ids, true),
        };
        self.tokens.extend(token_ids);
        if over {
            let tokens = std::mem::take(&mut self.tokens);
            if tokens.len() > prompt.len() {
                self.drawn.samples.push(NeutralSample { tokens, prompt_tokens: prompt.len() });
            }
            self.current = None;
            self.next += 1;
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_base;

    fn draw(base: &Base) -> NeutralSamples {
        let mut drawing = NeutralDrawing::new(base).unwrap();
        loop {
            if let Some(samples) = drawing.step(base).unwrap() {
                return samples;
            }
        }
    }

    #[test]
    fn the_same_base_writes_the_same_and_another_something_else() {
        let samples = draw(&test_base::base(7));
        assert_eq!(samples, draw(&test_base::base(7)));
        assert_ne!(samples, draw(&test_base::base(8)));
        assert!(samples.samples.len() >= 4, "{samples:?}");
        for sample in &samples.samples {
            let own = sample.tokens.len() - sample.prompt_tokens;
            assert!(sample.prompt_tokens >= 1 && (1..=SAMPLE_TOKENS).contains(&own));
        }
        let different: std::collections::BTreeSet<_> =
            samples.samples.iter().map(|sample| &sample.tokens).collect();
        assert!(different.len() > samples.samples.len() / 2, "seeds differ");
        let json = serde_json::to_string(&samples).unwrap();
        assert_eq!(serde_json::from_str::<NeutralSamples>(&json).unwrap(), samples);
    }
}
