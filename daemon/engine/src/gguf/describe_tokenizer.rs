//! A Hugging Face base's tokenizer and chat template as the metadata that llama.cpp reads: the other way round of [`tokenizer`](super::tokenizer).
//!
//! Nothing is guessed: how a byte-level tokenizer divides texts must be one of the ways that llama.cpp has a name for, and the scores of a
//! SentencePiece vocabulary must follow from its merges.
//!
//! Scores that are the ranks of merges are exact where all pairs that make a token follow each other; else the tokenizer is refused.

use std::collections::HashMap;

use serde_json::Value as Json;

use super::word_pieces::Splitting;
use super::writer::Keys;
use crate::base_spec::BaseSpec;
use crate::tokenizer::TokenizerConfig;

const PREFIX: &str = "tokenizer.ggml";
const SPACE: &str = "\u{2581}";

// What llama.cpp numbers a token's type.
const NORMAL: i32 = 1;
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const UNUSED: i32 = 5;
const BYTE: i32 = 6;

/// What stands in tokenizer.json, as far as it is needed.
struct Parts<'a> {
    model: &'a Json,
    normalizer: &'a Json,
    pre_tokenizer: &'a Json,
}

/// # Errors
/// What llama.cpp has no name for.
pub(crate) fn describe(keys: &mut Keys, base: &BaseSpec) -> Result<(), String> {
    let bytes = base.source.read("tokenizer.json").map_err(|error| error.to_string())?;
    let file: Json = serde_json::from_slice(&bytes).map_err(|error| format!("tokenizer.json: {error}"))?;
    let parts = Parts {
        model: &file["model"],
        normalizer: &file["normalizer"],
        pre_tokenizer: &file["pre_tokenizer"],
    };
    let kind = parts.model["type"].as_str().unwrap_or("BPE");
    if kind != "BPE" {
        return Err(format!(
            "its tokenizer is of the kind {kind}, and only byte-pair tokenizers are written"
        ));
    }
    let sentence_piece = parts.model["byte_fallback"] == true;
    let mut tokens = tokens(base, sentence_piece)?;
    if sentence_piece {
        let unknown = parts.model["unk_token"].as_str().and_then(|text| base.tokenizer.id(text));
        if let Some(kind) = unknown.and_then(|id| tokens.types.get_mut(id as usize)) {
            *kind = UNKNOWN;
        }
        keys.text(&format!("{PREFIX}.model"), "llama");
        keys.text(&format!("{PREFIX}.pre"), "default");
        keys.flag(&format!("{PREFIX}.add_space_prefix"), prefixed(&parts)?);
        let scores = scores(&parts, base, tokens.texts.len())?;
        tokens.put(keys);
        keys.numbers(&format!("{PREFIX}.scores"), &scores);
        if let Some(unknown) = unknown {
            keys.whole(&format!("{PREFIX}.unknown_token_id"), unknown);
        }
    } else {
        keys.text(&format!("{PREFIX}.model"), "gpt2");
        keys.text(&format!("{PREFIX}.pre"), splitting(&parts)?);
        tokens.put(keys);
        let merges: Vec<String> =
            merges(&parts)?.into_iter().map(|(left, right)| format!("{left} {right}")).collect();
        keys.texts(&format!("{PREFIX}.merges"), &merges);
    }
    around(keys, base)?;
    if let Some(template) = base.chat_template() {
        keys.text("tokenizer.chat_template", template);
    }
    Ok(())
}

struct Tokens {
    texts: Vec<String>,
    types: Vec<i32>,
}

impl Tokens {
    fn put(&self, keys: &mut Keys) {
        keys.texts(&format!("{PREFIX}.tokens"), &self.texts);
        keys.wholes(&format!("{PREFIX}.token_type"), &self.types);
    }
}

/// As many as the embedding has rows.
fn tokens(base: &BaseSpec, sentence_piece: bool) -> Result<Tokens, String> {
    let (mut texts, mut types) = (Vec::new(), Vec::new());
    for id in 0..u32::try_from(base.config.vocab).map_err(|_| "its vocabulary is too large".to_owned())? {
        let Some(text) = base.tokenizer.piece(id) else {
            texts.push(format!("[PAD{id}]"));
            types.push(UNUSED);
            continue;
        };
        let byte = || text.len() == 6 && text.starts_with("<0x") && text.ends_with('>');
        let (text, kind) = match (base.tokenizer.is_added(id), base.tokenizer.is_text(id)) {
            (true, false) => (text, CONTROL),
            // They are looked for before spaces are rewritten.
            (true, true) if sentence_piece => (text.replace(SPACE, " "), USER_DEFINED),
            (true, true) => (text, USER_DEFINED),
            (false, _) if sentence_piece && byte() => (text, BYTE),
            (false, _) => (text, NORMAL),
        };
        texts.push(text);
        types.push(kind);
    }
    Ok(Tokens { texts, types })
}

fn merges<'a>(parts: &Parts<'a>) -> Result<Vec<(&'a str, &'a str)>, String> {
    let pair = |merge: &'a Json| match merge {
        Json::String(text) => text.split_once(' '),
        Json::Array(two) => Some((two.first()?.as_str()?, two.get(1)?.as_str()?)),
        _ => None,
    };
    let list = parts.model["merges"].as_array().ok_or("its tokenizer has no merges")?;
    list.iter()
        .map(pair)
        .collect::<Option<_>>()
        .ok_or_else(|| "its tokenizer's merges are no pairs".to_owned())
}

