//! Feeding on the file threads: a folder read as training reads it, the examples nearest to a prompt, and the tokens of both together.
//!
//! It must not know sessions or tensors.

use std::path::Path;

use hotplate_dataset::{Dataset, Example, ExampleId, Limits, Nearest, answers_itself};
use hotplate_engine::base_spec::BaseSpec;
use hotplate_engine::feed::{Fed, PassedOver, Room};
use hotplate_protocol::feed::{self, FedExample, FedPlace, FeedEnd};
use hotplate_protocol::{ErrorCode, RpcError};

use super::rpc_errors;
use super::runs::overrides::columns_in;
use super::runs::place::real_folder;

/// Where nobody says how many: what few-shot prompts gain is gained by then, and each token before a prompt is read anew for
/// every answer.
const EXAMPLES: usize = 8;
const TOKENS: usize = 2048;

/// A folder that has something to feed.
fn read_examples(folder: &Path) -> Result<Dataset, RpcError> {
    let folder = real_folder(folder)?;
    let columns = columns_in(&folder);
    let limits = Limits { columns: &columns, ..Limits::default() };
    let dataset = hotplate_dataset::read(&folder, &limits).map_err(|error| rpc_errors::of_dataset(&error))?;
    if dataset.examples.is_empty() { Err(no_examples(&folder, &dataset)) } else { Ok(dataset) }
}

pub(crate) fn no_examples(path: &Path, dataset: &Dataset) -> RpcError {
    let why = dataset.findings.iter().find(|finding| finding.code.skips()).map_or_else(
        || "it is empty".to_owned(),
        |first| format!("{}:{}: {}", first.file.display(), first.lines.0, first.message),
    );
    let message = format!("{} holds no examples ({why}); hotplate check says more", path.display());
    RpcError::new(ErrorCode::UnusableDataset, message)
}

/// Room for examples, where a prompt and its answer take so many tokens of the base's context.
pub(crate) fn room(text: &BaseSpec, taken: usize, examples: Option<usize>) -> Room {
    let left = text.config.context.saturating_sub(taken);
    match examples {
        Some(examples) => Room { tokens: left, examples },
        None => Room { tokens: left.min(TOKENS), examples: EXAMPLES },
    }
}

/// The examples that may stand before `prompt`, the nearest first, and the one that is its own answer. `judge` is none of them.
pub(crate) fn ranked<'a>(
    nearest: &Nearest,
    examples: &'a [Example],
    prompt: &str,
    judge: Option<ExampleId>,
) -> (Vec<&'a Example>, Option<&'a Example>) {
    let helps = |example: &&Example| Some(example.id) != judge;
    let itself = answers_itself(examples.iter().filter(helps), prompt);
    let order = nearest.to(prompt).into_iter().map(|at| &examples[at]).filter(helps);
    (order.filter(|example| itself.is_none_or(|itself| itself.id != example.id)).collect(), itself)
}

/// The examples before a prompt.
#[derive(Debug, Clone)]
pub(crate) struct FedExamples {
    pub(crate) told: feed::Fed,
    /// What each of them answers, in the same order.
    pub(crate) answers: Vec<Vec<u32>>,
}

/// A prompt behind the examples of a folder.
pub(crate) fn feed_prompt(
    text: &BaseSpec,
    wanted: &feed::Feed,
    prompt: &str,
    raw: bool,
    answer_tokens: usize,
) -> Result<(Vec<u32>, FedExamples), RpcError> {
    let dataset = read_examples(&wanted.folder)?;
    let prompt_tokens = text.prompt(prompt, raw).map_err(|error| rpc_errors::of_base(&error))?.len();
    let room = room(text, prompt_tokens.saturating_add(answer_tokens), wanted.examples);
    let (candidates, itself) = ranked(&Nearest::among(&dataset.examples), &dataset.examples, prompt, None);
    let (tokens, fed) =
        text.feed_prompt(prompt, raw, &candidates, room).map_err(|error| rpc_errors::of_base(&error))?;
    if fed.examples.is_empty() {
        return Err(nothing_fed(text, &dataset, &fed, room, prompt_tokens, answer_tokens));
    }
    let answers = fed.examples.iter().map(|one| text.answer_tokens(candidates[one.rank]));
    let answers = answers.collect::<Result<_, _>>().map_err(|error| rpc_errors::of_base(&error))?;
    Ok((tokens, FedExamples { told: told(&dataset, &candidates, &fed, room, itself.map(place)), answers }))
}

fn place(example: &Example) -> FedPlace {
    FedPlace {
        // A name that is no UTF-8 could not cross the wire.
        file: example.file.to_string_lossy().into_owned().into(),
        line: example.lines.0,
        last_line: example.lines.1,
    }
}

fn told(
    dataset: &Dataset,
    candidates: &[&Example],
    fed: &Fed,
    room: Room,
    itself: Option<FedPlace>,
) -> feed::Fed {
    let examples: Vec<FedExample> = fed
        .examples
        .iter()
        .map(|one| FedExample { place: place(candidates[one.rank]), tokens: one.tokens })
        .collect();
    let count = |which: fn(&PassedOver) -> bool| fed.passed_over.iter().filter(|why| which(why)).count();
    let no_room = count(|why| matches!(why, PassedOver::NoRoom { .. }));
    feed::Fed {
        folder: dataset.folder.clone(),
        tokens: examples.iter().map(|one| one.tokens).sum(),
        room: room.tokens,
        of: dataset.examples.len(),
        ended: if examples.len() == room.examples && candidates.len() > examples.len() {
            FeedEnd::Wanted
        } else if no_room > 0 {
            FeedEnd::Room
        } else {
            FeedEnd::Everything
        },
        examples,
        no_room,
        other_system: count(|why| matches!(why, PassedOver::OtherSystem)),
        refused: count(|why| matches!(why, PassedOver::Refused)),
        itself,
    }
}

/// Somebody asked for examples before the prompt, and there is none: an answer without them would look as if there were.
fn nothing_fed(
    text: &BaseSpec,
    dataset: &Dataset,
    fed: &Fed,
    room: Room,
    prompt_tokens: usize,
    answer_tokens: usize,
) -> RpcError {
    let folder = dataset.folder.display();
    let shortest = fed
        .passed_over
        .iter()
        .filter_map(|why| match why {
            PassedOver::NoRoom { tokens } => Some(*tokens),
            PassedOver::OtherSystem | PassedOver::Refused => None,
        })
        .min();
    let message = match shortest {
        Some(shortest) => format!(
            "no example of {folder} fits: {} reads {} tokens; the prompt has {prompt_tokens}, the answer may have {answer_tokens}, which leaves {}, and the \
             shortest example near the prompt has {shortest}. Ask for a shorter answer (--max-tokens), or take a base that reads more",
            text.name, text.config.context, room.tokens
        ),
        None if fed.passed_over.is_empty() => {
            format!("the only example of {folder} answers this very prompt; there is nothing else to feed")
        }
        None => format!(
            "no example of {folder} can stand before a prompt: the chat template of {} does not take their turns there; hotplate check shows the \
             examples",
            text.name
        ),
    };
    RpcError::new(ErrorCode::UnusableDataset, message)
}
