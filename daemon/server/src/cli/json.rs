//! `--json`: one object a line on standard output, and nothing else.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

use hotplate_client::{Shown, words};

pub(crate) fn show(shown: &Shown) -> io::Result<()> {
    let Some(json) = shown.to_json() else { return Ok(()) };
    let mut out = io::stdout().lock();
    if out.is_terminal() {
        writeln!(out, "{}", for_a_terminal(&json.to_string()))?;
    } else {
        writeln!(out, "{json}")?;
    }
    out.flush()
}

/// The same JSON, with what a terminal would obey spelled out (JSON itself does so only below a space).
fn for_a_terminal(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut units = [0; 2];
    for character in json.chars() {
        if matches!(words::visible(character.encode_utf8(&mut [0; 4])), Cow::Owned(_)) {
            for unit in character.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(character);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_the_same_json() {
        let value = serde_json::json!({ "text": "a\u{9b}2J\u{202e}面\n\u{1b}" });
        let spelled = for_a_terminal(&value.to_string());
        assert_eq!(spelled, r#"{"text":"a\u009b2J\u202e面\n\u001b"}"#);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&spelled).unwrap(), value);
    }
}
