//! What kind of value a key takes, and what is said when it gets another one. Values are JSON here, so that a value from a command line or
//! another program is held to the same rules.

use serde_json::{Map, Value};

use super::spelling::nearest;

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// A whole number, both ends included.
    Count {
        least: u64,
        most: u64,
    },
    Number(Range),
    Flag,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A text that is not empty.
    Name,
    Texts {
        most: usize,
    },
    /// `all-linear`, a list of names, or a regular expression.
    Targets,
    /// A table from patterns to whole numbers.
    Counts {
        least: u64,
        most: u64,
    },
    /// A table from patterns to numbers.
    Numbers(Range),
    /// A table from fields to the columns that they are.
    Columns(&'static [&'static str]),
}

/// Finite numbers between two ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    low: f64,
    low_included: bool,
    /// `None`: no end.
    high: Option<(f64, bool)>,
}

impl Range {
    pub(super) const fn above(low: f64) -> Self {
        Self { low, low_included: false, high: None }
    }

    pub(super) const fn above_to(low: f64, high: f64) -> Self {
        Self { low, low_included: false, high: Some((high, true)) }
    }

    pub(super) const fn from_to(low: f64, high: f64) -> Self {
        Self { low, low_included: true, high: Some((high, true)) }
    }

    pub(super) const fn from_below(low: f64, high: f64) -> Self {
        Self { low, low_included: true, high: Some((high, false)) }
    }

    fn holds(self, number: f64) -> bool {
        let low = if self.low_included { number >= self.low } else { number > self.low };
        let high = match self.high {
            None => true,
            Some((high, true)) => number <= high,
            Some((high, false)) => number < high,
        };
        number.is_finite() && low && high
    }

    fn words(self) -> String {
        match (self.low_included, self.high) {
            (false, None) => format!("a number above {}", self.low),
            (true, None) => format!("a number of {} or more", self.low),
            (false, Some((high, true))) => format!("a number above {} and at most {high}", self.low),
            (false, Some((high, false))) => format!("a number above {} and below {high}", self.low),
            (true, Some((high, true))) => format!("a number from {} to {high}", self.low),
            (true, Some((high, false))) => format!("a number from {} up, below {high}", self.low),
        }
    }
}

impl Kind {
    /// What a value must be, with an article.
    pub fn words(self) -> String {
        match self {
            Kind::Count { least, most } | Kind::Counts { least, most } => {
                let count = if most >= 1 << 24 {
                    format!("a whole number of {least} or more")
                } else {
                    format!("a whole number from {least} to {most}")
                };
                if matches!(self, Kind::Counts { .. }) {
                    format!("a table of names, each with {count}")
                } else {
                    count
                }
            }
            Kind::Number(range) => range.words(),
            Kind::Flag => "true or false".to_owned(),
            Kind::Word(words) => format!("one of {}", listed(words)),
            Kind::Name => "a text in quotes".to_owned(),
            Kind::Texts { most } => format!("a list of up to {most} texts in quotes"),
            Kind::Targets => {
                "\"all-linear\", a list of names in quotes, or one regular expression in quotes".to_owned()
            }
            Kind::Numbers(range) => format!("a table of names, each with {}", range.words()),
            Kind::Columns(_) => "a table of fields, each with the name of a column in quotes".to_owned(),
        }
    }

    /// The kind of a list's or a table's parts; `None` for what has none.
    pub fn part(self) -> Option<Kind> {
        match self {
            Kind::Texts { .. } | Kind::Targets | Kind::Columns(_) => Some(Kind::Name),
            Kind::Counts { least, most } => Some(Kind::Count { least, most }),
            Kind::Numbers(range) => Some(Kind::Number(range)),
            _ => None,
        }
    }

