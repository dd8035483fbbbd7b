//! A whole model in one file, by its name.

use std::path::Path;

/// Whether a whole model lies there as a GGUF file, by its name.
pub fn is_gguf_file(path: &Path) -> bool {
    path.extension().is_some_and(|end| end.eq_ignore_ascii_case("gguf")) && path.is_file()
}
