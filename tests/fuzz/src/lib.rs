//! Feeds a parser bytes that nobody would write: seeds that are changed at random, and changed again where a change led the parser
//! somewhere new.
//!
//! Each crate has a test module `fuzz` that names its parsers, gives each some seeds, and calls [`fuzz`]. In the ordinary tests that is a
//! few thousand executions; `tests/fuzz/run` makes it a million, with the compiler's coverage counters. A parser that panics, takes longer
//! than [`SLOWEST`] or makes the process larger than [`LARGEST`] fails, and the input lies in a file whose name the failure says.
//!
//! Without dependencies: it is built wherever a crate's tests are.

mod counters;
mod mutator;
mod random;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use std::{env, fs};

use mutator::Mutator;
use random::Random;

/// How many executions, where nobody says so.
const EXECUTIONS: u64 = 2000;
/// An input of at most [`MOST_BYTES`] bytes that takes longer hangs.
const SLOWEST: Duration = Duration::from_secs(5);
/// The process's memory at its largest, in bytes.
const LARGEST: u64 = 4 << 30;
/// Inputs do not grow beyond.
const MOST_BYTES: usize = 16 << 10;
/// Inputs that led somewhere new are kept, up to so many.
const MOST_KEPT: usize = 20_000;

/// Pieces that JSON is made of.
pub const JSON: &[&str] = &[
    "{", "}", "[", "]", ",", ":", "null", "true", "false", "1e999", "NaN", "Infinity", "-1", "0.5", "\"",
    "\\ud800", "\\u0000", "\n",
];

/// Runs `parse` on changed seeds. `words` are pieces that the format is made of.
///
/// `HOTPLATE_FUZZ_EXECUTIONS` says how often, `HOTPLATE_FUZZ_SEED` with which random numbers, `HOTPLATE_FUZZ_INPUT` names a file that
/// is run alone, once.
///
/// # Panics
/// As `parse` does, or where it takes too long or too much memory.
pub fn fuzz(name: &str, seeds: &[&[u8]], words: &[&str], parse: impl Fn(&[u8])) {
    if let Some(file) = env::var_os("HOTPLATE_FUZZ_INPUT") {
        parse(&fs::read(&file).unwrap_or_default());
        return;
    }
    let number = |variable: &str| env::var(variable).ok().and_then(|text| text.parse::<u64>().ok());
    let executions = number("HOTPLATE_FUZZ_EXECUTIONS").unwrap_or(EXECUTIONS);
    let mut random = Random::new(number("HOTPLATE_FUZZ_SEED").unwrap_or(1));
    let long = executions > 100_000;
    // A stack that overflows ends the process: what it was given must lie somewhere before.
    let last = place(name, "last");
    let mut kept: Vec<Vec<u8>> = seeds.iter().map(|seed| seed.to_vec()).collect();
    if kept.is_empty() {
        kept.push(Vec::new());
    }
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    let mutator = Mutator { words: &words, most_bytes: MOST_BYTES };
    let started = Instant::now();
    let mut slowest = Duration::ZERO;
    for execution in 0..executions {
        let input = match kept.get(execution as usize) {
            Some(seed) if (execution as usize) < seeds.len() => seed.clone(),
            _ => mutator.changed(&kept, &mut random),
        };
        if long {
            let _ = fs::write(&last, &input);
        }
        counters::clear();
        let began = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| parse(&input)));
        let mut took = began.elapsed();
        if took > SLOWEST && outcome.is_ok() {
            // Somebody else may have had the processor meanwhile.
            let began = Instant::now();
            let _ = catch_unwind(AssertUnwindSafe(|| parse(&input)));
            took = took.min(began.elapsed());
        }
        slowest = slowest.max(took);
        let fault = match outcome {
            Err(panic) => Some((None, Some(panic))),
            Ok(()) if took > SLOWEST => Some((Some(format!("it took {took:?}")), None)),
            Ok(()) if execution % 512 == 0 && peak_bytes() > LARGEST => {
                Some((Some(format!("the process takes {} MiB", peak_bytes() >> 20)), None))
            }
            Ok(()) => None,
        };
        if let Some((why, panic)) = fault {
            let file = place(name, &format!("fault-{execution}"));
            let _ = fs::write(&file, &input);
            let said =
                format!("{name}: execution {execution}, {} bytes, kept in {}", input.len(), file.display());
            match panic {
                Some(panic) => {
                    eprintln!("{said}");
                    resume_unwind(panic);
                }
                None => panic!("{said}: {}", why.unwrap_or_default()),
            }
        }
        if counters::anything_new() && kept.len() < MOST_KEPT {
            kept.push(input);
        }
    }
    let _ = fs::remove_file(&last);
    if long {
        eprintln!(
            "{name}: {executions} executions in {:.0} s, {} inputs kept, {} edges, slowest {slowest:.0?}, peak {} MiB",
            started.elapsed().as_secs_f64(),
            kept.len(),
            counters::edges(),
            peak_bytes() >> 20,
        );
    }
}

/// In memory where the system has such a folder: it is written before each execution.
fn place(name: &str, what: &str) -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    let folder = if memory.is_dir() { memory } else { env::temp_dir() };
    folder.join(format!("hotplate-fuzz-{name}-{}-{what}", std::process::id()))
}

/// The most memory that the process had so far; 0 where the system does not say.
fn peak_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_fault_is_found_and_its_input_kept() {
        // A byte that the seed lacks, next to one that it has.
        let seen = Cell::new(0);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            fuzz("own-test", &[b"ab"], &["c"], |bytes| {
                seen.set(seen.get() + 1);
                assert!(!bytes.windows(2).any(|pair| pair == b"bc"), "found");
            });
        }));
        assert!(outcome.is_err() && seen.get() < EXECUTIONS, "{}", seen.get());
        let kept = fs::read_dir(place("own-test", "x").parent().unwrap()).unwrap().flatten();
        let prefix = format!("hotplate-fuzz-own-test-{}-fault", std::process::id());
        let kept: Vec<_> =
            kept.filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix)).collect();
        assert_eq!(kept.len(), 1);
        assert!(fs::read(kept[0].path()).unwrap().windows(2).any(|pair| pair == b"bc"));
        fs::remove_file(kept[0].path()).unwrap();
    }

    #[test]
    fn the_same_numbers_give_the_same_inputs() {
        let inputs = || {
            let all = std::cell::RefCell::new(Vec::new());
            fuzz("own-order", &[b"{\"a\": 1}", b"[]"], &["null"], |bytes| {
                all.borrow_mut().push(bytes.to_vec());
            });
            all.into_inner()
        };
        let (one, other) = (inputs(), inputs());
        assert_eq!(one, other);
        assert_eq!(one[..2], [b"{\"a\": 1}".to_vec(), b"[]".to_vec()]);
        let different: std::collections::HashSet<_> = one.iter().collect();
        assert!(different.len() > 1000, "{}", different.len());
    }
}
