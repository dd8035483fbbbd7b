//! What people get wrong, and what breaks: one clear error each, and the daemon lives on.

use std::fs;
use std::path::PathBuf;

use hotplate_protocol::methods::check::{Check, CheckParams};
use hotplate_protocol::methods::generate::{Generate, GenerateParams, Sampling};
use hotplate_protocol::methods::train::{Train, TrainParams};
use hotplate_protocol::run::RunEvent;
use hotplate_protocol::{ErrorCode, RpcError};

use crate::base;
use crate::test_daemon::TestDaemon;

fn refused(daemon: &TestDaemon, params: &TrainParams) -> RpcError {
    daemon.client().refusal::<Train>(params)
}

fn generate(daemon: &TestDaemon, adapter: Option<String>, base: Option<String>) -> RpcError {
    let prompt = "Well now".to_owned();
    let sampling = Sampling { max_tokens: Some(2), ..Sampling::default() };
    daemon.client().refusal::<Generate>(&GenerateParams {
        prompt,
        adapter,
        base,
        raw: true,
        sampling,
        ..GenerateParams::default()
    })
}

#[test]
fn folders_that_cannot_be_learnt() {
    let mut daemon = TestDaemon::start();
    let params = daemon.train_params();
    let missing = TrainParams { folder: daemon.root.path().join("no such"), ..params.clone() };
    let error = refused(&daemon, &missing);
    assert_eq!(error.code, ErrorCode::NotFound);
    assert!(error.message.contains("no such"), "{error}");

    let empty = refused(&daemon, &params);
    assert_eq!(empty.code, ErrorCode::UnusableDataset);
    assert!(empty.message.contains("no examples") && empty.message.contains(".jsonl"), "{empty}");

    fs::write(daemon.notes().join("a.txt"), "only one").unwrap();
    fs::write(daemon.notes().join("b.jsonl"), "{\"text\": 1}\n").unwrap();
    let one = refused(&daemon, &params);
    assert_eq!(one.code, ErrorCode::UnusableDataset);
    assert!(one.message.contains("one example") && one.message.contains("b.jsonl:1"), "{one}");

    let knobs = hotplate_protocol::methods::train::Knobs { epochs: Some(0), ..Default::default() };
    assert_eq!(refused(&daemon, &TrainParams { knobs, ..params.clone() }).code, ErrorCode::InvalidParams);
    let name = TrainParams { adapter: Some("../x".to_owned()), ..params };
    assert_eq!(refused(&daemon, &name).code, ErrorCode::InvalidParams);
    assert!(daemon.is_alive());
}

#[test]
fn bases_that_cannot_be_used() {
    let daemon = TestDaemon::start();
    daemon.write_notes(0..10);
    let base = PathBuf::from(daemon.base());
    let with_base = |base: &str| TrainParams { base: Some(base.to_owned()), ..daemon.train_params() };
    for name in ["no-such-base", "/no/such/base"] {
        let error = refused(&daemon, &with_base(name));
        assert_eq!(error.code, ErrorCode::UnusableBase);
        assert!(error.message.contains(name), "{error}");
    }
    let weights = fs::read(base.join("model.safetensors")).unwrap();
    fs::write(base.join("model.safetensors"), &weights[..weights.len() / 2]).unwrap();
    let cut = generate(&daemon, None, Some(daemon.base()));
    assert_eq!(cut.code, ErrorCode::UnusableBase);
    assert!(cut.message.contains("model.safetensors"), "{cut}");
    fs::write(base.join("model.safetensors"), weights).unwrap();
    let config = fs::read_to_string(base.join("config.json")).unwrap();
    fs::write(base.join("config.json"), config.replace("LlamaForCausalLM", "OtherForCausalLM")).unwrap();
    let unknown = generate(&daemon, None, Some(daemon.base()));
    assert_eq!(unknown.code, ErrorCode::UnusableBase);
    assert!(unknown.message.contains("OtherForCausalLM"), "{unknown}");
}

#[test]
fn adapters_that_cannot_be_used() {
    let daemon = TestDaemon::start();
    daemon.write_notes(0..10);
    let client = daemon.client();
    let events = client.train(&daemon.train_params());
    let Some(RunEvent::Finished { result }) = events.last() else { panic!("{:?}", events.last()) };
    let other = daemon.root.path().join("other");
    fs::create_dir(&other).unwrap();
    base::write(&other, 2);
    let other = other.to_str().unwrap().to_owned();
    let error = generate(&daemon, Some("notes".to_owned()), Some(other.clone()));
    assert_eq!(error.code, ErrorCode::UnusableAdapter);
    let same_name = refused(&daemon, &TrainParams { base: Some(other), ..daemon.train_params() });
    assert_eq!(same_name.code, ErrorCode::UnusableAdapter);
    assert!(same_name.message.contains("--adapter"), "{same_name}");

    let copy = daemon.root.path().join("copy");
    fs::create_dir(&copy).unwrap();
    for name in ["adapter_config.json", "adapter_model.safetensors"] {
        fs::copy(result.path.join(name), copy.join(name)).unwrap();
    }
    let weights = fs::read(copy.join("adapter_model.safetensors")).unwrap();
    fs::write(copy.join("adapter_model.safetensors"), &weights[..weights.len() - 9]).unwrap();
    let corrupt = generate(&daemon, Some(copy.to_str().unwrap().to_owned()), Some(daemon.base()));
    assert_eq!(corrupt.code, ErrorCode::UnusableAdapter);
    assert!(corrupt.message.contains("adapter_model.safetensors"), "{corrupt}");
    let nowhere = generate(&daemon, Some("/no/such/adapter".to_owned()), Some(daemon.base()));
    assert_eq!(nowhere.code, ErrorCode::UnusableAdapter);
}

#[test]
fn a_line_of_fifty_megabytes_is_a_finding() {
    let daemon = TestDaemon::start();
    daemon.write_notes(0..3);
    let mut line = "{\"text\": \"".to_owned();
    line.push_str(&"x".repeat(50 << 20));
    line.push_str("\"}\n{\"text\": \"a short one\"}\n");
    fs::write(daemon.notes().join("huge.jsonl"), line).unwrap();
    let found = daemon.client().call::<Check>(&CheckParams {
        folder: daemon.notes(),
        base: Some(daemon.base()),
        fallback_base: None,
        list: false,
    });
    assert_eq!(found.examples, 4);
    assert!(
        found
            .findings
            .iter()
            .any(|finding| finding.file.as_os_str() == "huge.jsonl" && finding.lines == (1, 1))
    );
}

#[test]
fn a_damaged_store_is_named_and_left_alone() {
    let mut daemon = TestDaemon::start();
    daemon.kill();
    let store = daemon.home().join("store.sqlite");
    for name in ["store.sqlite-wal", "store.sqlite-shm"] {
        let _ = fs::remove_file(daemon.home().join(name));
    }
    fs::write(&store, "not a database ".repeat(1000)).unwrap();
    let before = fs::read(&store).unwrap();
    let ended = daemon.command().status().unwrap();
    assert!(!ended.success());
    assert_eq!(fs::read(&store).unwrap(), before);
}
