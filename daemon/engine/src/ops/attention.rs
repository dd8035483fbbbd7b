//! Block-diagonal causal attention over packed rows: each segment attends to itself only, so nothing is padded. With a window, a query
//! sees the last so many keys only, and blocks of keys before it are never touched.
//!
//! No `L x L` tensor is kept for backward: the log of each row's normaliser is, and the weights are computed again block by block
//! (Dao et al. 2022, <https://arxiv.org/abs/2205.14135>).

mod few;

use candle_core::{Result, Tensor};
use hotplate_gemm::{Accumulate, Matrix, dot, exp, maximum, new_product, product, sum, wide};
use rayon::prelude::*;

use super::host::{HostLines, HostRead, HostSlice, on_host};

/// Query rows that one block handles.
const BLOCK: usize = 64;

/// One sequence inside a packed row: `q_len` queries from row `q_start` see keys from row `k_start`. The last query sees
/// all `k_len` keys, the one before it all but the last, and so on; `q_len < k_len` when keys come from a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    pub q_start: usize,
    pub q_len: usize,
    pub k_start: usize,
    pub k_len: usize,
}

/// Head counts and the head's width; `heads` is a multiple of `kv_heads`. How they look at keys.
#[derive(Debug, Clone, Copy)]
pub struct Heads {
    pub heads: usize,
    pub kv_heads: usize,
    pub width: usize,
    /// Factor on the products of queries and keys.
    pub scale: f32,
    /// A query sees so many of the last keys, its own among them; all without it. At least 1.
    pub window: Option<usize>,
}

impl Heads {
    fn group(self) -> usize {
        self.heads / self.kv_heads
    }
}

/// Keys, or values, of all key heads.
struct Keys<'a> {
    values: HostRead<'a>,
    /// From one key's line to the next one's, and from one head's.
    steps: (usize, usize),
}

impl<'a> Keys<'a> {
    fn new(lines: &'a HostLines) -> Result<Self> {
        Ok(Self { values: lines.read()?, steps: lines.steps() })
    }

    /// A head's lines of a segment from its key `first` on.
    fn of(&self, segment: Segment, first: usize, kv_head: usize) -> Matrix<'_, f32> {
        let (key, head) = self.steps;
        Matrix::rows(&self.values[(segment.k_start + first) * key + kv_head * head..], key)
    }
}

/// `q: [tokens, heads, d]`, `k` and `v: [keys, kv_heads, d]`, whose lines may lie anywhere. Returns the mixture `[tokens, heads, d]` and the log
/// normalisers `[tokens, heads]` that backward needs.
pub fn forward(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    segments: &[Segment],
    shape: Heads,
) -> Result<(Tensor, Tensor)> {
    if !on_host(q) {
        return composed(q, k, v, segments, shape);
    }
    let tokens = q.dim(0)?;
    let (qs, ks, vs) = (HostSlice::new(q)?, HostLines::new(k)?, HostLines::new(v)?);
    let (qs, ks, vs) = (qs.read()?, Keys::new(&ks)?, Keys::new(&vs)?);
    let mut mixed = vec![0f32; tokens * shape.heads * shape.width];
    let mut normalisers = vec![0f32; tokens * shape.heads];
    let (few, many): (Vec<Segment>, Vec<Segment>) =
        segments.iter().partition(|segment| segment.q_len <= few::MOST_QUERIES);
    few::forward((&qs, &ks, &vs), &few, shape, (&mut mixed, &mut normalisers));
    let tasks: Vec<(Segment, usize, usize)> = many
        .iter()
        .flat_map(|segment| {
            (0..segment.q_len)
                .step_by(BLOCK)
                .flat_map(move |row| (0..shape.heads).map(move |head| (*segment, row, head)))
        })
        .collect();
    let blocks: Vec<(Vec<f32>, Vec<f32>)> = tasks
        .par_iter()
        .map(|&(segment, row, head)| {
            let rows = BLOCK.min(segment.q_len - row);
            let (first, mut weights) = scores(&qs, &ks, segment, (row, rows), head, shape);
            let keys = weights.len() / rows;
            let seen = seen(segment, (row, rows), first, shape);
            let normalisers = softmax(&mut weights, &seen, shape.scale);
            let mixture = new_product(
                (rows, keys, shape.width),
                Matrix::rows(&weights, keys),
                vs.of(segment, first, head / shape.group()),
                None,
            );
            (mixture, normalisers)
        })
        .collect();
    for (&(segment, row, head), (mixture, normaliser)) in tasks.iter().zip(&blocks) {
        for (index, (line, value)) in mixture.chunks_exact(shape.width).zip(normaliser).enumerate() {
            let place = (segment.q_start + row + index) * shape.heads + head;
            mixed[place * shape.width..][..shape.width].copy_from_slice(line);
            normalisers[place] = *value;
        }
    }
    Ok((
        Tensor::from_vec(mixed, (tokens, shape.heads, shape.width), q.device())?,
        Tensor::from_vec(normalisers, (tokens, shape.heads), q.device())?,
    ))
}

