//! A base's tokenizer: `tokenizer.json`, and what `tokenizer_config.json` says about special tokens.
//!
//! Owns the conversion between text and tokens, exactly as transformers' fast tokenizers do it. It must not know chat
//! templates' meaning or training.

use std::collections::{BTreeMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::OnceLock;

use serde_json::{Map, Value};
use tokenizers::{AddedToken, Encoding, Tokenizer};

use crate::base_error::BaseError;
use crate::base_source::BaseSource;
use crate::config::parse_object;

const FILE: &str = "tokenizer.json";
const CONFIG_FILE: &str = "tokenizer_config.json";
const SPECIALS_FILE: &str = "special_tokens_map.json";

/// `tokenizer_config.json`, and the older `special_tokens_map.json` under it.
#[derive(Debug, Default)]
pub(crate) struct TokenizerConfig {
    /// Keys such as `eos_token` with the token's text; chat templates see them under these names.
    pub(crate) special_tokens: BTreeMap<String, String>,
    /// A string, or a list of named templates.
    pub(crate) chat_template: Option<Value>,
    pub(crate) added_tokens: Vec<(u32, AddedToken)>,
}

impl TokenizerConfig {
    pub(crate) fn read(source: &BaseSource) -> Result<Self, BaseError> {
        let mut config = Self::default();
        let object = |name: &str| -> Result<Map<String, Value>, BaseError> {
            let Some(bytes) = source.read_if_present(name)? else { return Ok(Map::new()) };
            parse_object(&bytes).map_err(|why| BaseError::BadTokenizer { file: source.path(name), why })
        };
        let mut main = object(CONFIG_FILE)?;
        config.chat_template = main.remove("chat_template").filter(|value| !value.is_null());
        if let Some(Value::Object(added)) = main.remove("added_tokens_decoder") {
            for (id, token) in added {
                let parsed = id.parse().ok().zip(serde_json::from_value(token).ok());
                let Some(parsed) = parsed else {
                    let why = format!("added_tokens_decoder.{id} is no token");
                    return Err(BaseError::BadTokenizer { file: source.path(CONFIG_FILE), why });
                };
                config.added_tokens.push(parsed);
            }
            config.added_tokens.sort_by_key(|(id, _)| *id);
        }
        for (key, value) in object(SPECIALS_FILE)?.into_iter().chain(main) {
            if !key.ends_with("_token") {
                continue;
            }
            let text = match value {
                Value::String(text) => text,
                Value::Object(mut token) => match token.remove("content") {
                    Some(Value::String(text)) => text,
                    _ => continue,
                },
                // `"bos_token": null` says that there is none.
                Value::Null => {
                    config.special_tokens.remove(&key);
                    continue;
                }
                _ => continue,
            };
            config.special_tokens.insert(key, text);
        }
        Ok(config)
    }
}

/// Text to tokens and back. `Send + Sync`; share it with `Arc`.
#[derive(Debug)]
pub(crate) struct TextTokenizer {
    inner: Tokenizer,
    special: HashSet<u32>,
    /// Tokens that are found as a whole in any text, special or not.
    added: HashSet<u32>,
    /// How many tokens the post-processor puts behind every text: an end token, mostly none.
    behind: usize,
    /// The base knows tokens below this.
    vocab: usize,
    file: PathBuf,
    longest_token: OnceLock<usize>,
}

/// A text's tokens and the bytes of the text that each one stands for (`0..0` for tokens that were added around it).
pub(crate) struct Pieces {
    pub(crate) tokens: Vec<u32>,
    pub(crate) spans: Vec<(usize, usize)>,
}

impl TextTokenizer {
    pub(crate) fn read(
        source: &BaseSource,
        config: &TokenizerConfig,
        vocab: usize,
    ) -> Result<Self, BaseError> {
        let file = source.path(FILE);
        let bad = |why: String| BaseError::BadTokenizer { file: file.clone(), why };
        let Some(bytes) = source.read_if_present(FILE)? else {
            return Err(bad(missing(source)));
        };
        let parsed = shielded(|| Tokenizer::from_bytes(&bytes)).map_err(bad)?;
        Self::new(parsed, config, vocab, file.clone()).map_err(bad)
    }

    pub(crate) fn new(
        mut inner: Tokenizer,
        config: &TokenizerConfig,
        vocab: usize,
        file: PathBuf,
    ) -> Result<Self, String> {
        // Files saved by a training script may say "cut at 512" or "pad to 512": not wanted for any use here.
        inner.with_truncation(None).map_err(|error| error.to_string())?;
        inner.with_padding(None);
        shielded(|| {
            for (id, token) in &config.added_tokens {
                let known = inner.token_to_id(&token.content);
                if known == Some(*id) || (known.is_none() && inner.get_vocab_size(true) == *id as usize) {
                    inner.add_tokens([token.clone()])?;
                }
            }
            for text in config.special_tokens.values() {
                let known = inner.token_to_id(text);
                let added = inner.get_added_tokens_decoder();
                if known.is_some_and(|id| !added.get(&id).is_some_and(|token| token.special)) {
                    inner.add_special_tokens([AddedToken::from(text.clone(), true)])?;
                }
            }
            Ok(())
        })?;
        let added = inner.get_added_tokens_decoder();
        let special = added.iter().filter(|(_, token)| token.special).map(|(id, _)| *id).collect();
        let added = added.into_keys().collect();
        let behind = shielded(|| behind(&inner))?;
        Ok(Self { inner, special, added, behind, vocab, file, longest_token: OnceLock::new() })
    }

    /// `special`: let the post-processor add what it adds (a BOS token, mostly).
    pub(crate) fn encode(&self, text: &str, special: bool) -> Result<Vec<u32>, BaseError> {
        let encoding = shielded(|| self.inner.encode_fast(text, special)).map_err(|why| self.bad(why))?;
        self.known(&encoding)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// A text that goes on: what the post-processor adds before it, and nothing of what it adds behind.
    pub(crate) fn encode_open(&self, text: &str) -> Result<Vec<u32>, BaseError> {
        let mut tokens = self.encode(text, true)?;
        tokens.truncate(tokens.len().saturating_sub(self.behind));
        Ok(tokens)
    }

    /// `special`: with what the post-processor adds before the text. What it adds behind is left out.
    pub(crate) fn encode_pieces(&self, text: &str, special: bool) -> Result<Pieces, BaseError> {
        let encoding = shielded(|| self.inner.encode(text, special)).map_err(|why| self.bad(why))?;
        self.known(&encoding)?;
        let (mut tokens, mut spans) = (encoding.get_ids().to_vec(), encoding.get_offsets().to_vec());
        let kept = tokens.len().saturating_sub(if special { self.behind } else { 0 });
        tokens.truncate(kept);
        spans.truncate(kept);
        Ok(Pieces { tokens, spans })
    }

    pub(crate) fn decode(&self, tokens: &[u32], skip_special: bool) -> Result<String, BaseError> {
        shielded(|| self.inner.decode(tokens, skip_special)).map_err(|why| self.bad(why))
    }

    pub(crate) fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// Bytes of the longest token's spelling, at least as many as it has in a text.
    pub(crate) fn longest_token(&self) -> usize {
        // Takes a moment for a large vocabulary, and few ask.
        *self
            .longest_token
            .get_or_init(|| self.inner.get_vocab(true).keys().map(String::len).max().unwrap_or_default())
    }

    /// Whether the tokenizer's file sets the token apart from text.
    pub(crate) fn is_added(&self, token: u32) -> bool {
        self.added.contains(&token)
    }

    /// The token's own spelling in the vocabulary.
    pub(crate) fn piece(&self, token: u32) -> Option<String> {
        self.inner.id_to_token(token)
    }

    /// Whether a token has a place in running text: it is known, and no marker.
    pub(crate) fn is_text(&self, token: u32) -> bool {
        !self.special.contains(&token) && self.inner.id_to_token(token).is_some()
    }

    fn known(&self, encoding: &Encoding) -> Result<(), BaseError> {
        let ids = encoding.get_ids();
        match ids.iter().position(|id| *id as usize >= self.vocab) {
            None => Ok(()),
            Some(at) => {
                let token = encoding.get_tokens().get(at).map_or("", String::as_str);
                let (id, vocab) = (ids[at], self.vocab);
                Err(self.bad(format!(
                    "the token {token:?} has number {id}, but config.json's vocab_size is {vocab}"
                )))
            }
        }
    }

    fn bad(&self, why: String) -> BaseError {
        BaseError::BadTokenizer { file: self.file.clone(), why }
    }
}

/// What stands behind a text once the post-processor has been there. It adds the same to every text.
fn behind(tokenizer: &Tokenizer) -> tokenizers::Result<usize> {
    let probe = tokenizer.encode_fast("a", true)?;
    let added = probe.get_special_tokens_mask();
    let count = added.iter().rev().take_while(|mask| **mask == 1).count();
    // A text that leaves no token tells nothing of where the added ones stand.
    Ok(if count == added.len() { 0 } else { count })
}

fn missing(source: &BaseSource) -> String {
    let other = ["tokenizer.model", "spiece.model", "vocab.json"];
    match other.into_iter().find(|name| source.path(name).exists()) {
        Some(other) => format!(
            "does not exist, only {other}, which is not read; make it with Python: \
             transformers.AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)"
        ),
        None => {
            "does not exist; a base needs its tokenizer in this file, fetch it from where the weights came"
                .to_owned()
        }
    }
}

/// Runs a call into the tokenizers library. It takes a well-formed file on trust: some contradictory ones make it panic.
fn shielded<T>(call: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(format!("is no usable tokenizer: {error}")),
        Err(_) => Err("contradicts itself: the tokenizers library gave up on it".to_owned()),
    }
}
