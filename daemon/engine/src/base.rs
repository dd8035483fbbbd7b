//! A base model in memory: its weights, and the text side that belongs to them.

use std::sync::Arc;

use candle_core::Device;

use crate::base_error::BaseError;
use crate::base_text::{BaseSource, BaseText};
use crate::checkpoint;
use crate::decoder::Decoder;
use crate::device::in_pool;
use crate::quantise::Quantise;
use crate::weights::Weights;

#[derive(Debug)]
pub struct Base {
    pub text: Arc<BaseText>,
    pub decoder: Decoder,
    pub device: Device,
}

impl Base {
    /// Reads config, tokenizer and weights.
    pub fn open(source: &BaseSource, device: &Device) -> Result<Base, BaseError> {
        let text = Arc::new(BaseText::open(source)?);
        Base::with_text(text, source.quantise(), device)
    }

    /// Reads the weights for a text side that is already open, and quantises them if that is wished.
    pub fn with_text(
        text: Arc<BaseText>,
        quantise: Option<Quantise>,
        device: &Device,
    ) -> Result<Base, BaseError> {
        let weights = Weights::open(&text.source)?;
        let decoder = checkpoint::decoder(&weights, text.config.clone(), device, quantise)?;
        Ok(Base { text, decoder, device: device.clone() })
    }

    /// Copies one of the weights that still lie in their file; false where there is none. Weights are first read there, so that an answer need not wait for
    /// a copy of them all. To be called whenever there is time, as a file may be written to.
    ///
    /// # Errors
    /// No memory for it: it stays in its file and is not tried again.
    pub fn settle(&self) -> candle_core::Result<bool> {
        in_pool(|| self.decoder.settle())
    }

    /// Bytes that its weights take in memory.
    pub fn bytes(&self) -> u64 {
        self.decoder.bytes()
    }

    pub fn parameters(&self) -> u64 {
        self.decoder.parameters()
    }
}