/// What the forward pass left behind.
pub struct Saved<'a> {
    pub q: &'a Tensor,
    pub k: &'a Tensor,
    pub v: &'a Tensor,
    /// The mixture that forward returned.
    pub y: &'a Tensor,
    pub normalisers: &'a Tensor,
}

/// `(dq, dk, dv)` for `dy: [tokens, heads, d]`. Keys and queries are of the same rows (no cache is trained through).
pub fn backward(
    saved: &Saved,
    dy: &Tensor,
    segments: &[Segment],
    shape: Heads,
) -> Result<(Tensor, Tensor, Tensor)> {
    if !on_host(dy) {
        return composed_backward(saved, dy, segments, shape);
    }
    let (tokens, keys_total) = (saved.q.dim(0)?, saved.k.dim(0)?);
    let [qs, ys, ns, dys] = [saved.q, saved.y, saved.normalisers, dy].map(HostSlice::new);
    let (qs, ys, ns, dys) = (qs?, ys?, ns?, dys?);
    let (qs, ys, ns, dys) = (qs.read()?, ys.read()?, ns.read()?, dys.read()?);
    let (ks, vs) = (HostLines::new(saved.k)?, HostLines::new(saved.v)?);
    let (ks, vs) = (Keys::new(&ks)?, Keys::new(&vs)?);
    let (width, group) = (shape.width, shape.group());

    // One task owns a segment's key head and the query heads that share it, so that every sum has one owner and one order.
    let tasks: Vec<(Segment, usize)> = segments
        .iter()
        .flat_map(|segment| (0..shape.kv_heads).map(move |kv_head| (*segment, kv_head)))
        .collect();
    let gradients: Vec<[Vec<f32>; 3]> = tasks
        .par_iter()
        .map(|&(segment, kv_head)| {
            let mut dq = vec![0f32; segment.q_len * group * width];
            let mut dk = vec![0f32; segment.k_len * width];
            let mut dv = vec![0f32; segment.k_len * width];
            for member in 0..group {
                let head = kv_head * group + member;
                for row in (0..segment.q_len).step_by(BLOCK) {
                    let rows = BLOCK.min(segment.q_len - row);
                    let (first_key, mut weights) = scores(&qs, &ks, segment, (row, rows), head, shape);
                    let keys = weights.len() / rows;
                    let first = (segment.q_start + row) * shape.heads + head;
                    let stride = shape.heads * width;
                    // A head's rows close together: each meets several products.
                    let lines = |values: &[f32]| -> Vec<f32> {
                        let mut close = Vec::with_capacity(rows * width);
                        for row in 0..rows {
                            close.extend_from_slice(&values[first * width + row * stride..][..width]);
                        }
                        close
                    };
                    let (q, y, dy) = (lines(&qs), lines(&ys), lines(&dys));
                    let normalisers: Vec<f32> = (0..rows).map(|row| ns[first + row * shape.heads]).collect();
                    let seen = seen(segment, (row, rows), first_key, shape);
                    again(&mut weights, &normalisers, &seen, shape.scale);
                    let dy_rows = Matrix::rows(&dy, width);
                    product(
                        (keys, rows, width),
                        (&mut dv[first_key * width..], width),
                        Matrix::rows(&weights, keys).transposed(),
                        dy_rows,
                        Accumulate::Target,
                    );
                    let values = vs.of(segment, first_key, kv_head).transposed();
                    let mut slopes = new_product((rows, width, keys), dy_rows, values, None);
                    through_softmax(&mut slopes, &weights, &y, &dy, width, shape.scale);
                    let slope_rows = Matrix::rows(&slopes, keys);
                    product(
                        (rows, keys, width),
                        (&mut dq[(row * group + member) * width..], group * width),
                        slope_rows,
                        ks.of(segment, first_key, kv_head),
                        Accumulate::Zero,
                    );
                    product(
                        (keys, rows, width),
                        (&mut dk[first_key * width..], width),
                        slope_rows.transposed(),
                        Matrix::rows(&q, width),
                        Accumulate::Target,
                    );
                }
            }
            [dq, dk, dv]
        })
        .collect();

    let mut dq = vec![0f32; tokens * shape.heads * width];
    let mut dk = vec![0f32; keys_total * shape.kv_heads * width];
    let mut dv = vec![0f32; keys_total * shape.kv_heads * width];
    for (&(segment, kv_head), [task_dq, task_dk, task_dv]) in tasks.iter().zip(&gradients) {
        for (index, line) in task_dq.chunks_exact(group * width).enumerate() {
            let place = ((segment.q_start + index) * shape.heads + kv_head * group) * width;
            dq[place..place + group * width].copy_from_slice(line);
        }
        for (total, part) in [(&mut dk, task_dk), (&mut dv, task_dv)] {
            for (index, line) in part.chunks_exact(width).enumerate() {
                let place = ((segment.k_start + index) * shape.kv_heads + kv_head) * width;
                total[place..place + width].copy_from_slice(line);
            }
        }
    }
    let device = dy.device();
    Ok((
        Tensor::from_vec(dq, saved.q.dims(), device)?,
        Tensor::from_vec(dk, saved.k.dims(), device)?,
        Tensor::from_vec(dv, saved.v.dims(), device)?,
    ))
}

