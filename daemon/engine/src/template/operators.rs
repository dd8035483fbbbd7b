//! What Python's operators do, as functions that rewritten templates call (`template_source/expression.rs`).

use std::cmp::Ordering;

use minijinja::value::{Rest, Tuple, Value, ValueKind};
use minijinja::{Environment, Error};

use super::python::kinds::{self, Method};
use super::python::show::shown;
use super::python::{fault, has_method, order, printf};

/// A longer text or list than this is nobody's prompt.
const MOST_REPEATED: usize = 10_000_000;

pub(super) fn add_to(environment: &mut Environment<'static>) {
    environment.add_function("__add", |terms: Rest<Value>| {
        let mut terms = terms.iter();
        let mut sum = terms.next().cloned().unwrap_or_default();
        for term in terms {
            sum = add(&sum, term)?;
        }
        Ok::<_, Error>(sum)
    });
    environment.add_function("__concat", |parts: Rest<Value>| {
        parts.iter().map(shown).collect::<Result<String, Error>>()
    });
    environment.add_function("__multiply", |a: &Value, b: &Value| multiply(a, b));
    environment.add_function("__mod", |a: &Value, b: &Value| modulo(a, b));
    environment.add_function("__power", |a: &Value, b: &Value| power(a, b));
    environment.add_function("__contains", |container: &Value, item: &Value| contains(container, item));
    environment.add_function("__item", |value: &Value, key: &Value| item(value, key));
    environment.add_function("__slice", |value: &Value, start: &Value, stop: &Value, step: &Value| {
        slice(value, start, stop, step)
    });
    environment.add_function("__attribute", |value: &Value, name: &str| attribute(value, name));
    environment.add_function("__compare", |operator: &str, a: &Value, b: &Value| match operator {
        "==" => Ok(order::equal(a, b)),
        "!=" => Ok(!order::equal(a, b)),
        _ if [a, b].into_iter().any(|value| kinds::float(value).is_some_and(f64::is_nan)) => {
            order::compare(operator, a, b).map(|_| false)
        }
        "<" => order::compare(operator, a, b).map(Ordering::is_lt),
        "<=" => order::compare(operator, a, b).map(Ordering::is_le),
        ">" => order::compare(operator, a, b).map(Ordering::is_gt),
        _ => order::compare(operator, a, b).map(Ordering::is_ge),
    });
    environment.add_function("__key", |key: &Value| {
        if kinds::is_hashable(key) {
            Ok(key.clone())
        } else {
            Err(fault("dict", &format!("{} cannot be a key", kinds::name(key))))
        }
    });
    environment.add_function("__items", |value: &Value, parts: usize| looped(value, parts));
    environment.add_function("__parts", |value: &Value, _parts: usize| {
        Ok::<_, Error>(Value::from(kinds::items("set", value)?))
    });
    environment.add_function("__nothing_to_load", |statement: &str| {
        Err::<Value, _>(fault(statement, "a chat template has no other templates to take from"))
    });
}

/// Whether an error says that a text and a dict were joined.
pub(super) fn is_text_with_dict(why: &str) -> bool {
    ["between str and dict", "between dict and str"].into_iter().any(|kinds| why.contains(kinds))
}

fn unsupported(operator: &str, a: &Value, b: &Value) -> Error {
    fault(operator, &format!("not between {} and {}", kinds::name(a), kinds::name(b)))
}

/// A text made of `value`: as safe as that was.
fn like(value: &Value, text: String) -> Value {
    if value.is_safe() { Value::from_safe_string(text) } else { Value::from(text) }
}

fn escaped(value: &Value) -> Result<String, Error> {
    Ok(super::filters::markup::escaped(&shown(value)?))
}

pub(super) fn add(a: &Value, b: &Value) -> Result<Value, Error> {
    let wrong = || unsupported("+", a, b);
    if let (Some(x), Some(y)) = (kinds::integer(a), kinds::integer(b)) {
        return x.checked_add(y).map(kinds::of_integer).ok_or_else(|| fault("+", "the number is too large"));
    }
    if let (Some(x), Some(y)) = (kinds::float(a), kinds::float(b)) {
        return Ok(Value::from(x + y));
    }
    match (kinds::name(a), kinds::name(b)) {
        ("str", "str") if a.is_safe() || b.is_safe() => {
            let part = |value: &Value| if value.is_safe() { shown(value) } else { escaped(value) };
            Ok(Value::from_safe_string(part(a)? + &part(b)?))
        }
        ("str", "str") => Ok(Value::from(shown(a)? + &shown(b)?)),
        ("list", "list") => {
            let mut items = kinds::items("+", a)?;
            items.extend(kinds::items("+", b)?);
            Ok(Value::from(items))
        }
        ("tuple", "tuple") => {
            let mut items = kinds::items("+", a)?;
            items.extend(kinds::items("+", b)?);
            Ok(Value::from(Tuple::from(items)))
        }
        _ => Err(wrong()),
    }
}

