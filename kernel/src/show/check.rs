//! What a check found: sentences, findings with links to their places, and the settings where somebody wants to see them.

use std::path::Path;

use hotplate_client::protocol::methods::check::{CheckResult, Finding};
use hotplate_client::words;

use super::{Here, html};

/// `summary` in words, and all below it.
pub(super) fn check(check: &CheckResult, summary: &str, here: &Here) -> String {
    let mut html = html::lines(summary);
    if !check.findings.is_empty() {
        let rows: Vec<Vec<String>> = check
            .findings
            .iter()
            .map(|finding| {
                vec![
                    place(&check.folder, finding, here),
                    html::escape(&format!("{} {}", finding.code, finding.name)),
                    html::escape(&finding.message),
                    html::escape(&finding.remedy),
                    html::escape(if finding.skipped { "left out" } else { "used" }),
                ]
            })
            .collect();
        html += &html::table_of(
            &["where", "finding", "what it says", "what to do", "in training"].map(html::escape),
            &rows,
        );
    }
    html += &html::text_table(&words::examples(&check.listed, words::UNBOUNDED));
    let rehearsed = words::rehearsed(&check.rehearsed);
    if let Some((first, answers)) = rehearsed.split_once('\n') {
        html += &html::folded(first, &html::lines(answers));
    }
    let settings = words::settings(&check.settings, check.train_examples, words::UNBOUNDED);
    if !settings.is_empty() {
        html += &html::folded("What a run would be set to", &html::text_table(&settings));
    }
    html
}

/// The place as a link that JupyterLab opens at the line, where the file lies below the notebook and opens as text.
fn place(folder: &Path, finding: &Finding, here: &Here) -> String {
    let text = words::finding_place(finding);
    let file = folder.join(&finding.file);
    let json_lines = file.extension().is_some_and(|ending| ending == "jsonl" || ending == "ndjson");
    match file.strip_prefix(&here.folder) {
        // JupyterLab counts lines from 0 there.
        Ok(below) if !json_lines || here.edits_json_lines => {
            html::link(&below.to_string_lossy(), &format!("line={}", finding.lines.0.max(1) - 1), &text)
        }
        Ok(_) | Err(_) => html::escape(&text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_links_below_the_notebook_only() {
        let mut finding = Finding {
            code: "HP003".into(),
            name: "invalid-json".into(),
            file: "a b/<x>\"#?.jsonl".into(),
            lines: (19, 19),
            column: Some(4),
            message: "m".into(),
            remedy: "r".into(),
            skipped: true,
        };
        let mut here = Here { folder: Path::new("/work").into(), edits_json_lines: true };
        let link = place(Path::new("/work/notes"), &finding, &here);
        assert_eq!(
            link,
            "<a href=\"notes/a%20b/%3Cx%3E%22%23%3F.jsonl#line=18\">a b/&lt;x&gt;&quot;#?.jsonl:19:4</a>"
        );
        let elsewhere = place(Path::new("/other"), &finding, &here);
        assert!(!elsewhere.contains("href"), "{elsewhere}");
        let cell = place(Path::new("this cell"), &finding, &here);
        assert!(!cell.contains("href"), "{cell}");
        here.edits_json_lines = false;
        assert_eq!(place(Path::new("/work/notes"), &finding, &here), "a b/&lt;x&gt;&quot;#?.jsonl:19:4");
        finding.file = "a.md".into();
        assert!(place(Path::new("/work/notes"), &finding, &here).contains("href=\"notes/a.md#line=18\""));
    }
}
