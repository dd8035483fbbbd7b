//! Pieces of HTML. Text goes in escaped, always: file names, losses and a daemon's sentences are all foreign here.
//!
//! Colours are the front end's own where it names them (JupyterLab, VS Code), so that light and dark both work; everything
//! else is the current text colour, made fainter. No scripts and no style sheet: front ends strip them.

use std::fmt::Write;

/// The colour of what is good or done.
pub(super) const ACCENT: &str = "var(--jp-brand-color1, var(--vscode-charts-blue, #4a90d9))";
/// A second colour that is told from the first in grey, too, by its dashes.
pub(super) const SECOND: &str = "var(--jp-warn-color1, var(--vscode-charts-orange, #d9822b))";

pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // Not allowed in HTML, and a terminal's escape sequences have no place in a page.
            character if character.is_control() && !matches!(character, '\n' | '\t') => {
                escaped.push('\u{fffd}');
            }
            character => escaped.push(character),
        }
    }
    escaped
}

/// Lines of text as they are.
pub(super) fn lines(text: &str) -> String {
    format!("<div style=\"white-space:pre-wrap\">{}</div>", escape(text))
}

/// A smaller, fainter line.
pub(super) fn note(text: &str) -> String {
    format!("<div style=\"white-space:pre-wrap;opacity:.7;font-size:90%\">{}</div>", escape(text))
}

pub(super) fn heading(text: &str) -> String {
    format!("<div style=\"font-weight:600;margin:.3em 0\">{}</div>", escape(text))
}

/// Rows under headers, all of it plain text.
pub(super) fn table(headers: &[&str], rows: &[Vec<String>]) -> String {
    let escaped = |row: &Vec<String>| row.iter().map(|cell| escape(cell)).collect();
    let headers: Vec<String> = headers.iter().map(|header| escape(header)).collect();
    table_of(&headers, &rows.iter().map(escaped).collect::<Vec<Vec<String>>>())
}

/// Rows under headers, all of it HTML of ours.
pub(super) fn table_of(headers: &[String], rows: &[Vec<String>]) -> String {
    let mut html = String::from("<table style=\"border-collapse:collapse;text-align:left\"><thead><tr>");
    for header in headers {
        cell(&mut html, "th", header);
    }
    html.push_str("</tr></thead><tbody>");
    for row in rows {
        html.push_str("<tr>");
        for text in row {
            cell(&mut html, "td", text);
        }
        html.push_str("</tr>");
    }
    html.push_str("</tbody></table>");
    html
}

fn cell(html: &mut String, tag: &str, inside: &str) {
    // Writing to a string cannot fail.
    let _ = write!(
        html,
        "<{tag} style=\"text-align:left;vertical-align:top;white-space:pre-wrap;padding:.2em .8em .2em 0\">{inside}</{tag}>"
    );
}

/// A table in plain words, its columns kept.
pub(super) fn text_table(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    format!(
        "<pre style=\"margin:.4em 0;overflow-x:auto;background:none;color:inherit\">{}</pre>",
        escape(text)
    )
}

/// Something that is there for those who want it.
pub(super) fn folded(title: &str, inside: &str) -> String {
    format!("<details style=\"margin:.4em 0\"><summary>{}</summary>{inside}</details>", escape(title))
}

/// A link to a file below the notebook.
pub(super) fn link(path: &str, fragment: &str, text: &str) -> String {
    let mut target = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                target.push(char::from(byte));
            }
            _ => {
                let _ = write!(target, "%{byte:02X}");
            }
        }
    }
    format!("<a href=\"{target}#{fragment}\">{}</a>", escape(text))
}

/// A bar that is `share` (0 to 1) full.
pub(super) fn bar(share: f64) -> String {
    let percent = if share.is_finite() { share.clamp(0.0, 1.0) * 100.0 } else { 0.0 };
    format!(
        "<div role=\"progressbar\" aria-valuemin=\"0\" aria-valuemax=\"100\" aria-valuenow=\"{percent:.0}\" \
         style=\"max-width:640px;height:6px;border-radius:3px;margin:.4em 0;overflow:hidden;\
         background:rgba(128,128,128,.25)\">\
         <div style=\"width:{percent:.1}%;height:100%;background:{ACCENT}\"></div></div>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_foreign_gets_through() {
        let evil = "<script>\"a\" & 'b'</script>\u{1b}[31m";
        for html in [lines(evil), note(evil), heading(evil), table(&[evil], &[vec![evil.to_owned()]])] {
            assert!(!html.contains("<script"), "{html}");
            assert!(html.contains("&lt;script&gt;&quot;a&quot; &amp; &#39;b&#39;"), "{html}");
            assert!(!html.contains('\u{1b}'), "{html}");
        }
    }

    #[test]
    fn bars_stay_in_their_bounds() {
        for (share, width) in [(0.5, "50.0%"), (7.0, "100.0%"), (-1.0, "0.0%"), (f64::NAN, "0.0%")] {
            assert!(bar(share).contains(&format!("width:{width}")), "{share}");
        }
    }
}