/// The keys of a segment that its query `row` sees: from the first one to before the second.
fn visible(segment: Segment, row: usize, shape: Heads) -> (usize, usize) {
    let end = segment.k_len - segment.q_len + row + 1;
    (shape.window.map_or(0, |window| end.saturating_sub(window.max(1))), end)
}

/// Products of a block of queries with the keys from the first that its first row sees to the last that its last row sees; neither scaled
/// nor masked. Also which key is the first.
fn scores(
    qs: &[f32],
    ks: &Keys,
    segment: Segment,
    (row, rows): (usize, usize),
    head: usize,
    shape: Heads,
) -> (usize, Vec<f32>) {
    let (first, _) = visible(segment, row, shape);
    let (_, end) = visible(segment, row + rows - 1, shape);
    let stride = shape.heads * shape.width;
    let query = (segment.q_start + row) * stride + head * shape.width;
    let scores = new_product(
        (rows, shape.width, end - first),
        Matrix::rows(&qs[query..], stride),
        ks.of(segment, first, head / shape.group()).transposed(),
        None,
    );
    (first, scores)
}

/// For each row of a block, which of its keys it sees, counted from the block's first.
fn seen(segment: Segment, (row, rows): (usize, usize), first: usize, shape: Heads) -> Vec<(usize, usize)> {
    let of = |row| visible(segment, row, shape);
    (row..row + rows).map(of).map(|(from, to)| (from - first, to - first)).collect()
}

wide! {
    /// A block's scores to weights, in place; returns the log of each row's sum of exponentials.
    fn softmax(weights: &mut [f32], seen: &[(usize, usize)], scale: f32) -> Vec<f32> {
        let keys = weights.len() / seen.len();
        let mut normalisers = Vec::with_capacity(seen.len());
        for (line, &(from, to)) in weights.chunks_exact_mut(keys).zip(seen) {
            line[..from].fill(0.0);
            line[to..].fill(0.0);
            let line = &mut line[from..to];
            let top = maximum(line) * scale;
            for value in &mut *line {
                *value = exp(*value * scale - top);
            }
            let sum = sum(line);
            let part = 1.0 / sum;
            for value in line {
                *value *= part;
            }
            normalisers.push(top + sum.ln());
        }
        normalisers
    }
}

wide! {
    /// A block's scores to the weights that the forward pass had, in place.
    fn again(weights: &mut [f32], normalisers: &[f32], seen: &[(usize, usize)], scale: f32) {
        let keys = weights.len() / seen.len();
        for ((line, normaliser), &(from, to)) in weights.chunks_exact_mut(keys).zip(normalisers).zip(seen) {
            line[..from].fill(0.0);
            line[to..].fill(0.0);
            for value in &mut line[from..to] {
                *value = exp(*value * scale - normaliser);
            }
        }
    }
}

wide! {
    /// Gradients of a block's weights to those of its products of queries and keys, in place. `y` and `dy` are the block's rows.
    fn through_softmax(slopes: &mut [f32], weights: &[f32], y: &[f32], dy: &[f32], width: usize, scale: f32) {
        let keys = slopes.len() * width / y.len();
        let rows = slopes.chunks_exact_mut(keys).zip(weights.chunks_exact(keys));
        for ((slopes, weights), (y, dy)) in rows.zip(y.chunks_exact(width).zip(dy.chunks_exact(width))) {
            let along = dot(y, dy);
            for (slope, weight) in slopes.iter_mut().zip(weights) {
                *slope = weight * (*slope - along) * scale;
            }
        }
    }
}

