//! Texts beside each other: several on one prompt, and the base's beside what feeding and the adapter make of it.

use hotplate_home::figures::count;
use hotplate_protocol::methods::generate::{FinishReason, GenerateResult};

use super::feeding::fed;
use super::noticed::noticed;
use crate::shown::Answers;

/// Said once, below the last answers: one each proves little.
pub fn measures(answers: &Answers) -> &'static str {
    if answers.fed.is_some() {
        "One answer each, with the same seed: a taste, no measurement. hotplate score FOLDER --feed measures."
    } else {
        "One answer each, with the same seed: a taste, no measurement. hotplate score measures."
    }
}

/// How long a text is and why it ended, in a few words.
pub fn length(result: &GenerateResult) -> String {
    let tokens = count(result.token_ids.len(), "token");
    match result.finish_reason {
        FinishReason::Stop => tokens,
        FinishReason::Length => format!("{tokens}, cut off at the limit"),
    }
}

/// Who wrote it: the adapter with its version, else the base; and what stood before the prompt.
pub fn author(result: &GenerateResult) -> String {
    let who = result.adapter.as_deref().unwrap_or(&result.base);
    match &result.fed {
        Some(fed) => format!("{who}, fed {}", count(fed.examples.len(), "example")),
        None => who.to_owned(),
    }
}

pub fn variant(number: usize, of: usize, result: &GenerateResult) -> String {
    let text = format!("{number} of {of} (seed {}; {})\n{}", result.seed, length(result), result.text.trim());
    std::iter::once(text).chain(noticed(result)).collect::<Vec<_>>().join("\n")
}

/// What has to be said beside the texts, a line each.
pub fn about(answers: &Answers) -> Vec<String> {
    let mut remarks = Vec::new();
    let mut look = |other: Option<&GenerateResult>, same: &str, empty: &str| {
        let Some(other) = other else { return };
        if other.text.trim() == answers.base.text.trim() {
            remarks.push(same.to_owned());
        } else if other.text.trim().is_empty() {
            remarks.push(empty.to_owned());
        }
    };
    look(
        answers.fed.as_ref(),
        "Fed or not, the base answers the same.",
        "Behind the examples the answer is empty: it ended at once.",
    );
    look(
        answers.mine.as_ref(),
        "Both answers are the same: here the adapter changes nothing.",
        "The adapter's answer is empty: it ended at once.",
    );
    remarks.extend(answers.all().flat_map(noticed));
    remarks.extend(answers.fed.as_ref().and_then(|answer| answer.fed.as_ref()).map(fed));
    remarks
}

pub fn compared(number: usize, of: usize, answers: &Answers) -> String {
    let mut lines = vec![answers.prompt.clone()];
    for answer in answers.all() {
        lines.push(format!("  {} ({}):", author(answer), length(answer)));
        lines.push(indented(&answer.text));
    }
    lines.extend(about(answers));
    if number == of {
        lines.push(measures(answers).to_owned());
    }
    lines.join("\n")
}

fn indented(text: &str) -> String {
    text.trim().lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use hotplate_protocol::feed::{Fed, FedExample, FedPlace, FeedEnd};

    use super::*;

    fn answer(text: &str, adapter: Option<&str>, finish_reason: FinishReason) -> GenerateResult {
        GenerateResult {
            text: text.into(),
            token_ids: vec![1, 2],
            finish_reason,
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
    fn a_pair_in_words() {
        let mine = answer(" Well now. ", Some("notes@2"), FinishReason::Stop);
        let mut answers = Answers {
            prompt: "A bakery.".into(),
            base: answer("Once.\nTwice.", None, FinishReason::Length),
            fed: None,
            mine: Some(mine.clone()),
        };
        expect![[r"
            A bakery.
              hotplate-tiny (2 tokens, cut off at the limit):
                Once.
                Twice.
              notes@2 (2 tokens):
                Well now.
            One answer each, with the same seed: a taste, no measurement. hotplate score measures."]]
        .assert_eq(&compared(2, 2, &answers));
        assert!(!compared(1, 2, &answers).contains("measurement"));
        answers.base.text = "Well now.".into();
        assert!(about(&answers)[0].ends_with("the adapter changes nothing."));
        assert_eq!(variant(1, 4, &mine), "1 of 4 (seed 7; 2 tokens)\nWell now.");
    }

    #[test]
    fn three_ways_in_words() {
        let place = FedPlace { file: "a.md".into(), line: 3, last_line: 5 };
        let fed = Fed {
            folder: "/notes".into(),
            examples: vec![FedExample { place, tokens: 9 }],
            tokens: 9,
            room: 2048,
            of: 1,
            ended: FeedEnd::Everything,
            no_room: 0,
            other_system: 0,
            refused: 0,
            itself: None,
        };
        let answers = Answers {
            prompt: "A bakery.".into(),
            base: answer("Once.", None, FinishReason::Stop),
            fed: Some(GenerateResult { fed: Some(fed), ..answer("", None, FinishReason::Stop) }),
            mine: None,
        };
        expect![[r"
            A bakery.
              hotplate-tiny (2 tokens):
                Once.
              hotplate-tiny, fed 1 example (2 tokens):

            Behind the examples the answer is empty: it ended at once.
            Fed 1 of 1 example, 9 tokens, the nearest first: a.md:3 (9).
            One answer each, with the same seed: a taste, no measurement. hotplate score FOLDER --feed measures."]]
        .assert_eq(&compared(1, 1, &answers));
    }
}
