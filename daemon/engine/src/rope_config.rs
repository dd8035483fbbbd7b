//! Rotary position parameters: how config.json spells them, as transformers 4 and 5 write it.
//!
//! Follows `modeling_rope_utils.py` of transformers in which place wins. What the parameters mean is [`crate::rope_frequencies`]' matter.

use serde_json::{Map, Value};

use crate::config::Keys;

/// Rotary position embedding.
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// The base of the wavelengths.
    pub theta: f64,
    /// Values of a head that turn; the others pass through.
    pub width: usize,
    pub scaling: RopeScaling,
}

/// How frequencies were stretched after pretraining.
#[derive(Debug, Clone, PartialEq)]
pub enum RopeScaling {
    None,
    /// Every frequency is divided by `factor`.
    Linear {
        factor: f64,
    },
    /// "NTK-aware": beyond `context` tokens the base of the wavelengths grows with the length.
    Dynamic {
        factor: f64,
        context: usize,
    },
    /// Llama 3.1: only long wavelengths are divided by `factor`, with a smooth passage.
    Llama3 {
        factor: f64,
        low_freq_factor: f64,
        high_freq_factor: f64,
        original_context: usize,
    },
    /// Peng et al. 2023, <https://arxiv.org/abs/2309.00071>.
    Yarn {
        factor: f64,
        original_context: usize,
        beta_fast: f64,
        beta_slow: f64,
        /// The passage's ends are whole channels.
        truncate: bool,
        attention_factor: f64,
    },
    /// Ding et al. 2024, <https://arxiv.org/abs/2402.13753>: a divisor for each frequency, one set for sequences up to `original_context`
    /// tokens and one for longer ones.
    LongRope {
        short: Vec<f32>,
        long: Vec<f32>,
        original_context: usize,
        attention_factor: f64,
    },
}

/// What a family puts in place of what config.json leaves out.
pub(crate) struct RopeDefaults {
    pub(crate) theta: f64,
    pub(crate) head_dim: usize,
    pub(crate) context: usize,
    pub(crate) dialect: Dialect,
}

/// How a family reads a section.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Common,
    /// A head may turn in part, `longrope` has older names and is the only scaling, and the original context stands outside the section.
    Phi3 {
        original_context: usize,
    },
}

/// Keys that a section may hold. Another one may stand for something that transformers' newer families do.
const KNOWN: &[&str] = &[
    "rope_type",
    "type",
    "rope_theta",
    "partial_rotary_factor",
    "factor",
    "original_max_position_embeddings",
    "attention_factor",
    "beta_fast",
    "beta_slow",
    "mscale",
    "mscale_all_dim",
    "truncate",
    "short_factor",
    "long_factor",
    "low_freq_factor",
    "high_freq_factor",
    "finetuned",
];

/// Reads `rope_scaling` + `rope_theta` (transformers 4) or `rope_parameters` (transformers 5).
pub(crate) fn parse(keys: &Keys, defaults: &RopeDefaults) -> Result<Rope, String> {
    let empty = Map::new();
    // transformers prefers a non-empty `rope_scaling` where both are present.
    let scaling = keys.section("rope_scaling")?.filter(|object| !object.is_empty());
    let (object, path) = match (scaling, keys.section("rope_parameters")?) {
        (Some(object), _) => (object, "rope_scaling."),
        (None, Some(object)) => (object, "rope_parameters."),
        (None, None) => (&empty, ""),
    };
    let theta = keys.number("rope_theta")?.unwrap_or(defaults.theta);
    parse_section(&Keys { object, path }, keys, &RopeDefaults { theta, ..*defaults })
}