/// Each segment's rows of all heads as `[heads, rows, d]`, the key heads repeated for their queries.
struct SegmentTensors {
    q: Tensor,
    k: Tensor,
    v: Tensor,
    /// 0 where a query sees a key, minus infinity elsewhere: `[rows, keys]`.
    mask: Tensor,
}

impl SegmentTensors {
    fn new(q: &Tensor, k: &Tensor, v: &Tensor, segment: Segment, shape: Heads) -> Result<Self> {
        let queries = |x: &Tensor| x.narrow(0, segment.q_start, segment.q_len)?.transpose(0, 1)?.contiguous();
        let keys = |x: &Tensor| -> Result<Tensor> {
            let x = x.narrow(0, segment.k_start, segment.k_len)?.transpose(0, 1)?.contiguous()?;
            x.unsqueeze(1)?
                .broadcast_as((shape.kv_heads, shape.group(), segment.k_len, shape.width))?
                .reshape((shape.heads, segment.k_len, shape.width))
        };
        let mask: Vec<f32> = (0..segment.q_len)
            .flat_map(|row| {
                let (from, to) = visible(segment, row, shape);
                (0..segment.k_len)
                    .map(move |key| if (from..to).contains(&key) { 0.0 } else { f32::NEG_INFINITY })
            })
            .collect();
        let mask = Tensor::from_vec(mask, (segment.q_len, segment.k_len), q.device())?;
        Ok(Self { q: queries(q)?, k: keys(k)?, v: keys(v)?, mask })
    }

    fn scores(&self, shape: Heads) -> Result<Tensor> {
        (self.q.matmul(&self.k.transpose(1, 2)?)? * f64::from(shape.scale))?.broadcast_add(&self.mask)
    }
}

fn composed(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    segments: &[Segment],
    shape: Heads,
) -> Result<(Tensor, Tensor)> {
    let (mut mixed, mut normalisers) = (Vec::new(), Vec::new());
    for &segment in segments {
        let part = SegmentTensors::new(q, k, v, segment, shape)?;
        let scores = part.scores(shape)?;
        let normaliser = scores.log_sum_exp(candle_core::D::Minus1)?;
        let weights = scores.broadcast_sub(&normaliser.unsqueeze(2)?)?.exp()?;
        mixed.push(weights.matmul(&part.v)?.transpose(0, 1)?.contiguous()?);
        normalisers.push(normaliser.t()?.contiguous()?);
    }
    // Segments cover the packed row in order, so that joining them restores it.
    Ok((Tensor::cat(&mixed, 0)?, Tensor::cat(&normalisers, 0)?))
}

