//! From words to a [`Command`], for front ends other than the shell.

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use super::Command;
use super::elsewhere::lead_on;

#[derive(Parser)]
#[command(name = "hotplate", version, about = "Keeps base models warm and adapters fresh")]
#[command(disable_help_subcommand = false, subcommand_required = true)]
struct Line<Action: Subcommand> {
    #[command(subcommand)]
    action: Action,
}

/// Why a line is no command; or that it asked for help, which ends it just as well.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrammarError {
    /// To be shown as it is; not a mistake.
    #[error("{text}")]
    Help { text: String },
    /// To be shown as it is; not a mistake.
    #[error("{text}")]
    Version { text: String },
    /// The first line says what is wrong.
    #[error("{text}")]
    Usage { text: String },
    #[error("a quotation mark is opened and not closed; write \\\" or \\' for one that is part of the text")]
    OpenQuote,
}

/// Words as a shell would hand them over, the command's name first.
pub fn parse_words(words: &[String]) -> Result<Command, GrammarError> {
    parse_words_as(words)
}

/// A line as a person types it, with quotes as in a shell.
pub fn parse_line(line: &str) -> Result<Command, GrammarError> {
    parse_line_as(line)
}

/// [`parse_words`] for a front end with commands of its own beside these.
pub fn parse_words_as<Action: Subcommand>(words: &[String]) -> Result<Action, GrammarError> {
    let words = std::iter::once("hotplate").chain(words.iter().map(String::as_str));
    let matches = grammar_of::<Action>().try_get_matches_from(words).map_err(|error| explain(&error))?;
    Line::from_arg_matches(&matches).map(|line| line.action).map_err(|error| explain(&error))
}

/// [`parse_line`] for a front end with commands of its own beside these.
pub fn parse_line_as<Action: Subcommand>(line: &str) -> Result<Action, GrammarError> {
    parse_words_as(&shlex::split(line).ok_or(GrammarError::OpenQuote)?)
}

#[cfg(test)]
pub(super) fn grammar() -> clap::Command {
    grammar_of::<Command>()
}

pub(super) fn grammar_of<Action: Subcommand>() -> clap::Command {
    Line::<Action>::command().term_width(100)
}

