//! Rust cells: what they compute, show and ask; what they ruin, and what that costs. A compiler works here: seconds, not moments.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cells::{failure, interrupt, rest_of_cell, stream};
use crate::fake_daemon::FakeDaemon;
use crate::front_end::{FrontEnd, Kernel, Message};

/// Long, because several of these run side by side, beside other tests.
const PATIENCE: Duration = Duration::from_mins(2);

fn patient(kernel: &Kernel) -> FrontEnd {
    let mut front_end = kernel.front_end();
    front_end.patience = PATIENCE;
    front_end
}

/// The plain form of a cell's value, which is all that it puts out.
fn value(front_end: &mut FrontEnd, code: &str) -> String {
    let outputs = front_end.run(code);
    let [result] = &outputs[..] else { panic!("{code}: {outputs:?}") };
    assert_eq!(result.kind(), "execute_result", "{code}");
    assert!(result.content["execution_count"].as_u64().unwrap() > 0);
    assert_eq!(result.content["transient"], json!({}));
    result.content["data"]["text/plain"].as_str().unwrap().to_owned()
}

fn traceback(reply: &Value) -> String {
    let lines = reply["traceback"].as_array().unwrap();
    lines.iter().map(|line| line.as_str().unwrap()).collect::<Vec<_>>().join("\n")
}

fn kinds(outputs: &[Message]) -> Vec<&str> {
    outputs.iter().map(Message::kind).collect()
}

/// What rust-analyzer needs to know types of the standard library. Cells here name their types, to work without it.
fn has_sources() -> bool {
    let answer = Command::new("rustc").args(["--print", "sysroot"]).output().unwrap();
    let sysroot = String::from_utf8(answer.stdout).unwrap();
    Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core/src/lib.rs").is_file()
}

#[test]
fn values_stay_and_mix_with_commands() {
    let kernel = Kernel::start();
    let _daemon = FakeDaemon::start(&kernel.home());
    let mut front_end = patient(&kernel);
    assert!(front_end.run("let mut loaves: Vec<i32> = vec![1, 2];").is_empty());
    assert_eq!(value(&mut front_end, "loaves.push(3);\nloaves"), "[1, 2, 3]");
    let outputs =
        front_end.run("let n: usize = loaves.len();\n%help check\n# a note\nprintln!(\"{n} 面包\");\nn * 2");
    assert_eq!(kinds(&outputs), ["stream", "stream", "execute_result"]);
    assert!(stream(&outputs[..1]).contains("Usage: %check"));
    assert_eq!(stream(&outputs[1..2]), "3 面包\n");
    assert_eq!(outputs[2].content["data"], json!({"text/plain": "6"}));
    assert_eq!(value(&mut front_end, "%%rust\nfn twice(x: usize) -> usize {\n    x * 2\n}\ntwice(n)"), "6");
    // Text without an end of its line, and both streams.
    let outputs = front_end.run("eprint!(\"b\"); print!(\"a\");");
    let mut texts: Vec<(&str, &str)> = outputs
        .iter()
        .map(|message| (message.content["name"].as_str().unwrap(), message.content["text"].as_str().unwrap()))
        .collect();
    texts.sort_unstable();
    assert_eq!(texts, [("stderr", "b"), ("stdout", "a")]);
    // The first error ends the cell, and says where it is.
    let (outputs, reply) =
        failure(&mut front_end, "%help check\n\nprintln!(\"before\");\nlet x: i32 = \"面\";\n%help train");
    assert!(stream(&outputs).contains("Usage: %check") && !stream(&outputs).contains("before"));
    assert_eq!((&reply["ename"], &reply["evalue"]), (&json!("CompileError"), &json!("mismatched types")));
    let report = traceback(&reply);
    assert!(
        report.contains("--> line 4, column 14\n") && report.contains("4 | let x: i32 = \"面\";"),
        "{report}"
    );
    assert!(
        report.contains("^^^ expected `i32`") && report.contains("1 piece before it is done"),
        "{report}"
    );
    let (_, reply) = failure(&mut front_end, "let x: i32 = 1;\nlet y = (x;");
    assert_eq!(reply["ename"], "CompileError");
    assert!(traceback(&reply).contains("2 | let y = (x;\n  |         ^"), "{}", traceback(&reply));
    // A panic costs nothing but its cell; nor does an error.
    let (outputs, reply) = failure(
        &mut front_end,
        "let lost: i32 = 1;\nlet none: Option<i32> = None;\nnone.expect(\"no flour\");",
    );
    assert_eq!((outputs.len(), &reply["ename"], &reply["evalue"]), (0, &json!("Panic"), &json!("no flour")));
    assert!(traceback(&reply).contains("line 3 of the cell: none.expect"), "{}", traceback(&reply));
    let (outputs, reply) = failure(&mut front_end, "let n: i32 = \"x\".parse()?;");
    assert_eq!((outputs.len(), &reply["ename"]), (0, &json!("RustError")));
    assert_eq!(reply["evalue"], "invalid digit found in string");
    assert_eq!(value(&mut front_end, "loaves"), "[1, 2, 3]");

    typing(&mut front_end);
}

