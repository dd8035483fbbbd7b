//! Several prompts answered together by one base and adapter, to the end: what training asks for and nobody waits for.
//!
//! A value that steps, one forward pass at a time. It must not know what the answers are for.

use std::sync::Arc;

use crate::base::Base;
use crate::generate::{GenerateError, Generation, GenerationEvent, MOST_TOGETHER, Turn, step_together};
use crate::lora::Adapter;
use crate::sampling::SamplingOptions;

/// A prompt, and how its answer is drawn.
#[derive(Debug, Clone)]
pub struct Question {
    pub prompt: Vec<u32>,
    pub options: SamplingOptions,
}

impl Question {
    /// The likeliest token each time.
    pub fn greedy(prompt: Vec<u32>, max_tokens: usize) -> Question {
        let options = SamplingOptions { temperature: 0.0, max_tokens, ..SamplingOptions::default() };
        Question { prompt, options }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    pub text: String,
    pub tokens: Vec<u32>,
    /// The token that ended it, where one did.
    pub end: Option<u32>,
}

pub struct Answers {
    adapter: Option<Arc<Adapter>>,
    questions: Vec<Question>,
    /// One for each question that has begun.
    written: Vec<Answer>,
    /// Those that are being written, with their question's number; few, because each holds a cache.
    live: Vec<(usize, Generation)>,
}

impl Answers {
    pub fn new(adapter: Option<Arc<Adapter>>, questions: Vec<Question>) -> Answers {
        Answers { adapter, questions, written: Vec::new(), live: Vec::new() }
    }

    /// Tokens that are written, and how many there will be at most.
    pub fn progress(&self) -> (usize, usize) {
        let written = |number: usize| self.written.get(number).map_or(0, |answer| answer.tokens.len());
        let live = |number: usize| self.live.iter().any(|(known, _)| *known == number);
        let of = self.questions.iter().map(|question| question.options.max_tokens).sum();
        // One that ended by itself is done, however short it is.
        let done = self.questions.iter().enumerate().map(|(number, question)| {
            let over = number < self.written.len() && !live(number);
            if over { question.options.max_tokens } else { written(number) }
        });
        (done.sum(), of)
    }

    /// At most one forward pass; all answers, in the order of their questions, after the last.
    ///
    /// # Errors
    /// A prompt that the base cannot read; a tensor operation that failed.
    pub fn step(&mut self, base: &Base) -> Result<Option<Vec<Answer>>, GenerateError> {
        let next = self.written.len();
        if self.live.len() < MOST_TOGETHER
            && let Some(question) = self.questions.get(next)
        {
            let Question { prompt, options } = question.clone();
            self.live.push((next, Generation::new(base, self.adapter.clone(), prompt, options)?));
            self.written.push(Answer::default());
        }
        if self.live.is_empty() {
            return Ok(Some(std::mem::take(&mut self.written)));
        }
        // Those who read do so one by one, and the others wait for them: then all write together for as long as they can.
        let reading = self.live.iter().position(|(_, answer)| answer.turn(base) == Turn::Reads);
        let stepping = reading.map_or(0..self.live.len(), |at| at..at + 1);
        let mut rows: Vec<&mut Generation> =
            self.live[stepping.clone()].iter_mut().map(|(_, answer)| answer).collect();
        let events = step_together(base, &mut rows);
        let mut over = Vec::new();
        for ((number, generation), event) in self.live[stepping].iter().zip(events) {
            let (text, tokens) = match event {
                Ok(GenerationEvent::Reading) => continue,
                Ok(GenerationEvent::Delta { text, token_ids }) => (text, token_ids),
                Ok(GenerationEvent::Done { text, token_ids, .. }) => {
                    over.push(*number);
                    self.written[*number].end = generation.end();
                    (text, token_ids)
                }
                // What was written before stays: an answer is worth less than what it is asked for.
                Err(GenerateError::NotFinite { .. }) => {
                    over.push(*number);
                    continue;
                }
                Err(error) => return Err(error),
            };
            let answer = &mut self.written[*number];
            answer.text.push_str(&text);
            answer.tokens.extend(tokens);
        }
        self.live.retain(|(number, _)| !over.contains(number));
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    /// More questions than go through the decoder together, against each of them by itself.
    #[test]
    fn answers_are_those_of_each_question_alone() {
        let base = fixtures::base(3);
        let adapter = Arc::new(fixtures::adapter(&base.decoder, 3));
        let questions: Vec<Question> = (0..MOST_TOGETHER + 5)
            .map(|number| {
                let prompt = (0..=number as u32 % 5).map(|at| (at * 7 + number as u32) % 24).collect();
                let greedy = Question::greedy(prompt, 2 + number % 9);
                let drawn =
                    SamplingOptions { temperature: 1.0, seed: number as u64, ..greedy.options.clone() };
                if number % 2 == 0 { greedy } else { Question { options: drawn, ..greedy } }
            })
            .collect();
        let alone = questions.iter().map(|Question { prompt, options }| {
            let mut generation =
                Generation::new(&base, Some(Arc::clone(&adapter)), prompt.clone(), options.clone()).unwrap();
            let mut answer = Answer::default();
            loop {
                let (text, token_ids, over) = match generation.step(&base).unwrap() {
                    GenerationEvent::Reading => continue,
                    GenerationEvent::Delta { text, token_ids } => (text, token_ids, false),
                    GenerationEvent::Done { text, token_ids, .. } => (text, token_ids, true),
                };
                answer.text.push_str(&text);
                answer.tokens.extend(token_ids);
                if over {
                    answer.end = generation.end();
                    return answer;
                }
            }
        });
        let alone: Vec<Answer> = alone.collect();
        let mut answers = Answers::new(Some(Arc::clone(&adapter)), questions);
        let mut steps = 0;
        let together = loop {
            steps += 1;
            if let Some(all) = answers.step(&base).unwrap() {
                break all;
            }
        };
        assert_eq!(together, alone);
        let tokens: usize = alone.iter().map(|answer| answer.tokens.len()).sum();
        assert!(steps < tokens, "{steps} passes for {tokens} tokens");
        assert_eq!(Answers::new(None, Vec::new()).step(&base).unwrap(), Some(Vec::new()));
        let mut unreadable = Answers::new(None, vec![Question::greedy(Vec::new(), 3)]);
        assert!(matches!(unreadable.step(&base), Err(GenerateError::EmptyPrompt)));
    }
}
