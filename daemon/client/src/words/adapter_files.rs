//! Adapters that went out or came in, and whether they are still themselves.

use hotplate_home::figures::{bytes, count};
use hotplate_protocol::methods::adapters::AdapterInfo;
use hotplate_protocol::methods::export::{ExportForm, ExportResult};
use hotplate_protocol::methods::verify::VerifyResult;

use super::visible::path;

/// After an export.
pub fn exported(result: &ExportResult) -> String {
    let what = match result.form {
        ExportForm::Peft => "as a PEFT folder",
        ExportForm::Merged => "folded into a copy of its base",
        ExportForm::Gguf => "as a GGUF file for llama.cpp, to be used beside its base",
        ExportForm::GgufMerged => "folded into its base, as one GGUF file",
        ExportForm::Ollama => "folded into its base, as a GGUF file and a Modelfile",
    };
    let aside = result.moved_aside.as_ref();
    let aside =
        aside.map_or_else(String::new, |aside| format!(" What was there before is now {}.", path(aside)));
    let mut text = format!(
        "{} for {} is written {what}: {} ({}).{aside}",
        result.adapter,
        result.base,
        path(&result.path),
        bytes(result.bytes)
    );
    if result.form == ExportForm::Ollama {
        text.push_str(&format!("\nNext: ollama create NAME -f {}", path(&result.path.join("Modelfile"))));
    }
    for remark in &result.remarks {
        text.push_str(&format!("\n{remark}"));
    }
    text
}

/// After an import.
pub fn imported(adapter: &AdapterInfo) -> String {
    format!(
        "{0} has come in as version {1} for {2} and answers now: hotplate generate -a {0} \"…\"\nTo train it further: hotplate train FOLDER -a {0} (or watch, for each save)",
        adapter.name, adapter.current, adapter.base
    )
}

/// After a verification: the verdict, then what differs.
pub fn verified(result: &VerifyResult) -> String {
    let total = result.goldens.len();
    let good = result.goldens.iter().filter(|golden| golden.passed).count();
    let mut lines = vec![if result.passed {
        format!(
            "{} on {} answers as it did when it was trained: {}.",
            result.adapter,
            result.base,
            answers(total)
        )
    } else if total == 0 {
        format!("{} on {} cannot give its golden answers.", result.adapter, result.base)
    } else {
        format!("{} on {}: {good} of {} are as they were.", result.adapter, result.base, answers(total))
    }];
    lines.extend(result.changes.iter().map(|change| format!("Changed: {change}")));
    for golden in result.goldens.iter().filter(|golden| !golden.passed) {
        lines.push(format!("Asked:    {}", one_line(&golden.prompt)));
        lines.push(format!(
            "  then:   {} (log-probability {:.3})",
            one_line(&golden.expected),
            golden.log_prob
        ));
        lines.push(format!(
            "  now:    {} (log-probability {:.3})",
            one_line(&golden.found),
            golden.log_prob_now
        ));
    }
    lines.join("\n")
}

fn answers(number: usize) -> String {
    count(number, "golden answer")
}

fn one_line(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match line.char_indices().nth(160) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use hotplate_protocol::methods::verify::GoldenResult;

    use super::*;

    #[test]
    fn what_differs_is_shown() {
        let golden = |passed| GoldenResult {
            prompt: "Bread\nis".into(),
            expected: "good".into(),
            found: "old".into(),
            passed,
            log_prob: -1.5,
            log_prob_now: -9.0,
        };
        let mut result = VerifyResult {
            adapter: "notes@2".into(),
            base: "tiny".into(),
            passed: false,
            changes: vec!["the chat template".into()],
            goldens: vec![golden(true), golden(false)],
        };
        expect_test::expect![[r"
            notes@2 on tiny: 1 of 2 golden answers are as they were.
            Changed: the chat template
            Asked:    Bread is
              then:   good (log-probability -1.500)
              now:    old (log-probability -9.000)"]]
        .assert_eq(&verified(&result));
        result.passed = true;
        result.changes.clear();
        result.goldens.pop();
        assert_eq!(
            verified(&result),
            "notes@2 on tiny answers as it did when it was trained: 1 golden answer."
        );
    }
}
