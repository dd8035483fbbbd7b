//! Filters of HTML, and texts that are marked safe.

use std::fmt::Write as _;

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, State};

use crate::template::python::arguments::{bind, truth};
use crate::template::python::show::shown;
use crate::template::python::text::is_space;
use crate::template::python::{fault, kinds};

pub(in crate::template) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            char => out.push(char),
        }
    }
    out
}

fn escaped_value(value: &Value) -> Result<String, Error> {
    let text = shown(value)?;
    Ok(if value.is_safe() { text } else { escaped(&text) })
}

pub(super) fn escape(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let _: [Option<Value>; 0] = bind("escape", args, [], 0)?;
    escaped_value(value).map(Value::from_safe_string)
}

pub(super) fn forceescape(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let _: [Option<Value>; 0] = bind("forceescape", args, [], 0)?;
    Ok(Value::from_safe_string(escaped(&shown(value)?)))
}

pub(super) fn safe(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let _: [Option<Value>; 0] = bind("safe", args, [], 0)?;
    shown(value).map(Value::from_safe_string)
}

pub(super) fn striptags(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let _: [Option<Value>; 0] = bind("striptags", args, [], 0)?;
    let mut text = shown(value)?;
    while let Some(start) = text.find("<!--") {
        match text[start..].find("-->") {
            Some(length) => text.replace_range(start..start + length + 3, ""),
            None => break,
        }
    }
    while let Some(start) = text.find('<') {
        match text[start..].find('>') {
            Some(length) => text.replace_range(start..=start + length, ""),
            None => break,
        }
    }
    if text.contains('&') {
        return Err(fault("striptags", "of a text with & is not known here"));
    }
    let words: Vec<&str> = text.split(is_space).filter(|word| !word.is_empty()).collect();
    Ok(Value::from(words.join(" ")))
}

pub(super) fn xmlattr(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let [autospace] = bind("xmlattr", args, ["autospace"], 0)?;
    if !kinds::is_dict(value) {
        return Err(fault("xmlattr", &format!("of {}, which is no dict", kinds::name(value))));
    }
    let mut parts = Vec::new();
    for key in value.try_iter()? {
        let item = value.get_item(&key)?;
        if item.is_none() || item.is_undefined() {
            continue;
        }
        let name = key.as_str().ok_or_else(|| fault("xmlattr", "a key that is no text"))?;
        if name.chars().any(|char| is_space(char) || "/>=".contains(char)) {
            return Err(fault("xmlattr", &format!("the key {name:?} is no attribute's name")));
        }
        parts.push(format!("{}=\"{}\"", escaped_value(&key)?, escaped_value(&item)?));
    }
    let space =
        if parts.is_empty() || autospace.is_some_and(|space| !truth(Some(&space))) { "" } else { " " };
    Ok(Value::from(format!("{space}{}", parts.join(" "))))
}

fn quoted(text: &str, safe: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        let char = char::from(byte);
        if char.is_ascii_alphanumeric() || "_.-~".contains(char) || safe.contains(char) {
            out.push(char);
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

pub(super) fn urlencode(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let _: [Option<Value>; 0] = bind("urlencode", args, [], 0)?;
    let items = match value.kind() {
        ValueKind::Map if kinds::is_dict(value) => crate::template::python::dict::pairs_of(value)?,
        ValueKind::Seq | ValueKind::Iterable | ValueKind::Undefined => kinds::items("urlencode", value)?,
        _ => return Ok(Value::from(quoted(&shown(value)?, "/"))),
    };
    let mut parts = Vec::new();
    for pair in items {
        let parts_of = kinds::items("urlencode", &pair)?;
        let [key, item] = parts_of.as_slice() else {
            return Err(fault("urlencode", "each item must be a key and a value"));
        };
        let plus = |value: &Value| Ok::<_, Error>(quoted(&shown(value)?, "").replace("%20", "+"));
        parts.push(format!("{}={}", plus(key)?, plus(item)?));
    }
    Ok(Value::from(parts.join("&")))
}

/// Links are made of what looks like one; only texts without any are known here.
pub(super) fn urlize(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let names = ["trim_url_limit", "nofollow", "target", "rel", "extra_schemes"];
    let _: [Option<Value>; 5] = bind("urlize", args, names, 0)?;
    let text = escaped_value(value)?;
    if text.contains('@') || text.contains("://") || text.contains("www.") || text.contains('.') {
        return Err(fault("urlize", "of a text that may hold a link is not known here"));
    }
    Ok(Value::from(text))
}
