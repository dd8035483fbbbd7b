//! Watched folders: saves become runs, whatever the editor, also while the daemon was down.

use std::fs;

use hotplate_protocol::methods::import::{Import, ImportParams};
use hotplate_protocol::methods::status::WatchMethod;
use hotplate_protocol::methods::train::TrainParams;
use hotplate_protocol::methods::unwatch::{Unwatch, UnwatchParams};
use hotplate_protocol::methods::watch::Watch;
use hotplate_protocol::run::{Cause, RunEvent, RunKind};

use crate::test_daemon::{TestClient, TestDaemon, eventually, note};

/// A daemon that watches 20 notes it has learnt, and a client that hears of every run.
fn watching(variables: &[(&'static str, &str)]) -> (TestDaemon, TestClient) {
    let daemon = TestDaemon::with(variables);
    daemon.write_notes(0..20);
    let client = daemon.client();
    client.attach(None);
    let status = client.call::<Watch>(&daemon.train_params());
    assert_eq!((status.examples, status.method, status.problem), (20, WatchMethod::Native, None));
    let (_, first) = client.next_end();
    assert!(matches!(&first, RunEvent::Finished { result } if result.kind == RunKind::Full), "{first:?}");
    (daemon, client)
}

/// The next run: why it was started, and how it ended.
fn next_run(client: &TestClient) -> (Cause, RunEvent) {
    let mut started = None;
    loop {
        let (_, event) = client.next_event();
        if let RunEvent::Started { cause, .. } = &event {
            started = Some(cause.clone());
        }
        if event.is_last() {
            return (started.expect("it was started"), event);
        }
    }
}

fn saved(files: &[&str]) -> Cause {
    Cause::Saved { files: files.iter().map(|file| (*file).to_owned()).collect() }
}

#[test]
fn a_folder_is_watched_for_one_adapter_and_never_inside_the_home() {
    let (daemon, client) = watching(&[]);
    let other = TrainParams { adapter: Some("other".to_owned()), ..daemon.train_params() };
    let refusal = client.refusal::<Watch>(&other);
    assert!(
        refusal.message.contains("watched for the adapter notes")
            && refusal.message.contains("hotplate unwatch notes")
    );
    assert_eq!(client.status().watches[0].adapter, "notes");
    client.call::<Unwatch>(&UnwatchParams { folder: daemon.notes(), adapter: None });
    assert_eq!(client.call::<Watch>(&other).adapter, "other");
    let inside = TrainParams { folder: daemon.home().join("adapters"), ..daemon.train_params() };
    assert!(client.refusal::<Watch>(&inside).message.contains("own home"));
}

#[test]
fn every_way_of_saving_is_learnt() {
    let (daemon, client) = watching(&[]);
    let notes = daemon.notes();
    let expect = |way: &str, file: &str| {
        let (cause, end) = next_run(&client);
        assert_eq!(cause, saved(&[file]), "{way}");
        match end {
            RunEvent::Finished { result } => {
                let took = result.save_to_swap_seconds.expect("it was saved");
                assert!(
                    result.kind == RunKind::Incremental && took > 0.1 && took < 10.0,
                    "{way}: {result:?}"
                );
            }
            // Not every single note makes the whole better; that it was tried is what counts here.
            RunEvent::Kept { .. } => {}
            other => panic!("{way}: {other:?}"),
        }
    };
    fs::write(notes.join(".new.tmp"), note(50)).unwrap();
    fs::rename(notes.join(".new.tmp"), notes.join("50.txt")).unwrap();
    expect("temporary file and rename", "50.txt");

    fs::write(notes.join("51.txt"), "").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(50));
    fs::write(notes.join("51.txt"), note(51)).unwrap();
    expect("truncate and write", "51.txt");

    fs::rename(notes.join("3.txt"), notes.join("3.txt~")).unwrap();
    fs::write(notes.join("3.txt"), note(53)).unwrap();
    fs::remove_file(notes.join("3.txt~")).unwrap();
    expect("vim's backup and rename", "3.txt");

    fs::remove_file(notes.join("4.txt")).unwrap();
    fs::write(notes.join("4.txt"), note(54)).unwrap();
    expect("delete and create", "4.txt");
}

#[test]
fn several_new_notes_make_a_better_version_and_nothing_new_makes_none() {
    let (daemon, client) = watching(&[]);
    daemon.write_notes(20..32);
    let (cause, end) = next_run(&client);
    let Cause::Saved { files } = cause else { panic!("{cause:?}") };
    assert_eq!(files.len(), 12);
    let RunEvent::Finished { result } = end else { panic!("{end:?}") };
    assert_eq!((result.version, result.kind), (2, RunKind::Incremental));
    assert!(result.heldout_loss < result.heldout_loss_before, "{result:?}");
    assert!(result.new_heldout_loss_after < result.new_heldout_loss_before, "{result:?}");
    // Touched, moved and mistyped: no run.
    fs::write(daemon.notes().join("20.txt"), note(20)).unwrap();
    fs::rename(daemon.notes().join("21.txt"), daemon.notes().join("moved.txt")).unwrap();
    fs::write(daemon.notes().join("broken.jsonl"), "{\"text\": ").unwrap();
    eventually("the fault is found", || client.status().watches[0].findings == 1);
    std::thread::sleep(std::time::Duration::from_millis(600));
    let status = client.status();
    assert!(status.runs.is_empty() && client.adapters()[0].current == 2, "{status:?}");
}

#[test]
fn what_was_saved_while_the_daemon_was_down_is_learnt() {
    let (mut daemon, client) = watching(&[]);
    drop(client);
    daemon.terminate();
    daemon.write_notes(20..32);
    daemon.restart();
    let client = daemon.client();
    eventually("a second version", || client.adapters()[0].versions.len() == 2);
    assert_eq!(client.status().watches.len(), 1, "it is still watched");
}

#[test]
fn what_was_deleted_is_forgotten_when_there_is_time() {
    let (daemon, client) = watching(&[("HOTPLATE_STALE_RETRAIN_SECONDS", "1")]);
    for number in 0..6 {
        fs::remove_file(daemon.notes().join(format!("{number}.txt"))).unwrap();
    }
    let (cause, end) = next_run(&client);
    assert_eq!(cause, Cause::Stale);
    assert!(matches!(&end, RunEvent::Finished { result } if result.kind == RunKind::Full), "{end:?}");
    assert!(!client.adapters()[0].stale);
    assert_eq!(client.adapters()[0].versions[1].examples, 14);
}

/// Every kind of edit, and a file that is away or unreadable for a moment: no withdrawn text among them.
#[test]
fn an_edit_is_no_removal_whatever_its_kind() {
    // What is gone is said after a second, and forgotten after thirty.
    let (daemon, client) = watching(&[("HOTPLATE_STALE_RETRAIN_SECONDS", "3")]);
    let notes = daemon.notes();
    let quiet = |what: &str| {
        std::thread::sleep(std::time::Duration::from_millis(1500));
        eventually(what, || client.status().runs.is_empty());
        std::thread::sleep(std::time::Duration::from_millis(1500));
        assert!(!client.adapters()[0].stale, "{what}");
    };
    fs::write(notes.join("1.txt"), "Smoked trout wants horseradish, bread and nothing else at all.").unwrap();
    quiet("a note that is written anew");
    fs::rename(notes.join("2.txt"), notes.join("2 again.txt")).unwrap();
    fs::write(notes.join("2 again.txt"), note(2).replace("Hat off", "Hats off")).unwrap();
    quiet("a note that is renamed and edited");
    let half = note(3).replace("mind the step", "mind both of the steps");
    fs::write(notes.join("3.txt"), &half).unwrap();
    quiet("the first half of an edit");
    fs::write(notes.join("3.txt"), half.replace("Well now", "Listen, all of you")).unwrap();
    quiet("its second half");
    fs::rename(notes.join("4.txt"), daemon.root.path().join("away")).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(100));
    fs::rename(daemon.root.path().join("away"), notes.join("4.txt")).unwrap();
    quiet("a file that was away for a moment");
    let records: Vec<String> = (70..76).map(|number| format!("{{\"text\": \"{}\"}}", note(number))).collect();
    fs::write(notes.join("records.jsonl"), records.join("\n")).unwrap();
    quiet("some records");
    let mut edited = records.clone();
    edited[2] = "{\"text\": \"Lentils, an onion, and an hour on the back of the stove.\"}".to_owned();
    fs::write(notes.join("records.jsonl"), edited.join("\n")).unwrap();
    quiet("a record that is written anew");
    fs::write(notes.join("records.jsonl"), "{").unwrap();
    quiet("a file with a mistake in it");
    fs::write(notes.join("records.jsonl"), edited.join("\n")).unwrap();
    quiet("and its mending");
    let kinds: Vec<RunKind> = client.adapters()[0].versions.iter().map(|version| version.kind).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == RunKind::Full).count(), 1, "{kinds:?}");
}