    /// Whether the value fits. `name` is the key's, for the sentence.
    ///
    /// # Errors
    /// One sentence without the place: what it is, what it must be.
    pub fn check(self, name: &str, value: &Value) -> Result<(), String> {
        let wrong = || Err(format!("{name} is {}, and must be {}", shown(value), self.words()));
        match (self, value) {
            (Kind::Count { least, most }, Value::Number(number)) => match number.as_u64() {
                Some(count) if (least..=most).contains(&count) => Ok(()),
                None if number.as_f64().is_some_and(|given| given.fract() == 0.0 && number.is_f64()) => {
                    Err(format!(
                        "{name} is {}, and must be {}, written without a point",
                        shown(value),
                        self.words()
                    ))
                }
                _ => wrong(),
            },
            (Kind::Number(range), Value::Number(number))
                if number.as_f64().is_some_and(|number| range.holds(number)) =>
            {
                Ok(())
            }
            (Kind::Flag, Value::Bool(_)) => Ok(()),
            (Kind::Word(words), Value::String(word)) => {
                if words.contains(&word.as_str()) {
                    return Ok(());
                }
                let meant = nearest(word, words.iter().copied())
                    .map_or_else(String::new, |near| format!("; did you mean {near:?}? It"));
                let and = if meant.is_empty() { ", and" } else { &meant };
                Err(format!("{name} is {}{and} must be {}", shown(value), self.words()))
            }
            (Kind::Name, Value::String(text)) if !text.trim().is_empty() => Ok(()),
            (Kind::Targets, Value::String(text)) if !text.trim().is_empty() => Ok(()),
            (Kind::Targets, Value::Array(names)) if names.is_empty() => Err(format!(
                "{name} is an empty list, so that nothing would be trained; it must be {}",
                self.words()
            )),
            (Kind::Texts { most }, Value::Array(texts)) if texts.len() > most => {
                Err(format!("{name} is a list of {}, and must be {}", texts.len(), self.words()))
            }
            (Kind::Texts { .. } | Kind::Targets, Value::Array(texts)) => {
                texts.iter().enumerate().try_for_each(|(index, text)| {
                    Kind::Name.check(&format!("entry {} of {name}", index + 1), text)
                })
            }
            (Kind::Counts { .. } | Kind::Numbers(_), Value::Object(table)) => {
                let part = self.part().unwrap_or(self);
                table
                    .iter()
                    .try_for_each(|(pattern, value)| part.check(&format!("{pattern} in {name}"), value))
            }
            (Kind::Columns(fields), Value::Object(table)) => check_columns(name, fields, table),
            _ => wrong(),
        }
    }
}

fn check_columns(name: &str, fields: &[&str], table: &Map<String, Value>) -> Result<(), String> {
    let mut columns = Vec::new();
    for (field, column) in table {
        if !fields.contains(&field.as_str()) {
            let meant = nearest(field, fields.iter().copied())
                .map_or_else(|| ".".to_owned(), |near| format!("; did you mean {near}?"));
            let fields = fields.join(", ");
            let field = quoted(field);
            return Err(format!("{field} in {name} is no field{meant} The fields are {fields}"));
        }
        Kind::Name.check(&format!("{field} in {name}"), column)?;
        if columns.contains(&column) {
            return Err(format!("{name} has {} as two fields; keep one of them", shown(column)));
        }
        columns.push(column);
    }
    Ok(())
}

fn listed(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    match quoted.as_slice() {
        [first, last] => format!("{first} or {last}"),
        [rest @ .., last] => format!("{} or {last}", rest.join(", ")),
        [] => String::new(),
    }
}

/// A value of somebody's own in a sentence, short and without control characters.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) if text.trim().is_empty() => "an empty text".to_owned(),
        Value::String(text) => format!("the text {}", quoted(text)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a table".to_owned(),
        Value::Null => "no number that can be used".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

/// A text of somebody's own in a sentence: in quotes, short, without control characters.
pub fn quoted(text: &str) -> String {
    const MOST: usize = 40;
    let mut short: String =
        text.chars().map(|each| if each.is_control() { ' ' } else { each }).take(MOST).collect();
    if text.chars().nth(MOST).is_some() {
        short.push('…');
    }
    format!("\"{short}\"")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::key;
    use super::*;

    #[test]
    fn values_of_other_programs_are_held_to_the_same_rules() {
        let check = |name: &str, value: Value| key(name).unwrap().kind.check(name, &value);
        assert_eq!(check("rank", json!(8)), Ok(()));
        assert_eq!(check("seed", json!(u64::MAX)), Ok(()));
        assert!(
            check("rank", json!(-1))
                .unwrap_err()
                .contains("rank is -1, and must be a whole number from 1 to 4096")
        );
        assert!(check("rank", json!(8.0)).unwrap_err().contains("without a point"));
        // What JSON makes of NaN.
        assert!(check("learning_rate", Value::Null).unwrap_err().contains("no number"));
        assert!(check("replay", json!(1)).unwrap_err().contains("below 1"));
        assert_eq!(check("rank_pattern", json!({ "q_proj": 8 })), Ok(()));
        assert!(
            check("rank_pattern", json!({ "q_proj": 0 }))
                .unwrap_err()
                .contains("q_proj in rank_pattern is 0")
        );
        assert_eq!(check("columns", json!({ "prompt": "Frage", "completion": "Antwort" })), Ok(()));
        let said = check("columns", json!({ "promt": "Frage" })).unwrap_err();
        assert!(
            said.starts_with("\"promt\" in columns is no field; did you mean prompt? The fields are prompt,"),
            "{said}"
        );
        assert!(check("columns", json!({ "prompt": 3 })).unwrap_err().contains("prompt in columns is 3"));
        assert!(
            check("columns", json!({ "prompt": "a", "text": "a" })).unwrap_err().contains("as two fields")
        );
        assert!(check("prompts", json!([" "])).unwrap_err().contains("entry 1 of prompts is an empty text"));
    }
}
