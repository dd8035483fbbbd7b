//! Reads a front matter block as a flat list of its top keys. What lies deeper is not needed and not kept.

use saphyr_parser::{Event, Parser};
use toml::de::{DeTable, DeValue};

/// A top key and its value, where that is one value and no list or map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) value: Option<String>,
}

/// What the lines between the marks are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Syntax {
    Yaml,
    Toml,
    /// An object, with or without its braces.
    Json,
    /// `key: value` a line; a line that is indented goes on with the value before it.
    Lines,
    /// A syntax that other tools know, by its name.
    Other,
}

impl Syntax {
    /// The word behind an opening mark, as in `---toml`.
    pub(super) fn of_word(word: &str) -> Option<Syntax> {
        match word.to_ascii_lowercase().as_str() {
            "" | "yaml" | "yml" => Some(Syntax::Yaml),
            "toml" => Some(Syntax::Toml),
            "json" => Some(Syntax::Json),
            "json5" | "hjson" | "cson" | "coffee" | "js" | "javascript" | "ini" => Some(Syntax::Other),
            _ => None,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Syntax::Yaml => "YAML",
            Syntax::Toml => "TOML",
            Syntax::Json => "JSON",
            Syntax::Lines => "lines of keys and values",
            Syntax::Other => "a syntax that is read",
        }
    }

    /// The top keys in their order, or why the block is not of this syntax. A block that is no map at all (a sentence is valid YAML, too)
    /// is none.
    pub(super) fn entries(self, text: &str) -> Result<Vec<Entry>, String> {
        match self {
            Syntax::Yaml => yaml(text),
            Syntax::Toml => toml(text),
            Syntax::Json => json(text),
            Syntax::Lines => Ok(lines(text)),
            Syntax::Other => Err("it is neither YAML, TOML nor JSON".to_owned()),
        }
    }
}

fn yaml(text: &str) -> Result<Vec<Entry>, String> {
    let mut entries = Vec::new();
    let mut depth = 0_usize;
    // A key whose value has not come yet.
    let mut key: Option<Option<String>> = None;
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, _) = event.map_err(|error| {
            let line = error.marker().line();
            format!("in its line {line}: {}", error.info())
        })?;
        let node = match event {
            Event::MappingStart(..) | Event::SequenceStart(..) => {
                depth += 1;
                match depth {
                    1 if matches!(event, Event::SequenceStart(..)) => return Err("it is a list".to_owned()),
                    2 => None,
                    _ => continue,
                }
            }
            Event::MappingEnd | Event::SequenceEnd => {
                depth -= 1;
                continue;
            }
            Event::Scalar(..) if depth == 0 => return Err("it is no map".to_owned()),
            Event::Scalar(value, ..) if depth == 1 => Some(value.into_owned()),
            Event::Alias(_) if depth == 1 => None,
            // What stands behind the end of a document is another one.
            Event::DocumentEnd => break,
            _ => continue,
        };
        match key.take() {
            None => key = Some(node),
            Some(known) => entries.push(Entry { key: known.unwrap_or_default(), value: node }),
        }
    }
    Ok(entries)
}

fn toml(text: &str) -> Result<Vec<Entry>, String> {
    let table = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let line = text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1;
        format!("in its line {line}: {}", error.message().lines().next().unwrap_or_default())
    })?;
    let value = |value: DeValue<'_>| match value {
        DeValue::String(text) => Some(text.into_owned()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(yes) => Some(yes.to_string()),
        DeValue::Datetime(date) => Some(date.to_string()),
        DeValue::Array(_) | DeValue::Table(_) => None,
    };
    let entries = table.into_inner().into_iter();
    Ok(entries
        .map(|(key, found)| Entry { key: key.into_inner().into_owned(), value: value(found.into_inner()) })
        .collect())
}

fn json(text: &str) -> Result<Vec<Entry>, String> {
    let bare = text.trim();
    let braced;
    let object = if bare.starts_with('{') {
        bare
    } else {
        braced = format!("{{{}}}", bare.trim_end_matches(','));
        &braced
    };
    let map: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(object).map_err(|error| format!("in its line {}: {error}", error.line()))?;
    let value = |value: serde_json::Value| match value {
        serde_json::Value::String(text) => Some(text),
        serde_json::Value::Array(_) | serde_json::Value::Object(_) | serde_json::Value::Null => None,
        other => Some(other.to_string()),
    };
    Ok(map.into_iter().map(|(key, found)| Entry { key, value: value(found) }).collect())
}

fn lines(text: &str) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for line in text.lines() {
        match line.split_once(':') {
            Some((key, value)) if !line.starts_with([' ', '\t']) => {
                entries.push(Entry { key: key.trim().to_owned(), value: Some(value.trim().to_owned()) });
            }
            _ => {
                if let Some(Entry { value: Some(value), .. }) = entries.last_mut() {
                    value.push(' ');
                    value.push_str(line.trim());
                }
            }
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(syntax: Syntax, text: &str) -> String {
        match syntax.entries(text) {
            Ok(entries) => entries
                .into_iter()
                .map(|Entry { key, value }| format!("{key}={}", value.as_deref().unwrap_or("<more>")))
                .collect::<Vec<_>>()
                .join("; "),
            Err(why) => format!("! {why}"),
        }
    }

    #[test]
    fn top_keys_of_every_syntax() {
        let yaml = "# a comment\ntitle: 'It''s: soup'\n\"date created\": 2026-03-01\n标题: >-\n  folded\n  over lines\ntags: [a,\n  b]\nmore:\n  title: deeper\n  - x: y\nnothing:\nplain: goes\n  on here\n";
        assert!(shown(Syntax::Yaml, yaml).starts_with("! in its line"), "a list in a map is no YAML");
        let yaml = yaml.replace("  - x: y\n", "");
        assert_eq!(
            shown(Syntax::Yaml, &yaml),
            "title=It's: soup; date created=2026-03-01; 标题=folded over lines; tags=<more>; more=<more>; nothing=; plain=goes on here"
        );
        assert_eq!(
            shown(
                Syntax::Toml,
                "title = \"\"\"\nRye\"\"\"\ndate = 2026-03-01\ndraft = true\n[extra]\ntitle = 1"
            ),
            "title=Rye; date=2026-03-01; draft=true; extra=<more>"
        );
        for json in
            ["{\"title\": \"a}\", \"n\": 1, \"t\": []}", "\"title\": \"a}\",\n\"n\": 1,\n\"t\": [],\n"]
        {
            assert_eq!(shown(Syntax::Json, json), "title=a}; n=1; t=<more>");
        }
        assert_eq!(
            shown(Syntax::Lines, "Title: Soup: hot\nSummary: long\n    and longer"),
            "Title=Soup: hot; Summary=long and longer"
        );
    }

    #[test]
    fn what_is_not_of_its_syntax() {
        for (syntax, text) in [
            (Syntax::Yaml, "Only a sentence."),
            (Syntax::Yaml, "- a list"),
            (Syntax::Yaml, "title: a: b"),
            (Syntax::Yaml, "title: [never closed"),
            (Syntax::Toml, "title: soup"),
            (Syntax::Json, "{\"title\": soup}"),
            (Syntax::Other, "title = 1"),
        ] {
            assert!(shown(syntax, text).starts_with("! "), "{text}: {}", shown(syntax, text));
        }
        assert_eq!(shown(Syntax::Yaml, "# nothing\n"), "");
    }
}
