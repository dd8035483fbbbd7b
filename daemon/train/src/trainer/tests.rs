use candle_core::Device;
use hotplate_engine::base_spec::BaseSpec;
use hotplate_engine::lora::Adapter;
use hotplate_engine::sample::Sample;
use hotplate_engine::score::{ScoreEvent, Scoring, Wanted};

use super::*;
use crate::test_base;
use crate::{HeldOut, MARGIN, Method, Validation};

/// What a run says, without the work between.
fn events(base: &Base, trainer: &mut Trainer) -> Vec<TrainEvent> {
    let mut events = Vec::new();
    loop {
        match trainer.step(base).unwrap() {
            TrainEvent::Working => {}
            TrainEvent::Finished { .. } => return events,
            event => events.push(event),
        }
    }
}

fn evaluations(events: &[TrainEvent]) -> Vec<(usize, f64)> {
    events
        .iter()
        .filter_map(|event| match event {
            TrainEvent::Evaluated { step, losses, .. } => Some((*step, losses.all)),
            _ => None,
        })
        .collect()
}

fn folds(examples: usize, folds: usize) -> TrainData {
    let data = test_base::data(examples + 2);
    TrainData { heldout: Validation::KFold(folds), ..data }
}

#[test]
fn a_run_learns_keeps_the_best_and_ends() {
    let base = test_base::base(1);
    let mut trainer = Trainer::new(&base, None, test_base::data(12), test_base::settings()).unwrap();
    let events = events(&base, &mut trainer);
    let steps = events.iter().filter(|event| matches!(event, TrainEvent::Step { .. })).count();
    let evaluations = evaluations(&events);
    let best = evaluations.iter().map(|(_, loss)| *loss).fold(f64::INFINITY, f64::min);
    let outcome = trainer.finish().unwrap();
    assert_eq!(outcome.steps, steps);
    assert!((outcome.base_loss.all - evaluations[0].1).abs() < 1e-12);
    assert!((outcome.best_loss.all - best).abs() < 1e-12);
    assert!(outcome.best_loss.all < 0.8 * outcome.base_loss.all, "{evaluations:?}");
    let gap = outcome.guard.gap.unwrap();
    assert!(gap > 0.0, "what was trained on is known better than what was held out: {gap}");
}

#[test]
fn a_run_of_the_whole_base_leaves_the_base_itself_alone() {
    let base = test_base::base(1);
    let settings = TrainSettings { method: Method::Full, learning_rate: 3e-3, ..test_base::settings() };
    let mut trainer = Trainer::new(&base, None, test_base::data(12), settings.clone()).unwrap();
    events(&base, &mut trainer);
    let outcome = trainer.finish().unwrap();
    assert!(outcome.best_loss.all < 0.8 * outcome.base_loss.all, "{outcome:?}");
    let TrainedWeights::Base(decoder) = &outcome.learnt else { panic!("a whole base was asked for") };
    let fresh = test_base::decoder(1);
    for ((name, trained), (_, before)) in
        decoder.named_weights().unwrap().iter().zip(fresh.named_weights().unwrap())
    {
        use hotplate_engine::fixtures::flat;
        assert_ne!(flat(trained), flat(&before), "{name} was not trained");
    }
    for ((name, kept), (_, before)) in
        base.decoder.named_weights().unwrap().iter().zip(fresh.named_weights().unwrap())
    {
        use hotplate_engine::fixtures::flat;
        assert_eq!(flat(kept), flat(&before), "{name}");
    }
    // It goes on from there, and from nothing else.
    let again = Trainer::new(&base, Some(&outcome.learnt), test_base::data(12), settings);
    assert!(again.is_ok());
    let mixed = Trainer::new(&base, Some(&outcome.learnt), test_base::data(12), test_base::settings());
    assert!(matches!(mixed, Err(TrainError::Misfit(_))));
}

