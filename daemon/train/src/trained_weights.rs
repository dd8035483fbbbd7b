//! What a run moves: an adapter's factors, or a base's weights, as one list of tensors in a fixed order.

use candle_core::{DType, Result, Tensor};
use hotplate_engine::decoder::{Decoder, Slot};
use hotplate_engine::lora::{Adapter, Linear, Place};
use hotplate_engine::norm::Norm;
use hotplate_engine::ops::frozen_linear::FrozenLinear;

use super::pass::{Factor, Goal, Parameter};

#[derive(Debug, Clone)]
pub enum TrainedWeights {
    Adapter(Adapter),
    /// The whole base with other weights.
    Base(Box<Decoder>),
}

impl TrainedWeights {
    /// What goes through the decoder beside its own weights.
    pub fn adapter(&self) -> Option<&Adapter> {
        match self {
            TrainedWeights::Adapter(adapter) => Some(adapter),
            TrainedWeights::Base(_) => None,
        }
    }

    /// The decoder that it is used with.
    pub fn decoder<'a>(&'a self, base: &'a Decoder) -> &'a Decoder {
        match self {
            TrainedWeights::Adapter(_) => base,
            TrainedWeights::Base(decoder) => decoder,
        }
    }

    /// Its tensors under the names that PEFT, or the base's checkpoint, gives them.
    ///
    /// # Errors
    /// A tensor operation of the device fails.
    pub fn named(&self) -> Result<Vec<(String, Tensor)>> {
        match self {
            TrainedWeights::Base(decoder) => decoder.named_weights(),
            TrainedWeights::Adapter(_) => {
                Ok(self.places().into_iter().map(peft_name).zip(self.tensors()?).collect())
            }
        }
    }

    /// The whole base, ready to be moved: its weights in f32, however they were stored.
    pub(crate) fn of_base(decoder: &Decoder) -> Result<TrainedWeights> {
        let whole = TrainedWeights::Base(Box::new(decoder.clone()));
        let values =
            whole.tensors()?.iter().map(|value| value.to_dtype(DType::F32)).collect::<Result<_>>()?;
        Ok(whole.with_tensors(values))
    }

    pub(crate) fn goal(&self, factor: f64) -> Goal {
        match self {
            TrainedWeights::Adapter(_) => Goal::Adapter { factor },
            TrainedWeights::Base(_) => Goal::Weights { factor },
        }
    }

    /// The places of its tensors. For each pair, A then B.
    pub(crate) fn places(&self) -> Vec<Parameter> {
        match self {
            TrainedWeights::Adapter(adapter) => adapter
                .pairs()
                .flat_map(|(place, _)| match place {
                    Place::Embedding => [Factor::A, Factor::B].map(Parameter::EmbeddingLora),
                    Place::Block(layer, linear) => {
                        [Slot::LoraA(linear), Slot::LoraB(linear)].map(|slot| Parameter::Block(layer, slot))
                    }
                    Place::Head => [Factor::A, Factor::B].map(Parameter::HeadLora),
                })
                .collect(),
            TrainedWeights::Base(decoder) => {
                let config = decoder.config();
                let mut places = vec![Parameter::Embedding];
                for layer in 0..config.layers {
                    let linears = Linear::of(config).iter().copied();
                    let biased = linears.clone().filter(|linear| config.biased(*linear));
                    let slots = linears.map(Slot::Weight).chain(biased.map(Slot::Bias));
                    let slots = slots.chain(Norm::of(config).map(Slot::Norm));
                    places.extend(slots.map(|slot| Parameter::Block(layer, slot)));
                }
                places.push(Parameter::Norm);
                if !config.tied_embeddings {
                    places.push(Parameter::Head);
                }
                places
            }
        }
    }

