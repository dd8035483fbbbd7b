//! Phi-3, Phi-3.5, Phi-4 and Phi-4-mini: fused layers, heads that may turn in part, and their own long contexts.

use crate::rope_config::{self, Dialect, RopeDefaults};

use super::{DecoderConfig, Defaults, Family, Keys, Projections, common, windows};

pub(super) const FAMILY: Family = Family { architecture: "Phi3ForCausalLM", model_type: "phi3", read };

fn read(keys: &Keys, architecture: &str) -> Result<DecoderConfig, String> {
    let defaults = Defaults { context: 4096, rms_eps: 1e-5, ..Defaults::LLAMA };
    let own = ["sliding_window", "partial_rotary_factor", "layer_types"];
    let mut config = common(keys, architecture, &defaults, &own)?;
    config.projections = Projections::Fused;
    let original = keys.optional_size("original_max_position_embeddings", 1 << 30)?;
    config.ropes = vec![rope_config::parse(
        keys,
        &RopeDefaults {
            theta: defaults.theta,
            head_dim: config.head_dim,
            context: config.context,
            dialect: Dialect::Phi3 { original_context: original.unwrap_or(4096) },
        },
    )?];
    let window = keys.optional_size("sliding_window", 1 << 30)?;
    windows::all(keys, config.layers, window.is_some())?;
    config.attention.iter_mut().for_each(|layer| layer.window = window);
    Ok(config)
}
