//! # HP007 `record-too-large`
//!
//! One note or one JSONL line has more bytes than any example can have: a data file, an embedded picture or a log under a
//! wrong name. It is read past, not into memory.
//!
//! The record is left out; those around it are read.

use std::path::Path;

use super::{Code, Finding, Rule};

pub(super) const RULE: Rule = Rule {
    code: "HP007",
    name: "record-too-large",
    remedy: "Split it into several examples, or move the file out of the folder.",
    skips: true,
};

pub(crate) fn record_too_large(file: &Path, lines: (usize, usize), bytes: u64, limit: usize) -> Finding {
    let message = format!("one record of {bytes} bytes; the limit is {limit}");
    Finding::new(Code::RecordTooLarge, file, lines, message)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{BufWriter, Write as _};
    use std::time::{Duration, Instant};

    use expect_test::expect;

    use crate::read::{Limits, read};
    use crate::testing::{check, line_of};

    #[test]
    fn only_the_large_record_is_lost() {
        let large = "x".repeat(4001);
        let many_lines = "a line\n".repeat(600);
        check(
            &[
                (
                    "a.jsonl",
                    &format!("{{\"text\": \"one\"}}\n{{\"text\": \"{large}\"}}\n{{\"text\": \"three\"}}\n"),
                ),
                ("b.md", &format!("first\n---\n{many_lines}---\n{large}\nand more\n---\nfour\n")),
            ],
            &expect![[r#"
                a.jsonl:1-1 "one"
                a.jsonl:3-3 "three"
                b.md:1-1 "first"
                b.md:607-607 "four"
                a.jsonl:2-2 HP007 record-too-large: one record of 4013 bytes; the limit is 4000
                b.md:2-2 HP034 unsure-border: the line of --- directly under a line of text is taken for a border, so texts are divided there
                b.md:3-602 HP007 record-too-large: one record of 4199 bytes; the limit is 4000
                b.md:604-605 HP007 record-too-large: one record of 4010 bytes; the limit is 4000
            "#]],
        );
    }

    #[test]
    fn a_line_of_fifty_megabytes_is_passed_quickly() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = BufWriter::new(File::create(folder.path().join("a.jsonl")).unwrap());
        file.write_all(b"{\"text\": \"").unwrap();
        for _ in 0..800 {
            file.write_all(&vec![b'x'; 1 << 16]).unwrap();
        }
        file.write_all(b"\"}\n{\"text\": \"next\"}\n").unwrap();
        file.into_inner().unwrap();
        let start = Instant::now();
        let dataset = read(folder.path(), &Limits::default()).unwrap();
        assert!(start.elapsed() < Duration::from_secs(5), "it took {:?}", start.elapsed());
        assert_eq!(dataset.examples.len(), 1);
        let found: Vec<_> = dataset.findings.iter().map(line_of).collect();
        assert_eq!(
            found,
            ["a.jsonl:1-1 HP007 record-too-large: one record of 52428812 bytes; the limit is 8388608"]
        );
    }
}
