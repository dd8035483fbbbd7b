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
    Manifest { rows: rows.into_iter().map(|(id, side)| (id, Known { side, version: Some(1) })).collect() }
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
    let one = choose_incremental(&examples(0..13), &manifest, &lineage, 1, &ten).unwrap();
    assert!(one.train.contains(&example(12).id));
    assert_eq!((one.train.len(), one.heldout.len(), one.folds), (2, 11, None));
    assert!(one.heldout.iter().all(|(_, is_new)| !is_new));
    // Of several new ones, some judge too.
    let several = choose_incremental(&examples(0..20), &manifest, &lineage, 1, &ten).unwrap();
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
    let choice = choose_incremental(&now, &manifest, &lineage, 1, &ten).unwrap();
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
    assert_eq!(choose_incremental(&now, &manifest, &lineage, 1, &ten).unwrap(), choice, "the same each time");
    assert_ne!(
        choose_incremental(&now, &manifest, &lineage, 2, &ten).unwrap().train,
        choice.train,
        "others for the next version"
    );
}

#[test]
fn nothing_new_is_no_run() {
    let old = examples(0..20);
    let lineage = HashSet::from([1]);
    assert_eq!(choose_incremental(&old, &learnt(&old), &lineage, 1, &ten), None);
    assert_eq!(
        choose_incremental(&old[..10], &learnt(&old), &lineage, 1, &ten),
        None,
        "what went teaches nothing"
    );
}

#[test]
fn a_single_new_note_is_learnt() {
    let manifest = learnt(&examples(0..60));
    let choice = choose_incremental(&examples(0..61), &manifest, &HashSet::from([1]), 1, &ten).unwrap();
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
    let choice = choose_incremental(&examples(0..160), &manifest, &HashSet::from([1]), 1, &ten).unwrap();
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
