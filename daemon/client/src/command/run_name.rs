//! How a person names a run: its number, or the adapter that it teaches.

use std::convert::Infallible;
use std::str::FromStr;

use hotplate_protocol::run::RunId;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunName {
    Number(RunId),
    /// The run in progress that teaches it.
    Adapter(String),
}

impl FromStr for RunName {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<RunName, Infallible> {
        Ok(match text.parse() {
            Ok(number) => RunName::Number(RunId(number)),
            Err(_) => RunName::Adapter(text.to_owned()),
        })
    }
}
