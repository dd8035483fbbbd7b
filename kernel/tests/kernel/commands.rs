//! What cells can do beside the shared commands: texts in cells, runs that are left and found again, questions.

use std::fs;
use std::sync::atomic::Ordering;

use serde_json::json;

use crate::cells::{failure, interrupt, rest_of_cell, stream};
use crate::fake_daemon::FakeDaemon;
use crate::front_end::{Kernel, Message};

fn plain(message: &Message) -> &str {
    message.content["data"]["text/plain"].as_str().unwrap()
}

fn html(message: &Message) -> &str {
    message.content["data"]["text/html"].as_str().unwrap()
}

#[test]
fn an_interrupt_ends_the_showing_and_the_run_is_found_again() {
    let kernel = Kernel::start();
    let daemon = FakeDaemon::start(&kernel.home());
    let mut front_end = kernel.front_end();
    let id = front_end.execute("%train notes");
    front_end.busy(&id);
    front_end.iopub("execute_input");
    front_end.iopub("display_data");
    front_end.iopub("display_data");
    interrupt(&mut front_end);
    let outputs = rest_of_cell(&mut front_end, &id);
    let error = outputs.last().unwrap();
    assert_eq!((error.kind(), &error.content["ename"]), ("error", &json!("Interrupted")));
    let said = error.content["evalue"].as_str().unwrap();
    assert!(said.contains("run 7 goes on: %attach 7") && said.contains("%cancel 7"), "{said}");
    assert_eq!(front_end.shell("execute_reply", &id).content["status"], "error");
    assert_eq!(daemon.run_cancelled.load(Ordering::SeqCst), 0);

    // All of it, from its first event to its last.
    let outputs = front_end.run("%attach");
    assert_eq!(outputs[0].kind(), "display_data");
    let [.., picture, outcome] = outputs.as_slice() else { panic!("a picture, and what came of the run") };
    assert!(plain(outcome).contains("notes version 1 is ready"), "{}", plain(outcome));
    assert!(html(picture).contains("cx=\"44.0\""), "the first evaluation is in the curve");
    assert_eq!(daemon.run_cancelled.load(Ordering::SeqCst), 0);
}

#[test]
fn a_run_is_cancelled_by_its_own_command() {
    let kernel = Kernel::start();
    let daemon = FakeDaemon::start(&kernel.home());
    let mut front_end = kernel.front_end();
    let (_, reply) = failure(&mut front_end, "%cancel");
    assert_eq!(reply["ename"], "NoRun");
    front_end.run("%train notes --detach");
    let outputs = front_end.run("%cancel");
    assert_eq!(daemon.run_cancelled.load(Ordering::SeqCst), 1);
    assert!(plain(&outputs[0]).contains("Run 7 was cancelled"), "{}", plain(&outputs[0]));
    let outputs = front_end.run("%attach 7");
    assert!(plain(outputs.last().unwrap()).contains("cancelled"));
}

#[test]
fn what_is_deleted_needs_a_yes() {
    let kernel = Kernel::start();
    let daemon = FakeDaemon::start(&kernel.home());
    let mut front_end = kernel.front_end();
    for line in ["%delete notes", "%prune --keep 1"] {
        let (_, reply) = failure(&mut front_end, line);
        assert_eq!(reply["ename"], "NotAgreed", "{line}");
        assert!(reply["evalue"].as_str().unwrap().contains("--yes"), "{reply}");
    }
    assert_eq!(daemon.deleted.load(Ordering::SeqCst), 0);
    let outputs = front_end.run("%delete notes@1 --yes");
    assert!(plain(&outputs[0]).contains("Deleted version 1 of notes"), "{}", plain(&outputs[0]));
    assert_eq!(daemon.deleted.load(Ordering::SeqCst), 1);
}

