//! Runs that are asked for: plans, events, versions, rollback.

use std::collections::HashSet;

use hotplate_protocol::ErrorCode;
use hotplate_protocol::knobs::TrainOn;
use hotplate_protocol::methods::generate::{Generate, GenerateParams, Sampling};
use hotplate_protocol::methods::rename::{Rename, RenameParams};
use hotplate_protocol::methods::rollback::{Rollback, RollbackParams};
use hotplate_protocol::methods::run_cancel::{CancelRun, CancelRunParams};
use hotplate_protocol::methods::run_finish::{FinishRun, FinishRunParams};
use hotplate_protocol::methods::status::RunState;
use hotplate_protocol::methods::train::{PlanTrain, Train, TrainParams};
use hotplate_protocol::run::{Cause, RunEvent, RunId, RunKind};

use crate::test_daemon::{TestDaemon, eventually, folders_in};

fn greedy(adapter: &str) -> GenerateParams {
    GenerateParams {
        prompt: "Well now".to_owned(),
        adapter: Some(adapter.to_owned()),
        base: None,
        raw: true,
        sampling: Sampling { temperature: Some(0.0), max_tokens: Some(24), ..Sampling::default() },
        ..GenerateParams::default()
    }
}

fn long(daemon: &TestDaemon) -> TrainParams {
    let mut params = daemon.train_params();
    params.knobs.max_steps = None;
    params.knobs.epochs = Some(10_000);
    params.knobs.learning_rate = Some(1e-6);
    params
}

#[test]
fn a_worse_version_says_which_one_did_better() {
    let daemon = TestDaemon::start();
    daemon.write_notes(0..30);
    let client = daemon.client();
    let mut params = daemon.train_params();
    let train = |params: &TrainParams| match client.train(params).pop() {
        Some(RunEvent::Finished { result }) => result,
        end => panic!("{end:?}"),
    };
    let first = train(&params);
    assert_eq!(first.better, None);
    params.knobs.max_steps = Some(1);
    let worse = train(&params);
    let better = worse.better.expect("the first did better on the same examples");
    assert_eq!((better.version, better.heldout_loss), (1, first.heldout_loss));
    assert!(better.heldout_loss < worse.heldout_loss);
    // Learnt in another form, it is judged by other losses.
    params.knobs.train_on = Some(TrainOn::Everything);
    assert_eq!(train(&params).better, None);
}

#[test]
fn a_run_makes_a_version_that_answers() {
    let daemon = TestDaemon::start();
    daemon.write_notes(0..30);
    let client = daemon.client();
    let plan = client.call::<PlanTrain>(&daemon.train_params());
    assert_eq!((plan.kind, plan.adapter.as_str(), plan.steps), (RunKind::Full, "notes", 60));
    assert_eq!(plan.train_examples + plan.heldout_examples, 30);
    let (seconds, most) = (plan.seconds.unwrap(), plan.seconds_at_most.unwrap());
    assert!(
        seconds > 0.0 && most >= seconds && plan.likely_steps <= plan.steps,
        "two steps on trial tell: {plan:?}"
    );
    assert!(plan.memory_bytes > 0 && plan.supervised_tokens < plan.tokens);

    let events = client.train(&daemon.train_params());
    assert!(matches!(events[0], RunEvent::Queued { position: 0 }), "{:?}", events[0]);
    assert!(
        matches!(&events[1], RunEvent::Started { cause: Cause::Asked, plan: begun } if begun.tokens == plan.tokens)
    );
    assert!(matches!(events[2], RunEvent::Evaluated { step: 0, best: true, .. }));
    let steps: Vec<usize> = events
        .iter()
        .filter_map(|event| if let RunEvent::Step { step, .. } = event { Some(*step) } else { None })
        .collect();
    assert!(!steps.is_empty() && steps.is_sorted());
    let Some(RunEvent::Finished { result }) = events.last() else { panic!("{:?}", events.last()) };
    assert_eq!((result.version, result.steps), (1, 60));
    assert!(result.heldout_loss < 0.9 * result.base_heldout_loss, "{result:?}");
    assert_eq!(result.save_to_swap_seconds, None);
    assert_eq!(
        folders_in(&result.path),
        ["adapter_config.json", "adapter_model.safetensors", "hotplate.json"]
    );
    assert!(client.call::<PlanTrain>(&daemon.train_params()).seconds.unwrap() > 0.0);

    let adapters = client.adapters();
    assert_eq!((adapters.len(), adapters[0].current, adapters[0].stale), (1, 1, false));
    assert_eq!(adapters[0].versions[0].path, result.path);
    let by_name = client.call::<Generate>(&greedy("notes"));
    assert_eq!(by_name.adapter.as_deref(), Some("notes@1"));
    let by_folder = client.call::<Generate>(&greedy(result.path.to_str().unwrap()));
    assert_eq!(by_folder.token_ids, by_name.token_ids);

    // Everything again for somebody who comes late.
    let late = daemon.client();
    late.attach(Some(result.run));
    let past = late.follow(result.run);
    assert_eq!(past.last(), events.last());
    assert_eq!(past.iter().filter(|event| matches!(event, RunEvent::Step { .. })).count(), 60);
    assert!(folders_in(&daemon.home().join("runs")).is_empty(), "nothing is left of a run that ended");
}

