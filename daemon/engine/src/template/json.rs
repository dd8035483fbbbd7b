//! Python's `json.dumps`, as the filter `tojson` that transformers gives to templates.

use std::fmt::Write as _;

use minijinja::Error;
use minijinja::value::{Rest, Value, ValueKind, ValueOrKwargs};

use super::limits;
use super::python::arguments::{bind, text, truth, whole};
use super::python::{fault, kinds, order, show};

/// Python's `json.dumps`, with the options and defaults that transformers gives to templates.
pub(super) fn tojson(value: &Value, args: Rest<ValueOrKwargs>) -> Result<String, Error> {
    let names = ["ensure_ascii", "indent", "separators", "sort_keys"];
    let [ascii, indent, separators, sorted] = bind("tojson", &args.into_values(), names, 0)?;
    let indent = match indent.filter(|indent| !indent.is_none()) {
        None => None,
        Some(indent) if indent.kind() == ValueKind::String => {
            Some(indent.as_str().unwrap_or_default().to_owned())
        }
        Some(indent) => {
            let width = whole("tojson", &indent)?;
            let width = usize::try_from(width).unwrap_or(0);
            limits::check_width(width)?;
            Some(" ".repeat(width))
        }
    };
    let (item, key) = match separators.filter(|separators| !separators.is_none()) {
        Some(separators) => match kinds::items("tojson", &separators)?.as_slice() {
            [item, key] => (text("tojson", item)?.to_owned(), text("tojson", key)?.to_owned()),
            _ => return Err(fault("tojson", "separators must be two texts")),
        },
        // Python puts no space before a line break.
        None => (if indent.is_some() { "," } else { ", " }.to_owned(), ": ".to_owned()),
    };
    let writer =
        JsonWriter { item, key, indent, ascii: truth(ascii.as_ref()), sorted: truth(sorted.as_ref()) };
    let mut out = String::new();
    writer.write(&mut out, value, 0)?;
    Ok(out)
}

/// `tojson` without any options.
pub(super) fn plain(value: &Value) -> Result<String, Error> {
    tojson(value, Rest(Vec::new()))
}

struct JsonWriter {
    item: String,
    key: String,
    indent: Option<String>,
    ascii: bool,
    sorted: bool,
}

/// Deeper values are nobody's chat; the stack is finite.
const DEEPEST_JSON: usize = 100;

impl JsonWriter {
    fn write(&self, out: &mut String, value: &Value, depth: usize) -> Result<(), Error> {
        if depth > DEEPEST_JSON {
            return Err(fault("tojson", "nested too deeply"));
        }
        limits::check_length(out)?;
        match kinds::name(value) {
            "NoneType" => out.push_str("null"),
            "bool" => out.push_str(if value.is_true() { "true" } else { "false" }),
            "int" | "float" => out.push_str(&number(value)),
            "str" => self.text(out, value.as_str().unwrap_or_default()),
            "list" | "tuple" => {
                let items = kinds::items("tojson", value)?;
                self.list(out, ('[', ']'), depth, &items, |writer, out, item| {
                    writer.write(out, item, depth + 1)
                })?;
            }
            "dict" => {
                let mut keys: Vec<Value> = value.try_iter()?.collect();
                if self.sorted {
                    keys = order::sort(
                        "tojson",
                        keys.into_iter().map(|key| (key.clone(), key)).collect(),
                        false,
                    )?;
                }
                self.list(out, ('{', '}'), depth, &keys, |writer, out, key| {
                    match kinds::name(key) {
                        "str" => writer.text(out, key.as_str().unwrap_or_default()),
                        "NoneType" => out.push_str("\"null\""),
                        "bool" => out.push_str(if key.is_true() { "\"true\"" } else { "\"false\"" }),
                        "int" | "float" => {
                            let _ = write!(out, "\"{}\"", number(key));
                        }
                        kind => return Err(fault("tojson", &format!("{kind} is no key in JSON"))),
                    }
                    out.push_str(&writer.key);
                    writer.write(out, &value.get_item(key)?, depth + 1)
                })?;
            }
            kind => return Err(fault("tojson", &format!("{kind} has no JSON"))),
        }
        Ok(())
    }

    fn list(
        &self,
        out: &mut String,
        (open, close): (char, char),
        depth: usize,
        items: &[Value],
        mut one: impl FnMut(&Self, &mut String, &Value) -> Result<(), Error>,
    ) -> Result<(), Error> {
        out.push(open);
        for (at, item) in items.iter().enumerate() {
            if at > 0 {
                out.push_str(&self.item);
            }
            self.line(out, depth + 1);
            one(self, out, item)?;
        }
        if !items.is_empty() {
            self.line(out, depth);
        }
        out.push(close);
        Ok(())
    }

    fn line(&self, out: &mut String, depth: usize) {
        if let Some(indent) = &self.indent {
            out.push('\n');
            out.extend(std::iter::repeat_n(indent.as_str(), depth));
        }
    }

    fn text(&self, out: &mut String, text: &str) {
        out.push('"');
        for char in text.chars() {
            match char {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                char if char < ' ' || (self.ascii && !char.is_ascii()) => {
                    for unit in char.encode_utf16(&mut [0; 2]) {
                        let _ = write!(out, "\\u{unit:04x}");
                    }
                }
                // Python escapes DEL only in ASCII mode, where it counts as printable too.
                char => out.push(char),
            }
        }
        out.push('"');
    }
}

/// JSON's numbers, and the words that Python's writer has for those that JSON lacks.
fn number(value: &Value) -> String {
    match kinds::float(value) {
        Some(float) if !value.is_integer() && float.is_nan() => "NaN".to_owned(),
        Some(float) if !value.is_integer() && float.is_infinite() => {
            if float > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
        }
        _ => show::number(value),
    }
}
