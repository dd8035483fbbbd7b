//! A base's folder with an adapter folded in, as transformers loads it: the base's own files, types and shards.
//!
//! Never holds the whole model: files are copied tensor by tensor, and those that have a pair are changed.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::{self, File};
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use half::{bf16, f16};
use hotplate_dataset::regular_file;
use safetensors::{Dtype, View};
use serde_json::{Value, json};

use super::{ExportError, io};
use crate::base_source::{BaseSource, LARGEST_TEXT_FILE};
use crate::base_spec::BaseSpec;
use crate::config::parse_object;
use crate::lora::{Adapter, Lora, Place, merged_weight};
use crate::weights::{INDEX, RawTensor, Weights};

/// What stands beside the weights of a base and belongs to it. The index and the configuration are written anew.
const COPIED: &[&str] = &[
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
    "chat_template.json",
    "LICENSE",
    "LICENSE.txt",
    "LICENSE.md",
    "NOTICE",
    "USE_POLICY.md",
];

/// Writes the merged model into an existing, empty folder, and waits until it is on the disk.
///
/// # Errors
/// A base whose checkpoint lacks a weight that the adapter changes, or the disk refuses.
pub fn write_merged(folder: &Path, adapter: &Adapter, base: &BaseSpec) -> Result<(), ExportError> {
    if let BaseSource::Gguf(file) = &base.source {
        return Err(ExportError::Unsupported(format!(
            "{} is a GGUF file, and --to merged writes the files that a base has as a Hugging Face folder; write a whole model as GGUF with \
             --to gguf --merged",
            file.display()
        )));
    }
    let weights = Weights::open(&base.source)?;
    let mut pairs: HashMap<String, (Place, &Lora)> =
        adapter.pairs().map(|(place, pair)| (format!("{place}.weight"), (place, pair))).collect();
    let embedding = format!("{}.weight", Place::Embedding);
    let head = format!("{}.weight", Place::Head);
    let unties = base.config.tied_embeddings && !adapter.keeps_a_tie()?;
    if base.config.tied_embeddings && !unties {
        pairs.remove(&head);
    }
    // A tied checkpoint has no weight for the head, or one that nobody reads: the untied one gets its own.
    let own_head = if unties { Some(pairs.remove(&head)) } else { None };
    let mut map = serde_json::Map::new();
    let mut total = 0;
    let shards = weights.raw();
    let sharded = shards.len() > 1;
    let mut own_head = own_head;
    for (file, tensors) in shards {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut written: Vec<(String, Written<'_>)> = Vec::new();
        for raw in tensors {
            if unties && raw.name == head {
                continue;
            }
            if raw.name == embedding
                && let Some(pair) = own_head.take()
            {
                let merged = match pair {
                    Some((place, pair)) => merge(&weights, &raw, place, pair, &embedding)?,
                    None => Written::of(&raw),
                };
                written.push((head.clone(), merged));
            }
            let tensor = match pairs.remove(&raw.name) {
                Some((place, pair)) => merge(&weights, &raw, place, pair, &raw.name)?,
                None => Written::of(&raw),
            };
            written.push((raw.name.clone(), tensor));
        }
        for (tensor, value) in &written {
            total += value.bytes.len();
            map.insert(tensor.clone(), json!(name));
        }
        let path = folder.join(&name);
        let mark = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        safetensors::serialize_to_file(written, Some(mark), &path)
            .map_err(|error| io(&path)(std::io::Error::other(error.to_string())))?;
        File::open(&path).and_then(|opened| opened.sync_all()).map_err(io(&path))?;
    }
    if let Some(missing) = pairs.keys().min().or(own_head.is_some().then_some(&embedding)) {
        let what = format!("the base's checkpoint has no tensor {missing}, which the adapter changes");
        return Err(ExportError::Unsupported(what));
    }
    if sharded {
        map.sort_keys();
        let index = json!({ "metadata": { "total_size": total }, "weight_map": map });
        write(&folder.join(INDEX), format!("{index:#}\n").as_bytes())?;
    }
    write(&folder.join("config.json"), &config(base, unties)?)?;
    for name in COPIED {
        if let Some(bytes) = base.source.read_if_present(name)? {
            write(&folder.join(name), &bytes)?;
        }
    }
    copy_templates(base, folder)?;
    #[cfg(unix)]
    File::open(folder).and_then(|opened| opened.sync_all()).map_err(io(folder))?;
    Ok(())
}

fn config(base: &BaseSpec, unties: bool) -> Result<Vec<u8>, ExportError> {
    let bytes = base.source.read("config.json")?;
    if !unties {
        return Ok(bytes.into_owned());
    }
    let file = base.source.path("config.json");
    let mut object =
        parse_object(&bytes).map_err(|why| crate::base_error::BaseError::BadConfig { file, why })?;
    object.insert("tie_word_embeddings".to_owned(), json!(false));
    Ok(format!("{:#}\n", Value::Object(object)).into_bytes())
}

/// Templates beside the main one, as newer transformers saves them.
fn copy_templates(base: &BaseSpec, folder: &Path) -> Result<(), ExportError> {
    let BaseSource::Folder(source) = &base.source else { return Ok(()) };
    let from = source.join("additional_chat_templates");
    if !from.is_dir() {
        return Ok(());
    }
    let to = folder.join("additional_chat_templates");
    fs::create_dir(&to).map_err(io(&to))?;
    for entry in fs::read_dir(&from).map_err(io(&from))? {
        let entry = entry.map_err(io(&from))?;
        if entry.file_type().map_err(io(&from))?.is_file() {
            let bytes = regular_file::read(&entry.path(), LARGEST_TEXT_FILE).map_err(io(&entry.path()))?;
            write(&to.join(entry.file_name()), &bytes)?;
        }
    }
    Ok(())
}

/// The tensor `source` of the checkpoint with a pair folded in, in the type of `raw`.
fn merge<'a>(
    weights: &Weights,
    raw: &RawTensor<'_>,
    place: Place,
    pair: &Lora,
    source: &str,
) -> Result<Written<'a>, ExportError> {
    let weight = weights.tensor(source, &raw.shape, &Device::Cpu)?;
    let pair = on_cpu(pair)?;
    let merged = merged_weight(place, &pair, &weight.into())?;
    Written::from_values(&merged, raw.dtype, &raw.shape)
}

