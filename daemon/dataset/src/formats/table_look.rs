//! A look through a whole table before its rows are read: which columns hold something else than text in every row.

use serde_json::Value;

use super::Format;
use super::table::TableStream;
use super::table_cutter::{Row, RowBody};
use crate::loose_json;

/// What each column holds. Cells of nothing say nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told {
    columns: Vec<Kind>,
}

#[derive(Debug, Clone, Copy)]
struct Kind {
    any: bool,
    messages: bool,
    verdicts: bool,
}

impl Told {
    /// Whether every cell is a list of messages as JSON.
    pub(super) fn are_messages(&self, column: usize) -> bool {
        self.columns.get(column).is_some_and(|kind| kind.any && kind.messages)
    }

    /// Whether every cell says true or false.
    pub(super) fn are_verdicts(&self, column: usize) -> bool {
        self.columns.get(column).is_some_and(|kind| kind.any && kind.verdicts)
    }

    fn add(&mut self, row: &Row<'_>) {
        let RowBody::Cells(cells) = row.body else { return };
        for (at, cell) in cells.iter().enumerate() {
            if at == self.columns.len() {
                self.columns.push(Kind { any: false, messages: true, verdicts: true });
            }
            let cell = cell.trim_ascii();
            let Some(kind) = self.columns.get_mut(at).filter(|_| !cell.is_empty()) else { continue };
            kind.any = true;
            kind.messages = kind.messages && str::from_utf8(cell).is_ok_and(is_messages);
            kind.verdicts = kind.verdicts && str::from_utf8(cell).is_ok_and(|cell| verdict(cell).is_some());
        }
    }
}

fn is_messages(cell: &str) -> bool {
    cell.starts_with('[')
        && loose_json::from_str::<Vec<Value>>(cell)
            .is_ok_and(|list| !list.is_empty() && list.iter().all(|message| message.get("role").is_some()))
}

pub(super) fn verdict(cell: &str) -> Option<bool> {
    match cell.trim().to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// Takes a file's bytes, says what its columns hold.
pub(crate) struct TableLook {
    stream: TableStream,
    header_passed: bool,
    told: Told,
}

impl TableLook {
    pub(crate) fn new(format: Format, max_record_bytes: usize) -> Self {
        Self {
            stream: TableStream::new(format, max_record_bytes),
            header_passed: false,
            told: Told::default(),
        }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let Self { stream, header_passed, told } = self;
        stream.push(bytes, &mut |row| look_at(row, header_passed, told));
    }

    pub(crate) fn finish(self) -> Told {
        let Self { stream, mut header_passed, mut told } = self;
        stream.finish(&mut |row| look_at(row, &mut header_passed, &mut told));
        told
    }
}

fn look_at(row: &Row<'_>, header_passed: &mut bool, told: &mut Told) {
    match row.body {
        RowBody::Cells(cells) if cells.is_blank() => {}
        _ if *header_passed => told.add(row),
        _ => *header_passed = true,
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use crate::testing::check;

    #[test]
    fn a_cell_is_a_text_unless_name_and_every_row_say_otherwise() {
        let list = |role: &str| format!("\"[{{\"\"role\"\": \"\"{role}\"\", \"\"content\"\": \"\"c\"\"}}]\"");
        let (user, assistant) = (list("user"), list("assistant"));
        check(
            &[
                ("a.csv", &format!("prompt,completion\n{user},{assistant}\n")),
                ("b.csv", &format!("prompt,completion\n{user},1\nplain,{assistant}\n")),
                ("c.csv", "prompt,completion,label\na,b,true\nc,d,red\n"),
                ("d.csv", "prompt,completion,label\na,b,true\ne,f,FALSE\ng,h,\n"),
                ("e.csv", "text,label\n1.50,true\nnull,7\nNaN,x\n[{},false\n"),
                ("f.tsv", "question\tanswer\n[{1}]\ttrue\n"),
            ],
            &expect![[r#"
                a.csv:2-2 user: "c", assistant: "c"
                b.csv:2-2 "[{\"role\": \"user\", \"content\": \"c\"}]" -> "1"
                b.csv:3-3 "plain" -> "[{\"role\": \"assistant\", \"content\": \"c\"}]"
                c.csv:2-2 "a" -> "b"
                c.csv:3-3 "c" -> "d"
                d.csv:4-4 "g" -> "h"
                e.csv:2-2 "1.50"
                e.csv:3-3 "null"
                e.csv:4-4 "NaN"
                e.csv:5-5 "[{}"
                f.tsv:2-2 "[{1}]" -> "true"
                d.csv:2-2 HP014 preference-data: "label" says whether the answer is good or bad; preferences are not learnt
                d.csv:3-3 HP014 preference-data: "label" says whether the answer is good or bad; preferences are not learnt
            "#]],
        );
    }
}
