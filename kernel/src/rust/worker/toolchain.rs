//! Whether what evcxr needs is on this machine.

use std::env;
use std::path::{Path, PathBuf};
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

/// Without the sources of the standard library, rust-analyzer knows no type that comes from it.
pub(crate) fn has_sources() -> bool {
    let library = |folder: PathBuf| folder.join("core/src/lib.rs").is_file();
    if env::var_os("RUST_SRC_PATH").map(PathBuf::from).is_some_and(library) {
        return true;
    }
    let asked = Command::new("rustc").args(["--print", "sysroot"]).output();
    asked.is_ok_and(|answer| {
        let sysroot = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
        library(Path::new(&sysroot).join("lib/rustlib/src/rust/library"))
    })
}
