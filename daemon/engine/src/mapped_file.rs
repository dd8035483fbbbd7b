//! A file of weights as memory, whatever its format.

use std::ops::{Deref, Range};
use std::path::Path;
use std::sync::Arc;

use hotplate_dataset::regular_file;
use memmap2::Mmap;

use crate::base_error::BaseError;

/// The whole file. Cloning shares the map, which lives as long as somebody has it.
#[derive(Debug, Clone)]
pub(crate) struct MappedFile {
    map: Arc<Mmap>,
}

/// Some bytes of it.
#[derive(Debug, Clone)]
pub(crate) struct FilePart {
    file: MappedFile,
    range: Range<usize>,
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map
    }
}

impl MappedFile {
    /// # Errors
    /// It cannot be opened, is no regular file, or is empty.
    #[expect(
        unsafe_code,
        reason = "memory-mapping is the only way to read gigabytes without holding them twice"
    )]
    pub(crate) fn open(file: &Path) -> Result<MappedFile, BaseError> {
        let reading = |source| BaseError::reading(file, source);
        let (opened, metadata) = regular_file::open(file).map_err(reading)?;
        if metadata.len() == 0 {
            return Err(BaseError::CorruptWeights { file: file.to_owned(), why: "it is empty".to_owned() });
        }
        // SAFETY: nobody may change the file while it is mapped. Checkpoints are replaced by renaming, not rewritten in place, and a map lives only
        // until its weights have been copied, which is seconds later. Any bytes are valid as u8, and readers check
        // all offsets into them.
        let map = unsafe { Mmap::map(&opened) }.map_err(reading)?;
        Ok(MappedFile { map: Arc::new(map) })
    }

    /// A part that is one of this file's own slices.
    pub(crate) fn part(&self, bytes: &[u8]) -> Option<FilePart> {
        let start = bytes.as_ptr().addr().checked_sub(self.as_ptr().addr())?;
        let range = start..start.checked_add(bytes.len())?;
        self.get(range.clone())?;
        Some(FilePart { file: self.clone(), range })
    }

    /// Some of its own bytes were copied out: their pages need not be held in this process any longer, or a base would take its size twice while it
    /// is loaded. Whoever reads them again gets them again. Other bytes are let alone.
    pub(crate) fn release_pages(&self, bytes: &[u8]) {
        #[cfg(unix)]
        if let Some(part) = self.part(bytes) {
            #[expect(unsafe_code, reason = "advice about memory is unsafe where the memory could be written")]
            // SAFETY: the map is of a file and only read: what is dropped is read from the file again.
            let advised = unsafe {
                let advice = memmap2::UncheckedAdvice::DontNeed;
                self.map.unchecked_advise_range(advice, part.range.start, part.range.len())
            };
            if let Err(error) = advised {
                tracing::debug!(%error, "the pages of a weight stay");
            }
        }
    }
}

impl FilePart {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.file[self.range.clone()]
    }

    /// See [`MappedFile::release_pages`].
    pub(crate) fn release_pages(&self, bytes: &[u8]) {
        self.file.release_pages(bytes);
    }
}
