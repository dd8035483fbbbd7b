//! Whether a stream of bytes is a text in UTF-16, of one of both orders.

pub(super) struct Tally {
    little_endian: bool,
    half: Option<u8>,
    /// The first half of a pair.
    lead: bool,
    /// Characters of scripts and signs that people write in.
    good: u64,
    ascii: u64,
    chinese: u64,
    /// What no text has: controls, zeros, halves of pairs, code points without a character.
    bad: u64,
    /// Everything else.
    other: u64,
    /// A byte that stands in no text of single bytes, nor in one of two.
    controls: bool,
}

impl Tally {
    pub(super) fn new(little_endian: bool) -> Self {
        Self {
            little_endian,
            half: None,
            lead: false,
            good: 0,
            ascii: 0,
            chinese: 0,
            bad: 0,
            other: 0,
            controls: false,
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.controls |= *byte < 0x20 && !byte.is_ascii_whitespace();
            match self.half.take() {
                None => self.half = Some(*byte),
                Some(first) if self.little_endian => self.unit(u16::from_le_bytes([first, *byte])),
                Some(first) => self.unit(u16::from_be_bytes([first, *byte])),
            }
        }
    }

    fn unit(&mut self, unit: u16) {
        let is_first = self.good + self.bad + self.other == 0;
        let trail = (0xdc00..0xe000).contains(&unit);
        if std::mem::take(&mut self.lead) {
            *(if trail { &mut self.good } else { &mut self.bad }) += 1;
            if trail {
                return;
            }
        }
        match unit {
            0x09 | 0x0a | 0x0d | 0x20..=0x7e => {
                self.ascii += 1;
                self.good += 1;
            }
            0xfeff if is_first => self.good += 1,
            0xd800..0xdc00 => self.lead = true,
            0..0x20 | 0x7f..0xa0 | 0xdc00..0xe000 | 0xfdd0..=0xfdef | 0xfffe.. => self.bad += 1,
            0x3000..0x3040 | 0x4e00..0xa000 | 0xff00..0xfff0 => {
                self.chinese += 1;
                self.good += 1;
            }
            // Latin, Greek, Cyrillic, Hebrew, Arabic, Devanagari, Thai; punctuation and signs; kana, rare Han, Hangul.
            0xa0..0x250
            | 0x370..0x530
            | 0x590..0x700
            | 0x900..0x980
            | 0xe00..0xe80
            | 0x1e00..0x2000
            | 0x2010..0x2070
            | 0x20a0..0x20d0
            | 0x2100..0x2800
            | 0x3040..0x3100
            | 0x3400..0x4dc0
            | 0xac00..0xd7b0
            | 0xfe0f => self.good += 1,
            _ => self.other += 1,
        }
    }

    fn units(&self) -> u64 {
        self.good + self.bad + self.other
    }

    /// Whole characters that people write, nearly all of them.
    pub(super) fn is_text(&self) -> bool {
        self.half.is_none() && !self.lead && self.bad == 0 && self.other * 20 <= self.units()
    }

    /// A text with letters or spaces of ASCII in it, of which the other order makes something else.
    pub(super) fn beats(&self, other: &Tally) -> bool {
        self.is_text() && self.ascii > 0 && (!other.is_text() || other.ascii * 4 < self.ascii)
    }

    /// A text of nothing but Chinese, without a space or a line's end.
    pub(super) fn is_chinese(&self) -> bool {
        self.is_text() && self.controls && self.units() >= 4 && self.chinese == self.units()
    }
}
