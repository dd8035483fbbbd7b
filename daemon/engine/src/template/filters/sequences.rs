//! Filters of lists and dicts.

use std::cmp::Ordering;

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, State};

use crate::template::operators::{add, attribute, item};
use crate::template::python::arguments::{bind, split, truth, whole};
use crate::template::python::dict::pairs_of;
use crate::template::python::kinds::{self, Group, generator};
use crate::template::python::order::{compare, equal, sort as sorted, sort_by_all};
use crate::template::python::{fault, has_method, show::shown};

/// Wider tables are nobody's prompt.
const MOST_COLUMNS: i64 = 100_000;

/// An attribute as filters take it: names and places with points between them.
struct Attribute {
    parts: Vec<Value>,
    default: Option<Value>,
}

impl Attribute {
    fn of(name: Option<&Value>) -> Attribute {
        let parts = match name {
            None => Vec::new(),
            Some(name) if name.is_none() => Vec::new(),
            Some(name) => match name.as_str() {
                Some(text) => text.split('.').map(part).collect(),
                None => vec![name.clone()],
            },
        };
        Attribute { parts, default: None }
    }

    fn get(&self, value: &Value) -> Result<Value, Error> {
        let mut value = value.clone();
        for part in &self.parts {
            value = item(&value, part)?;
            if let Some(default) = self.default.as_ref().filter(|default| !default.is_none())
                && value.is_undefined()
            {
                value = default.clone();
            }
        }
        Ok(value)
    }
}

fn part(text: &str) -> Value {
    match text.parse::<i64>() {
        Ok(number) if text.bytes().all(|byte| byte.is_ascii_digit()) => Value::from(number),
        _ => Value::from(text),
    }
}

/// What texts are compared by unless case matters.
fn folded(value: Value, case_sensitive: bool) -> Value {
    match value.as_str() {
        Some(text) if !case_sensitive => Value::from(text.to_lowercase()),
        _ => value,
    }
}

pub(super) fn length(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let _: [Option<Value>; 0] = bind("length", args, [], 0)?;
    kinds::length("length", value)
        .or_else(|error| kinds::length("count", value).map_err(|_| error))
        .map(Value::from)
}

pub(super) fn list(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let _: [Option<Value>; 0] = bind("list", args, [], 0)?;
    kinds::items("list", value).map(Value::from)
}

pub(super) fn first(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let _: [Option<Value>; 0] = bind("first", args, [], 0)?;
    Ok(kinds::items("first", value)?.first().cloned().unwrap_or(Value::UNDEFINED))
}

pub(super) fn last(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let _: [Option<Value>; 0] = bind("last", args, [], 0)?;
    if kinds::is_generator(value) {
        return Err(fault("last", "a generator has no end to begin from"));
    }
    Ok(kinds::items("last", value)?.last().cloned().unwrap_or(Value::UNDEFINED))
}

pub(super) fn attr(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let [name] = bind("attr", args, ["name"], 1)?;
    let name = name.unwrap_or_default();
    let Some(name) = name.as_str() else {
        return Err(fault("attr", "needs a name"));
    };
    if value.is_undefined() {
        return Err(fault("attr", "of a value that is not there"));
    }
    if has_method(value, name) {
        return attribute(value, name);
    }
    // Only attributes, never a dict's keys.
    if kinds::is_namespace(value) { value.get_attr(name) } else { Ok(Value::UNDEFINED) }
}

pub(super) fn items(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let _: [Option<Value>; 0] = bind("items", args, [], 0)?;
    if value.is_undefined() {
        return Ok(generator(Vec::new()));
    }
    if !kinds::is_dict(value) {
        return Err(fault("items", &format!("of {}, which is no dict", kinds::name(value))));
    }
    pairs_of(value).map(generator)
}

pub(super) fn join(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let [between, attribute] = bind("join", args, ["d", "attribute"], 0)?;
    let between = between.unwrap_or_else(|| Value::from(""));
    let attribute = Attribute::of(attribute.as_ref());
    let items = kinds::items("join", value)?;
    let parts = items.iter().map(|item| attribute.get(item)).collect::<Result<Vec<_>, _>>()?;
    let between_text = shown(&between)?;
    let texts = parts.iter().map(shown).collect::<Result<Vec<_>, _>>()?;
    Ok(Value::from(texts.join(&between_text)))
}

pub(super) fn reverse(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let _: [Option<Value>; 0] = bind("reverse", args, [], 0)?;
    if let Some(text) = value.as_str() {
        let made: String = text.chars().rev().collect();
        return Ok(if value.is_safe() { Value::from_safe_string(made) } else { Value::from(made) });
    }
    let mut items = kinds::items("reverse", value)?;
    items.reverse();
    if kinds::is_generator(value) {
        return Ok(Value::from(items));
    }
    Ok(generator(items))
}

