//! Nobody waits for ever: files that never end, templates that never end, prompts that no base reads, folders that the daemon dies of.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use hotplate_protocol::methods::check::{Check, CheckParams};
use hotplate_protocol::methods::generate::{Generate, GenerateParams, GenerateResult, Sampling};
use hotplate_protocol::methods::watch::Watch;
use hotplate_protocol::{ErrorCode, RpcError};
use rusqlite::Connection;
use serde_json::json;

use crate::test_daemon::{TestDaemon, eventually};

/// Anything that waits takes longer.
const SOON: Duration = Duration::from_secs(20);

fn prompt(daemon: &TestDaemon, text: &str) -> GenerateParams {
    let sampling = Sampling { max_tokens: Some(1), temperature: Some(0.0), ..Sampling::default() };
    GenerateParams {
        prompt: text.to_owned(),
        base: Some(daemon.base()),
        sampling,
        ..GenerateParams::default()
    }
}

fn answer(daemon: &TestDaemon) -> GenerateResult {
    daemon.client().call::<Generate>(&prompt(daemon, "Well now"))
}

fn refusal(daemon: &TestDaemon, params: &GenerateParams) -> RpcError {
    let began = Instant::now();
    let error = daemon.client().refusal::<Generate>(params);
    assert!(began.elapsed() < SOON, "{error} after {:?}", began.elapsed());
    error
}

fn pipe_in_place_of(file: &Path) {
    let _ = fs::remove_file(file);
    assert!(Command::new("mkfifo").arg(file).status().unwrap().success());
}

#[test]
fn a_pipe_in_place_of_a_file_is_refused() {
    let daemon = TestDaemon::start();
    let base = daemon.root.path().join("base");
    for name in [
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "generation_config.json",
        "chat_template.jinja",
        "model.safetensors",
    ] {
        let file = base.join(name);
        let before = fs::read(&file).ok();
        for through_link in [false, true] {
            let pipe = if through_link { daemon.root.path().join("pipe") } else { file.clone() };
            pipe_in_place_of(&pipe);
            if through_link {
                std::os::unix::fs::symlink(&pipe, &file).unwrap();
            }
            let error = refusal(&daemon, &prompt(&daemon, "a"));
            assert!(error.message.contains(name) && error.message.contains("a pipe"), "{name}: {error}");
            fs::remove_file(&file).unwrap();
        }
        if let Some(before) = before {
            fs::write(&file, before).unwrap();
        }
    }
    answer(&daemon);
    let gguf = daemon.root.path().join("a.gguf");
    pipe_in_place_of(&gguf);
    let base = Some(gguf.to_str().unwrap().to_owned());
    let error = refusal(&daemon, &GenerateParams { base, ..prompt(&daemon, "a") });
    assert!(error.message.contains("a.gguf"), "{error}");

    let adapter = daemon.root.path().join("adapter");
    fs::create_dir(&adapter).unwrap();
    let with_adapter =
        GenerateParams { adapter: Some(adapter.to_str().unwrap().to_owned()), ..prompt(&daemon, "a") };
    let settings = json!({ "peft_type": "LORA", "r": 1, "lora_alpha": 1, "target_modules": ["q_proj"] });
    for name in ["adapter_config.json", "adapter_model.safetensors", "hotplate.json"] {
        pipe_in_place_of(&adapter.join(name));
        let error = refusal(&daemon, &with_adapter);
        assert!(error.message.contains(name) && error.message.contains("a pipe"), "{name}: {error}");
        fs::remove_file(adapter.join(name)).unwrap();
        fs::write(adapter.join("adapter_config.json"), settings.to_string()).unwrap();
    }

    // In a dataset it is a finding, and the rest is read.
    daemon.write_notes(0..3);
    pipe_in_place_of(&daemon.notes().join("b.txt"));
    let check =
        CheckParams { folder: daemon.notes(), base: Some(daemon.base()), fallback_base: None, list: false };
    let found = daemon.client().call::<Check>(&check);
    assert_eq!(found.examples, 3);
    assert!(found.findings.iter().any(|finding| finding.message.contains("a pipe")), "{:?}", found.findings);
    pipe_in_place_of(&daemon.notes().join("hotplate.toml"));
    let said = daemon
        .client()
        .connection
        .call::<Check>(&check)
        .map_or_else(|error| error.to_string(), |found| format!("{found:?}"));
    assert!(said.contains("a pipe"), "{said}");
}

