//! Every result in plain English, without colours: words first, figures second.
//!
//! The notebook shows this where it cannot show more, and the terminal builds on it. Must not know how wide or
//! colourful the place is where it is read.

mod adapter_files;
mod answers;
mod base;
mod dataset;
mod feeding;
mod lists;
mod noticed;
mod pull;
mod removal;
mod run;
mod score;
mod table;
mod visible;
mod wrap;

pub use adapter_files::{exported, imported, verified};
pub use answers::{about, author, compared, length, measures, variant};
pub use base::{base_in_use, toy_by_default};
pub use dataset::{
    check_summary, examples, finding_place, findings, plan, rehearsed, settings, texts_summary,
};
pub use feeding::{fed, weighed, weighed_rows, weighed_summary, weighed_table};
pub use hotplate_home::figures::{bytes, count, duration, loss, number, significant, sparkline};
pub use lists::{adapters, day_and_minute, judged_alike, losses, models, rolled_back, status, watching};
pub use noticed::noticed;
pub use pull::{pulled, pulling};
pub use removal::{delete_question, deleted, prune_question, pruned, renamed, versions_phrase};
pub use run::{cause, event, gain, generated, guard, guard_word, working};
pub use score::scored;
pub use table::{UNBOUNDED, table};
pub use visible::{path, visible};
pub use wrap::{beginning, fold, wrap};

use hotplate_protocol::methods::unwatch::Unwatched;

use crate::shown::Shown;

/// The text for one thing that is shown: whole lines without the last newline, except for
/// [`Shown::Delta`], which is the text itself. `None` where there is nothing to add to what was shown before.
pub fn shown(shown: &Shown) -> Option<String> {
    Some(match shown {
        Shown::Checked(check) => {
            let parts = [
                check_summary(check),
                findings(&check.findings),
                examples(&check.listed, UNBOUNDED),
                rehearsed(&check.rehearsed),
                settings(&check.settings, check.train_examples, UNBOUNDED),
            ];
            parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n")
        }
        Shown::CheckedTexts(check) => {
            let parts = [texts_summary(check), findings(&check.findings), examples(&check.listed, UNBOUNDED)];
            parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n")
        }
        Shown::Planned(what) => plan(what),
        Shown::Run { event: what, .. } => return event(what),
        Shown::Delta(text) => text.clone(),
        Shown::Generated(result) => generated(result),
        Shown::Variant { number, of, result } => variant(*number, *of, result),
        Shown::Compared { number, of, answers } => compared(*number, *of, answers),
        Shown::ScoredExample(_) => return None,
        Shown::Scored { lines, result } => scored(lines, result, UNBOUNDED),
        Shown::FewShotVsTuned(what) => weighed(what),
        Shown::Status(what) => status(what),
        Shown::NotRunning { home } => {
            format!("No daemon is running. Any command that needs one starts it.\nIts home: {}", path(home))
        }
        Shown::Adapters(list) => adapters(list, UNBOUNDED),
        Shown::Models(list) => models(list, UNBOUNDED),
        Shown::Pulling(what) => pulling(what),
        Shown::Pulled(what) => pulled(what),
        Shown::Watching(what) => watching(what),
        Shown::Unwatched(Unwatched { folder, adapter }) => {
            format!("No longer watching {}. Its adapter {adapter} stays.", path(folder))
        }
        Shown::BaseInUse { chosen, info } => base_in_use(chosen.as_ref(), info.as_ref()),
        Shown::ToyByDefault => toy_by_default(),
        Shown::RunCancelled { run } => {
            format!("Run {} was cancelled; it made no version.", run.0)
        }
        Shown::RolledBack(adapter) => rolled_back(adapter),
        Shown::Renamed { from, adapter } => renamed(from, adapter),
        Shown::Deleted(result) => deleted(result),
        Shown::Pruned(result) => pruned(result),
        Shown::Exported(result) => exported(result),
        Shown::Imported(adapter) => imported(adapter),
        Shown::Verified(result) => verified(result),
        Shown::Stopped => "The daemon has stopped. What was saved is safe.".to_owned(),
        Shown::StopsWhenIdle => {
            "The daemon stops as soon as its runs have ended; it takes no new ones.".to_owned()
        }
        Shown::LogLine(line) => line.clone(),
    })
}
