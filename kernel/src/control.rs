//! The control channel: interrupt and shutdown, answered while a cell runs.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crossbeam_channel::{Receiver, Sender};
use jupyter_protocol::{InterruptReply, JupyterMessageContent, ReplyStatus, ShutdownReply, Status};

use crate::answers;
use crate::running::Running;
use crate::sockets::Outbox;
use crate::wire::{Outgoing, Request};

/// Why the kernel ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// A front end asked for it.
    Asked,
    /// The program that started the kernel is gone.
    ParentGone,
    /// The sockets failed.
    SocketsFailed(String),
}

pub(crate) struct Control {
    pub outbox: Outbox,
    pub running: Running,
    pub ending: Sender<Ending>,
}

impl Control {
    pub(crate) fn serve(&self, requests: &Receiver<Request>) {
        for request in requests {
            self.outbox.publish(Some(request.parent.clone()), Status::busy());
            let answer = catch_unwind(AssertUnwindSafe(|| self.answer(&request))).unwrap_or_else(|_| {
                answers::failure(&request, "Internal", "the kernel has a fault; its log says more")
            });
            if let Some(content) = answer {
                self.outbox.control(Outgoing::reply(&request, content));
            }
            self.outbox.publish(Some(request.parent.clone()), Status::idle());
            if matches!(request.content, Ok(JupyterMessageContent::ShutdownRequest(_))) {
                let _ = self.ending.send(Ending::Asked);
            }
        }
    }

    fn answer(&self, request: &Request) -> Option<JupyterMessageContent> {
        match &request.content {
            Ok(JupyterMessageContent::KernelInfoRequest(_)) => Some(answers::kernel_info()),
            Ok(JupyterMessageContent::InterruptRequest(_)) => {
                self.running.interrupt();
                Some(InterruptReply::new().into())
            }
            Ok(JupyterMessageContent::ShutdownRequest(asked)) => {
                Some(shutdown(&self.outbox, request, asked.restart))
            }
            Ok(_) => answers::not_known(request),
            Err(why) => answers::not_understood(request, why),
        }
    }
}

/// Tells the other front ends, and gives the reply. Runs are not cancelled: they belong to the daemon.
pub(crate) fn shutdown(outbox: &Outbox, request: &Request, restart: bool) -> JupyterMessageContent {
    let reply = ShutdownReply { restart, status: ReplyStatus::Ok, error: None };
    outbox.publish(Some(request.parent.clone()), reply.clone());
    reply.into()
}
