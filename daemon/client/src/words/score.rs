//! Scores: which texts the model knows least.

use hotplate_protocol::methods::score::ScoreResult;

use unicode_width::UnicodeWidthStr;

use super::visible::path;
use super::{beginning, count, loss, number, table};
use crate::shown::ScoredLine;

/// More rows would bury the worst ones; `--json` has all.
const MOST_ROWS: usize = 40;
const HEADERS: [&str; 4] = ["loss", "tokens", "where", "begins with"];
/// Columns of a text's beginning.
const SHORTEST: usize = 20;
const LONGEST: usize = 60;

/// The examples, worst first as they are given, and the sum of them.
pub fn scored(lines: &[ScoredLine], result: &ScoreResult, width: usize) -> String {
    let mut text = String::new();
    if !lines.is_empty() {
        let room = room(lines, width);
        let rows: Vec<Vec<String>> = lines
            .iter()
            .take(MOST_ROWS)
            .map(|line| {
                vec![
                    line.loss.map_or_else(|| "-".to_owned(), loss),
                    number(line.supervised_tokens),
                    format!("{}:{}", path(&line.file), line.line),
                    beginning(&line.preview, room),
                ]
            })
            .collect();
        text.push_str(&table(&HEADERS, &rows, width));
        if lines.len() > MOST_ROWS {
            text.push_str(&format!(
                "\n… and {} that it knows better (--json lists all)",
                number(lines.len() - MOST_ROWS)
            ));
        }
        text.push_str("\n\n");
    }
    text.push_str(&summary(result));
    text
}

/// What a line leaves for a text's beginning.
fn room(lines: &[ScoredLine], width: usize) -> usize {
    let place = |line: &ScoredLine| format!("{}:{}", path(&line.file), line.line).width();
    let places = lines.iter().take(MOST_ROWS).map(place).max().unwrap_or(0);
    let others = "loss".len() + "tokens".len() + 6 + places;
    width.saturating_sub(others).clamp(SHORTEST, LONGEST)
}

fn summary(result: &ScoreResult) -> String {
    let by = match &result.adapter {
        Some(adapter) => format!("{adapter} on {}", result.base),
        None => result.base.clone(),
    };
    let mut text = match (result.loss, result.perplexity) {
        (Some(mean), Some(perplexity)) => format!(
            "{by}: {} nats a token (perplexity {perplexity:.1}) over {} in {}.",
            loss(mean),
            count(result.supervised_tokens, "token"),
            count(result.examples, "example")
        ),
        _ => format!(
            "{by}: nothing to score; no token of {} would be learnt.",
            count(result.examples, "example")
        ),
    };
    if result.left_out > 0 {
        text.push_str(&format!(
            "\n{} left out (duplicates, empty or unreadable); hotplate check says which.",
            count(result.left_out, "record")
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn the_worst_stands_first() {
        let line = |file: &str, line: usize, loss: Option<f64>, preview: &str| ScoredLine {
            file: file.into(),
            line,
            loss,
            supervised_tokens: 12,
            preview: preview.to_owned(),
        };
        let lines = [
            line("a.md", 3, Some(4.25), "A rainy day"),
            line("b/c.txt", 1, Some(1.0), "巷口的面馆"),
            line("d.jsonl", 9, None, ""),
        ];
        let result = ScoreResult {
            examples: 3,
            left_out: 1,
            loss: Some(2.625),
            perplexity: Some(2.625f64.exp()),
            supervised_tokens: 24,
            tokens: 40,
            heldout: None,
            adapter: Some("notes@2".to_owned()),
            base: "hotplate-tiny".to_owned(),
        };
        expect![[r"
            loss  tokens  where      begins with
            4.25      12  a.md:3     A rainy day
            1.00      12  b/c.txt:1  巷口的面馆
               -      12  d.jsonl:9

            notes@2 on hotplate-tiny: 2.62 nats a token (perplexity 13.8) over 24 tokens in 3 examples.
            1 record left out (duplicates, empty or unreadable); hotplate check says which."]]
        .assert_eq(&scored(&lines, &result, 80));
    }
}
