//! Keys of config.json that no family's reader asks for: which are known to leave the numbers alone, and what becomes of the rest.
//!
//! transformers ignores a key that its class does not know. Here that is an error, because such a key is how a checkpoint says that it
//! is no plain member of its family.

use serde_json::Value;

use super::keys::{Keys, short};

/// Keys that would change the numbers, and the value that means "not used".
const NEUTRAL: &[(&str, Neutral)] = &[
    ("add_cross_attention", Neutral::False),
    ("alibi", Neutral::False),
    ("attention_bias", Neutral::False),
    ("attention_chunk_size", Neutral::Absent),
    ("attn_logit_softcapping", Neutral::Absent),
    ("clip_qkv", Neutral::Absent),
    ("compression_config", Neutral::Absent),
    ("embedding_multiplier", Neutral::One),
    ("final_logit_softcapping", Neutral::Absent),
    ("full_attn_mod", Neutral::One),
    ("interpolate_factor", Neutral::One),
    ("is_causal", Neutral::True),
    ("is_encoder_decoder", Neutral::False),
    ("lm_head_bias", Neutral::False),
    ("logit_scale", Neutral::One),
    ("logits_scaling", Neutral::One),
    ("mlp_bias", Neutral::False),
    ("num_experts", Neutral::Zero),
    ("num_local_experts", Neutral::Zero),
    ("n_routed_experts", Neutral::Zero),
    ("num_nextn_predict_layers", Neutral::Zero),
    ("partial_rotary_factor", Neutral::One),
    ("per_layer_config", Neutral::Absent),
    ("qk_norm", Neutral::False),
    ("quantization_config", Neutral::Absent),
    ("query_pre_attn_scalar", Neutral::Absent),
    ("residual_multiplier", Neutral::One),
    ("rope_interleaved", Neutral::False),
    ("sliding_window", Neutral::Absent),
    ("use_bidirectional_attention", Neutral::False),
    ("use_mrope", Neutral::False),
    ("use_qk_norm", Neutral::False),
    ("use_rope", Neutral::True),
    ("use_sliding_window", Neutral::False),
];

/// Keys that say something of training, of generation, of other programs, or of nothing.
const HARMLESS: &[&str] = &[
    // What transformers writes into every file.
    "architectures",
    "model_type",
    "transformers_version",
    "torch_dtype",
    "dtype",
    "use_cache",
    "initializer_range",
    "tokenizer_class",
    "auto_map",
    "custom_pipelines",
    "cache_implementation",
    "attn_implementation",
    "return_dict",
    "return_dict_in_generate",
    "use_return_dict",
    "torchscript",
    "use_bfloat16",
    "tf_legacy_loss",
    "id2label",
    "label2id",
    "num_labels",
    "problem_type",
    "finetuning_task",
    "task_specific_params",
    "chunk_size_feed_forward",
    "pruned_heads",
    "is_decoder",
    "cross_attention_hidden_size",
    "tie_encoder_decoder",
    "name_or_path",
    "gradient_checkpointing",
    "keys_to_ignore_at_inference",
    "model_max_length",
    "seq_length",
    // The slices of a matmul that is the same one in sum.
    "pretraining_tp",
    // Generation; these belong into generation_config.json.
    "max_length",
    "min_length",
    "max_new_tokens",
    "do_sample",
    "early_stopping",
    "num_beams",
    "num_beam_groups",
    "diversity_penalty",
    "temperature",
    "top_k",
    "top_p",
    "typical_p",
    "repetition_penalty",
    "length_penalty",
    "no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size",
    "bad_words_ids",
    "num_return_sequences",
    "remove_invalid_values",
    "exponential_decay_length_penalty",
    "suppress_tokens",
    "begin_suppress_tokens",
    "prefix",
    "stop_strings",
    // Of no effect where the flag beside it is off; families that have the flag read them.
    "max_window_layers",
    "sliding_window_pattern",
    "is_llama_config",
    "transformers.js_config",
    // Notes.
    "license",
    "model_name",
    "description",
    "quantization",
    "torch_version",
    "peft_version",
    "base_model",
    "chat_template",
    "special_tokens_map",
    "use_flash_attn",
    "use_flash_attention",
    "use_flash_attention_2",
];

/// Beginnings and ends of names that mark a key as harmless.
const HARMLESS_BEGINNINGS: &[&str] = &["_", "output_", "unsloth_", "transformers.", "forced_"];
const HARMLESS_ENDS: &[&str] = &[
    "_token_id",
    "_token_ids",
    "_token_index",
    "_dropout",
    "_pdrop",
    "_dropout_prob",
    "_loss_coef",
    "_version",
];

#[derive(Clone, Copy)]
enum Neutral {
    Absent,
    False,
    True,
    Zero,
    One,
}

impl Neutral {
    fn admits(self, value: &Value) -> bool {
        match self {
            Neutral::Absent => false,
            Neutral::False => value == &Value::Bool(false),
            Neutral::True => value == &Value::Bool(true),
            Neutral::Zero => value.as_f64() == Some(0.0),
            Neutral::One => value.as_f64() == Some(1.0),
        }
    }

    fn words(self) -> &'static str {
        match self {
            Neutral::Absent => "null or left out",
            Neutral::False => "false",
            Neutral::True => "true",
            Neutral::Zero => "0",
            Neutral::One => "1",
        }
    }
}

/// Refuses the first key that is neither in `understood` nor without effect.
pub(super) fn check(keys: &Keys, understood: impl Fn(&str) -> bool) -> Result<(), String> {
    for (key, value) in keys.object {
        if value.is_null() || understood(key) {
            continue;
        }
        if let Some((_, neutral)) = NEUTRAL.iter().find(|(name, _)| name == key) {
            if !neutral.admits(value) {
                return Err(keys.unsupported(key, value, neutral.words()));
            }
            continue;
        }
        let harmless = HARMLESS.contains(&key.as_str())
            || HARMLESS_BEGINNINGS.iter().any(|start| key.starts_with(start))
            || HARMLESS_ENDS.iter().any(|end| key.ends_with(end))
            || says_nothing(value);
        if !harmless {
            let key: String = key.chars().take(100).collect();
            return Err(format!(
                "{}{key} is {}, and this version does not know what that does to the model's numbers; if it is only a \
                 note, delete it from config.json",
                keys.path,
                short(value)
            ));
        }
    }
    Ok(())
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) | Value::Number(_) => false,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(object) => object.is_empty(),
    }
}
