//! Verbatim copying: the longest run of tokens that a sample shares with one training text.
//!
//! For each sample the longest run of tokens that also stands, in one piece, in one training text; as a share of the sample's length, 0 where the
//! run is shorter than [`SHORTEST_COPY`] (everybody says "on the other hand"). The rate is the mean over the samples. Tokens, not words: it means
//! the same in languages that write no spaces.
//!
//! Each sample becomes a suffix automaton (Blumer et al. 1985), and the training texts stream past them once: the time is that of reading all
//! training tokens for each sample, the memory that of the samples alone.

use serde::{Deserialize, Serialize};

/// Runs below this many tokens are no copies.
pub const SHORTEST_COPY: usize = 8;

/// A run of tokens that a sample and a training text share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copied {
    /// Length of the run in tokens.
    pub tokens: usize,
    /// Which sample, and where in it the run begins.
    pub sample: usize,
    pub sample_start: usize,
    /// Which training text, and where in it the run begins.
    pub example: usize,
    pub example_start: usize,
}

/// What the samples have copied.
#[derive(Debug, Clone, PartialEq)]
pub struct CopyFigures {
    /// Mean share of a sample's tokens that is its longest copied run; `None` without samples.
    pub rate: Option<f64>,
    /// The longest run of all, the earliest sample's and example's among equals.
    pub longest: Option<Copied>,
    /// The longest run of each sample, where it has one.
    pub each: Vec<Option<Copied>>,
}

/// Samples that training texts are held against, one text a call.
#[derive(Debug)]
pub struct CopyCheck {
    automata: Vec<Automaton>,
    best: Vec<Option<Copied>>,
}

impl CopyCheck {
    pub fn new(samples: &[impl AsRef<[u32]>]) -> Self {
        let automata: Vec<_> = samples.iter().map(|sample| Automaton::new(sample.as_ref())).collect();
        Self { best: vec![None; automata.len()], automata }
    }

    /// Holds one training text against all samples. `example` names it in the result.
    pub fn read(&mut self, example: usize, text: &[u32]) {
        if text.len() < SHORTEST_COPY {
            return;
        }
        for (sample, (automaton, best)) in self.automata.iter().zip(&mut self.best).enumerate() {
            let Some(run) = automaton.longest_in(text) else { continue };
            if run.tokens >= SHORTEST_COPY && best.is_none_or(|best| run.tokens > best.tokens) {
                *best = Some(Copied {
                    tokens: run.tokens,
                    sample,
                    sample_start: run.own_start,
                    example,
                    example_start: run.other_start,
                });
            }
        }
    }

    pub fn figures(&self) -> CopyFigures {
        let shares = self.automata.iter().zip(&self.best).map(|(automaton, best)| {
            best.map_or(0.0, |best| best.tokens as f64 / automaton.len.max(1) as f64)
        });
        let count = self.automata.len();
        let mut longest: Option<Copied> = None;
        for copied in self.best.iter().flatten() {
            if longest.is_none_or(|longest| copied.tokens > longest.tokens) {
                longest = Some(*copied);
            }
        }
        CopyFigures {
            rate: (count > 0).then(|| shares.sum::<f64>() / count as f64),
            longest,
            each: self.best.clone(),
        }
    }
}

/// All samples against all training texts.
pub fn copying<'a>(
    samples: &[impl AsRef<[u32]>],
    training: impl IntoIterator<Item = &'a [u32]>,
) -> CopyFigures {
    let mut check = CopyCheck::new(samples);
    for (example, text) in training.into_iter().enumerate() {
        check.read(example, text);
    }
    check.figures()
}

/// All runs of one text, in at most twice as many states as it has tokens.
#[derive(Debug)]
struct Automaton {
    states: Vec<State>,
    /// Tokens of the text.
    len: usize,
}

#[derive(Debug, Clone)]
struct State {
    /// The longest run that ends here.
    longest: usize,
    /// Where the longest proper suffix with other continuations ends.
    link: Option<usize>,
    /// Where in the text a run of this state ends first.
    end: usize,
    /// Token and state, sorted by token; nearly always one.
    next: Vec<(u32, usize)>,
}

impl State {
    fn after(&self, token: u32) -> Option<usize> {
        let at = self.next.binary_search_by_key(&token, |(token, _)| *token).ok()?;
        Some(self.next[at].1)
    }

    fn set(&mut self, token: u32, state: usize) {
        match self.next.binary_search_by_key(&token, |(token, _)| *token) {
            Ok(at) => self.next[at].1 = state,
            Err(at) => self.next.insert(at, (token, state)),
        }
    }
}

struct Run {
    tokens: usize,
    own_start: usize,
    other_start: usize,
}

impl Automaton {
    fn new(text: &[u32]) -> Self {
        let start = State { longest: 0, link: None, end: 0, next: Vec::new() };
        let mut automaton = Self { states: vec![start], len: text.len() };
        let mut last = 0;
        for (at, token) in text.iter().enumerate() {
            last = automaton.extend(last, at, *token);
        }
        automaton
    }

