//! How this process multiplies, as a person has set it; for the daemon and the benchmarks alike.

use std::env;

use hotplate_engine::device::{self, Arithmetic};

/// `fastest` (the default), `f32` or `bf16`.
const ARITHMETIC: &str = "HOTPLATE_ARITHMETIC";

/// To be called before the first tensor is touched.
pub(crate) fn choose() {
    let Ok(word) = env::var(ARITHMETIC) else { return };
    match parse(&word) {
        Some(arithmetic) => {
            device::use_arithmetic(arithmetic);
        }
        None => {
            tracing::warn!(
                "{ARITHMETIC} is {word:?}, which is none of fastest, f32 and bf16; it is not heeded"
            );
        }
    }
}

fn parse(word: &str) -> Option<Arithmetic> {
    match word.trim() {
        "fastest" => Some(Arithmetic::Fastest),
        "f32" => Some(Arithmetic::F32),
        "bf16" => Some(Arithmetic::Bf16),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_words_are_known() {
        assert_eq!(parse("fastest"), Some(Arithmetic::Fastest));
        assert_eq!(parse(" f32\n"), Some(Arithmetic::F32));
        assert_eq!(parse("bf16"), Some(Arithmetic::Bf16));
        assert_eq!(parse("fp32"), None);
    }
}
