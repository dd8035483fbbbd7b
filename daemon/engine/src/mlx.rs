//! Adapters as mlx-lm writes them: `adapters.safetensors` and an `adapter_config.json` of its own kind. Read only.
//!
//! Its factors are the transposes of PEFT's, and its scale multiplies as it is.
//!
//! A head that is tied to an adapted embedding always follows it, as in mlx-lm.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use candle_core::{Device, Tensor};
use serde_json::{Map, Value};

use crate::base_spec::BaseSpec;
use crate::config::parse_object;
use crate::lora::{Adapter, Dora, Lora, Place};
use crate::peft::{AdapterError, CONFIG_FILE, translated};
use crate::weights::Weights;

pub(crate) const WEIGHTS_FILE: &str = "adapters.safetensors";
/// mlx-lm's own default.
const SCALE: f64 = 20.0;

/// Whether a folder is mlx-lm's: it has its weights, and not PEFT's.
pub(crate) fn is_mlx(folder: &Path) -> bool {
    folder.join(WEIGHTS_FILE).is_file() && !folder.join(crate::peft::WEIGHTS_FILE).exists()
}

/// # Errors
/// As [`crate::peft::load`].
pub(crate) fn load(folder: &Path, base: &BaseSpec, device: &Device) -> Result<Adapter, AdapterError> {
    let config_file = folder.join(CONFIG_FILE);
    let file = folder.join(WEIGHTS_FILE);
    let bad = |why: String| AdapterError::BadConfig { file: config_file.clone(), why };
    let config = parse_object(&crate::peft::read(&config_file)?).map_err(bad)?;
    match config.get("fine_tune_type") {
        None | Some(Value::Null) => {}
        Some(Value::String(kind)) if kind == "lora" || kind == "dora" => {}
        Some(other) => {
            let what = format!(
                "fine_tune_type is {}: the file holds whole weights and no factors; fuse it with mlx_lm.fuse and use the result as a base",
                short(other)
            );
            return Err(AdapterError::Unsupported { file: config_file, what });
        }
    }
    let scale = scale(&config).map_err(bad)?;
    let weights = Weights::open_file(&file).map_err(translated)?;
    let modules: HashMap<String, Place> =
        Place::all(&base.config).into_iter().map(|place| (place.to_string(), place)).collect();
    // Models with a picture side keep their text side one level deeper.
    let plain = |module: &str| module.strip_prefix("language_model.").unwrap_or(module).to_owned();
    let mut found: BTreeSet<(Place, String)> = BTreeSet::new();
    let mut magnitudes = BTreeSet::new();
    let mut names: Vec<&str> = weights.names().collect();
    names.sort_unstable();
    for name in names {
        let split = [".lora_a", ".lora_b", ".m"].iter().find_map(|end| Some((name.strip_suffix(end)?, *end)));
        match split.and_then(|(module, end)| Some((*modules.get(&plain(module))?, module, end))) {
            Some((place, _, ".m")) => {
                magnitudes.insert(place);
            }
            Some((place, module, _)) => {
                found.insert((place, module.to_owned()));
            }
            None if split.is_some_and(|(_, end)| end != ".m") => {
                let name: String = name.chars().take(200).collect();
                let why = format!("it has {name}, and the base has no such module");
                return Err(AdapterError::OtherBase {
                    folder: folder.to_owned(),
                    base: base.name.clone(),
                    why,
                });
            }
            None => {
                let name: String = name.chars().take(200).collect();
                let what = format!("it holds the tensor {name}, which is no factor of mlx-lm's");
                return Err(AdapterError::Unsupported { file, what });
            }
        }
    }
    let corrupt = |why: String| AdapterError::Corrupt { file: file.clone(), why };
    if found.is_empty() {
        return Err(corrupt("it has no LoRA tensors".to_owned()));
    }
    let dora = !magnitudes.is_empty();
    let read = |name: &str, expected: &[usize]| -> Result<Tensor, AdapterError> {
        let Some(shape) = weights.shape(name) else {
            return Err(corrupt(format!("a module lacks one of its tensors: {name} is missing")));
        };
        if shape != expected {
            let why = format!("{name} has shape {shape:?}, and {expected:?} is called for");
            return Err(AdapterError::OtherBase { folder: folder.to_owned(), base: base.name.clone(), why });
        }
        let tensor = weights.tensor(name, expected, device).map_err(translated)?;
        let values = tensor.flatten_all()?.to_vec1::<f32>()?;
        if !values.into_iter().all(f32::is_finite) {
            return Err(AdapterError::NotFinite { file: file.clone(), name: name.to_owned() });
        }
        Ok(tensor)
    };
    let rank = found
        .iter()
        .find_map(|(_, module)| weights.shape(&format!("{module}.lora_a"))?.get(1).copied())
        .filter(|rank| *rank > 0)
        .ok_or_else(|| corrupt("its factors are not matrices".to_owned()))?;
    let mut adapter = Adapter::empty(&base.config, rank, scale * rank as f64, false);
    for (place, module) in found {
        let (outputs, inputs) = place.shape(&base.config);
        let own = weights.shape(&format!("{module}.lora_a")).and_then(|shape| shape.get(1).copied());
        let own = own.unwrap_or(rank);
        let a = read(&format!("{module}.lora_a"), &[inputs, own])?.t()?.contiguous()?;
        let b = read(&format!("{module}.lora_b"), &[own, outputs])?.t()?.contiguous()?;
        let mut pair = Lora::plain(a, b, scale);
        if dora {
            if place == Place::Embedding {
                // It brings each token's vector to a length, PEFT each of the hidden values over all tokens.
                let what = "it is DoRA on the token embedding, which mlx-lm defines in a way of its own";
                return Err(AdapterError::Unsupported { file, what: what.to_owned() });
            }
            pair.dora = Some(Dora::new(read(&format!("{module}.m"), &[outputs])?));
        }
        adapter.set(place, pair);
    }
    let (layers, last) = (base.config.layers, adapter.layers.iter().rposition(|layer| !layer.is_empty()));
    if let Some(last) = last.filter(|last| last + 1 < layers && !names_layers(&config)) {
        let why = format!(
            "the last layer that it adapts is number {last}, and the base has {layers}; mlx-lm adapts the last ones"
        );
        return Err(AdapterError::OtherBase { folder: folder.to_owned(), base: base.name.clone(), why });
    }
    if base.config.tied_embeddings
        && adapter.head.is_none()
        && let Some(pair) = &adapter.embedding
    {
        // Its `as_linear` adds the same factors to the logits.
        adapter.head = Some(pair.seen_from_the_head()?);
    }
    Ok(adapter)
}

