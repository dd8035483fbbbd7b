//! The choice of examples, checked without tensors.

use std::path::PathBuf;

use hotplate_dataset::{Content, ContentHash};

use super::*;
use crate::daemon::store::Known;

fn example(number: usize) -> Example {
    let text = format!("note {number}");
    Example {
        id: ContentHash::of(text.as_bytes()),
        content: Content::Text(text),
        title: None,
        file: PathBuf::from("a.txt"),
        lines: (1, 1),
    }
}

fn examples(numbers: std::ops::Range<usize>) -> Vec<Example> {
    numbers.map(example).collect()
}

fn ten(_: &Example) -> usize {
    10
}

/// What a full run on `examples` leaves behind as version 1.
fn learnt(examples: &[Example]) -> Manifest {
    let rows = choose_full(examples, &Manifest::default()).learns;
    Manifest { rows: rows.into_iter().map(|(id, side)| (id, known(side))).collect() }
}

fn known(side: Side) -> Known {
    Known {
        side,
        file: PathBuf::from("a.txt"),
        run: hotplate_protocol::run::RunId(1),
        version: Some(1),
        loss: None,
        sketch: None,
        line: 0,
        replaced: None,
    }
}

/// A third of the tokens from old ones.
fn incremental(
    examples: &[Example],
    manifest: &Manifest,
    lineage: &HashSet<u32>,
    start: u32,
) -> Option<ExampleSelection> {
    choose_incremental(examples, manifest, lineage, start, REPLAY, &ten)
}

#[test]
fn a_full_run_uses_every_example_once() {
    let examples = examples(0..60);
    let choice = choose_full(&examples, &Manifest::default());
    assert_eq!(choice.train.len() + choice.heldout.len(), 60);
    assert!(choice.heldout.len() >= 4);
    assert_eq!(choice.learns.len(), 60);
    let again = choose_full(&examples, &learnt(&examples));
    assert_eq!(again, choice, "sides stay");
}

#[test]
fn few_examples_judge_each_other_until_there_are_more() {
    let few = examples(0..12);
    let choice = choose_full(&few, &Manifest::default());
    assert_eq!((choice.train.len(), choice.heldout.len(), choice.folds), (12, 0, Some(5)));
    assert_eq!(choose_full(&examples(0..2), &Manifest::default()).folds, Some(2));
    let manifest = learnt(&few);

    // A single new note is learnt; the old ones that are not replayed judge.
    let lineage = HashSet::from([1]);
    let one = incremental(&examples(0..13), &manifest, &lineage, 1).unwrap();
    assert!(one.train.contains(&example(12).id));
    assert_eq!((one.train.len(), one.heldout.len(), one.folds), (2, 11, None));
    assert!(one.heldout.iter().all(|(_, is_new)| !is_new));
    // Of several new ones, some judge too.
    let several = incremental(&examples(0..20), &manifest, &lineage, 1).unwrap();
    assert_eq!(several.heldout.iter().filter(|(_, is_new)| *is_new).count(), 2);
    assert!(several.learns.iter().any(|(_, side)| *side == Side::HeldOut));

    // With thirty there are enough to hold some out.
    let many = choose_full(&examples(0..40), &manifest);
    assert!(many.folds.is_none() && many.heldout.len() >= 4);
}

#[test]
fn an_incremental_run_learns_the_new_with_a_third_of_old() {
    let old = examples(0..60);
    let manifest = learnt(&old);
    let lineage = HashSet::from([1]);
    let now = examples(0..72);
    let choice = incremental(&now, &manifest, &lineage, 1).unwrap();
    let new: HashSet<_> = now[60..].iter().map(|example| example.id).collect();
    let new_train = choice.train.iter().filter(|id| new.contains(*id)).count();
    assert_eq!(choice.train.len() - choice.replay, new_train);
    assert_eq!(choice.replay, new_train.div_ceil(2));
    assert!(
        choice.heldout.iter().any(|(_, is_new)| *is_new) && choice.heldout.iter().any(|(_, is_new)| !is_new)
    );
    assert_eq!(choice.learns.len(), 12);
    let held: HashSet<_> = choice.heldout.iter().map(|(id, _)| *id).collect();
    assert!(choice.train.iter().all(|id| !held.contains(id)), "what judges is never learnt");
    assert_eq!(incremental(&now, &manifest, &lineage, 1).unwrap(), choice, "the same each time");
    assert_ne!(
        incremental(&now, &manifest, &lineage, 2).unwrap().train,
        choice.train,
        "others for the next version"
    );
}

#[test]
fn nothing_new_is_no_run() {
    let old = examples(0..20);
    let lineage = HashSet::from([1]);
    assert_eq!(incremental(&old, &learnt(&old), &lineage, 1), None);
    assert_eq!(incremental(&old[..10], &learnt(&old), &lineage, 1), None, "what went teaches nothing");
}

#[test]
fn a_single_new_note_is_learnt() {
    let manifest = learnt(&examples(0..60));
    let choice = incremental(&examples(0..61), &manifest, &HashSet::from([1]), 1).unwrap();
    assert_eq!(choice.train[0], example(60).id);
    assert!(choice.heldout.iter().all(|(_, is_new)| !is_new) && !choice.heldout.is_empty());
}

