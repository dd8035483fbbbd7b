//! Results that are lists, as HTML. Their text twins are in `hotplate-client`'s words.

use hotplate_client::protocol::methods::adapters::AdapterInfo;
use hotplate_client::protocol::methods::check::CheckResult;
use hotplate_client::protocol::methods::models::ModelInfo;
use hotplate_client::protocol::methods::status::{RunState, StatusResult};
use hotplate_client::protocol::run::Plan;
use hotplate_client::{Shown, words};

use super::Bundle;
use super::html;

/// A display for everything that is not live. `None`: there is nothing to say.
pub(super) fn bundle(shown: &Shown) -> Option<Bundle> {
    let text = words::shown(shown)?;
    let html = match shown {
        Shown::Checked(result) => check(result),
        Shown::Planned(result) => plan(result),
        Shown::Status(result) => status(result),
        Shown::Adapters(list) if !list.is_empty() => adapters(list),
        Shown::Models(list) if !list.is_empty() => models(list),
        _ => html::lines(&text),
    };
    Some(Bundle { text, html })
}

fn check(check: &CheckResult) -> String {
    let summary = html::lines(&words::check_summary(check));
    let rest = plain_table(&words::examples(&check.listed))
        + &plain_table(&words::settings(&check.settings, check.train_examples));
    if check.findings.is_empty() {
        return summary + &rest;
    }
    let rows: Vec<Vec<String>> = check
        .findings
        .iter()
        .map(|finding| {
            vec![
                words::finding_place(finding),
                format!("{} {}", finding.code, finding.name),
                finding.message.clone(),
                finding.remedy.clone(),
                if finding.skipped { "left out" } else { "used" }.to_owned(),
            ]
        })
        .collect();
    summary + &html::table(&["where", "finding", "what it says", "what to do", "in training"], &rows) + &rest
}

/// The lines of a table in plain words, as preformatted text.
fn plain_table(text: &str) -> String {
    if text.is_empty() { String::new() } else { html::lines(text) }
}

fn plan(plan: &Plan) -> String {
    let text = words::plan(plan);
    let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
    html::heading(first) + &html::lines(rest)
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

fn adapters(list: &[AdapterInfo]) -> String {
    let mut rows = Vec::new();
    for adapter in list {
        for version in &adapter.versions {
            let current = version.version == adapter.current;
            rows.push(vec![
                adapter.name.clone(),
                version.version.to_string(),
                match (current, adapter.stale) {
                    (true, true) => "answers; stale: train it again".to_owned(),
                    (true, false) => "answers".to_owned(),
                    (false, _) => String::new(),
                },
                adapter.base.clone(),
                format!("{} → {}", words::loss(version.base_heldout_loss), words::loss(version.heldout_loss)),
                version.guard.as_ref().map_or("", words::guard_word).to_owned(),
                words::number(version.examples),
                version.created.clone(),
            ]);
        }
    }
    html::table(
        &["adapter", "version", "", "base model", "held-out loss", "guard", "examples", "made (UTC)"],
        &rows,
    )
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
    use hotplate_client::protocol::methods::check::Finding;

    use super::*;

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
        };
        let Bundle { text, html } = bundle(&Shown::Checked(check)).unwrap();
        assert!(text.contains("a<b>.jsonl:19:4"), "{text}");
        assert!(html.contains("<table") && html.contains("a&lt;b&gt;.jsonl:19:4"), "{html}");
        assert!(html.contains("HP003 invalid-json") && html.contains("left out"), "{html}");
    }

    #[test]
    fn empty_lists_are_sentences() {
        let Bundle { text, html } = bundle(&Shown::Adapters(Vec::new())).unwrap();
        assert!(text.contains("No adapters yet"), "{text}");
        assert!(html.contains("No adapters yet") && !html.contains("<table"), "{html}");
    }
}
