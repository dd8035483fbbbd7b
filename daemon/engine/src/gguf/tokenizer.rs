//! The tokenizer that a GGUF's metadata tells, as the `tokenizer.json` and `tokenizer_config.json` that the model had.
//!
//! Owns the two kinds: byte-level pairs (`gpt2`), and SentencePiece (`llama`), which is read as pairs too, ranked by the scores of what they make.

use serde::{Serialize, Serializer};
use serde_json::{Map, Value as Json, json};

use super::file::GgufFile;
use super::word_pieces::Splitting;
use crate::base_error::BaseError;

const PREFIX: &str = "tokenizer.ggml";
const TEMPLATE: &str = "tokenizer.chat_template";
/// What SentencePiece writes for a space.
const SPACE: &str = "\u{2581}";

/// What a token is, as llama.cpp numbers it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum TokenType {
    Normal,
    Unknown,
    Control,
    UserDefined,
    Unused,
    Byte,
}

struct Vocabulary<'a> {
    tokens: Vec<&'a str>,
    types: Vec<TokenType>,
}

fn vocabulary(file: &GgufFile) -> Result<Vocabulary<'_>, BaseError> {
    let key = format!("{PREFIX}.tokens");
    let list = file.required(&key, file.list(&key)?)?;
    let tokens = list.texts().ok_or_else(|| file.bad(format!("{key} must be a list of texts")))?;
    let key = format!("{PREFIX}.token_type");
    let types = match file.list(&key)? {
        None => vec![TokenType::Normal; tokens.len()],
        Some(list) => {
            let wholes = list.wholes().filter(|types| types.len() == tokens.len());
            let wholes =
                wholes.ok_or_else(|| file.bad(format!("{key} must have a number for each token")))?;
            let of = |whole: i64| match whole {
                1 => Ok(TokenType::Normal),
                2 => Ok(TokenType::Unknown),
                3 => Ok(TokenType::Control),
                4 => Ok(TokenType::UserDefined),
                5 => Ok(TokenType::Unused),
                6 => Ok(TokenType::Byte),
                other => Err(file.bad(format!("{key} holds {other}, which is no type of a token"))),
            };
            wholes.into_iter().map(of).collect::<Result<_, _>>()?
        }
    };
    Ok(Vocabulary { tokens, types })
}

impl Vocabulary<'_> {
    /// The text of the token that a key names by its number.
    fn named(&self, file: &GgufFile, key: &str) -> Result<Option<(u64, &str)>, BaseError> {
        let key = format!("{PREFIX}.{key}");
        let Some(id) = file.whole(&key)?.filter(|id| *id != u64::from(u32::MAX)) else { return Ok(None) };
        let text = usize::try_from(id).ok().and_then(|id| self.tokens.get(id));
        match text {
            Some(text) => Ok(Some((id, *text))),
            None => Err(file.bad(format!("{key} is {id}, but there are {} tokens", self.tokens.len()))),
        }
    }

    /// Tokens that are found as a whole in any text. `swallows` says which take the white space after them too.
    fn added(&self, swallows: impl Fn(&str) -> bool) -> Json {
        let all = self.tokens.iter().zip(&self.types).enumerate();
        let added = all.filter_map(|(id, (text, kind))| {
            let special = match kind {
                TokenType::Control | TokenType::Unknown => true,
                TokenType::UserDefined => false,
                TokenType::Normal | TokenType::Unused | TokenType::Byte => return None,
            };
            Some(json!({"id": id, "content": text, "single_word": false, "lstrip": false,
                "rstrip": special && swallows(text), "normalized": false, "special": special}))
        });
        added.collect()
    }
}

/// `tokenizer.json`. Words and merges are borrowed: as trees of JSON values, those of 150 thousand words took as long as reading the text they make.
#[derive(Serialize)]
struct TokenizerFile<'a> {
    version: &'static str,
    added_tokens: Json,
    normalizer: Json,
    pre_tokenizer: Json,
    post_processor: Json,
    decoder: Json,
    model: PairModel<'a>,
}

#[derive(Serialize)]
struct PairModel<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    unk_token: Option<&'a str>,
    fuse_unk: bool,
    byte_fallback: bool,
    ignore_merges: bool,
    vocab: Ids<'a>,
    merges: Vec<(&'a str, &'a str)>,
}

/// Every token that is used, with its number.
struct Ids<'a>(&'a Vocabulary<'a>);

