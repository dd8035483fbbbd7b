//! Rust text as it lies in a cell: where it ends, and whether somebody is still typing it. Knows tokens, not grammar.

use ra_ap_rustc_lexer::{FrontmatterAllowed, LiteralKind, TokenKind, tokenize};

/// What a console should do with Rust text when Enter is pressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Finished,
    /// A bracket, text or comment is open, or the last line wants another one.
    Open,
    /// A bracket is closed that was never opened.
    Wrong,
}

pub(crate) fn shape(code: &str) -> Shape {
    match flaw(code) {
        Some(Flaw { kind: FlawKind::NeverOpened, .. }) => Shape::Wrong,
        Some(_) => Shape::Open,
        None if goes_on(code) => Shape::Open,
        None => Shape::Finished,
    }
}

/// What makes it impossible to tell where code ends. evcxr puts lines of its own behind it, and a compiler would
/// speak of those.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flaw {
    pub kind: FlawKind,
    /// Of the bracket, text or comment, in bytes.
    pub at: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FlawKind {
    NeverOpened,
    NeverClosed,
    TextWithoutEnd,
    CommentWithoutEnd,
}

impl FlawKind {
    pub(crate) fn message(self) -> &'static str {
        match self {
            FlawKind::NeverOpened => "this bracket closes nothing that is open",
            FlawKind::NeverClosed => "this bracket is never closed",
            FlawKind::TextWithoutEnd => "this text has no end; a quote is missing",
            FlawKind::CommentWithoutEnd => "this comment has no end; */ is missing",
        }
    }
}

pub(crate) fn flaw(code: &str) -> Option<Flaw> {
    let mut open = Vec::new();
    let mut at = 0;
    for token in tokenize(code, FrontmatterAllowed::No) {
        match token.kind {
            TokenKind::OpenParen => open.push((TokenKind::CloseParen, at)),
            TokenKind::OpenBracket => open.push((TokenKind::CloseBracket, at)),
            TokenKind::OpenBrace => open.push((TokenKind::CloseBrace, at)),
            TokenKind::CloseParen | TokenKind::CloseBracket | TokenKind::CloseBrace
                if open.pop().map(|(closing, _)| closing) != Some(token.kind) =>
            {
                return Some(Flaw { kind: FlawKind::NeverOpened, at });
            }
            TokenKind::BlockComment { terminated: false, .. } => {
                return Some(Flaw { kind: FlawKind::CommentWithoutEnd, at });
            }
            kind if is_open_text(kind) => return Some(Flaw { kind: FlawKind::TextWithoutEnd, at }),
            _ => {}
        }
        at += token.len as usize;
    }
    open.pop().map(|(_, at)| Flaw { kind: FlawKind::NeverClosed, at })
}

/// Whether the last line wants another one.
fn goes_on(code: &str) -> bool {
    let mut kinds = tokenize(code, FrontmatterAllowed::No).map(|token| token.kind);
    let last = kinds.by_ref().fold(None, |last, kind| if is_blank(kind) { last } else { Some(kind) });
    matches!(
        last,
        Some(
            TokenKind::Eq
                | TokenKind::Plus
                | TokenKind::Minus
                | TokenKind::Star
                | TokenKind::Slash
                | TokenKind::And
                | TokenKind::Or
                | TokenKind::Comma
                | TokenKind::Dot
                | TokenKind::Colon
        )
    )
}

/// The length of the Rust text that `code` begins with: it reaches to the first line, outside of any bracket, text or
/// comment, for which `is_other` holds. `is_other` is given the rest of the code from that line's first word on, and
/// whether the Rust text before it ends as a statement does.
pub(crate) fn rust_length(code: &str, is_other: impl Fn(&str, bool) -> bool) -> usize {
    let mut depth = 0_usize;
    let mut offset = 0;
    let mut last = None;
    for token in tokenize(code, FrontmatterAllowed::No) {
        let (start, end) = (offset, offset + token.len as usize);
        offset = end;
        match token.kind {
            TokenKind::OpenParen | TokenKind::OpenBracket | TokenKind::OpenBrace => depth += 1,
            TokenKind::CloseParen | TokenKind::CloseBracket | TokenKind::CloseBrace => {
                depth = depth.saturating_sub(1);
            }
            TokenKind::Whitespace if depth == 0 => {
                let blank = code.get(start..end).unwrap_or_default();
                let rest = code.get(end..).unwrap_or_default();
                let ended = matches!(last, None | Some(TokenKind::Semi | TokenKind::CloseBrace));
                if let Some(line) = blank.rfind('\n')
                    && is_other(rest, ended)
                {
                    return start + line + 1;
                }
            }
            _ => {}
        }
        if !is_blank(token.kind) {
            last = Some(token.kind);
        }
    }
    code.len()
}

