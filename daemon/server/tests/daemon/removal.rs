//! What goes: versions, adapters, names; and what must not go.

use std::fs;
use std::path::PathBuf;

use hotplate_protocol::ErrorCode;
use hotplate_protocol::methods::adapters::VersionFiles;
use hotplate_protocol::methods::delete::{Delete, DeleteParams};
use hotplate_protocol::methods::generate::{Generate, GenerateParams, Sampling};
use hotplate_protocol::methods::prune::{Prune, PruneParams};
use hotplate_protocol::methods::rename::{Rename, RenameParams};
use hotplate_protocol::methods::rollback::{Rollback, RollbackParams};
use hotplate_protocol::methods::run_cancel::{CancelRun, CancelRunParams};
use hotplate_protocol::methods::train::{Knobs, Train, TrainParams};
use hotplate_protocol::methods::unwatch::{Unwatch, UnwatchParams};
use hotplate_protocol::methods::watch::Watch;
use hotplate_protocol::run::{RunEvent, RunResult};

use crate::test_daemon::{TestClient, TestDaemon, eventually};

fn quick(daemon: &TestDaemon) -> TrainParams {
    let params = daemon.train_params();
    TrainParams { knobs: Knobs { max_steps: Some(3), ..params.knobs }, ..params }
}

fn delete(adapter: &str) -> DeleteParams {
    DeleteParams { adapter: adapter.to_owned(), dry_run: false }
}

fn greedy(adapter: &str) -> GenerateParams {
    GenerateParams {
        prompt: "Well now".to_owned(),
        adapter: Some(adapter.to_owned()),
        raw: true,
        sampling: Sampling { temperature: Some(0.0), max_tokens: Some(12), ..Sampling::default() },
        ..GenerateParams::default()
    }
}

fn versions(client: &TestClient) -> Vec<u32> {
    client.adapters()[0].versions.iter().map(|version| version.version).collect()
}

fn folder(daemon: &TestDaemon, name: &str, version: u32) -> PathBuf {
    daemon.home().join(format!("adapters/{name}/v{version:04}"))
}