impl Serialize for Ids<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let all = self.0.tokens.iter().zip(&self.0.types).enumerate();
        let used = all.filter(|(_, (_, kind))| **kind != TokenType::Unused);
        serializer.collect_map(used.map(|(id, (text, _))| (text, id)))
    }
}

/// What `tokenizer.json` would say.
pub(super) fn tokenizer(file: &GgufFile) -> Result<Vec<u8>, BaseError> {
    let key = format!("{PREFIX}.model");
    let vocabulary = vocabulary(file)?;
    let told = match file.required(&key, file.text(&key)?)? {
        "gpt2" => byte_level(file, &vocabulary)?,
        "llama" => sentence_piece(file, &vocabulary)?,
        other => {
            let other: String = other.chars().take(60).collect();
            return Err(file.bad(format!("{key} is {other:?}; this version reads gpt2 and llama")));
        }
    };
    serde_json::to_vec(&told).map_err(|error| file.bad(format!("{key} cannot be told as JSON: {error}")))
}

fn byte_level<'a>(file: &'a GgufFile, vocabulary: &'a Vocabulary) -> Result<TokenizerFile<'a>, BaseError> {
    let key = format!("{PREFIX}.pre");
    let name = file.required(&key, file.text(&key)?)?;
    let splitting = Splitting::of(name).ok_or_else(|| {
        let name: String = name.chars().take(60).collect();
        file.bad(format!(
            "{key} is {name:?}, and this version does not know how that one divides texts; it knows {}",
            Splitting::known()
        ))
    })?;
    let key = format!("{PREFIX}.merges");
    let merges = file.required(&key, file.list(&key)?)?.texts();
    // A merge's own parts never begin with the space that divides them, but the first may be one.
    let pair = |merge: &'a str| {
        let at = merge.char_indices().skip(1).find(|(_, letter)| *letter == ' ')?.0;
        Some((&merge[..at], &merge[at + 1..]))
    };
    let merges = merges.and_then(|merges| merges.into_iter().map(pair).collect::<Option<Vec<_>>>());
    let merges =
        merges.ok_or_else(|| file.bad(format!("{key} must be a list of texts of two tokens each")))?;
    let first = match splitting.pattern {
        None => json!({"type": "Digits", "individual_digits": true}),
        Some(pattern) => {
            json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false})
        }
    };
    let bytes = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false,
        "use_regex": splitting.pattern.is_none()});
    Ok(TokenizerFile {
        version: "1.0",
        added_tokens: vocabulary.added(|_| false),
        normalizer: if splitting.composes { json!({"type": "NFC"}) } else { Json::Null },
        pre_tokenizer: json!({"type": "Sequence", "pretokenizers": [first, bytes]}),
        post_processor: around(file, vocabulary, splitting.begins)?,
        decoder: json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false}),
        model: PairModel {
            kind: "BPE",
            unk_token: None,
            fuse_unk: false,
            byte_fallback: false,
            ignore_merges: splitting.whole_words,
            vocab: Ids(vocabulary),
            merges,
        },
    })
}

