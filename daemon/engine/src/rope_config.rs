//! Rotary position parameters: how config.json spells them, and the inverse frequencies they mean.
//!
//! Follows `modeling_rope_utils.py` of transformers, in its order of operations and its f32 roundings.

use serde_json::{Map, Value};

use crate::config::Keys;

/// Rotary position embedding.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rope {
    /// The base of the wavelengths.
    pub theta: f64,
    pub scaling: RopeScaling,
}

/// How frequencies were stretched after pretraining.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RopeScaling {
    None,
    /// Every frequency is divided by `factor`.
    Linear {
        factor: f64,
    },
    /// Llama 3.1: only long wavelengths are divided by `factor`, with a smooth passage.
    Llama3 {
        factor: f64,
        low_freq_factor: f64,
        high_freq_factor: f64,
        original_context: usize,
    },
}

/// Reads `rope_scaling` + `rope_theta` (transformers 4) or `rope_parameters` (transformers 5).
pub(crate) fn parse(keys: &Keys, context: usize) -> Result<Rope, String> {
    let empty = Map::new();
    // transformers prefers a non-empty `rope_scaling` where both are present.
    let scaling = section(keys, "rope_scaling")?.filter(|object| !object.is_empty());
    let (object, path) = match (scaling, section(keys, "rope_parameters")?) {
        (Some(object), _) => (object, "rope_scaling."),
        (None, Some(object)) => (object, "rope_parameters."),
        (None, None) => (&empty, ""),
    };
    let rope = Keys { object, path };
    if let Some(value) = rope.get("partial_rotary_factor")
        && value.as_f64() != Some(1.0)
    {
        return Err(rope.unsupported("partial_rotary_factor", value, "1"));
    }
    let theta = match rope.number("rope_theta")? {
        Some(theta) => theta,
        None => keys.number("rope_theta")?.unwrap_or(10_000.0),
    };
    if theta < 1.0 {
        return Err(format!("rope_theta is {theta}; it must be at least 1"));
    }
    let kind = rope.get("rope_type").or_else(|| rope.get("type"));
    let scaling = match kind.map(|kind| kind.as_str().ok_or(kind)) {
        None | Some(Ok("default")) => RopeScaling::None,
        Some(Ok("linear")) => RopeScaling::Linear { factor: positive(&rope, "factor")? },
        Some(Ok("llama3")) => llama3(keys, &rope, context)?,
        Some(_) => {
            let value = kind.unwrap_or(&Value::Null);
            return Err(rope.unsupported("rope_type", value, "default, linear or llama3"));
        }
    };
    Ok(Rope { theta, scaling })
}

fn section<'a>(keys: &'a Keys, key: &str) -> Result<Option<&'a Map<String, Value>>, String> {
    match keys.get(key) {
        None => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object)),
        Some(_) => Err(format!("{key} must be an object")),
    }
}

fn positive(keys: &Keys, key: &str) -> Result<f64, String> {
    match keys.number(key)? {
        Some(number) if number > 0.0 => Ok(number),
        Some(number) => Err(format!("{}{key} is {number}; it must be above 0", keys.path)),
        None => Err(format!("has no {}{key}", keys.path)),
    }
}

fn llama3(top: &Keys, rope: &Keys, context: usize) -> Result<RopeScaling, String> {
    const KEY: &str = "original_max_position_embeddings";
    // A top-level value wins: transformers copies it into the section.
    let original_context = match top.optional_size(KEY, 1 << 30)? {
        Some(original) => original,
        None => rope.optional_size(KEY, 1 << 30)?.unwrap_or(context),
    };
    let low_freq_factor = positive(rope, "low_freq_factor")?;
    let high_freq_factor = positive(rope, "high_freq_factor")?;
    // Equal factors would divide by zero in the smooth passage.
    if high_freq_factor <= low_freq_factor {
        return Err(format!(
            "{}high_freq_factor is {high_freq_factor}; it must be above low_freq_factor {low_freq_factor}",
            rope.path
        ));
    }
    Ok(RopeScaling::Llama3 {
        factor: positive(rope, "factor")?,
        low_freq_factor,
        high_freq_factor,
        original_context,
    })
}

impl Rope {
    /// One frequency for each pair of a head's channels: `[head_dim / 2]`, in radians per position.
    pub fn inverse_frequencies(&self, head_dim: usize) -> Vec<f32> {
        (0..head_dim).step_by(2).map(|channel| self.scaled(self.plain(channel, head_dim))).collect()
    }

    fn plain(&self, channel: usize, head_dim: usize) -> f32 {
        let exponent = channel as f32 / head_dim as f32;
        // The power is rounded once, as a good f32 `pow` does; the base is an f32 there too.
        let power = f64::from(self.theta as f32).powf(f64::from(exponent)) as f32;
        1.0 / power
    }

