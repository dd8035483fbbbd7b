//! Preference data: pairs of a better and a worse answer, or answers with a verdict. It teaches a choice, not a text; taking the
//! answers as they are would also teach the bad ones.

use serde_json::Value;

use super::{Record, RecordLocation, Shape};
use crate::findings::{Finding, preference_data};

/// The finding, where the record is of that kind and of no other.
pub(super) fn found(record: &Record, shape: Option<Shape>, place: RecordLocation<'_>) -> Option<Finding> {
    let verdict =
        ["label", "kto_tag"].into_iter().find(|name| record.get(name).is_some_and(Value::is_boolean));
    match shape {
        None if record.has("chosen") || record.has("rejected") => {
            Some(preference_data(place, "\"chosen\" and \"rejected\" are a choice between two answers"))
        }
        Some(Shape::Completion | Shape::Messages | Shape::ShareGpt) => verdict.map(|name| {
            preference_data(place, &format!("\"{name}\" says whether the answer is good or bad"))
        }),
        _ => None,
    }
}
