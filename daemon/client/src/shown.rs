//! What a command has to show: the one list that every front end paints.

use std::path::PathBuf;

use hotplate_protocol::methods::adapters::AdapterInfo;
use hotplate_protocol::methods::check::CheckResult;
use hotplate_protocol::methods::delete::DeleteResult;
use hotplate_protocol::methods::export::ExportResult;
use hotplate_protocol::methods::generate::GenerateResult;
use hotplate_protocol::methods::look_at_base::BaseInfo;
use hotplate_protocol::methods::models::ModelInfo;
use hotplate_protocol::methods::prune::PruneResult;
use hotplate_protocol::methods::score::{ScoreResult, ScoredExample};
use hotplate_protocol::methods::status::{StatusResult, WatchStatus};
use hotplate_protocol::methods::unwatch::Unwatched;
use hotplate_protocol::methods::verify::VerifyResult;
use hotplate_protocol::run::{Plan, RunEvent, RunId};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::chosen_base::{ChosenBase, ChosenBy, TOY};
use crate::hub::{Fetched, Progress};
use crate::weighed::FewShotVsTuned;

/// In the order in which it happens; [`words`](crate::words) has a plain text for each.
#[derive(Debug, Clone, PartialEq)]
pub enum Shown {
    Checked(CheckResult),
    /// Texts that lie in no folder; its name is where they are instead.
    CheckedTexts(CheckResult),
    Planned(Plan),
    Run {
        run: RunId,
        event: RunEvent,
    },
    /// Text that has just been written; whole characters.
    Delta(String),
    /// The end of what the deltas brought, and its figures.
    Generated(GenerateResult),
    /// One of several texts on the same prompt: which, of how many.
    Variant {
        number: usize,
        of: usize,
        result: GenerateResult,
    },
    /// One prompt, answered in two or three ways: which, of how many.
    Compared {
        number: usize,
        of: usize,
        answers: Box<Answers>,
    },
    /// One example of a `score`, in the order of files and lines; for programs.
    ScoredExample(ScoredExample),
    /// The end of a `score`, worst example first; for people.
    Scored {
        lines: Vec<ScoredLine>,
        result: ScoreResult,
    },
    /// Whether feeding or training is needed.
    FewShotVsTuned(Box<FewShotVsTuned>),
    Status(StatusResult),
    /// `status` was asked and no daemon runs in this home.
    NotRunning {
        home: PathBuf,
    },
    Adapters(Vec<AdapterInfo>),
    Models(Vec<ModelInfo>),
    Pulling(Progress),
    Pulled(Fetched),
    Watching(WatchStatus),
    Unwatched(Unwatched),
    /// Which base holds where a command names none; `None`: nobody has chosen one.
    BaseInUse {
        chosen: Option<ChosenBase>,
        /// What it is, where it has just been looked at.
        info: Option<BaseInfo>,
    },
    /// The toy was used because nobody has chosen a base.
    ToyByDefault,
    /// Somebody ended this run.
    RunCancelled {
        run: RunId,
    },
    RolledBack(AdapterInfo),
    /// Under its new name.
    Renamed {
        from: String,
        adapter: AdapterInfo,
    },
    Deleted(DeleteResult),
    Pruned(PruneResult),
    Exported(ExportResult),
    Imported(AdapterInfo),
    Verified(VerifyResult),
    Stopped,
    /// The daemon leaves once its runs have ended.
    StopsWhenIdle,
    LogLine(String),
}

/// An example's loss and what it is about.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoredLine {
    pub file: PathBuf,
    /// Its first, from 1.
    pub line: usize,
    pub loss: Option<f64>,
    pub supervised_tokens: usize,
    /// How what is learnt begins, on one line.
    pub preview: String,
}

/// What came of the same prompt.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answers {
    pub prompt: String,
    /// The base alone.
    pub base: GenerateResult,
    /// The base behind examples.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fed: Option<GenerateResult>,
    /// The adapter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mine: Option<GenerateResult>,
}

impl Answers {
    /// In the order in which they stand beside each other.
    pub fn all(&self) -> impl Iterator<Item = &GenerateResult> {
        [Some(&self.base), self.fed.as_ref(), self.mine.as_ref()].into_iter().flatten()
    }
}

