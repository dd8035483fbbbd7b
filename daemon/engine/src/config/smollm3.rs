//! SmolLM3: Llama whose every fourth layer does not turn its heads.

use super::{Biases, DecoderConfig, Defaults, Family, Keys, windows, with_rope};

pub(super) const FAMILY: Family = Family { architecture: "SmolLM3ForCausalLM", model_type: "smollm3", read };

const OWN: [&str; 7] = [
    "attention_bias",
    "mlp_bias",
    "no_rope_layers",
    "no_rope_layer_interval",
    "use_sliding_window",
    "sliding_window",
    "layer_types",
];

fn read(keys: &Keys, architecture: &str) -> Result<DecoderConfig, String> {
    let defaults =
        Defaults { kv_heads: Some(4), context: 32_768, theta: 2_000_000.0, tied: true, ..Defaults::LLAMA };
    let mut config = with_rope(keys, architecture, &defaults, &OWN)?;
    let attention = keys.flag("attention_bias")?;
    config.biases = Biases { query_key_value: attention, output: attention, mlp: keys.flag("mlp_bias")? };
    // In spite of its name, a 1 in the list is a layer that turns.
    let turns = keys.per_layer("no_rope_layers", config.layers, "0 or 1 for each layer", |entry| {
        match (entry.as_u64(), entry.as_bool()) {
            (Some(1), _) | (_, Some(true)) => Some(true),
            (Some(0), _) | (_, Some(false)) => Some(false),
            _ => None,
        }
    })?;
    let interval = keys.optional_size("no_rope_layer_interval", 1 << 20)?.unwrap_or(4);
    for layer in 0..config.layers {
        let turns = turns.as_ref().map_or((layer + 1) % interval != 0, |turns| turns[layer]);
        config.attention[layer].rope = turns.then_some(0);
    }
    windows::armed(keys, &mut config, None, |layer, config| config.attention[layer].rope.is_none())?;
    Ok(config)
}
