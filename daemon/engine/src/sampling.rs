//! From logits to a token: repetition penalty, temperature, top-k, top-p, in the order of transformers.
//!
//! Owns the random numbers of one answer. It must not know tokens' meaning, nor when an answer ends.

use std::cmp::Ordering;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Candidates that top-p looks at before it looks at more.
const FIRST_CANDIDATES: usize = 64;

/// How an answer is written.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplingOptions {
    /// 0: always the likeliest token.
    pub temperature: f64,
    /// The likeliest tokens that together have this probability are kept; 1: all.
    pub top_p: f64,
    /// The likeliest `top_k` tokens are kept; 0: all.
    pub top_k: usize,
    /// Above 1: tokens that were seen become less likely.
    pub repetition_penalty: f64,
    pub seed: u64,
    pub max_tokens: usize,
    /// Texts that end the answer and are not part of it.
    pub stop: Vec<String>,
    /// Write on after an end-of-sequence token.
    pub ignore_eos: bool,
}

impl Default for SamplingOptions {
    fn default() -> Self {
        Self {
            temperature: 0.8,
            top_p: 0.95,
            top_k: 0,
            repetition_penalty: 1.0,
            seed: 0,
            max_tokens: 256,
            stop: Vec::new(),
            ignore_eos: false,
        }
    }
}

/// Draws tokens; the same options and logits give the same tokens.
#[derive(Debug)]
pub struct Sampler {
    temperature: f64,
    top_p: f64,
    top_k: usize,
    repetition_penalty: f32,
    rng: ChaCha8Rng,
}

impl Sampler {
    pub fn new(options: &SamplingOptions) -> Self {
        Self {
            temperature: options.temperature,
            top_p: options.top_p,
            top_k: options.top_k,
            repetition_penalty: options.repetition_penalty as f32,
            rng: ChaCha8Rng::seed_from_u64(options.seed),
        }
    }

    /// The next token; `logits` has one value for each token of the vocabulary and is changed by the repetition penalty.
    /// `seen` is the prompt and what was written. NaN counts as impossible; where nothing is possible, token 0 is drawn.
    pub fn draw(&mut self, logits: &mut [f32], seen: &[u32]) -> u32 {
        self.penalise(logits, seen);
        // No option should be NaN, but nothing else keeps it out.
        if self.temperature.is_nan() || self.temperature <= 0.0 {
            return likeliest(logits);
        }
        let mut candidates: Vec<(u32, f32)> =
            (0..).zip(logits.iter().copied()).filter(|(_, logit)| possible(*logit)).collect();
        let Some(max) = candidates.iter().map(|(_, logit)| *logit).max_by(f32::total_cmp) else { return 0 };
        if max == f32::INFINITY {
            return likeliest(logits);
        }
        if self.top_k > 0 && self.top_k < candidates.len() {
            candidates.select_nth_unstable_by(self.top_k - 1, likelier);
            candidates.truncate(self.top_k);
        }
        let temperature = self.temperature;
        let weight = |logit: f32| (f64::from(logit - max) / temperature).exp();
        let narrow = self.top_p < 1.0;
        let mut weights: Vec<f64>;
        if narrow {
            let wanted = candidates.iter().map(|(_, logit)| weight(*logit)).sum::<f64>() * self.top_p;
            // Sorting a whole vocabulary would take longer than a small model's forward pass; the first few mostly reach far enough.
            let mut kept = FIRST_CANDIDATES;
            loop {
                let all = kept >= candidates.len();
                if !all {
                    candidates.select_nth_unstable_by(kept - 1, likelier);
                }
                let top = kept.min(candidates.len());
                candidates[..top].sort_unstable_by(likelier);
                weights = candidates[..top].iter().map(|(_, logit)| weight(*logit)).collect();
                if all || weights.iter().sum::<f64>() >= wanted {
                    break;
                }
                kept *= 8;
            }
            weights.truncate(reaching(&weights, wanted) + 1);
        } else {
            if self.top_k > 0 {
                // Selecting leaves an order that is not ours to rely on.
                candidates.sort_unstable_by_key(|(token, _)| *token);
            }
            weights = candidates.iter().map(|(_, logit)| weight(*logit)).collect();
        }
        let point = self.rng.random::<f64>() * weights.iter().sum::<f64>();
        let chosen = passing(&weights, point);
        candidates[chosen].0
    }

