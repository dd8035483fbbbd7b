//! Text of somebody else's, so that a terminal shows it and obeys nothing in it.

use std::borrow::Cow;
use std::path::Path;

/// Characters that move the cursor, colour, turn the direction of what follows, or are taken for the end of a line.
fn is_hidden(character: char) -> bool {
    match character {
        '\n' | '\t' => false,
        // Marks, embeddings, overrides and isolates of direction; ends of lines and paragraphs.
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        other => other.is_control(),
    }
}

/// The text with such characters spelled out (`\u{1b}`). Line breaks and tabs stay.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let spell =
        |character: char| if is_hidden(character) { Err(character.escape_default()) } else { Ok(character) };
    let mut spelled = String::with_capacity(text.len() + 16);
    for character in text.chars().map(spell) {
        match character {
            Ok(character) => spelled.push(character),
            Err(escaped) => spelled.extend(escaped),
        }
    }
    Cow::Owned(spelled)
}

/// A path on one line.
pub fn path(path: &Path) -> String {
    visible(&path.to_string_lossy()).replace('\n', "\\n").replace('\t', "\\t")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_obeyed_and_ordinary_text_stays() {
        for text in ["plain", "多行\n\ttext", "👩‍👩‍👧 ﷺ नमस्ते", "a\u{feff}b"] {
            assert!(matches!(visible(text), Cow::Borrowed(same) if same == text));
        }
        assert_eq!(visible("\u{1b}[31mred\u{1b}[0m\r"), r"\u{1b}[31mred\u{1b}[0m\r");
        assert_eq!(visible("\u{9b}2J\u{7f}\0"), r"\u{9b}2J\u{7f}\u{0}");
        assert_eq!(visible("a\u{202e}txt.exe\u{2066}"), r"a\u{202e}txt.exe\u{2066}");
        assert_eq!(path(Path::new("a\nb\u{1b}/c")), r"a\nb\u{1b}/c");
    }
}