#[test]
fn a_full_retrain_waits_and_ends_when_what_was_gone_is_back() {
    let (daemon, client) = watching(&[("HOTPLATE_STALE_RETRAIN_SECONDS", "0.3")]);
    // From now on a run would take for ever.
    fs::write(
        daemon.notes().join("hotplate.toml"),
        "max_steps = 1000000\nepochs = 10000\nlearning_rate = 1e-6\n",
    )
    .unwrap();
    let mut params = daemon.train_params();
    params.knobs = hotplate_protocol::knobs::Knobs { rank: Some(8), ..Default::default() };
    client.call::<Watch>(&params);
    let away = daemon.root.path().join("away");
    fs::create_dir(&away).unwrap();
    let began = std::time::Instant::now();
    for number in 0..6 {
        let name = format!("{number}.txt");
        fs::rename(daemon.notes().join(&name), away.join(&name)).unwrap();
    }
    let started = loop {
        if let (run, RunEvent::Started { cause: Cause::Stale, .. }) = client.next_event() {
            break run;
        }
    };
    assert!(began.elapsed().as_secs_f64() > 3.0, "the folder has to rest: {:?}", began.elapsed());
    assert!(client.adapters()[0].stale);
    for number in 0..6 {
        let name = format!("{number}.txt");
        fs::rename(away.join(&name), daemon.notes().join(&name)).unwrap();
    }
    let events = client.follow(started);
    assert!(matches!(events.last(), Some(RunEvent::Cancelled)), "{:?}", events.last());
    assert!(events.iter().any(|event| matches!(event, RunEvent::Note { text } if text.contains("is back"))));
    eventually("nothing is missing", || !client.adapters()[0].stale);
    assert_eq!(client.adapters()[0].versions.len(), 1);
}

