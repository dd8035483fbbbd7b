//! One optimiser step: its examples through the decoder and back, batch after batch, then the update.
//!
//! The only loop of its kind: adapters, whole bases and the pretraining of `hotplate-tiny` all go through it.
//!
//! Rehearsed rows stay apart from the examples', so that the loss that is shown, and early stopping with it, is the examples' alone; the gradient is that of
//! one weighted mean over all tokens. For the base's distribution at rehearsed tokens, the base passes over each such row once more.

use std::collections::HashMap;

use candle_core::{Result, Tensor};
use hotplate_engine::decoder::{Decoder, Slot};
use hotplate_engine::layered::LayeredForward;
use hotplate_engine::ops::add::accumulate;
use hotplate_engine::ops::dropout::Dropout;
use hotplate_engine::sample::Sample;

use super::adamw::{AdamW, Update, clip_factor};
use super::pass::{Factor, Parameter, Pass, pack};
use super::rehearsal::FIRST_TOKEN;
use super::trained_weights::{TrainedWeights, peft_name};

/// What is learnt, and the optimiser that moves it.
#[derive(Debug, Clone)]
pub(crate) struct Learner {
    pub(crate) learnt: TrainedWeights,
    pub(crate) optimiser: AdamW,
}

/// How the gradients of one step become an update.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rates {
    pub(crate) learning_rate: f64,
    /// The rate of LoRA's B as a multiple.
    pub(crate) lora_plus: f64,
    /// On factors and matrices.
    pub(crate) weight_decay: f64,
    /// 0: no limit.
    pub(crate) clip: f64,
}

impl Learner {
    pub(crate) fn new(learnt: TrainedWeights) -> Result<Learner> {
        let optimiser = AdamW::new(&learnt.tensors()?)?;
        Ok(Learner { learnt, optimiser })
    }

    /// Moves what is learnt. Answers false, and moves nothing, where loss or gradients are no longer numbers.
    pub(crate) fn update(&mut self, done: &StepWork, rates: Rates) -> Result<bool> {
        let (factor, norm) = clip_factor(done.gradients.iter().flatten(), rates.clip)?;
        if !(done.mean_loss().is_finite() && norm.is_finite()) {
            return Ok(false);
        }
        self.optimiser.next_step();
        let mut values = self.learnt.tensors()?;
        for ((index, place), gradient) in self.learnt.places().iter().enumerate().zip(&done.gradients) {
            let Some(gradient) = gradient else { continue };
            let value = &values[index];
            let is_b = matches!(place, Parameter::Block(_, Slot::LoraB(_)) | Parameter::HeadLora(Factor::B));
            let update = Update {
                learning_rate: rates.learning_rate * if is_b { rates.lora_plus } else { 1.0 },
                weight_decay: if value.rank() > 1 { rates.weight_decay } else { 0.0 },
                gradient_factor: factor,
            };
            values[index] = self.optimiser.update(index, value, gradient, update)?;
        }
        self.learnt = self.learnt.with_tensors(values);
        Ok(true)
    }
}

/// What shapes the passes of one step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// Examples that go through before their gradients are added up.
    pub(crate) batch: usize,
    pub(crate) row_tokens: usize,
    /// Its mask is this step's own.
    pub(crate) dropout: Option<Dropout>,
}

/// What a step takes its samples from: a person's by their number, and what is rehearsed by the numbers behind them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pool<'a> {
    pub(crate) train: &'a [Sample],
    pub(crate) rehearsal: &'a [Sample],
}

impl<'a> Pool<'a> {
    fn get(&self, index: usize) -> &'a Sample {
        match index.checked_sub(self.train.len()) {
            None => &self.train[index],
            Some(rehearsed) => &self.rehearsal[rehearsed],
        }
    }
}

/// An optimiser step in progress.
pub(crate) struct StepWork {
    /// Those of the rehearsal come last, and none of them mixes with a person's.
    rows: Vec<Vec<usize>>,
    own_rows: usize,
    next: usize,
    pass: Option<Pass>,
    /// The base itself, on what is rehearsed.
    asking: Option<LayeredForward>,
    places: HashMap<Parameter, usize>,
    gradients: Vec<Option<Tensor>>,
    dropout: Option<Dropout>,
    /// Of a person's own samples.
    loss: f64,
    own_supervised: usize,
    supervised: usize,
    /// Real tokens that go through.
    pub(crate) tokens: usize,
}

