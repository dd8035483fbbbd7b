//! The shell channel: requests in their order, each between a busy and an idle message.
//!
//! Owns the execution counter, the history, and the rule which queued cells an error takes with it. Knows nothing of what is
//! in a cell.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use std::time::Instant;

use crossbeam_channel::{Receiver, Sender};
use jupyter_protocol::{
    CommClose, CommInfoReply, ErrorOutput, ExecuteInput, ExecuteReply, ExecuteRequest, ExecutionCount,
    ExpressionResult, JupyterMessageContent, Payload, ReplyError, ReplyStatus, Status,
};

use crate::answers;
use crate::cell;
use crate::chosen::Chosen;
use crate::complete::complete;
use crate::control::{self, Ending};
use crate::daemon::Daemon;
use crate::history::History;
use crate::inspect::inspect;
use crate::run_cell::{CellError, Runner};
use crate::running::Running;
use crate::rust::Rust;
use crate::show::{Here, Screen};
use crate::sockets::Outbox;
use crate::stdin::Stdin;
use crate::wire::{Outgoing, Request};

pub(crate) struct Session {
    outbox: Outbox,
    answers: Receiver<Request>,
    running: Running,
    ending: Sender<Ending>,
    daemon: Daemon,
    chosen: Chosen,
    rust: Rust,
    history: History,
    /// Relative paths in cells start here.
    here: Here,
    /// Of the last cell that was stored.
    count: usize,
    /// After an error: cells that had arrived by then are not run.
    aborted_until: Option<Instant>,
}

impl Session {
    pub(crate) fn new(
        outbox: Outbox,
        answers: Receiver<Request>,
        running: Running,
        ending: Sender<Ending>,
        here: Here,
    ) -> Session {
        let daemon = Daemon::new();
        let history = History::in_file(Daemon::history_file());
        Session {
            outbox,
            answers,
            running,
            ending,
            daemon,
            chosen: Chosen::default(),
            rust: Rust::default(),
            history,
            here,
            count: 0,
            aborted_until: None,
        }
    }

    pub(crate) fn serve(mut self, requests: &Receiver<Request>) {
        for request in requests {
            self.outbox.publish(Some(request.parent.clone()), Status::busy());
            let answer = catch_unwind(AssertUnwindSafe(|| self.answer(&request))).unwrap_or_else(|_| {
                answers::failure(&request, "Internal", "the kernel has a fault; its log says more")
            });
            if let Some(content) = answer {
                self.outbox.shell(Outgoing::reply(&request, content));
            }
            self.outbox.publish(Some(request.parent.clone()), Status::idle());
            // Since protocol 5.4 the control channel's business; older front ends ask here.
            if matches!(request.content, Ok(JupyterMessageContent::ShutdownRequest(_))) {
                let _ = self.ending.send(Ending::Asked);
            }
        }
    }

    fn answer(&mut self, request: &Request) -> Option<JupyterMessageContent> {
        let content = match &request.content {
            Ok(content) => content,
            Err(why) => return answers::not_understood(request, why),
        };
        Some(match content {
            JupyterMessageContent::KernelInfoRequest(_) => answers::kernel_info(),
            JupyterMessageContent::ExecuteRequest(execute) => self.execute(request, execute).into(),
            JupyterMessageContent::CompleteRequest(asked) => {
                complete(&asked.code, asked.cursor_pos, &self.here.folder, &mut self.daemon, &mut self.rust)
                    .into()
            }
            JupyterMessageContent::InspectRequest(asked) => {
                inspect(&asked.code, asked.cursor_pos, &mut self.rust).into()
            }
            JupyterMessageContent::IsCompleteRequest(asked) => cell::is_complete(&asked.code).into(),
            JupyterMessageContent::HistoryRequest(asked) => self.history.answer(asked).into(),
            JupyterMessageContent::CommInfoRequest(_) => CommInfoReply::default().into(),
            JupyterMessageContent::CommOpen(open) => {
                // No target is known here; the specification wants the other end closed then.
                let close = CommClose { comm_id: open.comm_id.clone(), ..CommClose::default() };
                self.outbox.publish(Some(request.parent.clone()), close);
                return None;
            }
            JupyterMessageContent::CommMsg(_)
            | JupyterMessageContent::CommClose(_)
            | JupyterMessageContent::InputReply(_) => return None,
            JupyterMessageContent::ShutdownRequest(asked) => {
                control::shutdown(&self.outbox, request, asked.restart)
            }
            _ => return answers::not_known(request),
        })
    }

