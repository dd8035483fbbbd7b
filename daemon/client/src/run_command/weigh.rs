//! `score --feed`: held-out examples three times, and what it says of feeding and training.

use hotplate_protocol::methods::Nothing;
use hotplate_protocol::methods::adapters::Adapters;
use hotplate_protocol::methods::score::{HeldOut, ScoreParams, ScoreResult, ScoreTexts, ScoredExample};
use hotplate_protocol::notifications::ScoreExample;

use super::CommandError;
use super::context::Context;
use super::score::params;
use crate::canceller::Canceller;
use crate::command::ScoreArgs;
use crate::connection::Connection;
use crate::shown::Shown;
use crate::weighed::{AdapterSide, FewShotVsTuned, FewShotVsTunedRow};

pub(super) fn weigh(
    context: &Context<'_>,
    args: &ScoreArgs,
    show: &mut dyn FnMut(Shown),
) -> Result<(), CommandError> {
    let &Context { connection, canceller, .. } = context;
    let asked = params(args, context)?;
    let adapter = asked.adapter.clone();
    let mut params = ScoreParams { base_alone: true, heldout: Some(HeldOut::Alone), ..asked };
    let score = |params: &ScoreParams| -> Result<(Vec<ScoredExample>, ScoreResult), CommandError> {
        let mut examples = Vec::new();
        let result = connection.call_with::<ScoreTexts>(params, canceller, &mut |notification| {
            if let Some(Ok(params)) = notification.parse::<ScoreExample>() {
                examples.push(params.example);
            }
        })?;
        Ok((examples, result))
    };
    let (bare, base) = score(&params)?;
    params.heldout = Some(HeldOut::Fed { examples: args.feed_examples });
    let (behind, fed) = score(&params)?;
    let learnt = base.heldout.map_or(0, |heldout| heldout.learnt);
    let (own, mine) = match adapter {
        None => (Vec::new(), AdapterSide::NotNamed),
        Some(adapter) if learnt > 0 => {
            let trained = trained(connection, canceller, &adapter)?;
            (Vec::new(), AdapterSide::Learnt { adapter, examples: learnt, trained })
        }
        Some(_) => {
            params.heldout = Some(HeldOut::Alone);
            params.base_alone = false;
            let (own, result) = score(&params)?;
            (own, AdapterSide::Scored(result))
        }
    };
    let rows = bare.iter().map(|example| {
        // A folder may change between two of the scorings.
        let same = |others: &[ScoredExample]| {
            let same = others.iter().find(|other| (&other.file, other.line) == (&example.file, example.line));
            same.and_then(|same| same.loss)
        };
        FewShotVsTunedRow {
            file: example.file.clone(),
            line: example.line,
            base: example.loss,
            fed: same(&behind),
            mine: same(&own),
        }
    });
    let rows = rows.collect();
    let is_toy = context.is_toy_by_default(&args.base, params.adapter.as_deref(), &base.base);
    show(Shown::FewShotVsTuned(Box::new(FewShotVsTuned {
        folder: args.path.clone(),
        rows,
        base,
        fed,
        mine,
    })));
    if is_toy {
        show(Shown::ToyByDefault);
    }
    Ok(())
}

/// What the version's own run has measured.
fn trained(
    connection: &Connection,
    canceller: &Canceller,
    adapter: &str,
) -> Result<Option<(f64, f64)>, CommandError> {
    let known = connection.call_with::<Adapters>(&Nothing {}, canceller, &mut |_| {})?;
    let (name, version) = match adapter.rsplit_once('@') {
        Some((name, version)) => (name, version.trim_start_matches('v').parse().ok()),
        None => (adapter, None),
    };
    let Some(known) = known.into_iter().find(|known| known.name == name) else { return Ok(None) };
    let wanted = version.unwrap_or(known.current);
    let found = known.versions.iter().find(|version| version.version == wanted);
    Ok(found.and_then(|version| Some((version.base_heldout_loss?, version.heldout_loss?))))
}
