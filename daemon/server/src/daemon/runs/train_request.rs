//! What a run was ordered to do; stored, so that it survives the daemon.

use std::path::PathBuf;

use hotplate_engine::base_spec::BaseSource;
use hotplate_engine::quantise::Quantise;
use hotplate_protocol::methods::train::Knobs;
use hotplate_protocol::run::{Cause, RunKind};
use serde::{Deserialize, Serialize};

/// What is trained on what: per target there is at most one running and one waiting run.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct DatasetTarget {
    /// Canonical.
    pub(crate) folder: PathBuf,
    pub(crate) adapter: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TrainRequest {
    pub(crate) target: DatasetTarget,
    /// The base's folder; `None`: the embedded one.
    pub(crate) base: Option<PathBuf>,
    /// How the base is quantised, once that is settled.
    #[serde(default)]
    pub(crate) quantise: Option<Quantise>,
    pub(crate) knobs: Knobs,
    pub(crate) kind: RunKind,
    pub(crate) cause: Cause,
    /// When the newest save that caused it happened, in seconds since 1970.
    pub(crate) saved_at: Option<f64>,
    /// Whether base and adapter were named with the command; else they come from the recipe, or nobody named them.
    #[serde(default)]
    pub(crate) named: Named,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Named {
    pub(crate) base: bool,
    pub(crate) adapter: bool,
}

impl TrainRequest {
    pub(crate) fn source(&self) -> BaseSource {
        source(self.base.as_deref()).quantised(self.quantise)
    }

    /// What nobody waits for: it gives way to everything else.
    pub(crate) fn is_idle_work(&self) -> bool {
        self.cause == Cause::Stale
    }

    /// Takes over the causes of an order that this one stands for too.
    pub(crate) fn absorb(&mut self, other: &TrainRequest) {
        if let Some(saved) = other.saved_at {
            self.saved_at = Some(self.saved_at.map_or(saved, |own| own.max(saved)));
        }
        if let (Cause::Saved { files }, Cause::Saved { files: more }) = (&mut self.cause, &other.cause) {
            for file in more {
                if !files.contains(file) {
                    files.push(file.clone());
                }
            }
        }
    }
}

pub(crate) fn source(base: Option<&std::path::Path>) -> BaseSource {
    base.map_or(BaseSource::Embedded, BaseSource::at)
}

#[cfg(test)]
pub(crate) fn test_order(adapter: &str, kind: RunKind, cause: Cause) -> TrainRequest {
    TrainRequest {
        target: DatasetTarget { folder: PathBuf::from("/notes"), adapter: adapter.to_owned() },
        base: None,
        quantise: None,
        knobs: Knobs::default(),
        kind,
        cause,
        saved_at: None,
        named: Named::default(),
    }
}

#[cfg(test)]
pub(crate) fn saved(files: &[&str]) -> Cause {
    Cause::Saved { files: files.iter().map(|file| (*file).to_owned()).collect() }
}
