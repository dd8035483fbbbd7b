//! A record: the fields that some shape reads, and the names of all. What no shape reads is not built, so that a record with a
//! megabyte of foreign fields costs no more memory than its text.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// More names than this are not worth naming.
const MOST_NAMES: usize = 12;

/// The fields that shapes read, sorted.
const FIELDS: &[&str] = &[
    "chosen",
    "completion",
    "conversation",
    "conversations",
    "history",
    "input",
    "instruction",
    "kto_tag",
    "label",
    "messages",
    "output",
    "prompt",
    "rejected",
    "system",
    "text",
    "title",
    "tools",
];

/// What kind of value stands where another one is wanted: "a number", "a list", ...
pub(crate) type Kind = &'static str;

pub(crate) fn kind(value: &Value) -> Kind {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[derive(Debug, Default)]
pub(crate) struct Record {
    fields: Map<String, Value>,
    names: Vec<String>,
}

impl Record {
    /// Whether a shape reads a field of this name.
    pub(crate) fn is_read(name: &str) -> bool {
        FIELDS.binary_search(&name).is_ok()
    }

    /// Fields that no shape reads leave only their name.
    pub(crate) fn insert(&mut self, name: String, value: Value) {
        if Self::is_read(&name) {
            self.fields.insert(name.clone(), value);
        }
        self.note(name);
    }

    pub(crate) fn note(&mut self, name: String) {
        if self.names.len() < MOST_NAMES && !self.names.contains(&name) {
            self.names.push(name);
        }
    }

    /// Whether the field is there and not null: tables fill with null what a row has not.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub(crate) fn is_null(&self, name: &str) -> bool {
        self.fields.get(name).is_some_and(Value::is_null)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.fields.get(name).filter(|value| !value.is_null())
    }

    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        self.fields.get_mut(name).map(Value::take).filter(|value| !value.is_null())
    }

    /// The names of all fields, up to a dozen.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }
}

/// Any JSON, read as a record.
pub(crate) enum Parsed {
    Record(Record),
    Other(Kind),
}

impl<'de> Deserialize<'de> for Parsed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyJson)
    }
}

struct AnyJson;

impl<'de> Visitor<'de> for AnyJson {
    type Value = Parsed;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Parsed, E> {
        Ok(Parsed::Other("null"))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Parsed, E> {
        Ok(Parsed::Other("a boolean"))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Parsed, E> {
        Ok(Parsed::Other("a number"))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Parsed, E> {
        Ok(Parsed::Other("a number"))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Parsed, E> {
        Ok(Parsed::Other("a number"))
    }

    fn visit_str<E>(self, _: &str) -> Result<Parsed, E> {
        Ok(Parsed::Other("text"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Parsed, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Parsed::Other("a list"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Parsed, A::Error> {
        let mut record = Record::default();
        while let Some(name) = object.next_key::<String>()? {
            if Record::is_read(&name) {
                record.insert(name, object.next_value()?);
            } else {
                object.next_value::<IgnoredAny>()?;
                record.note(name);
            }
        }
        Ok(Parsed::Record(record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_search() {
        assert!(FIELDS.is_sorted());
    }
}
