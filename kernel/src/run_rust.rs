//! What a running Rust cell gets of this kernel: the screen, the commands, and whoever can be asked.

use crossbeam_channel::Receiver;
use hotplate_client::Shown as CommandShown;
use hotplate_client::command::{self, Command, GrammarError};
use hotplate_client::protocol::methods::check::ListedExample;
use jupyter_protocol::{ClearOutput, DisplayData, ExecuteResult, Payload, Transient, UpdateDisplayData};

use crate::run_cell::{CellError, Runner};
use crate::rust::{Call, CallError, Host, Shown, Stream, Value};
use crate::show::media;
use crate::stdin::Answer;
use crate::task;

const NO_INPUT: &str = "this front end cannot ask for input; run the cell where somebody can answer, or put the text into the cell";

pub(crate) struct RustHost<'a, 'b> {
    runner: &'a mut Runner<'b>,
    /// Of the code in its cell.
    line: usize,
}

impl<'a, 'b> RustHost<'a, 'b> {
    pub(crate) fn new(runner: &'a mut Runner<'b>, line: usize) -> RustHost<'a, 'b> {
        RustHost { runner, line }
    }

    /// A cell's value has its number.
    pub(crate) fn show_value(&self, value: &Value) {
        // The value of what has none, such as a statement without its semicolon.
        let is_nothing = value.values().all(|form| form == "()");
        let Some(execution_count) = self.runner.count.filter(|_| !is_nothing) else { return };
        let forms = value.iter().map(|(mime, data)| (mime.as_str(), data.as_bytes()));
        let data = media(forms);
        // Left out, it would be null, and the message specification wants an object.
        let transient = Some(Transient { display_id: None });
        self.runner.screen.publish(ExecuteResult {
            execution_count,
            data,
            transient,
            ..ExecuteResult::default()
        });
    }

    /// The texts that the model wrote. Nothing is shown.
    fn generate(&mut self, prompt: &str) -> Result<Vec<String>, CellError> {
        let mut texts = Vec::new();
        let mut command = command::parse_words(&generate_words(prompt)).map_err(|error| usage(&error))?;
        self.runner.chosen.fill_in(&mut command);
        self.runner.run_quietly(&command, &mut |shown| match shown {
            CommandShown::Generated(result) | CommandShown::Variant { result, .. } => texts.push(result.text),
            _ => {}
        })?;
        Ok(texts)
    }

    /// Five fields for each example.
    fn examples(&mut self, folder: &str) -> Result<Vec<String>, CellError> {
        let words = ["check", "--examples", "--", folder].map(str::to_owned);
        let command: Command = command::parse_words(&words).map_err(|error| usage(&error))?;
        let mut fields = Vec::new();
        self.runner.run_quietly(&command, &mut |shown| {
            if let CommandShown::Checked(result) = shown {
                for ListedExample { file, lines, tokens, state, .. } in result.listed {
                    let file = result.folder.join(file).to_string_lossy().into_owned();
                    let state =
                        serde_json::to_value(state).ok().and_then(|state| Some(state.as_str()?.to_owned()));
                    let state = state.unwrap_or_default();
                    fields.extend([
                        file,
                        lines.0.to_string(),
                        lines.1.to_string(),
                        tokens.to_string(),
                        state,
                    ]);
                }
            }
        })?;
        Ok(fields)
    }
}

impl Host for RustHost<'_, '_> {
    fn text(&mut self, stream: Stream, text: &str) {
        match stream {
            Stream::Stdout => self.runner.screen.stdout(text),
            Stream::Stderr => self.runner.screen.stderr(text),
        }
    }

    fn show(&mut self, shown: Shown) {
        let screen = self.runner.screen;
        match shown {
            Shown::Display { id, mime, data } => {
                let mut display = DisplayData::new(media([(mime.as_str(), data.as_slice())]));
                display.transient = Some(Transient { display_id: Some(id) });
                screen.publish(display);
            }
            Shown::Update { id, mime, data } => {
                screen.publish(UpdateDisplayData::new(media([(mime.as_str(), data.as_slice())]), &id));
            }
            Shown::Clear { wait } => screen.publish(ClearOutput { wait }),
            Shown::Page { text } => {
                let data = media([("text/plain", text.as_bytes())]);
                self.runner.payload.push(Payload::Page { data, start: 0 });
            }
        }
    }

    fn call(&mut self, call: Call) -> Result<Vec<String>, CallError> {
        let outcome = match call {
            Call::Run { command } => {
                let task = task::of_line(without_sign(&command));
                self.runner.run_task(task, self.line).map(|()| Vec::new())
            }
            Call::Generate { prompt } => self.generate(&prompt),
            Call::Examples { folder } => self.examples(&folder),
            Call::Input { prompt, password } => {
                let Some(stdin) = &self.runner.stdin else {
                    return Err(CallError { name: "NoInput".to_owned(), message: NO_INPUT.to_owned() });
                };
                match stdin.ask_for(&prompt, password) {
                    Answer::Text(line) => Ok(vec![line]),
                    Answer::Interrupted => {
                        Err(CellError::new("Interrupted", "interrupted while waiting for input"))
                    }
                }
            }
        };
        outcome.map_err(|CellError { name, message, .. }| CallError { name, message })
    }

    fn interrupts(&self) -> Receiver<()> {
        self.runner.turn.interrupts.clone()
    }
}

/// Options end at `--`; without it, all is the prompt, whatever it begins with.
fn generate_words(prompt: &str) -> Vec<String> {
    let (options, prompt) = match prompt.split_once(" -- ") {
        Some((options, prompt)) if prompt_options(options).is_some() => {
            (prompt_options(options).unwrap_or_default(), prompt)
        }
        _ => (Vec::new(), prompt),
    };
    [vec!["generate".to_owned()], options, vec!["--".to_owned(), prompt.to_owned()]].concat()
}

fn prompt_options(text: &str) -> Option<Vec<String>> {
    shlex::split(text).filter(|words| words.first().is_some_and(|word| word.starts_with('-')))
}

/// `%train x` is as good as `train x`.
fn without_sign(command: &str) -> &str {
    command.trim_start().trim_start_matches('%')
}

fn usage(error: &GrammarError) -> CellError {
    CellError::new("Usage", &error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_is_a_prompt() {
        let check =
            |prompt: &str, expected: &[&str]| assert_eq!(generate_words(prompt), expected, "{prompt}");
        check("Bread -- and butter", &["generate", "--", "Bread -- and butter"]);
        check("-a notes", &["generate", "--", "-a notes"]);
        check(
            "-a notes --seed 1 -- 面包 -- \"x",
            &["generate", "-a", "notes", "--seed", "1", "--", "面包 -- \"x"],
        );
    }
}
