//! evcxr, and what its results mean for a cell.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use evcxr::{CommandContext, Error, EvalCallbacks, EvalContext};

use crate::output::{Output, Panic};
use crate::progress::{Cost, Progress};
use crate::said::{Completion, Completions, Docs, Failure, ProcessEnd, StartProblem, Value};
use crate::serve::{Answers, Kernel};
use crate::{CELL, compile_error, helper_crate, toolchain};

/// What evcxr reports where a type is not known.
const UNKNOWN_TYPE: &str = "Couldn't automatically determine type of variable";
/// Of a panic's place.
const LONGEST_LINE: usize = 100;
const NO_DOCS: &str = "No documentation found";

pub(crate) struct Cells {
    context: CommandContext,
    helper: PathBuf,
    output: Output,
    progress: Progress,
    /// The remedy for types that are not known is said once.
    told_of_sources: bool,
}

impl Cells {
    /// Takes seconds: evcxr compiles something to see whether that works.
    pub(crate) fn start(folder: &Path, kernel: Kernel) -> Result<Cells, StartProblem> {
        toolchain::check()?;
        toolchain::link_sources(folder).map_err(|error| StartProblem::Other(error.to_string()))?;
        let helper = helper_crate::write(folder).map_err(|error| StartProblem::Other(error.to_string()))?;
        let program = std::env::current_exe().map_err(|error| StartProblem::Other(error.to_string()))?;
        let mut between = std::process::Command::new(program);
        between.arg(CELL);
        let (context, outputs) = EvalContext::with_subprocess_command(between)
            .map_err(|error| toolchain::explain(&error.to_string()))?;
        let mut context = CommandContext::with_eval_context(context);
        // Cells never wait for a network, unless somebody says `:offline 0`.
        context
            .execute(&format!(":offline 1\n{}", dependency(&helper)))
            .map_err(|error| StartProblem::Other(error.to_string()))?;
        let progress = Progress::new(context.process_handle());
        let output = Output::new(outputs, kernel, progress.clone());
        std::thread::spawn({
            let output = output.clone();
            move || output.pass_on_as_it_comes()
        });
        Ok(Cells { context, helper, output, progress, told_of_sources: false })
    }

    pub(crate) fn progress(&self) -> Progress {
        self.progress.clone()
    }

    pub(crate) fn run(&mut self, code: &str, first_line: usize, answers: &Answers) -> Result<Value, Failure> {
        let before: BTreeSet<String> =
            self.context.variables_and_types().map(|(name, _)| name.to_owned()).collect();
        self.output.forget();
        self.progress.compiling();
        let prepared = Prepared::new(code, &self.helper);
        let output = &self.output;
        let mut callbacks = EvalCallbacks {
            input_reader: &|request| output.ask(&request.prompt, request.is_password, answers),
        };
        let outcome = self.context.execute_with_callbacks(&prepared.code, &mut callbacks);
        self.output.pass_on();
        let cost = self.progress.over();
        let seen = self.output.forget();
        let lost = || before.into_iter().collect();
        match cost {
            Cost::NotInterrupted => {}
            Cost::Nothing => return Err(Failure::Interrupted { lost: Vec::new() }),
            Cost::Variables => {
                if outcome.is_ok() {
                    // It ended as it was killed; evcxr would find out with the next cell.
                    let _ = self.context.execute(":restart");
                }
                return Err(Failure::Interrupted { lost: lost() });
            }
        }
        match outcome {
            Ok(_) if seen.panicked => Err(self.panicked(seen.panic, code, first_line)),
            Ok(outputs) if seen.returned.is_none() => Ok(outputs.content_by_mime_type.into_iter().collect()),
            Ok(_) => Err(Failure::Returned { message: seen.returned.unwrap_or_default() }),
            Err(Error::CompilationErrors(errors)) => Err(Failure::Compile {
                message: errors.first().map(evcxr::CompilationError::message).unwrap_or_default(),
                report: compile_error::report(&errors, code, first_line, |line| prepared.original_line(line)),
            }),
            Err(Error::SubprocessTerminated(_)) => {
                Err(Failure::Died { end: seen.end.unwrap_or(ProcessEnd::Unknown), lost: lost() })
            }
            Err(Error::Message(message)) if message.contains(UNKNOWN_TYPE) => {
                let told = std::mem::replace(&mut self.told_of_sources, true);
                Err(Failure::UnknownType { message, no_sources: !told && !toolchain::has_sources() })
            }
            Err(error @ (Error::Message(_) | Error::TypeRedefinedVariablesLost(_))) => {
                Err(Failure::Other(error.to_string()))
            }
        }
    }

