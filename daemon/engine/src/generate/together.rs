//! Several answers that take a step together: what a row costs is reading the weights, and rows that go through the decoder in one
//! pass read them once.
//!
//! Nothing is kept between two steps, so answers join and leave as they like. An answer has the same bits with others as alone.

use std::cmp::Reverse;

use hotplate_gemm::FEW_ROWS;
use rayon::prelude::*;

use super::{GenerateError, Generation, GenerationEvent, Turn};
use crate::base::Base;
use crate::decoder::{Batch, Group, KvCache};
use crate::device::in_pool;

/// Rows of one pass.
pub const MOST_TOGETHER: usize = 16;

// Up to so many rows are dotted one by one, each in the order that it has alone.
const _: () = assert!(MOST_TOGETHER <= FEW_ROWS);

/// One step of each answer, in their order. Those that [write](Turn::Writes) share a pass, up to [`MOST_TOGETHER`] of them; every other
/// takes its own. An answer that fails does not take others along.
pub fn step_together(
    base: &Base,
    answers: &mut [&mut Generation],
) -> Vec<Result<GenerationEvent, GenerateError>> {
    in_pool(|| {
        let mut events: Vec<_> = answers.iter().map(|_| None).collect();
        let (mut writing, mut others) = (Vec::new(), Vec::new());
        for (answer, event) in answers.iter_mut().zip(&mut events) {
            let list = if answer.turn(base) == Turn::Writes { &mut writing } else { &mut others };
            list.push((&mut **answer, event));
        }
        for (answer, event) in others {
            *event = Some(answer.advance(base));
        }
        // Rows of one adapter stand one behind the other, so that its factors are read once; which adapter is first does not matter.
        writing.sort_by_key(|(answer, _)| Reverse(identity(answer)));
        for pass in writing.chunks_mut(MOST_TOGETHER) {
            let (mut rows, places): (Vec<&mut Generation>, Vec<_>) =
                pass.iter_mut().map(|(answer, event)| (&mut **answer, event)).unzip();
            for (place, event) in places.into_iter().zip(write(base, &mut rows)) {
                **place = Some(event);
            }
        }
        // Every answer is in one of the two lists.
        events.into_iter().flatten().collect()
    })
}

/// The adapter's address: the same for answers that share it.
fn identity(answer: &Generation) -> Option<usize> {
    answer.adapter.as_ref().map(|adapter| std::sync::Arc::as_ptr(adapter).addr())
}

/// A token for each.
fn write(base: &Base, rows: &mut [&mut Generation]) -> Vec<Result<GenerationEvent, GenerateError>> {
    let alone = |rows: &mut [&mut Generation]| rows.iter_mut().map(|row| row.advance(base)).collect();
    if rows.len() < 2 {
        return alone(rows);
    }
    let read: Vec<usize> = rows.iter().map(|row| row.cache.len()).collect();
    let Ok(logits) = pass(base, rows) else {
        // Each by itself: then it shows which of them it is that fails.
        rows.iter_mut().zip(read).for_each(|(row, read)| row.cache.truncate(read));
        return alone(rows);
    };
    let drawn = rows.par_iter_mut().zip(&logits).map(|(row, logits)| row.write(logits));
    drawn.collect()
}

/// The logits of each row's next token.
fn pass(base: &Base, rows: &mut [&mut Generation]) -> candle_core::Result<Vec<candle_core::Tensor>> {
    let mut groups: Vec<Group> = Vec::new();
    let mut next = Vec::with_capacity(rows.len());
    let mut caches: Vec<&mut KvCache> = Vec::with_capacity(rows.len());
    let mut before = None;
    for row in rows.iter_mut() {
        row.prepare(base, 1)?;
        let identity = Some(identity(row));
        let Generation { adapter, cache, tokens, .. } = &mut **row;
        next.push((tokens[cache.len()], cache.len()));
        match groups.last_mut() {
            Some(group) if before == identity => group.rows += 1,
            _ => groups.push(Group { rows: 1, adapter: adapter.as_deref() }),
        }
        caches.push(cache);
        before = identity;
    }
    let hidden = base.decoder.forward_together(&Batch::next_of_each(next), &groups, &mut caches)?;
    let logits = base.decoder.logits_together(&hidden, &groups)?;
    (0..groups.iter().map(|group| group.rows).sum()).map(|row| logits.get(row)).collect()
}

#[cfg(test)]
mod tests;