fn typing(front_end: &mut FrontEnd) {
    front_end.run("/// Bread as it comes.\nstruct Bread { crust: i32 }\nlet 面: Bread = Bread { crust: 5 };");
    let code = "%status\n// 面包\nlet x = 面.cru;";
    let cursor = code.chars().count() - 1;
    let reply = front_end.ask("complete_request", &json!({"code": code, "cursor_pos": cursor}));
    assert_eq!(reply["matches"], json!(["crust"]));
    assert_eq!((&reply["cursor_start"], &reply["cursor_end"]), (&json!(cursor - 3), &json!(cursor)));
    let reply = front_end.ask("complete_request", &json!({"code": "hotplate::gen", "cursor_pos": 13}));
    assert!(reply["matches"][0].as_str().unwrap().starts_with("generate"), "{reply}");
    let reply = front_end.ask("inspect_request", &json!({"code": "hotplate::generate", "cursor_pos": 14}));
    assert!(reply["data"]["text/plain"].as_str().unwrap().contains("Lets the model write"), "{reply}");
    let reply = front_end.ask("inspect_request", &json!({"code": "nothing_known", "cursor_pos": 3}));
    assert_eq!(reply["found"], false);
    if has_sources() {
        front_end.run("let inferred = vec![1u8];");
        let reply = front_end.ask("complete_request", &json!({"code": "inferred.is_em", "cursor_pos": 14}));
        assert_eq!(reply["matches"], json!(["is_empty()"]));
    } else {
        let (_, reply) = failure(front_end, "let inferred = vec![1u8];");
        assert!(reply["evalue"].as_str().unwrap().contains("rustup component add rust-src"), "{reply}");
    }
}

