//! Text in columns, by what it takes on the screen: a Chinese character is two columns wide and may be broken
//! after, a Latin word is not broken.

use hotplate_client::words;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Marks that must not begin a line.
const CLOSING: &str = "，。、！？；：…—”’）》」』,.!?;:)";
/// Marks that must not end one.
const OPENING: &str = "“‘（《「『(";

/// Lines of at most `width` columns. Paragraphs stay apart; a word that is wider than a line is cut.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(2);
    let mut lines = Vec::new();
    // Whatever is spelled out takes columns.
    for paragraph in words::visible(text).trim().lines() {
        let mut line = String::new();
        let mut line_width = 0;
        for piece in pieces(paragraph) {
            let piece_width = piece.trim_end().width();
            if line_width > 0 && line_width + piece_width > width {
                lines.push(line.trim_end().to_owned());
                line.clear();
                line_width = 0;
            }
            for character in piece.chars() {
                let columns = character.width().unwrap_or(0);
                if line_width + columns > width && character != ' ' {
                    lines.push(line.trim_end().to_owned());
                    line.clear();
                    line_width = 0;
                }
                line.push(character);
                line_width += columns;
            }
        }
        lines.push(line.trim_end().to_owned());
    }
    lines
}

/// What may not be broken: Latin words with the space behind them, Chinese characters with the marks around them.
fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut start = 0;
    let mut characters = text.char_indices().peekable();
    while let Some((index, character)) = characters.next() {
        let Some(&(_, next)) = characters.peek() else { break };
        let wide = |character: char| character.width() == Some(2);
        let may_break = (character == ' ' && next != ' ') || wide(character) || wide(next);
        let must_not = CLOSING.contains(next) || OPENING.contains(character) || next == ' ';
        if may_break && !must_not {
            let end = index + character.len_utf8();
            pieces.push(&text[start..end]);
            start = end;
        }
    }
    pieces.push(&text[start..]);
    pieces
}

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
    fn words_are_kept_and_marks_stay_with_them() {
        assert_eq!(wrap("Well now -- the tea, warm.", 11), ["Well now --", "the tea,", "warm."]);
        assert_eq!(wrap("街坊们，半斤来了。好", 6), ["街坊", "们，半", "斤来", "了。好"]);
        assert_eq!(wrap("喝了（两杯）tea", 6), ["喝了", "（两", "杯）", "tea"]);
        assert_eq!(wrap("incomprehensible", 6), ["incomp", "rehens", "ible"]);
        assert_eq!(wrap("one\n\ntwo", 9), ["one", "", "two"]);
        assert_eq!(wrap("", 9), Vec::<String>::new());
    }

    #[test]
    fn no_line_is_too_wide() {
        let text = "面包 and 茶, “quoted（很）” 嗯，嗯嗯。superlongwordwithoutanyend …… end";
        for width in 2..40 {
            for line in wrap(text, width) {
                assert!(line.width() <= width, "{width}: {line:?}");
            }
            let kept: String = wrap(text, width).concat().replace(' ', "");
            assert_eq!(kept, text.replace(' ', ""));
        }
    }

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
