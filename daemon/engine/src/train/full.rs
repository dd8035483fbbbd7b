//! Full-parameter training of small bases: every weight moves. `hotplate-tiny` is made with it.

use candle_core::Tensor;

use super::TrainError;
use super::adamw::{AdamW, Update, clip_factor};
use super::pass::{Goal, Parameter, Pass, PassResult, pack};
use crate::decoder::{Decoder, Slot};
use crate::lora::Linear;
use crate::ops::add::accumulate;
use crate::sample::Sample;

/// What holds for one step.
#[derive(Debug, Clone, Copy)]
pub struct FullStep {
    pub learning_rate: f64,
    /// On matrices; norms are left alone.
    pub weight_decay: f64,
    pub clip: f64,
    /// Tokens that go through the decoder at once.
    pub row_tokens: usize,
}

pub struct FullTrainer {
    decoder: Decoder,
    parameters: Vec<Parameter>,
    optimiser: AdamW,
}

impl FullTrainer {
    /// Takes a decoder whose linear layers have no biases (those are not trained).
    pub fn new(decoder: Decoder) -> Result<FullTrainer, TrainError> {
        let config = decoder.config();
        if config.attention_bias || config.mlp_bias {
            return Err(TrainError::BadSetting("full-parameter training of biases is not there".to_owned()));
        }
        let mut parameters = vec![Parameter::Embedding];
        for layer in 0..config.layers {
            let slots = Linear::ALL.map(Slot::Weight).into_iter().chain([Slot::InputNorm, Slot::PostNorm]);
            parameters.extend(slots.map(|slot| Parameter::Block(layer, slot)));
        }
        parameters.push(Parameter::Norm);
        if !config.tied_embeddings {
            parameters.push(Parameter::Head);
        }
        let values: Vec<Tensor> =
            parameters.iter().map(|parameter| value(&decoder, *parameter).clone()).collect();
        let optimiser = AdamW::new(&values)?;
        Ok(FullTrainer { decoder, parameters, optimiser })
    }

    pub fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// One optimiser step on all samples; the mean loss before it, nats per supervised token.
    pub fn step(&mut self, samples: &[Sample], settings: FullStep) -> Result<f64, TrainError> {
        let supervised: usize = samples.iter().map(Sample::supervised_tokens).sum();
        let goal = Goal::Weights { factor: 1.0 / supervised.max(1) as f64 };
        let mut loss = 0.0;
        let mut gradients: Vec<Option<Tensor>> = vec![None; self.parameters.len()];
        for result in rows(&self.decoder, samples, goal, settings.row_tokens) {
            let result = result?;
            loss += result.losses.iter().sum::<f64>();
            for (parameter, gradient) in result.gradients {
                let Some(index) = self.parameters.iter().position(|known| *known == parameter) else {
                    continue;
                };
                accumulate(&mut gradients[index], gradient)?;
            }
        }
        let (factor, norm) = clip_factor(gradients.iter().flatten(), settings.clip)?;
        let loss = loss / supervised.max(1) as f64;
        if !(loss.is_finite() && norm.is_finite()) {
            return Err(TrainError::NotFinite {
                step: self.optimiser.step,
                learning_rate: settings.learning_rate,
            });
        }
        self.optimiser.next_step();
        for (index, gradient) in gradients.iter().enumerate() {
            let Some(gradient) = gradient else { continue };
            let parameter = self.parameters[index];
            let old = value(&self.decoder, parameter);
            let weight_decay = if old.rank() > 1 { settings.weight_decay } else { 0.0 };
            let update =
                Update { learning_rate: settings.learning_rate, weight_decay, gradient_factor: factor };
            let new = self.optimiser.update(index, old, gradient, update)?;
            set(&mut self.decoder, parameter, new);
        }
        Ok(loss)
    }

    /// The mean loss, nats per supervised token.
    pub fn evaluate(&self, samples: &[Sample], row_tokens: usize) -> Result<f64, TrainError> {
        let supervised: usize = samples.iter().map(Sample::supervised_tokens).sum();
        let mut loss = 0.0;
        for result in rows(&self.decoder, samples, Goal::Loss, row_tokens) {
            loss += result?.losses.iter().sum::<f64>();
        }
        Ok(loss / supervised.max(1) as f64)
    }
}

fn rows<'a>(
    decoder: &'a Decoder,
    samples: &'a [Sample],
    goal: Goal,
    row_tokens: usize,
) -> impl Iterator<Item = candle_core::Result<PassResult>> + 'a {
    let order: Vec<usize> = (0..samples.len()).collect();
    pack(&order, |index| samples[index].tokens.len(), row_tokens).into_iter().map(move |row| {
        let samples: Vec<&Sample> = row.iter().map(|index| &samples[*index]).collect();
        let mut pass = Pass::new(decoder, &samples, goal, decoder.config().layers)?;
        loop {
            if let Some(result) = pass.step(decoder, None)? {
                return Ok(result);
            }
        }
    })
}

fn value(decoder: &Decoder, parameter: Parameter) -> &Tensor {
    match parameter {
        Parameter::Embedding | Parameter::EmbeddingLora(_) => &decoder.embedding,
        Parameter::Norm => &decoder.norm,
        Parameter::Head | Parameter::HeadLora(_) => decoder.head.weight(),
        Parameter::Block(layer, slot) => {
            let block = &decoder.blocks[layer];
            match slot {
                Slot::Weight(linear) | Slot::LoraA(linear) | Slot::LoraB(linear) => {
                    block.linear(linear).weight()
                }
                Slot::InputNorm => &block.input_norm,
                Slot::PostNorm => &block.post_norm,
            }
        }
    }
}

fn set(decoder: &mut Decoder, parameter: Parameter, value: Tensor) {
    match parameter {
        Parameter::Embedding | Parameter::EmbeddingLora(_) => {
            if decoder.config.tied_embeddings {
                decoder.head.set_weight(value.clone());
            }
            decoder.embedding = value;
        }
        Parameter::Norm => decoder.norm = value,
        Parameter::Head | Parameter::HeadLora(_) => decoder.head.set_weight(value),
        Parameter::Block(layer, slot) => {
            let block = &mut decoder.blocks[layer];
            match slot {
                Slot::Weight(linear) | Slot::LoraA(linear) | Slot::LoraB(linear) => {
                    block.linear_mut(linear).set_weight(value);
                }
                Slot::InputNorm => block.input_norm = value,
                Slot::PostNorm => block.post_norm = value,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_base;

    #[test]
    fn a_small_decoder_learns_a_sequence_by_heart() {
        let mut trainer = FullTrainer::new(test_base::decoder(3)).unwrap();
        let samples: Vec<Sample> = test_base::data(6).train;
        let settings = FullStep { learning_rate: 1e-2, weight_decay: 0.0, clip: 1.0, row_tokens: 64 };
        let first = trainer.evaluate(&samples, 64).unwrap();
        for _ in 0..40 {
            trainer.step(&samples, settings).unwrap();
        }
        let last = trainer.evaluate(&samples, 64).unwrap();
        assert!(last < 0.3 * first, "{first} -> {last}");
    }
}