#[test]
fn cells_show_and_ask() {
    let kernel = Kernel::start();
    let _daemon = FakeDaemon::start(&kernel.home());
    let mut front_end = patient(&kernel);
    let outputs = front_end.run(
        "let shown: hotplate::Display = hotplate::display(\"text/html\", \"<b>one</b> &lt;\");\nprintln!(\"between\");\n\
         hotplate::display(\"image/png\", [0x89, 0x50]);\nshown.update(\"text/html\", \"<i>two</i>\");",
    );
    assert_eq!(kinds(&outputs), ["display_data", "stream", "display_data", "update_display_data"]);
    assert_eq!(outputs[0].content["data"], json!({"text/html": "<b>one</b> &lt;", "text/plain": "one <"}));
    assert_eq!(outputs[2].content["data"]["image/png"], "iVA=");
    let id = |message: &Message| message.content["transient"]["display_id"].as_str().unwrap().to_owned();
    assert_eq!(id(&outputs[0]), id(&outputs[3]));
    assert_ne!(id(&outputs[0]), id(&outputs[2]));
    // A later cell goes on with it.
    let later = front_end.run("shown.update(\"text/html\", \"three\");\nhotplate::clear_output(true);");
    assert_eq!(kinds(&later), ["update_display_data", "clear_output"]);
    assert_eq!((id(&later[0]), &later[1].content), (id(&outputs[0]), &json!({"wait": true})));
    // A value that looks like HTML is text.
    assert_eq!(value(&mut front_end, "\"<script>alert(1)</script>\""), "\"<script>alert(1)</script>\"");

    // As the command: its display, or its error.
    let outputs = front_end.run("hotplate::run(\"%check notes/\")?");
    assert_eq!(kinds(&outputs), ["display_data"]);
    assert!(outputs[0].content["data"]["text/html"].as_str().unwrap().contains("&lt;b&gt;.txt"));
    let (_, reply) = failure(&mut front_end, "hotplate::run(\"check nowhere/\")?");
    assert!(reply["evalue"].as_str().unwrap().contains("there is no folder"), "{reply}");
    assert_eq!(value(&mut front_end, "hotplate::run(\"check nowhere/\").unwrap_err().name"), "\"NotFound\"");
    let drafts = "let drafts: Vec<String> = hotplate::generate(\"-a notes --seed 1 -- 面包 : \")?;\ndrafts";
    assert_eq!(value(&mut front_end, drafts), format!("[{:?}]", "面包 : ".repeat(15)));
    let example = "let e: Vec<hotplate::Example> = hotplate::examples(\"notes/\")?;\n(e.len(), e[0].first_line, e[0].state.as_str())";
    assert_eq!(value(&mut front_end, example), "(1, 2, \"learnt\")");
    let reply = {
        let id = front_end.execute("hotplate::page(\"long\");");
        front_end.outcome(&id, "hotplate::page(\"long\");").1
    };
    assert_eq!(reply["payload"][0]["source"], "page");
    assert_eq!(reply["payload"][0]["data"]["text/plain"], "long");

    let code = "let name: String = hotplate::input(\"Who? a:b\")?;\nname";
    let id = front_end.execute(code);
    front_end.busy(&id);
    front_end.iopub("execute_input");
    let question = front_end.question(&id);
    assert_eq!(question.content, json!({"prompt": "Who? a:b", "password": false}));
    front_end.answer(&question, "面 %20\\");
    assert_eq!(front_end.iopub("execute_result").content["data"]["text/plain"], "\"面 %20\\\\\"");
    front_end.idle(&id);
    front_end.shell("execute_reply", &id);
    // Whoever cannot be asked is not.
    let content = json!({"code": "hotplate::input(\"Who?\")?", "silent": false, "store_history": true,
        "stop_on_error": true, "user_expressions": {}, "allow_stdin": false});
    let id = front_end.send("execute_request", &content);
    let (_, reply) = front_end.outcome(&id, "hotplate::input(\"Who?\")?");
    assert!(reply["evalue"].as_str().unwrap().contains("cannot ask for input"), "{reply}");

    // Interrupted while it asks, or while a command works for it: the cell ends by itself, and loses nothing.
    for (code, kind) in
        [("hotplate::input(\"Who?\")?", "input"), ("hotplate::run(\"generate forever\")?", "stream")]
    {
        let id = front_end.execute(code);
        front_end.busy(&id);
        front_end.iopub("execute_input");
        if kind == "input" {
            front_end.question(&id);
        } else {
            front_end.iopub("stream");
        }
        interrupt(&mut front_end);
        let outputs = rest_of_cell(&mut front_end, &id);
        assert_eq!(outputs.last().unwrap().content["evalue"], "interrupted; no variable is lost", "{code}");
        front_end.shell("execute_reply", &id);
    }
    assert_eq!(value(&mut front_end, "name"), "\"面 %20\\\\\"");
}

