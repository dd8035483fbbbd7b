//! # HP033 `dataset-card`
//!
//! The file tells about the texts and is none of them: the card (`README.md`) of a dataset that was cloned, its licence, or what
//! else lies beside its data (`CITATION`, `NOTICE`, `CHANGELOG` …). It is left out.
//!
//! A README is taken for a card where its front matter has keys that only cards have, or where records (`.jsonl`, `.json`,
//! `.csv`, `.tsv`, `.parquet`) lie beside or below it. If it is a text of yours, give it another name.

use std::path::Path;

use super::{Code, Finding, Rule, shown};

pub(super) const RULE: Rule = Rule {
    code: "HP033",
    name: "dataset-card",
    remedy: "Nothing to do; if it is a text to be learnt, give the file another name.",
    skips: true,
};

/// What a card or licence is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CardSign<'a> {
    /// A key of its front matter.
    Key(&'a str),
    /// Its name, and the records beside it.
    BesideRecords,
    /// Its name.
    Licence,
}

pub(crate) fn dataset_card(file: &Path, lines: (usize, usize), sign: CardSign<'_>) -> Finding {
    let message = match sign {
        CardSign::Key(key) => format!("a dataset's card by its key {}, not a text", shown(key)),
        CardSign::BesideRecords => {
            "by its name it tells about the records beside it, and is not a text".to_owned()
        }
        CardSign::Licence => "a licence by its name, not a text".to_owned(),
    };
    Finding::new(Code::DatasetCard, file, lines, message)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::testing::check;

    #[test]
    fn a_cloned_dataset_and_notes_with_a_readme() {
        let record = "{\"text\": \"a record\"}\n";
        check(
            &[
                ("cloned/README.md", "# Notes\n\nThis dataset has notes.\n"),
                ("cloned/LICENSE.md", "MIT License\n"),
                ("cloned/CITATION.txt", "@article{}\n"),
                ("cloned/data/train.jsonl", record),
                ("cloned/dataset_infos.json", "{\"default\": {}}"),
                ("texts/readme.md", "---\nlicense: mit\npretty_name: Notes\n---\n\n# Dataset card\n"),
                ("texts/a.txt", "a note"),
                ("texts/LICENCE-CC-BY.txt", "Attribution 4.0"),
                ("mine/README.md", "My notes, and how I keep them.\n"),
                ("mine/notice.md", "A notice on the door.\n"),
                ("mine/citation.md", "A line from a song.\n"),
            ],
            &expect![[r#"
                cloned/data/train.jsonl:1-1 "a record"
                mine/README.md:1-1 "My notes, and how I keep them."
                mine/citation.md:1-1 "A line from a song."
                mine/notice.md:1-1 "A notice on the door."
                texts/a.txt:1-1 "a note"
                cloned/CITATION.txt:1-1 HP033 dataset-card: by its name it tells about the records beside it, and is not a text
                cloned/LICENSE.md:1-1 HP033 dataset-card: a licence by its name, not a text
                cloned/README.md:1-1 HP033 dataset-card: by its name it tells about the records beside it, and is not a text
                cloned/dataset_infos.json:1-1 HP033 dataset-card: by its name it tells about the records beside it, and is not a text
                texts/LICENCE-CC-BY.txt:1-1 HP033 dataset-card: a licence by its name, not a text
                texts/readme.md:1-6 HP033 dataset-card: a dataset's card by its key "license", not a text
            "#]],
        );
    }
}
