//! # HP015 `invalid-table`
//!
//! A table (`.csv`, `.tsv`) cannot be understood at this place: the row has more or fewer cells than the first row has names, two
//! columns have the same name, or a quote that was opened is never closed, so that the rest of the file is one cell. A cell that
//! holds a quote, a separator or a line break stands between quotes, and a quote in it is written twice.
//!
//! The row is left out, and those around it are read; where the names of the columns are wrong, the whole file is.

use super::{Code, Finding, Rule, shown};
use crate::shapes::RecordLocation;

pub(super) const RULE: Rule = Rule {
    code: "HP015",
    name: "invalid-table",
    remedy: "Put cells with separators, quotes or line breaks between quotes, and write a quote in them twice.",
    skips: true,
};

/// What is wrong with a table.
pub(crate) enum TableFault<'a> {
    Cells { found: usize, wanted: usize },
    TwoColumns(&'a str),
    OpenQuote,
}

pub(crate) fn invalid_table(place: RecordLocation<'_>, fault: &TableFault<'_>) -> Finding {
    let message = match fault {
        TableFault::Cells { found, wanted } => {
            format!("this row has {found} cells; the first row names {wanted} columns")
        }
        TableFault::TwoColumns(name) => format!("two columns are called {}", shown(name)),
        TableFault::OpenQuote => {
            "a quote that is opened in this row is not closed up to the end of the file".to_owned()
        }
    };
    Finding::new(Code::InvalidTable, place.file, place.lines, message)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::testing::check;

    #[test]
    fn ragged_rows_double_names_and_open_quotes() {
        check(
            &[
                ("a.csv", "prompt,completion\na,b\nc\nd,e,f\ng,h\n"),
                ("b.csv", "text,id,Text\na,1,b\n"),
                ("c.csv", "text\none\n\"two\nthree\nfour\n"),
            ],
            &expect![[r#"
                a.csv:2-2 "a" -> "b"
                a.csv:5-5 "g" -> "h"
                c.csv:2-2 "one"
                a.csv:3-3 HP015 invalid-table: this row has 1 cells; the first row names 2 columns
                a.csv:4-4 HP015 invalid-table: this row has 3 cells; the first row names 2 columns
                b.csv:1-1 HP015 invalid-table: two columns are called "text"
                c.csv:3-6 HP015 invalid-table: a quote that is opened in this row is not closed up to the end of the file
            "#]],
        );
    }
}
