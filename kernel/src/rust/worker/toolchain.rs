//! Whether what evcxr needs is on this machine.

use std::env;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use crate::said::{StartProblem, Tool};

/// evcxr would go on with the paths of the machine that it was built on; then nothing says what is missing.
pub(crate) fn check() -> Result<(), StartProblem> {
    for (program, tool) in [("cargo", Tool::Cargo), ("rustc", Tool::Rustc)] {
        if !is_on_path(program) {
            return Err(StartProblem::Missing(tool));
        }
    }
    Ok(())
}

fn is_on_path(program: &str) -> bool {
    let name = format!("{program}{}", env::consts::EXE_SUFFIX);
    env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|folder| folder.join(&name).is_file()))
}

/// What went wrong at evcxr's start, which compiles and runs `42`.
pub(crate) fn explain(message: &str) -> StartProblem {
    if message.contains("linker `") && message.contains("not found") {
        return StartProblem::Missing(Tool::Linker);
    }
    StartProblem::Other(message.trim().to_owned())
}

/// Links the sources of the standard library into a folder of our own, where they are found by `RUST_SRC_PATH`.
///
/// In the toolchain's folder they have a `Cargo.toml`, and rust-analyzer asks cargo about it, which asks the network for crates
/// that the sources name: half a minute where there is none, and then no type of the standard library is known. Without that
/// file it takes the sources as they are.
pub(crate) fn link_sources(folder: &Path) -> io::Result<()> {
    let asked = Command::new("rustc").args(["--print", "sysroot"]).output()?;
    let sysroot = String::from_utf8_lossy(&asked.stdout).trim().to_owned();
    let library = Path::new(&sysroot).join("lib/rustlib/src/rust/library");
    if !is_library(&library) {
        return Ok(());
    }
    let links = folder.join("library");
    fs::create_dir(&links)?;
    for entry in fs::read_dir(library)? {
        let entry = entry?;
        if entry.path().is_dir() {
            std::os::unix::fs::symlink(entry.path(), links.join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// Without the sources of the standard library, rust-analyzer knows no type that comes from it.
pub(crate) fn has_sources() -> bool {
    env::var_os("RUST_SRC_PATH").is_some_and(|library| is_library(Path::new(&library)))
}

fn is_library(folder: &Path) -> bool {
    folder.join("core/src/lib.rs").is_file()
}