/// Reads one section; `top` are the keys around it.
pub(crate) fn parse_section(rope: &Keys, top: &Keys, defaults: &RopeDefaults) -> Result<Rope, String> {
    if let Some((key, value)) =
        rope.object.iter().find(|(key, value)| !value.is_null() && !KNOWN.contains(&key.as_str()))
    {
        return Err(rope.unsupported(key, value, "left out"));
    }
    let theta = rope.number("rope_theta")?.unwrap_or(defaults.theta);
    if theta < 1.0 {
        return Err(format!("{}rope_theta is {theta}; it must be at least 1", rope.path));
    }
    let turning = turning(rope, top, defaults)?;
    let kind = rope.get("rope_type").or_else(|| rope.get("type"));
    let name = kind.map(|kind| kind.as_str().ok_or(kind));
    let scaling = match name {
        None | Some(Ok("default")) => RopeScaling::None,
        Some(Ok("longrope")) => longrope(rope, top, turning, defaults)?,
        Some(other) if defaults.dialect != Dialect::Common => match other {
            Ok("su" | "yarn") => longrope(rope, top, turning, defaults)?,
            _ => {
                return Err(rope.unsupported(
                    "rope_type",
                    kind.unwrap_or(&Value::Null),
                    "default or longrope",
                ));
            }
        },
        Some(Ok("linear")) => RopeScaling::Linear { factor: rope.required_positive("factor")? },
        Some(Ok("dynamic")) => dynamic(rope, turning, defaults)?,
        Some(Ok("llama3")) => llama3(rope, top, defaults)?,
        Some(Ok("yarn")) => yarn(rope, top, defaults)?,
        Some(_) => {
            let value = kind.unwrap_or(&Value::Null);
            let known = "default, linear, dynamic, llama3, yarn or longrope";
            return Err(rope.unsupported("rope_type", value, known));
        }
    };
    Ok(Rope { theta, width: turning, scaling })
}

/// Values of a head that turn.
fn turning(rope: &Keys, top: &Keys, defaults: &RopeDefaults) -> Result<usize, String> {
    const KEY: &str = "partial_rotary_factor";
    let (keys, value) = match (rope.get(KEY), top.get(KEY)) {
        (Some(value), _) => (rope, value),
        (None, Some(value)) => (top, value),
        (None, None) => return Ok(defaults.head_dim),
    };
    let Some(factor) = value.as_f64().filter(|factor| *factor > 0.0 && *factor <= 1.0) else {
        return Err(keys.unsupported(KEY, value, "a number above 0 and at most 1"));
    };
    if defaults.dialect == Dialect::Common && factor.to_bits() != 1f64.to_bits() {
        return Err(keys.unsupported(KEY, value, "1"));
    }
    let width = (defaults.head_dim as f64 * factor) as usize;
    if width < 2 || !width.is_multiple_of(2) {
        return Err(format!(
            "{}{KEY} is {factor}, which turns {width} of a head's {} values; their number must be even",
            keys.path, defaults.head_dim
        ));
    }
    Ok(width)
}

fn original_context(rope: &Keys, top: &Keys, defaults: &RopeDefaults) -> Result<usize, String> {
    const KEY: &str = "original_max_position_embeddings";
    if let Dialect::Phi3 { original_context } = defaults.dialect {
        return Ok(original_context);
    }
    // A top-level value wins: transformers copies it into the section.
    match top.optional_size(KEY, 1 << 30)? {
        Some(original) => Ok(original),
        None => Ok(rope.optional_size(KEY, 1 << 30)?.unwrap_or(defaults.context)),
    }
}

fn dynamic(rope: &Keys, turning: usize, defaults: &RopeDefaults) -> Result<RopeScaling, String> {
    // The exponent is width / (width - 2).
    if turning <= 2 {
        return Err(format!(
            "{}rope_type is dynamic, which needs heads of more than 2 turning values",
            rope.path
        ));
    }
    let factor = rope.required_positive("factor")?;
    if factor < 1.0 {
        return Err(format!("{}factor is {factor}; it must be at least 1", rope.path));
    }
    Ok(RopeScaling::Dynamic { factor, context: defaults.context })
}