#[test]
fn what_cells_ruin_is_named_and_replaced() {
    let kernel = Kernel::start();
    let mut front_end = patient(&kernel);
    let keep = "let kept: i32 = 5;\nfn function() -> i32 { 7 }";
    front_end.run(keep);
    let outputs = front_end.run("for line in 0..1_000_000 { println!(\"line {line}\"); }");
    let lines = (0..1_000_000).map(|line| format!("line {line}"));
    assert!(stream(&outputs).lines().map(str::to_owned).eq(lines), "lines are lost");
    assert!(outputs.len() < 2000, "{} messages", outputs.len());

    let (_, reply) = failure(&mut front_end, &"x".repeat(5 << 20));
    assert_eq!(reply["ename"], "CompileError");
    assert!(reply.to_string().len() < 20_000, "an error of {} bytes", reply.to_string().len());

    for (code, how) in [
        ("std::process::exit(3)", "exit code 3"),
        ("unsafe { *(8 as *mut i32) = 1 };", "segmentation fault"),
        ("eprint!(\"x\"); unsafe { *(8 as *mut i32) = 1 };", "segmentation fault"),
        ("println!(\"x\"); std::process::abort()", "an abort"),
    ] {
        let id = front_end.execute(code);
        let (outputs, reply) = front_end.outcome(&id, code);
        assert_eq!(outputs.last().unwrap().kind(), "error");
        assert!(outputs.iter().all(|message| !message.content.to_string().contains("evcxr")), "{outputs:?}");
        let message = reply["evalue"].as_str().unwrap();
        assert_eq!(reply["ename"], "ProcessLost");
        assert!(
            message.contains(how) && message.contains("lost: kept (variables)"),
            "{code}: {message}; {outputs:?}"
        );
        assert_eq!(value(&mut front_end, "function()"), "7");
        front_end.run("let kept: i32 = 5;");
    }

    // While it runs: the first interrupt costs the variables, whatever the cell does, and nothing stays running.
    let code = "std::process::Command::new(\"sleep\").arg(\"1000\").spawn()?;\nprintln!(\"runs\");\nloop {}";
    let error = interrupted(&mut front_end, code, true);
    assert!(error["evalue"].as_str().unwrap().contains("lost: kept (variables)"), "{error}");
    let id = worker(&kernel).expect("a program");
    wait_until("the code's process is gone", || {
        processes().iter().filter(|other| other.group == id).count() <= 3
    });
    // While it compiles: nothing.
    front_end.run(keep);
    let slow = "const N: u64 = { let mut n = 0; while n < 1 << 40 { n += 1 } n };\nN";
    let error = interrupted(&mut front_end, &format!("#![allow(long_running_const_eval)]\n{slow}"), false);
    assert_eq!(error["evalue"], "interrupted; no variable is lost");
    assert_eq!(value(&mut front_end, "kept"), "5");

    let (outputs, reply) = failure(&mut front_end, ":quit");
    assert_eq!((outputs.len(), &reply["ename"]), (0, &json!("WorkerLost")));
    assert!(reply["evalue"].as_str().unwrap().contains(":quit"), "{reply}");
    assert_eq!(value(&mut front_end, "1 + 1"), "2");
    assert_ne!(worker(&kernel), Some(id));
}

/// Runs a cell, interrupts it once it writes something or after a moment, and gives its error.
fn interrupted(front_end: &mut FrontEnd, code: &str, writes: bool) -> Value {
    let id = front_end.execute(code);
    front_end.busy(&id);
    front_end.iopub("execute_input");
    if writes {
        assert_eq!(front_end.iopub("stream").content["text"], "runs\n");
    } else {
        thread::sleep(Duration::from_millis(1500));
    }
    let start = Instant::now();
    interrupt(front_end);
    let outputs = rest_of_cell(front_end, &id);
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    let error = outputs.last().unwrap();
    assert_eq!((error.kind(), &error.content["ename"]), ("error", &json!("Interrupted")), "{error:?}");
    front_end.shell("execute_reply", &id);
    error.content.clone()
}

