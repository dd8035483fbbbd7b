//! The command grammar; see `tests/fuzz/README.md`.

use hotplate_fuzz::fuzz;
use hotplate_home::hub::HubName;

use crate::command::{complete, parse_line};

#[test]
fn fuzz_command_lines() {
    let seeds: &[&[u8]] = &[
        b"train notes/ --epochs 3 --learning-rate 1e-4 -a mine",
        b"generate -a notes@2 --seed 1 --max-tokens 8 'Write a note.'",
        b"check \"my notes\" --json",
        b"export notes --to gguf out --force",
        b"help train",
        b"logs --run 3",
    ];
    let words = [
        "train ",
        "watch ",
        "generate ",
        "score ",
        "compare ",
        "rollback ",
        "--base ",
        "--json",
        "--",
        "-",
        "-a ",
        "'",
        "\"",
        "\\",
        "=",
        "@",
        "%",
        "\n",
        " ",
        "\u{0}",
        "é",
        "--prompt-file ",
        "--rank=",
        "--help",
        "-h",
        "-V",
    ];
    fuzz("command-lines", seeds, &words, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let _ = parse_line(&text);
        let cursor = text.chars().count() / 2;
        let completions = complete(&text, cursor);
        assert!(completions.start <= completions.end && completions.end <= cursor, "{text:?}");
    });
}

#[test]
fn fuzz_hub_names() {
    let seeds: &[&[u8]] = &[b"HuggingFaceTB/SmolLM2-135M-Instruct@main", b"a/b@refs/pr/1", b"./a/b"];
    fuzz("hub-names", seeds, &["/", "@", "..", "--", ".", "refs/", "\\", "%2f"], |bytes| {
        if let Ok(text) = str::from_utf8(bytes)
            && let Ok(name) = text.parse::<HubName>()
        {
            let parts = |part: &str| !matches!(part, "" | "." | "..");
            assert!(name.id.split('/').all(parts) && name.revision().split('/').all(parts), "{text:?}");
            assert_eq!(name.to_string().parse::<HubName>().unwrap(), name);
        }
    });
}
