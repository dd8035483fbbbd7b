//! Filters of texts.

use minijinja::value::{Tuple, Value, ValueKind};
use minijinja::{Error, State};

use super::markup::escaped;
use crate::template::python::arguments::{bind, optional_text, split, text, truth, whole, whole_or};
use crate::template::python::show::shown;
use crate::template::python::text::{call, capitalized, lines, replaced, stripped};
use crate::template::python::{fault, kinds, printf};

/// A wider indentation is nobody's prompt.
const WIDEST: i64 = 10_000;

fn no_arguments(name: &str, args: &[Value]) -> Result<(), Error> {
    bind(name, args, [], 0).map(|_: [Option<Value>; 0]| ())
}

/// A text made of `value`: as safe as that was.
fn like(value: &Value, made: String) -> Value {
    if value.is_safe() { Value::from_safe_string(made) } else { Value::from(made) }
}

pub(super) fn string(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    no_arguments("string", args)?;
    Ok(like(value, shown(value)?))
}

pub(super) fn upper(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    no_arguments("upper", args)?;
    Ok(like(value, shown(value)?.to_uppercase()))
}

pub(super) fn lower(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    no_arguments("lower", args)?;
    Ok(like(value, shown(value)?.to_lowercase()))
}

pub(super) fn capitalize(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    no_arguments("capitalize", args)?;
    Ok(like(value, capitalized(&shown(value)?)))
}

/// Words begin behind white space, hyphens and opening brackets.
pub(super) fn title(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    no_arguments("title", args)?;
    let is_border = |char: char| crate::template::python::text::is_space(char) || "-({[<".contains(char);
    let text = shown(value)?;
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let end = rest.find(is_border).unwrap_or(rest.len());
        let word = &rest[..end];
        if let Some(first) = word.chars().next() {
            out.extend(first.to_uppercase());
            out.push_str(&word[first.len_utf8()..].to_lowercase());
        }
        let border = rest[end..].find(|char| !is_border(char)).map_or(rest.len(), |length| end + length);
        // A run of borders is one item, whose first character is raised: it has no case.
        out.push_str(&rest[end..border]);
        rest = &rest[border..];
    }
    Ok(Value::from(out))
}

pub(super) fn center(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let [width] = bind("center", args, ["width"], 0)?;
    call(&Value::from(shown(value)?), "center", &[width.unwrap_or_else(|| Value::from(80))])
}

pub(super) fn trim(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let [chars] = bind("trim", args, ["chars"], 0)?;
    let text = shown(value)?;
    Ok(like(value, stripped(&text, "strip", optional_text("trim", chars.as_ref())?).to_owned()))
}

pub(super) fn wordcount(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    no_arguments("wordcount", args)?;
    let text = shown(value)?;
    let words = text.split(|char: char| !(char == '_' || char.is_alphanumeric()));
    Ok(Value::from(words.filter(|word| !word.is_empty()).count()))
}

pub(super) fn replace(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let [old, new, count] = bind("replace", args, ["old", "new", "count"], 2)?;
    let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
    let count = match count.filter(|count| !count.is_none()) {
        None => -1,
        Some(count) => whole("replace", &count)?,
    };
    if value.is_safe() {
        return Err(fault("replace", "in a text that is marked safe is not known here"));
    }
    Ok(Value::from(replaced(&shown(value)?, &shown(&old)?, &shown(&new)?, count)))
}

pub(super) fn format(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let (plain, named) = split(args)?;
    let text = like(value, shown(value)?);
    match (plain, named.is_empty()) {
        (_, true) => printf::formatted(&text, &Value::from(Tuple::from(plain))),
        ([], false) => printf::formatted(&text, &Value::from_pairs(named.into_iter().collect::<Vec<_>>())),
        _ => Err(fault("format", "takes values by place or by name, not both")),
    }
}

pub(super) fn indent(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let [width, first, blank] = bind("indent", args, ["width", "first", "blank"], 0)?;
    let (first, blank) = (truth(first.as_ref()), truth(blank.as_ref()));
    let indention = match width {
        None => "    ".to_owned(),
        Some(width) if width.kind() == ValueKind::String => {
            if width.is_safe() != value.is_safe() && width.is_safe() {
                return Err(fault("indent", "by a text that is marked safe is not known here"));
            }
            if value.is_safe() { escaped(&shown(&width)?) } else { shown(&width)? }
        }
        Some(width) => {
            let width = whole("indent", &width)?;
            if width > WIDEST {
                return Err(fault("indent", "the width is too large"));
            }
            " ".repeat(usize::try_from(width).unwrap_or(0))
        }
    };
    // An undefined value is an empty text when something is added to it... which Jinja refuses.
    let text = format!("{}\n", text("indent", value)?);
    let lines = lines(&text, false);
    let mut out = if first { indention.clone() } else { String::new() };
    for (at, line) in lines.iter().enumerate() {
        if at > 0 {
            out.push('\n');
            if blank || !line.is_empty() {
                out.push_str(&indention);
            }
        }
        out.push_str(line);
    }
    Ok(like(value, out))
}

pub(super) fn truncate(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let [length, killwords, end, leeway] =
        bind("truncate", args, ["length", "killwords", "end", "leeway"], 0)?;
    let length = whole_or("truncate", length.as_ref(), 255)?;
    let leeway = match leeway.filter(|leeway| !leeway.is_none()) {
        None => 5,
        Some(leeway) => whole("truncate", &leeway)?,
    };
    let end = end.unwrap_or_else(|| Value::from("..."));
    let end = text("truncate", &end)?;
    let end_length = end.chars().count() as i64;
    if length < end_length || leeway < 0 {
        return Err(fault("truncate", "the length is too small"));
    }
    if kinds::length("truncate", value)? as i64 <= length.saturating_add(leeway) {
        return Ok(value.clone());
    }
    let own = text("truncate", value)?;
    let cut: String = own.chars().take((length - end_length) as usize).collect();
    let kept = if truth(killwords.as_ref()) {
        cut.as_str()
    } else {
        cut.rsplit_once(' ').map_or(cut.as_str(), |(kept, _)| kept)
    };
    Ok(like(value, format!("{kept}{end}")))
}
