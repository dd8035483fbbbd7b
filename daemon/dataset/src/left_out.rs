//! What a base's chat template leaves out of a conversation.

use crate::chat::Role;

/// A turn, or a part of one, whose words a chat template does not write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeftOut {
    /// From 0.
    pub turn: usize,
    pub role: Role,
    pub part: LeftOutPart,
}

/// How much of a turn is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftOutPart {
    /// All that it says.
    Whole,
    /// The text beside the calls of tools, which are shown.
    TextBesideCalls,
    /// What the last answer thinks. Thoughts of earlier answers are dropped by many families, and a base of theirs never sees them.
    LastThought,
}

impl std::fmt::Display for LeftOut {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let part = match self.part {
            LeftOutPart::Whole => "",
            LeftOutPart::TextBesideCalls => "the text beside the calls in ",
            LeftOutPart::LastThought => "the reasoning in ",
        };
        write!(out, "{part}turn {} ({})", self.turn + 1, self.role.name())
    }
}
