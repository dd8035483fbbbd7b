//! The engine's kernels and their tests, without the engine. See `check`.

#![allow(dead_code, unused_imports, clippy::all, reason = "what is not used here is used by the engine, and linted there")]

#[path = "../../../daemon/engine/src/ops/matmul/mod.rs"]
mod matmul;
