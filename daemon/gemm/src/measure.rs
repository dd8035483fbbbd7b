//! How fast this processor runs each of the kernels that it could run: what the choice of kernels goes by.
//!
//! Owns the shapes that are timed and the rule that chooses. It must not know where figures are kept.

use std::fmt;
use std::time::{Duration, Instant};

use half::bf16;

use super::blocks::{BlockQ4_0, BlockQ8_0};
use super::{Accumulate, Machine, Matrix, Stored, Values, product_on};

/// Of the kernels: what was measured of another one is measured again. Raise it with a change that moves the rates.
pub const GENERATION: u32 = 1;
/// Rounds of a measurement, in which all kernels take turns.
const ROUNDS: usize = 5;
/// How many times as fast as the safe kernels others must be to be chosen: less is noise.
const CLEARLY: f64 = 1.15;
const DEPTH: usize = 576;
const COLUMNS: usize = 1536;

/// How the right side of a product is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    F32,
    Bf16,
    Q8,
    Q4,
    /// bf16 values the other way round, as a gradient goes back.
    Bf16Back,
}

impl fmt::Display for Right {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Right::F32 => "f32",
            Right::Bf16 => "bf16",
            Right::Q8 => "q8_0",
            Right::Q4 => "q4_0",
            Right::Bf16Back => "bf16 back",
        })
    }
}

/// Products that are timed for a choice: as training and reading a prompt, as eight answers at once, and as one answer multiply.
const TIMED: [(usize, Right); 10] = [
    (128, Right::Bf16),
    (128, Right::Bf16Back),
    (128, Right::Q8),
    (128, Right::Q4),
    (8, Right::Bf16),
    (8, Right::Q8),
    (8, Right::Q4),
    (1, Right::Bf16),
    (1, Right::Q8),
    (1, Right::Q4),
];

/// Kernels and how fast they were.
#[derive(Debug, Clone)]
pub struct Measured {
    pub machine: Machine,
    /// Billions of multiply-adds a second, the median of the rounds: rows on the left, how the right side is stored, the rate.
    pub rates: Vec<(usize, Right, f64)>,
    /// How many times as fast as the safe kernels, over all products alike (geometric mean of the medians).
    pub times: f64,
}

/// Measures kernels on the current pool, in turns: some tens of milliseconds. The first ones are the safe choice.
pub fn measure(machines: &[Machine]) -> Vec<Measured> {
    let mut seconds = vec![vec![Vec::with_capacity(ROUNDS); TIMED.len()]; machines.len()];
    for (at, (rows, right)) in TIMED.into_iter().enumerate() {
        with_product((rows, DEPTH, COLUMNS), right, &mut |seconds_of| {
            // The first product wakes threads and fetches the right side.
            for machine in machines {
                seconds_of(*machine);
            }
            for _ in 0..ROUNDS {
                for (seconds, machine) in seconds.iter_mut().zip(machines) {
                    // A product of few rows is too short for the clock.
                    let repeats = (64 / rows).clamp(1, 8);
                    let total: f64 = (0..repeats).map(|_| seconds_of(*machine)).sum();
                    seconds[at].push(total / repeats as f64);
                }
            }
        });
    }
    let safe = seconds.first().cloned().unwrap_or_default();
    machines
        .iter()
        .zip(seconds)
        .map(|(&machine, seconds)| {
            let rates = TIMED.iter().zip(&seconds).map(|((rows, right), seconds)| {
                (*rows, *right, (rows * DEPTH * COLUMNS) as f64 / median(seconds.clone()) / 1e9)
            });
            // Round by round: what the machine does beside it slows both.
            let times = safe
                .iter()
                .zip(&seconds)
                .map(|(safe, own)| median(safe.iter().zip(own).map(|(safe, own)| safe / own).collect()).ln());
            let times = (times.sum::<f64>() / TIMED.len() as f64).exp();
            Measured { machine, rates: rates.collect(), times }
        })
        .collect()
}

/// The fastest of them where it is clearly so, and else the safe ones.
pub fn fastest(measured: &[Measured]) -> Option<&Measured> {
    let safe = measured.first()?;
    let best = measured[1..].iter().max_by(|a, b| a.times.total_cmp(&b.times));
    Some(best.filter(|best| best.times >= CLEARLY).unwrap_or(safe))
}

/// Of all that a processor can run, what it has instructions for, with the best registers for each kind of values; those that multiply in f32 first.
pub fn candidates(all: &[Machine]) -> Vec<Machine> {
    let native = |machine: &&Machine| machine.is_native();
    let safe = all.iter().filter(native).find(|machine| machine.values == Values::F32);
    let others = all.iter().filter(native).filter(|machine| machine.values == Values::Bf16);
    safe.into_iter().chain(others).copied().collect()
}

