//! What is the user's stays, what is ours is closed to others, and a log that cannot be written costs nothing.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hotplate_protocol::ErrorCode;
use hotplate_protocol::methods::export::{Export, ExportForm, ExportParams};
use hotplate_protocol::methods::generate::{Generate, GenerateParams, Sampling};
use hotplate_protocol::methods::import::{Import, ImportParams};
use hotplate_protocol::run::RunEvent;

use crate::test_daemon::{TestDaemon, folders_in};

fn trained(daemon: &TestDaemon) {
    daemon.write_notes(0..12);
    let mut params = daemon.train_params();
    params.knobs.max_steps = Some(2);
    let events = daemon.client().train(&params);
    assert!(matches!(events.last(), Some(RunEvent::Finished { .. })), "{events:?}");
}

fn export_params(out: PathBuf, form: ExportForm, force: bool) -> ExportParams {
    ExportParams { adapter: "notes".to_owned(), base: None, fallback_base: None, form, out, force }
}

fn one_token(daemon: &TestDaemon) -> GenerateParams {
    GenerateParams {
        prompt: "a".to_owned(),
        base: Some(daemon.base()),
        raw: true,
        sampling: Sampling { max_tokens: Some(1), ..Sampling::default() },
        ..GenerateParams::default()
    }
}

#[test]
fn an_export_takes_nobodys_place() {
    let daemon = TestDaemon::start();
    trained(&daemon);
    let client = daemon.client();
    let at = |path: &str| fs::canonicalize(daemon.root.path()).unwrap().join(path);
    let export = |path: &str, force| client.call::<Export>(&export_params(at(path), ExportForm::Peft, force));
    let refusal = |path: &str, force| {
        let error = client.refusal::<Export>(&export_params(at(path), ExportForm::Peft, force));
        assert_eq!(error.code, ErrorCode::InvalidParams, "{error}");
        error.message
    };
    fs::create_dir(at("mine")).unwrap();
    for file in ["adapter_config.json", "adapter_model.safetensors", "letter.txt"] {
        fs::write(at("mine").join(file), "mine").unwrap();
    }
    for force in [false, true] {
        assert!(refusal("not-there/../mine", force).contains("not there"));
        refusal("mine", force);
        assert!(refusal("home/adapters/notes/v0001", force).contains("own folder"));
        assert!(refusal("notes/out", force).contains("learns from"));
        assert!(refusal("base/out", force).contains("the base's folder"));
        refusal("base", force);
    }
    assert!(at("mine").join("letter.txt").exists() && !at("not-there").exists());

    let first = export("new/out", false);
    assert_eq!((first.path.clone(), first.moved_aside), (at("new/out"), None));
    assert!(refusal("new/out", false).contains("--force"));
    let second = export("new/out", true);
    assert_eq!(second.moved_aside, Some(at("new/out.earlier-1")));
    fs::write(at("new/out/letter.txt"), "Dear").unwrap();
    assert!(refusal("new/out", true).contains("letter.txt"));
    assert_eq!(folders_in(&at("new")), ["out", "out.earlier-1"], "and nothing half-written");
    assert!(folders_in(&daemon.home().join("exports")).is_empty());
    // The mark disturbs no reader of ours.
    let info = client.call::<Import>(&ImportParams {
        path: at("new/out.earlier-1"),
        name: Some("again".to_owned()),
        base: Some(daemon.base()),
        fallback_base: None,
    });
    assert_eq!(info.current, 1);
}

#[test]
fn files_and_folders_are_closed_whatever_the_umask() {
    for umask in ["000", "277"] {
        let mut daemon = TestDaemon::start();
        daemon.kill();
        fs::remove_dir_all(daemon.home()).unwrap();
        let script = format!("umask {umask}; exec \"$0\" daemon");
        let mut command = daemon.command();
        let (program, variables) = (
            command.get_program().to_owned(),
            command.get_envs().map(|(name, value)| (name.to_owned(), value.map(ToOwned::to_owned))),
        );
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(script).arg(program);
        for (name, value) in variables {
            shell.env(name, value.unwrap_or_default());
        }
        shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command = shell;
        daemon.restart_as(command);
        trained(&daemon);
        let mut seen = Vec::new();
        walk(&daemon.home(), &mut |path, mode, is_folder| {
            seen.push(path.file_name().unwrap_or_default().to_string_lossy().into_owned());
            let wanted = if is_folder { 0o700 } else { 0o600 };
            assert_eq!(mode, wanted, "{umask}: {}", path.display());
        });
        for name in ["store.sqlite", "store.sqlite-wal", "daemon.sock", "daemon.lock", "daemon.json", "v0001"]
        {
            assert!(seen.iter().any(|seen| seen == name), "{name} in {seen:?}");
        }
    }
}

