//! # HP006 `too-long`
//!
//! The example has more tokens than a training item may have. Its beginning is still learnt; the end is cut off. Two shorter
//! examples teach more than one that is cut: put a line of `---` where a new thought starts, or raise `--max-tokens`
//! (memory grows with it).

use std::path::Path;

use super::{Code, Finding, Rule};

pub(super) const RULE: Rule = Rule {
    code: "HP006",
    name: "too-long",
    remedy: "Split it with a line of ---, or raise --max-tokens.",
    skips: false,
};

pub(crate) fn too_long(file: &Path, lines: (usize, usize), tokens: usize, max_tokens: usize) -> Finding {
    let cut = tokens.saturating_sub(max_tokens);
    let message = format!("{tokens} tokens; the limit is {max_tokens}, so the last {cut} are cut off");
    Finding::new(Code::TooLong, file, lines, message)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::testing::{check, read_files};

    #[test]
    fn it_is_found_and_kept() {
        let long = "a longer text, ".repeat(5);
        let files = [("a.txt", long.as_str()), ("b.txt", "short")];
        check(
            &files,
            &expect![[r#"
                a.txt:1-1 "a longer text, a longer text, a longer text, a longer text, a longer text,"
                b.txt:1-1 "short"
                a.txt:1-1 HP006 too-long: 74 tokens; the limit is 60, so the last 14 are cut off
            "#]],
        );
    }

    #[test]
    fn exactly_the_limit_is_fine() {
        assert!(read_files(&[("a.txt", &[b'x'; 60])]).findings.is_empty());
    }
}