    /// The panic's place is in the code that evcxr has made around the cell's: its text is looked for in the cell.
    fn panicked(&self, panic: Option<Panic>, code: &str, first_line: usize) -> Failure {
        let Some(Panic { message, file, line }) = panic else {
            return Failure::Panicked { message: "the code panicked".to_owned(), place: None };
        };
        let source = self.context.last_source().unwrap_or_default();
        let text = source.lines().nth(line.saturating_sub(1)).map(str::trim).filter(|text| !text.is_empty());
        let text = text.map(|text| text.chars().take(LONGEST_LINE).collect::<String>());
        let place = match text {
            Some(text) if file.ends_with("src/lib.rs") => {
                let mut found = code.lines().enumerate().filter(|(_, line)| line.contains(&text));
                Some(match (found.next(), found.next()) {
                    (Some((index, _)), None) => format!("line {} of the cell: {text}", index + first_line),
                    _ => text,
                })
            }
            _ if !file.is_empty() => Some(format!("{file}, line {line}")),
            _ => None,
        };
        Failure::Panicked { message, place }
    }

    pub(crate) fn complete(&mut self, code: &str, position: usize) -> Completions {
        if !code.is_char_boundary(position) {
            return Completions::default();
        }
        let found = self.context.completions(code, position);
        self.output.pass_on();
        let Ok(found) = found else { return Completions::default() };
        let mut matches: Vec<Completion> = Vec::new();
        for completion in found.completions {
            if matches.iter().all(|earlier| earlier.text != completion.code) {
                matches.push(Completion { text: completion.code, kind: completion.kind.to_owned() });
            }
        }
        Completions { start: found.start_offset, end: found.end_offset, matches }
    }

    pub(crate) fn inspect(&mut self, code: &str, position: usize) -> Option<Docs> {
        let rest = code.get(position..)?;
        let is_of_name = |character: char| character.is_alphanumeric() || character == '_';
        let end = position + rest.find(|character| !is_of_name(character)).unwrap_or(rest.len());
        let (text, html) = self.context.hover_at(code, end).ok()?;
        (text != NO_DOCS).then_some(Docs { text, html })
    }
}

/// A cell's code as evcxr gets it, with lines of ours.
struct Prepared {
    code: String,
    /// Ours, by their numbers from 1.
    ours: Vec<usize>,
}

impl Prepared {
    /// The crate is named each time: `:clear` forgets it. evcxr's own lines must stand before the first line of Rust, and so
    /// before the one that begins the cell. What is borrowed there lives to the end of the cell, and is no variable.
    fn new(code: &str, helper: &Path) -> Prepared {
        let before: usize = code
            .split_inclusive('\n')
            .take_while(|line| {
                let trimmed = line.trim();
                trimmed.is_empty() || trimmed.starts_with("//") || is_evcxrs(line)
            })
            .map(str::len)
            .sum();
        let (before, rust) = code.split_at(before);
        let mut ours = vec![1];
        let mut all = format!("{}\n{before}", dependency(helper));
        // Attributes of the whole must be its first lines, too.
        if !rust.is_empty() && !rust.trim_start().starts_with("#!") {
            if !all.ends_with('\n') {
                all.push('\n');
            }
            ours.push(all.lines().count() + 1);
            all.push_str("let _ = &::hotplate::begin_cell();\n");
        }
        Prepared { code: all + rust, ours }
    }

    /// The line's number in the code as it was written; `None` for ours.
    fn original_line(&self, line: usize) -> Option<usize> {
        let before = self.ours.iter().filter(|ours| **ours < line).count();
        (!self.ours.contains(&line)).then_some(line - before)
    }
}

fn dependency(helper: &Path) -> String {
    format!(":dep hotplate = {{ path = {:?} }}", helper.display().to_string())
}

/// As evcxr tells its own lines.
fn is_evcxrs(line: &str) -> bool {
    line.starts_with('!') || (line.trim_start().starts_with(':') && !line.trim_start().starts_with("::"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_lines_are_not_counted() {
        let check = |code: &str, ours: &[usize]| {
            let prepared = Prepared::new(code, Path::new("/a"));
            assert_eq!(prepared.ours, ours, "{}", prepared.code);
            let kept: Vec<(usize, &str)> = prepared
                .code
                .lines()
                .enumerate()
                .filter_map(|(index, line)| Some((prepared.original_line(index + 1)?, line)))
                .collect();
            let expected: Vec<(usize, &str)> =
                code.lines().enumerate().map(|(index, line)| (index + 1, line)).collect();
            assert_eq!(kept, expected);
        };
        check("let x = 1;\nx", &[1, 2]);
        check(":dep a = \"1\"\n\n// text\n!ls\nlet x = 1;", &[1, 6]);
        check(":vars", &[1]);
        check("#![allow(dead_code)]\n1", &[1]);
        check("::std::mem::drop(1)", &[1, 2]);
    }
}
