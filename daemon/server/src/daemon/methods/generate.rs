//! `generate/start`: resolves which base and adapter answer; the file pool makes tokens of the prompt, behind examples where they are wanted, and
//! the worker does the rest.

use std::time::Instant;

use hotplate_engine::base_spec::{BaseError, BaseSpec};
use hotplate_protocol::methods::generate::{Generate, GenerateParams, Sampling};
use hotplate_protocol::{ErrorCode, RpcError};

use super::Later;
use crate::daemon::feeding::{FedExamples, feed_prompt};
use crate::daemon::file_pool::{FileJob, FilePool, Gone};
use crate::daemon::resolve_model::{BaseRequest, label_of_whole, pick, pick_base};
use crate::daemon::rpc_errors;
use crate::daemon::sessions::RequestRef;
use crate::daemon::state::Daemon;
use crate::daemon::worker::{BaseChoice, GenerateJob, MAX_TOKENS, WorkerJob};

/// Answers in progress in the whole daemon: each holds a cache in memory.
const GENERATIONS: usize = 128;
/// Bytes of a prompt that is tokenised in a millisecond or two.
const SHORT: usize = 1 << 14;

impl Later for Generate {
    fn begin(
        daemon: &mut Daemon,
        asker: &RequestRef,
        params: GenerateParams,
        arrived: Instant,
    ) -> Result<(), RpcError> {
        check_sampling(&params.sampling)?;
        if daemon.generating.len() >= GENERATIONS {
            let message = format!("{GENERATIONS} answers are being written; try again in a moment");
            return Err(RpcError::new(ErrorCode::Busy, message));
        }
        let adapter = params.adapter.as_deref();
        let base = BaseRequest {
            named: params.base.as_deref(),
            fallback: params.fallback_base.as_deref(),
            quantize: params.quantize,
        };
        let (base, adapter, label) = if params.base_alone {
            (BaseChoice::Given(pick_base(daemon, base, adapter)?), None, None)
        } else {
            let (base, picked) = pick(daemon, base, adapter)?;
            let label = if picked.is_none() { label_of_whole(daemon, adapter) } else { None };
            (base, picked, label)
        };
        let gone = Gone::default();
        daemon.generating.insert(asker.clone(), gone.clone());
        let short = params.feed.is_none() && params.prompt.len() <= SHORT;
        let asking = asker.clone();
        let read = Box::new(move |file_pool: &FilePool| {
            let source = base.source(adapter.as_ref());
            let text = file_pool.texts.open(&source).map_err(|error| rpc_errors::of_base(&error))?;
            let (prompt, fed) = read_prompt(&text, &params, &gone)?;
            let sampling = params.sampling;
            let job =
                GenerateJob { asker: asking, source, text, adapter, label, prompt, fed, sampling, arrived };
            Ok(WorkerJob::Generate(Box::new(job)))
        });
        daemon.file_jobs.send(if short {
            FileJob::ReadPrompt(asker.clone(), read)
        } else {
            FileJob::ReadTexts(asker.clone(), read)
        });
        Ok(())
    }
}

/// The prompt's tokens, behind examples where they are wanted.
fn read_prompt(
    text: &BaseSpec,
    params: &GenerateParams,
    gone: &Gone,
) -> Result<(Vec<u32>, Option<FedExamples>), RpcError> {
    let failed = |error: BaseError| rpc_errors::of_base(&error);
    let Some(feed) = &params.feed else {
        let prompt = text.short_prompt(&params.prompt, params.raw, &|| gone.is_set()).map_err(failed)?;
        return Ok((prompt, None));
    };
    text.check_length(&params.prompt, &|| gone.is_set()).map_err(failed)?;
    let answer_tokens = params.sampling.max_tokens.unwrap_or(MAX_TOKENS);
    let (prompt, fed) = feed_prompt(text, feed, &params.prompt, params.raw, answer_tokens)?;
    Ok((prompt, Some(fed)))
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