/// Nothing of ours is left that nobody needs.
fn no_trash(daemon: &TestDaemon) {
    let adapters = daemon.home().join("adapters");
    eventually("what was set aside is removed", || {
        let left = fs::read_dir(&adapters).unwrap().flatten();
        left.into_iter().all(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
    });
}

#[test]
fn versions_and_adapters_are_deleted_and_what_is_needed_is_not() {
    let mut daemon = TestDaemon::start();
    daemon.write_notes(0..30);
    let client = daemon.client();
    for _ in 0..3 {
        client.train(&quick(&daemon));
    }
    let answer = client.call::<Generate>(&greedy("notes")).token_ids;
    let refused = client.refusal::<Delete>(&delete("notes@3"));
    assert_eq!(refused.code, ErrorCode::UnusableAdapter);
    assert!(refused.message.contains("hotplate rollback notes --to 2"), "{refused}");
    let planned = client.call::<Delete>(&DeleteParams { dry_run: true, ..delete("notes@1") });
    assert!(!planned.deleted && planned.bytes > 1000 && folder(&daemon, "notes", 1).is_dir());
    let deleted = client.call::<Delete>(&delete("notes@1"));
    assert_eq!((deleted.versions, deleted.whole, deleted.record_stays), (vec![1], false, false));
    assert!(!folder(&daemon, "notes", 1).exists());
    assert_eq!(versions(&client), [2, 3]);
    let gone = client.refusal::<Delete>(&delete("notes@1")).message;
    assert!(gone.contains("no version 1; it has 2, 3"), "{gone}");
    assert!(client.refusal::<Delete>(&delete("nots")).message.contains("there are: notes"));

    // The newest one goes, and its number is not used again.
    client.call::<Rollback>(&RollbackParams { adapter: "notes@2".to_owned(), to: None });
    client.call::<Delete>(&delete("notes@3"));
    let Some(RunEvent::Finished { result }) = client.train(&quick(&daemon)).pop() else { panic!() };
    assert_eq!(result.version, 4);

    // What is watched or trained is not deleted.
    client.call::<Watch>(&quick(&daemon));
    let watched = client.refusal::<Delete>(&delete("notes")).message;
    assert!(watched.contains("hotplate unwatch notes"), "{watched}");
    let other = UnwatchParams { folder: "/no/such/folder".into(), adapter: Some("notes".to_owned()) };
    assert_eq!(client.call::<Unwatch>(&other).folder, daemon.notes());
    let mut long = daemon.train_params();
    long.knobs.max_steps = None;
    long.knobs.epochs = Some(10_000);
    long.knobs.learning_rate = Some(1e-6);
    let run = client.call::<Train>(&long).run;
    let trained = client.refusal::<Delete>(&delete("notes")).message;
    assert!(trained.contains(&format!("hotplate cancel {}", run.0)), "{trained}");
    client.call::<CancelRun>(&CancelRunParams { run });

    let deleted = client.call::<Delete>(&delete("notes"));
    assert_eq!((deleted.versions, deleted.whole), (vec![2, 4], true));
    assert!(client.adapters().is_empty() && !daemon.home().join("adapters/notes").exists());
    no_trash(&daemon);
    let Some(RunEvent::Finished { result }) = client.train(&quick(&daemon)).pop() else { panic!() };
    assert_eq!(result.version, 1, "nothing is known of the one that was deleted");
    assert_eq!(client.call::<Generate>(&greedy("notes")).token_ids.is_empty(), answer.is_empty());
    drop(client);
    daemon.kill();
    daemon.restart();
    assert_eq!(versions(&daemon.client()), [1]);
}

#[test]
fn an_adapter_keeps_its_versions_under_another_name() {
    let daemon = TestDaemon::start();
    daemon.write_notes(0..30);
    let client = daemon.client();
    for _ in 0..2 {
        client.train(&quick(&daemon));
    }
    let answers = |name: &str| {
        [1, 2].map(|version| client.call::<Generate>(&greedy(&format!("{name}@{version}"))).token_ids)
    };
    let before = answers("notes");
    let rename =
        |adapter: &str, name: &str| RenameParams { adapter: adapter.to_owned(), name: name.to_owned() };
    assert_eq!(client.refusal::<Rename>(&rename("notes", "a/b")).code, ErrorCode::InvalidParams);
    let renamed = client.call::<Rename>(&rename("notes", "diary"));
    assert_eq!((renamed.name.as_str(), renamed.current, renamed.versions.len()), ("diary", 2, 2));
    assert!(renamed.versions.iter().all(|version| version.files == VersionFiles::Whole));
    assert_eq!(answers("diary"), before);
    eventually("the old folder goes", || !daemon.home().join("adapters/notes").exists());
    no_trash(&daemon);
    assert!(client.refusal::<Generate>(&greedy("notes")).message.contains("there are: diary"));
    // Its old name is free again, and it goes on under the new one.
    client.train(&quick(&daemon));
    let taken = client.refusal::<Rename>(&rename("notes", "diary")).message;
    assert!(taken.contains("there is an adapter diary already"), "{taken}");
    let on = TrainParams { adapter: Some("diary".to_owned()), ..quick(&daemon) };
    let Some(RunEvent::Finished { result }) = client.train(&on).pop() else { panic!() };
    assert_eq!((result.adapter.as_str(), result.version), ("diary", 3));
}

#[test]
fn a_prune_leaves_what_is_needed() {
    let daemon = TestDaemon::start();
    daemon.write_notes(0..30);
    let client = daemon.client();
    for _ in 0..4 {
        client.train(&quick(&daemon));
    }
    client.call::<Rollback>(&RollbackParams { adapter: "notes".to_owned(), to: Some(1) });
    let before = client.call::<Generate>(&greedy("notes")).token_ids;
    let prune = |keep, dry_run| PruneParams { adapter: None, keep, dry_run };
    assert!(client.call::<Prune>(&prune(None, false)).adapters.is_empty(), "ten stay");
    let planned = client.call::<Prune>(&prune(Some(2), true));
    assert_eq!((planned.adapters[0].versions.clone(), planned.pruned), (vec![2], false));
    assert_eq!(versions(&client), [1, 2, 3, 4]);
    let pruned = client.call::<Prune>(&prune(Some(2), false));
    assert_eq!(pruned.adapters[0].stay, [1, 3, 4]);
    assert!(!folder(&daemon, "notes", 2).exists());
    assert_eq!(client.call::<Generate>(&greedy("notes")).token_ids, before);
    assert_eq!(client.call::<Prune>(&prune(Some(0), false)).adapters[0].versions, [3, 4]);
    assert_eq!(versions(&client), [1]);
    no_trash(&daemon);
}

#[test]
fn saves_keep_the_disk_bounded_and_say_so() {
    let daemon = TestDaemon::with(&[("HOTPLATE_KEEP_VERSIONS", "2")]);
    daemon.write_notes(0..30);
    let client = daemon.client();
    let mut params = quick(&daemon);
    // Nearly every save makes a version.
    (params.knobs.margin, params.knobs.max_steps) = (Some(0.9), Some(12));
    client.attach(None);
    client.call::<Watch>(&params);
    let next = || -> Option<RunResult> {
        match client.next_end() {
            (_, RunEvent::Finished { result }) => Some(result),
            // Not every save makes the whole better.
            (_, RunEvent::Kept { .. }) => None,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(next().unwrap().version, 1);
    let mut made = 30;
    let mut save = || {
        loop {
            daemon.write_notes(made..made + 4);
            made += 4;
            if let Some(result) = next() {
                return result;
            }
        }
    };
    // Two stay, and the full run at the root; of those in between the records.
    let pruned: Vec<Vec<u32>> = (0..5).map(|_| save().pruned).collect();
    assert_eq!(pruned, [vec![], vec![], vec![2], vec![3], vec![4]]);
    let adapter = client.adapters().remove(0);
    let files: Vec<(u32, VersionFiles)> =
        adapter.versions.iter().map(|version| (version.version, version.files)).collect();
    let (pruned, whole) = (VersionFiles::Pruned, VersionFiles::Whole);
    assert_eq!(files, [(1, whole), (2, pruned), (3, pruned), (4, pruned), (5, whole), (6, whole)]);
    eventually("the files go", || !folder(&daemon, "notes", 4).exists());
    let refused = client.refusal::<Rollback>(&RollbackParams { adapter: "notes".to_owned(), to: Some(3) });
    assert!(refused.message.contains("removed to make room; there are 1, 5, 6"), "{refused}");
    assert_eq!(client.call::<Rollback>(&RollbackParams { adapter: "notes".to_owned(), to: None }).current, 5);
}

#[test]
fn a_rollback_looks_first_and_lists_say_what_is_gone() {
    let daemon = TestDaemon::start();
    daemon.write_notes(0..30);
    let client = daemon.client();
    for _ in 0..3 {
        client.train(&quick(&daemon));
    }
    let weights = folder(&daemon, "notes", 2).join("adapter_model.safetensors");
    let whole = fs::read(&weights).unwrap();
    fs::write(&weights, &whole[..whole.len() / 2]).unwrap();
    let back = RollbackParams { adapter: "notes".to_owned(), to: None };
    let refused = client.refusal::<Rollback>(&back).message;
    assert!(refused.contains("damaged") && refused.contains("hotplate rollback notes --to 1"), "{refused}");
    assert_eq!(client.adapters()[0].versions[1].files, VersionFiles::Damaged);
    fs::remove_dir_all(folder(&daemon, "notes", 2)).unwrap();
    let refused = client.refusal::<Rollback>(&back).message;
    assert!(refused.contains("is gone") && refused.contains("version 3 stays in use"), "{refused}");
    let listed = client.adapters().remove(0);
    assert_eq!((listed.current, listed.versions[1].files), (3, VersionFiles::Gone));
    assert_eq!(client.call::<Rollback>(&RollbackParams { to: Some(1), ..back.clone() }).current, 1);
    let two = RollbackParams { adapter: "notes@3".to_owned(), to: Some(1) };
    assert!(client.refusal::<Rollback>(&two).message.contains("two versions"));
    // What is gone can be forgotten.
    client.call::<Delete>(&delete("notes@2"));
    assert_eq!(versions(&client), [1, 3]);
}

/// Rows and folders agree after kills at any moment of a removal.
#[test]
fn a_kill_in_the_middle_of_a_delete_leaves_nothing_behind() {
    let mut daemon = TestDaemon::start();
    daemon.write_notes(0..30);
    for _ in 0..3 {
        daemon.client().train(&quick(&daemon));
    }
    for (round, version) in [1_u64, 2].into_iter().enumerate() {
        let client = daemon.client();
        let pid = daemon.pid();
        let killer = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_micros(300 + 900 * round as u64));
            let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        });
        let _ = client.connection.call::<Delete>(&delete(&format!("notes@{version}")));
        killer.join().unwrap();
        daemon.kill();
        daemon.restart();
        let known = versions(&daemon.client());
        let there: Vec<u32> = (1..=3).filter(|version| folder(&daemon, "notes", *version).exists()).collect();
        assert_eq!(known, there);
        no_trash(&daemon);
        assert!(!daemon.client().call::<Generate>(&greedy("notes@3")).token_ids.is_empty());
    }
}