pub(super) fn batch(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let [count, fill] = bind("batch", args, ["linecount", "fill_with"], 1)?;
    let count = count.unwrap_or_default();
    // Python only compares with it.
    let fill = fill.filter(|fill| !fill.is_none());
    let mut batches: Vec<Vec<Value>> = Vec::new();
    let mut open: Vec<Value> = Vec::new();
    for item in kinds::items("batch", value)? {
        if equal(&Value::from(open.len()), &count) {
            batches.push(std::mem::take(&mut open));
        }
        open.push(item);
    }
    if !open.is_empty() {
        if let Some(fill) = fill
            && compare("batch", &Value::from(open.len()), &count)? == Ordering::Less
        {
            let count = whole("batch", &count)?;
            if count > MOST_COLUMNS {
                return Err(fault("batch", "too many columns"));
            }
            open.resize(count as usize, fill);
        }
        batches.push(open);
    }
    Ok(generator(batches.into_iter().map(Value::from).collect()))
}

pub(super) fn slice(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let [count, fill] = bind("slice", args, ["slices", "fill_with"], 1)?;
    let count = whole("slice", &count.unwrap_or_default())?;
    if count == 0 || count > MOST_COLUMNS {
        return Err(fault("slice", "the number of slices must be above zero, and not too large"));
    }
    let items = kinds::items("slice", value)?;
    let count = usize::try_from(count).unwrap_or(0);
    if count == 0 {
        return Ok(generator(Vec::new()));
    }
    let (each, longer) = (items.len() / count, items.len() % count);
    let (mut slices, mut at) = (Vec::new(), 0);
    for number in 0..count {
        let length = each + usize::from(number < longer);
        let mut slice = items[at..at + length].to_vec();
        at += length;
        if let Some(fill) = fill.as_ref().filter(|fill| !fill.is_none())
            && number >= longer
        {
            slice.push(fill.clone());
        }
        slices.push(Value::from(slice));
    }
    Ok(generator(slices))
}

pub(super) fn dictsort(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let [case_sensitive, by, reverse] = bind("dictsort", args, ["case_sensitive", "by", "reverse"], 0)?;
    let by = match by.as_ref().map(|by| by.as_str().unwrap_or_default()) {
        None | Some("key") => 0,
        Some("value") => 1,
        Some(_) => return Err(fault("dictsort", "sorts by key or value")),
    };
    if !kinds::is_dict(value) {
        return Err(fault("dictsort", &format!("of {}, which is no dict", kinds::name(value))));
    }
    let keyed = pairs_of(value)?.into_iter().map(|pair| {
        let key = pair.get_item_by_index(by)?;
        Ok((folded(key, truth(case_sensitive.as_ref())), pair))
    });
    let keyed = keyed.collect::<Result<Vec<_>, Error>>()?;
    sorted("dictsort", keyed, truth(reverse.as_ref())).map(Value::from)
}

pub(super) fn sort(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let [reverse, case_sensitive, attribute] =
        bind("sort", args, ["reverse", "case_sensitive", "attribute"], 0)?;
    let names: Vec<Attribute> = match attribute.as_ref().map(Value::as_str) {
        Some(Some(names)) => names.split(',').map(|name| Attribute::of(Some(&Value::from(name)))).collect(),
        _ => vec![Attribute::of(attribute.as_ref())],
    };
    let case_sensitive = truth(case_sensitive.as_ref());
    let keyed = kinds::items("sort", value)?.into_iter().map(|item| {
        let keys = names.iter().map(|name| name.get(&item).map(|key| folded(key, case_sensitive)));
        Ok((keys.collect::<Result<Vec<_>, Error>>()?, item))
    });
    let keyed = keyed.collect::<Result<Vec<_>, Error>>()?;
    sort_by_all("sort", keyed, truth(reverse.as_ref())).map(Value::from)
}

fn extreme(name: &'static str, value: &Value, args: &[Value], wanted: Ordering) -> Result<Value, Error> {
    let [case_sensitive, attribute] = bind(name, args, ["case_sensitive", "attribute"], 0)?;
    let attribute = Attribute::of(attribute.as_ref());
    let mut best: Option<(Value, Value)> = None;
    for item in kinds::items(name, value)? {
        let key = folded(attribute.get(&item)?, truth(case_sensitive.as_ref()));
        let better = match &best {
            None => true,
            Some((known, _)) => compare(name, &key, known)? == wanted,
        };
        if better {
            best = Some((key, item));
        }
    }
    Ok(best.map_or(Value::UNDEFINED, |(_, item)| item))
}

pub(super) fn max(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    extreme("max", value, args, Ordering::Greater)
}

pub(super) fn min(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    extreme("min", value, args, Ordering::Less)
}

pub(super) fn sum(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let [attribute, start] = bind("sum", args, ["attribute", "start"], 0)?;
    let attribute = Attribute::of(attribute.as_ref());
    let start = start.unwrap_or_else(|| Value::from(0));
    if start.kind() == ValueKind::String {
        return Err(fault("sum", "adds up no texts"));
    }
    let items = kinds::items("sum", value)?;
    items.iter().try_fold(start, |sum, item| {
        add(&sum, &attribute.get(item)?).map_err(|error| fault("sum", &error.to_string()))
    })
}