impl StepWork {
    /// A step on the chosen ones of the person's samples, by their tokens, and of the rehearsal, by what the base would say in their place
    /// (self-distillation: it keeps more of the base, at less loss of anything else, than its own tokens do). What it learns from is the mean over all supervised
    /// tokens of both, whatever batches they come in, in which an answer's first token counts [`FIRST_TOKEN`] times.
    pub(crate) fn new(
        chosen: &[usize],
        rehearsed: &[usize],
        pool: Pool<'_>,
        learnt: &TrainedWeights,
        shape: Shape,
    ) -> StepWork {
        let places: HashMap<_, _> =
            learnt.places().into_iter().enumerate().map(|(at, place)| (place, at)).collect();
        let rehearsed: Vec<usize> = rehearsed.iter().map(|index| pool.train.len() + index).collect();
        let rows = |chosen: &[usize]| -> Vec<Vec<usize>> {
            chosen
                .chunks(shape.batch.max(1))
                .flat_map(|batch| pack(batch, |index| pool.get(index).tokens.len(), shape.row_tokens))
                .collect()
        };
        let sum = |chosen: &[usize], of: fn(&Sample) -> usize| -> usize {
            chosen.iter().map(|index| of(pool.get(*index))).sum()
        };
        let (own, others) = (rows(chosen), rows(&rehearsed));
        let own_supervised = sum(chosen, Sample::supervised_tokens);
        StepWork {
            own_rows: own.len(),
            rows: own.into_iter().chain(others).collect(),
            next: 0,
            pass: None,
            asking: None,
            gradients: vec![None; places.len()],
            places,
            dropout: shape.dropout,
            loss: 0.0,
            own_supervised,
            supervised: own_supervised + sum(&rehearsed, Sample::supervised_tokens),
            tokens: sum(chosen, |sample| sample.tokens.len()) + sum(&rehearsed, |sample| sample.tokens.len()),
        }
    }

    /// Layers that are done, forwards and back, and how many there are; about.
    pub(crate) fn progress(&self) -> (usize, usize) {
        let (done, of) = self.pass.as_ref().map_or((0, 1), Pass::progress);
        (self.next * of + done, self.rows.len().max(1) * of)
    }

    /// Of the person's own samples before the step's update, nats per supervised token.
    pub(crate) fn mean_loss(&self) -> f64 {
        self.loss / self.own_supervised.max(1) as f64
    }

    /// About one layer of work; true when nothing is left to do. `layers_kept` is asked with a row's tokens.
    pub(crate) fn step(
        &mut self,
        base: &Decoder,
        learnt: &TrainedWeights,
        pool: Pool<'_>,
        layers_kept: impl Fn(usize) -> usize,
    ) -> Result<bool> {
        let Some(row) = self.rows.get(self.next) else { return Ok(true) };
        let decoder = learnt.decoder(base);
        if self.pass.is_none() {
            let samples: Vec<_> = row.iter().map(|index| pool.get(*index)).collect();
            let tokens = samples.iter().map(|sample| sample.tokens.len()).sum();
            let goal = learnt.goal(1.0 / self.supervised.max(1) as f64);
            let pass = Pass::new(decoder, &samples, goal, layers_kept(tokens))?;
            if self.next >= self.own_rows {
                self.asking = Some(LayeredForward::new(base, pass.batch())?);
            }
            self.pass = Some(pass.with_dropout(self.dropout.map(|dropout| dropout.of(self.next as u64))));
        }
        let Some(pass) = &mut self.pass else { return Ok(false) };
        if let Some(asking) = &mut self.asking {
            if let Some(hidden) = asking.step(base, None)? {
                pass.taught_by(&hidden, base.head.clone(), FIRST_TOKEN)?;
                self.asking = None;
            }
            return Ok(false);
        }
        if let Some(result) = pass.step(decoder, learnt.adapter())? {
            let loss = result.losses.iter().sum::<f64>();
            // What is no number must be noticed wherever it is.
            if self.next < self.own_rows || !loss.is_finite() {
                self.loss += loss;
            }
            for (parameter, gradient) in result.gradients {
                if let Some(index) = self.places.get(&parameter) {
                    accumulate(&mut self.gradients[*index], gradient)?;
                }
            }
            self.pass = None;
            self.next += 1;
        }
        Ok(self.next >= self.rows.len())
    }
}

