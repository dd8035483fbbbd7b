//! Figures that tell whether a run has done more harm than good: gap, copying, drift.
//!
//! Owns what each figure means and from where on it is a warning. Pure functions and stepping values: no threads, no clock, no files. It must
//! not know when a run looks at them, nor what it does about them.
//!
//! - **gap**: held-out loss minus training loss, nats a token ([`GuardFigures::gap`]).
//! - **copying**: how much of what the model writes stands word for word in the training texts ([`copying`]).
//! - **drift**: how far the adapter has moved the base on texts that have nothing to do with the data ([`drift`], on
//!   the base's own [`neutral`] samples).

pub mod copying;
pub mod drift;
mod figures;
pub mod neutral;

pub use copying::{Copied, CopyCheck, CopyFigures, SHORTEST_COPY};
pub use drift::Drift;
pub use figures::{COPY_LIMIT, COPY_SURPLUS, DRIFT_LIMIT, GAP_LIMIT, GuardFigures, Verdict};
pub use neutral::{NeutralDrawing, NeutralError, NeutralSample, NeutralSamples};
