//! Models of the Hugging Face hub: names, the cache that all its programs share, and fetching.
//!
//! Owns the layout of that cache (`models--ORG--NAME/{blobs,refs,snapshots}`), so that what transformers has fetched is found here and the other
//! way round. Must not know what a model's files mean beyond their names, nor how progress is shown.

mod cache;
mod error;
mod fetch;
mod name;
mod transport;
mod wanted;

pub use cache::HubCache;
pub use error::HubError;
pub use fetch::{Fetched, Progress, fetch};
pub use name::HubName;
