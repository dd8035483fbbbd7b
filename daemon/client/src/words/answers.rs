//! Texts beside each other: several on one prompt, and the base's beside the adapter's.

use hotplate_protocol::methods::generate::{FinishReason, GenerateResult};

use super::figures::count;
use crate::shown::AnswerPair;

/// Said once, below the last pair: one answer each proves little.
pub const COMPARED: &str =
    "One answer each, with the same seed: a taste, no measurement. hotplate score measures.";

/// How long a text is and why it ended, in a few words.
pub fn length(result: &GenerateResult) -> String {
    let tokens = count(result.token_ids.len(), "token");
    match result.finish_reason {
        FinishReason::Stop => tokens,
        FinishReason::Length => format!("{tokens}, cut off at the limit"),
    }
}

/// Who wrote it: the adapter with its version, else the base.
pub fn author(result: &GenerateResult) -> &str {
    result.adapter.as_deref().unwrap_or(&result.base)
}

pub fn variant(number: usize, of: usize, result: &GenerateResult) -> String {
    format!("{number} of {of} (seed {}; {})\n{}", result.seed, length(result), result.text.trim())
}

/// What has to be said of a pair beside its texts. `None`: they speak for themselves.
pub fn about_pair(pair: &AnswerPair) -> Option<&'static str> {
    if pair.base.text.trim() == pair.mine.text.trim() {
        Some("Both answers are the same: here the adapter changes nothing.")
    } else if pair.mine.text.trim().is_empty() {
        Some("The adapter's answer is empty: it ended at once.")
    } else {
        None
    }
}

pub fn compared(number: usize, of: usize, pair: &AnswerPair) -> String {
    let mut text = format!(
        "{}\n  {} ({}):\n{}\n  {} ({}):\n{}",
        pair.prompt,
        author(&pair.base),
        length(&pair.base),
        indented(&pair.base.text),
        author(&pair.mine),
        length(&pair.mine),
        indented(&pair.mine.text),
    );
    if let Some(remark) = about_pair(pair) {
        text.push('\n');
        text.push_str(remark);
    }
    if number == of {
        text.push('\n');
        text.push_str(COMPARED);
    }
    text
}

fn indented(text: &str) -> String {
    text.trim().lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

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
            first_token_ms: 1.0,
            tokens_per_second: 2.0,
        }
    }

    #[test]
    fn a_pair_in_words() {
        let mut pair = AnswerPair {
            prompt: "A bakery.".into(),
            base: answer("Once.\nTwice.", None, FinishReason::Length),
            mine: answer(" Well now. ", Some("notes@2"), FinishReason::Stop),
        };
        expect![[r"
            A bakery.
              hotplate-tiny (2 tokens, cut off at the limit):
                Once.
                Twice.
              notes@2 (2 tokens):
                Well now.
            One answer each, with the same seed: a taste, no measurement. hotplate score measures."]]
        .assert_eq(&compared(2, 2, &pair));
        assert!(!compared(1, 2, &pair).contains("measurement"));
        pair.base.text = "Well now.".into();
        assert!(compared(1, 2, &pair).ends_with("the adapter changes nothing."));
        assert_eq!(variant(1, 4, &pair.mine), "1 of 4 (seed 7; 2 tokens)\nWell now.");
    }
}
