//! The words of a tag, as Jinja's lexer divides them.

use super::escapes::unescaped;
use super::pieces::is_space;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Name(String),
    Text(String),
    Integer(u128),
    Float(f64),
    Operator(&'static str),
}

/// The longer ones first.
const OPERATORS: [&str; 25] = [
    "//", "**", "==", "!=", "<=", ">=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<",
    "=", ".", ":", "|", ",",
];

type Tokens = (Vec<Token>, usize, Option<char>);

/// The words up to `close`, how many bytes they and it take, and the sign before it.
///
/// # Errors
/// What is wrong, and at which byte.
pub(super) fn tokens(text: &str, close: &str) -> Result<Tokens, (String, usize)> {
    let mut found = Vec::new();
    let mut brackets: Vec<&'static str> = Vec::new();
    let mut at = 0;
    loop {
        let rest = &text[at..];
        let Some(char) = rest.chars().next() else {
            return Err((format!("the tag never ends: {close} is missing"), 0));
        };
        if brackets.is_empty() {
            if rest.starts_with(close) {
                return Ok((found, at + close.len(), None));
            }
            let signed = char == '-' || (char == '+' && close == "%}");
            if signed && rest[1..].starts_with(close) {
                return Ok((found, at + 1 + close.len(), Some(char)));
            }
        }
        if is_space(char) {
            at += char.len_utf8();
            continue;
        }
        let behind_dot = text[..at].ends_with('.');
        let (token, length) = if char == '\'' || char == '"' {
            literal(rest, char).map_err(|why| (why, at))?
        } else if let Some(length) = float(rest).filter(|_| !behind_dot) {
            let digits: String = rest[..length].chars().filter(|char| *char != '_').collect();
            (Token::Float(digits.parse().map_err(|_| ("no number".to_owned(), at))?), length)
        } else if let Some((value, length)) = integer(rest) {
            (
                Token::Integer(
                    value.ok_or_else(|| (format!("the integer {} is too large", &rest[..length]), at))?,
                ),
                length,
            )
        } else if char == '_' || char.is_alphanumeric() {
            let length = rest.find(|char: char| char != '_' && !char.is_alphanumeric()).unwrap_or(rest.len());
            if char.is_numeric() {
                return Err((format!("{} is no name", &rest[..length]), at));
            }
            (Token::Name(rest[..length].to_owned()), length)
        } else if let Some(operator) = OPERATORS.into_iter().find(|operator| rest.starts_with(operator)) {
            match operator {
                "(" => brackets.push(")"),
                "[" => brackets.push("]"),
                "{" => brackets.push("}"),
                ")" | "]" | "}" if brackets.pop() != Some(operator) => {
                    return Err((format!("unexpected {operator}"), at));
                }
                _ => {}
            }
            (Token::Operator(operator), operator.len())
        } else {
            return Err((format!("unexpected {char:?}"), at));
        };
        found.push(token);
        at += length;
    }
}

fn literal(rest: &str, quote: char) -> Result<(Token, usize), String> {
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, char)) = chars.next() {
        if char == '\\' {
            chars.next();
        } else if char == quote {
            return Ok((Token::Text(unescaped(&rest[1..at])?), at + 1));
        }
    }
    Err(format!("the text never ends: {quote} is missing"))
}

/// How long a run of digits is, in which single `_` may stand.
fn digits(text: &str, is_digit: impl Fn(u8) -> bool) -> usize {
    let bytes = text.as_bytes();
    let mut end = 0;
    while end < bytes.len() {
        if is_digit(bytes[end]) {
            end += 1;
        } else if bytes[end] == b'_' && end > 0 && bytes.get(end + 1).is_some_and(|next| is_digit(*next)) {
            end += 2;
        } else {
            break;
        }
    }
    end
}

/// The length of a float, which has a point or an exponent.
fn float(text: &str) -> Option<usize> {
    let decimal = |byte: u8| byte.is_ascii_digit();
    let whole = Some(digits(text, decimal)).filter(|length| *length > 0)?;
    let mut end = whole;
    if text[end..].starts_with('.') {
        let fraction = digits(&text[end + 1..], decimal);
        if fraction > 0 {
            end += 1 + fraction;
        }
    }
    let rest = &text[end..];
    if rest.starts_with(['e', 'E']) {
        let sign = usize::from(rest[1..].starts_with(['+', '-']));
        let exponent = digits(&rest[1 + sign..], decimal);
        if exponent > 0 {
            return Some(end + 1 + sign + exponent);
        }
    }
    (end > whole).then_some(end)
}

/// An integer's value, where it fits, and its length.
fn integer(text: &str) -> Option<(Option<u128>, usize)> {
    let prefix = text.get(..2).unwrap_or_default().to_ascii_lowercase();
    let radix = match prefix.as_str() {
        "0b" => 2,
        "0o" => 8,
        "0x" => 16,
        _ => 10,
    };
    if radix != 10 {
        let body = text[2..].strip_prefix('_').unwrap_or(&text[2..]);
        let length = digits(body, |byte| char::from(byte).is_digit(radix));
        if length > 0 {
            let plain = body[..length].replace('_', "");
            return Some((u128::from_str_radix(&plain, radix).ok(), text.len() - body.len() + length));
        }
    }
    let length = if text.starts_with('0') {
        digits(text, |byte| byte == b'0')
    } else {
        digits(text, |byte| byte.is_ascii_digit())
    };
    (length > 0).then(|| (text[..length].replace('_', "").parse().ok(), length))
}
