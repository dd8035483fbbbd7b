//! One answer being written: a value that steps, one forward pass at a time, by itself or [together](step_together) with others.
//!
//! Owns when an answer ends and which part of its text may already be shown. It must not know who asked or what time it is.
//!
//! Logits that are NaN, where no token at all can be drawn, are an error of that answer alone.

mod together;

use std::sync::Arc;

use candle_core::{DType, Tensor};
use half::bf16;
use hotplate_gemm::FEW_ROWS;

pub use together::{MOST_TOGETHER, step_together};

use crate::base::Base;
use crate::decoder::{Batch, Group, KvCache};
use crate::detokenize::DetokenizeStream;
use crate::device::in_pool;
use crate::lora::Adapter;
use crate::sampling::{Sampler, SamplingOptions};

/// Prompt tokens that go through the decoder at once: bounds the memory of a long prompt and the wait of others.
const PREFILL_CHUNK: usize = 512;
/// Reading a prompt of so many tokens takes some thirty times as long as laying out an adapter.
const LONG_PROMPT: usize = 192;

#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    #[error("the prompt is empty; write at least one character")]
    EmptyPrompt,
    #[error("the prompt has {tokens} tokens, and this base reads {context} at most; shorten it")]
    PromptTooLong { tokens: usize, context: usize },
    #[error("the adapter has {found} layers and the base {expected}: it was made for another base")]
    OtherBase { expected: usize, found: usize },
    #[error("the forward pass failed: {0}")]
    Tensor(#[from] candle_core::Error),
    #[error(
        "after {tokens} tokens no next one can be drawn, because what the base and the adapter compute are no numbers any more; \
         try the base alone, or an earlier version of the adapter"
    )]
    NotFinite { tokens: usize },
    #[error("the tokens could not be turned into text: {0}")]
    Text(String),
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// The end-of-sequence token or a stop text.
    Stop,
    /// `max_tokens`, or the end of the base's context.
    Length,
}

/// What an answer's next step will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Read a part of its prompt.
    Reads,
    /// Write a token behind what it has read; such steps can be taken together.
    Writes,
    /// Say that it is over.
    Ends,
}

/// What one step brought. The texts of all deltas and of `Done` together are the answer.
#[derive(Debug, Clone, PartialEq)]
pub enum GenerationEvent {
    /// Part of the prompt was read; no token yet.
    Reading,
    /// `text` may be empty while a character or a possible stop text is incomplete.
    Delta {
        text: String,
        token_ids: Vec<u32>,
    },
    Done {
        finish: Finish,
        text: String,
        token_ids: Vec<u32>,
    },
}

pub struct Generation {
    adapter: Option<Arc<Adapter>>,
    options: SamplingOptions,
    sampler: Sampler,
    /// Whether the likeliest token is looked for among logits in bf16. What was multiplied as bf16 tells them no better apart, and transformers, whose logits are
    /// of that type, then takes the lowest id among equals. Drawn tokens keep what there is: equals would share their probability.
    in_bf16: bool,
    cache: KvCache,
    /// The prompt and what was written.
    tokens: Vec<u32>,
    prompt_len: usize,
    eos: Vec<u32>,
    end: Option<u32>,
    context: usize,
    stream: DetokenizeStream,
    /// Text that was made and not yet shown, because it could be the start of a stop text.
    held: String,
}

impl Generation {
    pub fn new(
        base: &Base,
        adapter: Option<Arc<Adapter>>,
        prompt: Vec<u32>,
        options: SamplingOptions,
    ) -> Result<Self, GenerateError> {
        let config = base.decoder.config();
        if prompt.is_empty() {
            return Err(GenerateError::EmptyPrompt);
        }
        if prompt.len() >= config.context {
            return Err(GenerateError::PromptTooLong { tokens: prompt.len(), context: config.context });
        }
        if let Some(adapter) = &adapter
            && adapter.layers.len() != config.layers
        {
            return Err(GenerateError::OtherBase { expected: config.layers, found: adapter.layers.len() });
        }
        Ok(Self {
            adapter,
            sampler: Sampler::new(&options),
            in_bf16: options.temperature <= 0.0 && base.decoder.logits_are_of_bf16(),
            options,
            cache: KvCache::default(),
            prompt_len: prompt.len(),
            tokens: prompt,
            eos: base.text.eos.clone(),
            end: None,
            context: config.context,
            stream: base.text.decode_stream(),
            held: String::new(),
        })
    }

    /// At most one forward pass. After `Done`, a further step answers `Done` again, without text.
    pub fn step(&mut self, base: &Base) -> Result<GenerationEvent, GenerateError> {
        in_pool(|| self.advance(base))
    }

    /// What the next step will do.
    pub fn turn(&self, base: &Base) -> Turn {
        if self.written() >= self.options.max_tokens || self.tokens.len() >= self.context {
            return Turn::Ends;
        }
        let read = self.cache.len();
        let one_is_left = read > 0 && self.tokens.len() - read == 1;
        if one_is_left && !base.decoder.outgrown(&self.cache, self.tokens.len()) {
            Turn::Writes
        } else {
            Turn::Reads
        }
    }

