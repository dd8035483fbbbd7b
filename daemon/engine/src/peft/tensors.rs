//! `adapter_model.safetensors`: names and shapes of the factors.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use super::config::Settings;
use super::{AdapterError, CONFIG_FILE, WEIGHTS_FILE};
use crate::base_error::BaseError;
use crate::base_spec::BaseSpec;
use crate::lora::{Adapter, Dora, Linear, Lora, Place};
use crate::weights::Weights;

/// What PEFT puts before a module's own name: its wrapper, then the attribute that holds the model.
const PREFIX: &str = "base_model.model.";
const MAGNITUDE: &str = ".lora_magnitude_vector";

/// What a tensor is to its module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    A,
    B,
    Magnitude,
    /// PEFT also saves the base's own weight beside factors of the embedding or the head.
    BaseCopy,
    /// Only training reads it.
    Training,
}

const LINEAR: (&str, &str) = (".lora_A.weight", ".lora_B.weight");
const EMBEDDING: (&str, &str) = (".lora_embedding_A", ".lora_embedding_B");
/// VeLoRA's projection of inputs.
const VELORA: &str = ".lora_velora_embed";
/// MonteCLoRA's distributions; the name of one follows.
const MONTECLORA: &str = ".lora_monteclora_sampler.";

/// The suffixes of a module's factors as this engine writes them.
fn suffixes(place: Place) -> (&'static str, &'static str) {
    match place {
        Place::Embedding => EMBEDDING,
        Place::Block(..) | Place::Head => LINEAR,
    }
}

fn role(place: Place, (a, b): (&str, &str), suffix: &str) -> Option<Role> {
    let outside = !matches!(place, Place::Block(..));
    match suffix {
        _ if suffix == a => Some(Role::A),
        _ if suffix == b => Some(Role::B),
        // Some versions of PEFT appended what they now leave out.
        MAGNITUDE | ".lora_magnitude_vector.weight" => Some(Role::Magnitude),
        ".base_layer.weight" | ".weight" if outside => Some(Role::BaseCopy),
        VELORA => Some(Role::Training),
        _ if suffix.starts_with(MONTECLORA) => Some(Role::Training),
        _ => None,
    }
}

pub(super) fn load(
    folder: &Path,
    settings: &Settings,
    base: &BaseSpec,
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
    let source = Source { folder, file, weights, settings, base, device };
    let found = source.places()?;
    source.complete(&found)?;
    let mut adapter = Adapter::empty(&base.config, settings.rank, settings.alpha, settings.rslora);
    for place in found {
        adapter.set(place, source.pair(place)?);
    }
    let keeps_tie = settings.keeps_tie && !settings.is_parameter(Place::Embedding);
    if keeps_tie && base.config.tied_embeddings && adapter.head.is_none() {
        adapter.head = match &adapter.embedding {
            Some(pair) if pair.dora.is_none() => Some(pair.seen_from_the_head()?),
            Some(_) => {
                let what = "it is a DoRA adapter of a tied embedding (ensure_weight_tying)".to_owned();
                return Err(AdapterError::Unsupported { file: source.file, what });
            }
            None => None,
        };
    }
    Ok(adapter)
}

struct Source<'a> {
    folder: &'a Path,
    file: PathBuf,
    weights: Weights,
    settings: &'a Settings,
    base: &'a BaseSpec,
    device: &'a Device,
}

