//! Qwen3 (dense): query and key heads are normalised, and a head's width is its own.

use super::{Biases, DecoderConfig, Defaults, Family, Keys, qwen2, with_rope};

pub(super) const FAMILY: Family = Family { architecture: "Qwen3ForCausalLM", model_type: "qwen3", read };

fn read(keys: &Keys, architecture: &str) -> Result<DecoderConfig, String> {
    let defaults = Defaults { kv_heads: Some(32), head_dim: Some(128), context: 32_768, ..Defaults::LLAMA };
    let [a, b, c, d] = qwen2::WINDOW_KEYS;
    let mut config = with_rope(keys, architecture, &defaults, &[a, b, c, d, "attention_bias"])?;
    let attention = keys.flag("attention_bias")?;
    config.biases = Biases { query_key_value: attention, output: attention, mlp: false };
    config.head_norms = true;
    qwen2::sliding(keys, &mut config)?;
    Ok(config)
}