    /// Its tensors, in the order of its places.
    ///
    /// # Errors
    /// A tensor operation of the device fails.
    pub(crate) fn tensors(&self) -> Result<Vec<Tensor>> {
        match self {
            TrainedWeights::Adapter(adapter) => {
                Ok(adapter.pairs().flat_map(|(_, pair)| [pair.a.clone(), pair.b.clone()]).collect())
            }
            TrainedWeights::Base(decoder) => {
                let places = self.places().into_iter();
                places.filter_map(|place| weight(decoder, place).transpose()).collect()
            }
        }
    }

    /// The same with other tensors, in the order of its places.
    pub(crate) fn with_tensors(&self, values: Vec<Tensor>) -> TrainedWeights {
        let mut moved = self.clone();
        let mut values = values.into_iter();
        match &mut moved {
            TrainedWeights::Adapter(moved) => {
                let TrainedWeights::Adapter(adapter) = self else { return self.clone() };
                for (place, pair) in adapter.pairs() {
                    if let (Some(a), Some(b)) = (values.next(), values.next()) {
                        moved.set(place, pair.with_factors(a, b));
                    }
                }
            }
            TrainedWeights::Base(decoder) => {
                for (place, value) in self.places().into_iter().zip(values) {
                    set_weight(decoder, place, value);
                }
            }
        }
        moved
    }
}

/// The name of a factor's tensor in a PEFT folder.
pub(crate) fn peft_name(place: Parameter) -> String {
    let name = |place: Place, factor: &str| format!("base_model.model.{place}.{factor}");
    match place {
        Parameter::Block(layer, Slot::LoraA(linear)) => name(Place::Block(layer, linear), "lora_A.weight"),
        Parameter::Block(layer, Slot::LoraB(linear)) => name(Place::Block(layer, linear), "lora_B.weight"),
        Parameter::EmbeddingLora(factor) => name(Place::Embedding, &format!("lora_embedding_{factor:?}")),
        Parameter::HeadLora(factor) => name(Place::Head, &format!("lora_{factor:?}.weight")),
        other => format!("{other:?}"),
    }
}

/// `None` where this base has no such weight; [`TrainedWeights::places`] lists none of those.
fn weight(decoder: &Decoder, place: Parameter) -> Result<Option<Tensor>> {
    Ok(Some(match place {
        Parameter::Embedding | Parameter::EmbeddingLora(_) => decoder.embedding.values()?,
        Parameter::Norm => decoder.norm.clone(),
        Parameter::Head | Parameter::HeadLora(_) => decoder.head.weight().values()?,
        Parameter::Block(layer, slot) => {
            let block = &decoder.blocks[layer];
            match slot {
                Slot::Weight(linear) | Slot::LoraA(linear) | Slot::LoraB(linear) => {
                    block.linear(linear).weight().values()?
                }
                Slot::Bias(linear) => return Ok(block.linear(linear).bias().cloned()),
                Slot::Norm(norm) => return Ok(block.norm(norm).cloned()),
            }
        }
    }))
}

fn set_weight(decoder: &mut Decoder, place: Parameter, value: Tensor) {
    match place {
        Parameter::Embedding | Parameter::EmbeddingLora(_) => {
            if decoder.config.tied_embeddings {
                decoder.head.set_weight(value.clone());
            }
            decoder.embedding = value.into();
        }
        Parameter::Norm => decoder.norm = value,
        Parameter::Head | Parameter::HeadLora(_) => decoder.head.set_weight(value),
        Parameter::Block(layer, slot) => {
            let block = &mut decoder.blocks[layer];
            match slot {
                Slot::Weight(linear) | Slot::LoraA(linear) | Slot::LoraB(linear) => {
                    let bias = block.linear(linear).bias().cloned();
                    block.set_linear(linear, FrozenLinear::new(value, bias));
                }
                Slot::Bias(linear) => {
                    let weight = block.linear(linear).weight().clone();
                    block.set_linear(linear, FrozenLinear::new(weight, Some(value)));
                }
                Slot::Norm(norm) => block.set_norm(norm, value),
            }
        }
    }
}
