//! Cells: order, counters, errors and what they take with them, output, interrupts.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::fake_daemon::FakeDaemon;
use crate::front_end::{FrontEnd, Kernel, Message};

pub(crate) fn stream(outputs: &[Message]) -> String {
    outputs
        .iter()
        .map(|message| {
            assert_eq!(message.kind(), "stream", "{message:?}");
            assert_eq!(message.content["name"], "stdout");
            message.content["text"].as_str().unwrap()
        })
        .collect()
}

/// A cell that must fail: exactly one error, the same one as in the reply. Gives the output before it and the reply.
pub(crate) fn failure(front_end: &mut FrontEnd, code: &str) -> (Vec<Message>, Value) {
    let id = front_end.execute(code);
    let (mut outputs, reply) = front_end.outcome(&id, code);
    let error = outputs.pop().expect("an error");
    assert_eq!(error.kind(), "error", "{error:?}");
    assert!(outputs.iter().all(|message| message.kind() != "error"));
    assert_eq!(reply["status"], "error");
    for member in ["ename", "evalue", "traceback"] {
        assert_eq!(error.content[member], reply[member]);
    }
    (outputs, reply)
}

fn execute(front_end: &FrontEnd, code: &str, silent: bool, store: bool, stop: bool) -> String {
    let content = json!({"code": code, "silent": silent, "store_history": store, "stop_on_error": stop,
        "user_expressions": {}, "allow_stdin": false});
    front_end.send("execute_request", &content)
}

#[test]
fn cells_count_from_one_and_come_in_their_order() {
    let kernel = Kernel::start();
    let mut front_end = kernel.front_end();
    let ids: Vec<String> = (0..3).map(|_| front_end.execute("%help check")).collect();
    for (index, id) in ids.iter().enumerate() {
        let (outputs, reply) = front_end.outcome(id, "%help check");
        assert!(stream(&outputs).contains("Usage: %check"));
        assert_eq!(reply["status"], "ok");
        assert_eq!(reply["execution_count"], index + 1);
        assert_eq!((&reply["user_expressions"], &reply["payload"]), (&json!({}), &json!([])));
    }
}

#[test]
fn silent_and_unstored_cells_leave_no_trace() {
    let kernel = Kernel::start();
    let mut front_end = kernel.front_end();
    front_end.run("# first");

    let id = execute(&front_end, "%help", true, true, true);
    front_end.busy(&id);
    front_end.iopub("stream");
    front_end.idle(&id);
    assert_eq!(front_end.shell("execute_reply", &id).content["execution_count"], 1);

    let id = execute(&front_end, "# unstored", false, false, true);
    let (_, reply) = front_end.outcome(&id, "# unstored");
    assert_eq!(reply["execution_count"], 1);

    let id = front_end.execute("# second");
    assert_eq!(front_end.outcome(&id, "# second").1["execution_count"], 2);
    let tail = json!({"hist_access_type": "tail", "n": 9, "output": false, "raw": true});
    let history = front_end.ask("history_request", &tail)["history"].clone();
    assert_eq!(history, json!([[1, 1, "# first"], [1, 2, "# second"]]));
}

#[test]
fn an_error_aborts_the_cells_behind_it_and_no_others() {
    let kernel = Kernel::start();
    let _daemon = FakeDaemon::start(&kernel.home());
    let mut front_end = kernel.front_end();
    // The first cell takes its time, so that the others are queued when it fails.
    let failing = front_end.execute("%generate one two three\n%check nowhere");
    let queued = [front_end.execute("%help"), front_end.execute("%help")];
    let info = front_end.send("kernel_info_request", &json!({}));

    let (outputs, reply) = front_end.outcome(&failing, "%generate one two three\n%check nowhere");
    assert_eq!(reply["ename"], "NotFound");
    assert_eq!(outputs.last().unwrap().kind(), "error");
    assert!(stream(&outputs[..outputs.len() - 1]).starts_with("one two three"));
    for id in &queued {
        front_end.busy(id);
        let reply = front_end.shell("execute_reply", id).content;
        assert_eq!(reply["status"], "aborted");
        assert_eq!(reply["execution_count"], 1);
        front_end.idle(id);
    }
    // Only cells are aborted.
    front_end.busy(&info);
    front_end.shell("kernel_info_reply", &info);
    front_end.idle(&info);
    assert!(stream(&front_end.run("%help")).contains("%train"));
}

#[test]
fn stop_on_error_can_be_turned_off() {
    let kernel = Kernel::start();
    let mut front_end = kernel.front_end();
    let failing = execute(&front_end, "%nonsense", false, true, false);
    let next = front_end.execute("%help");
    assert_eq!(front_end.outcome(&failing, "%nonsense").1["status"], "error");
    assert_eq!(front_end.outcome(&next, "%help").1["status"], "ok");
}

