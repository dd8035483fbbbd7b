//! # HP009 `unsupported-file`
//!
//! The folder holds documents of a kind that is not read yet: a word processor's file, a spreadsheet, a web page. They are left out,
//! and silence about it would look like training on them. One finding stands for all files with the same ending and names the
//! first. Pictures, sound and files of unknown kinds are passed without a word.

use std::path::Path;

use super::{Code, Finding, Rule, shown};

pub(super) const RULE: Rule = Rule {
    code: "HP009",
    name: "unsupported-file",
    remedy: "Save the text as .txt, .md, .jsonl or .csv, or move the file out of the folder.",
    skips: true,
};

/// Endings of documents and data, lower case.
#[rustfmt::skip]
pub(crate) const UNSUPPORTED: &[&str] = &[
    "adoc", "arrow", "doc", "docx", "eml", "epub", "fb2", "gz", "htm", "html", "ipynb", "log", "markdown", "mbox",
    "mdx", "mobi", "numbers", "ods", "odt", "org", "pages", "pdf", "rst", "rtf", "srt", "tex",
    "text", "vtt", "wps", "xls", "xlsx", "xml", "yaml", "yml", "zip", "zst",
];

/// `count` files end in `.ending`; `first` is one of them.
pub(crate) fn unsupported_file(first: &Path, ending: &str, count: usize) -> Finding {
    let message = match count {
        0 | 1 => format!("{} files are not read yet", shown(&format!(".{ending}"))),
        _ => format!("{} files are not read yet; there are {count}", shown(&format!(".{ending}"))),
    };
    Finding::new(Code::UnsupportedFile, first, (1, 1), message)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::UNSUPPORTED;
    use crate::folder::is_dataset_file;
    use crate::testing::check;

    #[test]
    fn one_finding_for_each_ending() {
        check(
            &[
                ("a.xlsx", "PK"),
                ("b/c.XLSX", "PK"),
                ("b/letter.docx", "PK"),
                ("cat.jpg", "JFIF"),
                (".hidden.html", ""),
                ("hotplate.toml", ""),
                ("note.txt", "a note"),
            ],
            &expect![[r#"
                note.txt:1-1 "a note"
                a.xlsx:1-1 HP009 unsupported-file: ".xlsx" files are not read yet; there are 2
                b/letter.docx:1-1 HP009 unsupported-file: ".docx" files are not read yet
            "#]],
        );
    }

    #[test]
    fn nothing_is_both_read_and_unsupported() {
        assert!(UNSUPPORTED.is_sorted());
        assert!(UNSUPPORTED.iter().all(|ending| !is_dataset_file(format!("a.{ending}").as_ref())));
    }
}