#[test]
fn a_second_interrupt_ends_the_program() {
    let kernel = Kernel::start();
    let mut front_end = patient(&kernel);
    front_end.run("let kept: i32 = 5;");
    let first = worker(&kernel).expect("a program");
    // Stopped, it does nothing that it is told: as when rust-analyzer is at work.
    let process = rustix::process::Pid::from_raw(first).unwrap();
    rustix::process::kill_process(process, rustix::process::Signal::STOP).unwrap();
    let id = front_end.execute("kept");
    front_end.busy(&id);
    front_end.iopub("execute_input");
    interrupt(&mut front_end);
    // Two at once would be one.
    thread::sleep(Duration::from_millis(1500));
    interrupt(&mut front_end);
    let outputs = rest_of_cell(&mut front_end, &id);
    let error = outputs.last().unwrap();
    assert_eq!(error.content["ename"], "Interrupted");
    assert!(error.content["evalue"].as_str().unwrap().contains("all variables, functions"), "{error:?}");
    front_end.shell("execute_reply", &id);
    wait_until("nothing of it is left", || processes().iter().all(|other| other.group != first));
    assert_eq!(value(&mut front_end, "2"), "2");
}

#[test]
fn nothing_is_left_when_the_kernel_is_gone() {
    for killed in [false, true] {
        let mut kernel = Kernel::start();
        let mut front_end = patient(&kernel);
        let temporary = kernel.home().join("temporary");
        assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0);
        let id = front_end.execute("println!(\"runs\");\nloop {}");
        front_end.busy(&id);
        front_end.iopub("execute_input");
        front_end.iopub("stream");
        assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 1);
        let group = worker(&kernel).expect("a program");
        if killed {
            kernel.kill();
        } else {
            front_end.send_control("shutdown_request", &json!({"restart": false}));
            assert!(kernel.wait_for_end().success());
        }
        wait_until("no process is left", || processes().iter().all(|other| other.group != group));
        wait_until("no file is left", || std::fs::read_dir(&temporary).unwrap().count() == 0);
        front_end.forget();
    }
}

#[test]
fn what_is_missing_is_said_and_costs_rust_alone() {
    let nowhere = "/nowhere";
    for (variable, name, remedy) in [
        (("PATH", nowhere), "NoToolchain", "https://rustup.rs"),
        (("HOTPLATE_RUST_CELLS_BIN", nowhere), "RustCells", "no such file"),
    ] {
        let kernel = Kernel::start_with(&[variable]);
        let mut front_end = kernel.front_end();
        for _ in 0..2 {
            let (outputs, reply) = failure(&mut front_end, "let x = 1;");
            assert_eq!((outputs.len(), &reply["ename"]), (0, &json!(name)));
            assert!(reply["evalue"].as_str().unwrap().contains(remedy), "{reply}");
        }
        assert!(stream(&front_end.run("%help check")).contains("Usage: %check"));
        let reply = front_end.ask("complete_request", &json!({"code": "x.", "cursor_pos": 2}));
        assert_eq!(reply["matches"], json!([]));
    }
}

struct Process {
    id: i32,
    parent: i32,
    group: i32,
    program: PathBuf,
}

/// Those that are not dead and waiting for their parents.
fn processes() -> Vec<Process> {
    let entries = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    entries
        .filter_map(|entry| {
            let id = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            let mut fields = stat.rsplit_once(") ")?.1.split(' ');
            let alive = fields.next()? != "Z";
            let (parent, group) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
            let program = std::fs::read_link(entry.path().join("exe")).unwrap_or_default();
            alive.then_some(Process { id, parent, group, program })
        })
        .collect()
}

/// The kernel's program for Rust cells, which leads a group of its own.
fn worker(kernel: &Kernel) -> Option<i32> {
    let found = processes().into_iter().find(|process| {
        process.parent == kernel.id() as i32 && process.program.ends_with("hotplate-rust-cells")
    })?;
    assert_eq!(found.id, found.group);
    Some(found.id)
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !condition() {
        assert!(Instant::now() < deadline, "not yet: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
