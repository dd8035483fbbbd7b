//! `--json`: one object a line on standard output, and nothing else.

use std::io::{self, Write};

use hotplate_client::Shown;

pub(crate) fn show(shown: &Shown) -> io::Result<()> {
    let Some(json) = shown.to_json() else { return Ok(()) };
    let mut out = io::stdout().lock();
    writeln!(out, "{json}")?;
    out.flush()
}
