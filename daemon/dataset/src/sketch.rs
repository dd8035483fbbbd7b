//! By what a text is known again after an edit: a sketch of its pieces, far smaller than the text (MinHash, Broder 1997, in
//! its one-permutation form, Li et al. 2012).

use serde::{Deserialize, Serialize};

use crate::content::Content;

/// Places of a sketch, each with the least of the hashes that fall there; the error of a likeness is about 1 / √n, here a tenth.
const HASHES: usize = 96;
/// Of a place where no hash fell.
const NOTHING: u32 = u32::MAX;
/// Characters of each piece.
const PIECE: usize = 4;

/// Texts of the same words have the same sketch, whatever their spaces and line ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sketch(Vec<u32>);

impl Sketch {
    /// From here on, one text is an edit of the other rather than another text.
    pub const EDITED: f64 = 0.5;

    pub fn of(content: &Content) -> Sketch {
        let characters: Vec<char> = content.words().chars().filter(|each| !each.is_whitespace()).collect();
        let mut least = vec![NOTHING; HASHES];
        let whole = characters.len().clamp(1, PIECE);
        for piece in characters.windows(whole) {
            let hash = piece
                .iter()
                .fold(0xcbf2_9ce4_8422_2325_u64, |state, each| mix(state ^ u64::from(u32::from(*each))));
            let place = hash as usize % HASHES;
            if let Some(least) = least.get_mut(place) {
                *least = ((hash >> 32) as u32).min(NOTHING - 1).min(*least);
            }
        }
        Sketch(least)
    }

    /// The share of pieces that two texts have in common, estimated; 0 to 1.
    pub fn likeness(&self, other: &Sketch) -> f64 {
        let places =
            || self.0.iter().zip(&other.0).filter(|(one, other)| **one != NOTHING || **other != NOTHING);
        let same = places().filter(|(one, other)| one == other).count();
        match places().count() {
            0 => 1.0,
            all => same as f64 / all as f64,
        }
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|hash| hash.to_le_bytes()).collect()
    }

    /// `None`: not written by [`to_bytes`](Self::to_bytes).
    pub fn from_bytes(bytes: &[u8]) -> Option<Sketch> {
        let hashes: Vec<u32> = bytes
            .chunks_exact(4)
            .filter_map(|four| Some(u32::from_le_bytes(four.try_into().ok()?)))
            .collect();
        (bytes.len() == 4 * HASHES).then_some(Sketch(hashes))
    }
}

/// The finaliser of SplitMix64.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sketch(text: &str) -> Sketch {
        Sketch::of(&Content::Text(text.to_owned()))
    }

    const NOTE: &str = "The bakery on the corner opens at six. The rye bread is gone by nine, and the woman behind the counter knows everybody's \
                        name and what they had last week.";

    #[test]
    fn an_edit_is_known_again_and_another_text_is_not() {
        let note = sketch(NOTE);
        assert!((note.likeness(&sketch(&NOTE.replace(' ', "\n"))) - 1.0).abs() < f64::EPSILON);
        let edited = sketch(&NOTE.replace("at six", "at half past six").replace("last week", "on Sunday"));
        assert!(note.likeness(&edited) > Sketch::EDITED, "{}", note.likeness(&edited));
        let other = sketch(
            "The tea house by the river has a stove in the middle. Nobody hurries you, and the second pot is free if you bring your own cup.",
        );
        assert!(note.likeness(&other) < 0.2, "{}", note.likeness(&other));
        let chinese = sketch("街角的面包店六点开门，黑麦面包九点就卖完了。");
        assert!(chinese.likeness(&sketch("街角的面包店六点半开门，黑麦面包九点就卖完了。")) > Sketch::EDITED);
        assert!(chinese.likeness(&note) < 0.1);
    }

    #[test]
    fn bytes_bring_it_back_and_short_texts_have_one_too() {
        let note = sketch(NOTE);
        assert_eq!(Sketch::from_bytes(&note.to_bytes()), Some(note));
        assert_eq!(Sketch::from_bytes(b"odd"), None);
        assert!((sketch("a").likeness(&sketch("a")) - 1.0).abs() < f64::EPSILON);
        assert!(sketch("a").likeness(&sketch("b")) < 0.1);
        assert!((sketch("").likeness(&sketch("")) - 1.0).abs() < f64::EPSILON);
    }
}