    fn execute(&mut self, request: &Request, execute: &ExecuteRequest) -> ExecuteReply {
        if self.aborted_until.is_some_and(|until| request.arrived <= until) {
            return self.reply(ReplyStatus::Aborted, execute, Vec::new(), None);
        }
        // Before anybody hears that the cell runs: an interrupt that comes right behind that is for this cell.
        let turn = self.running.begin();
        let parent = request.parent.clone();
        if execute.store_history && !execute.silent {
            self.count += 1;
            self.history.add(self.count, &execute.code);
        }
        if !execute.silent {
            let input = ExecuteInput { code: execute.code.clone(), execution_count: self.count() };
            self.outbox.publish(Some(parent.clone()), input);
        }
        let screen = Screen::new(self.outbox.clone(), parent.clone(), self.here.clone());
        let outcome = {
            let turn = turn;
            // A panic is a fault of ours, and still ends the cell as an error does.
            catch_unwind(AssertUnwindSafe(|| {
                let stdin = execute.allow_stdin.then_some(Stdin {
                    outbox: &self.outbox,
                    replies: &self.answers,
                    request,
                    canceller: &turn.canceller,
                });
                let mut runner = Runner {
                    daemon: &mut self.daemon,
                    chosen: &mut self.chosen,
                    folder: &self.here.folder,
                    screen: &screen,
                    turn: &turn,
                    stdin,
                    count: (!execute.silent).then_some(ExecutionCount::new(self.count)),
                    payload: Vec::new(),
                };
                runner.run_cell(&execute.code, &mut self.rust).map(|()| runner.payload)
            }))
            .unwrap_or_else(|_| Err(CellError::internal()))
        };
        match outcome {
            Ok(payload) => self.reply(ReplyStatus::Ok, execute, payload, None),
            Err(error) => {
                let CellError { name, message, traceback } = error;
                self.outbox.publish(
                    Some(parent),
                    ErrorOutput {
                        ename: name.clone(),
                        evalue: message.clone(),
                        traceback: traceback.clone(),
                    },
                );
                if execute.stop_on_error && !execute.silent {
                    // What the front end sends after it has seen the reply comes later than this.
                    self.aborted_until = Some(Instant::now());
                }
                let error = ReplyError { ename: name, evalue: message, traceback };
                self.reply(ReplyStatus::Error, execute, Vec::new(), Some(Box::new(error)))
            }
        }
    }

    fn reply(
        &self,
        status: ReplyStatus,
        execute: &ExecuteRequest,
        payload: Vec<Payload>,
        error: Option<Box<ReplyError>>,
    ) -> ExecuteReply {
        let expressions = execute.user_expressions.iter().flatten().map(|(name, _)| {
            let result = ExpressionResult::Error {
                ename: "NoExpressions".to_owned(),
                evalue: "cells hold commands, and commands have no expressions to evaluate".to_owned(),
                traceback: Vec::new(),
            };
            (name.clone(), result)
        });
        ExecuteReply {
            status,
            execution_count: self.count(),
            payload,
            // The message specification wants an object; `None` would be null.
            user_expressions: Some(expressions.collect::<HashMap<_, _>>()),
            error,
        }
    }

    fn count(&self) -> ExecutionCount {
        ExecutionCount::new(self.count)
    }
}
