//! `compare`: each prompt twice, with the same seed; first the base alone, then the adapter.

use std::path::Path;

use hotplate_protocol::methods::generate::{Generate, GenerateParams};

use super::PerformError;
use crate::canceller::Canceller;
use crate::command::{CompareArgs, adapter_or_folder, base_or_folder};
use crate::connection::Connection;
use crate::shown::{AnswerPair, Shown};

pub(super) fn compare(
    connection: &Connection,
    args: &CompareArgs,
    folder: &Path,
    canceller: &Canceller,
    show: &mut dyn FnMut(Shown),
) -> Result<(), PerformError> {
    let adapter = args.adapter.adapter.as_deref().ok_or(PerformError::NothingToCompare)?;
    let mut params = GenerateParams {
        prompt: String::new(),
        adapter: Some(adapter_or_folder(folder, adapter)),
        base: args.base.base.as_deref().map(|base| base_or_folder(folder, base)),
        base_alone: true,
        raw: args.raw,
        sampling: args.sampling.to_sampling(),
    };
    for (index, prompt) in args.prompts.iter().enumerate() {
        params.prompt.clone_from(prompt);
        params.base_alone = true;
        params.sampling.seed = args.sampling.seed;
        let base = connection.call_with::<Generate>(&params, canceller, &mut |_| {})?;
        params.base_alone = false;
        params.sampling.seed = Some(base.seed);
        let mine = connection.call_with::<Generate>(&params, canceller, &mut |_| {})?;
        let pair = AnswerPair { prompt: prompt.clone(), base, mine };
        show(Shown::Compared { number: index + 1, of: args.prompts.len(), pair });
    }
    Ok(())
}
