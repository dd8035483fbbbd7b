//! Jupyter messages as they lie on the wire: multipart frames, their signature, and their content.
//!
//! Knows nothing of sockets or of what a message means.
//! <https://jupyter-client.readthedocs.io/en/latest/messaging.html#the-wire-protocol>

mod frames;
mod message;
mod sign;

pub(crate) use message::{Encoder, Outgoing, PROTOCOL_VERSION, Parent, Request};
pub(crate) use sign::{SignError, Signer};
