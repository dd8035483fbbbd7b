//! When early stopping will probably come: at first by how alike the examples are, then by the held-out losses so far. Numbers in, a step out.

use super::TrainSettings;

/// Epochs after which a run from a bare base has its last gain, with 27 steps an epoch: so many where no trigram of one text stands in another, and
/// more the more do, up to a share. What each text has for itself is only memorised in the second epoch; what they have in common becomes a little surer
/// with every one, until it is sure. Measured on SmolLM2-135M with 120 notes of several kinds, at the default rate.
const BEST_EPOCHS: f64 = 1.05;
const BEST_EPOCHS_BY_OVERLAP: f64 = 1.2;
const MOST_OVERLAP: f64 = 0.6;
/// With fewer steps an epoch it takes more epochs.
const BEST_AT_STEPS_PER_EPOCH: f64 = 27.0;

/// A gain of this part of all that was gained is one of the last: then memorising costs as much as learning brings.
const LAST_GAIN: f64 = 0.04;
/// How much of a gain the next one keeps: least and most, since a rough curve says anything.
const GAIN_KEPT: (f64, f64) = (0.2, 0.8);
/// Looks whose gains tell how fast they shrink.
const RECENT: usize = 3;
/// Looks after which the curve counts as much as the first guess.
const CURVE_COUNTS: f64 = 6.0;
/// A held-out loss that has risen from its best by more than this part of all that was gained is on its way up; below it, it wavers on a plateau, ...
const RISEN: f64 = 0.03;
/// ... where each look has this chance of another gain: while the learning rate falls, the loss still creeps down.
const CHANCE_OF_GAIN: f64 = 0.2;

/// A look at the held-out examples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Look {
    pub step: usize,
    pub loss: f64,
}

impl TrainSettings {
    /// The step at which a run probably stops by itself: one epoch, and patience, after its last gain. The first guess, from the trigram overlap of its
    /// examples.
    pub fn likely_steps(&self, examples: usize, incremental: bool, overlap: f64) -> usize {
        let most = self.steps(examples);
        // So short a run comes to its end before patience does.
        if incremental || most == 0 {
            return most;
        }
        let per_epoch = self.steps_per_epoch(examples);
        let epochs = (BEST_EPOCHS + BEST_EPOCHS_BY_OVERLAP * overlap.clamp(0.0, MOST_OVERLAP))
            * (BEST_AT_STEPS_PER_EPOCH / per_epoch as f64).sqrt().clamp(0.6, 2.5);
        let best = (epochs * per_epoch as f64).round() as usize;
        best.saturating_add(self.steps_after_best(examples)).min(most)
    }

    /// Steps that a run goes on after its last gain.
    pub fn steps_after_best(&self, examples: usize) -> usize {
        let (interval, per_epoch) =
            (self.evaluation_interval(examples).max(1), self.steps_per_epoch(examples).max(1));
        per_epoch.div_ceil(interval).max(self.patience.min(1 << 20)) * interval
    }

    /// The step at which a run that has seen these held-out losses will probably stop. `likely`: what was thought before the first of them;
    /// `gained_step`: the last that brought a gain.
    pub fn stops_at(&self, examples: usize, likely: usize, gained_step: usize, looks: &[Look]) -> usize {
        let after = self.steps_after_best(examples);
        // Not before this: as things are, patience ends then.
        let soonest = gained_step.saturating_add(after);
        let interval = self.evaluation_interval(examples).max(1);
        let known = looks.iter().position(|look| look.step == gained_step);
        let (Some(best), [first, .., last]) = (known, looks) else { return likely.max(soonest) };
        let since = looks.len() - 1 - best;
        let guessed = likely.max(soonest) as f64;
        let expected = if since == 0 {
            // A curve that still falls can only put the end off: how soon it turns is seen when it has turned.
            let more = further_gains(looks) * interval as f64;
            let trust = looks.len() as f64 / (looks.len() as f64 + CURVE_COUNTS);
            mix(guessed, guessed.max(soonest as f64 + more), trust)
        } else {
            let gained = (first.loss - looks[best].loss).max(f64::MIN_POSITIVE);
            let risen = ((last.loss - looks[best].loss) / gained).max(0.0);
            // The last look that waits for a gain.
            let open = (after / interval).saturating_sub(since);
            let better = 1.0 - (1.0 - CHANCE_OF_GAIN).powf(open as f64);
            mix(soonest as f64, guessed, better * (-risen / RISEN).exp())
        };
        (expected.round() as usize).max(soonest)
    }
}