fn explain(error: &clap::Error) -> GrammarError {
    let text = error.render().to_string().trim_end().to_owned();
    match error.kind() {
        ErrorKind::DisplayHelp => GrammarError::Help { text },
        ErrorKind::DisplayVersion => GrammarError::Version { text },
        ErrorKind::InvalidSubcommand if lead_on(error).is_some() => {
            GrammarError::Usage { text: lead_on(error).unwrap_or_default() }
        }
        _ => GrammarError::Usage { text: text.strip_prefix("error: ").unwrap_or(&text).to_owned() },
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn usage(line: &str, expected: &Expect) {
        match parse_line(line) {
            Err(GrammarError::Usage { text }) => expected.assert_eq(&text),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn the_grammar_is_sound() {
        grammar().debug_assert();
    }

    #[test]
    fn options_reach_their_fields() {
        let Command::Train(train) =
            parse_line("train 'my notes/' -a voice --base /b --epochs 3 --lr 1e-4 --dry-run --json").unwrap()
        else {
            panic!("not train")
        };
        assert_eq!(train.folder.to_str(), Some("my notes/"));
        assert_eq!(train.adapter.as_deref(), Some("voice"));
        assert_eq!(train.base.base.as_deref(), Some("/b"));
        assert_eq!(train.knobs.to_knobs().epochs, Some(3));
        assert_eq!(train.knobs.to_knobs().learning_rate, Some(1e-4));
        assert!(train.dry_run && train.output.json && !train.detach);

        let Command::Generate(generate) = parse_line(
            "generate -a notes --temperature 0 --top-p 1 --top-k 5 --seed 7 --max-tokens 9 --stop a --stop b \
             --ignore-eos --repetition-penalty 1.1 --raw A rainy day",
        )
        .unwrap() else {
            panic!("not generate")
        };
        assert_eq!(generate.prompt_text(), "A rainy day");
        assert!(generate.raw && !generate.wants_stdin());
        let sampling = generate.sampling.to_sampling();
        assert_eq!(sampling.stop, ["a", "b"]);
        assert!(sampling.ignore_eos);
        assert_eq!((sampling.temperature, sampling.top_k, sampling.seed), (Some(0.0), Some(5), Some(7)));
    }

    #[test]
    fn a_prompt_may_be_a_dash_or_begin_with_one() {
        let prompt = |line: &str| match parse_line(line) {
            Ok(Command::Generate(generate)) => (generate.prompt_text(), generate.wants_stdin()),
            other => panic!("{other:?}"),
        };
        assert_eq!(prompt("generate -"), ("-".to_owned(), true));
        assert_eq!(prompt("generate -a x -- '- one\n- two'"), ("- one\n- two".to_owned(), false));
    }

    #[test]
    fn mistakes_are_named() {
        usage(
            "train notes --epoch 3",
            &expect![[r"
            unexpected argument '--epoch' found

              tip: a similar argument exists: '--epochs'

            Usage: hotplate train --epochs <N> <FOLDER>

            For more information, try '--help'."]],
        );
        usage(
            "trian notes",
            &expect![[r"
            unrecognized subcommand 'trian'

              tip: a similar subcommand exists: 'train'

            Usage: hotplate <COMMAND>

            For more information, try '--help'."]],
        );
        usage(
            "generate --top-p 2 hello",
            &expect![[r"
            invalid value '2' for '--top-p <P>': must be above 0 and at most 1

            For more information, try '--help'."]],
        );
        usage(
            "train",
            &expect![[r"
            the following required arguments were not provided:
              <FOLDER>

            Usage: hotplate train <FOLDER>

            For more information, try '--help'."]],
        );
        assert_eq!(parse_line("generate don't"), Err(GrammarError::OpenQuote));
    }

    #[test]
    fn every_command_has_json_help_and_an_example() {
        for command in grammar().get_subcommands().filter(|command| command.get_name() != "help") {
            let name = command.get_name();
            let Err(GrammarError::Help { text }) = parse_line(&format!("{name} --help")) else {
                panic!("{name} has no help")
            };
            assert!(text.contains("--json"), "{name}");
            let example = text.lines().last().unwrap_or_default();
            assert!(example.starts_with(&format!("  hotplate {name}")), "{name} ends in {example:?}");
            let words = shlex::split(example.split(" < ").next().unwrap()).unwrap();
            parse_words(&words[1..]).unwrap_or_else(|error| panic!("{example}: {error}"));
        }
    }

    #[test]
    fn the_tour() {
        let Err(GrammarError::Help { text }) = parse_line("--help") else { panic!("no help") };
        expect![[r"
            Keeps base models warm and adapters fresh

            Usage: hotplate <COMMAND>

            Commands:
              check     Look at a folder of texts and say what is wrong with it, without training
              train     Teach a base model to write like the texts in a folder
              generate  Let the model write, with an adapter or without
              compare   Let the base model and an adapter answer the same, side by side
              score     Say how likely the model finds your texts, with an adapter or without
              watch     Learn from a folder again whenever a file in it is saved
              unwatch   Stop learning from a folder by itself; its adapter stays
              attach    Show a run again, from its beginning: the whole curve, then what happens
              finish    End a run early and keep the best it has reached so far
              cancel    End a run early; it makes no version, and the version before stays in use
              adapters  List the adapters and their versions
              rollback  Let an older version of an adapter answer again
              rename    Give an adapter another name
              delete    Delete a version of an adapter, or all of it
              prune     Delete the versions that nobody needs any more
              export    Write an adapter for other programs
              import    Take an adapter from elsewhere into the store
              verify    See whether an adapter still answers as it did when it was trained
              models    List the base models that the daemon knows
              pull      Fetch a base model from the Hugging Face hub
              status    Show what the daemon is doing: base models in memory, runs, watched folders
              logs      Show the end of the daemon's log
              stop      End the daemon; a run in progress goes on at its next start
              help      Print this message or the help of the given subcommand(s)

            Options:
              -h, --help     Print help
              -V, --version  Print version"]]
        .assert_eq(&text);
    }

    #[test]
    fn help_of_train() {
        let Err(GrammarError::Help { text }) = parse_line("train --help") else { panic!("no help") };
        // clap leaves spaces at the ends of empty lines.
        let text = text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
        expect![[r#"
            Teach a base model to write like the texts in a folder

            Makes an adapter: a small set of weights beside the base model, which stays as it is. Part of the
            examples is held out to judge by, and the best state is kept, not the last. The run belongs to the
            daemon: --detach leaves it to itself; Ctrl-C asks whether to end it early with the best so far, to
            cancel it (it then makes no version) or to go on.

            Usage: hotplate train [OPTIONS] <FOLDER>

            Arguments:
              <FOLDER>
                      The folder with your texts

            Options:
              -a, --adapter <NAME>
                      Name of the adapter to make [default: the folder's name]

                  --base <BASE>
                      Base model: hotplate-tiny, a Hugging Face folder, a GGUF file, or ORG/NAME that was pulled
                      [default: the adapter's, else that of hotplate use]

                  --dry-run
                      Show the plan (examples, tokens, steps, seconds, memory) and stop there

                  --detach
                      Come back as soon as the run is queued; it goes on in the daemon

                  --json
                      Print one JSON object per line and nothing else

              -q, --quiet
                      Print the result and nothing beside it: no plan, no progress, no remarks

              -h, --help
                      Print help (see a summary with '-h')

            Knobs (what you leave out comes from hotplate.toml in the folder, else from the size of your data):
                  --method <WORD>
                      What is trained: an adapter beside the base model, or, for small bases, a copy of all its
                      weights [default: "lora"]

                      [possible values: lora, full]

                  --quantize <WORD>
                      Keep the base model's weights in 8 or 4 bits, while it trains and while the adapter
                      answers: less memory, a little less exact [default: the adapter's, else "none"]

                      [possible values: q8, q4, none]

                  --columns <FIELD=NAME>
                      What your columns (or fields of records) are: prompt, completion, text, messages,
                      conversations, instruction, input, output, system, history, tools or title. Case and
                      blanks do not count; may be given several times [default: told by the columns' own names]

                  --train-on <WORD>
                      Which part of an example carries loss: the completions (every turn of the assistant), the
                      last of them alone, or everything: all turns, the system text and the template included
                      ("all" is the same) [default: "completions"]

                      [possible values: completions, last, all, everything]

                  --style <WORD>
                      How plain texts are learnt: as they are; for chat bases, as the answer to an instruction
                      made from their title or file name; or as both [default: "answers" for a base that chats,
                      else "plain"]

                      [possible values: plain, answers, instruct]

                  --max-tokens <N>
                      Longer examples are cut to so many tokens, with a finding [default: 4096, or the base's
                      context if that is shorter]

                  --epochs <N>
                      Times through the data at most; a run stops earlier when it gets no better [default:
                      chosen from the size of your data]

                  --max-steps <N>
                      Optimiser steps at most [default: as many as the epochs have]

                  --minutes <X>
                      Minutes that a run may take: it ends in order by then, with the best it has reached
                      [default: no limit]

                  --learning-rate <X>
                      The learning rate at its highest: how far each step goes [default: chosen from the base's
                      width]

                      [alias: --lr]

                  --schedule <WORD>
                      How the learning rate falls after the warm-up: in a straight line, as a cosine, or not at
                      all [default: "linear"]

                      [possible values: linear, cosine, constant]

                  --warmup-steps <N>
                      Steps over which the learning rate rises from 0; never more than half of all [default:
                      chosen from the size of your data]

                  --weight-decay <X>
                      How strongly weights are drawn towards 0 (AdamW) [default: 0.01]

                  --clip <X>
                      Gradient clipping: the largest norm that all gradients together may have; a larger one is
                      scaled down. 0: no limit [default: 1]

                  --dropout <X>
                      The share of the adapter's inputs that is left out at random in each step [default: 0.05
                      for fewer than 300 examples, else 0]

                  --rank <N>
                      The rank of the adapter's matrices: how much it can hold [default: 16]

                  --alpha <X>
                      The adapter's strength: it is scaled by alpha / rank [default: 16]

                  --rslora[=<BOOL>]
                      Scale by alpha / √rank instead (rank-stabilised LoRA) [default: false]

                      [possible values: true, false]

                  --targets <NAMES>
                      The layers that get a pair of factors: "all-linear", a list of names, or one regular
                      expression for a module's whole name [default: "all-linear"]

                  --rank-pattern <NAME=N>
                      Other ranks for modules whose name ends in, or matches, a pattern; may be given several
                      times [default: none]

                  --alpha-pattern <NAME=X>
                      Other alphas for modules whose name ends in, or matches, a pattern; may be given several
                      times [default: none]

                  --lora-plus <X>
                      How many times faster the factors B learn than the factors A (LoRA+) [default: 1 (off)]

                  --batch <N>
                      Micro-batch: examples that go into one gradient [default: chosen from the size of your
                      data]

                  --accumulate <N>
                      Gradient accumulation: batches whose gradients are added up before each step [default: 1]

                  --seed <N>
                      The same seed and data give the same adapter [default: 0]

                  --recompute <WORD>
                      Gradient checkpointing: whether activations are computed again on the way back instead of
                      being kept; less memory, a third more time [default: "auto"]

                      [possible values: auto, always, never]

                  --patience <N>
                      Early stopping: evaluations without gain after which a run stops [default: 2]

                  --evaluations <N>
                      Looks at the held-out examples per epoch, but not more often than every fourth step
                      [default: 4]

                  --prompts <TEXT>
                      Answered by the base and by the adapter at each evaluation, shown beside each other; may
                      be given several times [default: none]

                  --replay <X>
                      When a save is learnt: the share of the tokens that comes from examples learnt before, the
                      least learnt first [default: a third]

                  --rehearsal <X>
                      How many of the base's own answers to everyday prompts are learnt with each example, so
                      that it keeps what else it can. 0: none [default: chosen from the size of your data]

                  --margin <X>
                      When a save is learnt: how much worse the loss on held-out examples may become, as a part
                      of it (of 1 where it is less), before the old version stays [default: 0.02]

                  --nice <N>
                      How far training stands back for your other programs: 0 not at all, 19 as far as the
                      system knows [default: 2]

            Examples:
              # Learn from notes/; the adapter is called notes
              hotplate train notes/
              # First see how long it will take
              hotplate train notes/ --dry-run
              # Another name, three times through the data
              hotplate train notes/ -a my-voice --epochs 3"#]]
        .assert_eq(&text);
    }
}
