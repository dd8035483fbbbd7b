//! Handshake, cancellation, limits, and what strangers send.

use std::time::{Duration, Instant};

use hotplate_protocol::methods::Nothing;
use hotplate_protocol::methods::generate::{Generate, GenerateParams, Sampling};
use hotplate_protocol::methods::initialize::Mismatch;
use hotplate_protocol::methods::models::Models;
use hotplate_protocol::methods::stop::{Stop, StopParams, StopWhen};
use hotplate_protocol::{ErrorCode, Id, Message};
use serde_json::json;

use crate::test_daemon::{TestDaemon, eventually};

fn long_answer(daemon: &TestDaemon) -> serde_json::Value {
    json!({ "prompt": "Well now", "base": daemon.base(), "raw": true,
        "sampling": { "max_tokens": 500, "ignore_eos": true, "seed": 1 } })
}

/// Whether a newcomer may ask for more than the status.
fn is_served(daemon: &TestDaemon) -> bool {
    daemon.connect().is_ok_and(|connection| connection.call::<Models>(&Nothing {}).is_ok())
}

#[test]
fn ready_at_once_and_private() {
    use std::os::unix::fs::PermissionsExt;

    let daemon = TestDaemon::start();
    let mode = |name: &str| std::fs::metadata(daemon.home().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("daemon.sock"), mode("")), (0o600, 0o700));
    let note: serde_json::Value =
        serde_json::from_slice(&std::fs::read(daemon.home().join("daemon.json")).unwrap()).unwrap();
    assert_eq!(note["pid"], daemon.client().status().pid);
    assert_eq!(note["protocol"]["max"], 1);
    let status = daemon.client().status();
    assert!(status.models.is_empty(), "nothing is loaded before it is needed");
    assert!(status.rss_bytes > 0 && status.peak_rss_bytes >= status.rss_bytes);
}

#[test]
fn a_second_daemon_gives_way() {
    let daemon = TestDaemon::start();
    let second = daemon.command().output().unwrap();
    assert!(second.status.success());
    let said = format!("already running, pid {}", daemon.client().status().pid);
    assert!(daemon.log().contains(&said), "{}", daemon.log());
}

#[test]
fn garbage_gets_one_error_and_hurts_nobody() {
    let mut daemon = TestDaemon::start();
    for (bytes, code) in [
        (&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], ErrorCode::InvalidRequest),
        (b"Content-Length: 1073741824\r\n\r\n", ErrorCode::InvalidRequest),
        (b"Content-Length: 100\r\n\r\n{\"half\":", ErrorCode::InvalidRequest),
        (b"Content-Length: 5\r\n\r\n{]{]{", ErrorCode::ParseError),
        (&[0xff; 3000], ErrorCode::InvalidRequest),
    ] {
        let mut client = daemon.raw();
        client.send_bytes(bytes);
        client.end_of_sending();
        let response = client.response();
        assert_eq!((response.id, response.outcome.unwrap_err().code), (None, code));
        assert!(client.is_closed());
    }
    // Half a frame and silence: the connection waits, everybody else goes on.
    let mut silent = daemon.raw();
    silent.send_bytes(b"Content-Length: 100\r\n\r\n{");
    assert!(daemon.client().status().uptime_seconds >= 0.0);
    assert!(daemon.is_alive());
}

