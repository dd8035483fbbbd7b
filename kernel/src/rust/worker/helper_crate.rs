//! The crate `hotplate` that cells see, written where evcxr can build it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const MANIFEST: &str =
    "[package]\nname = \"hotplate\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[workspace]\n";
const FILES: [(&str, &str); 3] = [
    ("Cargo.toml", MANIFEST),
    ("src/lib.rs", include_str!("../in_cells/lib.rs")),
    ("src/fields.rs", include_str!("../in_cells/fields.rs")),
];

/// Gives the crate's folder.
pub(crate) fn write(folder: &Path) -> io::Result<PathBuf> {
    let folder = folder.join("hotplate");
    fs::create_dir_all(folder.join("src"))?;
    for (name, text) in FILES {
        fs::write(folder.join(name), text)?;
    }
    Ok(folder)
}