impl Shown {
    /// What `--json` prints for it, on one line.
    ///
    /// Plans and runs have a member `event`; a finished run is its [`RunResult`](hotplate_protocol::run::RunResult)'s members beside it.
    pub fn to_json(&self) -> Option<Value> {
        Some(match self {
            Shown::Checked(check) | Shown::CheckedTexts(check) => value(check),
            Shown::Planned(plan) => with("event", json!("planned"), value(plan)),
            Shown::Run { event: RunEvent::Finished { result }, .. } => {
                with("event", json!("finished"), value(result))
            }
            Shown::Run { run, event } => with("run", value(run), value(event)),
            Shown::Delta(text) => json!({ "delta": text }),
            Shown::Generated(result) | Shown::Variant { result, .. } => value(result),
            Shown::Compared { answers, .. } => value(answers),
            Shown::ScoredExample(example) => value(example),
            Shown::Scored { result, .. } => with("event", json!("summary"), value(result)),
            Shown::FewShotVsTuned(weighed) => with("event", json!("weighed"), value(weighed)),
            Shown::Status(status) => with("running", json!(true), value(status)),
            Shown::NotRunning { home } => json!({ "running": false, "home": home }),
            Shown::Adapters(adapters) => json!({ "adapters": adapters }),
            Shown::Models(models) => json!({ "models": models }),
            Shown::Pulling(progress) => json!({
                "event": "progress",
                "file": progress.file,
                "number": progress.number,
                "files": progress.files,
                "bytes": progress.done,
                "total_bytes": progress.total,
            }),
            Shown::Pulled(fetched) => json!({
                "event": "pulled",
                "model": fetched.name.id,
                "revision": fetched.name.revision(),
                "commit": fetched.commit,
                "folder": fetched.folder,
                "files": fetched.files,
                "bytes": fetched.bytes,
                "fetched_bytes": fetched.fetched_bytes,
            }),
            Shown::Watching(watch) => with("event", json!("watching"), value(watch)),
            Shown::RunCancelled { run } => json!({ "cancelled": run }),
            Shown::Unwatched(Unwatched { folder, adapter }) => {
                json!({ "unwatched": folder, "adapter": adapter })
            }
            Shown::BaseInUse { chosen, info } => base_in_use(chosen.as_ref(), info.as_ref()),
            Shown::ToyByDefault => return None,
            Shown::RolledBack(adapter) | Shown::Imported(adapter) | Shown::Renamed { adapter, .. } => {
                value(adapter)
            }
            Shown::Deleted(result) => value(result),
            Shown::Pruned(result) => value(result),
            Shown::Exported(result) => value(result),
            Shown::Verified(result) => value(result),
            Shown::Stopped => json!({ "stopped": true }),
            Shown::StopsWhenIdle => json!({ "stopped": false, "stops": "idle" }),
            Shown::LogLine(line) => json!({ "line": line }),
        })
    }
}

fn base_in_use(chosen: Option<&ChosenBase>, info: Option<&BaseInfo>) -> Value {
    json!({
        "base": chosen.map_or(TOY, |chosen| &chosen.base),
        "name": chosen.map_or(TOY, |chosen| &chosen.name),
        "chosen_by": chosen.map(|chosen| match chosen.by {
            ChosenBy::Environment => "environment",
            ChosenBy::Command => "use",
        }),
        "architecture": info.map(|info| &info.architecture),
    })
}

/// Paths that are not UTF-8 are the only thing that JSON cannot hold; such a result is shown as null.
fn value(result: &impl Serialize) -> Value {
    serde_json::to_value(result).unwrap_or(Value::Null)
}

/// `object` with one more member in front.
fn with(name: &str, member: Value, object: Value) -> Value {
    let mut all = Map::new();
    all.insert(name.to_owned(), member);
    if let Value::Object(members) = object {
        all.extend(members.into_iter().filter(|(key, _)| key != name));
    }
    Value::Object(all)
}

#[cfg(test)]
mod tests {
    use hotplate_protocol::run::RunResult;

    use super::*;

    #[test]
    fn a_finished_run_has_its_result_at_the_top() {
        let result = RunResult {
            run: RunId(3),
            kind: hotplate_protocol::run::RunKind::Full,
            adapter: "notes".into(),
            version: 1,
            path: "/a/notes/1".into(),
            base_heldout_loss: 4.0,
            heldout_loss_before: 4.0,
            heldout_loss: 2.0,
            new_heldout_loss_before: None,
            new_heldout_loss_after: None,
            train_loss: 1.5,
            train_examples: 50,
            heldout_examples: 6,
            best_step: 40,
            steps: 50,
            tokens: 5000,
            tokens_per_second: 1000.0,
            seconds: 5.0,
            save_to_swap_seconds: None,
            guard: None,
            reason: None,
            folds: 0,
            futile: None,
            better: None,
            pruned: Vec::new(),
        };
        let shown = Shown::Run { run: RunId(3), event: RunEvent::Finished { result } };
        let json = shown.to_json().unwrap();
        for key in
            ["adapter", "version", "path", "base_heldout_loss", "heldout_loss", "steps", "tokens", "seconds"]
        {
            assert!(!json[key].is_null(), "{key}");
        }
        assert_eq!(json["event"], "finished");
        let step = Shown::Run { run: RunId(3), event: RunEvent::Cancelled };
        assert_eq!(step.to_json().unwrap().to_string(), r#"{"run":3,"event":"cancelled"}"#);
    }
}
