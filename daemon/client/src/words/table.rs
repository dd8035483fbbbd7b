//! Columns of text, aligned by display width (a Chinese character is two columns wide).

use unicode_width::UnicodeWidthStr;

use super::wrap::{widest_piece, wrap};

/// For those who have as much room as they like.
pub const UNBOUNDED: usize = usize::MAX;
/// A longer word may be cut where there is no room for it.
const LONGEST_WORD: usize = 10;
const BETWEEN: &str = "  ";
/// Stands between words of a cell that stay on one line.
pub(super) const TOGETHER: char = '\u{a0}';

/// Rows under headers, two spaces between columns. Columns of figures only are aligned to the right. Where a line would be wider
/// than `width`, cells go on below themselves, the widest columns first.
pub fn table(headers: &[&str], rows: &[Vec<String>], width: usize) -> String {
    let columns = headers.len();
    let cells = |column: usize| rows.iter().filter_map(move |row| row.get(column)).map(String::as_str);
    let measured = |column: usize, measure: &dyn Fn(&str) -> usize| {
        cells(column).chain([headers[column]]).map(measure).max().unwrap_or(0)
    };
    let mut widths: Vec<usize> = (0..columns).map(|column| measured(column, &|cell| cell.width())).collect();
    let figures: Vec<bool> = (0..columns).map(|column| cells(column).all(is_figure)).collect();
    let least: Vec<usize> = (0..columns)
        .map(|column| {
            let longest = if figures[column] { usize::MAX } else { LONGEST_WORD };
            measured(column, &|cell| widest_piece(cell).min(longest))
        })
        .collect();
    let between = BETWEEN.len() * columns.saturating_sub(1);
    while widths.iter().sum::<usize>() + between > width {
        let widest = (0..columns)
            .filter(|column| widths[*column] > least[*column])
            .max_by_key(|column| widths[*column]);
        let Some(widest) = widest else { break };
        widths[widest] -= 1;
    }
    let headers: Vec<String> = headers.iter().map(|&header| header.to_owned()).collect();
    let lines = std::iter::once(&headers).chain(rows).flat_map(|row| lines(row, &widths, &figures));
    lines.collect::<Vec<_>>().join("\n")
}

/// One line, or more where a cell is wider than its column.
fn lines(row: &[String], widths: &[usize], figures: &[bool]) -> Vec<String> {
    let cells = row.iter().zip(widths).map(|(cell, width)| {
        if cell.width() <= *width { vec![cell.clone()] } else { wrap(&at_joints(cell, *width), *width) }
    });
    let cells: Vec<Vec<String>> = cells.collect();
    let tallest = cells.iter().map(Vec::len).max().unwrap_or(0);
    let line = |at: usize| {
        let mut line = String::new();
        for (column, cell) in cells.iter().enumerate() {
            let part = cell.get(at).map_or("", String::as_str);
            let padding = " ".repeat(widths[column].saturating_sub(part.width()));
            if column > 0 {
                line.push_str(BETWEEN);
            }
            if figures[column] {
                line.push_str(&padding);
                line.push_str(part);
            } else {
                line.push_str(part);
                line.push_str(&padding);
            }
        }
        line.trim_end().replace(TOGETHER, " ")
    };
    (0..tallest).map(line).collect()
}

/// The cell with a space behind joints (`-`, `/`, …) of words that are wider than `width`: they go on below rather there than anywhere.
fn at_joints(cell: &str, width: usize) -> String {
    let words = cell.split(' ').map(|word| {
        let mut parts = String::new();
        let mut rest = word;
        while rest.width() > width {
            let joints = rest.char_indices().filter(|(_, character)| "-/_.".contains(*character));
            let mut ends = joints.map(|(at, joint)| at + joint.len_utf8());
            let fitting = ends.rfind(|end| *end < rest.len() && rest[..*end].width() <= width);
            let Some(end) = fitting else { break };
            parts.push_str(&rest[..end]);
            parts.push(' ');
            rest = &rest[end..];
        }
        parts + rest
    });
    words.collect::<Vec<_>>().join(" ")
}

fn is_figure(cell: &str) -> bool {
    // A time of day or a place in a file begins with a figure, and is none.
    cell.starts_with(|character: char| character.is_ascii_digit() || character == '-') && !cell.contains(':')
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn row(cells: [&str; 3]) -> Vec<String> {
        cells.map(str::to_owned).to_vec()
    }

    #[test]
    fn columns_line_up() {
        let rows = [row(["面包店", "12", ""]), row(["notes", "3", "stale"])];
        expect![[r"
            name    version  note
            面包店       12
            notes         3  stale"]]
        .assert_eq(&table(&["name", "version", "note"], &rows, UNBOUNDED));
    }

    #[test]
    fn what_has_no_room_goes_on_below() {
        let rows = [
            row(["面包店的笔记和茶馆", "12", "the files of version 3 are gone"]),
            row(["notes", "3\u{a0}of\u{a0}4", ""]),
        ];
        let text = table(&["name", "version", "note"], &rows, 36);
        expect![[r"
            name           version  note
            面包店的笔记        12  the files of
            和茶馆                  version 3
                                    are gone
            notes           3 of 4"]]
        .assert_eq(&text);
        assert_eq!(at_joints("my recipes-of-2026 a", 9), "my recipes- of-2026 a");
        assert_eq!(at_joints("/home/me/incomprehensible", 9), "/home/me/ incomprehensible");
        for width in [30, 36, 50, 80] {
            let text = table(&["name", "version", "note"], &rows, width);
            assert!(text.lines().all(|line| line.width() <= width), "{width}:\n{text}");
        }
    }
}
