//! What an answer's tokens say against it: circles, and an example's words in place of its own.
//!
//! Told when the answer is over: a phrase three times in a row, half of its runs of four tokens seen before, or half of it in one piece of an example.

use hotplate_engine::base_spec::BaseSpec;
use hotplate_engine::repeating::repeating;
use hotplate_protocol::methods::generate::{GenerateResult, Noticed};
use hotplate_train::guard::CopyCheck;

/// Looks at a finished answer; `examples` are what those that were fed answer, in the order of `result.fed`.
pub(crate) fn noticed(text: &BaseSpec, result: &GenerateResult, examples: &[Vec<u32>]) -> Vec<Noticed> {
    let mut noticed = Vec::new();
    if let Some(found) = repeating(&result.token_ids) {
        let phrase = result.token_ids.get(found.start..found.start + found.tokens).unwrap_or_default();
        let phrase = text.decode(phrase).unwrap_or_default();
        noticed.push(Noticed::Repeats { text: phrase, times: found.times });
    }
    if let Some((tokens, which)) = copied(&result.token_ids, examples)
        && let Some(example) = result.fed.as_ref().and_then(|fed| fed.examples.get(which))
    {
        noticed.push(Noticed::Copies { tokens, example: example.place.clone() });
    }
    noticed
}

/// The longest run of tokens that an answer shares with an example, if it is half of the answer, and which example.
fn copied(answer: &[u32], examples: &[Vec<u32>]) -> Option<(usize, usize)> {
    let mut check = CopyCheck::new(&[answer]);
    for (which, example) in examples.iter().enumerate() {
        check.read(which, example);
    }
    let longest = check.figures().longest?;
    (longest.tokens * 2 >= answer.len()).then_some((longest.tokens, longest.example))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_an_answer_in_one_piece_is_a_copy() {
        let example: Vec<u32> = (0..40).collect();
        let other: Vec<u32> = (100..140).collect();
        let examples = [other, example.clone()];
        assert_eq!(copied(&example, &examples), Some((40, 1)));
        let mut answer: Vec<u32> = (200..220).collect();
        answer.extend(&example[5..25]);
        assert_eq!(copied(&answer, &examples), Some((20, 1)));
        answer.push(7);
        assert_eq!(copied(&answer, &examples), None);
        assert_eq!(copied(&example[..7], &examples), None, "a few words are everybody's");
        assert_eq!(copied(&[], &examples), None);
    }
}
