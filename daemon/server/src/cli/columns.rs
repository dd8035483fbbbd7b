//! Text in columns, by what it takes on the screen.

use hotplate_client::words::wrap;
use unicode_width::UnicodeWidthStr;

/// `text` and spaces up to `width` columns.
pub(crate) fn pad(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(text.width())))
}

/// Texts beside each other, `width` columns in all, each under its head.
pub(crate) fn side_by_side(
    heads: &[impl AsRef<str>],
    texts: &[impl AsRef<str>],
    width: usize,
) -> Vec<String> {
    let between = 3 * texts.len().saturating_sub(1);
    let column = width.saturating_sub(between) / texts.len().max(1);
    let wrapped =
        |texts: Vec<&str>| -> Vec<Vec<String>> { texts.into_iter().map(|text| wrap(text, column)).collect() };
    let row = |columns: &[Vec<String>], at: usize| {
        let cells = columns.iter().map(|lines| pad(lines.get(at).map_or("", String::as_str), column));
        cells.collect::<Vec<_>>().join(" │ ").trim_end().to_owned()
    };
    let tallest = |columns: &[Vec<String>]| columns.iter().map(Vec::len).max().unwrap_or(0);
    let heads = wrapped(heads.iter().map(AsRef::as_ref).collect());
    let texts = wrapped(texts.iter().map(AsRef::as_ref).collect());
    let mut lines: Vec<String> = (0..tallest(&heads)).map(|at| row(&heads, at)).collect();
    lines.push(vec!["─".repeat(column); texts.len()].join("─┼─"));
    lines.extend((0..tallest(&texts)).map(|at| row(&texts, at)));
    lines
}

/// Names and values, the values under each other.
pub(crate) fn ledger(rows: &[(String, String)]) -> Vec<String> {
    let widest = rows.iter().map(|(name, _)| name.width()).max().unwrap_or(0);
    rows.iter().map(|(name, value)| format!("{}  {value}", pad(name, widest))).collect()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn beside_each_other() {
        let lines =
            side_by_side(&["before", "之后"], &["A short text in English.", "街坊们，半斤来了。"], 27);
        expect![[r"
            before       │ 之后
            ─────────────┼─────────────
            A short text │ 街坊们，半斤
            in English.  │ 来了。"]]
        .assert_eq(&lines.join("\n"));
        let lines = side_by_side(&["a", "b, with a long head", "c"], &["", "two lines", "x"], 27);
        expect![[r"
            a       │ b, with │ c
                    │ a long  │
                    │ head    │
            ────────┼─────────┼────────
                    │ two     │ x
                    │ lines   │
        "]]
        .assert_eq(&format!("{}\n", lines.join("\n")));
    }
}
