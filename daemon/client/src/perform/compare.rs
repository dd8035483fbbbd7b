//! `compare`: each prompt several times, with the same seed; first the base alone, then behind examples, then the adapter.

use std::path::Path;

use hotplate_protocol::methods::generate::{Generate, GenerateParams};

use super::PerformError;
use crate::canceller::Canceller;
use crate::command::{CompareArgs, adapter_or_folder, base_or_folder};
use crate::connection::Connection;
use crate::shown::{Answers, Shown};

pub(super) fn compare(
    connection: &Connection,
    args: &CompareArgs,
    folder: &Path,
    canceller: &Canceller,
    show: &mut dyn FnMut(Shown),
) -> Result<(), PerformError> {
    let adapter = args.adapter.adapter.as_deref().map(|adapter| adapter_or_folder(folder, adapter));
    let feed = args.feed.to_feed(folder);
    if adapter.is_none() && feed.is_none() {
        return Err(PerformError::NothingToCompare);
    }
    let mut params = GenerateParams {
        prompt: String::new(),
        adapter,
        base: args.base.base.as_deref().map(|base| base_or_folder(folder, base)),
        quantize: args.quantize.quantize,
        base_alone: true,
        raw: args.raw,
        feed: None,
        sampling: args.sampling.to_sampling(),
    };
    for (index, prompt) in args.prompts.iter().enumerate() {
        params.prompt.clone_from(prompt);
        params.base_alone = true;
        params.sampling.seed = args.sampling.seed;
        let base = connection.call_with::<Generate>(&params, canceller, &mut |_| {})?;
        params.sampling.seed = Some(base.seed);
        let fed = if feed.is_some() {
            params.feed.clone_from(&feed);
            let fed = connection.call_with::<Generate>(&params, canceller, &mut |_| {})?;
            params.feed = None;
            Some(fed)
        } else {
            None
        };
        let mine = if params.adapter.is_some() {
            params.base_alone = false;
            Some(connection.call_with::<Generate>(&params, canceller, &mut |_| {})?)
        } else {
            None
        };
        let answers = Box::new(Answers { prompt: prompt.clone(), base, fed, mine });
        show(Shown::Compared { number: index + 1, of: args.prompts.len(), answers });
    }
    Ok(())
}
