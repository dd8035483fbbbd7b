//! Everything of a base that is not tensors: its shape, tokenizer, chat template and defaults.
//!
//! Cheap to open (milliseconds: of the weights only the headers are read) and usable on any thread, so that data can be
//! checked and counted without the device. How examples become tokens lies in [`crate::encode_example`].
//!
//! A fingerprint covers config, tokenizer, the weights' headers and a few kilobytes of every weight: a base that was swapped for another of the same shapes is
//! noticed, and opening stays a matter of milliseconds. A token that the template writes behind an answer ends answers only where none of those that the files
//! tell stands before the next question: Command A's `<|END_RESPONSE|>` closes a part of an answer.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use hotplate_dataset::{Role, Turn};
use serde_json::{Map, Value};

pub use crate::base_error::BaseError;
use crate::base_error::HiddenPart;
pub use crate::base_source::BaseSource;
use crate::config::{DecoderConfig, Keys, parse_object};
use crate::detokenize::DetokenizeStream;
use crate::embedded;
use crate::encode_example::common_prefix;
pub use crate::sample::Sample;
pub use crate::template::late_templates;
use crate::template::{self, ChatTemplate};
use crate::tokenizer::{TextTokenizer, TokenizerConfig};
use crate::weights::Weights;

const CONFIG_FILE: &str = "config.json";
const GENERATION_FILE: &str = "generation_config.json";

/// What `generation_config.json` recommends.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct GenerationDefaults {
    pub temperature: Option<f64>,
    pub top_p: Option<f64>,
    /// 0: all tokens.
    pub top_k: Option<usize>,
    pub repetition_penalty: Option<f64>,
    /// False: the likeliest token each time.
    pub do_sample: bool,
}

/// A base without its weights.
#[derive(Debug)]
pub struct BaseSpec {
    /// `hotplate-tiny`, the hub's id, or the folder's own name.
    pub name: String,
    /// The hub's id, where the files tell it.
    pub hub_id: Option<String>,
    pub source: BaseSource,
    pub config: DecoderConfig,
    /// Hex blake3 of config.json, tokenizer.json, the weights' headers and samples of every weight: the same for the same base wherever it lies.
    pub fingerprint: String,
    /// Tokens that end an answer; training texts end in the first one.
    pub eos: Vec<u32>,
    pub bos: Option<u32>,
    pub generation: GenerationDefaults,
    pub(crate) tokenizer: Arc<TextTokenizer>,
    /// A template that does not compile is an error when it is used: raw text needs none.
    pub(crate) template: Option<Result<ChatTemplate, String>>,
}

impl BaseSpec {
    /// Reads and checks the files of a base.
    ///
    /// # Errors
    /// Each says which file is wrong, why, and what to do.
    pub fn open(source: &BaseSource) -> Result<BaseSpec, BaseError> {
        let source = source.stored();
        if let BaseSource::Folder(folder) = source
            && !folder.is_dir()
        {
            return Err(not_a_folder(folder));
        }
        let config_json = source.read(CONFIG_FILE)?;
        let config_file = source.path(CONFIG_FILE);
        let config = DecoderConfig::parse(&config_json, &config_file)?;
        let raw_config = parse_object(&config_json)
            .map_err(|why| BaseError::BadConfig { file: config_file.clone(), why })?;
        let generation_object = match source.read_if_present(GENERATION_FILE)? {
            None => Map::new(),
            Some(bytes) => parse_object(&bytes).map_err(|why| bad_generation(source, why))?,
        };
        let generation =
            generation_defaults(&generation_object).map_err(|why| bad_generation(source, why))?;
        let tokenizer_config = TokenizerConfig::read(source)?;
        let tokenizer = TextTokenizer::read(source, &tokenizer_config, config.vocab)?;
        let template = template::find(source, &tokenizer_config)?
            .map(|texts| ChatTemplate::compile_all(texts?, tokenizer_config.special_tokens.clone()));
        let weights = Weights::open(source)?;
        let fingerprint = match source {
            // Its header holds config and tokenizer.
            BaseSource::Gguf(_) => fingerprint(&[], weights.headers().chain(weights.samples())),
            _ => fingerprint(
                &[&config_json, &source.read("tokenizer.json")?],
                weights.headers().chain(weights.samples()),
            ),
        };
        let special = |key: &str| tokenizer.id(tokenizer_config.special_tokens.get(key)?);
        let mut eos: Vec<u32> = special("eos_token").into_iter().collect();
        eos.extend(token_ids(&generation_object, "eos_token_id").map_err(|why| bad_generation(source, why))?);
        let from_config = token_ids(&raw_config, "eos_token_id");
        eos.extend(from_config.map_err(|why| BaseError::BadConfig { file: config_file, why })?);
        // A base that was tuned to chat ends its turns with a token of its own, which not every file tells.
        let told: Vec<String> = eos.iter().filter_map(|id| tokenizer.piece(*id)).collect();
        eos.extend(
            template.as_ref().and_then(|template| end_of_turn(template.as_ref().ok()?, &tokenizer, &told)),
        );
        let hub_id = hub_id(source, &raw_config);
        Ok(BaseSpec {
            name: hub_id.clone().unwrap_or_else(|| plain_name(source)),
            hub_id,
            source: source.clone(),
            fingerprint,
            eos: usable(eos, config.vocab),
            bos: special("bos_token"),
            generation,
            tokenizer: Arc::new(tokenizer),
            template,
            config,
        })
    }

