//! Small tokenizers of every family that Llama-shaped bases use, for tests.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use tokenizers::Tokenizer;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

use crate::tokenizer::{TextTokenizer, TokenizerConfig};

const SPECIALS: [&str; 5] = ["<unk>", "<s>", "<|end|>", "<|user|>", "<|assistant|>"];

fn build(mut parts: Value, pieces: impl IntoIterator<Item = String>, merges: &[&str]) -> Tokenizer {
    let mut vocab = Map::new();
    for piece in SPECIALS.map(str::to_owned).into_iter().chain(pieces) {
        let id = vocab.len();
        vocab.entry(piece).or_insert(json!(id));
    }
    for merge in merges {
        let id = vocab.len();
        vocab.entry(merge.replace(' ', "")).or_insert(json!(id));
    }
    let added: Vec<Value> = (0..)
        .zip(SPECIALS)
        .map(|(id, content): (u32, _)| {
            json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true})
        })
        .collect();
    parts["version"] = json!("1.0");
    parts["added_tokens"] = json!(added);
    parts["model"]["type"] = json!("BPE");
    parts["model"]["unk_token"] = json!("<unk>");
    parts["model"]["vocab"] = Value::Object(vocab);
    parts["model"]["merges"] = json!(merges);
    Tokenizer::from_bytes(parts.to_string()).unwrap()
}

fn bos() -> Value {
    json!({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}}], "pair": [{"Sequence": {"id": "A", "type_id": 0}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}})
}

/// GPT-2's kind, as Llama 3 and `hotplate-tiny` have it; without a BOS. A line break and the next can be one token.
pub(crate) fn byte_level() -> Tokenizer {
    let mut alphabet: Vec<char> = ByteLevel::alphabet().into_iter().collect();
    alphabet.sort_unstable();
    let level =
        json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false});
    build(
        json!({"pre_tokenizer": level, "post_processor": level, "decoder": level, "model": {}}),
        alphabet.into_iter().map(String::from),
        &["h e", "l l", "he ll", "hell o", "Ċ Ċ", "Ġ a", "Ġ hello", "ä ½"],
    )
}

fn sentencepiece_pieces() -> impl Iterator<Item = String> {
    let bytes = (0..=255_u32).map(|byte| format!("<0x{byte:02X}>"));
    bytes.chain("▁abcdefghijklmnopqrstuvwxyz你好\n".chars().map(String::from))
}

const SENTENCEPIECE_MERGES: [&str; 6] = ["h e", "l l", "he ll", "hell o", "▁ hello", "▁ ▁"];

/// SentencePiece's kind, as Llama 2 has it: a space before every text, bytes for unknown characters, a BOS.
pub(crate) fn llama() -> Tokenizer {
    let normalizer = json!({"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"},
        {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]});
    let decoder = json!({"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0}]});
    build(
        json!({"normalizer": normalizer, "decoder": decoder, "post_processor": bos(),
            "model": {"byte_fallback": true, "fuse_unk": true}}),
        sentencepiece_pieces(),
        &SENTENCEPIECE_MERGES,
    )
}

/// The same, saved by somebody who wanted every text ended: its end token is added, too.
pub(crate) fn ended() -> Tokenizer {
    let special = |text: &str| json!({"SpecialToken": {"id": text, "type_id": 0}});
    let sequence = |id: &str| json!({"Sequence": {"id": id, "type_id": 0}});
    let ended = json!({"type": "TemplateProcessing", "single": [special("<s>"), sequence("A"), special("<|end|>")],
        "pair": [sequence("A"), sequence("B")], "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]},
        "<|end|>": {"id": "<|end|>", "ids": [2], "tokens": ["<|end|>"]}}});
    let level =
        json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false});
    let mut parts: Value = serde_json::from_str(&byte_level().to_string(false).unwrap()).unwrap();
    parts["post_processor"] = json!({"type": "Sequence", "processors": [level, ended]});
    Tokenizer::from_bytes(parts.to_string()).unwrap()
}

/// As transformers 5 writes the same: the space is put before a text's first piece only.
pub(crate) fn metaspace() -> Tokenizer {
    let metaspace =
        json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": false});
    let decoder =
        json!({"type": "Sequence", "decoders": [metaspace, {"type": "ByteFallback"}, {"type": "Fuse"}]});
    build(
        json!({"pre_tokenizer": metaspace, "decoder": decoder, "post_processor": bos(),
            "model": {"byte_fallback": true, "fuse_unk": true}}),
        sentencepiece_pieces(),
        &SENTENCEPIECE_MERGES,
    )
}

/// A token for each letter, as far as the vocabulary reaches.
pub(crate) fn letters(vocab: usize) -> Tokenizer {
    let pieces = ('a'..='z').take(vocab.saturating_sub(SPECIALS.len())).map(String::from);
    build(json!({"decoder": {"type": "Fuse"}, "model": {"fuse_unk": false}}), pieces, &[])
}

pub(crate) fn text_tokenizer(tokenizer: Tokenizer) -> Arc<TextTokenizer> {
    let read =
        TextTokenizer::new(tokenizer, &TokenizerConfig::default(), 1000, PathBuf::from("tokenizer.json"));
    Arc::new(read.unwrap())
}