fn walk(path: &Path, look: &mut dyn FnMut(&Path, u32, bool)) {
    let found = path.symlink_metadata().unwrap();
    look(path, found.permissions().mode() & 0o777, found.is_dir());
    if found.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            walk(&entry.unwrap().path(), look);
        }
    }
}

#[test]
fn what_an_older_version_left_open_is_closed() {
    let mut daemon = TestDaemon::start();
    trained(&daemon);
    daemon.kill();
    let weights = daemon.home().join("adapters/notes/v0001/adapter_model.safetensors");
    for (path, mode) in
        [(daemon.home(), 0o755), (daemon.home().join("store.sqlite"), 0o644), (weights, 0o664)]
    {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    daemon.restart();
    walk(&daemon.home(), &mut |path, mode, _| assert_eq!(mode & 0o077, 0, "{}", path.display()));
}

#[test]
fn nothing_in_the_home_is_opened_through_a_link() {
    let mut daemon = TestDaemon::start();
    trained(&daemon);
    let elsewhere = daemon.root.path().join("elsewhere");
    let version = daemon.home().join("adapters/notes/v0001");
    fs::rename(&version, &elsewhere).unwrap();
    fs::create_dir(&version).unwrap();
    for name in folders_in(&elsewhere) {
        symlink(elsewhere.join(&name), version.join(&name)).unwrap();
    }
    let params = GenerateParams { adapter: Some("notes".to_owned()), base: None, ..one_token(&daemon) };
    let error = daemon.client().refusal::<Generate>(&params);
    assert!(error.message.contains("is a link"), "{error}");
    daemon.kill();
    // An adapter's folder that is one is left alone, as somebody may have put it there; all adapters together are ours.
    fs::rename(daemon.home().join("adapters"), daemon.root.path().join("adapters")).unwrap();
    symlink(daemon.root.path().join("adapters"), daemon.home().join("adapters")).unwrap();
    assert!(!daemon.command().output().unwrap().status.success());
    assert!(daemon.log().contains("adapters is a link"), "{}", daemon.log());
    fs::remove_file(daemon.home().join("adapters")).unwrap();
    fs::rename(daemon.home().join("store.sqlite"), daemon.root.path().join("store")).unwrap();
    symlink(daemon.root.path().join("store"), daemon.home().join("store.sqlite")).unwrap();
    let ended = daemon.command().output().unwrap();
    assert!(!ended.status.success());
    assert!(daemon.log().contains("store.sqlite is a link"), "{}", daemon.log());
}

#[test]
fn a_log_on_a_full_disk_ends_nothing() {
    if !Path::new("/dev/full").exists() {
        return;
    }
    let mut daemon = TestDaemon::start();
    daemon.kill();
    let mut command = daemon.command();
    let full = || File::options().write(true).open("/dev/full").unwrap();
    command.stdout(full()).stderr(full()).env("HOTPLATE_LOG", "trace");
    daemon.restart_as(command);
    trained(&daemon);
    daemon.client().call::<Generate>(&one_token(&daemon));
    assert!(daemon.is_alive());
    daemon.terminate();
}

#[test]
fn a_log_that_nobody_reads_any_more_ends_nothing() {
    let mut daemon = TestDaemon::start();
    daemon.kill();
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = daemon.command();
    command.stderr(writer).env("HOTPLATE_LOG", "debug");
    daemon.restart_as(command);
    drop(reader);
    trained(&daemon);
    assert!(daemon.is_alive());
    daemon.terminate();
}

#[test]
fn a_closed_terminal_ends_the_daemon_in_order() {
    let mut daemon = TestDaemon::start();
    daemon.client().status();
    daemon.signal(rustix::process::Signal::HUP);
    assert!(!daemon.home().join("daemon.sock").exists());
}

#[test]
fn half_an_import_goes_at_the_next_start() {
    let mut daemon = TestDaemon::start();
    trained(&daemon);
    daemon.kill();
    let adapter = daemon.home().join("adapters/notes");
    fs::create_dir(adapter.join("v0002")).unwrap();
    fs::write(adapter.join(".entering-v0002"), "").unwrap();
    fs::write(adapter.join(".entering-v0001"), "").unwrap();
    fs::create_dir(daemon.home().join("packed")).unwrap();
    fs::write(daemon.home().join("packed/x.part"), "").unwrap();
    daemon.restart();
    daemon.client().status();
    assert_eq!(folders_in(&adapter), ["v0001"]);
    assert!(folders_in(&daemon.home().join("packed")).is_empty());
}
