//! One packed row through the decoder and back, a layer at a time.
//!
//! Owns what is kept between the two directions: as many layers as the budget allows keep their activations, the others keep
//! their input and are computed again. Between two steps anybody may use the base.

use candle_core::{DType, Result, Tensor};
use hotplate_engine::decoder::{Batch, BlockAdapters, Decoder, Kept, PassContext, Slot, WantGradients};
use hotplate_engine::lora::{Adapter, LayerAdapter};
use hotplate_engine::ops::cross_entropy::{Gradient, Targets, cross_entropy};
use hotplate_engine::ops::dropout::Dropout;
use hotplate_engine::ops::frozen_linear::FrozenLinear;
use hotplate_engine::ops::low_rank::embedding_backward;
use hotplate_engine::ops::rms_norm;
use hotplate_engine::sample::Sample;

/// A trainable tensor of the whole model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Parameter {
    Block(usize, Slot),
    Embedding,
    Norm,
    Head,
    /// The factors of an adapter's pair outside the blocks.
    EmbeddingLora(Factor),
    HeadLora(Factor),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Factor {
    A,
    B,
}

/// Whose gradients are wanted, if any.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Goal {
    /// The losses alone.
    Loss,
    /// Gradients of `factor` times the sum of the losses.
    Adapter {
        factor: f64,
    },
    Weights {
        factor: f64,
    },
}

pub(crate) struct PassResult {
    /// Sum of the supervised tokens' losses of each sequence of the row.
    pub(crate) losses: Vec<f64>,
    pub(crate) gradients: Vec<(Parameter, Tensor)>,
}

/// Who says what should come next, and how much each row counts.
struct Teacher {
    /// `[rows, hidden]`
    hidden: Tensor,
    head: FrozenLinear,
    weights: Vec<f32>,
}

enum SavedLayer {
    Kept(Box<Kept>),
    Input(Tensor),
    /// No way back is wanted.
    Nothing,
}

enum Direction {
    Up,
    /// Holds the gradient of the current layer's output.
    Down(Tensor),
}

pub(crate) struct Pass {
    batch: Batch,
    context: PassContext,
    /// Rows whose next token is supervised, that token, and the sequence it belongs to.
    rows: Vec<u32>,
    targets: Vec<u32>,
    teacher: Option<Teacher>,
    owners: Vec<usize>,
    sequences: usize,
    goal: Goal,
    layers: usize,
    layers_kept: usize,
    memory: Vec<SavedLayer>,
    x: Tensor,
    direction: Direction,
    result: PassResult,
}

impl Pass {
    /// A row of whole samples. `layers_kept`: how many layers keep their activations.
    pub(crate) fn new(
        decoder: &Decoder,
        samples: &[&Sample],
        goal: Goal,
        layers_kept: usize,
    ) -> Result<Pass> {
        // A sample's last token is only a target: nothing is predicted after it.
        let inputs = |sample: &Sample| sample.tokens.len().saturating_sub(1);
        let mut batch = Batch::packed(samples.iter().map(|sample| &sample.tokens[..inputs(sample)]));
        let (mut rows, mut targets, mut owners) = (Vec::new(), Vec::new(), Vec::new());
        let mut start = 0;
        for (owner, sample) in samples.iter().enumerate() {
            for at in 0..inputs(sample) {
                if sample.supervised[at + 1] {
                    rows.push((start + at) as u32);
                    targets.push(sample.tokens[at + 1]);
                    owners.push(owner);
                }
            }
            start += inputs(sample);
        }
        if rows.is_empty() {
            // Nothing carries loss, perhaps there is no token at all: the pass ends at its first step, and needs a shape until then.
            batch = Batch::packed([[0].as_slice()]);
        }
        Ok(Pass {
            context: decoder.context(&batch)?,
            x: decoder.embed(&batch.tokens)?,
            batch,
            rows,
            targets,
            teacher: None,
            owners,
            sequences: samples.len(),
            goal,
            layers: decoder.config().layers,
            layers_kept,
            memory: Vec::new(),
            direction: Direction::Up,
            result: PassResult { losses: vec![0.0; samples.len()], gradients: Vec::new() },
        })
    }

