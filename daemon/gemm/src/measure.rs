//! How fast this processor runs the kernels that it could run: what [`Arithmetic::Fastest`](super::Arithmetic::Fastest) chooses by.
//!
//! Owns the shapes that are timed. It must not know where figures are kept.

use std::time::{Duration, Instant};

use half::bf16;

use super::blocks::BlockQ8_0;
use super::{Accumulate, Machine, Matrix, Stored, product_on};

/// Billions of multiply-adds a second, the best of some repetitions within `time`, of `rows x inner` times `inner x columns` on the current pool.
pub fn rate<E: Stored>(
    machine: Machine,
    (rows, inner, columns): (usize, usize, usize),
    right: Matrix<'_, E>,
    time: Duration,
) -> f64 {
    let left: Vec<f32> = (0..rows * inner).map(|at| (at % 251) as f32 / 251.0 - 0.5).collect();
    let mut target = vec![0.0; rows * columns];
    let (begin, mut best) = (Instant::now(), f64::INFINITY);
    let mut rounds = 0;
    while rounds < 3 || begin.elapsed() < time {
        let round = Instant::now();
        let left = Matrix::rows(&left, inner);
        product_on(
            machine,
            (rows, inner, columns),
            (&mut target, columns),
            left,
            right,
            None,
            Accumulate::Zero,
        );
        best = best.min(round.elapsed().as_secs_f64());
        rounds += 1;
    }
    (rows * inner * columns) as f64 / best / 1e9
}

/// The kinds of right sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    F32,
    Bf16,
    Q8,
    /// The same, the other way round, as a gradient goes back.
    Bf16Back,
}

/// [`rate`] for random values of a kind.
pub fn rate_of(machine: Machine, shape: (usize, usize, usize), right: Right, time: Duration) -> f64 {
    let (_, inner, columns) = shape;
    let value = |at: usize| (at % 241) as f32 / 241.0 - 0.5;
    match right {
        Right::F32 => {
            let values: Vec<f32> = (0..inner * columns).map(value).collect();
            rate(machine, shape, Matrix::rows(&values, inner).transposed(), time)
        }
        Right::Bf16 | Right::Bf16Back => {
            let values: Vec<bf16> = (0..inner * columns).map(|at| bf16::from_f32(value(at))).collect();
            let matrix = match right {
                Right::Bf16 => Matrix::rows(&values, inner).transposed(),
                _ => Matrix::rows(&values, columns),
            };
            rate(machine, shape, matrix, time)
        }
        Right::Q8 => {
            let values: Vec<BlockQ8_0> = vec![bytemuck::Zeroable::zeroed(); inner * columns / 32];
            rate(machine, shape, Matrix::rows(&values, inner / 32).transposed(), time)
        }
    }
}
