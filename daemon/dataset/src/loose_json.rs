//! JSON as Python writes and reads it: with `NaN` and `Infinity`, and with whole numbers of any length.
//!
//! `serde_json` has no value for either, so they are read as texts that begin with a mark which no text has. Whoever takes a text out of
//! a value asks [`text`], so that a number never passes for one; a chat template asks [`whole_number`], so that it writes all digits.
//!
//! serde_json's feature `arbitrary_precision` would change how every tagged enum of the workspace and of `tokenizers` reads numbers.

use std::ops::Range;

use serde::de::DeserializeOwned;
use serde_json::{Error, Value};

/// A code point that Unicode keeps free for uses like this one.
const MARK: char = '\u{fdd1}';
/// A whole number of so many digits fits into 64 bits for sure.
const SAFE_DIGITS: usize = 18;

/// # Errors
/// As `serde_json` has them, with lines and columns of `text`.
pub(crate) fn from_str<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    read(text, |text| serde_json::from_str(text))
}

/// As [`from_str`], by a reader of somebody's own.
pub(crate) fn read<T>(text: &str, by: impl Fn(&str) -> Result<T, Error>) -> Result<T, Error> {
    let found = specials(text);
    if found.is_empty() {
        return by(text);
    }
    by(&replaced(text, &found, |token| format!("\"{MARK}{token}\""))).map_err(|error| {
        // For the place of the error, each token becomes something of its own length that is JSON.
        let same_length = replaced(text, &found, |token| format!("\"{}\"", "x".repeat(token.len() - 2)));
        by(&same_length).err().unwrap_or(error)
    })
}

/// The text of a value that is one.
pub(crate) fn text(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.starts_with(MARK))
}

/// The digits of a whole number that no 64 bits hold, as it was written.
pub fn whole_number(value: &str) -> Option<&str> {
    value.strip_prefix(MARK).filter(|token| token.ends_with(|last: char| last.is_ascii_digit()))
}

/// `NaN` or an infinity, as it was written.
pub(crate) fn not_json(value: &Value) -> Option<&str> {
    value.as_str()?.strip_prefix(MARK).filter(|token| !token.ends_with(|last: char| last.is_ascii_digit()))
}

/// The first of those in a value, to the bottom.
pub(crate) fn not_json_inside(value: &Value) -> Option<&str> {
    match value {
        Value::Array(items) => items.iter().find_map(not_json_inside),
        Value::Object(members) => members.values().find_map(not_json_inside),
        value => not_json(value),
    }
}

/// Tokens outside of texts that need a mark.
fn specials(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at = end_of_string(bytes, at + 1),
            b'-' | b'0'..=b'9' | b'N' | b'I' => {
                let rest = bytes.get(at..).unwrap_or_default();
                let length = rest
                    .iter()
                    .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.'))
                    .count();
                let (token, behind) = rest.split_at(length);
                let is_key = behind.trim_ascii_start().starts_with(b":");
                if !is_key && is_special(token) {
                    found.push(at..at + length);
                }
                at += length.max(1);
            }
            _ => at += 1,
        }
    }
    found
}

fn is_special(token: &[u8]) -> bool {
    let digits = token.strip_prefix(b"-").unwrap_or(token);
    matches!(token, b"NaN" | b"Infinity" | b"-Infinity")
        || (digits.len() > SAFE_DIGITS
            && digits.iter().all(u8::is_ascii_digit)
            && !digits.starts_with(b"0")
            && str::from_utf8(token).is_ok_and(|t| t.parse::<i64>().is_err() && t.parse::<u64>().is_err()))
}

/// Behind the closing quote, or the end.
fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn replaced(text: &str, tokens: &[Range<usize>], by: impl Fn(&str) -> String) -> String {
    let mut out = String::with_capacity(text.len() + tokens.len() * 8);
    let mut last = 0;
    for token in tokens {
        out.push_str(text.get(last..token.start).unwrap_or_default());
        out.push_str(&by(text.get(token.clone()).unwrap_or_default()));
        last = token.end;
    }
    out.push_str(text.get(last..).unwrap_or_default());
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Value {
        from_str(text).unwrap()
    }

    #[test]
    fn what_json_has_is_as_ever() {
        for text in [
            r#"{"a": [1, -2.5e3, "NaN, 12345678901234567890123 \" NaN", true, null]}"#,
            r"[18446744073709551615, -9223372036854775808, 1.2345678901234567890123, 12345678901234567890123.0]",
            r#""Infinity""#,
        ] {
            assert_eq!(read(text), serde_json::from_str::<Value>(text).unwrap());
        }
    }

    #[test]
    fn whole_numbers_keep_their_digits() {
        let value = read("[12345678901234567890123, -18446744073709551616, 7]");
        let digits: Vec<_> =
            value.as_array().unwrap().iter().map(|item| item.as_str().and_then(whole_number)).collect();
        assert_eq!(digits, [Some("12345678901234567890123"), Some("-18446744073709551616"), None]);
        assert_eq!(text(&value[0]), None);
        assert_eq!(not_json_inside(&value), None);
    }

    #[test]
    fn nan_and_infinities_are_read_and_known() {
        let value = read("{\"a\": NaN, \"b\": [-Infinity, Infinity], \"c\": \"NaN\"}");
        assert_eq!(not_json(&value["a"]), Some("NaN"));
        assert_eq!(not_json(&value["b"][0]), Some("-Infinity"));
        assert_eq!((not_json(&value["c"]), text(&value["c"])), (None, Some("NaN")));
        assert_eq!(not_json_inside(&value), Some("NaN"));
        assert_eq!(not_json_inside(&json!({"x": ["y"]})), None);
    }

    #[test]
    fn errors_keep_their_columns() {
        let error = from_str::<Value>("{\"a\": NaN, \"b\": 12345678901234567890123 \"c\"}").unwrap_err();
        assert_eq!(error.column(), 41);
        for text in
            ["NaN NaN", "Nan", "-", "--Infinity", "{NaN: 1}", "\"\\", "012345678901234567890123", "Infinityx"]
        {
            assert!(from_str::<Value>(text).is_err(), "{text}");
        }
    }
}