#[test]
fn mistakes_are_named_with_their_place() {
    let kernel = Kernel::start();
    let mut front_end = kernel.front_end();
    let mut check = |code: &str, name: &str, words: &[&str]| {
        let (outputs, reply) = failure(&mut front_end, code);
        assert!(outputs.is_empty() || code.contains("%help"), "{outputs:?}");
        assert_eq!(reply["ename"], name, "{reply}");
        let said = format!("{} {}", reply["evalue"], reply["traceback"]);
        for word in words {
            assert!(said.contains(word), "{code}: no {word:?} in {said}");
        }
        assert!(!said.contains("\u{1b}["));
    };
    check("%train", "Usage", &["FOLDER", "line 1", "%train"]);
    check("%help check\n\n%trian notes", "Usage", &["trian", "line 3", "1 piece"]);
    check("%%generate", "Usage", &["prompt"]);
    check("%%generate hello\nx", "Usage", &["hello"]);
    check("%generate -", "Usage", &["%%generate"]);
    check("%generate don't", "Usage", &["quotation"]);
    // No daemon runs, and the program that would be one is missing.
    check("%check notes", "NoProgram", &["HOTPLATE_BIN", "no such program", "line 1"]);
}

#[test]
fn status_and_stop_do_not_start_a_daemon() {
    let kernel = Kernel::start();
    let mut front_end = kernel.front_end();
    for code in ["%status", "%stop"] {
        let outputs = front_end.run(code);
        assert_eq!((outputs.len(), outputs[0].kind()), (1, "display_data"));
        let text = outputs[0].content["data"]["text/plain"].as_str().unwrap();
        assert!(text.contains("No daemon is running"), "{text}");
    }
    let outputs = front_end.run("%status --json");
    let status: Value = serde_json::from_str(&stream(&outputs)).unwrap();
    assert_eq!(status["running"], false);
    let (_, reply) = failure(&mut front_end, "%logs");
    assert_eq!(reply["ename"], "NoLog");
}

#[test]
fn tables_come_as_html_and_as_text() {
    let kernel = Kernel::start();
    let _daemon = FakeDaemon::start(&kernel.home());
    let mut front_end = kernel.front_end();
    let outputs = front_end.run("# look first\n%check notes/\n%adapters");
    assert_eq!(outputs.len(), 2);
    let data = &outputs[0].content["data"];
    assert!(data["text/plain"].as_str().unwrap().contains("HP001 empty"));
    let html = data["text/html"].as_str().unwrap();
    assert!(html.contains("<table") && html.contains("&lt;b&gt;.txt") && !html.contains("<b>"), "{html}");
    assert!(outputs[1].content["data"]["text/html"].as_str().unwrap().contains("面包店"));

    let (_, reply) = failure(&mut front_end, "%check nowhere/");
    assert_eq!(reply["ename"], "NotFound");
    // The remedy names the command as it is typed here.
    assert!(reply["evalue"].as_str().unwrap().ends_with("with: %status"), "{reply}");
    let complete = front_end.ask("complete_request", &json!({"code": "%generate -a 面", "cursor_pos": 14}));
    assert_eq!(complete["matches"], json!(["面包店"]));
}

#[test]
fn text_comes_in_batches_and_json_in_one_object() {
    let kernel = Kernel::start();
    let _daemon = FakeDaemon::start(&kernel.home());
    let mut front_end = kernel.front_end();
    let outputs = front_end.run("%%generate\n面包 and butter ");
    let text = stream(&outputs);
    assert_eq!(text, format!("{}\n", "面包 and butter ".repeat(10)));
    // 30 tokens in 150 ms and more.
    assert!((2..15).contains(&outputs.len()), "{} messages", outputs.len());

    let outputs = front_end.run("%generate --json --seed 5 hello");
    let lines: Vec<Value> =
        stream(&outputs).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = lines.last().unwrap();
    assert_eq!(last["finish_reason"], "length");
    assert_eq!(last["token_ids"].as_array().unwrap().len(), 30);
}