    /// A text's tokens as `tokenizer(text)` gives them in transformers: with what the tokenizer adds (a BOS, mostly; an end token behind
    /// it, with some).
    pub fn encode_raw(&self, text: &str) -> Result<Vec<u32>, BaseError> {
        self.tokenizer.encode(text, true)
    }

    /// The tokens to answer: `raw` text to be continued, or one user's turn through the chat template. A base without a
    /// template reads everything raw. The BOS token is never doubled, and no end token follows, whatever the tokenizer adds: the base would
    /// answer behind its own end.
    pub fn prompt(&self, prompt: &str, raw: bool) -> Result<Vec<u32>, BaseError> {
        if !raw && self.has_template()? {
            let turns = [Turn::new(Role::User, prompt)];
            return self.tokenizer.encode(&self.render_prompt(&turns, None)?, false);
        }
        let mut tokens = self.tokenizer.encode_open(prompt)?;
        // The text itself begins with "<s>" and the tokenizer adds another.
        if let (Some(bos), [first, second, ..]) = (self.bos, tokens.as_slice())
            && *first == bos
            && *second == bos
        {
            tokens.remove(0);
        }
        Ok(tokens)
    }

    /// A conversation's text through the chat template, and its tokens: what `apply_chat_template` gives in transformers. Messages are JSON
    /// objects with `role`, `content` and whatever the template reads; `tools` is a list of JSON schemas.
    ///
    /// # Errors
    /// There is no template, or it refuses these messages.
    pub fn chat(
        &self,
        messages: &[Value],
        tools: Option<&Value>,
        add_generation_prompt: bool,
    ) -> Result<(String, Vec<u32>), BaseError> {
        let rendered = match &self.template {
            Some(Ok(template)) => template.render_messages(messages, tools, add_generation_prompt),
            Some(Err(why)) => Err(why.clone()),
            None => Err("the base has none".to_owned()),
        };
        let text = rendered.map_err(|why| self.bad_template(&why))?;
        let tokens = self.tokenizer.encode(&text, false)?;
        Ok((text, tokens))
    }

    /// The same conversation's text through another template, with this base's special tokens.
    ///
    /// # Errors
    /// The template's syntax is wrong, or it refuses these messages.
    pub fn chat_through(
        &self,
        text: &str,
        messages: &[Value],
        tools: Option<&Value>,
        add_generation_prompt: bool,
    ) -> Result<String, BaseError> {
        let special_tokens = match &self.template {
            Some(Ok(own)) => own.special_tokens().clone(),
            _ => BTreeMap::new(),
        };
        let texts = template::Texts { default: text.to_owned(), tool_use: None };
        ChatTemplate::compile_all(texts, special_tokens)
            .and_then(|template| template.render_messages(messages, tools, add_generation_prompt))
            .map_err(|why| self.bad_template(&why))
    }

    /// Text for tokens as they come.
    pub fn decode_stream(&self) -> DetokenizeStream {
        DetokenizeStream::new(Arc::clone(&self.tokenizer))
    }

    /// Text for all of an answer's tokens; special tokens are left out.
    pub fn decode(&self, tokens: &[u32]) -> Result<String, BaseError> {
        self.tokenizer.decode(tokens, true)
    }

