//! Direct access to f32 tensors in CPU memory, and a bounds-checked door to the `gemm` crate, for the fused loops of
//! this folder.
//!
//! candle's own elementwise operations allocate at each step and run on one thread. Where a device is not the CPU, each operation
//! has a composition of candle's operations instead.

use std::ops::Deref;

use candle_core::{CpuStorage, DType, Layout, Result, Storage, StorageRef, Tensor};

/// A contiguous f32 tensor in CPU memory, readable as a slice.
pub(crate) struct HostSlice {
    tensor: Tensor,
}

/// Whether the fused loops may read this tensor.
pub(crate) fn on_host(tensor: &Tensor) -> bool {
    tensor.device().is_cpu() && tensor.dtype() == DType::F32
}

impl HostSlice {
    /// Copies only if the tensor is not contiguous.
    pub(crate) fn new(tensor: &Tensor) -> Result<HostSlice> {
        let tensor = tensor.contiguous()?;
        if !on_host(&tensor) {
            candle_core::bail!("a fused CPU operation was given a tensor that is not f32 in CPU memory");
        }
        Ok(HostSlice { tensor })
    }

    pub(crate) fn read(&self) -> Result<HostRead<'_>> {
        let (storage, layout) = self.tensor.storage_and_layout();
        HostRead::new(storage, layout)
    }
}

/// Holds the tensor's read lock.
pub(crate) struct HostRead<'a> {
    storage: StorageRef<'a>,
    range: (usize, usize),
}

impl<'a> HostRead<'a> {
    fn new(storage: StorageRef<'a>, layout: &Layout) -> Result<Self> {
        let Some(range) = layout.contiguous_offsets() else {
            candle_core::bail!("a contiguous tensor was expected");
        };
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

/// A matrix inside a slice: element `(row, column)` lies at `offset + row * row_stride + column * column_stride`.
#[derive(Clone, Copy)]
pub(crate) struct View {
    pub(crate) offset: usize,
    pub(crate) row_stride: usize,
    pub(crate) column_stride: usize,
}

impl View {
    pub(crate) const fn rows(offset: usize, row_stride: usize) -> View {
        View { offset, row_stride, column_stride: 1 }
    }

    /// The same memory with rows and columns exchanged.
    pub(crate) const fn transposed(self) -> View {
        View { offset: self.offset, row_stride: self.column_stride, column_stride: self.row_stride }
    }

    fn end(self, rows: usize, columns: usize) -> usize {
        if rows == 0 || columns == 0 {
            return 0;
        }
        self.offset + (rows - 1) * self.row_stride + (columns - 1) * self.column_stride + 1
    }
}

/// Whether a product replaces what was there or is added to it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Merge {
    Replace,
    Add,
}

/// `target (rows x columns) = or += factor * left (rows x inner) * right (inner x columns)`, on the calling thread.
///
/// # Panics
/// If a view reaches outside its slice: a fault of this crate, never of its input.
pub(crate) fn product(
    (rows, inner, columns): (usize, usize, usize),
    (target, target_view): (&mut [f32], View),
    (left, left_view): (&[f32], View),
    (right, right_view): (&[f32], View),
    factor: f32,
    merge: Merge,
) {
    assert!(target_view.end(rows, columns) <= target.len());
    assert!(left_view.end(rows, inner) <= left.len());
    assert!(right_view.end(inner, columns) <= right.len());
    if rows == 0 || columns == 0 {
        return;
    }
    let signed = |stride: usize| stride as isize;
    // SAFETY: the three asserts bound every element that these shapes and strides reach, and `target` is borrowed
    // mutably, so it overlaps neither of the others.
    #[expect(unsafe_code, reason = "the gemm crate has no safe entry")]
    unsafe {
        gemm::gemm(
            rows,
            columns,
            inner,
            target.as_mut_ptr().add(target_view.offset),
            signed(target_view.column_stride),
            signed(target_view.row_stride),
            merge == Merge::Add,
            left.as_ptr().add(left_view.offset),
            signed(left_view.column_stride),
            signed(left_view.row_stride),
            right.as_ptr().add(right_view.offset),
            signed(right_view.column_stride),
            signed(right_view.row_stride),
            1.0,
            factor,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_with_strides() {
        let left = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]; // 2 x 3
        let right = [1.0, 0.0, 1.0, 1.0, 0.0, 1.0]; // 3 x 2
        let mut target = vec![10.0; 4];
        product(
            (2, 3, 2),
            (&mut target, View::rows(0, 2)),
            (&left, View::rows(0, 3)),
            (&right, View::rows(0, 2)),
            1.0,
            Merge::Replace,
        );
        assert_eq!(target, [3.0, 5.0, 9.0, 11.0]);
        // left^T left, added
        let mut gram = vec![1.0; 9];
        product(
            (3, 2, 3),
            (&mut gram, View::rows(0, 3)),
            (&left, View::rows(0, 3).transposed()),
            (&left, View::rows(0, 3)),
            2.0,
            Merge::Add,
        );
        assert_eq!(gram[..2], [1.0 + 2.0 * 17.0, 1.0 + 2.0 * 22.0]);
        assert_eq!(gram[5..6], [1.0 + 2.0 * 36.0]);
    }
}
