//! Why a model could not be fetched: what, where, what next.

use std::io;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum HubError {
    #[error("{name:?} is no model's name; write ORG/NAME as on the hub, for example Qwen/Qwen2.5-0.5B")]
    BadName { name: String },
    #[error(
        "cannot reach {endpoint} ({why}); this machine seems to be offline. Connect and try again, or copy the model's folder here and name it \
         with --base"
    )]
    Offline { endpoint: String, why: String },
    #[error(
        "HF_HUB_OFFLINE is set, so nothing is fetched; unset it and try again, or name a model's folder with --base"
    )]
    ToldOffline,
    #[error("{endpoint} has no model {id}; check the spelling (a private model needs HF_TOKEN)")]
    NoModel { endpoint: String, id: String },
    #[error(
        "{id} has no revision {revision:?}; leave --revision out for the newest, or name a branch, a tag or a commit"
    )]
    NoRevision { id: String, revision: String },
    #[error(
        "{endpoint} does not give {id} to everybody: accept its terms at {endpoint}/{id}, make a token at {endpoint}/settings/tokens, and set \
         HF_TOKEN to it"
    )]
    Gated { endpoint: String, id: String },
    #[error("{endpoint} refuses the token in {from}; make a new one at {endpoint}/settings/tokens")]
    BadToken { endpoint: String, from: String },
    #[error("{id} is no base model that can be used here: {why}")]
    Unusable { id: String, why: String },
    #[error("{endpoint} answered {status} for {what}; try again in a while")]
    Status { endpoint: String, status: u16, what: String },
    #[error("{endpoint} sent an answer that cannot be used ({why}); is HF_ENDPOINT right?")]
    BadAnswer { endpoint: String, why: String },
    #[error(
        "the connection broke while {file} was fetched ({done} of {total}: {why}); what came is kept, the same command goes on from there"
    )]
    Broken { file: String, done: String, total: String, why: String },
    #[error("{file} arrived damaged ({why}) and was thrown away; fetch it again")]
    Damaged { file: String, why: String },
    #[error("the model changed on the hub while it was fetched; run the same command again")]
    Changed,
    #[error("another program is fetching {file} right now; wait for it, then try again")]
    InUse { file: String },
    #[error(
        "the disk is full: {} cannot be written; make room there or set HF_HOME to another disk. What came is kept, the same command goes on",
        path.display()
    )]
    DiskFull { path: PathBuf },
    #[error("{} cannot be written: {source}; check that you may write there, or set HF_HOME to another place", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("no home folder is known for the hub's cache; set HF_HOME")]
    NoHome,
    #[error("{id} is not on this machine; fetch it first: hotplate pull {pull}")]
    NotHere { id: String, pull: String },
    #[error("cancelled")]
    Cancelled,
}

impl HubError {
    pub fn writing(path: impl Into<PathBuf>, source: io::Error) -> Self {
        let path = path.into();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => HubError::DiskFull { path },
            _ => HubError::Write { path, source },
        }
    }
}
