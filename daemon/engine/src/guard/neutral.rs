//! The base's own texts, which an adapter's drift is measured on.
//!
//! A base writes them itself, once, with fixed seeds: where it has a chat template, as answers to everyday questions, which nobody rehearses; else from an empty
//! page and a few everyday openings. Whatever a person trains, these texts have nothing to do with it. A base that chats is not asked to write on from openings: there a voice
//! may well be heard, and says nothing about whether the assistant is still there.

use serde::{Deserialize, Serialize};

use crate::answers::{Answers, Question};
use crate::base::Base;
use crate::base_text::BaseError;
use crate::generate::GenerateError;
use crate::sampling::SamplingOptions;

/// Tokens of each sample behind its opening, at most.
pub const SAMPLE_TOKENS: usize = 32;
/// Samples of a base that has a chat template; of another one there are fewer.
pub const SAMPLES: usize = QUESTIONS.len();

/// How the samples begin. An empty text is the bare beginning of a text where the base has a token for that.
const OPENINGS: [&str; 8] =
    ["", "", "The", "In the morning", "Most people think that", "Here is how it works:", "今天", "他说"];
const QUESTIONS: [&str; 16] = [
    "What is the weather like in spring?",
    "How do I boil an egg?",
    "Tell me something about the sea.",
    "Write two sentences about a train.",
    "What is the difference between a lake and a river?",
    "Name three things that are found in a kitchen.",
    "Why is bread baked?",
    "What is the capital of Norway?",
    "How do I get better at chess?",
    "What is a clock for?",
    "Hi! Can you help me?",
    "What is 12 minus 5?",
    "Why do we laugh?",
    "请介绍一下春天。",
    "怎样保存蔬菜？",
    "水有什么用？",
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

/// The drawing of a base's neutral samples, all of them together: one forward pass a step.
pub struct NeutralDrawing {
    prompts: Vec<Vec<u32>>,
    answers: Answers,
}

impl NeutralDrawing {
    /// # Errors
    /// The tokenizer fails on the openings. A chat template that refuses them is no error: then there are no questions.
    pub fn new(base: &Base) -> Result<NeutralDrawing, BaseError> {
        let text = &base.text;
        let room = base.decoder.config().context.saturating_sub(SAMPLE_TOKENS);
        let mut prompts = Vec::new();
        let fits = |prompt: &Vec<u32>| !prompt.is_empty() && prompt.len() < room.max(2);
        if text.chats() {
            prompts.extend(
                QUESTIONS.iter().filter_map(|question| text.prompt(question, false).ok()).filter(fits),
            );
        }
        // A template may refuse every question.
        if prompts.is_empty() {
            for opening in OPENINGS {
                let mut tokens = text.prompt(opening, true)?;
                if tokens.is_empty() {
                    tokens.extend(text.bos.or(text.eos.first().copied()));
                }
                prompts.extend(Some(tokens).filter(fits));
            }
        }
        let questions = prompts
            .iter()
            .enumerate()
            .map(|(number, prompt)| Question { prompt: prompt.clone(), options: options(number) });
        Ok(NeutralDrawing { answers: Answers::new(None, questions.collect()), prompts })
    }

    /// Tokens that are written, and how many there will be at most.
    pub fn progress(&self) -> (usize, usize) {
        self.answers.progress()
    }

    /// One forward pass; all samples after the last.
    pub fn step(&mut self, base: &Base) -> Result<Option<NeutralSamples>, NeutralError> {
        let Some(answers) = self.answers.step(base)? else { return Ok(None) };
        let written = self.prompts.iter().zip(answers).filter(|(_, answer)| !answer.tokens.is_empty());
        let samples = written.map(|(prompt, answer)| NeutralSample {
            tokens: prompt.iter().chain(&answer.tokens).copied().collect(),
            prompt_tokens: prompt.len(),
        });
        Ok(Some(NeutralSamples { samples: samples.collect() }))
    }
}

/// Each sample has a seed of its own, the same for every base.
fn options(number: usize) -> SamplingOptions {
    SamplingOptions {
        temperature: 1.0,
        top_p: 1.0,
        seed: number as u64,
        max_tokens: SAMPLE_TOKENS,
        ..SamplingOptions::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::{Generation, GenerationEvent};
    use crate::test_base;

    fn draw(base: &Base) -> NeutralSamples {
        let mut drawing = NeutralDrawing::new(base).unwrap();
        loop {
            if let Some(samples) = drawing.step(base).unwrap() {
                return samples;
            }
        }
    }

    /// Drawn together, they are what each seed draws by itself.
    #[test]
    fn samples_are_those_of_each_opening_alone() {
        let base = test_base::base(7);
        for (number, sample) in draw(&base).samples.iter().enumerate() {
            let prompt = sample.tokens[..sample.prompt_tokens].to_vec();
            let mut generation = Generation::new(&base, None, prompt.clone(), options(number)).unwrap();
            let mut tokens = prompt;
            loop {
                let (token_ids, over) = match generation.step(&base).unwrap() {
                    GenerationEvent::Reading => (Vec::new(), false),
                    GenerationEvent::Delta { token_ids, .. } => (token_ids, false),
                    GenerationEvent::Done { token_ids, .. } => (token_ids, true),
                };
                tokens.extend(token_ids);
                if over {
                    break;
                }
            }
            assert_eq!(sample.tokens, tokens);
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