#[test]
fn a_run_is_one_live_display() {
    let kernel = Kernel::start();
    let _daemon = FakeDaemon::start(&kernel.home());
    let mut front_end = kernel.front_end();
    let start = Instant::now();
    let outputs = front_end.run("%train notes/");
    let seconds = start.elapsed().as_secs_f64();
    let kinds: Vec<&str> = outputs.iter().map(Message::kind).collect();
    assert_eq!(kinds[..2], ["display_data", "display_data"], "{kinds:?}");
    let (outcome, outputs) = outputs.split_last().unwrap();
    assert_eq!(outcome.kind(), "display_data");
    assert!(kinds[2..outputs.len()].iter().all(|kind| *kind == "update_display_data"), "{kinds:?}");
    let id = &outputs[1].content["transient"]["display_id"];
    assert!(id.is_string());
    assert!(outputs[2..].iter().all(|update| &update.content["transient"]["display_id"] == id));
    // At most five a second, and the last one.
    assert!(
        (3..=(seconds * 5.0) as usize + 2).contains(&(outputs.len() - 2)),
        "{} in {seconds} s",
        outputs.len()
    );
    let last = &outputs.last().unwrap().content["data"];
    let (text, html) = (last["text/plain"].as_str().unwrap(), last["text/html"].as_str().unwrap());
    assert!(text.contains("100 %"), "{text}");
    // Said apart, for front ends that show a display's first picture only.
    let outcome = outcome.content["data"]["text/plain"].as_str().unwrap();
    assert!(outcome.contains("notes version 1 is ready"), "{outcome}");
    assert!(
        html.contains("<svg") && html.contains("width:100.0%") && html.contains("currentColor"),
        "{html}"
    );
    assert!(!html.contains("<script") && !html.contains("<style"));
}

pub(crate) fn interrupt(front_end: &mut FrontEnd) -> String {
    let id = front_end.send_control("interrupt_request", &json!({}));
    assert_eq!(front_end.control("interrupt_reply", &id).content, json!({"status": "ok"}));
    id
}

/// All that comes on iopub until the cell is idle, without the control channel's own states.
pub(crate) fn rest_of_cell(front_end: &mut FrontEnd, cell: &str) -> Vec<Message> {
    let mut outputs = Vec::new();
    loop {
        let message = front_end.next_iopub();
        if message.parent_id() != cell {
            assert_eq!(message.kind(), "status");
            continue;
        }
        if message.kind() == "status" && message.content["execution_state"] == "idle" {
            return outputs;
        }
        outputs.push(message);
    }
}

#[test]
fn an_interrupt_cancels_the_command_and_nothing_else() {
    let kernel = Kernel::start();
    let _daemon = FakeDaemon::start(&kernel.home());
    let mut front_end = kernel.front_end();
    // Between cells there is nothing to cancel.
    let id = interrupt(&mut front_end);
    front_end.busy(&id);
    front_end.idle(&id);

    let id = front_end.execute("%generate forever\n%help");
    front_end.busy(&id);
    front_end.iopub("execute_input");
    front_end.iopub("stream");
    // Control is answered while the cell runs.
    let start = Instant::now();
    interrupt(&mut front_end);
    let outputs = rest_of_cell(&mut front_end, &id);
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    let error = outputs.last().unwrap();
    assert_eq!((error.kind(), &error.content["ename"]), ("error", &json!("Cancelled")));
    assert!(outputs.iter().all(|message| !message.content.to_string().contains("%train")), "%help has run");
    assert_eq!(front_end.shell("execute_reply", &id).content["ename"], "Cancelled");
    assert!(stream(&front_end.run("%generate short")).contains("short"));
}

#[test]
fn shutdown_does_not_wait_for_a_cell_and_cancels_no_run() {
    let mut kernel = Kernel::start();
    let daemon = FakeDaemon::start(&kernel.home());
    let mut front_end = kernel.front_end();
    let id = front_end.execute("%train notes");
    front_end.busy(&id);
    front_end.iopub("execute_input");
    front_end.iopub("display_data");
    // As jupyter_client does it: an interrupt first, and no wait for its reply.
    let interrupted = front_end.send_control("interrupt_request", &json!({}));
    let asked = front_end.send_control("shutdown_request", &json!({"restart": true}));
    front_end.control("interrupt_reply", &interrupted);
    assert_eq!(front_end.control("shutdown_reply", &asked).content["restart"], true);
    let start = Instant::now();
    assert!(kernel.wait_for_end().success());
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    thread::sleep(Duration::from_millis(50));
    assert_eq!(daemon.run_cancelled.load(Ordering::SeqCst), 0);
    front_end.forget();
}

#[test]
fn a_lost_daemon_fails_one_cell_and_the_next_one_connects_again() {
    let kernel = Kernel::start();
    let daemon = FakeDaemon::start(&kernel.home());
    let mut front_end = kernel.front_end();
    front_end.run("%adapters");
    front_end.run("%adapters");
    assert_eq!(daemon.connections.load(Ordering::SeqCst), 1, "one session serves many cells");
    let (_, reply) = failure(&mut front_end, "%models");
    assert_eq!(reply["ename"], "Disconnected");
    assert!(reply["evalue"].as_str().unwrap().contains("run the command again"), "{reply}");
    front_end.run("%adapters");
    assert_eq!(daemon.connections.load(Ordering::SeqCst), 2);
}
