//! Whether an answer goes round in circles, as small bases do behind examples.
//!
//! Two signs: a phrase that comes again right behind itself, and runs of four tokens of which most have been there before (Welleck et al. 2020,
//! <https://arxiv.org/abs/1908.04319>, call their share seq-rep-4). Text that people write stays far below both.

use std::collections::HashMap;

/// A phrase that comes again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeating {
    /// Where it stands first.
    pub start: usize,
    /// Its length.
    pub tokens: usize,
    pub times: usize,
}

/// A circle of fewer tokens may be a laugh, a line of dashes or a refrain.
const FEWEST_TOKENS: usize = 24;
const FEWEST_TIMES: usize = 3;
const LONGEST_PHRASE: usize = 256;
const GRAM: usize = 4;

/// What an answer repeats, if it does.
pub fn repeating(answer: &[u32]) -> Option<Repeating> {
    circle(answer).or_else(|| worn_out(answer))
}

/// The longest stretch that is one phrase several times in a row; of phrases of phrases, the shortest.
fn circle(answer: &[u32]) -> Option<Repeating> {
    let mut best: Option<(usize, Repeating)> = None;
    for phrase in 1..=LONGEST_PHRASE.min(answer.len() / FEWEST_TIMES) {
        let mut run = 0;
        for end in phrase..=answer.len() {
            if answer.get(end).is_some_and(|token| *token == answer[end - phrase]) {
                run += 1;
                continue;
            }
            let (stretch, times) = (run + phrase, run / phrase + 1);
            let longer = best.is_none_or(|(longest, _)| stretch > longest);
            if times >= FEWEST_TIMES && stretch >= FEWEST_TOKENS && longer {
                best = Some((stretch, Repeating { start: end - stretch, tokens: phrase, times }));
            }
            run = 0;
        }
    }
    best.map(|(_, found)| found)
}

/// Most runs of four tokens have been there before: the commonest one, as far as it goes on alike.
fn worn_out(answer: &[u32]) -> Option<Repeating> {
    if answer.len() < FEWEST_TOKENS {
        return None;
    }
    let mut places: HashMap<&[u32], Vec<usize>> = HashMap::new();
    for (at, gram) in answer.windows(GRAM).enumerate() {
        places.entry(gram).or_default().push(at);
    }
    let all = answer.len() + 1 - GRAM;
    if (all - places.len()) * 2 < all {
        return None;
    }
    let commonest = places.into_values().max_by_key(|places| (places.len(), std::cmp::Reverse(places[0])))?;
    let alike = |length: usize| {
        let next = |at: &usize| answer.get(at + length);
        next(&commonest[0]).is_some() && commonest.iter().all(|at| next(at) == next(&commonest[0]))
    };
    let mut tokens = GRAM;
    while alike(tokens) {
        tokens += 1;
    }
    Some(Repeating { start: commonest[0], tokens, times: commonest.len() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(answer: &[u32]) -> Option<(usize, usize, usize)> {
        repeating(answer).map(|found| (found.start, found.tokens, found.times))
    }

    #[test]
    fn a_phrase_behind_itself_is_a_circle_wherever_it_stands() {
        let phrase = [1, 2, 3, 4, 5, 6];
        let mut answer: Vec<u32> = (100..160).collect();
        answer.extend(phrase.repeat(5));
        answer.extend([1, 2]);
        assert_eq!(found(&answer), Some((60, 6, 5)));
        answer.extend(200..230);
        assert_eq!(found(&answer), Some((60, 6, 5)));
        assert_eq!(found(&[7].repeat(40)), Some((0, 1, 40)));
        assert_eq!(found(&phrase.repeat(3)), None, "too short to say");
        assert_eq!(found(&[phrase, phrase].concat()), None);
        assert_eq!(found(&[]), None);
    }

    #[test]
    fn the_same_phrases_in_turn_are_worn_out() {
        // "The soup was good . The bread was good . The soup ..." with a number that grows.
        let mut answer = Vec::new();
        for number in 0..8 {
            answer.extend([10, 11, 12, 13, 14, 15, 16, 17, 500 + number]);
        }
        let (start, tokens, times) = found(&answer).unwrap();
        assert_eq!((start, tokens, times), (0, 8, 8));
        // A list with three words in common is none.
        let list: Vec<u32> = (0..8).flat_map(|line| [1, 2, 3, 600 + line, 700 + line, 800 + line]).collect();
        assert_eq!(found(&list), None);
    }

    #[test]
    fn what_people_write_is_left_alone() {
        let text: Vec<u32> = (0..300).map(|at| at * 7919 % 211).collect();
        assert_eq!(text[..211].len(), 211);
        assert_eq!(found(&text[..240]), None, "one repeat after a long while");
    }
}
