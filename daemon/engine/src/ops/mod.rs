//! The operations that training touches: each file holds one, forward and gradient side by side.
//!
//! candle's autograd is not used: the trainer walks the decoder back layer by layer and calls these gradients itself (measured:
//! chaining through autograd keeps every intermediate alive and computes gradients of frozen weights). Each file has a fused CPU loop
//! and a composition of candle's operations, which is what other devices run and what the loop is tested against.

pub mod add;
pub mod attention;
pub mod cross_entropy;
pub mod dropout;
pub mod frozen_linear;
pub mod frozen_weight;
pub mod gated_unit;
pub mod host;
pub mod low_rank;
pub mod mapped_matrix;
pub mod quantised;
pub mod rms_norm;
pub mod rope;