#[test]
fn a_cells_texts_become_a_file() {
    let kernel = Kernel::start();
    let mut front_end = kernel.front_end();
    let code = "%%examples notes/\nOne.\n---\nTwo <b>.\n";
    let outputs = front_end.run(code);
    assert_eq!(outputs.len(), 1);
    assert!(plain(&outputs[0]).starts_with("Written to notes/cell-1.md"), "{}", plain(&outputs[0]));
    let file = kernel.folder().join("notes/cell-1.md");
    assert_eq!(fs::read_to_string(&file).unwrap(), "One.\n---\nTwo <b>.\n");
    assert!(plain(&front_end.run(code)[0]).contains("already in notes/cell-1.md"));
    fs::write(kernel.folder().join("notes/mine.md"), "mine").unwrap();
    let (_, reply) = failure(&mut front_end, "%%examples notes/ --file mine.md\nOther.");
    assert_eq!(reply["ename"], "NotWritten");
    assert!(reply["evalue"].as_str().unwrap().contains("not overwritten"), "{reply}");
    assert_eq!(fs::read_to_string(kernel.folder().join("notes/mine.md")).unwrap(), "mine");
    let (_, reply) = failure(&mut front_end, "%%examples notes/\n \n");
    assert_eq!(reply["ename"], "Usage");
}

#[test]
fn what_a_watched_folder_learns_is_shown_below_the_cell() {
    let kernel = Kernel::start();
    let daemon = FakeDaemon::start(&kernel.home());
    daemon.watch(&kernel.folder().join("notes"));
    let mut front_end = kernel.front_end();
    let outputs = front_end.run("%%examples notes/\nOne.");
    let (written, run) = outputs.split_first().unwrap();
    assert!(plain(written).contains("is watched: it is learnt now"), "{}", plain(written));
    let (first, updates, outcome) = (&run[0], &run[1..run.len() - 1], run.last().unwrap());
    assert_eq!((first.kind(), outcome.kind()), ("display_data", "display_data"));
    assert!(updates.iter().all(|update| update.kind() == "update_display_data"));
    let last = plain(updates.last().unwrap());
    assert!(last.contains("cell-1.md was saved"), "{last}");
    assert!(plain(outcome).contains("version 1 is ready"), "{}", plain(outcome));
    // Who does not want to look comes back at once.
    let outputs = front_end.run("%%examples notes/ --detach\nTwo.");
    assert_eq!(outputs.len(), 1);
}

#[test]
fn texts_are_looked_at_without_a_folder() {
    let kernel = Kernel::start();
    let _daemon = FakeDaemon::start(&kernel.home());
    let mut front_end = kernel.front_end();
    let outputs = front_end.run("%%check\nA note.\n---\nAnother.");
    let shown = plain(&outputs[0]);
    assert!(shown.contains("in this cell") && shown.contains("1 finding to look at"), "{shown}");
    assert!(!shown.contains("held out") && !html(&outputs[0]).contains("held out"), "{shown}");
    assert_eq!(fs::read_dir(kernel.folder().join("notes")).unwrap().count(), 0);
    let (_, reply) = failure(&mut front_end, "%%check notes/\nA note.");
    assert!(reply["evalue"].as_str().unwrap().contains("%check notes/"), "{reply}");
}

#[test]
fn settings_below_a_train_cell() {
    let kernel = Kernel::start();
    let _daemon = FakeDaemon::start(&kernel.home());
    let mut front_end = kernel.front_end();
    let outputs = front_end.run("%%train notes/\nepochs = 3\n");
    assert!(plain(outputs.last().unwrap()).contains("version 1 is ready"));
    let (_, reply) = failure(&mut front_end, "%%train notes/\nepochs = no\n");
    assert_eq!(reply["ename"], "Usage");
    let (_, reply) = failure(&mut front_end, "%%train notes/\nepoch = 3\n");
    assert!(reply["evalue"].as_str().unwrap().contains("--epochs"), "{reply}");
}

