//! Which versions of an adapter nobody needs any more. Decides, and removes nothing.

use std::collections::HashSet;

use super::store::{Going, VersionRow, best_by_the_same_texts, lineage};

/// What goes where the `keep` newest versions stay, besides those that `stays` names.
///
/// The version that answers stays, the best of those that the same texts have judged, and of those that it was built on the nearest and
/// the full run at the root. Versions without files count for nothing; their records go when nothing that stays was built on them.
pub(crate) fn choose(
    versions: &[VersionRow],
    current: u32,
    keep: usize,
    stays: impl Fn(&VersionRow) -> bool,
) -> Going {
    let parent = |version: u32| versions.iter().find(|row| row.version == version)?.parent;
    let mut root = current;
    let mut seen = HashSet::new();
    while let Some(older) = parent(root).filter(|older| seen.insert(*older)) {
        root = older;
    }
    let best = versions
        .iter()
        .find(|row| row.version == current)
        .and_then(|row| best_by_the_same_texts(versions, row))
        .map(|row| row.version);
    let needed = [Some(current), parent(current), Some(root), best];
    let whole = || versions.iter().filter(|row| !row.pruned);
    let newest: HashSet<u32> = whole().rev().take(keep).map(|row| row.version).collect();
    let stay: HashSet<u32> = whole()
        .filter(|row| newest.contains(&row.version) || needed.contains(&Some(row.version)) || stays(row))
        .map(|row| row.version)
        .collect();
    let built_on: HashSet<u32> = stay.iter().flat_map(|version| lineage(versions, *version)).collect();
    let mut going = Going::default();
    for row in versions.iter().filter(|row| !stay.contains(&row.version)) {
        if !built_on.contains(&row.version) {
            going.gone.push(row.version);
        } else if !row.pruned {
            going.records.push(row.version);
        }
    }
    going
}

/// Whether another version was built on this one, directly or not.
pub(crate) fn is_built_on(versions: &[VersionRow], version: u32) -> bool {
    versions.iter().any(|row| row.version != version && lineage(versions, row.version).contains(&version))
}

#[cfg(test)]
mod tests {
    use hotplate_protocol::run::{RunId, RunKind};

    use super::*;
    use crate::daemon::store::test_version;

    /// Versions from 1 on, by what each was built on.
    fn versions(parents: &[Option<u32>]) -> Vec<VersionRow> {
        let row = |(index, parent): (usize, &Option<u32>)| {
            let kind = if parent.is_some() { RunKind::Incremental } else { RunKind::Full };
            test_version(index as u32 + 1, *parent, RunId(index as i64 + 1), kind)
        };
        parents.iter().enumerate().map(row).collect()
    }

    fn check(parents: &[Option<u32>], current: u32, keep: usize, gone: &[u32], records: &[u32]) {
        let going = choose(&versions(parents), current, keep, |_| false);
        assert_eq!((going.gone.as_slice(), going.records.as_slice()), (gone, records), "{parents:?}");
    }

    #[test]
    fn the_newest_the_current_and_the_ends_of_its_lineage_stay() {
        // Each of them learnt everything: nothing was built on another.
        check(&[None; 5], 5, 2, &[1, 2, 3], &[]);
        check(&[None; 5], 2, 1, &[1, 3, 4], &[]);
        check(&[None; 2], 2, 0, &[1], &[]);
        // Five saves on one full run: the root, the one before, and records in between.
        check(&[None, Some(1), Some(2), Some(3), Some(4), Some(5)], 6, 1, &[], &[2, 3, 4]);
        check(&[None, Some(1), Some(2)], 3, 1, &[], &[]);
        // A branch that a rollback left.
        check(&[None, Some(1), Some(2), Some(1), Some(4)], 5, 1, &[2, 3], &[]);
        check(&[None, Some(1)], 2, 10, &[], &[]);
        check(&[], 1, 0, &[], &[]);
    }

    #[test]
    fn the_best_by_the_same_texts_stays() {
        let mut all = versions(&[None; 4]);
        for (row, loss) in all.iter_mut().zip([2.0, 1.0, 3.0, 2.5]) {
            row.judged_by = Some("notes".into());
            row.heldout_loss = loss;
        }
        assert_eq!(choose(&all, 4, 1, |_| false).gone, [1, 3]);
        // By other texts, that loss says nothing.
        all[1].judged_by = Some("letters".into());
        assert_eq!(choose(&all, 4, 1, |_| false).gone, [2, 3]);
    }

    #[test]
    fn what_was_asked_for_stays_and_records_go_with_what_needed_them() {
        let all = versions(&[None, Some(1), Some(2), Some(3), None, None]);
        let going = choose(&all, 6, 1, |row| row.version == 1);
        assert_eq!((going.gone.as_slice(), going.records.as_slice()), (&[2, 3, 4, 5][..], &[][..]));
        let mut all = versions(&[None, Some(1), Some(2), Some(3), None]);
        all[1].pruned = true;
        assert_eq!(choose(&all, 4, 5, |_| false), Going::default());
        assert_eq!(choose(&all, 5, 1, |_| false).gone, [1, 2, 3, 4], "a record goes with those built on it");
        // A circle, which only a damaged store has, ends.
        assert!(choose(&versions(&[Some(2), Some(1)]), 2, 0, |_| false).is_empty());
        assert!(is_built_on(&all, 2) && !is_built_on(&all, 4));
    }
}
