//! Generated texts beside each other: several on one prompt, and the base's beside the adapter's.

use hotplate_client::protocol::methods::generate::GenerateResult;
use hotplate_client::{AnswerPair, words};

use super::Bundle;
use super::html;

/// The texts so far, of `of`.
pub(super) fn variants(results: &[GenerateResult], of: usize) -> Bundle {
    let text: Vec<String> = results
        .iter()
        .enumerate()
        .map(|(index, result)| words::variant(index + 1, of, result))
        .chain((results.len() < of).then(|| format!("({} of {of} written)", results.len())))
        .collect();
    let rows: Vec<Vec<String>> = results
        .iter()
        .enumerate()
        .map(|(index, result)| {
            vec![
                (index + 1).to_string(),
                result.text.trim().to_owned(),
                words::length(result),
                result.seed.to_string(),
            ]
        })
        .collect();
    let author = results.last().map_or("text", words::author);
    let mut html = html::table(&["", author, "length", "seed"], &rows);
    if results.len() < of {
        html.push_str(&html::note(&format!("{} of {of} written", results.len())));
    }
    Bundle { text: text.join("\n\n"), html }
}

/// The pairs so far, of `of`.
pub(super) fn pairs(pairs: &[AnswerPair], of: usize) -> Bundle {
    let text: Vec<String> =
        pairs.iter().enumerate().map(|(index, pair)| words::compared(index + 1, of, pair)).collect();
    let Some(last) = pairs.last() else { return Bundle { text: String::new(), html: String::new() } };
    let cell = |answer: &GenerateResult| format!("{}\n({})", answer.text.trim(), words::length(answer));
    let rows: Vec<Vec<String>> = pairs
        .iter()
        .map(|pair| {
            let prompt = match words::about_pair(pair) {
                Some(remark) => format!("{}\n\n{remark}", pair.prompt),
                None => pair.prompt.clone(),
            };
            vec![prompt, cell(&pair.base), cell(&pair.mine)]
        })
        .collect();
    let headers = [
        "prompt".to_owned(),
        format!("base: {}", words::author(&last.base)),
        format!("mine: {}", words::author(&last.mine)),
    ];
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    let remark = if pairs.len() < of {
        format!("{} of {of} prompts answered", pairs.len())
    } else {
        words::COMPARED.to_owned()
    };
    Bundle { text: text.join("\n\n"), html: html::table(&headers, &rows) + &html::note(&remark) }
}

#[cfg(test)]
mod tests {
    use hotplate_client::protocol::methods::generate::FinishReason;

    use super::*;

    fn answer(text: &str, adapter: Option<&str>) -> GenerateResult {
        GenerateResult {
            text: text.into(),
            token_ids: vec![1, 2],
            finish_reason: FinishReason::Stop,
            prompt_tokens: 1,
            seed: 7,
            adapter: adapter.map(str::to_owned),
            base: "hotplate-tiny".into(),
            first_token_ms: 1.0,
            tokens_per_second: 2.0,
        }
    }

    #[test]
    fn what_a_model_writes_is_never_markup() {
        let evil = "<img src=x onerror=alert(1)>\u{1b}[31m";
        let Bundle { text, html } = variants(&[answer(evil, None), answer("b", None)], 4);
        assert!(!html.contains("<img") && html.contains("&lt;img"), "{html}");
        assert!(html.contains("2 of 4 written") && text.contains("2 of 4 (seed 7"), "{text}");
        let pair =
            AnswerPair { prompt: "<b>".into(), base: answer(evil, None), mine: answer("b", Some("notes@1")) };
        let Bundle { text, html } = pairs(&[pair], 1);
        assert!(!html.contains("<img") && !html.contains("<b>"), "{html}");
        assert!(html.contains("mine: notes@1") && html.contains("no measurement"), "{html}");
        assert!(text.contains("notes@1 (2 tokens)"), "{text}");
    }
}