#[test]
fn several_texts_are_one_table_and_a_comparison_is_another() {
    let kernel = Kernel::start();
    let daemon = FakeDaemon::start(&kernel.home());
    let mut front_end = kernel.front_end();
    let outputs = front_end.run("%generate --n 4 --seed 7 '<i>tea</i> '");
    assert!(outputs[1..].iter().all(|update| update.kind() == "update_display_data"));
    let last = outputs.last().unwrap();
    assert!(html(last).contains("<table") && html(last).contains("&lt;i&gt;tea"), "{}", html(last));
    assert!(!html(last).contains("<i>"));
    assert!(plain(last).contains("4 of 4 (seed 10;"), "{}", plain(last));
    let mut seeds: Vec<_> = daemon.asked.lock().unwrap().drain(..).map(|asked| asked.sampling.seed).collect();
    // They are asked for at the same time.
    seeds.sort_unstable();
    assert_eq!(seeds, [Some(7), Some(8), Some(9), Some(10)]);

    let outputs = front_end.run("%compare -a notes 'A bakery.' 'A tea house.'");
    let last = outputs.last().unwrap();
    assert!(
        html(last).contains("base: hotplate-tiny") && html(last).contains("mine: notes"),
        "{}",
        html(last)
    );
    assert!(plain(last).contains("no measurement") && plain(last).contains("%score"), "{}", plain(last));
    let asked: Vec<_> = daemon.asked.lock().unwrap().drain(..).collect();
    assert_eq!(asked.iter().map(|asked| asked.base_alone).collect::<Vec<_>>(), [true, false, true, false]);
    assert!(asked.chunks(2).all(|pair| pair[1].sampling.seed == Some(5)), "both sides have one seed");
    let (_, reply) = failure(&mut front_end, "%compare 'A bakery.'");
    assert!(reply["evalue"].as_str().unwrap().contains("-a NAME"), "{reply}");
}

#[test]
fn examples_before_a_prompt_are_said_below_the_text() {
    let kernel = Kernel::start();
    let daemon = FakeDaemon::start(&kernel.home());
    let mut front_end = kernel.front_end();
    let outputs = front_end.run("%%generate --feed notes/ --feed-examples 3\ntea ");
    let kinds: Vec<&str> = outputs.iter().map(Message::kind).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == "display_data").count(), 1, "{kinds:?}");
    let last = outputs.last().unwrap();
    assert!(plain(last).contains("Fed 1 of 5 examples, 12 tokens"), "{}", plain(last));
    assert!(html(last).contains("&lt;b&gt;.txt:3 (12)") && !html(last).contains("<b>.txt"), "{}", html(last));
    let asked = daemon.asked.lock().unwrap().pop().unwrap().feed.unwrap();
    assert_eq!((asked.folder, asked.examples), (kernel.folder().join("notes"), Some(3)));

    let outputs = front_end.run("%compare -a notes --feed notes/ 'A bakery.'");
    let last = outputs.last().unwrap();
    for column in ["base: hotplate-tiny<", "fed: hotplate-tiny, fed 1 example<", "mine: notes<"] {
        assert!(html(last).contains(column), "{column}: {}", html(last));
    }
    let asked: Vec<_> = daemon.asked.lock().unwrap().drain(..).collect();
    let fed: Vec<_> = asked.iter().map(|asked| (asked.base_alone, asked.feed.is_some())).collect();
    assert_eq!(fed, [(true, false), (true, true), (false, false)]);
    let outputs = front_end.run("%compare --feed notes/ 'A bakery.'");
    assert!(!html(outputs.last().unwrap()).contains("mine:"));
}

