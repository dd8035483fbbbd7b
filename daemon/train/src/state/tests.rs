use hotplate_engine::fixtures::flat;

use super::*;
use crate::test_base;
use crate::{Method, TrainEvent};

/// All losses that a trainer still brings, as bits.
fn run_out(trainer: &mut Trainer, base: &Base) -> Vec<u64> {
    let mut losses = Vec::new();
    loop {
        let event = trainer.step(base).unwrap();
        if let TrainEvent::Finished { .. } = event {
            return losses;
        }
        losses.extend(bits(&event));
    }
}

fn bits(event: &TrainEvent) -> Option<u64> {
    match event {
        TrainEvent::Step { loss, .. } => Some(loss.to_bits()),
        TrainEvent::Evaluated { losses, .. } => Some(losses.all.to_bits()),
        _ => None,
    }
}

/// Stops, saves and resumes after every loss that the run brings, and in the middle of the work behind it.
fn check_resume(data: &dyn Fn() -> TrainData, settings: &TrainSettings) {
    let base = test_base::base(1);
    let new = || Trainer::new(&base, None, data(), settings.clone()).unwrap();
    let mut whole = new();
    let all = run_out(&mut whole, &base);
    assert!(all.len() > 5);
    assert_eq!(all, run_out(&mut new(), &base), "same seed and data, same bits");
    let whole = whole.finish().unwrap();
    let mut seen = Vec::new();
    let mut trainer = new();
    for work in 0.. {
        let event = trainer.step(&base).unwrap();
        if let TrainEvent::Finished { .. } = event {
            break;
        }
        seen.extend(bits(&event));
        if bits(&event).is_some() || work % 7 == 0 {
            let folder = tempfile::tempdir().unwrap();
            trainer.save_state(folder.path(), &base).unwrap();
            // Work after a save is lost with a kill, and must not matter.
            for _ in 0..3 {
                if bits(&trainer.step(&base).unwrap()).is_some() {
                    break;
                }
            }
            trainer = Trainer::resume(&base, folder.path(), data()).unwrap();
            // What was under way is done again from its beginning, so that saving must not go on for ever.
            if bits(&event).is_none() {
                loop {
                    let event = trainer.step(&base).unwrap();
                    seen.extend(bits(&event));
                    if bits(&event).is_some() || matches!(event, TrainEvent::Finished { .. }) {
                        break;
                    }
                }
            }
        }
    }
    assert_eq!(seen, all);
    let resumed = trainer.finish().unwrap();
    assert_eq!(whole.reason, resumed.reason);
    assert_eq!((whole.steps, whole.tokens, whole.guard), (resumed.steps, resumed.tokens, resumed.guard));
    for (left, right) in whole.learnt.tensors().unwrap().iter().zip(resumed.learnt.tensors().unwrap()) {
        assert_eq!(flat(left), flat(&right));
    }
}

fn short() -> TrainSettings {
    TrainSettings { epochs: 5, ..test_base::settings() }
}

#[test]
fn a_resumed_run_has_the_bits_of_an_uninterrupted_one() {
    check_resume(&|| test_base::data(12), &short());
}

#[test]
fn so_it_is_with_dropout_accumulation_and_lora_plus() {
    let settings =
        TrainSettings { dropout: 0.2, batch: 2, accumulate: 2, lora_plus: 4.0, row_tokens: 9, ..short() };
    check_resume(&|| test_base::data(13), &settings);
}

#[test]
fn so_it_is_in_the_middle_of_any_fold() {
    let data = || TrainData { heldout: Validation::KFold(3), ..test_base::data(12) };
    check_resume(&data, &TrainSettings { dropout: 0.1, ..short() });
}

#[test]
fn so_it_is_where_every_weight_moves() {
    let settings = TrainSettings { method: Method::Full, learning_rate: 3e-3, ..short() };
    check_resume(&|| test_base::data(12), &settings);
}

#[test]
fn other_data_and_broken_files_are_refused() {
    let base = test_base::base(1);
    let trainer = Trainer::new(&base, None, test_base::data(12), test_base::settings()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let resume = |data| Trainer::resume(&base, folder.path(), data);
    assert!(matches!(resume(test_base::data(12)), Err(TrainError::BadState { .. })));
    trainer.save_state(folder.path(), &base).unwrap();
    assert!(matches!(resume(test_base::data(11)), Err(TrainError::OtherData { .. })));
    let folds = TrainData { heldout: Validation::KFold(3), ..test_base::data(12) };
    assert!(matches!(resume(folds), Err(TrainError::OtherData { .. })));
    std::fs::write(folder.path().join(TENSORS), b"garbage").unwrap();
    assert!(matches!(resume(test_base::data(12)), Err(TrainError::BadState { .. })));
}

#[test]
fn fuzz_state() {
    let base = test_base::base(1);
    let data = || test_base::data(12);
    let mut trainer = Trainer::new(&base, None, data(), short()).unwrap();
    while trainer.progress.best.is_none() {
        trainer.step(&base).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    trainer.save_state(folder.path(), &base).unwrap();
    Trainer::resume(&base, folder.path(), data()).unwrap();
    for file in [NUMBERS, TENSORS] {
        let path = folder.path().join(file);
        let whole = std::fs::read(&path).unwrap();
        let words =
            ["\"counts\": {", "\"phase\": ", "\"Folds\"", "\"shape\": ", "\"dtype\": \"F16\"", "value.0.0"];
        hotplate_fuzz::fuzz(file, &[&whole], &[hotplate_fuzz::JSON, &words].concat(), |bytes| {
            std::fs::write(&path, bytes).unwrap();
            if let Ok(mut trainer) = Trainer::resume(&base, folder.path(), data()) {
                let _ = trainer.step(&base);
            }
        });
        std::fs::write(&path, &whole).unwrap();
    }
}
