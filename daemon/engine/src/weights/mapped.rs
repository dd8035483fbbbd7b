//! A file of weights as memory, whatever its format.

use std::fs::File;
use std::path::Path;

use memmap2::Mmap;

use crate::base_error::BaseError;

/// A part was copied out: its pages need not be held in this process any longer, or a base would take its size twice while it is
/// loaded. Whoever reads them again gets them again.
pub(crate) fn copied(map: &Mmap, part: &[u8]) {
    #[cfg(unix)]
    if let Some(start) = (part.as_ptr().addr()).checked_sub(map.as_ptr().addr()) {
        #[expect(unsafe_code, reason = "advice about memory is unsafe where the memory could be written")]
        // SAFETY: the map is of a file and only read: what is dropped is read from the file again.
        let advised =
            unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, start, part.len()) };
        if let Err(error) = advised {
            tracing::debug!(%error, "the pages of a weight stay");
        }
    }
}

/// The whole file.
///
/// # Errors
/// It cannot be opened, is no regular file, or is empty.
#[expect(unsafe_code, reason = "memory-mapping is the only way to read gigabytes without holding them twice")]
pub(crate) fn map(file: &Path) -> Result<Mmap, BaseError> {
    let reading = |source| BaseError::reading(file, source);
    let opened = File::open(file).map_err(reading)?;
    let metadata = opened.metadata().map_err(reading)?;
    if !metadata.is_file() {
        return Err(BaseError::BadConfig { file: file.to_owned(), why: "is not a regular file".to_owned() });
    }
    if metadata.len() == 0 {
        return Err(BaseError::CorruptWeights { file: file.to_owned(), why: "it is empty".to_owned() });
    }
    // SAFETY: nobody may change the file while it is mapped. Checkpoints are replaced by renaming, not rewritten in place, and the map
    // lives only while a base is being loaded: readers copy every value out. Any bytes are valid as u8, and readers check all offsets
    // into them.
    unsafe { Mmap::map(&opened) }.map_err(reading)
}
