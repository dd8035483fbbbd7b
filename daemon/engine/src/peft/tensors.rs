//! `adapter_model.safetensors`: names and shapes of the factors.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::{Device, Tensor};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use super::config::{self, Settings};
use super::{AdapterError, WEIGHTS_FILE};
use crate::base_error::BaseError;
use crate::base_text::BaseText;
use crate::lora::{Adapter, LayerAdapter, Linear, Lora};
use crate::weights::Weights;

/// What PEFT puts before a module's own name: its wrapper, then the attribute that holds the model.
const PREFIX: &str = "base_model.model.";
const A: &str = ".lora_A.weight";
const B: &str = ".lora_B.weight";

pub(super) fn load(
    folder: &Path,
    settings: &Settings,
    base: &BaseText,
    device: &Device,
) -> Result<Adapter, AdapterError> {
    let file = folder.join(WEIGHTS_FILE);
    if !file.exists() && folder.join("adapter_model.bin").exists() {
        let what = "the weights are in PyTorch's own format (adapter_model.bin), save them with safe_serialization=True";
        return Err(AdapterError::Unsupported {
            file: folder.join("adapter_model.bin"),
            what: what.to_owned(),
        });
    }
    let weights = Weights::open_file(&file).map_err(translated)?;
    let modules: HashMap<String, (usize, Linear)> = (0..base.config.layers)
        .flat_map(|layer| Linear::ALL.map(|linear| (config::module(layer, linear), (layer, linear))))
        .collect();
    let other =
        |why: String| AdapterError::OtherBase { folder: folder.to_owned(), base: base.name.clone(), why };
    let mut found: BTreeMap<(usize, Linear), &str> = BTreeMap::new();
    let mut names: Vec<&str> = weights.names().collect();
    names.sort_unstable();
    for name in &names {
        let module =
            name.strip_prefix(PREFIX).and_then(|name| name.strip_suffix(A).or_else(|| name.strip_suffix(B)));
        match module.map(|module| (module, modules.get(module))) {
            Some((module, Some(place))) => {
                found.insert(*place, module);
            }
            Some((module, None)) if is_layer(module) => {
                return Err(other(format!(
                    "it adapts {module}, and the base has {} layers",
                    base.config.layers
                )));
            }
            _ => return Err(AdapterError::Unsupported { file, what: unknown(name) }),
        }
    }
    if found.is_empty() {
        let why = "it has no LoRA tensors".to_owned();
        return Err(AdapterError::Corrupt { file, why });
    }
    complete(settings, &modules, &found).map_err(|why| AdapterError::Corrupt { file: file.clone(), why })?;

    let mut layers = vec![LayerAdapter::default(); base.config.layers];
    for ((layer, linear), module) in found {
        let (outputs, inputs) = linear.shape(&base.config);
        let rank = settings.rank_of(module);
        let factor = |suffix: &str, expected: [usize; 2], is_rank: usize| {
            let name = format!("{PREFIX}{module}{suffix}");
            let Some(shape) = weights.shape(&name) else {
                let why = format!("{module} has only one of its two factors: {name} is missing");
                return Err(AdapterError::Corrupt { file: file.clone(), why });
            };
            if shape != expected {
                let other_rank = shape.len() == 2 && shape[1 - is_rank] == expected[1 - is_rank];
                let why = format!("{name} has shape {shape:?}, and {expected:?} is called for");
                return Err(if other_rank {
                    AdapterError::Corrupt {
                        file: file.clone(),
                        why: format!("{why} by r in adapter_config.json"),
                    }
                } else {
                    other(why)
                });
            }
            let tensor = weights.tensor(&name, &expected, device).map_err(translated)?;
            if is_finite(&tensor)? {
                Ok(tensor)
            } else {
                Err(AdapterError::NotFinite { file: file.clone(), name })
            }
        };
        let a = factor(A, [rank, inputs], 0)?;
        let b = factor(B, [outputs, rank], 1)?;
        layers[layer].set(linear, Lora { a, b, scale: settings.scale_of(module) });
    }
    Ok(Adapter { rank: settings.rank, alpha: settings.alpha, layers })
}

