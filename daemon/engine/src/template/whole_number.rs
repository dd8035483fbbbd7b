//! Whole numbers of any length, as Python has them: a template writes all their digits.

use std::fmt;
use std::sync::Arc;

use minijinja::value::{Object, ObjectRepr, Value};

/// A number beyond 128 bits: it can be written, and nobody counts with it.
#[derive(Debug)]
struct Digits(String);

impl Object for Digits {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn render(self: &Arc<Self>, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// `digits`: with a sign, perhaps.
pub(super) fn value(digits: &str) -> Value {
    digits.parse::<i128>().map_or_else(|_| Value::from_object(Digits(digits.to_owned())), Value::from)
}

pub(super) fn is_long(value: &Value) -> bool {
    value.downcast_object_ref::<Digits>().is_some()
}
