//! Held-out examples as answers to their own prompts, alone or behind others: what feeding and training are compared by.
//!
//! Owns which examples may judge. It must not know sessions or tensors.
//!
//! The loss is that of the same answer tokens each time, encoded by training's own encoder (`Chat::context`). What an adapter has learnt does not judge it.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use hotplate_dataset::{Example, ExampleId, Nearest, Side, split};
use hotplate_engine::base_spec::{BaseSpec, Sample};
use hotplate_engine::encode_example::EncodeOptions;
use hotplate_engine::feed::Room;
use hotplate_protocol::knobs::Knobs;
use hotplate_protocol::methods::score::{HeldOut, HeldOutScored, Judges};
use hotplate_protocol::{ErrorCode, RpcError};

use super::feeding::{no_examples, ranked, room};
use super::file_pool::{FilePool, Gone};
use super::names::{self, Wanted};
use super::rpc_errors;
use super::runs::overrides::Overrides;
use super::runs::place::real_folder;
use super::runs::prepare::{FEW, options};
use super::runs::read::{max_tokens, read};
use super::runs::train_request::DatasetTarget;
use super::store::{Manifest, lineage};

/// More would take minutes on a base of a useful size, and tell little more.
const MOST_JUDGES: usize = 32;

/// What is to be scored.
pub(crate) struct Asked {
    pub(crate) samples: Vec<Sample>,
    /// Each sample's example.
    pub(crate) examples: Vec<Example>,
    pub(crate) scored: HeldOutScored,
    /// Records that are no examples.
    pub(crate) left_out: usize,
}

/// The folder's held-out examples, as far as the adapter's runs know them.
pub(crate) fn ask(
    file_pool: &FilePool,
    folder: &Path,
    text: &BaseSpec,
    adapter: Option<&str>,
    heldout: HeldOut,
    gone: &Gone,
) -> Result<Asked, RpcError> {
    let folder = real_folder(folder)?;
    let overrides = Overrides::in_folder(&Knobs::default(), &folder)?;
    let longest = max_tokens(text, &overrides.knobs);
    let options = options(&overrides.knobs, longest);
    // As training reads it: a long text is divided alike.
    let dataset = read(&folder, text, &options, &overrides.columns(), gone)?;
    let examples = &dataset.examples;
    if examples.is_empty() {
        return Err(no_examples(&folder, &dataset));
    }
    if examples.len() < 2 {
        let message = format!(
            "{} holds one example; to compare, there must be another one to feed it with",
            dataset.folder.display()
        );
        return Err(RpcError::new(ErrorCode::UnusableDataset, message));
    }
    let (manifest, learnt) = known(file_pool, adapter)?;
    let (judges, mut chosen) = choose(examples, &manifest);
    let helping: Vec<Example> = match judges {
        Judges::HeldOut => {
            let held: HashSet<ExampleId> = chosen.iter().copied().collect();
            examples.iter().filter(|example| !held.contains(&example.id)).cloned().collect()
        }
        Judges::EachInTurn => examples.clone(),
    };
    let nearest = Nearest::among(&helping);
    chosen.sort_unstable();
    chosen.truncate(MOST_JUDGES);
    let chosen: HashSet<ExampleId> = chosen.into_iter().collect();
    let judging: Vec<Example> =
        examples.iter().filter(|example| chosen.contains(&example.id)).cloned().collect();
    let mut scored = HeldOutScored {
        judges,
        of: examples.len(),
        learnt: judging.iter().filter(|example| learnt.contains(&example.id)).count(),
        fed_examples: 0,
        fed_tokens: 0,
    };
    let mut samples = Vec::with_capacity(judging.len());
    for judge in &judging {
        let sample = behind_others(text, judge, &nearest, &helping, heldout, &options, &mut scored)?;
        samples.push(sample);
    }
    if matches!(heldout, HeldOut::Fed { .. }) && scored.fed_examples == 0 {
        let message = format!(
            "{} reads {} tokens, and no example of {} fits before another one; take a base that reads more",
            text.name,
            text.config.context,
            dataset.folder.display()
        );
        return Err(RpcError::new(ErrorCode::UnusableDataset, message));
    }
    let left_out = dataset.findings.iter().filter(|finding| finding.code.skips()).count();
    Ok(Asked { samples, examples: judging, scored, left_out })
}

fn behind_others(
    text: &BaseSpec,
    judge: &Example,
    nearest: &Nearest,
    helping: &[Example],
    heldout: HeldOut,
    options: &EncodeOptions,
    scored: &mut HeldOutScored,
) -> Result<Sample, RpcError> {
    let failed = |error| {
        let place = format!("{}:{}", judge.file.display(), judge.lines.0);
        let message = format!("{place}: {}", rpc_errors::of_base(&error).message);
        RpcError::new(ErrorCode::UnusableDataset, message)
    };
    let nothing = Room { tokens: 0, examples: 0 };
    let (alone, _) = text.feed_example(judge, &[], nothing, options).map_err(failed)?;
    let HeldOut::Fed { examples } = heldout else { return Ok(alone) };
    let (candidates, _) = ranked(nearest, helping, &judge.asked(), Some(judge.id));
    let room = room(text, alone.tokens.len(), examples);
    let (sample, fed) = text.feed_example(judge, &candidates, room, options).map_err(failed)?;
    scored.fed_examples += fed.examples.len();
    scored.fed_tokens += fed.examples.iter().map(|one| one.tokens).sum::<usize>();
    Ok(sample)
}

/// What is known of an adapter of the store: its folder's examples with their sides, and those that the named version has learnt.
fn known(file_pool: &FilePool, adapter: Option<&str>) -> Result<(Manifest, HashSet<ExampleId>), RpcError> {
    let Some(Wanted::Name { name, version }) = adapter.map(names::parse).transpose()? else {
        return Ok((Manifest::default(), HashSet::new()));
    };
    let store = file_pool.store()?;
    let Some(row) = store.adapter(name)? else { return Ok((Manifest::default(), HashSet::new())) };
    let manifest = store.manifest(&DatasetTarget { folder: row.folder, adapter: row.name.clone() })?;
    let chain = lineage(&store.versions(&row.name)?, version.unwrap_or(row.current));
    let learnt = manifest.learnt(&chain).collect();
    Ok((manifest, learnt))
}

/// Those that a run held out, or would hold out; where they are too few for that, all of them.
fn choose(examples: &[Example], manifest: &Manifest) -> (Judges, Vec<ExampleId>) {
    let known = manifest.sides();
    let judged = examples.iter().any(|example| known.get(&example.id) == Some(&Side::HeldOut));
    if !judged && examples.len() < FEW {
        return (Judges::EachInTurn, examples.iter().map(|example| example.id).collect());
    }
    let sides = if judged { split(examples, &known) } else { split(examples, &HashMap::new()) };
    let held = sides.into_iter().filter(|(_, side)| *side == Side::HeldOut).map(|(id, _)| id);
    (Judges::HeldOut, held.collect())
}
