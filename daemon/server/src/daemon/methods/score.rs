//! `score/run`: the file pool reads the texts, the worker scores them.

use std::fs;
use std::path::Path;
use std::time::Instant;

use hotplate_dataset::{Content, Example, Limits, Measured};
use hotplate_engine::base_spec::{BaseError, BaseSource, BaseSpec};
use hotplate_engine::encode_example::EncodeOptions;
use hotplate_protocol::methods::score::{HeldOut, ScoreParams, ScoreTexts};
use hotplate_protocol::methods::train::Knobs;
use hotplate_protocol::{ErrorCode, RpcError};

use super::Later;
use crate::daemon::feeding::no_examples;
use crate::daemon::file_pool::{FileJob, FilePool, Gone};
use crate::daemon::heldout::ask;
use crate::daemon::resolve_model::{BaseRequest, pick, pick_base};
use crate::daemon::runs::overrides::columns_in;
use crate::daemon::runs::read::{max_tokens, measured};
use crate::daemon::sessions::{Pace, RequestRef};
use crate::daemon::state::Daemon;
use crate::daemon::worker::{ExampleLocation, ResolvedAdapter, ScoreJob, WorkerJob};
use crate::daemon::{reading, rpc_errors};

/// Scorings in progress in the whole daemon.
const SCORINGS: usize = 16;

impl Later for ScoreTexts {
    fn begin(
        daemon: &mut Daemon,
        asker: &RequestRef,
        params: ScoreParams,
        _arrived: Instant,
    ) -> Result<(), RpcError> {
        if daemon.scoring.len() >= SCORINGS {
            let message = format!("{SCORINGS} files are being scored; try again in a moment");
            return Err(RpcError::new(ErrorCode::Busy, message));
        }
        let adapter = params.adapter.as_deref();
        let base = BaseRequest {
            named: params.base.as_deref(),
            fallback: params.fallback_base.as_deref(),
            quantize: params.quantize,
        };
        let (source, adapter) = if params.base_alone {
            (pick_base(daemon, base, adapter)?, None)
        } else {
            let (base, adapter) = pick(daemon, base, adapter)?;
            (base.source(adapter.as_ref()), adapter)
        };
        let gone = Gone::default();
        daemon.scoring.insert(asker.clone(), gone.clone());
        let asking = asker.clone();
        let pace = daemon.pace(asker);
        let read = move |file_pool: &FilePool| {
            let job = match params.heldout {
                Some(heldout) => read_heldout(file_pool, &params, heldout, source, adapter, pace, &gone),
                None => read(file_pool, &params, source, adapter, pace, &gone),
            };
            Ok(WorkerJob::Score(asking, Box::new(job?)))
        };
        daemon.file_jobs.send(FileJob::ReadTexts(asker.clone(), Box::new(read)));
        Ok(())
    }
}

/// Held-out examples as answers to their own prompts.
fn read_heldout(
    file_pool: &FilePool,
    params: &ScoreParams,
    heldout: HeldOut,
    source: BaseSource,
    adapter: Option<ResolvedAdapter>,
    pace: Pace,
    gone: &Gone,
) -> Result<ScoreJob, RpcError> {
    let text = file_pool.texts.open(&source).map_err(|error| rpc_errors::of_base(&error))?;
    let asked = ask(file_pool, &params.path, &text, params.adapter.as_deref(), heldout, gone)?;
    Ok(ScoreJob {
        source,
        adapter,
        text,
        samples: asked.samples,
        places: asked.examples.iter().map(place).collect(),
        left_out: asked.left_out,
        heldout: Some(asked.scored),
        pace,
    })
}

fn place(example: &Example) -> ExampleLocation {
    ExampleLocation { file: example.file.to_string_lossy().into_owned().into(), lines: example.lines }
}

/// The examples as training would see them.
fn read(
    file_pool: &FilePool,
    params: &ScoreParams,
    source: BaseSource,
    adapter: Option<ResolvedAdapter>,
    pace: Pace,
    gone: &Gone,
) -> Result<ScoreJob, RpcError> {
    let not_found = |message: String| RpcError::new(ErrorCode::NotFound, message);
    let path = &params.path;
    if !path.is_absolute() {
        return Err(not_found(format!("the path {} is not absolute", path.display())));
    }
    let metadata = fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => {
            not_found(format!("there is no file or folder {}; check the path", path.display()))
        }
        _ => not_found(format!("cannot open {}: {error}; check that you may read it", path.display())),
    })?;
    let text = file_pool.texts.open(&source).map_err(|error| rpc_errors::of_base(&error))?;
    let longest = max_tokens(&text, &Knobs::default());
    // Texts are divided as training divides them; what is wrong with a record is found below.
    let options = EncodeOptions::new(longest);
    let measure = |example: &Example| match example.content {
        Content::Text(_) => measured(&text, example, &options),
        _ => Ok(Measured { learnt: 1, ..Measured::default() }),
    };
    let columns = columns_in(if metadata.is_dir() { path } else { path.parent().unwrap_or(path) });
    let limits =
        Limits { max_tokens: longest, measure: Some(&measure), columns: &columns, ..Limits::default() };
    let read = if metadata.is_dir() { hotplate_dataset::read } else { hotplate_dataset::read_one };
    let dataset = reading::apart(|| read(path, &limits));
    let dataset = dataset.map_err(|error| rpc_errors::of_dataset(&error))?;
    let (mut samples, mut places, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    for example in &dataset.examples {
        if gone.is_set() {
            return Err(rpc_errors::of_base(&BaseError::Stopped));
        }
        match encode(&text, example, longest, path) {
            Ok(sample) => {
                samples.push(sample);
                places.push(place(example));
            }
            // Training leaves it out, too, and check says why.
            Err(error) => refused.push(error),
        }
    }
    let skipped = dataset.findings.iter().filter(|finding| finding.code.skips()).count();
    let left_out = skipped + refused.len();
    if samples.is_empty() {
        return Err(refused.into_iter().next().unwrap_or_else(|| no_examples(path, &dataset)));
    }
    Ok(ScoreJob { source, adapter, text, samples, places, left_out, heldout: None, pace })
}

fn encode(
    text: &BaseSpec,
    example: &Example,
    longest: usize,
    path: &Path,
) -> Result<hotplate_engine::base_spec::Sample, RpcError> {
    text.encode_example(&example.content, &EncodeOptions::new(longest)).map_err(|error| {
        let folder = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
        let place = folder.join(&example.file);
        let message = format!("{}:{}: {error}", place.display(), example.lines.0);
        RpcError::new(ErrorCode::UnusableBase, message)
    })
}
