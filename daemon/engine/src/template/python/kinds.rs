//! Which of Python's kinds a value is, and the kinds that minijinja lacks.

use std::sync::Arc;

use minijinja::value::{Enumerator, Object, ObjectRepr, Value, ValueKind};
use minijinja::{Error, State};

use super::{call_method, fault};
use crate::template::whole_number;

/// Python's name of a value's kind.
pub(in crate::template) fn name(value: &Value) -> &'static str {
    match value.kind() {
        ValueKind::Undefined => "Undefined",
        ValueKind::None => "NoneType",
        ValueKind::Bool => "bool",
        ValueKind::Number if value.is_integer() => "int",
        ValueKind::Number => "float",
        ValueKind::String => "str",
        ValueKind::Seq if is_tuple(value) => "tuple",
        ValueKind::Seq if value.downcast_object_ref::<Range>().is_some() => "range",
        ValueKind::Seq => "list",
        ValueKind::Map if is_namespace(value) => "Namespace",
        ValueKind::Map if is_macro(value) => "Macro",
        ValueKind::Map if is_loop(value) => "LoopContext",
        ValueKind::Map => "dict",
        ValueKind::Iterable => value.downcast_object_ref::<View>().map_or("generator", |view| view.kind),
        ValueKind::Plain if whole_number::is_long(value) => "int",
        _ => "object",
    }
}

pub(in crate::template) fn is_tuple(value: &Value) -> bool {
    value.is_tuple() || value.downcast_object_ref::<Group>().is_some()
}

pub(in crate::template) fn is_list(value: &Value) -> bool {
    name(value) == "list"
}

pub(in crate::template) fn is_dict(value: &Value) -> bool {
    name(value) == "dict"
}

pub(in crate::template) fn is_generator(value: &Value) -> bool {
    name(value) == "generator"
}

fn type_name(value: &Value) -> &'static str {
    value.as_object().map_or("", |object| object.type_name())
}

pub(in crate::template) fn is_namespace(value: &Value) -> bool {
    type_name(value).ends_with("::Namespace")
}

pub(in crate::template) fn is_macro(value: &Value) -> bool {
    type_name(value).ends_with("::Macro")
}

pub(in crate::template) fn is_loop(value: &Value) -> bool {
    type_name(value).ends_with("::Loop")
}

/// A whole number or a bool, as Python counts with them.
pub(in crate::template) fn integer(value: &Value) -> Option<i128> {
    match value.kind() {
        ValueKind::Bool => Some(i128::from(value.is_true())),
        ValueKind::Number if value.is_integer() => i128::try_from(value.clone()).ok(),
        _ => None,
    }
}

pub(in crate::template) fn float(value: &Value) -> Option<f64> {
    match value.kind() {
        ValueKind::Bool => Some(f64::from(u8::from(value.is_true()))),
        ValueKind::Number => f64::try_from(value.clone()).ok().or_else(|| Some(integer(value)? as f64)),
        _ => None,
    }
}

/// A number in the smallest form that holds it.
pub(in crate::template) fn of_integer(number: i128) -> Value {
    i64::try_from(number).map_or_else(|_| Value::from(number), Value::from)
}

/// What Python's `iter()` goes over.
pub(in crate::template) fn items(construct: &str, value: &Value) -> Result<Vec<Value>, Error> {
    match value.kind() {
        ValueKind::Undefined => Ok(Vec::new()),
        ValueKind::String => {
            let mut buffer = [0; 4];
            let chars = value.as_str().unwrap_or_default().chars();
            let one = |char: char| {
                let text: &str = char.encode_utf8(&mut buffer);
                if value.is_safe() { Value::from_safe_string(text.to_owned()) } else { Value::from(text) }
            };
            Ok(chars.map(one).collect())
        }
        ValueKind::Seq | ValueKind::Map | ValueKind::Iterable
            if !is_namespace(value) && !is_macro(value) && !is_loop(value) =>
        {
            value.try_iter()?.checked().collect()
        }
        _ => Err(fault(construct, &format!("{} cannot be gone over", name(value)))),
    }
}

/// Python's `len()`.
pub(in crate::template) fn length(construct: &str, value: &Value) -> Result<usize, Error> {
    match value.kind() {
        ValueKind::Undefined => Ok(0),
        ValueKind::String => Ok(value.as_str().unwrap_or_default().chars().count()),
        ValueKind::Seq | ValueKind::Map | ValueKind::Iterable
            if !is_generator(value) && !is_namespace(value) =>
        {
            value.len().ok_or_else(|| fault(construct, "has no length"))
        }
        _ => Err(fault(construct, &format!("{} has no length", name(value)))),
    }
}

/// A generator: it is gone over once.
pub(in crate::template) fn generator(items: Vec<Value>) -> Value {
    Value::make_one_shot_iterator(items.into_iter())
}

/// Whether Python can look for it in a dict.
pub(in crate::template) fn is_hashable(value: &Value) -> bool {
    match name(value) {
        "list" | "dict" | "Undefined" => name(value) == "Undefined",
        "tuple" => items("tuple", value).is_ok_and(|items| items.iter().all(is_hashable)),
        _ => true,
    }
}

/// `range(…)`.
#[derive(Debug)]
pub(in crate::template) struct Range {
    pub(in crate::template) start: i64,
    pub(in crate::template) stop: i64,
    pub(in crate::template) step: i64,
}

impl Range {
    pub(in crate::template) fn length(&self) -> i128 {
        let (start, stop, step) = (i128::from(self.start), i128::from(self.stop), i128::from(self.step));
        let far = if step > 0 { stop - start } else { start - stop };
        if far <= 0 { 0 } else { (far - 1) / step.abs() + 1 }
    }
}

impl Object for Range {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let at = i128::from(u32::try_from(key.as_usize()?).ok()?);
        (at < self.length()).then(|| of_integer(i128::from(self.start) + at * i128::from(self.step)))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(usize::try_from(self.length()).unwrap_or(0))
    }
}

/// `dict.keys()`, `dict.values()` and `dict.items()`.
#[derive(Debug)]
pub(in crate::template) struct View {
    pub(in crate::template) kind: &'static str,
    pub(in crate::template) items: Vec<Value>,
}

impl Object for View {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Iterable
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.items.clone())
    }

    fn is_true(self: &Arc<Self>) -> bool {
        !self.items.is_empty()
    }
}

/// One of `groupby`'s groups: a tuple with names.
#[derive(Debug)]
pub(in crate::template) struct Group {
    pub(in crate::template) grouper: Value,
    pub(in crate::template) list: Value,
}

impl Object for Group {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match (key.as_str(), key.as_usize()) {
            (Some("grouper"), _) | (_, Some(0)) => Some(self.grouper.clone()),
            (Some("list"), _) | (_, Some(1)) => Some(self.list.clone()),
            _ => None,
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(2)
    }
}

/// A method that was taken off its value and not yet called.
#[derive(Debug)]
pub(in crate::template) struct Method {
    pub(in crate::template) value: Value,
    pub(in crate::template) name: String,
}

impl Object for Method {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn call(self: &Arc<Self>, state: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
        call_method(state, &self.value, &self.name, args)
    }
}
