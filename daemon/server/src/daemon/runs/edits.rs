//! Which new text is an edited old one. An edit is learnt like anything new, on the old text's side of the split, and does not make an adapter
//! stale; a text that is gone, or was changed beyond recognition, does.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;

use hotplate_dataset::{Example, ExampleId, Sketch};

use crate::daemon::store::Manifest;

/// A file with more pairs of old and new texts than this was not edited by hand.
const MOST_PAIRS: usize = 1_000_000;

/// The new examples that are edits, with the old ones they take the place of: in the same file, alike by half of their pieces, the most alike
/// first, each old one once.
pub(crate) fn edits(
    manifest: &Manifest,
    examples: &[Example],
    added: &HashSet<ExampleId>,
) -> HashMap<ExampleId, ExampleId> {
    let present: HashSet<ExampleId> = examples.iter().map(|example| example.id).collect();
    let mut gone: BTreeMap<&PathBuf, Vec<(ExampleId, &Sketch)>> = BTreeMap::new();
    for (id, known) in &manifest.rows {
        if let Some(sketch) = &known.sketch
            && known.replaced.is_none()
            && !present.contains(id)
        {
            gone.entry(&known.file).or_default().push((*id, sketch));
        }
    }
    let mut edits = HashMap::new();
    for (file, gone) in gone {
        let new: Vec<&Example> =
            examples.iter().filter(|example| example.file == *file && added.contains(&example.id)).collect();
        if gone.len().saturating_mul(new.len()) > MOST_PAIRS {
            continue;
        }
        let mut pairs = Vec::new();
        for example in new {
            let sketch = Sketch::of(&example.content);
            for (old, known) in &gone {
                let likeness = sketch.likeness(known);
                if likeness >= Sketch::EDITED {
                    pairs.push((likeness, example.id, *old));
                }
            }
        }
        pairs.sort_by(|one, other| other.0.total_cmp(&one.0).then((one.1, one.2).cmp(&(other.1, other.2))));
        let mut taken = HashSet::new();
        for (_, new, old) in pairs {
            if !edits.contains_key(&new) && taken.insert(old) {
                edits.insert(new, old);
            }
        }
    }
    edits
}

#[cfg(test)]
mod tests {
    use hotplate_dataset::{Content, Side};
    use hotplate_protocol::run::RunId;

    use super::*;
    use crate::daemon::store::Known;

    const NOTE: &str =
        "The bakery on the corner opens at six, and the rye bread is gone by nine on any day but Sunday.";

    fn example(text: &str, file: &str) -> Example {
        let content = Content::Text(text.to_owned());
        Example { id: content.id(), content, title: None, file: file.into(), lines: (1, 1) }
    }

    fn manifest(examples: &[Example]) -> Manifest {
        let known = |example: &Example| Known {
            side: Side::Train,
            file: example.file.clone(),
            run: RunId(1),
            version: Some(1),
            loss: None,
            sketch: Some(Sketch::of(&example.content)),
            replaced: None,
        };
        Manifest { rows: examples.iter().map(|example| (example.id, known(example))).collect() }
    }

    fn found(before: &[Example], now: &[Example]) -> HashMap<ExampleId, ExampleId> {
        let manifest = manifest(before);
        let added =
            now.iter().map(|example| example.id).filter(|id| !manifest.rows.contains_key(id)).collect();
        edits(&manifest, now, &added)
    }

    #[test]
    fn an_edit_in_its_file_is_known_again() {
        let (old, new) = (example(NOTE, "a.md"), example(&NOTE.replace("six", "half past six"), "a.md"));
        let other = example("Nobody hurries you in the tea house by the river.", "a.md");
        assert_eq!(
            found(std::slice::from_ref(&old), &[new.clone(), other.clone()]),
            HashMap::from([(new.id, old.id)])
        );
        assert!(found(std::slice::from_ref(&old), &[other]).is_empty(), "another text is no edit");
        let elsewhere = Example { file: "b.md".into(), ..new };
        assert!(found(std::slice::from_ref(&old), &[elsewhere]).is_empty(), "nor is one in another file");
        assert!(
            found(std::slice::from_ref(&old), std::slice::from_ref(&old)).is_empty(),
            "what is still there was not edited"
        );
    }

    #[test]
    fn two_of_a_kind_do_not_stand_for_one() {
        let old = example(NOTE, "a.md");
        let new =
            [example(&NOTE.replace("six", "seven"), "a.md"), example(&NOTE.replace("rye", "white"), "a.md")];
        assert_eq!(found(&[old], &new).len(), 1);
        // One removed, its like still there: it is gone.
        let both = new.clone();
        assert!(found(&both, &new[..1]).is_empty());
    }
}
