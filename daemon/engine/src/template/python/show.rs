//! `str()` and `repr()`.

use std::fmt::Write as _;

use minijinja::Error;
use minijinja::value::{Value, ValueKind};

use super::fault;
use super::kinds::{self, Range, View};
use crate::template::{limits, whole_number};

/// Deeper values are nobody's chat; the stack is finite.
const DEEPEST: usize = 100;

/// As `{{ value }}` writes it: texts as they are, everything else as `str()` gives it.
pub(in crate::template) fn shown(value: &Value) -> Result<String, Error> {
    match value.kind() {
        ValueKind::Undefined => Ok(String::new()),
        ValueKind::String => Ok(value.as_str().unwrap_or_default().to_owned()),
        _ => {
            let mut out = String::new();
            repr(&mut out, value, 0)?;
            Ok(out)
        }
    }
}

pub(in crate::template) fn repr_of(value: &Value) -> Result<String, Error> {
    let mut out = String::new();
    repr(&mut out, value, 0)?;
    Ok(out)
}

/// A number as Python writes it: very large and very small floats with an exponent.
pub(in crate::template) fn number(value: &Value) -> String {
    if value.is_integer() {
        return value.to_string();
    }
    kinds::float(value).map_or_else(|| value.to_string(), of_float)
}

pub(in crate::template) fn of_float(float: f64) -> String {
    let size = float.abs();
    if float.is_nan() {
        return "nan".to_owned();
    }
    if !float.is_finite() || size == 0.0 || (1e-4..1e16).contains(&size) {
        return format!("{float:?}");
    }
    let text = format!("{float:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    format!("{digits}e{sign}{exponent:0>2}")
}

fn repr(out: &mut String, value: &Value, depth: usize) -> Result<(), Error> {
    if depth > DEEPEST {
        return Err(fault("str", "nested too deeply"));
    }
    limits::check_length(out)?;
    match value.kind() {
        ValueKind::Undefined => out.push_str("Undefined"),
        ValueKind::None => out.push_str("None"),
        ValueKind::Bool => out.push_str(if value.is_true() { "True" } else { "False" }),
        ValueKind::Number => out.push_str(&number(value)),
        ValueKind::String if value.is_safe() => {
            out.push_str("Markup(");
            quoted(out, value.as_str().unwrap_or_default());
            out.push(')');
        }
        ValueKind::String => quoted(out, value.as_str().unwrap_or_default()),
        ValueKind::Seq => {
            if let Some(Range { start, stop, step }) = value.downcast_object_ref::<Range>() {
                let _ = write!(out, "range({start}, {stop}");
                if *step != 1 {
                    let _ = write!(out, ", {step}");
                }
                out.push(')');
                return Ok(());
            }
            let (open, close) = if kinds::is_tuple(value) { ('(', ')') } else { ('[', ']') };
            out.push(open);
            let items = kinds::items("str", value)?;
            listed(out, &items, depth)?;
            if open == '(' && items.len() == 1 {
                out.push(',');
            }
            out.push(close);
        }
        ValueKind::Map if kinds::is_namespace(value) => {
            return Err(fault("namespace", "shows nothing of itself"));
        }
        ValueKind::Map if kinds::is_loop(value) => {
            let _ = write!(out, "<LoopContext {}/{}>", value.get_attr("index")?, value.get_attr("length")?);
        }
        ValueKind::Map if kinds::is_macro(value) => {
            out.push_str("<Macro ");
            repr(out, &value.get_attr("name")?, depth + 1)?;
            out.push('>');
        }
        ValueKind::Map => {
            out.push('{');
            for (at, key) in value.try_iter()?.enumerate() {
                if at > 0 {
                    out.push_str(", ");
                }
                repr(out, &key, depth + 1)?;
                out.push_str(": ");
                repr(out, &value.get_item(&key)?, depth + 1)?;
            }
            out.push('}');
        }
        ValueKind::Iterable => {
            let Some(View { kind, items }) = value.downcast_object_ref::<View>() else {
                return Err(fault("generator", "shows nothing of itself; put | list behind it"));
            };
            let _ = write!(out, "{kind}([");
            listed(out, items, depth)?;
            out.push_str("])");
        }
        _ if whole_number::is_long(value) => out.push_str(&value.to_string()),
        _ => return Err(fault("str", "a function or method shows nothing of itself")),
    }
    Ok(())
}

fn listed(out: &mut String, items: &[Value], depth: usize) -> Result<(), Error> {
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push_str(", ");
        }
        repr(out, item, depth + 1)?;
    }
    Ok(())
}

/// A text as Python shows it inside a list: single quotes unless there are some in it and no double ones.
fn quoted(out: &mut String, text: &str) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for char in text.chars() {
        match char {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            char if char == quote => {
                out.push('\\');
                out.push(char);
            }
            char if !is_printable(char) => {
                let _ = match u32::from(char) {
                    code @ 0..=0xff => write!(out, "\\x{code:02x}"),
                    code @ 0..=0xffff => write!(out, "\\u{code:04x}"),
                    code => write!(out, "\\U{code:08x}"),
                };
            }
            char => out.push(char),
        }
    }
    out.push(quote);
}

/// Python's `isprintable`: no control, format, private or unassigned character, and no white space but the space.
pub(in crate::template) fn is_printable(char: char) -> bool {
    use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory as _};
    let group = char.general_category_group();
    char == ' ' || !matches!(group, GeneralCategoryGroup::Other | GeneralCategoryGroup::Separator)
}
