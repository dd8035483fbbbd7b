//! Llama 2 to 3.x, and what has its shape (SmolLM2, TinyLlama, the embedded base).

use super::{Biases, DecoderConfig, Defaults, Family, Keys, windows, with_rope};

pub(super) const FAMILY: Family = Family { architecture: "LlamaForCausalLM", model_type: "llama", read };

fn read(keys: &Keys, architecture: &str) -> Result<DecoderConfig, String> {
    let own = ["attention_bias", "mlp_bias", "layer_types"];
    let mut config = with_rope(keys, architecture, &Defaults::LLAMA, &own)?;
    windows::none(keys, config.layers)?;
    let attention = keys.flag("attention_bias")?;
    config.biases = Biases { query_key_value: attention, output: attention, mlp: keys.flag("mlp_bias")? };
    Ok(config)
}
