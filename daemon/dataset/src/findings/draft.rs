//! # HP032 `draft`
//!
//! The file's front matter says that it is not finished: `draft: true`, `published: false` or `status: draft`. What is not
//! finished should not be learnt as if it were, so all of the file is left out; where the block stands at one of the texts of a
//! file, that text alone. Take the key out, or turn it round, to have it learnt.

use std::path::Path;

use super::{Code, Finding, Rule, shown};

pub(super) const RULE: Rule = Rule {
    code: "HP032",
    name: "draft",
    remedy: "Take that key out of the front matter to have the text learnt.",
    skips: true,
};

pub(crate) fn draft(file: &Path, lines: (usize, usize), key: &str) -> Finding {
    let message = format!("the front matter says {}, so it is left out", shown(key));
    Finding::new(Code::Draft, file, lines, message)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::testing::check;

    #[test]
    fn drafts_in_every_form() {
        check(
            &[
                ("a.md", "---\ntitle: Soup\ndraft: true\n---\n\nSoup text.\n\n---\n\nMore soup.\n"),
                ("b.md", "+++\ntitle = \"Rye\"\ndraft = true\n+++\nRye text.\n"),
                ("c.md", "{\n  \"title\": \"Plait\",\n  \"draft\": true\n}\nPlait text.\n"),
                ("d.md", "---\ntitle: Spelt\npublished: false\n---\nSpelt text.\n"),
                ("e.md", "Title: Peas\nStatus: draft\n\nPeas text.\n"),
                ("f.md", "title: Oats\ndraft: yes\n---\nOats text.\n"),
                ("g.md", "---\ntitle: Done\ndraft: false\npublished: true\nstatus: published\n---\nDone.\n"),
            ],
            &expect![[r#"
                g.md:7-7 "Done."
                a.md:1-10 HP032 draft: the front matter says "draft: true", so it is left out
                b.md:1-5 HP032 draft: the front matter says "draft: true", so it is left out
                c.md:1-5 HP032 draft: the front matter says "draft: true", so it is left out
                d.md:1-5 HP032 draft: the front matter says "published: false", so it is left out
                e.md:1-4 HP032 draft: the front matter says "Status: draft", so it is left out
                f.md:1-4 HP032 draft: the front matter says "draft: yes", so it is left out
            "#]],
        );
    }
}