    /// Each token's own part of the text, special tokens spelled out. A character that several tokens make stands with the last
    /// of them.
    pub fn token_texts(&self, tokens: &[u32]) -> Result<Vec<String>, BaseError> {
        let mut stream = self.decode_stream();
        let mut texts: Vec<String> = Vec::with_capacity(tokens.len());
        let close = |stream: &mut DetokenizeStream, texts: &mut Vec<String>| {
            let rest = stream.finish()?;
            if let Some(last) = texts.last_mut() {
                last.push_str(&rest);
            }
            Ok::<_, BaseError>(())
        };
        for token in tokens {
            if self.tokenizer.is_text(*token) {
                texts.push(stream.push(*token)?);
            } else {
                close(&mut stream, &mut texts)?;
                texts.push(self.tokenizer.piece(*token).unwrap_or_default());
            }
        }
        close(&mut stream, &mut texts)?;
        Ok(texts)
    }

    /// The chat template's source, where the base has one.
    pub fn chat_template(&self) -> Option<&str> {
        self.template.as_ref().and_then(|template| template.as_ref().ok()).map(ChatTemplate::text)
    }

    /// A name for how the base answers: its fingerprint and its chat template, since what it answers follows from both.
    pub fn answers_by(&self) -> String {
        match self.chat_template() {
            Some(template) => {
                format!("{}-{}", self.fingerprint, &blake3::hash(template.as_bytes()).to_hex()[..16])
            }
            None => self.fingerprint.clone(),
        }
    }

    /// Whether it has a chat template that can be used.
    pub fn chats(&self) -> bool {
        self.has_template().unwrap_or(false)
    }

    /// Whether messages go through a template.
    pub(crate) fn has_template(&self) -> Result<bool, BaseError> {
        match &self.template {
            None => Ok(false),
            Some(Ok(_)) => Ok(true),
            Some(Err(why)) => Err(self.bad_template(why)),
        }
    }

    /// The text of a conversation. Only for a base that [has a template](Self::has_template).
    pub(crate) fn render(
        &self,
        turns: &[Turn],
        tools: Option<&Value>,
        add_generation_prompt: bool,
    ) -> Result<String, BaseError> {
        match &self.template {
            Some(Ok(template)) => {
                template.render(turns, tools, add_generation_prompt).map_err(|why| self.bad_template(&why))
            }
            Some(Err(why)) => Err(self.bad_template(why)),
            None => Err(self.bad_template("the base has none")),
        }
    }

    /// The text that leads to an answer. Where the template has no generation prompt, what it writes before an answer's text is
    /// added: the base should answer, and not write headers.
    pub(crate) fn render_prompt(&self, turns: &[Turn], tools: Option<&Value>) -> Result<String, BaseError> {
        const ANSWER: &str = "\u{f8f0}";
        let opened = self.render(turns, tools, true)?;
        let asked = self.chat_template().is_some_and(|template| template.contains("add_generation_prompt"));
        if asked && self.render(turns, tools, false).is_ok_and(|plain| plain != opened) {
            return Ok(opened);
        }
        if self.is_always_open(turns, tools, &opened) {
            return Ok(opened);
        }
        let answered: Vec<Turn> = turns.iter().cloned().chain([Turn::new(Role::Assistant, ANSWER)]).collect();
        let answered = self.render(&answered, tools, false).ok();
        let header =
            answered.as_deref().and_then(|text| text.strip_prefix(opened.as_str())?.split_once(ANSWER));
        // A space belongs to the answer's first word.
        let header =
            header.map(|(header, _)| header.trim_end_matches(' ')).filter(|header| !header.trim().is_empty());
        Ok(opened.clone() + header.unwrap_or_default())
    }

    /// Whether the template opens an answer behind every conversation, asked or not: then another question stands in the opening's place.
    fn is_always_open(&self, turns: &[Turn], tools: Option<&Value>, opened: &str) -> bool {
        const QUESTION: &str = "\u{f8f0}";
        let more: Vec<Turn> = turns.iter().cloned().chain([Turn::new(Role::User, QUESTION)]).collect();
        let Some(last) = turns.last().map(|turn| turn.content.trim()).filter(|last| !last.is_empty()) else {
            return false;
        };
        self.render(&more, tools, false).is_ok_and(|text| {
            let apart = &opened[common_prefix(&text, opened)..];
            !apart.trim().is_empty() && !apart.contains(last)
        })
    }

    /// Tokens that end an answer, as they stand in a rendered text.
    pub(crate) fn end_texts(&self) -> Vec<String> {
        let ends = self.eos.iter().filter(|id| self.tokenizer.is_added(**id));
        ends.filter_map(|id| self.tokenizer.piece(*id)).filter(|text| !text.is_empty()).collect()
    }