    fn scaled(&self, frequency: f32) -> f32 {
        match self.scaling {
            RopeScaling::None => frequency,
            RopeScaling::Linear { factor } => frequency / factor as f32,
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
                let original = original_context as f64;
                // torch divides a number by a tensor as number times reciprocal.
                let wavelength = (1.0 / frequency) * std::f64::consts::TAU as f32;
                if wavelength > (original / low_freq_factor) as f32 {
                    frequency / factor as f32
                } else if wavelength < (original / high_freq_factor) as f32 {
                    frequency
                } else {
                    let turns = (1.0 / wavelength) * original as f32;
                    let smooth =
                        (turns - low_freq_factor as f32) / (high_freq_factor - low_freq_factor) as f32;
                    (1.0 - smooth) * frequency / factor as f32 + smooth * frequency
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parsed(value: &Value) -> Result<Rope, String> {
        parse(&Keys { object: value.as_object().unwrap(), path: "" }, 4096)
    }

    #[test]
    fn transformers_4_and_5_spell_the_same_thing() {
        let llama3 = RopeScaling::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_context: 1024,
        };
        let keys = json!({"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 1024, "rope_type": "llama3"});
        let v4 = json!({"rope_theta": 500_000.0, "rope_scaling": keys});
        let mut v5 = json!({"rope_parameters": keys});
        v5["rope_parameters"]["rope_theta"] = json!(500_000.0);
        for value in [v4, v5] {
            assert_eq!(parsed(&value).unwrap(), Rope { theta: 500_000.0, scaling: llama3 });
        }
        let old = json!({"rope_scaling": {"type": "linear", "factor": 2}, "rope_parameters": {"rope_type": "default"}});
        assert_eq!(parsed(&old).unwrap().scaling, RopeScaling::Linear { factor: 2.0 });
        let default =
            json!({"rope_scaling": null, "rope_parameters": {"rope_theta": 5.0, "rope_type": "default"}});
        assert_eq!(parsed(&default).unwrap(), Rope { theta: 5.0, scaling: RopeScaling::None });
    }

    #[test]
    fn the_original_context_has_transformers_order_of_places() {
        let section =
            json!({"rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4});
        let original = |value: Value| match parsed(&value).unwrap().scaling {
            RopeScaling::Llama3 { original_context, .. } => original_context,
            other => panic!("{other:?}"),
        };
        assert_eq!(original(json!({"rope_scaling": section})), 4096);
        let mut own = section.clone();
        own["original_max_position_embeddings"] = json!(512);
        assert_eq!(original(json!({"rope_scaling": own})), 512);
        assert_eq!(original(json!({"rope_scaling": own, "original_max_position_embeddings": 256})), 256);
    }

    #[test]
    fn unknown_and_impossible_scalings_are_refused_by_name() {
        for (value, named) in [
            (json!({"rope_scaling": {"rope_type": "yarn", "factor": 2}}), "rope_scaling.rope_type"),
            (json!({"rope_parameters": {"rope_type": 3}}), "rope_parameters.rope_type"),
            (json!({"rope_scaling": {"type": "linear"}}), "rope_scaling.factor"),
            (json!({"rope_scaling": {"type": "linear", "factor": 0}}), "rope_scaling.factor"),
            (json!({"rope_scaling": {"type": "linear", "factor": 1e300}}), "rope_scaling.factor"),
            (json!({"rope_scaling": "linear"}), "rope_scaling"),
            (
                json!({"rope_parameters": {"partial_rotary_factor": 0.25}}),
                "rope_parameters.partial_rotary_factor",
            ),
            (json!({"rope_parameters": {"rope_theta": "big"}}), "rope_parameters.rope_theta"),
            (
                json!({"rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 4}}),
                "rope_scaling.high_freq_factor",
            ),
        ] {
            let error = parsed(&value).expect_err(named);
            assert!(error.contains(named), "{error}");
        }
    }

    const PLAIN: [f32; 8] =
        [1.0, 0.316_227_76, 0.1, 0.031_622_78, 0.01, 0.003_162_277_9, 0.001, 3.162_278e-4];
    const LINEAR: [f32; 8] = [
        0.4,
        0.126_491_1,
        0.04,
        0.012_649_111,
        0.003_999_999_7,
        0.001_264_911_1,
        4.000_000_2e-4,
        1.264_911_1e-4,
    ];
    const LLAMA3: [f32; 8] =
        [1.0, 0.244_384_59, 0.013_042_256, 0.003_952_847_3, 0.00125, 3.952_847_3e-4, 1.25e-4, 3.952_847_3e-5];

    /// Values printed by transformers 5.23 (`ROPE_INIT_FUNCTIONS`, head_dim 16).
    #[test]
    fn frequencies_are_those_of_transformers() {
        let close = |rope: Rope, expected: &[f32]| {
            let found = rope.inverse_frequencies(16);
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() <= expected.abs() * 2e-7, "{found} {expected}");
            }
        };
        close(Rope { theta: 10_000.0, scaling: RopeScaling::None }, &PLAIN);
        close(Rope { theta: 10_000.0, scaling: RopeScaling::Linear { factor: 2.5 } }, &LINEAR);
        let scaling = RopeScaling::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_context: 64,
        };
        close(Rope { theta: 10_000.0, scaling }, &LLAMA3);
    }
}
