//! Which language a text is in, well enough to put an instruction before it in the same one.
//!
//! Scripts tell most; among languages in Latin letters, the commonest small words do. English where nothing tells.

/// Languages that an instruction can be in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    English,
    Chinese,
    Japanese,
    Korean,
    Russian,
    German,
    French,
    Spanish,
}

/// More of a text tells nothing new.
const ENOUGH_CHARACTERS: usize = 4000;

impl Language {
    pub(crate) fn of(text: &str) -> Language {
        let (mut han, mut kana, mut hangul, mut cyrillic, mut latin) = (0, 0, 0, 0, 0);
        for char in text.chars().take(ENOUGH_CHARACTERS) {
            match char {
                '\u{4e00}'..='\u{9fff}' | '\u{3400}'..='\u{4dbf}' => han += 1,
                '\u{3040}'..='\u{30ff}' => kana += 1,
                '\u{ac00}'..='\u{d7af}' => hangul += 1,
                '\u{400}'..='\u{4ff}' => cyrillic += 1,
                _ if char.is_alphabetic() => latin += 1,
                _ => {}
            }
        }
        // One sign of a script without spaces says as much as several letters.
        let east = 3 * (han + kana + hangul);
        if east > latin && east > cyrillic {
            if hangul > han + kana {
                return Language::Korean;
            }
            // Japanese is never without its syllables for long; a Chinese text may quote a few.
            return if 5 * kana > han { Language::Japanese } else { Language::Chinese };
        }
        if cyrillic > latin { Language::Russian } else { Language::in_latin_letters(text) }
    }

    fn in_latin_letters(text: &str) -> Language {
        let words: [(Language, &[&str]); 4] = [
            (
                Language::English,
                &["the", "and", "of", "is", "was", "with", "for", "it", "that", "this", "are", "we"],
            ),
            (
                Language::German,
                &["der", "die", "das", "und", "ist", "nicht", "ein", "eine", "mit", "von", "wir", "war"],
            ),
            (
                Language::French,
                &["le", "les", "des", "et", "est", "une", "dans", "pas", "du", "pour", "que", "qui"],
            ),
            (
                Language::Spanish,
                &["el", "los", "las", "y", "es", "una", "con", "del", "por", "para", "que", "muy"],
            ),
        ];
        let mut counts = [0; 4];
        let start = text.char_indices().nth(ENOUGH_CHARACTERS).map_or(text, |(end, _)| &text[..end]);
        for word in start.split(|char: char| !char.is_alphabetic()) {
            let word = word.to_lowercase();
            for (count, (_, known)) in counts.iter_mut().zip(&words) {
                *count += usize::from(known.contains(&word.as_str()));
            }
        }
        let mut best = (Language::English, counts[0]);
        for (count, (language, _)) in counts.into_iter().zip(&words) {
            if count > best.1 {
                best = (*language, count);
            }
        }
        best.0
    }

    /// Asks for a text of this title.
    pub(crate) fn instruction(self, title: &str) -> String {
        match self {
            Language::English => format!("Write a text titled “{title}”."),
            Language::Chinese => format!("写一篇题为《{title}》的文章。"),
            Language::Japanese => format!("「{title}」という題の文章を書いてください。"),
            Language::Korean => format!("‘{title}’이라는 제목의 글을 써 주세요."),
            Language::Russian => format!("Напиши текст под названием «{title}»."),
            Language::German => format!("Schreibe einen Text mit dem Titel „{title}“."),
            Language::French => format!("Écris un texte intitulé « {title} »."),
            Language::Spanish => format!("Escribe un texto titulado «{title}»."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_is_enough() {
        for (text, language) in [
            ("", Language::English),
            ("12:30, 4 €", Language::English),
            ("The soup was good and the bread too.", Language::English),
            ("巷口的面馆换了老板，汤还是那么浓。", Language::Chinese),
            ("我在 Berlin 的 KaDeWe 吃了一碗面，很好。", Language::Chinese),
            ("駅前のパン屋は朝七時に開く。", Language::Japanese),
            ("시장 골목의 국수집은 오늘도 줄이 길다.", Language::Korean),
            ("Суп был горячий и густой.", Language::Russian),
            ("Die Suppe war heiß und das Brot nicht.", Language::German),
            ("La soupe est bonne et le pain dans la rue aussi.", Language::French),
            ("La sopa es muy buena y el pan también.", Language::Spanish),
        ] {
            assert_eq!(Language::of(text), language, "{text}");
            assert!(language.instruction("X y").contains("X y"));
        }
    }
}