    /// The special token that a text begins with, as text.
    pub(crate) fn leading_token(&self, text: &str) -> Option<String> {
        let first = *self.tokenizer.encode(text.trim_start(), false).ok()?.first()?;
        self.tokenizer.is_added(first).then(|| self.tokenizer.piece(first)).flatten()
    }

    /// How many bytes the tokens take that two texts have in common at their beginning.
    pub(crate) fn shared_tokens(&self, one: &str, other: &str) -> usize {
        let pieces = |text| self.tokenizer.encode_pieces(text, false);
        let (Ok(one), Ok(other)) = (pieces(one), pieces(other)) else { return 0 };
        let shared = one.tokens.iter().zip(&other.tokens).take_while(|(one, other)| one == other).count();
        shared.checked_sub(1).and_then(|last| one.spans.get(last)).map_or(0, |(_, end)| *end)
    }

    pub(crate) fn hidden_answer(&self, at: usize, part: HiddenPart) -> BaseError {
        BaseError::HiddenAnswer { file: self.template_file(), part, turn: at + 1 }
    }

    /// The same with marks around each answer, where the template tells where they are.
    pub(crate) fn render_marked(&self, turns: &[Turn], tools: Option<&Value>) -> Option<String> {
        self.template.as_ref()?.as_ref().ok()?.render_marked(turns, tools)?.ok()
    }

    fn bad_template(&self, why: &str) -> BaseError {
        BaseError::BadTemplate { file: self.template_file(), why: format!("{why} (base: {})", self.name) }
    }

    fn template_file(&self) -> PathBuf {
        let own = self.source.path("chat_template.jinja");
        if own.exists() { own } else { self.source.path("tokenizer_config.json") }
    }
}

fn not_a_folder(folder: &Path) -> BaseError {
    if folder.exists() {
        let why = "is a file; a base is the folder around config.json, name that";
        return BaseError::BadConfig { file: folder.to_owned(), why: why.to_owned() };
    }
    BaseError::Missing { file: folder.to_owned() }
}

fn bad_generation(source: &BaseSource, why: String) -> BaseError {
    BaseError::BadConfig { file: source.path(GENERATION_FILE), why }
}

fn generation_defaults(object: &Map<String, Value>) -> Result<GenerationDefaults, String> {
    let keys = Keys { object, path: "" };
    let bounded = |key: &str, largest: f64| match keys.number(key)? {
        Some(number) if !(0.0..=largest).contains(&number) => {
            Err(format!("{key} is {number}; it must be between 0 and {largest}"))
        }
        number => Ok(number),
    };
    let top_k = match keys.get("top_k") {
        None => None,
        Some(value) => match value.as_u64() {
            Some(top_k) => Some(usize::try_from(top_k).unwrap_or(0)),
            None => return Err("top_k must be a whole number, 0 for none".to_owned()),
        },
    };
    Ok(GenerationDefaults {
        temperature: bounded("temperature", 100.0)?,
        top_p: bounded("top_p", 1.0)?,
        top_k,
        repetition_penalty: bounded("repetition_penalty", 100.0)?,
        do_sample: keys.flag("do_sample")?,
    })
}

/// The marker that the template writes right after an answer. None where one of those that the files tell stands between an answer and
/// the next question: then what comes before that closes a part of the answer (Command A's `<|END_RESPONSE|>`), and the answer goes on.
fn end_of_turn(template: &ChatTemplate, tokenizer: &TextTokenizer, told: &[String]) -> Option<u32> {
    const ANSWER: &str = "qwertzuiop";
    const NEXT: &str = "yxcvbnm";
    let turns =
        [Turn::new(Role::User, "asdf"), Turn::new(Role::Assistant, ANSWER), Turn::new(Role::User, NEXT)];
    if let Ok(text) = template.render(&turns, None, false)
        && let Some((before, _)) = text.rsplit_once(NEXT)
        && let Some((_, between)) = before.rsplit_once(ANSWER)
        && told.iter().any(|end| !end.is_empty() && between.contains(end.as_str()))
    {
        return None;
    }
    let text = template.render(&turns[..2], None, false).ok()?;
    let (_, after) = text.rsplit_once(ANSWER)?;
    let token = *tokenizer.encode(after.trim_start(), false).ok()?.first()?;
    tokenizer.is_added(token).then_some(token)
}

