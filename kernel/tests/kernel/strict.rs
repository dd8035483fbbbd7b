//! What is rare: floods, megabytes, late subscribers, odd combinations, other versions.

use std::fmt::Write;
use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cells::{failure, stream};
use crate::fake_daemon::FakeDaemon;
use crate::front_end::{FrontEnd, Kernel};

fn execute(front_end: &FrontEnd, code: &str, silent: bool, store: bool, stop: bool) -> String {
    let content = json!({"code": code, "silent": silent, "store_history": store, "stop_on_error": stop,
        "user_expressions": {}, "allow_stdin": false});
    front_end.send("execute_request", &content)
}

#[test]
fn a_hundred_thousand_lines_arrive_in_order_and_in_batches() {
    let kernel = Kernel::start();
    let mut front_end = kernel.front_end();
    let mut log = String::new();
    for line in 0..100_000 {
        writeln!(log, "line {line} 面包").unwrap();
    }
    fs::write(kernel.home().join("daemon.log"), &log).unwrap();
    let outputs = front_end.run("%logs -n 100000");
    assert!(outputs.len() < 2000, "{} messages", outputs.len());
    assert!(stream(&outputs) == log, "something was lost or came twice");
}

#[test]
fn silent_stored_and_stopping_in_every_combination() {
    let kernel = Kernel::start();
    let mut front_end = kernel.front_end();
    let mut count = 0;
    for silent in [false, true] {
        for store in [false, true] {
            for stop in [false, true] {
                let failing = execute(&front_end, "%nonsense", silent, store, stop);
                let next = execute(&front_end, "# next", false, false, true);
                count += usize::from(store && !silent);
                let what = format!("silent {silent}, store {store}, stop {stop}");

                front_end.busy(&failing);
                if !silent {
                    assert_eq!(front_end.iopub("execute_input").content["execution_count"], count, "{what}");
                }
                assert_eq!(front_end.iopub("error").content["ename"], "Usage", "{what}");
                front_end.idle(&failing);
                let reply = front_end.shell("execute_reply", &failing).content;
                assert_eq!(
                    (&reply["status"], &reply["execution_count"]),
                    (&json!("error"), &json!(count)),
                    "{what}"
                );

                front_end.busy(&next);
                // It may have come before or after the error: only where it was there already is it aborted.
                let message = front_end.next_iopub();
                if message.kind() == "execute_input" {
                    front_end.idle(&next);
                } else {
                    assert!(stop && !silent, "{what}: {message:?}");
                    assert_eq!(message.content["execution_state"], "idle");
                }
                let status = front_end.shell("execute_reply", &next).content["status"].clone();
                let expected: &[&str] = if stop && !silent { &["ok", "aborted"] } else { &["ok"] };
                assert!(expected.iter().any(|known| status == *known), "{what}: {status}");
            }
        }
    }
}

#[test]
fn who_subscribes_while_a_cell_runs_is_told_that_it_is_busy() {
    let kernel = Kernel::start();
    let _daemon = FakeDaemon::start(&kernel.home());
    let mut first = kernel.front_end();
    let id = first.execute("%train notes");
    first.busy(&id);
    first.iopub("execute_input");
    first.iopub("display_data");
    first.iopub("display_data");
    let mut late = kernel.late_front_end();
    late.iopub("iopub_welcome");
    assert_eq!(late.state_without_parent(), "busy");
    // It sees the rest, and the end.
    let last = loop {
        let message = late.next_iopub();
        assert_eq!(message.parent_id(), id);
        if message.kind() == "status" {
            break message;
        }
    };
    assert_eq!(last.content["execution_state"], "idle");
    first.shell("execute_reply", &id);
    first.forget();
}

#[test]
fn malformed_and_unknown_requests_on_the_control_channel() {
    let kernel = Kernel::start();
    let mut front_end = kernel.front_end();
    for (kind, content) in [
        ("shutdown_request", json!({"restart": "maybe"})),
        ("execute_request", json!({"code": "%help"})),
        ("debug_request", json!({})),
        ("never_heard_request", json!({})),
    ] {
        let id = front_end.send_control(kind, &content);
        front_end.busy(&id);
        let reply = front_end.control(&kind.replace("_request", "_reply"), &id).content;
        assert_eq!(reply["status"], "error", "{kind}: {reply}");
        front_end.idle(&id);
    }
    assert_eq!(front_end.ask("kernel_info_request", &json!({}))["status"], "ok");
}

