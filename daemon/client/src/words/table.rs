//! Columns of text, aligned by display width (a Chinese character is two columns wide).

use unicode_width::UnicodeWidthStr;

/// Rows under headers, two spaces between columns. Columns of figures only are aligned to the right.
pub fn table(headers: &[&str], rows: &[Vec<String>]) -> String {
    let columns = headers.len();
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.width());
            cells.chain([headers[column].width()]).max().unwrap_or(0)
        })
        .collect();
    let figures: Vec<bool> = (0..columns)
        .map(|column| rows.iter().filter_map(|row| row.get(column)).all(|cell| is_figure(cell)))
        .collect();
    let headers: Vec<String> = headers.iter().map(|&header| header.to_owned()).collect();
    let lines = std::iter::once(&headers).chain(rows).map(|row| {
        let mut line = String::new();
        for (column, cell) in row.iter().take(columns).enumerate() {
            let padding = " ".repeat(widths[column].saturating_sub(cell.width()));
            if column > 0 {
                line.push_str("  ");
            }
            if figures[column] {
                line.push_str(&padding);
                line.push_str(cell);
            } else {
                line.push_str(cell);
                line.push_str(&padding);
            }
        }
        line.trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn is_figure(cell: &str) -> bool {
    cell.starts_with(|character: char| character.is_ascii_digit() || character == '-')
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn columns_line_up() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let text =
            table(&["name", "version", "note"], &[row(["面包店", "12", ""]), row(["notes", "3", "stale"])]);
        expect![[r"
            name    version  note
            面包店       12
            notes         3  stale"]]
        .assert_eq(&text);
    }
}
