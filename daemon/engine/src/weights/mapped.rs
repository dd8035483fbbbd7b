//! A file of weights as memory, whatever its format.

use std::fs::File;
use std::path::Path;

use memmap2::Mmap;

use crate::base_error::BaseError;

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
