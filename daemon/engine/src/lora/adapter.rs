//! The factors of one adapter.

use std::sync::{Arc, OnceLock};

use candle_core::{DType, Device, Tensor};
use hotplate_gemm::HalfFactors;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Dora, Linear, LoraError, LoraSpec, Place};
use crate::config::DecoderConfig;
use crate::ops::host::HostSlice;

/// One pair: the layer's output grows by `scale * B A x`.
#[derive(Debug, Clone)]
pub struct Lora {
    /// `[r, in]`
    pub a: Tensor,
    /// `[out, r]`
    pub b: Tensor,
    /// `alpha / r`, or `alpha / sqrt(r)` for rsLoRA.
    pub scale: f64,
    /// Where the adapter is DoRA: the length that each output's row of weights is brought to.
    pub dora: Option<Dora>,
    /// The same factors as answers read them, laid out when the first one does. Private, so that nobody gives them to other factors.
    panels: Arc<OnceLock<HalfFactors>>,
}

impl Lora {
    pub fn plain(a: Tensor, b: Tensor, scale: f64) -> Lora {
        Lora { a, b, scale, dora: None, panels: Arc::default() }
    }

    /// Other factors in its place.
    #[must_use]
    pub fn with_factors(&self, a: Tensor, b: Tensor) -> Lora {
        Lora { dora: self.dora.clone(), ..Lora::plain(a, b, self.scale) }
    }

    #[must_use]
    pub fn with_dora(self, dora: Option<Dora>) -> Lora {
        Lora { dora, ..self }
    }

    /// The factors in halves, for answers of a layer whose weights have no more than that: they cost what is read of them. The factors themselves,
    /// which are trained, merged and written to files, stay in f32.
    pub(crate) fn panels(&self) -> candle_core::Result<&HalfFactors> {
        if let Some(panels) = self.panels.get() {
            return Ok(panels);
        }
        let ((rank, inputs), (outputs, columns)) = (self.a.dims2()?, self.b.dims2()?);
        if columns != rank {
            candle_core::bail!("factors of shapes {:?} and {:?} do not fit", self.a.dims(), self.b.dims());
        }
        let (a, b) = (HostSlice::new(&self.a)?, HostSlice::new(&self.b)?);
        let panels = HalfFactors::new((rank, inputs, outputs), &a.read()?, &b.read()?, self.scale as f32);
        Ok(self.panels.get_or_init(|| panels))
    }

    /// [`panels`](Self::panels), if somebody asked for them before.
    pub(crate) fn laid_out(&self) -> Option<&HalfFactors> {
        self.panels.get()
    }

    /// The pair of a head that is the token embedding seen from the other side, where this is the embedding's: the same product, transposed.
    pub(crate) fn seen_from_the_head(&self) -> candle_core::Result<Lora> {
        let turned = |factor: &Tensor| factor.t()?.contiguous();
        Ok(Lora::plain(turned(&self.b)?, turned(&self.a)?, self.scale))
    }

    pub fn rank(&self) -> usize {
        self.a.dims().first().copied().unwrap_or(1)
    }
}

/// The pairs of one decoder block; a linear layer without one is untouched.
#[derive(Debug, Clone, Default)]
pub struct LayerAdapter {
    pairs: [Option<Lora>; Linear::ALL.len()],
}

impl LayerAdapter {
    pub fn get(&self, linear: Linear) -> Option<&Lora> {
        self.pairs[linear as usize].as_ref()
    }

    pub fn set(&mut self, linear: Linear, pair: Lora) {
        self.pairs[linear as usize] = Some(pair);
    }

    pub fn is_empty(&self) -> bool {
        self.pairs.iter().all(Option::is_none)
    }
}

/// LoRA factors for one base.
#[derive(Debug, Clone)]
pub struct Adapter {
    /// Of most pairs; each pair knows its own.
    pub rank: usize,
    pub alpha: f64,
    /// rsLoRA: scales are alpha over the root of the rank.
    pub rslora: bool,
    /// Of the token embedding: A is `[r, vocab]`, B is `[hidden, r]`.
    pub embedding: Option<Lora>,
    /// One for each decoder block.
    pub layers: Vec<LayerAdapter>,
    /// Of the language-model head.
    pub head: Option<Lora>,
}

impl Adapter {
    /// An adapter without a pair.
    pub fn empty(config: &DecoderConfig, rank: usize, alpha: f64, rslora: bool) -> Adapter {
        let layers = vec![LayerAdapter::default(); config.layers];
        Adapter { rank, alpha, rslora, embedding: None, layers, head: None }
    }

