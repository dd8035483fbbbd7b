//! Fetching models of the Hugging Face hub.
//!
//! Owns what is asked of the hub and how files arrive. Must not know what a model's files mean beyond their names, nor how progress is shown.

mod fetch;
mod transport;
mod wanted;

pub use fetch::{Fetched, Progress, fetch};