#[test]
fn initialize_comes_first_and_versions_must_meet() {
    let daemon = TestDaemon::start();
    let mut client = daemon.raw();
    client.request(1, "daemon/status", &json!({}));
    assert_eq!(client.response().outcome.unwrap_err().code, ErrorCode::InvalidRequest);
    let hello = json!({ "clientInfo": { "name": "future", "version": "9" },
        "initializationOptions": { "hotplate": { "protocol": { "min": 7, "max": 9 } } } });
    client.request(2, "initialize", &hello);
    let error = client.response().outcome.unwrap_err();
    assert_eq!(error.code, ErrorCode::ProtocolMismatch);
    let mismatch: Mismatch = serde_json::from_value(error.data.unwrap()).unwrap();
    assert_eq!((mismatch.daemon.max, mismatch.client.min), (1, 7));
    assert!(mismatch.remedy.contains("hotplate stop"));
    client.initialize();
    client.request(3, "no/such", &json!({}));
    assert_eq!(client.response().outcome.unwrap_err().code, ErrorCode::MethodNotFound);
    client.request(4, "run/cancel", &json!({ "run": "seven" }));
    assert_eq!(client.response().outcome.unwrap_err().code, ErrorCode::InvalidParams);
    client.request(5, "daemon/status", &json!(null));
    assert!(client.response().outcome.is_ok());
}

#[test]
fn a_cancelled_request_is_answered_once_and_work_ends() {
    let daemon = TestDaemon::start();
    let mut client = daemon.raw();
    client.initialize();
    let params = long_answer(&daemon);
    client.request(1, "generate/start", &params);
    while !matches!(client.message(), Some(Message::Notification(_))) {}
    client.send(&json!({ "jsonrpc": "2.0", "method": "$/cancelRequest", "params": { "id": 1 } }));
    client.send(&json!({ "jsonrpc": "2.0", "method": "$/cancelRequest", "params": { "id": 1 } }));
    let response = client.response();
    assert_eq!(response.id, Some(Id::Number(1)));
    assert_eq!(response.outcome.unwrap_err().code, ErrorCode::RequestCancelled);
    // Nothing else comes for it: the next message is the answer to the next request.
    client.request(2, "daemon/status", &json!({}));
    let Some(Message::Response(next)) = client.message() else { panic!("something came after the reply") };
    assert_eq!(next.id, Some(Id::Number(2)));
    assert_eq!(next.outcome.unwrap()["generating"], 0);
}

#[test]
fn too_many_open_requests_are_refused_one_by_one() {
    let daemon = TestDaemon::start();
    let mut client = daemon.raw();
    client.initialize();
    for id in 1..=65 {
        client.request(id, "generate/start", &long_answer(&daemon));
    }
    let refused = client.response();
    assert_eq!(refused.id, Some(Id::Number(65)));
    assert_eq!(refused.outcome.unwrap_err().code, ErrorCode::Busy);
    for id in 1..=64 {
        client.send(&json!({ "jsonrpc": "2.0", "method": "$/cancelRequest", "params": { "id": id } }));
    }
    let mut answered: Vec<_> = (1..=64).map(|_| client.response().id).collect();
    answered.sort_by_key(|id| format!("{id:?}"));
    answered.dedup();
    assert_eq!(answered.len(), 64);
}

#[test]
fn a_full_connection_still_hears_of_the_status() {
    let daemon = TestDaemon::start();
    let mut client = daemon.raw();
    client.initialize();
    for id in 1..=64 {
        client.request(id, "generate/start", &long_answer(&daemon));
    }
    client.request(65, "daemon/status", &json!({}));
    let answer = client.response();
    assert_eq!(answer.id, Some(Id::Number(65)));
    assert!(answer.outcome.is_ok());
}

#[test]
fn beyond_the_last_place_there_are_words_and_a_place_for_status_and_stop() {
    let mut daemon = TestDaemon::with(&[("HOTPLATE_HELLO_SECONDS", "60")]);
    let mut others: Vec<_> = (0..256).map(|_| daemon.raw()).collect();
    others.iter_mut().for_each(crate::test_daemon::RawClient::initialize);
    let client = daemon.client();
    let error = client.refusal::<Generate>(&GenerateParams::default());
    assert_eq!(error.code, ErrorCode::Busy);
    assert!(error.message.contains("256 programs"), "{error}");
    assert_eq!(client.status().sessions, 257);
    let kept: Vec<_> = (0..7).map(|_| daemon.raw()).collect();
    // The accepting thread has seen them all once this one is answered.
    let mut refused = daemon.raw();
    let response = refused.response();
    let error = response.outcome.unwrap_err();
    assert_eq!((response.id, error.code), (None, ErrorCode::Busy));
    assert!(refused.is_closed());
    let error = daemon.connect().err().unwrap();
    assert!(error.to_string().contains("256 programs"), "{error}");
    drop(kept);
    drop(others.pop());
    eventually("a place is free again", || is_served(&daemon));
    let Nothing {} = client.call::<Stop>(&StopParams { when: StopWhen::Now });
    daemon.wait_for_end();
}

