//! # HP023 `text-arguments`
//!
//! The arguments of a call are a text, and the text is not JSON for an object. Arguments that are JSON in a text (as OpenAI's interface has
//! them) become the object that a chat template expects; this text could not, so the template writes it as a text, in quotes.
//!
//! The example is still learnt, quotes included.

use super::{Code, Finding, Rule};
use crate::shapes::RecordLocation;

pub(super) const RULE: Rule = Rule {
    code: "HP023",
    name: "text-arguments",
    remedy: "Write the arguments as a JSON object, {\"place\": \"Ulm\"}, or as exactly that in a text.",
    skips: false,
};

/// `call`: which one of which message.
pub(crate) fn text_arguments(place: RecordLocation<'_>, call: &str) -> Finding {
    let message = format!("the arguments of {call} are a text that holds no JSON object");
    Finding::new(Code::TextArguments, place.file, place.lines, message)
}