fn multiply(a: &Value, b: &Value) -> Result<Value, Error> {
    if let (Some(x), Some(y)) = (kinds::integer(a), kinds::integer(b)) {
        return x.checked_mul(y).map(kinds::of_integer).ok_or_else(|| fault("*", "the number is too large"));
    }
    if let (Some(x), Some(y)) = (kinds::float(a), kinds::float(b)) {
        return Ok(Value::from(x * y));
    }
    let (many, times) = match (kinds::integer(a), kinds::integer(b)) {
        (None, Some(times)) => (a, times),
        (Some(times), None) => (b, times),
        _ => return Err(unsupported("*", a, b)),
    };
    let times = usize::try_from(times.max(0)).unwrap_or(usize::MAX);
    let length = many.len().unwrap_or(0).saturating_mul(times);
    if length > MOST_REPEATED {
        return Err(fault("*", "the text or list becomes too long"));
    }
    match kinds::name(many) {
        "str" => {
            let text = many.as_str().unwrap_or_default().repeat(if length == 0 { 0 } else { times });
            Ok(if many.is_safe() { Value::from_safe_string(text) } else { Value::from(text) })
        }
        kind @ ("list" | "tuple") => {
            let items = kinds::items("*", many)?;
            let all: Vec<Value> =
                if length == 0 { Vec::new() } else { std::iter::repeat_n(items, times).flatten().collect() };
            Ok(if kind == "list" { Value::from(all) } else { Value::from(Tuple::from(all)) })
        }
        _ => Err(unsupported("*", a, b)),
    }
}

pub(super) fn modulo(a: &Value, b: &Value) -> Result<Value, Error> {
    if a.kind() == ValueKind::String {
        return printf::formatted(a, b);
    }
    if let (Some(x), Some(y)) = (kinds::integer(a), kinds::integer(b)) {
        if y == 0 {
            return Err(fault("%", "division by zero"));
        }
        let rest = x.checked_rem(y).unwrap_or(0);
        return Ok(kinds::of_integer(if rest != 0 && (rest < 0) != (y < 0) { rest + y } else { rest }));
    }
    let (Some(x), Some(y)) = (kinds::float(a), kinds::float(b)) else { return Err(unsupported("%", a, b)) };
    if y == 0.0 {
        return Err(fault("%", "division by zero"));
    }
    let rest = x % y;
    let rest = if rest != 0.0 && (rest < 0.0) != (y < 0.0) { rest + y } else { rest };
    Ok(Value::from(if rest == 0.0 { 0.0_f64.copysign(y) } else { rest }))
}

fn power(a: &Value, b: &Value) -> Result<Value, Error> {
    if let (Some(x), Some(y)) = (kinds::integer(a), kinds::integer(b))
        && y >= 0
    {
        let power = match x {
            0 | 1 => Some(if y == 0 { 1 } else { x }),
            -1 => Some(if y % 2 == 0 { 1 } else { -1 }),
            _ => u32::try_from(y).ok().and_then(|y| x.checked_pow(y)),
        };
        return power.map(kinds::of_integer).ok_or_else(|| fault("**", "the number is too large"));
    }
    let (Some(x), Some(y)) = (kinds::float(a), kinds::float(b)) else { return Err(unsupported("**", a, b)) };
    if x == 0.0 && y < 0.0 {
        return Err(fault("**", "zero has no negative power"));
    }
    let power = x.powf(y);
    if (power.is_nan() && !x.is_nan() && !y.is_nan())
        || (power.is_infinite() && x.is_finite() && y.is_finite())
    {
        return Err(fault("**", "the result is no number"));
    }
    Ok(Value::from(power))
}

pub(super) fn contains(container: &Value, item: &Value) -> Result<bool, Error> {
    match kinds::name(container) {
        "str" => match item.as_str() {
            Some(item) => Ok(container.as_str().unwrap_or_default().contains(item)),
            None => Err(fault("in", &format!("a text holds no {}", kinds::name(item)))),
        },
        "dict" | "Namespace" if !kinds::is_hashable(item) => {
            Err(fault("in", &format!("{} cannot be a key", kinds::name(item))))
        }
        "dict" => Ok(container.try_iter()?.any(|key| order::equal(&key, item))),
        _ => Ok(kinds::items("in", container)?.iter().any(|own| order::equal(own, item))),
    }
}

/// Python's place in a list of so many.
pub(super) fn place(index: i128, length: usize) -> Option<usize> {
    let length = i128::try_from(length).ok()?;
    let place = if index < 0 { index + length } else { index };
    (0..length).contains(&place).then(|| usize::try_from(place).ok()).flatten()
}

