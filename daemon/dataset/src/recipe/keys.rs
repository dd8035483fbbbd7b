//! Every key of a recipe. A new one is one entry here; the protocol's `Knobs` and the command line have it by the same name, which a test of
//! the server holds against this table.

use super::kind::{Kind, Range};

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
    /// What other trainers call it.
    pub elsewhere: &'static [&'static str],
}

/// The key of this name.
pub fn key(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

const FROM_SIZE: &str = "chosen from the size of your data";

/// In the order of the page: what is learnt from what, how far, how, and how it is judged.
pub const KEYS: &[Key] = &[
    Key {
        name: "base",
        kind: Kind::Name,
        example: r#""hotplate-tiny""#,
        default: "the adapter's, else hotplate-tiny",
        help: "The base model: hotplate-tiny, a Hugging Face folder (a relative path starts at the recipe's folder), or a name that was pulled.",
        elsewhere: &["model", "base_model", "model_name_or_path", "base_model_name_or_path"],
    },
    Key {
        name: "adapter",
        kind: Kind::Name,
        example: r#""my-voice""#,
        default: "the folder's name",
        help: "The name of the adapter that is made.",
        elsewhere: &["name", "output", "output_dir", "adapter_name"],
    },
    Key {
        name: "method",
        kind: Kind::Word(&["lora", "full"]),
        example: r#""lora""#,
        default: "`\"lora\"`",
        help: "What is trained: an adapter beside the base model, or, for small bases, a copy of all its weights.",
        elsewhere: &["finetuning_type", "fine_tune_type", "training_type"],
    },
    Key {
        name: "quantize",
        kind: Kind::Word(&["q8", "q4", "none"]),
        example: r#""q4""#,
        default: "the adapter's, else `\"none\"`",
        help: "Keep the base model's weights in 8 or 4 bits, while it trains and while the adapter answers: less memory, a little less exact.",
        elsewhere: &["load_in_4bit", "load_in_8bit", "quantization_bit", "quantization"],
    },
    Key {
        name: "columns",
        kind: Kind::Columns,
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
    },
    Key {
        name: "train_on",
        kind: Kind::Word(&["completions", "last", "all", "everything"]),
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
    },
    Key {
        name: "style",
        kind: Kind::Word(&["plain", "answers", "instruct"]),
        example: r#""plain""#,
        default: "`\"answers\"` for a base that chats, else `\"plain\"`",
        help: "How plain texts are learnt: as they are; for chat bases, as the answer to an instruction made from their title or file name; or as both.",
        elsewhere: &["text_style"],
    },
    Key {
        name: "max_tokens",
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
    },
    Key {
        name: "epochs",
        kind: Kind::Count { least: 1, most: 10_000 },
        example: "3",
        default: FROM_SIZE,
        help: "Times through the data at most; a run stops earlier when it gets no better.",
        elsewhere: &["num_epochs", "num_train_epochs", "epoch"],
    },
    Key {
        name: "max_steps",
        kind: Kind::Count { least: 1, most: 100_000_000 },
        example: "200",
        default: "as many as the epochs have",
        help: "Optimiser steps at most.",
        elsewhere: &["steps", "iters", "num_steps"],
    },
    Key {
        name: "minutes",
        kind: Kind::Number(Range::above_to(0.0, 100_000.0)),
        example: "10",
        default: "no limit",
        help: "Minutes that a run may take: it ends in order by then, with the best it has reached.",
        elsewhere: &["max_minutes", "time_limit", "max_time"],
    },
    Key {
        name: "learning_rate",
        kind: Kind::Number(Range::above_to(0.0, 100.0)),
        example: "2e-4",
        default: "chosen from the base's width",
        help: "How far each step goes, at its highest.",
        elsewhere: &["lr", "rate"],
    },
    Key {
        name: "schedule",
        kind: Kind::Word(&["linear", "cosine", "constant"]),
        example: r#""linear""#,
        default: "`\"linear\"`",
        help: "How the learning rate falls after the warm-up: in a straight line, as a cosine, or not at all.",
        elsewhere: &["lr_scheduler", "lr_scheduler_type", "lr_schedule", "scheduler"],
    },
    Key {
        name: "warmup_steps",
        kind: Kind::Count { least: 0, most: 100_000_000 },
        example: "10",
        default: FROM_SIZE,
        help: "Steps over which the learning rate rises from 0; never more than half of all.",
        elsewhere: &["warmup", "warm_up", "warmup_ratio"],
    },
    Key {
        name: "weight_decay",
        kind: Kind::Number(Range::from_to(0.0, 10.0)),
        example: "0.01",
        default: "0.01",
        help: "How strongly weights are drawn towards 0 (AdamW).",
        elsewhere: &["wd", "decay"],
    },
    Key {
        name: "clip",
        kind: Kind::Number(Range::from_to(0.0, 1e6)),
        example: "1.0",
        default: "1",
        help: "The largest norm that all gradients together may have; a larger one is scaled down. 0: no limit.",
        elsewhere: &["max_grad_norm", "grad_clip", "gradient_clipping", "clip_norm"],
    },
    Key {
        name: "dropout",
        kind: Kind::Number(Range::from_to(0.0, 0.95)),
        example: "0.05",
        default: "0.05 for fewer than 300 examples, else 0",
        help: "The share of the adapter's inputs that is left out at random in each step.",
        elsewhere: &["lora_dropout"],
    },
    Key {
        name: "rank",
        kind: Kind::Count { least: 1, most: 4096 },
        example: "16",
        default: "16",
        help: "How much the adapter can hold.",
        elsewhere: &["r", "lora_r", "lora_rank", "network_dim"],
    },
    Key {
        name: "alpha",
        kind: Kind::Number(Range::above(0.0)),
        example: "16",
        default: "16",
        help: "The adapter's strength: it is scaled by alpha / rank.",
        elsewhere: &["lora_alpha", "network_alpha", "scale"],
    },
    Key {
        name: "rslora",
        kind: Kind::Flag,
        example: "true",
        default: "false",
        help: "Scale by alpha / √rank instead (rank-stabilised LoRA).",
        elsewhere: &["use_rslora"],
    },
    Key {
        name: "targets",
        kind: Kind::Targets,
        example: r#"["q_proj", "v_proj"]"#,
        default: "`\"all-linear\"`",
        help: "The layers that get a pair of factors: \"all-linear\", a list of names, or one regular expression for a module's whole name.",
        elsewhere: &["target_modules", "lora_target", "lora_target_modules", "keys"],
    },
    Key {
        name: "rank_pattern",
        kind: Kind::Counts { least: 1, most: 4096 },
        example: "{ q_proj = 32 }",
        default: "none",
        help: "Other ranks for modules whose name ends in, or matches, a pattern.",
        elsewhere: &[],
    },
    Key {
        name: "alpha_pattern",
        kind: Kind::Numbers(Range::above(0.0)),
        example: "{ q_proj = 64 }",
        default: "none",
        help: "Other alphas for modules whose name ends in, or matches, a pattern.",
        elsewhere: &[],
    },
    Key {
        name: "lora_plus",
        kind: Kind::Number(Range::above_to(0.0, 10_000.0)),
        example: "4",
        default: "1 (off)",
        help: "How many times faster the factors B learn than the factors A (LoRA+).",
        elsewhere: &["loraplus_lr_ratio", "lora_plus_lr_ratio", "loraplus"],
    },
    Key {
        name: "batch",
        kind: Kind::Count { least: 1, most: 65_536 },
        example: "4",
        default: FROM_SIZE,
        help: "Examples that go into one gradient.",
        elsewhere: &["batch_size", "per_device_train_batch_size", "micro_batch_size", "train_batch_size"],
    },
    Key {
        name: "accumulate",
        kind: Kind::Count { least: 1, most: 65_536 },
        example: "2",
        default: "1",
        help: "Batches whose gradients are added up before each step.",
        elsewhere: &["gradient_accumulation_steps", "grad_accumulation_steps", "gradient_accumulation"],
    },
    Key {
        name: "seed",
        kind: Kind::Count { least: 0, most: u64::MAX },
        example: "7",
        default: "0",
        help: "The same seed and data give the same adapter.",
        elsewhere: &["random_seed", "data_seed"],
    },
    Key {
        name: "recompute",
        kind: Kind::Word(&["auto", "always", "never"]),
        example: r#""auto""#,
        default: "`\"auto\"`",
        help: "Whether activations are computed again on the way back instead of being kept: less memory, a third more time.",
        elsewhere: &["gradient_checkpointing", "grad_checkpoint", "checkpointing"],
    },
    Key {
        name: "patience",
        kind: Kind::Count { least: 1, most: 100_000 },
        example: "2",
        default: "2",
        help: "Evaluations without gain after which a run stops.",
        elsewhere: &["early_stopping_patience", "early_stopping_steps", "early_stopping"],
    },
    Key {
        name: "evaluations",
        kind: Kind::Count { least: 1, most: 10_000 },
        example: "4",
        default: "4",
        help: "Looks at the held-out examples per epoch, but not more often than every fourth step.",
        elsewhere: &["evals_per_epoch", "eval_steps", "steps_per_eval", "evaluations_per_epoch"],
    },
    Key {
        name: "prompts",
        kind: Kind::Texts { most: 16 },
        example: r#"["Write a note about a bakery."]"#,
        default: "none",
        help: "Answered by the base and by the adapter at each evaluation, shown beside each other.",
        elsewhere: &["prompt", "sample_prompts", "sample_prompt", "samples"],
    },
    Key {
        name: "replay",
        kind: Kind::Number(Range::from_below(0.0, 1.0)),
        example: "0.33",
        default: "a third",
        help: "When a save is learnt: the share of the tokens that comes from examples learnt before, the least learnt first.",
        elsewhere: &["replay_ratio", "mix"],
    },
    Key {
        name: "rehearsal",
        kind: Kind::Number(Range::from_to(0.0, 10.0)),
        example: "0.5",
        default: FROM_SIZE,
        help: "How many of the base's own answers to everyday prompts are learnt with each example, so that it keeps what else it can. 0: none.",
        elsewhere: &["rehearse", "regularization", "prior_preservation"],
    },
    Key {
        name: "margin",
        kind: Kind::Number(Range::from_to(0.0, 1.0)),
        example: "0.02",
        default: "0.02",
        help: "When a save is learnt: how much worse the loss on held-out examples may become before the old version stays.",
        elsewhere: &["tolerance"],
    },
    Key {
        name: "nice",
        kind: Kind::Count { least: 0, most: 19 },
        example: "2",
        default: "2",
        help: "How far training stands back for your other programs: 0 not at all, 19 as far as the system knows.",
        elsewhere: &["priority", "niceness"],
    },
];

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    #[test]
    fn every_example_is_a_value_and_no_name_is_given_twice() {
        let mut names = Vec::new();
        for key in KEYS {
            let recipe = parse(&format!("{} = {}", key.name, key.example)).unwrap();
            assert_eq!(recipe.settings[0].key.name, key.name);
            names.push(key.name);
            names.extend(key.elsewhere);
            assert!(
                key.help.ends_with('.') && !key.help.contains('\n') && !key.help.contains("  "),
                "{}",
                key.name
            );
        }
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "{names:?}");
    }
}