    /// What goes through the decoder.
    pub(crate) fn batch(&self) -> &Batch {
        &self.batch
    }

    /// Has a teacher say what should come next, instead of the samples' own tokens: by what it made of [`Pass::batch`], `[tokens, hidden]`, and by its head. The
    /// first token of each sample counts `first` times.
    pub(crate) fn taught_by(&mut self, hidden: &Tensor, head: FrozenLinear, first: f32) -> Result<()> {
        let rows = Tensor::new(self.rows.as_slice(), hidden.device())?;
        let begins =
            |at: usize| at.checked_sub(1).is_none_or(|before| self.owners[before] != self.owners[at]);
        let weights = (0..self.rows.len()).map(|at| if begins(at) { first } else { 1.0 }).collect();
        self.teacher = Some(Teacher { hidden: hidden.index_select(&rows, 0)?, head, weights });
        Ok(())
    }

    /// Leaves out a part of what LoRA pairs read. The key is this pass's own.
    pub(crate) fn with_dropout(mut self, dropout: Option<Dropout>) -> Pass {
        self.context.dropout = dropout;
        self
    }

    /// Layers that are done, and all; the way back takes about twice as long as the way up.
    pub(crate) fn progress(&self) -> (usize, usize) {
        let of = if matches!(self.goal, Goal::Loss) { self.layers } else { 3 * self.layers };
        match self.direction {
            Direction::Up => (self.memory.len(), of),
            Direction::Down(_) => (of.saturating_sub(2 * self.memory.len()), of),
        }
    }

    /// One layer of work; the result after the last one.
    pub(crate) fn step(
        &mut self,
        decoder: &Decoder,
        adapter: Option<&Adapter>,
    ) -> Result<Option<PassResult>> {
        match &self.direction {
            Direction::Up => self.step_up(decoder, adapter),
            Direction::Down(dy) => {
                let dy = dy.clone();
                self.step_down(decoder, adapter, &dy)
            }
        }
    }

    fn step_up(&mut self, decoder: &Decoder, adapter: Option<&Adapter>) -> Result<Option<PassResult>> {
        if self.rows.is_empty() {
            return Ok(Some(self.take_result()));
        }
        let layer = self.memory.len();
        if layer == 0 {
            self.x = decoder.adapt_embedding(self.x.clone(), &self.batch.tokens, adapter)?;
        }
        if layer < decoder.config().layers {
            let pairs = adapter.and_then(|adapter| adapter.layers.get(layer));
            let (y, kept) =
                decoder.block_forward(layer, &self.x, &self.context, BlockAdapters::Same(pairs), &mut [])?;
            let keep = layer + self.layers_kept >= decoder.config().layers;
            // The deepest layers are walked back first, so theirs live shortest when kept.
            self.memory.push(match self.goal {
                Goal::Loss => SavedLayer::Nothing,
                _ if keep => SavedLayer::Kept(Box::new(kept)),
                _ => SavedLayer::Input(self.x.clone()),
            });
            self.x = y;
            return Ok(None);
        }
        self.losses(decoder, adapter)
    }

