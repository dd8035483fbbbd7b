//! What Rust cells show, as Jupyter wants it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jupyter_protocol::{Media, MediaType};
use serde_json::Value;

const PLAIN: &str = "text/plain";

/// The values of one thing by MIME type, with a plain text where none was given.
pub(crate) fn media<'a>(forms: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Media {
    let forms: Vec<(&str, &[u8])> = forms.into_iter().collect();
    let mut content: Vec<MediaType> = Vec::new();
    if !forms.iter().any(|(mime, _)| *mime == PLAIN)
        && let Some((mime, data)) = forms.first()
    {
        content.push(form(PLAIN, plain(mime, data).as_bytes()));
    }
    content.extend(forms.iter().map(|(mime, data)| form(mime, data)));
    Media::new(content)
}

/// JSON as JSON, text as text, and everything else as base64; which text may be already.
fn form(mime: &str, data: &[u8]) -> MediaType {
    let value = match std::str::from_utf8(data) {
        Ok(text) if is_json(mime) => serde_json::from_str(text).unwrap_or_else(|_| Value::from(text)),
        Ok(text) => Value::from(text),
        Err(_) => Value::from(STANDARD.encode(data)),
    };
    MediaType::Other((mime.to_owned(), value))
}

fn is_json(mime: &str) -> bool {
    mime == "application/json" || mime.ends_with("+json")
}

/// What a front end shows that can show text only.
fn plain(mime: &str, data: &[u8]) -> String {
    match std::str::from_utf8(data) {
        Ok(text) if mime == "text/html" => without_tags(text),
        Ok(text) if mime.starts_with("text/") || is_json(mime) => text.to_owned(),
        _ => format!("({mime}, {} bytes)", data.len()),
    }
}

/// For reading only: nothing is made safe by it.
fn without_tags(html: &str) -> String {
    let mut text = String::new();
    let mut in_tag = false;
    for character in html.chars() {
        match character {
            '<' => in_tag = true,
            '>' if in_tag => {
                in_tag = false;
                text.push(' ');
            }
            _ if in_tag => {}
            character => text.push(character),
        }
    }
    let text =
        [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&nbsp;", " "), ("&amp;", "&")]
            .iter()
            .fold(text, |text, (name, character)| text.replace(name, character));
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(mime: &str, data: &[u8], expected: &Value) {
        let media = serde_json::to_value(media([(mime, data)])).unwrap();
        assert_eq!(media, *expected);
    }

    #[test]
    fn each_kind_has_a_plain_twin() {
        check(
            "text/html",
            b"<p>a &lt;b&gt;</p><p>c</p>",
            &json!({"text/plain": "a <b> c", "text/html": "<p>a &lt;b&gt;</p><p>c</p>"}),
        );
        check("text/plain", b"a", &json!({"text/plain": "a"}));
        check("image/png", b"\x89P", &json!({"text/plain": "(image/png, 2 bytes)", "image/png": "iVA="}));
        check("application/json", b"[1]", &json!({"text/plain": "[1]", "application/json": [1]}));
    }
}