#[test]
fn versions_are_kept_and_rolled_back() {
    let daemon = TestDaemon::start();
    daemon.write_notes(0..20);
    let client = daemon.client();
    for _ in 0..2 {
        assert!(matches!(client.train(&daemon.train_params()).last(), Some(RunEvent::Finished { .. })));
    }
    let rollback = |to| RollbackParams { adapter: "notes".to_owned(), to };
    assert_eq!(client.call::<Rollback>(&rollback(None)).current, 1);
    assert_eq!(client.call::<Generate>(&greedy("notes")).adapter.as_deref(), Some("notes@1"));
    assert_eq!(client.call::<Generate>(&greedy("notes@2")).adapter.as_deref(), Some("notes@2"));
    let oldest = client.refusal::<Rollback>(&rollback(None));
    assert!(oldest.message.contains("oldest"), "{oldest}");
    let missing = client.refusal::<Rollback>(&rollback(Some(9)));
    assert!(missing.message.contains("it has 1, 2"), "{missing}");
    assert_eq!(client.call::<Rollback>(&rollback(Some(2))).current, 2);
    let unknown = client.refusal::<Generate>(&greedy("poems"));
    assert_eq!(unknown.code, ErrorCode::UnusableAdapter);
    assert!(unknown.message.contains("notes"), "it lists those that there are: {unknown}");
}

/// A run that would go on for ever, and learns.
fn endless(daemon: &TestDaemon) -> TrainParams {
    let mut params = daemon.train_params();
    params.knobs.max_steps = None;
    params.knobs.epochs = Some(10_000);
    params.knobs.patience = Some(100_000);
    params
}

#[test]
fn a_run_that_is_finished_early_keeps_its_best() {
    let daemon = TestDaemon::start();
    daemon.write_notes(0..40);
    let client = daemon.client();
    let run = client.call::<Train>(&endless(&daemon)).run;
    let finish = FinishRunParams { run };
    loop {
        if matches!(client.next_event().1, RunEvent::Step { step, .. } if step >= 3) {
            break;
        }
    }
    client.call::<FinishRun>(&finish);
    let events = client.follow(run);
    let Some(RunEvent::Finished { result }) = events.last() else { panic!("{:?}", events.last()) };
    assert!(result.steps < 1000 && result.best_step > 0, "{result:?}");
    assert!(result.reason.as_ref().unwrap().contains("ended early"), "{result:?}");
    assert!(result.guard.is_some() && result.heldout_loss < result.base_heldout_loss, "{result:?}");
    assert!(folders_in(&result.path).contains(&"hotplate.json".to_owned()));
    // What has ended has its best already.
    client.call::<FinishRun>(&finish);
    let unknown = client.refusal::<FinishRun>(&FinishRunParams { run: RunId(99) });
    assert!(unknown.message.contains("no run 99"), "{unknown}");
    // One that waits has nothing.
    let first = client.call::<Train>(&endless(&daemon)).run;
    let mut other = endless(&daemon);
    other.adapter = Some("other".to_owned());
    let second = client.call::<Train>(&other).run;
    let waits = client.refusal::<FinishRun>(&FinishRunParams { run: second });
    assert!(waits.message.contains("has not begun"), "{waits}");
    let rename = RenameParams { adapter: "other".to_owned(), name: "another".to_owned() };
    let missing = client.refusal::<Rename>(&rename);
    assert!(missing.message.contains(&format!("run {} makes its first version", second.0)), "{missing}");
    for run in [second, first] {
        client.call::<CancelRun>(&CancelRunParams { run });
    }
}

#[test]
fn a_run_of_few_examples_that_is_finished_early_learns_them_all() {
    let daemon = TestDaemon::start();
    daemon.write_notes(0..12);
    let client = daemon.client();
    let run = client.call::<Train>(&endless(&daemon)).run;
    while !matches!(client.next_event().1, RunEvent::Step { step, .. } if step >= 8) {}
    client.call::<FinishRun>(&FinishRunParams { run });
    let events = client.follow(run);
    assert!(events.iter().any(|event| matches!(event, RunEvent::FoldsDone { .. })));
    let Some(RunEvent::Finished { result }) = events.last() else { panic!("{:?}", events.last()) };
    assert_eq!((result.folds, result.train_examples), (5, 12));
}

