//! A base model in memory: its weights, and the text side that belongs to them.

use std::io;
use std::path::Path;
use std::sync::Arc;

use candle_core::Device;

use crate::base_error::BaseError;
use crate::base_spec::{BaseSource, BaseSpec};
use crate::checkpoint::{self, Built};
use crate::decoder::Decoder;
use crate::device::in_pool;
pub use crate::ops::mapped_matrix::Materialized;
use crate::packed::{Origin, Packed, Unkept};
use crate::quantise::Quantise;
use crate::weights::Weights;

#[derive(Debug)]
pub struct Base {
    pub text: Arc<BaseSpec>,
    pub decoder: Arc<Decoder>,
    pub device: Device,
    /// What was quantised as it was loaded.
    unkept: Option<Unkept>,
}

impl Base {
    /// Reads config, tokenizer and weights.
    pub fn open(source: &BaseSource, device: &Device) -> Result<Base, BaseError> {
        let text = Arc::new(BaseSpec::open(source)?);
        Base::with_text(text, source.quantise(), device, None)
    }

    /// Reads the weights for a text side that is already open, and quantises them if that is wished. `packed` is a folder where
    /// [such weights are kept](Self::keep_packed).
    pub fn with_text(
        text: Arc<BaseSpec>,
        quantise: Option<Quantise>,
        device: &Device,
        packed: Option<&Path>,
    ) -> Result<Base, BaseError> {
        // Before anything is read: what changes while it is read must not pass for what was read.
        let origin = quantise.and_then(|quantise| Origin::of(&text, quantise));
        let kept = packed.zip(origin.as_ref()).and_then(|(folder, origin)| Packed::open(folder, origin));
        let weights = Weights::open(&text.source)?;
        let Built { decoder, quantised } =
            checkpoint::decoder(&weights, text.config.clone(), device, quantise, kept.as_ref())?;
        let unkept =
            origin.filter(|_| !quantised.is_empty()).map(|origin| Unkept { origin, weights: quantised });
        Ok(Base { text, decoder: Arc::new(decoder), device: device.clone(), unkept })
    }

    /// The same weights beside another text side: the files of tokenizer, template or end tokens were edited.
    #[must_use]
    pub fn with_other_text(&self, text: Arc<BaseSpec>) -> Base {
        Base { text, decoder: Arc::clone(&self.decoder), device: self.device.clone(), unkept: None }
    }

    /// Whether somebody else uses its weights, with this text side or another.
    pub fn is_shared(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) > 1 || Arc::strong_count(&self.decoder) > 1
    }

    /// Bytes that [`keep_packed`](Self::keep_packed) would write; 0 where there is nothing to keep.
    pub fn unkept_bytes(&self) -> u64 {
        self.unkept.as_ref().map_or(0, Unkept::bytes)
    }

    /// Writes the weights that were quantised as this base was loaded to a folder, from which they are read the next time. The file's length.
    ///
    /// # Errors
    /// The folder cannot be made or written to, or the disk is full.
    pub fn keep_packed(&self, folder: &Path) -> io::Result<u64> {
        self.unkept.as_ref().map_or(Ok(0), |unkept| unkept.keep(folder))
    }

    /// Copies one of the weights that still lie in their file. They are first read there, so that an answer need not wait for a copy of them all. To be called
    /// until there is [nothing](Settled::Nothing) to do, whenever there is time, as a file may be written to.
    pub fn materialize(&self) -> Materialized {
        in_pool(|| self.decoder.materialize())
    }

    /// A base of parts.
    pub fn of(text: Arc<BaseSpec>, decoder: Decoder, device: Device) -> Base {
        Base { text, decoder: Arc::new(decoder), device, unkept: None }
    }

    /// Bytes that its weights take in memory.
    pub fn bytes(&self) -> u64 {
        self.decoder.bytes()
    }

    pub fn parameters(&self) -> u64 {
        self.decoder.parameters()
    }
}
