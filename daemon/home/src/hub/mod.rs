//! Models of the Hugging Face hub on this machine: names, and the cache that all its programs share.
//!
//! Owns the layout of that cache (`models--ORG--NAME/{blobs,refs,snapshots}`), so that what transformers has fetched is found here and the other
//! way round. Must not know what a model's files mean beyond their names.

mod cache;
mod error;
mod name;

pub use cache::{HubCache, endpoint, token, told_offline};
pub use error::HubError;
pub use name::{HubName, is_revision};
