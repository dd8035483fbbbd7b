//! LoRA adapters: pairs of thin matrices beside the frozen linear layers (Hu et al. 2021, <https://arxiv.org/abs/2106.09685>).
//!
//! Owns the factors and their names. An adapter is an argument of the forward pass, never a state of the model;
//! reading and writing folders is [`crate::peft`]'s matter.

use candle_core::{Device, Result, Tensor};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::config::DecoderConfig;

/// The seven linear layers of a decoder block. The order is that of the forward pass and of parameter lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Linear {
    Query,
    Key,
    Value,
    Output,
    Gate,
    Up,
    Down,
}

impl Linear {
    pub const ALL: [Linear; 7] =
        [Linear::Query, Linear::Key, Linear::Value, Linear::Output, Linear::Gate, Linear::Up, Linear::Down];

    /// The module's own name in a Hugging Face checkpoint.
    pub const fn module(self) -> &'static str {
        match self {
            Linear::Query => "q_proj",
            Linear::Key => "k_proj",
            Linear::Value => "v_proj",
            Linear::Output => "o_proj",
            Linear::Gate => "gate_proj",
            Linear::Up => "up_proj",
            Linear::Down => "down_proj",
        }
    }

    /// The module that holds it.
    pub const fn parent(self) -> &'static str {
        match self {
            Linear::Query | Linear::Key | Linear::Value | Linear::Output => "self_attn",
            Linear::Gate | Linear::Up | Linear::Down => "mlp",
        }
    }

    /// `(out, in)`, as the weight lies in a checkpoint.
    pub fn shape(self, config: &DecoderConfig) -> (usize, usize) {
        let queries = config.heads * config.head_dim;
        let keys = config.kv_heads * config.head_dim;
        match self {
            Linear::Query => (queries, config.hidden),
            Linear::Key | Linear::Value => (keys, config.hidden),
            Linear::Output => (config.hidden, queries),
            Linear::Gate | Linear::Up => (config.intermediate, config.hidden),
            Linear::Down => (config.hidden, config.intermediate),
        }
    }
}

/// One pair: the layer's output grows by `scale * B A x`.
#[derive(Debug, Clone)]
pub struct Lora {
    /// `[r, in]`
    pub a: Tensor,
    /// `[out, r]`
    pub b: Tensor,
    /// `alpha / r`, or `alpha / sqrt(r)` for rsLoRA.
    pub scale: f64,
}

/// The pairs of one decoder block; a linear layer without one is untouched.
#[derive(Debug, Clone, Default)]
pub struct LayerAdapter {
    pairs: [Option<Lora>; 7],
}

impl LayerAdapter {
    pub fn get(&self, linear: Linear) -> Option<&Lora> {
        self.pairs[linear as usize].as_ref()
    }

    pub fn set(&mut self, linear: Linear, pair: Lora) {
        self.pairs[linear as usize] = Some(pair);
    }
}

/// LoRA factors for one base.
#[derive(Debug, Clone)]
pub struct Adapter {
    pub rank: usize,
    pub alpha: f64,
    /// One for each decoder block.
    pub layers: Vec<LayerAdapter>,
}

impl Adapter {
    /// An adapter that changes nothing yet, on all linear layers: `A` uniform in ±1/sqrt(in) (PEFT's Kaiming
    /// initialisation with a = sqrt 5), `B` zero.
    pub fn fresh(
        config: &DecoderConfig,
        rank: usize,
        alpha: f64,
        seed: u64,
        device: &Device,
    ) -> Result<Adapter> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let scale = alpha / rank as f64;
        let mut layers = vec![LayerAdapter::default(); config.layers];
        for layer in &mut layers {
            for linear in Linear::ALL {
                let (outputs, inputs) = linear.shape(config);
                let bound = 1.0 / (inputs as f32).sqrt();
                let a: Vec<f32> = (0..rank * inputs).map(|_| rng.random_range(-bound..bound)).collect();
                let a = Tensor::from_vec(a, (rank, inputs), device)?;
                let b = Tensor::zeros((outputs, rank), candle_core::DType::F32, device)?;
                layer.set(linear, Lora { a, b, scale });
            }
        }
        Ok(Adapter { rank, alpha, layers })
    }

    /// Its pairs with their places, in parameter order.
    pub fn pairs(&self) -> impl Iterator<Item = (usize, Linear, &Lora)> {
        self.layers.iter().enumerate().flat_map(|(index, layer)| {
            Linear::ALL.into_iter().filter_map(move |linear| Some((index, linear, layer.get(linear)?)))
        })
    }

    /// Number of trainable values.
    pub fn parameters(&self) -> usize {
        self.pairs().map(|(_, _, pair)| pair.a.elem_count() + pair.b.elem_count()).sum()
    }
}