impl Source<'_> {
    fn other(&self, why: String) -> AdapterError {
        AdapterError::OtherBase { folder: self.folder.to_owned(), base: self.base.name.clone(), why }
    }

    fn corrupt(&self, why: String) -> AdapterError {
        AdapterError::Corrupt { file: self.file.clone(), why }
    }

    /// As this file has them: an embedding whose weight was adapted by name has those of a linear layer.
    fn suffixes(&self, place: Place) -> (&'static str, &'static str) {
        if self.settings.is_parameter(place) { LINEAR } else { suffixes(place) }
    }

    /// The modules that have factors. Every tensor of the file is accounted for.
    fn places(&self) -> Result<BTreeSet<Place>, AdapterError> {
        let modules: HashMap<String, Place> =
            Place::all(&self.base.config).into_iter().map(|place| (place.to_string(), place)).collect();
        let mut found = BTreeSet::new();
        let mut copies = BTreeMap::new();
        let mut names: Vec<&str> = self.weights.names().collect();
        names.sort_unstable();
        for name in names {
            let split = name.strip_prefix(PREFIX).and_then(split);
            let known = split.and_then(|(module, suffix)| Some((*modules.get(module)?, suffix)));
            match known.and_then(|(place, suffix)| Some((place, role(place, self.suffixes(place), suffix)?)))
            {
                Some((place, Role::BaseCopy)) => {
                    copies.insert(place, name.to_owned());
                }
                Some((_, Role::Training)) => {}
                Some((_, Role::Magnitude)) if !self.settings.dora => {
                    let why =
                        format!("{name} belongs to DoRA, and adapter_config.json does not say use_dora");
                    return Err(self.corrupt(why));
                }
                Some((place, _)) => {
                    found.insert(place);
                }
                None => return Err(self.unknown(name, split.map(|(module, _)| module))),
            }
        }
        if found.is_empty() {
            return Err(self.corrupt("it has no LoRA tensors".to_owned()));
        }
        for (place, name) in copies {
            self.check_copy(place, &name)?;
        }
        Ok(found)
    }

    /// Whether a weight of the base that the adapter brings along is the base's.
    fn check_copy(&self, place: Place, name: &str) -> Result<(), AdapterError> {
        let shape = match place {
            Place::Head | Place::Embedding => [self.base.config.vocab, self.base.config.hidden],
            Place::Block(_, linear) => <[usize; 2]>::from(linear.shape(&self.base.config)),
        };
        if self.weights.shape(name).is_none_or(|found| found != shape) {
            let found = self.weights.shape(name).unwrap_or_default();
            return Err(self.other(format!("{name} has shape {found:?}, and the base's is {shape:?}")));
        }
        let checkpoint = Weights::open(&self.base.source).map_err(translated)?;
        let tied = place == Place::Head && self.base.config.tied_embeddings;
        let own = if tied { Place::Embedding } else { place };
        let own = checkpoint.tensor(&format!("{own}.weight"), &shape, self.device).map_err(translated)?;
        let copy = self.weights.tensor(name, &shape, self.device).map_err(translated)?;
        let (own, copy) = (values(&own)?, values(&copy)?);
        // The copy may have been saved with fewer digits than the base has.
        let same = own.iter().zip(&copy).all(|(own, copy)| (own - copy).abs() <= own.abs() / 128.0 + 1e-7);
        if same {
            return Ok(());
        }
        let what = format!(
            "{name} is not the base's weight, so the whole layer was trained; merge it into its base with PEFT's \
             merge_and_unload and use the result as a base"
        );
        Err(AdapterError::Unsupported { file: self.file.clone(), what })
    }

    /// Whether the modules that the settings choose have their tensors, and no others.
    fn complete(&self, found: &BTreeSet<Place>) -> Result<(), AdapterError> {
        let Some(mut expected) = self.settings.expected(&self.base.config) else { return Ok(()) };
        let names = |listed: &&String| {
            let module = |place: &Place| crate::lora::is_end_of(listed, &place.to_string());
            Place::all(&self.base.config).iter().any(module)
        };
        if let Some(listed) = self.settings.listed.iter().find(|listed| !names(listed)) {
            let why = format!(
                "adapter_config.json lists {listed} in target_modules, and the base has no such module"
            );
            return Err(self.other(why));
        }
        if self.settings.keeps_tie && self.base.config.tied_embeddings && found.contains(&Place::Head) {
            expected.push(Place::Head);
        }
        let chosen: BTreeSet<Place> = expected.iter().copied().collect();
        let missing: Vec<Place> = expected.into_iter().filter(|place| !found.contains(place)).collect();
        if let Some(place) = missing.first() {
            self.fits(found)?;
            if let Some(why) = shallower(found, &missing, self.base.config.layers) {
                return Err(self.other(why));
            }
            let why = format!("adapter_config.json chooses {place} (target_modules), but it has no tensors");
            return Err(self.corrupt(why));
        }
        if let Some(place) = found.iter().find(|place| !chosen.contains(place)) {
            let why = format!(
                "it has tensors for {place}, which adapter_config.json does not choose (target_modules)"
            );
            return Err(self.corrupt(why));
        }
        Ok(())
    }

    /// Whether the factors' sizes are this base's, whatever their rank.
    fn fits(&self, found: &BTreeSet<Place>) -> Result<(), AdapterError> {
        for place in found {
            let (a, b) = self.suffixes(*place);
            let (outputs, inputs) = self.shape(*place);
            for (suffix, at, size) in [(a, 1, inputs), (b, 0, outputs)] {
                let name = format!("{PREFIX}{place}{suffix}");
                if let Some(shape) = self.weights.shape(&name)
                    && shape.get(at).is_some_and(|found| *found != size)
                {
                    return Err(
                        self.other(format!("{name} has shape {shape:?}, and the base's layer has {size}"))
                    );
                }
            }
        }
        Ok(())
    }

    /// What a module's factors make, as the file has it.
    fn shape(&self, place: Place) -> (usize, usize) {
        let (outputs, inputs) = place.shape(&self.base.config);
        let turned = place == Place::Embedding && self.settings.is_parameter(place);
        if turned { (inputs, outputs) } else { (outputs, inputs) }
    }

    fn pair(&self, place: Place) -> Result<Lora, AdapterError> {
        let module = place.to_string();
        let (outputs, inputs) = self.shape(place);
        let rank = self.settings.rank_of(place);
        let (a, b) = self.suffixes(place);
        let in_file = self.weights.shape(&format!("{PREFIX}{module}{a}")).and_then(|shape| shape.first());
        if let Some(why) = in_file.and_then(|in_file| self.settings.lost_order(place, *in_file)) {
            return Err(AdapterError::BadConfig { file: self.folder.join(CONFIG_FILE), why });
        }
        let a = self.factor(&format!("{module}{a}"), &[rank, inputs], Some(0))?;
        let b = self.factor(&format!("{module}{b}"), &[outputs, rank], Some(1))?;
        let mut pair = Lora::plain(a, b, self.settings.scale_of(place));
        if place == Place::Embedding && self.settings.is_parameter(place) {
            // A weight's own factors; an embedding's are those of its transpose.
            pair = pair.seen_from_the_head()?;
        }
        if self.settings.dora {
            let long = format!("{module}{MAGNITUDE}.weight");
            let is_long = self.weights.shape(&format!("{PREFIX}{long}")).is_some();
            let name = if is_long { long } else { format!("{module}{MAGNITUDE}") };
            pair.dora = Some(Dora::new(self.factor(&name, &[outputs], None)?));
        }
        Ok(pair)
    }

    /// A tensor of the file. `rank_at`: the dimension that is the rank.
    fn factor(&self, name: &str, expected: &[usize], rank_at: Option<usize>) -> Result<Tensor, AdapterError> {
        let name = format!("{PREFIX}{name}");
        let Some(shape) = self.weights.shape(&name) else {
            return Err(self.corrupt(format!("a module lacks one of its tensors: {name} is missing")));
        };
        if shape != expected {
            let other_rank =
                rank_at.is_some_and(|at| shape.len() == expected.len() && shape[1 - at] == expected[1 - at]);
            let why = format!("{name} has shape {shape:?}, and {expected:?} is called for");
            return Err(if other_rank {
                self.corrupt(format!("{why} by r in adapter_config.json"))
            } else {
                self.other(why)
            });
        }
        let tensor = self.weights.tensor(&name, expected, self.device).map_err(translated)?;
        if values(&tensor)?.into_iter().all(f32::is_finite) {
            Ok(tensor)
        } else {
            Err(AdapterError::NotFinite { file: self.file.clone(), name })
        }
    }

    /// What a tensor is that has no place in this base or this engine.
    fn unknown(&self, name: &str, module: Option<&str>) -> AdapterError {
        if let Some(module) = module.filter(|module| is_layer(module))
            && name.contains(".lora_")
            && name.strip_suffix(".bias").is_none()
        {
            let layers = self.base.config.layers;
            return self.other(format!("it adapts {module}, and the base has {layers} layers"));
        }
        let name: String = name.chars().take(200).collect();
        let what = if name.strip_suffix(".bias").is_some() {
            format!("it changes biases ({name})")
        } else if name.starts_with("base_model.model.layers.") || name.starts_with("model.layers.") {
            format!(
                "the tensor {name} lacks the prefix base_model.model.model. that PEFT writes for a causal language model"
            )
        } else if name.contains(".lora_") {
            format!("it adapts a module that this base does not have ({name})")
        } else if name.contains("trainable_tokens") {
            format!("it brings new vectors for single tokens ({name})")
        } else {
            format!("it holds the tensor {name}, which is no LoRA factor")
        };
        AdapterError::Unsupported { file: self.file.clone(), what }
    }
}

