//! The methods of Python's `list`, `tuple` and `range` that change nothing.

use minijinja::value::Value;
use minijinja::{Error, ErrorKind};

use super::arguments::{bind, whole};
use super::order::equal;
use super::{fault, kinds};
use crate::python_methods::CHANGING_LIST;

pub(in crate::template) fn call(value: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    let items = || kinds::items(method, value);
    match method {
        "count" => {
            let [wanted] = bind(method, args, [""], 1)?;
            let wanted = wanted.unwrap_or_default();
            Ok(Value::from(items()?.iter().filter(|item| equal(item, &wanted)).count()))
        }
        "index" => {
            let [wanted, start, end] = bind(method, args, ["", "", ""], 1)?;
            let (wanted, items) = (wanted.unwrap_or_default(), items()?);
            let bound = |value: Option<Value>, default: usize| {
                let Some(value) = value else { return Ok::<_, Error>(default) };
                let bound = whole(method, &value)?;
                let length = items.len() as i64;
                Ok((if bound < 0 { bound + length } else { bound }).clamp(0, length) as usize)
            };
            let (start, end) = (bound(start, 0)?, bound(end, items.len())?);
            let found = (start..end).find(|at| equal(&items[*at], &wanted));
            found.map(Value::from).ok_or_else(|| fault(method, "it is not there"))
        }
        "copy" if kinds::is_list(value) => {
            let _: [Option<Value>; 0] = bind(method, args, [], 0)?;
            Ok(value.clone())
        }
        _ if CHANGING_LIST.contains(&method) && kinds::is_list(value) => {
            Err(fault(method, "a template may not change a list"))
        }
        _ => Err(Error::from(ErrorKind::UnknownMethod)),
    }
}
