//! Requests and their replies, good and bad.

use serde_json::{Value, json};

use crate::front_end::Kernel;

#[test]
fn kernel_info_on_shell_and_control() {
    let kernel = Kernel::start();
    let mut front_end = kernel.front_end();
    let info = front_end.ask("kernel_info_request", &json!({}));
    assert_eq!(info["status"], "ok");
    assert_eq!(info["protocol_version"], "5.3");
    assert_eq!(info["implementation"], "hotplate-kernel");
    assert_eq!(info["language_info"]["name"], "hotplate");
    assert_eq!(info["supported_features"], json!([]));
    let id = front_end.send_control("kernel_info_request", &json!({}));
    front_end.busy(&id);
    assert_eq!(front_end.control("kernel_info_reply", &id).content, info);
    front_end.idle(&id);
}

#[test]
fn the_heartbeat_echoes() {
    let kernel = Kernel::start();
    let front_end = kernel.front_end();
    assert_eq!(front_end.heartbeat("ping"), "ping");
    assert_eq!(front_end.heartbeat("面包"), "面包");
}

#[test]
fn a_wrong_signature_is_dropped_and_the_next_message_answered() {
    let kernel = Kernel::start();
    let mut front_end = kernel.front_end();
    front_end.send_changed("kernel_info_request", &json!({}), |frames| frames[1][0] ^= 1);
    front_end.send_changed("kernel_info_request", &json!({}), |frames| frames[1].clear());
    front_end.send_changed("execute_request", &json!({"code": "%help"}), |frames| {
        frames[5] = json!({"code": "%stop"}).to_string().into_bytes();
    });
    front_end.silence();
    assert_eq!(front_end.ask("kernel_info_request", &json!({}))["status"], "ok");
}

#[test]
fn buffers_are_not_signed() {
    let kernel = Kernel::start();
    let mut front_end = kernel.front_end();
    let id = front_end.send_changed("kernel_info_request", &json!({}), |frames| frames.push(vec![0, 1, 255]));
    front_end.busy(&id);
    front_end.shell("kernel_info_reply", &id);
    front_end.idle(&id);
}

#[test]
fn messages_cut_short_do_no_harm() {
    let kernel = Kernel::start();
    let mut front_end = kernel.front_end();
    for length in 0..6 {
        front_end.send_changed("kernel_info_request", &json!({}), |frames| {
            frames.truncate(length);
            if frames.is_empty() {
                frames.push(b"nonsense".to_vec());
            }
        });
    }
    front_end.silence();
    assert_eq!(front_end.ask("kernel_info_request", &json!({}))["status"], "ok");
}

#[test]
fn malformed_requests_are_answered_with_an_error() {
    let kernel = Kernel::start();
    let mut front_end = kernel.front_end();
    for (kind, content) in [
        ("execute_request", &b"{}"[..]),
        ("execute_request", b"[1]"),
        ("execute_request", br#"{"code": 7}"#),
        ("complete_request", br#"{"code": "x", "cursor_pos": -1}"#),
        ("complete_request", b"\xff\xfe"),
        ("inspect_request", b""),
        ("history_request", br#"{"hist_access_type": "all"}"#),
        ("never_heard_request", b"{}"),
        ("interrupt_request", b"{}"),
    ] {
        let id = front_end.send_bytes(kind, content);
        front_end.busy(&id);
        let reply = front_end.shell(&kind.replace("_request", "_reply"), &id).content;
        assert_eq!(reply["status"], "error", "{kind}: {reply}");
        assert!(!reply["ename"].as_str().unwrap().is_empty());
        assert!(!reply["evalue"].as_str().unwrap().is_empty());
        assert!(reply["traceback"].is_array());
        front_end.idle(&id);
    }
    // What is no request has no reply.
    let id = front_end.send("never_heard", &json!({}));
    front_end.busy(&id);
    front_end.idle(&id);
    assert_eq!(front_end.ask("kernel_info_request", &json!({}))["status"], "ok");
}

#[test]
fn comms_to_unknown_targets_are_closed() {
    let kernel = Kernel::start();
    let mut front_end = kernel.front_end();
    let id = front_end.send("comm_open", &json!({"comm_id": "c", "target_name": "widget"}));
    front_end.busy(&id);
    let close = front_end.iopub("comm_close");
    assert_eq!((&close.content["comm_id"], close.parent_id()), (&json!("c"), id.as_str()));
    front_end.idle(&id);
    for (kind, content) in [("comm_msg", json!({"comm_id": "c"})), ("comm_close", json!({"comm_id": "c"}))] {
        let id = front_end.send(kind, &content);
        front_end.busy(&id);
        front_end.idle(&id);
    }
    assert_eq!(front_end.ask("comm_info_request", &json!({})), json!({"status": "ok", "comms": {}}));
}

#[test]
fn cursor_positions_are_code_points() {
    let kernel = Kernel::start();
    let mut front_end = kernel.front_end();
    // Outside the basic plane, combining, and two columns wide: each one character here.
    let code = "# 🍞é面\n%check no";
    let reply = front_end.ask("complete_request", &json!({"code": code, "cursor_pos": 15}));
    assert_eq!(reply["status"], "ok");
    assert_eq!(reply["matches"], json!(["notes/"]));
    assert_eq!((&reply["cursor_start"], &reply["cursor_end"]), (&json!(13), &json!(15)), "{reply}");
    let reply = front_end.ask("inspect_request", &json!({"code": code, "cursor_pos": 9, "detail_level": 0}));
    assert_eq!(reply["found"], true);
    assert!(reply["data"]["text/plain"].as_str().unwrap().contains("Usage: %check"));
    let reply = front_end.ask("complete_request", &json!({"code": code, "cursor_pos": 9_999_999}));
    assert_eq!(reply["cursor_end"], 15);
}

#[test]
fn completeness_and_history() {
    let kernel = Kernel::start();
    let mut front_end = kernel.front_end();
    let mut is_complete =
        |code: &str| front_end.ask("is_complete_request", &json!({"code": code}))["status"].clone();
    assert_eq!(is_complete("%help"), "complete");
    assert_eq!(is_complete("%%generate"), "incomplete");
    assert_eq!(is_complete("%nonsense"), "invalid");
    assert_eq!(is_complete("1 + 1"), "complete");

    front_end.run("%help train");
    front_end.run("# nothing");
    let inputs = |reply: Value| -> Vec<String> {
        assert_eq!(reply["status"], "ok");
        reply["history"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry[2].as_str().unwrap().to_owned())
            .collect()
    };
    let tail = json!({"hist_access_type": "tail", "n": 5, "output": false, "raw": true});
    assert_eq!(inputs(front_end.ask("history_request", &tail)), ["%help train", "# nothing"]);
    let search = json!({"hist_access_type": "search", "pattern": "%help*", "output": false, "raw": true});
    assert_eq!(inputs(front_end.ask("history_request", &search)), ["%help train"]);
    let range = json!({"hist_access_type": "range", "session": 0, "start": 2, "stop": 3, "output": true, "raw": true});
    let reply = front_end.ask("history_request", &range);
    assert_eq!(reply["history"], json!([[1, 2, ["# nothing", ""]]]));
}
