//! `score`: examples as they come, and at the end those that are known least.

use hotplate_protocol::methods::score::{ScoreParams, ScoreTexts, ScoredExample, ScoredToken};
use hotplate_protocol::notifications::ScoreExample;

use super::CommandError;
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
) -> Result<(), CommandError> {
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
pub(super) fn params(args: &ScoreArgs, context: &Context<'_>) -> Result<ScoreParams, CommandError> {
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
    let texts = first_of_a_text(&example.tokens)
        .into_iter()
        .chain(example.tokens.iter().filter(|token| token.supervised || example.supervised_tokens == 0));
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

/// A plain text's first token, which nothing predicts and which begins the text all the same. In front of an answer there are more.
fn first_of_a_text(tokens: &[ScoredToken]) -> Option<&ScoredToken> {
    let before = tokens.iter().take_while(|token| !token.supervised);
    let is_sign = |text: &str| text.is_empty() || (text.starts_with('<') && text.ends_with('>'));
    let mut words = before.filter(|token| !is_sign(&token.text));
    let first = words.next()?;
    let is_alone = words.next().is_none() && tokens.iter().any(|token| token.supervised);
    is_alone.then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn previewed(tokens: &[(&str, bool)]) -> String {
        let tokens: Vec<ScoredToken> = tokens
            .iter()
            .map(|(text, supervised)| ScoredToken {
                id: 1,
                text: (*text).to_owned(),
                logprob: None,
                supervised: *supervised,
            })
            .collect();
        let example = ScoredExample {
            file: "a.txt".into(),
            line: 1,
            last_line: 1,
            loss: Some(1.0),
            supervised_tokens: tokens.iter().filter(|token| token.supervised).count(),
            truncated: false,
            tokens,
        };
        line(&example).preview
    }

    #[test]
    fn a_beginning_is_the_beginning() {
        assert_eq!(previewed(&[("W", false), ("ell", true), (" now", true)]), "Well now");
        assert_eq!(previewed(&[("<s>", false), ("Well", false), (" now", true)]), "Well now");
        let chat = [("<|user|>", false), ("Hi", false), ("\n", false), ("assistant", false), ("Hello", true)];
        assert_eq!(previewed(&chat), "Hello");
        assert_eq!(previewed(&[("<s>", true), ("Well", true)]), "<s>Well");
        assert_eq!(previewed(&[("Un", false), ("learnt", false)]), "Unlearnt");
    }
}
