//! Results that are lists, as HTML. Their text twins are in `hotplate-client`'s words.

use hotplate_client::protocol::methods::models::ModelInfo;
use hotplate_client::protocol::methods::score::ScoreResult;
use hotplate_client::protocol::methods::status::{RunState, StatusResult};
use hotplate_client::protocol::run::Plan;
use hotplate_client::{FewShotVsTuned, ScoredLine, Shown, words};

use super::check::check;
use super::html;
use super::versions::adapters;
use super::{Bundle, Here};

/// More rows would bury the worst ones; `--json` has all.
const MOST_SCORES: usize = 40;
/// Columns of a text's beginning.
const BEGINNING: usize = 60;

/// A display for everything that is not live. `None`: there is nothing to say. `here` is where its links start.
pub(super) fn bundle(shown: &Shown, here: &Here) -> Option<Bundle> {
    let text = words::shown(shown)?;
    let html = match shown {
        Shown::Checked(result) => check(result, &words::check_summary(result), here),
        Shown::CheckedTexts(result) => check(result, &words::texts_summary(result), here),
        Shown::Scored { lines, result } => scored(lines, result),
        Shown::FewShotVsTuned(result) => weighed(result),
        Shown::Planned(result) => plan(result),
        Shown::Status(result) => status(result),
        Shown::Adapters(list) if !list.is_empty() => adapters(list),
        Shown::Models(list) if !list.is_empty() => models(list),
        _ => html::lines(&text),
    };
    Some(Bundle { text, html })
}

/// The texts that are known least, and the sum of all.
fn scored(lines: &[ScoredLine], result: &ScoreResult) -> String {
    let rows: Vec<Vec<String>> = lines
        .iter()
        .take(MOST_SCORES)
        .map(|line| {
            vec![
                line.loss.map_or_else(|| "-".to_owned(), words::loss),
                words::number(line.supervised_tokens),
                format!("{}:{}", line.file.display(), line.line),
                words::beginning(&line.preview, BEGINNING),
            ]
        })
        .collect();
    let table = html::table(&["loss", "tokens", "where", "begins with"], &rows);
    html::lines(&words::scored(&[], result, words::UNBOUNDED))
        + &html::folded("Text by text, those that it knows least first", &table)
}

/// What it says first, and the examples for those who look closer.
fn weighed(weighed: &FewShotVsTuned) -> String {
    let (headers, rows) = words::weighed_table(weighed);
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    let table = html::table(&headers, &rows[..rows.len().min(MOST_SCORES)]);
    html::lines(&words::weighed_summary(weighed))
        + &html::folded("Example by example, those that feeding helps most first", &table)
}

fn plan(plan: &Plan) -> String {
    let text = words::plan(plan);
    let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
    let settings = words::settings(&plan.settings, plan.train_examples, words::UNBOUNDED);
    let settings = if settings.is_empty() {
        settings
    } else {
        html::folded("Every setting, and where it comes from", &html::text_table(&settings))
    };
    html::heading(first) + &html::lines(rest) + &settings
}

fn status(status: &StatusResult) -> String {
    let mut html = html::lines(&words::status(status));
    if !status.runs.is_empty() {
        let rows: Vec<Vec<String>> = status
            .runs
            .iter()
            .map(|run| {
                vec![
                    run.adapter.clone(),
                    run.folder.display().to_string(),
                    match run.state {
                        RunState::Queued => "waits".to_owned(),
                        RunState::Running => {
                            format!("step {} of {}", words::number(run.step), words::number(run.steps))
                        }
                    },
                    run.loss.map(words::loss).unwrap_or_default(),
                    words::cause(&run.cause),
                ]
            })
            .collect();
        html += &html::table(&["run", "folder", "state", "loss", "why"], &rows);
    }
    html
}

fn models(list: &[ModelInfo]) -> String {
    let rows: Vec<Vec<String>> = list
        .iter()
        .map(|model| {
            vec![
                model.name.clone(),
                model.architecture.clone().unwrap_or_default(),
                model.parameters.map(|count| words::number(count as usize)).unwrap_or_default(),
                if model.loaded { words::bytes(model.bytes) } else { "not loaded".to_owned() },
                words::number(model.adapters),
                model.path.as_ref().map_or_else(|| "built in".to_owned(), |path| path.display().to_string()),
            ]
        })
        .collect();
    html::table(&["base model", "architecture", "weights", "memory", "adapters", "where"], &rows)
}

#[cfg(test)]
mod tests {
    use hotplate_client::protocol::methods::check::{CheckResult, Finding};

    use super::*;

    fn here() -> Here {
        Here { folder: std::path::Path::new("/").into(), edits_json_lines: true }
    }

    #[test]
    fn a_check_with_findings() {
        let check = CheckResult {
            folder: "/n".into(),
            files: 2,
            examples: 3,
            train_examples: 2,
            heldout_examples: 1,
            tokens: 30,
            longest_tokens: 12,
            shortest_tokens: 12,
            median_tokens: 12,
            truncated_examples: 0,
            kinds: Vec::new(),
            findings: vec![Finding {
                code: "HP003".into(),
                name: "invalid-json".into(),
                file: "a<b>.jsonl".into(),
                lines: (19, 19),
                column: Some(4),
                message: "expected `,`".into(),
                remedy: "Mend the line.".into(),
                skipped: true,
            }],
            settings: Vec::new(),
            listed: Vec::new(),
            rehearsed: Vec::new(),
        };
        let Bundle { text, html } = bundle(&Shown::Checked(check), &here()).unwrap();
        assert!(text.contains("a<b>.jsonl:19:4"), "{text}");
        assert!(html.contains("<table") && html.contains("a&lt;b&gt;.jsonl:19:4</a>"), "{html}");
        assert!(html.contains("HP003 invalid-json") && html.contains("left out"), "{html}");
    }

    #[test]
    fn empty_lists_are_sentences() {
        let Bundle { text, html } = bundle(&Shown::Adapters(Vec::new()), &here()).unwrap();
        assert!(text.contains("No adapters yet"), "{text}");
        assert!(html.contains("No adapters yet") && !html.contains("<table"), "{html}");
    }
}