/// llama.cpp joins the neighbours that make the best token, tokenizers the pair that comes first: the same where all pairs that make a token
/// follow each other.
fn scores(parts: &Parts, base: &BaseSpec, count: usize) -> Result<Vec<f32>, String> {
    let merges = merges(parts)?;
    let mut rank: HashMap<String, usize> = HashMap::new();
    let mut last = String::new();
    for (left, right) in merges {
        let made = format!("{left}{right}");
        if made == last {
            continue;
        }
        let next = rank.len();
        if rank.insert(made.clone(), next).is_some() {
            return Err(format!(
                "its tokenizer makes the token {made:?} at two places of its merges, which no scores of llama.cpp's say"
            ));
        }
        last = made;
    }
    // What nothing makes is never compared.
    let lowest = -(rank.len() as f32);
    let mut scores = vec![lowest; count];
    for (text, rank) in rank {
        if let Some(score) = base.tokenizer.id(&text).and_then(|id| scores.get_mut(id as usize)) {
            *score = -(rank as f32);
        }
    }
    Ok(scores)
}

/// Whether a space is put before every text.
fn prefixed(parts: &Parts) -> Result<bool, String> {
    let all = list(parts.normalizer, "normalizers");
    let mut prefixed = false;
    let mut spaces = false;
    for normalizer in &all {
        match normalizer["type"].as_str() {
            Some("Prepend") if normalizer["prepend"] == SPACE => prefixed = true,
            Some("Replace") if normalizer["pattern"]["String"] == " " && normalizer["content"] == SPACE => {
                spaces = true;
            }
            other => return Err(format!("its tokenizer has the normalizer {}", other.unwrap_or("?"))),
        }
    }
    // Dividing where no space is left does nothing.
    let divides = parts.pre_tokenizer["type"] == "Split" && parts.pre_tokenizer["pattern"]["String"] == " ";
    if spaces && (parts.pre_tokenizer.is_null() || divides) {
        Ok(prefixed)
    } else {
        Err("how its tokenizer treats spaces has no counterpart in llama.cpp".to_owned())
    }
}

/// The name of how texts are divided before bytes are joined.
fn splitting(parts: &Parts) -> Result<&'static str, String> {
    let unnamed = || {
        "how its tokenizer divides texts (pre_tokenizer) is none of the ways that llama.cpp has a name for that is known here".to_owned()
    };
    let composes = match list(parts.normalizer, "normalizers").as_slice() {
        [] => false,
        [one] if one["type"] == "NFC" => true,
        _ => return Err(unnamed()),
    };
    let steps = list(parts.pre_tokenizer, "pretokenizers");
    let plain_bytes = |step: &Json| step["type"] == "ByteLevel" && step["add_prefix_space"] != true;
    let pattern = match steps.as_slice() {
        [bytes] if plain_bytes(bytes) && bytes["use_regex"] != false => Splitting::gpt2(),
        [digits, bytes]
            if digits["type"] == "Digits"
                && digits["individual_digits"] == true
                && plain_bytes(bytes)
                && bytes["use_regex"] != false =>
        {
            None
        }
        [split, bytes]
            if split["type"] == "Split"
                && split["behavior"] == "Isolated"
                && split["invert"] != true
                && plain_bytes(bytes)
                && bytes["use_regex"] == false =>
        {
            Some(split["pattern"]["Regex"].as_str().ok_or_else(unnamed)?)
        }
        _ => return Err(unnamed()),
    };
    let whole_words = parts.model["ignore_merges"] == true;
    Splitting::named(pattern, composes, whole_words).ok_or_else(unnamed)
}

/// A normalizer or pre-tokenizer as the steps that it consists of.
fn list<'a>(one: &'a Json, inner: &str) -> Vec<&'a Json> {
    match (one.is_null(), one["type"].as_str()) {
        (true, _) => Vec::new(),
        (_, Some("Sequence")) => one[inner].as_array().map(|all| all.iter().collect()).unwrap_or_default(),
        _ => vec![one],
    }
}

/// The special tokens, and which of them the tokenizer puts around a text.
fn around(keys: &mut Keys, base: &BaseSpec) -> Result<(), String> {
    let encode = |special| base.tokenizer.encode("a", special).map_err(|error| error.to_string());
    let (alone, whole) = (encode(false)?, encode(true)?);
    let added = |before: Option<u32>, behind: Option<u32>| -> Vec<u32> {
        before.into_iter().chain(alone.iter().copied()).chain(behind).collect()
    };
    let settings = TokenizerConfig::read(&base.source).map_err(|error| error.to_string())?;
    let padding = settings.special_tokens.get("pad_token").and_then(|text| base.tokenizer.id(text));
    let (bos, eos) = (base.bos, base.eos.first().copied());
    let ways = [(None, None), (bos, None), (None, eos), (bos, eos)];
    let Some((before, behind)) = ways.into_iter().find(|(before, behind)| added(*before, *behind) == whole)
    else {
        return Err("its tokenizer puts other tokens around a text than BOS and EOS".to_owned());
    };
    keys.flag(&format!("{PREFIX}.add_bos_token"), before.is_some());
    keys.flag(&format!("{PREFIX}.add_eos_token"), behind.is_some());
    let other_end = |at: usize| base.eos.get(at).copied();
    let ids =
        [("bos", bos), ("eos", eos), ("eot", other_end(1)), ("eom", other_end(2)), ("padding", padding)];
    for (name, id) in ids {
        if let Some(id) = id {
            keys.whole(&format!("{PREFIX}.{name}_token_id"), id);
        }
    }
    Ok(())
}
