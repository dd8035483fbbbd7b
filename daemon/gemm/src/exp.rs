//! e^x for f32 in straight-line code, so that the compiler can use vector registers; the C library's `expf` is a call per value and was a
//! tenth of a training step.
//!
//! Range reduction to ±ln(2)/2 and a polynomial of degree 7 (the coefficients are those of the Taylor series, which over so small a range are within
//! one rounding of the best).

const LOG2_E: f32 = std::f32::consts::LOG2_E;
/// ln 2 in two parts: the first has few bits, so that its products with small integers are exact.
const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -2.121_944_4e-4;
/// Adding this rounds a float to an integer, which then lies in the sum's lowest bits.
const ROUND: f32 = 12_582_912.0;

/// Relative error below 3e-7 between -87 and 88; clamped outside, NaN stays NaN.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * LN2_HIGH - n * LN2_LOW;
    let high = 1.0 / 6.0 + r * (1.0 / 24.0 + r * (1.0 / 120.0 + r * (1.0 / 720.0 + r * (1.0 / 5040.0))));
    let series = 1.0 + r * (1.0 + r * (0.5 + r * high));
    // 2^n: the integer in `shifted` moved into the exponent.
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    series * power
}

#[cfg(test)]
mod tests {
    use super::exp;

    #[test]
    fn agrees_with_double_precision() {
        for index in 0..=175_000 {
            let x = (-87.0 + index as f32 * 1e-3).min(88.0);
            let truth = f64::from(x).exp();
            let error = (f64::from(exp(x)) - truth).abs() / truth;
            assert!(error < 3e-7, "exp({x}) is off by {error}");
        }
    }

    #[test]
    fn the_ends_and_what_is_no_number() {
        assert!((exp(0.0) - 1.0).abs() < f32::EPSILON);
        assert!(exp(-1e9) < 1e-37 && exp(f32::NEG_INFINITY) < 1e-37);
        assert!(exp(1e9) > 1e38 && exp(1e9).is_finite());
        assert!(exp(f32::NAN).is_nan());
    }
}
