//! Values as Python has them: how each kind is shown, compared and called, and the methods of text, lists and dicts.

pub(super) mod arguments;
pub(super) mod dict;
pub(super) mod kinds;
pub(super) mod list;
pub(super) mod order;
pub(super) mod printf;
pub(super) mod show;
pub(super) mod text;

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind, State};

use crate::python_methods::{OF_DICT, OF_LIST, OF_SEQUENCE, OF_TEXT};

/// An error that names what it is about.
pub(super) fn fault(construct: &str, why: &str) -> Error {
    Error::new(ErrorKind::InvalidOperation, format!("{construct}: {why}"))
}

/// A method of a value that is no object of its own.
pub(super) fn call_method(
    _state: &mut State,
    value: &Value,
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    match value.kind() {
        ValueKind::String => text::call(value, method, args),
        ValueKind::Map => dict::call(value, method, args),
        ValueKind::Seq => list::call(value, method, args),
        ValueKind::Number | ValueKind::Bool => number_method(value, method, args),
        _ => Err(Error::from(ErrorKind::UnknownMethod)),
    }
}

fn number_method(value: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    let _: [Option<Value>; 0] = arguments::bind(method, args, [], 0)?;
    match (method, kinds::float(value)) {
        ("is_integer", Some(float)) if kinds::name(value) == "float" => Ok(Value::from(float.fract() == 0.0)),
        ("bit_length", _) if value.is_integer() || value.kind() == ValueKind::Bool => {
            let size = kinds::integer(value).map_or(0, i128::unsigned_abs);
            Ok(Value::from(u128::BITS - size.leading_zeros()))
        }
        _ => Err(Error::from(ErrorKind::UnknownMethod)),
    }
}

/// Whether Python's value of this kind has the method.
pub(super) fn has_method(value: &Value, method: &str) -> bool {
    match value.kind() {
        ValueKind::String => OF_TEXT.contains(&method),
        ValueKind::Map => OF_DICT.contains(&method),
        ValueKind::Seq => {
            OF_SEQUENCE.contains(&method) || (kinds::is_list(value) && OF_LIST.contains(&method))
        }
        _ => false,
    }
}
