//! What a front end sends, and what somebody writes into a cell; see `tests/fuzz/README.md`.

use hotplate_fuzz::fuzz;

use crate::cell::{Cell, is_complete, rust_at};
use crate::rust::source;
use crate::task;
use crate::wire::{Request, Signer};

#[test]
fn fuzz_wire() {
    let seeds: &[&[u8]] = &[
        b"id\n<IDS|MSG>\nsig\n{\"msg_id\": \"1\", \"msg_type\": \"execute_request\", \"username\": \"\", \"session\": \"s\", \"date\": \"2026-03-01T00:00:00Z\", \"version\": \"5.3\"}\n{}\n{}\n{\"code\": \"%status\", \"silent\": false}",
        b"<IDS|MSG>\n\n{\"msg_id\": \"1\", \"msg_type\": \"complete_request\", \"date\": \"2026-03-01T00:00:00Z\"}\n{}\n{}\n{\"code\": \"%st\", \"cursor_pos\": 3}\nbuffer",
        b"<IDS|MSG>\n\n{\"msg_id\": \"1\", \"msg_type\": \"history_request\", \"date\": \"\"}\n{}\n{}\n{\"hist_access_type\": \"tail\", \"n\": 3}",
    ];
    let words = [
        "\n",
        "<IDS|MSG>",
        "{",
        "}",
        "null",
        "\"msg_type\": ",
        "\"inspect_request\"",
        "\"comm_open\"",
        "\"shutdown_request\"",
        "\"input_reply\"",
        "\"is_complete_request\"",
        "\"content\": ",
        "\"date\": ",
        "\\ud800",
        "1e999",
        "-1",
    ];
    // Nothing is signed, so that contents are looked at.
    let signer = Signer::new("", "hmac-sha256").unwrap();
    fuzz("wire", seeds, &words, |bytes| {
        let parts = bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        if let Ok(request) = Request::read(parts, &signer) {
            let _ = request.message_type();
        }
    });
}

#[test]
fn fuzz_cells() {
    let seeds: &[&[u8]] = &[
        b"%train notes/ --epochs 3 \\\n  --rank 8\n%status\n",
        b"%%generate -a notes\nWrite a note.\nAnd another.\n",
        b"%%examples notes/\nOne.\n---\nTwo.\n",
        b"%%train notes/\nrank = 8\nprompts = [\"a\"]\n",
        b"let x = 1;\n// a comment\nfn f<'a>(s: &'a str) -> char { '\\'' }\n%status\nprintln!(\"{x}\");\n",
        b":dep serde = \"1\"\nuse serde::Serialize;\n",
    ];
    let words = [
        "%",
        "%%",
        "%%rust\n",
        "%%check\n",
        "%train ",
        "%generate ",
        "\\\n",
        "\"",
        "'",
        "r#\"",
        "\"#",
        "/*",
        "*/",
        "//",
        "{",
        "}",
        "(",
        ")",
        "b'",
        "\n",
        ":dep ",
        "é",
        "面",
        "\u{0}",
    ];
    fuzz("cells", seeds, &words, |bytes| {
        let code = String::from_utf8_lossy(bytes);
        let _ = Cell::parse(&code);
        let _ = is_complete(&code);
        let _ = rust_at(&code, code.chars().count() / 2);
        let _ = (source::shape(&code), source::flaw(&code), task::of_line(&code));
    });
}
