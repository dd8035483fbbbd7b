//! Reads a dataset as training sees it, and says what it is worth.

use std::path::Path;

use hotplate_dataset::{Columns, Dataset, Example, Limits, Measured};
use hotplate_engine::base_spec::BaseSpec;
use hotplate_engine::encode_example::{EncodeOptions, Encoded};
use hotplate_protocol::methods::train::Knobs;
use hotplate_protocol::{ErrorCode, RpcError};

use crate::daemon::file_pool::Gone;
use crate::daemon::{reading, rpc_errors};

/// Longer examples are cut unless a knob says otherwise, however much a base could read: memory grows with the longest one.
const MOST_TOKENS: usize = 4096;

pub(crate) fn max_tokens(text: &BaseSpec, knobs: &Knobs) -> usize {
    knobs.max_tokens.unwrap_or(MOST_TOKENS).min(text.config.context).max(2)
}

/// What training makes of an example, or why it cannot take it.
pub(crate) fn measured(
    text: &BaseSpec,
    example: &Example,
    options: &EncodeOptions,
) -> Result<Measured, String> {
    let uncut = EncodeOptions { max_tokens: usize::MAX, ..*options };
    let forms = text.encode_forms(example, &uncut).map_err(|error| error.to_string())?;
    let Encoded { sample: plain, left_out } = forms.first().ok_or("there is nothing to learn in it")?;
    let learnt = plain.supervised.iter().take(options.max_tokens).filter(|carries| **carries).count();
    let longest_form = forms.iter().map(|form| form.sample.tokens.len()).max().unwrap_or(0);
    Ok(Measured { tokens: plain.tokens.len(), longest_form, learnt, left_out: left_out.clone() })
}

/// All examples of a folder that these options leave something to learn of.
///
/// # Errors
/// Where the folder cannot be read, and soon after whoever asked is `gone`: tokens are what takes the time.
pub(crate) fn read(
    folder: &Path,
    text: &BaseSpec,
    options: &EncodeOptions,
    columns: &Columns,
    gone: &Gone,
) -> Result<Dataset, RpcError> {
    let measure = |example: &Example| {
        if gone.is_set() { Err(String::new()) } else { measured(text, example, options) }
    };
    let limits =
        Limits { max_tokens: options.max_tokens, measure: Some(&measure), columns, ..Limits::default() };
    let dataset = reading::apart(|| hotplate_dataset::read(folder, &limits));
    if gone.is_set() {
        return Err(RpcError::new(ErrorCode::RequestCancelled, "cancelled"));
    }
    dataset.map_err(|error| rpc_errors::of_dataset(&error))
}

/// Too few examples to train on and to judge by.
pub(crate) fn too_few(dataset: &Dataset) -> RpcError {
    let folder = dataset.folder.display();
    let skipped = dataset.findings.iter().filter(|finding| finding.code.skips()).count();
    let found = match dataset.examples.len() {
        0 => format!("{folder} holds no examples"),
        _ => format!("{folder} holds one example"),
    };
    let why = match dataset.findings.iter().find(|finding| finding.code.skips()) {
        None => String::new(),
        Some(first) => format!(
            " ({skipped} were left out; the first is {}:{}: {})",
            first.file.display(),
            first.lines.0,
            first.message
        ),
    };
    let message = format!(
        "{found}{why}; at least 2 are needed, one to learn and one to judge by, and 10 or more to learn well. Put texts there: .txt or .md \
         files (one note each, or several separated by lines of ---), or .jsonl, .json, .csv or .parquet with text, prompt and completion, or messages"
    );
    RpcError::new(ErrorCode::UnusableDataset, message)
}
