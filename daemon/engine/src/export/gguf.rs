//! LoRA as llama.cpp reads it: one GGUF file (version 3, <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>).
//!
//! Tensor names are llama.cpp's. It scales every pair by `adapter.lora.alpha / rank`; where a pair's scale differs, the difference goes
//! into its B. Bases of the Llama kind have the rows of their query and key weights in another order there (pairs of rotary values lie
//! side by side), and so have the rows of B.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use candle_core::{Device, Tensor};

use super::{ExportError, io as failed};
use crate::base_spec::BaseSpec;
use crate::gguf::names::{self, Family};
use crate::gguf::requantise::plain;
use crate::gguf::tensor_kind::TensorKind;
use crate::gguf::tensors::pairs;
use crate::gguf::writer::{ALIGNMENT, GgufWriter, Keys};
use crate::lora::{Adapter, Linear, Lora, Place};

/// Says that Hotplate wrote the file. It is the first key, so that it is found without reading the rest.
pub(super) const MARK_KEY: &str = "hotplate.export";

/// Whether a file is a GGUF file that was written here.
///
/// # Errors
/// It cannot be read.
pub fn is_marked_gguf(file: &Path) -> io::Result<bool> {
    // Magic, version, two counts, and the key's length.
    const BEFORE: usize = 4 + 4 + 8 + 8 + 8;
    let mut start = Vec::new();
    File::open(file)?.take((BEFORE + MARK_KEY.len()) as u64).read_to_end(&mut start)?;
    let mut key = (MARK_KEY.len() as u64).to_le_bytes().to_vec();
    key.extend(MARK_KEY.as_bytes());
    Ok(start.starts_with(b"GGUF") && start.ends_with(&key) && start.len() == BEFORE + MARK_KEY.len())
}

/// Metadata of a file of ours, the mark first.
pub(super) fn marked() -> Keys {
    let mut keys = Keys::default();
    keys.text(MARK_KEY, env!("CARGO_PKG_VERSION"));
    keys
}

fn family(class: &str) -> Result<Family, ExportError> {
    names::of_class(class).ok_or_else(|| {
        ExportError::Unsupported(format!(
            "how llama.cpp names the weights of {class} is not known here; export as peft or merged and use its own converter"
        ))
    })
}

/// Writes the adapter to a new file, and waits until it is on the disk.
///
/// # Errors
/// DoRA, an adapted embedding or head of a tied base (llama.cpp knows neither), a family that it names in a way not known here, or the
/// disk refuses.
pub fn write_gguf(file: &Path, adapter: &Adapter, base: &BaseSpec) -> Result<(), ExportError> {
    if adapter.is_dora() {
        let what = "llama.cpp does not apply DoRA to a base; write a whole model with --to gguf --merged";
        return Err(ExportError::Unsupported(what.to_owned()));
    }
    if base.config.tied_embeddings && (adapter.embedding.is_some() || adapter.head.is_some()) {
        let what = "llama.cpp cannot adapt an embedding that is tied to the head; write a whole model with --to gguf --merged";
        return Err(ExportError::Unsupported(what.to_owned()));
    }
    let family = family(&base.config.architecture)?;
    // The alpha that most pairs agree with, so that their factors stay as they are.
    let alpha =
        adapter.pairs().next().map_or(adapter.alpha, |(_, pair)| pair.scale * pair.rank() as f64) as f32;
    let mut tensors = Vec::new();
    for (place, pair) in adapter.pairs() {
        let name = names::of_place(place);
        let (a, b) = factors(place, pair, alpha, &family, base)?;
        tensors.push((format!("{name}.lora_a"), a));
        tensors.push((format!("{name}.lora_b"), b));
    }
    let mut keys = marked();
    keys.text("general.architecture", family.architecture);
    keys.text("general.type", "adapter");
    keys.text("adapter.type", "lora");
    // The base's name is only worth a line together with the number of bases.
    keys.text("general.base_model.0.name", base.hub_id.as_deref().unwrap_or(&base.name));
    keys.whole("general.base_model.count", 1);
    keys.number("adapter.lora.alpha", alpha);
    let announced = tensors.iter().map(|(name, tensor)| (name.clone(), tensor.dims().to_vec())).collect();
    let mut writer = GgufWriter::create(file, keys, ALIGNMENT, announced).map_err(failed(file))?;
    for (_, tensor) in &tensors {
        let values = tensor.flatten_all()?.to_vec1::<f32>()?;
        writer.tensor(TensorKind::F32, &plain(TensorKind::F32, &values)).map_err(failed(file))?;
    }
    writer.finish().map_err(failed(file))
}

