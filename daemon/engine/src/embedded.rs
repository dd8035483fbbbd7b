//! The base that is compiled into the program, so that everything works on a fresh machine.
//!
//! Its files lie in `embedded/` beside `src/` and are made by the `pretrain` example. A checkout without them (while
//! the base is being made anew) still compiles: the build script says whether they are there.

use crate::base_error::BaseError;

/// The embedded base's name.
pub const NAME: &str = "hotplate-tiny";

/// One of the embedded base's files, or nothing where it has no such file.
///
/// # Errors
/// [`BaseError::NoEmbeddedBase`] where this build has none at all.
#[cfg(embedded_base)]
#[expect(clippy::unnecessary_wraps, reason = "the build without a base fails")]
pub(crate) fn file(name: &str) -> Result<Option<&'static [u8]>, BaseError> {
    macro_rules! embedded {
        ($($file:literal),*) => {
            match name {
                $($file => Some(&include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/embedded/", $file))[..]),)*
                _ => None,
            }
        };
    }
    Ok(embedded!(
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
        "model.safetensors"
    ))
}

#[cfg(not(embedded_base))]
pub(crate) fn file(_name: &str) -> Result<Option<&'static [u8]>, BaseError> {
    Err(BaseError::NoEmbeddedBase)
}
