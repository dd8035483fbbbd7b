//! How this process multiplies: as a person has set it, and else as was measured to be fastest on this processor; for the daemon and the benchmarks alike.
//!
//! Owns the two variables and who has the last word. [`kept`] owns the file of what was measured; how kernels are timed is the engine's.

pub(crate) mod kept;

use std::env;
use std::fmt;
use std::sync::OnceLock;

use anyhow::{Context, ensure};
use hotplate_engine::device::{self, Arithmetic, Machine, Processor, Tiles, Values};
use hotplate_home::Home;

use kept::Kept;

/// `fastest` (the default), `f32` or `bf16`.
const ARITHMETIC: &str = "HOTPLATE_ARITHMETIC";
/// `amx`, `avx512`, `avx2`, `neon` or `portable`: these registers and no others.
const REGISTERS: &str = "HOTPLATE_REGISTERS";

/// Why the kernels are used that are.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Because {
    /// A variable says so.
    Asked,
    /// The processor has no others that could be faster.
    Only,
    /// No others were clearly faster than these, which multiply in f32.
    Safest,
    /// They were so many times as fast as those in f32.
    Measured { times: f64 },
}

static BECAUSE: OnceLock<Because> = OnceLock::new();
/// What is wrong with a variable.
static PROBLEM: OnceLock<String> = OnceLock::new();

/// To be called before the first tensor is touched, and once the number of threads is set.
///
/// # Errors
/// A variable whose word means nothing, or that asks for what this processor has not.
pub(crate) fn choose(home: &Home) -> anyhow::Result<()> {
    let word = |name| env::var(name).ok().filter(|word: &String| !word.trim().is_empty());
    let arithmetic: Arithmetic = match word(ARITHMETIC) {
        Some(word) => word.parse().with_context(|| format!("{ARITHMETIC} cannot be used"))?,
        None => Arithmetic::default(),
    };
    let among = among(&Machine::all(), word(REGISTERS).as_deref())?;
    let (machine, because) = match arithmetic {
        Arithmetic::Fastest => fastest(home, &among),
        Arithmetic::F32 | Arithmetic::Bf16 => (Machine::best(arithmetic, &among), Because::Asked),
    };
    use_machine(machine, because);
    Ok(())
}

/// As [`choose`]; a variable that cannot be used is a [`problem`] to tell of, and the fastest kernels are used.
pub(crate) fn choose_or_tell(home: &Home) {
    if let Err(error) = choose(home) {
        let problem = format!("{error:#}; it is as if it were not set");
        tracing::warn!("{problem}");
        let _ = PROBLEM.set(problem);
        let (machine, because) = fastest(home, &Machine::all());
        use_machine(machine, because);
    }
}

pub(crate) fn problem() -> Option<String> {
    PROBLEM.get().cloned()
}

fn use_machine(machine: Machine, because: Because) {
    device::use_machine(machine);
    let _ = BECAUSE.set(because);
}

/// Those with the registers that were asked for.
fn among(all: &[Machine], registers: Option<&str>) -> anyhow::Result<Vec<Machine>> {
    let Some(word) = registers.map(str::trim) else { return Ok(all.to_vec()) };
    let found: Vec<Machine> =
        all.iter().filter(|machine| machine.registers().word() == word).copied().collect();
    let mut there: Vec<&str> = all.iter().map(|machine| machine.registers().word()).collect();
    there.dedup();
    ensure!(
        !found.is_empty(),
        "{REGISTERS} cannot be used: {word:?} is none of what this processor has: {}",
        there.join(", ")
    );
    Ok(found)
}

/// What was measured on this processor at its first use; measured now, if this is it.
fn fastest(home: &Home, among: &[Machine]) -> (Machine, Because) {
    let candidates = device::candidates(among);
    if let [] | [_] = candidates[..] {
        return (Machine::best(Arithmetic::Fastest, among), Because::Only);
    }
    let processor = Processor::here().to_string();
    let file = home.processors();
    let mut kept = match &file {
        Ok(file) => Kept::read(file),
        Err(_) => Kept::default(),
    };
    if let Some((machine, times)) = kept.choice(&processor, &candidates) {
        return (machine, Because::of(machine, times));
    }
    let measured = device::in_pool(|| device::measure(&candidates));
    let Some(chosen) = device::fastest(&measured) else {
        return (Machine::best(Arithmetic::Fastest, among), Because::Only);
    };
    kept.note(&processor, chosen.machine, &measured);
    let written = file.map_err(anyhow::Error::from).and_then(|file| Ok(kept.write(&file)?));
    if let Err(error) = written {
        tracing::warn!("the next start measures this processor again: {error:#}");
    }
    (chosen.machine, Because::of(chosen.machine, chosen.times))
}

/// The processor's threads and registers, and why they are used.
pub(crate) fn told() -> String {
    let tiles = match device::tiles() {
        Tiles::Refused => ", AMX refused by the system",
        Tiles::Failed => ", AMX given up: a trial of it failed",
        Tiles::Ready | Tiles::Absent => "",
    };
    let because = BECAUSE.get().map_or_else(String::new, ToString::to_string);
    format!("{}{tiles}{because}", device::processor())
}

impl Because {
    const fn of(machine: Machine, times: f64) -> Because {
        match machine.values() {
            Values::F32 => Because::Safest,
            Values::Bf16 => Because::Measured { times },
        }
    }
}

impl fmt::Display for Because {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Because::Asked | Because::Only => Ok(()),
            Because::Safest => formatter.write_str(", measured: no others are faster"),
            Because::Measured { times } => write!(formatter, ", measured {times:.1} × as fast as f32"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_that_are_not_there_are_refused_with_those_that_are() {
        let all = Machine::all();
        assert_eq!(among(&all, None).unwrap(), all);
        let portable = among(&all, Some(" portable ")).unwrap();
        assert!(portable.len() == 2 && portable.iter().all(|machine| all.contains(machine)));
        let said = among(&all, Some("mmx")).unwrap_err().to_string();
        assert!(said.contains("\"mmx\" is none of") && said.ends_with("portable"), "{said}");
    }

    /// What is measured once holds; registers of a person's choice have their own measurement.
    #[test]
    fn a_choice_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(&folder.path().join("home")).unwrap();
        let all = Machine::all();
        let first = fastest(&home, &all);
        assert!(device::candidates(&all).contains(&first.0));
        assert_eq!(fastest(&home, &all), first, "to the last digit of the figure");
        let portable = among(&all, Some("portable")).unwrap();
        assert_eq!(fastest(&home, &portable).1, Because::Only);
    }
}