fn factors(
    place: Place,
    pair: &Lora,
    alpha: f32,
    family: &Family,
    base: &BaseSpec,
) -> Result<(Tensor, Tensor), ExportError> {
    let (a, b) = (pair.a.to_device(&Device::Cpu)?, pair.b.to_device(&Device::Cpu)?);
    let applied = f64::from(alpha) / pair.rank() as f64;
    let b = if (applied as f32).to_bits() == (pair.scale as f32).to_bits() {
        b
    } else {
        (b * (pair.scale / applied))?
    };
    let config = &base.config;
    Ok(match place {
        // Rows of A are looked up by token.
        Place::Embedding => (a.t()?.contiguous()?, b),
        Place::Block(_, Linear::Query) if family.permuted => (a, side_by_side(&b, config.heads)?),
        Place::Block(_, Linear::Key) if family.permuted => (a, side_by_side(&b, config.kv_heads)?),
        Place::Block(..) | Place::Head => (a, b),
    })
}

fn side_by_side(b: &Tensor, heads: usize) -> Result<Tensor, ExportError> {
    let (rows, rank) = b.dims2()?;
    let paired = pairs(&b.flatten_all()?.to_vec1::<f32>()?, rows, heads)
        .ok_or_else(|| ExportError::Unsupported(format!("{rows} rows make no {heads} heads")))?;
    Ok(Tensor::from_vec(paired, (rows, rank), &Device::Cpu)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;
    use crate::fixtures::flat;

    #[test]
    fn rows_of_a_head_become_pairs() {
        let b = Tensor::arange(0f32, 8.0, &Device::Cpu).unwrap().reshape((8, 1)).unwrap();
        assert_eq!(flat(&side_by_side(&b, 2).unwrap()), [0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0]);
    }

    #[test]
    fn other_scales_go_into_b() {
        let base = BaseSpec::for_tests(fixtures::config());
        let ones =
            |shape: (usize, usize)| Tensor::ones(shape, candle_core::DType::F32, &Device::Cpu).unwrap();
        let pair = Lora::plain(ones((2, 16)), ones((24, 2)), 3.0);
        let family = family("Qwen2ForCausalLM").unwrap();
        let place = Place::Block(0, Linear::Query);
        let (_, same) = factors(place, &pair, 6.0, &family, &base).unwrap();
        assert!(flat(&same).iter().all(|value| value.to_bits() == 1f32.to_bits()));
        // llama.cpp will multiply by 4 / 2.
        let (_, other) = factors(place, &pair, 4.0, &family, &base).unwrap();
        assert!(flat(&other).iter().all(|value| (value - 1.5).abs() < 1e-6));
    }

    #[test]
    fn what_llama_cpp_cannot_do_is_said() {
        let base = BaseSpec::for_tests(fixtures::config());
        let decoder = fixtures::decoder(1);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.gguf");
        let error = write_gguf(&file, &fixtures::adapter_everywhere(&decoder, 2), &base).unwrap_err();
        assert!(error.to_string().contains("tied"), "{error}");
        write_gguf(&file, &fixtures::adapter(&decoder, 2), &base).unwrap();
        let bytes = std::fs::read(&file).unwrap();
        assert_eq!(&bytes[..8], b"GGUF\x03\0\0\0");
        assert!(is_marked_gguf(&file).unwrap());
        std::fs::write(&file, &bytes[..40]).unwrap();
        assert!(!is_marked_gguf(&file).unwrap());
        assert_eq!(bytes.len() % ALIGNMENT, 0);
    }
}
