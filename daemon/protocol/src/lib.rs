//! What Hotplate's daemon and its clients say to each other: JSON-RPC 2.0 messages, their framing, and the
//! params and results of each method.
//!
//! This crate owns *types only*. It must not know how a connection is made, what a tensor is, or what a
//! command line looks like. A method is one file in [`methods`]; a notification is a type in [`notifications`].

pub mod error;
pub mod feed;
pub mod frame;
#[cfg(test)]
mod fuzz;
pub mod knobs;
pub mod message;
pub mod methods;
pub mod notifications;
pub mod run;

pub use error::{ErrorCode, RpcError};
pub use frame::{FrameError, MAX_FRAME_BYTES, read_frame, write_frame};
pub use message::{Id, Message, Notification, NotificationKind, Request, RequestKind, Response};

/// The protocol versions this build speaks, oldest and newest.
///
/// A daemon and a client agree on the newest version both know; where there is none, `initialize` is answered
/// with [`ErrorCode::ProtocolMismatch`].
pub const PROTOCOL: methods::initialize::ProtocolRange =
    methods::initialize::ProtocolRange { min: 1, max: 1 };
