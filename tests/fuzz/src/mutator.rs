//! Changes bytes.

use crate::random::Random;

/// Numbers at which programs go wrong.
const NUMBERS: [u64; 14] = [
    0,
    1,
    2,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    0xffff_ffff_ffff_ffff,
];
const DECIMALS: [&str; 10] = [
    "0",
    "-1",
    "1e999",
    "-0.0",
    "0.1e-400",
    "4294967296",
    "9223372036854775808",
    "18446744073709551616",
    "99999999999999999999999999",
    "NaN",
];

pub(crate) struct Mutator<'a> {
    pub(crate) words: &'a [&'a [u8]],
    pub(crate) most_bytes: usize,
}

impl Mutator<'_> {
    /// One of `kept`, changed in one to eight places. New ones are taken more often.
    pub(crate) fn changed(&self, kept: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
        let newest = kept.len() - random.below(kept.len().min(32)).min(kept.len() - 1) - 1;
        let at = if random.below(2) == 0 { newest } else { random.below(kept.len()) };
        let mut bytes = kept.get(at).cloned().unwrap_or_default();
        for _ in 0..1 << random.below(4) {
            self.change(&mut bytes, kept, random);
        }
        bytes.truncate(self.most_bytes);
        bytes
    }

    fn change(&self, bytes: &mut Vec<u8>, kept: &[Vec<u8>], random: &mut Random) {
        let at = random.below(bytes.len() + 1);
        match random.below(14) {
            0 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
            1 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = random.next() as u8;
                }
            }
            2 => bytes.insert(at, random.next() as u8),
            3 | 4 => {
                let (start, end) = part(bytes, at, random);
                bytes.drain(start..end);
            }
            5 => {
                let (start, end) = part(bytes, at, random);
                let copy = bytes.get(start..end).unwrap_or_default().to_vec();
                let to = random.below(bytes.len() + 1);
                bytes.splice(to..to, copy);
            }
            // The same again and again: depth, length, repetition.
            6 => {
                let (start, end) = part(bytes, at, random);
                let copy = bytes.get(start..end.min(start + 16)).unwrap_or_default().to_vec();
                let times = 1 << random.below(11);
                bytes.splice(start..start, copy.repeat(times));
            }
            7 | 8 => {
                if let Some(word) = random.of(self.words) {
                    bytes.splice(at..at, word.iter().copied());
                }
            }
            9 => {
                if let Some(word) = random.of(self.words) {
                    let end = (at + word.len()).min(bytes.len());
                    bytes.splice(at..end, word.iter().copied());
                }
            }
            10 => {
                let other = random.of(kept).cloned().unwrap_or_default();
                let from = random.below(other.len() + 1);
                let (start, end) = part(&other, from, random);
                let piece = other.get(start..end).unwrap_or_default().to_vec();
                let to = (at + random.below(2) * piece.len()).min(bytes.len());
                bytes.splice(at..to, piece);
            }
            11 => {
                let number = random.of(&NUMBERS).copied().unwrap_or_default().to_le_bytes();
                let width = 1 << random.below(4);
                let end = (at + width).min(bytes.len());
                bytes.splice(at..end, number.into_iter().take(width));
            }
            12 => number(bytes, at, random),
            _ => bytes.truncate(at),
        }
    }
}

/// A piece of at most some bytes, seldom of many.
fn part(bytes: &[u8], at: usize, random: &mut Random) -> (usize, usize) {
    let most = 1 << random.below(12);
    let length = random.below(most) + 1;
    let start = at.min(bytes.len());
    (start, (start + length).min(bytes.len()))
}

/// Another number in the place of the next one that is written in digits.
fn number(bytes: &mut Vec<u8>, at: usize, random: &mut Random) {
    let rest = bytes.get(at..).unwrap_or_default();
    let Some(skip) = rest.iter().position(u8::is_ascii_digit) else { return };
    let digits = rest.iter().skip(skip).take_while(|byte| byte.is_ascii_digit()).count();
    let decimal = random.of(&DECIMALS).copied().unwrap_or_default();
    bytes.splice(at + skip..at + skip + digits, decimal.bytes());
}
