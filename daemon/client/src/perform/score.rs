//! `score`: examples as they come, and at the end those that are known least.

use std::path::Path;

use hotplate_protocol::methods::score::{ScoreParams, ScoreTexts, ScoredExample};
use hotplate_protocol::notifications::ScoreExample;

use super::PerformError;
use crate::canceller::Canceller;
use crate::command::{ScoreArgs, adapter_or_folder, base_or_folder, folder_in};
use crate::connection::Connection;
use crate::shown::{ScoredLine, Shown};

/// Characters of an example that stand beside its loss.
const PREVIEW: usize = 60;

pub(super) fn score(
    connection: &Connection,
    args: &ScoreArgs,
    folder: &Path,
    canceller: &Canceller,
    show: &mut dyn FnMut(Shown),
) -> Result<(), PerformError> {
    let params = params(args, folder);
    let mut lines = Vec::new();
    let result = connection.call_with::<ScoreTexts>(&params, canceller, &mut |notification| {
        if let Some(Ok(params)) = notification.parse::<ScoreExample>() {
            lines.push(line(&params.example));
            show(Shown::ScoredExample(params.example));
        }
    })?;
    // Worst first; what has no loss comes last.
    lines.sort_by(|one, other| other.loss.unwrap_or(-1.0).total_cmp(&one.loss.unwrap_or(-1.0)));
    show(Shown::Scored { lines, result });
    Ok(())
}

/// What the command asks for: each example as it is.
pub(super) fn params(args: &ScoreArgs, folder: &Path) -> ScoreParams {
    ScoreParams {
        path: folder_in(folder, &args.path),
        adapter: args.adapter.adapter.as_deref().map(|adapter| adapter_or_folder(folder, adapter)),
        base: args.base.base.as_deref().map(|base| base_or_folder(folder, base)),
        quantize: args.quantize.quantize,
        base_alone: false,
        heldout: None,
    }
}

fn line(example: &ScoredExample) -> ScoredLine {
    let mut preview = String::new();
    let texts = example.tokens.iter().filter(|token| token.supervised || example.supervised_tokens == 0);
    for (at, character) in texts.flat_map(|token| token.text.chars()).enumerate() {
        if at == PREVIEW {
            preview.push('…');
            break;
        }
        // A table has one line for each.
        preview.push(if character.is_whitespace() || character.is_control() { ' ' } else { character });
    }
    ScoredLine {
        file: example.file.clone(),
        line: example.line,
        loss: example.loss,
        supervised_tokens: example.supervised_tokens,
        preview: preview.trim().to_owned(),
    }
}
