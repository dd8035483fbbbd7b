//! `layer_types`: which layers see a window only.

use serde_json::Value;

use super::DecoderConfig;
use super::keys::Keys;

/// `None` where config.json has no `layer_types`; else for each layer whether it slides.
pub(super) fn layer_types(keys: &Keys, layers: usize) -> Result<Option<Vec<bool>>, String> {
    keys.per_layer("layer_types", layers, "full_attention or sliding_attention", |kind| match kind.as_str() {
        Some("full_attention") => Some(false),
        Some("sliding_attention") => Some(true),
        _ => None,
    })
}

/// A family without sliding layers must not be told of some.
pub(super) fn none(keys: &Keys, layers: usize) -> Result<(), String> {
    all(keys, layers, false)
}

/// The layers of a family that slide together must not be told otherwise: transformers ignores `layer_types` there.
pub(super) fn all(keys: &Keys, layers: usize, sliding: bool) -> Result<(), String> {
    let Some(types) = layer_types(keys, layers)? else { return Ok(()) };
    if types.iter().all(|slides| *slides == sliding) {
        return Ok(());
    }
    let kind = if sliding { "sliding_attention" } else { "full_attention" };
    Err(keys.unsupported(
        "layer_types",
        keys.get("layer_types").unwrap_or(&Value::Null),
        &format!("{kind} for each layer"),
    ))
}

/// Qwen's and SmolLM3's way: `use_sliding_window` arms `sliding_window`, and layers slide by `layer_types` or, without it, by `default`.
pub(super) fn armed(
    keys: &Keys,
    config: &mut DecoderConfig,
    default_window: Option<usize>,
    default: impl Fn(usize, &DecoderConfig) -> bool,
) -> Result<(), String> {
    let given = keys.optional_size("sliding_window", 1 << 30)?;
    let default_window = if keys.is_null("sliding_window") { None } else { default_window };
    let window = if keys.flag("use_sliding_window")? { given.or(default_window) } else { None };
    let types = layer_types(keys, config.layers)?;
    for layer in 0..config.layers {
        let slides =
            types.as_ref().map_or_else(|| window.is_some() && default(layer, config), |types| types[layer]);
        if slides && window.is_none() {
            return Err(format!(
                "{}layer_types makes layer {layer} slide, but use_sliding_window and sliding_window give no window",
                keys.path
            ));
        }
        config.attention[layer].window = window.filter(|_| slides);
    }
    Ok(())
}
