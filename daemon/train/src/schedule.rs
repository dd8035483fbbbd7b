//! The learning rate from step to step.
//!
//! The formulas are those of `transformers`' `get_linear_schedule_with_warmup`, `get_cosine_schedule_with_warmup` and
//! `get_constant_schedule_with_warmup`, so that a run can be compared with one made there: with `w` warm-up steps of `n` steps in all,
//! step `s` (from 1) uses the factor at `t = s - 1`:
//!
//! - while `t < w`: `t / w`, so the first step of a warm-up moves nothing;
//! - then linear: `(n - t) / (n - w)`; cosine: `(1 + cos(pi (t - w) / (n - w))) / 2`; constant: 1.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    #[default]
    Linear,
    Cosine,
    Constant,
}

impl Schedule {
    /// The part of the peak rate that `step` (from 1) of `steps` uses.
    pub fn factor(self, step: usize, steps: usize, warmup: usize) -> f64 {
        let before = step.saturating_sub(1);
        if before < warmup {
            return before as f64 / warmup as f64;
        }
        let falling = steps.saturating_sub(warmup).max(1) as f64;
        match self {
            Schedule::Constant => 1.0,
            Schedule::Linear => steps.saturating_sub(before) as f64 / falling,
            Schedule::Cosine => {
                let progress = (before - warmup) as f64 / falling;
                f64::midpoint(1.0, (std::f64::consts::PI * progress).cos()).max(0.0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factors(schedule: Schedule, warmup: usize) -> Vec<f64> {
        (1..=10).map(|step| schedule.factor(step, 10, warmup)).collect()
    }

    #[test]
    fn factors_are_those_of_transformers() {
        let close = |ours: Vec<f64>, theirs: [f64; 10]| {
            assert!(ours.iter().zip(theirs).all(|(a, b)| (a - b).abs() < 1e-6), "{ours:?}");
        };
        close(factors(Schedule::Linear, 2), [0.0, 0.5, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]);
        close(
            factors(Schedule::Cosine, 2),
            [0.0, 0.5, 1.0, 0.961_940, 0.853_553, 0.691_342, 0.5, 0.308_658, 0.146_447, 0.038_060],
        );
        close(factors(Schedule::Constant, 4), [0.0, 0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]);
        close(factors(Schedule::Linear, 0), [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]);
    }

    #[test]
    fn a_warm_up_longer_than_the_run_is_no_fault() {
        assert!((Schedule::Linear.factor(3, 3, 10) - 0.2).abs() < 1e-12);
        assert!((Schedule::Cosine.factor(12, 3, 10) - 0.0).abs() < 1e-12);
    }
}