#[test]
fn a_better_version_is_not_replaced_by_one_that_nobody_asked_for() {
    let daemon = TestDaemon::with(&[("HOTPLATE_STALE_RETRAIN_SECONDS", "0.2")]);
    daemon.write_notes(0..40);
    let client = daemon.client();
    client.attach(None);
    client.call::<Watch>(&daemon.train_params());
    assert!(matches!(client.next_end().1, RunEvent::Finished { .. }));
    let mut worse = daemon.train_params();
    (worse.knobs.max_steps, worse.knobs.learning_rate) = (Some(4), Some(1e-5));
    client.call::<Watch>(&worse);
    for number in 0..6 {
        fs::remove_file(daemon.notes().join(format!("{number}.txt"))).unwrap();
    }
    let (cause, end) = next_run(&client);
    assert_eq!(cause, Cause::Stale);
    let RunEvent::Kept { reason, .. } = &end else { panic!("{end:?}") };
    assert!(reason.contains("the better one stays") && reason.contains("hotplate train"), "{reason}");
    let adapter = client.adapters().remove(0);
    assert!(adapter.stale && adapter.versions.len() == 1 && adapter.current == 1, "{adapter:?}");
}

#[test]
fn an_import_is_never_trained_anew_by_itself() {
    let daemon = TestDaemon::with(&[("HOTPLATE_STALE_RETRAIN_SECONDS", "0.2")]);
    daemon.write_notes(0..20);
    let client = daemon.client();
    client.train(&daemon.train_params());
    let path = client.adapters()[0].versions[0].path.clone();
    client.call::<Import>(&ImportParams {
        path,
        name: Some("mine".to_owned()),
        base: Some(daemon.base()),
        fallback_base: None,
    });
    client.attach(None);
    let mut params = daemon.train_params();
    params.adapter = Some("mine".to_owned());
    client.call::<Watch>(&params);
    let (_, end) = next_run(&client);
    assert!(matches!(&end, RunEvent::Finished { result } if result.kind == RunKind::Incremental), "{end:?}");
    for number in 0..6 {
        fs::remove_file(daemon.notes().join(format!("{number}.txt"))).unwrap();
    }
    let mine = || client.adapters().into_iter().find(|adapter| adapter.name == "mine").unwrap();
    eventually("it is stale", || mine().stale);
    // Ten rests of 0.2 s begin a full retrain of any other.
    let until = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while std::time::Instant::now() < until {
        assert_eq!(client.status().runs, []);
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(mine().versions.len(), 2);
}

#[test]
fn a_folder_without_enough_is_watched_until_it_has() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    client.attach(None);
    let status = client.call::<Watch>(&daemon.train_params());
    let problem = status.problem.expect("a problem");
    assert!(problem.contains("holds no examples") && problem.contains(".jsonl"), "{problem}");
    daemon.write_notes(0..12);
    let (_, end) = next_run(&client);
    assert!(matches!(end, RunEvent::Finished { .. }), "{end:?}");
    assert_eq!(client.status().watches[0].problem, None);
}

