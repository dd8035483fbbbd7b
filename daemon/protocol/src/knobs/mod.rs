//! What a person can set for a run: on a command line and, by the same names, in a recipe.
//!
//! Each knob is declared once, in the table below: its type on the wire, which values it takes, what its help says, what it is called elsewhere. The command line's
//! options, the recipe's keys and page, and the checks of both follow from it. What a knob does to a run stands in the server's `runs/settings.rs`.

mod kind;
mod spelling;

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

pub use kind::{Kind, Range, quoted};
pub use spelling::nearest;

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

/// One thing that a person can set.
#[derive(Debug, PartialEq)]
pub struct Key {
    pub name: &'static str,
    pub kind: Kind,
    /// A value as it is written, for sentences and the page.
    pub example: &'static str,
    /// What holds where the key is left out, as the end of a sentence.
    pub default: &'static str,
    /// What it does, one sentence or two.
    pub help: &'static str,
    /// What other trainers call it: leads on, and is no value.
    pub elsewhere: &'static [&'static str],
    /// Other names of its option.
    pub aliases: &'static [&'static str],
}

/// The key of this name.
pub fn key(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The fields that a recipe may name a column for.
pub const FIELDS: &[&str] = &[
    "prompt",
    "completion",
    "text",
    "messages",
    "conversations",
    "instruction",
    "input",
    "output",
    "system",
    "history",
    "tools",
    "title",
];

/// The default of a knob whose value follows from the number of examples.
pub const FROM_SIZE: &str = "chosen from the size of your data";

const BASE: Key = Key {
    name: "base",
    kind: Kind::Name,
    example: r#""hotplate-tiny""#,
    default: "the adapter's, else hotplate-tiny",
    help: "The base model: hotplate-tiny, a Hugging Face folder (a relative path starts at the recipe's folder), or a name that was pulled.",
    elsewhere: &["model", "base_model", "model_name_or_path", "base_model_name_or_path"],
    aliases: &[],
};

const ADAPTER: Key = Key {
    name: "adapter",
    kind: Kind::Name,
    example: r#""my-voice""#,
    default: "the folder's name",
    help: "The name of the adapter that is made.",
    elsewhere: &["name", "output", "output_dir", "adapter_name"],
    aliases: &[],
};

macro_rules! or_none {
    () => {
        &[]
    };
    ($names:expr) => {
        $names
    };
}

macro_rules! knobs {
    ($($(#[$doc:meta])* $name:ident: $type:ty {
        kind: $kind:expr,
        example: $example:expr,
        default: $default:expr,
        help: $help:expr,
        elsewhere: $elsewhere:expr,
        $(aliases: $aliases:expr,)?
    })*) => {
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

        /// Every key of a recipe, in the order of its page: what is learnt from what, how far, how, and how it is judged.
        pub const KEYS: &[Key] = &[BASE, ADAPTER, $(Key {
            name: stringify!($name),
            kind: $kind,
            example: $example,
            default: $default,
            help: $help,
            elsewhere: $elsewhere,
            aliases: or_none!($($aliases)?),
        },)*];
    };
}

knobs! {
    /// LoRA factors, or all weights of a small base.
    method: Method {
        kind: Kind::Word(Method::WORDS),
        example: r#""lora""#,
        default: "`\"lora\"`",
        help: "What is trained: an adapter beside the base model, or, for small bases, a copy of all its weights.",
        elsewhere: &["finetuning_type", "fine_tune_type", "training_type"],
    }
    /// Of the base's weights while it trains, and while the adapter answers.
    quantize: Quantize {
        kind: Kind::Word(Quantize::WORDS),
        example: r#""q4""#,
        default: "the adapter's, else `\"none\"`",
        help: "Keep the base model's weights in 8 or 4 bits, while it trains and while the adapter answers: less memory, a little less exact.",
        elsewhere: &["load_in_4bit", "load_in_8bit", "quantization_bit", "quantization"],
    }
    /// Fields, each with the column that it is.
    columns: Patterns<String> {
        kind: Kind::Columns(FIELDS),
        example: r#"{ prompt = "Frage", completion = "Antwort" }"#,
        default: "told by the columns' own names",
        help: "What your columns (or fields of records) are: prompt, completion, text, messages, conversations, instruction, input, output, \
               system, history, tools or title. Case and blanks do not count.",
        elsewhere: &[
            "column_mapping",
            "completion_feature",
            "dataset_text_field",
            "field_instruction",
            "field_output",
            "prompt_feature",
        ],
    }
    train_on: TrainOn {
        kind: Kind::Word(TrainOn::WORDS),
        example: r#""completions""#,
        default: "`\"completions\"`",
        help: "Which part of an example carries loss: the completions (every turn of the assistant), the last of them alone, or everything: all \
               turns, the system text and the template included (\"all\" is the same).",
        elsewhere: &[
            "train_on_inputs",
            "train_on_prompt",
            "mask_prompt",
            "completion_only_loss",
            "roles_to_train",
        ],
    }
    style: Style {
        kind: Kind::Word(Style::WORDS),
        example: r#""plain""#,
        default: "`\"answers\"` for a base that chats, else `\"plain\"`",
        help: "How plain texts are learnt: as they are; for chat bases, as the answer to an instruction made from their title or file name; or as both.",
        elsewhere: &["text_style"],
    }
    /// Longer examples are cut to this many tokens, with a finding.
    max_tokens: usize {
        kind: Kind::Count { least: 2, most: 1 << 24 },
        example: "2048",
        default: "4096, or the base's context if that is shorter",
        help: "Longer examples are cut to so many tokens, with a finding.",
        elsewhere: &[
            "max_length",
            "max_seq_length",
            "max_seq_len",
            "cutoff_len",
            "sequence_len",
            "block_size",
        ],
    }
    epochs: usize {
        kind: Kind::Count { least: 1, most: 10_000 },
        example: "3",
        default: FROM_SIZE,
        help: "Times through the data at most; a run stops earlier when it gets no better.",
        elsewhere: &["num_epochs", "num_train_epochs", "epoch"],
    }
    /// Optimiser steps at most.
    max_steps: usize {
        kind: Kind::Count { least: 1, most: 100_000_000 },
        example: "200",
        default: "as many as the epochs have",
        help: "Optimiser steps at most.",
        elsewhere: &["steps", "iters", "num_steps"],
    }
    /// Of the whole run, what comes at its end included.
    minutes: f64 {
        kind: Kind::Number(Range::above_to(0.0, 100_000.0)),
        example: "10",
        default: "no limit",
        help: "Minutes that a run may take: it ends in order by then, with the best it has reached.",
        elsewhere: &["max_minutes", "time_limit", "max_time"],
    }
    learning_rate: f64 {
        kind: Kind::Number(Range::above_to(0.0, 100.0)),
        example: "2e-4",
        default: "chosen from the base's width",
        help: "The learning rate at its highest: how far each step goes.",
        elsewhere: &["lr", "rate"],
        aliases: &["lr"],
    }
    schedule: Schedule {
        kind: Kind::Word(Schedule::WORDS),
        example: r#""linear""#,
        default: "`\"linear\"`",
        help: "How the learning rate falls after the warm-up: in a straight line, as a cosine, or not at all.",
        elsewhere: &["lr_scheduler", "lr_scheduler_type", "lr_schedule", "scheduler"],
    }
    warmup_steps: usize {
        kind: Kind::Count { least: 0, most: 100_000_000 },
        example: "10",
        default: FROM_SIZE,
        help: "Steps over which the learning rate rises from 0; never more than half of all.",
        elsewhere: &["warmup", "warm_up", "warmup_ratio"],
    }
    weight_decay: f64 {
        kind: Kind::Number(Range::from_to(0.0, 10.0)),
        example: "0.01",
        default: "0.01",
        help: "How strongly weights are drawn towards 0 (AdamW).",
        elsewhere: &["wd", "decay"],
    }
    /// Largest norm of all gradients together.
    clip: f64 {
        kind: Kind::Number(Range::from_to(0.0, 1e6)),
        example: "1.0",
        default: "1",
        help: "Gradient clipping: the largest norm that all gradients together may have; a larger one is scaled down. 0: no limit.",
        elsewhere: &["max_grad_norm", "grad_clip", "gradient_clipping", "clip_norm"],
    }
    dropout: f64 {
        kind: Kind::Number(Range::from_to(0.0, 0.95)),
        example: "0.05",
        default: "0.05 for fewer than 300 examples, else 0",
        help: "The share of the adapter's inputs that is left out at random in each step.",
        elsewhere: &["lora_dropout"],
    }
    rank: usize {
        kind: Kind::Count { least: 1, most: 4096 },
        example: "16",
        default: "16",
        help: "The rank of the adapter's matrices: how much it can hold.",
        elsewhere: &["r", "lora_r", "lora_rank", "network_dim"],
    }
    alpha: f64 {
        kind: Kind::Number(Range::above(0.0)),
        example: "16",
        default: "16",
        help: "The adapter's strength: it is scaled by alpha / rank.",
        elsewhere: &["lora_alpha", "network_alpha", "scale"],
    }
    rslora: bool {
        kind: Kind::Flag,
        example: "true",
        default: "false",
        help: "Scale by alpha / √rank instead (rank-stabilised LoRA).",
        elsewhere: &["use_rslora"],
    }
    targets: Targets {
        kind: Kind::Targets,
        example: r#"["q_proj", "v_proj"]"#,
        default: "`\"all-linear\"`",
        help: "The layers that get a pair of factors: \"all-linear\", a list of names, or one regular expression for a module's whole name.",
        elsewhere: &["target_modules", "lora_target", "lora_target_modules", "keys"],
    }
    rank_pattern: Patterns<usize> {
        kind: Kind::Counts { least: 1, most: 4096 },
        example: "{ q_proj = 32 }",
        default: "none",
        help: "Other ranks for modules whose name ends in, or matches, a pattern.",
        elsewhere: &[],
    }
    alpha_pattern: Patterns<f64> {
        kind: Kind::Numbers(Range::above(0.0)),
        example: "{ q_proj = 64 }",
        default: "none",
        help: "Other alphas for modules whose name ends in, or matches, a pattern.",
        elsewhere: &[],
    }
    /// Learning rate of the factors B over that of the factors A.
    lora_plus: f64 {
        kind: Kind::Number(Range::above_to(0.0, 10_000.0)),
        example: "4",
        default: "1 (off)",
        help: "How many times faster the factors B learn than the factors A (LoRA+).",
        elsewhere: &["loraplus_lr_ratio", "lora_plus_lr_ratio", "loraplus"],
    }
    /// Examples in one gradient.
    batch: usize {
        kind: Kind::Count { least: 1, most: 65_536 },
        example: "4",
        default: FROM_SIZE,
        help: "Micro-batch: examples that go into one gradient.",
        elsewhere: &["batch_size", "per_device_train_batch_size", "micro_batch_size", "train_batch_size"],
    }
    /// Gradients in one optimiser step.
    accumulate: usize {
        kind: Kind::Count { least: 1, most: 65_536 },
        example: "2",
        default: "1",
        help: "Gradient accumulation: batches whose gradients are added up before each step.",
        elsewhere: &["gradient_accumulation_steps", "grad_accumulation_steps", "gradient_accumulation"],
    }
    seed: u64 {
        kind: Kind::Count { least: 0, most: u64::MAX },
        example: "7",
        default: "0",
        help: "The same seed and data give the same adapter.",
        elsewhere: &["random_seed", "data_seed"],
    }
    recompute: Recompute {
        kind: Kind::Word(Recompute::WORDS),
        example: r#""auto""#,
        default: "`\"auto\"`",
        help: "Gradient checkpointing: whether activations are computed again on the way back instead of being kept; less memory, a third more time.",
        elsewhere: &["gradient_checkpointing", "grad_checkpoint", "checkpointing"],
    }
    /// Evaluations without gain after which a run stops.
    patience: usize {
        kind: Kind::Count { least: 1, most: 100_000 },
        example: "2",
        default: "2",
        help: "Early stopping: evaluations without gain after which a run stops.",
        elsewhere: &["early_stopping_patience", "early_stopping_steps", "early_stopping"],
    }
    /// Evaluations per epoch.
    evaluations: usize {
        kind: Kind::Count { least: 1, most: 10_000 },
        example: "4",
        default: "4",
        help: "Looks at the held-out examples per epoch, but not more often than every fourth step.",
        elsewhere: &["evals_per_epoch", "eval_steps", "steps_per_eval", "evaluations_per_epoch"],
    }
    /// Answered by the base and by the adapter during training.
    prompts: Vec<String> {
        kind: Kind::Texts { most: 16 },
        example: r#"["Write a note about a bakery."]"#,
        default: "none",
        help: "Answered by the base and by the adapter at each evaluation, shown beside each other.",
        elsewhere: &["prompt", "sample_prompts", "sample_prompt", "samples"],
    }
    /// Share of the tokens of an incremental run that comes from examples learnt before.
    replay: f64 {
        kind: Kind::Number(Range::from_below(0.0, 1.0)),
        example: "0.33",
        default: "a third",
        help: "When a save is learnt: the share of the tokens that comes from examples learnt before, the least learnt first.",
        elsewhere: &["replay_ratio", "mix"],
    }
    /// How many of the base's own answers are learnt with each example, lest it lose what else it can.
    rehearsal: f64 {
        kind: Kind::Number(Range::from_to(0.0, 10.0)),
        example: "0.5",
        default: FROM_SIZE,
        help: "How many of the base's own answers to everyday prompts are learnt with each example, so that it keeps what else it can. 0: none.",
        elsewhere: &["rehearse", "regularization", "prior_preservation"],
    }
    /// How much worse, as a part of it (of one nat, where it is less), the held-out loss of an incremental run may become.
    margin: f64 {
        kind: Kind::Number(Range::from_to(0.0, 1.0)),
        example: "0.02",
        default: "0.02",
        help: "When a save is learnt: how much worse the loss on held-out examples may become, as a part of it (of 1 where it is less), before the old version stays.",
        elsewhere: &["tolerance"],
    }
    /// Scheduling priority that training gives up.
    nice: u32 {
        kind: Kind::Count { least: 0, most: 19 },
        example: "2",
        default: "2",
        help: "How far training stands back for your other programs: 0 not at all, 19 as far as the system knows.",
        elsewhere: &["priority", "niceness"],
    }
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
