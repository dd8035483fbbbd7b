//! Which examples are learnt and which are held out to judge by.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::content::{Example, ExampleId};

/// What an example is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Learnt.
    Train,
    /// Never learnt; the loss on it says whether the adapter got better.
    HeldOut,
}

/// An example whose hash, read as a number, lies in the lowest tenth is held out by itself.
const HELD_OUT_BELOW: u64 = u64::MAX / 10;

/// Gives each example its side, by the hash of its content: the same on every machine, in every order of files.
///
/// `known` holds the sides given earlier. They do not change, so that what was held out is never learnt and
/// what was learnt never judges; adding files moves nothing. The new ones (all of them, where `known` is empty) are
/// taken in the order of their hashes:
///
/// - those in the lowest tenth are held out;
/// - more are, until `min(4, n / 3)` of all `n` examples are (one where n is 2), and one of 4 to 7 new examples,
///   two of 8 or more: new material can be judged too;
/// - at most a third of all examples are held out by this, and at most a third of the new ones where some were known
///   before: a single new note is always learnt.
///
/// | examples, all new | held out |
/// |---|---|
/// | 1 | 0 |
/// | 2, 3, 5 | 1 |
/// | 10 | 3 |
/// | 60 | at least 4, about 6 |
/// | 1000 | about 100 |
///
/// Where there are two examples or more, neither side is ever empty. This alone can move a known example, the one with
/// the lowest hash, and only after so many were deleted that one side is gone.
#[expect(clippy::implicit_hasher, reason = "callers need not name a hasher to collect `known`")]
pub fn split(examples: &[Example], known: &HashMap<ExampleId, Side>) -> HashMap<ExampleId, Side> {
    let mut ids: Vec<ExampleId> = examples.iter().map(|example| example.id).collect();
    ids.sort_unstable();
    ids.dedup();

    let new: Vec<ExampleId> = ids.iter().filter(|id| !known.contains_key(*id)).copied().collect();
    let mut sides: HashMap<ExampleId, Side> =
        ids.iter().filter_map(|id| known.get(id).map(|side| (*id, *side))).collect();
    let held_already = sides.values().filter(|side| **side == Side::HeldOut).count();
    let some_known = !sides.is_empty();

    let by_hash = new.iter().take_while(|id| id.number() < HELD_OUT_BELOW).count();
    let third = |count: usize| if count == 2 { 1 } else { count / 3 };
    let floor = third(ids.len()).min(4).saturating_sub(held_already);
    let new_floor = (new.len() / 4).min(2);
    let room = third(ids.len()).saturating_sub(held_already);
    let new_room = if some_known { new.len() / 3 } else { new.len() };
    // `new` is sorted by hash: its first ones are exactly those with the lowest numbers.
    let held = by_hash.max(floor).min(room).max(new_floor).min(new_room);
    sides.extend(
        new.iter().enumerate().map(|(rank, id)| (*id, if rank < held { Side::HeldOut } else { Side::Train })),
    );

    if let [lowest, _, ..] = ids.as_slice()
        && let Some(only) = sides.get(lowest).copied()
        && sides.values().all(|side| *side == only)
    {
        let moved = new.first().filter(|_| only == Side::Train).unwrap_or(lowest);
        sides.insert(*moved, if only == Side::Train { Side::HeldOut } else { Side::Train });
    }
    sides
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::text_example;

    fn notes(numbers: std::ops::Range<usize>) -> Vec<Example> {
        numbers.map(|number| text_example(&format!("note {number}"))).collect()
    }

    fn held(sides: &HashMap<ExampleId, Side>) -> usize {
        sides.values().filter(|side| **side == Side::HeldOut).count()
    }

    fn fresh(examples: &[Example]) -> HashMap<ExampleId, Side> {
        split(examples, &HashMap::new())
    }

    #[test]
    fn sizes_as_documented() {
        for (count, least, most) in [
            (0, 0, 0),
            (1, 0, 0),
            (2, 1, 1),
            (3, 1, 1),
            (5, 1, 1),
            (10, 3, 3),
            (12, 4, 4),
            (60, 4, 13),
            (1000, 70, 130),
        ] {
            for start in [0, 10_000, 20_000, 30_000] {
                let sides = fresh(&notes(start..start + count));
                assert_eq!(sides.len(), count);
                assert!((least..=most).contains(&held(&sides)), "{} of {count} held out", held(&sides));
            }
        }
    }

    #[test]
    fn neither_order_nor_repetition_matters() {
        let mut examples = notes(0..50);
        let sides = fresh(&examples);
        examples.reverse();
        examples.extend(notes(0..7));
        assert_eq!(fresh(&examples), sides);
    }

    #[test]
    fn adding_files_moves_nothing() {
        let mut sides = HashMap::new();
        for count in (1..200).step_by(7) {
            let now = split(&notes(0..count), &sides);
            // The very first example had to be learnt and stays so.
            for (id, side) in &sides {
                assert_eq!(now.get(id), Some(side), "with {count} examples");
            }
            assert!(count < 2 || (held(&now) > 0 && held(&now) < count));
            sides = now;
        }
    }

    #[test]
    fn a_single_new_note_is_learnt_and_of_many_some_judge() {
        let known = fresh(&notes(0..40));
        for start in (100..2000).step_by(20) {
            for (count, least, most) in [(1, 0, 0), (2, 0, 0), (3, 0, 1), (4, 1, 1), (8, 2, 2), (15, 2, 5)] {
                let new = notes(start..start + count);
                let mut all = notes(0..40);
                all.extend(new.iter().cloned());
                let sides = split(&all, &known);
                let held = new.iter().filter(|note| sides[&note.id] == Side::HeldOut).count();
                assert!((least..=most).contains(&held), "{held} of {count} new notes are held out");
            }
        }
    }

    #[test]
    fn no_side_is_ever_empty() {
        let examples = notes(0..5);
        for side in [Side::Train, Side::HeldOut] {
            let known = examples.iter().map(|example| (example.id, side)).collect();
            let sides = split(&examples, &known);
            let moved = sides.values().filter(|now| **now != side).count();
            assert_eq!(moved, 1);
            // One example cannot be split; it stays where it was.
            assert_eq!(split(&examples[..1], &known)[&examples[0].id], side);
        }
        // One known, learnt; one new: the new one judges.
        let known = HashMap::from([(examples[0].id, Side::Train)]);
        let sides = split(&examples[..2], &known);
        assert_eq!(sides[&examples[1].id], Side::HeldOut);
    }

    #[test]
    fn what_is_gone_is_not_in_the_answer() {
        let known = fresh(&notes(0..20));
        assert_eq!(split(&notes(0..10), &known).len(), 10);
    }

    #[test]
    fn examples_that_come_back_are_on_their_old_side() {
        let examples = notes(0..30);
        let known = fresh(&examples);
        assert_eq!(split(&examples, &known), known);
    }
}