#[test]
fn whoever_says_nothing_is_turned_away_with_a_reason() {
    let daemon = TestDaemon::with(&[("HOTPLATE_HELLO_SECONDS", "0.5")]);
    let mut silent = daemon.raw();
    let mut half = daemon.raw();
    half.send_bytes(b"Content-Length: 100\r\n\r\n{");
    let mut polite = daemon.raw();
    polite.initialize();
    for client in [&mut silent, &mut half] {
        let error = client.response().outcome.unwrap_err();
        assert!(error.message.contains("no initialize"), "{error}");
        assert!(client.is_closed());
    }
    std::thread::sleep(Duration::from_millis(600));
    polite.request(1, "daemon/status", &json!({}));
    assert!(polite.response().outcome.is_ok());
}

#[test]
fn without_file_descriptors_there_are_words_and_no_noise() {
    let mut daemon = TestDaemon::start();
    daemon.kill();
    let plain = daemon.command();
    let mut command = std::process::Command::new("sh");
    command.arg("-c").arg("ulimit -n 64; exec \"$0\" daemon").arg(plain.get_program());
    for (name, value) in plain.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    let log = std::fs::File::options().append(true).open(daemon.root.path().join("log")).unwrap();
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null()).stderr(log);
    daemon.restart_as(command);
    let mut clients: Vec<_> = (0..100).map(|_| daemon.raw()).collect();
    let mut last = clients.pop().unwrap();
    let error = last.response().outcome.unwrap_err();
    assert_eq!(error.code, ErrorCode::Busy);
    let lines = daemon.log().lines().count();
    std::thread::sleep(Duration::from_secs(1));
    assert!(daemon.log().lines().count() <= lines + 2, "{}", daemon.log());
    drop(clients);
    eventually("there is room again", || is_served(&daemon));
}

#[cfg(target_os = "linux")]
#[test]
fn when_descriptors_run_out_meanwhile_a_newcomer_is_told() {
    use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

    let daemon = TestDaemon::start();
    let client = daemon.client();
    let pid = client.status().pid;
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count() as u64;
    let limit = |current| {
        let pid = Pid::from_raw(pid as i32);
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        prlimit(pid, Resource::Nofile, Rlimit { current: Some(current), maximum }).unwrap()
    };
    let before = limit(open + 2);
    let mut clients: Vec<_> = (0..40).map(|_| daemon.raw()).collect();
    let error = clients.last_mut().unwrap().response().outcome.unwrap_err();
    assert!(error.code == ErrorCode::Busy && error.message.contains("file descriptor"), "{error}");
    let used = process_seconds(pid);
    std::thread::sleep(Duration::from_secs(1));
    assert!(process_seconds(pid) - used < 0.5, "it waits, and does not spin");
    assert!(client.status().sessions >= 1, "and answers those that it has");
    assert!(daemon.log().lines().count() < 20, "{}", daemon.log());
    limit(before.current.unwrap());
    eventually("there is room again", || is_served(&daemon));
}

#[cfg(target_os = "linux")]
fn process_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

