//! Mistral: Llama whose layers all see a window, where there is one.

use super::{DecoderConfig, Defaults, Family, Keys, windows, with_rope};

pub(super) const FAMILY: Family = Family { architecture: "MistralForCausalLM", model_type: "mistral", read };

fn read(keys: &Keys, architecture: &str) -> Result<DecoderConfig, String> {
    let defaults = Defaults { kv_heads: Some(8), context: 4096 * 32, ..Defaults::LLAMA };
    let mut config = with_rope(keys, architecture, &defaults, &["sliding_window", "layer_types"])?;
    // Later versions say null; leaving it out means the first version's window.
    let default = if keys.is_null("sliding_window") { None } else { Some(4096) };
    let window = keys.optional_size("sliding_window", 1 << 30)?.or(default);
    windows::all(keys, config.layers, window.is_some())?;
    config.attention.iter_mut().for_each(|layer| layer.window = window);
    Ok(config)
}
