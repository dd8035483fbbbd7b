//! What Python's Jinja does otherwise than minijinja: how lists and dicts are shown, some tests, some methods of strings.

use std::fmt::Write as _;

use minijinja::value::{Rest, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind};

use super::limits;

/// Deeper values are nobody's chat; the stack is finite.
const DEEPEST: usize = 100;

pub(super) fn add_to(environment: &mut Environment<'static>) {
    environment.set_formatter(|out, _, value| out.write_str(&shown(value)?).map_err(Error::from));
    environment.set_unknown_method_callback(|state, value, method, args| {
        match own_method(value, method, args) {
            Some(result) => result,
            None => minijinja_contrib::pycompat::unknown_method_callback(state, value, method, args),
        }
    });
    environment.add_filter("string", |value: &Value| shown(value));
    environment.add_filter("pprint", |value: &Value| {
        let mut out = String::new();
        repr(&mut out, value, 0).map(|()| out)
    });
    environment.add_filter("join", join);
    environment.add_filter("int", |value: &Value, default: Option<Value>| {
        whole(value).map_or_else(|| default.unwrap_or_else(|| Value::from(0)), Value::from)
    });
    environment.add_filter("float", |value: &Value, default: Option<Value>| {
        float(value).map_or_else(|| default.unwrap_or_else(|| Value::from(0.0)), Value::from)
    });
    // In Python whatever has a length and an index is a sequence: texts and dicts too.
    environment.add_test("sequence", |value: &Value| {
        matches!(value.kind(), ValueKind::Seq | ValueKind::String | ValueKind::Map | ValueKind::Undefined)
    });
    environment.add_test("iterable", |value: &Value| {
        matches!(value.kind(), ValueKind::String | ValueKind::Undefined)
            || (!value.is_none() && value.try_iter().is_ok())
    });
    environment.add_function("dict", |args: Rest<Value>, named: minijinja::value::Kwargs| {
        let mut pairs: Vec<(Value, Value)> = Vec::new();
        for map in args.iter() {
            for key in map.try_iter()? {
                let value = map.get_item(&key)?;
                pairs.push((key, value));
            }
        }
        for key in named.args() {
            pairs.push((Value::from(key), named.get(key)?));
        }
        Ok::<_, Error>(Value::from_pairs(pairs))
    });
}

/// As `{{ value }}` writes it: texts as they are, everything else as `str()` gives it.
fn shown(value: &Value) -> Result<String, Error> {
    match value.kind() {
        ValueKind::Undefined => Ok(String::new()),
        ValueKind::Seq | ValueKind::Map => {
            let mut out = String::new();
            repr(&mut out, value, 0)?;
            Ok(out)
        }
        ValueKind::Number => Ok(number(value)),
        _ => Ok(value.to_string()),
    }
}