/// Why an adapter without factors for the last layers is none of this base, if it has all that is called for below them.
fn shallower(found: &BTreeSet<Place>, missing: &[Place], layers: usize) -> Option<String> {
    let layer = |place: &Place| if let Place::Block(layer, _) = place { Some(*layer) } else { None };
    let own = found.iter().filter_map(layer).max()? + 1;
    let beyond = missing.iter().all(|place| layer(place).is_some_and(|layer| layer >= own));
    beyond.then(|| format!("it adapts {own} layers, and the base has {layers}"))
}

/// A tensor's name without PEFT's prefix, cut into module and suffix.
fn split(name: &str) -> Option<(&str, &str)> {
    const SUFFIXES: [&str; 9] = [
        VELORA,
        ".lora_A.weight",
        ".lora_B.weight",
        ".lora_embedding_A",
        ".lora_embedding_B",
        MAGNITUDE,
        ".lora_magnitude_vector.weight",
        ".base_layer.weight",
        ".weight",
    ];
    if let Some(at) = name.find(MONTECLORA) {
        return Some(name.split_at(at));
    }
    SUFFIXES.iter().find_map(|suffix| Some((name.strip_suffix(suffix)?, *suffix)))
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

fn values(tensor: &Tensor) -> Result<Vec<f32>, AdapterError> {
    Ok(tensor.flatten_all()?.to_vec1::<f32>()?)
}

pub(crate) fn translated(error: BaseError) -> AdapterError {
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
    for (place, pair) in adapter.pairs() {
        let (a, b) = suffixes(place);
        let magnitude = pair.dora.as_ref().map(|dora| (MAGNITUDE, dora.magnitude()));
        for (suffix, factor) in [(a, &pair.a), (b, &pair.b)].into_iter().chain(magnitude) {
            let values = values(factor)?;
            let name = format!("{PREFIX}{place}{suffix}");
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
