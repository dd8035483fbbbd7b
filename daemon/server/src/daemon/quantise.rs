//! Between the word that a person writes for `--quantize` and what the engine does.

use hotplate_engine::quantise::Quantise;
use hotplate_protocol::knobs::Quantize;

/// What somebody asked for, or where nobody did, what holds otherwise.
pub(crate) fn asked_or(asked: Option<Quantize>, otherwise: Option<Quantise>) -> Option<Quantise> {
    match asked {
        Some(Quantize::Q8) => Some(Quantise::Q8),
        Some(Quantize::Q4) => Some(Quantise::Q4),
        Some(Quantize::None) => None,
        None => otherwise,
    }
}

pub(crate) fn word(quantise: Option<Quantise>) -> Quantize {
    match quantise {
        Some(Quantise::Q8) => Quantize::Q8,
        Some(Quantise::Q4) => Quantize::Q4,
        None => Quantize::None,
    }
}

/// As the store writes it.
pub(crate) fn stored(text: Option<&str>) -> Option<Quantise> {
    asked_or(text.and_then(Quantize::of_word), None)
}

/// What [`stored`] reads.
pub(crate) fn to_store(quantise: Option<Quantise>) -> Option<&'static str> {
    quantise.map(|quantise| word(Some(quantise)).word())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_go_there_and_back() {
        for quantise in [None, Some(Quantise::Q8), Some(Quantise::Q4)] {
            assert_eq!(stored(to_store(quantise)), quantise);
            for other in [None, Some(Quantise::Q8)] {
                assert_eq!(asked_or(Some(word(quantise)), other), quantise);
                assert_eq!(asked_or(None, other), other);
            }
        }
    }
}
