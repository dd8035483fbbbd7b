//! # HP031 `front-matter`
//!
//! The lines at the top of a Markdown file look like front matter, the block of keys that blog engines and note programs keep
//! there, and something about them is not as it should be: they are not valid YAML, TOML or JSON, their closing mark is missing,
//! or no key of them is known. The block is left out; the text behind it is learnt.
//!
//! If it is front matter, mend it. If it is a text of yours, put a blank line above it.

use std::path::Path;

use super::{Code, Finding, Rule};

pub(super) const RULE: Rule = Rule {
    code: "HP031",
    name: "front-matter",
    remedy: "Mend the block; if it is a text, put a blank line above it.",
    skips: true,
};

pub(crate) fn front_matter(file: &Path, lines: (usize, usize), doubt: &str) -> Finding {
    Finding::new(Code::FrontMatter, file, lines, format!("{doubt}; it is left out"))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::testing::check;

    #[test]
    fn the_block_is_left_out_and_the_text_is_learnt() {
        check(
            &[
                ("a.md", "---\ntitle: Soup: hot\ndate: 2026-03-01\n---\n\nSoup text.\n"),
                ("b.md", "+++\ntitle: Rye\n+++\nRye text.\n"),
                ("c.md", "{\n  \"title\": Plait\n}\nPlait text.\n"),
                ("d.md", "---\ntitle: Spelt\ntags:\n  - bread\n\nSpelt text.\n"),
                ("e.md", "---\nmy mood: a bit tired\nsky: grey and low\n---\nWeather text.\n"),
                ("f.md", "title: Oats: hot\ndate: 2026\n---\nOats text.\n"),
                ("g.md", "Title: Peas\nCooking-Time: an hour or so\n\nPeas text.\n"),
            ],
            &expect![[r#"
                a.md:6-6 "Soup text."
                b.md:4-4 "Rye text."
                c.md:4-4 "Plait text."
                d.md:6-6 "Spelt text."
                e.md:5-5 "Weather text."
                f.md:4-4 "Oats text."
                g.md:4-4 "Peas text."
                a.md:1-4 HP031 front-matter: this looks like front matter and is no YAML (in its line 1: mapping values are not allowed in this context); it is left out
                b.md:1-3 HP031 front-matter: this looks like front matter and is no TOML (in its line 1: key with no value, expected `=`); it is left out
                c.md:1-3 HP031 front-matter: this looks like front matter and is no JSON (in its line 2: expected value at line 2 column 12); it is left out
                d.md:1-4 HP031 front-matter: this looks like front matter, and its opening --- is never closed; it is left out
                e.md:1-4 HP031 front-matter: this looks like front matter, but none of its keys ("my mood", "sky") is one that is known; it is left out
                f.md:1-3 HP031 front-matter: this looks like front matter and is no YAML (in its line 1: mapping values are not allowed in this context); it is left out
                g.md:1-2 HP031 front-matter: this looks like front matter; not all of its keys are known ("Cooking-Time"); it is left out
            "#]],
        );
    }
}