/// Whether the settings choose single layers by their numbers.
fn names_layers(config: &Map<String, Value>) -> bool {
    let keys =
        config.get("lora_parameters").and_then(|parameters| parameters.get("keys")).and_then(Value::as_array);
    keys.is_some_and(|keys| keys.iter().any(|key| key.as_str().is_some_and(|key| key.contains("layers."))))
}

fn scale(config: &Map<String, Value>) -> Result<f64, String> {
    let parameters = match config.get("lora_parameters") {
        None | Some(Value::Null) => return Ok(SCALE),
        Some(Value::Object(parameters)) => parameters,
        Some(_) => return Err("lora_parameters must be an object".to_owned()),
    };
    match parameters.get("scale") {
        None | Some(Value::Null) => Ok(SCALE),
        Some(value) => value
            .as_f64()
            .filter(|scale| (*scale as f32).is_finite())
            .ok_or_else(|| format!("lora_parameters.scale is {}; it must be a number", short(value))),
    }
}

fn short(value: &Value) -> String {
    value.to_string().chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use candle_core::DType;
    use serde_json::json;
    use tempfile::TempDir;

    use super::*;
    use crate::decoder::Batch;
    use crate::fixtures;
    use crate::fixtures::{distance, random};
    use crate::lora::Linear;

    fn folder(config: &Value, tensors: &HashMap<String, Tensor>) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(CONFIG_FILE), config.to_string()).unwrap();
        candle_core::safetensors::save(tensors, folder.path().join(WEIGHTS_FILE)).unwrap();
        folder
    }

    /// The last of two blocks, as `num_layers` 1 gives it.
    fn tensors() -> HashMap<String, Tensor> {
        let module = |name: &str| format!("model.layers.1.{name}");
        let mut tensors = HashMap::new();
        for (index, (name, inputs, outputs)) in
            [("self_attn.q_proj", 16, 24), ("mlp.down_proj", 20, 16)].into_iter().enumerate()
        {
            let seed = index as u64;
            tensors.insert(format!("{}.lora_a", module(name)), random(&[inputs, 3], seed));
            tensors.insert(format!("{}.lora_b", module(name)), random(&[3, outputs], seed + 10));
        }
        tensors
    }

    fn config() -> Value {
        json!({"fine_tune_type": "lora", "num_layers": 1,
            "lora_parameters": {"rank": 3, "scale": 0.5, "dropout": 0.0}})
    }

    fn loaded(folder: &TempDir) -> Result<Adapter, AdapterError> {
        crate::peft::load(folder.path(), &BaseSpec::for_tests(fixtures::config()), &Device::Cpu)
    }

    #[test]
    fn fuzz_mlx_config() {
        let folder = folder(&config(), &tensors());
        let whole = config().to_string();
        let words = [
            "\"fine_tune_type\": ",
            "\"lora_parameters\": {",
            "\"scale\": ",
            "\"rank\": ",
            "\"num_layers\": ",
        ];
        hotplate_fuzz::fuzz(
            "mlx-config",
            &[whole.as_bytes()],
            &[hotplate_fuzz::JSON, &words].concat(),
            |bytes| {
                std::fs::write(folder.path().join(CONFIG_FILE), bytes).unwrap();
                let _ = loaded(&folder);
            },
        );
    }

    #[test]
    fn factors_are_turned_and_the_scale_is_kept() {
        let adapter = loaded(&folder(&config(), &tensors())).unwrap();
        assert_eq!(adapter.pairs().count(), 2);
        let pair = adapter.get(Place::Block(1, Linear::Query)).unwrap();
        assert_eq!((pair.a.dims(), pair.b.dims()), ([3, 16].as_slice(), [24, 3].as_slice()));
        assert!((pair.scale - 0.5).abs() < 1e-12 && (adapter.alpha - 1.5).abs() < 1e-12);
        // y = W x + scale * (x a) b, written out.
        let decoder = fixtures::decoder(1);
        let x = random(&[4, 16], 50);
        let theirs = x
            .matmul(&tensors()["model.layers.1.self_attn.q_proj.lora_a"])
            .unwrap()
            .matmul(&tensors()["model.layers.1.self_attn.q_proj.lora_b"])
            .unwrap();
        let (ours, _) = crate::ops::low_rank::forward(&x, pair).unwrap();
        assert!(distance(&(theirs * 0.5).unwrap(), &ours) < 1e-5);
        decoder.forward(&Batch::packed([[1, 2].as_slice()]), Some(&adapter), None).unwrap();
    }

    #[test]
    fn a_tied_embedding_changes_the_head_too() {
        let mut with = tensors();
        with.insert("model.embed_tokens.lora_a".to_owned(), random(&[fixtures::config().vocab, 3], 70));
        with.insert("model.embed_tokens.lora_b".to_owned(), random(&[3, 16], 71));
        let folder = folder(&config(), &with);
        let load = |tied| {
            let mut config = fixtures::config();
            config.tied_embeddings = tied;
            crate::peft::load(folder.path(), &BaseSpec::for_tests(config), &Device::Cpu).unwrap()
        };
        assert!(load(false).head.is_none());
        let adapter = load(true);
        let x = random(&[4, 16], 50);
        // (x bᵀ) aᵀ, as `as_linear` has it.
        let wanted = x
            .matmul(&with["model.embed_tokens.lora_b"].t().unwrap())
            .unwrap()
            .matmul(&with["model.embed_tokens.lora_a"].t().unwrap())
            .unwrap();
        let (ours, _) = crate::ops::low_rank::forward(&x, adapter.head.as_ref().unwrap()).unwrap();
        assert!(distance(&(wanted * 0.5).unwrap(), &ours) < 1e-5);
    }

    #[test]
    fn layers_that_are_not_the_last_ones_are_another_bases() {
        let mut deeper = fixtures::config();
        deeper.layers += 1;
        deeper.attention = vec![deeper.attention[0]; deeper.layers];
        let load = |folder: &TempDir| {
            crate::peft::load(folder.path(), &BaseSpec::for_tests(deeper.clone()), &Device::Cpu)
        };
        let error = load(&folder(&config(), &tensors())).unwrap_err();
        assert!(matches!(error, AdapterError::OtherBase { .. }), "{error}");
        let mut chosen = config();
        chosen["lora_parameters"]["keys"] =
            json!(["model.layers.1.self_attn.q_proj", "model.layers.1.mlp.down_proj"]);
        load(&folder(&chosen, &tensors())).unwrap();
    }

    #[test]
    fn dora_is_read_and_what_is_neither_is_refused() {
        let mut with = tensors();
        for (name, outputs) in [("self_attn.q_proj", 24), ("mlp.down_proj", 16)] {
            let ones = Tensor::ones(outputs, DType::F32, &Device::Cpu).unwrap();
            with.insert(format!("model.layers.1.{name}.m"), ones);
        }
        let mut dora = config();
        dora["fine_tune_type"] = json!("dora");
        assert!(loaded(&folder(&dora, &with)).unwrap().is_dora());
        let refused = |config: &Value, tensors: &HashMap<String, Tensor>| {
            loaded(&folder(config, tensors)).unwrap_err().to_string()
        };
        let mut full = config();
        full["fine_tune_type"] = json!("full");
        assert!(refused(&full, &tensors()).contains("fine_tune_type"));
        let mut odd = config();
        odd["lora_parameters"]["scale"] = json!("big");
        assert!(refused(&odd, &tensors()).contains("scale"));
        let mut whole = tensors();
        whole.insert("model.norm.weight".to_owned(), random(&[16], 3));
        assert!(refused(&config(), &whole).contains("model.norm.weight"));
        let mut deep = tensors();
        deep.insert("model.layers.9.self_attn.q_proj.lora_a".to_owned(), random(&[16, 3], 3));
        assert!(refused(&config(), &deep).contains("layers.9"));
        let mut half = tensors();
        half.remove("model.layers.1.mlp.down_proj.lora_b");
        assert!(refused(&config(), &half).contains("lora_b"));
        let mut broken = tensors();
        let nan = Tensor::full(f32::NAN, (3, 16), &Device::Cpu).unwrap();
        broken.insert("model.layers.1.mlp.down_proj.lora_b".to_owned(), nan);
        assert!(refused(&config(), &broken).contains("not finite"));
        assert!(refused(&config(), &HashMap::new()).contains("no LoRA tensors"));
    }
}
