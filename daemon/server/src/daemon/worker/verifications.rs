//! Adapters that answer their golden prompts again: one forward pass at a time, after what people wait for.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use hotplate_engine::base::Base;
use hotplate_engine::base_spec::{BaseSource, BaseSpec};
use hotplate_engine::golden::{Golden, GoldenWriter};
use hotplate_engine::peft::{self, Snapshot};
use hotplate_protocol::RpcError;
use hotplate_protocol::methods::verify::{GoldenResult, VerifyResult};

use super::bases::Bases;
use super::{ResolvedAdapter, WorkerEvent};
use crate::daemon::rpc_errors;
use crate::daemon::sessions::{RequestRef, SessionId};

/// How far log-probabilities may be apart, nats a token: other kernels sum in another order.
const TOLERANCE: f64 = 1e-3;
/// The same for a merged model, whose weights were rounded to the base's type.
const MERGED_TOLERANCE: f64 = 5e-2;

pub(crate) struct VerifyJob {
    pub(crate) asker: RequestRef,
    /// The base, or the merged model that is asked instead of base and adapter.
    pub(crate) source: BaseSource,
    pub(crate) text: Arc<BaseSpec>,
    pub(crate) pick: ResolvedAdapter,
    /// What stands beside the adapter.
    pub(crate) own: Snapshot,
    pub(crate) merged: bool,
}

#[derive(Default)]
pub(super) struct Verifications {
    waiting: VecDeque<Active>,
}

struct Active {
    asker: RequestRef,
    source: BaseSource,
    base: Arc<Base>,
    goldens: Vec<Golden>,
    tolerance: f64,
    writer: GoldenWriter,
    result: VerifyResult,
}

impl Verifications {
    pub(super) fn add(&mut self, job: VerifyJob, bases: &mut Bases, report: &dyn Fn(WorkerEvent)) {
        let asker = job.asker.clone();
        let started = catch_unwind(AssertUnwindSafe(|| start(job, bases, report)))
            .unwrap_or_else(|panic| Err(rpc_errors::of_panic("the request", &*panic)));
        match started {
            Ok(Started::Asks(active)) => self.waiting.push_back(*active),
            Ok(Started::Fails(result)) => report(WorkerEvent::Verified { asker, result: Ok(*result) }),
            Err(error) => report(WorkerEvent::Verified { asker, result: Err(error) }),
        }
    }

    pub(super) fn cancel(&mut self, asker: &RequestRef) {
        self.waiting.retain(|active| active.asker != *asker);
    }

    pub(super) fn cancel_session(&mut self, session: SessionId) {
        self.waiting.retain(|active| active.asker.session != session);
    }

    /// One forward pass; false if there is nothing to do.
    pub(super) fn step(&mut self, bases: &mut Bases, report: &dyn Fn(WorkerEvent)) -> bool {
        let Some(mut active) = self.waiting.pop_front() else { return false };
        let asker = active.asker.clone();
        let stepped = catch_unwind(AssertUnwindSafe(|| active.writer.step(&active.base)));
        match stepped {
            Ok(Ok(None)) => self.waiting.push_back(active),
            Ok(Ok(Some(now))) => {
                bases.touch(&active.source);
                report(WorkerEvent::Verified { asker, result: Ok(active.judge(&now)) });
            }
            Ok(Err(error)) => {
                report(WorkerEvent::Verified { asker, result: Err(rpc_errors::of_generation(&error)) });
            }
            Err(panic) => {
                report(WorkerEvent::Verified {
                    asker,
                    result: Err(rpc_errors::of_panic("the answer", &*panic)),
                });
            }
        }
        true
    }
}

enum Started {
    Asks(Box<Active>),
    /// It is known already that it is not what it was, and it cannot be asked.
    Fails(Box<VerifyResult>),
}

fn start(job: VerifyJob, bases: &mut Bases, report: &dyn Fn(WorkerEvent)) -> Result<Started, RpcError> {
    let VerifyJob { asker, source, text, pick, own, merged } = job;
    let base = bases.get(&source, &text, report)?;
    let mut result = VerifyResult {
        adapter: pick.label.clone(),
        base: base.text.name.clone(),
        passed: false,
        changes: changes(&own, &base.text, merged),
        goldens: Vec::new(),
    };
    let (adapter, tolerance) = if merged {
        (None, MERGED_TOLERANCE)
    } else {
        // From the disk, not from memory: that is what is asked.
        match peft::load(&pick.folder, &base.text, &base.device) {
            Ok(adapter) => {
                let hash = peft::weights_hash(&adapter).map_err(|error| rpc_errors::of_adapter(&error))?;
                if !own.weights.is_empty() && hash != own.weights {
                    result.changes.push("the adapter's factors are not those that training left".to_owned());
                }
                (Some(Arc::new(adapter)), TOLERANCE)
            }
            Err(error) => {
                if !matches!(error, peft::AdapterError::OtherBase { .. }) || result.changes.is_empty() {
                    result.changes.push(error.to_string());
                }
                return Ok(Started::Fails(Box::new(result)));
            }
        }
    };
    let writer = GoldenWriter::again(adapter, &own.goldens);
    Ok(Started::Asks(Box::new(Active {
        asker,
        source,
        base,
        goldens: own.goldens,
        tolerance,
        writer,
        result,
    })))
}

/// What is no longer as it was when the adapter was trained.
fn changes(own: &Snapshot, text: &BaseSpec, merged: bool) -> Vec<String> {
    let mut changes = Vec::new();
    if !merged && own.fingerprint != text.fingerprint {
        changes.push(format!(
            "the base is {}, and the adapter was trained on another one ({}); name it with --base",
            text.name, own.base
        ));
    }
    if own.chat_template.as_deref() != text.chat_template() {
        changes.push("the base's chat template is not the one that the adapter was trained with".to_owned());
    }
    if own.eos_token_ids != text.eos {
        changes.push(format!(
            "answers end with the tokens {:?} now, and with {:?} in training",
            text.eos, own.eos_token_ids
        ));
    }
    changes
}

impl Active {
    fn judge(self, now: &[Golden]) -> VerifyResult {
        let mut result = self.result;
        result.goldens = self
            .goldens
            .iter()
            .zip(now)
            .map(|(golden, now)| GoldenResult {
                prompt: golden.prompt.clone(),
                expected: golden.text.clone(),
                found: now.text.clone(),
                passed: golden.agrees(now, self.tolerance),
                log_prob: golden.log_prob,
                log_prob_now: now.log_prob,
            })
            .collect();
        result.passed = result.changes.is_empty()
            && result.goldens.len() == self.goldens.len()
            && result.goldens.iter().all(|golden| golden.passed);
        result
    }
}