fn composed_backward(
    saved: &Saved,
    dy: &Tensor,
    segments: &[Segment],
    shape: Heads,
) -> Result<(Tensor, Tensor, Tensor)> {
    let (mut dqs, mut dks, mut dvs) = (Vec::new(), Vec::new(), Vec::new());
    for &segment in segments {
        let part = SegmentTensors::new(saved.q, saved.k, saved.v, segment, shape)?;
        let rows = |x: &Tensor| x.narrow(0, segment.q_start, segment.q_len)?.transpose(0, 1)?.contiguous();
        let (y, dy) = (rows(saved.y)?, rows(dy)?);
        let normaliser = saved.normalisers.narrow(0, segment.q_start, segment.q_len)?.t()?.unsqueeze(2)?;
        let weights = part.scores(shape)?.broadcast_sub(&normaliser)?.exp()?;
        let along = (&y * &dy)?.sum_keepdim(2)?;
        let slopes = (&weights * dy.matmul(&part.v.transpose(1, 2)?)?.broadcast_sub(&along)?)?;
        let slopes = (slopes * f64::from(shape.scale))?;
        let ungroup = |x: Tensor| -> Result<Tensor> {
            x.reshape((shape.kv_heads, shape.group(), segment.k_len, shape.width))?
                .sum(1)?
                .transpose(0, 1)?
                .contiguous()
        };
        dqs.push(slopes.matmul(&part.k)?.transpose(0, 1)?.contiguous()?);
        dks.push(ungroup(slopes.transpose(1, 2)?.contiguous()?.matmul(&part.q)?)?);
        dvs.push(ungroup(weights.transpose(1, 2)?.contiguous()?.matmul(&dy)?)?);
    }
    Ok((Tensor::cat(&dqs, 0)?, Tensor::cat(&dks, 0)?, Tensor::cat(&dvs, 0)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{distance, random, slope};

    fn packed(lengths: &[usize]) -> Vec<Segment> {
        let mut start = 0;
        lengths
            .iter()
            .map(|&len| {
                let segment = Segment { q_start: start, q_len: len, k_start: start, k_len: len };
                start += len;
                segment
            })
            .collect()
    }

    const SHAPE: Heads = Heads { heads: 4, kv_heads: 2, width: 6, scale: 0.4, window: None };

    /// All keys, and windows that end within a block, at a block and beyond the longest segment.
    fn shapes() -> impl Iterator<Item = Heads> {
        [None, Some(1), Some(3), Some(64), Some(100), Some(1000)]
            .into_iter()
            .map(|window| Heads { window, ..SHAPE })
    }

    #[test]
    fn blocks_agree_with_the_composition() {
        let lengths = [1, 70, 129, 3];
        let (segments, tokens) = (packed(&lengths), lengths.iter().sum::<usize>());
        let (q, k, v) = (random(&[tokens, 4, 6], 1), random(&[tokens, 2, 6], 2), random(&[tokens, 2, 6], 3));
        let dy = random(&[tokens, 4, 6], 4);
        for shape in shapes() {
            let (y, normalisers) = forward(&q, &k, &v, &segments, shape).unwrap();
            let plain = composed(&q, &k, &v, &segments, shape).unwrap();
            assert!(distance(&y, &plain.0) < 1e-5);
            assert!(distance(&normalisers, &plain.1) < 1e-5);
            let saved = Saved { q: &q, k: &k, v: &v, y: &y, normalisers: &normalisers };
            let (fused, plain) = (
                backward(&saved, &dy, &segments, shape).unwrap(),
                composed_backward(&saved, &dy, &segments, shape).unwrap(),
            );
            assert!(distance(&fused.0, &plain.0) < 1e-4);
            assert!(distance(&fused.1, &plain.1) < 1e-4);
            assert!(distance(&fused.2, &plain.2) < 1e-4);
        }
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        let segments = packed(&[3, 2]);
        let (q, k, v) = (random(&[5, 4, 6], 1), random(&[5, 2, 6], 2), random(&[5, 2, 6], 3));
        let dy = random(&[5, 4, 6], 4);
        for window in [None, Some(2)] {
            let shape = Heads { window, ..SHAPE };
            let run = |q: &Tensor, k: &Tensor, v: &Tensor| forward(q, k, v, &segments, shape);
            let (y, normalisers) = run(&q, &k, &v).unwrap();
            let saved = Saved { q: &q, k: &k, v: &v, y: &y, normalisers: &normalisers };
            let (dq, dk, dv) = backward(&saved, &dy, &segments, shape).unwrap();
            slope(&q, &dq, &dy, |q| Ok(run(q, &k, &v)?.0));
            slope(&k, &dk, &dy, |k| Ok(run(&q, k, &v)?.0));
            slope(&v, &dv, &dy, |v| Ok(run(&q, &k, v)?.0));
        }
    }

    #[test]
    fn what_lies_before_the_window_has_no_part() {
        let (q, k, v) = (random(&[90, 4, 6], 1), random(&[90, 2, 6], 2), random(&[90, 2, 6], 3));
        let shape = Heads { window: Some(20), ..SHAPE };
        let run = |k: &Tensor, v: &Tensor| forward(&q, k, v, &packed(&[90]), shape).unwrap().0;
        let other =
            |x: &Tensor| Tensor::cat(&[random(&[70, 2, 6], 9), x.narrow(0, 70, 20).unwrap()], 0).unwrap();
        let (before, after) = (run(&k, &v), run(&other(&k), &other(&v)));
        let last = |x: &Tensor| x.narrow(0, 89, 1).unwrap();
        assert!(distance(&last(&before), &last(&after)) < 1e-6);
        let one_before = |x: &Tensor| x.narrow(0, 88, 1).unwrap();
        assert!(distance(&one_before(&before), &one_before(&after)) > 1e-3);
    }

    #[test]
    fn a_cached_prefix_gives_the_rows_of_the_whole() {
        let (q, k, v) = (random(&[80, 4, 6], 1), random(&[80, 2, 6], 2), random(&[80, 2, 6], 3));
        for shape in shapes() {
            let (whole, _) = forward(&q, &k, &v, &packed(&[80]), shape).unwrap();
            let tail = Segment { q_start: 0, q_len: 5, k_start: 0, k_len: 80 };
            let (last, _) = forward(&q.narrow(0, 75, 5).unwrap(), &k, &v, &[tail], shape).unwrap();
            assert!(distance(&whole.narrow(0, 75, 5).unwrap(), &last) < 1e-5);
        }
    }
}
