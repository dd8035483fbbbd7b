//! Whether a stream of bytes is a text in GB18030 (or GBK, or GB2312, which it contains).
//!
//! Bytes of other encodings often are GB18030, too, by accident; then they are characters that nobody writes. GB2312 has the 3,755 most
//! frequent characters in a block of their own, which a Chinese text hardly ever leaves.

use encoding_rs::Encoding as Known;

#[derive(Default)]
pub(super) struct Tally {
    state: State,
    frequent: u64,
    punctuation: u64,
    other: u64,
    malformed: bool,
}

#[derive(Default, Clone, Copy)]
enum State {
    #[default]
    Start,
    Second(u8),
    /// Of four.
    Third,
    Fourth,
}

impl Tally {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.byte(*byte);
        }
    }

    fn byte(&mut self, byte: u8) {
        self.state = match (self.state, byte) {
            (State::Start, b'\t' | b'\n' | b'\r' | 0x0c | 0x1a | 0x20..=0x7e) => State::Start,
            (State::Start, 0x81..=0xfe) => State::Second(byte),
            (State::Second(0xb0..=0xd7), 0xa1..=0xfe) => {
                self.frequent += 1;
                State::Start
            }
            (State::Second(0xa1..=0xa3), 0xa1..=0xfe) => {
                self.punctuation += 1;
                State::Start
            }
            (State::Second(_), b'0'..=b'9') => State::Third,
            (State::Third, 0x81..=0xfe) => State::Fourth,
            (State::Second(_), 0x40..=0x7e | 0x80..=0xfe) | (State::Fourth, b'0'..=b'9') => {
                self.other += 1;
                State::Start
            }
            _ => {
                self.malformed = true;
                State::Start
            }
        };
    }

    /// Nothing speaks against it, though it may be too little to tell.
    pub(super) fn could_be_text(&self) -> bool {
        matches!(self.state, State::Start) && !self.malformed && self.frequent > 0 && self.other == 0
    }

    /// `guess`: what somebody else takes it for. Korean and Japanese of the same shape are told apart by that. `western`: it could be a
    /// text in windows-1252, too.
    pub(super) fn is_text(&self, guess: &'static Known, western: bool) -> bool {
        let written = self.frequent + self.punctuation;
        let agreed = guess == encoding_rs::GBK || guess == encoding_rs::GB18030;
        let contradicted =
            [encoding_rs::BIG5, encoding_rs::EUC_JP, encoding_rs::EUC_KR, encoding_rs::SHIFT_JIS]
                .contains(&guess);
        matches!(self.state, State::Start)
            && !self.malformed
            && self.frequent > 0
            && if agreed {
                // Traditional characters lie outside of that block, half of a text at most.
                self.other <= written * 2
            } else {
                !contradicted && self.other * 10 <= written && (written >= 4 || (written >= 2 && !western))
            }
    }
}
