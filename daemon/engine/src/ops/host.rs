//! Direct access to f32 tensors in CPU memory, for the fused loops of this folder.
//!
//! candle's own elementwise operations allocate at each step and run on one thread. Where a device is not the CPU, each operation
//! has a composition of candle's operations instead.

use std::cell::Cell;
use std::ops::Deref;

use candle_core::{CpuStorage, DType, InplaceOp1, Layout, Result, Storage, StorageRef, Tensor};

/// A contiguous f32 tensor in CPU memory, readable as a slice.
pub struct HostSlice {
    tensor: Tensor,
}

/// Whether the fused loops may read this tensor.
pub fn on_host(tensor: &Tensor) -> bool {
    tensor.device().is_cpu() && tensor.dtype() == DType::F32
}

impl HostSlice {
    /// Copies only if the tensor is not contiguous.
    pub fn new(tensor: &Tensor) -> Result<HostSlice> {
        let tensor = tensor.contiguous()?;
        if !on_host(&tensor) {
            candle_core::bail!("a fused CPU operation was given a tensor that is not f32 in CPU memory");
        }
        Ok(HostSlice { tensor })
    }

    pub fn read(&self) -> Result<HostRead<'_>> {
        let (storage, layout) = self.tensor.storage_and_layout();
        HostRead::new(storage, layout)
    }
}

/// An f32 tensor in CPU memory of three dimensions, the last of which lies close together; the lines may lie anywhere.
pub struct HostLines {
    tensor: Tensor,
}

impl HostLines {
    /// Copies only if lines do not lie close together.
    pub fn new(tensor: &Tensor) -> Result<HostLines> {
        tensor.dims3()?;
        let tensor = if tensor.stride()[2] == 1 { tensor.clone() } else { tensor.contiguous()? };
        Ok(HostLines { tensor })
    }

    /// How far apart lines are in the first and in the second dimension.
    pub fn steps(&self) -> (usize, usize) {
        (self.tensor.stride()[0], self.tensor.stride()[1])
    }

    /// From the first line's start to the last one's end.
    pub fn read(&self) -> Result<HostRead<'_>> {
        let (storage, layout) = self.tensor.storage_and_layout();
        let start = layout.start_offset();
        let places = layout.dims().iter().zip(layout.stride());
        let last: Option<usize> = places.map(|(&count, step)| Some(count.checked_sub(1)? * step)).sum();
        HostRead::of(storage, (start, last.map_or(start, |last| start + last + 1)))
    }
}

/// Holds the tensor's read lock.
pub struct HostRead<'a> {
    storage: StorageRef<'a>,
    range: (usize, usize),
}

impl<'a> HostRead<'a> {
    fn new(storage: StorageRef<'a>, layout: &Layout) -> Result<Self> {
        let Some(range) = layout.contiguous_offsets() else {
            candle_core::bail!("a contiguous tensor was expected");
        };
        Self::of(storage, range)
    }

    fn of(storage: StorageRef<'a>, range: (usize, usize)) -> Result<Self> {
        if !matches!(&*storage, Storage::Cpu(CpuStorage::F32(_))) {
            candle_core::bail!("f32 in CPU memory was expected");
        }
        Ok(Self { storage, range })
    }
}

impl Deref for HostRead<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &*self.storage {
            Storage::Cpu(CpuStorage::F32(values)) => &values[self.range.0..self.range.1],
            _ => &[],
        }
    }
}

/// Changes a contiguous f32 tensor in CPU memory in place. Whoever shares its memory sees that, so only for what was just made.
pub fn change<R>(tensor: &Tensor, with: impl FnOnce(&mut [f32]) -> R) -> Result<R> {
    let change = Change { with: Cell::new(Some(with)), result: Cell::new(None) };
    tensor.inplace_op1(&change)?;
    match change.result.into_inner() {
        Some(result) => Ok(result),
        None => candle_core::bail!("a tensor was not changed"),
    }
}

struct Change<F, R> {
    with: Cell<Option<F>>,
    result: Cell<Option<R>>,
}

impl<R, F: FnOnce(&mut [f32]) -> R> InplaceOp1 for Change<F, R> {
    fn name(&self) -> &'static str {
        "change"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let Some((start, end)) = layout.contiguous_offsets() else {
            candle_core::bail!("only a contiguous tensor can be changed in place");
        };
        let CpuStorage::F32(values) = storage else {
            candle_core::bail!("f32 in CPU memory was expected");
        };
        self.result.set(self.with.take().map(|with| with(&mut values[start..end])));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn lines_are_read_where_they_lie() {
        let whole = Tensor::arange(0f32, 24.0, &Device::Cpu).unwrap().reshape((2, 4, 3)).unwrap();
        let part = whole.narrow(1, 1, 2).unwrap().transpose(0, 1).unwrap();
        let lines = HostLines::new(&part).unwrap();
        assert_eq!(lines.steps(), (3, 12));
        let read = lines.read().unwrap();
        assert_eq!((read[0], read[3 + 12], read.len()), (3.0, 18.0, 18));
        let apart = HostLines::new(&whole.transpose(1, 2).unwrap()).unwrap();
        assert_eq!((apart.steps(), apart.read().unwrap()[1]), ((12, 4), 3.0));
        assert!(HostLines::new(&whole.narrow(0, 0, 0).unwrap()).unwrap().read().unwrap().is_empty());
        assert!(HostLines::new(&whole.flatten_all().unwrap()).is_err());
    }

    #[test]
    fn a_tensor_is_changed_where_it_lies() {
        let tensor = Tensor::new(&[1f32, 2.0, 3.0], &Device::Cpu).unwrap();
        let part = tensor.narrow(0, 1, 2).unwrap();
        let sum = change(&part, |values| {
            values[0] = 7.0;
            values.iter().sum::<f32>()
        });
        assert!((sum.unwrap() - 10.0).abs() < 1e-6);
        assert_eq!(tensor.to_vec1::<f32>().unwrap(), [1.0, 7.0, 3.0]);
        let strided = Tensor::zeros((2, 3), DType::F32, &Device::Cpu).unwrap().t().unwrap();
        assert!(change(&strided, |_| ()).is_err());
    }
}
