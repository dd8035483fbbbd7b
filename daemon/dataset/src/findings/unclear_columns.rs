//! # HP025 `unclear-columns`
//!
//! Two columns (or fields of a record) could be the same thing: `question` and `query` both look like the prompt. Guessing would teach the
//! wrong half of the data.
//!
//! The record, or the whole table, is left out until the recipe says which is which, or one of the two is renamed.

use super::{Code, Finding, Rule, shown};
use crate::columns::Unclear;
use crate::shapes::RecordLocation;

pub(super) const RULE: Rule = Rule {
    code: "HP025",
    name: "unclear-columns",
    remedy: "Say in hotplate.toml which are which: columns = { prompt = \"…\", completion = \"…\" }.",
    skips: true,
};

pub(crate) fn unclear_columns(place: RecordLocation<'_>, unclear: &Unclear<'_>) -> Finding {
    let Unclear { field, columns: [one, other] } = unclear;
    let message = format!("{} and {} could both be the {field}", shown(one), shown(other));
    Finding::new(Code::UnclearColumns, place.file, place.lines, message)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::testing::check;

    #[test]
    fn a_table_once_and_records_each() {
        check(
            &[
                ("a.csv", "question,query,answer\na,b,c\nd,e,f\n"),
                (
                    "b.jsonl",
                    "{\"question\": \"q\", \"answer\": \"a\", \"response\": \"r\"}\n{\"question\": \"q\", \"answer\": \"a\", \"response\": null}\n",
                ),
            ],
            &expect![[r#"
                b.jsonl:2-2 "q" -> "a"
                a.csv:1-1 HP025 unclear-columns: "question" and "query" could both be the prompt
                b.jsonl:1-1 HP025 unclear-columns: "answer" and "response" could both be the completion
            "#]],
        );
    }
}