fn is_blank(kind: TokenKind) -> bool {
    matches!(kind, TokenKind::Whitespace | TokenKind::LineComment { .. } | TokenKind::BlockComment { .. })
}

fn is_open_text(kind: TokenKind) -> bool {
    let TokenKind::Literal { kind, .. } = kind else { return false };
    matches!(
        kind,
        LiteralKind::Str { terminated: false }
            | LiteralKind::ByteStr { terminated: false }
            | LiteralKind::CStr { terminated: false }
            | LiteralKind::RawStr { n_hashes: None }
            | LiteralKind::RawByteStr { n_hashes: None }
            | LiteralKind::RawCStr { n_hashes: None }
    )
}

/// What is quoted of a line at most, in characters.
const WINDOW: usize = 160;

/// The part of a long line around a column (from 0), and the column's place in it.
pub(crate) fn window(line: &str, column: usize) -> (String, usize) {
    if line.chars().nth(WINDOW).is_none() {
        return (line.to_owned(), column);
    }
    let skipped = column.saturating_sub(WINDOW / 2);
    let shown: String = line.chars().skip(skipped).take(WINDOW).collect();
    let before = if skipped > 0 { "… " } else { "" };
    (format!("{before}{shown} …"), column - skipped + before.chars().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes() {
        for (code, expected) in [
            ("", Shape::Finished),
            ("let x = 1;", Shape::Finished),
            ("1 + 1", Shape::Finished),
            ("fn f<'a>(x: &'a str) -> char { '\\'' }", Shape::Finished),
            ("println!(\"{{ ( [\"); // }", Shape::Finished),
            ("r#\" \"( \"#", Shape::Finished),
            ("/* /* */ */ 1", Shape::Finished),
            ("let x =", Shape::Open),
            ("value\n    .", Shape::Open),
            ("fn f() {", Shape::Open),
            ("vec![1,\n", Shape::Open),
            ("\"面包", Shape::Open),
            ("r#\"a\"", Shape::Open),
            ("/* /* */", Shape::Open),
            (")", Shape::Wrong),
            ("fn f() { ] }", Shape::Wrong),
        ] {
            assert_eq!(shape(code), expected, "{code:?}");
        }
    }

    #[test]
    fn long_lines_are_cut() {
        assert_eq!(window("short", 3), ("short".to_owned(), 3));
        let line = format!("{}面{}", "a".repeat(500), "b".repeat(500));
        let (shown, column) = window(&line, 500);
        assert_eq!(shown.chars().nth(column), Some('面'));
        assert!(shown.chars().count() < 170);
    }

    #[test]
    fn flaws_have_a_place() {
        let check = |code: &str, kind, at| assert_eq!(flaw(code), Some(Flaw { kind, at }), "{code:?}");
        check("f(1", FlawKind::NeverClosed, 1);
        check("f(1]", FlawKind::NeverOpened, 3);
        check("x = \"a", FlawKind::TextWithoutEnd, 4);
        check("1 /* a", FlawKind::CommentWithoutEnd, 2);
        assert_eq!(flaw("let x ="), None);
    }

    #[test]
    fn rust_text_ends_where_something_else_begins() {
        let check = |code: &str, rust: &str| {
            let length =
                rust_length(code, |rest, ended| rest.starts_with('%') && (ended || !rest.starts_with("% ")));
            assert_eq!(&code[..length], rust, "{code:?}");
        };
        check("let x = 1;\n%status\n", "let x = 1;\n");
        check("let x = a\n    % b;\n  % status", "let x = a\n    % b;\n");
        check("f(a\n%b)\n\n%status", "f(a\n%b)\n\n");
        check("let x = \"\n%status\n\";", "let x = \"\n%status\n\";");
        check("/*\n%status\n*/", "/*\n%status\n*/");
        check("1 // one\n%status", "1 // one\n");
        check("} %x", "} %x");
    }
}