/// Steps until the run ends, and asks for the end after its step `at` (0: at once) in the middle of the next step.
fn asked_after(base: &Base, trainer: &mut Trainer, at: usize) -> Vec<TrainEvent> {
    let mut events = Vec::new();
    let mut asked = at == 0;
    if asked {
        trainer.ask_to_finish();
    }
    loop {
        let event = trainer.step(base).unwrap();
        if let TrainEvent::Finished { .. } = event {
            return events;
        }
        if matches!(event, TrainEvent::Step { step, .. } if step == at) && !asked {
            // Into the next step.
            trainer.step(base).unwrap();
            trainer.step(base).unwrap();
            trainer.ask_to_finish();
            asked = true;
        }
        if event != TrainEvent::Working {
            events.push(event);
        }
    }
}

#[test]
fn a_run_that_is_asked_to_finish_judges_what_it_has_and_keeps_the_best() {
    let base = test_base::base(1);
    let settings = TrainSettings { epochs: 12, warmup_steps: Some(0), ..test_base::settings() };
    let interval = settings.evaluation_interval(test_base::data(12).train.len());
    for at in [2, interval, interval + 1] {
        let mut trainer = Trainer::new(&base, None, test_base::data(12), settings.clone()).unwrap();
        let events = asked_after(&base, &mut trainer, at);
        let steps = events.iter().filter(|event| matches!(event, TrainEvent::Step { .. })).count();
        assert_eq!(steps, at, "the step in progress is given up");
        assert_eq!(evaluations(&events).last().unwrap().0, at, "what was not judged yet is judged");
        let outcome = trainer.finish().unwrap();
        assert!(
            matches!(outcome.reason, StopReason::Asked { step, best_step } if step == at && best_step == outcome.best_step),
            "{}",
            outcome.reason
        );
        assert!(outcome.best_step > 0 && outcome.guard.gap.is_some(), "{outcome:?}");
    }
    // Before its first step there is nothing to keep, and no figures of it.
    let mut trainer = Trainer::new(&base, None, test_base::data(12), settings).unwrap();
    let events = asked_after(&base, &mut trainer, 0);
    assert_eq!(evaluations(&events).len(), 1);
    let outcome = trainer.finish().unwrap();
    assert_eq!((outcome.steps, outcome.guard.gap), (0, None));
    assert!(matches!(outcome.reason, StopReason::Asked { step: 0, best_step: 0 }), "{}", outcome.reason);
}

#[test]
fn cross_validation_that_is_asked_to_finish_still_learns_all_examples() {
    let base = test_base::base(1);
    let settings = TrainSettings { epochs: 12, ..test_base::settings() };
    let mut trainer = Trainer::new(&base, None, folds(11, 5), settings).unwrap();
    let events = asked_after(&base, &mut trainer, 3);
    let done = events.iter().find_map(|event| match event {
        TrainEvent::FoldsDone { best_step, .. } => Some(*best_step),
        _ => None,
    });
    // The folds stay side by side: the step in progress is done by all of them.
    let best = done.expect("folds come to an end");
    assert!((1..=4).contains(&best), "{best}");
    let outcome = trainer.finish().unwrap();
    assert!(matches!(outcome.reason, StopReason::Folds { .. }), "{}", outcome.reason);
    assert!(outcome.steps <= 4 + best);
}