    /// The head: losses, and the gradient that starts the way back.
    fn losses(&mut self, decoder: &Decoder, adapter: Option<&Adapter>) -> Result<Option<PassResult>> {
        let rows = Tensor::new(self.rows.as_slice(), decoder.device())?;
        let last = self.x.index_select(&rows, 0)?;
        let hidden = decoder.last_norm(&last)?;
        let (gradient, factor) = match self.goal {
            Goal::Loss => (Gradient::None, 1.0),
            Goal::Adapter { factor } => (Gradient::Hidden, factor),
            Goal::Weights { factor } => (Gradient::HiddenAndHead, factor),
        };
        let pair = adapter.and_then(|adapter| adapter.head.as_ref());
        let targets = match &self.teacher {
            None => Targets::Tokens(&self.targets),
            Some(Teacher { hidden, head, weights }) => Targets::Teacher { hidden, head, weights },
        };
        let entropy = cross_entropy(&hidden, &decoder.head, pair, targets, factor, gradient)?;
        for (loss, owner) in entropy.losses.iter().zip(&self.owners) {
            self.result.losses[*owner] += f64::from(*loss);
        }
        let Some(dhidden) = entropy.dhidden else { return Ok(Some(self.take_result())) };
        if let Some(dhead) = entropy.dhead {
            let tied = decoder.config().tied_embeddings;
            self.result.gradients.push((if tied { Parameter::Embedding } else { Parameter::Head }, dhead));
            let dnorm = rms_norm::weight_gradient(&last, decoder.config().rms_eps, &dhidden)?;
            self.result.gradients.push((Parameter::Norm, dnorm));
        }
        if let Some((da, db)) = entropy.dpair {
            self.result.gradients.push((Parameter::HeadLora(Factor::A), da));
            self.result.gradients.push((Parameter::HeadLora(Factor::B), db));
        }
        let dlast = decoder.last_norm_backward(&last, &dhidden)?;
        let zeros = Tensor::zeros(self.x.dims(), DType::F32, decoder.device())?;
        self.direction = Direction::Down(zeros.index_add(&rows, &dlast, 0)?);
        Ok(None)
    }

    fn step_down(
        &mut self,
        decoder: &Decoder,
        adapter: Option<&Adapter>,
        dy: &Tensor,
    ) -> Result<Option<PassResult>> {
        let kept = match self.memory.pop() {
            Some(SavedLayer::Kept(kept)) => Some(*kept),
            Some(SavedLayer::Input(x)) => {
                let layer = self.memory.len();
                let pairs = adapter.and_then(|adapter| adapter.layers.get(layer));
                Some(decoder.block_forward(layer, &x, &self.context, BlockAdapters::Same(pairs), &mut [])?.1)
            }
            Some(SavedLayer::Nothing) | None => None,
        };
        let Some(kept) = kept else {
            if matches!(self.goal, Goal::Weights { .. }) {
                let gradient = decoder.embed_backward(&self.batch.tokens, dy)?;
                self.result.gradients.push((Parameter::Embedding, gradient));
            } else if let Some(pair) = adapter.and_then(|adapter| adapter.embedding.as_ref()) {
                let tokens = Tensor::new(self.batch.tokens.as_slice(), decoder.device())?;
                let (da, db) = embedding_backward(&tokens, dy, pair, decoder.embedding_scale())?;
                self.result.gradients.push((Parameter::EmbeddingLora(Factor::A), da));
                self.result.gradients.push((Parameter::EmbeddingLora(Factor::B), db));
            }
            return Ok(Some(self.take_result()));
        };
        let layer = self.memory.len();
        let none = LayerAdapter::default();
        let pairs = adapter.and_then(|adapter| adapter.layers.get(layer)).unwrap_or(&none);
        let learner = match self.goal {
            Goal::Weights { .. } => WantGradients::Weights,
            Goal::Adapter { .. } | Goal::Loss => WantGradients::Adapter(pairs),
        };
        let gradients = decoder.block_backward(layer, &kept, dy, &self.context, learner)?;
        for (slot, gradient) in gradients.slots {
            self.result.gradients.push((Parameter::Block(layer, slot), gradient));
        }
        let embedding = adapter.is_some_and(|adapter| adapter.embedding.is_some());
        if layer == 0 && !embedding && !matches!(self.goal, Goal::Weights { .. }) {
            return Ok(Some(self.take_result()));
        }
        self.direction = Direction::Down(gradients.dx);
        Ok(None)
    }

