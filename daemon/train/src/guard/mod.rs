//! Figures that tell whether a run has done more harm than good: gap, copying, drift, loops, leaks.
//!
//! Owns what each figure means and from where on it is a warning. Pure functions and stepping values: no threads, no clock, no files. It must
//! not know when a run looks at them, nor what it does about them.
//!
//! - **gap**: held-out loss minus training loss, nats a token ([`GuardFigures::gap`]).
//! - **copying**: how much of what the model writes stands word for word in the training texts ([`copying`]).
//! - **drift**: how far the adapter has moved the base on texts that have nothing to do with the data ([`drift`], on
//!   the base's own answers to a few [`questions`]).
//! - **worth**: whether there was anything to learn from ([`worth`]).
//! - **loops** and **leaks**: what it answers to those questions by now: in circles, or with the training texts' own phrases ([`behaviour`]).

pub mod behaviour;
pub mod copying;
pub mod drift;
mod figures;
pub mod questions;
pub mod worth;

pub use copying::{Copied, CopyCheck, CopyFigures, SHORTEST_COPY};
pub use drift::{Drift, Moved};
pub(crate) use figures::forgets;
pub use figures::{GuardFigures, Verdict};
pub use worth::Futile;