/// A number as Python writes it: very large and very small floats with an exponent.
pub(super) fn number(value: &Value) -> String {
    let plain = value.to_string();
    if value.is_integer() {
        return plain;
    }
    let Ok(float) = f64::try_from(value.clone()) else { return plain };
    let size = float.abs();
    if !float.is_finite() || size == 0.0 || (1e-4..1e16).contains(&size) {
        return plain;
    }
    let text = format!("{float:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    format!("{digits}e{sign}{exponent:0>2}")
}

/// Jinja's `int`: what is no number is the default, 0.
fn whole(value: &Value) -> Option<i64> {
    match value.kind() {
        ValueKind::Bool => Some(i64::from(value.is_true())),
        ValueKind::Number => i64::try_from(value.clone()).ok().or_else(|| Some(float(value)?.trunc() as i64)),
        ValueKind::String => {
            let text = value.as_str()?.trim();
            text.parse()
                .ok()
                .or_else(|| Some(text.parse::<f64>().ok().filter(|f| f.is_finite())?.trunc() as i64))
        }
        _ => None,
    }
}

fn float(value: &Value) -> Option<f64> {
    match value.kind() {
        ValueKind::Bool => Some(f64::from(u8::from(value.is_true()))),
        ValueKind::Number => f64::try_from(value.clone()).ok(),
        ValueKind::String => value.as_str()?.trim().parse().ok(),
        _ => None,
    }
}

#[expect(clippy::needless_pass_by_value, reason = "minijinja hands a filter its arguments")]
fn join(
    value: &Value,
    separator: Option<String>,
    attribute: Option<minijinja::value::Kwargs>,
) -> Result<String, Error> {
    let attribute: Option<String> = match &attribute {
        Some(named) => named.get("attribute")?,
        None => None,
    };
    let mut out = String::new();
    if value.is_undefined() {
        return Ok(out);
    }
    for (at, item) in value.try_iter()?.enumerate() {
        if at > 0 {
            out.push_str(separator.as_deref().unwrap_or_default());
        }
        let item = match &attribute {
            Some(name) => item.get_attr(name)?,
            None => item,
        };
        out.push_str(&shown(&item)?);
        limits::check_length(&out)?;
    }
    Ok(out)
}

/// Python's `repr()` of what JSON can hold.
fn repr(out: &mut String, value: &Value, depth: usize) -> Result<(), Error> {
    if depth > DEEPEST {
        return Err(Error::new(ErrorKind::InvalidOperation, "nested too deeply"));
    }
    limits::check_length(out)?;
    match value.kind() {
        ValueKind::String => quoted(out, value.as_str().unwrap_or_default()),
        ValueKind::Seq => {
            out.push('[');
            for (at, item) in value.try_iter()?.enumerate() {
                if at > 0 {
                    out.push_str(", ");
                }
                repr(out, &item, depth + 1)?;
            }
            out.push(']');
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
        ValueKind::Number => out.push_str(&number(value)),
        _ => out.push_str(&value.to_string()),
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
            char if char.is_control() => {
                let _ = match u32::from(char) {
                    code @ 0..=0xff => write!(out, "\\x{code:02x}"),
                    code => write!(out, "\\u{code:04x}"),
                };
            }
            // Python's isprintable() leaves out white space that is not a space.
            char if char.is_whitespace() && char != ' ' => {
                let _ = match u32::from(char) {
                    code @ 0..=0xff => write!(out, "\\x{code:02x}"),
                    code => write!(out, "\\u{code:04x}"),
                };
            }
            char => out.push(char),
        }
    }
    out.push(quote);
}

/// Methods of strings that the compatibility layer of minijinja does not know.
fn own_method(value: &Value, method: &str, args: &[Value]) -> Option<Result<Value, Error>> {
    let text = value.as_str()?;
    let first = args.first().and_then(Value::as_str);
    let first = first.filter(|first| !first.is_empty() || method.starts_with("remove"))?;
    let parts = |parts: &[&str]| Value::from(parts.iter().map(|part| Value::from(*part)).collect::<Vec<_>>());
    Some(Ok(match method {
        "removeprefix" => Value::from(text.strip_prefix(first).unwrap_or(text)),
        "removesuffix" => Value::from(text.strip_suffix(first).unwrap_or(text)),
        "partition" => match text.split_once(first) {
            Some((before, after)) => parts(&[before, first, after]),
            None => parts(&[text, "", ""]),
        },
        "rpartition" => match text.rsplit_once(first) {
            Some((before, after)) => parts(&[before, first, after]),
            None => parts(&["", "", text]),
        },
        "rsplit" => {
            let most = args.get(1).and_then(|most| usize::try_from(most.clone()).ok());
            let mut found: Vec<&str> = match most {
                Some(most) => text.rsplitn(most.saturating_add(1), first).collect(),
                None => text.rsplit(first).collect(),
            };
            found.reverse();
            parts(&found)
        }
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(template: &str, expected: &str) {
        let mut environment = Environment::new();
        add_to(&mut environment);
        environment.add_template_owned("t", template.to_owned()).unwrap();
        assert_eq!(environment.get_template("t").unwrap().render(()).unwrap(), expected, "{template}");
    }

    #[test]
    fn values_look_as_in_python() {
        check(
            "{{ [1, 2.0, true, none, 'a', \"it's\", '\"\\'', '\\n好'] }}",
            r#"[1, 2.0, True, None, 'a', "it's", '"\'', '\n好']"#,
        );
        check(
            "{{ {'a': {'b': []}} }}{{ ['x'] | string }}{{ [['a'], 'b'] | join('-') }}",
            "{'a': {'b': []}}['x']['a']-b",
        );
        check("{{ missing }}{{ missing | join }}|{{ none }}", "|None");
    }

    #[test]
    fn texts_and_dicts_are_sequences() {
        check(
            "{{ 'a' is sequence }}{{ {} is sequence }}{{ [] is sequence }}{{ 1 is sequence }}",
            "TrueTrueTrueFalse",
        );
        check("{{ 'a' is iterable }}{{ {} is iterable }}{{ none is iterable }}", "TrueTrueFalse");
    }

    #[test]
    fn numbers_are_pythons() {
        check(
            "{{ [1e20, 1.5e-7, 1e16, 123456789.0, 0.0001, -2e300] }}",
            "[1e+20, 1.5e-07, 1e+16, 123456789.0, 0.0001, -2e+300]",
        );
        check(
            "{{ '5' | int + 1 }} {{ 'x' | int }} {{ 3.7 | int }} {{ '1.5' | float }} {{ none | int(7) }}",
            "6 0 3 1.5 7",
        );
    }

    #[test]
    fn methods_that_python_has() {
        check("{{ 'a.b.c'.rsplit('.', 1) }}{{ 'a=b'.partition('=') | list }}", "['a.b', 'c']['a', '=', 'b']");
        check("{{ 'abc'.removeprefix('a').removesuffix('c') }}{{ 'a'.upper() }}", "bA");
        check("{{ dict({'z': 0}, a=1) }}", "{'z': 0, 'a': 1}");
    }
}
