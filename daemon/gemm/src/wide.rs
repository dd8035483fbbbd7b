//! Plain loops with the widest vector registers that this processor has.
//!
//! The compiler must take for granted only what every processor of its target has, on x86 those of 2003. A function inside [`wide`] is
//! compiled several times, and the processor that is there decides. No version contracts or reorders a sum: the bits are the same on all.

/// Defines a function whose loops are compiled for each kind of [`Registers`](crate::Registers). What it calls must be inlined into it, or
/// it stays narrow.
#[macro_export]
macro_rules! wide {
    ($(#[$doc:meta])* $visible:vis fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)? $body:block) => {
        $(#[$doc])*
        $visible fn $name($($argument: $type),*) $(-> $result)? {
            #[inline(always)]
            fn plain($($argument: $type),*) $(-> $result)? $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2")]
            fn avx2($($argument: $type),*) $(-> $result)? {
                plain($($argument),*)
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f")]
            fn avx512($($argument: $type),*) $(-> $result)? {
                plain($($argument),*)
            }

            use $crate::{Machine, Registers};
            match Machine::here().registers() {
                #[cfg(target_arch = "x86_64")]
                #[expect(unsafe_code, reason = "an instruction that the processor may lack is unsafe to call")]
                // SAFETY: `Machine` has asked the processor.
                Registers::Amx | Registers::Avx512 => unsafe { avx512($($argument),*) },
                #[cfg(target_arch = "x86_64")]
                #[expect(unsafe_code, reason = "as above")]
                // SAFETY: as above.
                Registers::Avx2 => unsafe { avx2($($argument),*) },
                #[cfg(target_arch = "aarch64")]
                Registers::Neon => plain($($argument),*),
                Registers::Portable => plain($($argument),*),
            }
        }
    };
}
/// Running sums of a reduction: fills the registers of any processor, and fixes the order.
const LANES: usize = 16;

#[inline(always)]
pub fn dot(left: &[f32], right: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    let (whole_left, rest_left) = left.as_chunks::<LANES>();
    let (whole_right, rest_right) = right.as_chunks::<LANES>();
    for (left, right) in whole_left.iter().zip(whole_right) {
        for ((sum, l), r) in lanes.iter_mut().zip(left).zip(right) {
            *sum += l * r;
        }
    }
    let rest: f32 = rest_left.iter().zip(rest_right).map(|(l, r)| l * r).sum();
    total(lanes) + rest
}

/// The sum of `left * right * weights`.
#[inline(always)]
pub fn dot_weighted(left: &[f32], right: &[f32], weights: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    let (whole_left, rest_left) = left.as_chunks::<LANES>();
    let (whole_right, rest_right) = right.as_chunks::<LANES>();
    let (whole_weights, rest_weights) = weights.as_chunks::<LANES>();
    for ((left, right), weights) in whole_left.iter().zip(whole_right).zip(whole_weights) {
        for (((sum, l), r), w) in lanes.iter_mut().zip(left).zip(right).zip(weights) {
            *sum += l * r * w;
        }
    }
    let rest = rest_left.iter().zip(rest_right).zip(rest_weights);
    total(lanes) + rest.map(|((l, r), w)| l * r * w).sum::<f32>()
}

#[inline(always)]
pub fn sum(values: &[f32]) -> f32 {
    sum_of(values, |x| x)
}

#[inline(always)]
pub fn sum_of(values: &[f32], term: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let (whole, rest) = values.as_chunks::<LANES>();
    for chunk in whole {
        for (sum, x) in lanes.iter_mut().zip(chunk) {
            *sum += term(*x);
        }
    }
    total(lanes) + rest.iter().map(|x| term(*x)).sum::<f32>()
}

/// The sum of the lanes, by halves.
#[inline(always)]
fn total(lanes: [f32; LANES]) -> f32 {
    let mut lanes = lanes;
    let mut half = LANES / 2;
    while half > 0 {
        for index in 0..half {
            lanes[index] += lanes[index + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// The largest value; NaN anywhere gives NaN, so that a broken row never looks like a sound one.
#[inline(always)]
pub fn maximum(values: &[f32]) -> f32 {
    let larger = |top: f32, x: f32| if x > top || x.is_nan() { x } else { top };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (whole, rest) = values.as_chunks::<LANES>();
    for chunk in whole {
        for (top, x) in lanes.iter_mut().zip(chunk) {
            *top = larger(*top, *x);
        }
    }
    lanes.iter().chain(rest).copied().fold(f32::NEG_INFINITY, larger)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_and_maxima_of_any_length() {
        for len in [0, 1, 15, 16, 17, 70] {
            let values: Vec<f32> = (0..len).map(|index| (index as f32 * 0.7).sin()).collect();
            let plain: f64 = values.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
            assert!((f64::from(dot(&values, &values)) - plain).abs() < 1e-5);
            let halves = vec![0.5; len];
            assert!((f64::from(dot_weighted(&values, &halves, &values)) - plain / 2.0).abs() < 1e-5);
            let top = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert_eq!(maximum(&values).to_bits(), top.to_bits());
        }
        for place in [0, 20, 33] {
            let mut values = [1f32; 34];
            values[place] = f32::NAN;
            assert!(maximum(&values).is_nan());
        }
    }
}