fn llama3(rope: &Keys, top: &Keys, defaults: &RopeDefaults) -> Result<RopeScaling, String> {
    let low_freq_factor = rope.required_positive("low_freq_factor")?;
    let high_freq_factor = rope.required_positive("high_freq_factor")?;
    // Equal factors would divide by zero in the smooth passage.
    if high_freq_factor <= low_freq_factor {
        return Err(format!(
            "{}high_freq_factor is {high_freq_factor}; it must be above low_freq_factor {low_freq_factor}",
            rope.path
        ));
    }
    Ok(RopeScaling::Llama3 {
        factor: rope.required_positive("factor")?,
        low_freq_factor,
        high_freq_factor,
        original_context: original_context(rope, top, defaults)?,
    })
}

fn yarn(rope: &Keys, top: &Keys, defaults: &RopeDefaults) -> Result<RopeScaling, String> {
    let original_context = original_context(rope, top, defaults)?;
    let factor = factor_or_ratio(rope, original_context, defaults)?;
    // 0 counts as left out there.
    let or = |key: &str, default: f64| -> Result<f64, String> {
        Ok(rope.number(key)?.filter(|number| *number != 0.0).unwrap_or(default))
    };
    let scale = |of: f64| if factor <= 1.0 { 1.0 } else { 0.1 * of * factor.ln() + 1.0 };
    let attention_factor = match rope.number("attention_factor")? {
        Some(given) => given,
        None => match (or("mscale", 0.0)?, or("mscale_all_dim", 0.0)?) {
            (mscale, all_dim) if mscale != 0.0 && all_dim != 0.0 => scale(mscale) / scale(all_dim),
            _ => scale(1.0),
        },
    };
    let (beta_fast, beta_slow) = (or("beta_fast", 32.0)?, or("beta_slow", 1.0)?);
    if beta_fast <= 0.0 || beta_slow <= 0.0 {
        return Err(format!("{}beta_fast and beta_slow must be above 0", rope.path));
    }
    Ok(RopeScaling::Yarn {
        factor,
        original_context,
        beta_fast,
        beta_slow,
        truncate: rope.flag_or("truncate", true)?,
        attention_factor,
    })
}

fn longrope(rope: &Keys, top: &Keys, turning: usize, defaults: &RopeDefaults) -> Result<RopeScaling, String> {
    let original_context = original_context(rope, top, defaults)?;
    let factor = factor_or_ratio(rope, original_context, defaults)?;
    let attention_factor = match rope.number("attention_factor")? {
        Some(given) => given,
        None if factor <= 1.0 => 1.0,
        None if original_context < 2 => {
            return Err(format!("{}original_max_position_embeddings must be at least 2", rope.path));
        }
        None => (1.0 + factor.ln() / (original_context as f64).ln()).sqrt(),
    };
    Ok(RopeScaling::LongRope {
        short: rope.positives("short_factor", turning / 2)?,
        long: rope.positives("long_factor", turning / 2)?,
        original_context,
        attention_factor,
    })
}

