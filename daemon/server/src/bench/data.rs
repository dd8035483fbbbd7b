//! What is trained on: rows of random tokens, tokens from a file, or a dataset.

use std::fs;
use std::path::Path;

use anyhow::Context;
use hotplate_dataset::Limits;
use hotplate_engine::base_spec::{BaseSpec, Sample};
use hotplate_engine::encode_example::EncodeOptions;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

/// One line of a file of tokens, as Hugging Face's trainers have them in memory.
#[derive(Deserialize)]
struct Line {
    input_ids: Vec<u32>,
    /// -100 where a token carries no loss. Without labels, all do.
    labels: Option<Vec<i64>>,
}

/// Random tokens, all of them supervised.
pub(super) fn random_rows(rows: usize, tokens: usize, vocab: usize, seed: u64) -> Vec<Sample> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..rows)
        .map(|_| Sample {
            tokens: random_tokens(&mut rng, tokens, vocab),
            supervised: (0..tokens).map(|index| index > 0).collect(),
            truncated: false,
        })
        .collect()
}

pub(super) fn random_tokens(rng: &mut ChaCha8Rng, tokens: usize, vocab: usize) -> Vec<u32> {
    (0..tokens).map(|_| rng.random_range(0..vocab as u32)).collect()
}

/// The samples of a path: a `.jsonl` file whose lines have `input_ids` (and `labels`) as they are, a folder as training reads it.
pub(super) fn read(path: &Path, text: &BaseSpec, max_tokens: usize) -> anyhow::Result<Vec<Sample>> {
    if path.is_file() {
        return tokens_of(path, text.config.vocab, max_tokens);
    }
    let dataset = hotplate_dataset::read(path, &Limits::default())?;
    let encoded = dataset
        .examples
        .iter()
        .map(|example| text.encode_example(&example.content, &EncodeOptions::new(max_tokens)));
    Ok(encoded.collect::<Result<Vec<_>, _>>()?)
}

fn tokens_of(file: &Path, vocab: usize, max_tokens: usize) -> anyhow::Result<Vec<Sample>> {
    let content = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let lines = content.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(index, line)| {
            let place = || {
                format!(
                    "{}:{}: a line of tokens looks like {{\"input_ids\": [1, 2], \"labels\": [-100, 2]}}; give a folder for texts",
                    file.display(),
                    index + 1
                )
            };
            let line: Line = serde_json::from_str(line).with_context(place)?;
            sample(line, vocab, max_tokens).with_context(place)
        })
        .collect()
}

fn sample(line: Line, vocab: usize, max_tokens: usize) -> anyhow::Result<Sample> {
    let mut tokens = line.input_ids;
    if let Some(token) = tokens.iter().find(|token| **token as usize >= vocab) {
        anyhow::bail!("the token {token} is outside the vocabulary of {vocab}");
    }
    let mut supervised = match &line.labels {
        Some(labels) => {
            anyhow::ensure!(labels.len() == tokens.len(), "there are not as many labels as tokens");
            labels.iter().map(|label| *label >= 0).collect()
        }
        None => vec![true; tokens.len()],
    };
    if let Some(first) = supervised.first_mut() {
        *first = false;
    }
    let truncated = tokens.len() > max_tokens;
    tokens.truncate(max_tokens);
    supervised.truncate(max_tokens);
    Ok(Sample { tokens, supervised, truncated })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_tokens() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tokens.jsonl");
        fs::write(
            &file,
            "{\"input_ids\": [1, 2, 3], \"labels\": [-100, -100, 3]}\n\n{\"input_ids\": [4, 5]}\n",
        )
        .unwrap();
        let samples = tokens_of(&file, 10, 100).unwrap();
        assert_eq!(samples[0].supervised, [false, false, true]);
        assert_eq!(samples[1].tokens, [4, 5]);
        assert_eq!(samples[1].supervised, [false, true]);
        let error = tokens_of(&file, 5, 100).unwrap_err();
        assert!(format!("{error:#}").contains(":3:") && format!("{error:#}").contains("vocabulary"));
    }

    #[test]
    fn random_rows_follow_from_the_seed() {
        let rows = random_rows(2, 5, 7, 1);
        assert_eq!(rows, random_rows(2, 5, 7, 1));
        assert_ne!(rows[0], rows[1]);
        assert!(rows.iter().flat_map(|row| &row.tokens).all(|token| *token < 7));
        assert_eq!(rows[0].supervised_tokens(), 4);
    }
}
