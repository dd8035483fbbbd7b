//! What goes through the decoder in one pass: tokens, and which of them belong together.

use crate::ops::attention::Segment;

/// Tokens of several sequences in one packed row, without padding.
#[derive(Debug, Clone)]
pub struct Batch {
    pub tokens: Vec<u32>,
    pub positions: Vec<u32>,
    pub segments: Vec<Segment>,
    /// For each segment, the tokens of its whole sequence as far as they are known: some rotary positions depend on it.
    pub lengths: Vec<usize>,
}

impl Batch {
    /// Independent sequences, each from position 0.
    pub fn packed<'a>(sequences: impl IntoIterator<Item = &'a [u32]>) -> Batch {
        let mut batch =
            Batch { tokens: Vec::new(), positions: Vec::new(), segments: Vec::new(), lengths: Vec::new() };
        for sequence in sequences {
            let start = batch.tokens.len();
            batch.tokens.extend_from_slice(sequence);
            batch.positions.extend(0..sequence.len() as u32);
            let len = sequence.len();
            batch.segments.push(Segment { q_start: start, q_len: len, k_start: start, k_len: len });
            batch.lengths.push(len);
        }
        batch
    }

    /// One more token of each of several sequences: the token, and how many tokens before it are in the sequence's cache.
    pub fn next_of_each(next: impl IntoIterator<Item = (u32, usize)>) -> Batch {
        let mut batch = Batch::packed([]);
        for (row, (token, past)) in next.into_iter().enumerate() {
            batch.tokens.push(token);
            batch.positions.push(past as u32);
            batch.segments.push(Segment { q_start: row, q_len: 1, k_start: 0, k_len: past + 1 });
            batch.lengths.push(past + 1);
        }
        batch
    }

    /// The next tokens of a sequence whose first `past` tokens are in a cache.
    pub fn continuation(tokens: &[u32], past: usize) -> Batch {
        Self::part(tokens, past, past + tokens.len())
    }

    /// A [`continuation`](Self::continuation) of which more is known than is read now: the sequence will have `length` tokens.
    pub fn part(tokens: &[u32], past: usize, length: usize) -> Batch {
        Batch {
            lengths: vec![length.max(past + tokens.len())],
            tokens: tokens.to_vec(),
            positions: (past as u32..).take(tokens.len()).collect(),
            segments: vec![Segment {
                q_start: 0,
                q_len: tokens.len(),
                k_start: 0,
                k_len: past + tokens.len(),
            }],
        }
    }
}
