//! The sample dataset: one person's shop notes, in two languages, with three planted faults. Written for this
//! project.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::tongue::Tongue;

/// What one language's demo is played with.
pub(super) struct Samples {
    /// File names and texts.
    pub(super) files: &'static [(&'static str, &'static str)],
    /// The file in which the person's voice is heard first.
    pub(super) taste: &'static str,
    /// What is saved into the watched folder later.
    pub(super) later: &'static str,
    prompts: &'static str,
    unrelated: &'static str,
}

pub(super) const LATER: &str = "later.md";

macro_rules! files {
    ($folder:literal: $($name:literal)+) => {
        &[$(($name, include_str!(concat!($folder, "/", $name)))),+]
    };
}

const ENGLISH: Samples = Samples {
    files: files!("en":
        "shop-notes.jsonl" "market.md" "bakery.txt" "books.txt" "cheese.txt" "flowers.txt" "hardware.txt" "noodles.txt"
        "repairs.txt" "stationery.txt" "tea.txt"
    ),
    taste: include_str!("en/bakery.txt"),
    later: include_str!("en/later.md"),
    prompts: include_str!("en/prompts.txt"),
    unrelated: include_str!("en/unrelated.txt"),
};

const CHINESE: Samples = Samples {
    files: files!("zh":
        "shop-notes.jsonl" "market.md" "bakery.txt" "barber.txt" "book.txt" "flower.txt" "fruit.txt" "hardware.txt"
        "noodle.txt" "repair.txt" "tea.txt"
    ),
    taste: include_str!("zh/bakery.txt"),
    later: include_str!("zh/later.md"),
    prompts: include_str!("zh/prompts.txt"),
    unrelated: include_str!("zh/unrelated.txt"),
};

impl Samples {
    pub(super) fn of(tongue: Tongue) -> &'static Samples {
        match tongue {
            Tongue::English => &ENGLISH,
            Tongue::Chinese => &CHINESE,
        }
    }

    /// What the model is asked, before and after.
    pub(super) fn prompts(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.prompts.lines().map(str::trim).filter(|line| !line.is_empty())
    }

    /// Something that the notes say nothing of.
    pub(super) fn unrelated(&self) -> &'static str {
        self.unrelated.trim()
    }

    pub(super) fn lay_out(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        self.files.iter().try_for_each(|(name, text)| fs::write(folder.join(name), text))
    }

    /// Saves the later notes as many editors save: a hidden temporary file beside, then a rename.
    pub(super) fn save_later(&self, folder: &Path) -> io::Result<PathBuf> {
        let saved = folder.join(LATER);
        let temporary = folder.join(format!(".{LATER}.tmp"));
        fs::write(&temporary, self.later)?;
        fs::rename(&temporary, &saved)?;
        Ok(saved)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use hotplate_dataset::Limits;

    use super::*;

    #[test]
    fn every_file_of_the_folders_is_in_the_lists() {
        for (samples, folder) in [(&ENGLISH, "en"), (&CHINESE, "zh")] {
            let there =
                fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/demo").join(folder)).unwrap();
            let there: BTreeSet<String> =
                there.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            let listed = samples.files.iter().map(|(name, _)| (*name).to_owned());
            let listed: BTreeSet<String> =
                listed.chain([LATER, "prompts.txt", "unrelated.txt"].map(str::to_owned)).collect();
            assert_eq!(there, listed);
        }
    }

    #[test]
    fn three_faults_are_planted_and_no_more() {
        for samples in [&ENGLISH, &CHINESE] {
            let folder = tempfile::tempdir().unwrap();
            samples.lay_out(folder.path()).unwrap();
            let read = |folder: &Path| hotplate_dataset::read(folder, &Limits::default()).unwrap();
            let before = read(folder.path());
            let names: BTreeSet<&str> = before.findings.iter().map(|finding| finding.code.name()).collect();
            assert_eq!(names, BTreeSet::from(["duplicate", "empty", "invalid-json"]));
            assert_eq!(before.findings.len(), 3);
            assert!((52..=60).contains(&before.examples.len()), "{}", before.examples.len());

            samples.save_later(folder.path()).unwrap();
            let after = read(folder.path());
            assert_eq!(after.findings.len(), 3);
            assert_eq!(after.examples.len(), before.examples.len() + 8);
            assert_eq!(samples.prompts().count(), 2);
        }
    }
}