/// Billions of multiply-adds a second, the best of some repetitions within `time`, of `rows x inner` times `inner x columns` on the current pool.
pub fn rate(
    machine: Machine,
    (rows, inner, columns): (usize, usize, usize),
    right: Right,
    time: Duration,
) -> f64 {
    let mut best = f64::INFINITY;
    with_product((rows, inner, columns), right, &mut |seconds_of| {
        let begin = Instant::now();
        let mut rounds = 0;
        while rounds < 3 || begin.elapsed() < time {
            best = best.min(seconds_of(machine));
            rounds += 1;
        }
    });
    (rows * inner * columns) as f64 / best / 1e9
}

/// Computes a product and says in how many seconds.
type Timed<'a> = &'a dyn Fn(Machine) -> f64;

/// Makes the sides of a product, and lends what computes it once and says in how many seconds.
fn with_product(shape: (usize, usize, usize), right: Right, run: &mut dyn FnMut(Timed<'_>)) {
    let (rows, inner, columns) = shape;
    let left = values(rows * inner);
    let left = Matrix::rows(&left, inner);
    match right {
        Right::F32 => {
            let values = values(inner * columns);
            run(&|machine| seconds(machine, shape, left, Matrix::rows(&values, inner).transposed()));
        }
        Right::Bf16 | Right::Bf16Back => {
            let values: Vec<bf16> = values(inner * columns).into_iter().map(bf16::from_f32).collect();
            let right = match right {
                Right::Bf16 => Matrix::rows(&values, inner).transposed(),
                _ => Matrix::rows(&values, columns),
            };
            run(&|machine| seconds(machine, shape, left, right));
        }
        Right::Q8 => {
            let blocks: Vec<BlockQ8_0> = vec![bytemuck::Zeroable::zeroed(); inner * columns / 32];
            run(&|machine| seconds(machine, shape, left, Matrix::rows(&blocks, inner / 32).transposed()));
        }
        Right::Q4 => {
            let blocks: Vec<BlockQ4_0> = vec![bytemuck::Zeroable::zeroed(); inner * columns / 32];
            run(&|machine| seconds(machine, shape, left, Matrix::rows(&blocks, inner / 32).transposed()));
        }
    }
}

/// Seconds of one product.
fn seconds<E: Stored>(
    machine: Machine,
    shape: (usize, usize, usize),
    left: Matrix<'_, f32>,
    right: Matrix<'_, E>,
) -> f64 {
    let (rows, _, columns) = shape;
    let mut target = vec![0.0; rows * columns];
    let begin = Instant::now();
    product_on(machine, shape, (&mut target, columns), left, right, None, Accumulate::Zero);
    begin.elapsed().as_secs_f64()
}

/// Values between -0.5 and 0.5, the same ones each time.
fn values(count: usize) -> Vec<f32> {
    (0..count).map(|at| (at % 251) as f32 / 251.0 - 0.5).collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Registers;

    fn measured(values: Values, times: f64) -> Measured {
        Measured { machine: Machine { registers: Registers::Portable, values }, rates: Vec::new(), times }
    }

    #[test]
    fn a_clear_winner_is_chosen_and_else_the_safe_one() {
        let safe = measured(Values::F32, 1.0);
        let chosen = |times| fastest(&[safe.clone(), measured(Values::Bf16, times)]).unwrap().machine.values;
        assert_eq!(chosen(0.6), Values::F32);
        assert_eq!(chosen(1.1), Values::F32);
        assert_eq!(chosen(1.3), Values::Bf16);
        assert_eq!(chosen(f64::NAN), Values::F32);
        assert_eq!(fastest(&[safe]).unwrap().machine.values, Values::F32);
        assert!(fastest(&[]).is_none());
    }

    #[test]
    fn all_kernels_that_are_worth_it_are_measured() {
        let machines = candidates(&Machine::all());
        assert_eq!(machines[0].values, Values::F32);
        let measured = measure(&machines);
        for measured in &measured {
            assert!(measured.times > 0.0 && measured.times.is_finite(), "{measured:?}");
            assert_eq!(measured.rates.len(), TIMED.len());
            assert!(measured.rates.iter().all(|(_, _, rate)| *rate > 0.0 && rate.is_finite()));
        }
        assert!(measured.iter().map(|measured| measured.machine).eq(machines));
        assert!((measured[0].times - 1.0).abs() < 1e-9);
    }
}
