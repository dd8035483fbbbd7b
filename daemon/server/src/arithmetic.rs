//! How this process multiplies, as a person has set it; for the daemon and the benchmarks alike.

use std::env;

use anyhow::Context;
use hotplate_engine::device::{self, Arithmetic};

/// `fastest` (the default), `f32` or `bf16`.
const ARITHMETIC: &str = "HOTPLATE_ARITHMETIC";

/// To be called before the first tensor is touched.
///
/// # Errors
/// A word that means nothing.
pub(crate) fn choose() -> anyhow::Result<()> {
    let Ok(word) = env::var(ARITHMETIC) else { return Ok(()) };
    let arithmetic: Arithmetic = word.parse().with_context(|| format!("{ARITHMETIC} cannot be used"))?;
    device::use_arithmetic(arithmetic);
    Ok(())
}
