//! # HP006 `too-long`
//!
//! The example has more tokens than a training item may have. A text is divided, at headings where it has some, else between
//! paragraphs, lines or sentences, and all of it is still learnt, piece by piece. A record with a prompt or with roles cannot be
//! divided: its beginning is still learnt, and the end is cut off.
//!
//! You know better where a new thought starts: put a line of `---` there. Or raise `--max-tokens` (memory grows with it).

use std::path::Path;

use super::{Code, Finding, Rule};

pub(super) const RULE: Rule = Rule {
    code: "HP006",
    name: "too-long",
    remedy: "Divide it yourself with a line of ---, shorten the record, or raise --max-tokens.",
    skips: false,
};

/// The pieces that a text is divided into begin in the lines `starts`; without any, it is cut.
pub(crate) fn too_long(
    file: &Path,
    lines: (usize, usize),
    tokens: usize,
    max_tokens: usize,
    starts: &[usize],
) -> Finding {
    const MOST_NAMED: usize = 6;
    let message = if starts.is_empty() {
        let cut = tokens.saturating_sub(max_tokens);
        format!("{tokens} tokens; the limit is {max_tokens}, so the last {cut} are cut off")
    } else if starts.len() == 1 {
        format!("{tokens} tokens; the limit is {max_tokens}, so it is learnt without its blank parts")
    } else {
        let named: Vec<String> = starts.iter().take(MOST_NAMED).map(ToString::to_string).collect();
        let more = if starts.len() > MOST_NAMED { " …" } else { "" };
        // All of a record stand in its one line.
        let places = if starts.first() == starts.last() {
            String::new()
        } else {
            format!(", which begin in lines {}{more}", named.join(", "))
        };
        format!(
            "{tokens} tokens; the limit is {max_tokens}, so it is learnt as {} texts{places}",
            starts.len()
        )
    };
    Finding::new(Code::TooLong, file, lines, message)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::testing::{check, read_files};

    #[test]
    fn blanks_around_it_cost_no_words() {
        let blank = " ".repeat(70);
        check(
            &[("a.txt", format!("x\n\n{blank}word{blank}\n---\n{blank}word").as_str())],
            &expect![[r#"
            a.txt:1-1 "x"
            a.txt:3-3 "word"
            a.txt:1-3 HP006 too-long: 77 tokens; the limit is 60, so it is learnt as 2 texts, which begin in lines 1, 3
            a.txt:5-5 HP002 duplicate: the same as a.txt:3
            a.txt:5-5 HP006 too-long: 74 tokens; the limit is 60, so it is learnt without its blank parts
        "#]],
        );
    }

    #[test]
    fn it_is_found_and_kept() {
        let long = "a longer text, ".repeat(5);
        let files = [("a.txt", long.as_str()), ("b.txt", "short")];
        check(
            &files,
            &expect![[r#"
                a.txt:1-1 "a longer text, a longer text, a longer"
                a.txt:1-1 "text, a longer text, a longer text,"
                b.txt:1-1 "short"
                a.txt:1-1 HP006 too-long: 74 tokens; the limit is 60, so it is learnt as 2 texts
            "#]],
        );
    }

    #[test]
    fn a_long_text_is_divided_and_nothing_of_it_is_lost() {
        let part = |name: &str| format!("# {name}\n\nA text of some forty characters, or so.\n\n");
        let diary = ["One", "Two", "Three"].map(part).concat();
        let record = serde_json::json!({ "text": "First sentence of it. ".repeat(5) }).to_string();
        let chat = serde_json::json!({ "prompt": "p", "completion": "c".repeat(80) }).to_string();
        check(
            &[
                ("a.md", &format!("---\ntitle: Diary\n---\n{diary}")),
                ("b.jsonl", &record),
                ("c.jsonl", &chat),
            ],
            &expect![[r##"
                a.md:4-6 "# One\n\nA text of some forty characters, or so."
                a.md:8-10 "# Two\n\nA text of some forty characters, or so."
                a.md:12-14 "# Three\n\nA text of some forty characters, or so."
                b.jsonl:1-1 "First sentence of it. First sentence of it."
                b.jsonl:1-1 "First sentence of it."
                c.jsonl:1-1 "p" -> "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
                a.md:4-14 HP006 too-long: 144 tokens; the limit is 60, so it is learnt as 3 texts, which begin in lines 4, 8, 12
                b.jsonl:1-1 HP002 duplicate: the same as b.jsonl:1
                b.jsonl:1-1 HP006 too-long: 110 tokens; the limit is 60, so it is learnt as 3 texts
                c.jsonl:1-1 HP006 too-long: 81 tokens; the limit is 60, so the last 21 are cut off
            "##]],
        );
    }

    #[test]
    fn pieces_have_titles_of_their_own() {
        let text = "# One\n\nA text of some forty characters, or so.\n\n# Two\n\nA text of some thirty characters.\n\nAnd more of it, without a heading.\n";
        let dataset = read_files(&[("a.md", text.as_bytes())]);
        let titles: Vec<_> = dataset.examples.iter().map(|example| example.title.as_deref()).collect();
        assert_eq!(titles, [Some("One"), Some("Two"), None]);
        assert!(dataset.measured.iter().all(|measured| measured.tokens <= 60));
    }

    #[test]
    fn exactly_the_limit_is_fine() {
        assert!(read_files(&[("a.txt", &[b'x'; 60])]).findings.is_empty());
    }
}