#[test]
fn templates_beyond_their_limits_are_errors_and_neighbours_go_on() {
    let mut daemon = TestDaemon::start();
    let base = daemon.root.path().join("base");
    for template in [
        // Steps, memory, nesting, size, and a text that doubles.
        "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}".to_owned(),
        "{{ 'abcdefgh' * 20000000 }}".to_owned(),
        format!("{}{}", "{% if true %}".repeat(81), "{% endif %}".repeat(81)),
        " ".repeat((1 << 20) + 1),
        "{% set ns = namespace(a='abcdefgh') %}{% for i in range(40) %}{% set ns.a = ns.a ~ ns.a %}{% endfor %}{{ ns.a }}"
            .to_owned(),
    ] {
        fs::write(base.join("chat_template.jinja"), &template).unwrap();
        let error = refusal(&daemon, &prompt(&daemon, "Well now"));
        assert_eq!(error.code, ErrorCode::UnusableBase);
        assert!(error.message.contains("(base: base)"), "{error}");
        // Raw text needs no template.
        let raw = GenerateParams { raw: true, ..prompt(&daemon, "Well now") };
        daemon.client().call::<Generate>(&raw);
    }
    assert!(daemon.is_alive());
}

#[test]
fn files_of_a_warm_base_that_are_edited_are_used_at_once() {
    let daemon = TestDaemon::start();
    let base = daemon.root.path().join("base");
    let prompt_tokens = || answer(&daemon).prompt_tokens;
    assert_eq!(prompt_tokens(), "Well now".len());
    // Each as long as the one before, so that lengths tell nothing.
    for (template, tokens) in [("{{ messages[0].content }}!", 9), ("{{ messages[0].role    }}!", 5)] {
        let file = base.join("chat_template.jinja");
        fs::write(&file, template).unwrap();
        // A copy that keeps the time of its original.
        let long_ago = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        fs::File::options().write(true).open(&file).unwrap().set_modified(long_ago).unwrap();
        assert_eq!(prompt_tokens(), tokens, "{template}");
    }
    fs::remove_file(base.join("chat_template.jinja")).unwrap();
    fs::create_dir(base.join("additional_chat_templates")).unwrap();
    let named = base.join("additional_chat_templates/default.jinja");
    for (template, tokens) in [("ab", 2), ("abc", 3)] {
        fs::write(&named, template).unwrap();
        assert_eq!(prompt_tokens(), tokens);
    }
    fs::remove_dir_all(base.join("additional_chat_templates")).unwrap();
    for token in ["<|end|>", "Z"] {
        let settings = json!({ "chat_template": "{{ bos_token }}{{ messages[0].content }}" });
        fs::write(base.join("tokenizer_config.json"), settings.to_string()).unwrap();
        fs::write(base.join("special_tokens_map.json"), json!({ "bos_token": token }).to_string()).unwrap();
        assert_eq!(prompt_tokens(), 9);
    }
    // What ends an answer.
    let first = answer(&daemon).token_ids[0];
    fs::write(base.join("generation_config.json"), json!({ "eos_token_id": first }).to_string()).unwrap();
    assert_eq!(answer(&daemon).finish_reason, hotplate_protocol::methods::generate::FinishReason::Stop);
    assert_eq!(daemon.client().status().models.len(), 1);
}

#[test]
fn a_prompt_that_no_base_reads_is_refused_by_its_bytes() {
    let daemon = TestDaemon::start();
    for text in ["soup ".repeat(6 << 20), "a".repeat(30 << 10)] {
        let error = refusal(&daemon, &prompt(&daemon, &text));
        assert_eq!(error.code, ErrorCode::InvalidParams);
        assert!(error.message.contains(&text.len().to_string()) || error.message.contains("512"), "{error}");
    }
    answer(&daemon);
}

#[test]
fn a_folder_that_the_daemon_dies_of_is_left_alone_until_somebody_asks_for_it() {
    let mut daemon = TestDaemon::start();
    daemon.write_notes(0..4);
    let mut params = daemon.train_params();
    params.knobs.max_steps = Some(1);
    let client = daemon.client();
    client.attach(None);
    client.call::<Watch>(&params);
    client.next_end();
    drop(client);
    daemon.kill();
    // As the store is when the daemon has died twice in the middle of a look.
    let store = Connection::open(daemon.home().join("store.sqlite")).unwrap();
    let sql = "INSERT OR REPLACE INTO preparations (folder, adapter, what, open, deaths) VALUES (?1, 'notes', 'watch', 1, 1)";
    store.execute(sql, [daemon.notes().to_str().unwrap()]).unwrap();
    drop(store);
    for _ in 0..2 {
        daemon.restart();
        let watch = daemon.client().status().watches.remove(0);
        let problem = watch.problem.unwrap();
        assert!(problem.contains("suspended") && problem.contains("hotplate watch /"), "{problem}");
        daemon.terminate();
    }
    daemon.restart();
    let client = daemon.client();
    client.call::<Watch>(&params);
    eventually("it is watched again", || client.status().watches[0].problem.is_none());
    drop(client);
    daemon.terminate();
    daemon.restart();
    assert_eq!(daemon.client().status().watches[0].problem, None);
}