pub(super) fn unique(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let [case_sensitive, attribute] = bind("unique", args, ["case_sensitive", "attribute"], 0)?;
    let attribute = Attribute::of(attribute.as_ref());
    let (mut seen, mut kept): (Vec<Value>, Vec<Value>) = (Vec::new(), Vec::new());
    for item in kinds::items("unique", value)? {
        let key = folded(attribute.get(&item)?, truth(case_sensitive.as_ref()));
        if !kinds::is_hashable(&key) {
            return Err(fault("unique", &format!("{} cannot be a key", kinds::name(&key))));
        }
        if !seen.iter().any(|known| equal(known, &key)) {
            seen.push(key);
            kept.push(item);
        }
    }
    Ok(generator(kept))
}

pub(super) fn groupby(_: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let [attribute, default, case_sensitive] =
        bind("groupby", args, ["attribute", "default", "case_sensitive"], 1)?;
    let mut attribute = Attribute::of(attribute.as_ref());
    attribute.default = default;
    let case_sensitive = truth(case_sensitive.as_ref());
    let keyed = kinds::items("groupby", value)?.into_iter().map(|item| {
        let key = attribute.get(&item)?;
        Ok((folded(key.clone(), case_sensitive), (folded(key.clone(), case_sensitive), key, item)))
    });
    let keyed = keyed.collect::<Result<Vec<_>, Error>>()?;
    let mut groups: Vec<(Value, Value, Vec<Value>)> = Vec::new();
    for (key, own, item) in sorted("groupby", keyed, false)? {
        match groups.last_mut() {
            Some((known, _, list)) if equal(known, &key) => list.push(item),
            _ => groups.push((key, own, vec![item])),
        }
    }
    let groups = groups
        .into_iter()
        .map(|(_, grouper, list)| Value::from_object(Group { grouper, list: Value::from(list) }));
    Ok(Value::from(groups.collect::<Vec<_>>()))
}

pub(super) fn map(state: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    let (plain, named) = split(args)?;
    if !value.is_true() {
        return Ok(generator(Vec::new()));
    }
    let items = || kinds::items("map", value);
    if plain.is_empty() {
        let mut attribute = None;
        let mut default = None;
        for (name, value) in named {
            match name.as_str() {
                "attribute" => attribute = Some(value),
                "default" => default = Some(value),
                other => return Err(fault("map", &format!("has no argument {other}"))),
            }
        }
        let Some(name) = attribute else {
            return Err(fault("map", "needs a filter or an attribute"));
        };
        let attribute = Attribute { default, ..Attribute::of(Some(&name)) };
        let mapped = items()?.iter().map(|item| attribute.get(item)).collect::<Result<Vec<_>, _>>()?;
        return Ok(generator(mapped));
    }
    let items = items()?;
    let Some((name, more)) = args.split_first() else { return Ok(generator(items)) };
    let mut mapped = Vec::with_capacity(items.len());
    for item in items {
        let Some(name) = name.as_str() else { return Err(fault("map", "needs a filter's name")) };
        let all: Vec<Value> = std::iter::once(item).chain(more.iter().cloned()).collect();
        mapped
            .push(state.apply_filter(name, &all).map_err(|error| fault("map", &format!("{name}: {error}")))?);
    }
    Ok(generator(mapped))
}

/// Which items stay: those of whose value a test says `wanted`.
fn selected(
    state: &mut State,
    construct: &'static str,
    value: &Value,
    args: &[Value],
    by_attribute: bool,
    wanted: bool,
) -> Result<Value, Error> {
    // What is empty, and what is nothing at all, leaves nothing.
    if !value.is_true() {
        return Ok(generator(Vec::new()));
    }
    let items = kinds::items(construct, value)?;
    let (attribute, args) = match args.split_first() {
        _ if !by_attribute => (Attribute::of(None), args),
        Some((name, rest)) if !name.is_kwargs() => (Attribute::of(Some(name)), rest),
        _ => return Err(fault(construct, "needs an attribute")),
    };
    let mut kept = Vec::new();
    for item in items {
        let subject = attribute.get(&item)?;
        let passes = match args.split_first() {
            None => subject.is_true(),
            Some((name, more)) => {
                let Some(name) = name.as_str() else { return Err(fault(construct, "needs a test's name")) };
                let all: Vec<Value> = std::iter::once(subject).chain(more.iter().cloned()).collect();
                state
                    .perform_test(name, &all)
                    .map_err(|error| fault(construct, &format!("{name}: {error}")))?
            }
        };
        if passes == wanted {
            kept.push(item);
        }
    }
    Ok(generator(kept))
}

pub(super) fn select(state: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    selected(state, "select", value, args, false, true)
}

pub(super) fn reject(state: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    selected(state, "reject", value, args, false, false)
}

pub(super) fn selectattr(state: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    selected(state, "selectattr", value, args, true, true)
}

pub(super) fn rejectattr(state: &mut State, value: &Value, args: &[Value]) -> Result<Value, Error> {
    selected(state, "rejectattr", value, args, true, false)
}