/// Whether each module that the settings list has its tensors.
fn complete(
    settings: &Settings,
    modules: &HashMap<String, (usize, Linear)>,
    found: &BTreeMap<(usize, Linear), &str>,
) -> Result<(), String> {
    for listed in &settings.listed {
        // PEFT's rule for lists: the whole name, or its end from a dot on.
        let means = |module: &str| {
            module.strip_suffix(listed.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        if !found.values().any(|module| means(module)) {
            return Err(format!(
                "adapter_config.json lists {listed} in target_modules, but it has no tensors"
            ));
        }
        let missing = modules.iter().filter(|(module, place)| means(module) && !found.contains_key(*place));
        if let Some((module, _)) = missing.min_by_key(|(_, place)| **place)
            && !settings.partial
        {
            return Err(format!(
                "adapter_config.json lists {listed} in target_modules, but {module} has no tensors"
            ));
        }
    }
    Ok(())
}

/// `model.layers.N.self_attn.q_proj` and its like, whatever N.
fn is_layer(module: &str) -> bool {
    let rest = module.strip_prefix("model.layers.").and_then(|rest| rest.split_once('.'));
    rest.is_some_and(|(layer, rest)| {
        layer.parse::<u64>().is_ok()
            && Linear::ALL
                .iter()
                .any(|linear| rest.split_once('.') == Some((linear.parent(), linear.module())))
    })
}

/// What a tensor is that has no place in this engine.
fn unknown(name: &str) -> String {
    let name: String = name.chars().take(200).collect();
    if name.ends_with("lora_magnitude_vector") || name.ends_with("lora_magnitude_vector.weight") {
        format!("it is a DoRA adapter ({name})")
    } else if name.contains("lora_embedding_") || name.contains(".embed_tokens.") {
        format!("it adapts the token embedding ({name})")
    } else if name.contains(".lm_head.") {
        format!("it adapts the output head ({name})")
    } else if name.strip_suffix(".bias").is_some() {
        format!("it changes biases ({name})")
    } else if name.starts_with("base_model.model.layers.") || name.starts_with("model.layers.") {
        format!(
            "the tensor {name} lacks the prefix base_model.model.model. that PEFT writes for a causal language model"
        )
    } else if name.ends_with(A) || name.ends_with(B) {
        format!("it adapts a module that is no linear layer of a block ({name})")
    } else {
        format!("it holds the tensor {name}, which is no LoRA factor")
    }
}

fn is_finite(tensor: &Tensor) -> Result<bool, AdapterError> {
    Ok(tensor.flatten_all()?.to_vec1::<f32>()?.into_iter().all(f32::is_finite))
}

fn translated(error: BaseError) -> AdapterError {
    match error {
        BaseError::Missing { file } => AdapterError::Missing { file },
        BaseError::Io { file, source } => AdapterError::Io { file, source },
        BaseError::CorruptWeights { file, why } => AdapterError::Corrupt { file, why },
        BaseError::BadConfig { file, why } => AdapterError::BadConfig { file, why },
        BaseError::Tensor(error) => AdapterError::Tensor(error),
        other => AdapterError::BadConfig { file: WEIGHTS_FILE.into(), why: other.to_string() },
    }
}

/// The file's bytes: f32, named and marked as PEFT does.
pub(super) fn bytes(adapter: &Adapter, file: &Path) -> Result<Vec<u8>, AdapterError> {
    let mut tensors = Vec::new();
    for (layer, linear, pair) in adapter.pairs() {
        let module = config::module(layer, linear);
        for (suffix, factor) in [(A, &pair.a), (B, &pair.b)] {
            let values = factor.flatten_all()?.to_vec1::<f32>()?;
            let name = format!("{PREFIX}{module}{suffix}");
            if !values.iter().all(|value| value.is_finite()) {
                return Err(AdapterError::NotFinite { file: file.to_owned(), name });
            }
            let bytes: Vec<u8> = values.into_iter().flat_map(f32::to_le_bytes).collect();
            tensors.push((name, factor.dims().to_vec(), bytes));
        }
    }
    let corrupt = |error: safetensors::SafeTensorError| AdapterError::Corrupt {
        file: file.to_owned(),
        why: error.to_string(),
    };
    let views = tensors
        .iter()
        .map(|(name, shape, bytes)| {
            Ok((name, TensorView::new(Dtype::F32, shape.clone(), bytes).map_err(corrupt)?))
        })
        .collect::<Result<Vec<_>, AdapterError>>()?;
    let mark = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize(views, Some(mark)).map_err(corrupt)
}
