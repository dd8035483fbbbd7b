//! The corpus as tokens: documents from the grammar in three forms (bare note, titled note, question and answer), and the tokenizer
//! trained on them.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use hotplate_engine::sample::Sample;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::tokenizer::SplitDelimiterBehavior;
use tokenizers::{AddedToken, PreTokenizerWrapper, Tokenizer, models::TrainerWrapper};

use crate::files::{END, SPECIAL, VOCABULARY};
use crate::grammar::Grammar;

macro_rules! language {
    ($folder:literal) => {
        [
            ("words", include_str!(concat!("corpus/", $folder, "/words.txt"))),
            ("shops", include_str!(concat!("corpus/", $folder, "/shops.txt"))),
            ("food", include_str!(concat!("corpus/", $folder, "/food.txt"))),
            ("travel", include_str!(concat!("corpus/", $folder, "/travel.txt"))),
            ("daily", include_str!(concat!("corpus/", $folder, "/daily.txt"))),
            ("voices", include_str!(concat!("corpus/", $folder, "/voices.txt"))),
        ]
    };
}

/// The last one is loose on purpose: wide words and many habits of style, so that the model is not over-sure of the other four.
/// A name's share here is its share of the documents.
const DOMAINS: [&str; 8] = ["shops", "food", "travel", "daily", "shops", "food", "voices", "voices"];
const TOKENIZER_DOCUMENTS: usize = 40_000;

pub(crate) struct Corpus {
    languages: [Grammar; 2],
}

impl Corpus {
    pub(crate) fn parse() -> Result<Corpus> {
        Ok(Corpus {
            languages: [
                Grammar::parse(&language!("en")).context("the English grammar")?,
                Grammar::parse(&language!("zh")).context("the Chinese grammar")?,
            ],
        })
    }

    pub(crate) fn clause_patterns(&self) -> usize {
        self.languages.iter().map(Grammar::clause_patterns).sum()
    }

    /// One document with its special tokens written out.
    fn document(&self, rng: &mut impl Rng) -> String {
        let grammar = &self.languages[usize::from(rng.random_bool(0.5))];
        let domain = DOMAINS.choose(rng).copied().unwrap_or("daily");
        let document = grammar.document(domain, rng);
        match rng.random_range(0..20) {
            0..9 => format!("{}{END}", document.note),
            9..11 => format!("{}\n\n{}{END}", document.title, document.note),
            _ => format!("<|user|>\n{}{END}\n<|assistant|>\n{}{END}\n", document.ask, document.note),
        }
    }

    pub(crate) fn sample(&self, tokenizer: &Tokenizer, rng: &mut impl Rng) -> Result<Sample> {
        let encoding = tokenizer.encode(self.document(rng), false).map_err(|error| anyhow!("{error}"))?;
        let tokens = encoding.get_ids().to_vec();
        Ok(Sample { supervised: vec![true; tokens.len()], tokens, truncated: false })
    }
}

/// The tokenizer of a folder that an earlier run wrote.
pub(crate) fn read_tokenizer(folder: &Path) -> Result<Tokenizer> {
    let file = folder.join("tokenizer.json");
    Tokenizer::from_file(&file).map_err(|error| anyhow!("{}: {error}", file.display()))
}

/// Byte-level BPE. Each Chinese character is a word of its own, so that merges never swallow whole phrases of the grammar.
pub(crate) fn train_tokenizer(corpus: &Corpus, seed: u64) -> Result<Tokenizer> {
    let failed = |error: tokenizers::Error| anyhow!("the tokenizer: {error}");
    let mut tokenizer = Tokenizer::new(BPE::default());
    let characters =
        Split::new(SplitPattern::Regex(r"\p{Han}".to_owned()), SplitDelimiterBehavior::Isolated, false)
            .map_err(failed)?;
    tokenizer.with_pre_tokenizer(Some(PreTokenizerWrapper::Sequence(Sequence::new(vec![
        PreTokenizerWrapper::Split(characters),
        PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, true, true)),
    ]))));
    tokenizer.with_decoder(Some(ByteLevel::new(false, true, true)));
    let special: Vec<AddedToken> = SPECIAL.iter().map(|token| AddedToken::from(*token, true)).collect();
    let trainer = BpeTrainerBuilder::new()
        .show_progress(false)
        .vocab_size(VOCABULARY)
        .min_frequency(2)
        .special_tokens(special)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .build();
    let mut rng = ChaCha8Rng::seed_from_u64(seed.wrapping_add(5));
    // Special tokens are taken out: merges must never learn their letters.
    let texts: Vec<String> = (0..TOKENIZER_DOCUMENTS)
        .map(|_| SPECIAL.iter().fold(corpus.document(&mut rng), |text, token| text.replace(token, " ")))
        .collect();
    let mut trainer = TrainerWrapper::from(trainer);
    tokenizer.train(&mut trainer, texts.into_iter()).map_err(failed)?;
    Ok(tokenizer)
}
