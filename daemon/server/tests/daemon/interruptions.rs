//! Kill -9 and SIGTERM in the middle of a run: nothing half-written is seen, and the run goes on.

use std::fs;
use std::time::Duration;

use hotplate_protocol::methods::generate::{Generate, GenerateParams, Sampling};
use hotplate_protocol::methods::train::Train;
use hotplate_protocol::run::{Cause, RunEvent, RunId};

use crate::test_daemon::{TestDaemon, eventually, folders_in};

fn answer_of(daemon: &TestDaemon, adapter: &str) -> Vec<u32> {
    let params = GenerateParams {
        prompt: "Well now".to_owned(),
        adapter: Some(adapter.to_owned()),
        base: None,
        raw: true,
        sampling: Sampling { temperature: Some(0.0), max_tokens: Some(16), ..Sampling::default() },
        ..GenerateParams::default()
    };
    daemon.client().call::<Generate>(&params).token_ids
}

/// A daemon in the middle of its second run on the same notes; the run is long enough to be hit.
fn mid_run(variables: &[(&'static str, &str)]) -> (TestDaemon, RunId) {
    let daemon = TestDaemon::with(variables);
    daemon.write_notes(0..20);
    let client = daemon.client();
    assert!(matches!(client.train(&daemon.train_params()).last(), Some(RunEvent::Finished { .. })));
    let mut params = daemon.train_params();
    params.knobs.max_steps = Some(400);
    params.knobs.epochs = Some(10_000);
    params.knobs.learning_rate = Some(1e-3);
    let run = client.call::<Train>(&params).run;
    (daemon, run)
}

fn resumed(daemon: &TestDaemon, run: RunId) -> Vec<RunEvent> {
    let client = daemon.client();
    client.attach(Some(run));
    let events = client.follow(run);
    let again = events.iter().rposition(|event| matches!(event, RunEvent::Started { .. })).unwrap();
    assert!(matches!(&events[again], RunEvent::Started { cause: Cause::Resumed, .. }), "{:?}", events[again]);
    events[again..].to_vec()
}

fn first_step(events: &[RunEvent]) -> usize {
    events
        .iter()
        .find_map(|event| if let RunEvent::Step { step, .. } = event { Some(*step) } else { None })
        .unwrap()
}

#[test]
fn a_killed_run_goes_on_where_it_was_saved() {
    let (mut daemon, run) = mid_run(&[("HOTPLATE_CHECKPOINT_SECONDS", "0.05")]);
    let before = answer_of(&daemon, "notes");
    let client = daemon.client();
    eventually("it was saved", || client.status().runs[0].step > 20);
    daemon.kill();
    let saved = folders_in(&daemon.home().join("runs").join(run.0.to_string()));
    assert!(saved.iter().any(|name| name.starts_with("step-")), "{saved:?}");
    daemon.restart();
    assert_eq!(answer_of(&daemon, "notes"), before, "the last good version answers");
    let client = daemon.client();
    eventually("status says why it runs", || {
        client.status().runs.iter().any(|status| status.run == run && status.cause == Cause::Resumed)
    });
    let events = resumed(&daemon, run);
    assert!(first_step(&events) > 1, "it did not start anew: {:?}", &events[..3]);
    let Some(RunEvent::Finished { result }) = events.last() else { panic!("{:?}", events.last()) };
    assert_eq!((result.version, result.run), (2, run));
    assert_eq!(folders_in(&daemon.home().join("adapters/notes")), ["v0001", "v0002"]);
}

#[test]
fn a_run_that_was_never_saved_starts_anew() {
    let (mut daemon, run) = mid_run(&[]);
    let client = daemon.client();
    eventually("it takes steps", || client.status().runs[0].step > 1);
    daemon.kill();
    fs::remove_dir_all(daemon.home().join("runs")).unwrap_or_default();
    daemon.restart();
    let events = resumed(&daemon, run);
    assert_eq!(first_step(&events), 1);
    assert!(matches!(events.last(), Some(RunEvent::Finished { .. })), "{:?}", events.last());
}

#[test]
fn the_system_asks_to_end_and_the_run_is_saved() {
    let (mut daemon, run) = mid_run(&[]);
    let client = daemon.client();
    eventually("it takes steps", || client.status().runs[0].step > 10);
    daemon.terminate();
    daemon.restart();
    let events = resumed(&daemon, run);
    assert!(first_step(&events) > 10, "{:?}", &events[..3]);
    assert!(matches!(events.last(), Some(RunEvent::Finished { .. })));
}

#[test]
fn a_run_whose_examples_are_gone_is_reported() {
    let (mut daemon, run) = mid_run(&[("HOTPLATE_CHECKPOINT_SECONDS", "0.05")]);
    let client = daemon.client();
    eventually("it was saved", || client.status().runs[0].step > 10);
    daemon.kill();
    fs::remove_dir_all(daemon.notes()).unwrap();
    daemon.restart();
    let client = daemon.client();
    client.attach(Some(run));
    let events = client.follow(run);
    let Some(RunEvent::Failed { error }) = events.last() else { panic!("{:?}", events.last()) };
    assert!(error.contains("interrupted") && error.contains("notes"), "{error}");
    assert_eq!(client.adapters()[0].current, 1);
}

#[test]
fn half_written_versions_are_never_seen() {
    let (mut daemon, run) = mid_run(&[]);
    daemon.kill();
    // What a kill between two file operations leaves.
    let adapter = daemon.home().join("adapters/notes");
    fs::create_dir(adapter.join(".new-2")).unwrap();
    fs::write(adapter.join(".new-2/adapter_config.json"), "{").unwrap();
    // A folder that somebody put there is not ours to delete.
    fs::create_dir(adapter.join("v0007")).unwrap();
    daemon.restart();
    assert_eq!(daemon.client().adapters()[0].versions.len(), 1);
    assert!(!adapter.join(".new-2").exists());
    let events = resumed(&daemon, run);
    let Some(RunEvent::Finished { result }) = events.last() else { panic!("{:?}", events.last()) };
    assert_eq!(result.version, 2);
    assert!(adapter.join("v0007").exists());
}

#[test]
fn kills_at_any_moment_leave_a_good_version() {
    let (mut daemon, run) = mid_run(&[("HOTPLATE_CHECKPOINT_SECONDS", "0.02")]);
    let before = answer_of(&daemon, "notes");
    for pause in [0, 3, 17, 60] {
        std::thread::sleep(Duration::from_millis(pause));
        daemon.kill();
        daemon.restart();
        let adapters = daemon.client().adapters();
        assert!(
            adapters[0]
                .versions
                .iter()
                .all(|version| version.path.join("adapter_model.safetensors").exists())
        );
        if adapters[0].current == 1 {
            assert_eq!(answer_of(&daemon, "notes"), before);
        }
    }
    let client = daemon.client();
    client.attach(Some(run));
    assert!(matches!(client.follow(run).last(), Some(RunEvent::Finished { .. })));
}
