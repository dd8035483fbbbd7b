//! Which encoding a file is in, told by its bytes, and its text as UTF-8.
//!
//! What is UTF-8 is never taken for anything else. What is not is read where it can be told surely: UTF-16 with or without a mark,
//! GB18030 (what spreadsheets in China save) and windows-1252 (in western Europe and America). A second opinion comes from `chardetng`,
//! which knows many more; where it contradicts, nothing is decided. It must not know formats.

mod gb18030;
mod utf16;
mod utf8;
mod windows1252;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{CoderResult, Decoder};

/// What a file's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// Or nothing that is known: what is wrong with it is said byte by byte.
    Utf8,
    Utf16 {
        little_endian: bool,
        marked: bool,
    },
    Gb18030,
    Windows1252,
}

impl Encoding {
    /// For a sentence.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Encoding::Utf8 => "UTF-8",
            Encoding::Utf16 { little_endian: true, marked: true } => {
                "UTF-16LE (the mark at its start says so)"
            }
            Encoding::Utf16 { little_endian: false, marked: true } => {
                "UTF-16BE (the mark at its start says so)"
            }
            Encoding::Utf16 { little_endian: true, marked: false } => "UTF-16LE (without a mark)",
            Encoding::Utf16 { little_endian: false, marked: false } => "UTF-16BE (without a mark)",
            Encoding::Gb18030 => "GB18030 (Chinese)",
            Encoding::Windows1252 => "windows-1252 (western European)",
        }
    }

    fn decoder(self) -> Option<Decoder> {
        let encoding = match self {
            Encoding::Utf8 => return None,
            Encoding::Utf16 { little_endian: true, .. } => encoding_rs::UTF_16LE,
            Encoding::Utf16 { little_endian: false, .. } => encoding_rs::UTF_16BE,
            Encoding::Gb18030 => encoding_rs::GB18030,
            Encoding::Windows1252 => encoding_rs::WINDOWS_1252,
        };
        Some(encoding.new_decoder_with_bom_removal())
    }
}

/// A first look: is it UTF-8?
#[derive(Default)]
pub(crate) struct Look {
    utf8: utf8::Tally,
    start: Vec<u8>,
}

impl Look {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let wanted = 2_usize.saturating_sub(self.start.len());
        self.start.extend(bytes.iter().take(wanted));
        self.utf8.push(bytes);
    }

    /// `None`: the bytes must be looked at again.
    pub(crate) fn finish(mut self) -> Option<Encoding> {
        self.utf8.finish();
        let utf8 = self.utf8.invalid == 0 && self.utf8.zeros == 0;
        // A file in UTF-8 with a few bytes that are none: those are named, and the rest is read.
        let mostly = self.utf8.zeros == 0 && self.utf8.valid > self.utf8.invalid;
        let marked = matches!(self.start.as_slice(), [0xff, 0xfe] | [0xfe, 0xff]);
        (utf8 || (mostly && !marked)).then_some(Encoding::Utf8)
    }
}

/// A second look, at bytes that are not UTF-8.
pub(crate) struct Trial {
    start: Vec<u8>,
    utf8: utf8::Tally,
    utf16: [utf16::Tally; 2],
    gb18030: gb18030::Tally,
    windows1252: windows1252::Tally,
    detector: EncodingDetector,
}

impl Default for Trial {
    fn default() -> Self {
        Self {
            start: Vec::new(),
            utf8: utf8::Tally::default(),
            utf16: [true, false].map(utf16::Tally::new),
            gb18030: gb18030::Tally::default(),
            windows1252: windows1252::Tally::default(),
            detector: EncodingDetector::new(Iso2022JpDetection::Deny),
        }
    }
}

impl Trial {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let wanted = 4_usize.saturating_sub(self.start.len());
        self.start.extend(bytes.iter().take(wanted));
        self.utf8.push(bytes);
        self.utf16.iter_mut().for_each(|tally| tally.push(bytes));
        self.gb18030.push(bytes);
        self.windows1252.push(bytes);
        self.detector.feed(bytes, false);
    }

    pub(crate) fn finish(mut self) -> Encoding {
        self.utf8.finish();
        self.detector.feed(&[], true);
        let [little, big] = &self.utf16;
        let utf16 = |little_endian: bool, marked: bool| Encoding::Utf16 { little_endian, marked };
        match self.start.as_slice() {
            // UTF-32 begins so, too.
            [0xff, 0xfe, 0, 0] => return Encoding::Utf8,
            [0xff, 0xfe, ..] if little.is_text() => return utf16(true, true),
            [0xfe, 0xff, ..] if big.is_text() => return utf16(false, true),
            _ => {}
        }
        if self.utf8.zeros > 0 {
            return match (little.beats(big), big.beats(little)) {
                (true, false) => utf16(true, false),
                (false, true) => utf16(false, false),
                _ => Encoding::Utf8,
            };
        }
        let guess = self.detector.guess(None, Utf8Detection::Deny);
        let western = self.utf8.valid == 0 && self.windows1252.is_text(guess);
        if self.gb18030.is_text(guess, western) {
            return Encoding::Gb18030;
        }
        if western && !self.gb18030.could_be_text() {
            return Encoding::Windows1252;
        }
        match (little.is_chinese() && !big.is_chinese(), big.is_chinese() && !little.is_chinese()) {
            (true, _) => utf16(true, false),
            (_, true) => utf16(false, false),
            _ => Encoding::Utf8,
        }
    }
}

/// Bytes of a file in, UTF-8 out.
pub(crate) struct ToUtf8 {
    decoder: Option<Decoder>,
    text: Vec<u8>,
}

impl ToUtf8 {
    pub(crate) fn new(encoding: Encoding) -> Self {
        Self { decoder: encoding.decoder(), text: Vec::new() }
    }

    /// `last`: nothing follows.
    pub(crate) fn push(&mut self, mut bytes: &[u8], last: bool, on_text: &mut dyn FnMut(&[u8])) {
        let Some(decoder) = &mut self.decoder else { return on_text(bytes) };
        self.text.resize(1 << 16, 0);
        loop {
            let (result, read, written, _) = decoder.decode_to_utf8(bytes, &mut self.text, last);
            on_text(self.text.get(..written).unwrap_or_default());
            bytes = bytes.get(read..).unwrap_or_default();
            if result == CoderResult::InputEmpty {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests;
