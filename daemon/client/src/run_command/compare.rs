//! `compare`: each prompt several times, with the same seed; first the base alone, then behind examples, then the adapter.
//!
//! The base's answer is asked for by the adapter (`base_alone`): which base an adapter has is known to the daemon, not to a front end.

use hotplate_protocol::methods::generate::{Generate, GenerateParams};

use super::CommandError;
use super::context::Context;
use crate::command::CompareArgs;
use crate::shown::{Answers, Shown};

pub(super) fn compare(
    context: &Context<'_>,
    args: &CompareArgs,
    show: &mut dyn FnMut(Shown),
) -> Result<(), CommandError> {
    let &Context { connection, canceller, .. } = context;
    let adapter = context.named_adapter(&args.adapter)?;
    let feed = args.feed.to_feed(context.folder);
    if adapter.is_none() && feed.is_none() {
        return Err(CommandError::NothingToCompare);
    }
    let mut params = GenerateParams {
        prompt: String::new(),
        adapter,
        base: context.base(&args.base),
        fallback_base: context.fallback(),
        quantize: args.quantize.quantize,
        base_alone: true,
        raw: args.raw,
        feed: None,
        sampling: args.sampling.to_sampling(),
    };
    let mut is_toy = false;
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
        is_toy |= context.is_toy_by_default(&args.base, params.adapter.as_deref(), &base.base);
        let answers = Box::new(Answers { prompt: prompt.clone(), base, fed, mine });
        show(Shown::Compared { number: index + 1, of: args.prompts.len(), answers });
    }
    if is_toy {
        show(Shown::ToyByDefault);
    }
    Ok(())
}
