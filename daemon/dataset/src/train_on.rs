//! Which tokens of an example carry loss.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What of an example is learnt. A text without roles is learnt whole, whichever this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrainOn {
    /// Every completion: each turn of the assistant, with the token that ends it.
    #[default]
    Completions,
    /// The last turn of the assistant alone; the turns before it are read, not learnt.
    Last,
    /// Every token of prompt and answer but the very first, which nothing leads to.
    Everything,
}

impl TrainOn {
    pub const ALL: [TrainOn; 3] = [TrainOn::Completions, TrainOn::Last, TrainOn::Everything];

    /// As recipes and commands spell it.
    pub const fn name(self) -> &'static str {
        match self {
            TrainOn::Completions => "completions",
            TrainOn::Last => "last",
            TrainOn::Everything => "everything",
        }
    }
}

impl fmt::Display for TrainOn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// The text is none of the known words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("train_on is \"completions\" (each turn of the assistant), \"last\" or \"everything\", not {0:?}")]
pub struct UnknownTrainOn(String);

impl FromStr for TrainOn {
    type Err = UnknownTrainOn;

    fn from_str(text: &str) -> Result<Self, UnknownTrainOn> {
        let known = TrainOn::ALL.into_iter().find(|known| known.name() == text);
        known.ok_or_else(|| UnknownTrainOn(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_the_same_in_json_and_in_text() {
        for known in TrainOn::ALL {
            assert_eq!(known.name().parse(), Ok(known));
            assert_eq!(serde_json::to_value(known).unwrap(), known.name());
            assert_eq!(serde_json::from_value::<TrainOn>(known.name().into()).unwrap(), known);
        }
        assert!("first".parse::<TrainOn>().unwrap_err().to_string().contains("\"first\""));
    }
}
