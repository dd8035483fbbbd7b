//! Qwen2 and Qwen2.5: biases on queries, keys and values; the upper layers may slide.

use serde_json::Value;

use super::{Biases, DecoderConfig, Defaults, Family, Keys, windows, with_rope};

pub(super) const FAMILY: Family = Family { architecture: "Qwen2ForCausalLM", model_type: "qwen2", read };

/// Keys of the sliding layers, which Qwen3 has too.
pub(super) const WINDOW_KEYS: [&str; 4] =
    ["use_sliding_window", "sliding_window", "max_window_layers", "layer_types"];

fn read(keys: &Keys, architecture: &str) -> Result<DecoderConfig, String> {
    let defaults = Defaults { kv_heads: Some(32), context: 32_768, ..Defaults::LLAMA };
    let [a, b, c, d] = WINDOW_KEYS;
    let mut config = with_rope(keys, architecture, &defaults, &[a, b, c, d, "attention_bias", "qkv_bias"])?;
    for key in ["attention_bias", "qkv_bias"] {
        // Its class has these biases whatever config.json says.
        if let Some(value) = keys.get(key).filter(|value| **value != Value::Bool(true)) {
            return Err(keys.unsupported(key, value, "true"));
        }
    }
    config.biases = Biases { query_key_value: true, output: false, mlp: false };
    sliding(keys, &mut config)?;
    Ok(config)
}

/// From `max_window_layers` on, where `layer_types` does not say.
pub(super) fn sliding(keys: &Keys, config: &mut DecoderConfig) -> Result<(), String> {
    let first = keys.count("max_window_layers")?.unwrap_or(28);
    windows::armed(keys, config, Some(4096), |layer, _| layer >= first)
}