/// `value[key]`, as Jinja's environment looks for it: a key, then an attribute.
pub(super) fn item(value: &Value, key: &Value) -> Result<Value, Error> {
    match kinds::name(value) {
        "Undefined" | "Namespace" => value.get_item(key),
        kind @ ("str" | "list" | "tuple" | "range") if kinds::integer(key).is_some() => {
            let length = kinds::length("[", value)?;
            let Some(at) = kinds::integer(key).and_then(|index| place(index, length)) else {
                return Ok(Value::UNDEFINED);
            };
            if kind != "str" {
                return value.get_item_by_index(at);
            }
            let char = value.as_str().and_then(|text| text.chars().nth(at)).unwrap_or_default();
            Ok(like(value, char.to_string()))
        }
        "dict" if kinds::is_hashable(key) => {
            let found = value.get_item(key)?;
            match key.as_str() {
                Some(name) if found.is_undefined() => attribute(value, name),
                _ => Ok(found),
            }
        }
        _ => match key.as_str() {
            Some(name) => attribute(value, name),
            None => Ok(Value::UNDEFINED),
        },
    }
}

/// `value.name`: a method of Python's kind goes before a key.
pub(super) fn attribute(value: &Value, name: &str) -> Result<Value, Error> {
    if kinds::is_macro(value) && name != "name" {
        return Err(fault(name, "not known of a macro here"));
    }
    if has_method(value, name) && !kinds::is_namespace(value) {
        return Ok(Value::from_object(Method { value: value.clone(), name: name.to_owned() }));
    }
    value.get_attr(name)
}

fn slice(value: &Value, start: &Value, stop: &Value, step: &Value) -> Result<Value, Error> {
    let bound = |value: &Value| match kinds::integer(value) {
        Some(number) => Ok(Some(number)),
        None if value.is_none() => Ok(None),
        None => Err(()),
    };
    let kind = kinds::name(value);
    if kind == "Undefined" {
        return value.get_item(&Value::from(0));
    }
    let (Ok(start), Ok(stop), Ok(step)) = (bound(start), bound(stop), bound(step)) else {
        return Err(fault("[", "a slice goes from one whole number to another"));
    };
    if !matches!(kind, "str" | "list" | "tuple" | "range") {
        return Err(fault("[", &format!("{kind} cannot be sliced")));
    }
    let step = step.unwrap_or(1);
    if step == 0 {
        return Err(fault("[", "a slice's step is zero"));
    }
    let length = kinds::length("[", value)? as i128;
    let clamp = |bound: i128, low: i128, high: i128| {
        (if bound < 0 { bound + length } else { bound }).clamp(low, high)
    };
    // What is cut most, and may be long.
    if let Some(text) = value.as_str().filter(|_| step == 1) {
        let start = start.map_or(0, |start| clamp(start, 0, length));
        let stop = stop.map_or(length, |stop| clamp(stop, 0, length));
        let byte = |chars: i128| text.char_indices().nth(chars as usize).map_or(text.len(), |(at, _)| at);
        return Ok(like(value, text.get(byte(start)..byte(stop)).unwrap_or_default().to_owned()));
    }
    let items = kinds::items("[", value)?;
    let mut kept = Vec::new();
    if step > 0 {
        let mut at = start.map_or(0, |start| clamp(start, 0, length));
        let stop = stop.map_or(length, |stop| clamp(stop, 0, length));
        while at < stop {
            kept.push(items[at as usize].clone());
            at = at.saturating_add(step);
        }
    } else {
        let mut at = start.map_or(length - 1, |start| clamp(start, -1, length - 1));
        let stop = stop.map_or(-1, |stop| clamp(stop, -1, length - 1));
        while at > stop {
            kept.push(items[at as usize].clone());
            at = at.saturating_add(step);
        }
    }
    match kind {
        "str" => {
            let text: String = kept.iter().filter_map(Value::as_str).collect();
            Ok(like(value, text))
        }
        "tuple" => Ok(Value::from(Tuple::from(kept))),
        "range" => Ok(super::globals::range_of(&kept, step, value)),
        _ => Ok(Value::from(kept)),
    }
}

/// What a loop goes over: its length is known, and its items can be divided.
fn looped(value: &Value, parts: usize) -> Result<Value, Error> {
    let items = kinds::items("for", value)?;
    if parts < 2 {
        return Ok(Value::from(items));
    }
    let divided = items.into_iter().map(|item| match kinds::name(&item) {
        "list" | "tuple" => Ok(item),
        _ => Ok(Value::from(kinds::items("for", &item)?)),
    });
    Ok(Value::from(divided.collect::<Result<Vec<_>, Error>>()?))
}
