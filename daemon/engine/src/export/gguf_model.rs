//! A whole model as one GGUF file, with an adapter folded in: what llama.cpp, Ollama and LM Studio run.
//!
//! From a GGUF base, everything is copied but what the adapter changes; from a Hugging Face folder, metadata and names are those that llama.cpp's
//! own converter gives. One tensor at a time is in memory.
//!
//! A folder's file is read back before it counts: rotary frequencies, end token and template must be the base's, and so must the tokens of a dozen texts in
//! which ways to divide texts differ.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use candle_core::Device;
use safetensors::Dtype;

use super::gguf::{MARK_KEY, marked};
use super::merged::on_cpu;
use super::{ExportError, io};
use crate::base_source::BaseSource;
use crate::base_spec::BaseSpec;
use crate::gguf::describe::{self, Tables};
use crate::gguf::names::{self, Undo};
use crate::gguf::requantise::{Change, plain};
use crate::gguf::tensor_kind::TensorKind;
use crate::gguf::tensors::pairs;
use crate::gguf::writer::{ALIGNMENT, GgufWriter, Keys};
use crate::gguf::{GgufTensors, describe_tokenizer};
use crate::lora::{Adapter, Lora, Place, merged_weight};
use crate::weights::Weights;

/// Files align their tensors to 32 bytes mostly; padding beyond this is no file's that anybody made.
const LARGEST_ALIGNMENT: usize = 1 << 16;
/// What llama.cpp calls a file by most of its weights.
const FILE_TYPES: [(TensorKind, u32); 3] =
    [(TensorKind::F32, 0), (TensorKind::F16, 1), (TensorKind::Bf16, 32)];

/// A tensor that the file will have.
struct Planned<'a> {
    name: String,
    shape: Vec<usize>,
    content: Content<'a>,
}

