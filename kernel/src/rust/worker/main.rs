//! `hotplate-rust-cells`: the program that compiles and runs the Rust cells of one notebook. The kernel starts it with the first
//! such cell, and speaks to it over its standard input and output.
//!
//! Everything that cells may ruin is here or below: evcxr, the compilers it starts, and the process in which the code runs.
//! They are one process group, which ends with the kernel. Knows nothing of Jupyter, and nothing of the daemon.

mod cells;
mod compile_error;
mod family;
#[path = "../in_cells/fields.rs"]
#[expect(
    dead_code,
    unreachable_pub,
    reason = "written for the crate that cells see; only reading is needed here"
)]
mod fields;
mod from_cell;
mod helper_crate;
mod output;
mod progress;
mod run_code;
#[path = "../said.rs"]
mod said;
mod serve;
#[path = "../source.rs"]
#[expect(dead_code, reason = "only quoting is needed here")]
mod source;
mod toolchain;

use std::path::Path;
use std::process::ExitCode;

/// What the first argument says this process is. Without one it is evcxr's: the process that loads code, or a wrapper of rustc.
const SERVE: &str = "serve";
const CELL: &str = "cell";

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let role = arguments.next();
    match (role.as_deref().and_then(|role| role.to_str()), arguments.next()) {
        (Some(CELL), None) => return run_code::run(),
        (Some(SERVE), Some(folder)) => return serve::serve(Path::new(&folder)),
        _ => {}
    }
    evcxr::runtime_hook();
    complain("this program is started by hotplate-kernel, with the first Rust cell");
    ExitCode::FAILURE
}

#[expect(clippy::print_stderr, reason = "what this program says to a terminal, or to the kernel's log")]
fn complain(what: &str) {
    eprintln!("hotplate-rust-cells: {what}");
}