#[test]
fn minutes_bound_a_run_with_all_that_comes_at_its_end() {
    let daemon = TestDaemon::start();
    daemon.write_notes(0..40);
    let client = daemon.client();
    let mut params = endless(&daemon);
    params.knobs.minutes = Some(0.1);
    let plan = client.call::<PlanTrain>(&params);
    assert!(plan.seconds.unwrap() <= 6.0 && plan.seconds_at_most.unwrap() <= 6.0, "{plan:?}");
    let began = std::time::Instant::now();
    let events = client.train(&params);
    let took = began.elapsed().as_secs_f64();
    let Some(RunEvent::Finished { result }) = events.last() else { panic!("{:?}", events.last()) };
    assert!(result.steps > 3 && result.reason.as_ref().unwrap().contains("ended early"), "{result:?}");
    // A second for a machine that is busy with other tests.
    assert!(took < 7.0 && took > 3.0, "{took}");
    // The recipe says it as well; nothing can be learnt in no time.
    std::fs::write(daemon.notes().join("hotplate.toml"), "minutes = 0.00001\n").unwrap();
    params.knobs.minutes = None;
    let events = client.train(&params);
    let Some(RunEvent::Failed { error }) = events.last() else { panic!("{:?}", events.last()) };
    assert!(error.contains("nothing to keep") && error.contains("more time"), "{error}");
    assert_eq!(client.adapters()[0].current, 1);
}

#[test]
fn a_cancelled_run_makes_no_version_and_the_next_one_goes_on() {
    let daemon = TestDaemon::start();
    daemon.write_notes(0..20);
    let client = daemon.client();
    let first = client.call::<Train>(&long(&daemon)).run;
    let mut other = daemon.train_params();
    other.adapter = Some("other".to_owned());
    let second = client.call::<Train>(&other).run;
    let status = client.status();
    let states: Vec<_> = status.runs.iter().map(|run| (run.run, run.state)).collect();
    assert_eq!(states, [(first, RunState::Running), (second, RunState::Queued)]);
    eventually("it takes steps", || client.status().runs[0].step > 3);
    client.call::<CancelRun>(&CancelRunParams { run: first });
    let mut ends = HashSet::new();
    while ends.len() < 2 {
        let (run, event) = client.next_end();
        assert_eq!(matches!(event, RunEvent::Cancelled), run == first, "{event:?}");
        ends.insert(run);
    }
    let names: Vec<_> = client.adapters().into_iter().map(|adapter| adapter.name).collect();
    assert_eq!(names, ["other"]);
    client.call::<CancelRun>(&CancelRunParams { run: first });
    assert_eq!(client.refusal::<CancelRun>(&CancelRunParams { run: RunId(99) }).code, ErrorCode::NotFound);
}

#[test]
fn an_answer_comes_while_a_run_goes_on() {
    let daemon = TestDaemon::start();
    daemon.write_notes(0..20);
    let client = daemon.client();
    assert!(matches!(client.train(&daemon.train_params()).last(), Some(RunEvent::Finished { .. })));
    let run = client.call::<Train>(&long(&daemon)).run;
    eventually("it takes steps", || client.status().runs[0].step > 0);
    let before = client.status().runs[0].step;
    let answer = daemon.client().call::<Generate>(&greedy("notes"));
    assert_eq!(answer.adapter.as_deref(), Some("notes@1"));
    assert!(answer.first_token_ms < 1500.0, "{answer:?}");
    eventually("training goes on", || client.status().runs[0].step > before);
    client.call::<CancelRun>(&CancelRunParams { run });
}

#[test]
fn the_same_wish_twice_is_one_run_and_another_folder_gets_another_name() {
    let daemon = TestDaemon::start();
    daemon.write_notes(0..20);
    let client = daemon.client();
    let running = client.call::<Train>(&long(&daemon)).run;
    let waiting = client.call::<Train>(&daemon.train_params()).run;
    assert_ne!(waiting, running);
    assert_eq!(client.call::<Train>(&daemon.train_params()).run, waiting);
    let second = daemon.root.path().join("elsewhere/notes");
    std::fs::create_dir_all(&second).unwrap();
    std::fs::write(second.join("a.md"), "one\n---\ntwo\n---\nthree").unwrap();
    let params = TrainParams { folder: second, ..daemon.train_params() };
    assert_eq!(client.call::<PlanTrain>(&params).adapter, "notes-2");
}
