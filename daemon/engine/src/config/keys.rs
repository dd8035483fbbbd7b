//! Typed access to the keys of a JSON object. Errors name the key with its path and its value.

use serde_json::{Map, Value};

/// The object that a JSON file holds, or why it does not hold one.
pub(crate) fn parse_object(json: &[u8]) -> Result<Map<String, Value>, String> {
    match serde_json::from_slice::<Value>(json) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err("must hold one JSON object".to_owned()),
        Err(error) => Err(format!("is not valid JSON: {error}")),
    }
}

/// An object's keys; null counts as absent.
#[derive(Clone, Copy)]
pub(crate) struct Keys<'a> {
    pub(crate) object: &'a Map<String, Value>,
    /// What stands before a key in messages, such as `rope_scaling.`.
    pub(crate) path: &'a str,
}

impl<'a> Keys<'a> {
    pub(crate) fn get(&self, key: &str) -> Option<&'a Value> {
        self.object.get(key).filter(|value| !value.is_null())
    }

    /// Whether the key is there and null, which for some keys is another thing than not being there.
    pub(crate) fn is_null(&self, key: &str) -> bool {
        self.object.get(key).is_some_and(Value::is_null)
    }

    pub(crate) fn unsupported(&self, key: &str, value: &Value, supported: &str) -> String {
        format!(
            "{}{key} is {}, which this version does not support; it must be {supported}",
            self.path,
            short(value)
        )
    }

    fn wrong(&self, key: &str, value: &Value, wanted: &str) -> String {
        format!("{}{key} is {}; it must be {wanted}", self.path, short(value))
    }

    pub(crate) fn optional_size(&self, key: &str, limit: usize) -> Result<Option<usize>, String> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match whole(value) {
            Some(size) if (1..=limit).contains(&size) => Ok(Some(size)),
            _ => Err(self.wrong(key, value, &format!("a whole number from 1 to {limit}"))),
        }
    }

    /// A whole number from 0 on.
    pub(crate) fn count(&self, key: &str) -> Result<Option<usize>, String> {
        let Some(value) = self.get(key) else { return Ok(None) };
        whole(value).map(Some).ok_or_else(|| self.wrong(key, value, "a whole number"))
    }

    pub(crate) fn size(&self, key: &str, limit: usize) -> Result<usize, String> {
        self.optional_size(key, limit)?.ok_or_else(|| format!("has no {}{key}", self.path))
    }

    /// JSON numbers are finite, but their f32 may not be.
    pub(crate) fn number(&self, key: &str) -> Result<Option<f64>, String> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match value.as_f64() {
            Some(number) if (number as f32).is_finite() => Ok(Some(number)),
            _ => Err(self.wrong(key, value, "a number")),
        }
    }

    pub(crate) fn positive(&self, key: &str) -> Result<Option<f64>, String> {
        match self.number(key)? {
            Some(number) if number as f32 > 0.0 => Ok(Some(number)),
            Some(number) => Err(format!("{}{key} is {number}; it must be above 0", self.path)),
            None => Ok(None),
        }
    }

    pub(crate) fn required_positive(&self, key: &str) -> Result<f64, String> {
        self.positive(key)?.ok_or_else(|| format!("has no {}{key}", self.path))
    }

    /// A list of `length` numbers above 0.
    pub(crate) fn positives(&self, key: &str, length: usize) -> Result<Vec<f32>, String> {
        let wanted = || format!("a list of {length} numbers above 0");
        let Some(value) = self.get(key) else { return Err(format!("has no {}{key}", self.path)) };
        let Some(list) = value.as_array() else { return Err(self.wrong(key, value, &wanted())) };
        if list.len() != length {
            let found = list.len();
            return Err(format!("{}{key} has {found} values; it must be {}", self.path, wanted()));
        }
        let number = |value: &Value| {
            let number = value.as_f64()? as f32;
            (number.is_finite() && number > 0.0).then_some(number)
        };
        list.iter().map(|value| number(value).ok_or_else(|| self.wrong(key, value, &wanted()))).collect()
    }

    pub(crate) fn flag(&self, key: &str) -> Result<bool, String> {
        self.flag_or(key, false)
    }

    pub(crate) fn flag_or(&self, key: &str, default: bool) -> Result<bool, String> {
        match self.get(key) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(value) => Err(self.wrong(key, value, "true or false")),
        }
    }

    pub(crate) fn section(&self, key: &str) -> Result<Option<&'a Map<String, Value>>, String> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Object(object)) => Ok(Some(object)),
            Some(value) => Err(self.wrong(key, value, "an object")),
        }
    }

    /// A list with one entry for each layer; `what` says what an entry must be.
    pub(crate) fn per_layer<T>(
        &self,
        key: &str,
        layers: usize,
        what: &str,
        entry: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<Vec<T>>, String> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let Some(list) = value.as_array() else { return Err(self.wrong(key, value, "a list")) };
        if list.len() != layers {
            let found = list.len();
            return Err(format!("{}{key} has {found} entries, and there are {layers} layers", self.path));
        }
        let one = |value: &Value| entry(value).ok_or_else(|| self.unsupported(key, value, what));
        list.iter().map(one).collect::<Result<_, _>>().map(Some)
    }
}

/// Python writes some whole numbers as `1e6` or `4.0`.
fn whole(value: &Value) -> Option<usize> {
    if let Some(size) = value.as_u64() {
        return usize::try_from(size).ok();
    }
    let number = value.as_f64()?;
    (number.fract() == 0.0 && (0.0..1e15).contains(&number)).then_some(number as usize)
}

/// A value for a message: hostile ones may be megabytes.
pub(super) fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}
