//! Generated texts beside each other: several on one prompt, and the base's beside what feeding and the adapter make of it.

use hotplate_client::protocol::methods::generate::GenerateResult;
use hotplate_client::{Answers, words};

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
    let fed =
        results.last().filter(|_| results.len() == of).and_then(|result| result.fed.as_ref()).map(words::fed);
    let author = results.last().map_or_else(|| "text".to_owned(), words::author);
    let mut html = html::table(&["", &author, "length", "seed"], &rows);
    if results.len() < of {
        html.push_str(&html::note(&format!("{} of {of} written", results.len())));
    }
    if let Some(fed) = &fed {
        html.push_str(&html::note(fed));
    }
    for remark in results.iter().flat_map(words::noticed) {
        html.push_str(&html::note(&remark));
    }
    let text: Vec<String> = text.into_iter().chain(fed).collect();
    Bundle { text: text.join("\n\n"), html }
}

/// The prompts that are answered so far, of `of`.
pub(super) fn compared(answered: &[Answers], of: usize) -> Bundle {
    let text: Vec<String> =
        answered.iter().enumerate().map(|(index, answers)| words::compared(index + 1, of, answers)).collect();
    let Some(last) = answered.last() else { return Bundle { text: String::new(), html: String::new() } };
    let cell = |answer: &GenerateResult| format!("{}\n({})", answer.text.trim(), words::length(answer));
    let rows: Vec<Vec<String>> = answered
        .iter()
        .map(|answers| {
            let mut prompt = vec![answers.prompt.clone()];
            let below = below(answers);
            prompt.extend(words::about(answers).into_iter().filter(|remark| !below.contains(remark)));
            std::iter::once(prompt.join("\n\n")).chain(answers.all().map(cell)).collect()
        })
        .collect();
    let mut headers = vec!["prompt".to_owned(), format!("base: {}", words::author(&last.base))];
    headers.extend(last.fed.as_ref().map(|fed| format!("fed: {}", words::author(fed))));
    headers.extend(last.mine.as_ref().map(|mine| format!("mine: {}", words::author(mine))));
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    let remark = if answered.len() < of {
        format!("{} of {of} prompts answered", answered.len())
    } else {
        words::measures(last).to_owned()
    };
    // Beside a prompt they would leave the answers no room.
    let notes = answered.iter().flat_map(below).chain([remark]).map(|note| html::note(&note));
    Bundle { text: text.join("\n\n"), html: html::table(&headers, &rows) + &notes.collect::<String>() }
}

/// Long remarks: how an answer goes wrong, and what stood before the prompt.
fn below(answers: &Answers) -> Vec<String> {
    let fed = answers.fed.as_ref().and_then(|answer| answer.fed.as_ref()).map(words::fed);
    answers.all().flat_map(words::noticed).chain(fed).collect()
}

#[cfg(test)]
mod tests {
    use hotplate_client::protocol::feed::{Fed, FedExample, FedPlace, FeedEnd};
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
            fed: None,
            noticed: Vec::new(),
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
        let mine = Some(answer("b", Some("notes@1")));
        let mut answers = Answers { prompt: "<b>".into(), base: answer(evil, None), fed: None, mine };
        let Bundle { text, html } = compared(&[answers.clone()], 1);
        assert!(!html.contains("<img") && !html.contains("<b>"), "{html}");
        assert!(html.contains("mine: notes@1") && html.contains("no measurement"), "{html}");
        assert!(text.contains("notes@1 (2 tokens)"), "{text}");
        let place = FedPlace { file: "<i>.md".into(), line: 1, last_line: 2 };
        let fed = Fed {
            folder: "/notes".into(),
            examples: vec![FedExample { place, tokens: 12 }],
            tokens: 12,
            room: 99,
            of: 5,
            ended: FeedEnd::Room,
            no_room: 1,
            other_system: 0,
            refused: 0,
            itself: None,
        };
        answers.fed = Some(GenerateResult { fed: Some(fed), ..answer("c", None) });
        let Bundle { text, html } = compared(&[answers], 1);
        assert!(
            html.contains("fed: hotplate-tiny, fed 1 example") && html.contains("&lt;i&gt;.md:1 (12)"),
            "{html}"
        );
        assert!(!html.contains("<i>") && text.contains("Fed 1 of 5 examples, 12 tokens"), "{text}");
    }
}
