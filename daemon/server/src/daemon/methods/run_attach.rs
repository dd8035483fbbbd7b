//! `run/attach`: a session follows a run, from its beginning, or every run from now on.

use hotplate_protocol::methods::Nothing;
use hotplate_protocol::methods::run_attach::{AttachParams, AttachRun};
use hotplate_protocol::notifications::{RunEventNotification, RunEventParams};
use hotplate_protocol::run::RunEvent;
use hotplate_protocol::{Message, Notification, RpcError};

use super::AtOnce;
use super::run_cancel::no_such_run;
use crate::daemon::sessions::RequestRef;
use crate::daemon::state::Daemon;

impl AtOnce for AttachRun {
    fn answer(daemon: &mut Daemon, asker: &RequestRef, params: AttachParams) -> Result<Nothing, RpcError> {
        let past = match params.run {
            None => Vec::new(),
            Some(run) => daemon.past(run)?.ok_or_else(|| no_such_run(run))?,
        };
        let Some(session) = daemon.sessions.get_mut(&asker.session) else { return Ok(Nothing {}) };
        if let Some(run) = params.run {
            let over = past.last().is_some_and(RunEvent::is_last);
            let messages = past.into_iter().map(|event| {
                Message::Notification(Notification::new::<RunEventNotification>(&RunEventParams {
                    run,
                    event,
                }))
            });
            session.send_past(messages.collect());
            if over {
                return Ok(Nothing {});
            }
        }
        session.follow(params.run);
        Ok(Nothing {})
    }
}