    fn penalise(&self, logits: &mut [f32], seen: &[u32]) {
        let penalty = self.repetition_penalty;
        if penalty.is_nan() || penalty <= 0.0 || (penalty - 1.0).abs() < f32::EPSILON {
            return;
        }
        // Each token once, however often it was seen.
        let mut tokens = seen.to_vec();
        tokens.sort_unstable();
        tokens.dedup();
        for token in tokens {
            if let Some(logit) = logits.get_mut(token as usize) {
                *logit = if *logit < 0.0 { *logit * penalty } else { *logit / penalty };
            }
        }
    }
}

fn possible(logit: f32) -> bool {
    !logit.is_nan() && logit != f32::NEG_INFINITY
}

/// The token with the largest logit, the lowest id among equals.
fn likeliest(logits: &[f32]) -> u32 {
    let mut best = (0, f32::NEG_INFINITY);
    for (token, &logit) in (0..).zip(logits) {
        if logit > best.1 {
            best = (token, logit);
        }
    }
    best.0
}

/// Likelier first, the lower id first among equals.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that sorting asks for")]
fn likelier(a: &(u32, f32), b: &(u32, f32)) -> Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

/// The index at which the running sum of `weights` reaches `wanted`; the last one where rounding keeps it below.
fn reaching(weights: &[f64], wanted: f64) -> usize {
    let mut sum = 0.0;
    let reached = weights.iter().position(|weight| {
        sum += weight;
        sum >= wanted
    });
    reached.unwrap_or(weights.len().saturating_sub(1))
}

