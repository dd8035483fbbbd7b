//! What was measured of processors, on disk: so that the same machine computes the same bits from one start to the next.
//!
//! A file that is broken, or of another generation of kernels, is as none: it can be made again. A home that several machines share has an entry for each of
//! their processors.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use hotplate_engine::device::{GENERATION, Machine, Measured};
use hotplate_home::own_file;
use serde::{Deserialize, Serialize};

/// More processors than a person's machines have; the oldest entry goes first.
const MOST: usize = 16;
/// More than a file of ours ever has.
const MAX_BYTES: u64 = 1 << 20;

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Kept {
    kernels: u32,
    processors: Vec<Entry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    processor: String,
    chosen: String,
    measured: Vec<Figures>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Figures {
    kernels: String,
    /// As many times as fast as the safe ones.
    times: f64,
    /// Billions of multiply-adds a second, by the rows on the left and how the right side is stored.
    rates: Vec<(usize, String, f64)>,
}

impl Kept {
    /// Nothing where there is none, or where it cannot be read.
    pub(crate) fn read(file: &Path) -> Kept {
        let bytes = own_file::open(file).and_then(|opened| {
            let mut bytes = Vec::new();
            opened.take(MAX_BYTES).read_to_end(&mut bytes)?;
            Ok(bytes)
        });
        let kept: Option<Kept> = match bytes {
            Ok(bytes) => serde_json::from_slice(&bytes).ok(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Kept::default(),
            Err(_) => None,
        };
        match kept {
            Some(kept) if kept.kernels == GENERATION => kept,
            Some(_) => Kept::default(),
            None => {
                tracing::warn!(file = %file.display(), "what was measured of processors cannot be read and is measured again");
                Kept::default()
            }
        }
    }

    /// What was chosen among the same kernels, and how many times as fast as the safe ones it was.
    pub(crate) fn choice(&self, processor: &str, candidates: &[Machine]) -> Option<(Machine, f64)> {
        let same = |entry: &&Entry| {
            entry.processor == processor
                && entry
                    .measured
                    .iter()
                    .map(|figures| figures.kernels.as_str())
                    .eq(candidates.iter().map(ToString::to_string))
        };
        let entry = self.processors.iter().find(same)?;
        let figures = entry.measured.iter().find(|figures| figures.kernels == entry.chosen)?;
        let machine = candidates.iter().find(|machine| machine.to_string() == entry.chosen)?;
        Some((*machine, figures.times))
    }

    /// Replaces what was noted of the same kernels of this processor.
    pub(crate) fn note(&mut self, processor: &str, chosen: Machine, measured: &[Measured]) {
        let measured: Vec<Figures> = measured
            .iter()
            .map(|measured| Figures {
                kernels: measured.machine.to_string(),
                times: measured.times,
                rates: measured
                    .rates
                    .iter()
                    .map(|(rows, right, rate)| (*rows, right.to_string(), *rate))
                    .collect(),
            })
            .collect();
        let kernels = |figures: &[Figures]| -> Vec<String> {
            figures.iter().map(|figures| figures.kernels.clone()).collect()
        };
        self.kernels = GENERATION;
        self.processors
            .retain(|entry| entry.processor != processor || kernels(&entry.measured) != kernels(&measured));
        self.processors.push(Entry { processor: processor.to_owned(), chosen: chosen.to_string(), measured });
        let surplus = self.processors.len().saturating_sub(MOST);
        self.processors.drain(..surplus);
    }

    /// The whole file or none of it.
    pub(crate) fn write(&self, file: &Path) -> io::Result<()> {
        let beside = file.with_extension(format!("{}.part", std::process::id()));
        let mut made =
            own_file::open_with(&beside, OpenOptions::new().write(true).create(true).truncate(true))?;
        let written =
            made.write_all(&serde_json::to_vec_pretty(self)?).and_then(|()| fs::rename(&beside, file));
        if written.is_err() {
            let _ = fs::remove_file(&beside);
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use hotplate_engine::device::{Arithmetic, Machine};

    use super::*;

    fn measured(machine: Machine, times: f64) -> Measured {
        Measured { machine, rates: Vec::new(), times }
    }

    fn candidates() -> [Machine; 2] {
        let all = Machine::all();
        [Machine::best(Arithmetic::F32, &all), Machine::best(Arithmetic::Bf16, &all)]
    }

    #[test]
    fn what_was_noted_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("processors.json");
        let [safe, other] = candidates();
        let both = [measured(safe, 1.0), measured(other, 2.5)];
        let mut kept = Kept::read(&file);
        assert!(kept.choice("one", &[safe, other]).is_none());
        kept.note("one", other, &both);
        kept.note("two", safe, &both);
        kept.write(&file).unwrap();
        let kept = Kept::read(&file);
        assert_eq!(kept.choice("one", &[safe, other]), Some((other, 2.5)));
        assert_eq!(kept.choice("two", &[safe, other]), Some((safe, 1.0)));
        assert!(kept.choice("three", &[safe, other]).is_none());
        assert!(kept.choice("one", &[safe]).is_none(), "among others");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing stays beside it");
    }

    #[test]
    fn a_file_that_is_broken_or_of_other_kernels_is_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("processors.json");
        let [safe, other] = candidates();
        for text in ["", "{", "[]", r#"{"kernels": 0, "processors": []}"#, r#"{"kernels": 1}"#] {
            fs::write(&file, text).unwrap();
            assert!(Kept::read(&file).processors.is_empty(), "{text}");
        }
        let mut kept = Kept::default();
        kept.note("one", other, &[measured(safe, 1.0), measured(other, 2.0)]);
        kept.processors[0].chosen = "abacus/f32".to_owned();
        assert!(kept.choice("one", &[safe, other]).is_none());
    }

    #[test]
    fn a_processor_is_noted_once_and_many_do_not_pile_up() {
        let [safe, other] = candidates();
        let both = [measured(safe, 1.0), measured(other, 2.0)];
        let mut kept = Kept::default();
        for at in 0..2 * MOST {
            kept.note(&format!("processor {at}"), safe, &both);
            kept.note(&format!("processor {at}"), other, &both);
        }
        assert_eq!(kept.processors.len(), MOST);
        let last = format!("processor {}", 2 * MOST - 1);
        assert_eq!(kept.choice(&last, &[safe, other]), Some((other, 2.0)));
    }
}