    /// Appends a token behind the state of the whole text so far; the new such state.
    fn extend(&mut self, last: usize, at: usize, token: u32) -> usize {
        let new = self.states.len();
        let longest = self.states[last].longest + 1;
        self.states.push(State { longest, link: Some(0), end: at + 1, next: Vec::new() });
        let mut place = Some(last);
        while let Some(state) = place
            && self.states[state].after(token).is_none()
        {
            self.states[state].set(token, new);
            place = self.states[state].link;
        }
        let Some(state) = place else { return new };
        let Some(known) = self.states[state].after(token) else { return new };
        if self.states[state].longest + 1 == self.states[known].longest {
            self.states[new].link = Some(known);
            return new;
        }
        // The known state holds longer runs too, which do not end here: it is split.
        let copy = self.states.len();
        let split = State { longest: self.states[state].longest + 1, ..self.states[known].clone() };
        self.states.push(split);
        let mut place = Some(state);
        while let Some(state) = place
            && self.states[state].after(token) == Some(known)
        {
            self.states[state].set(token, copy);
            place = self.states[state].link;
        }
        self.states[known].link = Some(copy);
        self.states[new].link = Some(copy);
        new
    }

    /// The longest run that stands in both texts; the first in `other` among equals.
    fn longest_in(&self, other: &[u32]) -> Option<Run> {
        let (mut state, mut length) = (0, 0);
        let mut best: Option<(usize, usize, usize)> = None;
        for (at, token) in other.iter().enumerate() {
            loop {
                if let Some(next) = self.states[state].after(*token) {
                    state = next;
                    length += 1;
                    break;
                }
                if let Some(shorter) = self.states[state].link {
                    state = shorter;
                    length = self.states[shorter].longest;
                } else {
                    length = 0;
                    break;
                }
            }
            if length > 0 && best.is_none_or(|(longest, ..)| length > longest) {
                best = Some((length, self.states[state].end, at + 1));
            }
        }
        best.map(|(tokens, own_end, other_end)| Run {
            tokens,
            own_start: own_end - tokens,
            other_start: other_end - tokens,
        })
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn letters(text: &str) -> Vec<u32> {
        text.chars().map(u32::from).collect()
    }

    fn check(samples: &[&str], training: &[&str]) -> CopyFigures {
        let samples: Vec<_> = samples.iter().map(|sample| letters(sample)).collect();
        let training: Vec<_> = training.iter().map(|text| letters(text)).collect();
        copying(&samples, training.iter().map(Vec::as_slice))
    }

    #[test]
    fn a_whole_copy_is_one_and_a_short_one_is_nothing() {
        let found = check(&["the bakery opens at six"], &["hello", "yes, the bakery opens at six o'clock"]);
        assert_eq!(found.rate, Some(1.0));
        let expected = Copied { tokens: 23, sample: 0, sample_start: 0, example: 1, example_start: 5 };
        assert_eq!(found.longest, Some(expected));
        assert_eq!(check(&["a wet dog"], &["the wet cat"]).rate, Some(0.0));
        assert_eq!(check(&["a wet dog"], &["the wet cat"]).longest, None);
        assert_eq!(check(&[], &["the wet cat"]).rate, None);
        assert_eq!(check(&["", "short"], &["short"]).rate, Some(0.0));
    }

    #[test]
    fn the_rate_is_the_mean_and_runs_of_two_texts_do_not_add_up() {
        // 10 of 20 from one text and 10 of 20 from another: the longest run alone counts.
        let found = check(&["0123456789abcdefghij", "nothing of it at all"], &["x0123456789", "abcdefghij"]);
        assert_eq!(found.rate, Some(0.25));
        assert_eq!(found.longest.unwrap().example, 0);
        assert_eq!(found.each.len(), 2);
    }

    #[test]
    fn it_works_without_spaces() {
        let found = check(
            &["今天的面包比昨天早出炉，快来。"],
            &["老王家的豆浆", "各位街坊：今天的面包比昨天早出炉，欢迎品尝"],
        );
        let longest = found.longest.unwrap();
        assert_eq!((longest.tokens, longest.example, longest.example_start), (12, 1, 5));
        assert_eq!(found.rate, Some(12.0 / 15.0));
    }

    /// The obvious way, token by token.
    fn slow(sample: &[u32], text: &[u32]) -> usize {
        let mut best = 0;
        for i in 0..sample.len() {
            for j in 0..text.len() {
                let run = sample[i..].iter().zip(&text[j..]).take_while(|(a, b)| a == b).count();
                best = best.max(run);
            }
        }
        best
    }

    #[test]
    fn it_finds_what_the_obvious_way_finds() {
        let mut random = ChaCha8Rng::seed_from_u64(3);
        for round in 0..300 {
            let letters = 1 + round % 4;
            let mut text = |longest: usize| -> Vec<u32> {
                let length = random.random_range(0..longest);
                (0..length).map(|_| random.random_range(0..letters)).collect()
            };
            let (sample, other) = (text(40), text(60));
            let run = Automaton::new(&sample).longest_in(&other);
            let expected = slow(&sample, &other);
            assert_eq!(run.as_ref().map_or(0, |run| run.tokens), expected, "{sample:?} {other:?}");
            if let Some(run) = run {
                assert_eq!(
                    sample[run.own_start..run.own_start + run.tokens],
                    other[run.other_start..run.other_start + run.tokens]
                );
            }
        }
    }

    #[test]
    fn large_data_takes_no_time() {
        let mut random = ChaCha8Rng::seed_from_u64(4);
        let text: Vec<u32> = (0..1_000_000).map(|_| random.random_range(0..1000)).collect();
        let sample = text[123_456..123_656].to_vec();
        let found = copying(&[sample], text.chunks(500));
        assert_eq!((found.longest.unwrap().tokens, found.longest.unwrap().example), (156, 247));
        // The same token for ever: quadratic in a careless search.
        let same = vec![7; 100_000];
        assert_eq!(copying(&[vec![7; 1000]], [same.as_slice()]).rate, Some(1.0));
    }
}
