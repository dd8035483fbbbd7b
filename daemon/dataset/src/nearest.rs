//! Which examples are nearest to a prompt, by the words that they share (BM25; Robertson and Zaragoza, 2009).
//!
//! Owns what a word is. How many examples are taken, and whether they fit anywhere, is not known here.

use bm25::{Embedder, EmbedderBuilder, Scorer, Tokenizer};

use crate::content::Example;

/// A folder's examples, ready to be ranked for any prompt.
pub struct Nearest {
    words: Embedder<u64, Words>,
    scorer: Scorer<usize, u64>,
    examples: usize,
}

impl Nearest {
    pub fn among(examples: &[Example]) -> Nearest {
        let texts: Vec<String> = examples.iter().map(text).collect();
        let corpus: Vec<&str> = texts.iter().map(String::as_str).collect();
        let words = EmbedderBuilder::with_tokenizer_and_fit_to_corpus(Words, &corpus).build();
        let mut scorer = Scorer::new();
        for (at, text) in texts.iter().enumerate() {
            scorer.upsert(&at, words.embed(text));
        }
        Nearest { words, scorer, examples: examples.len() }
    }

    /// All examples by their place, the nearest first. Equals stand in their own order; those that share no word with the
    /// prompt come last.
    pub fn to(&self, prompt: &str) -> Vec<usize> {
        let prompt = self.words.embed(prompt);
        let mut scores = vec![0.0_f32; self.examples];
        for found in self.scorer.matches(&prompt) {
            scores[found.id] = found.score;
        }
        let mut order: Vec<usize> = (0..self.examples).collect();
        order.sort_by(|one, other| scores[*other].total_cmp(&scores[*one]));
        order
    }
}

/// What is compared with a prompt.
fn text(example: &Example) -> String {
    let title = example.title.as_deref().unwrap_or_default();
    format!("{title}\n{}", example.content.words())
}

/// Letters and digits between anything else, in lower case. Scripts that put no space between words have their pairs of
/// signs for words, as search engines do it.
struct Words;

impl Tokenizer for Words {
    fn tokenize(&self, text: &str) -> Vec<String> {
        let mut words = Vec::new();
        for run in text.split(|char: char| !char.is_alphanumeric()) {
            let mut word = String::new();
            let mut signs: Vec<char> = Vec::new();
            for char in run.chars() {
                if is_sign(char) {
                    close_word(&mut word, &mut words);
                    signs.push(char);
                } else {
                    close_signs(&mut signs, &mut words);
                    word.extend(char.to_lowercase());
                }
            }
            close_word(&mut word, &mut words);
            close_signs(&mut signs, &mut words);
        }
        words
    }
}

fn close_word(word: &mut String, words: &mut Vec<String>) {
    if !word.is_empty() {
        words.push(std::mem::take(word));
    }
}

fn close_signs(signs: &mut Vec<char>, words: &mut Vec<String>) {
    match signs.as_slice() {
        [] => {}
        [one] => words.push(one.to_string()),
        several => words.extend(several.windows(2).map(String::from_iter)),
    }
    signs.clear();
}

/// Han, the Japanese syllables, and what stands between their blocks.
fn is_sign(char: char) -> bool {
    matches!(char, '\u{3005}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{3134f}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::text_example;

    fn nearest(texts: &[&str], prompt: &str) -> Vec<usize> {
        let examples: Vec<Example> = texts.iter().map(|text| text_example(text)).collect();
        Nearest::among(&examples).to(prompt)
    }

    #[test]
    fn words_of_any_script() {
        let words = |text: &str| Words.tokenize(text).join(" ");
        assert_eq!(words("Don't SHOUT, Élodie: 24h!"), "don t shout élodie 24h");
        assert_eq!(words("巷口的面馆，汤浓"), "巷口 口的 的面 面馆 汤浓");
        assert_eq!(words("吃了iPhone面"), "吃了 iphone 面");
        assert_eq!(words("パン屋は"), "パン ン屋 屋は");
        assert_eq!(words(" \n—"), "");
    }

    #[test]
    fn a_rare_word_counts_more_than_common_ones() {
        let notes = [
            "The market was empty and the rain was cold and the bus was late.",
            "The bakery on the corner sells rye bread.",
            "A tea house by the river.",
        ];
        assert_eq!(nearest(&notes, "the bakery and the bread")[0], 1);
        assert_eq!(nearest(&notes, "A river tea"), [2, 0, 1]);
        assert_eq!(nearest(&notes, "Zeppelin"), [0, 1, 2]);
        assert_eq!(nearest(&notes, ""), [0, 1, 2]);
        assert_eq!(nearest(&[], "tea"), [] as [usize; 0]);
    }

    #[test]
    fn chinese_finds_chinese() {
        let notes = ["今天去爬山，风很大。", "巷口的面馆换了老板，汤还是那么浓。", "面包店六点开门。"];
        assert_eq!(nearest(&notes, "写一段关于面馆的短文")[0], 1);
        assert_eq!(nearest(&notes, "面包")[0], 2);
    }

    #[test]
    fn a_title_counts() {
        let mut examples = vec![text_example("It rained."), text_example("It snowed.")];
        examples[1].title = Some("The harbour".to_owned());
        assert_eq!(Nearest::among(&examples).to("harbour"), [1, 0]);
    }
}
