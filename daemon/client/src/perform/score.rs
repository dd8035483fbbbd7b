//! `score`: examples as they come, and at the end those that are known least.

use hotplate_protocol::methods::score::{ScoreParams, ScoreTexts, ScoredExample};
use hotplate_protocol::notifications::ScoreExample;

use super::PerformError;
use super::context::Context;
use crate::command::ScoreArgs;
use crate::shown::{ScoredLine, Shown};
use crate::words;

/// Characters of an example that are kept for its beginning.
const PREVIEW: usize = 200;

pub(super) fn score(
    context: &Context<'_>,
    args: &ScoreArgs,
    show: &mut dyn FnMut(Shown),
) -> Result<(), PerformError> {
    let params = params(args, context)?;
    let mut lines = Vec::new();
    let result =
        context.connection.call_with::<ScoreTexts>(&params, context.canceller, &mut |notification| {
            if let Some(Ok(params)) = notification.parse::<ScoreExample>() {
                lines.push(line(&params.example));
                show(Shown::ScoredExample(params.example));
            }
        })?;
    // Worst first; what has no loss comes last.
    lines.sort_by(|one, other| other.loss.unwrap_or(-1.0).total_cmp(&one.loss.unwrap_or(-1.0)));
    let is_toy = context.is_toy_by_default(&args.base, params.adapter.as_deref(), &result.base);
    show(Shown::Scored { lines, result });
    if is_toy {
        show(Shown::ToyByDefault);
    }
    Ok(())
}

/// What the command asks for: each example as it is.
pub(super) fn params(args: &ScoreArgs, context: &Context<'_>) -> Result<ScoreParams, PerformError> {
    Ok(ScoreParams {
        path: context.path(&args.path),
        adapter: context.named_adapter(&args.adapter)?,
        base: context.base(&args.base),
        fallback_base: context.fallback(),
        quantize: args.quantize.quantize,
        base_alone: false,
        heldout: None,
    })
}

fn line(example: &ScoredExample) -> ScoredLine {
    let texts = example.tokens.iter().filter(|token| token.supervised || example.supervised_tokens == 0);
    // More than is shown: whoever shows it cuts between words.
    let preview: String = texts.flat_map(|token| token.text.chars()).take(PREVIEW).collect();
    ScoredLine {
        file: example.file.clone(),
        line: example.line,
        loss: example.loss,
        supervised_tokens: example.supervised_tokens,
        preview: words::beginning(&preview, usize::MAX),
    }
}