#[test]
fn what_is_chosen_holds_for_the_next_cells() {
    let kernel = Kernel::start();
    let daemon = FakeDaemon::start(&kernel.home());
    let mut front_end = kernel.front_end();
    assert!(plain(&front_end.run("%use")[0]).contains("Nothing is chosen"));
    assert!(plain(&front_end.run("%use notes@1")[0]).contains("notes@1"));
    front_end.run("%generate hello ");
    front_end.run("%%compare\nA bakery. ");
    front_end.run("%generate -a 面包店 hello ");
    front_end.run("%use --nothing\n%generate hello ");
    let asked: Vec<_> = daemon.asked.lock().unwrap().drain(..).map(|asked| asked.adapter).collect();
    let some = |name: &str| Some(name.to_owned());
    assert_eq!(asked, [some("notes@1"), some("notes@1"), some("notes@1"), some("面包店"), None]);
    let (_, reply) = failure(&mut front_end, "%use nobody");
    assert_eq!(reply["ename"], "UnusableAdapter");
    assert!(reply["evalue"].as_str().unwrap().contains("there are: notes, 面包店"), "{reply}");
}

/// Sends a cell that replaces an export, to a front end that can be asked or not.
fn replace(front_end: &crate::front_end::FrontEnd, allow_stdin: bool) -> (String, &'static str) {
    let code = "%export notes --out notes --force";
    let content = json!({"code": code, "silent": false, "store_history": true, "user_expressions": {},
        "allow_stdin": allow_stdin, "stop_on_error": true});
    (front_end.send("execute_request", &content), code)
}

#[test]
fn replacing_something_is_asked_for_where_somebody_can_be_asked() {
    let kernel = Kernel::start();
    let _daemon = FakeDaemon::start(&kernel.home());
    let mut front_end = kernel.front_end();
    // The fake knows no exports: that it is asked at all is the yes.
    for (answer, ename) in [("y", "MethodNotFound"), ("", "NotAgreed"), ("no", "NotAgreed")] {
        let (id, code) = replace(&front_end, true);
        let question = front_end.question(&id);
        assert!(
            question.content["prompt"].as_str().unwrap().contains("Put the new export in its place?"),
            "{question:?}"
        );
        assert_eq!(question.content["password"], false);
        front_end.answer(&question, answer);
        assert_eq!(front_end.outcome(&id, code).1["ename"], ename, "{answer:?}");
    }
    let (id, code) = replace(&front_end, false);
    assert_eq!(front_end.outcome(&id, code).1["ename"], "MethodNotFound", "nobody can be asked");
}

#[test]
fn an_interrupt_ends_a_question() {
    let kernel = Kernel::start();
    let _daemon = FakeDaemon::start(&kernel.home());
    let mut front_end = kernel.front_end();
    let (id, _) = replace(&front_end, true);
    let question = front_end.question(&id);
    front_end.busy(&id);
    front_end.iopub("execute_input");
    interrupt(&mut front_end);
    let outputs = rest_of_cell(&mut front_end, &id);
    assert_eq!(outputs.last().unwrap().content["ename"], "Cancelled");
    assert_eq!(front_end.shell("execute_reply", &id).content["ename"], "Cancelled");
    // An answer that comes too late is nobody's, and not the next question's.
    front_end.answer(&question, "y");
    assert!(stream(&front_end.run("%help")).contains("%train"));
    let (id, code) = replace(&front_end, true);
    let question = front_end.question(&id);
    front_end.answer(&question, "n");
    assert_eq!(front_end.outcome(&id, code).1["ename"], "NotAgreed");
}

#[test]
fn help_beside_the_cell_and_a_cell_cleared() {
    let kernel = Kernel::start();
    let mut front_end = kernel.front_end();
    let id = front_end.execute("%train?");
    let (outputs, reply) = front_end.outcome(&id, "%train?");
    assert!(outputs.is_empty(), "{outputs:?}");
    assert_eq!((&reply["payload"][0]["source"], &reply["payload"][0]["start"]), (&json!("page"), &json!(0)));
    assert!(reply["payload"][0]["data"]["text/plain"].as_str().unwrap().contains("Usage: %train"));

    let outputs = front_end.run("%help check\n%clear --wait\n%help train");
    let kinds: Vec<&str> = outputs.iter().map(Message::kind).collect();
    assert_eq!(kinds, ["stream", "clear_output", "stream"]);
    assert_eq!(outputs[1].content, json!({"wait": true}));
}