/// Tokens of a large folder take long; whoever asked may not want them any more.
#[cfg(target_os = "linux")]
#[test]
fn a_folder_is_read_no_further_for_nobody() {
    let daemon = TestDaemon::start();
    std::fs::create_dir_all(daemon.notes()).unwrap();
    // Each is longer than the base reads at once, and must be divided.
    let long =
        |number: usize| format!("{}\n---\n", format!("Note {number}: the river, a lamp.\n\n").repeat(700));
    let texts: String = (0..1000).map(long).collect();
    std::fs::write(daemon.notes().join("large.txt"), texts).unwrap();
    let ask = |client: &mut crate::test_daemon::RawClient, method: &str| {
        client.initialize();
        client.request(1, method, &json!({ "folder": daemon.notes(), "base": daemon.base() }));
        std::thread::sleep(Duration::from_millis(500));
    };
    let pid = daemon.client().status().pid;
    let at_rest = || {
        let used = process_seconds(pid);
        std::thread::sleep(Duration::from_millis(300));
        process_seconds(pid) - used < 0.1
    };
    for method in ["dataset/check", "train/plan", "dataset/watch", "train/start"] {
        let mut client = daemon.raw();
        ask(&mut client, method);
        assert!(!at_rest(), "{method} is at it");
        client.send(&json!({ "jsonrpc": "2.0", "method": "$/cancelRequest", "params": { "id": 1 } }));
        assert_eq!(client.response().outcome.unwrap_err().code, ErrorCode::RequestCancelled);
        let cancelled = Instant::now();
        eventually("the reading to end", at_rest);
        assert!(cancelled.elapsed() < Duration::from_secs(2), "{method}: {:?}", cancelled.elapsed());
    }
    let status = daemon.client().status();
    assert!(status.watches.is_empty() && status.runs.is_empty(), "nothing came of it");
    let mut leaving = daemon.raw();
    ask(&mut leaving, "dataset/check");
    drop(leaving);
    let left = Instant::now();
    eventually("the reading to end", at_rest);
    assert!(left.elapsed() < Duration::from_secs(2), "{:?}", left.elapsed());
}

#[test]
fn a_client_that_floods_and_reads_late_is_heard_to_its_end() {
    let daemon = TestDaemon::start();
    let mut client = daemon.raw();
    client.initialize();
    // Each is answered with an error; nobody reads them yet.
    let mut sender = client.sender();
    let flood = std::thread::spawn(move || {
        for id in 1..=3000 {
            sender.request(id, "no/such", &json!({}));
        }
    });
    std::thread::sleep(Duration::from_millis(300));
    for _ in 1..=3000 {
        assert!(client.response().outcome.is_err());
    }
    flood.join().unwrap();
}

