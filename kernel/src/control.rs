//! The control channel: interrupt and shutdown, answered while a cell runs.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use jupyter_protocol::{InterruptReply, JupyterMessageContent, ReplyStatus, ShutdownReply, Status};

use crate::answers;
use crate::running::{Interruptible, Running};
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

/// `jupyter_client` sends an interrupt right before each shutdown, to wake kernels that are busy. Ours needs no waking, and a
/// restart must not cost a run: so an interrupt waits this long for a shutdown behind it.
const SHUTDOWN_MAY_FOLLOW: Duration = Duration::from_millis(150);

/// An interrupt that was asked for and not carried out yet.
struct Interrupt {
    cell: Interruptible,
    due: Instant,
}

impl Control {
    pub(crate) fn serve(&self, requests: &Receiver<Request>) {
        let mut interrupt: Option<Interrupt> = None;
        loop {
            let received = match &interrupt {
                Some(Interrupt { due, .. }) => requests.recv_deadline(*due),
                None => requests.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            let request = match received {
                Ok(request) => request,
                Err(RecvTimeoutError::Timeout) => {
                    if let Some(Interrupt { cell, .. }) = interrupt.take() {
                        cell.interrupt();
                    }
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            };
            self.serve_one(&request);
            match request.content {
                Ok(JupyterMessageContent::InterruptRequest(_)) => {
                    let due = Instant::now() + SHUTDOWN_MAY_FOLLOW;
                    // A second one does not put off the first.
                    interrupt =
                        interrupt.or_else(|| self.running.current().map(|cell| Interrupt { cell, due }));
                }
                Ok(JupyterMessageContent::ShutdownRequest(_)) => {
                    interrupt = None;
                    let _ = self.ending.send(Ending::Asked);
                }
                _ => {}
            }
        }
    }

    fn serve_one(&self, request: &Request) {
        self.outbox.publish(Some(request.parent.clone()), Status::busy());
        let answer = catch_unwind(AssertUnwindSafe(|| self.answer(request))).unwrap_or_else(|_| {
            answers::failure(request, "Internal", "the kernel has a fault; its log says more")
        });
        if let Some(content) = answer {
            self.outbox.control(Outgoing::reply(request, content));
        }
        self.outbox.publish(Some(request.parent.clone()), Status::idle());
    }

    fn answer(&self, request: &Request) -> Option<JupyterMessageContent> {
        match &request.content {
            Ok(JupyterMessageContent::KernelInfoRequest(_)) => Some(answers::kernel_info()),
            Ok(JupyterMessageContent::InterruptRequest(_)) => Some(InterruptReply::new().into()),
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
