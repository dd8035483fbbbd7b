//! What a base is asked to see whether an adapter has left it what it was. Nobody rehearses these.
//!
//! A base that chats is not asked to write on from openings: there a voice may well be heard, and says nothing about whether the assistant is still there.

use hotplate_engine::base::Base;
use hotplate_engine::base_spec::BaseError;

use crate::reference_samples::{Opening, ReferenceSampling};

/// Tokens of each answer, at most.
pub const ANSWER_TOKENS: usize = 48;
/// Answers of a base that has a chat template; of another one there are fewer.
pub const ANSWERS: usize = QUESTIONS.len();

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

/// # Errors
/// The tokenizer fails on an opening.
pub fn drawing(base: &Base) -> Result<ReferenceSampling, BaseError> {
    if base.text.chats() {
        let asked = ReferenceSampling::new(base, QUESTIONS.map(Opening::Question), ANSWER_TOKENS)?;
        // A template may refuse every question.
        if !asked.is_empty() {
            return Ok(asked);
        }
    }
    ReferenceSampling::new(base, OPENINGS.map(Opening::Text), ANSWER_TOKENS)
}