/// The index at which the running sum of `weights` passes `point`: unlike [`reaching`], never one of weight zero.
fn passing(weights: &[f64], point: f64) -> usize {
    let mut sum = 0.0;
    let passed = weights.iter().position(|weight| {
        sum += weight;
        sum > point
    });
    passed.or_else(|| weights.iter().rposition(|weight| *weight > 0.0)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampler(change: impl FnOnce(&mut SamplingOptions)) -> Sampler {
        let mut options =
            SamplingOptions { temperature: 1.0, top_p: 1.0, seed: 7, ..SamplingOptions::default() };
        change(&mut options);
        Sampler::new(&options)
    }

    /// How often each token was drawn, as a share.
    fn shares(sampler: &mut Sampler, logits: &[f32]) -> Vec<f64> {
        const DRAWS: usize = 20_000;
        let mut counts = vec![0.0; logits.len()];
        for _ in 0..DRAWS {
            counts[sampler.draw(&mut logits.to_vec(), &[]) as usize] += 1.0 / DRAWS as f64;
        }
        counts
    }

    fn assert_near(found: &[f64], expected: &[f64]) {
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 0.015, "{found} {expected}");
        }
    }

    fn logits(probabilities: &[f32]) -> Vec<f32> {
        probabilities.iter().map(|p| p.ln()).collect()
    }

    const P: [f32; 4] = [0.1, 0.5, 0.3, 0.1];

    #[test]
    fn zero_temperature_is_the_likeliest_and_the_lowest_among_equals() {
        let mut greedy = sampler(|options| options.temperature = 0.0);
        assert_eq!(greedy.draw(&mut [0.0, 3.0, 3.0, 1.0], &[]), 1);
        assert_eq!(greedy.draw(&mut [f32::NAN, -5.0, f32::NAN], &[]), 1);
    }

    #[test]
    fn temperature_one_draws_the_softmax_and_others_sharpen_or_flatten_it() {
        assert_near(&shares(&mut sampler(|_| ()), &logits(&P)), &P.map(f64::from));
        let squares = P.map(|p| f64::from(p * p));
        let sum: f64 = squares.iter().sum();
        assert_near(&shares(&mut sampler(|o| o.temperature = 0.5), &logits(&P)), &squares.map(|s| s / sum));
        assert_near(&shares(&mut sampler(|o| o.temperature = f64::INFINITY), &logits(&P)), &[0.25; 4]);
        assert_near(&shares(&mut sampler(|o| o.temperature = 1e-300), &logits(&P)), &[0.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn top_k_keeps_exactly_k_and_the_lower_id_among_equals() {
        assert_near(&shares(&mut sampler(|o| o.top_k = 2), &logits(&P)), &[0.0, 0.625, 0.375, 0.0]);
        assert_near(
            &shares(&mut sampler(|o| o.top_k = 3), &logits(&P)),
            &[1.0 / 9.0, 5.0 / 9.0, 3.0 / 9.0, 0.0],
        );
        assert_near(&shares(&mut sampler(|o| o.top_k = 99), &logits(&P)), &P.map(f64::from));
    }

    #[test]
    fn top_p_keeps_the_smallest_set_that_reaches_p() {
        assert_near(&shares(&mut sampler(|o| o.top_p = 0.4), &logits(&P)), &[0.0, 1.0, 0.0, 0.0]);
        assert_near(&shares(&mut sampler(|o| o.top_p = 0.7), &logits(&P)), &[0.0, 0.625, 0.375, 0.0]);
        assert_near(
            &shares(&mut sampler(|o| o.top_p = 0.85), &logits(&P)),
            &[1.0 / 9.0, 5.0 / 9.0, 3.0 / 9.0, 0.0],
        );
        assert_near(&shares(&mut sampler(|o| o.top_p = 0.0), &logits(&P)), &[0.0, 1.0, 0.0, 0.0]);
        // top-p counts among what top-k left.
        let both = |o: &mut SamplingOptions| (o.top_k, o.top_p) = (2, 0.6);
        assert_near(&shares(&mut sampler(both), &logits(&P)), &[0.0, 1.0, 0.0, 0.0]);
    }

    /// A flat vocabulary, where many more than the first candidates are needed, and all of them.
    #[test]
    fn top_p_reaches_far_into_a_large_vocabulary() {
        for (top_p, most) in [(0.5, 500), (0.999_999, 1000)] {
            let mut flat = sampler(|o| o.top_p = top_p);
            let drawn: Vec<u32> = (0..4000).map(|_| flat.draw(&mut [0.5; 1000], &[])).collect();
            assert!(drawn.iter().all(|token| (*token as usize) < most));
            assert!(drawn.iter().any(|token| *token as usize >= most * 9 / 10));
        }
    }

    #[test]
    fn the_repetition_penalty_divides_what_is_positive_and_multiplies_what_is_negative() {
        let mut penalised = sampler(|options| options.repetition_penalty = 2.0);
        let mut logits = [4.0, -1.0, 3.0, 0.5];
        penalised.draw(&mut logits, &[0, 1, 0, 99]);
        assert_eq!(logits.map(f32::to_bits), [2.0_f32, -2.0, 3.0, 0.5].map(f32::to_bits));
        let mut greedy = sampler(|options| (options.temperature, options.repetition_penalty) = (0.0, 2.0));
        assert_eq!(greedy.draw(&mut [4.0, -1.0, 3.0], &[0]), 2);
    }

    #[test]
    fn the_same_seed_draws_the_same_tokens_and_another_does_not() {
        let draws = |seed| {
            let mut sampler = sampler(|options| options.seed = seed);
            (0..64).map(|_| sampler.draw(&mut [0.0; 50], &[])).collect::<Vec<_>>()
        };
        assert_eq!(draws(1), draws(1));
        assert_ne!(draws(1), draws(2));
    }

    #[test]
    fn impossible_logits_are_never_drawn_and_never_panic() {
        let mut sampler = sampler(|options| options.top_p = 0.9);
        let hole = [f32::NAN, f32::NEG_INFINITY, 0.0, f32::NAN];
        assert_near(&shares(&mut sampler, &hole), &[0.0, 0.0, 1.0, 0.0]);
        assert_eq!(sampler.draw(&mut [0.0, f32::INFINITY, f32::INFINITY], &[]), 1);
        assert_eq!(sampler.draw(&mut [f32::NAN, f32::NAN], &[]), 0);
        assert_eq!(sampler.draw(&mut [], &[]), 0);
    }
}