enum Content<'a> {
    /// As it lies in the base's GGUF file.
    Copied(TensorKind, &'a [u8]),
    /// Of the configuration.
    Table(Vec<f32>),
    /// Of the checkpoint.
    Weight { checkpoint: String, kind: TensorKind, undo: Undo, pair: Option<(Place, &'a Lora)> },
}

/// Writes the model to a new file, and waits until it is on the disk. The answer are remarks that the user should read.
///
/// # Errors
/// A base that llama.cpp computes otherwise or whose tokenizer it cannot be told surely, or the disk refuses.
pub fn write_gguf_model(file: &Path, adapter: &Adapter, base: &BaseSpec) -> Result<Vec<String>, ExportError> {
    let weights = Weights::open(&base.source)?;
    let mut pairs: HashMap<String, (Place, &Lora)> =
        adapter.pairs().map(|(place, pair)| (format!("{place}.weight"), (place, pair))).collect();
    let unties = base.config.tied_embeddings && !adapter.keeps_a_tie()?;
    if base.config.tied_embeddings && !unties {
        pairs.remove(&format!("{}.weight", Place::Head));
    }
    let (keys, planned, alignment) = if let Some(tensors) = weights.gguf() {
        let planned = from_gguf(tensors, base, &mut pairs, unties)?;
        let mut keys = marked();
        tensors.copy_keys(&mut keys, MARK_KEY);
        (keys, planned, tensors.alignment())
    } else {
        let (keys, planned) = from_folder(&weights, base, &mut pairs, unties)?;
        (keys, planned, ALIGNMENT)
    };
    if alignment > LARGEST_ALIGNMENT {
        return Err(ExportError::Unsupported(format!("the base aligns its tensors to {alignment} bytes")));
    }
    if let Some(missing) = pairs.keys().min() {
        let what = format!("the base's checkpoint has no tensor {missing}, which the adapter changes");
        return Err(ExportError::Unsupported(what));
    }
    let announced = planned.iter().map(|tensor| (tensor.name.clone(), tensor.shape.clone())).collect();
    let mut writer = GgufWriter::create(file, keys, alignment, announced).map_err(io(file))?;
    let mut widened = Widened::default();
    for tensor in &planned {
        let (kind, bytes) = tensor.bytes(&weights, &mut widened)?;
        writer.tensor(kind, &bytes).map_err(io(file))?;
    }
    writer.finish().map_err(io(file))?;
    check(file, base)?;
    Ok(widened.remark().into_iter().chain(window_remark(base)).collect())
}

/// llama.cpp attends to all of a text in every layer of phi3 ("Phi SWA is currently disabled", says its log), whatever the file says.
fn window_remark(base: &BaseSpec) -> Option<String> {
    if base.config.architecture != "Phi3ForCausalLM" {
        return None;
    }
    let window = base.config.attention.iter().filter_map(|layer| layer.window).min()?;
    (window < base.config.context).then(|| {
        format!(
            "llama.cpp does not keep this base's sliding window: in a text of more than {window} tokens it attends to all of them, and answers otherwise than here."
        )
    })
}

fn from_gguf<'a>(
    tensors: &'a GgufTensors,
    base: &BaseSpec,
    pairs: &mut HashMap<String, (Place, &'a Lora)>,
    unties: bool,
) -> Result<Vec<Planned<'a>>, ExportError> {
    let family = describe::family(base).map_err(ExportError::Unsupported)?;
    let undo: HashMap<String, Undo> = names::of_base(&base.config, family.permuted)
        .into_iter()
        .map(|named| (named.gguf, named.undo))
        .collect();
    let embedding = format!("{}.weight", Place::Embedding);
    let head = format!("{}.weight", Place::Head);
    let mut planned = Vec::new();
    let mut own_head = None;
    for mapped in tensors.in_order() {
        let weight = |checkpoint: &str, pair| Content::Weight {
            checkpoint: checkpoint.to_owned(),
            kind: mapped.kind,
            undo: undo.get(mapped.name).copied().unwrap_or(Undo::Nothing),
            pair: Some(pair),
        };
        let content = |pair: Option<(Place, &'a Lora)>| match (mapped.checkpoint, pair) {
            (Some(checkpoint), Some(pair)) => weight(checkpoint, pair),
            _ => Content::Copied(mapped.kind, mapped.bytes),
        };
        let checkpoint = mapped.checkpoint.unwrap_or_default();
        if unties && checkpoint == embedding {
            let content = content(pairs.remove(&head));
            own_head = Some(Planned { name: names::HEAD.to_owned(), shape: mapped.shape.to_vec(), content });
        }
        let pair = pairs.remove(checkpoint);
        planned.push(Planned {
            name: mapped.name.to_owned(),
            shape: mapped.shape.to_vec(),
            content: content(pair),
        });
    }
    planned.extend(own_head);
    Ok(planned)
}

fn from_folder<'a>(
    weights: &'a Weights,
    base: &BaseSpec,
    pairs: &mut HashMap<String, (Place, &'a Lora)>,
    unties: bool,
) -> Result<(Keys, Vec<Planned<'a>>), ExportError> {
    let refused = |why: String| {
        ExportError::Unsupported(format!(
            "{} cannot be written as a GGUF model: {why}. Export with --to merged and convert that with llama.cpp's convert_hf_to_gguf.py",
            base.name
        ))
    };
    let family = describe::family(base).map_err(refused)?;
    let mut named = names::of_base(&base.config, family.permuted);
    let head = format!("{}.weight", Place::Head);
    if unties {
        let embedding = format!("{}.weight", Place::Embedding);
        let own =
            names::Named { checkpoint: head.clone(), gguf: names::HEAD.to_owned(), undo: Undo::Nothing };
        let at = named.iter().position(|named| named.checkpoint == embedding).map_or(0, |at| at + 1);
        named.insert(at, own);
    }
    let types: HashMap<String, (Dtype, Vec<usize>)> = weights
        .raw()
        .into_iter()
        .flat_map(|(_, tensors)| tensors)
        .map(|tensor| (tensor.name, (tensor.dtype, tensor.shape)))
        .collect();
    let mut planned = Vec::new();
    let mut values: HashMap<u32, usize> = HashMap::new();
    for named in named {
        // A tied checkpoint has no weight for the head, or one that nobody reads.
        let source = if unties && named.checkpoint == head {
            format!("{}.weight", Place::Embedding)
        } else {
            named.checkpoint.clone()
        };
        let Some((dtype, shape)) = types.get(&source) else {
            return Err(ExportError::Unsupported(format!("the base's checkpoint has no tensor {source}")));
        };
        let kind = match dtype {
            // llama.cpp wants what is no matrix in f32.
            _ if shape.len() == 1 => TensorKind::F32,
            Dtype::BF16 => TensorKind::Bf16,
            Dtype::F16 => TensorKind::F16,
            _ => TensorKind::F32,
        };
        let file_type = FILE_TYPES.iter().find(|(known, _)| *known == kind).map_or(0, |(_, number)| *number);
        *values.entry(file_type).or_default() += shape.iter().product::<usize>();
        let pair = pairs.remove(&named.checkpoint);
        let content = Content::Weight { checkpoint: source, kind, undo: named.undo, pair };
        planned.push(Planned { name: named.gguf, shape: shape.clone(), content });
    }
    let mut keys = marked();
    keys.text("general.architecture", family.architecture);
    keys.text("general.type", "model");
    keys.text("general.name", &name(base, family.architecture));
    let most = values.into_iter().max_by_key(|(_, values)| *values).map_or(0, |(file_type, _)| file_type);
    keys.whole("general.file_type", most);
    let tables: Tables = describe::describe(&mut keys, base, &family).map_err(refused)?;
    describe_tokenizer::describe(&mut keys, base).map_err(refused)?;
    planned.extend(tables.into_iter().map(|(name, values)| Planned {
        name,
        shape: vec![values.len()],
        content: Content::Table(values),
    }));
    Ok((keys, planned))
}

/// llama.cpp knows by a Phi-3's name that the marks of its turns take the white space behind them, and looks these tokens up then: without one it
/// does not load the file.
fn name(base: &BaseSpec, architecture: &str) -> String {
    const LOOKED_UP: [&str; 4] = ["</s>", "<unk>", "<s>", "<|endoftext|>"];
    let lower = base.name.to_lowercase();
    let named = lower.contains("phi-3") || lower.contains("phi3");
    let has_them = LOOKED_UP.iter().all(|token| base.tokenizer.id(token).is_some());
    match (named, has_them && architecture == "phi3") {
        (false, true) => format!("{} (Phi-3)", base.name),
        (true, false) => architecture.to_uppercase().replace("PHI3", "Phi"),
        _ => base.name.clone(),
    }
}

impl Planned<'_> {
    fn bytes(
        &self,
        weights: &Weights,
        widened: &mut Widened,
    ) -> Result<(TensorKind, Cow<'_, [u8]>), ExportError> {
        let (checkpoint, kind, undo, pair) = match &self.content {
            Content::Copied(kind, bytes) => return Ok((*kind, Cow::Borrowed(bytes))),
            Content::Table(values) => return Ok((TensorKind::F32, plain(TensorKind::F32, values).into())),
            Content::Weight { checkpoint, kind, undo, pair } => (checkpoint, *kind, *undo, pair),
        };
        let as_there = |values: Vec<f32>| match undo {
            Undo::Nothing => Ok(values),
            Undo::One => Ok(values.into_iter().map(|value| value + 1.0).collect()),
            Undo::Pairs { heads } => pairs(&values, self.shape[0], heads).ok_or_else(|| {
                ExportError::Unsupported(format!("the tensor {checkpoint} has rows that make no heads"))
            }),
        };
        let flat = |tensor: candle_core::Tensor| tensor.flatten_all()?.to_vec1::<f32>();
        let Some((place, pair)) = pair else {
            let values = as_there(flat(weights.tensor(checkpoint, &self.shape, &Device::Cpu)?)?)?;
            return Ok((kind, plain(kind, &values).into()));
        };
        let &[rows, columns] = self.shape.as_slice() else {
            return Err(ExportError::Unsupported(format!("the tensor {checkpoint} is no matrix")));
        };
        let weight = weights.frozen(checkpoint, [rows, columns], &Device::Cpu)?;
        let after = as_there(flat(merged_weight(*place, &on_cpu(pair)?, &weight)?)?)?;
        let before =
            if kind.block_values() > 1 { as_there(flat(weight.widened(0..rows)?)?)? } else { Vec::new() };
        if before == after {
            // Rounding anew might move what nothing has changed.
            if let Some(mapped) = weights.gguf().and_then(|file| file.mapped(&self.name)) {
                return Ok((mapped.kind, mapped.bytes.to_vec().into()));
            }
        }
        let (written, bytes) = Change { before: &before, after: &after, columns }.encoded(kind)?;
        widened.note(kind, written);
        Ok((written, bytes.into()))
    }
}

