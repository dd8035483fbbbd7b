//! Start, subscriptions and the end.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::front_end::Kernel;

#[test]
fn each_subscriber_is_welcomed_and_told_the_state() {
    let kernel = Kernel::start();
    let mut first = kernel.front_end();
    let mut second = kernel.late_front_end();
    assert_eq!(second.iopub("iopub_welcome").content, json!({"subscription": ""}));
    assert_eq!(second.state_without_parent(), "idle");
    // iopub is a broadcast: the first one hears it too, but is not told of a new start.
    assert_eq!(first.iopub("iopub_welcome").parent, json!({}));
    assert_eq!(first.state_without_parent(), "idle");

    let id = second.execute("%help");
    let (outputs, reply) = second.outcome(&id, "%help");
    assert_eq!((outputs.len(), &reply["status"]), (1, &json!("ok")));
    // The cell of the other one is seen, its reply is not.
    first.busy(&id);
    assert_eq!(first.iopub("execute_input").parent_id(), id);
    assert_eq!(first.iopub("stream").parent_id(), id);
    first.idle(&id);
}

#[test]
fn shutdown_is_answered_and_ends_the_process() {
    for restart in [false, true] {
        let mut kernel = Kernel::start();
        let mut front_end = kernel.front_end();
        let id = front_end.send_control("shutdown_request", &json!({"restart": restart}));
        front_end.busy(&id);
        let expected = json!({"status": "ok", "restart": restart});
        assert_eq!(front_end.iopub("shutdown_reply").content, expected);
        front_end.idle(&id);
        assert_eq!(front_end.control("shutdown_reply", &id).content, expected);
        let start = Instant::now();
        assert!(kernel.wait_for_end().success());
        assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    }
}

#[test]
fn older_front_ends_ask_for_shutdown_on_shell() {
    let mut kernel = Kernel::start();
    let mut front_end = kernel.front_end();
    let id = front_end.send("shutdown_request", &json!({"restart": false}));
    front_end.busy(&id);
    front_end.iopub("shutdown_reply");
    front_end.idle(&id);
    assert_eq!(front_end.shell("shutdown_reply", &id).content["restart"], false);
    assert!(kernel.wait_for_end().success());
}

#[test]
fn the_kernel_ends_with_its_parent() {
    let mut parent = Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap();
    let mut kernel = Kernel::start_with(&[("JPY_PARENT_PID", &parent.id().to_string())]);
    let mut front_end = kernel.front_end();
    assert_eq!(front_end.ask("kernel_info_request", &json!({}))["status"], "ok");
    parent.kill().unwrap();
    parent.wait().unwrap();
    assert!(kernel.wait_for_end().success());
    front_end.silence();
}

#[test]
fn ctrl_c_does_not_end_the_kernel() {
    let mut kernel = Kernel::start();
    let mut front_end = kernel.front_end();
    let process = rustix::process::Pid::from_raw(kernel.id() as i32).unwrap();
    for _ in 0..3 {
        rustix::process::kill_process(process, rustix::process::Signal::INT).unwrap();
    }
    assert_eq!(front_end.ask("kernel_info_request", &json!({}))["status"], "ok");
    assert!(kernel.is_alive());
}

#[test]
fn a_taken_port_and_a_bad_file_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let file = folder.path().join("connection.json");
    let connection = json!({
        "ip": "127.0.0.1", "transport": "tcp", "shell_port": port, "iopub_port": port, "stdin_port": port,
        "control_port": port, "hb_port": port, "key": "", "signature_scheme": "hmac-sha256",
    });
    let said = |content: &str| {
        std::fs::write(&file, content).unwrap();
        let kernel = env!("CARGO_BIN_EXE_hotplate-kernel");
        let output = Command::new(kernel).arg("run").arg(&file).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let bind = said(&connection.to_string());
    assert!(bind.contains(&port.to_string()) && bind.contains("another program"), "{bind}");
    let bad = said("{");
    assert!(bad.contains("connection.json"), "{bad}");
}

#[test]
fn the_kernel_is_small_and_links_no_tensors() {
    let size = std::fs::metadata(env!("CARGO_BIN_EXE_hotplate-kernel")).unwrap().len();
    assert!(size < 10_000_000, "{size} bytes");
    let cargo = std::env::var("CARGO").unwrap_or("cargo".to_owned());
    let tree = Command::new(cargo)
        .args(["tree", "--locked", "--edges", "normal", "--prefix", "none", "--package", "hotplate-kernel"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let crates = String::from_utf8(tree.stdout).unwrap();
    assert!(crates.contains("zmq ") && !crates.contains("candle"), "{crates}");
}
