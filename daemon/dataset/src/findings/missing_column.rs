//! # HP026 `missing-column`
//!
//! The recipe says what a column is, `columns = { prompt = "Frage" }`, and no record of the folder has a column (or field) of that name. Case
//! and blanks do not count.
//!
//! Records are still learnt where their own fields tell what they are.

use std::path::Path;

use hotplate_protocol::knobs;

use super::{Code, Finding, Rule, shown, shown_list};
use crate::recipe;

pub(super) const RULE: Rule = Rule {
    code: "HP026",
    name: "missing-column",
    remedy: "Write the column's name as the file has it.",
    skips: false,
};

/// `there`: the columns that there are.
pub(crate) fn missing_column(line: usize, field: &str, column: &str, there: &[String]) -> Finding {
    let near = knobs::nearest(column, there.iter().map(String::as_str));
    let hint = match near {
        Some(near) => format!("did you mean {}?", shown(near)),
        None => format!("found {}", shown_list(there.get(..12).unwrap_or(there))),
    };
    let message = format!("columns says that {} is the {field}, and no record has it; {hint}", shown(column));
    Finding::new(Code::MissingColumn, Path::new(recipe::FILE), (line, line), message)
}