/// The mean loss over all supervised tokens of `samples` and its gradients, named as [`TrainedWeights::named`] names an adapter's tensors: what one
/// step is made of, for whoever compares it with another implementation.
///
/// # Errors
/// A tensor operation that failed.
pub fn gradients(
    base: &Decoder,
    learnt: &TrainedWeights,
    samples: &[Sample],
    row_tokens: usize,
) -> Result<(f64, Vec<(String, Tensor)>)> {
    let chosen: Vec<usize> = (0..samples.len()).collect();
    let shape = Shape { batch: samples.len(), row_tokens, dropout: None };
    let pool = Pool { train: samples, rehearsal: &[] };
    let mut work = StepWork::new(&chosen, &[], pool, learnt, shape);
    while !work.step(base, learnt, pool, |_| base.config().layers)? {}
    let loss = work.mean_loss();
    let named = learnt
        .places()
        .into_iter()
        .map(peft_name)
        .zip(work.gradients)
        .filter_map(|(name, gradient)| Some((name, gradient?)))
        .collect();
    Ok((loss, named))
}

#[cfg(test)]
mod tests {
    use hotplate_engine::decoder::Batch;
    use hotplate_engine::fixtures::random;

    use super::*;
    use crate::test_base;

    /// The negative log-likelihood of a person's tokens and the divergence from the base on its own, one mean over both, against finite differences.
    #[test]
    fn rehearsal_is_one_more_part_of_the_mean() {
        let base = test_base::base(5);
        let samples = test_base::data(9).train;
        let learnt = TrainedWeights::Adapter(test_base::adapter(&base.decoder, 3));
        let (train, rehearsal) = samples.split_at(3);
        let rehearsal = &rehearsal[..2];
        let pool = Pool { train, rehearsal };
        let shape = Shape { batch: 2, row_tokens: 2048, dropout: None };
        let mut work = StepWork::new(&[0, 1, 2], &[1, 0], pool, &learnt, shape);
        while !work.step(&base.decoder, &learnt, pool, |_| base.decoder.config().layers).unwrap() {}
        let supervised =
            |samples: &[Sample]| samples.iter().map(Sample::supervised_tokens).sum::<usize>() as f64;
        let own = |learnt: &TrainedWeights| gradients(&base.decoder, learnt, train, 2048).unwrap().0;
        let loss = |learnt: &TrainedWeights| {
            let apart: f64 = rehearsal.iter().map(|sample| divergence(&base.decoder, learnt, sample)).sum();
            (own(learnt) * supervised(train) + apart) / (supervised(train) + supervised(rehearsal))
        };
        let values = learnt.tensors().unwrap();
        for (at, gradient) in work.gradients.iter().enumerate() {
            let gradient = gradient.as_ref().unwrap();
            let along = random(gradient.dims(), at as u64);
            let step = 3e-3;
            let moved = |sign: f64| {
                let mut values = values.clone();
                values[at] = (&values[at] + (&along * (sign * step)).unwrap()).unwrap();
                loss(&learnt.with_tensors(values))
            };
            let measured = (moved(1.0) - moved(-1.0)) / (2.0 * step);
            let claimed = (gradient * &along).unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap();
            let error = (measured - f64::from(claimed)).abs();
            assert!(error < 1e-2 * (0.1 + measured.abs()), "{at}: {measured} and {claimed}");
        }
        assert!((work.mean_loss() - own(&learnt)).abs() < 1e-6, "what is shown is the person's");
        assert_eq!(work.tokens, samples[..5].iter().map(|sample| sample.tokens.len()).sum::<usize>());
    }

    /// KL(base || learnt) over the sample's supervised places, weighted and summed.
    fn divergence(base: &Decoder, learnt: &TrainedWeights, sample: &Sample) -> f64 {
        let batch = Batch::packed([&sample.tokens[..sample.tokens.len() - 1]]);
        let rows = |adapter| {
            let hidden = base.forward(&batch, adapter, None).unwrap();
            base.logits(&hidden, adapter).unwrap().to_vec2::<f32>().unwrap()
        };
        let log_softmax = |row: &[f32]| -> Vec<f64> {
            let sum: f64 = row.iter().map(|x| f64::from(*x).exp()).sum();
            row.iter().map(|x| f64::from(*x) - sum.ln()).collect()
        };
        let places = rows(None).into_iter().zip(rows(learnt.adapter())).zip(&sample.supervised[1..]);
        let apart = places.filter(|(_, supervised)| **supervised).map(|((p, q), _)| {
            let (p, q) = (log_softmax(&p), log_softmax(&q));
            p.iter().zip(q).map(|(p, q)| p.exp() * (p - q)).sum::<f64>()
        });
        let weights = std::iter::once(f64::from(FIRST_TOKEN)).chain(std::iter::repeat(1.0));
        apart.zip(weights).map(|(apart, weight)| apart * weight).sum()
    }
}
