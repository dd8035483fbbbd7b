//! What rotary parameters mean: the frequencies of a sequence, and the factor on its cosines and sines.
//!
//! Follows `modeling_rope_utils.py` of transformers, in its order of operations and its f32 roundings.
//!
//! Positions that depend on the length (`dynamic`, `longrope`) take each packed example's own length. Through the cache, `dynamic` turns new keys by the
//! length so far and leaves old ones, as transformers does; at `longrope`'s border the sequence is read again from the start, as transformers' Phi-3 does.

use crate::rope_config::{Rope, RopeScaling};

impl Rope {
    /// One frequency for each pair of turning values: `[width / 2]`, in radians per position, for a sequence of `length` tokens.
    ///
    /// Only `dynamic` and `longrope` look at the length. There the frequencies are those that transformers takes when it reads
    /// `length` tokens at once.
    pub fn frequencies(&self, length: usize) -> Vec<f32> {
        match &self.scaling {
            RopeScaling::None => self.plain(self.theta as f32),
            RopeScaling::Linear { factor } => self.map(|frequency| frequency / *factor as f32),
            RopeScaling::Dynamic { factor, context } => self.plain(self.grown(*factor, *context, length)),
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
                let original = *original_context as f64;
                let (low, high) = (*low_freq_factor, *high_freq_factor);
                self.map(|frequency| llama3(frequency, *factor as f32, low, high, original))
            }
            RopeScaling::Yarn { .. } => self.yarn(),
            RopeScaling::LongRope { short, long, original_context, .. } => {
                let divisors = if length > *original_context { long } else { short };
                let powers = self.powers(self.theta as f32);
                powers.zip(divisors).map(|(power, divisor)| 1.0 / (divisor * power)).collect()
            }
        }
    }

    /// The factor on cosines and sines.
    pub fn attention_factor(&self) -> f32 {
        match &self.scaling {
            RopeScaling::Yarn { attention_factor, .. } | RopeScaling::LongRope { attention_factor, .. } => {
                *attention_factor as f32
            }
            _ => 1.0,
        }
    }

    /// Whether [`frequencies`](Self::frequencies) looks at the length.
    pub fn depends_on_length(&self) -> bool {
        matches!(self.scaling, RopeScaling::Dynamic { .. } | RopeScaling::LongRope { .. })
    }

    /// Whether keys that were turned when the sequence had `before` tokens are of no use once it has `now`: the two sets of `longrope` do
    /// not mix, and transformers' Phi-3 reads the sequence again at that border too. With `dynamic` it mixes them, and so do we.
    pub fn outgrown(&self, before: usize, now: usize) -> bool {
        matches!(&self.scaling, RopeScaling::LongRope { original_context, .. }
            if before <= *original_context && now > *original_context)
    }

    /// `theta` to the power of each pair's place.
    fn powers(&self, theta: f32) -> impl Iterator<Item = f32> {
        let width = self.width;
        (0..width).step_by(2).map(move |channel| power(theta, channel as f32 / width as f32))
    }

    fn plain(&self, theta: f32) -> Vec<f32> {
        self.powers(theta).map(|power| 1.0 / power).collect()
    }

    fn map(&self, scaled: impl Fn(f32) -> f32) -> Vec<f32> {
        self.powers(self.theta as f32).map(|power| scaled(1.0 / power)).collect()
    }

    /// The base of the wavelengths at a length. Up to `context` tokens it is theta itself.
    fn grown(&self, factor: f64, context: usize, length: usize) -> f32 {
        if length <= context {
            return self.theta as f32;
        }
        let exponent = self.width as f64 / (self.width as f64 - 2.0);
        let stretch = factor as f32 * length as f32 / context as f32 - (factor - 1.0) as f32;
        self.theta as f32 * power(stretch, exponent as f32)
    }

    fn yarn(&self) -> Vec<f32> {
        let RopeScaling::Yarn { factor, original_context, beta_fast, beta_slow, truncate, .. } = self.scaling
        else {
            return self.plain(self.theta as f32);
        };
        let width = self.width as f64;
        // The channel whose wave turns so many times within the original context.
        let channel = |turns: f64| {
            width * (original_context as f64 / (turns * std::f64::consts::TAU)).ln() / (2.0 * self.theta.ln())
        };
        let (mut low, mut high) = (channel(beta_fast), channel(beta_slow));
        if truncate {
            (low, high) = (low.floor(), high.ceil());
        }
        let (low, mut high) = (low.max(0.0), high.min(width - 1.0));
        if low.to_bits() == high.to_bits() {
            high += 0.001;
        }
        let powers = self.powers(self.theta as f32).enumerate();
        powers
            .map(|(index, power)| {
                let ramp = ((index as f32 - low as f32) / (high - low) as f32).clamp(0.0, 1.0);
                let kept = 1.0 - ramp;
                let (extrapolated, interpolated) = (1.0 / power, 1.0 / (factor as f32 * power));
                interpolated * (1.0 - kept) + extrapolated * kept
            })
            .collect()
    }
}

/// Rounded once, as a good f32 `pow` does.
fn power(base: f32, exponent: f32) -> f32 {
    f64::from(base).powf(f64::from(exponent)) as f32
}

fn llama3(frequency: f32, factor: f32, low: f64, high: f64, original: f64) -> f32 {
    // torch divides a number by a tensor as number times reciprocal.
    let wavelength = (1.0 / frequency) * std::f64::consts::TAU as f32;
    if wavelength > (original / low) as f32 {
        frequency / factor
    } else if wavelength < (original / high) as f32 {
        frequency
    } else {
        let turns = (1.0 / wavelength) * original as f32;
        let smooth = (turns - low as f32) / (high - low) as f32;
        (1.0 - smooth) * frequency / factor + smooth * frequency
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: [f32; 8] =
        [1.0, 0.316_227_76, 0.1, 0.031_622_78, 0.01, 0.003_162_277_9, 0.001, 3.162_278e-4];
    const LINEAR: [f32; 8] = [
        0.4,
        0.126_491_1,
        0.04,
        0.012_649_111,
        0.003_999_999_7,
        0.001_264_911_1,
        4.000_000_2e-4,
        1.264_911_1e-4,
    ];
    const LLAMA3: [f32; 8] =
        [1.0, 0.244_384_59, 0.013_042_256, 0.003_952_847_3, 0.00125, 3.952_847_3e-4, 1.25e-4, 3.952_847_3e-5];

    /// Values printed by transformers 5.23 (`ROPE_INIT_FUNCTIONS`, head_dim 16).
    #[test]
    fn frequencies_are_those_of_transformers() {
        let close = |rope: Rope, expected: &[f32]| {
            let found = rope.frequencies(1);
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() <= expected.abs() * 2e-7, "{found} {expected}");
            }
        };
        close(Rope { theta: 10_000.0, width: 16, scaling: RopeScaling::None }, &PLAIN);
        close(Rope { theta: 10_000.0, width: 16, scaling: RopeScaling::Linear { factor: 2.5 } }, &LINEAR);
        let scaling = RopeScaling::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_context: 64,
        };
        close(Rope { theta: 10_000.0, width: 16, scaling }, &LLAMA3);
    }
}