/// Changed tensors that could not keep their type.
#[derive(Default)]
struct Widened {
    changed: usize,
    wider: usize,
    from: Option<TensorKind>,
}

impl Widened {
    fn note(&mut self, before: TensorKind, after: TensorKind) {
        self.changed += 1;
        if before != after {
            self.wider += 1;
            self.from.get_or_insert(before);
        }
    }

    fn remark(&self) -> Option<String> {
        let from = self.from?;
        Some(format!(
            "{} of {} changed tensors have more bits than in the base: in {} the rounding would have taken away what the adapter adds.",
            self.wider,
            self.changed,
            from.name()
        ))
    }
}

/// Texts in which ways to divide them differ.
const PROBES: [&str; 12] = [
    "The soup wasn't good; I'll say it's what they'd've eaten. WE'RE OK",
    "12345 3.14 1,000,000 ١٢٣ x2y 2026-11-30",
    "  two  spaces,\ttabs\t\tand\n\n\nlines \r\n end   ",
    "巷口的面馆换了老板，汤还是那么浓。豆浆比早晨还热！",
    "नमस्ते दुनिया สวัสดี Привет мир ñandú Ångström",
    "e\u{301} \u{c5} \u{212b} ﬁ",
    "😀👩‍👩‍👧 — “quotes” … §1/2",
    "def f(x):\n    return x**2  # ok\n\n\tprint(f(10))",
    "camelCase HTTPServer snake_case",
    "'s 't 'LL 'Ve o'clock",
    " leading",
    "",
];