#[test]
fn scoring_waits_for_whoever_reads_late_and_loses_nothing() {
    let daemon = TestDaemon::start();
    daemon.write_notes(0..600);
    let mut client = daemon.raw();
    client.initialize();
    client.request(1, "score/run", &json!({ "path": daemon.notes(), "base": daemon.base() }));
    std::thread::sleep(Duration::from_secs(2));
    let mut examples = 0;
    loop {
        match client.message() {
            Some(Message::Notification(_)) => examples += 1,
            Some(Message::Response(response)) => {
                assert_eq!(response.outcome.unwrap()["examples"], 600);
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(examples, 600);
}

#[test]
fn one_client_with_many_requests_does_not_starve_another() {
    let daemon = TestDaemon::start();
    let mut greedy = daemon.raw();
    greedy.initialize();
    for id in 1..=64 {
        greedy.request(id, "generate/start", &long_answer(&daemon));
    }
    while !matches!(greedy.message(), Some(Message::Notification(_))) {}
    let params = GenerateParams {
        prompt: "Well now".to_owned(),
        base: Some(daemon.base()),
        raw: true,
        sampling: Sampling { max_tokens: Some(100), ignore_eos: true, ..Sampling::default() },
        ..GenerateParams::default()
    };
    let client = daemon.client();
    let Nothing {} = {
        client.call::<Generate>(&params);
        Nothing {}
    };
    // In every round: 100 of its tokens take 100 rounds, in which the 64 write 25 each.
    let mut answers = 0;
    greedy.request(100, "daemon/status", &json!({}));
    loop {
        match greedy.message() {
            Some(Message::Response(response)) if response.id == Some(Id::Number(100)) => {
                assert_eq!(response.outcome.unwrap()["generating"], 64);
                break;
            }
            Some(Message::Response(_)) => answers += 1,
            Some(_) => {}
            None => panic!("it ended"),
        }
    }
    assert_eq!(answers, 0, "none of the 500 tokens long ones is over");
}

#[test]
fn an_answer_ends_with_its_client() {
    let daemon = TestDaemon::start();
    let mut leaving = daemon.raw();
    leaving.initialize();
    leaving.request(1, "generate/start", &long_answer(&daemon));
    while !matches!(leaving.message(), Some(Message::Notification(_))) {}
    drop(leaving);
    let client = daemon.client();
    eventually("its answer is given up", || client.status().generating == 0);
}

#[test]
fn a_client_that_does_not_read_slows_nobody() {
    let daemon = TestDaemon::start();
    daemon.write_notes(0..12);
    let mut deaf = daemon.raw();
    deaf.initialize();
    deaf.request(1, "run/attach", &json!({}));
    for id in 2..20 {
        deaf.request(id, "generate/start", &long_answer(&daemon));
    }
    let began = Instant::now();
    let events = daemon.client().train(&daemon.train_params());
    assert!(events.last().unwrap().is_last());
    assert!(began.elapsed() < Duration::from_secs(50));
}

#[test]
fn the_same_seed_writes_the_same_text_and_the_pieces_are_the_whole() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    let params = GenerateParams {
        prompt: "Well now".to_owned(),
        adapter: None,
        base: Some(daemon.base()),
        raw: true,
        sampling: Sampling { seed: Some(7), max_tokens: Some(40), ..Sampling::default() },
        ..GenerateParams::default()
    };
    let mut pieces = String::new();
    let canceller = hotplate_client::Canceller::new();
    let first = client
        .connection
        .call_with::<Generate>(&params, &canceller, &mut |notification| {
            pieces.push_str(notification.params["text"].as_str().unwrap());
        })
        .unwrap();
    assert_eq!(first.text, pieces);
    assert!(first.first_token_ms > 0.0 && first.prompt_tokens == 8 && first.seed == 7);
    assert_eq!(client.call::<Generate>(&params).token_ids, first.token_ids);
}

#[test]
fn stop_is_answered_and_the_socket_goes() {
    let mut daemon = TestDaemon::start();
    let client = daemon.client();
    let Nothing {} = client.call::<Stop>(&StopParams { when: StopWhen::Now });
    daemon.wait_for_end();
    assert!(!daemon.home().join("daemon.sock").exists() && !daemon.home().join("daemon.json").exists());
}

#[test]
fn a_daemon_that_nobody_needs_leaves() {
    let mut daemon = TestDaemon::with(&[("HOTPLATE_IDLE_EXIT_SECONDS", "1")]);
    let client = daemon.client();
    std::thread::sleep(Duration::from_secs(2));
    assert!(daemon.is_alive(), "a client is there");
    drop(client);
    daemon.wait_for_end();
}

#[test]
fn an_unused_base_leaves_memory() {
    let daemon = TestDaemon::with(&[("HOTPLATE_MODEL_TTL_SECONDS", "0.5")]);
    let client = daemon.client();
    let params = GenerateParams {
        prompt: "a".to_owned(),
        adapter: None,
        base: Some(daemon.base()),
        raw: true,
        sampling: Sampling { max_tokens: Some(1), ..Sampling::default() },
        ..GenerateParams::default()
    };
    client.call::<Generate>(&params);
    let models = client.status().models;
    assert!(models.len() == 1 && models[0].loaded && models[0].bytes > 0, "{models:?}");
    eventually("it is unloaded", || client.status().models.is_empty());
}