#[test]
fn buffers_of_a_comm_are_taken() {
    let kernel = Kernel::start();
    let mut front_end = kernel.front_end();
    for buffers in [0, 1, 5] {
        let id = front_end.send_changed("comm_msg", &json!({"comm_id": "c", "data": {}}), |frames| {
            frames.extend((0..buffers).map(|number| vec![number; 1 << 20]));
        });
        front_end.busy(&id);
        front_end.idle(&id);
    }
}

#[test]
fn cells_of_megabytes() {
    let kernel = Kernel::start();
    let daemon = FakeDaemon::start(&kernel.home());
    let mut front_end = kernel.front_end();
    let long = "x".repeat(5 << 20);
    for (code, ename) in [
        (format!("%{long}"), "Usage"),
        (format!("%train notes --{long}"), "Usage"),
        ("%nonsense\n".repeat(500_000), "Usage"),
    ] {
        let start = Instant::now();
        let id = front_end.execute(&code);
        let (outputs, reply) = front_end.outcome(&id, &code);
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        assert_eq!((outputs.len(), &reply["ename"]), (1, &json!(ename)));
        assert!(reply.to_string().len() < 20_000, "an error of {} bytes", reply.to_string().len());
    }
    // A prompt may be as long: whether the model takes it is the daemon's to say.
    let words = "word ".repeat(1 << 20);
    front_end.run(&format!("%generate '{words}'"));
    assert_eq!(daemon.asked.lock().unwrap().pop().unwrap().prompt.len(), words.len());
    let reply = front_end.ask("complete_request", &json!({"code": long, "cursor_pos": long.len()}));
    assert_eq!(reply["matches"], json!([]));
    let reply = front_end.ask("is_complete_request", &json!({"code": format!("%%generate\n{long}\n")}));
    assert_eq!(reply["status"], "complete");
}

#[test]
fn a_prompt_of_control_characters_arrives_as_it_is() {
    let kernel = Kernel::start();
    let daemon = FakeDaemon::start(&kernel.home());
    let mut front_end = kernel.front_end();
    let prompt = "a\u{0}b\u{1b}[31m\u{7}\u{85}\u{2028}c \t\"'\\ ";
    let text = stream(&front_end.run(&format!("%%generate\n{prompt}")));
    assert_eq!(daemon.asked.lock().unwrap().pop().unwrap().prompt, prompt);
    assert!(text.starts_with("a\u{0}b"));
    // In a table nothing of it can act.
    let outputs = front_end.run(&format!("%%compare -a notes\n<script>{prompt}</script>"));
    let html = outputs.last().unwrap().content["data"]["text/html"].as_str().unwrap().to_owned();
    assert!(!html.contains("<script") && !html.contains('\u{1b}') && !html.contains('\u{0}'), "{html}");
}

#[test]
fn a_daemon_of_another_version_is_named_with_the_remedy() {
    let kernel = Kernel::start();
    let daemon = FakeDaemon::start_of_another_version(&kernel.home());
    let mut front_end = kernel.front_end();
    let (_, reply) = failure(&mut front_end, "%adapters");
    assert_eq!(reply["ename"], "ProtocolMismatch");
    let said = reply["evalue"].as_str().unwrap();
    assert!(said.contains("9.9") && said.contains("%stop"), "{said}");
    assert_eq!(front_end.ask("kernel_info_request", &json!({}))["status"], "ok");
    drop(daemon);
}

#[test]
fn a_stale_socket_is_no_daemon() {
    let kernel = Kernel::start();
    drop(std::os::unix::net::UnixListener::bind(kernel.home().join("daemon.sock")).unwrap());
    let mut front_end = kernel.front_end();
    let outputs = front_end.run("%status");
    let text: &Value = &outputs[0].content["data"]["text/plain"];
    assert!(text.as_str().unwrap().contains("No daemon is running"), "{text}");
}