    /// To be called before each pass of so many rows: lays out the adapter when that is felt least. Beside a long prompt it is nothing; the first token
    /// behind a short one is not to wait for what only the second needs.
    fn prepare(&self, base: &Base, rows: usize) -> candle_core::Result<()> {
        let due = self.written() <= 1 && (rows <= FEW_ROWS || self.prompt_len > LONG_PROMPT);
        match &self.adapter {
            Some(adapter) if due => base.decoder.prepare(adapter),
            _ => Ok(()),
        }
    }

    /// The end token that it was ended by.
    pub fn end(&self) -> Option<u32> {
        self.end
    }

    fn written(&self) -> usize {
        self.tokens.len() - self.prompt_len
    }

    fn advance(&mut self, base: &Base) -> Result<GenerationEvent, GenerateError> {
        if self.turn(base) == Turn::Ends {
            return self.done(Finish::Length, Vec::new());
        }
        if base.decoder.outgrown(&self.cache, self.tokens.len()) {
            self.cache = KvCache::default();
        }
        let next = &self.tokens[self.cache.len()..];
        let chunk = &next[..next.len().min(PREFILL_CHUNK)];
        let last = chunk.len() == next.len();
        self.prepare(base, chunk.len())?;
        let batch = Batch::part(chunk, self.cache.len(), self.tokens.len());
        let hidden = base.decoder.forward(&batch, self.adapter.as_deref(), Some(&mut self.cache))?;
        if !last {
            return Ok(GenerationEvent::Reading);
        }
        let row = hidden.narrow(0, hidden.dim(0)? - 1, 1)?;
        let logits =
            base.decoder.logits_together(&row, &[Group { rows: 1, adapter: self.adapter.as_deref() }])?;
        self.write(&logits.squeeze(0)?)
    }

    /// Draws the next token from its logits, `[vocab]`.
    fn write(&mut self, logits: &Tensor) -> Result<GenerationEvent, GenerateError> {
        let mut logits = logits.to_dtype(DType::F32)?.to_vec1::<f32>()?;
        if !logits.iter().any(|logit| logit.is_finite()) {
            return Err(GenerateError::NotFinite { tokens: self.tokens.len() });
        }
        if self.in_bf16 {
            for logit in &mut logits {
                *logit = bf16::from_f32(*logit).to_f32();
            }
        }
        let token = self.sampler.draw(&mut logits, &self.tokens);
        if self.eos.contains(&token) && !self.options.ignore_eos {
            self.end = Some(token);
            return self.done(Finish::Stop, Vec::new());
        }
        self.tokens.push(token);
        let piece = self.stream.push(token).map_err(|error| GenerateError::Text(error.to_string()))?;
        self.held.push_str(&piece);
        if let Some(at) = first_stop(&self.held, &self.options.stop) {
            self.held.truncate(at);
            let text = std::mem::take(&mut self.held);
            self.options.max_tokens = 0;
            return Ok(GenerationEvent::Done { finish: Finish::Stop, text, token_ids: vec![token] });
        }
        if self.written() >= self.options.max_tokens || self.tokens.len() >= self.context {
            return self.done(Finish::Length, vec![token]);
        }
        let keep = possible_stop(&self.held, &self.options.stop);
        let rest = self.held.split_off(self.held.len() - keep);
        let text = std::mem::replace(&mut self.held, rest);
        Ok(GenerationEvent::Delta { text, token_ids: vec![token] })
    }

    fn done(&mut self, finish: Finish, token_ids: Vec<u32>) -> Result<GenerationEvent, GenerateError> {
        self.options.max_tokens = 0;
        let mut text = std::mem::take(&mut self.held);
        let rest = self.stream.finish().map_err(|error| GenerateError::Text(error.to_string()))?;
        text.push_str(&rest);
        // The last incomplete characters may complete a stop text after all.
        if let Some(at) = first_stop(&text, &self.options.stop) {
            text.truncate(at);
        }
        Ok(GenerationEvent::Done { finish, text, token_ids })
    }
}

/// Where the earliest stop text begins.
fn first_stop(text: &str, stops: &[String]) -> Option<usize> {
    stops.iter().filter(|stop| !stop.is_empty()).filter_map(|stop| text.find(stop.as_str())).min()
}

/// Bytes at the end of `text` that could be the beginning of a stop text.
fn possible_stop(text: &str, stops: &[String]) -> usize {
    let longest = |stop: &String| {
        stop.char_indices()
            .map(|(at, _)| at)
            .chain([stop.len()])
            .filter(|&len| len > 0 && len < stop.len() && text.ends_with(&stop[..len]))
            .max()
            .unwrap_or(0)
    };
    stops.iter().map(longest).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stop_texts_are_found_and_their_beginnings_held_back() {
        let stops = ["\n\n".to_owned(), "结束".to_owned(), String::new()];
        assert_eq!(first_stop("a\n\nb结束", &stops), Some(1));
        assert_eq!(first_stop("abc", &stops), None);
        assert_eq!(possible_stop("abc\n", &stops), 1);
        assert_eq!(possible_stop("好结", &stops), "结".len());
        assert_eq!(possible_stop("好", &stops), 0);
    }
}