    fn take_result(&mut self) -> PassResult {
        let empty = PassResult { losses: vec![0.0; self.sequences], gradients: Vec::new() };
        std::mem::replace(&mut self.result, empty)
    }
}

/// Groups samples, in order, into rows of at most `row_tokens`; a longer sample goes alone. None is dropped or cut.
pub(crate) fn pack(order: &[usize], samples: impl Fn(usize) -> usize, row_tokens: usize) -> Vec<Vec<usize>> {
    let mut rows: Vec<Vec<usize>> = Vec::new();
    let mut room = 0;
    for &index in order {
        let len = samples(index);
        match rows.last_mut() {
            Some(row) if len <= room => {
                row.push(index);
                room -= len;
            }
            _ => {
                rows.push(vec![index]);
                room = row_tokens.saturating_sub(len);
            }
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use hotplate_engine::fixtures::{distance, flat, random};
    use hotplate_engine::lora::Place;

    use super::*;
    use crate::test_base;

    fn sample(tokens: &[u32], from: usize) -> Sample {
        Sample {
            tokens: tokens.to_vec(),
            supervised: (0..tokens.len()).map(|i| i >= from).collect(),
            truncated: false,
        }
    }

    fn run(
        decoder: &Decoder,
        samples: &[&Sample],
        adapter: Option<&Adapter>,
        goal: Goal,
        kept: usize,
    ) -> PassResult {
        let mut pass = Pass::new(decoder, samples, goal, kept).unwrap();
        loop {
            if let Some(result) = pass.step(decoder, adapter).unwrap() {
                return result;
            }
        }
    }

    #[test]
    fn packing_drops_nothing() {
        let lengths = [5, 3, 9, 1, 4];
        let rows = pack(&[4, 2, 0, 1, 3], |index| lengths[index], 8);
        assert_eq!(rows, [vec![4], vec![2], vec![0, 1], vec![3]]);
    }

    #[test]
    fn samples_without_loss_are_no_error() {
        let decoder = test_base::decoder(7);
        let adapter = test_base::adapter(&decoder, 3);
        for silent in [sample(&[], 0), sample(&[1], 0), sample(&[1, 2, 3], 3)] {
            let result = run(&decoder, &[&silent], Some(&adapter), Goal::Adapter { factor: 1.0 }, 1);
            assert_eq!((result.losses.as_slice(), result.gradients.len()), ([0.0].as_slice(), 0));
            let loud = sample(&[5, 1, 2], 1);
            let both = run(&decoder, &[&silent, &loud], None, Goal::Loss, 0).losses;
            assert!((both[1] - run(&decoder, &[&loud], None, Goal::Loss, 0).losses[0]).abs() < 1e-5);
        }
    }

    #[test]
    fn packed_sequences_do_not_see_each_other() {
        let decoder = test_base::decoder(7);
        let (one, two) = (sample(&[1, 2, 3, 4], 1), sample(&[5, 1, 2], 1));
        let both = run(&decoder, &[&one, &two], None, Goal::Loss, 0).losses;
        let alone = [
            run(&decoder, &[&one], None, Goal::Loss, 0).losses[0],
            run(&decoder, &[&two], None, Goal::Loss, 0).losses[0],
        ];
        assert!((both[0] - alone[0]).abs() < 1e-5 && (both[1] - alone[1]).abs() < 1e-5);
    }

    #[test]
    fn kept_and_recomputed_layers_give_the_same_bits() {
        let decoder = test_base::decoder(7);
        let adapter = test_base::adapter(&decoder, 3);
        let (one, two) = (sample(&[1, 2, 3, 4, 9, 8], 3), sample(&[5, 1, 2], 1));
        let goal = Goal::Adapter { factor: 0.5 };
        let all = run(&decoder, &[&one, &two], Some(&adapter), goal, 99);
        for kept in [0, 1] {
            let some = run(&decoder, &[&one, &two], Some(&adapter), goal, kept);
            assert_eq!(all.losses, some.losses);
            for ((name, left), (other, right)) in all.gradients.iter().zip(&some.gradients) {
                assert_eq!(name, other);
                assert_eq!(flat(left), flat(right));
            }
        }
    }

    /// The whole chain: every factor's gradient moves the loss as it says it does.
    #[test]
    fn adapter_gradients_agree_with_finite_differences() {
        let decoder = test_base::decoder(7);
        let (one, two) = (sample(&[1, 2, 3, 4, 9, 8], 3), sample(&[5, 1, 2], 1));
        for adapter in [test_base::adapter(&decoder, 3), test_base::adapter_everywhere(&decoder, 3)] {
            agree(&decoder, &[&one, &two], &adapter);
        }
    }

    fn agree(decoder: &Decoder, samples: &[&Sample], adapter: &Adapter) {
        let loss = |adapter: &Adapter| -> f64 {
            run(decoder, samples, Some(adapter), Goal::Loss, 0).losses.iter().sum()
        };
        let result = run(decoder, samples, Some(adapter), Goal::Adapter { factor: 1.0 }, 1);
        assert_eq!(result.gradients.len(), adapter.pairs().count() * 2);
        for (parameter, gradient) in &result.gradients {
            let (place, is_a) = match *parameter {
                Parameter::Block(layer, Slot::LoraA(linear)) => (Place::Block(layer, linear), true),
                Parameter::Block(layer, Slot::LoraB(linear)) => (Place::Block(layer, linear), false),
                Parameter::EmbeddingLora(factor) => (Place::Embedding, factor == Factor::A),
                Parameter::HeadLora(factor) => (Place::Head, factor == Factor::A),
                _ => panic!("{parameter:?} is not an adapter's"),
            };
            let along = random(gradient.dims(), 11);
            let step = 3e-3;
            let moved = |sign: f64| {
                let mut moved = adapter.clone();
                let mut pair = moved.get(place).unwrap().clone();
                let factor = if is_a { &mut pair.a } else { &mut pair.b };
                *factor = (&*factor + (&along * (sign * step)).unwrap()).unwrap();
                moved.set(place, pair);
                loss(&moved)
            };
            let measured = (moved(1.0) - moved(-1.0)) / (2.0 * step);
            let claimed =
                f64::from((gradient * &along).unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap());
            assert!(
                (measured - claimed).abs() < 2e-2 * (1.0 + measured.abs()),
                "{parameter:?}: {measured} {claimed}"
            );
        }
    }

    #[test]
    fn weight_gradients_agree_with_finite_differences() {
        let decoder = test_base::decoder(7);
        let one = sample(&[1, 2, 3, 4, 9, 8], 1);
        let result = run(&decoder, &[&one], None, Goal::Weights { factor: 1.0 }, 1);
        let gradient = result
            .gradients
            .iter()
            .filter(|(parameter, _)| *parameter == Parameter::Embedding)
            .map(|(_, gradient)| gradient.clone())
            .reduce(|sum, part| (sum + part).unwrap())
            .unwrap();
        let along = random(gradient.dims(), 5);
        let step = 3e-3;
        let moved = |sign: f64| -> f64 {
            let mut moved = decoder.clone();
            moved.embedding =
                (decoder.embedding.values().unwrap() + (&along * (sign * step)).unwrap()).unwrap().into();
            moved.head.set_weight(moved.embedding.clone());
            run(&moved, &[&one], None, Goal::Loss, 0).losses.iter().sum()
        };
        let measured = (moved(1.0) - moved(-1.0)) / (2.0 * step);
        let claimed = f64::from((gradient * along).unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap());
        assert!((measured - claimed).abs() < 2e-2 * (1.0 + measured.abs()), "{measured} {claimed}");
        assert!(
            distance(&decoder.embedding.values().unwrap(), &decoder.head.weight().values().unwrap()) == 0.0
        );
    }
}
