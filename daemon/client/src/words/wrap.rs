//! Lines of a width, by what they take on the screen: a Chinese character is two columns wide and may be broken
//! after, a Latin word is not broken.

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::visible::visible;

/// Marks that must not begin a line.
const CLOSING: &str = "，。、！？；：…—”’）》」』,.!?;:)";
/// Marks that must not end one.
const OPENING: &str = "“‘（《「『(";

/// Lines of at most `width` columns. Paragraphs stay apart; a word that is wider than a line is cut.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(2);
    let mut lines = Vec::new();
    // Whatever is spelled out takes columns.
    for paragraph in visible(text).trim().lines() {
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

/// The same lines, broken between words where one takes more than `width` columns; what follows is indented like its beginning. A word stays whole,
/// however long: it may be a path or a command that somebody copies.
pub fn fold(text: &str, width: usize) -> String {
    let folded: Vec<String> = text.split('\n').map(|line| fold_line(line, width)).collect();
    folded.join("\n")
}

fn fold_line(line: &str, width: usize) -> String {
    if columns(line) <= width {
        return line.to_owned();
    }
    let indent = &line[..line.len() - line.trim_start_matches(' ').len()];
    // A heading's or a list's own indentation must leave room for something.
    let indent = if indent.len() * 2 > width { "" } else { indent };
    let (mut folded, mut taken, mut spaces) = (String::with_capacity(line.len()), 0, "");
    for piece in pieces(line) {
        let word = piece.trim_end_matches(' ');
        if taken > indent.len() && taken + spaces.len() + columns(word) > width {
            folded.push('\n');
            folded.push_str(indent);
            (taken, spaces) = (indent.len(), "");
        }
        folded.push_str(spaces);
        folded.push_str(word);
        taken += spaces.len() + columns(word);
        spaces = &piece[word.len()..];
    }
    folded
}

/// Code points that stand for no character are a front end's marks, and take no room.
fn columns(text: &str) -> usize {
    let is_mark = |character: &char| ('\u{fdd0}'..='\u{fdef}').contains(character);
    text.width() - text.chars().filter(is_mark).filter_map(UnicodeWidthChar::width).sum::<usize>()
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
        let must_not = CLOSING.contains(next)
            || OPENING.contains(character)
            || next == ' '
            || is_joined(character, next);
        if may_break && !must_not {
            let end = index + character.len_utf8();
            pieces.push(&text[start..end]);
            start = end;
        }
    }
    pieces.push(&text[start..]);
    pieces
}

/// Whether a reader takes both for parts of one character: an accent, a skin's colour, a family.
fn is_joined(character: char, next: char) -> bool {
    const JOINER: char = '\u{200d}';
    next.width() == Some(0) || character == JOINER || ('\u{1f3fb}'..='\u{1f3ff}').contains(&next)
}

/// The columns that the widest piece takes which [`wrap`] does not break.
pub(super) fn widest_piece(text: &str) -> usize {
    text.lines().flat_map(pieces).map(|piece| piece.trim_end().width()).max().unwrap_or(0)
}

/// A text's beginning on one line of at most `width` columns: whole words, and an ellipsis where something is left out.
pub fn beginning(text: &str, width: usize) -> String {
    // A table has one line for each.
    let clean: String =
        text.chars().map(|c| if c.is_whitespace() || c.is_control() { ' ' } else { c }).collect();
    let line = clean.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    if line.width() <= width {
        return line;
    }
    let room = width.saturating_sub(1);
    let mut end = 0;
    for piece in pieces(&line) {
        if line[..end + piece.trim_end().len()].width() > room {
            break;
        }
        end += piece.len();
    }
    // A first word that no line holds is cut between what a reader takes for characters.
    let first = if end == 0 { graphemes(&line, room) } else { line[..end].to_owned() };
    format!("{}…", first.trim_end_matches([',', ' ', '，', '、']))
}

/// As many whole characters, with the marks that belong to them, as `width` columns hold.
fn graphemes(text: &str, width: usize) -> String {
    let mut taken = String::new();
    for grapheme in text.graphemes(true) {
        if taken.width() + grapheme.width() > width {
            break;
        }
        taken.push_str(grapheme);
    }
    taken
}

#[cfg(test)]
mod tests {
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
    fn a_sentence_is_folded_between_words_and_keeps_its_indentation() {
        assert_eq!(fold("Well now -- the tea, warm.", 11), "Well now --\nthe tea,\nwarm.");
        assert_eq!(fold("  one two three\nfour", 8), "  one\n  two\n  three\nfour");
        assert_eq!(fold("say hotplate rollback notes@2 now", 8), "say\nhotplate\nrollback\nnotes@2\nnow");
        assert_eq!(fold("see /a/path/that/is/long.txt there", 10), "see\n/a/path/that/is/long.txt\nthere");
        assert_eq!(fold("a    table  row", 40), "a    table  row");
        assert_eq!(fold("街坊们，半斤来了。好", 6), "街坊\n们，半\n斤来\n了。好");
        // Painted: the marks take no columns.
        assert_eq!(fold("\u{fdd1}one two\u{fdef} three", 13), "\u{fdd1}one two\u{fdef} three");
        assert_eq!(fold("\n\n", 2), "\n\n");
        for width in 0..12 {
            let folded = fold("   面包 and 茶, “quoted（很）” 嗯", width);
            assert_eq!(folded.replace(['\n', ' '], ""), "面包and茶,“quoted（很）”嗯", "{width}");
        }
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
    fn a_beginning_is_whole_words() {
        assert_eq!(beginning("A rainy\n day", 20), "A rainy day");
        assert_eq!(beginning("Well now, the bakery on mill street", 20), "Well now, the…");
        assert_eq!(beginning("巷口的面馆今天开门了", 12), "巷口的面馆…");
        assert_eq!(beginning("👩‍👩‍👧👩‍👩‍👧👩‍👩‍👧", 5), "👩‍👩‍👧👩‍👩‍👧…");
        assert_eq!(beginning("", 5), "");
        for width in 4..30 {
            assert!(
                beginning("Café au lait, 面包 and incomprehensibilities", width).width() <= width,
                "{width}"
            );
        }
    }
}
