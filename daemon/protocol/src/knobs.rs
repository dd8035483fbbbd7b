//! What a person can set for a run: on a command line and, by the same names, in a recipe.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $word)] $variant,)*
        }

        impl $name {
            /// All of them, as they are written.
            pub const WORDS: &[&str] = &[$($word,)*];

            /// As it is written.
            pub const fn word(self) -> &'static str {
                match self { $($name::$variant => $word,)* }
            }

            /// The one that is written so.
            pub fn of_word(word: &str) -> Option<Self> {
                match word { $($word => Some($name::$variant),)* _ => None }
            }
        }
    };
}

words! {
    /// What is trained.
    Method {
        Lora = "lora",
        Full = "full",
    }
}

words! {
    /// How small a base's weights become in memory.
    Quantize {
        /// 8.5 bits a value.
        Q8 = "q8",
        /// 4.5 bits a value in the layers, 8.5 in embedding and head.
        Q4 = "q4",
        /// As they are stored.
        None = "none",
    }
}

words! {
    /// How the learning rate falls after the warm-up.
    Schedule {
        Linear = "linear",
        Cosine = "cosine",
        Constant = "constant",
    }
}

words! {
    /// Whether activations are computed again on the way back.
    Recompute {
        Auto = "auto",
        Always = "always",
        Never = "never",
    }
}

words! {
    /// Which part of an example carries loss.
    TrainOn {
        /// Every turn of the assistant.
        Completions = "completions",
        /// The last turn of the assistant.
        Last = "last",
        /// As everything: what other trainers do that do not mask prompts.
        All = "all",
        /// Every token.
        Everything = "everything",
    }
}

words! {
    /// How plain texts are learnt.
    Style {
        Plain = "plain",
        Answers = "answers",
        Instruct = "instruct",
    }
}

/// The layers that get factors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Targets {
    /// `all-linear`, or a regular expression for a module's whole name.
    Pattern(String),
    Names(Vec<String>),
}

/// Values by pattern, a JSON object whose order counts: the first pattern that matches a module holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Patterns<T>(pub Vec<(String, T)>);

impl<T: Serialize> Serialize for Patterns<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (pattern, value) in &self.0 {
            map.serialize_entry(pattern, value)?;
        }
        map.end()
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Patterns<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<T>(PhantomData<T>);

        impl<'de, T: DeserializeOwned> Visitor<'de> for Entries<T> {
            type Value = Patterns<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object of patterns")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Patterns<T>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Patterns(entries))
            }
        }

        deserializer.deserialize_map(Entries(PhantomData))
    }
}

macro_rules! knobs {
    ($($(#[$doc:meta])* $name:ident: $type:ty,)*) => {
        /// Every knob is optional; what is left out comes from the folder's recipe, else it is chosen from the data's size.
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct Knobs {
            $($(#[$doc])* #[serde(default, skip_serializing_if = "Option::is_none")] pub $name: Option<$type>,)*
        }

        impl Knobs {
            /// Their names, in order.
            pub const NAMES: &[&str] = &[$(stringify!($name),)*];

            /// What is set here, and the rest as `other` has it.
            #[must_use]
            pub fn or(self, other: Knobs) -> Knobs {
                Knobs { $($name: self.$name.or(other.$name),)* }
            }
        }
    };
}

knobs! {
    /// LoRA factors, or all weights of a small base.
    method: Method,
    /// Of the base's weights while it trains, and while the adapter answers.
    quantize: Quantize,
    /// Fields, each with the column that it is.
    columns: Patterns<String>,
    train_on: TrainOn,
    style: Style,
    /// Longer examples are cut to this many tokens, with a finding.
    max_tokens: usize,
    epochs: usize,
    /// Optimiser steps at most.
    max_steps: usize,
    /// Of the whole run, what comes at its end included.
    minutes: f64,
    learning_rate: f64,
    schedule: Schedule,
    warmup_steps: usize,
    weight_decay: f64,
    /// Largest norm of all gradients together.
    clip: f64,
    dropout: f64,
    rank: usize,
    alpha: f64,
    rslora: bool,
    targets: Targets,
    rank_pattern: Patterns<usize>,
    alpha_pattern: Patterns<f64>,
    /// Learning rate of the factors B over that of the factors A.
    lora_plus: f64,
    /// Examples in one gradient.
    batch: usize,
    /// Gradients in one optimiser step.
    accumulate: usize,
    seed: u64,
    recompute: Recompute,
    /// Evaluations without gain after which a run stops.
    patience: usize,
    /// Evaluations per epoch.
    evaluations: usize,
    /// Answered by the base and by the adapter during training.
    prompts: Vec<String>,
    /// Share of the tokens of an incremental run that comes from examples learnt before.
    replay: f64,
    /// How many of the base's own answers are learnt with each example, lest it lose what else it can.
    rehearsal: f64,
    /// How much worse, as a part of it, the held-out loss of an incremental run may become.
    margin: f64,
    /// Scheduling priority that training gives up.
    nice: u32,
}

/// Where a value that holds comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "snake_case")]
pub enum Source {
    /// Given with the command, or with `watch` when the folder was first watched.
    CommandLine,
    Recipe {
        line: usize,
    },
    /// The version that the run goes on from has it so.
    Version {
        version: u32,
    },
    /// From the number of examples and the base's shape.
    Chosen,
}

/// A knob (or `base`, or `adapter`) with the value that holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Effective {
    pub key: String,
    pub value: Value,
    #[serde(flatten)]
    pub source: Source,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knobs_survive_the_wire_and_unknown_ones_are_refused() {
        let knobs = Knobs {
            rank: Some(8),
            schedule: Some(Schedule::Cosine),
            targets: Some(Targets::Names(vec!["q_proj".into()])),
            rank_pattern: Some(Patterns(vec![("z".into(), 4), ("a".into(), 2)])),
            ..Knobs::default()
        };
        let text = serde_json::to_string(&knobs).unwrap();
        assert_eq!(
            text,
            r#"{"schedule":"cosine","rank":8,"targets":["q_proj"],"rank_pattern":{"z":4,"a":2}}"#
        );
        assert_eq!(serde_json::from_str::<Knobs>(&text).unwrap(), knobs);
        assert!(serde_json::from_str::<Knobs>(r#"{"rnak": 8}"#).is_err());
    }

    #[test]
    fn what_is_set_goes_first() {
        let set = Knobs { rank: Some(8), ..Knobs::default() };
        let other = Knobs { rank: Some(4), batch: Some(2), ..Knobs::default() };
        let both = set.or(other);
        assert_eq!((both.rank, both.batch, both.epochs), (Some(8), Some(2), None));
    }

    #[test]
    fn words_are_what_serde_writes() {
        for word in TrainOn::WORDS {
            assert_eq!(serde_json::to_value(TrainOn::of_word(word)).unwrap(), *word);
        }
    }
}
