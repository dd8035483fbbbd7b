//! Which text is an edited old one. An edit is learnt like anything new, on the old text's side of the split, and does not make an adapter
//! stale; a text that is gone with nothing in its place does.
//!
//! The manifest keeps a sketch of each text (96 hashes) and its line. A version before the edit still holds the old text, so a rollback to it is stale. What
//! is in a file that cannot be read at the moment, or has a mistake, is not gone either.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use hotplate_dataset::{Code, Dataset, Example, ExampleId, Sketch};

use crate::daemon::store::{Known, Manifest};

/// More pairs of old and new texts than this are not compared: nobody edits so many by hand.
const MOST_PAIRS: usize = 1_000_000;

/// Present examples that may stand in the place of one that is gone: what is new, what a run has tried in vain, and what had been replaced and is back.
pub(crate) fn may_be_edits(manifest: &Manifest, examples: &[Example]) -> HashSet<ExampleId> {
    let ids = examples.iter().map(|example| example.id);
    ids.filter(|id| {
        manifest.rows.get(id).is_none_or(|known| known.version.is_none() || known.replaced.is_some())
    })
    .collect()
}

/// A text that is no longer there.
struct Gone<'a> {
    id: ExampleId,
    known: &'a Known,
}

/// The examples that are edits, with the old ones they take the place of; each old one once. In this order: alike by half of their pieces in the same
/// file, the most alike first; the same in another file (it was renamed, or a text moved); and whatever else stands where an old text of the
/// same file stood, between the same neighbours.
pub(crate) fn edits(
    manifest: &Manifest,
    examples: &[Example],
    may_be: &HashSet<ExampleId>,
) -> HashMap<ExampleId, ExampleId> {
    let present: HashSet<ExampleId> = examples.iter().map(|example| example.id).collect();
    let mut gone: Vec<Gone<'_>> = manifest
        .rows
        .iter()
        .filter(|(id, known)| known.replaced.is_none() && !present.contains(id))
        .map(|(id, known)| Gone { id: *id, known })
        .collect();
    gone.sort_unstable_by_key(|gone| gone.id);
    let new: Vec<&Example> = examples.iter().filter(|example| may_be.contains(&example.id)).collect();
    let mut found = Edits::new(&new, &gone);
    if gone.len().saturating_mul(new.len()) <= MOST_PAIRS {
        found.by_likeness(|example, old| example.file == old.known.file);
        found.by_likeness(|_, _| true);
    }
    // What a version holds goes before what was only tried.
    found.by_place(manifest, examples, &present, |known| known.version.is_some());
    found.by_place(manifest, examples, &present, |known| known.version.is_none());
    found.pairs
}

/// Pairs as they are found.
struct Edits<'a> {
    /// With the sketches that each is known by: its own, and those of what it was while a run tried it in vain.
    new: Vec<(&'a Example, Vec<Sketch>)>,
    /// That a version holds, or that judge.
    gone: Vec<&'a Gone<'a>>,
    /// The edit, and what it takes the place of.
    pairs: HashMap<ExampleId, ExampleId>,
    taken: HashSet<ExampleId>,
}

