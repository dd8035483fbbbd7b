//! A forward pass over a packed row that stops after each layer, so that others can use the base in between.
//!
//! The same [`Decoder::forward`], cut into steps. It must not know what the hidden rows are wanted for.

use candle_core::{Result, Tensor};

use crate::decoder::{Batch, BlockAdapters, Decoder, PassContext};
use crate::lora::Adapter;

pub struct LayeredForward {
    context: PassContext,
    tokens: Vec<u32>,
    x: Tensor,
    layer: usize,
}

impl LayeredForward {
    pub fn new(decoder: &Decoder, batch: &Batch) -> Result<Self> {
        let x = decoder.embed(&batch.tokens)?;
        Ok(Self { context: decoder.context(batch)?, tokens: batch.tokens.clone(), x, layer: 0 })
    }

    /// One layer; the rows behind the last norm (`[tokens, hidden]`) once all have been passed.
    pub fn step(&mut self, decoder: &Decoder, adapter: Option<&Adapter>) -> Result<Option<Tensor>> {
        if self.layer >= decoder.config().layers {
            return Ok(Some(decoder.last_norm(&self.x)?));
        }
        if self.layer == 0 {
            self.x = decoder.adapt_embedding(self.x.clone(), &self.tokens, adapter)?;
        }
        let pairs = adapter.and_then(|adapter| adapter.layers.get(self.layer));
        self.x =
            decoder.block_forward(self.layer, &self.x, &self.context, BlockAdapters::Same(pairs), &mut [])?.0;
        self.layer += 1;
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;
    use crate::fixtures::distance;

    #[test]
    fn it_is_the_forward_pass() {
        let decoder = fixtures::decoder(3);
        let adapter = fixtures::adapter_everywhere(&decoder, 2);
        let batch = Batch::packed([[1, 2, 3].as_slice(), &[4, 5]]);
        let whole = decoder.forward(&batch, Some(&adapter), None).unwrap();
        let mut layered = LayeredForward::new(&decoder, &batch).unwrap();
        let mut steps = 0;
        let hidden = loop {
            steps += 1;
            if let Some(hidden) = layered.step(&decoder, Some(&adapter)).unwrap() {
                break hidden;
            }
        };
        assert_eq!(steps, decoder.config().layers + 1);
        assert!(distance(&whole, &hidden) == 0.0);
    }
}
