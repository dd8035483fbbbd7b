//! Frames and messages; see `tests/fuzz/README.md`.

use hotplate_fuzz::fuzz;

use crate::methods::generate::GenerateParams;
use crate::methods::initialize::InitializeParams;
use crate::methods::score::ScoreParams;
use crate::methods::train::TrainParams;
use crate::notifications::RunEventParams;
use crate::{Message, read_frame, write_frame};

const JSON: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "null",
    "1e999",
    "\"",
    "\\ud800",
    "\"id\": ",
    "\"method\": ",
    "\"params\": ",
    "\"result\": ",
    "\"error\": ",
    "\"jsonrpc\": \"2.0\"",
    "\"folder\": \"/x\"",
    "\"knobs\": {",
    "\"sampling\": {",
    "\"kind\": ",
    "Content-Length: ",
    "\r\n",
];

#[test]
fn fuzz_frames() {
    let mut whole = Vec::new();
    write_frame(&mut whole, b"{\"jsonrpc\": \"2.0\", \"method\": \"x\"}").unwrap();
    let two = [whole.clone(), whole.clone()].concat();
    let seeds: &[&[u8]] = &[
        &whole,
        &two,
        b"Content-Length: 2\r\nContent-Type: application/vscode-jsonrpc; charset=utf-8\r\n\r\n{}",
    ];
    fuzz("frames", seeds, JSON, |mut bytes| {
        while let Ok(Some(body)) = read_frame(&mut bytes) {
            let mut again = Vec::new();
            write_frame(&mut again, &body).unwrap();
            assert_eq!(read_frame(&mut again.as_slice()).unwrap(), Some(body));
        }
    });
}

#[test]
fn fuzz_messages() {
    let seeds: &[&[u8]] = &[
        b"{\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"train/start\", \"params\": {\"folder\": \"/x\", \"knobs\": {\"rank\": 8}}}",
        b"{\"jsonrpc\": \"2.0\", \"method\": \"$/cancelRequest\", \"params\": {\"id\": \"a\"}}",
        b"{\"jsonrpc\": \"2.0\", \"id\": \"a\", \"result\": {\"x\": [1.5, null]}}",
        b"{\"jsonrpc\": \"2.0\", \"id\": null, \"error\": {\"code\": -32700, \"message\": \"m\", \"data\": {}}}",
    ];
    fuzz("messages", seeds, JSON, |bytes| match Message::parse(bytes) {
        Ok(message) => assert_eq!(Message::parse(&message.to_bytes()).unwrap(), message),
        Err(answer) => drop(Message::Response(answer).to_bytes()),
    });
}

#[test]
fn fuzz_params() {
    let seeds: &[&[u8]] = &[
        b"{\"folder\": \"/x\", \"knobs\": {\"rank\": 8, \"learning_rate\": 1e-4, \"prompts\": [\"a\"], \"style\": \"instruct\"}}",
        b"{\"prompt\": \"a\", \"sampling\": {\"temperature\": 0.5, \"max_tokens\": 4, \"seed\": 1}, \"feed\": {\"folder\": \"/x\"}}",
        b"{\"path\": \"/x\", \"heldout\": {\"kind\": \"fed\", \"examples\": 3}}",
        b"{\"processId\": 1, \"clientInfo\": {\"name\": \"x\"}, \"initializationOptions\": {\"hotplate\": {\"min\": 1, \"max\": 1}}}",
        b"{\"run\": 1, \"event\": {\"kind\": \"step\", \"step\": 1, \"loss\": 0.5}}",
    ];
    fuzz("params", seeds, JSON, |bytes| {
        let _ = serde_json::from_slice::<TrainParams>(bytes);
        let _ = serde_json::from_slice::<GenerateParams>(bytes);
        let _ = serde_json::from_slice::<ScoreParams>(bytes);
        let _ = serde_json::from_slice::<InitializeParams>(bytes);
        let _ = serde_json::from_slice::<RunEventParams>(bytes);
    });
}
