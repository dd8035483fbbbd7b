//! Tokens back to text while they come: only whole characters leave, and together they are what decoding all tokens at
//! once gives.
//!
//! A token can be part of a character, and its leading space can depend on what stands before it (SentencePiece drops a
//! text's first space). So a short window of tokens is decoded anew each time, and only what is new is given out.

use std::sync::Arc;

use crate::base_error::BaseError;
use crate::tokenizer::TextTokenizer;

/// What decoding gives in place of bytes that are no character (yet).
const REPLACEMENT: char = '\u{FFFD}';

/// Turns one answer's tokens into text. Special tokens are left out.
#[derive(Debug)]
pub struct DetokenizeStream {
    tokenizer: Arc<TextTokenizer>,
    /// The last tokens that were given out, as context, then those whose text is still held back.
    window: Vec<u32>,
    /// Where the held back ones begin.
    held: usize,
}

impl DetokenizeStream {
    pub(crate) fn new(tokenizer: Arc<TextTokenizer>) -> Self {
        Self { tokenizer, window: Vec::new(), held: 0 }
    }

    /// The text that `token` completes; empty while a character is incomplete.
    ///
    /// # Errors
    /// [`BaseError::BadTokenizer`] where the tokenizer's decoder fails.
    pub fn push(&mut self, token: u32) -> Result<String, BaseError> {
        // Decoding all at once leaves them out before anything else, so they must not separate two halves of a character.
        if !self.tokenizer.is_text(token) {
            return Ok(String::new());
        }
        self.window.push(token);
        let text = self.tokenizer.decode(&self.window, true)?;
        if text.ends_with(REPLACEMENT) {
            return Ok(String::new());
        }
        let new = self.new_part(&text)?;
        if new.is_empty() {
            // Such as a first lone space: its text shows with the next token.
            return Ok(new);
        }
        self.window.drain(..self.held);
        self.held = self.window.len();
        Ok(new)
    }

    /// What was held back: an incomplete character is given as `\u{FFFD}`, as decoding all at once does.
    ///
    /// # Errors
    /// [`BaseError::BadTokenizer`] where the tokenizer's decoder fails.
    pub fn finish(&mut self) -> Result<String, BaseError> {
        if self.held == self.window.len() {
            return Ok(String::new());
        }
        let text = self.tokenizer.decode(&self.window, true)?;
        let rest = self.new_part(&text)?;
        self.held = self.window.len();
        Ok(rest)
    }

    fn new_part(&self, text: &str) -> Result<String, BaseError> {
        let before = self.tokenizer.decode(&self.window[..self.held], true)?;
        match text.strip_prefix(&before) {
            Some(new) => Ok(new.to_owned()),
            // SentencePiece's byte tokens: one bad byte turns the whole run of bytes around it into replacements, also
            // characters that were given out already.
            None => self.tokenizer.decode(&self.window[self.held..], true),
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use std::path::PathBuf;

    use tokenizers::Tokenizer;

    use super::*;
    use crate::fixtures::tokenizers::{byte_level, llama, metaspace};
    use crate::tokenizer::TokenizerConfig;

    fn text_tokenizer(tokenizer: Tokenizer) -> Arc<TextTokenizer> {
        let path = PathBuf::from("tokenizer.json");
        Arc::new(TextTokenizer::new(tokenizer, &TokenizerConfig::default(), 1000, path).unwrap())
    }

    const TEXTS: [&str; 8] = [
        "hello all",
        " hello  hello ",
        "你好，世界！ 👩‍👩‍👧 naïve",
        "a\n\n b\t\u{FFFD}x",
        "  ",
        "你",
        "\u{FFFD}",
        "",
    ];

    fn streamed(tokenizer: &Arc<TextTokenizer>, tokens: &[u32]) -> String {
        let mut stream = DetokenizeStream::new(Arc::clone(tokenizer));
        let mut text: String = tokens.iter().map(|token| stream.push(*token).unwrap()).collect();
        text.push_str(&stream.finish().unwrap());
        assert_eq!(stream.finish().unwrap(), "");
        text
    }

    #[test]
    fn pieces_together_are_the_whole() {
        for tokenizer in [byte_level(), llama(), metaspace()].map(text_tokenizer) {
            for text in TEXTS {
                for special in [false, true] {
                    let tokens = tokenizer.encode(text, special).unwrap();
                    let whole = tokenizer.decode(&tokens, true).unwrap();
                    assert_eq!(streamed(&tokenizer, &tokens), whole, "{text:?}");
                }
            }
        }
    }

    #[test]
    fn any_tokens_of_a_byte_level_tokenizer_are_the_whole() {
        let tokenizer = text_tokenizer(byte_level());
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for _ in 0..200 {
            // Ids beyond the vocabulary too: a base may have more rows than its tokenizer names.
            let tokens: Vec<u32> = (0..60).map(|_| rng.random_range(0..290)).collect();
            assert_eq!(streamed(&tokenizer, &tokens), tokenizer.decode(&tokens, true).unwrap());
        }
    }

    #[test]
    fn any_tokens_of_a_sentencepiece_tokenizer_keep_their_plain_text() {
        let tokenizer = text_tokenizer(llama());
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let plain = |text: &str| text.chars().filter(|char| *char != REPLACEMENT).collect::<String>();
        for _ in 0..200 {
            // Bytes from 0x80 on (token 133) make broken characters, which are allowed to look different; letters are not.
            let tokens: Vec<u32> = (0..60).map(|_| rng.random_range(133..290)).collect();
            let whole = tokenizer.decode(&tokens, true).unwrap();
            let kept = plain(&streamed(&tokenizer, &tokens));
            assert!(
                kept.chars()
                    .filter(char::is_ascii_alphabetic)
                    .eq(plain(&whole).chars().filter(char::is_ascii_alphabetic))
            );
        }
    }

    #[test]
    fn a_character_leaves_only_when_it_is_whole() {
        for tokenizer in [byte_level(), llama()].map(text_tokenizer) {
            let mut stream = DetokenizeStream::new(Arc::clone(&tokenizer));
            for char in "世👍".chars() {
                let tokens = tokenizer.encode(&char.to_string(), false).unwrap();
                let (last, first) = tokens.split_last().unwrap();
                assert!(first.len() >= 2, "the test needs a character of several tokens");
                for token in first {
                    assert_eq!(stream.push(*token).unwrap().trim(), "");
                }
                assert_eq!(stream.push(*last).unwrap().trim(), char.to_string());
            }
        }
    }
}
