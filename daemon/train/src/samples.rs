//! Answers to the recipe's prompts while a run goes on: the base's once, those of what is learnt at each evaluation.
//!
//! Always the likeliest token, so that nothing here touches the run's own random numbers and two answers differ only by what was learnt.

use std::sync::Arc;

use hotplate_engine::answers::{Answer, Answers, Question};
use hotplate_engine::base::Base;

use super::TrainError;
use super::event::SamplePair;
use super::trained_weights::TrainedWeights;
use super::work::{Work, WorkKind};

/// Prompts as tokens.
#[derive(Debug, Clone, Default)]
pub(crate) struct Prompts {
    texts: Vec<String>,
    tokens: Vec<Vec<u32>>,
    most_tokens: usize,
}

impl Prompts {
    /// # Errors
    /// A prompt that the base cannot read.
    pub(crate) fn new(base: &Base, texts: &[String], most_tokens: usize) -> Result<Prompts, TrainError> {
        let mut tokens = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            let bad = |why: String| TrainError::BadSetting(format!("prompt {}: {why}", index + 1));
            let encoded =
                base.text.short_prompt(text, false, &|| false).map_err(|error| bad(error.to_string()))?;
            let context = base.decoder.config().context;
            if encoded.is_empty() || encoded.len() >= context {
                let len = encoded.len();
                return Err(bad(format!("it has {len} tokens, and this base reads {context} at most")));
            }
            tokens.push(encoded);
        }
        Ok(Prompts { texts: texts.to_vec(), tokens, most_tokens })
    }

    /// Beginnings that nobody wrote: what they are shown as does not matter.
    pub(crate) fn of_tokens(tokens: Vec<Vec<u32>>, most_tokens: usize) -> Prompts {
        Prompts { texts: vec![String::new(); tokens.len()], tokens, most_tokens }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    pub(crate) fn pairs(&self, base: &[String], mine: Vec<Answer>) -> Vec<SamplePair> {
        let answers = base.iter().cloned().zip(mine.into_iter().map(|answer| answer.text));
        self.texts
            .iter()
            .zip(answers)
            .map(|(prompt, (base, mine))| SamplePair { prompt: prompt.clone(), base, mine })
            .collect()
    }
}

/// All prompts answered once by the bare base, or by what was learnt.
pub(crate) struct SampleAnswers {
    /// The base with the weights that were learnt; `None`: as it was given.
    moved: Option<Base>,
    answers: Answers,
}

impl SampleAnswers {
    pub(crate) fn new(base: &Base, learnt: Option<&TrainedWeights>, prompts: &Prompts) -> SampleAnswers {
        let questions =
            prompts.tokens.iter().map(|tokens| Question::greedy(tokens.clone(), prompts.most_tokens));
        SampleAnswers::asked(base, learnt, questions.collect())
    }

    pub(crate) fn asked(
        base: &Base,
        learnt: Option<&TrainedWeights>,
        questions: Vec<Question>,
    ) -> SampleAnswers {
        let moved = match learnt {
            Some(TrainedWeights::Base(decoder)) => {
                Some(Base::of(Arc::clone(&base.text), (**decoder).clone(), base.device.clone()))
            }
            _ => None,
        };
        let adapter = learnt.and_then(TrainedWeights::adapter).map(|adapter| Arc::new(adapter.clone()));
        SampleAnswers { moved, answers: Answers::new(adapter, questions) }
    }

    /// Tokens that are written.
    pub(crate) fn work(&self, kind: WorkKind) -> Work {
        let (done, of) = self.answers.progress();
        Work { kind, done, of }
    }

    /// At most one forward pass; all answers after the last.
    pub(crate) fn step(&mut self, base: &Base) -> Result<Option<Vec<Answer>>, TrainError> {
        Ok(self.answers.step(self.moved.as_ref().unwrap_or(base))?)
    }
}