/// `2` or `[1, 2]`; negative numbers, which some files use for "none", are left out.
fn token_ids(object: &Map<String, Value>, key: &str) -> Result<Vec<u32>, String> {
    let values = match object.get(key) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(values)) => values.as_slice(),
        Some(value) => std::slice::from_ref(value),
    };
    let ids = values.iter().map(|value| match value.as_i64() {
        Some(id) => Ok(u32::try_from(id).ok()),
        None => Err(format!("{key} must be a token's number or a list of them")),
    });
    Ok(ids.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

/// Each once, in order, and only tokens that the base can say.
fn usable(ids: Vec<u32>, vocab: usize) -> Vec<u32> {
    let mut kept = Vec::new();
    for id in ids {
        if (id as usize) < vocab && !kept.contains(&id) {
            kept.push(id);
        }
    }
    kept
}

fn fingerprint<'a>(files: &[&'a [u8]], headers: impl Iterator<Item = &'a [u8]>) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in files.iter().copied().chain(headers) {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().to_hex().to_string()
}

fn plain_name(source: &BaseSource) -> String {
    match source {
        BaseSource::Quantised(_, source) => plain_name(source),
        BaseSource::Embedded => embedded::NAME.to_owned(),
        BaseSource::Folder(folder) => {
            // "." has a name too.
            let folder = folder.canonicalize().unwrap_or_else(|_| folder.clone());
            folder.file_name().map_or_else(|| "base".to_owned(), |name| name.to_string_lossy().into_owned())
        }
        BaseSource::Gguf(file) => {
            file.file_stem().map_or_else(|| "base".to_owned(), |name| name.to_string_lossy().into_owned())
        }
    }
}

/// The hub's id: from the layout of its cache (`models--org--name/snapshots/HASH`), or what transformers 4 noted.
fn hub_id(source: &BaseSource, config: &Map<String, Value>) -> Option<String> {
    if let BaseSource::Folder(folder) = source {
        let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.clone());
        if let Some(id) = cached_id(&folder) {
            return Some(id);
        }
    }
    let noted = config.get("_name_or_path")?.as_str()?;
    is_hub_id(noted).then(|| noted.to_owned())
}

fn cached_id(folder: &Path) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for component in folder.components() {
        if let Component::Normal(part) = component {
            parts.push(part.to_str().unwrap_or_default());
        }
    }
    let [.., repository, "snapshots", _] = parts.as_slice() else { return None };
    let id = repository.strip_prefix("models--")?.replacen("--", "/", 1);
    is_hub_id(&id).then_some(id)
}

/// `organisation/name`: a path of somebody's machine does not look like that.
fn is_hub_id(text: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.chars().all(|char| char.is_ascii_alphanumeric() || "-_.".contains(char))
    };
    text.split_once('/').is_some_and(|(organisation, name)| part(organisation) && part(name))
        && !PathBuf::from(text).exists()
}

#[doc(hidden)]
#[expect(clippy::unwrap_used, reason = "for tests")]
impl BaseSpec {
    /// A base's text side without files: a token for each letter, and no template.
    pub fn for_tests(config: DecoderConfig) -> BaseSpec {
        BaseSpec::with_tokenizer(crate::fixtures::tokenizers::letters(config.vocab), None, config)
    }

    pub fn with_tokenizer(
        tokenizer: tokenizers::Tokenizer,
        template: Option<&str>,
        config: DecoderConfig,
    ) -> BaseSpec {
        let specials = [("bos_token", "<s>"), ("eos_token", "<|end|>")];
        let special_tokens = specials
            .into_iter()
            .filter(|(_, token)| tokenizer.token_to_id(token).is_some())
            .map(|(key, token)| (key.to_owned(), token.to_owned()));
        let settings =
            TokenizerConfig { special_tokens: special_tokens.collect(), ..TokenizerConfig::default() };
        let tokenizer =
            TextTokenizer::new(tokenizer, &settings, config.vocab, PathBuf::from("tokenizer.json")).unwrap();
        BaseSpec {
            name: "test".to_owned(),
            hub_id: None,
            source: BaseSource::Embedded,
            fingerprint: "test".to_owned(),
            eos: tokenizer.id("<|end|>").into_iter().collect(),
            bos: tokenizer.id("<s>"),
            generation: GenerationDefaults::default(),
            tokenizer: Arc::new(tokenizer),
            template: template.map(|text| ChatTemplate::compile(text, settings.special_tokens.clone())),
            config,
        }
    }
}

#[cfg(test)]
mod tests;