#[test]
fn what_was_tried_or_rolled_back_is_not_replayed() {
    let old = examples(0..60);
    let mut manifest = learnt(&old);
    let ids: Vec<_> = old.iter().map(|example| example.id).collect();
    for id in &ids[..30] {
        manifest.rows.get_mut(id).unwrap().version = None;
    }
    for id in &ids[30..50] {
        manifest.rows.get_mut(id).unwrap().version = Some(2);
    }
    let choice = incremental(&examples(0..160), &manifest, &HashSet::from([1]), 1).unwrap();
    let replayed = &choice.train[choice.train.len() - choice.replay..];
    assert!(!replayed.is_empty());
    assert!(replayed.iter().all(|id| ids[50..].contains(id)));
}

#[test]
fn the_state_is_of_the_contents_alone() {
    let mut examples = examples(0..5);
    let before = state_of(&examples);
    examples.reverse();
    examples[0].file = PathBuf::from("moved.txt");
    assert_eq!(state_of(&examples), before);
    assert_ne!(state_of(&examples[1..]), before);
}

#[test]
fn the_least_learnt_are_replayed_first() {
    let old = examples(0..60);
    let mut manifest = learnt(&old);
    let learnt_ids: Vec<ExampleId> = manifest.learnt(&HashSet::from([1])).collect();
    for (rank, id) in learnt_ids.iter().enumerate() {
        manifest.rows.get_mut(id).unwrap().loss = Some(rank as f64 / 10.0);
    }
    let choice = incremental(&examples(0..72), &manifest, &HashSet::from([1]), 1).unwrap();
    let replayed = &choice.train[choice.train.len() - choice.replay..];
    let expected: Vec<ExampleId> = learnt_ids.iter().rev().take(choice.replay).copied().collect();
    assert_eq!(replayed, expected, "by falling loss");
    // What no run has measured is taken as not learnt at all; equal losses fall back on the hash, the same each time.
    manifest.rows.get_mut(&learnt_ids[0]).unwrap().loss = None;
    let choice = incremental(&examples(0..72), &manifest, &HashSet::from([1]), 1).unwrap();
    assert_eq!(choice.train[choice.train.len() - choice.replay], learnt_ids[0]);
    for known in manifest.rows.values_mut() {
        known.loss = Some(1.0);
    }
    let again = || incremental(&examples(0..72), &manifest, &HashSet::from([1]), 1).unwrap();
    assert_eq!(again(), again());
}

#[test]
fn the_share_of_replay_is_a_knob() {
    let manifest = learnt(&examples(0..200));
    let replayed = |share: f64| {
        let choice =
            choose_incremental(&examples(0..220), &manifest, &HashSet::from([1]), 1, share, &ten).unwrap();
        (choice.replay, choice.train.len() - choice.replay)
    };
    assert_eq!(replayed(0.0).0, 0);
    let (old, new) = replayed(0.5);
    assert_eq!(old, new);
    let (old, new) = replayed(0.75);
    assert_eq!(old, 3 * new);
}

#[test]
fn an_edited_judge_still_judges() {
    let long = |number: usize, word: &str| {
        let text = format!(
            "Note {number}: the {word} on corner {number} opens at {number}, and shuts when all of it is sold."
        );
        let content = Content::Text(text);
        Example {
            id: content.id(),
            content,
            title: None,
            file: PathBuf::from(format!("{number}.txt")),
            lines: (1, 1),
        }
    };
    let before: Vec<Example> = (0..40).map(|number| long(number, "bakery")).collect();
    let mut manifest = learnt(&before);
    for example in &before {
        let known = manifest.rows.get_mut(&example.id).unwrap();
        known.file.clone_from(&example.file);
        known.sketch = Some(Sketch::of(&example.content));
    }
    let side = |example: &Example| manifest.rows[&example.id].side;
    let judge = before.iter().position(|example| side(example) == Side::HeldOut).unwrap();
    let pupil = before.iter().position(|example| side(example) == Side::Train).unwrap();
    for (at, held) in [(judge, true), (pupil, false)] {
        let mut now = before.clone();
        now[at] = long(at, "old bakery");
        let choice = incremental(&now, &manifest, &HashSet::from([1]), 1).unwrap();
        assert_eq!(choice.heldout.contains(&(now[at].id, true)), held);
        assert_eq!(choice.train.contains(&now[at].id), !held);
        assert_eq!(choice.replaces, [before[at].id]);
    }
}

#[test]
fn all_is_what_trainers_do_that_mask_no_prompt() {
    let of = |train_on| options(&Knobs { train_on, ..Knobs::default() }, 100).train_on;
    assert_eq!(of(None), hotplate_dataset::TrainOn::Completions);
    assert_eq!(of(Some(TrainOn::All)), hotplate_dataset::TrainOn::Everything);
    assert_eq!(of(Some(TrainOn::Everything)), of(Some(TrainOn::All)));
}
