//! Asking the person at the front end that runs the cell.

use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use hotplate_client::Canceller;
use jupyter_protocol::{InputReply, InputRequest, JupyterMessageContent};

use crate::sockets::Outbox;
use crate::wire::{Outgoing, Request};

/// How often an interrupt is looked for while somebody thinks.
const LOOK_EVERY: Duration = Duration::from_millis(30);

/// There is one where the front end has said that it can ask.
pub(crate) struct Stdin<'a> {
    pub outbox: &'a Outbox,
    pub replies: &'a Receiver<Request>,
    /// The cell; its front end is asked, and no other.
    pub request: &'a Request,
    pub canceller: &'a Canceller,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Text(String),
    Interrupted,
}

impl Stdin<'_> {
    pub(crate) fn ask(&self, prompt: &str) -> Answer {
        self.ask_for(prompt, false)
    }

    /// `secret`: what is typed is not shown.
    pub(crate) fn ask_for(&self, prompt: &str, secret: bool) -> Answer {
        // Answers to questions that nobody waits for any more.
        while self.replies.try_recv().is_ok() {}
        let question = InputRequest { prompt: prompt.to_owned(), password: secret };
        self.outbox.stdin(Outgoing::reply(self.request, question));
        loop {
            match self.replies.recv_timeout(LOOK_EVERY) {
                Ok(Request {
                    content: Ok(JupyterMessageContent::InputReply(InputReply { value, .. })),
                    identities,
                    ..
                }) if identities == self.request.identities => return Answer::Text(value),
                Err(RecvTimeoutError::Disconnected) => return Answer::Interrupted,
                Ok(_) | Err(RecvTimeoutError::Timeout) if self.canceller.is_cancelled() => {
                    return Answer::Interrupted;
                }
                Ok(_) | Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }
}