pub(super) fn on_cpu(pair: &Lora) -> Result<Lora, ExportError> {
    let to = |tensor: &Tensor| tensor.to_device(&Device::Cpu);
    let dora = match &pair.dora {
        Some(dora) => Some(crate::lora::Dora::new(to(dora.magnitude())?)),
        None => None,
    };
    Ok(Lora::plain(to(&pair.a)?, to(&pair.b)?, pair.scale).with_dora(dora))
}

/// A tensor on its way to the file.
struct Written<'a> {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Cow<'a, [u8]>,
}

impl<'a> Written<'a> {
    fn of(raw: &RawTensor<'a>) -> Written<'a> {
        Written { dtype: raw.dtype, shape: raw.shape.clone(), bytes: Cow::Borrowed(raw.bytes) }
    }

    fn from_values(values: &Tensor, dtype: Dtype, shape: &[usize]) -> Result<Written<'a>, ExportError> {
        let values = values.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        let values = values.into_iter();
        let bytes: Vec<u8> = match dtype {
            Dtype::F32 => values.flat_map(f32::to_le_bytes).collect(),
            Dtype::F64 => values.flat_map(|value| f64::from(value).to_le_bytes()).collect(),
            Dtype::BF16 => values.flat_map(|value| bf16::from_f32(value).to_le_bytes()).collect(),
            Dtype::F16 => values.flat_map(|value| f16::from_f32(value).to_le_bytes()).collect(),
            other => {
                return Err(ExportError::Unsupported(format!("the base holds values of type {other:?}")));
            }
        };
        Ok(Written { dtype, shape: shape.to_vec(), bytes: Cow::Owned(bytes) })
    }
}

impl View for Written<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), ExportError> {
    use std::io::Write;
    let mut file = File::create_new(path).map_err(io(path))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Base;
    use crate::decoder::Batch;
    use crate::fixtures::{distance, random};
    use crate::lora::{LoraSpec, Targets};
    use hotplate_gemm::{Machine, Values};

    fn adapter(base: &Base, targets: Targets) -> Adapter {
        let spec = LoraSpec { rank: 4, alpha: 4.0, targets, ..LoraSpec::default() };
        let mut adapter = Adapter::fresh(&base.text.config, &spec, 1, &Device::Cpu).unwrap();
        let pairs: Vec<(Place, Lora)> = adapter.pairs().map(|(place, pair)| (place, pair.clone())).collect();
        for (index, (place, pair)) in pairs.into_iter().enumerate() {
            let b = (random(pair.b.dims(), index as u64) * 0.05).unwrap();
            let a = (random(pair.a.dims(), index as u64 + 77) * 0.05).unwrap();
            adapter.set(place, pair.with_factors(a, b));
        }
        adapter
    }

    #[test]
    fn the_merged_folder_is_a_base_that_answers_as_the_adapter_does() {
        let base = Base::open(&BaseSource::Embedded, &Device::Cpu).unwrap();
        let names = |names: &[&str]| Targets::Names(names.iter().map(|name| (*name).to_owned()).collect());
        for (targets, tied) in [
            (Targets::AllLinear, base.text.config.tied_embeddings),
            (names(&["q_proj", "embed_tokens"]), false),
            (names(&["lm_head"]), false),
        ] {
            let adapter = adapter(&base, targets);
            let folder = tempfile::tempdir().unwrap();
            write_merged(folder.path(), &adapter, &base.text).unwrap();
            let merged = Base::open(&BaseSource::Folder(folder.path().to_owned()), &Device::Cpu).unwrap();
            assert_eq!(merged.text.config.tied_embeddings, tied);
            let logits = |base: &Base, adapter: Option<&Adapter>| {
                let batch = Batch::packed([[5, 9, 100, 7].as_slice()]);
                let hidden = base.decoder.forward(&batch, adapter, None).unwrap();
                base.decoder.logits(&hidden, adapter).unwrap()
            };
            let wanted = logits(&base, Some(&adapter));
            let effect = distance(&wanted, &logits(&base, None));
            let found = distance(&wanted, &logits(&merged, None));
            // The base is stored in half precision, and so is what was merged; some processors also round what goes into a layer to bf16.
            let near = if Machine::here().values() == Values::Bf16 { 0.5 } else { 0.25 };
            assert!(effect > 0.02 && found < near * effect, "{effect} {found}");
        }
    }
}
