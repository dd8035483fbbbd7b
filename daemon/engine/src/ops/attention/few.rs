//! Attention of a few queries over many keys, as when a token is written behind a long text: a product of matrices would spend its time on
//! laying out the keys, which are read once.
//!
//! Keys are cut into stretches of a fixed length, so that threads share the work and the bits do not depend on their number. Each stretch has its own
//! maximum and normaliser, and they are joined in order.

use hotplate_gemm::{Matrix, exp, maximum, new_product, sum, wide};
use rayon::prelude::*;

use super::{Heads, Keys, Segment, visible};

/// Segments of so many queries or fewer come here.
pub(super) const MOST_QUERIES: usize = 8;
/// Keys of a stretch.
const STRETCH: usize = 256;

/// One query row of one key head, over one stretch of keys.
#[derive(Clone, Copy)]
struct Task {
    segment: Segment,
    row: usize,
    kv_head: usize,
    /// The first key, and how many.
    keys: (usize, usize),
}

/// What a stretch gives for the query heads that share its key head.
struct Partial {
    tops: Vec<f32>,
    sums: Vec<f32>,
    /// Not yet divided by the sums: `[group, d]`.
    mixture: Vec<f32>,
}

/// Fills the rows of these segments in `mixed` (`[tokens, heads, d]`) and `normalisers` (`[tokens, heads]`).
pub(super) fn forward(
    (qs, ks, vs): (&[f32], &Keys, &Keys),
    segments: &[Segment],
    shape: Heads,
    (mixed, normalisers): (&mut [f32], &mut [f32]),
) {
    let mut tasks = Vec::new();
    for &segment in segments {
        for row in 0..segment.q_len {
            for kv_head in 0..shape.kv_heads {
                let (from, to) = visible(segment, row, shape);
                for start in (from..to).step_by(STRETCH) {
                    let keys = (start, STRETCH.min(to - start));
                    tasks.push(Task { segment, row, kv_head, keys });
                }
            }
        }
    }
    let partials: Vec<Partial> = if tasks.len() > 4 {
        tasks.par_iter().map(|task| stretch(qs, ks, vs, *task, shape)).collect()
    } else {
        tasks.iter().map(|task| stretch(qs, ks, vs, *task, shape)).collect()
    };
    let (group, width) = (shape.group(), shape.width);
    let mut from = 0;
    while let Some(first) = tasks.get(from) {
        let same = |task: &&Task| {
            task.segment == first.segment && task.row == first.row && task.kv_head == first.kv_head
        };
        let to = from + tasks[from..].iter().take_while(same).count();
        let parts = &partials[from..to];
        for member in 0..group {
            let place = (first.segment.q_start + first.row) * shape.heads + first.kv_head * group + member;
            let target = &mut mixed[place * width..][..width];
            let top = parts.iter().map(|part| part.tops[member]).fold(f32::NEG_INFINITY, f32::max);
            let mut sum = 0f32;
            target.fill(0.0);
            for part in parts {
                let weight = exp(part.tops[member] - top);
                sum += weight * part.sums[member];
                for (y, x) in target.iter_mut().zip(&part.mixture[member * width..][..width]) {
                    *y += weight * x;
                }
            }
            target.iter_mut().for_each(|y| *y /= sum);
            normalisers[place] = top + sum.ln();
        }
        from = to;
    }
}

fn stretch(qs: &[f32], ks: &Keys, vs: &Keys, task: Task, shape: Heads) -> Partial {
    let (group, width) = (shape.group(), shape.width);
    let (start, len) = task.keys;
    let first_query = ((task.segment.q_start + task.row) * shape.heads + task.kv_head * group) * width;
    let queries = Matrix::rows(&qs[first_query..first_query + group * width], width);
    let keys = ks.of(task.segment, start, task.kv_head).transposed();
    let mut weights = new_product((group, width, len), queries, keys, None);
    let (tops, sums) = soften(&mut weights, len, shape.scale);
    let values = vs.of(task.segment, start, task.kv_head);
    let mixture = new_product((group, len, width), Matrix::rows(&weights, len), values, None);
    Partial { tops, sums, mixture }
}

wide! {
    /// Scores to weights, line by line: what they are less than the line's largest, to the power of `e`. The largest ones, and the sums.
    fn soften(weights: &mut [f32], len: usize, scale: f32) -> (Vec<f32>, Vec<f32>) {
        let (mut tops, mut sums) = (Vec::new(), Vec::new());
        for line in weights.chunks_exact_mut(len) {
            line.iter_mut().for_each(|weight| *weight *= scale);
            let top = maximum(line);
            for weight in line.iter_mut() {
                *weight = exp(*weight - top);
            }
            tops.push(top);
            sums.push(sum(line));
        }
        (tops, sums)
    }
}