/// A factor that is left out is how much longer the context became.
fn factor_or_ratio(rope: &Keys, original_context: usize, defaults: &RopeDefaults) -> Result<f64, String> {
    Ok(rope.positive("factor")?.unwrap_or(defaults.context as f64 / original_context as f64))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parsed(value: &Value) -> Result<Rope, String> {
        parsed_as(value, Dialect::Common)
    }

    fn parsed_as(value: &Value, dialect: Dialect) -> Result<Rope, String> {
        let keys = Keys { object: value.as_object().unwrap(), path: "" };
        parse(&keys, &RopeDefaults { theta: 10_000.0, head_dim: 16, context: 4096, dialect })
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
            assert_eq!(
                parsed(&value).unwrap(),
                Rope { theta: 500_000.0, width: 16, scaling: llama3.clone() }
            );
        }
        let old = json!({"rope_scaling": {"type": "linear", "factor": 2}, "rope_parameters": {"rope_type": "default"}});
        assert_eq!(parsed(&old).unwrap().scaling, RopeScaling::Linear { factor: 2.0 });
        let default =
            json!({"rope_scaling": null, "rope_parameters": {"rope_theta": 5.0, "rope_type": "default"}});
        assert_eq!(parsed(&default).unwrap(), Rope { theta: 5.0, width: 16, scaling: RopeScaling::None });
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
            (json!({"rope_scaling": {"rope_type": "proportional", "factor": 2}}), "rope_scaling.rope_type"),
            (
                json!({"rope_parameters": {"rope_type": "default", "mrope_section": [1, 2]}}),
                "rope_parameters.mrope_section",
            ),
            (
                json!({"rope_parameters": {"full_attention": {"rope_type": "default"}}}),
                "rope_parameters.full_attention",
            ),
            (json!({"rope_scaling": {"rope_type": "dynamic"}}), "rope_scaling.factor"),
            (json!({"rope_scaling": {"rope_type": "dynamic", "factor": 0.5}}), "rope_scaling.factor"),
            (json!({"rope_scaling": {"rope_type": "yarn", "factor": "4"}}), "rope_scaling.factor"),
            (
                json!({"rope_scaling": {"rope_type": "yarn", "factor": 4, "beta_fast": -1}}),
                "rope_scaling.beta_fast",
            ),
            (json!({"rope_scaling": {"rope_type": "longrope", "factor": 4}}), "rope_scaling.short_factor"),
            (
                json!({"rope_scaling": {"rope_type": "longrope", "short_factor": [1, 2], "long_factor": [1, 2]}}),
                "rope_scaling.short_factor",
            ),
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

    #[test]
    fn yarn_infers_its_attention_factor() {
        let factor = |extra: Value| {
            let mut section =
                json!({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64});
            section.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            match parsed(&json!({"rope_scaling": section})).unwrap().scaling {
                RopeScaling::Yarn { attention_factor, .. } => attention_factor,
                other => panic!("{other:?}"),
            }
        };
        let one = 0.1 * 4f64.ln() + 1.0;
        for (extra, expected) in [
            (json!({}), one),
            (json!({"attention_factor": 0.7}), 0.7),
            (json!({"mscale": 0.5}), one),
            (json!({"mscale": 0.5, "mscale_all_dim": 1.0}), (0.05 * 4f64.ln() + 1.0) / one),
            (json!({"factor": 0.5}), 1.0),
        ] {
            assert!((factor(extra.clone()) - expected).abs() < 1e-12, "{extra}");
        }
    }

    #[test]
    fn phi3_has_its_own_dialect() {
        let phi3 = Dialect::Phi3 { original_context: 1024 };
        let factors = vec![1.5; 6];
        for name in ["longrope", "su", "yarn"] {
            let rope = parsed_as(
                &json!({"partial_rotary_factor": 0.75, "rope_scaling":
                    {"type": name, "short_factor": factors, "long_factor": factors, "original_max_position_embeddings": 7}}),
                phi3,
            )
            .unwrap();
            let RopeScaling::LongRope { original_context, attention_factor, .. } = rope.scaling else {
                panic!("{name}: {:?}", rope.scaling)
            };
            assert_eq!((rope.width, original_context), (12, 1024));
            assert!((attention_factor - (1.0 + 4f64.ln() / 1024f64.ln()).sqrt()).abs() < 1e-12);
        }
        for (value, named) in [
            (json!({"rope_scaling": {"type": "linear", "factor": 2}}), "rope_scaling.rope_type"),
            (json!({"partial_rotary_factor": 0.7}), "partial_rotary_factor"),
            (json!({"partial_rotary_factor": 0}), "partial_rotary_factor"),
            (json!({"partial_rotary_factor": 1.5}), "partial_rotary_factor"),
        ] {
            let error = parsed_as(&value, phi3).expect_err(named);
            assert!(error.contains(named), "{error}");
        }
    }
}
