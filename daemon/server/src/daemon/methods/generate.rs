//! `generate/start`: resolves which base and adapter answer; the desk puts examples before the prompt where they are wanted, and the
//! worker does the rest.

use std::time::Instant;

use hotplate_protocol::feed::Feed;
use hotplate_protocol::methods::generate::{Generate, GenerateParams, Sampling};
use hotplate_protocol::{ErrorCode, RpcError};

use super::Later;
use crate::daemon::desk::{Desk, Errand};
use crate::daemon::faults;
use crate::daemon::feeding::feed_prompt;
use crate::daemon::pick::{label_of_whole, pick, pick_base};
use crate::daemon::sessions::Asker;
use crate::daemon::state::Daemon;
use crate::daemon::worker::{BaseChoice, Command, GenerateJob, MAX_TOKENS, Prompt};

/// Answers in progress in the whole daemon: each holds a cache in memory.
const GENERATIONS: usize = 128;

impl Later for Generate {
    fn begin(
        daemon: &mut Daemon,
        asker: &Asker,
        params: GenerateParams,
        arrived: Instant,
    ) -> Result<(), RpcError> {
        check_sampling(&params.sampling)?;
        if daemon.generating.len() >= GENERATIONS {
            let message = format!("{GENERATIONS} answers are being written; try again in a moment");
            return Err(RpcError::new(ErrorCode::Busy, message));
        }
        let (base, adapter) = (params.base.as_deref(), params.adapter.as_deref());
        let (base, adapter, label) = if params.base_alone {
            (BaseChoice::Given(pick_base(daemon, base, params.quantize, adapter)?), None, None)
        } else {
            let (base, picked) = pick(daemon, base, params.quantize, adapter)?;
            let label = if picked.is_none() { label_of_whole(daemon, adapter) } else { None };
            (base, picked, label)
        };
        daemon.generating.insert(asker.clone());
        let job = GenerateJob {
            asker: asker.clone(),
            base,
            adapter,
            label,
            prompt: Prompt::Text { text: params.prompt, raw: params.raw },
            sampling: params.sampling,
            arrived,
        };
        match params.feed {
            None => daemon.worker.send(Command::Generate(Box::new(job))),
            Some(feed) => {
                let read = move |desk: &Desk| behind_examples(desk, job, &feed);
                daemon.errands.send(Errand::ReadTexts(asker.clone(), Box::new(read)));
            }
        }
        Ok(())
    }
}

/// The same prompt, with examples before it.
fn behind_examples(desk: &Desk, job: GenerateJob, feed: &Feed) -> Result<Command, RpcError> {
    let source = job.base.clone().source(job.adapter.as_ref());
    let text = desk.texts.open(&source).map_err(|error| faults::of_base(&error))?;
    let answer_tokens = job.sampling.max_tokens.unwrap_or(MAX_TOKENS);
    let prompt = match job.prompt {
        Prompt::Text { text: prompt, raw } => {
            let (tokens, fed) = feed_prompt(&text, feed, &prompt, raw, answer_tokens)?;
            Prompt::Fed { tokens, fed, fingerprint: text.fingerprint.clone() }
        }
        fed @ Prompt::Fed { .. } => fed,
    };
    let base = BaseChoice::Given(source);
    Ok(Command::Generate(Box::new(GenerateJob { base, prompt, ..job })))
}

fn check_sampling(sampling: &Sampling) -> Result<(), RpcError> {
    let bad = |why: &str| Err(RpcError::new(ErrorCode::InvalidParams, why.to_owned()));
    if sampling.temperature.is_some_and(|t| !(0.0..=100.0).contains(&t)) {
        return bad("temperature must be between 0 (always the likeliest token) and 100");
    }
    if sampling.top_p.is_some_and(|p| !(p > 0.0 && p <= 1.0)) {
        return bad("top_p must be above 0 and at most 1 (all tokens)");
    }
    if sampling.repetition_penalty.is_some_and(|penalty| !(penalty > 0.0 && penalty.is_finite())) {
        return bad("repetition_penalty must be above 0; 1 is none");
    }
    if sampling.max_tokens == Some(0) {
        return bad("max_tokens must be at least 1");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_numbers_are_refused() {
        assert!(check_sampling(&Sampling::default()).is_ok());
        for sampling in [
            Sampling { temperature: Some(f64::NAN), ..Sampling::default() },
            Sampling { temperature: Some(-1.0), ..Sampling::default() },
            Sampling { top_p: Some(0.0), ..Sampling::default() },
            Sampling { repetition_penalty: Some(f64::INFINITY), ..Sampling::default() },
            Sampling { max_tokens: Some(0), ..Sampling::default() },
        ] {
            assert!(check_sampling(&sampling).is_err(), "{sampling:?}");
        }
    }
}