/// How many more looks bring a gain worth the name, if gains go on shrinking as they do.
fn further_gains(looks: &[Look]) -> f64 {
    let gains: Vec<f64> = looks.windows(2).map(|pair| pair[0].loss - pair[1].loss).collect();
    let recent = &gains[gains.len().saturating_sub(RECENT)..];
    let [earlier, .., last] = recent else { return 0.0 };
    if !(*earlier > 0.0 && *last > 0.0) {
        return 0.0;
    }
    let between = (recent.len() - 1) as f64;
    let kept = (last / earlier).powf(1.0 / between).clamp(GAIN_KEPT.0, GAIN_KEPT.1);
    let enough = LAST_GAIN * gains.iter().sum::<f64>();
    let more = (enough / last).ln() / kept.ln();
    if more.is_finite() { more.max(0.0) } else { 0.0 }
}

/// Between two positive numbers, as factors: `part` 0 is the one, 1 the other.
fn mix(one: f64, other: f64, part: f64) -> f64 {
    (one.max(1.0).ln() * (1.0 - part) + other.max(1.0).ln() * part).exp()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::is_gain;
    use crate::test_base;

    /// A run of SmolLM2-135M-Instruct that was recorded: its looks are 7 steps apart.
    struct Recorded {
        examples: usize,
        overlap: f64,
        stopped: usize,
        losses: &'static [f64],
    }

    const RECORDED: &[Recorded] = &[
        // Licence texts: many hands with much in common.
        Recorded {
            examples: 104,
            overlap: 0.522,
            stopped: 105,
            losses: &[
                2.401, 2.188, 1.914, 1.764, 1.659, 1.599, 1.575, 1.555, 1.551, 1.554, 1.546, 1.507, 1.555,
                1.565, 1.549, 1.559,
            ],
        },
        // Short questions and answers.
        Recorded {
            examples: 109,
            overlap: 0.071,
            stopped: 63,
            losses: &[4.219, 3.444, 3.258, 3.202, 3.096, 3.056, 3.103, 3.113, 3.063, 3.209],
        },
        // Short questions and answers.
        Recorded {
            examples: 105,
            overlap: 0.076,
            stopped: 63,
            losses: &[4.088, 3.215, 2.939, 2.891, 2.861, 2.851, 2.935, 2.946, 2.975, 3.212],
        },
        // Prose of many hands.
        Recorded {
            examples: 108,
            overlap: 0.117,
            stopped: 56,
            losses: &[3.381, 3.214, 3.055, 2.999, 2.986, 3.014, 3.028, 3.016, 3.006],
        },
        // Licence texts, shorter.
        Recorded {
            examples: 108,
            overlap: 0.405,
            stopped: 77,
            losses: &[2.921, 2.686, 2.317, 2.052, 1.969, 1.926, 1.882, 1.836, 1.852, 1.861, 1.87, 1.861],
        },
        // Prose of many hands, another seed.
        Recorded {
            examples: 103,
            overlap: 0.071,
            stopped: 56,
            losses: &[3.191, 3.051, 2.918, 2.881, 2.85, 2.863, 2.871, 2.881, 2.921],
        },
        // Notes in one voice, which come to a plateau. Without a least gain the two went on to 98 and 217.
        Recorded {
            examples: 110,
            overlap: 1.0,
            stopped: 63,
            losses: &[6.082, 4.107, 1.348, 0.487, 0.398, 0.221, 0.2175, 0.293, 0.253, 0.2525],
        },
        Recorded {
            examples: 104,
            overlap: 0.994,
            stopped: 77,
            losses: &[6.054, 3.839, 1.264, 0.416, 0.255, 0.254, 0.227, 0.213, 0.249, 0.233, 0.21, 0.223],
        },
    ];

    fn settings(examples: usize) -> TrainSettings {
        TrainSettings::for_data(&test_base::config(), examples, false)
    }

    /// The first guess, and what is thought after each look.
    fn guesses(run: &Recorded) -> Vec<usize> {
        let settings = settings(run.examples);
        let likely = settings.likely_steps(run.examples, false, run.overlap);
        let mut guesses = vec![likely];
        let (mut looks, mut gained) = (Vec::new(), Look { step: 0, loss: f64::INFINITY });
        for (index, &loss) in run.losses.iter().enumerate() {
            let look = Look { step: 7 * index, loss };
            looks.push(look);
            if gained.step == 0 && loss < gained.loss || is_gain(run.losses[0], gained.loss, loss) {
                gained = look;
            }
            guesses.push(settings.stops_at(run.examples, likely, gained.step, &looks));
        }
        guesses
    }

    #[test]
    fn recorded_runs_stop_about_where_it_was_thought() {
        for run in RECORDED {
            let all = guesses(run);
            let ratio = |guess: &usize| *guess as f64 / run.stopped as f64;
            assert!(
                all.iter().all(|guess| (1.0 / 1.5..=1.5).contains(&ratio(guess))),
                "{all:?} of {}",
                run.stopped
            );
            assert_eq!(all.last(), Some(&run.stopped), "{all:?}");
        }
    }

    #[test]
    fn a_run_probably_stops_between_its_first_epochs_and_its_last() {
        for (examples, overlap) in [(10, 0.0), (40, 0.5), (108, 1.0), (400, 0.2), (4000, 0.9)] {
            let settings = settings(examples);
            let (likely, most) = (settings.likely_steps(examples, false, overlap), settings.steps(examples));
            assert!(likely <= most && likely >= settings.steps_per_epoch(examples), "{examples}: {likely}");
            assert_eq!(settings.likely_steps(examples, true, overlap), most);
        }
        let few = TrainSettings { max_steps: Some(2), ..settings(100) };
        assert_eq!(few.likely_steps(100, false, 0.5), 2);
        let patient = TrainSettings { patience: usize::MAX, ..settings(100) };
        assert_eq!(patient.likely_steps(100, false, 0.5), patient.steps(100));
    }

    #[test]
    fn the_end_is_put_off_by_gains_and_comes_nearer_without() {
        let settings = settings(108);
        let after = settings.steps_after_best(108);
        let looks = |losses: &[f64]| -> Vec<Look> {
            losses.iter().enumerate().map(|(index, &loss)| Look { step: 7 * index, loss }).collect()
        };
        let falling = looks(&[4.0, 3.6, 3.3, 3.1, 2.95]);
        assert!(settings.stops_at(108, 40, 28, &falling) > 28 + after);
        // On a plateau it may come better; beyond it, it will not.
        let plateau = settings.stops_at(108, 120, 14, &looks(&[4.0, 3.0, 2.0, 2.001]));
        let rising = settings.stops_at(108, 120, 14, &looks(&[4.0, 3.0, 2.0, 2.3]));
        assert!(plateau > 60 && plateau < 120, "{plateau}");
        assert_eq!(rising, 14 + after);
        // What was seen before an interruption is not known.
        assert_eq!(settings.stops_at(108, 90, 28, &looks(&[4.0])), 90);
        // No number is too odd.
        for losses in [[f64::NAN; 3], [f64::INFINITY; 3], [0.0; 3], [f64::MAX, 0.0, f64::MIN]] {
            assert!(settings.stops_at(108, 60, 14, &looks(&losses)) >= 14 + after);
        }
    }
}