fn sentence_piece<'a>(
    file: &'a GgufFile,
    vocabulary: &'a Vocabulary,
) -> Result<TokenizerFile<'a>, BaseError> {
    let key = format!("{PREFIX}.scores");
    let scores = file.required(&key, file.list(&key)?)?.numbers();
    let scores = scores.filter(|scores| {
        scores.len() == vocabulary.tokens.len() && scores.iter().all(|score| score.is_finite())
    });
    let scores = scores.ok_or_else(|| file.bad(format!("{key} must have a number for each token")))?;
    let prefixed = file.flag(&format!("{PREFIX}.add_space_prefix"))?.unwrap_or(true);
    let mut normalizers = vec![json!({"type": "Replace", "pattern": {"String": " "}, "content": SPACE})];
    let mut decoders = vec![
        json!({"type": "Replace", "pattern": {"String": SPACE}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    if prefixed {
        normalizers.insert(0, json!({"type": "Prepend", "prepend": SPACE}));
        decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    let unknown = vocabulary.named(file, "unknown_token_id")?.map(|(_, text)| text);
    // As its tokenizer has it, and llama.cpp by this name: the marks of its turns take the white space after them.
    let phi3 = file.text("general.architecture")? == Some("phi3");
    let swallows = |text: &str| phi3 && !["<unk>", "<s>", "<|endoftext|>"].contains(&text);
    Ok(TokenizerFile {
        version: "1.0",
        added_tokens: vocabulary.added(swallows),
        normalizer: json!({"type": "Sequence", "normalizers": normalizers}),
        pre_tokenizer: Json::Null,
        post_processor: around(file, vocabulary, true)?,
        decoder: json!({"type": "Sequence", "decoders": decoders}),
        model: PairModel {
            kind: "BPE",
            unk_token: unknown,
            fuse_unk: true,
            byte_fallback: true,
            ignore_merges: false,
            vocab: Ids(vocabulary),
            merges: merges(vocabulary, &scores),
        },
    })
}

/// The pairs that make a token, the best score first: SentencePiece joins whichever neighbours make the best token.
fn merges<'a>(vocabulary: &Vocabulary<'a>, scores: &[f64]) -> Vec<(&'a str, &'a str)> {
    let usable = |kind: TokenType| matches!(kind, TokenType::Normal | TokenType::UserDefined);
    let all = vocabulary.tokens.iter().zip(&vocabulary.types).zip(scores);
    let scored: Vec<(&str, f64)> =
        all.filter(|((_, kind), _)| usable(**kind)).map(|((text, _), score)| (*text, *score)).collect();
    let places: std::collections::HashMap<&str, usize> =
        scored.iter().enumerate().map(|(place, (text, _))| (*text, place)).collect();
    let mut found = Vec::new();
    for (text, score) in &scored {
        for (at, _) in text.char_indices().skip(1) {
            let (left, right) = text.split_at(at);
            if let (Some(first), Some(second)) = (places.get(left), places.get(right)) {
                found.push((*score, *first, *second, left, right));
            }
        }
    }
    found.sort_by(|one, other| {
        other.0.total_cmp(&one.0).then_with(|| (one.1, one.2).cmp(&(other.1, other.2)))
    });
    found.into_iter().map(|(_, _, _, left, right)| (left, right)).collect()
}

/// What is put around a text.
fn around(file: &GgufFile, vocabulary: &Vocabulary, begins: bool) -> Result<Json, BaseError> {
    let flag = |key: &str| file.flag(&format!("{PREFIX}.{key}"));
    let text = json!({"Sequence": {"id": "A", "type_id": 0}});
    let (mut around, mut tokens) = (vec![text], Map::new());
    let mut special = |key: &str| -> Result<Json, BaseError> {
        let found = vocabulary.named(file, key)?;
        let (id, text) = file.required(&format!("{PREFIX}.{key}"), found)?;
        tokens.insert(text.to_owned(), json!({"id": text, "ids": [id], "tokens": [text]}));
        Ok(json!({"SpecialToken": {"id": text, "type_id": 0}}))
    };
    if flag("add_bos_token")?.unwrap_or(begins) {
        around.insert(0, special("bos_token_id")?);
    }
    if flag("add_eos_token")?.unwrap_or(false) {
        around.push(special("eos_token_id")?);
    }
    if tokens.is_empty() {
        return Ok(Json::Null);
    }
    let mut pair = around.clone();
    pair.push(json!({"Sequence": {"id": "B", "type_id": 1}}));
    Ok(json!({"type": "TemplateProcessing", "single": around, "pair": pair, "special_tokens": tokens}))
}

/// What `tokenizer_config.json` would say.
pub(super) fn settings(file: &GgufFile) -> Result<Json, BaseError> {
    let vocabulary = vocabulary(file)?;
    let mut settings = Map::new();
    for (key, name) in [
        ("bos_token_id", "bos_token"),
        ("eos_token_id", "eos_token"),
        ("unknown_token_id", "unk_token"),
        ("padding_token_id", "pad_token"),
    ] {
        if let Some((_, text)) = vocabulary.named(file, key)? {
            settings.insert(name.to_owned(), text.into());
        }
    }
    for key in ["eot_token_id", "eom_token_id"] {
        vocabulary.named(file, key)?;
    }
    let mut templates = Vec::new();
    if let Some(text) = file.text(TEMPLATE)? {
        templates.push(json!({"name": "default", "template": text}));
    }
    for key in file.keys() {
        if let Some(name) = key.strip_prefix(TEMPLATE).and_then(|rest| rest.strip_prefix('.')) {
            templates.push(json!({"name": name, "template": file.text(key)?}));
        }
    }
    if !templates.is_empty() {
        settings.insert("chat_template".to_owned(), templates.into());
    }
    Ok(Json::Object(settings))
}
