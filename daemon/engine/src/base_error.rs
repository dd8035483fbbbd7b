//! What can be wrong with a base model's files. Each message names the file, the fault and what to do next.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// A base that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BaseError {
    #[error(
        "{} does not exist; a base is a folder with config.json, tokenizer.json and model.safetensors, \
         as Hugging Face's save_pretrained writes it",
        file.display()
    )]
    Missing { file: PathBuf },
    #[error("{} cannot be read: {source}", file.display())]
    Io { file: PathBuf, source: std::io::Error },
    #[error("{}: {why}", file.display())]
    BadConfig { file: PathBuf, why: String },
    #[error(
        "{}: the architecture {found} is not known; this version reads {}",
        file.display(),
        known.join(", ")
    )]
    UnknownArchitecture { file: PathBuf, found: String, known: Vec<&'static str> },
    #[error(
        "{} is missing, but {} lists it; the download may be incomplete, fetch it again",
        file.display(),
        named_by.display()
    )]
    MissingShard { file: PathBuf, named_by: PathBuf },
    #[error("{} has no tensor {name}, which config.json calls for", file.display())]
    MissingTensor { name: String, file: PathBuf },
    #[error(
        "{}: the tensor {name} has shape {found:?}, but config.json calls for {expected:?}; \
         config.json and weights are not of the same model",
        file.display()
    )]
    WrongShape { name: String, file: PathBuf, expected: Vec<usize>, found: Vec<usize> },
    #[error(
        "{} holds the tensor {name}, which config.json does not call for; config.json and weights are not of the same \
         model, or it has a part that this version does not know",
        file.display()
    )]
    UnknownTensor { name: String, file: PathBuf },
    #[error("{} is damaged: {why}; fetch it again", file.display())]
    CorruptWeights { file: PathBuf, why: String },
    #[error("{}: {why}", file.display())]
    BadTokenizer { file: PathBuf, why: String },
    #[error("{}: the chat template fails: {why}", file.display())]
    BadTemplate { file: PathBuf, why: String },
    #[error("{}: {part} in turn {turn}; {}", file.display(), part.remedy())]
    HiddenAnswer { file: PathBuf, part: HiddenPart, turn: usize },
    #[error(
        "the prompt has {bytes} bytes, more than the {context} tokens that {base} reads at most; shorten it, or take a base that reads more"
    )]
    PromptTooLong { base: String, bytes: usize, context: usize },
    #[error("nobody waits for it any more")]
    Stopped,
    #[error("this build has no embedded base; name a Hugging Face folder with --base")]
    NoEmbeddedBase,
    #[error("a tensor operation failed: {0}")]
    Tensor(#[from] candle_core::Error),
}

/// What a chat template's text does not tell of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HiddenPart {
    Start,
    End,
    Call,
    /// An answer's text and its calls stand apart, with other turns between them.
    Divided,
}

impl HiddenPart {
    fn remedy(self) -> &'static str {
        match self {
            HiddenPart::Start | HiddenPart::End => {
                "put {% generation %} and {% endgeneration %} around answers in the template"
            }
            HiddenPart::Call => "take a base whose template knows tools",
            HiddenPart::Divided => {
                "give the text beside a tool call a turn of its own, before the call or behind the tool's answer"
            }
        }
    }
}

impl std::fmt::Display for HiddenPart {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            HiddenPart::Start => "the chat template does not let see where the answer starts",
            HiddenPart::End => "the chat template does not let see where the answer ends",
            HiddenPart::Call => "the chat template leaves out the tool call",
            HiddenPart::Divided => "the chat template puts something else between the parts of the answer",
        })
    }
}

impl BaseError {
    /// The error for a file that could not be opened or read.
    pub(crate) fn reading(file: &Path, source: std::io::Error) -> Self {
        let file = file.to_owned();
        match source.kind() {
            ErrorKind::NotFound => BaseError::Missing { file },
            // What `regular_file` says: a pipe, a device, too long.
            ErrorKind::InvalidInput | ErrorKind::FileTooLarge => {
                BaseError::BadConfig { file, why: source.to_string() }
            }
            _ => BaseError::Io { file, source },
        }
    }
}
