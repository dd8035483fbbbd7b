//! `dataset/check`: reads a folder as training would, and says what it found.

use hotplate_dataset::Side;
use hotplate_protocol::RpcError;
use hotplate_protocol::methods::check::{Check, CheckParams, CheckResult, Finding};
use hotplate_protocol::methods::train::Knobs;

use super::AtDesk;
use crate::daemon::desk::Desk;
use crate::daemon::faults;
use crate::daemon::runs::order::source;
use crate::daemon::runs::place::{base_folder, real_folder};
use crate::daemon::runs::prepare::choose_full;
use crate::daemon::runs::read::{count_tokens, max_tokens, read};
use crate::daemon::store::Manifest;

impl AtDesk for Check {
    fn answer(desk: &Desk, params: CheckParams) -> Result<CheckResult, RpcError> {
        let folder = real_folder(&params.folder)?;
        let base = match &params.base {
            Some(base) => base_folder(base)?,
            None => None,
        };
        let text = desk.texts.open(&source(base.as_deref())).map_err(|error| faults::of_base(&error))?;
        let longest = max_tokens(&text, &Knobs::default());
        let dataset = read(&folder, &text, longest)?;
        // The sides that were given in earlier runs of this folder stay.
        let store = desk.store()?;
        let row = store.adapters()?.into_iter().find(|row| row.folder == folder);
        let manifest = match row {
            Some(row) => store.manifest(&crate::daemon::runs::order::Target {
                folder: folder.clone(),
                adapter: row.name,
            })?,
            None => Manifest::default(),
        };
        let choice = choose_full(&dataset.examples, &manifest);
        let tokens: Vec<usize> =
            dataset.examples.iter().map(|example| count_tokens(&text, &example.content)).collect();
        let heldout = choice.learns.iter().filter(|(_, side)| *side == Side::HeldOut).count();
        Ok(CheckResult {
            folder,
            files: dataset.files.len(),
            examples: dataset.examples.len(),
            train_examples: choice.train.len(),
            heldout_examples: heldout,
            tokens: tokens.iter().map(|count| (*count).min(longest)).sum(),
            longest_tokens: tokens.iter().copied().max().unwrap_or(0),
            findings: dataset
                .findings
                .into_iter()
                .map(|finding| Finding {
                    code: finding.code.code().to_owned(),
                    name: finding.code.name().to_owned(),
                    // A name that is no UTF-8 could not cross the wire.
                    file: finding.file.to_string_lossy().into_owned().into(),
                    lines: finding.lines,
                    column: finding.column,
                    message: finding.message,
                    remedy: finding.code.remedy().to_owned(),
                    skipped: finding.code.skips(),
                })
                .collect(),
        })
    }
}