    /// An adapter that changes nothing yet, initialised as PEFT does: on linear layers `A` uniform in ±1/sqrt(in) (Kaiming with
    /// a = sqrt 5) and `B` zero; on the embedding `A` zero and `B` normal.
    ///
    /// # Errors
    /// Targets that choose nothing, patterns that are no regular expressions, ranks out of range.
    pub fn fresh(
        config: &DecoderConfig,
        spec: &LoraSpec,
        seed: u64,
        device: &Device,
    ) -> Result<Adapter, LoraError> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut adapter = Adapter::empty(config, spec.rank, spec.alpha, spec.rslora);
        for planned in spec.plan(config)? {
            let (outputs, inputs) = planned.place.shape(config);
            let rank = planned.rank;
            let (a, b) = if planned.place == Place::Embedding {
                let values: Vec<f32> = (0..outputs * rank).map(|_| normal(&mut rng)).collect();
                let b = Tensor::from_vec(values, (outputs, rank), device)?;
                (Tensor::zeros((rank, inputs), DType::F32, device)?, b)
            } else {
                let bound = 1.0 / (inputs as f32).sqrt();
                let values: Vec<f32> = (0..rank * inputs).map(|_| rng.random_range(-bound..bound)).collect();
                let a = Tensor::from_vec(values, (rank, inputs), device)?;
                (a, Tensor::zeros((outputs, rank), DType::F32, device)?)
            };
            adapter.set(planned.place, Lora::plain(a, b, planned.scale));
        }
        Ok(adapter)
    }

    pub fn get(&self, place: Place) -> Option<&Lora> {
        match place {
            Place::Embedding => self.embedding.as_ref(),
            Place::Block(layer, linear) => self.layers.get(layer)?.get(linear),
            Place::Head => self.head.as_ref(),
        }
    }

    /// A block that the base does not have is left out.
    pub fn set(&mut self, place: Place, pair: Lora) {
        match place {
            Place::Embedding => self.embedding = Some(pair),
            Place::Block(layer, linear) => {
                if let Some(layer) = self.layers.get_mut(layer) {
                    layer.set(linear, pair);
                }
            }
            Place::Head => self.head = Some(pair),
        }
    }

    /// Its pairs with their places, in parameter order.
    pub fn pairs(&self) -> impl Iterator<Item = (Place, &Lora)> {
        let blocks = self.layers.iter().enumerate().flat_map(|(index, layer)| {
            Linear::ALL
                .into_iter()
                .filter_map(move |linear| Some((Place::Block(index, linear), layer.get(linear)?)))
        });
        let embedding = self.embedding.iter().map(|pair| (Place::Embedding, pair));
        embedding.chain(blocks).chain(self.head.iter().map(|pair| (Place::Head, pair)))
    }

    /// Whether a head that is tied to the embedding stays so: nothing changes either, or the same product both.
    ///
    /// # Errors
    /// Factors that cannot be read.
    pub(crate) fn keeps_a_tie(&self) -> candle_core::Result<bool> {
        let (embedding, head) = match (&self.embedding, &self.head) {
            (None, None) => return Ok(true),
            (Some(embedding), Some(head)) => (embedding, head),
            _ => return Ok(false),
        };
        if embedding.dora.is_some() || head.dora.is_some() {
            return Ok(false);
        }
        let turned = embedding.seen_from_the_head()?;
        let same = |one: &Tensor, other: &Tensor| -> candle_core::Result<bool> {
            Ok(one.dims() == other.dims()
                && one.flatten_all()?.to_vec1::<f32>()? == other.flatten_all()?.to_vec1::<f32>()?)
        };
        let scaled = turned.scale.to_bits() == head.scale.to_bits();
        Ok(scaled && same(&turned.a, &head.a)? && same(&turned.b, &head.b)?)
    }

    /// Whether any pair is DoRA. Such adapters answer, but are not trained here.
    pub fn is_dora(&self) -> bool {
        self.pairs().any(|(_, pair)| pair.dora.is_some())
    }

    /// Number of trainable values.
    pub fn parameters(&self) -> usize {
        self.pairs().map(|(_, pair)| pair.a.elem_count() + pair.b.elem_count()).sum()
    }
}

/// A standard normal value (Box and Muller 1958).
fn normal(rng: &mut ChaCha8Rng) -> f32 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    (radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;
    use crate::fixtures::flat;
    use crate::lora::Targets;

    fn fresh(spec: &LoraSpec) -> Adapter {
        Adapter::fresh(&fixtures::config(), spec, 1, &Device::Cpu).unwrap()
    }

    #[test]
    fn a_fresh_adapter_changes_nothing_and_is_where_it_was_asked_for() {
        let names = ["embed_tokens", "lm_head", "q_proj"].map(str::to_owned).to_vec();
        let adapter = fresh(&LoraSpec { targets: Targets::Names(names), ..LoraSpec::default() });
        let places: Vec<String> = adapter.pairs().map(|(place, _)| place.to_string()).collect();
        assert_eq!(
            places,
            [
                "model.embed_tokens",
                "model.layers.0.self_attn.q_proj",
                "model.layers.1.self_attn.q_proj",
                "lm_head"
            ]
        );
        for (place, pair) in adapter.pairs() {
            let (zero, random) =
                if place == Place::Embedding { (&pair.a, &pair.b) } else { (&pair.b, &pair.a) };
            assert!(flat(zero).iter().all(|value| *value == 0.0));
            assert!(flat(random).iter().any(|value| *value != 0.0));
            let (outputs, inputs) = place.shape(&fixtures::config());
            assert_eq!((pair.a.dims(), pair.b.dims()), ([16, inputs].as_slice(), [outputs, 16].as_slice()));
        }
        assert_eq!(adapter.parameters(), 16 * ((24 + 16) * 2 + 2 * (16 + 24)));
    }

    #[test]
    fn the_normal_values_are_normal() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let values: Vec<f64> = (0..20_000).map(|_| f64::from(normal(&mut rng))).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|value| value * value).sum::<f64>() / values.len() as f64;
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05, "{mean} {variance}");
        assert!(values.iter().all(|value| value.is_finite()));
    }
}