impl<'a> Edits<'a> {
    fn new(new: &[&'a Example], gone: &'a [Gone<'a>]) -> Self {
        // An edit in two saves: what the first one made was perhaps tried and not kept, and the second one is like that rather than like the first text.
        let tried: Vec<&Gone<'_>> = gone.iter().filter(|gone| gone.known.version.is_none()).collect();
        let with_sketches = |example: &&'a Example| {
            let mut sketches = vec![Sketch::of(&example.content)];
            let mut before = 0;
            while before < sketches.len() && tried.len() * new.len() <= MOST_PAIRS {
                let from = std::mem::replace(&mut before, sketches.len());
                for gone in tried.iter().filter(|gone| gone.known.file == example.file) {
                    let Some(sketch) = &gone.known.sketch else { continue };
                    let alike = sketches.iter().skip(from).any(|own| own.likeness(sketch) >= Sketch::EDITED);
                    if alike && !sketches.contains(sketch) {
                        sketches.push(sketch.clone());
                    }
                }
            }
            (*example, sketches)
        };
        Edits {
            new: new.iter().map(with_sketches).collect(),
            gone: gone.iter().collect(),
            pairs: HashMap::new(),
            taken: HashSet::new(),
        }
    }

    fn by_likeness(&mut self, fits: impl Fn(&Example, &Gone<'_>) -> bool) {
        let mut pairs = Vec::new();
        for (example, sketches) in self.new.iter().filter(|(new, _)| !self.pairs.contains_key(&new.id)) {
            for old in self.gone.iter().filter(|old| !self.taken.contains(&old.id) && fits(example, old)) {
                let Some(known) = &old.known.sketch else { continue };
                let likeness = sketches.iter().map(|own| own.likeness(known)).fold(0.0, f64::max);
                if likeness >= Sketch::EDITED {
                    // What a version holds is paired before what was only tried.
                    pairs.push((old.known.version.is_some(), likeness, example.id, old.id));
                }
            }
        }
        pairs.sort_by(|one, other| {
            (other.0.cmp(&one.0))
                .then(other.1.total_cmp(&one.1))
                .then((one.2, one.3).cmp(&(other.2, other.3)))
        });
        for (_, _, new, old) in pairs {
            self.pair(new, old);
        }
    }

    fn pair(&mut self, new: ExampleId, old: ExampleId) {
        if !self.pairs.contains_key(&new) && self.taken.insert(old) {
            self.pairs.insert(new, old);
        }
    }

    /// Texts that were written anew, in the place of an old one: between the same two neighbours that were there before and still are.
    fn by_place(
        &mut self,
        manifest: &Manifest,
        examples: &[Example],
        present: &HashSet<ExampleId>,
        wanted: impl Fn(&Known) -> bool,
    ) {
        let mut files: BTreeMap<&Path, Vec<&Gone<'_>>> = BTreeMap::new();
        for old in self.gone.iter().filter(|old| !self.taken.contains(&old.id) && wanted(old.known)) {
            files.entry(&old.known.file).or_default().push(old);
        }
        let may_be: HashSet<ExampleId> = self.new.iter().map(|(new, _)| new.id).collect();
        let mut pairs = Vec::new();
        for (file, gone) in files {
            let here = |example: &&Example| example.file == file;
            let is_anchor = |id: &ExampleId| {
                manifest.rows.get(id).is_some_and(|known| known.file == file)
                    && present.contains(id)
                    && !may_be.contains(id)
            };
            // As the file was, and as it is: what stayed, and what did not, in order.
            let mut before: Vec<(usize, ExampleId, bool)> =
                gone.iter().map(|old| (old.known.line, old.id, false)).collect();
            before.extend(examples.iter().filter(here).filter(|example| is_anchor(&example.id)).map(
                |example| {
                    let line = manifest.rows.get(&example.id).map_or(0, |known| known.line);
                    (line, example.id, true)
                },
            ));
            before.sort_unstable();
            let now: Vec<(ExampleId, bool)> = examples
                .iter()
                .filter(here)
                .filter(|example| {
                    is_anchor(&example.id)
                        || may_be.contains(&example.id) && !self.pairs.contains_key(&example.id)
                })
                .map(|example| (example.id, is_anchor(&example.id)))
                .collect();
            // A text whose line nobody noted stands anywhere: only where it is the only one of its file is its place known.
            if before.iter().any(|(line, _, _)| *line == 0) && (before.len() > 1 || now.len() > 1) {
                continue;
            }
            let old_gaps = gaps(before.iter().map(|(_, id, anchor)| (*id, *anchor)));
            for (gap, new) in gaps(now.into_iter()) {
                let old = old_gaps.get(&gap).map(Vec::as_slice).unwrap_or_default();
                pairs.extend(new.into_iter().zip(old.iter().copied()));
            }
        }
        for (new, old) in pairs {
            self.pair(new, old);
        }
    }
}

/// The neighbours of what lies between two texts that stayed.
type Gap = (Option<ExampleId>, Option<ExampleId>);

/// What stands between each two texts that stayed.
fn gaps(texts: impl Iterator<Item = (ExampleId, bool)>) -> HashMap<Gap, Vec<ExampleId>> {
    let mut gaps = HashMap::new();
    let (mut last, mut between) = (None, Vec::new());
    for (id, stayed) in texts {
        if stayed {
            gaps.insert((last, Some(id)), std::mem::take(&mut between));
            last = Some(id);
        } else {
            between.push(id);
        }
    }
    gaps.insert((last, None), between);
    gaps
}

/// Whether the file of an example that is not there cannot be read as it is now: then nobody knows whether the example is gone.
pub(crate) struct Unread<'a>(HashSet<&'a Path>);

impl<'a> Unread<'a> {
    pub(crate) fn of(dataset: &'a Dataset) -> Unread<'a> {
        let mishap = |code: Code| {
            // An empty file may be half of a save, but it is read; the others say that somebody left a text out.
            code.skips()
                && !matches!(
                    code,
                    Code::Empty
                        | Code::Duplicate
                        | Code::ConflictCopy
                        | Code::UnsupportedFile
                        | Code::PreferenceData
                        | Code::Draft
                        | Code::DatasetCard
                )
        };
        Unread(
            dataset
                .findings
                .iter()
                .filter(|finding| mishap(finding.code))
                .map(|finding| finding.file.as_path())
                .collect(),
        )
    }

    /// The file itself, or a folder that it lies in.
    pub(crate) fn holds(&self, file: &Path) -> bool {
        file.ancestors().any(|part| self.0.contains(part))
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use hotplate_dataset::{Content, Side};
    use hotplate_protocol::run::RunId;

    use super::*;

    const NOTE: &str =
        "The bakery on the corner opens at six, and the rye bread is gone by nine on any day but Sunday.";
    const TEA: &str = "Nobody hurries you in the tea house by the river.";
    const SOUP: &str = "Lentils, an onion, and an hour on the back of the stove.";
    const TROUT: &str = "Smoked trout wants horseradish, bread and nothing else at all.";

    fn example_at(text: &str, file: &str, line: usize) -> Example {
        let content = Content::Text(text.to_owned());
        Example { id: content.id(), content, title: None, file: file.into(), lines: (line, line) }
    }

    fn example(text: &str, file: &str) -> Example {
        example_at(text, file, 1)
    }

    fn file(texts: &[&str]) -> Vec<Example> {
        texts.iter().enumerate().map(|(at, text)| example_at(text, "a.jsonl", at + 1)).collect()
    }

    fn known(example: &Example) -> Known {
        Known {
            side: Side::Train,
            file: example.file.clone(),
            run: RunId(1),
            version: Some(1),
            loss: None,
            sketch: Some(Sketch::of(&example.content)),
            line: example.lines.0,
            replaced: None,
        }
    }

    fn manifest(examples: &[Example]) -> Manifest {
        Manifest { rows: examples.iter().map(|example| (example.id, known(example))).collect() }
    }

    fn found_in(manifest: &Manifest, now: &[Example]) -> HashMap<ExampleId, ExampleId> {
        edits(manifest, now, &may_be_edits(manifest, now))
    }

    fn found(before: &[Example], now: &[Example]) -> HashMap<ExampleId, ExampleId> {
        found_in(&manifest(before), now)
    }

    #[test]
    fn an_edit_in_its_file_is_known_again() {
        let (old, new) = (example(NOTE, "a.md"), example(&NOTE.replace("six", "half past six"), "a.md"));
        let other = example_at(TEA, "a.md", 3);
        assert_eq!(
            found(std::slice::from_ref(&old), &[new.clone(), other.clone()]),
            HashMap::from([(new.id, old.id)])
        );
        assert_eq!(
            found(std::slice::from_ref(&old), std::slice::from_ref(&other)),
            HashMap::from([(other.id, old.id)]),
            "a text written anew, where the old one stood"
        );
        let elsewhere = Example { file: "b.md".into(), ..new };
        assert_eq!(
            found(std::slice::from_ref(&old), std::slice::from_ref(&elsewhere)),
            HashMap::from([(elsewhere.id, old.id)]),
            "renamed and edited"
        );
        let both = Example { file: "b.md".into(), ..other };
        assert!(
            found(std::slice::from_ref(&old), &[both]).is_empty(),
            "another text in another file is no edit"
        );
        assert!(
            found(std::slice::from_ref(&old), std::slice::from_ref(&old)).is_empty(),
            "what is still there was not edited"
        );
    }

    #[test]
    fn two_of_a_kind_do_not_stand_for_one() {
        let old = example(NOTE, "a.md");
        let new = [
            example(&NOTE.replace("six", "seven"), "a.md"),
            example_at(&NOTE.replace("rye", "white"), "a.md", 3),
        ];
        assert_eq!(found(&[old], &new).len(), 1);
        // One removed, its like still there: it is gone.
        let both = new.clone();
        assert!(found(&both, &new[..1]).is_empty());
    }

    #[test]
    fn a_record_is_edited_in_its_place_and_withdrawn_where_none_takes_it() {
        let before = file(&[NOTE, TEA, SOUP]);
        // Rewritten from the first word to the last.
        let now = file(&[NOTE, TROUT, SOUP]);
        assert_eq!(found(&before, &now), HashMap::from([(now[1].id, before[1].id)]));
        // Taken out, and another one written at the end.
        assert!(found(&before, &file(&[NOTE, SOUP, TROUT])).is_empty());
        // All anew: as many as there are now.
        let now = file(&[TROUT]);
        assert_eq!(found(&before, &now), HashMap::from([(now[0].id, before[0].id)]));
        // Rows of older versions know no line.
        let mut old = manifest(&before);
        old.rows.values_mut().for_each(|known| known.line = 0);
        assert!(found_in(&old, &file(&[NOTE, TROUT, SOUP])).is_empty());
    }

    #[test]
    fn an_edit_in_two_saves_is_one_edit() {
        let words: Vec<&str> = NOTE.split(' ').collect();
        let (first, second) = words.split_at(words.len() / 2);
        let (first, second) = (first.join(" "), second.join(" "));
        let old = example(NOTE, "a.jsonl");
        let half = example(&format!("{first} {TEA}"), "a.jsonl");
        let done = example(&format!("{TEA} {SOUP}"), "a.jsonl");
        let other = example_at(&second, "a.jsonl", 9);
        let mut manifest = manifest(&[old.clone(), other.clone()]);
        // A run has tried the first half, and was no better.
        manifest.rows.insert(half.id, Known { version: None, ..known(&half) });
        let edits = found_in(&manifest, &[done.clone(), other]);
        assert_eq!(edits, HashMap::from([(done.id, old.id)]));
        // What was tried is the edit as long as it stands there.
        assert_eq!(found_in(&manifest, std::slice::from_ref(&half)), HashMap::from([(half.id, old.id)]));
    }

    #[test]
    fn what_is_back_takes_the_place_of_what_replaced_it() {
        let (old, edit) = (example(NOTE, "a.md"), example(&NOTE.replace("six", "seven"), "a.md"));
        let mut manifest = manifest(&[old.clone(), edit.clone()]);
        manifest.rows.get_mut(&old.id).unwrap().replaced = Some(2);
        assert_eq!(found_in(&manifest, std::slice::from_ref(&old)), HashMap::from([(old.id, edit.id)]));
        assert!(found_in(&manifest, std::slice::from_ref(&edit)).is_empty());
    }

    #[test]
    fn files_that_cannot_be_read_hold_what_was_in_them() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("a.jsonl", "{\"text\": "), ("empty.txt", ""), ("good.txt", "A note.")] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let dataset = hotplate_dataset::read(folder.path(), &hotplate_dataset::Limits::default()).unwrap();
        let unread = Unread::of(&dataset);
        let holds = |file: &str| unread.holds(&PathBuf::from(file));
        assert!(holds("a.jsonl"));
        assert!(!holds("empty.txt") && !holds("good.txt") && !holds("gone.txt"));
        let closed = Unread(HashSet::from([Path::new("sub")]));
        assert!(closed.holds(Path::new("sub/a.txt")) && !closed.holds(Path::new("a.txt")));
    }
}
