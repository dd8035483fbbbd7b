//! A prompt that no base reads is refused before it is worth anybody's time: by its bytes, then by the tokens of its pieces.

use std::ops::Range;

use crate::base_error::BaseError;
use crate::base_spec::BaseSpec;

/// Bytes that a token stands for at most, unless the vocabulary has a longer one: a space or a mark that tokenizers leave out counts for nothing,
/// but nobody writes sixty of them for each token.
const TOKEN_BYTES: usize = 64;
/// A text below this is tokenised at once; the first piece of a longer one.
const PIECE: usize = 1 << 15;
/// Pieces double up to this: a tenth of a second.
const LARGEST_PIECE: usize = 1 << 19;
/// Tokens that a cut may add.
const AT_A_CUT: usize = 64;

impl BaseSpec {
    /// [`prompt`](Self::prompt) for a text of any length: one that the context could not hold is refused soon. `gone` is asked now and then.
    ///
    /// # Errors
    /// It is too long, or nobody waits for it any more; and those of `prompt`.
    pub fn short_prompt(
        &self,
        prompt: &str,
        raw: bool,
        gone: &dyn Fn() -> bool,
    ) -> Result<Vec<u32>, BaseError> {
        self.check_length(prompt, gone)?;
        self.prompt(prompt, raw)
    }

    /// # Errors
    /// The context cannot hold the text, or nobody waits for it any more.
    pub fn check_length(&self, text: &str, gone: &dyn Fn() -> bool) -> Result<(), BaseError> {
        let context = self.config.context;
        let bytes = text.len();
        let too_long = || BaseError::PromptTooLong { base: self.name.clone(), bytes, context };
        if bytes > context.saturating_mul(TOKEN_BYTES)
            && bytes > context.saturating_mul(self.tokenizer.longest_token())
        {
            return Err(too_long());
        }
        if bytes <= PIECE {
            return Ok(());
        }
        // A lower bound: the cuts may have made tokens that the whole has not.
        let mut tokens = 0_usize;
        for (cuts, piece) in (1..).zip(Pieces { text, at: 0, size: PIECE }) {
            if gone() {
                return Err(BaseError::Stopped);
            }
            tokens += self.tokenizer.encode(&text[piece], false)?.len();
            if tokens > context.saturating_add(cuts * AT_A_CUT) {
                return Err(too_long());
            }
        }
        Ok(())
    }
}

/// A text's pieces; they begin at white space where there is some near.
struct Pieces<'a> {
    text: &'a str,
    at: usize,
    size: usize,
}

impl Iterator for Pieces<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        let start = self.at;
        if start >= self.text.len() {
            return None;
        }
        let most = self.text.floor_char_boundary(start.saturating_add(self.size));
        let near = self.text.floor_char_boundary(most.saturating_sub(1024)).max(start);
        let blank = self.text[near..most].rfind(char::is_whitespace).map(|found| near + found);
        self.at = if most == self.text.len() { most } else { blank.filter(|at| *at > start).unwrap_or(most) };
        self.size = (self.size * 2).min(LARGEST_PIECE);
        Some(start..self.at)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::base_spec::BaseSource;

    fn tiny() -> BaseSpec {
        BaseSpec::open(&BaseSource::Embedded).unwrap()
    }

    #[test]
    fn pieces_make_the_whole_and_begin_at_white_space() {
        let text = "words and 面包 ".repeat(20_000);
        let pieces: Vec<_> = Pieces { text: &text, at: 0, size: PIECE }.collect();
        assert!(pieces.len() > 3, "{pieces:?}");
        assert_eq!(pieces.iter().map(|piece| &text[piece.clone()]).collect::<String>(), text);
        assert!(pieces[1..].iter().all(|piece| text[piece.clone()].starts_with(' ')));
        let word = "面".repeat(PIECE);
        let joined: String = Pieces { text: &word, at: 0, size: PIECE }.map(|piece| &word[piece]).collect();
        assert_eq!(joined, word);
    }

    #[test]
    fn what_the_context_cannot_hold_is_refused_and_what_it_can_is_not() {
        let base = tiny();
        let never = || false;
        let refused = |text: &str| base.short_prompt(text, true, &never).unwrap_err();
        assert!(matches!(refused(&"soup ".repeat(8 << 20)), BaseError::PromptTooLong { .. }));
        // Fewer bytes than the context could hold, and more tokens.
        let many = "1 ".repeat(base.config.context * 20);
        assert!(many.len() <= base.config.context * TOKEN_BYTES && many.len() > PIECE);
        assert!(matches!(refused(&many), BaseError::PromptTooLong { .. }));
        let fits = "1 ".repeat(base.config.context / 4);
        assert_eq!(base.short_prompt(&fits, false, &never).unwrap(), base.prompt(&fits, false).unwrap());
    }

    #[test]
    fn nobody_tokenises_for_who_has_gone() {
        let base = tiny();
        let asked = Cell::new(0);
        let gone = || {
            asked.set(asked.get() + 1);
            true
        };
        let text = "a".repeat(PIECE + 1);
        assert!(matches!(base.check_length(&text, &gone), Err(BaseError::Stopped)));
        assert_eq!(asked.get(), 1);
    }
}
