//! How this process multiplies, as a person has set it; for the daemon and the benchmarks alike.

use std::env;

use hotplate_engine::device::{self, Arithmetic};

/// `fastest` (the default), `f32` or `bf16`.
const ARITHMETIC: &str = "HOTPLATE_ARITHMETIC";

/// To be called before the first tensor is touched.
pub(crate) fn choose() {
    let Ok(word) = env::var(ARITHMETIC) else { return };
    match word.parse::<Arithmetic>() {
        Ok(arithmetic) => {
            device::use_arithmetic(arithmetic);
        }
        Err(error) => tracing::warn!("{ARITHMETIC} is not heeded: {error}"),
    }
}