/// Whether the file says what the base says, as far as this engine reads it back: its shape, and the tokens of texts of many kinds.
fn check(file: &Path, base: &BaseSpec) -> Result<(), ExportError> {
    if matches!(base.source.stored(), BaseSource::Gguf(_)) {
        return Ok(());
    }
    let refused = |what: String| {
        ExportError::Unsupported(format!(
            "{} cannot be written as a GGUF model: {what} would come out otherwise. Export with --to merged and convert that with llama.cpp's \
             convert_hf_to_gguf.py",
            base.name
        ))
    };
    let read = BaseSpec::open(&BaseSource::Gguf(file.to_owned()))?;
    let turns = |config: &crate::config::DecoderConfig| -> Vec<Vec<f32>> {
        config
            .attention
            .iter()
            .filter_map(|layer| layer.rope)
            .map(|rope| config.ropes[rope].frequencies(2))
            .collect()
    };
    let near = |one: &[f32], other: &[f32]| {
        one.len() == other.len()
            && one.iter().zip(other).all(|(one, other)| (one - other).abs() <= 1e-5 * one.abs())
    };
    let (own, told) = (turns(&base.config), turns(&read.config));
    if own.len() != told.len() || !own.iter().zip(&told).all(|(own, told)| near(own, told)) {
        return Err(refused("its rotary positions".to_owned()));
    }
    for probe in PROBES {
        if base.encode_raw(probe)? != read.encode_raw(probe)? {
            return Err(refused(format!("the tokens of {probe:?}")));
        }
    }
    if read.eos.first() != base.eos.first() || read.chat_template() != base.chat_template() {
        return Err(refused("the end of its answers".to_owned()));
    }
    Ok(())
}
