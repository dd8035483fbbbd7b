//! How byte-level tokenizers divide a text before they join bytes: one line for each `tokenizer.ggml.pre`.
//!
//! The patterns are those of the families' own `tokenizer.json`.

/// A family's way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Splitting {
    names: &'static [&'static str],
    /// Without one digits stand alone, and the rest is divided as GPT-2 does.
    pub(super) pattern: Option<&'static str>,
    /// Letters and their marks are composed first (NFC).
    pub(super) composes: bool,
    /// A piece that is a token needs no joining.
    pub(super) whole_words: bool,
    /// A text begins with the BOS token unless the file says otherwise.
    pub(super) begins: bool,
}

const PLAIN: Splitting =
    Splitting { names: &[], pattern: None, composes: false, whole_words: false, begins: false };

const THREE_DIGITS: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

const ALL: [Splitting; 7] = [
    Splitting {
        names: &["gpt-2", "default"],
        pattern: Some(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"),
        ..PLAIN
    },
    Splitting { names: &["smollm"], ..PLAIN },
    Splitting {
        names: &["llama-bpe", "llama3", "llama-v3"],
        pattern: Some(THREE_DIGITS),
        whole_words: true,
        begins: true,
        ..PLAIN
    },
    Splitting { names: &["smaug-bpe", "dbrx"], pattern: Some(THREE_DIGITS), ..PLAIN },
    Splitting {
        names: &["qwen2", "deepseek-r1-qwen"],
        pattern: Some(
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ),
        composes: true,
        ..PLAIN
    },
    Splitting {
        names: &["tekken"],
        pattern: Some(
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ),
        whole_words: true,
        begins: true,
        ..PLAIN
    },
    Splitting {
        names: &["gpt-4o"],
        pattern: Some(
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ),
        ..PLAIN
    },
];

impl Splitting {
    pub(super) fn of(name: &str) -> Option<Splitting> {
        ALL.into_iter().find(|splitting| splitting.names.contains(&name))
    }

    /// GPT-2's pattern, which the tokenizers library knows without being told.
    pub(super) fn gpt2() -> Option<&'static str> {
        ALL[0].pattern
    }

    /// The name of a way to divide texts.
    pub(super) fn named(pattern: Option<&str>, composes: bool, whole_words: bool) -> Option<&'static str> {
        let found = ALL.iter().find(|known| {
            (known.pattern, known.composes, known.whole_words) == (pattern, composes, whole_words)
        });
        found.and_then(|known| known.names.first().copied())
    }

    /// All names, for messages.
    pub(super) fn known() -> String {
        ALL.iter().flat_map(|splitting| splitting.names).copied().collect::<Vec<_>>().join(", ")
    }
}