#[test]
fn a_folder_that_goes_and_comes_back_stays_watched() {
    let (daemon, client) = watching(&[]);
    let away = daemon.root.path().join("away");
    fs::rename(daemon.notes(), &away).unwrap();
    eventually("it is said", || {
        client.status().watches[0].problem.as_ref().is_some_and(|why| why.contains("gone"))
    });
    assert_eq!(client.adapters()[0].versions.len(), 1);
    fs::rename(&away, daemon.root.path().join("notes")).unwrap();
    eventually("it is well again", || client.status().watches[0].problem.is_none());
    daemon.write_notes(20..32);
    let (_, end) = next_run(&client);
    assert!(matches!(end, RunEvent::Finished { .. }), "{end:?}");
}

/// The case `dotted-folder`.
#[test]
fn a_folder_that_is_moved_in_is_noticed_whatever_its_name() {
    let (daemon, client) = watching(&[]);
    for (number, name) in ["january", "2026.05", "v1.0 (draft)"].into_iter().enumerate() {
        let aside = daemon.root.path().join(name);
        fs::create_dir(&aside).unwrap();
        fs::write(aside.join("new.md"), note(60 + number)).unwrap();
        fs::rename(&aside, daemon.notes().join(name)).unwrap();
        let began = std::time::Instant::now();
        eventually(name, || client.status().watches[0].examples == 21 + number);
        assert!(began.elapsed().as_secs_f64() < 2.0, "{name}: {:?}", began.elapsed());
    }
}

/// A folder that is a link is watched by that name, and what the link leads to by then is what is learnt.
#[cfg(unix)]
#[test]
fn a_watched_link_may_be_swapped() {
    use std::os::unix::fs::symlink;

    let daemon = TestDaemon::start();
    daemon.write_notes(0..20);
    let (first, link) = (daemon.notes(), daemon.root.path().join("current"));
    symlink(&first, &link).unwrap();
    let client = daemon.client();
    client.attach(None);
    let mut params = daemon.train_params();
    params.folder.clone_from(&link);
    assert_eq!(client.call::<Watch>(&params).folder, link);
    assert!(matches!(client.next_end().1, RunEvent::Finished { .. }));
    let second = daemon.root.path().join("second");
    fs::create_dir(&second).unwrap();
    for number in 0..21 {
        fs::write(second.join(format!("{number}.txt")), note(number)).unwrap();
    }
    let beside = daemon.root.path().join("beside");
    symlink(&second, &beside).unwrap();
    fs::rename(&beside, &link).unwrap();
    fs::remove_dir_all(&first).unwrap();
    let (cause, _) = next_run(&client);
    assert_eq!(cause, saved(&["20.txt"]));
    client.call::<Unwatch>(&UnwatchParams { folder: second, adapter: None });
    assert!(client.status().watches.is_empty(), "either name will do");
}

#[test]
fn unwatched_is_left_alone() {
    let (daemon, client) = watching(&[]);
    let params = UnwatchParams { folder: daemon.notes(), adapter: None };
    client.call::<Unwatch>(&params);
    daemon.write_notes(20..32);
    std::thread::sleep(std::time::Duration::from_millis(900));
    assert!(client.status().runs.is_empty() && client.status().watches.is_empty());
    assert!(client.refusal::<Unwatch>(&params).message.contains("not watched"));
}

#[test]
fn saves_during_a_run_wait_for_it_together() {
    let (daemon, client) = watching(&[]);
    let mut long = daemon.train_params();
    long.knobs.max_steps = None;
    long.knobs.epochs = Some(10_000);
    long.knobs.learning_rate = Some(1e-6);
    let running = client.call::<hotplate_protocol::methods::train::Train>(&long).run;
    daemon.write_notes(20..26);
    eventually("a run waits", || client.status().runs.len() == 2);
    daemon.write_notes(26..32);
    eventually("it takes the new saves over", || {
        let runs = client.status().runs;
        runs.len() == 2 && matches!(&runs[1].cause, Cause::Saved { files } if files.len() == 12)
    });
    client.call::<hotplate_protocol::methods::run_cancel::CancelRun>(
        &hotplate_protocol::methods::run_cancel::CancelRunParams { run: running },
    );
    let mut ends = Vec::new();
    while ends.len() < 2 {
        ends.push(client.next_end().1);
    }
    assert!(matches!(ends[0], RunEvent::Cancelled));
    let RunEvent::Finished { result } = &ends[1] else { panic!("{:?}", ends[1]) };
    assert_eq!(result.kind, RunKind::Incremental);
}