#[test]
fn what_a_run_is_at_is_known_all_the_way() {
    use WorkKind::{Behaviour, Copies, Drift, Gap, HeldOut, Learning, Neutral, Rehearsal};

    let base = test_base::base(1);
    let mut trainer = Trainer::new(&base, None, test_base::data(12), test_base::settings()).unwrap();
    let mut kinds = Vec::new();
    while !matches!(trainer.step(&base).unwrap(), TrainEvent::Finished { .. }) {
        let Work { kind, done, of } = trainer.work();
        assert!(done <= of, "{kind:?} {done} of {of}");
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    assert_eq!(kinds, [HeldOut, Learning, Rehearsal, Gap, Copies, Neutral, Drift, Behaviour]);
    assert!(trainer.pace().stopped);
}

#[test]
fn what_is_rehearsed_stays_and_what_is_shown_is_the_examples() {
    let base = test_base::base(1);
    let run = |rehearsal: f64| {
        let settings = TrainSettings { rehearsal, ..test_base::settings() };
        let mut trainer = Trainer::new(&base, None, test_base::data(12), settings).unwrap();
        let events = events(&base, &mut trainer);
        let first = events.iter().find_map(|event| match event {
            TrainEvent::Step { loss, tokens, .. } => Some((*loss, *tokens)),
            _ => None,
        });
        let written = trainer.rehearsal().cloned();
        (first.unwrap(), written, trainer.finish().unwrap())
    };
    let (without, none, alone) = run(0.0);
    let (with, written, rehearsed) = run(2.0);
    assert_eq!(none, None);
    let rehearsal = Rehearsal::new(written.expect("it was drawn"));
    let answers = Rehearsal::of(Some(&rehearsal));
    assert!(!answers.is_empty());
    assert!((without.0 - with.0).abs() < 1e-9, "the same examples under the same start");
    assert!(with.1 > without.1, "but more tokens");
    // Against what the base would lose of its own without it.
    let loss = |learnt: &TrainedWeights| crate::gradients(&base.decoder, learnt, answers, 2048).unwrap().0;
    let start = Learner::new(initial(&base, None, &test_base::settings()).unwrap()).unwrap().learnt;
    let (own, kept, lost) = (loss(&start), loss(&rehearsed.learnt), loss(&alone.learnt));
    assert!(kept < own + 0.5 * (lost - own), "{own} at first, {kept} with, {lost} without");
    assert!(rehearsed.best_loss.all < rehearsed.base_loss.all);
}

#[test]
fn cross_validation_judges_every_example_and_then_learns_them_all() {
    let base = test_base::base(1);
    let settings = TrainSettings { epochs: 12, ..test_base::settings() };
    let mut trainer = Trainer::new(&base, None, folds(11, 5), settings.clone()).unwrap();
    let events = events(&base, &mut trainer);
    let evaluations = evaluations(&events);
    let best = evaluations.iter().copied().reduce(|a, b| if b.1 < a.1 { b } else { a }).unwrap();
    let outcome = trainer.finish().unwrap();
    let figures = outcome.folds.clone().unwrap();
    assert_eq!(figures.losses.len(), 5);
    assert_eq!((outcome.best_step, figures.best_step), (best.0, best.0));
    assert!(best.0 > 0 && (outcome.best_loss.all - best.1).abs() < 1e-12);
    let done = TrainEvent::FoldsDone { folds: 5, best_step: best.0, losses: outcome.best_loss };
    assert_eq!(events.iter().filter(|event| **event == done).count(), 1);
    assert!(matches!(outcome.reason, StopReason::Folds { folds: 5, .. }), "{}", outcome.reason);
    // Steps are counted through, and the last ones see all tokens.
    let steps: Vec<usize> = events
        .iter()
        .filter_map(|event| match event {
            TrainEvent::Step { step, .. } => Some(*step),
            _ => None,
        })
        .collect();
    assert_eq!(steps, (1..=outcome.steps).collect::<Vec<_>>());
    assert_eq!(outcome.steps, figures.steps + best.0);

    // The final adapter is what a plain run on all examples has at that step.
    let data = TrainData { heldout: test_base::data(13).heldout, ..folds(11, 5) };
    // What judges it must not end it.
    let patient = TrainSettings { patience: usize::MAX, ..settings };
    let mut plain = Trainer::new(&base, None, data, patient).unwrap();
    let mut step = 0;
    while step < best.0 {
        match plain.step(&base).unwrap() {
            TrainEvent::Step { step: done, .. } => step = done,
            TrainEvent::Finished { reason } => panic!("it ended at step {step}: {reason}"),
            _ => {}
        }
    }
    for (ours, theirs) in
        outcome.learnt.tensors().unwrap().iter().zip(plain.progress.learners[0].learnt.tensors().unwrap())
    {
        assert_eq!(hotplate_engine::fixtures::flat(ours), hotplate_engine::fixtures::flat(&theirs));
    }
}

#[test]
fn each_example_is_judged_by_a_learner_that_has_not_seen_it() {
    let base = test_base::base(1);
    for (examples, parts, expected) in [(2, 5, 2), (3, 5, 3), (4, 5, 4), (11, 5, 5), (6, 1, 2)] {
        let mut trainer = Trainer::new(&base, None, folds(examples, parts), test_base::settings()).unwrap();
        assert_eq!(trainer.folds.len(), expected);
        let mut judged: Vec<usize> = trainer.folds.iter().flatten().copied().collect();
        judged.sort_unstable();
        assert_eq!(judged, (0..examples).collect::<Vec<_>>());
        for learner in 0..expected {
            let order = trainer.order(learner, 3);
            assert_eq!(order.len(), trainer.members(learner));
            assert!(trainer.folds[learner].iter().all(|index| !order.contains(index)));
        }
        events(&base, &mut trainer);
        assert!(trainer.finish().unwrap().best_loss.all.is_finite());
    }
}

#[test]
fn an_epoch_sees_every_example_once_whatever_the_batches() {
    let base = test_base::base(1);
    for (batch, accumulate) in [(3, 1), (2, 2), (4, 3), (1, 5)] {
        let settings = TrainSettings { batch, accumulate, ..test_base::settings() };
        let mut trainer = Trainer::new(&base, None, test_base::data(13), settings.clone()).unwrap();
        let steps = settings.steps_per_epoch(11);
        for epoch in 0..2 {
            let mut seen = 0;
            for step in 0..steps {
                trainer.progress.counts.step = epoch * steps + step;
                seen += trainer.next_step().tokens;
            }
            assert_eq!(seen, trainer.data.train.iter().map(|sample| sample.tokens.len()).sum::<usize>());
        }
    }
}

#[test]
fn accumulated_batches_give_the_update_of_one_large_batch() {
    let base = test_base::base(1);
    let losses = |batch, accumulate| -> Vec<f64> {
        let settings = TrainSettings { batch, accumulate, epochs: 2, ..test_base::settings() };
        let mut trainer = Trainer::new(&base, None, test_base::data(14), settings).unwrap();
        events(&base, &mut trainer)
            .into_iter()
            .filter_map(|event| match event {
                TrainEvent::Step { loss, .. } => Some(loss),
                _ => None,
            })
            .collect()
    };
    let (one, many) = (losses(6, 1), losses(2, 3));
    assert_eq!(one.len(), 4);
    assert!(one.iter().zip(&many).all(|(a, b)| (a - b).abs() < 1e-5), "{one:?} {many:?}");
}

#[test]
fn a_run_that_goes_on_takes_new_examples_within_the_margin() {
    let base = test_base::base(1);
    let start = TrainedWeights::Adapter(
        Adapter::fresh(base.decoder.config(), &test_base::spec(2), 1, &base.device).unwrap(),
    );
    let mut trainer = Trainer::new(&base, Some(&start), test_base::data(12), test_base::settings()).unwrap();
    let losses = |all, new| Losses { all, new };
    let best = |step, losses| {
        Some(Best { learnt: Some(start.clone()), step, losses, train_loss: 0.0, folds: Vec::new() })
    };
    let progress = &mut trainer.progress;
    progress.start = Some(losses(2.0, Some(3.0)));
    progress.best = best(0, losses(2.0, Some(3.0)));
    assert!(
        progress.is_better(&losses(2.01, Some(3.1)), MARGIN),
        "anything within the margin is better than not learning"
    );
    assert!(
        !progress.is_better(&losses(2.1, Some(1.0)), MARGIN),
        "what is forgotten must not be bought with what is new"
    );
    progress.best = best(4, losses(2.01, Some(2.5)));
    assert!(progress.is_better(&losses(2.03, Some(2.4)), MARGIN));
    assert!(!progress.is_better(&losses(1.9, Some(2.6)), MARGIN));
    progress.best = best(4, losses(2.01, None));
    assert!(
        !progress.is_better(&losses(2.02, None), MARGIN) && progress.is_better(&losses(2.0, None), MARGIN)
    );
}

#[test]
fn nothing_to_learn_or_to_judge_by_is_an_error() {
    let base = test_base::base(1);
    let data = test_base::data(12);
    let without = |train, heldout| TrainData { train, heldout };
    let new = |data| Trainer::new(&base, None, data, test_base::settings());
    assert!(matches!(new(without(Vec::new(), data.heldout.clone())), Err(TrainError::NoExamples)));
    let nobody = Validation::Holdout(Vec::new());
    assert!(matches!(new(without(data.train.clone(), nobody)), Err(TrainError::NoHeldOut)));
    let one = data.train[..1].to_vec();
    assert!(matches!(new(without(one, Validation::KFold(5))), Err(TrainError::NoHeldOut)));
    let silent = |sample: &Sample| Sample { supervised: vec![false; sample.tokens.len()], ..sample.clone() };
    let masked: Vec<Sample> = data.train.iter().map(silent).collect();
    assert!(matches!(new(without(masked.clone(), Validation::KFold(5))), Err(TrainError::NoExamples)));
    let heldout = Validation::Holdout(vec![HeldOut { sample: masked[0].clone(), is_new: false }]);
    assert!(matches!(new(without(data.train.clone(), heldout)), Err(TrainError::NoHeldOut)));
    let settings = TrainSettings { lora: test_base::spec(0), ..test_base::settings() };
    assert!(matches!(Trainer::new(&base, None, data, settings), Err(TrainError::BadSetting(_))));
}

#[test]
fn some_examples_without_loss_are_no_hindrance_in_cross_validation() {
    let base = test_base::base(1);
    let mut data = folds(6, 5);
    for sample in &mut data.train[2..] {
        sample.supervised.fill(false);
    }
    let mut trainer = Trainer::new(&base, None, data, test_base::settings()).unwrap();
    events(&base, &mut trainer);
    assert!(trainer.finish().unwrap().best_loss.all.is_finite());
}

#[test]
fn all_the_same_example_is_learnt_and_judged() {
    let base = test_base::base(1);
    let mut data = test_base::data(12);
    let first = data.train[0].clone();
    data.train.fill(first);
    let mut trainer = Trainer::new(&base, None, data, test_base::settings()).unwrap();
    events(&base, &mut trainer);
    trainer.finish().unwrap();
}

#[test]
fn a_loss_far_above_the_start_stops_early_with_advice() {
    let base = test_base::base(1);
    let settings = TrainSettings { learning_rate: 5.0, patience: usize::MAX, ..test_base::settings() };
    let mut trainer = Trainer::new(&base, None, test_base::data(12), settings).unwrap();
    while trainer.progress.best.is_none() {
        trainer.step(&base).unwrap();
    }
    // This base's last norm holds every loss down: let it have begun lower.
    let low = Losses { all: 0.5, new: None };
    trainer.progress.base = Some(low);
    trainer.progress.best.as_mut().unwrap().losses = low;
    let error = loop {
        match trainer.step(&base) {
            Ok(TrainEvent::Finished { reason }) => panic!("{reason}"),
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(error, TrainError::Diverged { .. }), "{error}");
    assert!(error.to_string().contains("try a learning rate of 5.0e-1"), "{error}");
    assert!(trainer.step_number() <= FAR_STEPS);
}

#[test]
fn what_was_good_before_a_loss_that_is_no_number_is_kept() {
    let base = test_base::base(1);
    let mut trainer = Trainer::new(&base, None, test_base::data(12), test_base::settings()).unwrap();
    while trainer.progress.best_step() == 0 {
        trainer.step(&base).unwrap();
    }
    let best = trainer.progress.best_step();
    // A weight that went wrong.
    let broken = trainer.progress.learners[0]
        .learnt
        .tensors()
        .unwrap()
        .iter()
        .map(|t| (t * f64::NAN).unwrap())
        .collect();
    trainer.progress.learners[0].learnt = trainer.progress.learners[0].learnt.with_tensors(broken);
    events(&base, &mut trainer);
    let outcome = trainer.finish().unwrap();
    assert!(matches!(outcome.reason, StopReason::NotFinite { best_step, .. } if best_step == best));
    assert!(outcome.best_loss.all < outcome.base_loss.all);
    assert!(
        outcome
            .learnt
            .tensors()
            .unwrap()
            .iter()
            .flat_map(hotplate_engine::fixtures::flat)
            .all(f32::is_finite)
    );
}

#[test]
fn a_run_that_memorises_says_so() {
    let base = test_base::base(1);
    // Three sequences by heart, judged by others that contradict them.
    let mut data = test_base::data(6);
    let Validation::Holdout(heldout) = &mut data.heldout else { panic!() };
    for item in heldout {
        item.sample.tokens = vec![1, 9, 2, 17, 3, 11, 23, 0];
    }
    let settings = TrainSettings { epochs: 200, patience: 2, rehearsal: 0.0, ..test_base::settings() };
    let mut trainer = Trainer::new(&base, None, data, settings).unwrap();
    events(&base, &mut trainer);
    let reason = trainer.finish().unwrap().reason;
    assert!(matches!(reason, StopReason::Memorising { .. }), "{reason}");
    assert!(reason.to_string().contains("it began to memorise"));
}

#[test]
fn dropout_changes_training_and_not_the_judgement() {
    let base = test_base::base(1);
    let run = |dropout| {
        let settings = TrainSettings { dropout, epochs: 3, ..test_base::settings() };
        let mut trainer = Trainer::new(&base, None, test_base::data(12), settings).unwrap();
        events(&base, &mut trainer)
    };
    let (without, with) = (run(0.0), run(0.5));
    assert_eq!(evaluations(&without)[0], evaluations(&with)[0]);
    assert_ne!(without.last(), with.last());
}

#[test]
fn a_hundred_thousand_examples_are_shuffled_once_an_epoch() {
    let base = test_base::base(1);
    let few = test_base::data(12);
    let train = (0..100_000).map(|index| few.train[index % few.train.len()].clone()).collect();
    let settings = TrainSettings { max_steps: Some(50), ..test_base::settings() };
    let mut trainer = Trainer::new(&base, None, TrainData { train, ..few }, settings).unwrap();
    events(&base, &mut trainer);
    assert_eq!(trainer.finish().unwrap().steps, 50);
}

#[test]
fn the_held_out_loss_is_that_of_scoring() {
    let base = test_base::base(7);
    let data = test_base::data(6);
    let heldout: Vec<Sample> = data.judges().map(|(sample, _)| sample.clone()).collect();
    let mut scoring = Scoring::new(heldout, Wanted::Supervised);
    let (mut loss, mut tokens) = (0.0, 0);
    loop {
        match scoring.step(&base.decoder, None).unwrap() {
            ScoreEvent::Working => {}
            ScoreEvent::Scored(scores) => {
                loss += scores.iter().map(|score| score.loss_sum).sum::<f64>();
                tokens += scores.iter().map(|score| score.supervised_tokens).sum::<usize>();
            }
            ScoreEvent::Done => break,
        }
    }
    let mut trainer = Trainer::new(&base, None, data, test_base::settings()).unwrap();
    let trained = loop {
        if let TrainEvent::Evaluated { losses, .. } = trainer.step(&base).unwrap() {
            break losses.all;
        }
    };
    assert!((trained - loss / tokens as f64).abs() < 1e-6, "{trained} {}", loss / tokens as f64);
}

/// A base that chats, and a rate at which nothing of it is left.
#[test]
fn a_run_that_only_forgets_keeps_its_best_and_says_so() {
    let config = test_base::config();
    let tokenizer = test_base::tokenizers::letters(config.vocab);
    let template = "{% for m in messages %}<|user|>{{ m.content }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}";
    let spec = BaseSpec::with_tokenizer(tokenizer, Some(template), config);
    let base = Base::of(Arc::new(spec), test_base::decoder(7), Device::Cpu);
    let settings = TrainSettings { learning_rate: 0.1, rehearsal: 0.25, ..test_base::settings() };
    let mut trainer = Trainer::new(&base, None, test_base::data(12), settings).unwrap();
    let looks: Vec<(bool, f64)> = events(&base, &mut trainer)
        .iter()
        .filter_map(|event| match event {
            TrainEvent::Evaluated { best, moved: Some(moved), .. } => Some((*best, moved.drift)),
            _ => None,
        })
        .collect();
    assert!(looks.iter().any(|(best, drift)| *best && *drift > 0.15), "{looks:?}");
    let outcome = trainer.finish().unwrap();
    assert!(outcome.best_step > 0, "{:?}", outcome.reason);
    assert_eq!(outcome.guard.verdict(), Verdict::Drifting, "{:?}", outcome.guard);
}
