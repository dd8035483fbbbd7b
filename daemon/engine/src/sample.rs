//! One training item as tokens.

/// `tokens` and `supervised` have the same length. `supervised[i]` says that token `i` carries loss: it is predicted from
/// the tokens before it. The first token never does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    pub tokens: Vec<u32>,
    pub supervised: Vec<bool>,
    /// Whether the example was longer than allowed and its end is missing.
    pub truncated: bool,
}

impl Sample {
    /// Tokens that carry loss.
    pub fn supervised_tokens(&self) -> usize {
        self.supervised.iter().skip(1).filter(|carries| **carries).count()
    }
}
