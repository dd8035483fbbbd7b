//! The methods of Python's `dict` that change nothing, and how one is made.

use minijinja::value::{Tuple, Value};
use minijinja::{Error, ErrorKind};

use super::arguments::{bind, split};
use super::kinds::{self, View};
use super::{fault, order};
use crate::python_methods::CHANGING_DICT;

pub(in crate::template) fn call(value: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    if kinds::is_namespace(value) {
        return Err(Error::from(ErrorKind::UnknownMethod));
    }
    match method {
        "get" => {
            let [key, default] = bind(method, args, ["", ""], 1)?;
            let key = key.unwrap_or_default();
            if !kinds::is_hashable(&key) {
                return Err(fault(method, &format!("{} cannot be a key", kinds::name(&key))));
            }
            let found = value.get_item(&key)?;
            if !found.is_undefined() {
                return Ok(found);
            }
            match value.try_iter()?.find(|own| order::equal(own, &key)) {
                Some(own) => value.get_item(&own),
                None => Ok(default.unwrap_or_else(|| Value::from(()))),
            }
        }
        "keys" | "values" | "items" | "copy" => {
            let _: [Option<Value>; 0] = bind(method, args, [], 0)?;
            view(value, method)
        }
        "fromkeys" => fromkeys(args),
        _ if CHANGING_DICT.contains(&method) => Err(fault(method, "a template may not change a dict")),
        _ => Err(Error::from(ErrorKind::UnknownMethod)),
    }
}

fn view(value: &Value, method: &str) -> Result<Value, Error> {
    let (kind, items) = match method {
        "keys" => ("dict_keys", value.try_iter()?.collect()),
        "values" => {
            let values = value.try_iter()?.map(|key| value.get_item(&key));
            ("dict_values", values.collect::<Result<Vec<_>, Error>>()?)
        }
        "items" => ("dict_items", pairs_of(value)?),
        _ => return Ok(value.clone()),
    };
    Ok(Value::from_object(View { kind, items }))
}

/// A dict's pairs, each a tuple.
pub(in crate::template) fn pairs_of(value: &Value) -> Result<Vec<Value>, Error> {
    let pair = |key: Value| Ok(Value::from(Tuple::from([key.clone(), value.get_item(&key)?])));
    value.try_iter()?.map(pair).collect()
}

/// Pairs from a dict or a list of pairs, and from names.
pub(in crate::template) fn pairs(construct: &str, args: &[Value]) -> Result<Vec<(Value, Value)>, Error> {
    let (plain, named) = split(args)?;
    let mut pairs = Vec::new();
    match plain {
        [] => {}
        [dict] if kinds::is_dict(dict) => {
            for key in dict.try_iter()? {
                let value = dict.get_item(&key)?;
                pairs.push((key, value));
            }
        }
        [list] => {
            for pair in kinds::items(construct, list)? {
                match kinds::items(construct, &pair)?.as_slice() {
                    [key, value] if kinds::is_hashable(key) => pairs.push((key.clone(), value.clone())),
                    _ => return Err(fault(construct, "each item must be a key and a value")),
                }
            }
        }
        _ => return Err(fault(construct, "takes one dict or list")),
    }
    pairs.extend(named.into_iter().map(|(name, value)| (Value::from(name), value)));
    Ok(pairs)
}

/// A key that comes again keeps its place and takes the new value.
pub(in crate::template) fn of(pairs: Vec<(Value, Value)>) -> Value {
    let mut kept: Vec<(Value, Value)> = Vec::with_capacity(pairs.len());
    for (key, value) in pairs {
        match kept.iter_mut().find(|(known, _)| order::equal(known, &key)) {
            Some((_, old)) => *old = value,
            None => kept.push((key, value)),
        }
    }
    Value::from_pairs(kept)
}

pub(in crate::template) fn fromkeys(args: &[Value]) -> Result<Value, Error> {
    let [keys, value] = bind("fromkeys", args, ["", ""], 1)?;
    let value = value.unwrap_or_else(|| Value::from(()));
    let keys = kinds::items("fromkeys", &keys.unwrap_or_default())?;
    if !keys.iter().all(kinds::is_hashable) {
        return Err(fault("fromkeys", "a list or dict cannot be a key"));
    }
    Ok(of(keys.into_iter().map(|key| (key, value.clone())).collect()))
}
