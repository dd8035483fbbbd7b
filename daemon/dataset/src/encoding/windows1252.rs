//! Whether a stream of bytes is a text in windows-1252.
//!
//! Nearly every byte is a character there, so that nearly everything could be. A text has accented letters among plain ones and signs
//! where signs stand; what other encodings of one byte (a Mac's, DOS's, central Europe's) make of theirs stands where nobody writes it.

use encoding_rs::Encoding as Known;

pub(super) struct Tally {
    seen: [bool; 256],
    high: u64,
    letters: u64,
    odd: u64,
    forbidden: bool,
    /// Two characters beyond ASCII side by side.
    neighbours: bool,
    before_last: u8,
    last: u8,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            seen: [false; 256],
            high: 0,
            letters: 0,
            odd: 0,
            forbidden: false,
            neighbours: false,
            before_last: b' ',
            last: b' ',
        }
    }
}

fn is_lower(byte: u8) -> bool {
    byte.is_ascii_lowercase() || matches!(byte, 0xdf..=0xf6 | 0xf8..=0xff | 0x9a | 0x9c | 0x9e)
}

fn is_upper(byte: u8) -> bool {
    byte.is_ascii_uppercase() || matches!(byte, 0xc0..=0xd6 | 0xd8..=0xde | 0x8a | 0x8c | 0x8e | 0x9f)
}

fn is_letter(byte: u8) -> bool {
    is_lower(byte) || is_upper(byte)
}

/// Signs that stand in no word: those that may are quotes, dashes, dots, marks of a trade, ordinals.
fn stands_alone(byte: u8) -> bool {
    matches!(
        byte,
        0x80 | 0x82 | 0x83 | 0x84 | 0x86..=0x89 | 0x8b | 0x98 | 0x9b | 0xa1..=0xa9 | 0xab | 0xac | 0xaf | 0xb1..=0xb3
            | 0xb5 | 0xb6 | 0xb8 | 0xb9 | 0xbb..=0xbf | 0xd7 | 0xf7
    )
}

impl Tally {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.byte(*byte);
        }
    }

    fn byte(&mut self, byte: u8) {
        let (before, last) = (self.before_last, self.last);
        if let Some(seen) = self.seen.get_mut(usize::from(byte)) {
            *seen = true;
        }
        self.high += u64::from(!byte.is_ascii());
        self.letters += u64::from(is_letter(byte));
        // Without a character, or a control that no text has.
        self.forbidden |= matches!(byte, 0x81 | 0x8d | 0x8f | 0x90 | 0x9d | 0x7f)
            || (byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c | 0x1a));
        self.neighbours |= !last.is_ascii() && !byte.is_ascii();
        let capital_inside = is_lower(last) && !byte.is_ascii() && is_upper(byte);
        let sign_inside = is_letter(before) && stands_alone(last) && is_letter(byte);
        let opens_behind = is_letter(last) && matches!(byte, 0x82 | 0x84);
        self.odd += u64::from(capital_inside) + u64::from(sign_inside) + u64::from(opens_behind);
        (self.before_last, self.last) = (last, byte);
    }

    /// `guess`: what somebody else takes it for.
    pub(super) fn is_text(&self, guess: &'static Known) -> bool {
        !self.forbidden
            && self.high > 0
            && self.odd * 20 <= self.high
            && self.high * 3 <= self.letters + self.high
            && (self.reads_as(guess) || self.is_of_single_bytes(guess))
    }

    /// Whether a guess of two bytes a character can be waved off: those have many bytes beyond ASCII side by side.
    fn is_of_single_bytes(&self, guess: &'static Known) -> bool {
        !guess.is_single_byte() && !self.neighbours && self.odd == 0
    }

    /// Whether another encoding of single bytes has the same characters for these.
    fn reads_as(&self, guess: &'static Known) -> bool {
        guess.is_single_byte()
            && (0x80..=0xff).filter(|byte| self.seen.get(usize::from(*byte)).is_some_and(|seen| *seen)).all(
                |byte: u8| {
                    let one = [byte];
                    encoding_rs::WINDOWS_1252.decode_without_bom_handling(&one).0
                        == guess.decode_without_bom_handling(&one).0
                },
            )
    }
}
